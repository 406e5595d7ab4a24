package geo

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// star is a ring of n vertices about c that crosses itself nowhere, of a radius of
// about radiusM; it must not reach a pole or ±180.
func star(r *rand.Rand, c Point, radiusM float64, n int) []Point {
	var ring []Point
	perLat := radiusM / 111_000
	perLng := perLat / math.Cos(c.Lat*math.Pi/180)
	for i := range n {
		angle := 2 * math.Pi * (float64(i) + 0.9*r.Float64()) / float64(n)
		far := 0.3 + 0.7*r.Float64()
		ring = append(ring, Point{c.Lat + perLat*far*math.Sin(angle), c.Lng + perLng*far*math.Cos(angle)})
	}
	return append(ring, ring[0])
}

func mustPolygon(t testing.TB, polygons ...[][]Point) *Polygon {
	t.Helper()
	p, err := NewPolygon(polygons)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rect is a ring around a box, counter-clockwise.
func rect(west, south, east, north float64) []Point {
	return []Point{{south, west}, {south, east}, {north, east}, {north, west}, {south, west}}
}

// around is a ring around the band of some latitudes, in steps of 120 degrees: an
// edge all around the Earth would be taken for a jump.
func around(south, north float64) []Point {
	var ring []Point
	for _, lng := range []float64{-180, -60, 60, 180} {
		ring = append(ring, Point{south, lng})
	}
	for _, lng := range []float64{180, 60, -60, -180} {
		ring = append(ring, Point{north, lng})
	}
	return append(ring, ring[0])
}

// containsExactly is even-odd in fractions over every edge, the border inside.
func containsExactly(rings [][]Point, p Point) bool {
	rat := func(x float64) *big.Rat { return new(big.Rat).SetFloat64(x) }
	odd := false
	for _, ring := range rings {
		for i := range len(ring) - 1 {
			a, b := ring[i], ring[i+1]
			if p.Lat < min(a.Lat, b.Lat) || p.Lat > max(a.Lat, b.Lat) {
				continue
			}
			// (b-a) × (p-a)
			x := new(big.Rat).Mul(new(big.Rat).Sub(rat(b.Lng), rat(a.Lng)), new(big.Rat).Sub(rat(p.Lat), rat(a.Lat)))
			y := new(big.Rat).Mul(new(big.Rat).Sub(rat(b.Lat), rat(a.Lat)), new(big.Rat).Sub(rat(p.Lng), rat(a.Lng)))
			side := x.Cmp(y)
			if side == 0 && p.Lng >= min(a.Lng, b.Lng) && p.Lng <= max(a.Lng, b.Lng) && p.Lat >= min(a.Lat, b.Lat) && p.Lat <= max(a.Lat, b.Lat) {
				return true
			}
			if (a.Lat > p.Lat) != (b.Lat > p.Lat) && (b.Lat > a.Lat) == (side > 0) {
				odd = !odd
			}
		}
	}
	return odd
}

func TestPolygonContainsExactlyWhatItsCoordinatesSay(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	on, in, all := 0, 0, 0
	for i := range 60 {
		c := Point{Lat: 160*r.Float64() - 80, Lng: 300*r.Float64() - 150}
		ring := star(r, c, between(r, 20, 200_000)(), 3+r.IntN(60))
		if i%2 == 0 { // coarse coordinates, so that points fall onto edges and level with vertices
			c = Point{Lat: math.Round(c.Lat), Lng: math.Round(c.Lng)}
			ring = star(r, c, 700_000, 5+r.IntN(12))
			for j := range ring {
				ring[j] = Point{math.Round(ring[j].Lat*4) / 4, math.Round(ring[j].Lng*4) / 4}
			}
		}
		if i%3 == 0 {
			slices.Reverse(ring)
		}
		p, err := NewPolygon([][][]Point{{ring}})
		if err != nil {
			continue // rounding made it cross itself
		}
		rings := p.Polygons()[0]
		box := p.region.nodes[0].box
		for j := range 200 {
			at := Point{box.south + (box.north-box.south)*r.Float64(), box.west + (box.east-box.west)*r.Float64()}
			switch k := r.IntN(len(ring) - 1); j % 5 {
			case 0:
				at = ring[k]
			case 1:
				at = Point{(ring[k].Lat + ring[k+1].Lat) / 2, (ring[k].Lng + ring[k+1].Lng) / 2}
			case 2:
				at.Lat = ring[k].Lat
			case 3:
				at = Point{math.Round(at.Lat*8) / 8, math.Round(at.Lng*8) / 8}
			}
			want := containsExactly(rings, at)
			got, m := p.Contains(at), p.MarginM(at)
			if got != want || got != (m <= 0) {
				t.Fatalf("%v in %v: %v, margin %v, want %v", at, rings, got, m, want)
			}
			all++
			if want {
				in++
			}
			if math.Abs(m) < 1e-6 {
				on++
			}
		}
	}
	t.Logf("%d points, %d inside, %d on the border", all, in, on)
	if all < 6000 || in < all/4 || on < all/10 {
		t.Error("the points test little")
	}
}

// densest is the distance of p to the edges that are straight in longitude and
// latitude, by Vincenty's geodesic to many points of them, the nearest stretch
// ever closer.
func densest(rings [][]Point, p Point) float64 {
	best := math.Inf(1)
	for _, ring := range rings {
		for i := range len(ring) - 1 {
			a, b := ring[i], ring[i+1]
			dist := func(t float64) float64 {
				return geodesicM(p, Point{a.Lat + t*(b.Lat-a.Lat), a.Lng + t*(b.Lng-a.Lng)})
			}
			const parts = 32
			at, least := 0.0, math.Inf(1)
			for k := range parts + 1 {
				if d := dist(float64(k) / parts); d < least {
					at, least = float64(k)/parts, d
				}
			}
			if least-geodesicM(a, b)/parts > best {
				continue
			}
			lo, hi := max(0, at-1.0/parts), min(1, at+1.0/parts)
			for range 70 {
				x, y := lo+(hi-lo)*0.4, lo+(hi-lo)*0.6
				if dist(x) < dist(y) {
					hi = y
				} else {
					lo = x
				}
			}
			best = min(best, least, dist(lo))
		}
	}
	return best
}

// marginBound is the error that the documentation allows: 1 mm or 1e-7 for the
// edge, DistanceM's own, and 0.2 mm for Vincenty.
func marginBound(d float64) float64 {
	return borderTolM + 3e-4 + d*(1e-7+1e-8+0.001*(d/EarthRadiusM)*(d/EarthRadiusM))
}

func TestPolygonMarginAgreesWithTheGeodesicToDensifiedEdges(t *testing.T) {
	r := rand.New(rand.NewPCG(33, 34))
	worst, tested := 0.0, 0
	for i := range 120 {
		radius := between(r, 20, 300_000)()
		c := Point{Lat: 150*r.Float64() - 75, Lng: 300*r.Float64() - 150}
		if i%4 == 0 {
			radius, c.Lat = between(r, 20, 20_000)(), 85*math.Copysign(1, c.Lat)
		}
		ring := star(r, c, radius, 3+r.IntN(12))
		p := mustPolygon(t, [][]Point{ring})
		for range 12 {
			at := offset(c, 2*math.Pi*r.Float64(), radius*2*r.Float64())
			if r.IntN(4) == 0 {
				at = offset(c, 2*math.Pi*r.Float64(), 10*radius)
			}
			want := densest([][]Point{ring}, at)
			if math.IsNaN(want) || want > 1e6 {
				continue
			}
			got := math.Abs(p.MarginM(at))
			tested++
			if e := math.Abs(got - want); e > marginBound(want) {
				t.Fatalf("%v of %v: %v m, want %v, off by %v", at, ring, got, want, e)
			} else if want > 1 {
				worst = max(worst, e/want)
			}
		}
	}
	t.Logf("%d margins, relative error up to %.1e", tested, worst)
	if tested < 1000 {
		t.Error("too few")
	}
}

// clip is the part of a convex ring on one side of a meridian.
func clip(ring []Point, lng float64, east bool) []Point {
	in := func(p Point) bool { return east && p.Lng >= lng || !east && p.Lng <= lng }
	var out []Point
	for i := range len(ring) - 1 {
		a, b := ring[i], ring[i+1]
		if in(a) {
			out = append(out, a)
		}
		if in(a) != in(b) && a.Lng != lng && b.Lng != lng {
			t := (lng - a.Lng) / (b.Lng - a.Lng)
			out = append(out, Point{a.Lat + t*(b.Lat-a.Lat), lng})
		}
	}
	return append(out, out[0])
}

// A polygon cut at ±180 is the same as one elsewhere that needs no cut: the seam is
// no border, for points on it too.
func TestTheAntimeridianIsNoBorder(t *testing.T) {
	r := rand.New(rand.NewPCG(35, 36))
	onSeam := 0
	for i := range 60 {
		c := Point{Lat: 150*r.Float64() - 75, Lng: (r.Float64() - 0.5) * 0.2}
		half := between(r, 0.15, 20)()
		var ring []Point // convex
		n := 3 + r.IntN(20)
		for k := range n {
			angle := 2 * math.Pi * (float64(k) + 0.3) / float64(n)
			ring = append(ring, Point{c.Lat + 10*half/25*math.Sin(angle), c.Lng + half*math.Cos(angle)})
		}
		ring = append(ring, ring[0])
		whole := mustPolygon(t, [][]Point{ring})
		west, east := clip(ring, 0, false), clip(ring, 0, true)
		for k := range west {
			west[k].Lng += 180
		}
		for k := range east {
			east[k].Lng -= 180
		}
		cut := mustPolygon(t, [][]Point{west}, [][]Point{east})
		for j := range 60 {
			p := Point{c.Lat + half*(r.Float64()-0.5), c.Lng + 3*half*(r.Float64()-0.5)}
			if j%3 == 0 {
				p.Lng = 0
			}
			q := Point{p.Lat, p.Lng + 180}
			if p.Lng > 0 || p.Lng == 0 && j%2 == 0 {
				q.Lng = p.Lng - 180
			}
			want, got := whole.MarginM(p), cut.MarginM(q)
			if math.Abs(got-want) > 2*borderTolM+2*borderTolRel*math.Abs(want)+1e-6 || cut.Contains(q) != (got <= 0) {
				t.Fatalf("%d: %v: %v m, uncut %v m", i, q, got, want)
			}
			if p.Lng == 0 && want < -100 {
				onSeam++
				if also := cut.MarginM(Point{q.Lat, -q.Lng}); also != got {
					t.Fatalf("%v: %v m on +180 and %v m on -180", q, got, also)
				}
			}
		}
	}
	if onSeam < 200 {
		t.Errorf("only %d points deep inside on the seam", onSeam)
	}
	// A seam that only one side covers is a border.
	p := mustPolygon(t, [][]Point{rect(179, 0, 180, 2)}, [][]Point{rect(-180, 1, -179, 3)})
	for at, want := range map[Point]float64{
		{0.5, 180}: 0, {0.5, -180}: 0, {2.5, 180}: 0, {2.5, -180}: 0, // one side only: border, so inside
		{1.5, 180}:  -DistanceM(Point{1.5, 180}, Point{1, 180}),
		{1.5, -180}: -DistanceM(Point{1.5, 180}, Point{1, 180}),
	} {
		if got := p.MarginM(at); math.Abs(got-want) > 0.2 || !p.Contains(at) {
			t.Errorf("%v: %v m, want %v", at, got, want)
		}
	}
	if q := (Point{0.5, -179.9999}); p.Contains(q) {
		t.Errorf("%v is inside", q)
	}
}

func TestPolesHaveEveryLongitude(t *testing.T) {
	top := mustPolygon(t, [][]Point{around(80, 90)})
	antarctic := mustPolygon(t, [][]Point{around(-90, -70)})
	wedge := mustPolygon(t, [][]Point{rect(0, 80, 10, 90)})
	notTop := mustPolygon(t, [][]Point{around(80, 89)})
	for _, c := range []struct {
		name string
		p    *Polygon
		at   Point
		want float64
	}{
		{"the pole of a cap", top, Point{90, 123}, -DistanceM(Point{90, 0}, Point{80, 0})},
		{"the seam of a cap", top, Point{85, 180}, -DistanceM(Point{85, 0}, Point{80, 0})},
		{"the seam of a cap from the west", top, Point{85, -180}, -DistanceM(Point{85, 0}, Point{80, 0})},
		{"beside a cap", top, Point{75, 13}, DistanceM(Point{75, 0}, Point{80, 0})},
		{"the south pole", antarctic, Point{-90, -7}, -DistanceM(Point{-90, 0}, Point{-70, 0})},
		{"a wedge's tip by another longitude", wedge, Point{90, 111}, 0},
		{"beside a wedge's tip", wedge, Point{89.9, 100}, DistanceM(Point{89.9, 100}, Point{90, 0})},
		{"a collar is not its pole", notTop, Point{90, 5}, DistanceM(Point{90, 0}, Point{89, 0})},
	} {
		if got := c.p.MarginM(c.at); math.Abs(got-c.want) > 1e-3+1e-7*math.Abs(c.want) || c.p.Contains(c.at) != (c.want <= 0) {
			t.Errorf("%s: %v m, want %v", c.name, got, c.want)
		}
	}
	if d := DistanceM(top.Center(), Point{90, 0}); d > 20_000 {
		t.Errorf("the middle of the cap is %v m from the pole", d)
	}
}

func TestHolesAndIslandsInThem(t *testing.T) {
	p := mustPolygon(t, [][]Point{rect(0, 0, 10, 10), rect(2, 2, 8, 8)}, [][]Point{rect(4, 4, 6, 6)})
	for at, want := range map[Point]bool{
		{1, 1}: true, {3, 3}: false, {5, 5}: true, {2, 5}: true, {8, 8}: true, {4, 4}: true, {3.999, 5}: false, {11, 5}: false, {0, 0}: true,
	} {
		if p.Contains(at) != want {
			t.Errorf("%v: %v", at, !want)
		}
	}
	if m, want := p.MarginM(Point{3, 5}), DistanceM(Point{3, 5}, Point{2, 5}); math.Abs(m-want) > 150 { // edges bend towards the pole
		t.Errorf("%v m to the hole's edge, want about %v", m, want)
	}
	if len(Warnings(p)) != 1 { // the hole was given counter-clockwise
		t.Errorf("%v", Warnings(p))
	}
}

func TestRingsOfEitherDirectionAreTheSameShape(t *testing.T) {
	r := rand.New(rand.NewPCG(37, 38))
	for range 20 {
		ring := star(r, Point{52, 13}, 500, 9)
		back := slices.Clone(ring)
		slices.Reverse(back)
		a, b := mustPolygon(t, [][]Point{ring}), mustPolygon(t, [][]Point{back})
		if len(Warnings(a)) != 0 || len(Warnings(b)) != 1 || !strings.Contains(Warnings(b)[0].String(), "clockwise and was turned round") {
			t.Fatalf("%v, %v", Warnings(a), Warnings(b))
		}
		if !slices.Equal(a.Polygons()[0][0], b.Polygons()[0][0]) || math.Abs(a.AreaM2()/b.AreaM2()-1) > 1e-9 {
			t.Fatalf("%v and %v", a.Polygons(), b.Polygons())
		}
	}
}

func TestAreas(t *testing.T) {
	for _, c := range []struct {
		name string
		p    *Polygon
		want float64
	}{
		{"a degree at the equator", mustPolygon(t, [][]Point{rect(0, 0, 1, 1)}), 1.2309e10}, // ellipsoid
		{"a degree at 60°", mustPolygon(t, [][]Point{rect(0, 60, 1, 61)}), 6.1207e9},        // ellipsoid
		{"a courtyard", mustPolygon(t, [][]Point{rect(0, 0, 1e-3, 1e-3), rect(4e-4, 4e-4, 6e-4, 6e-4)}), 0.96 * 12309},
	} {
		if a := c.p.AreaM2(); math.Abs(a/c.want-1) > 0.007 {
			t.Errorf("%s: %.5g m², want %.5g", c.name, a, c.want)
		}
	}
}

func TestPolygonsThatCannotBeAreRefused(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	one := func(rings ...[]Point) [][][]Point { return [][][]Point{rings} }
	many := make([]Point, MaxVertices+2)
	for i := range many {
		s, c := math.Sincos(2 * math.Pi * float64(i) / float64(len(many)-1))
		many[i] = Point{s, c}
	}
	many[len(many)-1] = many[0]
	for _, c := range []struct {
		name     string
		polygons [][][]Point
		want     string
	}{
		{"nothing", nil, "must not be empty"},
		{"no rings", [][][]Point{{}}, "[0] must not be empty"},
		{"an empty ring", one(nil), "[0][0] must not be empty"},
		{"one point", one([]Point{{1, 1}}), "[0][0] is not closed: its last position must repeat its first, [1, 1], at [1, 1]"},
		{"unclosed", one([]Point{{0, 0}, {0, 1}, {1, 1}}), "[0][0] is not closed: its last position must repeat its first, [0, 0], at [1, 1]"},
		{"two points", one([]Point{{0, 0}, {0, 1}, {0, 1}, {0, 0}}), "[0][0] must have at least 3 different points, has 2, at [0, 0]"},
		{"NaN", one([]Point{{0, 0}, {nan, 1}, {1, 1}, {0, 0}}), "[0][0][1].lat must be -90 to 90, is NaN"},
		{"infinite", one([]Point{{0, 0}, {0, inf}, {1, 1}, {0, 0}}), "[0][0][1].lng must be -180 to 180, is +Inf"},
		{"latitude 91", one([]Point{{0, 0}, {91, 1}, {1, 1}, {0, 0}}), "[0][0][1].lat must be -90 to 90, is 91"},
		{"too many vertices", one(many), "must have at most 10000 vertices, has 10001"},
		{"bow tie", one([]Point{{0, 0}, {2, 2}, {0, 2}, {2, 0}, {0, 0}}), "[0][0] crosses itself, at [1, 1]"},
		{"crosses itself in a vertex", one([]Point{{0, 0}, {1, 1}, {2, 2}, {0, 2}, {1, 1}, {2, 0}, {0, 0}}), "[0][0] crosses itself, at [1, 1]"},
		{"spike", one([]Point{{0, 0}, {0, 2}, {2, 2}, {4, 2}, {2, 2}, {2, 0}, {0, 0}}), "[0][0] runs back over itself, at [2, 4]"},
		{"a line", one([]Point{{0, 0}, {0, 1}, {0, 2}, {0, 0}}), "[0][0] runs back over itself, at"},
		{"runs along itself", one([]Point{{0, 0}, {0, 4}, {2, 4}, {0, 3}, {0, 1}, {2, 0}, {0, 0}}), "[0][0] crosses itself, at [3, 0]"},
		{"hole outside", one(rect(0, 0, 1, 1), rect(2, 2, 3, 3)), "[0][1] is a hole outside of its polygon, at [2, 2]"},
		{"hole across the border", one(rect(0, 0, 2, 2), rect(1, 1, 3, 1.5)), "[0][1] crosses ring [0][0], at [2, 1]"},
		{"hole around its polygon", one(rect(1, 1, 2, 2), rect(0, 0, 3, 3)), "[0][1] must be a hole within its polygon, holds it, at [1, 1]"},
		{"hole in a hole", one(rect(0, 0, 9, 9), rect(1, 1, 8, 8), rect(2, 2, 3, 3)), "[0][2] is a hole within the hole [0][1], at [2, 2]"},
		{"hole through a vertex on the border", one(rect(0, 0, 4, 4), []Point{{2, 2}, {2, 4}, {2, 5}, {1, 4}, {2, 2}}), "[0][1] crosses ring [0][0], at [4, 2]"},
		{"hole that leaves by vertices", one(rect(0, 0, 4, 4), []Point{{2, 2}, {1, 4}, {2, 5}, {3, 4}, {2, 2}}), "[0][0] crosses ring [0][1], at [4, 1]"},
		{"overlapping polygons", [][][]Point{{rect(0, 0, 2, 2)}, {rect(1, 1, 3, 3)}}, "[1][0] crosses ring [0][0], at [2, 1]"},
		{"polygon in a polygon", [][][]Point{{rect(0, 0, 9, 9)}, {rect(1, 1, 2, 2)}}, "[1][0] overlaps the polygon of ring [0][0], at [1, 1]"},
		{"twice the same", [][][]Point{{rect(0, 0, 2, 2)}, {rect(0, 0, 2, 2)}}, "[1][0] runs along ring [0][0]: areas that share a border must be joined, at [0, 0]"},
		{"jump", one([]Point{{0, 179}, {0, -179}, {1, -179}, {1, 179}, {0, 179}}), "[0][0][1] jumps from longitude 179 to -179: a shape across ±180 must be split there (RFC 7946 §3.1.9), at [179, 0]"},
		{"no area", one(rect(0, 0, 1e-6, 1e-6)), "must have an area of 1 to 20000000000000 m², has 0.0124, at [0, 0]"},
		{"the world", one(rect(-180, -90, 180, 90)), "must have an area of 1 to 20000000000000 m², has 5.1e+14, at [-180, -90]"},
		{"around the equator", one(around(-0.1, 0.1)), "must fit a circle of 5000000 m, needs"},
	} {
		_, err := NewPolygon(c.polygons)
		e, typed := errors.AsType[*Error](err)
		if !typed || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
			continue
		}
		if strings.Contains(e.Reason, ", at [") != (e.At != nil) {
			t.Errorf("%s: %v, at %v", c.name, err, e.At)
		}
	}
	if err := new(Polygon).Validate(); err == nil {
		t.Error("the zero polygon is valid")
	}
}

