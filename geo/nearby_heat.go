package geo

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/uber/h3-go/v4"
)

// Resolutions of a heat map: cells of about 1,770 km² and of 0.015 km².
const (
	HeatCoarsest = 4
	HeatFinest   = 10
)

// HeatLeast is the smallest number of devices that a heat map may be asked to
// show: of fewer, one who is among them would know the other.
const HeatLeast = 3

// Heat is how many devices are in which cells, at one moment, without the few:
// nothing that it shows, at no resolution, alone or compared with anything else
// that it shows, counts one to least-1 devices.
//
// To leave out the cells with fewer than least devices is not enough: the count of
// a cell less those of its children is the count of the child that was left out.
// So a cell is shown only if its parent is, and the children of a cell that are not
// shown hold together none or at least least devices; where the small ones would
// be fewer, the smallest of the others is withheld with them. Coarser cells thus
// count who is withheld in finer ones. As every position counts in one cell of
// HeatFinest and in its ancestors (see Index: a cell's hexagon does not cover its
// descendants' exactly), the cells shown form a tree, and every sum or difference
// of counts is made of what its nodes count beyond their children: each none, or
// at least least.
//
// What remains: who asks again as people move can follow a change of one, so show
// maps of moments that lie apart; where much is shown around it, a gap tells that
// somebody may be there; and who can make devices up can fill a cell until it is
// shown. A Heat is immutable and safe for concurrent use.
type Heat struct {
	least  int
	levels [HeatFinest - HeatCoarsest + 1][]heatCell
}

type heatCell struct {
	CellCount
	center Point
}

// Heat makes a heat map of the devices whose last update is not from before since;
// the zero time takes all. It copies their positions cell by cell, between which
// updates go on; a device that wanders into another cell at that moment is counted
// once or not at all. Then it finds the cell of each position, which takes most of its
// time. Errors: *Error of "least", which must be at least
// HeatLeast.
func (n *Nearby[V]) Heat(since time.Time, least int) (*Heat, error) {
	if least < HeatLeast {
		return nil, errorf("least", "must be at least %d, is %d", HeatLeast, least)
	}
	limit := int64(math.MinInt64)
	if !since.IsZero() {
		limit = since.UnixMicro()
	}
	at := n.positions(limit)
	cells := make([]Cell, len(at))
	for i, p := range at {
		var in spot
		if err := in.find(p, vecOf(p), HeatFinest); err != nil {
			return nil, err
		}
		cells[i] = in.cell
	}
	return heatOf(cells, least), nil
}

// positions of the devices that are not older, of each at most one: whoever
// counted twice would lift a cell over the least.
func (n *Nearby[V]) positions(since int64) []Point {
	n.copying.Lock()
	defer n.copying.Unlock()
	n.copies++
	n.mu.RLock()
	leaves := make([]*nearbyNode[V], 0, len(n.leaves))
	for _, x := range n.leaves {
		leaves = append(leaves, x)
	}
	n.mu.RUnlock()
	var at []Point
	for _, x := range leaves {
		at = n.positionsIn(x, since, at)
	}
	return at
}

func (n *Nearby[V]) positionsIn(leaf *nearbyNode[V], since int64, dst []Point) []Point {
	n.mu.RLock()
	defer n.mu.RUnlock()
	leaf.mu.Lock()
	defer leaf.mu.Unlock()
	for _, d := range leaf.devices {
		if d.at >= since && d.copied != n.copies {
			d.copied = n.copies
			dst = append(dst, d.pos)
		}
	}
	return dst
}

// heatOf devices in cells of HeatFinest, which it sorts.
func heatOf(cells []Cell, least int) *Heat {
	slices.Sort(cells) // descendants of a cell stand together
	h := &Heat{least: least}
	var fine []CellCount
	for _, c := range cells {
		if n := len(fine); n > 0 && fine[n-1].Cell == c {
			fine[n-1].Count++
			continue
		}
		fine = append(fine, CellCount{c, 1})
	}
	for _, root := range childrenOf(fine, HeatCoarsest) {
		if root.Count >= least {
			h.show(root, HeatCoarsest)
		}
	}
	return h
}

// heatNode is a cell that is being judged.
type heatNode struct {
	CellCount
	fine []CellCount // its cells of HeatFinest that are not empty
}

// childrenOf groups cells by their ancestors.
func childrenOf(fine []CellCount, res int) (out []heatNode) {
	for from := 0; from < len(fine); {
		x := heatNode{CellCount: CellCount{Cell: fine[from].Cell.Parent(res)}}
		to := from
		for ; to < len(fine) && fine[to].Cell.Parent(res) == x.Cell; to++ {
			x.Count += fine[to].Count
		}
		x.fine = fine[from:to]
		out = append(out, x)
		from = to
	}
	return out
}

// show puts a cell into the map, and those of its children that may be.
func (h *Heat) show(x heatNode, res int) {
	level := &h.levels[res-HeatCoarsest]
	*level = append(*level, heatCell{x.CellCount, x.Cell.Center()})
	if res == HeatFinest {
		return
	}
	children := childrenOf(x.fine, res+1)
	withheld, smallest := 0, -1
	for i, c := range children {
		if c.Count < h.least {
			withheld += c.Count
		} else if smallest < 0 || c.Count < children[smallest].Count {
			smallest = i
		}
	}
	if withheld == 0 || withheld >= h.least {
		smallest = -1 // nothing needs to be withheld for others' sake
	}
	for i, c := range children {
		if c.Count >= h.least && i != smallest {
			h.show(c, res+1)
		}
	}
}

