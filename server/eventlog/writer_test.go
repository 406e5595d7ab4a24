package eventlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newWriter(s eventlog.Stream, o eventlog.WriterOptions) *eventlog.Writer {
	o.Partition = "in/0"
	o.Subject = func(ws string) string { return "in.0." + ws }
	if o.Now == nil {
		o.Now = func() time.Time { return epoch }
	}
	return eventlog.NewWriter(s, o)
}

func entry(ws, body string) engage.Entry {
	return engage.Entry{Kind: engage.KindItem, Key: engage.InstallKey(ws, "i1"), Body: []byte(body)}
}

func sourced(ws, body string, seq uint64) engage.Entry {
	e := entry(ws, body)
	e.From = engage.Source{Partition: "in/1", Incarnation: 1, Seq: seq}
	return e
}

func memory(t testing.TB) eventlog.Stream {
	t.Helper()
	s, err := new(eventlogtest.Memory).Open().Open(context.Background(), "IN_0", "in.0.>")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs the writer until the test ends or stop is called; stop returns
// what Run returned.
func start(t testing.TB, w *eventlog.Writer) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

// records reads all that the stream holds.
func records(t testing.TB, s eventlog.Stream) []eventlog.Message {
	t.Helper()
	first, last, err := s.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []eventlog.Message
	for first <= last {
		msgs, err := s.Read(t.Context(), first, 1000)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, msgs...)
		first += uint64(len(msgs))
	}
	return all
}

// entriesOf decodes the records, and checks that each is of one workspace, under
// its subject.
func entriesOf(t testing.TB, msgs []eventlog.Message) []engage.Entry {
	t.Helper()
	var all []engage.Entry
	for _, m := range msgs {
		entries, err := engage.DecodeRecord(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if m.Subject != "in.0."+e.Workspace() {
				t.Fatalf("an entry of %q stands in a record of %q", e.Workspace(), m.Subject)
			}
		}
		all = append(all, entries...)
	}
	return all
}

// shape is a stream's records as "a:1,2 b:3".
func shape(t testing.TB, s eventlog.Stream) string {
	t.Helper()
	var all []string
	for _, m := range records(t, s) {
		var bodies []string
		for _, e := range entriesOf(t, []eventlog.Message{m}) {
			bodies = append(bodies, string(e.Body))
		}
		all = append(all, strings.TrimPrefix(m.Subject, "in.0.")+":"+strings.Join(bodies, ","))
	}
	return strings.Join(all, " ")
}

// gate is a stream whose appends wait to be let through.
type gate struct {
	eventlog.Stream
	entered chan struct{}
	pass    chan struct{}
}

func newGate(s eventlog.Stream) *gate {
	return &gate{Stream: s, entered: make(chan struct{}), pass: make(chan struct{})}
}

func (g *gate) Append(ctx context.Context, subject string, data []byte, expectedLast int64) (uint64, error) {
	select {
	case g.entered <- struct{}{}:
	case <-g.pass:
	}
	<-g.pass
	return g.Stream.Append(ctx, subject, data, expectedLast)
}

// open lets all appends through from now on.
func (g *gate) open() { close(g.pass) }

// acks collects the answers of AppendAsync.
type acks struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	seqs []uint64
	errs []error
}

func (a *acks) append(t testing.TB, w *eventlog.Writer, entries ...engage.Entry) {
	t.Helper()
	a.wg.Add(1)
	if err := w.AppendAsync(entries, func(seq uint64, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.seqs, a.errs = append(a.seqs, seq), append(a.errs, err)
		a.wg.Done()
	}); err != nil {
		t.Fatal(err)
	}
}

func (a *acks) wait(t testing.TB) {
	t.Helper()
	a.wg.Wait()
	if err := errors.Join(a.errs...); err != nil {
		t.Fatal(err)
	}
}

