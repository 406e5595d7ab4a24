package geo

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/uber/h3-go/v4"
)

// outlined is the distance from p to the edges that just one of the cells has, by
// Vincenty's geodesic to many points of them on great circles.
func outlined(t *testing.T, cells []Cell, p Point) float64 {
	t.Helper()
	type key [6]int64
	edges := map[key][2]vec{}
	count := map[key]int{}
	for _, c := range cells {
		b, err := h3.Cell(c).Boundary()
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			u, w := unitOf(Point(b[i])), unitOf(Point(b[(i+1)%len(b)]))
			round := func(x float64) int64 { return int64(math.Round(x * 1e9)) }
			mid := vec{u.x + w.x, u.y + w.y, u.z + w.z}
			// The direction does not matter.
			k := key{round(mid.x), round(mid.y), round(mid.z), round(math.Abs(u.x - w.x)), round(math.Abs(u.y - w.y)), round(math.Abs(u.z - w.z))}
			edges[k] = [2]vec{u, w}
			count[k]++
		}
	}
	best := math.Inf(1)
	for k, e := range edges {
		if count[k] > 1 {
			continue
		}
		dist := func(s float64) float64 {
			return geodesicM(p, vec{e[0].x*(1-s) + e[1].x*s, e[0].y*(1-s) + e[1].y*s, e[0].z*(1-s) + e[1].z*s}.direction())
		}
		lo, hi := 0.0, 1.0
		for range 60 {
			if x, y := lo+(hi-lo)*0.4, lo+(hi-lo)*0.6; dist(x) < dist(y) {
				hi = y
			} else {
				lo = x
			}
		}
		best = min(best, dist(lo), dist(0), dist(1))
	}
	return best
}

func TestCellSetIsTheAreaOfItsCells(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	places := awkward(t)
	tested, in := 0, 0
	for i := range 80 {
		c := anywhere(r)
		if i%2 == 0 {
			c = places[r.IntN(len(places))]
		}
		res := 3 + r.IntN(10)
		origin, err := CellOf(c, res)
		if err != nil {
			t.Fatal(err)
		}
		disk, err := h3.GridDisk(h3.Cell(origin), 2)
		if err != nil {
			t.Fatal(err)
		}
		var cells []Cell
		for _, d := range disk {
			if r.IntN(3) > 0 { // with holes
				cells = append(cells, Cell(d))
			}
		}
		if len(cells) == 0 {
			cells = []Cell{origin}
		}
		s, err := NewCellSet(cells)
		if err != nil {
			t.Fatal(err)
		}
		for range 12 {
			p := offset(c, 2*math.Pi*r.Float64(), 4*spacingM(res)*r.Float64())
			at, err := CellOf(p, res)
			if err != nil {
				t.Fatal(err)
			}
			want := outlined(t, cells, p)
			if math.IsNaN(want) || want < 1e-3 {
				continue
			}
			member := slices.Contains(cells, at)
			if member {
				want, in = -want, in+1
			}
			got := s.MarginM(p)
			if math.Abs(got-want) > marginBound(math.Abs(want)) || s.Contains(p) != member {
				t.Fatalf("%v in %v: %v m, want %v", p, cells, got, want)
			}
			tested++
		}
	}
	if t.Logf("%d points, %d inside", tested, in); tested < 900 || in < 200 {
		t.Error("the points test little")
	}
}

func TestTheBorderOfCellsIsInside(t *testing.T) {
	r := rand.New(rand.NewPCG(53, 54))
	for _, c := range awkward(t) {
		cell, err := CellOf(c, 4+r.IntN(9))
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewCellSet([]Cell{cell})
		if err != nil {
			t.Fatal(err)
		}
		b, err := h3.Cell(cell).Boundary()
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range b {
			w := b[(i+1)%len(b)]
			u, x := unitOf(Point(v)), unitOf(Point(w))
			for _, p := range []Point{Point(v), vec{u.x + x.x, u.y + x.y, u.z + x.z}.direction()} {
				if !s.Contains(p) || math.Abs(s.MarginM(p)) > 1e-3 {
					t.Fatalf("%v of %v: margin %v", p, cell, s.MarginM(p))
				}
			}
		}
	}
}

func TestCellsBetweenCellsAreNoBorder(t *testing.T) {
	origin, err := CellOf(Point{Lat: 52.52, Lng: 13.405}, 9)
	if err != nil {
		t.Fatal(err)
	}
	disk, err := h3.GridDisk(h3.Cell(origin), 2)
	if err != nil {
		t.Fatal(err)
	}
	var cells []Cell
	for _, c := range disk {
		cells = append(cells, Cell(c))
	}
	s, err := NewCellSet(cells)
	if err != nil {
		t.Fatal(err)
	}
	b, err := h3.Cell(origin).Boundary()
	if err != nil {
		t.Fatal(err)
	}
	// The corner of the middle cell is at least a cell's width from the outline.
	if m := s.MarginM(Point(b[0])); m > -200 {
		t.Errorf("%v m, want more than 200 m inside", m)
	}
}

func TestCellsThatCannotBeAreRefused(t *testing.T) {
	good, err := CellOf(Point{Lat: 1, Lng: 2}, 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cells []Cell
		want  string
	}{
		{nil, "must not be empty"},
		{[]Cell{good, 7}, "[1] must be an H3 cell, is 7"},
		{[]Cell{good.Parent(2)}, ""},
		{[]Cell{good, good.Parent(2)}, "must be at most 10000 cells of resolution 9"},
	} {
		if _, err := NewCellSet(c.cells); err == nil && c.want != "" || err != nil && err.Error() != c.want {
			t.Errorf("%v: %v, want %q", c.cells, err, c.want)
		}
	}
	if err := new(CellSet).Validate(); err == nil {
		t.Error("the zero set is valid")
	}
}

func BenchmarkCellSet(b *testing.B) {
	origin, err := CellOf(Point{Lat: 52.52, Lng: 13.405}, 10)
	if err != nil {
		b.Fatal(err)
	}
	disk, err := h3.GridDisk(h3.Cell(origin), 5)
	if err != nil {
		b.Fatal(err)
	}
	var cells []Cell
	for _, c := range disk {
		cells = append(cells, Cell(c))
	}
	s, err := NewCellSet(cells)
	if err != nil {
		b.Fatal(err)
	}
	p := origin.Center()
	for b.Loop() {
		s.MarginM(p)
	}
}
