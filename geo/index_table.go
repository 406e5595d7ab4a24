package geo

import (
	"math"
	"math/bits"
)

// The table's lists. What a lookup needs of a fence to tell it away, or to be sure
// of it, is one word: where its center is from the cell's, and its reach, in units
// of the level that are some centimetres for shops. So a list is short, and read
// from its beginning to its end; the fence itself is looked at only where that does
// not suffice. In part.words a list is, one after another,
//
//   - where slot.ownCenter says so, the cell's center, three words
//   - a word for each fence: three signed coordinates and, above them, the reach,
//     16 bits each; the top bit is set where sure must not be concluded from them
//   - the fences, places in part.items, two in a word, the first in the lower half

// chunk is how many fences scan takes at a time: a bit of a word for each.
const chunk = 64

// The limits of a list's words.
const (
	unitsMax  = 1<<15 - 2 // of a coordinate or a reach
	askAlways = 1 << 63
)

// slot says where a cell's list is; none where cell is 0.
type slot struct {
	cell  Cell
	start uint32 // in part.words
	n     uint32 // how many fences, and the flags
}

// The flags of slot.n.
const (
	deeper    = 1 << 31 // fences of a finer level can be in the cell's domain
	ownCenter = 1 << 30 // the list begins with the center
	countBits = ownCenter - 1
)

// table is open addressing over cells, four fifths full.
type table []slot

// slot of a cell, or the empty one where it would go.
func (t table) slot(c Cell) *slot {
	// Multiplying by 2^64/φ mixes into the high bits, which select.
	h, _ := bits.Mul64(uint64(c)*0x9e3779b97f4a7c15, uint64(len(t)))
	for i := int(h); ; {
		if s := &t[i]; s.cell == 0 || s.cell == c {
			return s
		}
		if i++; i == len(t) {
			i = 0
		}
	}
}

// list is what stands in a cell.
type list struct {
	center vec
	at     uint32 // of the first fence, in part.words
	n      int
}

// list of a level at a spot, and whether finer levels need a look.
func (p *part) list(at *spot, l int) (list, bool) {
	s := p.slots.slot(at.cell.Parent(p.levels[l].res))
	li := list{at: s.start, n: int(s.n & countBits)}
	switch {
	case li.n == 0:
	case s.n&ownCenter != 0:
		w := p.words[s.start : s.start+3]
		li.center = vec{math.Float64frombits(w[0]), math.Float64frombits(w[1]), math.Float64frombits(w[2])}
		li.at += 3
	default:
		var ok bool
		if li.center, ok = at.center(p.levels[l].res); !ok { // does not happen: such lists have their center
			li.center = vecOf(s.cell.Center())
		}
	}
	return li, s.n&deeper != 0
}

// shapes are the words of up to chunk fences.
func (l *list) shapes(words []uint64, from int) []uint64 {
	return words[int(l.at)+from : int(l.at)+min(l.n, from+chunk)]
}

// fence is the i-th of the list.
func (l *list) fence(words []uint64, i int) uint32 {
	return uint32(words[int(l.at)+l.n+i/2] >> (32 * (i & 1)))
}

// units is v as seen from a cell's center.
func (l *level) units(v, center vec) units {
	return units{int64((v.x - center.x) * l.perM), int64((v.y - center.y) * l.perM), int64((v.z - center.z) * l.perM)}
}

// shapeWord is the word of a fence.
func (l *level) shapeWord(off vec, reach float64) uint64 {
	coordinate := func(m float64) uint64 { return uint64(uint16(int16(math.Round(m * l.perM)))) }
	r := uint64(math.Ceil(reach*l.perM) + l.lax)
	return coordinate(off.x) | coordinate(off.y)<<16 | coordinate(off.z)<<32 | r<<48
}

// insideWord is that of a fence which holds the cell's whole domain.
const insideWord = unitsMax << 48

// A point in the units of a list.
type units [3]int64

// chord2 is the square of the chord from a fence's center, and reach how far the fence
// reaches.
func (q *units) chord2(w uint64) (chord2, reach int64) {
	x, y, z := int64(int16(w))-q[0], int64(int16(w>>16))-q[1], int64(int16(w>>32))-q[2]
	return x*x + y*y + z*z, int64(w >> 48 & (1<<15 - 1))
}

// scan tells which of the fences, whose words these are, may contain a point. It has
// no branches: which fences contain a point is what no processor can guess.
func scan(words []uint64, q units) (may uint64) {
	words = words[:min(len(words), chunk)]
	for i, w := range words {
		d2, r := q.chord2(w)
		may |= uint64(^(r*r - d2)) >> 63 << (i & 63)
	}
	return may
}

// sure tells whether a fence surely contains a point, of those that may.
func sure(w uint64, q units, core int64) bool {
	d2, r := q.chord2(w)
	r -= core
	return r >= 0 && d2 <= r*r && w&askAlways == 0
}
