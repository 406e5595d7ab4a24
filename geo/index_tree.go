package geo

import (
	"math"
)

// leafSize is how many fences a leaf of the tree holds.
const leafSize = 8

// node of the tree: a box around the centers of order[start:end], and the
// largest bound among them.
type node struct {
	lo, hi     vec
	bound      float64
	start, end uint32
	right      uint32 // index of the second child, the first follows its parent; 0 is a leaf
}

func (p *part) buildTree() {
	if len(p.items) == 0 {
		return
	}
	p.order = make([]uint32, len(p.items))
	for i := range p.order {
		p.order[i] = uint32(i)
	}
	p.nodes = make([]node, 0, countNodes(len(p.items)))
	p.split(0, uint32(len(p.items)))
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

// split appends the node of order[start:end] and those below it.
func (p *part) split(start, end uint32) {
	at := len(p.nodes)
	n := node{start: start, end: end, lo: p.items[p.order[start]].center}
	n.hi = n.lo
	for _, i := range p.order[start:end] {
		it := &p.items[i]
		n.lo = vec{min(n.lo.x, it.center.x), min(n.lo.y, it.center.y), min(n.lo.z, it.center.z)}
		n.hi = vec{max(n.hi.x, it.center.x), max(n.hi.y, it.center.y), max(n.hi.z, it.center.z)}
		n.bound = max(n.bound, it.bound)
	}
	p.nodes = append(p.nodes, n)
	if end-start <= leafSize {
		return
	}
	dx, dy, dz := n.hi.x-n.lo.x, n.hi.y-n.lo.y, n.hi.z-n.lo.z
	along := func(i uint32) float64 { return p.items[i].center.z }
	switch {
	case dx >= dy && dx >= dz:
		along = func(i uint32) float64 { return p.items[i].center.x }
	case dy >= dz:
		along = func(i uint32) float64 { return p.items[i].center.y }
	}
	mid := (end - start) / 2
	halve(p.order[start:end], int(mid), along)
	mid += start
	p.split(start, mid)
	p.nodes[at].right = uint32(len(p.nodes))
	p.split(mid, end)
}

// halve puts the k smallest of order first (Hoare's selection, around medians of
// three).
func halve(order []uint32, k int, along func(uint32) float64) {
	for len(order) > 1 {
		a, b, c := along(order[0]), along(order[len(order)/2]), along(order[len(order)-1])
		pivot := max(min(a, b), min(max(a, b), c))
		i, j := 0, len(order)-1
		for i <= j {
			for along(order[i]) < pivot {
				i++
			}
			for along(order[j]) > pivot {
				j--
			}
			if i <= j {
				order[i], order[j] = order[j], order[i]
				i++
				j--
			}
		}
		switch { // order[:j+1] <= pivot <= order[i:], and between them equal to it
		case k <= j:
			order = order[:j+1]
		case k >= i:
			order, k = order[i:], k-i
		default:
			return
		}
	}
}

// atLeast is a margin that no fence below the node goes under, by the contract
// of Shape: the way to the box, less the largest bound.
func (n *node) atLeast(v vec) float64 {
	q := vec{clamp(v.x, n.lo.x, n.hi.x), clamp(v.y, n.lo.y, n.hi.y), clamp(v.z, n.lo.z, n.hi.z)}
	return arcM(v.chord(q)) - n.bound - slackM
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
		s.visit(0, s.x.nodes[0].atLeast(s.v))
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

// visit looks at a node that has no margin under atLeast. A margin equal to the
// limit counts: the smaller id wins.
func (s *search) visit(at uint32, atLeast float64) {
	if atLeast > s.limit {
		return
	}
	n := &s.x.nodes[at]
	if n.right != 0 {
		left, right := at+1, n.right
		l, r := s.x.nodes[left].atLeast(s.v), s.x.nodes[right].atLeast(s.v)
		if r < l {
			left, right, l, r = right, left, r, l
		}
		s.visit(left, l)
		s.visit(right, r)
		return
	}
	for _, i := range s.x.order[n.start:n.end] {
		it := &s.x.items[i]
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
