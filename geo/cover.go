package geo

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
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
// descendants stick out; and never more than reachOf(r) = s(r)·(1/√7 + 1/7 + …), for
// whatever R. K's domain is the disc about its centre of that radius and a lap of
// 6 % of s(r) more. It holds every point whose ancestor K is, and those around it, so
// that who walks along a border need not change the cell with each step (Watch). The
// domains of K's descendants lie within it: their centres are no farther than
// reachOf(r) - reachOf(R), and their laps are smaller.
//
// A fence stands in every K of its level whose centre is no farther from the fence's
// than the fence's reach plus the domain: what is found in K's list is all of that
// level that a point of K's domain can be in. It stands there as inside if the domain
// is, and so is then any descendant of K. That is asked of MarginM at K's centre, with
// a tenth to spare for shapes whose margins are approximate.
//
// Levels are asked from the coarsest on. A finer one needs no look where K is not
// marked as deeper. Wherever a cell of a finer level has a list, its ancestor A at
// K's level is populated, and K is marked if its domain can meet the hexagon of a
// populated one: if the centres are no farther than reachOf(r) plus the domain.

const (
	spacing0        = 0.381966011250105 // of resolution 0 on the unit icosahedron's faces: H3's RES0_U_GNOMONIC
	maxCurvatureM   = semiMajorM / (1 - flattening)
	minCurvatureM   = semiMajorM * (1 - eccentricity)
	finestIndexed   = 12 // hexagons of about 10 m: no fence is smaller
	maxDistinctCell = 1 << 30
	lap             = 0.06
	crowded         = 64   // fences with their centres in a cell from which on they stand in finer ones
	inCrowd         = 1.35 // of the spacing: the largest fence that does
	laxM            = 0.02 // by how much cells' centers may differ between the lattices of two faces and the library
)

// coarse are the resolutions that serve circles of mixed sizes where there is no
// crowd: few, since each costs a lookup, and what they are too coarse for costs a
// comparison.
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

// reachOf is reachOf(r): 1/√7 + 1/7 + … is 1/(√7-1).
func reachOf(res int) float64 { return spacingM(res)/(math.Sqrt(7)-1) + slackM }

// domainM is the domain's radius, as a chord.
func domainM(res int) float64 { return domains[res] }

var domains = func() (d [finestIndexed + 1]float64) {
	for res := range d {
		d[res] = reachOf(res) + lap*spacingM(res)
	}
	return d
}()

// level is a resolution in use.
type level struct {
	res    int
	domain float64 // domainM

	// The units of the lists (index_table.go). What is rounded away is under one
	// unit a coordinate in the point and under half in the fence, and with laxM it is
	// under lax units in all.
	perM float64 // units in a metre
	lax  float64 // by how much more a fence reaches in its word, in units
	core int64   // by how much less it surely holds
}

// newLevel is one of fences with centers up to limit metres from the cells'.
func newLevel(res int, limit float64) level {
	l := level{res: res, domain: domainM(res), perM: unitsMax / limit}
	l.lax = 3 + math.Ceil(laxM*l.perM)
	l.core = int64(2*l.lax) + 1
	return l
}

// fits reports whether a circle of this bound stands in few cells of res: 3 to 7
// mostly.
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

