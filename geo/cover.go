package geo

import (
	"fmt"
	"math"
	"slices"

	"github.com/uber/h3-go/v4"
)

// How the table's cells are chosen, and why no point is missed.
//
// H3 lays a lattice of hexagons on the faces of an icosahedron and maps it to
// the sphere by the gnomonic projection, which never lengthens: a way of length
// s on the (unit) faces is at most s on the unit sphere. It takes latitude and
// longitude as those of a sphere; carrying them over to WGS 84 stretches by at
// most a²/b, the polar radius of curvature. Lattice neighbours of resolution r
// are spacing0/√7^r apart. So, in metres and as chords, with s(r) = a²/b · spacing0/√7^r:
//
//   - a point is at most s(r)/√3 from the centre of its cell (a hexagon's corner);
//   - a cell's centre is 0 or s(r) from that of its parent of resolution r-1.
//
// A point whose cell of resolution R has the ancestor K of resolution r is thus
// at most
//
//	spread(r, R) = s(R)/√3 + s(r+1) + … + s(R)
//
// from the centre of K: about 5 % more than the hexagon's own corner, since
// descendants stick out. K's domain is the disc about its centre of that radius
// and a lap of 6 % of s(r) more. It holds every point whose ancestor K is, and
// those around it, so that who walks along a border need not change the cell with
// each step (Watch).
//
// A fence stands in every K whose centre is no farther from the fence's than the
// fence's reach plus the domain: what is found in K's list is all that a point of
// K's domain can be in. It stands there as inside if the domain is, and so is then
// any descendant of K. That is asked of MarginM at K's centre, with a tenth to
// spare for shapes whose margins are approximate.

const (
	spacing0        = 0.381966011250105 // of resolution 0 on the unit icosahedron's faces: H3's RES0_U_GNOMONIC
	maxCurvatureM   = semiMajorM / (1 - flattening)
	minCurvatureM   = semiMajorM * (1 - eccentricity)
	finestIndexed   = 12 // hexagons of about 10 m: no fence is smaller
	maxDistinctCell = 1 << 30
	lap             = 0.06
	crowded         = 64  // fences in a cell from which on they stand in finer ones
	fineCells       = 512 // at most, for a shape that is not a circle
)

// coarse are the resolutions that serve fences of mixed sizes: few, since each
// costs a lookup, and what they are too coarse for costs a comparison.
var coarse = [...]int{0, 2, 5, 8, 11}

// spacingM is s(r).
func spacingM(res int) float64 {
	return maxCurvatureM * spacing0 * math.Pow(7, -float64(res)/2)
}

// spreadM is spread(res, finest).
func spreadM(res, finest int) float64 {
	d := spacingM(finest) / math.Sqrt(3)
	for r := res + 1; r <= finest; r++ {
		d += spacingM(r)
	}
	return d + slackM
}

// level is a resolution in use.
type level struct {
	res    int
	domain float64 // its radius, as a chord
	lax    float64 // by how much an entry's float32s may be wrong
}

func newLevel(res, finest int) level {
	s := spacingM(res)
	return level{res: res, domain: spreadM(res, finest) + lap*s, lax: 10*slackM + 1e-6*s}
}

// fits reports whether a fence of this bound stands in few cells of res: 7 at
// most.
func fits(boundM float64, res int) bool { return spacingM(res) >= 2*boundM }

// levelFor is the resolution that suits a fence of this bound where there is no
// crowd: the finest of coarse that fits, else 0.
func levelFor(boundM float64) int {
	for _, res := range slices.Backward(coarse[:]) {
		if fits(boundM, res) {
			return res
		}
	}
	return 0
}

// spot is where a point stands in the grid.
type spot struct {
	cell Cell
	face *face // nil where the library was asked
	way  way
}

// find the spot of a valid point, whose vec is v.
func (s *spot) find(p Point, v vec, res int) error {
	if g := grid(); len(g.faces) > 0 {
		u := normalOf(v)
		s.face = g.faceOf(u)
		if c, ok := s.face.cell(s.face.at(u, res), res, &s.way); ok {
			s.cell = c
			return nil
		}
	}
	s.face = nil
	var err error
	s.cell, err = CellOf(p, res)
	return err
}

// center of the cell's ancestor.
func (s *spot) center(res int) vec {
	if s.face != nil {
		if u, onFace := s.face.normal(s.way[res], res); onFace {
			return onEllipsoid(u)
		}
	}
	return vecOf(s.cell.Parent(res).Center())
}

// placed is a fence in a cell.
type placed struct {
	cell Cell
	entry
}

// builder of a part's table.
type builder struct {
	p       *part
	res     []int8 // of each fence
	levels  [finestIndexed + 1]level
	all     []placed // of fence 0, of fence 1, …
	library walker
}

