package uploads_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/uploads"
)

// held is a log whose answers wait.
type held struct {
	memoryLog
	came chan struct{}
	let  chan struct{}
}

func (l *held) Append(ctx context.Context, entries []engage.Entry) error {
	l.came <- struct{}{}
	select {
	case <-l.let:
		return l.memoryLog.Append(ctx, entries)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Whoever knows that somebody is erased and then asks for what was read before finds, when
// that is in the log, every row of theirs in it: none comes behind.
func TestNoRowOfAnErasedPersonComesBehindWhatWasReadBefore(t *testing.T) {
	var erased atomic.Bool
	log := &held{came: make(chan struct{}), let: make(chan struct{})}
	d := newDesk(t, func(o *uploads.Options) {
		o.Log = log
		o.Erased = func(_, name string, since time.Time) bool {
			return erased.Load() && (name == "user_id:ada" || name == engage.PersonID("shop", "email:a@example.com")) && !since.After(now)
		}
	})
	var b strings.Builder
	b.WriteString("user_id,email\n")
	for range 1000 {
		b.WriteString("ada,\nben,\n,a@example.com\n")
	}
	id := d.give(uploads.Making{Kind: uploads.People}, b.String())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	<-log.came // the first portion is on its way, the second being read
	erased.Store(true)
	landed := make(chan int, 1)
	go func() {
		if err := d.Landed(ctx); err != nil {
			t.Error(err)
		}
		log.mu.Lock()
		defer log.mu.Unlock()
		landed <- len(log.batches)
	}()
	select {
	case n := <-landed:
		t.Fatalf("it did not wait: %d portions are in the log", n)
	case log.let <- struct{}{}:
	}
	behind := -1
	for behind < 0 || !d.get(id).State.Ended() {
		select {
		case behind = <-landed:
		case <-log.came:
			log.let <- struct{}{}
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, batch := range log.batches {
		for _, e := range batch {
			if x := touchOf(t, e).Identifiers[0]; i >= behind && x != "user_id:ben" {
				t.Fatalf("%s came with portion %d, behind the %d", x, i, behind)
			}
		}
	}
	if u := d.get(id); behind == 0 || u.Read != 3000 || u.Refused < 1600 || !strings.Contains(d.report(id), "erased after the file was sent in") {
		t.Errorf("%d portions before, %+v", behind, u)
	}
}

// The same bytes bring nobody back, also where they are read once more: with another mapping,
// or after a run that refused rows. Other bytes do.
func TestTheSameFileBringsNobodyBackWhoWasErased(t *testing.T) {
	var erasedAt time.Time
	d := newDesk(t, func(o *uploads.Options) {
		o.Erased = func(_, name string, since time.Time) bool {
			return name == "user_id:ada" && !erasedAt.IsZero() && !since.After(erasedAt)
		}
	})
	const file = "user_id,points\nada,1\nben,2\n"
	first := d.give(uploads.Making{Kind: uploads.People}, file)
	d.run(d.ended(first))
	erasedAt = d.clock.Now().Add(time.Minute)
	d.clock.Advance(time.Hour)
	for _, c := range []struct {
		what, file string
		m          uploads.Mapping
		refused    int64
	}{
		{"another mapping", file, uploads.Mapping{"user_id": "user_id", "points": "attributes.score"}, 1},
		{"other bytes", file + "cleo,3\n", nil, 0},
	} {
		id := d.give(uploads.Making{Kind: uploads.People, Mapping: c.m}, c.file)
		d.run(d.ended(id))
		if u := d.get(id); u.State != uploads.Done || u.Refused != c.refused {
			t.Errorf("%s: %d rows refused, want %d: %+v", c.what, u.Refused, c.refused, u)
		}
	}
}

// Nothing waits longer than erasures are known.
func TestUploadsDoNotWaitForever(t *testing.T) {
	d := newDesk(t)
	u := d.create(uploads.Making{Kind: uploads.People})
	for range 31 {
		d.clock.Advance(48 * time.Hour)
		if d.get(u.ID).State != uploads.Receiving {
			t.Fatalf("given up: %+v", d.get(u.ID))
		}
		if _, err := d.Write("shop", u.ID, d.get(u.ID).Received, false, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	d.run(d.ended(u.ID))
	if u := d.get(u.ID); u.State != uploads.Cancelled || u.Problem == nil {
		t.Errorf("%+v", u)
	}
}
