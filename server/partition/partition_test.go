package partition_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// story is a log with everything in it: items of several keys, outputs of two
// other partitions with repeats, configuration, timers' firings, poison, and a
// record that cannot be read.
func story() [][]engage.Entry {
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a fixed story
	var out [][]engage.Entry
	at := start
	from := engage.Source{Partition: "act/1", Incarnation: 1}
	for i := range 120 {
		var r []engage.Entry
		for j := range 1 + rnd.IntN(4) {
			at = at.Add(time.Duration(rnd.IntN(2000)) * time.Millisecond)
			e := engage.Entry{Kind: "item", Key: fmt.Sprintf("w/i:%d", rnd.IntN(5)), At: at, Body: fmt.Appendf(nil, "%d.%d", i, j)}
			switch rnd.IntN(12) {
			case 0:
				e.Body = []byte("poison")
			case 1:
				e.Body = []byte("panic")
			case 2, 3:
				from.Seq++
				e.From = from
			case 4: // published a second time
				e.From = from
			}
			r = append(r, e)
		}
		if i%30 == 10 {
			r = append(r, engage.Entry{Kind: engage.KindAdopt, Key: "_/c:adopt", At: at, Body: fmt.Appendf(nil, "%d", i/10)})
		}
		out = append(out, r)
	}
	return out
}

// result is what an undisturbed run leaves behind.
type result struct {
	outputs map[string]string
	states  string
}

func (w *world) result() result {
	return result{w.next.bytes(), w.states.dump("state_in", "docs", "timers", "quarantine")}
}

func (r result) equal(t *testing.T, want result, what string) {
	t.Helper()
	if !maps.Equal(r.outputs, want.outputs) {
		t.Errorf("%s: outputs differ", what)
	}
	if r.states != want.states {
		t.Errorf("%s: states differ:\n%s", what, firstDifference(r.states, want.states))
	}
}

func firstDifference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(as), len(bs)) {
		x, y := "", ""
		if i < len(as) {
			x = as[i]
		}
		if i < len(bs) {
			y = bs[i]
		}
		if x != y {
			return fmt.Sprintf("got  %s\nwant %s", x, y)
		}
	}
	return "equal"
}