// finer is the resolution for a shape that is no circle: the finest even one of a
// spacing of a sixth of the bound or more. So it stands in about 60 cells, mostly,
// many of which are inside: then a shape that may have thousands of corners needs no
// asking.
func finer(boundM float64) int {
	for res := finestIndexed; res > 0; res -= 2 {
		if spacingM(res) >= boundM/6 {
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

// center of the cell's ancestor, and whether it is found without the library.
func (s *spot) center(res int) (vec, bool) {
	if s.face != nil {
		if u, onFace := s.face.normal(s.way[res], res); onFace {
			return onEllipsoid(u), true
		}
	}
	return vec{}, false
}

// row is a cell of the table that is being built.
type row struct {
	cell Cell
	n    uint32
	at   uint32 // where its next fence goes
	mark uint32 // deeper and ownCenter
}

// placed is a fence in a cell.
type placed struct {
	row, fence uint32
	word       uint64
}

// builder of a part's table.
type builder struct {
	p       *part
	res     []int8 // of each fence
	levels  [finestIndexed + 1]level
	rows    []row
	table   []uint32 // open addressing over rows, whose numbers plus one it has
	shift   uint8    // of a hash, to index table
	own     map[uint32]vec
	all     []placed
	found   []found // a buffer
	library walker
}

// row of a cell; center, if it is not nil, must be kept for lookups.
func (b *builder) row(c Cell, center *vec) uint32 {
	if len(b.rows)*4 >= len(b.table)*3 {
		b.grow()
	}
	i := b.find(c)
	if b.table[i] == 0 {
		b.rows = append(b.rows, row{cell: c})
		b.table[i] = uint32(len(b.rows))
	}
	r := b.table[i] - 1
	if center != nil && b.rows[r].mark&ownCenter == 0 {
		if b.own == nil {
			b.own = map[uint32]vec{}
		}
		b.own[r] = *center
		b.rows[r].mark |= ownCenter
	}
	return r
}

func (b *builder) find(c Cell) int {
	for i := int(uint64(c) * 0x9e3779b97f4a7c15 >> b.shift); ; i = (i + 1) & (len(b.table) - 1) {
		if r := b.table[i]; r == 0 || b.rows[r-1].cell == c {
			return i
		}
	}
}

func (b *builder) grow() {
	size := max(16, 2*len(b.table))
	b.table = make([]uint32, size)
	b.shift = uint8(64 - bits.TrailingZeros(uint(size)))
	for r := range b.rows {
		b.table[b.find(b.rows[r].cell)] = uint32(r + 1)
	}
}

// chooseLevels says at which resolution each fence stands.
func (b *builder) chooseLevels() error {
	items := b.p.items
	b.res = make([]int8, len(items))
	for i := range items {
		if _, circle := items[i].Shape.(Circle); circle {
			b.res[i] = int8(levelFor(items[i].bound))
		} else {
			b.res[i] = int8(finer(items[i].bound))
		}
	}
	if len(items) < crowded {
		return nil
	}
	type home struct {
		cell Cell
		i    uint32
	}
	homes := make([]home, len(items)) // the cells of the centers
	for i := range items {
		it := &items[i]
		var s spot
		if err := s.find(it.Shape.Center(), it.center, finestIndexed); err != nil {
			return fmt.Errorf("cover fence %s: %w", it.ID, err)
		}
		homes[i] = home{s.cell, uint32(i)}
	}
	slices.SortFunc(homes, func(a, b home) int { return cmp.Compare(a.cell, b.cell) })
	for res := range finestIndexed {
		for from := 0; from < len(homes); {
			cell, to := homes[from].cell.Parent(res), from+1
			for to < len(homes) && homes[to].cell.Parent(res) == cell {
				to++
			}
			if to-from >= crowded {
				for _, h := range homes[from:to] {
					_, circle := items[h.i].Shape.(Circle)
					if circle && int(b.res[h.i]) == res && items[h.i].bound <= inCrowd*spacingM(res+1) {
						b.res[h.i]++
					}
				}
			}
			from = to
		}
	}
	return nil
}

// cover places fence i.
func (b *builder) cover(i int) error {
	it := &b.p.items[i]
	l := &b.levels[b.res[i]]
	return b.around(it.Shape.Center(), it.center, l.res, chordM(it.bound)+slackM+l.domain, func(c Cell, center vec, own *vec) {
		b.place(uint32(i), it, l, c, center, own)
	})
}

// around visits the cells of a resolution whose centers are within limit, a chord,
// of p, whose vec is v. What comes with a cell beside its center is nil where a
// lookup finds the center by itself.
func (b *builder) around(p Point, v vec, res int, limit float64, visit func(Cell, vec, *vec)) error {
	var ok bool
	if b.found, ok = byLattice(v, res, limit, b.found[:0]); ok {
		for i := range b.found {
			visit(b.found[i].cell, b.found[i].center, nil)
		}
		return nil
	}
	return b.library.around(p, v, res, limit, func(c Cell, center vec) { visit(c, center, &center) })
}

// found is a cell near a point.
type found struct {
	cell   Cell
	center vec
}

// byLattice appends to dst the cells around v if they and their domains all lie on
// one face, where every lookup finds their centers; else it says no.
func byLattice(v vec, res int, limit float64, dst []found) ([]found, bool) {
	g := grid()
	if len(g.faces) == 0 {
		return dst, false
	}
	u := normalOf(v).normalised()
	f := g.faceOf(u)
	// What is limit metres on the ellipsoid, in steps on the plane: the projection
	// stretches by the square of the cosine of the way from the middle.
	rad := (limit + domainM(res)) / minCurvatureM
	cos := u.dot(f.n) - rad
	if cos < 0.5 { // on a face it is 0.79 or more
		return dst, false
	}
	plane := rad / (cos * cos)
	x, y := u.dot(f.ex)/u.dot(f.n), u.dot(f.ey)/u.dot(f.n)
	if spacing0+x < plane || spacing0-x/2-sin60*y < plane || spacing0-x/2+sin60*y < plane {
		return dst, false
	}
	k := int32((limit/(minCurvatureM*cos*cos)*scales[res] + 0.58) / sin60)
	at := f.at(u, res)
	var w way
	for da := -k; da <= k; da++ {
		for db := max(-k, da-k); db <= min(k, da+k); db++ {
			a := axial{at.a + da, at.b + db}
			n, _ := f.normal(a, res)
			center := onEllipsoid(n)
			if center.chord2(v) > limit*limit {
				continue
			}
			c, ok := f.cell(a, res, &w)
			if !ok {
				return dst, false
			}
			dst = append(dst, found{c, center})
		}
	}
	return dst, true
}

// place fence i into a cell whose center is near enough.
func (b *builder) place(i uint32, it *item, l *level, c Cell, center vec, own *vec) {
	reach := chordM(it.bound)
	off := it.center.minus(center)
	inside, word := false, l.shapeWord(off, reach)
	if _, circle := it.Shape.(Circle); circle {
		r := reach - l.domain - laxM
		inside = r > 0 && off.dot(off) < r*r
	} else {
		spare := 1.1*arcM(l.domain) + 1
		m := it.Shape.MarginM(vecPoint(c, center))
		if m > spare {
			return
		}
		inside = m < -spare
		word |= askAlways
	}
	if inside && l.domain*l.perM < float64(unitsMax-2*l.core) {
		word = insideWord
	}
	r := b.row(c, own)
	b.rows[r].n++
	b.all = append(b.all, placed{row: r, fence: i, word: word})
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

// buildTable makes the part's table.
func (p *part) buildTable() error {
	b := builder{p: p}
	if err := b.chooseLevels(); err != nil {
		return err
	}
	var limit [finestIndexed + 1]float64
	for i, res := range b.res {
		limit[res] = max(limit[res], chordM(p.items[i].bound)+slackM+domainM(int(res)))
	}
	for res := range limit {
		if limit[res] > 0 {
			b.levels[res] = newLevel(res, limit[res])
			p.levels = append(p.levels, b.levels[res])
		}
	}
	b.all = make([]placed, 0, 4*len(p.items)) // circles without a crowd need no more
	for i := range p.items {
		if err := b.cover(i); err != nil {
			return fmt.Errorf("cover fence %s: %w", p.items[i].ID, err)
		}
	}
	if len(b.all) >= math.MaxUint32/4 {
		return errorf("fences", "cover too many cells: %d", len(b.all))
	}
	if err := b.markDeeper(); err != nil {
		return err
	}
	b.fill()
	return nil
}

// markDeeper marks the cells of coarser levels where finer ones need a look.
func (b *builder) markDeeper() error {
	var under []Cell // the cells of the finer level that have lists or are marked
	for l := len(b.p.levels) - 1; l > 0; l-- {
		under = under[:0]
		for i := range b.rows {
			if c := b.rows[i].cell; c.Resolution() == b.p.levels[l].res {
				under = append(under, c.Parent(b.p.levels[l-1].res))
			}
		}
		slices.Sort(under)
		under = slices.Compact(under)
		res := b.p.levels[l-1].res
		for _, c := range under {
			at := c.Center()
			err := b.around(at, vecOf(at), res, reachOf(res)+domainM(res)+laxM, func(c Cell, center vec, own *vec) {
				b.rows[b.row(c, own)].mark |= deeper
			})
			if err != nil {
				return fmt.Errorf("find the cells around %v: %w", c, err)
			}
		}
	}
	return nil
}

// fill lays out the lists, fences in their order, and hashes the cells.
func (b *builder) fill() {
	words := uint32(0)
	for i := range b.rows {
		r := &b.rows[i]
		r.at = words
		if r.n > 0 {
			if r.mark&ownCenter != 0 {
				words += 3
			}
			words += r.n + (r.n+1)/2
		} else {
			r.mark &^= ownCenter
		}
	}
	p := b.p
	p.words = make([]uint64, words)
	p.slots = make([]slot, len(b.rows)+len(b.rows)/4+1)
	for i := range b.rows {
		r := &b.rows[i]
		*p.slots.slot(r.cell) = slot{cell: r.cell, start: r.at, n: r.n | r.mark}
		if r.mark&ownCenter != 0 {
			c := b.own[uint32(i)]
			p.words[r.at], p.words[r.at+1], p.words[r.at+2] = math.Float64bits(c.x), math.Float64bits(c.y), math.Float64bits(c.z)
			r.at += 3
		}
		r.mark = 0 // from here on: how many fences are in the list
	}
	for i := range b.all {
		pl := &b.all[i]
		r := &b.rows[pl.row]
		p.words[r.at+r.mark] = pl.word
		p.words[r.at+r.n+r.mark/2] |= uint64(pl.fence) << (32 * (r.mark & 1))
		r.mark++
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
