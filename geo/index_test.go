package geo

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/uber/h3-go/v4"
)

// bruteForce is what Index must equal: every fence whose margin is at most
// marginM, in order.
func bruteForce(fences []Fence, p Point, marginM float64) []Hit {
	var hits []Hit
	for _, f := range fences {
		// A degree of latitude is never shorter than 110 km: most need no sines.
		if math.Abs(f.Shape.Center().Lat-p.Lat)*110_000 > f.Shape.BoundingRadiusM()+marginM {
			continue
		}
		if m := f.Shape.MarginM(p); m <= marginM {
			hits = append(hits, Hit{f, m})
		}
	}
	slices.SortFunc(hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(a.MarginM, b.MarginM), strings.Compare(a.ID, b.ID))
	})
	return hits
}

// awkward are the places where grids and coordinates break: icosahedron
// vertices (pentagons), poles, the antimeridian, the equator, face edges.
func awkward(t *testing.T) []Point {
	t.Helper()
	ps := []Point{{90, 0}, {-90, 0}, {0, 180}, {0, -180}, {52, 180}, {-17, -180}, {0, 0}, {89.999, 44}, {-89.9999, -120}}
	for res := range 3 {
		cells, err := h3.Pentagons(res)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cells {
			ps = append(ps, Cell(c).Center())
			b, err := c.Boundary()
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range b { // these lie on face edges
				ps = append(ps, Point{v.Lat, v.Lng})
			}
		}
	}
	return ps
}

// world has towns at random and at all awkward places.
func world(t *testing.T, r *rand.Rand, n int, radius func() float64) []Fence {
	t.Helper()
	towns := awkward(t)
	for range len(towns) / 2 {
		towns = append(towns, anywhere(r))
	}
	fences := make([]Fence, n)
	for i := range fences {
		rad := radius()
		c := offset(towns[r.IntN(len(towns))], 2*math.Pi*r.Float64(), 4*rad*r.Float64()*r.Float64())
		fences[i] = Fence{fmt.Sprintf("f%05d", i), Circle{c, rad}}
	}
	return fences
}

// probes are points near a fence, chosen to break an index: on its border to the
// last bit, at the corners and centres of the cells there at several
// resolutions, and at random.
func probes(t *testing.T, r *rand.Rand, f Fence) []Point {
	t.Helper()
	c := f.Shape.(Circle)
	bearing := 2 * math.Pi * r.Float64()
	in, out := 0.0, 1.02*c.RadiusM
	for range 60 { // bisect to the border
		mid := (in + out) / 2
		if c.Contains(offset(c.Around, bearing, mid)) {
			in = mid
		} else {
			out = mid
		}
	}
	ps := []Point{
		c.Around,
		offset(c.Around, bearing, in),
		offset(c.Around, bearing, out),
		offset(c.Around, 2*math.Pi*r.Float64(), 1.5*c.RadiusM*r.Float64()),
	}
	edge := ps[1+r.IntN(2)]
	for _, res := range []int{r.IntN(13), levelFor(c.RadiusM), min(15, levelFor(c.RadiusM)+1+r.IntN(3))} {
		cell, err := CellOf(edge, res)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, cell.Center())
		b, err := h3.Cell(cell).Boundary()
		if err != nil {
			t.Fatal(err)
		}
		v := b[r.IntN(len(b))]
		w := b[r.IntN(len(b))]
		ps = append(ps, Point{v.Lat, v.Lng})
		if math.Abs(v.Lng-w.Lng) < 90 {
			ps = append(ps, Point{(v.Lat + w.Lat) / 2, (v.Lng + w.Lng) / 2}) // on an edge, nearly, or inside
		}
	}
	return append(ps, Point{edge.Lat, 180}, Point{edge.Lat, -180}, anywhere(r))
}

func between(r *rand.Rand, lo, hi float64) func() float64 {
	return func() float64 { return lo * math.Pow(hi/lo, r.Float64()) }
}

func TestIndexEqualsBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for name, radius := range map[string]func() float64{
		"shops":    between(r, 50, 500),
		"all":      between(r, MinRadiusM, MaxRadiusM),
		"smallest": func() float64 { return MinRadiusM },
		"largest":  func() float64 { return MaxRadiusM },
		"one size": func() float64 { return 150 },
	} {
		t.Run(name, func(t *testing.T) {
			fences := world(t, r, 1500, radius)
			ix, err := NewIndex(fences)
			if err != nil {
				t.Fatal(err)
			}
			points, found := 0, 0
			for i := range 200 {
				for _, p := range probes(t, r, fences[i*7]) {
					want := bruteForce(fences, p, 0)
					got := ix.At(p, nil)
					if !slices.Equal(got, want) {
						t.Fatalf("at %v: %v, want %v", p, got, want)
					}
					points++
					found += len(want)
				}
			}
			t.Logf("levels %v, %d points, %d hits, %.1f words a fence", ix.parts[0].levels, points, found, float64(len(ix.parts[0].words))/float64(len(fences)))
			if found < points/4 {
				t.Errorf("the points test little: %d hits at %d points", found, points)
			}
		})
	}
}

func TestWithinAndNearestEqualBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	fences := world(t, r, 1200, between(r, MinRadiusM, MaxRadiusM))
	fences = append(fences, Fence{"a-twin", fences[7].Shape}, Fence{"z-twin", fences[7].Shape}) // ties
	ix, err := NewIndex(fences)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		for _, p := range probes(t, r, fences[i*7]) {
			all := bruteForce(fences, p, math.Inf(1))
			for _, margin := range []float64{-20, 0, 300, 50_000, math.Inf(1)} {
				want := all
				if i := slices.IndexFunc(all, func(h Hit) bool { return h.MarginM > margin }); i >= 0 {
					want = all[:i]
				}
				if got := ix.Within(p, margin, nil); !slices.Equal(got, want) {
					t.Fatalf("within %v of %v: %v, want %v", margin, p, got, want)
				}
			}
			for _, n := range []int{1, 19, 50} {
				if got, want := ix.Nearest(p, n, nil), all[:min(n, len(all))]; !slices.Equal(got, want) {
					t.Fatalf("nearest %d of %v: %v, want %v", n, p, got, want)
				}
			}
		}
	}
}

// The cover's proof, tried: no point is farther from the centre of its cell's
// ancestor than spreadM, and somewhere it comes close, else it could be tighter.
func TestSpreadBoundsTheHierarchy(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	places := awkward(t)
	worst := 0.0
	for range 30_000 {
		finest := r.IntN(finestIndexed + 1)
		res := r.IntN(finest + 1)
		p := anywhere(r)
		if r.IntN(2) == 0 {
			p = offset(places[r.IntN(len(places))], 2*math.Pi*r.Float64(), 3*spacingM(finest)*r.Float64())
		}
		cell, err := CellOf(p, finest)
		if err != nil {
			t.Fatal(err)
		}
		d := vecOf(p).chord(vecOf(cell.Parent(res).Center()))
		if b := spreadM(res, finest); d > b {
			t.Fatalf("%v: %v m from the centre of its ancestor at %d from %d, bound %v", p, d, res, finest, b)
		} else if res > 0 {
			worst = max(worst, d/b)
		}
	}
	t.Logf("closest to the bound: %.3f", worst)
	if worst < 0.8 {
		t.Errorf("the bound is loose: nothing comes closer than %.3f of it", worst)
	}
}