func TestRingsMayTouchInPoints(t *testing.T) {
	for name, polygons := range map[string][][][]Point{
		"hole at an edge":       {{rect(0, 0, 4, 4), {{2, 4}, {1, 2}, {3, 2}, {2, 4}}}},
		"hole at a corner":      {{rect(0, 0, 4, 4), {{4, 4}, {1, 2}, {2, 1}, {4, 4}}}},
		"polygons at a corner":  {{rect(0, 0, 1, 1)}, {rect(1, 1, 2, 2)}},
		"holes at a corner":     {{rect(0, 0, 4, 4), rect(1, 1, 2, 2), rect(2, 2, 3, 3)}},
		"island at its hole":    {{rect(0, 0, 9, 9), rect(1, 1, 8, 8)}, {{{8, 4}, {4, 3}, {4, 5}, {8, 4}}}},
		"a ring at its vertex":  {{{{0, 0}, {0, 4}, {2, 2}, {4, 4}, {4, 0}, {2, 2}, {0, 0}}}},
		"a ring at its edge":    {{{{0, 0}, {0, 4}, {4, 4}, {4, 0}, {3, 0}, {2, 4}, {1, 0}, {0, 0}}}},
		"polygons at ±180":      {{rect(179, 0, 180, 1)}, {rect(-180, 0, -179, 1)}},
		"a hole by three edges": {{rect(0, 0, 4, 4), {{0, 2}, {4, 2}, {2, 0}, {0, 2}}}},
	} {
		p, err := NewPolygon(polygons)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if touches := strings.Contains(fmt.Sprint(Warnings(p)), "touches itself"); touches != strings.HasPrefix(name, "a ring") {
			t.Errorf("%s: %v", name, Warnings(p))
		}
	}
}

