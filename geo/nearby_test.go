package geo

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uber/h3-go/v4"
)

var nearbyNoon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// everybody is what Nearby must equal: a map and a walk over all of it.
type everybody map[string]Neighbour[int]

func (c everybody) within(p Point, radiusM float64, match func(*Neighbour[int]) bool) []Neighbour[int] {
	var out []Neighbour[int]
	for _, x := range c {
		x.DistanceM = DistanceM(p, x.Pos)
		if x.DistanceM <= radiusM && (match == nil || match(&x)) {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b Neighbour[int]) int {
		return cmp.Or(cmp.Compare(a.DistanceM, b.DistanceM), strings.Compare(a.ID, b.ID))
	})
	return out
}

// cells are how many stand in which cells of a resolution, by the hierarchy.
func (c everybody) cells(t *testing.T, since time.Time, res int) map[Cell]int {
	t.Helper()
	in := map[Cell]int{}
	for _, x := range c {
		cell, err := CellOf(x.Pos, HeatFinest)
		if err != nil {
			t.Fatal(err)
		}
		if !x.At.Before(since) {
			in[cell.Parent(res)]++
		}
	}
	return in
}

// Devices at poles, pentagons, face edges, the antimeridian and elsewhere come,
// walk, leap, go silent and go; at every stage all questions get the answers of
// brute force.
func TestNearbyEqualsBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	places := awkward(t)
	for range 40 {
		places = append(places, anywhere(r))
	}
	var n Nearby[int]
	want := everybody{}
	near := func(spreadM float64) Point {
		return offset(places[r.IntN(len(places))], 2*math.Pi*r.Float64(), spreadM*r.Float64()*r.Float64())
	}
	const devices = 3000
	found, shown := 0, 0
	for round := range 8 {
		for range devices {
			id := fmt.Sprint("d", r.IntN(devices))
			switch known, ok := want[id]; {
			case r.IntN(12) == 0:
				if n.Remove(id) != ok {
					t.Fatalf("removed %s: %v", id, !ok)
				}
				delete(want, id)
			default:
				x := Neighbour[int]{ID: id, Pos: near(20_000), At: nearbyNoon.Add(time.Duration(round*600+r.IntN(1200)) * time.Second), Value: r.IntN(10)}
				if ok && r.IntN(4) > 0 {
					x.Pos = offset(known.Pos, 2*math.Pi*r.Float64(), 60)
				}
				if r.IntN(30) == 0 {
					x.Pos = Point{x.Pos.Lat, 180 - 360*float64(r.IntN(2))} // exactly on the antimeridian
				}
				taken, err := n.Update(id, x.Pos, x.At, x.Value)
				if err != nil {
					t.Fatal(err)
				}
				if late := ok && x.At.Before(known.At); taken == late {
					t.Fatalf("update of %v over %v: %v", x.At, known.At, taken)
				} else if !late {
					want[id] = x
				}
			}
		}
		if round%3 == 2 {
			before := nearbyNoon.Add(time.Duration(round) * 600 * time.Second)
			gone := 0
			for id, x := range want {
				if x.At.Before(before) {
					delete(want, id)
					gone++
				}
			}
			if got := n.Expire(before); got != gone || gone == 0 {
				t.Fatalf("%d expired, want %d", got, gone)
			}
		}
		if n.Len() != len(want) {
			t.Fatalf("%d devices, want %d", n.Len(), len(want))
		}
		for i := range 60 {
			p := near(30_000)
			if i%10 == 0 {
				p = anywhere(r)
			}
			radius := 10 * math.Pow(2e6, r.Float64()) // 10 m to around the world
			match := func(x *Neighbour[int]) bool { return x.Value < 5 }
			if i%2 == 0 {
				match = nil
			}
			w := want.within(p, radius, match)
			if got := n.Within(p, radius, match, nil); !slices.Equal(got, w) {
				t.Fatalf("within %v of %v: %d, want %d", radius, p, len(got), len(w))
			}
			found += len(w)
			if i%4 > 0 {
				continue
			}
			since := time.Time{}
			if i%8 == 0 {
				since = nearbyNoon.Add(time.Duration(round) * 600 * time.Second)
			}
			w = want.within(p, radius, func(x *Neighbour[int]) bool { return !x.At.Before(since) })
			limit := 1 + r.IntN(1+2*len(w))
			got, more := n.Nearest(p, radius, since, limit, make([]Neighbour[int], 1))
			if got = got[1:]; !slices.Equal(got, w[:min(limit, len(w))]) || more != (len(w) > limit) {
				t.Fatalf("nearest %d of %d within %v of %v: %d, more %v", limit, len(w), radius, p, len(got), more)
			}
		}
		since := nearbyNoon.Add(time.Duration(round) * 300 * time.Second)
		h, err := n.Heat(since, HeatLeast+round)
		if err != nil {
			t.Fatal(err)
		}
		for res := HeatCoarsest; res <= HeatFinest; res++ {
			w := want.cells(t, since, res)
			got, err := h.Cells(res, everywhere, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range got {
				if c.Count != w[c.Cell] {
					t.Fatalf("%d in %v, want %d", c.Count, c.Cell, w[c.Cell])
				}
			}
			shown += len(got)
		}
	}
	t.Logf("%d devices found, %d cells shown", found, shown)
	if found < 10_000 || shown < 1000 {
		t.Errorf("the questions test little: %d devices, %d cells", found, shown)
	}
	for id, w := range want {
		if got, ok := n.Get(id); !ok || got != w {
			t.Fatalf("%s: %v, want %v", id, got, w)
		}
	}
}

