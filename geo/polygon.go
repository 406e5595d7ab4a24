package geo

import (
	"cmp"
	"math"
	"slices"
)

// MaxVertices of a Polygon, all rings together; a ring's closing point is not
// counted.
const MaxVertices = 10_000

// Areas in square metres and extent in metres: below the first nobody can stand,
// above the second (more than the largest country) or beyond the third (a circle
// around the shape has this radius) it is no place but a mistake.
const (
	MinAreaM2  = 1
	MaxAreaM2  = 20e12
	MaxExtentM = 5_000_000
)

// Polygon is one or several areas with holes, as GeoJSON's Polygon and
// MultiPolygon. Its edges are straight in longitude and latitude (RFC 7946
// §3.1.1). Parts that touch each other across ±180 are one area: the seam is no
// border, nor is an edge along a pole. The border counts as inside.
//
// It is immutable and safe for concurrent use; NewPolygon and ParseGeometry make
// it. The zero Polygon is invalid.
type Polygon struct {
	region   region
	border   border
	center   Point
	boundM   float64
	areaM2   float64
	warnings []Warning
}

// Warning tells what was put right in a shape, and where. Like an Error it reads
// as a sentence: "coordinates[0] ran clockwise and was turned round".
type Warning struct {
	Field  string // path below what was given
	Reason string
}

// String is the sentence.
func (w Warning) String() string { return w.Field + " " + w.Reason }

// NewPolygon makes a shape of polygons, each an outer ring and then its holes;
// the last point of a ring repeats its first. Rings of either direction are
// accepted and turned as RFC 7946 wants them, points that repeat their predecessor
// are dropped, a ring may touch itself in points: Warnings tells.
//
// Refused with an *Error, of "[polygon][ring][position]" as far as it can be said
// and with the point where it fails: nothing at all, more than MaxVertices, a ring
// that is not closed, has fewer than three different points, or jumps by more than
// 180 degrees (a shape across ±180 must be split there); a ring that crosses
// or runs along itself; rings that cross or run along each other, holes
// outside of their polygon or within each other, polygons that overlap; an area or
// extent out of the bounds above. Rings may touch each other in points.
func NewPolygon(polygons [][][]Point) (*Polygon, error) { return newPolygon(polygons, false) }

// newPolygon leaves the index of the polygon out of errors' paths where there is
// but one.
func newPolygon(polygons [][][]Point, single bool) (*Polygon, error) {
	c := checker{single: single}
	if err := c.rings(polygons); err != nil {
		return nil, err
	}
	c.region.build()
	if err := c.crossings(); err != nil {
		return nil, err
	}
	if err := c.nesting(); err != nil {
		return nil, err
	}
	area := c.directions()
	c.region.build() // rings that were turned have their edges elsewhere
	p := &Polygon{areaM2: area, warnings: c.warnings, region: c.region}
	if !(p.areaM2 >= MinAreaM2 && p.areaM2 <= MaxAreaM2) {
		return nil, errorAt(p.region.at[0], "", "must have an area of %v to %.0f m², has %.3g", MinAreaM2, float64(MaxAreaM2), p.areaM2)
	}
	p.border = p.region.border()
	p.center, p.boundM = p.border.bounds()
	if p.boundM > MaxExtentM {
		return nil, errorAt(p.center, "", "must fit a circle of %d m, needs %.0f m", MaxExtentM, p.boundM)
	}
	return p, nil
}

// Validate implements Shape: only the zero Polygon is invalid.
func (p *Polygon) Validate() error {
	if p == nil || len(p.region.rings) == 0 {
		return errorf("coordinates", "must not be empty")
	}
	return nil
}

// Contains implements Shape, without rounding: a point is inside, on an edge, or
// outside, exactly as the coordinates say. An invalid point is outside.
func (p *Polygon) Contains(at Point) bool { return at.Validate() == nil && p.region.contains(at) }

// MarginM implements Shape. The distance to the curves that are straight in
// longitude and latitude is right to 1 mm or 1e-7 of it, besides DistanceM's own
// bound. NaN for an invalid point.
func (p *Polygon) MarginM(at Point) float64 {
	if at.Validate() != nil {
		return math.NaN()
	}
	return p.border.marginM(at, p.region.contains(at), p.boundM)
}

// Center implements Shape. It need not be inside.
func (p *Polygon) Center() Point { return p.center }

