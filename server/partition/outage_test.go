package partition_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
)

// fault is what goes wrong with one request.
type fault int

const (
	none   fault = iota
	before       // it does not land
	after        // it lands, the answer is lost
	late         // the answer is lost; it lands just before the next request
)

var errNetwork = errors.New("connection reset by peer")

// remote is a store behind a network.
type remote struct {
	*memStore
	next func(op string) fault // op: get, iterate, apply

	mu      sync.Mutex
	delayed *store.Batch
}

func (r *remote) ask(ctx context.Context, op string) fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.delayed != nil {
		_ = r.memStore.Apply(context.WithoutCancel(ctx), *r.delayed) // refused if the position has moved on
		r.delayed = nil
	}
	return r.next(op)
}

func (r *remote) Get(ctx context.Context, collection string, key store.Key) (store.Doc, error) {
	if r.ask(ctx, "get") != none {
		return store.Doc{}, errNetwork
	}
	return r.memStore.Get(ctx, collection, key)
}

func (r *remote) Iterate(ctx context.Context, collection string, q store.Query, f func(store.Doc) error) error {
	fails := r.ask(ctx, "iterate") != none
	n := 0
	err := r.memStore.Iterate(ctx, collection, q, func(d store.Doc) error {
		if n++; fails && n > 1 {
			return errNetwork // in the middle
		}
		return f(d)
	})
	if fails {
		return errNetwork
	}
	return err
}

func (r *remote) Apply(ctx context.Context, b store.Batch) error {
	switch r.ask(ctx, "apply") {
	case before:
		return errNetwork
	case after:
		if err := r.memStore.Apply(ctx, b); err != nil {
			return err
		}
		return errNetwork
	case late:
		r.mu.Lock()
		r.delayed = &b
		r.mu.Unlock()
		return errNetwork
	}
	return r.memStore.Apply(ctx, b)
}

// weather is bad now and then, for some requests in a row.
type weather struct {
	mu     sync.Mutex
	rnd    *rand.Rand
	kinds  []fault
	kind   fault
	left   int
	faults int
}

func newWeather(seed uint64, kinds ...fault) *weather {
	return &weather{rnd: rand.New(rand.NewPCG(seed, 1)), kinds: kinds} //nolint:gosec // a fixed disorder
}

func (w *weather) now() fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left == 0 && w.rnd.IntN(6) == 0 {
		w.left, w.kind = 1+w.rnd.IntN(3), w.kinds[w.rnd.IntN(len(w.kinds))]
	}
	if w.left == 0 {
		return none
	}
	w.left--
	w.faults++
	return w.kind
}

// remoteLog is a log behind a network: it does not always open, its bounds and
// its reads do not always come.
type remoteLog struct {
	eventlog.Log
	weather *weather
}

func (l *remoteLog) Open(ctx context.Context, name string, subjects ...string) (eventlog.Stream, error) {
	if l.weather.now() != none {
		return nil, errNetwork
	}
	s, err := l.Log.Open(ctx, name, subjects...)
	return &eventlogtest.Faulty{
		Stream:   s,
		FailRead: func() bool { return l.weather.now() != none },
		Next: func(string, []byte) eventlogtest.Fault {
			return eventlogtest.Fault(l.weather.now()) // the same names in the same order
		},
	}, err
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// The store, the log or both fail now and then, before or after they have done
// what they were asked, in both modes and also across stops: the loop goes on, and
// the result is that of an undisturbed run.
func TestOutagesAreWaitedOutAndChangeNothing(t *testing.T) {
	want := undisturbed(t, partition.Reference)
	for _, mode := range []partition.Mode{partition.Reference, partition.Fast} {
		for name, c := range map[string]struct {
			kinds []fault
			store bool
			log   bool
		}{
			"store before": {[]fault{before}, true, false},
			"store after":  {[]fault{after}, true, false},
			"store late":   {[]fault{late}, true, false},
			"log":          {[]fault{before, after, late}, false, true},
			"both":         {[]fault{before, after, late}, true, true},
		} {
			t.Run(fmt.Sprintf("%s/%s", mode, name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, mode)
				w.fill(story())
				sky := newWeather(uint64(len(name)), c.kinds...)
				if c.store {
					w.o.Hot = &remote{memStore: w.hot, next: func(string) fault { return sky.now() }}
					w.o.States = &remote{memStore: w.states, next: func(string) fault { return sky.now() }}
				}
				if c.log {
					w.o.Log = &remoteLog{w.log, sky}
				}
				w.o.NoHandover = true // read all
				w.o.CheckpointEvery = 2 * time.Millisecond
				said := &lines{}
				w.o.Logger = slog.New(slog.NewTextHandler(said, nil))
				outages := uint64(0)
				for _, crash := range []bool{true, false} {
					o := w.o
					if crash { // the rest is for the next run, which opens in bad weather too
						o.Fault = crashAt(partition.FaultCommitted, 8)
					}
					p := w.open(o)
					if idle := p.settle(); idle == crash {
						t.Fatalf("idle %t: %v", idle, <-p.done)
					}
					outages += p.Stats().Outages
					if !crash {
						p.until("fair weather", func() bool { return p.Stats().Trouble == partition.Trouble{} })
					}
					err := p.end()
					if crash != errors.Is(err, errCrash) || !crash && err != nil {
						t.Fatalf("stopped by %v", err)
					}
				}
				w.result().equal(t, want, name)
				if outages == 0 || sky.faults < 5 {
					t.Fatalf("%d outages of %d faults", outages, sky.faults)
				}
				if n := said.count("partition waits"); uint64(n) < outages || n > sky.faults { // saving at the stop comes on top
					t.Errorf("%d lines for %d outages", n, outages)
				}
			})
		}
	}
}