func undisturbed(t *testing.T, mode partition.Mode) result {
	t.Helper()
	w := newWorld(t, mode)
	w.fill(story())
	p := w.open(w.o)
	if !p.settle() {
		t.Fatalf("stopped: %v", <-p.done)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	r := w.result()
	if len(r.outputs) != 2 || !strings.Contains(r.states, "quarantine") || !strings.Contains(r.states, "timers") {
		t.Fatalf("the story is too thin: %d destinations\n%s", len(r.outputs), r.states)
	}
	return r
}

func TestFastModeEqualsReferenceMode(t *testing.T) {
	undisturbed(t, partition.Fast).equal(t, undisturbed(t, partition.Reference), "fast")
}

func TestCrashAtEveryStepChangesNothing(t *testing.T) {
	want := undisturbed(t, partition.Reference)
	points := []string{
		partition.FaultRead, partition.FaultApplied, partition.FaultCommitted, partition.FaultDelivered,
		partition.FaultStatesBefore, partition.FaultStatesAfter,
	}
	for _, mode := range []partition.Mode{partition.Reference, partition.Fast} {
		for _, point := range points {
			t.Run(fmt.Sprintf("%s/%s", mode, point), func(t *testing.T) {
				w := newWorld(t, mode)
				w.fill(story())
				crashes := 0
				for n := 1; ; n++ { // at the first visit, then at the second of the next run, …
					o := w.o
					o.Fault = crashAt(point, 1+n%4)
					if mode == partition.Fast && n%2 == 0 {
						o.CheckpointEvery = time.Hour // nothing saved between: long replays
					}
					if n%3 == 0 {
						o.MaxStateBytes = 1 // everything is saved at once, and read again
					}
					p := w.open(o)
					if p.settle() {
						err := p.end() // the last commit may crash too
						if err == nil {
							break
						}
						p.done <- err
					}
					if err := <-p.done; !errors.Is(err, errCrash) {
						t.Fatalf("stopped by %v", err)
					}
					if crashes++; crashes > 2000 {
						t.Fatal("no end of crashes")
					}
				}
				p := w.open(w.o)
				if !p.settle() {
					t.Fatalf("stopped: %v", <-p.done)
				}
				if err := p.end(); err != nil {
					t.Fatal(err)
				}
				if crashes == 0 && point != partition.FaultStatesAfter {
					t.Errorf("%s was never reached", point)
				}
				w.result().equal(t, want, fmt.Sprintf("after %d crashes", crashes))
			})
		}
	}
}

func TestAStopReplaysNothing(t *testing.T) {
	w := newWorld(t, partition.Fast)
	w.fill(story())
	w.o.CheckpointEvery = time.Hour // only the stop saves
	p := w.open(w.o)
	p.settle()
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	applied := 0
	w.o.Tap = func(eventlog.Message) { applied++ }
	p = w.open(w.o)
	p.settle()
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if applied != 0 {
		t.Errorf("%d records were applied again after a clean stop", applied)
	}
}

// A crash, then other code: what left stays as it was, and it is recorded.
func TestOutputsStayWhenAnotherBuildReplays(t *testing.T) {
	w := newWorld(t, partition.Fast)
	w.fill(story())
	o := w.o
	o.CheckpointEvery = time.Hour
	o.MaxBatch = 1
	o.Fault = crashAt(partition.FaultCommitted, 25)
	p := w.open(o)
	if p.settle() {
		t.Fatal("did not crash")
	}
	p.stopped()
	doc, err := w.hot.Get(t.Context(), "positions", store.Key{Workspace: store.System, ID: "in/0/out"})
	if err != nil {
		t.Fatal(err)
	}
	var crashedAt struct{ Seq uint64 }
	if err := json.Unmarshal(doc.Body, &crashedAt); err != nil || crashedAt.Seq < 20 {
		t.Fatalf("output position %s: %v", doc.Body, err)
	}
	o = w.o
	o.Build, o.Machine = "two", chainMachine{twist: "two"}
	p = w.open(o)
	p.settle()
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.states.dump("alarms"), "upgrade_replay") {
		t.Error("the replay by another build is not recorded")
	}
	old := undisturbed(t, partition.Fast)
	// Up to the output position the old build's outputs stand, byte for byte.
	for dest, got := range w.next.bytes() {
		g, err := engage.DecodeRecord([]byte(got))
		if err != nil {
			t.Fatal(err)
		}
		want, err := engage.DecodeRecord([]byte(old.outputs[dest]))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for i, e := range g {
			if e.From.Seq > crashedAt.Seq {
				break
			}
			n++
			if i >= len(want) || string(e.Body) != string(want[i].Body) || e.From != want[i].From {
				t.Fatalf("%s: output %d changed", dest, i)
			}
		}
		if n == 0 {
			t.Errorf("%s: nothing from before the crash", dest)
		}
	}
}

// shuffled is a stream whose reads come in any order, short, with repeats.
type shuffled struct {
	eventlog.Stream
	rnd *rand.Rand
}

func (s *shuffled) Read(ctx context.Context, from uint64, limit int) ([]eventlog.Message, error) {
	msgs, err := s.Stream.Read(ctx, from, limit)
	msgs = slices.Clone(msgs)
	switch s.rnd.IntN(4) {
	case 0:
		s.rnd.Shuffle(len(msgs), func(i, j int) { msgs[i], msgs[j] = msgs[j], msgs[i] })
	case 1:
		msgs = append(msgs[:1:1], msgs...)
	case 2:
		if len(msgs) > 2 {
			msgs = append(msgs[:1:1], msgs[2:]...) // a hole
		}
	}
	return msgs, err
}

type shuffledLog struct {
	eventlog.Log
	rnd *rand.Rand
}

func (l *shuffledLog) Open(ctx context.Context, name string, subjects ...string) (eventlog.Stream, error) {
	s, err := l.Log.Open(ctx, name, subjects...)
	return &shuffled{s, l.rnd}, err
}

