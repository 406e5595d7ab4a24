package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/server/store"
)

// seen says by every way of reading whether a document is there.
func (s *suite) seen(id string) bool {
	s.t.Helper()
	ctx := s.t.Context()
	_, err := s.Get(ctx, people, key(id))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.t.Fatal(err)
	}
	got := err == nil
	q := store.Query{Workspace: "w1", Filter: store.Filter{Path: store.IDPath, Op: store.Eq, Value: id}}
	n, err := s.Count(ctx, people, q)
	if err != nil {
		s.t.Fatal(err)
	}
	iterated := 0
	if err := s.Iterate(ctx, people, q, func(store.Doc) error { iterated++; return nil }); err != nil {
		s.t.Fatal(err)
	}
	found := len(s.find(q))
	if int(n) != found || iterated != found || got != (found == 1) {
		s.t.Fatalf("%s: get %v, count %d, iterate %d, find %d", id, got, n, iterated, found)
	}
	return got
}

func expiry(s *suite) {
	ttl := func(id string, d time.Duration, ifVersion int64) error {
		p := put(id, `{}`)
		p.If = ifVersion
		if d != 0 {
			p.Expires = s.clock.Now().Add(d)
		}
		return s.apply(p)
	}
	s.wantErr(ttl("brief", time.Minute, 0), nil)
	s.wantErr(ttl("forever", 0, 0), nil)
	d, err := s.Get(s.t.Context(), people, key("brief"))
	if err != nil || !d.Expires.Equal(s.clock.Now().Add(time.Minute)) || d.Expires.Location() != time.UTC {
		s.t.Fatalf("expires %v, %v", d.Expires, err)
	}
	if d, err := s.Get(s.t.Context(), people, key("forever")); err != nil || !d.Expires.IsZero() {
		s.t.Fatalf("expires %v, %v", d.Expires, err)
	}
	s.clock.Add(time.Minute - time.Millisecond)
	if !s.seen("brief") {
		s.t.Fatal("gone too early")
	}
	s.clock.Add(time.Millisecond)
	if s.seen("brief") || !s.seen("forever") {
		s.t.Fatal("the wrong one is gone")
	}
	// As good as absent, to every condition.
	s.wantErr(ttl("brief", time.Minute, 1), store.ErrVersion)
	err = s.Apply(s.t.Context(), store.Batch{Deletes: []store.Delete{{Collection: people, Key: key("brief"), If: 1}}})
	s.wantErr(err, store.ErrVersion)
	s.wantErr(ttl("brief", time.Minute, 0), nil)
	s.wantDoc("brief", 1, `{}`)
	s.wantErr(ttl("brief", time.Minute, 1), nil)
	s.wantErr(ttl("brief", time.Minute, 0), store.ErrVersion)
	s.clock.Add(time.Hour)
	s.wantErr(ttl("brief", 0, store.AnyVersion), nil) // begins anew, and for ever
	s.wantDoc("brief", 1, `{}`)
	s.clock.Add(1000 * time.Hour)
	s.wantDoc("brief", 1, `{}`)
	s.wantErr(ttl("late", -time.Second, 0), nil)
	if s.seen("late") {
		s.t.Fatal("written already expired, and seen")
	}
	s.wantErr(ttl("late", time.Second, 0), nil)
}

func expiredUnique(s *suite) {
	holder := put("holder", `{"email":"a@x","org":"o","card":{"number":1}}`)
	holder.Expires = s.clock.Now().Add(time.Minute)
	s.must(holder)
	s.wantErr(s.apply(put("next", `{"email":"a@x"}`)), store.ErrUnique)
	s.clock.Add(time.Minute)
	s.must(put("next", `{"email":"a@x"}`), put("third", `{"org":"o","card":{"number":1}}`))
	s.wantErr(s.apply(put("fourth", `{"email":"a@x"}`)), store.ErrUnique)
	s.wantDoc("next", 1, `{"email":"a@x"}`)
}