// chooseLevels says at which resolution each fence stands.
func (b *builder) chooseLevels() error {
	items := b.p.items
	b.res = make([]int8, len(items))
	own := make([]Cell, len(items)) // the cell of its center
	for i := range items {
		it := &items[i]
		res := levelFor(it.bound)
		if _, circle := it.Shape.(Circle); !circle {
			res = finer(it.bound, res)
		}
		b.res[i] = int8(res)
		if len(items) <= crowded {
			continue
		}
		var s spot
		if err := s.find(it.Shape.Center(), it.center, res); err != nil {
			return fmt.Errorf("cover fence %s: %w", it.ID, err)
		}
		own[i] = s.cell
	}
	if len(items) <= crowded {
		return nil
	}
	sorted := slices.Clone(own)
	slices.Sort(sorted)
	for i := range items {
		n, _ := slices.BinarySearch(sorted, own[i])
		if n += crowded; n >= len(sorted) || sorted[n] != own[i] {
			continue
		}
		for res := int(b.res[i]) + 1; res <= finestIndexed && fits(items[i].bound, res); res++ {
			b.res[i] = int8(res)
		}
	}
	return nil
}

// finer is the next of coarse after res, if a shape of this bound stands in no
// more than fineCells there: most of them are then inside, and inside needs no
// asking of a shape that may have thousands of corners.
func finer(boundM float64, res int) int {
	i := slices.Index(coarse[:], res) + 1
	if i == len(coarse) {
		return res
	}
	s := spacingM(coarse[i])
	if d := boundM/s + 1; math.Pi*d*d/sin60 > fineCells {
		return res
	}
	return coarse[i]
}

// cover places fence i.
func (b *builder) cover(i int) error {
	it := &b.p.items[i]
	l := &b.levels[b.res[i]]
	limit := chordM(it.bound) + slackM + l.domain
	if b.byLattice(uint32(i), it, l, limit) {
		return nil
	}
	return b.library.around(it.Shape.Center(), it.center, l.res, limit, func(c Cell, center vec) {
		b.place(uint32(i), it, l, c, center)
	})
}

// byLattice places a fence whose surroundings lie on one face; else it says no.
func (b *builder) byLattice(i uint32, it *item, l *level, limit float64) bool {
	g := grid()
	if len(g.faces) == 0 {
		return false
	}
	u := normalOf(it.center).normalised()
	f := g.faceOf(u)
	// What is limit metres on the ellipsoid, in steps on the plane: the projection
	// stretches by the square of the cosine of the way from the middle.
	rad := limit / minCurvatureM
	cos := u.dot(f.n) - rad
	if cos < 0.5 { // on a face it is 0.79 or more
		return false
	}
	plane := rad / (cos * cos)
	x, y := u.dot(f.ex)/u.dot(f.n), u.dot(f.ey)/u.dot(f.n)
	if spacing0+x < plane || spacing0-x/2-sin60*y < plane || spacing0-x/2+sin60*y < plane {
		return false
	}
	k := int32((plane*scales[l.res] + 0.58) / sin60)
	at := f.at(u, l.res)
	mark := len(b.all)
	var w way
	for da := -k; da <= k; da++ {
		for db := max(-k, da-k); db <= min(k, da+k); db++ {
			a := axial{at.a + da, at.b + db}
			n, _ := f.normal(a, l.res)
			center := onEllipsoid(n)
			if center.chord2(it.center) > limit*limit {
				continue
			}
			c, ok := f.cell(a, l.res, &w)
			if !ok {
				b.all = b.all[:mark]
				return false
			}
			b.place(i, it, l, c, center)
		}
	}
	return true
}

// place fence i into a cell whose center is near enough.
func (b *builder) place(i uint32, it *item, l *level, c Cell, center vec) {
	reach := chordM(it.bound)
	off := it.center.minus(center)
	e := entry{x: float32(off.x), y: float32(off.y), z: float32(off.z), reach: float32(reach + l.lax), fence: i}
	if _, circle := it.Shape.(Circle); circle {
		e.fence |= isCircle
		if off.dot(off) < squared(reach-l.domain-l.lax) && reach > l.domain+l.lax {
			e.fence |= allInside
		}
	} else {
		spare := 1.1*arcM(l.domain) + 1
		switch m := it.Shape.MarginM(vecPoint(c, center)); {
		case m > spare:
			return
		case m < -spare:
			e.fence |= allInside
		}
	}
	b.all = append(b.all, placed{c, e})
}

func squared(v float64) float64 { return v * v }

// vecPoint is the cell's center as a point; its vec is center.
func vecPoint(c Cell, center vec) Point {
	u := normalOf(center).normalised()
	if math.Abs(u.z) > 0.9 { // where the arcsine loses digits
		return c.Center()
	}
	return Point{Lat: math.Asin(u.z) * (180 / math.Pi), Lng: math.Atan2(u.y, u.x) * (180 / math.Pi)}
}

