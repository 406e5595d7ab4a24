package geo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// town300 is the world of the benchmarks: 300 cities, circles of 50 to 500 m
// normally spread by 4 km about a centre.
func town300(n int) (fences []Fence, cities []Point) {
	r := rand.New(rand.NewPCG(21, 22))
	for range 300 {
		p := anywhere(r)
		p.Lat *= 0.66 // within 60 degrees
		cities = append(cities, p)
	}
	fences = make([]Fence, n)
	for i := range fences {
		c := cities[r.IntN(len(cities))]
		fences[i] = Fence{fmt.Sprintf("f%07d", i), Circle{spread4km(r, c), 50 + 450*r.Float64()}}
	}
	return fences, cities
}

func spread4km(r *rand.Rand, c Point) Point {
	return offset(offset(c, 0, 4000*r.NormFloat64()), math.Pi/2, 4000*r.NormFloat64())
}

// devices walk 60 m a step; the fixes of many devices come interleaved.
func devices(cities []Point) []Point {
	r := rand.New(rand.NewPCG(23, 24))
	var ps []Point
	at := make([]Point, 1000)
	for i := range at {
		at[i] = spread4km(r, cities[r.IntN(len(cities))])
	}
	for range 20 {
		for i := range at {
			at[i] = offset(at[i], 2*math.Pi*r.Float64(), 60)
			ps = append(ps, at[i])
		}
	}
	return ps
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		fences, cities := town300(n)
		before := heap()
		start := time.Now()
		ix, err := NewIndex(fences)
		if err != nil {
			b.Fatal(err)
		}
		built := time.Since(start)
		bytes := float64(heap()-before) / float64(n)
		ps := devices(cities)
		for name, find := range map[string]func(p Point, dst []Hit) []Hit{
			"At":        ix.At,
			"Within0":   func(p Point, dst []Hit) []Hit { return ix.Within(p, 0, dst) },
			"Nearest19": func(p Point, dst []Hit) []Hit { return ix.Nearest(p, 19, dst) },
		} {
			b.Run(fmt.Sprintf("%s/fences=%d", name, n), func(b *testing.B) {
				// Blocks of lookups and of bare calls of the library take turns, so that
				// busy neighbours slow both alike.
				const block = 200
				var ours, bare time.Duration
				hits, done := 0, 0
				buf := make([]Hit, 0, 256)
				for b.Loop() {
					part := ps[done%len(ps):][:block]
					start := time.Now()
					for _, p := range part {
						buf = find(p, buf[:0])
						hits += len(buf)
					}
					ours += time.Since(start)
					start = time.Now()
					for _, p := range part {
						if _, err := CellOf(p, 11); err != nil {
							b.Fatal(err)
						}
					}
					bare += time.Since(start)
					done += block
				}
				b.ReportMetric(float64(ours.Nanoseconds())/float64(done), "ns/op")
				b.ReportMetric(float64(bare.Nanoseconds())/float64(done), "h3-ns")
				b.ReportMetric(float64(ours)/float64(bare), "x-h3")
				b.ReportMetric(float64(hits)/float64(done), "hits/op")
				b.ReportMetric(bytes, "B/fence")
				b.ReportMetric(float64(built.Microseconds())/float64(n), "build-µs/fence")
			})
		}
	}
}

func BenchmarkDistance(b *testing.B) {
	p, q := Point{52.52, 13.405}, Point{52.5219, 13.4132}
	for b.Loop() {
		DistanceM(p, q)
	}
}
