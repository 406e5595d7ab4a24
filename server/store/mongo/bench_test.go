package mongo_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/mongo"
	"github.com/footfall-engage/footfall/server/store/mongo/mongotest"
)

// pad makes a document of about 1 KB; the collection has two indexes, as in
// sqlite's benchmarks.
var pad = strings.Repeat("x", 920)

func doc(i int) store.Put {
	return store.Put{
		Collection: "docs", Key: store.Key{Workspace: "w", ID: fmt.Sprintf("doc-%08d", i)}, If: store.AnyVersion,
		Body: fmt.Appendf(nil, `{"email":"u%d@example.com","age":%d,"pad":%q}`, i, i%90, pad),
	}
}

// benchStore is on a real server only: FerretDB's figures say nothing.
func benchStore(b *testing.B) *mongo.Store {
	b.Helper()
	uri := os.Getenv(mongotest.Variable)
	if uri == "" {
		b.Skipf("%s is not set", mongotest.Variable)
	}
	o := options(b, uri, false)
	o.Collections = docs(store.Index{Name: "email", Paths: []string{"email"}}, store.Index{Name: "age", Paths: []string{"age"}})
	s := open(b, o)
	b.Cleanup(func() { closing(b, s) })
	return s
}

// percentiles reports p50 and p99 in microseconds.
func percentiles(b *testing.B, d []time.Duration) {
	slices.Sort(d)
	us := func(q float64) float64 { return float64(d[int(q*float64(len(d)-1))].Nanoseconds()) / 1000 }
	b.ReportMetric(us(0.5), "p50-us")
	b.ReportMetric(us(0.99), "p99-us")
}

func BenchmarkApplySingle(b *testing.B) {
	s := benchStore(b)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		if err := s.Apply(b.Context(), batch(doc(i))); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	percentiles(b, took)
}

func BenchmarkApply64Writers(b *testing.B) {
	s := benchStore(b)
	const writers = 64
	took := make([][]time.Duration, writers)
	var next atomic.Int64
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
				start := time.Now()
				if err := s.Apply(context.Background(), batch(doc(i))); err != nil {
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
}

func BenchmarkApplyBatch1000(b *testing.B) {
	for _, kind := range []string{"new", "existing"} {
		b.Run(kind, func(b *testing.B) {
			s := benchStore(b)
			batches := 0
			for ; b.Loop(); batches++ {
				puts := make([]store.Put, 1000)
				for k := range puts {
					n := batches*len(puts) + k
					if kind == "existing" {
						n = (n * 7919) % 20_000
					}
					puts[k] = doc(n)
				}
				if err := s.Apply(b.Context(), batch(puts...)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(batches*1000)/b.Elapsed().Seconds(), "docs/s")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	const n = 20_000
	s := benchStore(b)
	for i := 0; i < n; i += 1000 {
		puts := make([]store.Put, 1000)
		for k := range puts {
			puts[k] = doc(i + k)
		}
		if err := s.Apply(b.Context(), batch(puts...)); err != nil {
			b.Fatal(err)
		}
	}
	run := func(name string, read func(i int) error) {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if err := read((i * 7919) % n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	find := func(q store.Query) error {
		q.Workspace = "w"
		_, err := s.Find(b.Context(), "docs", q)
		return err
	}
	run("Get", func(i int) error {
		_, err := s.Get(b.Context(), "docs", doc(i).Key)
		return err
	})
	run("IndexedOne", func(i int) error {
		return find(store.Query{Filter: store.Filter{Path: "email", Op: store.Eq, Value: fmt.Sprintf("u%d@example.com", i)}})
	})
	run("SortedPage", func(int) error { return find(store.Query{Sort: "-age", Limit: 50}) })
}
