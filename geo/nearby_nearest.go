package geo

import (
	"math"
	"time"
)

// Nearest appends to dst the n devices that are nearest to p and no farther than
// radiusM, in the order of Within; more reports that others are in the circle too.
// Devices whose last update is from before since are passed over; the zero time
// takes all. It looks into cells from the nearest on and stops when no other can
// hold anybody who is nearer, so that a circle with a whole city in it costs little
// more than one with n devices. An invalid p, a radius that is negative or NaN, or
// an n below 1 finds none.
func (n *Nearby[V]) Nearest(p Point, radiusM float64, since time.Time, limit int, dst []Neighbour[V]) (_ []Neighbour[V], more bool) {
	if p.Validate() != nil || !(radiusM >= 0) || limit < 1 {
		return dst, false
	}
	s := nearestSearch[V]{around: vecOf(p), radiusM: radiusM, reach: reachM(radiusM), since: math.MinInt64, limit: limit + 1, found: dst, first: len(dst)}
	if !since.IsZero() {
		s.since = since.UnixMicro()
	}
	s.run(n)
	found := s.found[s.first:]
	sortNeighbours(found)
	if more = len(found) > limit; more {
		s.found = s.found[:s.first+limit]
	}
	return s.found, more
}

// nearestSearch finds one device more than is asked for, to know whether there is
// one.
type nearestSearch[V any] struct {
	around  vec
	radiusM float64
	reach   float64 // chord: nobody farther is wanted
	since   int64
	limit   int
	cells   []nearestCell[V] // a heap, the nearest first
	kept    []nearestKept    // a heap, the farthest first
	found   []Neighbour[V]
	first   int
}

type nearestCell[V any] struct {
	from float64 // chord to the nearest point that may be in it
	node *nearbyNode[V]
	res  int
}

func nearer[V any](a, b nearestCell[V]) bool { return a.from < b.from }

// nearestKept is a device among found.
type nearestKept struct {
	distanceM float64
	id        string
	i         int32
}

func farther(k, o nearestKept) bool {
	return k.distanceM > o.distanceM || k.distanceM == o.distanceM && k.id > o.id
}

func (s *nearestSearch[V]) run(n *Nearby[V]) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	s.push(n.roots, 0)
	for len(s.cells) > 0 {
		c := s.cells[0]
		s.cells = popped(s.cells, nearer)
		if c.from > s.reach {
			return
		}
		if c.res < nearbyRes {
			s.push(c.node.children, c.res+nearbyStep)
			continue
		}
		s.leaf(c.node)
	}
}

func (s *nearestSearch[V]) push(nodes []*nearbyNode[V], res int) {
	spread := spreadM(res, nearbyRes)
	for _, x := range nodes {
		if from := math.Sqrt(s.around.chord2(x.center)) - spread; from <= s.reach {
			s.cells = pushed(s.cells, nearestCell[V]{from, x, res}, nearer)
		}
	}
}

func (s *nearestSearch[V]) leaf(leaf *nearbyNode[V]) {
	leaf.mu.Lock()
	defer leaf.mu.Unlock()
	for _, d := range leaf.devices {
		if d.at < s.since {
			continue
		}
		c := s.around.chord2(vecOf(d.pos))
		if c > s.reach*s.reach {
			continue
		}
		m := arcM(math.Sqrt(c))
		if m > s.radiusM {
			continue
		}
		k := nearestKept{m, d.id, int32(len(s.found))}
		if len(s.kept) < s.limit {
			s.found = append(s.found, d.neighbour(m))
			s.kept = pushed(s.kept, k, farther)
			if len(s.kept) < s.limit {
				continue
			}
		} else {
			if farther(k, s.kept[0]) {
				continue
			}
			k.i = s.kept[0].i
			s.found[k.i] = d.neighbour(m)
			s.kept = pushed(popped(s.kept, farther), k, farther)
		}
		s.reach = min(s.reach, reachM(s.kept[0].distanceM))
	}
}

// pushed is a binary heap, whose first is above all others, with x.
func pushed[T any](h []T, x T, above func(a, b T) bool) []T {
	h = append(h, x)
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !above(h[i], h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	return h
}

// popped is a binary heap without its first.
func popped[T any](h []T, above func(a, b T) bool) []T {
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		best := i
		for _, down := range [2]int{2*i + 1, 2*i + 2} {
			if down < len(h) && above(h[down], h[best]) {
				best = down
			}
		}
		if best == i {
			return h
		}
		h[i], h[best] = h[best], h[i]
		i = best
	}
}