// shapesAt is a shape of each kind at c, of about that size.
func shapesAt(t *testing.T, r *rand.Rand, c Point, sizeM float64) []Shape {
	t.Helper()
	shapes := []Shape{Circle{c, max(MinRadiusM, sizeM)}}
	res := min(15, levelOf(sizeM))
	if origin, err := CellOf(c, res); err == nil {
		cells := []Cell{origin}
		for range 6 {
			if near, err := CellOf(offset(c, 2*math.Pi*r.Float64(), sizeM), res); err == nil {
				cells = append(cells, near)
			}
		}
		s, err := NewCellSet(cells)
		if err != nil {
			t.Fatal(err)
		}
		shapes = append(shapes, s)
	}
	reach := 1.2 * sizeM / 111_000 / math.Cos(c.Lat*math.Pi/180)
	if math.Abs(c.Lat)+1.2*sizeM/111_000 < 89.9 && math.Abs(c.Lng)+reach < 180 && reach < 60 {
		outer := star(r, c, sizeM, 8+r.IntN(30)) // around its middle
		var hole []Point
		for _, p := range outer {
			hole = append(hole, Point{c.Lat + (p.Lat-c.Lat)/4, c.Lng + (p.Lng-c.Lng)/4})
		}
		slices.Reverse(hole)
		shapes = append(shapes, mustPolygon(t, [][]Point{outer, hole}))
	} else if lat := math.Copysign(max(89, 90-sizeM/111_000), c.Lat); math.Abs(c.Lat) > 89 {
		shapes = append(shapes, mustPolygon(t, [][]Point{around(min(lat, math.Copysign(90, lat)), max(lat, math.Copysign(90, lat)))}))
	} else if reach < 60 {
		d := sizeM / 111_000
		shapes = append(shapes, mustPolygon(t, [][]Point{rect(180-reach, c.Lat-d, 180, c.Lat+d)}, [][]Point{rect(-180, c.Lat-d, -180+reach, c.Lat+d)}))
	}
	for _, s := range slices.Clone(shapes) {
		shapes = append(shapes, OutwardRing{s, sizeM * (0.1 + r.Float64())})
	}
	return shapes
}