// build makes the part's table.
func (p *part) build() error {
	if len(p.items) == 0 {
		return nil
	}
	b := builder{p: p}
	if err := b.chooseLevels(); err != nil {
		return err
	}
	used := [finestIndexed + 1]bool{}
	for _, r := range b.res {
		used[r] = true
	}
	for res, u := range slices.Backward(used[:]) {
		if u {
			if len(p.levels) == 0 {
				b.levels[res] = newLevel(res, res)
			} else {
				b.levels[res] = newLevel(res, p.levels[0].res)
			}
			p.levels = append(p.levels, b.levels[res])
		}
	}
	for i := range p.items {
		if err := b.cover(i); err != nil {
			return fmt.Errorf("cover fence %s: %w", p.items[i].ID, err)
		}
	}
	if len(b.all) >= math.MaxUint32 {
		return errorf("fences", "cover too many cells: %d", len(b.all))
	}
	p.fill(b.all)
	return nil
}

// fill sorts what was placed by cell, keeping the order of the fences, and hashes
// the cells.
func (p *part) fill(all []placed) {
	cells := table(make([]slot, len(all)+len(all)/3+1))
	distinct := 0
	for i := range all {
		s := cells.slot(all[i].cell)
		if s.n == 0 {
			s.cell = all[i].cell
			distinct++
		}
		s.n++
	}
	p.slots = make([]slot, distinct+distinct/4+1)
	sum := uint32(0)
	for i := range cells {
		if cells[i].n > 0 {
			*p.slots.slot(cells[i].cell) = slot{cell: cells[i].cell, start: sum, n: cells[i].n}
			sum += cells[i].n
			cells[i].start = sum - cells[i].n // where the cell's next fence goes
		}
	}
	p.entries = make([]entry, len(all))
	for i := range all {
		s := cells.slot(all[i].cell)
		p.entries[s.start] = all[i].entry
		s.start++
	}
}

// walked is a cell that the walker met.
type walked struct {
	cell       Cell
	center     vec
	neighbours [6]int32 // into walker.cells; filled when first walked through
	known      int8     // how many neighbours, -1 before
	stamp      int32    // the last walk that met it
}

// walker finds the cells around a point where the lattice of one face does not
// suffice, going from neighbour to neighbour by the library. It shares what it
// learns among walks.
type walker struct {
	cells []walked
	at    map[Cell]int32
	walks int32
	queue []int32
}

func (w *walker) cell(c Cell) (int32, error) {
	if i, ok := w.at[c]; ok {
		return i, nil
	}
	if w.at == nil {
		w.at = map[Cell]int32{}
	}
	if len(w.cells) == maxDistinctCell {
		return 0, errorf("fences", "cover more than %d cells", maxDistinctCell)
	}
	i := int32(len(w.cells))
	w.cells = append(w.cells, walked{cell: c, center: vecOf(c.Center()), known: -1})
	w.at[c] = i
	return i, nil
}

// neighboursOf returns the up to six cells around cell i.
func (w *walker) neighboursOf(i int32) ([]int32, error) {
	if w.cells[i].known < 0 {
		disk, err := h3.GridDisk(h3.Cell(w.cells[i].cell), 1)
		if err != nil {
			return nil, fmt.Errorf("find neighbours of cell %v: %w", w.cells[i].cell, err)
		}
		known := 0
		for _, c := range disk {
			if Cell(c) == w.cells[i].cell {
				continue
			}
			j, err := w.cell(Cell(c))
			if err != nil {
				return nil, err
			}
			w.cells[i].neighbours[known] = j
			known++
		}
		w.cells[i].known = int8(known)
	}
	c := &w.cells[i]
	return c.neighbours[:c.known:c.known], nil
}

// around visits the cells of a resolution whose centers are within limit, a
// chord, of p, whose vec is v. It walks through cells one spacing farther: the
// hexagons along the straight way to any of them are neighbours and nearer than
// that.
func (w *walker) around(p Point, v vec, res int, limit float64, visit func(Cell, vec)) error {
	origin, err := CellOf(p, res)
	if err != nil {
		return err
	}
	first, err := w.cell(origin)
	if err != nil {
		return err
	}
	w.walks++
	w.cells[first].stamp = w.walks
	w.queue = append(w.queue[:0], first)
	through := limit + spacingM(res)
	for next := 0; next < len(w.queue); next++ {
		at := &w.cells[w.queue[next]]
		if at.center.chord2(v) <= limit*limit {
			visit(at.cell, at.center)
		}
		near, err := w.neighboursOf(w.queue[next])
		if err != nil {
			return err
		}
		for _, j := range near {
			c := &w.cells[j]
			if c.stamp == w.walks {
				continue
			}
			c.stamp = w.walks
			if c.center.chord2(v) <= through*through {
				w.queue = append(w.queue, j)
			}
		}
	}
	return nil
}
