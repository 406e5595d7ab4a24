package geo

// OutwardRing is the area within a distance of a shape, the shape included: within
// 300 m of the mall. Such a ring is what tells that somebody approaches.
//
// The margin is that of the shape less WithinM. Outside it is exact; inside it can
// say less than the way to the border, where the shape is concave or has a hole.
type OutwardRing struct {
	Of      Shape
	WithinM float64 // more than 0, up to MaxRadiusM
}

// Validate checks the shape and the distance: *Error of the shape's, or "radius".
func (r OutwardRing) Validate() error {
	if r.Of == nil {
		return errorf("", "is missing")
	}
	if err := r.Of.Validate(); err != nil {
		return err
	}
	if !(r.WithinM > 0 && r.WithinM <= MaxRadiusM) {
		return errorf("radius", "must be more than 0 and at most %d m, is %v", MaxRadiusM, r.WithinM)
	}
	return nil
}

// Contains implements Shape.
func (r OutwardRing) Contains(p Point) bool { return r.MarginM(p) <= 0 }

// MarginM implements Shape.
func (r OutwardRing) MarginM(p Point) float64 { return r.Of.MarginM(p) - r.WithinM }

// Center implements Shape.
func (r OutwardRing) Center() Point { return r.Of.Center() }

// BoundingRadiusM implements Shape.
func (r OutwardRing) BoundingRadiusM() float64 { return r.Of.BoundingRadiusM() + r.WithinM }
