package geo

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// Fence is a shape with a name.
type Fence struct {
	ID    string
	Shape Shape
}

// Hit is a fence found for a point, and how far the point is from its border.
type Hit struct {
	Fence
	MarginM float64 // as Shape.MarginM: negative inside
}

// before is the order of all results: by margin, deepest inside first, then by
// id, so that equal questions get equal answers.
func (h *Hit) before(o *Hit) bool {
	c := cmp.Compare(h.MarginM, o.MarginM)
	return c < 0 || c == 0 && h.ID < o.ID
}

// Index finds the fences of a point. It is an immutable snapshot: safe for
// concurrent use; a change means a new Index. The zero Index is empty.
//
// Two structures over one set of fences: a table from H3 cells to the fences
// that reach into them, for At, and a tree of boxes, for Within and Nearest,
// whose reach no table of cells can know beforehand.
type Index struct {
	items []item // by id

	// The table. Every fence stands in the cells of one resolution that suits its
	// size; levels are those in use, finest first.
	levels  []int
	slots   []slot // open addressing, two thirds full
	entries []uint32

	nodes []node // the tree, root first
	order []uint32
}

// item is a fence with what At needs at hand before it asks the shape.
type item struct {
	Fence
	center vec
	reach2 float64 // the square of Shape.BoundingRadiusM as a chord, rounded up
	bound  float64 // Shape.BoundingRadiusM
}

// slot says that entries[start:start+n] reach into cell; empty where n is 0.
type slot struct {
	cell     Cell
	start, n uint32
}

// slackM covers rounding: coordinates in metres carry errors of about 1e-8.
const slackM = 1e-3

// maxFences keeps positions in entries within 32 bits.
const maxFences = 1 << 25

// NewIndex builds an index over fences, whose order does not matter. Refused
// with an *Error of "fences[i].…": an id that is empty or stands twice, a shape
// that is missing or invalid. It takes some 30 µs a fence.
func NewIndex(fences []Fence) (*Index, error) {
	if len(fences) > maxFences {
		return nil, errorf("fences", "must be at most %d, are %d", maxFences, len(fences))
	}
	x := &Index{items: make([]item, len(fences))}
	seen := make(map[string]struct{}, len(fences))
	for i, f := range fences {
		if f.ID == "" {
			return nil, errorf(fmt.Sprintf("fences[%d].id", i), "is missing")
		}
		if _, dup := seen[f.ID]; dup {
			return nil, errorf(fmt.Sprintf("fences[%d].id", i), "stands twice: %q", f.ID)
		}
		seen[f.ID] = struct{}{}
		if f.Shape == nil {
			return nil, errorf(fmt.Sprintf("fences[%d].shape", i), "is missing")
		}
		if err := f.Shape.Validate(); err != nil {
			return nil, below(fmt.Sprintf("fences[%d].shape", i), err)
		}
		bound := f.Shape.BoundingRadiusM()
		reach := chordM(bound) + slackM
		x.items[i] = item{Fence: f, center: vecOf(f.Shape.Center()), reach2: reach * reach, bound: bound}
	}
	slices.SortFunc(x.items, func(a, b item) int { return strings.Compare(a.ID, b.ID) })
	if err := x.buildTable(); err != nil {
		return nil, err
	}
	x.buildTree()
	return x, nil
}

// Len is the number of fences.
func (x *Index) Len() int { return len(x.items) }

// Get is the fence of an id.
func (x *Index) Get(id string) (Fence, bool) {
	i, ok := slices.BinarySearchFunc(x.items, id, func(it item, id string) int { return strings.Compare(it.ID, id) })
	if !ok {
		return Fence{}, false
	}
	return x.items[i].Fence, true
}

// At appends to dst the fences that contain p, deepest inside first, then by id.
// A point that is not valid is in no fence. The appended part is all it touches.
func (x *Index) At(p Point, dst []Hit) []Hit {
	if len(x.levels) == 0 {
		return dst
	}
	cell, err := CellOf(p, x.levels[0])
	if err != nil {
		return dst
	}
	v := vecOf(p)
	first := len(dst)
	for _, res := range x.levels {
		for _, i := range x.reaching(cell.Parent(res)) {
			it := &x.items[i]
			if v.chord2(it.center) > it.reach2 {
				continue
			}
			if m := it.margin(p, v); m <= 0 {
				dst = insert(dst, first, Hit{it.Fence, m})
			}
		}
	}
	return dst
}

