package geo

import (
	"cmp"
	"encoding/binary"
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
	parts  []share
	n      int
	finest int // the finest resolution of all tables
}

func indexOf(parts []share, n int) *Index {
	x := &Index{parts: parts, n: n}
	for i := range parts {
		x.finest = max(x.finest, parts[i].levels[len(parts[i].levels)-1].res)
	}
	return x
}

// share of an index in a part: without those that are gone.
type share struct {
	*part
	gone []*goneBits // by item/goneSize; nil where all are there
	left int         // how many are there
}

// goneSize is how many items one of share.gone is about: few, as a change copies
// what it changes.
const goneSize = 4096

type goneBits [goneSize / 64]uint64

func (s *share) has(i uint32) bool {
	if s.gone == nil {
		return true
	}
	g := s.gone[i/goneSize]
	return g == nil || g[i%goneSize/64]>>(i%64)&1 == 0
}

// part is a set of fences with its table and tree. It never changes.
type part struct {
	items []item   // in the tree's order: neighbours stand together in memory
	byID  []uint32 // of items

	levels []level // of the table, coarsest first
	slots  table
	words  []uint64 // the lists

	nodes []node // the tree, root first
}

// item is a fence with what is wanted at hand of it. It takes one line of a
// processor's cache.
type item struct {
	Fence
	center vec
	bound  float64 // Shape.BoundingRadiusM
}

// slackM covers rounding: coordinates in metres carry errors of about 1e-8, the
// library's cell centres near the poles some 1e-3.
const slackM = 1e-3

// maxFences keeps the words of the lists within what 32 bits count.
const maxFences = 1 << 25

// NewIndex builds an index over fences, whose order does not matter. Refused
// with an *Error of "fences[i].…": an id that is empty or stands twice, a shape
// that is missing or invalid. It takes some 4 µs a circle.
func NewIndex(fences []Fence) (*Index, error) {
	if len(fences) == 0 {
		return &Index{}, nil
	}
	p, err := newPart(fences)
	if err != nil {
		return nil, err
	}
	return indexOf([]share{{part: p, left: len(fences)}}, len(fences)), nil
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
	p.sortIDs()
	for i := 1; i < len(p.byID); i++ {
		if id := p.items[p.byID[i]].ID; id == p.items[p.byID[i-1]].ID {
			return nil, errorf(fmt.Sprintf("fences[%d].id", lastWith(fences, id)), "stands twice: %q", id)
		}
	}
	p.buildTree()
	if err := p.buildTable(); err != nil {
		return nil, err
	}
	return p, nil
}

// sortIDs fills byID. What the ids begin with is often the same for all: the eight
// bytes behind it tell nearly all of them apart without a look at the ids.
func (p *part) sortIDs() {
	first := p.items[0].ID
	same := len(first)
	for i := range p.items {
		id := p.items[i].ID
		n := 0
		for n < same && n < len(id) && id[n] == first[n] {
			n++
		}
		same = n
	}
	type named struct {
		key uint64
		i   uint32
	}
	all := make([]named, len(p.items))
	for i := range p.items {
		var b [8]byte
		copy(b[:], p.items[i].ID[same:])
		all[i] = named{binary.BigEndian.Uint64(b[:]), uint32(i)}
	}
	slices.SortFunc(all, func(a, b named) int {
		if c := cmp.Compare(a.key, b.key); c != 0 {
			return c
		}
		return strings.Compare(p.items[a.i].ID, p.items[b.i].ID)
	})
	p.byID = make([]uint32, len(all))
	for i := range all {
		p.byID[i] = all[i].i
	}
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

// get finds the part and the item of an id.
func (x *Index) get(id string) (at int, i uint32, ok bool) {
	for at, s := range slices.Backward(x.parts) {
		n, ok := slices.BinarySearchFunc(s.byID, id, func(i uint32, id string) int { return strings.Compare(s.items[i].ID, id) })
		if ok && s.has(s.byID[n]) {
			return at, s.byID[n], true
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
	var at spot
	if at.find(p, v, x.finest) != nil {
		return dst // does not happen: p is valid
	}
	for i := range x.parts {
		s := &x.parts[i]
		for l := range s.levels {
			list, deeper := s.list(&at, l)
			for from := 0; from < list.n; from += chunk {
				may := scan(list.shapes(s.words, from), s.levels[l].units(v, list.center))
				for ; may != 0; may &= may - 1 {
					fence := list.fence(s.words, from+bits.TrailingZeros64(may))
					it := &s.items[fence]
					if m := it.margin(p, v); m <= 0 && s.has(fence) {
						dst = insert(dst, first, Hit{it.Fence, m})
					}
				}
			}
			if !deeper {
				break
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
	var at spot
	if at.find(p, v, x.finest) != nil {
		return dst // does not happen: p is valid
	}
	for i := range x.parts {
		s := &x.parts[i]
		for l := range s.levels {
			list, deeper := s.list(&at, l)
			for from := 0; from < list.n; from += chunk {
				words, q := list.shapes(s.words, from), s.levels[l].units(v, list.center)
				for may := scan(words, q); may != 0; may &= may - 1 {
					i := bits.TrailingZeros64(may)
					fence := list.fence(s.words, from+i)
					it := &s.items[fence]
					if s.has(fence) && (sure(words[i], q, s.levels[l].core) || it.contains(p, v)) {
						dst = append(dst, it.Fence)
					}
				}
			}
			if !deeper {
				break
			}
		}
	}
	return dst
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
	const few = 8 // moved one by one
	if len(dst)-first > few {
		i, _ := slices.BinarySearchFunc(dst[first:], h, func(x, h Hit) int {
			if x.before(&h) {
				return -1
			}
			return 1
		})
		return slices.Insert(dst, first+i, h)
	}
	dst = append(dst, h)
	i := len(dst) - 1
	for ; i > first && h.before(&dst[i-1]); i-- {
		dst[i] = dst[i-1]
	}
	dst[i] = h
	return dst
}
