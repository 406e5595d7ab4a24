package lab

import (
	"math"

	"github.com/footfall-engage/footfall/geo"
)

// vec is a position in the town's own plane, metres: x along its streets, y
// along its avenues.
type vec struct{ x, y float64 }

func (a vec) add(b vec) vec            { return vec{a.x + b.x, a.y + b.y} }
func (a vec) sub(b vec) vec            { return vec{a.x - b.x, a.y - b.y} }
func (a vec) times(f float64) vec      { return vec{a.x * f, a.y * f} }
func (a vec) length() float64          { return math.Hypot(a.x, a.y) }
func (a vec) distance(b vec) float64   { return a.sub(b).length() }
func (a vec) mix(b vec, f float64) vec { return a.add(b.sub(a).times(f)) }

// plane maps the town to the Earth: a tangent plane at the centre, turned so
// that streets need not run east. Within 10 km it is off by less than 0.2 %.
type plane struct {
	center     geo.Point
	mLat, mLng float64 // metres in a degree at the centre
	sin, cos   float64 // of the turn
}

func newPlane(center geo.Point, turnDeg float64) plane {
	// Series for the WGS 84 ellipsoid (Snyder, Map Projections, USGS 1395, 1987).
	phi := center.Lat * math.Pi / 180
	sin, cos := math.Sincos(turnDeg * math.Pi / 180)
	return plane{
		center: center,
		mLat:   111132.954 - 559.822*math.Cos(2*phi) + 1.175*math.Cos(4*phi),
		mLng:   111412.84*math.Cos(phi) - 93.5*math.Cos(3*phi) + 0.118*math.Cos(5*phi),
		sin:    sin, cos: cos,
	}
}

func (p plane) point(v vec) geo.Point {
	east, north := v.x*p.cos-v.y*p.sin, v.x*p.sin+v.y*p.cos
	lng := p.center.Lng + east/p.mLng
	switch {
	case lng > 180:
		lng -= 360
	case lng < -180:
		lng += 360
	}
	return geo.Point{Lat: p.center.Lat + north/p.mLat, Lng: lng}
}

// vec is the inverse of point.
func (p plane) vec(g geo.Point) vec {
	lng := g.Lng - p.center.Lng
	switch {
	case lng > 180:
		lng -= 360
	case lng < -180:
		lng += 360
	}
	east, north := lng*p.mLng, (g.Lat-p.center.Lat)*p.mLat
	return vec{east*p.cos + north*p.sin, -east*p.sin + north*p.cos}
}

// bearingDeg of a direction in the plane: 0 to 360, clockwise from true north.
func (p plane) bearingDeg(d vec) float64 {
	east, north := d.x*p.cos-d.y*p.sin, d.x*p.sin+d.y*p.cos
	deg := math.Atan2(east, north) * 180 / math.Pi
	if deg < 0 {
		deg += 360
	}
	return deg
}
