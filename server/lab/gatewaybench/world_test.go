package gatewaybench

import (
	"testing"

	"github.com/footfall-engage/footfall/geo"
)

func TestPhonesWalkAmongTheFences(t *testing.T) {
	fences := Fences(100_000)
	if again := Fences(1000); again[999] != fences[999] {
		t.Fatal("fewer fences are others")
	}
	all := make([]geo.Fence, len(fences))
	for i, f := range fences {
		if f.RadiusM < 50 || f.RadiusM > 500 {
			t.Fatalf("%s has %v m", f.ID, f.RadiusM)
		}
		all[i] = geo.Fence{ID: f.ID, Shape: f.Circle}
	}
	index, err := geo.NewIndex(all)
	if err != nil {
		t.Fatal(err)
	}
	hits, walks := 0, walkers(1000)
	for i := range walks {
		w := &walks[i]
		from := w.at
		for range 100 {
			w.step(0.1)
		}
		if m := geo.DistanceM(from, w.at); m > 14.1 || m < 1 {
			t.Fatalf("%v m in ten seconds", m)
		}
		hits += len(index.At(w.at, nil))
	}
	if mean := float64(hits) / 1000; mean < 0.3 || mean > 3 {
		t.Errorf("a phone is in %v fences, want about one", mean)
	}
}
