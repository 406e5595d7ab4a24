package sqlite_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// pad makes a document of about 1 KB; the collection has two indexes, as in the
// comparison of drivers that these figures are held against.
var pad = strings.Repeat("x", 920)

func doc(i int) store.Put {
	return store.Put{
		Collection: "docs", Key: store.Key{Workspace: "w", ID: fmt.Sprintf("doc-%08d", i)}, If: store.AnyVersion,
		Body: fmt.Appendf(nil, `{"email":"u%d@example.com","age":%d,"pad":%q}`, i, i%90, pad),
	}
}

func benchStore(b *testing.B, durability string) *sqlite.Store {
	s := open(b, sqlite.Options{
		Path: filepath.Join(b.TempDir(), "bench.db"), Durability: durability,
		Collections: []store.Collection{{Name: "docs", Indexes: []store.Index{
			{Name: "email", Paths: []string{"email"}}, {Name: "age", Paths: []string{"age"}},
		}}},
	})
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func eachDurability(b *testing.B, f func(b *testing.B, s *sqlite.Store)) {
	for _, d := range []string{sqlite.DurabilityProcess, sqlite.DurabilityPower} {
		b.Run(d, func(b *testing.B) { f(b, benchStore(b, d)) })
	}
}

// percentiles reports p50 and p99 in microseconds, and the worst.
func percentiles(b *testing.B, d []time.Duration) {
	slices.Sort(d)
	us := func(q float64) float64 { return float64(d[int(q*float64(len(d)-1))].Nanoseconds()) / 1000 }
	b.ReportMetric(us(0.5), "p50-us")
	b.ReportMetric(us(0.99), "p99-us")
	b.ReportMetric(us(1), "max-us")
}

func BenchmarkApplySingle(b *testing.B) {
	eachDurability(b, func(b *testing.B, s *sqlite.Store) {
		ctx, took, i := b.Context(), make([]time.Duration, 0, 1<<16), 0
		for b.Loop() {
			p := doc(i)
			start := time.Now()
			if err := s.Apply(ctx, store.Batch{Puts: []store.Put{p}}); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
			i++
		}
		percentiles(b, took)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "docs/s")
	})
}

func BenchmarkApply64Writers(b *testing.B) {
	eachDurability(b, func(b *testing.B, s *sqlite.Store) {
		ctx := b.Context()
		const writers = 64
		took := make([][]time.Duration, writers)
		var next atomic.Int64
		b.ResetTimer()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for {
					i := int(next.Add(1))
					if i > b.N {
						return
					}
					p := doc(i)
					start := time.Now()
					if err := s.Apply(ctx, store.Batch{Puts: []store.Put{p}}); err != nil {
						b.Error(err)
						return
					}
					took[w] = append(took[w], time.Since(start))
				}
			})
		}
		wg.Wait()
		b.StopTimer()
		percentiles(b, slices.Concat(took...))
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "docs/s")
	})
}

func BenchmarkApplyBatch1000(b *testing.B) {
	for _, kind := range []string{"new", "existing"} {
		b.Run(kind, func(b *testing.B) {
			eachDurability(b, func(b *testing.B, s *sqlite.Store) {
				ctx, i, took := b.Context(), 0, time.Duration(0)
				for b.Loop() {
					puts := make([]store.Put, 1000)
					for k := range puts {
						n := i*len(puts) + k
						if kind == "existing" {
							n = (n * 7919) % 20_000
						}
						puts[k] = doc(n)
					}
					start := time.Now()
					if err := s.Apply(ctx, store.Batch{Puts: puts}); err != nil {
						b.Fatal(err)
					}
					took += time.Since(start)
					i++
				}
				b.ReportMetric(float64(i*1000)/took.Seconds(), "docs/s")
			})
		})
	}
}

const benchDocs = 50_000

func filled(b *testing.B) *sqlite.Store {
	s := benchStore(b, sqlite.DurabilityProcess)
	for i := 0; i < benchDocs; i += 1000 {
		puts := make([]store.Put, 1000)
		for k := range puts {
			puts[k] = doc(i + k)
		}
		if err := s.Apply(b.Context(), store.Batch{Puts: puts}); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func BenchmarkGet(b *testing.B) {
	s := filled(b)
	key := func(i int) store.Key {
		return store.Key{Workspace: "w", ID: fmt.Sprintf("doc-%08d", (i*7919)%benchDocs)}
	}
	b.Run("1", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if _, err := s.Get(b.Context(), "docs", key(i)); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("8", func(b *testing.B) {
		b.SetParallelism(4)
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Get(b.Context(), "docs", key(int(n.Add(1)))); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkFind(b *testing.B) {
	s := filled(b)
	run := func(name string, q func(i int) store.Query) {
		b.Run(name, func(b *testing.B) {
			i := 0
			for b.Loop() {
				query := q(i)
				query.Workspace = "w"
				if _, err := s.Find(b.Context(), "docs", query); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
	run("IndexedOne", func(i int) store.Query {
		return store.Query{Filter: store.Filter{Path: "email", Op: store.Eq, Value: fmt.Sprintf("u%d@example.com", (i*7919)%benchDocs)}}
	})
	run("In1000", func(i int) store.Query {
		in := make([]string, 1000)
		for k := range in {
			in[k] = fmt.Sprintf("doc-%08d", ((i+k)*7919)%benchDocs)
		}
		return store.Query{Limit: 1000, Filter: store.Filter{Path: store.IDPath, Op: store.In, Value: in}}
	})
	run("SortedPage", func(int) store.Query { return store.Query{Sort: "-age", Limit: 50} })
	run("UnindexedScan", func(int) store.Query {
		return store.Query{Filter: store.Filter{Path: "nick", Op: store.Eq, Value: "x"}}
	})
}