// A device that stays within the inner circle of its cell is not asked for its
// cell again: nobody in that circle may be in another.
func TestInnerCircleIsInTheCell(t *testing.T) {
	r := rand.New(rand.NewPCG(33, 34))
	places := awkward(t)
	narrowest, widest := math.Inf(1), 0.0
	for range 3000 {
		p := anywhere(r)
		if r.IntN(2) == 0 {
			p = offset(places[r.IntN(len(places))], 2*math.Pi*r.Float64(), 2*spacingM(nearbyRes)*r.Float64())
		}
		cell, err := CellOf(p, nearbyRes)
		if err != nil {
			t.Fatal(err)
		}
		inner, err := innerM(cell)
		if err != nil {
			t.Fatal(err)
		}
		narrowest, widest = min(narrowest, inner/spacingM(nearbyRes)), max(widest, inner/spacingM(nearbyRes))
		for range 20 {
			q := offset(cell.Center(), 2*math.Pi*r.Float64(), inner*(0.98+0.03*r.Float64()))
			if vecOf(q).chord(vecOf(cell.Center())) >= inner {
				continue
			}
			if c, err := CellOf(q, nearbyRes); err != nil || c != cell {
				t.Fatalf("%v is %v m from the centre of %v, within %v, but in %v (%v)", q, DistanceM(q, cell.Center()), cell, inner, c, err)
			}
		}
	}
	// Half a spacing where the projection does not shrink.
	t.Logf("inner circle of %.3f to %.3f spacings", narrowest, widest)
	if narrowest < 0.28 || widest < 0.48 {
		t.Errorf("the inner circle is only %.3f to %.3f spacings: hardly anything stays in it", narrowest, widest)
	}
}

// A circle that just reaches the cell which sticks out farthest from one of its
// ancestors: a search by the ancestors' own hexagons would pass that branch by.
func TestNearbyFindsWhoSticksOutOfTheTree(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 44))
	places := awkward(t)
	beyond := 0
	for i := range 200 {
		place := anywhere(r)
		if i%4 == 0 {
			place = places[r.IntN(len(places))]
		}
		top, err := CellOf(place, 2*(i%4))
		if err != nil {
			t.Fatal(err)
		}
		from := vecOf(top.Center())
		cell := h3.Cell(top)
		for cell.Resolution() < nearbyRes {
			children, err := cell.ImmediateChildren()
			if err != nil {
				t.Fatal(err)
			}
			cell = slices.MaxFunc(children, func(a, b h3.Cell) int {
				return cmp.Compare(from.chord2(vecOf(Cell(a).Center())), from.chord2(vecOf(Cell(b).Center())))
			})
		}
		tip := Cell(cell).Center()
		if from.chord(vecOf(tip)) > 0.92*spreadM(top.Resolution(), nearbyRes) {
			beyond++
		}
		var n Nearby[struct{}]
		if _, err := n.Update("tip", tip, nearbyNoon, struct{}{}); err != nil {
			t.Fatal(err)
		}
		for range 20 { // one of them is straight behind it
			p := offset(tip, 2*math.Pi*r.Float64(), 20)
			if got := n.Within(p, DistanceM(p, tip), nil, nil); len(got) != 1 {
				t.Fatalf("from %v, the device at %v in %v is not found", p, tip, top)
			}
		}
	}
	if beyond < 20 {
		t.Errorf("only %d cells stick out far", beyond)
	}
}

