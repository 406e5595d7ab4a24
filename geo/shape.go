package geo

// Shape is an area on the Earth: Circle, *Polygon, *CellSet, or an OutwardRing of
// one of them. Distances are those of DistanceM. A Shape must be comparable.
//
// Contract, on which Index relies: Contains(p) is MarginM(p) <= 0, so that the
// border counts as inside, and for every p
//
//	MarginM(p) >= DistanceM(p, Center()) - BoundingRadiusM()
//
// And no point of the other side is nearer than 10/11 of (|MarginM(p)| - 1 m): a
// margin may be too small in size, but never much too large, for Index takes from it
// that a whole cell is on one side.
type Shape interface {
	// Validate refuses a shape that cannot be a fence, with an *Error. The other
	// methods mean nothing for an invalid shape.
	Validate() error
	// Contains reports whether p is inside or on the border.
	Contains(p Point) bool
	// MarginM is the signed distance of p to the border in metres: negative
	// inside, positive outside.
	MarginM(p Point) float64
	// Center is the middle of a circle that holds the whole shape.
	Center() Point
	// BoundingRadiusM is the radius of that circle in metres.
	BoundingRadiusM() float64
}

// Radii of circles, in metres: below the first a phone cannot tell inside from
// outside, above the second it is a region and no place.
const (
	MinRadiusM = 10
	MaxRadiusM = 100_000
)

// Circle is the area within RadiusM of a point.
type Circle struct {
	Around  Point
	RadiusM float64 // MinRadiusM to MaxRadiusM
}

// Validate checks the ranges: *Error of "lat", "lng" or "radius".
func (c Circle) Validate() error {
	if err := c.Around.Validate(); err != nil {
		return err
	}
	if !(c.RadiusM >= MinRadiusM && c.RadiusM <= MaxRadiusM) {
		return errorf("radius", "must be %d to %d m, is %v", MinRadiusM, MaxRadiusM, c.RadiusM)
	}
	return nil
}

// Contains implements Shape.
func (c Circle) Contains(p Point) bool { return c.MarginM(p) <= 0 }

// MarginM implements Shape.
func (c Circle) MarginM(p Point) float64 { return DistanceM(c.Around, p) - c.RadiusM }

// Center implements Shape.
func (c Circle) Center() Point { return c.Around }

// BoundingRadiusM implements Shape.
func (c Circle) BoundingRadiusM() float64 { return c.RadiusM }
