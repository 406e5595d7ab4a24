package geo

import (
	"math"
)

// leafSize is how many fences a leaf of the tree holds at most.
const leafSize = 8

// node of the tree: a box around the centers of items[start:end], and the largest
// bound among them, rounded outwards.
type node struct {
	lo, hi     [3]float32
	bound      float32
	start, end uint32
	right      uint32 // index of the second child, the first follows its parent; 0 is a leaf
}

// near is the place of an item while the tree is made. To choose a half, half a
// metre is enough.
type near struct {
	at [3]float32
	i  uint32
}

// buildTree makes the tree and puts the items into its order. It does not depend on
// the order in which they were given, since it starts from that of their ids.
func (p *part) buildTree() {
	places := make([]near, len(p.items))
	for j, i := range p.byID {
		c := p.items[i].center
		places[j] = near{[3]float32{float32(c.x), float32(c.y), float32(c.z)}, i}
	}
	p.nodes = make([]node, 0, countNodes(len(places)))
	items := p.items
	p.items = make([]item, len(items))
	p.split(places, 0, items)
	is := make([]uint32, len(places)) // where the items went
	for j := range places {
		is[places[j].i] = uint32(j)
	}
	for j, i := range p.byID {
		p.byID[j] = is[i]
	}
}

// countNodes of a tree over n fences, as split makes it.
func countNodes(n int) int {
	if n <= leafSize {
		return 1
	}
	half := n / 2
	if n-half == half {
		return 1 + 2*countNodes(half)
	}
	return 1 + countNodes(half) + countNodes(n-half)
}

// split appends the node of places, which begin at start, and those below it.
func (p *part) split(places []near, start uint32, items []item) {
	at := len(p.nodes)
	p.nodes = append(p.nodes, node{start: start, end: start + uint32(len(places))})
	if len(places) <= leafSize {
		n := &p.nodes[at]
		for j := range places {
			it := &items[places[j].i]
			p.items[int(start)+j] = *it
			c := [3]float64{it.center.x, it.center.y, it.center.z}
			for k := range c {
				lo, hi := below32(c[k]), above32(c[k])
				if j == 0 {
					n.lo[k], n.hi[k] = lo, hi
				}
				n.lo[k], n.hi[k] = min(n.lo[k], lo), max(n.hi[k], hi)
			}
			n.bound = max(n.bound, above32(it.bound))
		}
		return
	}
	lo, hi := places[0].at, places[0].at
	for j := range places {
		c := &places[j].at
		lo[0], hi[0] = min(lo[0], c[0]), max(hi[0], c[0])
		lo[1], hi[1] = min(lo[1], c[1]), max(hi[1], c[1])
		lo[2], hi[2] = min(lo[2], c[2]), max(hi[2], c[2])
	}
	axis := 0
	for k := 1; k < 3; k++ {
		if hi[k]-lo[k] > hi[axis]-lo[axis] {
			axis = k
		}
	}
	mid := len(places) / 2
	halve(places, mid, axis)
	p.split(places[:mid], start, items)
	right := len(p.nodes)
	p.split(places[mid:], start+uint32(mid), items)
	n, l, r := &p.nodes[at], &p.nodes[at+1], &p.nodes[right]
	n.right = uint32(right)
	for k := range 3 {
		n.lo[k], n.hi[k] = min(l.lo[k], r.lo[k]), max(l.hi[k], r.hi[k])
	}
	n.bound = max(l.bound, r.bound)
}

