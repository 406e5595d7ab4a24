package geo

import (
	"math"
	"math/bits"
	"slices"
)

// Watch follows one device through an index and says which fences it enters and
// leaves, by the bare position: a fence is entered where its Contains becomes
// true. What a noisy fix proves is Rule's affair.
//
// It is a cache that spares lookups: while the device stays within the domains of
// the cells that it was found in, their lists are at hand, and after a slow step
// it knows a radius within which nothing can change. So most fixes cost their sines
// and no call of anything. It gives the same as a fresh lookup at each point,
// whatever is cached. It is not state to be kept: a new Watch enters what the
// device is in.
//
// The zero Watch is a device that is nowhere. It is not for concurrent use.
type Watch struct {
	x     *Index  // what the rest is about; nil before the first fix
	at    Point   // the last point that was compared with the lists
	cos   float64 // at least the cosine of the latitude within the safe radius
	safe2 float64 // the safe radius, as an arc in degrees, squared; negative: there is none

	// The lists are those of any point within a squared chord of center.
	center vec
	chord2 float64
	n      int        // how many watched there are
	few    [2]watched // the first, so that they stand with the rest in memory
	more   []watched  // the others
	keys   []uint64   // a buffer
}

// watched are up to chunk fences that stand in one cell.
type watched struct {
	center vec    // of the cell
	in     uint64 // which of them contain the device
	next   uint64 // a buffer: which will
	part   uint32
	shapes uint32 // where their words begin in part.words
	fences uint32 // where their places begin there
	level  uint16
	n      uint16
	words  [fewWords]uint64 // a copy, if they are so few
}

// fewWords are kept with the watch: most lists are no longer, and who wakes up with
// its device then waits for memory once, not twice.
const fewWords = 12

// Change is a fence that a device entered or left.
type Change struct {
	Fence
	Inside bool // it entered
}

// slowM is a step from which on the radius is not worth computing: with the next
// one the device is out of it where fences are dense.
const slowM = 40

// degreeM is a degree of latitude where it is longest, at the poles; nowhere is
// a degree of longitude longer than that times the cosine of the latitude.
const degreeM = maxCurvatureM * math.Pi / 180

// moved2 is the square of at least the way from w.at to p, in degrees of degreeM:
// the length of the straight line in latitude and longitude, if cos is at least
// the cosine of the latitude all along it.
func (w *Watch) moved2(p Point, cos float64) float64 {
	dLat, dLng := p.Lat-w.at.Lat, (p.Lng-w.at.Lng)*cos
	return dLat*dLat + dLng*dLng
}

// Move appends to dst what changes with the device's new position, in the index
// x, which may be another one each time: exits first. What was removed while the
// device was in it is left, with the shape it had; a fence whose shape was changed
// is left or entered if the position is not within both the old and the new one.
// A point that is not valid changes nothing.
//
// It allocates nothing once its buffers have their size.
func (w *Watch) Move(x *Index, p Point, dst []Change) []Change {
	if w.x == x && w.moved2(p, w.cos) <= w.safe2 { // not with NaN
		return dst
	}
	if p.Validate() != nil {
		return dst
	}
	v := vecOf(p)
	slow := w.x != nil && w.moved2(p, 1) <= slowM*slowM/(degreeM*degreeM)
	w.at, w.safe2 = p, -1
	if w.x != x || !(v.chord2(w.center) <= w.chord2) {
		dst = w.look(x, p, v, dst)
	} else {
		dst = w.compare(p, v, dst)
	}
	if slow {
		w.measure(p, v)
	}
	return dst
}

// At is Index.At of x, and moves the watch to p: it computes the margins of the
// fences that contain p, and looks up no others.
func (w *Watch) At(x *Index, p Point, dst []Hit) []Hit {
	var few [8]Change
	if p.Validate() != nil {
		return dst
	}
	w.Move(x, p, few[:0])
	v := vecOf(p)
	first := len(dst)
	for i := range w.n {
		c := w.watched(i)
		for in := c.in; in != 0; in &= in - 1 {
			it := w.x.item(c.key(w.x, in))
			dst = insert(dst, first, Hit{it.Fence, it.margin(p, v)})
		}
	}
	return dst
}