// While devices wander from cell to cell, a question about all of them finds
// each exactly once.
func TestNearbyShowsEveryDeviceOnceWhileTheyMove(t *testing.T) {
	var n Nearby[struct{}]
	square := Point{52.52, 13.405}
	const devices = 400
	id := func(i int) string { return fmt.Sprintf("d%03d", i) }
	for i := range devices {
		if _, err := n.Update(id(i*7%devices), square, nearbyNoon, struct{}{}); err != nil {
			t.Fatal(err)
		}
	}
	for i, x := range n.Within(square, 0, nil, nil) {
		if x.ID != id(i) {
			t.Fatalf("at the same distance, %s comes in place %d", x.ID, i)
		}
	}
	stop := make(chan struct{})
	var walkers sync.WaitGroup
	moved := make([]int, 2)
	for g := range moved {
		walkers.Go(func() {
			r := rand.New(rand.NewPCG(35, uint64(g)))
			for {
				select {
				case <-stop:
					return
				default:
				}
				i := 2*r.IntN(devices/2) + g
				p := offset(square, 2*math.Pi*r.Float64(), 3000*r.Float64())
				if _, err := n.Update(id(i), p, nearbyNoon, struct{}{}); err != nil {
					t.Error(err)
					return
				}
				moved[g]++
			}
		})
	}
	for range 300 {
		seen := map[string]bool{}
		for _, x := range n.Within(square, 4000, nil, nil) {
			if seen[x.ID] {
				t.Errorf("%s is there twice", x.ID)
			}
			seen[x.ID] = true
		}
		if len(seen) != devices {
			t.Errorf("%d of %d devices", len(seen), devices)
		}
		near, more := n.Nearest(square, 4000, time.Time{}, devices-1, nil)
		if one := map[string]bool{}; len(near) != devices-1 || !more {
			t.Errorf("the nearest %d are %d, more %v", devices-1, len(near), more)
		} else {
			for _, x := range near {
				if one[x.ID] {
					t.Errorf("%s is among the nearest twice", x.ID)
				}
				one[x.ID] = true
			}
		}
		h, err := n.Heat(time.Time{}, HeatLeast)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, c := range h.levels[0] {
			sum += c.Count
		}
		if sum > devices || sum < devices/2 { // who wanders at that moment may be missed
			t.Errorf("%d of %d devices counted", sum, devices)
		}
		if t.Failed() {
			break
		}
	}
	close(stop)
	walkers.Wait()
	if moved[0] == 0 || moved[1] == 0 {
		t.Errorf("nobody moved: %v", moved)
	}
}

