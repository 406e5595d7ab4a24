package geo

import (
	"math"
	"math/big"
)

// orient is the side of c as seen from a towards b in the plane of longitude and
// latitude: 1 is left, -1 right, 0 on the line. It is exact: where rounding could
// change the sign (Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997,
// §4.2) it counts in fractions.
func orient(a, b, c Point) int {
	acLng, bcLng, acLat, bcLat := a.Lng-c.Lng, b.Lng-c.Lng, a.Lat-c.Lat, b.Lat-c.Lat
	if (acLng == 0 || bcLat == 0) && (acLat == 0 || bcLng == 0) {
		return 0 // a difference is 0 only between equals
	}
	// The conversions forbid fused multiply-add, for which the bound does not hold.
	left, right := float64(acLng*bcLat), float64(acLat*bcLng)
	det, sum := left-right, math.Abs(left)+math.Abs(right)
	if sum > 1e-290 && math.Abs(det) > 4e-16*sum {
		return sign(det)
	}
	rat := func(x, y float64) *big.Rat {
		r := new(big.Rat).SetFloat64(x)
		return r.Sub(r, new(big.Rat).SetFloat64(y))
	}
	l, r := rat(a.Lng, c.Lng), rat(a.Lat, c.Lat)
	l.Mul(l, rat(b.Lat, c.Lat))
	r.Mul(r, rat(b.Lng, c.Lng))
	return l.Cmp(r)
}

func sign(x float64) int {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// box in the plane of longitude and latitude, borders included.
type box struct{ west, east, south, north float64 }

func boxOf(a, b Point) box {
	return box{min(a.Lng, b.Lng), max(a.Lng, b.Lng), min(a.Lat, b.Lat), max(a.Lat, b.Lat)}
}

func (x box) with(y box) box {
	return box{min(x.west, y.west), max(x.east, y.east), min(x.south, y.south), max(x.north, y.north)}
}

func (x box) holds(p Point) bool {
	return p.Lng >= x.west && p.Lng <= x.east && p.Lat >= x.south && p.Lat <= x.north
}

func (x box) meets(y box) bool {
	return x.west <= y.east && y.west <= x.east && x.south <= y.north && y.south <= x.north
}