// watched is the i-th.
func (w *Watch) watched(i int) *watched {
	if i < len(w.few) {
		return &w.few[i]
	}
	return &w.more[i-len(w.few)]
}

// A key is a fence in an index: its part and its place there.
func key(part, fence uint32) uint64 { return uint64(part)<<32 | uint64(fence) }

func (x *Index) item(key uint64) *item { return &x.parts[key>>32].items[uint32(key)] }

// key of the fence of the lowest of bits.
func (c *watched) key(x *Index, set uint64) uint64 {
	i := uint32(bits.TrailingZeros64(set))
	return key(c.part, uint32(x.parts[c.part].words[c.fences+i/2]>>(32*(i&1))))
}

// holding tells which of the fences contain p, gone or not.
func (c *watched) holding(x *Index, p Point, v vec) uint64 {
	s := &x.parts[c.part]
	l := &s.levels[c.level]
	words, q := c.list(x), l.units(v, c.center)
	now := uint64(0)
	for may := scan(words, q); may != 0; may &= may - 1 {
		if sure(words[bits.TrailingZeros64(may)], q, l.core) || x.item(c.key(x, may)).contains(p, v) {
			now |= may & -may
		}
	}
	return now
}

// list are the fences' words.
func (c *watched) list(x *Index) []uint64 {
	if c.n <= fewWords {
		return c.words[:c.n]
	}
	return x.parts[c.part].words[c.shapes : c.shapes+uint32(c.n)]
}

// has leaves of a set what is not gone.
func (c *watched) has(x *Index, set uint64) uint64 {
	s := &x.parts[c.part]
	if s.gone == nil {
		return set
	}
	for b := set; b != 0; b &= b - 1 {
		if !s.has(uint32(c.key(x, b))) {
			set &^= b & -b
		}
	}
	return set
}

// compare the point with the lists and tell the difference to what was.
func (w *Watch) compare(p Point, v vec, dst []Change) []Change {
	entered := uint64(0)
	for i := range w.n {
		c := w.watched(i)
		now := c.holding(w.x, p, v)
		for left := c.in &^ now; left != 0; left &= left - 1 {
			dst = append(dst, Change{w.x.item(c.key(w.x, left)).Fence, false})
		}
		c.next = c.has(w.x, now&^c.in)
		c.in &= now
		entered |= c.next
	}
	if entered == 0 {
		return dst
	}
	for i := range w.n {
		c := w.watched(i)
		for next := c.next; next != 0; next &= next - 1 {
			dst = append(dst, Change{w.x.item(c.key(w.x, next)).Fence, true})
		}
		c.in |= c.next
	}
	return dst
}

// look up the lists for a point and tell the difference to what was.
func (w *Watch) look(x *Index, p Point, v vec, dst []Change) []Change {
	keys := w.inside(w.keys[:0])
	if w.x != x {
		keys, dst = w.translate(keys, x, dst)
	}
	was := len(keys)
	w.x, w.n, w.more = x, 0, w.more[:0]
	w.chord2 = -1 // no point is within it
	var at spot
	if len(x.parts) == 0 || at.find(p, v, x.finest) != nil { // p is valid: no error
		return w.tell(keys, was, dst)
	}
	finest, own := 0, false // the finest level asked, and whether a list has its center
	for i := range x.parts {
		s := &x.parts[i]
		for l := range s.levels {
			list, more := s.list(&at, l)
			for from := 0; from < list.n; from += chunk {
				w.watch(watched{
					center: list.center, part: uint32(i), level: uint16(l), n: uint16(min(chunk, list.n-from)),
					shapes: list.at + uint32(from), fences: list.at + uint32(list.n+from/2),
				})
				c := w.watched(w.n - 1)
				if c.n <= fewWords {
					copy(c.words[:], list.shapes(s.words, from))
				}
				c.in = c.has(x, c.holding(x, p, v))
			}
			if res := s.levels[l].res; res > finest || i == 0 && l == 0 {
				finest, own = res, false
			}
			if list.n > 0 && s.levels[l].res == finest {
				w.center, own = list.center, true
			}
			if !more {
				break
			}
		}
	}
	if !own {
		w.center, own = at.center(finest)
	}
	if own {
		w.chord2 = squared(domainM(finest) - 2*laxM)
	}
	return w.tell(w.inside(keys), was, dst)
}