// during appends first, and while that is under way the calls; then it lets all through.
func during(t *testing.T, o eventlog.WriterOptions, calls ...[]engage.Entry) (s eventlog.Stream, seqs []uint64) {
	t.Helper()
	s = memory(t)
	g := newGate(s)
	w := newWriter(g, o)
	start(t, w)
	var a acks
	a.append(t, w, entry("first", "0"))
	<-g.entered
	for _, c := range calls {
		a.append(t, w, c...)
	}
	g.open()
	a.wait(t)
	return s, a.seqs
}

func TestWhatArrivesDuringAnAppendSharesTheNextRecord(t *testing.T) {
	s, seqs := during(t, eventlog.WriterOptions{},
		[]engage.Entry{entry("a", "1"), entry("a", "2")},
		[]engage.Entry{entry("a", "3")},
		[]engage.Entry{entry("a", "4")})
	if got, want := shape(t, s), "first:0 a:1,2,3,4"; got != want {
		t.Fatalf("log is %q, want %q", got, want)
	}
	if want := []uint64{1, 2, 2, 2}; !slices.Equal(seqs, want) {
		t.Fatalf("sequences are %v, want %v", seqs, want)
	}
}

func TestRecordsAreFormedByWorkspaceLimitsAndSource(t *testing.T) {
	big := strings.Repeat("x", 400)
	for name, c := range map[string]struct {
		o     eventlog.WriterOptions
		calls [][]engage.Entry
		want  string
	}{
		"workspaces in turn": {
			eventlog.WriterOptions{MaxEntries: 2},
			[][]engage.Entry{
				{entry("a", "1")},
				{entry("a", "2"), entry("a", "3"), entry("a", "4"), entry("a", "5")},
				{entry("b", "6")},
				{entry("c", "7"), entry("c", "8"), entry("c", "9")},
			},
			"a:1,2 b:6 c:7,8 a:3,4 c:9 a:5",
		},
		"a call spans consecutive records and stays together": {
			eventlog.WriterOptions{MaxEntries: 3},
			[][]engage.Entry{
				{entry("a", "1"), entry("a", "2"), entry("a", "3"), entry("a", "4")},
				{entry("a", "5")},
			},
			"a:1,2,3 a:4,5",
		},
		"one call of several workspaces": {
			eventlog.WriterOptions{},
			[][]engage.Entry{{entry("a", "1"), entry("b", "2"), entry("a", "3")}},
			"a:1,3 b:2",
		},
		"record bytes": {
			eventlog.WriterOptions{MaxRecordBytes: 100},
			[][]engage.Entry{{entry("a", "1"), entry("a", "2"), entry("a", "3"), entry("a", big), entry("a", "4")}},
			"a:1,2,3 a:" + big + " a:4",
		},
		"sourced entries keep their order across workspaces": {
			eventlog.WriterOptions{},
			[][]engage.Entry{
				{sourced("a", "s1", 1)},
				{sourced("b", "s2", 2), sourced("a", "s3", 3)},
				{entry("a", "1"), entry("b", "2")},
				{sourced("b", "s4", 4), sourced("b", "s5", 5)},
			},
			"a:s1 b:s2,2 a:s3,1 b:s4,s5",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := during(t, c.o, c.calls...)
			if got, want := shape(t, s), "first:0 "+c.want; got != want {
				t.Errorf("log is\n%q, want\n%q", got, want)
			}
		})
	}
}

func TestAnEntryTooLargeFailsItsCallAlone(t *testing.T) {
	s := memory(t)
	w := newWriter(s, eventlog.WriterOptions{})
	start(t, w)
	var a acks
	a.append(t, w, entry("a", "1"))
	huge := entry("a", string(make([]byte, eventlog.MaxMessageBytes)))
	err := w.Append(t.Context(), []engage.Entry{entry("a", "lost"), huge})
	wantErr(t, "too large", err, eventlog.ErrTooLarge)
	err = w.AppendAsync([]engage.Entry{huge}, func(uint64, error) { t.Error("done was called") })
	wantErr(t, "too large", err, eventlog.ErrTooLarge)
	huge.Body = huge.Body[:len(huge.Body)-100]
	a.append(t, w, huge)
	a.append(t, w, entry("a", "2"))
	a.wait(t)
	bodies := entriesOf(t, records(t, s))
	if len(bodies) != 3 || string(bodies[0].Body) != "1" || len(bodies[1].Body) != len(huge.Body) || string(bodies[2].Body) != "2" {
		t.Fatalf("%d entries landed", len(bodies))
	}
}

