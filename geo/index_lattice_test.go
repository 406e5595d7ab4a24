package geo

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The lattice is H3's: every cell is the library's, unless the point is within
// rounding of a border.
func TestLatticeGivesTheLibrarysCells(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	places := awkward(t)
	g := grid()
	if len(g.faces) != 20 {
		t.Fatalf("%d faces", len(g.faces))
	}
	asked, points := 0, 200_000
	for range points {
		res := r.IntN(finestIndexed + 1)
		p := anywhere(r)
		if r.IntN(2) == 0 {
			p = offset(places[r.IntN(len(places))], 2*math.Pi*r.Float64(), 8*spacingM(res)*r.Float64()*r.Float64())
		}
		u := normalOf(vecOf(p))
		f := g.faceOf(u)
		if !f.holds(u) && f.holds(u.by(1-1e-9)) {
			t.Fatalf("%v is not on its face", p)
		}
		var w way
		at := f.at(u, res)
		got, ok := f.cell(at, res, &w)
		if !ok {
			asked++
			continue
		}
		want, err := CellOf(p, res)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			a, b := vecOf(p).chord(vecOf(got.Center())), vecOf(p).chord(vecOf(want.Center()))
			if math.Abs(a-b) > 1e-3 {
				t.Fatalf("%v at %d: %v (%v m away), want %v (%v m)", p, res, got, a, want, b)
			}
			continue
		}
		if n, onFace := f.normal(at, res); onFace {
			if d := onEllipsoid(n).chord(vecOf(got.Center())); d > 2e-2 {
				t.Fatalf("%v: the centre is off by %v m", got, d)
			}
		}
		for up := range res {
			if n, onFace := f.normal(w[up], up); onFace {
				if d := onEllipsoid(n).chord(vecOf(got.Parent(up).Center())); d > 2e-2 {
					t.Fatalf("%v: the centre of the parent of %d is off by %v m at %v", got, up, d, p)
				}
			}
		}
	}
	t.Logf("the library was asked for %d of %d points", asked, points)
	if asked > points/2 {
		t.Errorf("the library was asked for %d of %d points", asked, points)
	}
}

func BenchmarkLattice(b *testing.B) {
	v := vecOf(Point{52.52, 13.405})
	g := grid()
	var w way
	for b.Loop() {
		u := normalOf(v)
		f := g.faceOf(u)
		f.cell(f.at(u, 8), 8, &w)
	}
}
