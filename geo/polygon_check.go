package geo

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// checker of what NewPolygon is given.
type checker struct {
	single   bool
	region   region
	warnings []Warning
	touching map[[2]int]Point // rings that touch each other, and where first
	touched  map[int]bool     // rings that touch themselves
}

// path names a ring, or a position in it where one is given.
func (c *checker) path(polygon, ring int, position ...int) string {
	s := fmt.Sprintf("[%d]", ring)
	if !c.single {
		s = fmt.Sprintf("[%d][%d]", polygon, ring)
	}
	for _, i := range position {
		s += fmt.Sprintf("[%d]", i)
	}
	return s
}

func (c *checker) warn(polygon, ring int, format string, args ...any) {
	c.warnings = append(c.warnings, Warning{Field: "coordinates" + c.path(polygon, ring), Reason: fmt.Sprintf(format, args...)})
}

// errorAt is an error at a point, which its text names as GeoJSON does.
func errorAt(at Point, field, format string, args ...any) *Error {
	e := errorf(field, format, args...)
	e.At = &at
	e.Reason += ", at " + lngLat(at)
	return e
}

// lngLat writes a point as GeoJSON does, to 0.1 mm.
func lngLat(p Point) string {
	short := func(x float64) string { return strconv.FormatFloat(math.Round(x*1e9)/1e9, 'f', -1, 64) }
	return "[" + short(p.Lng) + ", " + short(p.Lat) + "]"
}