// below32 and above32 round down and up.
func below32(v float64) float32 {
	if f := float32(v); float64(f) > v {
		return math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return float32(v)
}

func above32(v float64) float32 { return -below32(-v) }

// halve puts the k smallest along an axis first (Hoare's selection, around medians of
// three).
func halve(places []near, k, axis int) {
	for len(places) > 1 {
		a, b, c := places[0].at[axis], places[len(places)/2].at[axis], places[len(places)-1].at[axis]
		pivot := max(min(a, b), min(max(a, b), c))
		i, j := 0, len(places)-1
		for i <= j {
			for places[i].at[axis] < pivot {
				i++
			}
			for places[j].at[axis] > pivot {
				j--
			}
			if i <= j {
				places[i], places[j] = places[j], places[i]
				i++
				j--
			}
		}
		switch { // places[:j+1] <= pivot <= places[i:], and between them equal to it
		case k <= j:
			places = places[:j+1]
		case k >= i:
			places, k = places[i:], k-i
		default:
			return
		}
	}
}

// chord2 is the square of a chord to the box, which no center below has less.
func (n *node) chord2(v vec) float64 {
	dx := v.x - clamp(v.x, float64(n.lo[0]), float64(n.hi[0]))
	dy := v.y - clamp(v.y, float64(n.lo[1]), float64(n.hi[1]))
	dz := v.z - clamp(v.z, float64(n.lo[2]), float64(n.hi[2]))
	return dx*dx + dy*dy + dz*dz
}

func clamp(v, lo, hi float64) float64 { return max(lo, min(v, hi)) }

// Within appends to dst the fences whose margin at p is at most marginM, in the
// order of At: with 0 those that contain p, with 300 also those whose border is
// no more than 300 m away. An invalid p or a NaN margin finds none.
func (x *Index) Within(p Point, marginM float64, dst []Hit) []Hit {
	if math.IsNaN(marginM) {
		return dst
	}
	return x.search(p, marginM, x.n, dst)
}

// Nearest appends to dst the n fences of the smallest margin at p, in the order
// of At: those that contain p first, then those with the nearest border. An
// invalid p finds none.
func (x *Index) Nearest(p Point, n int, dst []Hit) []Hit {
	if n <= 0 {
		return dst
	}
	return x.search(p, math.Inf(1), n, dst)
}

func (x *Index) search(p Point, limit float64, n int, dst []Hit) []Hit {
	if x.n == 0 || p.Validate() != nil {
		return dst
	}
	s := search{p: p, v: vecOf(p), limit: limit, first: len(dst), n: n, dst: dst}
	for i := range x.parts {
		s.x = &x.parts[i]
		s.visit(0, s.x.nodes[0].chord2(s.v))
	}
	return s.dst
}

// search of the n best fences with a margin up to limit.
type search struct {
	x     *share
	p     Point
	v     vec
	limit float64
	first int // the result is dst[first:]
	n     int
	dst   []Hit
}

// beyond reports whether no fence of this bound can have a margin up to the limit
// whose center has this squared chord or more: by the contract of Shape, and as an arc
// is no shorter than its chord.
func (s *search) beyond(chord2, bound float64) bool {
	r := s.limit + bound + slackM
	return r < 0 || chord2 > r*r
}

// visit looks at a node that is a squared chord away. A margin equal to the limit
// counts: the smaller id wins.
func (s *search) visit(at uint32, chord2 float64) {
	n := &s.x.nodes[at]
	if s.beyond(chord2, float64(n.bound)) {
		return
	}
	if n.right != 0 {
		left, right := at+1, n.right
		l, r := s.x.nodes[left].chord2(s.v), s.x.nodes[right].chord2(s.v)
		if r < l {
			left, right, l, r = right, left, r, l
		}
		s.visit(left, l)
		s.visit(right, r)
		return
	}
	for i := n.start; i < n.end; i++ {
		it := &s.x.items[i]
		if s.beyond(it.center.chord2(s.v), it.bound) {
			continue
		}
		m := it.margin(s.p, s.v)
		if !(m <= s.limit) || !s.x.has(i) {
			continue
		}
		h := Hit{it.Fence, m}
		if len(s.dst)-s.first == s.n {
			if !h.before(&s.dst[len(s.dst)-1]) {
				continue
			}
			s.dst = s.dst[:len(s.dst)-1]
		}
		s.dst = insert(s.dst, s.first, h)
		if len(s.dst)-s.first == s.n {
			s.limit = min(s.limit, s.dst[len(s.dst)-1].MarginM)
		}
	}
}
