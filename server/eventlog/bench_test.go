package eventlog_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
)

func benchStream(b *testing.B, d eventlog.Durability) eventlog.Stream {
	b.Helper()
	l := embedded(b, b.TempDir(), d)
	b.Cleanup(func() { _ = l.Close() })
	s, err := l.Open(context.Background(), "IN_0", "in.0.>")
	if err != nil {
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

var durabilities = []eventlog.Durability{eventlog.DurabilityProcess, eventlog.DurabilityPower}

func BenchmarkStreamAppend(b *testing.B) {
	for _, d := range durabilities {
		b.Run(d, func(b *testing.B) {
			s := benchStream(b, d)
			data, last := make([]byte, 200), int64(0)
			oneAtATime(b, func() error {
				seq, err := s.Append(b.Context(), "in.0.shop", data, last)
				last = int64(seq)
				return err
			})
		})
	}
}

func BenchmarkWriterAppendAlone(b *testing.B) {
	for _, d := range durabilities {
		b.Run(d, func(b *testing.B) {
			w := newWriter(benchStream(b, d), eventlog.WriterOptions{Now: time.Now})
			start(b, w)
			e := []engage.Entry{entry("shop", string(make([]byte, 160)))}
			oneAtATime(b, func() error { return w.Append(b.Context(), e) })
		})
	}
}

func BenchmarkWriter64Producers(b *testing.B) {
	for _, d := range durabilities {
		for _, workspaces := range []int{1, 10} {
			b.Run(fmt.Sprintf("%s/workspaces=%d", d, workspaces), func(b *testing.B) {
				var records atomic.Int64
				w := newWriter(benchStream(b, d), eventlog.WriterOptions{
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

func BenchmarkRead(b *testing.B) {
	s := benchStream(b, eventlog.DurabilityProcess)
	const n = 20_000
	for range n {
		if _, err := s.Append(b.Context(), "in.0.shop", make([]byte, 200), -1); err != nil {
			b.Fatal(err)
		}
	}
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
