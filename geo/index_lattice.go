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
// needed. Around the icosahedron's corners are the 12 base cells that have a pentagon
// in the middle, for which the library turns digits by what the first that is not 0
// is: so this is learnt for each first digit.
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
	bits Cell // its index without digits
	// turns says how often 60° is added to the digits of this face, by the first of
	// them that is not 0. One more: where it says 0 the library is asked.
	turns [8]uint8
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

func (a vec) dot(b vec) float64 { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vec) plus(b vec) vec    { return vec{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vec) minus(b vec) vec   { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) by(f float64) vec  { return vec{a.x * f, a.y * f, a.z * f} }
func (a vec) normalised() vec   { return a.by(1 / math.Sqrt(a.dot(a))) }
func (a vec) cross(b vec) vec   { return vec{a.y*b.z - a.z*b.y, a.z*b.x - a.x*b.z, a.x*b.y - a.y*b.x} }

func (f *face) holds(u vec) bool { return f.deep(u.dot(f.ex)/u.dot(f.n), u.dot(f.ey)/u.dot(f.n)) >= 0 }

// deep is how far from the sides of the face's triangle a point of the plane lies,
// negative outside. The sides are one lattice step of resolution 0 from the middle.
func (f *face) deep(x, y float64) float64 {
	return spacing0 - max(-x, x/2+sin60*y, x/2-sin60*y)
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
	x, y := f.plane(at, res)
	return f.n.plus(f.ex.by(x)).plus(f.ey.by(y)), f.deep(x, y) >= 0
}

// plane are the lattice point's coordinates along ex and ey.
func (f *face) plane(at axial, res int) (x, y float64) {
	x, y = float64(at.a)-float64(at.b)/2, sin60*float64(at.b)
	if res&1 == 1 {
		x, y = x*turnCos-y*turnSin, y*turnCos+x*turnSin
	}
	s := 1 / scales[res]
	return x * s, y * s
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
	lead := Cell(0)
	for r := res; r > 0; r-- {
		var d Cell
		at, d = at.up(r)
		w[r-1], digits[r] = at, d
		if d != 0 {
			lead = d
		}
	}
	if at.a < -2 || at.a > 2 || at.b < -2 || at.b > 2 {
		return 0, false
	}
	b := &f.base[at.a+2][at.b+2]
	turns := b.turns[lead&7]
	if turns == 0 {
		return 0, false
	}
	turn := &turned[turns-1]
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
	examples := l.faces[0].examples()
	for i := range l.faces {
		for at, s := range examples {
			l.faces[i].learn(at, s)
		}
	}
	return l
}

// example is a lattice point of exampleRes on a face, and how far it is from the sides.
type example struct {
	at   axial
	deep float64
}

// exampleRes is fine enough for the slivers of base cells that lie beyond a side.
const exampleRes = 5

// examples finds a point for each base cell that reaches into a face and each digit
// that comes first there. By symmetry the same points serve all faces.
func (f *face) examples() map[[3]int32]example {
	all := map[[3]int32]example{}
	const size = 260 // the sides are 7^2.5 steps from the middle, the corners twice as many
	for a := int32(-size); a <= size; a++ {
		for b := int32(-size); b <= size; b++ {
			at := axial{a, b}
			x, y := f.plane(at, exampleRes)
			deep := f.deep(x, y)
			if deep < spacing0*1e-6 {
				continue
			}
			var lead Cell
			for r := exampleRes; r > 0; r-- {
				var d Cell
				if at, d = at.up(r); d != 0 {
					lead = d
				}
			}
			k := [3]int32{at.a, at.b, int32(lead)}
			if s, ok := all[k]; !ok || deep > s.deep {
				all[k] = example{axial{a, b}, deep}
			}
		}
	}
	return all
}

// learn asks the library for an example's cell: what the base cell is, and how its
// digits are turned.
func (f *face) learn(at [3]int32, s example) {
	if at[0] < -2 || at[0] > 2 || at[1] < -2 || at[1] > 2 {
		return
	}
	u, _ := f.normal(s.at, exampleRes)
	u = u.normalised()
	c, err := CellOf(Point{Lat: math.Asin(u.z) * (180 / math.Pi), Lng: math.Atan2(u.y, u.x) * (180 / math.Pi)}, exampleRes)
	if err != nil {
		return
	}
	b := &f.base[at[0]+2][at[1]+2]
	b.bits = c &^ (15<<resolutionShift | (1<<45 - 1))
	for n := range turned {
		same, p := true, s.at
		for r := exampleRes; r > 0; r-- {
			var d Cell
			p, d = p.up(r)
			same = same && turned[n][d] == c>>(digitBits*(MaxResolution-r))&7
		}
		if same {
			b.turns[at[2]] = uint8(n + 1)
			b.turns[0] = 1 // only zeros: nothing to turn
			return
		}
	}
}
