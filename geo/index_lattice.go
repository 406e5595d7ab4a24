package geo

import (
	"math"
	"sync"

	"github.com/uber/h3-go/v4"
)

// H3's grid in Go, for the index alone: a call of the library costs half a
// microsecond and two allocations, this costs neither.
//
// The grid is a hexagonal lattice on each face of an icosahedron, finer by √7
// and turned by asin √(3/28) with every resolution, mapped to the sphere by the
// gnomonic projection (https://h3geo.org/docs/core-library/geoToH3desc). A cell's
// index is its way down from one of 122 base cells, a digit per resolution, in
// the frame of the base cell's own face. Where the icosahedron lies and how the
// frames are turned against each other is learnt from the library when first
// needed. What is rare and intricate is left to it: the 12 base cells around the
// icosahedron's corners, all of them at sea, which have a pentagon in the middle,
// and the slivers of those that reach over from a neighbouring face.
//
// A point on the border of two cells, to within rounding, may get the other one
// than from CellOf. The index minds that no more than a millimetre.

// axial are coordinates in a face's lattice: a along the axis to the face's
// first corner, b along the one turned by 120° from it.
type axial struct{ a, b int32 }

// face of the icosahedron: its middle and the directions of the lattice's plane,
// all of length one, and its lattice points of resolution 0.
type face struct {
	n, ex, ey vec
	base      [5][5]baseCell // by a+2, b+2
}

// baseCell is what a lattice point of resolution 0 is.
type baseCell struct {
	bits  Cell // its index without digits
	turns int8 // how often 60° is added to a digit of this face
	known bool // else the library is asked
}

// lattice is empty if the library failed to answer, which then is asked always.
type lattice struct{ faces []face }

var grid = sync.OnceValue(newLattice)

// turned says what becomes of a digit that is turned by 60°, n times: the digits
// are the directions K, J, JK, I, IK, IJ as 1 to 6.
var turned = [6][8]Cell{
	{0, 1, 2, 3, 4, 5, 6},
	{0, 5, 3, 1, 6, 4, 2},
	{0, 4, 1, 5, 2, 6, 3},
	{0, 6, 5, 4, 3, 2, 1},
	{0, 2, 4, 6, 1, 3, 5},
	{0, 3, 6, 2, 5, 1, 4},
}

// digitOf a step in the lattice, by 3·a+b+4.
var digitOf = [9]Cell{1, 3, 0, 5, 0, 2, 0, 4, 6}

// scales are 1/spacing of the lattices on a face's plane; the cosine and sine
// are those of the odd resolutions' turn.
var scales = func() (s [MaxResolution + 1]float64) {
	for r := range s {
		s[r] = math.Pow(7, float64(r)/2) / spacing0
	}
	return s
}()

const (
	turnCos = 0.944911182523068067862 // √(25/28)
	turnSin = 0.327326835353988640    // √(3/28)
	sin60   = 0.866025403784438646763
)

// normalOf scales a vec into H3's sphere, which takes latitudes as spherical.
// The length is of no matter.
func normalOf(v vec) vec { return vec{v.x, v.y, v.z * (1 / (1 - eccentricity))} }

// onEllipsoid is the vec whose normal is u.
func onEllipsoid(u vec) vec {
	n := semiMajorM / math.Sqrt(u.dot(u)-eccentricity*u.z*u.z)
	return vec{n * u.x, n * u.y, n * (1 - eccentricity) * u.z}
}