// Descendants stick out of their ancestor's hexagon. Fences that just reach the
// outermost corner of the outermost descendant would be missed by a cover of the
// hexagon alone.
func TestCoverHoldsDescendantsThatStickOut(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	places := awkward(t)
	beyond := 0 // corners that are farther out than any of the ancestor's own
	for i := range 150 {
		place := anywhere(r)
		if i%3 == 0 {
			place = places[r.IntN(len(places))]
		}
		res := 3 + r.IntN(8)
		top, err := CellOf(place, res)
		if err != nil {
			t.Fatal(err)
		}
		center := vecOf(top.Center())
		outermost := func(ps []Point) Point {
			return slices.MaxFunc(ps, func(a, b Point) int {
				return cmp.Compare(center.chord2(vecOf(a)), center.chord2(vecOf(b)))
			})
		}
		corners := func(c Cell) (ps []Point) {
			b, err := h3.Cell(c).Boundary()
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range b {
				ps = append(ps, Point{v.Lat, v.Lng})
			}
			return ps
		}
		cell := top
		for cell.Resolution() < finestIndexed {
			children, err := h3.Cell(cell).ImmediateChildren()
			if err != nil {
				t.Fatal(err)
			}
			cell = Cell(slices.MaxFunc(children, func(a, b h3.Cell) int {
				return cmp.Compare(center.chord2(vecOf(Cell(a).Center())), center.chord2(vecOf(Cell(b).Center())))
			}))
		}
		tip := outermost(corners(cell))
		inner := cell.Center() // a little towards the cell's centre, to be surely in it
		tip = Point{tip.Lat + (inner.Lat-tip.Lat)*0.02, tip.Lng + (inner.Lng-tip.Lng)*0.02}
		if c, err := CellOf(tip, finestIndexed); err != nil || c.Parent(res) != top {
			continue // longitudes that jump at the antimeridian or a pole
		}
		if center.chord(vecOf(tip)) > center.chord(vecOf(outermost(corners(top)))) {
			beyond++
		}
		radius := min(MaxRadiusM, spacingM(res)*(0.4+0.6*r.Float64()))
		bearing := math.Atan2((tip.Lng-top.Center().Lng)*math.Cos(tip.Lat*math.Pi/180), tip.Lat-top.Center().Lat)
		fence := Fence{"edge", Circle{offset(tip, bearing, 0.99*radius), radius}}
		ix, err := NewIndex([]Fence{fence, {"finest", Circle{Point{0, 0}, MinRadiusM}}})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := ix.At(tip, nil), bruteForce([]Fence{fence}, tip, 0); len(want) != 1 || !slices.Equal(got, want) {
			t.Fatalf("%v in %v at %v: %v, want %v", tip, top, fence, got, want)
		}
	}
	if beyond < 50 {
		t.Errorf("only %d corners stick out", beyond)
	}
}

func TestIndexDoesNotDependOnTheOrderOfFences(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	fences := world(t, r, 300, between(r, 50, 5000))
	a, err := NewIndex(fences)
	if err != nil {
		t.Fatal(err)
	}
	shuffled := slices.Clone(fences)
	r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	b, err := NewIndex(shuffled)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fences {
		p := f.Shape.Center()
		if x, y := a.At(p, nil), b.At(p, nil); !slices.Equal(x, y) {
			t.Fatalf("%v, shuffled %v", x, y)
		}
		if got, ok := b.Fence(f.ID); !ok || got != f {
			t.Fatalf("get %s: %v, %v", f.ID, got, ok)
		}
	}
	if _, ok := a.Fence("nobody"); ok || a.Len() != len(fences) {
		t.Errorf("found nobody, or %d fences", a.Len())
	}
}