// BoundingRadiusM implements Shape.
func (p *Polygon) BoundingRadiusM() float64 { return p.boundM }

// AreaM2 is the area in square metres, on a sphere of EarthRadiusM: within 0.7 %
// of that on the ellipsoid.
func (p *Polygon) AreaM2() float64 { return p.areaM2 }

// Polygons returns the polygons in their order, as NewPolygon takes them: outer
// rings counter-clockwise, holes clockwise.
func (p *Polygon) Polygons() [][][]Point {
	var out [][][]Point
	for _, c := range p.region.rings {
		if c.ring == 0 {
			out = append(out, nil)
		}
		last := &out[len(out)-1]
		*last = append(*last, slices.Clone(p.region.at[c.from:c.to+1]))
	}
	return out
}

// Warnings tells what was put right when the shape was made; of an OutwardRing
// those of what it is around.
func Warnings(s Shape) []Warning {
	switch s := s.(type) {
	case *Polygon:
		return slices.Clone(s.warnings)
	case OutwardRing:
		return Warnings(s.Of)
	}
	return nil
}

// border is the region's without seams: where parts meet across ±180, and along
// the poles, which are points.
func (r *region) border() border {
	b := border{at: slices.Clone(r.at)}
	b.locate()
	var east, west []span // edges on +180 and on -180
	for _, c := range r.rings {
		for i := c.from; i < c.to; i++ {
			p, q := r.at[i], r.at[i+1]
			switch {
			case math.Abs(p.Lat) == 90 && p.Lat == q.Lat:
			case p.Lng == 180 && q.Lng == 180:
				east = append(east, span{min(p.Lat, q.Lat), max(p.Lat, q.Lat)})
			case p.Lng == -180 && q.Lng == -180:
				west = append(west, span{min(p.Lat, q.Lat), max(p.Lat, q.Lat)})
			default:
				b.add(i, i+1)
			}
		}
	}
	for _, s := range onlyOne(east, west) {
		for _, lat := range []float64{s.from, s.to} {
			p := Point{Lat: lat, Lng: 180}
			b.at, b.vecs = append(b.at, p), append(b.vecs, vecOf(p))
		}
		b.add(uint32(len(b.at)-2), uint32(len(b.at)-1))
	}
	b.build()
	return b
}

// span of latitudes.
type span struct{ from, to float64 }

// onlyOne lists what lies in the spans of one list but not of the other; those of
// one list do not overlap.
func onlyOne(a, b []span) []span {
	var ends []float64
	for _, s := range slices.Concat(a, b) {
		ends = append(ends, s.from, s.to)
	}
	slices.Sort(ends)
	// Every end turns its list on or off, so that what is on between two
	// neighbouring ends is on in an odd number of lists or in both.
	var out []span
	for i := 0; i+1 < len(ends); i += 2 {
		if ends[i] < ends[i+1] {
			out = append(out, span{ends[i], ends[i+1]})
		}
	}
	return out
}

// ringArea is the area within a closed ring on a sphere of EarthRadiusM, its edges
// straight in longitude and latitude: positive if it runs counter-clockwise.
func ringArea(at []Point) float64 {
	const rad = math.Pi / 180
	sum := 0.0
	for i := range len(at) - 1 {
		a, b := at[i], at[i+1]
		mean := math.Sin((a.Lat + b.Lat) / 2 * rad) // of the sine along the edge, but for:
		if h := (b.Lat - a.Lat) / 2 * rad; h != 0 {
			mean *= math.Sin(h) / h
		}
		sum -= (b.Lng - a.Lng) * rad * mean
	}
	return sum * EarthRadiusM * EarthRadiusM
}

// directions turns the rings as RFC 7946 §3.1.6 wants them and returns the area.
func (c *checker) directions() float64 {
	area := 0.0
	for i := range c.region.rings {
		r := &c.region.rings[i]
		at := c.region.at[r.from : r.to+1]
		a := ringArea(at)
		if outer := r.ring == 0; outer != (a > 0) {
			slices.Reverse(at)
			way := "clockwise"
			if !outer {
				way = "counter-clockwise"
			}
			c.warn(r.polygon, r.ring, "ran %s and was turned round", way)
		}
		if r.ring == 0 {
			area += math.Abs(a)
		} else {
			area -= math.Abs(a)
		}
	}
	slices.SortStableFunc(c.warnings, func(a, b Warning) int { return cmp.Compare(a.Field, b.Field) })
	return area
}