// away is a store that is away while the switch is on.
func away(m *memStore, f fault) (s *remote, set func(on bool)) {
	var mu sync.Mutex
	is := false
	s = &remote{memStore: m, next: func(string) fault {
		mu.Lock()
		defer mu.Unlock()
		if is {
			return f
		}
		return none
	}}
	return s, func(on bool) {
		mu.Lock()
		defer mu.Unlock()
		is = on
	}
}

func (r *running) until(what string, f func() bool) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	for !f() {
		select {
		case err := <-r.done:
			r.t.Fatalf("stopped before %s: %v", what, err)
		case <-deadline:
			r.t.Fatalf("no %s: %+v", what, r.Stats())
		case <-time.After(time.Millisecond):
		}
	}
}

func someItem() []engage.Entry {
	return []engage.Entry{{Kind: "item", Key: "w/i:a", At: start, Body: []byte("x")}}
}

func TestAnOutageIsToldOncePerChange(t *testing.T) {
	w := newWorld(t, partition.Reference)
	s, set := away(w.states, before)
	said := &lines{}
	w.o.States, w.o.Logger = s, slog.New(slog.NewTextHandler(said, nil))
	p := w.open(w.o)
	p.settle()
	set(true)
	if err := p.Append(t.Context(), someItem()); err != nil {
		t.Fatal(err)
	}
	p.until("five tries", func() bool { return p.Stats().Trouble.Tries >= 5 })
	if tr := p.Stats().Trouble; tr.Doing == "" || !tr.Since.Equal(start) || !strings.Contains(tr.Error, "reset by peer") {
		t.Errorf("trouble %+v", tr)
	}
	if waits, goesOn := said.count("partition waits"), said.count("partition goes on"); waits != 1 || goesOn != 0 {
		t.Errorf("%d lines that it waits, %d that it goes on", waits, goesOn)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush during the outage: %v", err)
	}
	set(false)
	if !p.settle() {
		t.Fatalf("stopped: %v", <-p.done)
	}
	if st := p.Stats(); st.Trouble != (partition.Trouble{}) || st.Outages == 0 {
		t.Errorf("afterwards %+v", st)
	}
	if said.count("partition goes on") == 0 {
		t.Error("nothing says that it goes on")
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
}

// A stop does not wait for ever, says that it could not save, and loses nothing.
func TestAStopDuringAnOutageEndsAndLosesNothing(t *testing.T) {
	want := undisturbed(t, partition.Reference)
	for _, mode := range []partition.Mode{partition.Reference, partition.Fast} {
		for _, f := range []fault{before, after} {
			t.Run(fmt.Sprintf("%s/%d", mode, f), func(t *testing.T) {
				w := newWorld(t, mode)
				w.fill(story())
				hot, setHot := away(w.hot, f)
				states, setStates := away(w.states, f)
				o := w.o
				o.Hot, o.States, o.StopWithin = hot, states, 20*time.Millisecond
				n := 0
				o.Tap = func(eventlog.Message) {
					if n++; n == 30 {
						setHot(true)
						setStates(true)
					}
				}
				p := w.open(o)
				p.until("outage", func() bool { return p.Stats().Trouble.Tries >= 2 })
				if err := p.end(); !errors.Is(err, errNetwork) {
					t.Fatalf("stopped by %v", err)
				}
				p = w.open(w.o)
				if !p.settle() {
					t.Fatalf("stopped: %v", <-p.done)
				}
				if err := p.end(); err != nil {
					t.Fatal(err)
				}
				w.result().equal(t, want, "after a stop in an outage")
			})
		}
	}
}

func TestRowsThatCouldNotBeDeletedAreDeletedLater(t *testing.T) {
	w := newWorld(t, partition.Fast)
	w.fill(story())
	clumsy := &clumsy{memStore: w.hot, fails: 3}
	w.o.Hot, w.o.MaxBatch = clumsy, 1000 // the rows are left to the checkpoint
	p := w.open(w.o)
	p.settle()
	p.until("empty outbox", func() bool { return w.hot.dump("outbox") == "" })
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if clumsy.fails != 0 {
		t.Errorf("%d failures were not met", clumsy.fails)
	}
}

// clumsy fails to delete.
type clumsy struct {
	*memStore
	mu    sync.Mutex
	fails int
}

func (c *clumsy) Apply(ctx context.Context, b store.Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(b.Puts) == 0 && c.fails > 0 {
		c.fails--
		return errNetwork
	}
	return c.memStore.Apply(ctx, b)
}

// While the answer to a commit is missing somebody else takes the partition over:
// whether the commit had landed or not, the old owner ends.
func TestWhoIsFencedDuringAnOutageEnds(t *testing.T) {
	for _, mode := range []partition.Mode{partition.Reference, partition.Fast} {
		for _, f := range []fault{before, after, late} {
			t.Run(fmt.Sprintf("%s/%d", mode, f), func(t *testing.T) {
				w := newWorld(t, mode)
				hot, setHot := away(w.hot, f)
				states, setStates := away(w.states, f)
				o := w.o
				o.Hot, o.States = hot, states
				old := w.open(o)
				old.settle()
				setHot(true)
				setStates(true)
				if err := old.Append(t.Context(), someItem()); err != nil {
					t.Fatal(err)
				}
				old.until("outage", func() bool { return old.Stats().Trouble.Tries >= 2 })
				claimed, err := partition.Open(t.Context(), w.o) // and has done nothing yet
				if err != nil {
					t.Fatal(err)
				}
				setHot(false)
				setStates(false)
				select {
				case err := <-old.done:
					if !errors.Is(err, partition.ErrFenced) {
						t.Errorf("the older stopped by %v", err)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("the older goes on: %+v", old.Stats())
				}
				newer := w.run(claimed)
				if !newer.settle() {
					t.Fatalf("the newer stopped: %v", <-newer.done)
				}
				if err := newer.end(); err != nil {
					t.Fatal(err)
				}
				if got := w.states.dump("state_in"); !strings.Contains(got, `"n":1,`) {
					t.Errorf("one item gave %s", got)
				}
			})
		}
	}
}

func TestWhatNoRepetitionHealsIsNotWaitedOut(t *testing.T) {
	w := newWorld(t, partition.Fast)
	bad := store.Put{Collection: "positions", Key: store.Key{Workspace: store.System, ID: "in/0/states"}, Body: []byte("{")}
	if err := w.states.Apply(t.Context(), store.Batch{Puts: []store.Put{bad}}); err != nil {
		t.Fatal(err)
	}
	if _, err := partition.Open(t.Context(), w.o); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("a position that cannot be read: %v", err)
	}

	w = newWorld(t, partition.Fast)
	closed := &closing{memStore: w.states}
	w.o.States = closed
	p := w.open(w.o)
	p.settle()
	closed.mu.Lock()
	closed.is = true
	closed.mu.Unlock()
	if err := p.Append(t.Context(), someItem()); err != nil {
		t.Fatal(err)
	}
	if err := <-p.done; !errors.Is(err, store.ErrClosed) {
		t.Errorf("a closed store: %v", err)
	}
}

// closing is a store that can be closed.
type closing struct {
	*memStore
	mu sync.Mutex
	is bool
}

func (c *closing) Get(ctx context.Context, collection string, key store.Key) (store.Doc, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.is {
		return store.Doc{}, store.ErrClosed
	}
	return c.memStore.Get(ctx, collection, key)
}

func TestAnOutageAtTheStartIsWaitedOut(t *testing.T) {
	w := newWorld(t, partition.Fast)
	s, set := away(w.states, after)
	w.o.States = s
	set(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := partition.Open(ctx, w.o); !errors.Is(err, errNetwork) {
		t.Errorf("gave up with %v", err)
	}
	opened := make(chan error, 1)
	go func() {
		p, err := partition.Open(t.Context(), w.o)
		if err == nil {
			stopped, stop := context.WithCancel(t.Context())
			stop()
			err = p.Run(stopped)
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Errorf("opened without a store: %v", err)
	case <-time.After(20 * time.Millisecond): // long enough for it to have failed
	}
	set(false)
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