func TestReadsOutOfOrderChangeNothing(t *testing.T) {
	want := undisturbed(t, partition.Reference)
	w := newWorld(t, partition.Fast)
	w.fill(story())
	w.o.Log = &shuffledLog{w.log, rand.New(rand.NewPCG(3, 4))} //nolint:gosec // a fixed disorder
	p := w.open(w.o)
	if !p.settle() {
		t.Fatalf("stopped: %v", <-p.done)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	w.result().equal(t, want, "shuffled")
}

// Handed over in memory or read from the stream: the same.
func TestHandoverEqualsFetch(t *testing.T) {
	run := func(noHandover bool) ([]string, string) {
		w := newWorld(t, partition.Fast)
		w.o.NoHandover = noHandover
		p := w.open(w.o)
		p.settle()
		var wg sync.WaitGroup
		for g := range 4 { // each its own key: the order within a key is the goroutine's
			wg.Go(func() {
				for i := range 200 {
					e := engage.Entry{Kind: "item", Key: fmt.Sprintf("w/i:%d", g), Body: fmt.Appendf(nil, "%d", i)}
					if err := p.Append(t.Context(), []engage.Entry{e}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		p.settle()
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
		return w.next.bodies(), w.states.dump("state_in")
	}
	outA, statesA := run(false)
	outB, statesB := run(true)
	if !slices.Equal(outA, outB) || len(outA) < 200 {
		t.Errorf("outputs differ: %d and %d", len(outA), len(outB))
	}
	if statesA != statesB {
		t.Error(firstDifference(statesA, statesB))
	}
}

// Appends go on while the partition crashes again and again: every acknowledged
// entry takes effect exactly once.
func TestAcknowledgedEntriesTakeEffectOnceUnderCrashes(t *testing.T) {
	for _, mode := range []partition.Mode{partition.Reference, partition.Fast} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t, mode)
			rnd := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // a fixed disorder
			points := []string{partition.FaultApplied, partition.FaultCommitted, partition.FaultDelivered, partition.FaultStatesBefore, partition.FaultRead}
			acked := 0
			from := engage.Source{Partition: "up/0", Incarnation: 1}
			for range 25 {
				o := w.o
				o.Fault = crashAt(points[rnd.IntN(len(points))], 1+rnd.IntN(12))
				p := w.open(o)
				for i := range 40 {
					// The upstream's outbox: what is not acknowledged is published again
					// under the same source.
					from.Seq = uint64(acked + 1) //nolint:gosec // small
					e := engage.Entry{Kind: "item", Key: "w/i:1", From: from, Body: fmt.Appendf(nil, "%d", i)}
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					err := p.Append(ctx, []engage.Entry{e})
					cancel()
					if err != nil {
						break // unknown: it may have landed; the next run publishes it again
					}
					acked++
				}
				if p.settle() {
					_ = p.end()
				} else {
					p.stopped()
				}
			}
			p := w.open(w.o)
			p.settle()
			if err := p.end(); err != nil {
				t.Fatal(err)
			}
			d, err := w.states.Get(t.Context(), "state_in", store.Key{Workspace: "w", ID: "i:1"})
			if err != nil {
				t.Fatal(err)
			}
			st, err := chainMachine{}.Decode("", d.Body)
			if err != nil {
				t.Fatal(err)
			}
			// One more is possible: landed, but its answer was lost in the last crash.
			n := st.(*chain).N // the clock stands still: no timer fired
			if n != acked && n != acked+1 {
				t.Errorf("%d acknowledged, %d in effect", acked, n)
			}
			if acked < 50 {
				t.Errorf("only %d were acknowledged", acked)
			}
		})
	}
}

func TestTimersFireOnceAsRecords(t *testing.T) {
	for _, mode := range []partition.Mode{partition.Reference, partition.Fast} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t, mode)
			w.fill([][]engage.Entry{{
				{Kind: "item", Key: "w/i:a", At: start, Body: []byte("x")}, // N=1: a timer in a minute
				{Kind: "item", Key: "w/i:b", At: start, Body: []byte("y")},
			}})
			p := w.open(w.o)
			p.settle()
			if p.Stats().Firings != 0 {
				t.Fatal("fired too early")
			}
			if err := p.end(); err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(2 * time.Minute) // due while nobody ran
			o := w.o
			o.Fault = crashAt(partition.FaultTimerAppended, 1) // appended, then dead: it will be appended again
			p = w.open(o)
			if p.settle() {
				t.Fatal("did not crash")
			}
			p.stopped()
			p = w.open(w.o)
			p.settle()
			if err := p.end(); err != nil {
				t.Fatal(err)
			}
			if got := w.next.bodies(); len(got) != 2 {
				t.Errorf("2 timers gave %d firings in effect: %q", len(got), got)
			}
			if left := w.states.dump("timers"); left != "" {
				t.Errorf("timers left: %s", left)
			}
		})
	}
}

