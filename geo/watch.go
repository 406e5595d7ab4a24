package geo

import (
	"math"
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
	lists []list
	in    []uint64 // the fences that contain it, as keys, ascending
	spare []uint64 // the other buffer of in
}

// list is what stands in one cell.
type list struct {
	center  vec
	domain2 float64 // the domain's radius, squared
	part    uint32
	level   uint32
	entries []entry
}

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
// It allocates nothing once its buffers have their size, save where H3's library
// is asked: near its pentagons, which are at sea.
func (w *Watch) Move(x *Index, p Point, dst []Change) []Change {
	if w.x == x && w.moved2(p, w.cos) <= w.safe2 { // not with NaN
		return dst
	}
	if p.Validate() != nil {
		return dst
	}
	v := vecOf(p)
	slow := w.x != nil && w.moved2(p, 1) <= slowM*slowM/(degreeM*degreeM)
	if w.x != x || !w.within(v) {
		dst = w.look(x, p, v, dst)
	}
	return w.compare(p, v, slow, dst)
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
	for _, key := range w.in {
		it := w.x.item(key)
		dst = insert(dst, first, Hit{it.Fence, it.margin(p, v)})
	}
	return dst
}

// within reports whether the lists are those of v too.
func (w *Watch) within(v vec) bool {
	for i := range w.lists {
		if v.chord2(w.lists[i].center) > w.lists[i].domain2 {
			return false
		}
	}
	return true
}

// key of a fence in an index.
func key(part, fence uint32) uint64 { return uint64(part)<<32 | uint64(fence) }

func (x *Index) item(key uint64) *item { return &x.parts[key>>32].items[uint32(key)] }

// look up the lists for a point. If the index is another one, the fences that
// the device was in are told to it: those that it does not have are left.
func (w *Watch) look(x *Index, p Point, v vec, dst []Change) []Change {
	if w.x != x && len(w.in) > 0 {
		old := w.x
		kept := w.spare[:0]
		for _, k := range w.in {
			was := old.item(k)
			part, i, ok := x.get(was.ID)
			if !ok {
				dst = append(dst, Change{was.Fence, false})
				continue
			}
			kept = append(kept, key(uint32(part), i))
		}
		slices.Sort(kept)
		w.in, w.spare = kept, w.in
	}
	w.x = x
	w.lists = w.lists[:0]
	for i := range x.parts {
		s := &x.parts[i]
		var at spot
		if at.find(p, v, s.levels[0].res) != nil {
			continue // does not happen: p is valid
		}
		for l := range s.levels {
			level := &s.levels[l]
			w.lists = append(w.lists, list{
				center: at.center(level.res), domain2: squared(level.domain - slackM), part: uint32(i), level: uint32(l),
				entries: s.reaching(at.cell.Parent(level.res)),
			})
		}
	}
	return dst
}

// compare the point with the lists, tell the difference to what was, and find
// out, if asked, how far nothing can change.
func (w *Watch) compare(p Point, v vec, measure bool, dst []Change) []Change {
	safe := math.Inf(1)
	now := w.spare[:0]
	for i := range w.lists {
		l := &w.lists[i]
		s := &w.x.parts[l.part]
		lax := s.levels[l.level].lax
		q := v.minus(l.center)
		if measure {
			safe = min(safe, math.Sqrt(l.domain2)-math.Sqrt(q.dot(q)))
		}
		for j := range l.entries {
			e := &l.entries[j]
			d2 := e.chord2(q)
			fence := e.fence & fenceBits
			if d2 > squared(float64(e.reach)) {
				if measure {
					safe = min(safe, math.Sqrt(d2)-float64(e.reach))
				}
				continue
			}
			if !s.has(fence) {
				continue
			}
			if e.holds(d2, lax) {
				if measure && e.fence&allInside == 0 {
					safe = min(safe, float64(e.reach)-3*lax-math.Sqrt(d2))
				}
				now = append(now, key(l.part, fence))
				continue
			}
			it := &s.items[fence]
			if it.contains(p, v) {
				now = append(now, key(l.part, fence))
			}
			if measure { // a tenth less, as the margin of a shape may be approximate
				safe = min(safe, 0.9*math.Abs(it.margin(p, v))-1)
			}
		}
	}
	if len(w.lists) > 1 { // each is in order already
		slices.Sort(now)
	}
	w.at, w.safe2 = p, -1
	if safe = (safe - 2*slackM) / degreeM; measure && safe > 0 {
		w.cos = math.Cos(p.Lat*(math.Pi/180)) + safe*(math.Pi/180)
		w.safe2 = safe * safe
	}
	w.in, w.spare = now, w.in
	return w.differ(dst)
}

// differ tells what is in spare and not in in, then the other way round.
func (w *Watch) differ(dst []Change) []Change {
	if slices.Equal(w.spare, w.in) {
		return dst
	}
	dst = w.missing(dst, w.spare, w.in, false)
	return w.missing(dst, w.in, w.spare, true)
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