func reopen(s *suite) {
	brief := put("brief", `{}`)
	brief.Expires = s.clock.Now().Add(time.Minute)
	s.must(put("ada", `{"email":"a@x","city":"Oslo"}`), put("ada", `{"email":"a@x","city":"Oslo"}`), brief,
		store.Put{Collection: blobs, Key: key("b"), Body: []byte{0, 255}})
	for range 2 {
		if err := s.Close(); err != nil {
			s.t.Fatal(err)
		}
		s.Store = s.open()
		s.wantDoc("ada", 2, `{"email":"a@x","city":"Oslo"}`)
		s.wantIDs(s.find(store.Query{Filter: store.Filter{Path: "city", Op: store.Eq, Value: "Oslo"}}), "ada")
		s.wantErr(s.apply(put("bob", `{"email":"a@x"}`)), store.ErrUnique)
		d, err := s.Get(s.t.Context(), blobs, key("b"))
		if err != nil || !bytes.Equal(d.Body, []byte{0, 255}) {
			s.t.Fatalf("%v %v", d.Body, err)
		}
		if !s.seen("brief") {
			s.t.Fatal("brief is gone")
		}
	}
	s.clock.Add(time.Minute)
	if s.seen("brief") {
		s.t.Fatal("brief is still there")
	}
}

func closed(s *suite) {
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
	ctx := s.t.Context()
	s.wantErr(s.apply(put("ada", `{}`)), store.ErrClosed)
	_, err := s.Get(ctx, people, key("ada"))
	s.wantErr(err, store.ErrClosed)
	_, err = s.Find(ctx, people, store.Query{Workspace: "w1"})
	s.wantErr(err, store.ErrClosed)
	_, err = s.Count(ctx, people, store.Query{Workspace: "w1"})
	s.wantErr(err, store.ErrClosed)
	s.wantErr(s.Iterate(ctx, people, store.Query{}, func(store.Doc) error { return nil }), store.ErrClosed)
	_, err = s.Purge(ctx, 1)
	s.wantErr(err, store.ErrClosed)
	s.wantErr(s.Close(), nil)
}

func oneWinner(s *suite) {
	const contenders = 64
	rounds := s.size(30, 5)
	for round := range rounds {
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range contenders {
			wg.Go(func() {
				p := put("doc", fmt.Sprintf(`{"by":%d}`, i))
				p.If = int64(round)
				switch err := s.Apply(context.Background(), store.Batch{Puts: []store.Put{p}}); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, store.ErrVersion):
					s.t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			s.t.Fatalf("round %d has %d winners", round, won.Load())
		}
	}
	d, err := s.Get(s.t.Context(), people, key("doc"))
	if err != nil || d.Version != int64(rounds) {
		s.t.Fatalf("version %d, %v", d.Version, err)
	}
}

func largeBodies(s *suite) {
	for i, c := range []string{"x", "é"} {
		body := `{"city":"Oslo","pad":"` + strings.Repeat(c, 1<<20/len(c)) + `"}`
		id := fmt.Sprintf("big%d", i)
		s.must(put(id, body), put(id, body))
		s.wantDoc(id, 2, body)
	}
	s.wantIDs(s.find(store.Query{Filter: store.Filter{Path: "city", Op: store.Eq, Value: "Oslo"}}), "big0", "big1")
	blob := bytes.Repeat([]byte{0, 1, 254, 255}, store.MaxBodyBytes/4)
	s.must(store.Put{Collection: blobs, Key: key("big"), Body: blob})
	d, err := s.Get(s.t.Context(), blobs, key("big"))
	if err != nil || !bytes.Equal(d.Body, blob) {
		s.t.Fatalf("%d bytes back, %v", len(d.Body), err)
	}
}

func opaqueBodies(s *suite) {
	bodies := [][]byte{nil, {}, {0}, []byte("{not json"), {0xff, 0xfe}}
	var want []string
	for i, b := range bodies {
		id := fmt.Sprintf("b%d", i)
		want = append(want, id)
		s.must(store.Put{Collection: blobs, Key: key(id), Body: b})
		d, err := s.Get(s.t.Context(), blobs, key(id))
		if err != nil || !bytes.Equal(d.Body, b) {
			s.t.Fatalf("%v came back as %v, %v", b, d.Body, err)
		}
	}
	q := store.Query{Workspace: "w1", IDPrefix: "b", Limit: 2, Sort: "-_id"}
	var got []string
	for {
		page, err := s.Find(s.t.Context(), blobs, q)
		if err != nil {
			s.t.Fatal(err)
		}
		got = append(got, ids(page.Docs)...)
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	slices.Reverse(want)
	s.wantIDs(got, want...)
}

func cancelledContexts(s *suite) {
	s.must(put("ada", `{}`))
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	s.wantErr(s.Apply(ctx, store.Batch{Puts: []store.Put{put("bob", `{}`)}}), context.Canceled)
	s.wantDoc("bob", 0, "")
	_, err := s.Get(ctx, people, key("ada"))
	s.wantErr(err, context.Canceled)
	_, err = s.Find(ctx, people, store.Query{Workspace: "w1"})
	s.wantErr(err, context.Canceled)
	_, err = s.Count(ctx, people, store.Query{Workspace: "w1"})
	s.wantErr(err, context.Canceled)
	s.wantErr(s.Iterate(ctx, people, store.Query{}, func(store.Doc) error { return nil }), context.Canceled)

	// Cancelled while others write: either written and nil, or not and an error.
	const n = 100
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			var both sync.WaitGroup
			both.Go(cancel)
			errs[i] = s.Apply(ctx, store.Batch{Puts: []store.Put{put(fmt.Sprintf("c%03d", i), `{}`)}})
			both.Wait()
		})
	}
	wg.Wait()
	for i, err := range errs {
		if there := s.seen(fmt.Sprintf("c%03d", i)); there != (err == nil) {
			s.t.Fatalf("written %v, error %v", there, err)
		}
	}
}