// refusing is a server with a smaller limit than ours.
type refusing struct{ eventlog.Stream }

func (r refusing) Append(ctx context.Context, subject string, data []byte, expectedLast int64) (uint64, error) {
	if len(data) > 1000 {
		return 0, eventlog.ErrTooLarge
	}
	return r.Stream.Append(ctx, subject, data, expectedLast)
}

func TestARecordThatTheStreamRefusesFailsItsCallsAlone(t *testing.T) {
	s := memory(t)
	w := newWriter(refusing{s}, eventlog.WriterOptions{})
	start(t, w)
	err := w.Append(t.Context(), []engage.Entry{entry("a", strings.Repeat("x", 2000))})
	wantErr(t, "refused", err, eventlog.ErrTooLarge)
	err = w.Append(t.Context(), []engage.Entry{entry("no subject", "2")})
	wantErr(t, "refused", err, eventlog.ErrSubject)
	if err := w.Append(t.Context(), []engage.Entry{entry("a", "1")}); err != nil {
		t.Fatal(err)
	}
}

func TestStampsAreMonotoneAndOfTheRecordsForming(t *testing.T) {
	var mu sync.Mutex
	now := epoch
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	set := func(to time.Time) {
		mu.Lock()
		defer mu.Unlock()
		now = to
	}
	s := memory(t)
	g := newGate(s)
	w := newWriter(g, eventlog.WriterOptions{Now: clock})
	start(t, w)
	var a acks
	a.append(t, w, entry("a", "1"))
	<-g.entered
	inherited := entry("a", "2")
	inherited.At = epoch.Add(-time.Hour).In(time.FixedZone("CET", 3600))
	a.append(t, w, inherited)
	a.append(t, w, entry("a", "3")) // arrives at the epoch
	set(epoch.Add(time.Minute))     // is formed later
	g.pass <- struct{}{}
	<-g.entered
	a.append(t, w, entry("a", "4"))
	set(epoch.Add(-time.Minute)) // the clock is set back
	g.open()
	a.wait(t)
	want := []time.Time{epoch, epoch.Add(-time.Hour), epoch.Add(time.Minute), epoch.Add(time.Minute)}
	for i, e := range entriesOf(t, records(t, s)) {
		if !e.At.Equal(want[i]) {
			t.Errorf("entry %s has the stamp %v, want %v", e.Body, e.At, want[i])
		}
	}
	if !inherited.From.Outside() || inherited.At.Location() == time.UTC {
		t.Error("the caller's entry was changed")
	}
}

func TestLandedGetsWhatAReaderWouldInOrderBeforeTheWaiters(t *testing.T) {
	s := memory(t)
	var mu sync.Mutex
	landed := map[uint64][]engage.Entry{}
	bytesOf := map[uint64][]byte{}
	last := uint64(0)
	w := newWriter(s, eventlog.WriterOptions{MaxEntries: 3, Now: time.Now, Landed: func(seq uint64, record []byte, entries []engage.Entry) {
		mu.Lock()
		defer mu.Unlock()
		if seq != last+1 {
			t.Errorf("landed %d after %d", seq, last)
		}
		last, landed[seq], bytesOf[seq] = seq, entries, bytes.Clone(record)
	}})
	start(t, w)
	var wg sync.WaitGroup
	for p := range 8 {
		wg.Go(func() {
			for i := range 20 {
				e := entry(fmt.Sprintf("ws%d", i%2), fmt.Sprint(p, i))
				e.Occurred = time.Now() // with its monotonic reading and zone
				if i%3 == 0 {
					e.Body = nil
				}
				e.From.Seq = 7 // means nothing without a partition
				done := make(chan struct{})
				if err := w.AppendAsync([]engage.Entry{e}, func(seq uint64, err error) {
					mu.Lock()
					defer mu.Unlock()
					if err != nil || landed[seq] == nil {
						t.Errorf("told of %d (%v) before it was handed over", seq, err)
					}
					close(done)
				}); err != nil {
					t.Error(err)
					return
				}
				<-done
			}
		})
	}
	wg.Wait()
	for _, m := range records(t, s) {
		want, err := engage.DecodeRecord(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytesOf[m.Seq], m.Data) || !reflect.DeepEqual(landed[m.Seq], want) {
			t.Fatalf("record %d: handed over\n%v\nread\n%v", m.Seq, landed[m.Seq], want)
		}
	}
}