// Least is the smallest number of devices that is shown.
func (h *Heat) Least() int { return h.least }

// Cells appends to dst the cells of a resolution whose centre lies in the box, in
// the order of the cells. Errors: *Error of "resolution", which must be
// HeatCoarsest to HeatFinest, or of the box's edge that cannot be.
func (h *Heat) Cells(res int, in Box, dst []CellCount) ([]CellCount, error) {
	if res < HeatCoarsest || res > HeatFinest {
		return dst, errorf("resolution", "must be %d to %d, is %d", HeatCoarsest, HeatFinest, res)
	}
	if err := in.Validate(); err != nil {
		return dst, err
	}
	for _, c := range h.levels[res-HeatCoarsest] {
		if in.Contains(c.center) {
			dst = append(dst, c.CellCount)
		}
	}
	return dst, nil
}

// Box is an area between two parallels and two meridians, in degrees (RFC 7946
// §5). West above East means that it crosses the antimeridian.
type Box struct{ West, South, East, North float64 }

// Validate returns an *Error of "west", "south", "east" or "north".
func (b Box) Validate() error {
	for _, x := range []struct {
		field     string
		is, limit float64
	}{{"west", b.West, 180}, {"south", b.South, 90}, {"east", b.East, 180}, {"north", b.North, 90}} {
		if !(math.Abs(x.is) <= x.limit) {
			return errorf(x.field, "must be -%v to %v, is %v", x.limit, x.limit, x.is)
		}
	}
	if b.South > b.North {
		return errorf("south", "must not be above north (%v), is %v", b.North, b.South)
	}
	return nil
}

// Contains reports whether a valid p lies in the box or on its edge.
func (b Box) Contains(p Point) bool {
	if p.Lat < b.South || p.Lat > b.North {
		return false
	}
	if b.West <= b.East {
		return b.West <= p.Lng && p.Lng <= b.East
	}
	return p.Lng >= b.West || p.Lng <= b.East
}

// Outline is the area of a cell as polygons without holes for a map whose lines
// are straight in longitude and latitude: rings that are closed and run
// counterclockwise, one, or several where the cell is cut along the antimeridian
// (RFC 7946 §3.1.9). A cell with a pole in it reaches to the pole's parallel. Nil
// if the cell is not valid.
func (c Cell) Outline() [][]Point {
	border, err := h3.Cell(c).Boundary()
	if err != nil || len(border) == 0 {
		return nil
	}
	// Longitudes go on where they would jump.
	ring := make([]Point, len(border))
	for i, v := range border {
		ring[i] = Point(v)
		if i > 0 {
			ring[i].Lng = ring[i-1].Lng + math.Remainder(v.Lng-ring[i-1].Lng, 360)
		}
	}
	first, last := ring[0], ring[len(ring)-1]
	// Round a pole they end one turn from where they began: then go round until
	// they span the map, and back along the pole.
	if turn := last.Lng + math.Remainder(first.Lng-last.Lng, 360) - first.Lng; math.Abs(turn) > 180 {
		once := slices.Clone(ring)
		ring = ring[:0]
		for _, k := range []float64{-1, 0, 1} {
			for _, p := range once {
				ring = append(ring, Point{p.Lat, p.Lng + k*turn})
			}
		}
		pole := math.Copysign(90, first.Lat)
		ring = append(ring, Point{pole, ring[len(ring)-1].Lng}, Point{pole, ring[0].Lng})
		return [][]Point{closed(cutAt(cutAt(ring, -180, false), 180, true))}
	}
	west := slices.MinFunc(ring, byLng).Lng
	east := slices.MaxFunc(ring, byLng).Lng
	var out [][]Point
	for turn := math.Floor((west + 180) / 360); 360*turn-180 < east; turn++ {
		part := make([]Point, len(ring))
		for i, p := range ring {
			part[i] = Point{p.Lat, p.Lng - 360*turn}
		}
		part = cutAt(cutAt(part, -180, false), 180, true)
		if len(part) >= 3 && slices.MinFunc(part, byLng).Lng < slices.MaxFunc(part, byLng).Lng {
			out = append(out, closed(part))
		}
	}
	return out
}

func closed(ring []Point) []Point { return append(ring, ring[0]) }

func byLng(a, b Point) int { return cmp.Compare(a.Lng, b.Lng) }

// cutAt is the part of a ring on one side of a meridian (Sutherland and Hodgman).
func cutAt(ring []Point, lng float64, west bool) (out []Point) {
	kept := func(p Point) bool {
		if west {
			return p.Lng <= lng
		}
		return p.Lng >= lng
	}
	for i, p := range ring {
		before := ring[(i+len(ring)-1)%len(ring)]
		if kept(p) != kept(before) {
			t := (lng - before.Lng) / (p.Lng - before.Lng)
			if x := (Point{before.Lat + t*(p.Lat-before.Lat), lng}); x != p && x != before {
				out = append(out, x)
			}
		}
		if kept(p) {
			out = append(out, p)
		}
	}
	return out
}
