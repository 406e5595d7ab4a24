package geo

import (
	"cmp"
	"math"
	"slices"
)

// border is a set of edges that distances are measured to, in space: the
// antimeridian and the poles are places like others there.
//
// An edge is the curve between two points that is straight in longitude and
// latitude, or a great circle's part. Halved again and again, it comes as near to
// its chord as one likes: by linear interpolation's error, a piece of the
// parameter's length h is within h²/8 · max|γ”| of the chord between its ends.
// With φ, λ of the edge, ρ = a²/b the polar radius of curvature,
//
//	|γ”| ≤ 1.0001 ρ (Δφ² + 2 |sin φ Δφ Δλ| + cos φ Δλ²)
//
// for a straight one, since |∂²/∂φ²| = √(M² + M'²), |∂²/∂φ∂λ| = M sin φ and
// |∂²/∂λ²| = N cos φ, and M, N ≤ ρ. So a distance to the chords bounds the one to
// the edge from both sides, and the search stops at borderTolM.
type border struct {
	great bool // edges are parts of great circles, else straight in longitude and latitude
	at    []Point
	vecs  []vec // of at
	edges []edge
	nodes []borderNode

	center vec // of bounds
}

// edge between two points of the border.
type edge struct {
	a, b  uint32
	bendM float64 // how far it can be from its chord
}

// borderNode is a box around edges[start:end], bends included.
type borderNode struct {
	lo, hi     vec
	start, end uint32
	right      uint32 // index of the second child, the first follows its parent; 0 is a leaf
}

// The error of distances to an edge: metres, and of the distance where that is
// more. DistanceM's own error comes on top.
const (
	borderTolM   = 1e-3
	borderTolRel = 1e-7
	borderLeaf   = 4
)

// add appends the edge of two points in at.
func (b *border) add(i, j uint32) {
	const rad = math.Pi / 180
	p, q := b.at[i], b.at[j]
	var second float64
	if b.great {
		// The parameter is the arc; the ellipsoid's own second derivatives differ from
		// the sphere's by a few e².
		arc := 2 * math.Asin(min(1, unitOf(p).chord(unitOf(q))/2))
		second = 1.05 * arc * arc
	} else {
		dLat, dLng := math.Abs(p.Lat-q.Lat)*rad, math.Abs(p.Lng-q.Lng)*rad
		sin := math.Sin(max(math.Abs(p.Lat), math.Abs(q.Lat)) * rad)
		cos := 1.0 // the equator is between
		if p.Lat*q.Lat > 0 {
			cos = math.Cos(min(math.Abs(p.Lat), math.Abs(q.Lat)) * rad)
		}
		second = 1.0001 * (dLat*dLat + 2*sin*dLat*dLng + cos*dLng*dLng)
	}
	b.edges = append(b.edges, edge{i, j, maxCurvatureM * second / 8})
}

// build makes the tree, once at and edges are filled.
func (b *border) build() {
	b.nodes = nil
	if len(b.edges) > 0 {
		b.nodes = make([]borderNode, 0, 4*len(b.edges)/borderLeaf+1)
		b.split(0, uint32(len(b.edges)))
	}
}

// locate fills vecs.
func (b *border) locate() {
	b.vecs = make([]vec, len(b.at))
	for i, p := range b.at {
		b.vecs[i] = vecOf(p)
	}
}

func (b *border) split(start, end uint32) {
	n := borderNode{start: start, end: end}
	inf := math.Inf(1)
	n.lo, n.hi = vec{inf, inf, inf}, vec{-inf, -inf, -inf}
	for _, e := range b.edges[start:end] {
		p, q := b.vecs[e.a], b.vecs[e.b]
		n.lo.x, n.hi.x = min(n.lo.x, min(p.x, q.x)-e.bendM), max(n.hi.x, max(p.x, q.x)+e.bendM)
		n.lo.y, n.hi.y = min(n.lo.y, min(p.y, q.y)-e.bendM), max(n.hi.y, max(p.y, q.y)+e.bendM)
		n.lo.z, n.hi.z = min(n.lo.z, min(p.z, q.z)-e.bendM), max(n.hi.z, max(p.z, q.z)+e.bendM)
	}
	here := len(b.nodes)
	b.nodes = append(b.nodes, n)
	if end-start <= borderLeaf {
		return
	}
	dx, dy, dz := n.hi.x-n.lo.x, n.hi.y-n.lo.y, n.hi.z-n.lo.z
	along := func(e edge) float64 { return b.vecs[e.a].z + b.vecs[e.b].z }
	switch {
	case dx >= dy && dx >= dz:
		along = func(e edge) float64 { return b.vecs[e.a].x + b.vecs[e.b].x }
	case dy >= dz:
		along = func(e edge) float64 { return b.vecs[e.a].y + b.vecs[e.b].y }
	}
	slices.SortFunc(b.edges[start:end], func(d, e edge) int {
		return cmp.Or(cmp.Compare(along(d), along(e)), cmp.Compare(d.a, e.a), cmp.Compare(d.b, e.b))
	})
	mid := start + (end-start)/2
	b.split(start, mid)
	b.nodes[here].right = uint32(len(b.nodes))
	b.split(mid, end)
}

// chordM is the chord from v to the nearest point of the border; infinite for an
// empty one.
func (b *border) chordM(v vec) float64 {
	best := math.Inf(1)
	if len(b.nodes) > 0 {
		b.nearest(0, b.nodes[0].chord(v), v, &best)
	}
	return best
}

// chord is the one from v to the box.
func (n *borderNode) chord(v vec) float64 {
	return v.chord(vec{clamp(v.x, n.lo.x, n.hi.x), clamp(v.y, n.lo.y, n.hi.y), clamp(v.z, n.lo.z, n.hi.z)})
}