func TestTheSliceIsTheCallersAgainWhenItsEntriesAreDurable(t *testing.T) {
	var records [][]engage.Entry // as a reader gets them, who looks later
	w := newWriter(memory(t), eventlog.WriterOptions{
		Landed: func(_ uint64, _ []byte, entries []engage.Entry) { records = append(records, entries) },
	})
	stop := start(t, w)
	room := make([]engage.Entry, 0, 4)
	for i := range 10 {
		calls := append(room, entry("a", fmt.Sprint("x", i)), entry("a", fmt.Sprint("y", i)))
		done := make(chan error, 1)
		if err := w.AppendAsync(calls, func(_ uint64, err error) {
			clear(calls[:cap(calls)])
			done <- err
		}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	landed := slices.Concat(records...)
	if len(landed) != 20 {
		t.Fatalf("%d entries landed", len(landed))
	}
	for i, e := range landed {
		if want := fmt.Sprint([]string{"x", "y"}[i%2], i/2); string(e.Body) != want || e.Key != engage.InstallKey("a", "i1") {
			t.Errorf("entry %d is %q of %q, want %q", i, e.Body, e.Key, want)
		}
	}
}

// Who takes landed entries may give them back late, or never: until then they stay what
// they are, whatever is appended meanwhile, and what is read is what was appended.
func TestReleasedEntriesAreTheMemoryOfOthersOnlyThen(t *testing.T) {
	s := memory(t)
	type taken struct {
		seq     uint64
		entries []engage.Entry
	}
	var w *eventlog.Writer
	var held []taken
	pick := rand.New(rand.NewPCG(3, 4))
	checked := make(chan struct{})
	through := make(chan taken, 10_000)
	w = newWriter(s, eventlog.WriterOptions{MaxEntries: 40, Now: time.Now, Landed: func(seq uint64, record []byte, entries []engage.Entry) {
		if want, err := engage.DecodeRecord(record); err != nil || !reflect.DeepEqual(entries, want) {
			t.Errorf("record %d: %v, or the entries handed over are not those that were encoded", seq, err)
		}
		through <- taken{seq, entries}
	}})
	start(t, w)
	const all, each = 3000, 3
	go func() {
		defer close(checked)
		got := map[string]int{}
		check := func(x taken) {
			for _, e := range x.entries {
				got[string(e.Body)]++
			}
			w.Release(x.entries)
		}
		for n := 0; n < all*each; {
			x := <-through
			n += len(x.entries)
			held = append(held, x)
			for len(held) > 5 {
				i := pick.IntN(len(held))
				check(held[i])
				held = slices.Delete(held, i, i+1)
			}
		}
		for _, x := range held {
			check(x)
		}
		if len(got) != all*each {
			t.Errorf("%d different entries of %d landed", len(got), all*each)
		}
	}()
	for i := range all {
		var es []engage.Entry
		for j := range each {
			es = append(es, entry(fmt.Sprintf("ws%d", i%2), fmt.Sprint(i, "/", j)))
		}
		for {
			err := w.AppendAsync(es, func(_ uint64, err error) {
				if err != nil {
					t.Error(err)
				}
			})
			if err == nil {
				break
			}
			if !errors.Is(err, eventlog.ErrBusy) {
				t.Fatal(err)
			}
			runtime.Gosched()
		}
	}
	<-checked
}

func TestAFullWriterIsBusyAndLetsTheLineInInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory(t)
		g := newGate(s)
		w := newWriter(g, eventlog.WriterOptions{MaxPending: 3})
		stop := start(t, w)
		var a acks
		a.append(t, w, entry("a", "0"))
		<-g.entered
		a.append(t, w, entry("a", "1"), entry("a", "2"))
		busy := w.AppendAsync([]engage.Entry{entry("a", "x")}, func(uint64, error) { t.Error("done was called") })
		wantErr(t, "full", busy, eventlog.ErrBusy)

		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		go func() { gaveUp <- w.Append(ctx, []engage.Entry{entry("a", "gave up")}) }()
		synctest.Wait()
		var wg sync.WaitGroup
		for _, n := range []int{10, 1} { // the first has more than may ever wait
			wg.Go(func() {
				var entries []engage.Entry
				for i := range n {
					entries = append(entries, entry("a", fmt.Sprintf("%d/%d", i, n)))
				}
				if err := w.Append(t.Context(), entries); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		cancel()
		wantErr(t, "gave up", <-gaveUp, context.Canceled)
		g.open()
		wg.Wait()
		a.wait(t)
		want := "a:0 a:1,2 a:0/10,1/10,2/10,3/10,4/10,5/10,6/10,7/10,8/10,9/10 a:0/1"
		if got := shape(t, s); got != want {
			t.Errorf("log is %q, want %q", got, want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestASealedStreamStopsTheWriterAndTellsAll(t *testing.T) {
	s := memory(t)
	g := newGate(s)
	w := newWriter(g, eventlog.WriterOptions{MaxPending: 2})
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context()) }()
	var a acks
	a.append(t, w, entry("a", "1"))
	<-g.entered
	a.append(t, w, entry("b", "2"))
	waiting := make(chan error, 1)
	go func() { waiting <- w.Append(t.Context(), []engage.Entry{entry("c", "3")}) }()
	if err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.open()
	wantErr(t, "run", <-ended, eventlog.ErrSealed)
	a.wg.Wait()
	for _, err := range append(a.errs, <-waiting, w.Append(t.Context(), []engage.Entry{entry("a", "4")})) {
		wantErr(t, "waiter", err, eventlog.ErrSealed)
		wantErr(t, "waiter", err, eventlog.ErrStopped)
		if errors.Is(err, eventlog.ErrUnknown) {
			t.Errorf("outcome is said to be unknown: %v", err)
		}
	}
	if err := w.Run(t.Context()); err == nil {
		t.Error("ran twice")
	}
}

func TestStoppingCompletesTheAppendUnderWayAndTellsTheOthers(t *testing.T) {
	s := memory(t)
	g := newGate(s)
	w := newWriter(g, eventlog.WriterOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	var a acks
	a.append(t, w, entry("a", "1"))
	<-g.entered
	a.append(t, w, entry("a", "2"))
	a.append(t, w, entry("a", "3"), entry("b", "4"))
	cancel()
	g.open()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	a.wg.Wait()
	if len(a.errs) != 3 || a.errs[0] != nil {
		t.Fatalf("answers are %v", a.errs)
	}
	for _, err := range a.errs[1:] {
		wantErr(t, "waiter", err, eventlog.ErrStopped)
	}
	if got := shape(t, s); got != "a:1" {
		t.Fatalf("log is %q", got)
	}
}

func TestAppendEndsWithItsContext(t *testing.T) {
	s := memory(t)
	g := newGate(s)
	w := newWriter(g, eventlog.WriterOptions{})
	start(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() { got <- w.Append(ctx, []engage.Entry{entry("a", "1")}) }()
	<-g.entered
	cancel()
	wantErr(t, "append", <-got, context.Canceled)
	wantErr(t, "append", w.Append(ctx, []engage.Entry{entry("a", "2")}), context.Canceled)
	g.open()
	if err := w.Append(t.Context(), []engage.Entry{entry("a", "3")}); err != nil {
		t.Fatal(err)
	}
	if got := shape(t, s); got != "a:1 a:3" {
		t.Fatalf("log is %q", got)
	}
}

func TestNoEntriesAreNoAppend(t *testing.T) {
	w := newWriter(memory(t), eventlog.WriterOptions{})
	if err := w.Append(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := w.AppendAsync(nil, func(uint64, error) {}); err == nil {
		t.Error("an AppendAsync of nothing was taken")
	}
}

func TestAnAppendWhoseAnswerIsLostLandsOnce(t *testing.T) {
	for name, faults := range map[string][]eventlogtest.Fault{
		"lost before landing":       {eventlogtest.LostBefore},
		"lost after landing":        {eventlogtest.LostAfter},
		"landed late":               {eventlogtest.Delayed},
		"burst of lost before":      {eventlogtest.LostBefore, eventlogtest.LostBefore, eventlogtest.LostBefore},
		"lost before, then after":   {eventlogtest.LostBefore, eventlogtest.LostAfter},
		"late, and the retry lost":  {eventlogtest.Delayed, eventlogtest.LostBefore},
		"late, and the retry twice": {eventlogtest.Delayed, eventlogtest.Delayed, eventlogtest.LostAfter},
	} {
		for _, failReads := range []int{0, 3} {
			t.Run(fmt.Sprint(name, " reads failing ", failReads), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := memory(t)
					faults, failReads := slices.Clone(faults), failReads
					lost := false
					w := newWriter(&eventlogtest.Faulty{
						Stream: s,
						Next: func(_ string, data []byte) eventlogtest.Fault {
							if !bytes.Contains(data, []byte("shaky")) || len(faults) == 0 {
								return eventlogtest.None
							}
							f := faults[0]
							faults, lost = faults[1:], true
							return f
						},
						FailRead: func() bool {
							if lost && failReads > 0 {
								failReads--
								return true
							}
							return false
						},
					}, eventlog.WriterOptions{})
					stop := start(t, w)
					for i, body := range []string{"1", "shaky", "3"} {
						seq := make(chan uint64, 1)
						if err := w.AppendAsync([]engage.Entry{entry("a", body)}, func(n uint64, err error) {
							if err != nil {
								t.Error(err)
							}
							seq <- n
						}); err != nil {
							t.Fatal(err)
						}
						if n := <-seq; n != uint64(i+1) {
							t.Errorf("%s is answered %d", body, n)
						}
					}
					if got := shape(t, s); got != "a:1 a:shaky a:3" {
						t.Errorf("log is %q", got)
					}
					if len(faults) > 0 && name != "late, and the retry twice" {
						t.Errorf("faults not met: %v", faults)
					}
					if err := stop(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestStoppingWhileTheAnswerIsLostSaysUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(&eventlogtest.Faulty{
			Stream: memory(t),
			Next:   func(string, []byte) eventlogtest.Fault { return eventlogtest.LostBefore },
		}, eventlog.WriterOptions{})
		stop := start(t, w)
		var a acks
		a.append(t, w, entry("a", "1"))
		synctest.Wait()
		a.append(t, w, entry("a", "2"))
		if err := stop(); err != nil {
			t.Error(err)
		}
		a.wg.Wait()
		wantErr(t, "under way", a.errs[0], eventlog.ErrUnknown)
		wantErr(t, "under way", a.errs[0], eventlog.ErrStopped)
		wantErr(t, "waiting", a.errs[1], eventlog.ErrStopped)
		if errors.Is(a.errs[1], eventlog.ErrUnknown) {
			t.Errorf("what waited is said to be unknown: %v", a.errs[1])
		}
	})
}

func TestAnotherAppenderIsTolerated(t *testing.T) {
	s := memory(t)
	lose := false
	w := newWriter(&eventlogtest.Faulty{Stream: s, Next: func(string, []byte) eventlogtest.Fault {
		if lose {
			lose = false
			// Ours is lost, and another's takes the place.
			if _, err := s.Append(t.Context(), "in.0.a", engage.EncodeRecord([]engage.Entry{entry("a", "other")}), -1); err != nil {
				t.Error(err)
			}
			return eventlogtest.LostBefore
		}
		return eventlogtest.None
	}}, eventlog.WriterOptions{})
	start(t, w)
	ctx := t.Context()
	other := func() {
		if _, err := s.Append(ctx, "in.0.a", engage.EncodeRecord([]engage.Entry{entry("a", "other")}), -1); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if err := w.Append(ctx, []engage.Entry{entry("a", fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			other()
			other()
		}
		lose = i == 1
	}
	if got := shape(t, s); got != "a:0 a:other a:other a:1 a:other a:2" {
		t.Fatalf("log is %q", got)
	}
}

func TestALostTailStopsTheWriter(t *testing.T) {
	m := new(eventlogtest.Memory)
	s, err := m.Open().Open(t.Context(), "IN_0", "in.0.>")
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(s, eventlog.WriterOptions{})
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context()) }()
	for i := range 3 {
		if err := w.Append(t.Context(), []engage.Entry{entry("a", fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	m.Truncate("IN_0", 1)
	wantErr(t, "append", w.Append(t.Context(), []engage.Entry{entry("a", "4")}), eventlog.ErrSequence)
	wantErr(t, "run", <-ended, eventlog.ErrSequence)
}

func TestAClosedLogStopsTheWriter(t *testing.T) {
	l := embedded(t, t.TempDir(), "")
	s, err := l.Open(t.Context(), "IN_0", "in.0.>")
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(s, eventlog.WriterOptions{})
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context()) }()
	if err := w.Append(t.Context(), []engage.Entry{entry("a", "1")}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "append", w.Append(t.Context(), []engage.Entry{entry("a", "2")}), eventlog.ErrStopped)
	wantErr(t, "run", <-ended, eventlog.ErrClosed)
}

// Every entry of many callers lands exactly once, in its caller's order, in
// records of one workspace, with monotone stamps, whatever the log does.
func TestEveryEntryLandsOnceInItsCallersOrder(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 4} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { onceInOrder(t, memory(t), seed, 8, 60) })
		})
	}
	t.Run("embedded", func(t *testing.T) {
		l := embedded(t, t.TempDir(), "")
		defer func() { _ = l.Close() }()
		s, err := l.Open(t.Context(), "IN_0", "in.0.>")
		if err != nil {
			t.Fatal(err)
		}
		onceInOrder(t, s, 5, 4, 25)
	})
}

func onceInOrder(t *testing.T, s eventlog.Stream, seed uint64, producers, calls int) {
	var mu sync.Mutex // of random
	random := rand.New(rand.NewPCG(seed, 0))
	chance := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	burst := 0
	now := epoch
	w := newWriter(&eventlogtest.Faulty{
		Stream: s,
		Next: func(string, []byte) eventlogtest.Fault {
			if burst > 0 {
				burst--
				return eventlogtest.LostBefore
			}
			switch chance(20) {
			case 0:
				return eventlogtest.LostBefore
			case 1:
				return eventlogtest.LostAfter
			case 2:
				return eventlogtest.Delayed
			case 3:
				burst = chance(4)
			}
			return eventlogtest.None
		},
		FailRead: func() bool { return burst > 0 || chance(5) == 0 },
	}, eventlog.WriterOptions{
		MaxEntries: 7, MaxPending: 40,
		Now: func() time.Time { now = now.Add(time.Duration(chance(20)-8) * time.Millisecond); return now },
	})
	stop := start(t, w)

	workspaces := []string{"a", "b", "c"}
	var wg sync.WaitGroup
	var sentSourced []uint64
	var sourcedMu sync.Mutex
	for p := range producers {
		wg.Go(func() {
			n := 0
			for range calls {
				var entries []engage.Entry
				for range 1 + chance(10) {
					e := entry(workspaces[chance(len(workspaces))], fmt.Sprintf("%d %d", p, n))
					if p != 0 { // one workspace per caller, so that its order can be seen
						e = entry(workspaces[p%len(workspaces)], fmt.Sprintf("%d %d", p, n))
					} else {
						e.From = engage.Source{Partition: "in/1", Seq: uint64(n)}
						sourcedMu.Lock()
						sentSourced = append(sentSourced, uint64(n))
						sourcedMu.Unlock()
					}
					n++
					entries = append(entries, e)
				}
				if err := w.Append(t.Context(), entries); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := stop(); err != nil {
		t.Error(err)
	}
	next := make([]int, producers)
	var stamp time.Time
	var gotSourced []uint64
	for _, e := range entriesOf(t, records(t, s)) {
		var p, n int
		if _, err := fmt.Sscanf(string(e.Body), "%d %d", &p, &n); err != nil {
			t.Fatal(err)
		}
		if n != next[p] {
			t.Fatalf("caller %d: %d landed when %d was next", p, n, next[p])
		}
		next[p]++
		if e.At.Before(stamp) {
			t.Fatalf("stamp %v after %v", e.At, stamp)
		}
		stamp = e.At
		if !e.From.Outside() {
			gotSourced = append(gotSourced, e.From.Seq)
		}
	}
	if !slices.Equal(gotSourced, sentSourced) {
		t.Fatalf("sourced entries are %v", gotSourced)
	}
}

// cluster is a stream as it can look while a cluster changes its leader.
type cluster struct {
	eventlog.Stream
	answer func(land func() (uint64, error)) (uint64, error)
}

func (c *cluster) Append(ctx context.Context, subject string, data []byte, expectedLast int64) (uint64, error) {
	ctx = context.WithoutCancel(ctx) // what is sent lands, whoever waits
	return c.answer(func() (uint64, error) { return c.Stream.Append(ctx, subject, data, expectedLast) })
}

func TestARefusalOfARecordThatHasLandedIsFoundOut(t *testing.T) {
	s := memory(t)
	n := 0
	// Two servers get the first append; the one that refuses is faster.
	w := newWriter(&cluster{Stream: s, answer: func(land func() (uint64, error)) (uint64, error) {
		n++
		seq, err := land()
		if n == 1 {
			return 0, eventlog.ErrSequence
		}
		return seq, err
	}}, eventlog.WriterOptions{})
	start(t, w)
	for _, body := range []string{"1", "2"} {
		if err := w.Append(t.Context(), []engage.Entry{entry("a", body)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := shape(t, s); got != "a:1 a:2" || n != 2 {
		t.Fatalf("log is %q after %d appends", got, n)
	}
}

func TestAnAppendUnderWayIsWaitedForNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory(t)
		n := 0
		var late func() (uint64, error)
		// The first append's answer is lost while it waits for a majority; those
		// that follow are refused because of it.
		w := newWriter(&cluster{Stream: s, answer: func(land func() (uint64, error)) (uint64, error) {
			n++
			switch {
			case n == 1:
				late = land
				return 0, context.DeadlineExceeded
			case n == 4:
				if _, err := late(); err != nil {
					t.Error(err)
				}
				return 0, eventlog.ErrSequence
			case n < 4:
				return 0, eventlog.ErrSequence
			}
			return land()
		}}, eventlog.WriterOptions{})
		start(t, w)
		began := time.Now()
		for _, body := range []string{"1", "2"} {
			if err := w.Append(t.Context(), []engage.Entry{entry("a", body)}); err != nil {
				t.Fatal(err)
			}
		}
		if got := shape(t, s); got != "a:1 a:2" || n != 5 {
			t.Fatalf("log is %q after %d appends", got, n)
		}
		if time.Since(began) == 0 {
			t.Fatal("it asked again and again without a pause")
		}
	})
}

func TestStoppingWhileAnAppendIsUnderWaySaysUnknownAlthoughAnotherWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		w := newWriter(&cluster{Stream: memory(t), answer: func(func() (uint64, error)) (uint64, error) {
			if n++; n == 1 {
				return 0, context.DeadlineExceeded
			}
			return 0, eventlog.ErrSequence
		}}, eventlog.WriterOptions{})
		stop := start(t, w)
		var a acks
		a.append(t, w, entry("a", "1"))
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		a.wg.Wait()
		wantErr(t, "under way", a.errs[0], eventlog.ErrUnknown)
	})
}