func TestMovedAndClearedTimersDoNotFire(t *testing.T) {
	w := newWorld(t, partition.Fast)
	p := w.open(w.o)
	p.settle()
	add := func(n int) {
		for range n {
			if err := p.Append(t.Context(), []engage.Entry{{Kind: "item", Key: "w/i:a", Body: []byte("x")}}); err != nil {
				t.Fatal(err)
			}
		}
		p.settle()
	}
	add(1) // set for start+60s
	w.clock.Advance(30 * time.Second)
	add(7) // N=8 moves it to start+90s
	w.clock.Advance(40 * time.Second)
	p.settle()
	if n := p.Stats().Firings; n != 0 {
		t.Errorf("a moved timer fired %d times at its old time", n)
	}
	add(3) // N=11 clears it
	w.clock.Advance(time.Hour)
	p.settle()
	if n := p.Stats().Firings; n != 0 {
		t.Errorf("a cleared timer fired %d times", n)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
}

func TestConfigurationIsAdoptedAsARecord(t *testing.T) {
	w := newWorld(t, partition.Fast)
	w.config.set(3)
	p := w.open(w.o)
	p.settle() // ready only with the configuration of the start
	add := func() {
		for range 3 {
			if err := p.Append(t.Context(), []engage.Entry{{Kind: "item", Key: "w/i:a", Body: []byte("x")}}); err != nil {
				t.Fatal(err)
			}
		}
		p.settle()
	}
	add()
	w.config.set(5)
	adopted := func() bool { return p.Stats().Applied >= 5 } // 2 adoptions, 3 items
	for deadline := time.Now().Add(10 * time.Second); !adopted(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("revision 5 was never adopted")
		}
	}
	add()
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(w.next.bodies(), "\n")
	if !strings.Contains(got, "config-3 3") || !strings.Contains(got, "config-5 5") {
		t.Errorf("decided under %s", got)
	}
	// A replay of the same log, with a newer configuration about, decides the same.
	w2 := newWorld(t, partition.Fast)
	w2.o.Log, w2.config.latest = w.log, 5
	p = w2.open(w2.o)
	p.settle()
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(w2.next.bytes(), w.next.bytes()) {
		t.Error("the replay decided otherwise")
	}
}

// lossy forgets the tail of the stream when it is opened: a power cut.
type lossy struct {
	eventlog.Log
	keep map[string]uint64
}

type lossyStream struct {
	eventlog.Stream
	keep uint64
}

func (l *lossy) Open(ctx context.Context, name string, subjects ...string) (eventlog.Stream, error) {
	s, err := l.Log.Open(ctx, name, subjects...)
	if keep, ok := l.keep[name]; ok && err == nil {
		return &lossyStream{s, keep}, nil
	}
	return s, err
}

func (s *lossyStream) Bounds(ctx context.Context) (uint64, uint64, error) {
	first, last, err := s.Stream.Bounds(ctx)
	return first, min(last, s.keep), err
}

func TestALostTailBeginsANewIncarnation(t *testing.T) {
	for _, mode := range []partition.Mode{partition.Reference, partition.Fast} {
		for _, crash := range []string{"", partition.FaultSealed, partition.FaultStatesBefore} {
			t.Run(fmt.Sprintf("%s/%s", mode, crash), func(t *testing.T) {
				w := newWorld(t, mode)
				w.fill(story())
				p := w.open(w.o)
				p.settle()
				if err := p.end(); err != nil {
					t.Fatal(err)
				}
				before := w.states.dump("state_in")
				w.o.Log = &lossy{w.log, map[string]uint64{"IN_0": 80}}
				if crash != "" {
					o := w.o
					o.Fault = crashAt(crash, 1)
					if q, err := partition.Open(t.Context(), o); err == nil {
						if err := q.Run(t.Context()); !errors.Is(err, errCrash) {
							t.Fatalf("stopped by %v", err)
						}
					} else if !errors.Is(err, errCrash) {
						t.Fatal(err)
					}
				}
				p = w.open(w.o)
				p.settle()
				if got := w.states.dump("state_in"); got != before {
					t.Error("the lost tail changed the states:\n" + firstDifference(got, before))
				}
				seen := len(w.next.bodies())
				for i := range 30 {
					if err := p.Append(t.Context(), []engage.Entry{{Kind: "item", Key: "w/i:1", Body: fmt.Appendf(nil, "new %d", i)}}); err != nil {
						t.Fatal(err)
					}
				}
				p.settle()
				if err := p.end(); err != nil {
					t.Fatal(err)
				}
				if got := len(w.next.bodies()) - seen; got != 10 {
					t.Errorf("30 new entries put out %d values downstream, want 10", got)
				}
				if !strings.Contains(w.states.dump("alarms"), "lost_tail") {
					t.Error("no alarm")
				}
				// It stays in the new incarnation.
				p = w.open(w.o)
				p.settle()
				if err := p.end(); err != nil {
					t.Fatal(err)
				}
				if n := strings.Count(w.states.dump("alarms"), `"kind":"lost_tail"`); n != 1 {
					t.Errorf("%d alarms for one lost tail", n)
				}
			})
		}
	}
}