func TestNearbyForgetsEmptyCells(t *testing.T) {
	r := rand.New(rand.NewPCG(37, 38))
	var n Nearby[struct{}]
	for i := range 3000 { // ten devices that travel the world
		if _, err := n.Update(fmt.Sprint(i%10), anywhere(r), nearbyNoon.Add(time.Duration(i)), struct{}{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(n.leaves) > 10 || len(n.roots) > 10 {
		t.Errorf("%d cells for 10 devices", len(n.leaves))
	}
	if got := n.Expire(nearbyNoon.Add(time.Hour)); got != 10 {
		t.Errorf("%d expired", got)
	}
	if len(n.leaves) != 0 || len(n.roots) != 0 || n.Len() != 0 {
		t.Errorf("%d leaves and %d roots of nobody", len(n.leaves), len(n.roots))
	}
}

func TestNearbyRefusesWhatIsNoPosition(t *testing.T) {
	var n Nearby[struct{}]
	update := func(id string, p Point) error {
		_, err := n.Update(id, p, nearbyNoon, struct{}{})
		return err
	}
	heat := func(res, least int, in Box) error {
		h, err := n.Heat(time.Time{}, least)
		if err == nil {
			_, err = h.Cells(res, in, nil)
		}
		return err
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{update("", Point{}), "id is missing"},
		{update("a", Point{91, 0}), "lat must be -90 to 90, is 91"},
		{update("a", Point{0, math.NaN()}), "lng must be -180 to 180, is NaN"},
		{heat(11, 5, everywhere), "resolution must be 4 to 10, is 11"},
		{heat(3, 5, everywhere), "resolution must be 4 to 10, is 3"},
		{heat(9, 2, everywhere), "least must be at least 3, is 2"},
		{heat(9, 5, Box{-181, 0, 0, 0}), "west must be -180 to 180, is -181"},
		{heat(9, 5, Box{0, 0, 0, math.NaN()}), "north must be -90 to 90, is NaN"},
		{heat(9, 5, Box{0, 10, 0, 9}), "south must not be above north (9), is 10"},
	} {
		if _, ok := errors.AsType[*Error](c.err); !ok || c.err.Error() != c.want {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
	if n.Len() != 0 {
		t.Errorf("%d devices of refused updates", n.Len())
	}
	if _, err := n.Update("a", Point{}, nearbyNoon, struct{}{}); err != nil {
		t.Fatal(err)
	}
	for _, radius := range []float64{-1, math.NaN()} {
		if got := n.Within(Point{}, radius, nil, nil); len(got) != 0 {
			t.Errorf("within %v m: %v", radius, got)
		}
		if got, more := n.Nearest(Point{}, radius, time.Time{}, 10, nil); len(got) != 0 || more {
			t.Errorf("nearest within %v m: %v", radius, got)
		}
	}
	if got := n.Within(Point{91, 0}, 1e9, nil, nil); len(got) != 0 {
		t.Errorf("around no point: %v", got)
	}
	if got := n.Within(Point{0, 180}, math.Inf(1), nil, nil); len(got) != 1 {
		t.Errorf("all the world: %v", got)
	}
	if got, _ := n.Nearest(Point{91, 0}, 1e9, time.Time{}, 10, nil); len(got) != 0 {
		t.Errorf("nearest to no point: %v", got)
	}
	if got, _ := n.Nearest(Point{}, 1e9, time.Time{}, 0, nil); len(got) != 0 {
		t.Errorf("the nearest none: %v", got)
	}
	if got, more := n.Nearest(Point{0, 180}, math.Inf(1), time.Time{}, 1, nil); len(got) != 1 || more {
		t.Errorf("the nearest in all the world: %v", got)
	}
}

// BenchmarkNearby has a million devices in the world of the fences' benchmarks,
// who walk 60 m an update.
func BenchmarkNearby(b *testing.B) {
	const devices = 1_000_000
	_, cities := town300(1)
	r := rand.New(rand.NewPCG(41, 42))
	at := make([]Point, devices)
	ids := make([]string, devices)
	for i := range at {
		at[i] = spread4km(r, cities[i%len(cities)])
		ids[i] = fmt.Sprintf("install-%07d", i)
	}
	var n Nearby[uint64]
	before := heap()
	for i, p := range at {
		if _, err := n.Update(ids[i], p, nearbyNoon, uint64(i)); err != nil {
			b.Fatal(err)
		}
	}
	perDevice := float64(heap()-before) / devices

	b.Run("updates", func(b *testing.B) {
		// Steps are made beforehand, walkers are as many as processors, each with
		// devices of its own.
		steps := make([]Point, 1<<18)
		for i := range steps {
			steps[i] = offset(at[i], 2*math.Pi*r.Float64(), 60)
		}
		var next sync.Mutex
		walker := 0
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			next.Lock()
			i := walker
			walker += 100_003
			next.Unlock()
			now := nearbyNoon
			for pb.Next() {
				i++
				k := i % len(steps)
				p := steps[k]
				if i/len(steps)%2 > 0 {
					p = at[k]
				}
				now = now.Add(time.Microsecond)
				if _, err := n.Update(ids[k], p, now, uint64(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
		b.ReportMetric(perDevice, "B/device")
	})
	b.Run("h3", func(b *testing.B) { // for comparison: only the cells, on as many processors
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := CellOf(at[i%devices], nearbyRes); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	for _, within := range []float64{1800, 4000, 100_000} {
		b.Run(fmt.Sprintf("within=%.0f", within), func(b *testing.B) {
			var took []time.Duration
			found := 0
			buf := make([]Neighbour[uint64], 0, 8192)
			for b.Loop() {
				start := time.Now()
				buf = n.Within(cities[len(took)%len(cities)], within, nil, buf[:0])
				took = append(took, time.Since(start))
				found += len(buf)
			}
			slices.Sort(took)
			b.ReportMetric(float64(found)/float64(len(took)), "found/op")
			b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
		})
	}
	for _, limit := range []int{100, 1000} {
		b.Run(fmt.Sprintf("nearest=%d", limit), func(b *testing.B) {
			var took []time.Duration
			buf := make([]Neighbour[uint64], 0, 8192)
			for b.Loop() {
				start := time.Now()
				buf, _ = n.Nearest(cities[len(took)%len(cities)], 100_000, nearbyNoon, limit, buf[:0])
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
		})
	}
	b.Run("heat", func(b *testing.B) {
		cells := 0
		for b.Loop() {
			h, err := n.Heat(time.Time{}, 5)
			if err != nil {
				b.Fatal(err)
			}
			cells = len(h.levels[8-HeatCoarsest])
		}
		b.ReportMetric(float64(cells), "cells-of-8")
	})
}