func (a vec) dot(b vec) float64  { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vec) plus(b vec) vec     { return vec{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vec) minus(b vec) vec    { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) by(f float64) vec   { return vec{a.x * f, a.y * f, a.z * f} }
func (a vec) normalised() vec    { return a.by(1 / math.Sqrt(a.dot(a))) }
func (a vec) cross(b vec) vec    { return vec{a.y*b.z - a.z*b.y, a.z*b.x - a.x*b.z, a.x*b.y - a.y*b.x} }
func (f *face) holds(u vec) bool { return f.inside(u.dot(f.ex)/u.dot(f.n), u.dot(f.ey)/u.dot(f.n)) }

// inside reports whether a point of the plane lies in the face's triangle, whose
// sides are one lattice step of resolution 0 from the middle.
func (f *face) inside(x, y float64) bool {
	return -x <= spacing0 && x/2+sin60*y <= spacing0 && x/2-sin60*y <= spacing0
}

// faceOf a point on the sphere is the one whose middle is nearest.
func (l *lattice) faceOf(u vec) *face {
	best, most := &l.faces[0], u.dot(l.faces[0].n)
	for i := 1; i < len(l.faces); i++ {
		f := &l.faces[i]
		if d := u.x*f.n.x + u.y*f.n.y + u.z*f.n.z; d > most {
			best, most = f, d
		}
	}
	return best
}

// at is the lattice point of a resolution nearest to u, which lies on the face.
func (f *face) at(u vec, res int) axial {
	s := scales[res] / u.dot(f.n)
	x, y := u.dot(f.ex)*s, u.dot(f.ey)*s
	if res&1 == 1 {
		x, y = x*turnCos+y*turnSin, y*turnCos-x*turnSin
	}
	b := y / sin60
	a := x + b/2
	fa, fb := math.Floor(a), math.Floor(b)
	a, b = a-fa, b-fb
	// The nearest of the rhombus's four corners: its short diagonal joins (0,0)
	// and (1,1).
	var da, db float64
	best := a*a - a*b + b*b
	if d := (1-a)*(1-a) - (1-a)*(1-b) + (1-b)*(1-b); d < best {
		best, da, db = d, 1, 1
	}
	if d := (1-a)*(1-a) + (1-a)*b + b*b; d < best {
		best, da, db = d, 1, 0
	}
	if d := a*a + a*(1-b) + (1-b)*(1-b); d < best {
		da, db = 0, 1
	}
	return axial{int32(fa + da), int32(fb + db)}
}

// normal of the lattice point, and whether it lies on the face: beyond it, the
// lattice goes on in the plane of another face.
func (f *face) normal(at axial, res int) (u vec, onFace bool) {
	x, y := float64(at.a)-float64(at.b)/2, sin60*float64(at.b)
	if res&1 == 1 {
		x, y = x*turnCos-y*turnSin, y*turnCos+x*turnSin
	}
	s := 1 / scales[res]
	x, y = x*s, y*s
	return f.n.plus(f.ex.by(x)).plus(f.ey.by(y)), f.inside(x, y)
}

// sevenths rounds n/7.
func sevenths(n int32) int32 {
	const away = 1 << 31 / 7 // keeps the dividend positive, where division rounds down
	return int32(uint32(int64(n)+3+7*away)/7) - away
}

// up is the lattice point's parent, of resolution res-1, and the digit of the
// step between them.
func (p axial) up(res int) (parent axial, digit Cell) {
	var mid axial
	if res&1 == 1 {
		parent = axial{sevenths(3*p.a - p.b), sevenths(p.a + 2*p.b)}
		mid = axial{2*parent.a + parent.b, 3*parent.b - parent.a}
	} else {
		parent = axial{sevenths(2*p.a + p.b), sevenths(3*p.b - p.a)}
		mid = axial{3*parent.a - parent.b, parent.a + 2*parent.b}
	}
	return parent, digitOf[3*(p.a-mid.a)+p.b-mid.b+4]
}

// way is where a point stands in the lattices of one face, by resolution.
type way [MaxResolution + 1]axial

// cell is the H3 cell of a lattice point, and the points above it. It is false
// where the library must be asked.
func (f *face) cell(at axial, res int, w *way) (Cell, bool) {
	var digits [MaxResolution + 1]Cell
	w[res] = at
	for r := res; r > 0; r-- {
		at, digits[r] = at.up(r)
		w[r-1] = at
	}
	if at.a < -2 || at.a > 2 || at.b < -2 || at.b > 2 {
		return 0, false
	}
	b := &f.base[at.a+2][at.b+2]
	if !b.known {
		return 0, false
	}
	turn := &turned[b.turns]
	c := b.bits | Cell(res)<<resolutionShift
	for r := 1; r <= res; r++ {
		c |= turn[digits[r]&7] << (digitBits * (MaxResolution - r))
	}
	return c | (Cell(1)<<(digitBits*(MaxResolution-res)) - 1), true
}

// newLattice learns the grid's frames.
func newLattice() *lattice {
	pentagons, err := h3.Pentagons(0)
	if err != nil {
		return &lattice{}
	}
	var corners []vec
	for _, c := range pentagons {
		corners = append(corners, normalOf(vecOf(Cell(c).Center())).normalised())
	}
	beside := func(a, b vec) bool { return a.dot(b) > 0.4 } // a side spans 63.4°
	l := &lattice{}
	for i, a := range corners {
		for j, b := range corners[:i] {
			for _, c := range corners[:j] {
				if !beside(a, b) || !beside(b, c) || !beside(a, c) {
					continue
				}
				n := a.plus(b).plus(c).normalised()
				ex := a.minus(n.by(a.dot(n))).normalised()
				l.faces = append(l.faces, face{n: n, ex: ex, ey: n.cross(ex)})
			}
		}
	}
	for i := range l.faces {
		l.faces[i].learn()
	}
	return l
}

// learn asks the library for the children of the face's points of resolution 0.
func (f *face) learn() {
	for a := int32(-2); a <= 2; a++ {
		for b := int32(-2); b <= 2; b++ {
			// The point of resolution 1 in the middle, and those around it.
			mid := axial{2*a + b, 3*b - a}
			for _, step := range []axial{{1, 0}, {0, 1}, {1, 1}, {-1, -1}, {0, -1}, {-1, 0}} {
				child := axial{mid.a + step.a, mid.b + step.b}
				u, onFace := f.normal(child, 1)
				if !onFace {
					continue
				}
				u = u.normalised()
				c, err := CellOf(Point{Lat: math.Asin(u.z) * (180 / math.Pi), Lng: math.Atan2(u.y, u.x) * (180 / math.Pi)}, 1)
				if err != nil || h3.Cell(c.Parent(0)).IsPentagon() {
					break
				}
				_, digit := child.up(1)
				got := c >> (digitBits * (MaxResolution - 1)) & 7
				for n := range turned {
					if turned[n][digit] == got {
						f.base[a+2][b+2] = baseCell{bits: c &^ (15<<resolutionShift | (1<<45 - 1)), turns: int8(n), known: true}
					}
				}
				break
			}
		}
	}
}