// levelOf is a resolution with cells of about that size.
func levelOf(sizeM float64) int {
	res := 0
	for size := 1.2e6; res < 15 && size > sizeM; size /= math.Sqrt(7) {
		res++
	}
	return res
}

// bordering are points where the shape's border is.
func bordering(t *testing.T, r *rand.Rand, s Shape) []Point {
	t.Helper()
	var b *border
	switch s := s.(type) {
	case *Polygon:
		b = &s.border
	case *CellSet:
		b = &s.border
	}
	var ps []Point
	if b != nil {
		e := b.edges[r.IntN(len(b.edges))]
		p, q := b.at[e.a], b.at[e.b]
		ps = append(ps, p, q)
		if math.Abs(p.Lng-q.Lng) < 90 {
			ps = append(ps, Point{(p.Lat + q.Lat) / 2, (p.Lng + q.Lng) / 2})
		}
	}
	bearing := 2 * math.Pi * r.Float64()
	in, out := 0.0, 1.2*s.BoundingRadiusM()
	for range 60 {
		if mid := (in + out) / 2; s.Contains(offset(s.Center(), bearing, mid)) {
			in = mid
		} else {
			out = mid
		}
	}
	return append(ps, offset(s.Center(), bearing, in), offset(s.Center(), bearing, out))
}

