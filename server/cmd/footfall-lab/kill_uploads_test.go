package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/app"
)

// tillFile is a table of orders with a row for each line, some of them refused, and what
// each of the customers has bought by it: how many orders, in cents.
func tillFile(orders, customers int) (text []byte, rows, refused int64, bought map[string][2]int) {
	var b bytes.Buffer
	b.WriteString("receipt,customer_id,date,currency,article_no,qty,line_total\n")
	bought = map[string][2]int{}
	for i := range orders {
		lines, who, broken := int64(1+i%5), fmt.Sprintf("c%d", i%customers), i%40 == 39
		sum := 0
		for k := range int(lines) {
			cents := 100 + i%700 + k
			sum += cents
			amount := fmt.Sprintf("%d.%02d", cents/100, cents%100)
			if broken && k == 0 {
				amount = "much"
			}
			fmt.Fprintf(&b, "r%d,%s,2026-10-01T10:00:00Z,EUR,a%d,1,%s\n", i, who, k, amount)
		}
		rows += lines
		if broken {
			refused += lines
			continue
		}
		x := bought[who]
		bought[who] = [2]int{x[0] + 1, x[1] + sum}
	}
	return b.Bytes(), rows, refused, bought
}

// sending is an upload of a file to a server that dies.
type sending struct {
	*marketer
	t  *testing.T
	id string
}

type uploadAt struct {
	ID                   string `json:"id"`
	State                string `json:"state"`
	SameAs               string `json:"same_as"`
	Read, Taken, Refused int64
}

// post sends a file from an offset to its end.
func (s *sending) post(ctx context.Context, file []byte, offset int) error {
	return s.send(ctx, bytes.NewReader(file[offset:]), offset, true)
}

func (s *sending) send(ctx context.Context, body io.Reader, offset int, last bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/api/v1/uploads/%s/content?offset=%d&last=%t", s.base, s.id, offset, last), body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s, %w", resp.Status, err)
	}
	return nil
}

// offset is where the server wants it to go on.
func (s *sending) offset() int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodHead, s.base+"/api/v1/uploads/"+s.id, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	n, err := strconv.Atoi(resp.Header.Get("Upload-Offset"))
	if err != nil || resp.Header.Get("Upload-Complete") != "?0" {
		s.t.Fatalf("%s: %v", resp.Status, resp.Header)
	}
	return n
}

func (s *sending) create() {
	s.t.Helper()
	var u uploadAt
	if err := s.call(s.t.Context(), http.MethodPost, "/api/v1/uploads", nil, map[string]any{"kind": "purchases"}, &u); err != nil {
		s.t.Fatal(err)
	}
	s.id = u.ID
}

// reach waits until it has ended, or so many rows have been read.
func (s *sending) reach(rows int64) uploadAt {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; wait(10 * time.Millisecond) {
		var u uploadAt
		if err := s.call(s.t.Context(), http.MethodGet, "/api/v1/uploads/"+s.id, nil, nil, &u); err != nil {
			s.t.Fatal(err)
		}
		if u.State == "done" || u.Read >= rows {
			return u
		}
		if u.State == "failed" || time.Now().After(deadline) {
			s.t.Fatalf("the upload stands at %+v", u)
		}
	}
}