func (b *border) nearest(node uint32, atLeast float64, v vec, best *float64) {
	if atLeast >= *best {
		return
	}
	n := &b.nodes[node]
	if n.right != 0 {
		left, right := node+1, n.right
		l, r := b.nodes[left].chord(v), b.nodes[right].chord(v)
		if r < l {
			left, right, l, r = right, left, r, l
		}
		b.nearest(left, l, v, best)
		b.nearest(right, r, v, best)
		return
	}
	for _, e := range b.edges[n.start:n.end] {
		*best = b.near(v, piece{b.at[e.a], b.at[e.b], b.vecs[e.a], b.vecs[e.b], e.bendM}, *best)
	}
}

// piece of an edge.
type piece struct {
	a, b  Point
	va    vec
	vb    vec
	bendM float64
}

// halves cuts a piece in its middle.
func (b *border) halves(p piece) (piece, piece) {
	m := Point{Lat: (p.a.Lat + p.b.Lat) / 2, Lng: (p.a.Lng + p.b.Lng) / 2}
	if b.great {
		u, w := unitOf(p.a), unitOf(p.b)
		m = vec{u.x + w.x, u.y + w.y, u.z + w.z}.direction()
	}
	v := vecOf(m)
	return piece{p.a, m, p.va, v, p.bendM / 4}, piece{m, p.b, v, p.vb, p.bendM / 4}
}

// near is the chord from v to a piece, or best if that is less.
func (b *border) near(v vec, p piece, best float64) float64 {
	d := v.toSegment(p.va, p.vb)
	if d-p.bendM >= best {
		return best
	}
	if p.bendM <= max(borderTolM, borderTolRel*d) {
		return min(d, best)
	}
	first, second := b.halves(p)
	best = min(best, v.chord(first.vb))
	if v.chord2(p.vb) < v.chord2(p.va) {
		first, second = second, first
	}
	return b.near(v, second, b.near(v, first, best))
}

// farthestM is a chord from v that no point of the border is beyond, and some
// nearly reach.
func (b *border) farthestM(v vec) float64 {
	best := 0.0
	for _, e := range b.edges {
		best = max(best, v.chord(b.vecs[e.a]), v.chord(b.vecs[e.b]))
	}
	for _, e := range b.edges {
		best = b.far(v, piece{b.at[e.a], b.at[e.b], b.vecs[e.a], b.vecs[e.b], e.bendM}, best)
	}
	return best
}

func (b *border) far(v vec, p piece, best float64) float64 {
	d := max(v.chord(p.va), v.chord(p.vb))
	if d+p.bendM <= best {
		return best
	}
	if p.bendM <= max(borderTolM, 1e-5*d) {
		return d + p.bendM
	}
	first, second := b.halves(p)
	return b.far(v, second, b.far(v, first, best))
}

// middle is the centre of a circle that holds the border and is not much larger
// than need be: walking towards the farthest vertex by ever smaller steps (Bădoiu
// and Clarkson, Smaller Core-Sets for Balls, 2003).
func (b *border) middle() Point {
	c := b.vecs[b.edges[0].a]
	for i := range 100 {
		far, d := c, -1.0
		for _, e := range b.edges {
			if x := c.chord2(b.vecs[e.a]); x > d {
				far, d = b.vecs[e.a], x
			}
		}
		step := 1 / float64(i+2)
		c = vec{c.x + (far.x-c.x)*step, c.y + (far.y-c.y)*step, c.z + (far.z-c.z)*step}
	}
	// From the direction seen from the Earth's middle to that of the plumb line.
	return vec{c.x, c.y, c.z / (1 - eccentricity)}.direction()
}

// toSegment is the distance of a to the straight line between p and q.
func (a vec) toSegment(p, q vec) float64 {
	dx, dy, dz := q.x-p.x, q.y-p.y, q.z-p.z
	l := dx*dx + dy*dy + dz*dz
	if l == 0 {
		return a.chord(p)
	}
	t := clamp(((a.x-p.x)*dx+(a.y-p.y)*dy+(a.z-p.z)*dz)/l, 0, 1)
	return a.chord(vec{p.x + t*dx, p.y + t*dy, p.z + t*dz})
}

// unitOf is the direction of the plumb line at p, direction its inverse for any
// length.
func unitOf(p Point) vec {
	sinLat, cosLat := math.Sincos(p.Lat * (math.Pi / 180))
	sinLng, cosLng := math.Sincos(p.Lng * (math.Pi / 180))
	return vec{cosLat * cosLng, cosLat * sinLng, sinLat}
}

func (a vec) direction() Point {
	return Point{
		Lat: math.Atan2(a.z, math.Hypot(a.x, a.y)) * (180 / math.Pi),
		Lng: math.Atan2(a.y, a.x) * (180 / math.Pi),
	}
}

// bounds is the shape's own circle around a border: the middle, and a radius in
// metres that holds the border and, as long as it is below a quarter of the
// Earth's circumference, all within.
func (b *border) bounds() (Point, float64) {
	c := b.middle()
	b.center = vecOf(c)
	return c, arcM(b.farthestM(b.center)) + borderTolM + slackM // what is on the border counts as inside
}

// marginM is the signed distance of p as Shape.MarginM has it. The last step
// holds the contract of Shape to the bit: DistanceM is no metric on an ellipsoid,
// the triangle inequality can fail by 1e-7 of the distance (and by more on the
// Earth's other side).
func (b *border) marginM(p Point, inside bool, boundM float64) float64 {
	v := vecOf(p)
	d := arcM(b.chordM(v))
	if inside {
		d = 0 - d // no negative zero
	} else {
		d = max(d, math.SmallestNonzeroFloat64)
	}
	return max(d, arcM(b.center.chord(v))-boundM)
}