// rings checks each ring by itself and puts them into the region.
func (c *checker) rings(polygons [][][]Point) error {
	if len(polygons) == 0 {
		return errorf("", "must not be empty")
	}
	total := 0
	for p, rings := range polygons {
		if len(rings) == 0 {
			if c.single {
				return errorf("", "must not be empty")
			}
			return errorf(fmt.Sprintf("[%d]", p), "must not be empty")
		}
		for _, ring := range rings {
			total += max(0, len(ring)-1)
		}
	}
	if total > MaxVertices {
		return errorf("", "must have at most %d vertices, has %d", MaxVertices, total)
	}
	c.region.at = make([]Point, 0, total+len(polygons))
	for p, rings := range polygons {
		for r, ring := range rings {
			if err := c.ring(p, r, ring); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) ring(polygon, index int, ring []Point) error {
	if len(ring) == 0 {
		return errorf(c.path(polygon, index), "must not be empty")
	}
	for i, p := range ring {
		if err := p.Validate(); err != nil {
			return below(c.path(polygon, index, i), err)
		}
	}
	if first, last := ring[0], ring[len(ring)-1]; first != last || len(ring) == 1 {
		return errorAt(last, c.path(polygon, index), "is not closed: its last position must repeat its first, %s", lngLat(first))
	}
	from := len(c.region.at)
	for i, p := range ring {
		if i > 0 {
			last := c.region.at[len(c.region.at)-1]
			if p == last {
				continue
			}
			if atPole := math.Abs(p.Lat) == 90 && p.Lat == last.Lat; math.Abs(p.Lng-last.Lng) > 180 && !atPole {
				return errorAt(last, c.path(polygon, index, i), "jumps from longitude %v to %v: a shape across ±180 must be split there (RFC 7946 §3.1.9)", last.Lng, p.Lng)
			}
		}
		c.region.at = append(c.region.at, p)
	}
	kept := len(c.region.at) - from
	if kept < 4 {
		return errorAt(ring[0], c.path(polygon, index), "must have at least 3 different points, has %d", kept-1)
	}
	points := c.region.at[from:]
	for i := range kept - 1 {
		before, at, after := points[(i+kept-2)%(kept-1)], points[i], points[i+1]
		if orient(before, at, after) == 0 && (before.Lng-at.Lng)*(after.Lng-at.Lng)+(before.Lat-at.Lat)*(after.Lat-at.Lat) > 0 {
			return errorAt(at, c.path(polygon, index), "runs back over itself")
		}
	}
	if dropped := len(ring) - kept; dropped > 0 {
		c.warn(polygon, index, "repeated %d of its points, which were dropped", dropped)
	}
	c.region.rings = append(c.region.rings, chain{polygon: polygon, ring: index, from: uint32(from), to: uint32(len(c.region.at) - 1)})
	return nil
}

// ringOf is the index of the ring with edge i.
func (c *checker) ringOf(i uint32) int {
	lo, hi := 0, len(c.region.rings)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; c.region.rings[mid].from <= i {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// crossings refuses edges that have more in common than their rings may.
func (c *checker) crossings() error {
	c.touching, c.touched = map[[2]int]Point{}, map[int]bool{}
	var err error
	c.region.pairs(func(i, j uint32) bool {
		m := meet(c.region.at[i], c.region.at[i+1], c.region.at[j], c.region.at[j+1])
		if m.how == apart {
			return true
		}
		err = c.met(i, j, m)
		return err == nil
	})
	return err
}

// met judges what two edges have in common.
func (c *checker) met(i, j uint32, m meeting) error {
	x, y := c.ringOf(i), c.ringOf(j)
	a, b := c.region.rings[x], c.region.rings[y]
	if x == y {
		next := j == i+1 || i == a.from && j+1 == a.to
		switch {
		case m.how == along:
			return errorAt(m.at, c.path(a.polygon, a.ring), "runs along itself")
		case m.how == cross:
			return errorAt(m.at, c.path(a.polygon, a.ring), "crosses itself")
		case !next && c.passesThrough(a, i, j, m.at):
			return errorAt(m.at, c.path(a.polygon, a.ring), "crosses itself")
		case !next && !c.touched[x]:
			c.touched[x] = true
			c.warn(a.polygon, a.ring, "touches itself, at %s", lngLat(m.at))
		}
		return nil
	}
	other := fmt.Sprintf("ring %s", c.path(a.polygon, a.ring))
	switch m.how {
	case along:
		return errorAt(m.at, c.path(b.polygon, b.ring), "runs along %s: areas that share a border must be joined", other)
	case cross:
		return errorAt(m.at, c.path(b.polygon, b.ring), "crosses %s", other)
	}
	if _, had := c.touching[[2]int{x, y}]; !had {
		c.touching[[2]int{x, y}] = m.at
	}
	return nil
}

// passesThrough tells whether a ring that comes by a point twice, on edges i and
// j, crosses itself there.
func (c *checker) passesThrough(r chain, i, j uint32, at Point) bool {
	from, to := c.pass(r, i, at)
	other, next := c.pass(r, j, at)
	return leftTurn(from, at, to, other) != leftTurn(from, at, to, next)
}

// pass is where the ring comes from and where it goes when edge i is at a point.
func (c *checker) pass(r chain, i uint32, at Point) (from, to Point) {
	points := c.region.at
	from, to = points[i], points[i+1]
	switch {
	case at == to && i+1 == r.to:
		to = points[r.from+1]
	case at == to:
		to = points[i+2]
	case at == from && i == r.from:
		from = points[r.to-1]
	case at == from:
		from = points[i-1]
	}
	return from, to
}

// leftTurn tells whether p, seen from at, lies left of the way from–at–to.
func leftTurn(from, at, to, p Point) bool {
	first, second := orient(from, at, p) > 0, orient(at, to, p) > 0
	if orient(from, at, to) >= 0 {
		return first && second
	}
	return first || second
}

// How edges meet.
const (
	apart = iota
	touch // in one point, at an end of one of them
	cross // in one point that is an end of neither
	along // in a part
)

type meeting struct {
	how int
	at  Point
}

// meet tells what two edges have in common, exactly; the point of a crossing is
// rounded.
func meet(a, b, c, d Point) meeting {
	ca, cb := orient(c, d, a), orient(c, d, b)
	ac, ad := orient(a, b, c), orient(a, b, d)
	if ca*cb < 0 && ac*ad < 0 {
		// The way along a–b, by its distances from the line c–d.
		away := func(p Point) float64 {
			return math.Abs((d.Lng-c.Lng)*(p.Lat-c.Lat) - (d.Lat-c.Lat)*(p.Lng-c.Lng))
		}
		t := away(a) / (away(a) + away(b))
		return meeting{cross, Point{Lat: a.Lat + t*(b.Lat-a.Lat), Lng: a.Lng + t*(b.Lng-a.Lng)}}
	}
	var common []Point
	add := func(on bool, p Point) {
		if on && (len(common) == 0 || common[0] != p) {
			common = append(common, p)
		}
	}
	add(ca == 0 && boxOf(c, d).holds(a), a)
	add(cb == 0 && boxOf(c, d).holds(b), b)
	add(ac == 0 && boxOf(a, b).holds(c), c)
	add(ad == 0 && boxOf(a, b).holds(d), d)
	switch {
	case len(common) == 0:
		return meeting{how: apart}
	case len(common) == 1:
		return meeting{touch, common[0]}
	}
	return meeting{along, common[0]}
}

// nesting refuses rings that lie where they must not: it relies on none crossing
// or running along another.
func (c *checker) nesting() error {
	byRings := func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }
	for _, pair := range slices.SortedFunc(maps.Keys(c.touching), byRings) {
		at := c.touching[pair]
		for _, xy := range [][2]int{pair, {pair[1], pair[0]}} {
			if _, both := c.lies(xy[0], xy[1]); both {
				a, b := c.region.rings[xy[0]], c.region.rings[xy[1]]
				return errorAt(at, c.path(a.polygon, a.ring), "crosses ring %s", c.path(b.polygon, b.ring))
			}
		}
	}
	for x := range c.region.rings {
		if err := c.nested(x); err != nil {
			return err
		}
	}
	return nil
}

// nested checks what ring x lies within.
func (c *checker) nested(x int) error {
	r := c.region.rings[x]
	at := c.region.at[r.from]
	within := map[int]int{} // polygon → how many of its rings hold x
	for y := range c.region.rings {
		o := c.region.rings[y]
		if y == x || !c.region.nodes[o.root].meets(c.region.nodes[r.root].box) {
			continue
		}
		inside, _ := c.lies(x, y)
		if !inside {
			continue
		}
		if o.polygon == r.polygon && o.ring > 0 {
			if r.ring > 0 {
				return errorAt(at, c.path(r.polygon, r.ring), "is a hole within the hole %s", c.path(o.polygon, o.ring))
			}
			return errorAt(at, c.path(o.polygon, o.ring), "must be a hole within its polygon, holds it")
		}
		within[o.polygon]++
	}
	for _, polygon := range slices.Sorted(maps.Keys(within)) {
		if polygon != r.polygon && within[polygon]%2 == 1 && r.ring == 0 {
			return errorAt(at, c.path(r.polygon, r.ring), "overlaps the polygon of ring %s", c.path(polygon, 0))
		}
	}
	if r.ring > 0 && within[r.polygon] == 0 {
		return errorAt(at, c.path(r.polygon, r.ring), "is a hole outside of its polygon")
	}
	return nil
}

// lies tells whether ring x is inside ring y, and whether parts of it are inside
// and others outside, which rings that touch can do without crossing an edge.
func (c *checker) lies(x, y int) (inside, both bool) {
	r, o := c.region.rings[x], c.region.rings[y]
	_, touches := c.touching[[2]int{min(x, y), max(x, y)}]
	outside := false
	for i := r.from; i < r.to; i++ {
		a, b := c.region.at[i], c.region.at[i+1]
		for _, p := range []Point{a, {Lat: (a.Lat + b.Lat) / 2, Lng: (a.Lng + b.Lng) / 2}} {
			odd, on := c.region.side(o.root, p)
			switch {
			case on:
			case odd:
				inside = true
			default:
				outside = true
			}
			if !touches && !on {
				return inside, false
			}
		}
		if inside && outside {
			return true, true
		}
	}
	return inside, false
}