func TestEveryShapeKeepsTheContract(t *testing.T) {
	r := rand.New(rand.NewPCG(39, 40))
	places := awkward(t)
	for range 60 {
		places = append(places, anywhere(r))
	}
	tested := 0
	for _, c := range places {
		for _, s := range shapesAt(t, r, c, between(r, 20, 90_000)()) {
			if err := s.Validate(); err != nil {
				t.Fatalf("%v: %v", s, err)
			}
			ps := append(bordering(t, r, s), c, anywhere(r), Point{-c.Lat, c.Lng}, Point{90, 0}, Point{0, -180})
			for range 4 {
				ps = append(ps, offset(c, 2*math.Pi*r.Float64(), 3*s.BoundingRadiusM()*r.Float64()))
			}
			for _, p := range ps {
				m := s.MarginM(p)
				if s.Contains(p) != (m <= 0) {
					t.Fatalf("%T: contains %v: %v, margin %v", s, p, s.Contains(p), m)
				}
				// A last bit is lost where a ring subtracts; Index leaves a millimetre.
				if least := DistanceM(p, s.Center()) - s.BoundingRadiusM(); !(m >= least-1e-8) {
					t.Fatalf("%T: margin %v at %v, the bound says at least %v", s, m, p, least)
				}
				tested++
			}
			for _, p := range []Point{{math.NaN(), 0}, {0, math.NaN()}} {
				if s.Contains(p) || !math.IsNaN(s.MarginM(p)) {
					t.Fatalf("%T: %v is inside, or has a margin", s, p)
				}
			}
		}
	}
	t.Logf("%d points", tested)
}

func TestIndexOfAllShapesEqualsBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	places := awkward(t)
	for name, size := range map[string]func() float64{"shops": between(r, 20, 2000), "all": between(r, 20, 90_000)} {
		var fences []Fence
		for range 150 {
			c := places[r.IntN(len(places))]
			if r.IntN(2) == 0 {
				c = anywhere(r)
			}
			sizeM := size()
			for _, s := range shapesAt(t, r, offset(c, 2*math.Pi*r.Float64(), sizeM), sizeM) {
				fences = append(fences, Fence{fmt.Sprintf("f%05d", len(fences)), s})
			}
		}
		ix, err := NewIndex(fences)
		if err != nil {
			t.Fatal(err)
		}
		points, found := 0, 0
		for i := 0; i < len(fences); i += 4 {
			for _, p := range bordering(t, r, fences[i].Shape) {
				want := bruteForce(fences, p, 0)
				if got := ix.At(p, nil); !slices.Equal(got, want) {
					t.Fatalf("%s: at %v: %v, want %v", name, p, got, want)
				}
				if got, want := ix.Within(p, 300, nil), bruteForce(fences, p, 300); !slices.Equal(got, want) {
					t.Fatalf("%s: within 300 m of %v: %v, want %v", name, p, got, want)
				}
				points++
				found += len(want)
			}
		}
		t.Logf("%s: %d fences, %d points, %d hits", name, len(fences), points, found)
		if found < points/2 {
			t.Errorf("%s: the points test little", name)
		}
	}
}