func (w *Watch) watch(c watched) {
	if w.n < len(w.few) {
		w.few[w.n] = c
	} else {
		w.more = append(w.more, c)
	}
	w.n++
}

// inside appends the keys of the fences that contain the device.
func (w *Watch) inside(keys []uint64) []uint64 {
	for i := range w.n {
		c := w.watched(i)
		for in := c.in; in != 0; in &= in - 1 {
			keys = append(keys, c.key(w.x, in))
		}
	}
	return keys
}

// translate keys of w.x into those of x. Those that it does not have are left.
func (w *Watch) translate(keys []uint64, x *Index, dst []Change) ([]uint64, []Change) {
	kept := keys[:0]
	for _, k := range keys {
		old := &w.x.parts[k>>32]
		if at := int(k >> 32); at < len(x.parts) && x.parts[at].part == old.part && x.parts[at].has(uint32(k)) {
			kept = append(kept, k)
			continue
		}
		was := &old.items[uint32(k)]
		part, i, ok := x.get(was.ID)
		if !ok {
			dst = append(dst, Change{was.Fence, false})
			continue
		}
		kept = append(kept, key(uint32(part), i))
	}
	return kept, dst
}

// tell the difference between keys[:was], where the device was inside, and the rest,
// where it is. They become the buffer.
func (w *Watch) tell(keys []uint64, was int, dst []Change) []Change {
	old, now := keys[:was], keys[was:]
	if !slices.Equal(old, now) {
		slices.Sort(old)
		slices.Sort(now)
		dst = w.missing(dst, old, now, false)
		dst = w.missing(dst, now, old, true)
	}
	w.keys = keys[:0]
	return dst
}

// missing tells the keys of a that b has not; both ascend.
func (w *Watch) missing(dst []Change, a, b []uint64, inside bool) []Change {
	for _, k := range a {
		for len(b) > 0 && b[0] < k {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != k {
			dst = append(dst, Change{w.x.item(k).Fence, inside})
		}
	}
	return dst
}

// measure how far nothing can change: up to the end of the lists and to the next
// border.
func (w *Watch) measure(p Point, v vec) {
	safe := math.Sqrt(w.chord2) - v.chord(w.center) // NaN where there are none
	if len(w.x.parts) == 0 {
		safe = math.Inf(1)
	}
	for i := range w.n {
		c := w.watched(i)
		l := &w.x.parts[c.part].levels[c.level]
		q := l.units(v, c.center)
		least := math.Inf(1)
		for j, word := range c.list(w.x) {
			d2, r := q.chord2(word)
			switch d := math.Sqrt(float64(d2)); {
			case d2 > r*r:
				least = min(least, d-float64(r))
			case word == insideWord:
			case sure(word, q, l.core):
				least = min(least, float64(r-l.core)-d)
			default: // a tenth less, as the margin of a shape may be approximate
				it := w.x.item(c.key(w.x, 1<<j))
				safe = min(safe, 0.9*math.Abs(it.margin(p, v))-1)
			}
		}
		safe = min(safe, least/l.perM)
	}
	if safe = (safe - 2*slackM) / degreeM; safe > 0 {
		w.cos = math.Cos(p.Lat*(math.Pi/180)) + safe*(math.Pi/180)
		w.safe2 = safe * safe
	}
}
