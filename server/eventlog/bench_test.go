package eventlog_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/natstest"
)

// place is where a log can be.
type place struct {
	name string
	open func(b *testing.B) *eventlog.JetStream
}

// places are the logs side by side. A process's disk is the machine's: in a
// cluster of three on one machine each record is written three times to it.
func places() []place {
	var all []place
	for _, d := range []eventlog.Durability{eventlog.DurabilityProcess, eventlog.DurabilityPower} {
		o := natstest.Options{SyncAlways: d == eventlog.DurabilityPower}
		all = append(
			all,
			place{"embedded/" + d, func(b *testing.B) *eventlog.JetStream { return embedded(b, b.TempDir(), d) }},
			place{"external/" + d, func(b *testing.B) *eventlog.JetStream {
				return connect(b, eventlog.RemoteOptions{URLs: []string{natstest.Start(b, o).URL()}})
			}},
			place{"cluster/" + d, func(b *testing.B) *eventlog.JetStream {
				return connect(b, eventlog.RemoteOptions{URLs: natstest.StartCluster(b, o).URLs(), Replicas: 3})
			}},
		)
	}
	return all
}

func benchStream(b *testing.B, p place) eventlog.Stream {
	b.Helper()
	l := p.open(b)
	b.Cleanup(func() { _ = l.Close() })
	s, err := l.Open(context.Background(), "IN_0", "in.0.>")
	if err != nil {
		b.Fatal(err)
	}
	// A new stream of a cluster takes a moment to be known everywhere.
	if _, err := s.Append(context.Background(), "in.0.shop", []byte("first"), 0); err != nil {
		b.Fatal(err)
	}
	return s
}

// oneAtATime reports the median and the 99th percentile of f.
func oneAtATime(b *testing.B, f func() error) {
	b.Helper()
	var took []time.Duration
	for b.Loop() {
		t := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(t))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
}

func BenchmarkStreamAppend(b *testing.B) {
	for _, p := range places() {
		b.Run(p.name, func(b *testing.B) {
			s := benchStream(b, p)
			data, last := make([]byte, 200), int64(1)
			oneAtATime(b, func() error {
				seq, err := s.Append(b.Context(), "in.0.shop", data, last)
				last = int64(seq)
				return err
			})
		})
	}
}

func BenchmarkWriterAppendAlone(b *testing.B) {
	for _, p := range places() {
		b.Run(p.name, func(b *testing.B) {
			w := newWriter(benchStream(b, p), eventlog.WriterOptions{Now: time.Now})
			start(b, w)
			e := []engage.Entry{entry("shop", string(make([]byte, 160)))}
			oneAtATime(b, func() error { return w.Append(b.Context(), e) })
		})
	}
}

func BenchmarkWriter64Producers(b *testing.B) {
	for _, p := range places() {
		for _, workspaces := range []int{1, 10} {
			b.Run(fmt.Sprintf("%s/workspaces=%d", p.name, workspaces), func(b *testing.B) {
				var records atomic.Int64
				w := newWriter(benchStream(b, p), eventlog.WriterOptions{
					Now:    time.Now,
					Landed: func(uint64, []byte, []engage.Entry) { records.Add(1) },
				})
				start(b, w)
				var producer atomic.Int64
				b.SetParallelism(64 / 2)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					ws := fmt.Sprintf("shop%d", producer.Add(1)%int64(workspaces))
					e := []engage.Entry{entry(ws, string(make([]byte, 160)))}
					for pb.Next() {
						if err := w.Append(b.Context(), e); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
				b.ReportMetric(float64(b.N)/float64(records.Load()), "entries/record")
			})
		}
	}
}

// BenchmarkWriterAsync appends as the gateway does, an entry at a time by a call of its own,
// many under way.
func BenchmarkWriterAsync(b *testing.B) {
	for _, p := range places() {
		b.Run(p.name, func(b *testing.B) {
			records := 0
			var w *eventlog.Writer
			w = newWriter(benchStream(b, p), eventlog.WriterOptions{
				Now: time.Now, MaxEntries: 12,
				Landed: func(_ uint64, _ []byte, entries []engage.Entry) {
					records++
					w.Release(entries)
				},
			})
			start(b, w)
			e := []engage.Entry{entry("shop", string(make([]byte, 110)))}
			room := make(chan struct{}, 200)
			done := func(_ uint64, err error) {
				if err != nil {
					b.Error(err)
				}
				<-room
			}
			b.ReportAllocs()
			for b.Loop() {
				room <- struct{}{}
				if err := w.AppendAsync(e, done); err != nil {
					b.Fatal(err)
				}
			}
			for range cap(room) {
				room <- struct{}{}
			}
			b.ReportMetric(float64(b.N)/float64(records), "entries/record")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, p := range places()[:3] { // whether it was synced is all the same to a reader
		b.Run(p.name, func(b *testing.B) { benchRead(b, benchStream(b, p)) })
	}
}

func benchRead(b *testing.B, s eventlog.Stream) {
	b.Helper()
	const n = 20_000
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range n / 8 {
				if _, err := s.Append(b.Context(), "in.0.shop", make([]byte, 200), -1); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.Run("in sequence", func(b *testing.B) {
		read := 0
		for b.Loop() {
			for from := uint64(1); from <= n; {
				msgs, err := s.Read(b.Context(), from, 256)
				if err != nil {
					b.Fatal(err)
				}
				from += uint64(len(msgs))
				read += len(msgs)
			}
		}
		b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "messages/s")
	})
	b.Run("anywhere", func(b *testing.B) {
		i := uint64(0)
		oneAtATime(b, func() error {
			i += 7919
			_, err := s.Read(b.Context(), 1+i%n, 1)
			return err
		})
	})
	b.Run("appended, then read", func(b *testing.B) {
		oneAtATime(b, func() error {
			seq, err := s.Append(b.Context(), "in.0.shop", make([]byte, 200), -1)
			if err == nil {
				_, err = s.Read(b.Context(), seq, 10)
			}
			return err
		})
	})
}