// outlines are polygons with n vertices, 400 m across: a wavy one like a coast, and
// one of nothing but spikes from its middle.
func outlines(b *testing.B, n int) map[string]*Polygon {
	b.Helper()
	r := rand.New(rand.NewPCG(43, 44))
	c := Point{52.52, 13.405}
	var wavy []Point
	for i := range n {
		angle := 2 * math.Pi * float64(i) / float64(n)
		far := 150.0
		for k := 2.0; k < float64(n)/4; k *= 1.7 {
			far += 60 / k * math.Sin(math.Floor(k)*angle+k)
		}
		sin, cos := math.Sincos(angle)
		wavy = append(wavy, Point{c.Lat + far/111_000*sin, c.Lng + far/67_600*cos})
	}
	wavy = append(wavy, wavy[0])
	return map[string]*Polygon{"wavy": mustPolygon(b, [][]Point{wavy}), "spikes": mustPolygon(b, [][]Point{star(r, c, 200, n)})}
}

func BenchmarkPolygon(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		for name, p := range outlines(b, n) {
			r := rand.New(rand.NewPCG(45, 46))
			ps := make([]Point, 1024)
			for i := range ps {
				ps[i] = offset(p.Center(), 2*math.Pi*r.Float64(), 300*r.Float64())
			}
			rings := p.Polygons()
			i := 0
			for what, do := range map[string]func(){
				"Contains": func() { p.Contains(ps[i&1023]) },
				"MarginM":  func() { p.MarginM(ps[i&1023]) },
				"New":      func() { mustPolygon(b, rings...) },
			} {
				b.Run(fmt.Sprintf("%s/%s/vertices=%d", what, name, n), func(b *testing.B) {
					for b.Loop() {
						do()
						i++
					}
				})
			}
		}
	}
}
