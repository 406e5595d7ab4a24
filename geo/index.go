package geo

import (
	"cmp"
	"fmt"
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

// Index finds the fences of a point. It is an immutable snapshot, safe for
// concurrent use: With makes another one that shares nearly everything with it,
// so that lookups go on in the old one meanwhile, and Live holds the newest. The
// zero Index is empty.
//
// Two structures over one set of fences: a table from H3 cells to the fences
// that reach into them, for At, Containing and Watch, and a tree of boxes, for
// Within and Nearest, whose reach no table of cells can know beforehand.
//
// What With has added stands in parts of its own. A lookup asks each part, of
// which there are about as many as the logarithm of what was added; Compact makes
// one of them.
type Index struct {
	parts []share
	n     int
}

// share of an index in a part: without those that are gone.
type share struct {
	*part
	gone []uint64 // a bit for each of part.items; nil where all are there
	left int      // how many are there
}

func (s *share) has(i uint32) bool { return s.gone == nil || s.gone[i/64]>>(i%64)&1 == 0 }

// part is a set of fences with its table and tree. It never changes.
type part struct {
	items []item // by id

	levels  []level // of the table, finest first
	slots   table
	entries []entry

	nodes []node // the tree, root first
	order []uint32
}

// item is a fence with what is wanted at hand of it.
type item struct {
	Fence
	center vec
	bound  float64 // Shape.BoundingRadiusM
}

// slot says that entries[start:start+n] reach into cell; empty where n is 0.
type slot struct {
	cell     Cell
	start, n uint32
}

// entry is a fence in a cell's list. The position is relative to the cell's
// center, in metres, so that float32 suffices to tell most fences away.
type entry struct {
	x, y, z float32
	reach   float32 // the bound as a chord, more by level.lax
	fence   uint32  // into items, and the flags
}

// The flags of an entry.
const (
	allInside = 1 << 31 // the cell's whole domain is inside
	isCircle  = 1 << 30
	fenceBits = isCircle - 1
)

// slackM covers rounding: coordinates in metres carry errors of about 1e-8, the
// library's cell centres near the poles some 1e-3.
const slackM = 1e-3

// maxFences keeps positions in entries within 30 bits.
const maxFences = 1 << 25

// NewIndex builds an index over fences, whose order does not matter. Refused
// with an *Error of "fences[i].…": an id that is empty or stands twice, a shape
// that is missing or invalid. It takes some 3 µs a circle.
func NewIndex(fences []Fence) (*Index, error) {
	p, err := newPart(fences)
	if err != nil {
		return nil, err
	}
	x := &Index{n: len(fences)}
	if x.n > 0 {
		x.parts = []share{{part: p, left: x.n}}
	}
	return x, nil
}

func newPart(fences []Fence) (*part, error) {
	if len(fences) > maxFences {
		return nil, errorf("fences", "must be at most %d, are %d", maxFences, len(fences))
	}
	p := &part{items: make([]item, len(fences))}
	for i, f := range fences {
		if f.ID == "" {
			return nil, errorf(fmt.Sprintf("fences[%d].id", i), "is missing")
		}
		if f.Shape == nil {
			return nil, errorf(fmt.Sprintf("fences[%d].shape", i), "is missing")
		}
		if err := f.Shape.Validate(); err != nil {
			return nil, below(fmt.Sprintf("fences[%d].shape", i), err)
		}
		p.items[i] = item{Fence: f, center: vecOf(f.Shape.Center()), bound: f.Shape.BoundingRadiusM()}
	}
	slices.SortFunc(p.items, func(a, b item) int { return strings.Compare(a.ID, b.ID) })
	for i := 1; i < len(p.items); i++ {
		if id := p.items[i].ID; id == p.items[i-1].ID {
			return nil, errorf(fmt.Sprintf("fences[%d].id", lastWith(fences, id)), "stands twice: %q", id)
		}
	}
	if err := p.build(); err != nil {
		return nil, err
	}
	p.buildTree()
	return p, nil
}

func lastWith(fences []Fence, id string) int {
	for i, f := range slices.Backward(fences) {
		if f.ID == id {
			return i
		}
	}
	return -1
}

// Len is the number of fences.
func (x *Index) Len() int { return x.n }

// Fence is the fence of an id, and whether there is one. It takes a binary search in
// each part.
func (x *Index) Fence(id string) (Fence, bool) {
	at, i, ok := x.get(id)
	if !ok {
		return Fence{}, false
	}
	return x.parts[at].items[i].Fence, true
}

// get finds the part of an id, and the fence in it.
func (x *Index) get(id string) (at int, i uint32, ok bool) {
	for at, s := range slices.Backward(x.parts) {
		n, ok := slices.BinarySearchFunc(s.items, id, func(it item, id string) int { return strings.Compare(it.ID, id) })
		if ok && s.has(uint32(n)) {
			return at, uint32(n), true
		}
	}
	return 0, 0, false
}

// All lists the fences, in no order that means anything.
func (x *Index) All() []Fence {
	all := make([]Fence, 0, x.n)
	for _, s := range x.parts {
		for i := range s.items {
			if s.has(uint32(i)) {
				all = append(all, s.items[i].Fence)
			}
		}
	}
	return all
}

// At appends to dst the fences that contain p, deepest inside first, then by id.
// A point that is not valid is in no fence. The appended part is all it touches.
func (x *Index) At(p Point, dst []Hit) []Hit {
	if len(x.parts) == 0 || p.Validate() != nil {
		return dst
	}
	v := vecOf(p)
	first := len(dst)
	// Fences are looked at once the list is read: their memory is far apart, and
	// waiting for all of it at once is quicker than for one after another.
	var near [32]uint32
	for i := range x.parts {
		s := &x.parts[i]
		var at spot
		if at.find(p, v, s.levels[0].res) != nil {
			return dst // does not happen: p is valid
		}
		for l := range s.levels {
			es := s.reaching(at.cell.Parent(s.levels[l].res))
			if len(es) == 0 {
				continue
			}
			q := v.minus(at.center(s.levels[l].res))
			for len(es) > 0 {
				j, n := 0, 0
				for ; j < len(es) && n < len(near); j++ {
					near[n] = es[j].fence
					if es[j].chord2(q) <= squared(float64(es[j].reach)) {
						n++
					}
				}
				es = es[j:]
				for _, fence := range near[:n] {
					it := &s.items[fence&fenceBits]
					if m := it.margin(p, v); m <= 0 && s.has(fence&fenceBits) {
						dst = insert(dst, first, Hit{it.Fence, m})
					}
				}
			}
		}
	}
	return dst
}

// Containing appends to dst the fences that contain p, in no order that means
// anything. It computes no margins: a fence that holds the whole of p's cell is
// not asked at all.
func (x *Index) Containing(p Point, dst []Fence) []Fence {
	if len(x.parts) == 0 || p.Validate() != nil {
		return dst
	}
	v := vecOf(p)
	for i := range x.parts {
		s := &x.parts[i]
		var at spot
		if at.find(p, v, s.levels[0].res) != nil {
			return dst // does not happen: p is valid
		}
		for l := range s.levels {
			es := s.reaching(at.cell.Parent(s.levels[l].res))
			if len(es) == 0 {
				continue
			}
			q := v.minus(at.center(s.levels[l].res))
			for j := range es {
				e := &es[j]
				d2 := e.chord2(q)
				if d2 > squared(float64(e.reach)) || !s.has(e.fence&fenceBits) {
					continue
				}
				if it := &s.items[e.fence&fenceBits]; e.holds(d2, s.levels[l].lax) || it.contains(p, v) {
					dst = append(dst, it.Fence)
				}
			}
		}
	}
	return dst
}

// chord2 is about the squared chord from the fence's center to a point of the
// cell's domain.
func (e *entry) chord2(q vec) float64 {
	dx, dy, dz := q.x-float64(e.x), q.y-float64(e.y), q.z-float64(e.z)
	return dx*dx + dy*dy + dz*dz
}

// holds reports whether the fence surely contains a point at this squared chord.
func (e *entry) holds(d2, lax float64) bool {
	if e.fence&allInside != 0 {
		return true
	}
	r := float64(e.reach) - 3*lax
	return e.fence&isCircle != 0 && r > 0 && d2 < r*r
}

// margin is the shape's MarginM of p, whose vec is v.
func (it *item) margin(p Point, v vec) float64 {
	if _, ok := it.Shape.(Circle); ok {
		return arcM(it.center.chord(v)) - it.bound // as Circle.MarginM, with all at hand
	}
	return it.Shape.MarginM(p)
}

// contains is the shape's Contains of p, whose vec is v.
func (it *item) contains(p Point, v vec) bool {
	if _, ok := it.Shape.(Circle); ok {
		return it.margin(p, v) <= 0
	}
	return it.Shape.Contains(p) // may cost much less than the margin
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
func (p *part) reaching(cell Cell) []entry {
	s := p.slots.slot(cell)
	return p.entries[s.start : s.start+s.n]
}

// table is open addressing over cells, four fifths full.
type table []slot

// slot of a cell, or the empty one where it would go.
func (t table) slot(c Cell) *slot {
	// Multiplying by 2^64/φ mixes into the high bits, which select.
	h, _ := bits.Mul64(uint64(c)*0x9e3779b97f4a7c15, uint64(len(t)))
	for i := int(h); ; {
		if s := &t[i]; s.n == 0 || s.cell == c {
			return s
		}
		if i++; i == len(t) {
			i = 0
		}
	}
}
