package geo_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// BenchmarkTracker applies the fixes of somebody who walks 60 m a step among 100,000
// fences of 50 to 500 m around one town, in order: with transitions, visits and the
// window kept, beside one bare cell of the library.
func BenchmarkTracker(b *testing.B) {
	r := rand.New(rand.NewPCG(31, 32))
	var plots []plot
	for i := range 100_000 {
		plots = append(plots, plot{
			id: fmt.Sprint(i), shape: geo.Circle{Around: metres(250_000*r.Float64(), 250_000*r.Float64()), RadiusM: 50 + 450*r.Float64()}, dwell: 5 * time.Minute,
		})
	}
	w := newTown(b, plots...)
	for _, every := range []time.Duration{time.Second, 30 * time.Second} {
		b.Run(fmt.Sprintf("a_fix_each_%v", every), func(b *testing.B) {
			var tracker geo.Tracker
			w.doubts.Speed = geo.AcceptDoubtful
			east, north, heading := 125_000.0, 125_000.0, 0.0
			now, told := noon, 0
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				heading += 0.3 * r.NormFloat64()
				east, north = math.Mod(east+60*math.Cos(heading)+250_000, 250_000), math.Mod(north+60*math.Sin(heading)+250_000, 250_000)
				now = now.Add(every)
				s := tracker.Apply(w, geo.Evidence{Source: geo.ByFix, At: now, Seq: uint64(i), Pos: metres(east, north), AccuracyM: 10}, now)
				told += len(s.Told)
			}
			b.ReportMetric(float64(told)/float64(b.N), "told/op")
		})
	}
	b.Run("bare_cell", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := geo.CellOf(metres(float64(i%1000), 0), 9); err != nil {
				b.Fatal(err)
			}
		}
	})
}