// The server dies while a file comes in, and again and again while it is processed: the file
// goes on where it was, every order is there once with all of its lines, and the same again
// changes nothing.
func TestAnUploadOutlivesKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills a server several times")
	}
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("moments of death by seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	defer http.DefaultClient.CloseIdleConnections()
	v := newVictim(t, t.TempDir(), nil)
	v.conf.Uploads.RowsPerS = 1500
	v.start()
	v.ready()

	file, rows, refused, bought := tillFile(1600, 60)
	s := &sending{marketer: newMarketer("http://"+v.conf.Listen, v.key), t: t}
	s.create()
	cut, broken := make(chan error, 1), len(file)/2
	r, w := io.Pipe()
	go func() { cut <- s.send(t.Context(), r, 0, false) }()
	if _, err := w.Write(file[:broken]); err != nil {
		t.Fatal(err)
	}
	wait(time.Duration(random.IntN(100)) * time.Millisecond)
	v.kill()
	_ = w.CloseWithError(io.ErrUnexpectedEOF) // it is not read any more
	if err := <-cut; err == nil {
		t.Fatal("the first part was not cut off")
	}
	v.start()
	v.ready()
	at := s.offset()
	t.Logf("the server has %d of the %d bytes that were sent", at, broken)
	if err := s.post(t.Context(), file, at); err != nil {
		t.Fatal(err)
	}
	processing, read := 0, int64(0)
	for range max(killCount(t)-1, 1) {
		u := s.reach(read + 200 + random.Int64N(600))
		wait(time.Duration(random.IntN(300)) * time.Millisecond)
		if u.State == "processing" {
			processing++
		}
		read = u.Read
		v.kill()
		v.start()
		v.ready()
	}
	if u := s.reach(math.MaxInt64); u.Read != rows || u.Taken != rows-refused || u.Refused != refused {
		t.Errorf("%+v, want %d rows of which %d are refused", u, rows, refused)
	}
	if t.Logf("it died %d times while it was processed", processing); processing == 0 {
		t.Error("it never died while the file was processed: nothing is shown")
	}
	v.kill() // what is in the log, and not in the store
	v.conf.Uploads.RowsPerS = 0

	// The last server on the folder is this process, so that it can be asked.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := app.New(ctx, app.Options{Config: v.conf})
	if err != nil {
		t.Fatal(err)
	}
	serverCtx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.Run(serverCtx) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("stop the server: %v", err)
		}
	}()
	<-a.Serving()
	v.ready()
	s.counted(ctx, a, bought, "after the deaths")
	s.create()
	if err := s.post(ctx, file, 0); err != nil {
		t.Fatal(err)
	}
	if u := s.reach(math.MaxInt64); u.SameAs == "" || u.Read != 0 {
		t.Errorf("the same file: %+v", u)
	}
	s.create()
	if err := s.post(ctx, append(bytes.Clone(file), '\n'), 0); err != nil {
		t.Fatal(err)
	}
	if u := s.reach(math.MaxInt64); u.Taken != rows-refused {
		t.Errorf("the same rows: %+v", u)
	}
	s.counted(ctx, a, bought, "after the same rows again")
}

// counted compares what everybody has bought, and how often it is told of in their
// timelines.
func (s *sending) counted(ctx context.Context, a *app.App, bought map[string][2]int, when string) {
	s.t.Helper()
	if err := a.Settle(ctx); err != nil {
		s.t.Fatal(err)
	}
	if err := a.Flush(ctx); err != nil {
		s.t.Fatal(err)
	}
	got := map[string][2]int{}
	for who, want := range bought {
		var person struct {
			Purchases struct {
				Count int
				Value map[string]float64
			}
		}
		if err := s.call(ctx, http.MethodGet, "/api/v1/people/user_id:"+who, nil, nil, &person); err != nil {
			s.t.Fatalf("%s, %s: %v", when, who, err)
		}
		got[who] = [2]int{person.Purchases.Count, int(math.Round(person.Purchases.Value["EUR"] * 100))}
		var told struct{ Items []struct{ Kind string } }
		if err := s.call(ctx, http.MethodGet, "/api/v1/people/user_id:"+who+"/timeline?limit=200", nil, nil, &told); err != nil {
			s.t.Fatal(err)
		}
		n := 0
		for _, e := range told.Items {
			if e.Kind == "touch" {
				n++
			}
		}
		if n != want[0] {
			s.t.Errorf("%s the timeline of %s has %d orders, want %d", when, who, n, want[0])
		}
	}
	if !maps.Equal(got, bought) {
		s.t.Errorf("%s: bought %v, want %v", when, got, bought)
	}
}
