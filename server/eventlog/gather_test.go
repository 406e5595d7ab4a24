package eventlog_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
)

// timed is a stream that notes when appends begin, and takes its time for each.
type timed struct {
	eventlog.Stream
	takes time.Duration
	from  time.Time
	began []time.Duration
}

func (s *timed) Append(ctx context.Context, subject string, data []byte, expectedLast int64) (uint64, error) {
	s.began = append(s.began, time.Since(s.from))
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
	}
	return s.Stream.Append(ctx, subject, data, expectedLast)
}

// TestAppendsOfABusyWriterBeginApart has so many who call every half a millisecond, in
// a writer whose appends take a tenth of one, for 20 ms.
func TestAppendsOfABusyWriterBeginApart(t *testing.T) {
	for _, c := range []struct {
		callers int
		each    int           // entries of a call
		takes   time.Duration // an append
		want    int           // appends in 20 ms, at least and at most
		more    int
	}{
		{1, 1, time.Millisecond / 10, 40, 40},   // nobody waits for others
		{3, 1, time.Millisecond / 10, 40, 80},   // a few do not either
		{20, 1, time.Millisecond / 10, 9, 12},   // one each 2 ms, behind the first and what came during it
		{20, 20, time.Millisecond / 10, 20, 80}, // what waits is worth an append
		{20, 1, 4 * time.Millisecond, 5, 6},     // an append takes long enough
	} {
		t.Run(fmt.Sprintf("%d callers of %d, %v", c.callers, c.each, c.takes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &timed{Stream: memory(t), takes: c.takes, from: time.Now()}
				w := newWriter(s, eventlog.WriterOptions{})
				stop := start(t, w)
				var a acks
				var entries []engage.Entry
				for i := range c.each {
					entries = append(entries, entry("a", fmt.Sprint(i)))
				}
				tick := time.NewTicker(time.Millisecond / 2)
				defer tick.Stop()
				for range 40 {
					for range c.callers {
						a.append(t, w, entries...)
					}
					<-tick.C
				}
				a.wait(t)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				if got := len(entriesOf(t, records(t, s))); got != 40*c.callers*c.each {
					t.Fatalf("%d entries are in the log of %d", got, 40*c.callers*c.each)
				}
				if n := len(s.began); n < c.want || n > c.more {
					t.Fatalf("%d appends, want %d to %d: %v", n, c.want, c.more, s.began)
				}
			})
		})
	}
}

func TestABusyWriterStopsWithoutWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &timed{Stream: memory(t), from: time.Now()}
		w := newWriter(s, eventlog.WriterOptions{})
		stop := start(t, w)
		synctest.Wait()
		var a acks
		for range 2 {
			for range 20 {
				a.append(t, w, entry("a", "1"))
			}
			synctest.Wait() // the rest of the second crowd waits for its time
		}
		if n := len(s.began); n == 0 {
			t.Fatal("nothing was appended at once")
		}
		at := time.Since(s.from)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(s.from) - at; took != 0 {
			t.Fatalf("it stopped after %v", took)
		}
		a.wg.Wait()
		for i, err := range a.errs {
			if err != nil {
				wantErr(t, fmt.Sprintf("call %d", i), err, eventlog.ErrStopped)
			}
		}
	})
}
