package geo

import "math"

// region is the part of the plane of longitude and latitude that an odd number
// of times lies within closed rings. A tree over the edges in their order answers
// what holds a point: of a chain of edges wholly to the right of the point, its two
// ends tell how often a ray to the right crosses it, odd or even. So only nodes
// whose box holds the point are opened, however jagged the rings are.
type region struct {
	at    []Point // the rings one after another, each with its first point again at its end
	rings []chain
	nodes []regionNode
	poles [2]bool // south, north: a vertex is there, which has every longitude
}

// chain is a ring of the region.
type chain struct {
	polygon, ring int    // where it stands in what was given
	from, to      uint32 // its first and last point in region.at, which are equal
	root          uint32 // its node
}

// regionNode is over the edges between at[from] and at[to], or over several rings:
// then from and to are the same point, as a closed ring is crossed an even number
// of times.
type regionNode struct {
	box
	from, to uint32
	right    uint32 // index of the second child, the first follows its parent; 0 is a leaf
}

// regionLeaf is how many edges a leaf has.
const regionLeaf = 8

// build makes the tree, once at and rings are filled.
func (r *region) build() {
	r.nodes = make([]regionNode, 0, 4*len(r.at)/regionLeaf+2*len(r.rings))
	r.buildRings(0, len(r.rings))
	for _, p := range r.at {
		r.poles[0] = r.poles[0] || p.Lat == -90
		r.poles[1] = r.poles[1] || p.Lat == 90
	}
}

func (r *region) buildRings(from, to int) uint32 {
	if to-from == 1 {
		c := &r.rings[from]
		c.root = r.buildEdges(c.from, c.to)
		return c.root
	}
	mid := from + (to-from)/2
	here := uint32(len(r.nodes))
	r.nodes = append(r.nodes, regionNode{})
	left := r.buildRings(from, mid)
	right := r.buildRings(mid, to)
	at := r.rings[from].from
	r.nodes[here] = regionNode{r.nodes[left].with(r.nodes[right].box), at, at, right}
	return here
}

func (r *region) buildEdges(from, to uint32) uint32 {
	here := uint32(len(r.nodes))
	n := regionNode{from: from, to: to}
	r.nodes = append(r.nodes, n)
	if to-from <= regionLeaf {
		n.box = boxOf(r.at[from], r.at[from])
		for i := from + 1; i <= to; i++ {
			n.box = n.with(boxOf(r.at[i], r.at[i]))
		}
	} else {
		mid := from + (to-from)/2
		left := r.buildEdges(from, mid)
		n.right = r.buildEdges(mid, to)
		n.box = r.nodes[left].with(r.nodes[n.right].box)
	}
	r.nodes[here] = n
	return here
}

// side tells where p is as to the edges below a node: how often a ray from it
// towards larger longitudes crosses them, odd or even, and whether p is on one.
func (r *region) side(node uint32, p Point) (odd, on bool) {
	n := &r.nodes[node]
	switch {
	case p.Lat < n.south || p.Lat > n.north || p.Lng > n.east:
		return false, false
	case p.Lng < n.west:
		return (r.at[n.from].Lat > p.Lat) != (r.at[n.to].Lat > p.Lat), false
	case n.right != 0:
		odd, on = r.side(node+1, p)
		if on {
			return false, true
		}
		also, on := r.side(n.right, p)
		return odd != also, on
	}
	for i := n.from; i < n.to; i++ {
		a, b := r.at[i], r.at[i+1]
		crosses := (a.Lat > p.Lat) != (b.Lat > p.Lat)
		if holds := boxOf(a, b).holds(p); holds || crosses {
			o := orient(a, b, p)
			if o == 0 && holds {
				return false, true
			}
			if crosses && (b.Lat > a.Lat) == (o > 0) {
				odd = !odd
			}
		}
	}
	return odd, false
}

// contains reports whether a valid p is inside or on the border: ±180 are one
// meridian, a pole has every longitude.
func (r *region) contains(p Point) bool {
	if math.Abs(p.Lat) == 90 {
		if p.Lat < 0 {
			return r.poles[0]
		}
		return r.poles[1]
	}
	odd, on := r.side(0, p)
	if !odd && !on && math.Abs(p.Lng) == 180 {
		odd, on = r.side(0, Point{Lat: p.Lat, Lng: -p.Lng})
	}
	return odd || on
}

// pairs calls with every two edges whose boxes meet, each pair once, as indices of
// their first points in at; it ends when met returns false.
func (r *region) pairs(met func(i, j uint32) bool) {
	for c := range r.rings {
		for i := r.rings[c].from; i < r.rings[c].to; i++ {
			if !r.meeting(0, i, boxOf(r.at[i], r.at[i+1]), met) {
				return
			}
		}
	}
}

func (r *region) meeting(node, i uint32, x box, met func(i, j uint32) bool) bool {
	n := &r.nodes[node]
	if !n.meets(x) || n.to <= i && n.to != n.from {
		return true
	}
	if n.right != 0 {
		return r.meeting(node+1, i, x, met) && r.meeting(n.right, i, x, met)
	}
	for j := max(n.from, i+1); j < n.to; j++ {
		if boxOf(r.at[j], r.at[j+1]).meets(x) && !met(i, j) {
			return false
		}
	}
	return true
}
