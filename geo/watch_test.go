package geo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// wander is a device's way that a cache would get wrong: steps of all sizes,
// standing still, along borders of fences, and leaps.
func wander(r *rand.Rand, p Point, fences []Fence) Point {
	switch r.IntN(12) {
	case 0:
		return p
	case 1, 2, 3:
		return offset(p, 2*math.Pi*r.Float64(), 3*r.Float64())
	case 4, 5, 6, 7:
		return offset(p, 2*math.Pi*r.Float64(), 60)
	case 8, 9:
		return offset(p, 2*math.Pi*r.Float64(), 1000*r.Float64())
	case 10:
		f := fences[r.IntN(len(fences))].Shape
		return offset(f.Center(), 2*math.Pi*r.Float64(), f.BoundingRadiusM()*(1+1e-6*r.NormFloat64()))
	}
	return Point{p.Lat, math.Copysign(180, p.Lng)}
}

// told applies changes to what a device is in, and checks that they alternate.
func told(t *testing.T, in map[string]bool, changes []Change) {
	t.Helper()
	exits := true
	for _, c := range changes {
		if in[c.ID] == c.Inside {
			t.Fatalf("%s told twice: %v", c.ID, changes)
		}
		if c.Inside {
			exits = false
			in[c.ID] = true
		} else {
			if !exits {
				t.Fatalf("an exit after an enter: %v", changes)
			}
			delete(in, c.ID)
		}
	}
}

func isIn(in map[string]bool, want []Hit) bool {
	for _, h := range want {
		if !in[h.ID] {
			return false
		}
	}
	return len(in) == len(want)
}

func TestWatchTellsWhatFreshLookupsWould(t *testing.T) {
	for name, radius := range map[string]func(*rand.Rand) func() float64{
		"shops": func(r *rand.Rand) func() float64 { return between(r, 50, 500) },
		"all":   func(r *rand.Rand) func() float64 { return between(r, MinRadiusM, MaxRadiusM) },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(51, 52))
			fences := world(t, r, 1500, radius(r))
			ix, err := NewIndex(fences)
			if err != nil {
				t.Fatal(err)
			}
			changes, found, still := 0, 0, 0
			for range 40 {
				var w, hits Watch
				in := map[string]bool{}
				p := fences[r.IntN(len(fences))].Shape.Center()
				for range 500 {
					p = wander(r, p, fences)
					if w.x != nil && w.moved2(p, w.cos) <= w.safe2 {
						still++
					}
					got := w.Move(ix, p, nil)
					told(t, in, got)
					want := ix.At(p, nil)
					if !isIn(in, want) {
						t.Fatalf("at %v: in %v, want %v", p, in, want)
					}
					if got := hits.At(ix, p, nil); !slices.Equal(got, want) {
						t.Fatalf("at %v: %v, want %v", p, got, want)
					}
					changes += len(got)
					found += len(want)
				}
			}
			t.Logf("%d changes, %d hits, %d fixes of 20000 within the safe radius", changes, found, still)
			if changes < 5000 || still < 2000 {
				t.Errorf("the ways test little: %d changes, %d fixes within the safe radius", changes, still)
			}
		})
	}
}

// Fences come, change and go while devices walk: each sees the index that it is
// given.
func TestWatchFollowsAChangingIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(53, 54))
	fences := world(t, r, 800, between(r, 50, 5000))
	ix, err := NewIndex(fences[:500])
	if err != nil {
		t.Fatal(err)
	}
	devices := make([]Watch, 20)
	ins := make([]map[string]bool, len(devices))
	at := make([]Point, len(devices))
	for i := range devices {
		ins[i] = map[string]bool{}
		at[i] = fences[i*20].Shape.Center()
	}
	for step := range 1500 {
		if step%3 == 0 {
			if ix, err = ix.With(randomChange(r, fences)); err != nil {
				t.Fatal(err)
			}
		}
		if step%400 == 399 {
			if ix, err = ix.Compact(); err != nil {
				t.Fatal(err)
			}
		}
		i := r.IntN(len(devices))
		at[i] = wander(r, at[i], fences)
		told(t, ins[i], devices[i].Move(ix, at[i], nil))
		if want := bruteForce(ix.All(), at[i], 0); !isIn(ins[i], want) {
			t.Fatalf("step %d: in %v, want %v", step, ins[i], want)
		}
	}
}

// randomChange puts and removes some of the fences, moved and resized.
func randomChange(r *rand.Rand, fences []Fence) (put []Fence, remove []string) {
	seen := map[string]bool{}
	for range r.IntN(4) {
		f := fences[r.IntN(len(fences))]
		if seen[f.ID] {
			continue
		}
		seen[f.ID] = true
		c := f.Shape.(Circle)
		put = append(put, Fence{f.ID, Circle{offset(c.Around, 2*math.Pi*r.Float64(), c.RadiusM/5), max(MinRadiusM, c.RadiusM*(0.8+0.4*r.Float64()))}})
	}
	for range r.IntN(4) {
		remove = append(remove, fences[r.IntN(len(fences))].ID)
	}
	return put, remove
}