func typedViews(s *suite) {
	type person struct {
		City string `json:"city"`
		Age  int    `json:"age,omitempty"`
	}
	ctx := s.t.Context()
	view := store.NewTyped[person](s, people)
	for i, city := range []string{"Oslo", "Rome", "Oslo"} {
		if err := view.Save(ctx, key(fmt.Sprintf("p%d", i)), person{City: city, Age: i}, 0); err != nil {
			s.t.Fatal(err)
		}
	}
	s.wantErr(view.Save(ctx, key("p0"), person{}, 0), store.ErrVersion)
	got, err := view.Get(ctx, key("p2"))
	if err != nil || got.Value != (person{City: "Oslo", Age: 2}) || got.Version != 1 || got.Key != key("p2") {
		s.t.Fatalf("%+v, %v", got, err)
	}
	q := store.Query{Workspace: "w1", Filter: store.Filter{Path: "city", Op: store.Eq, Value: "Oslo"}, Limit: 1}
	items, next, err := view.Find(ctx, q)
	if err != nil || len(items) != 1 || items[0].ID != "p0" || next == "" {
		s.t.Fatalf("%+v %q %v", items, next, err)
	}
	if n, err := view.Count(ctx, q); err != nil || n != 2 {
		s.t.Fatalf("%d, %v", n, err)
	}
	sum := 0
	err = view.Each(ctx, store.Query{Workspace: "w1"}, func(i store.Item[person]) error {
		sum += i.Value.Age
		return nil
	})
	if err != nil || sum != 3 {
		s.t.Fatalf("%d, %v", sum, err)
	}
	s.wantErr(s.Apply(ctx, store.Batch{Deletes: []store.Delete{view.Delete(key("p0"), 1)}}), nil)
	_, err = view.Get(ctx, key("p0"))
	s.wantErr(err, store.ErrNotFound)
	s.must(put("bad", `{"city":7}`))
	if _, err := view.Get(ctx, key("bad")); err == nil {
		s.t.Fatal("a number was decoded as a city")
	}
}

func purge(s *suite) {
	n := s.size(1000, 5)
	var puts []store.Put
	for i := range n { // a tenth never expires, a tenth expires each minute
		p := put(fmt.Sprintf("p%04d", i), fmt.Sprintf(`{"email":"e%d"}`, i))
		if i%10 > 0 {
			p.Expires = s.clock.Now().Add(time.Duration(i%10) * time.Minute)
		}
		if i%2 > 0 {
			p.Collection = blobs
		}
		puts = append(puts, p)
	}
	s.must(puts...)
	want := func(limit, want int) {
		s.t.Helper()
		if got, err := s.Purge(s.t.Context(), limit); err != nil || got != want {
			s.t.Fatalf("purged %d, %v; want %d", got, err, want)
		}
	}
	want(n, 0)
	start := s.clock.Now()
	s.clock.Add(5 * time.Minute)
	want(n*3/10, n*3/10)
	want(n, n*2/10)
	want(n, 0)
	s.clock.Add(start.Sub(s.clock.Now())) // what is left had not expired, what is gone is gone
	left, err := s.Count(s.t.Context(), people, store.Query{Workspace: "w1"})
	if err != nil || left != int64(n*3/10) {
		s.t.Fatalf("%d documents are left, %v; want %d", left, err, n*3/10)
	}
	s.must(put("next", `{"email":"e2"}`)) // the value went with its document
	s.wantErr(s.apply(put("third", `{"email":"e6"}`)), store.ErrUnique)
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	_, err = s.Purge(ctx, n)
	s.wantErr(err, context.Canceled)
}