func TestIndexRefusesBadFences(t *testing.T) {
	ok := Circle{Point{1, 2}, 50}
	for _, c := range []struct {
		fences []Fence
		want   string
	}{
		{[]Fence{{"a", ok}, {"", ok}}, "fences[1].id is missing"},
		{[]Fence{{"a", ok}, {"a", ok}}, `fences[1].id stands twice: "a"`},
		{[]Fence{{"a", nil}}, "fences[0].shape is missing"},
		{[]Fence{{"a", Circle{Point{1, 2}, -1}}}, "fences[0].shape.radius must be 10 to 100000 m, is -1"},
		{[]Fence{{"a", Circle{Point{math.NaN(), 2}, 50}}}, "fences[0].shape.lat must be -90 to 90, is NaN"},
	} {
		_, err := NewIndex(c.fences)
		if _, typed := errors.AsType[*Error](err); !typed || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestEmptyIndexAndInvalidPointsFindNothing(t *testing.T) {
	full, err := NewIndex([]Fence{{"a", Circle{Point{0, 0}, 100}}})
	if err != nil {
		t.Fatal(err)
	}
	empty, err := NewIndex(nil)
	if err != nil {
		t.Fatal(err)
	}
	given := []Hit{{Fence: Fence{ID: "kept"}}}
	for name, find := range map[string]func() []Hit{
		"empty":          func() []Hit { return empty.At(Point{}, given) },
		"zero":           func() []Hit { return new(Index).At(Point{}, given) },
		"zero nearest":   func() []Hit { return new(Index).Nearest(Point{}, 5, given) },
		"zero within":    func() []Hit { return new(Index).Within(Point{}, 1e6, given) },
		"NaN":            func() []Hit { return full.At(Point{math.NaN(), 0}, given) },
		"lat 91":         func() []Hit { return full.At(Point{91, 0}, given) },
		"nearest NaN":    func() []Hit { return full.Nearest(Point{0, math.NaN()}, 5, given) },
		"nearest 0":      func() []Hit { return full.Nearest(Point{}, 0, given) },
		"nearest -1":     func() []Hit { return full.Nearest(Point{}, -1, given) },
		"within NaN":     func() []Hit { return full.Within(Point{}, math.NaN(), given) },
		"within lng NaN": func() []Hit { return full.Within(Point{0, math.NaN()}, 9, given) },
	} {
		if got := find(); !slices.Equal(got, given) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestLookupsAllocateNothing(t *testing.T) {
	pentagons, err := h3.Pentagons(0)
	if err != nil {
		t.Fatal(err)
	}
	corners, err := h3.Pentagons(9)
	if err != nil {
		t.Fatal(err)
	}
	edge, err := corners[3].Boundary() // its corners lie on the edges of the grid's faces
	if err != nil {
		t.Fatal(err)
	}
	for name, town := range map[string]Point{
		"Berlin": {52.52, 13.405}, "a pentagon": Cell(pentagons[4]).Center(), "edges of faces": {edge[1].Lat, edge[1].Lng},
	} {
		t.Run(name, func(t *testing.T) { lookupsAllocateNothing(t, town) })
	}
}

func lookupsAllocateNothing(t *testing.T, town Point) {
	r := rand.New(rand.NewPCG(13, 14))
	var fences []Fence
	for i := range 500 {
		fences = append(fences, Fence{fmt.Sprint(i), Circle{offset(town, 2*math.Pi*r.Float64(), 3000*r.Float64()), 50 + 450*r.Float64()}})
	}
	ix, err := NewIndex(fences)
	if err != nil {
		t.Fatal(err)
	}
	hits, in, changes := make([]Hit, 0, len(fences)), make([]Fence, 0, len(fences)), make([]Change, 0, 2*len(fences))
	var w, v Watch
	n := 0
	walk := func() Point { // back and forth through the whole town
		n++
		return offset(town, 1, math.Abs(float64(n*60%8000-4000)))
	}
	for range 200 { // the buffers get their sizes
		changes = w.Move(ix, walk(), changes[:0])
		hits = v.At(ix, walk(), hits[:0])
	}
	for name, find := range map[string]func(){
		"At":         func() { hits = ix.At(walk(), hits[:0]) },
		"Containing": func() { in = ix.Containing(walk(), in[:0]) },
		"Within":     func() { hits = ix.Within(walk(), 300, hits[:0]) },
		"Nearest":    func() { hits = ix.Nearest(walk(), 50, hits[:0]) },
		"Watch.Move": func() { changes = w.Move(ix, walk(), changes[:0]) },
		"Watch.At":   func() { hits = v.At(ix, walk(), hits[:0]) },
	} {
		if got := testing.AllocsPerRun(1000, find); got > 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

// blob is a shape that is no circle: some circles together. Its margin is off, too
// small inside and too large outside, by a twentieth at most.
type blob struct {
	Circle  // holds the others
	circles []Circle
	asked   *int // how often MarginM was
	off     float64
}

func (b blob) Validate() error { return nil }

func (b blob) MarginM(p Point) float64 {
	*b.asked++
	m := math.Inf(1)
	for _, c := range b.circles {
		m = min(m, c.MarginM(p))
	}
	if m < 0 {
		return m * (1 - b.off)
	}
	return m * (1 + b.off)
}

func (b blob) Contains(p Point) bool { return b.MarginM(p) <= 0 }

func newBlob(r *rand.Rand, hull Circle) blob {
	b := blob{Circle: hull, asked: new(int), off: r.Float64() / 20}
	for range 2 + r.IntN(4) {
		radius := hull.RadiusM * (0.1 + 0.6*r.Float64())
		b.circles = append(b.circles, Circle{offset(hull.Around, 2*math.Pi*r.Float64(), 0.94*(hull.RadiusM-radius)), radius})
	}
	return b
}

// How many points of TestIndexEqualsBruteForceOnManyPoints; `make soak` takes
// millions.
const pointsEnv = "FOOTFALL_TEST_INDEX_POINTS"

// Towns of all kinds, some so dense that their fences move to finer cells, with
// shapes that are no circles, indexed at once or in many steps.
func TestIndexEqualsBruteForceOnManyPoints(t *testing.T) {
	points := 6_000
	if s := os.Getenv(pointsEnv); s != "" {
		var err error
		if points, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s: %v", pointsEnv, err)
		}
	}
	r := rand.New(rand.NewPCG(61, 62))
	done, found, unasked, levels := 0, 0, 0, map[int]bool{}
	for round := 0; done < points; round++ {
		var fences []Fence
		switch round % 4 {
		case 0:
			fences = world(t, r, 1500, between(r, MinRadiusM, MaxRadiusM))
		case 1:
			fences = world(t, r, 1500, between(r, 50, 500))
		case 2: // all at one place, which is awkward or not
			place := anywhere(r)
			if places := awkward(t); r.IntN(2) == 0 {
				place = places[r.IntN(len(places))]
			}
			radius := between(r, MinRadiusM, 400)
			for i := range 1500 {
				fences = append(fences, Fence{fmt.Sprint(i), Circle{offset(place, 2*math.Pi*r.Float64(), 600*r.Float64()), radius()}})
			}
		case 3:
			fences = world(t, r, 300, between(r, 3*MinRadiusM, 100*MaxRadiusM))
		}
		shapes := slices.Clone(fences)
		blobs := 0
		for i := range shapes {
			if round%4 == 3 || r.IntN(10) == 0 {
				shapes[i].Shape = newBlob(r, fences[i].Shape.(Circle))
				blobs++
			}
		}
		ix, err := NewIndex(shapes)
		if round%3 == 2 {
			ix = &Index{}
			for part := range slices.Chunk(shapes, 1+r.IntN(300)) {
				if ix, err = ix.With(part, nil); err != nil {
					break
				}
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range ix.parts {
			for _, l := range s.levels {
				levels[l.res] = true
			}
		}
		for range min(100, points) {
			i := r.IntN(len(fences))
			ps := probes(t, r, fences[i])
			if b, ok := shapes[i].Shape.(blob); ok { // its own border, too
				for _, c := range b.circles {
					ps = append(ps, offset(c.Around, 2*math.Pi*r.Float64(), c.RadiusM), offset(c.Around, 2*math.Pi*r.Float64(), c.RadiusM*r.Float64()))
				}
			}
			for _, p := range ps {
				want := bruteForce(shapes, p, 0)
				if got := ix.At(p, nil); !equalHits(got, want) {
					t.Fatalf("round %d, at %v: %v, want %v", round, p, got, want)
				}
				asked := 0
				for _, h := range want {
					if b, ok := h.Shape.(blob); ok {
						asked -= *b.asked
					}
				}
				in := ix.Containing(p, nil)
				for _, h := range want {
					if b, ok := h.Shape.(blob); ok {
						asked += *b.asked
						unasked++
					}
				}
				unasked -= asked
				slices.SortFunc(in, func(a, b Fence) int { return strings.Compare(a.ID, b.ID) })
				slices.SortFunc(want, func(a, b Hit) int { return strings.Compare(a.ID, b.ID) })
				if !slices.EqualFunc(in, want, func(f Fence, h Hit) bool { return f.ID == h.ID }) {
					t.Fatalf("round %d, containing %v: %v, want %v", round, p, in, want)
				}
				done++
				found += len(want)
			}
		}
	}
	t.Logf("%d points, %d hits, %d of them of shapes that were not asked, levels %v", done, found, unasked, levels)
	if unasked < done/100 || len(levels) < 7 {
		t.Errorf("the worlds test little: %d shapes not asked, levels %v", unasked, levels)
	}
}

// equalHits compares by id and margin: not all shapes are comparable.
func equalHits(a, b []Hit) bool {
	return slices.EqualFunc(a, b, func(a, b Hit) bool { return a.ID == b.ID && a.MarginM == b.MarginM })
}