// margin is the shape's MarginM of p, whose vec is v.
func (it *item) margin(p Point, v vec) float64 {
	if c, ok := it.Shape.(Circle); ok {
		return arcM(it.center.chord(v)) - c.RadiusM // as Circle.MarginM, with the center at hand
	}
	return it.Shape.MarginM(p)
}

// insert keeps dst[first:] sorted.
func insert(dst []Hit, first int, h Hit) []Hit {
	dst = append(dst, h)
	i := len(dst) - 1
	for ; i > first && h.before(&dst[i-1]); i-- {
		dst[i] = dst[i-1]
	}
	dst[i] = h
	return dst
}

// reaching lists the fences that stand in cell.
func (x *Index) reaching(cell Cell) []uint32 {
	for i := x.home(cell); ; i = x.next(i) {
		switch s := &x.slots[i]; {
		case s.n == 0:
			return nil
		case s.cell == cell:
			return x.entries[s.start : s.start+s.n]
		}
	}
}

// home is the slot where the search for a cell begins, next the one to try after
// slot i. Multiplying by 2^64/φ mixes into the high bits, which select.
func (x *Index) home(c Cell) int {
	i, _ := bits.Mul64(uint64(c)*0x9e3779b97f4a7c15, uint64(len(x.slots)))
	return int(i)
}

func (x *Index) next(i int) int {
	if i++; i < len(x.slots) {
		return i
	}
	return 0
}

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

func (x *Index) buildTree() {
	if len(x.items) == 0 {
		return
	}
	x.order = make([]uint32, len(x.items))
	for i := range x.order {
		x.order[i] = uint32(i)
	}
	x.nodes = make([]node, 0, 4*len(x.items)/leafSize+1)
	x.split(0, uint32(len(x.items)))
}

// split appends the node of order[start:end] and those below it.
func (x *Index) split(start, end uint32) {
	at := len(x.nodes)
	n := node{start: start, end: end, lo: x.items[x.order[start]].center}
	n.hi = n.lo
	for _, i := range x.order[start:end] {
		it := &x.items[i]
		n.lo = vec{min(n.lo.x, it.center.x), min(n.lo.y, it.center.y), min(n.lo.z, it.center.z)}
		n.hi = vec{max(n.hi.x, it.center.x), max(n.hi.y, it.center.y), max(n.hi.z, it.center.z)}
		n.bound = max(n.bound, it.bound)
	}
	x.nodes = append(x.nodes, n)
	if end-start <= leafSize {
		return
	}
	dx, dy, dz := n.hi.x-n.lo.x, n.hi.y-n.lo.y, n.hi.z-n.lo.z
	along := func(i uint32) float64 { return x.items[i].center.z }
	switch {
	case dx >= dy && dx >= dz:
		along = func(i uint32) float64 { return x.items[i].center.x }
	case dy >= dz:
		along = func(i uint32) float64 { return x.items[i].center.y }
	}
	slices.SortFunc(x.order[start:end], func(a, b uint32) int {
		return cmp.Or(cmp.Compare(along(a), along(b)), cmp.Compare(a, b))
	})
	mid := start + (end-start)/2
	x.split(start, mid)
	x.nodes[at].right = uint32(len(x.nodes))
	x.split(mid, end)
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
	if len(x.nodes) == 0 || p.Validate() != nil || math.IsNaN(marginM) {
		return dst
	}
	s := search{x: x, p: p, v: vecOf(p), limit: marginM, first: len(dst), n: len(x.items), dst: dst}
	s.visit(0, s.x.nodes[0].atLeast(s.v))
	return s.dst
}

// Nearest appends to dst the n fences of the smallest margin at p, in the order
// of At: those that contain p first, then those with the nearest border. An
// invalid p finds none.
func (x *Index) Nearest(p Point, n int, dst []Hit) []Hit {
	if len(x.nodes) == 0 || n <= 0 || p.Validate() != nil {
		return dst
	}
	s := search{x: x, p: p, v: vecOf(p), limit: math.Inf(1), first: len(dst), n: n, dst: dst}
	s.visit(0, s.x.nodes[0].atLeast(s.v))
	return s.dst
}

// search of the n best fences with a margin up to limit.
type search struct {
	x     *Index
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
		if !(m <= s.limit) {
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
