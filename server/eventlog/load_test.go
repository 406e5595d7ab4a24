package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
)

// patience is how long a test waits for what must happen; reaching it fails.
const patience = 90 * time.Second

// outageEnv is how long the outage test keeps its broker down: a Go duration, 3s
// when it is not set. A soak sets 60s.
const outageEnv = "FOOTFALL_TEST_OUTAGE"

func outage(t testing.TB) time.Duration {
	t.Helper()
	s := os.Getenv(outageEnv)
	if s == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// eventually asks until it is so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// elapse waits while the test's subject is in the state that the test is about.
func elapse(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

const loadProducers = 16

// load are producers that append one entry after another to a writer, and a
// reader that follows the stream from its start.
type load struct {
	t      *testing.T
	s      eventlog.Stream
	writer *eventlog.Writer
	stop   func() error // the writer
	end    func()       // the producers

	wg       sync.WaitGroup
	mu       sync.Mutex
	acked    map[string]bool
	refused  map[string]bool // were told that nothing was taken
	followed []eventlog.Message
	stall    time.Duration // the longest time between two reads
	follow   func() error  // ends the reader
}

func startLoad(t *testing.T, l *eventlog.JetStream, o eventlog.WriterOptions) *load {
	t.Helper()
	s, err := l.Open(t.Context(), "IN_0", "in.0.>")
	if err != nil {
		t.Fatal(err)
	}
	o.Now = time.Now
	x := &load{t: t, s: s, writer: newWriter(s, o), acked: map[string]bool{}, refused: map[string]bool{}}
	x.stop = start(t, x.writer)
	ctx, cancel := context.WithCancel(context.Background())
	x.end = sync.OnceFunc(func() {
		cancel()
		x.wg.Wait()
	})
	t.Cleanup(x.end)
	for p := range loadProducers {
		x.wg.Go(func() { x.produce(ctx, p) })
	}
	readCtx, stopReading := context.WithCancel(context.Background())
	read := make(chan error, 1)
	go func() { read <- x.read(readCtx) }()
	x.follow = sync.OnceValue(func() error {
		stopReading()
		return <-read
	})
	t.Cleanup(func() { _ = x.follow() })
	return x
}

func (x *load) produce(ctx context.Context, p int) {
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("%d.%d", p, i)
		// Taken is taken: the producer waits for the answer, however long.
		err := x.writer.Append(context.WithoutCancel(ctx), []engage.Entry{entry("shop", id)})
		switch {
		case err == nil:
			x.mu.Lock()
			x.acked[id] = true
			x.mu.Unlock()
		case !errors.Is(err, eventlog.ErrStopped):
			x.t.Errorf("producer %d: %v", p, err)
			return
		default:
			return
		}
	}
}

func (x *load) read(ctx context.Context) error {
	next, last := uint64(1), time.Now()
	for {
		msgs, err := x.s.Read(ctx, next, 100)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		x.mu.Lock()
		for _, m := range msgs {
			if m.Seq != next {
				x.mu.Unlock()
				return fmt.Errorf("read %d when %d was next", m.Seq, next)
			}
			next++
		}
		x.followed = append(x.followed, msgs...)
		x.stall = max(x.stall, time.Since(last))
		x.mu.Unlock()
		last = time.Now()
	}
}

func (x *load) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.acked)
}

// progress waits until n more are acknowledged.
func (x *load) progress(n int) {
	x.t.Helper()
	from := x.count()
	eventually(x.t, fmt.Sprintf("%d more acknowledgements", n), func() bool { return x.count() >= from+n })
}

// check ends the load and compares what was promised with what is there.
func (x *load) check() {
	x.t.Helper()
	x.end()
	if err := x.stop(); err != nil {
		x.t.Errorf("the writer ended with %v", err)
	}
	all := records(x.t, x.s)
	eventually(x.t, "the reader to see everything", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.followed) >= len(all)
	})
	if err := x.follow(); err != nil {
		x.t.Errorf("the reader ended with %v", err)
	}
	count, next := map[string]int{}, map[int]int{}
	for _, e := range entriesOf(x.t, all) {
		id := string(e.Body)
		count[id]++
		var p, i int
		if _, err := fmt.Sscanf(id, "%d.%d", &p, &i); err != nil {
			continue // another caller's
		}
		if next[p] != i {
			x.t.Fatalf("producer %d: %d came when %d was next", p, i, next[p])
		}
		next[p]++
	}
	for id, n := range count {
		if n > 1 {
			x.t.Errorf("%s is there %d times", id, n)
		}
	}
	for id := range x.acked {
		if count[id] == 0 {
			x.t.Errorf("%s was acknowledged and is lost", id)
		}
	}
	for id := range x.refused {
		if count[id] != 0 {
			x.t.Errorf("%s was refused and is there", id)
		}
	}
	for i, m := range x.followed {
		if i >= len(all) || m.Seq != all[i].Seq || string(m.Data) != string(all[i].Data) {
			x.t.Fatalf("the reader saw another message at %d", m.Seq)
		}
	}
	x.t.Logf("%d acknowledged, %d there in %d records, %d refused; the reader's longest wait was %s",
		len(x.acked), len(count), len(all), len(x.refused), x.stall.Round(time.Millisecond))
}