func TestWatchOfNowhere(t *testing.T) {
	var w Watch
	if got := w.Move(&Index{}, Point{1, 2}, nil); got != nil {
		t.Errorf("in an empty index: %v", got)
	}
	ix, err := NewIndex([]Fence{{"a", Circle{Point{1, 2}, 50}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Move(ix, Point{math.NaN(), 2}, nil); got != nil {
		t.Errorf("at no point: %v", got)
	}
	if got := w.Move(ix, Point{1, 2}, nil); len(got) != 1 || !got[0].Inside {
		t.Errorf("an enter: %v", got)
	}
	if got := w.Move(ix, Point{91, 2}, nil); got != nil {
		t.Errorf("at no point: %v", got)
	}
	if got := w.Move(&Index{}, Point{1, 2}, nil); len(got) != 1 || got[0].Inside || got[0].ID != "a" {
		t.Errorf("the fence was removed: %v", got)
	}
}

func TestIndexWithEqualsANewIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(55, 56))
	fences := world(t, r, 600, between(r, MinRadiusM, 20_000))
	want := map[string]Fence{}
	ix, old := &Index{}, &Index{}
	var oldWant []Fence
	for step := range 400 {
		put, remove := randomChange(r, fences)
		if step == 100 { // many at once
			put = slices.Clone(fences)
		}
		next, err := ix.With(put, remove)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range remove {
			delete(want, id)
		}
		for _, f := range put {
			want[f.ID] = f
		}
		ix = next
		var all []Fence
		for _, f := range want {
			all = append(all, f)
		}
		byID := func(a, b Fence) int { return strings.Compare(a.ID, b.ID) }
		slices.SortFunc(all, byID)
		got := ix.All()
		slices.SortFunc(got, byID)
		if !slices.Equal(got, all) || ix.Len() != len(all) {
			t.Fatalf("step %d: %d fences, Len %d, want %d", step, len(got), ix.Len(), len(all))
		}
		f := fences[r.IntN(len(fences))]
		if got, ok := ix.Fence(f.ID); ok != (want[f.ID] != Fence{}) || got != want[f.ID] {
			t.Fatalf("get %s: %v, want %v", f.ID, got, want[f.ID])
		}
		for _, p := range probes(t, r, f)[:4] {
			near := bruteForce(all, p, math.Inf(1))
			inside := near[:len(bruteForce(all, p, 0))]
			if got := ix.At(p, nil); !slices.Equal(got, inside) {
				t.Fatalf("step %d: at %v: %v, want %v", step, p, got, inside)
			}
			if got := ix.Within(p, 0, nil); !slices.Equal(got, inside) {
				t.Fatalf("step %d: within 0 of %v: %v, want %v", step, p, got, inside)
			}
			if got := ix.Nearest(p, 7, nil); !slices.Equal(got, near[:min(7, len(near))]) {
				t.Fatalf("step %d: nearest %v: %v", step, p, got)
			}
		}
		if step == 200 {
			old, oldWant = ix, all
		}
	}
	p := oldWant[5].Shape.Center()
	if got := old.At(p, nil); !slices.Equal(got, bruteForce(oldWant, p, 0)) {
		t.Errorf("a later With changed an older index: %v", got)
	}
	if ix.Overlay() == 0 || len(ix.parts) > 12 {
		t.Errorf("%d parts, overlay %d", len(ix.parts), ix.Overlay())
	}
	c, err := ix.Compact()
	if err != nil || c.Overlay() != 0 || c.Len() != ix.Len() || len(c.parts) != 1 {
		t.Errorf("compacted: %d parts, overlay %d, %v", len(c.parts), c.Overlay(), err)
	}
	if _, err := ix.With([]Fence{{"x", nil}}, nil); err == nil {
		t.Error("a fence without a shape was added")
	}
}

// Readers read, writers write, and Compact runs over and over: nothing that was
// written is lost, and the fence that nobody touches is always found.
func TestLiveKeepsEveryChangeDuringCompact(t *testing.T) {
	r := rand.New(rand.NewPCG(57, 58))
	fences := world(t, r, 1000, between(r, 50, 500))
	var l Live
	home := Fence{"home", Circle{Point{12, 34}, 100}}
	if err := l.Change(append(slices.Clone(fences), home), nil); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := l.Compact(); err != nil {
				t.Error(err)
			}
		}
	})
	others.Go(func() {
		var w Watch
		for {
			select {
			case <-stop:
				return
			default:
			}
			w.Move(l.Index(), Point{12, 34}, nil)
			if got := w.At(l.Index(), Point{12, 34}, nil); len(got) != 1 || got[0].Fence != home {
				t.Errorf("home is gone: %v", got)
				return
			}
		}
	})
	var writers sync.WaitGroup
	for n := range 2 {
		writers.Go(func() {
			for i := range 300 {
				id := fmt.Sprintf("w%d-%d", n, i)
				if err := l.Change([]Fence{{id, fences[i].Shape}}, []string{fences[500*n+i].ID}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	others.Wait()
	x := l.Index()
	if x.Len() != 1001 {
		t.Errorf("%d fences, want 1001", x.Len())
	}
	for n := range 2 {
		for i := range 300 {
			if _, ok := x.Fence(fmt.Sprintf("w%d-%d", n, i)); !ok {
				t.Errorf("w%d-%d was lost", n, i)
			}
			if _, ok := x.Fence(fences[500*n+i].ID); ok {
				t.Errorf("%s came back", fences[500*n+i].ID)
			}
		}
	}
}
