package geo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var everywhere = Box{West: -180, South: -90, East: 180, North: 90}

// crowd is devices about a few centres, many about some, few about others, and
// loners between.
func crowd(t *testing.T, r *rand.Rand, centres []Point, n int) *Nearby[struct{}] {
	t.Helper()
	var live Nearby[struct{}]
	for i := range n {
		spread := []float64{30, 300, 3000, 30_000}[r.IntN(4)]
		c := centres[int(float64(len(centres))*r.Float64()*r.Float64())]
		if _, err := live.Update(fmt.Sprint(i), offset(c, 7*r.Float64(), spread*r.Float64()), nearbyNoon, struct{}{}); err != nil {
			t.Fatal(err)
		}
	}
	return &live
}

// What an asker can learn are sums and differences of counts. The cells that are
// shown form a tree, so all of these are made of what a node counts beyond its
// children.
func TestNoComparisonOfHeatMapsShowsTheFew(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	shown, gaps := 0, 0
	for round := range 80 {
		centres := append(awkward(t), anywhere(r), anywhere(r))
		r.Shuffle(len(centres), func(i, j int) { centres[i], centres[j] = centres[j], centres[i] })
		live := crowd(t, r, centres[:3], 20+r.IntN(2000))
		least := HeatLeast + round%8
		h, err := live.Heat(time.Time{}, least)
		if err != nil {
			t.Fatal(err)
		}
		beyond := map[Cell]int{}
		for res := HeatCoarsest; res <= HeatFinest; res++ {
			cells, err := h.Cells(res, everywhere, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cells {
				shown++
				if c.Count < least {
					t.Fatalf("%d in %v are fewer than %d", c.Count, c.Cell, least)
				}
				if res > HeatCoarsest {
					up := c.Cell.Parent(res - 1)
					if _, ok := beyond[up]; !ok {
						t.Fatalf("%v is shown, its parent is not", c.Cell)
					}
					beyond[up] -= c.Count
				}
				if _, twice := beyond[c.Cell]; twice {
					t.Fatalf("%v is shown twice", c.Cell)
				}
				beyond[c.Cell] = c.Count
			}
		}
		for cell, n := range beyond {
			if n != 0 && n < least {
				t.Fatalf("least %d: %v counts %d beyond its children", least, cell, n)
			}
			if n > 0 && cell.Resolution() < HeatFinest {
				gaps++
			}
		}
	}
	t.Logf("%d cells, %d with some of their children withheld", shown, gaps)
	if shown < 5000 || gaps < 300 {
		t.Errorf("this tests little: %d cells, %d gaps", shown, gaps)
	}
}

// As much is shown as that allows: of a cell's children only those that must be
// are withheld.
func TestHeatMapWithholdsNoMoreThanItMust(t *testing.T) {
	town, err := ParseCell("871f1d489ffffff")
	if err != nil {
		t.Fatal(err)
	}
	// The children of a cell of resolution 9, by their digit.
	nine := cellAt(t, town.Center(), 9)
	child := func(digit int) Cell {
		c := uint64(nine)&^(15<<resolutionShift) | 10<<resolutionShift
		shift := 3 * (15 - 10)
		return Cell(c&^(7<<shift) | uint64(digit)<<shift)
	}
	for _, c := range []struct {
		name   string
		counts [7]int
		want   [7]int // of resolution 10; 0 is not shown
		parent int    // of resolution 9
	}{
		{"all are enough", [7]int{5, 6, 7, 0, 0, 0, 0}, [7]int{5, 6, 7}, 18},
		{"one is too few: the smallest other covers for it", [7]int{5, 6, 7, 1, 0, 0, 0}, [7]int{0, 6, 7}, 19},
		{"four are too few", [7]int{9, 0, 7, 4, 0, 0, 8}, [7]int{9, 0, 0, 0, 0, 0, 8}, 28},
		{"the few are enough together", [7]int{5, 6, 7, 4, 1, 0, 0}, [7]int{5, 6, 7}, 23},
		{"only few, together enough", [7]int{4, 4, 0, 0, 0, 0, 0}, [7]int{}, 8},
		{"only few", [7]int{2, 2, 0, 0, 0, 0, 0}, [7]int{}, 0},
		{"one and a crowd", [7]int{100, 1, 0, 0, 0, 0, 0}, [7]int{}, 101},
	} {
		var cells []Cell
		for digit, n := range c.counts {
			for range n {
				cells = append(cells, child(digit))
			}
		}
		h := heatOf(cells, 5)
		got, err := h.Cells(10, everywhere, nil)
		if err != nil {
			t.Fatal(err)
		}
		var want []CellCount
		for digit, n := range c.want {
			if n > 0 {
				want = append(want, CellCount{child(digit), n})
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
		up, err := h.Cells(9, everywhere, nil)
		if err != nil || c.parent == 0 && len(up) > 0 || c.parent > 0 && !slices.Equal(up, []CellCount{{nine, c.parent}}) {
			t.Errorf("%s: above them %v %v, want %d", c.name, up, err, c.parent)
		}
	}
}

// cellAt is the cell of a point.
func cellAt(t *testing.T, p Point, res int) Cell {
	t.Helper()
	c, err := CellOf(p, res)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHeatMapOfABoxHasTheCellsWhoseCentreIsInIt(t *testing.T) {
	fiji, berlin := Point{-17, 179.999}, Point{52.52, 13.405}
	var live Nearby[struct{}]
	for i := range 10 {
		for j, p := range []Point{fiji, berlin, {-17, -179.9}} {
			if _, err := live.Update(fmt.Sprint(i, j), p, nearbyNoon, struct{}{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	h, err := live.Heat(time.Time{}, 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		box  Box
		want int
	}{
		{everywhere, 3},
		{Box{West: 179, South: -18, East: -179, North: -16}, 2}, // across the antimeridian
		{Box{West: -179, South: -18, East: 179, North: -16}, 0},
		{Box{West: 13, South: 52, East: 14, North: 53}, 1},
		{Box{West: 13, South: 53, East: 14, North: 54}, 0},
	} {
		got, err := h.Cells(9, c.box, nil)
		if err != nil || len(got) != c.want {
			t.Errorf("%+v: %v %v, want %d cells", c.box, got, err, c.want)
		}
	}
	if late, err := live.Heat(nearbyNoon.Add(time.Second), 5); err != nil || len(late.levels[0]) != 0 {
		t.Errorf("devices that are too old are counted: %v %v", late, err)
	}
}

// An outline is a valid GeoJSON polygon, without a jump, and holds the cell's
// centre, also at poles, pentagons and across the antimeridian.
func TestOutlinesOfCellsCanBeDrawn(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 62))
	places := append(awkward(t), Point{90, 0}, Point{-90, 0}, Point{0, 180}, Point{66, -180}, Point{-45, 179.9999})
	split, polar := 0, 0
	for i := range 2000 {
		p := anywhere(r)
		if i%2 == 0 {
			p = offset(places[r.IntN(len(places))], 7*r.Float64(), 100_000*r.Float64()*r.Float64())
		}
		switch {
		case i < len(places):
			p = places[i]
		case i%8 == 1:
			p.Lng = 180
		}
		c := cellAt(t, p, HeatCoarsest+r.IntN(HeatFinest-HeatCoarsest+1))
		rings := c.Outline()
		if len(rings) == 0 {
			t.Fatalf("%v has no outline", c)
		}
		var coordinates [][][][2]float64
		for _, ring := range rings {
			var line [][2]float64
			for _, q := range ring {
				line = append(line, [2]float64{q.Lng, q.Lat})
				if q.Lat == 90 || q.Lat == -90 {
					polar++
				}
			}
			coordinates = append(coordinates, [][][2]float64{line})
		}
		if len(rings) > 1 {
			split++
		}
		text, err := json.Marshal(map[string]any{"type": "MultiPolygon", "coordinates": coordinates})
		if err != nil {
			t.Fatal(err)
		}
		shape, err := ParseGeometry(text, nil)
		if err != nil || len(Warnings(shape)) > 0 {
			t.Fatalf("%v at %v: %v %v in %s", c, p, err, Warnings(shape), text)
		}
		if centre := c.Center(); !shape.Contains(centre) {
			t.Fatalf("%v does not hold its centre %v: %s", c, centre, text)
		}
	}
	t.Logf("%d outlines were split, %d points at a pole", split, polar)
	if split < 50 || polar == 0 {
		t.Errorf("this tests little: %d split, %d points at a pole", split, polar)
	}
}
