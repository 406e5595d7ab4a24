package geo

import (
	"log/slog"
	"math"
)

// The WGS 84 ellipsoid (NIMA TR8350.2, table 3.1).
const (
	semiMajorM   = 6378137.0
	flattening   = 1 / 298.257223563
	eccentricity = flattening * (2 - flattening) // e², first eccentricity squared
)

// EarthRadiusM is the mean Earth radius (2a+b)/3 in metres for the WGS 84 axes
// (Moritz, Geodetic Reference System 1980, J. Geodesy 74, 2000).
const EarthRadiusM = 6371008.7714

// Point is a position: WGS 84, degrees. The zero value is a real place (in the
// Gulf of Guinea): absence is the caller's to express.
type Point struct {
	Lat float64 `json:"lat"` // -90 to 90, north is positive
	Lng float64 `json:"lng"` // -180 to 180, east is positive; both ends are the same meridian
}

// Validate refuses what is not a position on Earth, NaN and infinity included,
// with an *Error of "lat" or "lng".
func (p Point) Validate() error {
	switch {
	case !(p.Lat >= -90 && p.Lat <= 90):
		return errorf("lat", "must be -90 to 90, is %v", p.Lat)
	case !(p.Lng >= -180 && p.Lng <= 180):
		return errorf("lng", "must be -180 to 180, is %v", p.Lng)
	}
	return nil
}

// LogValue hides the position: where people are does not belong into logs.
func (p Point) LogValue() slog.Value { return slog.StringValue("redacted") }

// DistanceM is the distance of two points in metres: the chord between them
// through the WGS 84 ellipsoid, bent to an arc of the mean Earth radius. See the
// package's doc for its bound. It is symmetric and has no weak spot at the poles
// or the antimeridian. NaN if a point is invalid with NaN.
func DistanceM(a, b Point) float64 { return arcM(vecOf(a).chord(vecOf(b))) }

// vec is a point on the ellipsoid in Earth-centred coordinates, metres. Chords
// between vecs obey the triangle inequality exactly, which is what the proofs of
// the index stand on.
type vec struct{ x, y, z float64 }

func vecOf(p Point) vec {
	lng := p.Lng
	if lng == -180 {
		lng = 180 // the same meridian must give the same bits
	}
	sinLat, cosLat := math.Sincos(p.Lat * (math.Pi / 180))
	if p.Lat == 90 || p.Lat == -90 {
		cosLat = 0 // a pole has every longitude
	}
	sinLng, cosLng := math.Sincos(lng * (math.Pi / 180))
	n := semiMajorM / math.Sqrt(1-float64(eccentricity*float64(sinLat*sinLat)))
	return vec{
		x: float64(n*cosLat) * cosLng,
		y: float64(n*cosLat) * sinLng,
		z: float64(n*(1-eccentricity)) * sinLat,
	}
}

// chord2 is the squared chord. The conversions forbid fused multiply-add, so
// that every place where it is inlined gets the same bits.
func (a vec) chord2(b vec) float64 {
	dx, dy, dz := a.x-b.x, a.y-b.y, a.z-b.z
	return float64(dx*dx) + float64(dy*dy) + float64(dz*dz)
}

func (a vec) chord(b vec) float64 { return math.Sqrt(a.chord2(b)) }

// arcM is the arc over a chord, both in metres; chordM is its inverse up to half
// the circumference.
func arcM(chord float64) float64 {
	return 2 * EarthRadiusM * math.Asin(min(1, chord/(2*EarthRadiusM)))
}

func chordM(arc float64) float64 {
	return 2 * EarthRadiusM * math.Sin(min(math.Pi/2, arc/(2*EarthRadiusM)))
}