func TestPoisonIsSetAsideAndCanBeRequeued(t *testing.T) {
	w := newWorld(t, partition.Fast)
	w.fill([][]engage.Entry{
		{{Kind: "item", Key: "w/i:a", At: start, Body: []byte("1")}, {Kind: "item", Key: "w/i:a", At: start, Body: []byte("poison")}, {Kind: "item", Key: "w/i:a", At: start, Body: []byte("2")}},
	})
	s, err := w.log.Open(t.Context(), "IN_0", "in.0.>")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), "in.0.w", []byte("\xffnot a record"), -1); err != nil {
		t.Fatal(err)
	}
	p := w.open(w.o)
	p.settle()
	if n := p.Stats().Quarantined; n != 2 {
		t.Errorf("%d quarantined, want the poison and the unreadable record", n)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.states.dump("state_in"); !strings.Contains(got, `"n":2`) {
		t.Errorf("the poison left a trace, or its neighbours did not: %s", got)
	}
	q := w.states.dump("quarantine")
	if !strings.Contains(q, "cannot digest it") || !strings.Contains(q, "not a readable log record") {
		t.Errorf("reasons are missing: %s", q)
	}
	// Mended code, then the command.
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	w.o.Machine = tolerant{}
	p = w.open(w.o)
	p.settle()
	if err := p.Requeue(t.Context(), "w", "in/0/000001/00000000000000000001/000001"); err != nil {
		t.Fatal(err)
	}
	p.settle()
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if got := w.states.dump("state_in"); !strings.Contains(got, `"n":3`) {
		t.Errorf("the requeued entry did not take effect: %s", got)
	}
	if q := w.states.dump("quarantine"); strings.Contains(q, "cannot digest") {
		t.Errorf("it is still quarantined: %s", q)
	}
}

type tolerant struct{ chainMachine }

func (m tolerant) Apply(tx engage.Tx, e engage.Entry) error {
	if string(e.Body) == "poison" {
		e.Body = []byte("medicine")
	}
	return m.chainMachine.Apply(tx, e)
}

func TestADeafNeighbourLosesNothing(t *testing.T) {
	want := undisturbed(t, partition.Reference)
	w := newWorld(t, partition.Fast)
	w.fill(story())
	n := 0
	w.next.fail = func() error {
		if n++; n%2 == 1 {
			return errors.New("not now")
		}
		return nil
	}
	w.o.MaxOutstanding = 3
	p := w.open(w.o)
	p.settle()
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	w.result().equal(t, want, "deaf neighbour")
}

func TestOldRecordsAreTrimmedOnlyBelowTheStates(t *testing.T) {
	w := newWorld(t, partition.Fast)
	w.o.Retention = 2 * time.Hour
	p := w.open(w.o)
	p.settle()
	for h := range 6 {
		if err := p.Append(t.Context(), []engage.Entry{{Kind: "item", Key: "w/i:a", Body: fmt.Appendf(nil, "%d", h)}}); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Hour)
		p.settle()
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	s, err := w.log.Open(t.Context(), "IN_0", "in.0.>")
	if err != nil {
		t.Fatal(err)
	}
	first, last, err := s.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first == 1 || first > last {
		t.Errorf("kept %d to %d", first, last)
	}
	p = w.open(w.o) // goes on where it was
	p.settle()
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
}

