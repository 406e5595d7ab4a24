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
// descendants stick out. A fence is put into every K whose centre is no farther
// from the fence's than the fence's reach plus spread: overlap in the sense of
// the hierarchy, which is what a lookup by parents needs.
//
// These K are found by walking from neighbour to neighbour from the cell of the
// fence's centre. That reaches all of them: the hexagons along the straight way
// to any point of the fence are neighbours and within reach + s(r)/√3, and the
// hierarchy's K of that point is its hexagon or a neighbour of it.

const (
	spacing0        = 0.381966011250105 // of resolution 0 on the unit icosahedron's faces: H3's RES0_U_GNOMONIC
	maxCurvatureM   = semiMajorM / (1 - flattening)
	finestIndexed   = 12 // hexagons of about 10 m: no fence is smaller
	maxDistinctCell = 1 << 30
)

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

// levelFor is the resolution that suits a fence of this bound: the finest whose
// spacing is not below it, which gives 4 to 9 cells a fence.
func levelFor(boundM float64) int {
	r := 0
	for r < finestIndexed && spacingM(r+1) >= boundM {
		r++
	}
	return r
}

// walked is a cell that the builder met.
type walked struct {
	cell       Cell
	center     vec
	neighbours [6]int32 // into builder.cells; filled when first walked through
	known      int8     // how many neighbours, -1 before
	stamp      int32    // the last fence that met it
	n          uint32   // how many fences reach into it
}

// builder shares what it learns of cells among the fences of a town.
type builder struct {
	cells []walked
	at    map[Cell]int32
}

func (b *builder) cell(c Cell) (int32, error) {
	if i, ok := b.at[c]; ok {
		return i, nil
	}
	if len(b.cells) == maxDistinctCell {
		return 0, errorf("fences", "cover more than %d cells", maxDistinctCell)
	}
	i := int32(len(b.cells))
	b.cells = append(b.cells, walked{cell: c, center: vecOf(c.Center()), known: -1, stamp: -1})
	b.at[c] = i
	return i, nil
}

// neighboursOf returns the up to six cells around cell i.
func (b *builder) neighboursOf(i int32) ([]int32, error) {
	if b.cells[i].known < 0 {
		disk, err := h3.GridDisk(h3.Cell(b.cells[i].cell), 1)
		if err != nil {
			return nil, fmt.Errorf("find neighbours of cell %v: %w", b.cells[i].cell, err)
		}
		known := 0
		for _, c := range disk {
			if Cell(c) == b.cells[i].cell {
				continue
			}
			j, err := b.cell(Cell(c))
			if err != nil {
				return nil, err
			}
			b.cells[i].neighbours[known] = j
			known++
		}
		b.cells[i].known = int8(known)
	}
	w := &b.cells[i]
	return w.neighbours[:w.known:w.known], nil
}

// cover appends the cells of a fence to dst.
func (b *builder) cover(dst []int32, fence int32, it *item, res, finest int) ([]int32, error) {
	origin, err := CellOf(it.Shape.Center(), res)
	if err != nil {
		return nil, err
	}
	first, err := b.cell(origin)
	if err != nil {
		return nil, err
	}
	limit := math.Sqrt(it.reach2) + spreadM(res, finest)
	next := len(dst)
	b.cells[first].stamp = fence
	dst = append(dst, first)
	for ; next < len(dst); next++ {
		around, err := b.neighboursOf(dst[next])
		if err != nil {
			return nil, err
		}
		for _, j := range around {
			w := &b.cells[j]
			if w.stamp == fence {
				continue
			}
			w.stamp = fence
			if w.center.chord2(it.center) <= limit*limit {
				dst = append(dst, j)
			}
		}
	}
	return dst, nil
}

func (x *Index) buildTable() error {
	if len(x.items) == 0 {
		return nil
	}
	used := [finestIndexed + 1]bool{}
	for i := range x.items {
		used[levelFor(x.items[i].bound)] = true
	}
	for res, u := range slices.Backward(used[:]) {
		if u {
			x.levels = append(x.levels, res)
		}
	}
	finest := x.levels[0]
	b := builder{at: make(map[Cell]int32)}
	var all []int32 // the cells of fence 0, of fence 1, …
	ends := make([]int, len(x.items))
	for i := range x.items {
		start := len(all)
		var err error
		if all, err = b.cover(all, int32(i), &x.items[i], levelFor(x.items[i].bound), finest); err != nil {
			return fmt.Errorf("cover fence %s: %w", x.items[i].ID, err)
		}
		for _, c := range all[start:] {
			b.cells[c].n++
		}
		ends[i] = len(all)
	}
	if len(all) > math.MaxUint32 {
		return errorf("fences", "cover too many cells: %d", len(all))
	}
	x.fill(b.cells, all, ends)
	return nil
}

// fill sorts the covers by cell, keeping the order of the fences, and hashes the
// cells.
func (x *Index) fill(cells []walked, all []int32, ends []int) {
	distinct := 0
	at := make([]uint32, len(cells)) // where the next fence of a cell goes
	sum := uint32(0)
	for i := range cells {
		at[i] = sum
		sum += cells[i].n
		if cells[i].n > 0 {
			distinct++
		}
	}
	x.slots = make([]slot, distinct+distinct/2+1)
	for i := range cells {
		if cells[i].n == 0 {
			continue
		}
		h := x.home(cells[i].cell)
		for x.slots[h].n != 0 {
			h = x.next(h)
		}
		x.slots[h] = slot{cell: cells[i].cell, start: at[i], n: cells[i].n}
	}
	x.entries = make([]uint32, len(all))
	start := 0
	for fence, end := range ends {
		for _, c := range all[start:end] {
			x.entries[at[c]] = uint32(fence)
			at[c]++
		}
		start = end
	}
}
