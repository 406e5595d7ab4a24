//go:build unix

package geo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

// cpuTime is what this process took of the processors: busy neighbours do not count.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// walks are the steps of devices that mostly go on, 60 m each.
func walks(cities []Point, n, steps int) [][]Point {
	r := rand.New(rand.NewPCG(25, 26))
	at := make([]Point, n)
	heading := make([]float64, n)
	for i := range at {
		at[i] = spread4km(r, cities[r.IntN(len(cities))])
		heading[i] = 2 * math.Pi * r.Float64()
	}
	var out [][]Point
	for range steps {
		for i := range at {
			heading[i] += r.NormFloat64() / 2
			at[i] = offset(at[i], heading[i], 60)
		}
		out = append(out, slices.Clone(at))
	}
	return out
}

// BenchmarkWatch: devices that walk, one after the other. With cold, lookups without
// a watch take turns with them, so that the caches are full of other things; their
// time is reported beside it, and that of Within.
func BenchmarkWatch(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		if testing.Short() && n > 100_000 {
			continue
		}
		fences, cities := town300(n)
		ix, err := NewIndex(fences)
		if err != nil {
			b.Fatal(err)
		}
		steps := walks(cities, 1000, 40)
		for _, cold := range []bool{false, true} {
			b.Run(fmt.Sprintf("fences=%d/cold=%v", n, cold), func(b *testing.B) {
				ws := make([]Watch, 1000)
				changes, hits := make([]Change, 0, 256), make([]Hit, 0, 256)
				var move, at, within time.Duration
				fixes, changed, found, near := 0, 0, 0, 0
				for i := range b.N {
					ps := steps[i%len(steps)]
					if i%len(steps) == 0 { // all back to the start: not a walk
						for j, p := range ps {
							changes = ws[j].Move(ix, p, changes[:0])
						}
						continue
					}
					fixes += len(ps)
					start := cpuTime()
					for j, p := range ps {
						changes = ws[j].Move(ix, p, changes[:0])
						changed += len(changes)
					}
					move += cpuTime() - start
					if !cold {
						continue
					}
					start = cpuTime()
					for _, p := range ps {
						hits = ix.At(p, hits[:0])
						found += len(hits)
					}
					at += cpuTime() - start
					start = cpuTime()
					for _, p := range ps {
						hits = ix.Within(p, 100, hits[:0])
						near += len(hits)
					}
					within += cpuTime() - start
				}
				f := float64(max(1, fixes))
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(move.Nanoseconds())/f, "move-ns")
				b.ReportMetric(float64(changed)/f, "changes/fix")
				if cold {
					b.ReportMetric(float64(at.Nanoseconds())/f, "at-ns")
					b.ReportMetric(float64(found)/f, "hits/fix")
					b.ReportMetric(float64(within.Nanoseconds())/f, "within100-ns")
					b.ReportMetric(float64(near)/f, "within100/fix")
				}
			})
		}
	}
}