// A save that fails stops the partition: nothing of it may be missing later.
func TestAFailedFlushLosesNothing(t *testing.T) {
	w := newWorld(t, partition.Fast)
	o := w.o
	o.CheckpointEvery = time.Hour
	o.Fault = crashAt(partition.FaultStatesBefore, 1)
	p := w.open(o)
	p.settle()
	item := func(p *running, key string) error {
		return p.Append(t.Context(), []engage.Entry{{Kind: "item", Key: "w/i:" + key, Body: []byte("x")}})
	}
	if err := item(p, "a"); err != nil {
		t.Fatal(err)
	}
	p.settle()
	if err := p.Flush(t.Context()); !errors.Is(err, errCrash) {
		t.Fatalf("flush: %v", err)
	}
	if err := <-p.done; !errors.Is(err, errCrash) {
		t.Fatalf("the partition went on: %v", err)
	}
	if err := p.Flush(t.Context()); !errors.Is(err, partition.ErrStopped) {
		t.Errorf("flush of a stopped partition: %v", err)
	}
	p = w.open(w.o)
	p.settle()
	if err := item(p, "b"); err != nil {
		t.Fatal(err)
	}
	p.settle()
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	got := w.states.dump("state_in")
	for _, key := range []string{"{w i:a}", "{w i:b}"} {
		if !strings.Contains(got, key) {
			t.Errorf("%s is missing: %s", key, got)
		}
	}
}

// allergic cannot digest timers.
type allergic struct{ chainMachine }

func (m allergic) Apply(tx engage.Tx, e engage.Entry) error {
	if e.Kind == engage.KindTimer {
		return errors.New("no timers today")
	}
	return m.chainMachine.Apply(tx, e)
}

func TestAQuarantinedFiringIsRetriedOnce(t *testing.T) {
	w := newWorld(t, partition.Fast)
	w.o.Machine = allergic{}
	w.fill([][]engage.Entry{{{Kind: "item", Key: "w/i:a", At: start, Body: []byte("x")}}})
	w.clock.Advance(2 * time.Minute)
	p := w.open(w.o)
	p.settle()
	if n := p.Stats().Quarantined; n != 1 {
		t.Fatalf("%d quarantined", n)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	id := ""
	for k := range w.states.docs["quarantine"] {
		id = k.ID
	}
	kept := w.states.docs["quarantine"][store.Key{Workspace: "w", ID: id}]
	w.o.Machine = chainMachine{}
	p = w.open(w.o)
	p.settle()
	for range 2 { // the second as after a crash between the append and the delete
		if err := p.Requeue(t.Context(), "w", id); err != nil {
			t.Fatal(err)
		}
		p.settle()
		w.states.mu.Lock()
		w.states.docs["quarantine"][kept.Key] = kept
		w.states.mu.Unlock()
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if got := w.next.bodies(); len(got) != 1 {
		t.Errorf("the firing took effect %d times", len(got))
	}
}

func TestAnUnreadableStateIsThePoisonOfItsEntries(t *testing.T) {
	w := newWorld(t, partition.Fast)
	if err := w.states.Apply(t.Context(), store.Batch{Puts: []store.Put{
		{Collection: "state_in", Key: store.Key{Workspace: "w", ID: "i:bad"}, Body: []byte("{")},
	}}); err != nil {
		t.Fatal(err)
	}
	w.fill([][]engage.Entry{{
		{Kind: "item", Key: "w/i:bad", At: start, Body: []byte("x")}, {Kind: "item", Key: "w/i:good", At: start, Body: []byte("x")},
	}})
	p := w.open(w.o)
	if !p.settle() {
		t.Fatalf("stopped: %v", <-p.done)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.states.dump("state_in"), "i:good") || !strings.Contains(w.states.dump("quarantine"), "state cannot be read") {
		t.Errorf("%s%s", w.states.dump("state_in"), w.states.dump("quarantine"))
	}
}

// What is trimmed is in states that are committed, not only in memory.
func TestTrimWaitsForTheStates(t *testing.T) {
	w := newWorld(t, partition.Fast)
	var story [][]engage.Entry
	for h := range 20 {
		story = append(story, []engage.Entry{{Kind: "item", Key: "w/i:a", At: start.Add(time.Duration(h) * time.Hour), Body: []byte("x")}})
	}
	w.fill(story)
	w.clock.Advance(60 * 24 * time.Hour) // the machine was off for long
	o := w.o
	o.MaxBatch = 1
	o.CheckpointEvery = time.Millisecond
	o.Fault = crashAt(partition.FaultStatesAfter, 2)
	for range 50 {
		p := w.open(o)
		if p.settle() {
			_ = p.end()
			break
		}
		p.stopped()
		o.Fault = crashAt(partition.FaultStatesAfter, 2)
	}
	p := w.open(w.o)
	p.settle()
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if a := w.states.dump("alarms"); a != "" {
		t.Errorf("records were trimmed ahead of the states: %s", a)
	}
	if got := w.states.dump("state_in"); !strings.Contains(got, `"n":2`) {
		t.Errorf("states %s", got)
	}
}
