package gatewaybench

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/footfall-engage/footfall/geo"
)

// cities that the fences and the phones are in; with 100,000 fences a phone is in
// about one.
const cities = 300

// Fence is a geofence of the world.
type Fence struct {
	ID string
	geo.Circle
}

// Fences are n circles of 50 to 500 m, spread by 4 km about the centres of 300
// cities: the same for the same n, and those of a smaller n begin those of a larger.
func Fences(n int) []Fence {
	r := rand.New(rand.NewPCG(71, 72))
	towns := centres()
	out := make([]Fence, n)
	for i := range out {
		out[i] = Fence{
			ID:     fmt.Sprintf("bench-%06d", i),
			Circle: geo.Circle{Around: spread(r, towns[r.IntN(cities)]), RadiusM: 50 + 450*r.Float64()},
		}
	}
	return out
}

func centres() []geo.Point {
	r := rand.New(rand.NewPCG(73, 74))
	out := make([]geo.Point, cities)
	for i := range out {
		lat := math.Asin(2*r.Float64()-1) * (180 / math.Pi)
		out[i] = geo.Point{Lat: lat * 0.66, Lng: 360*r.Float64() - 180} // within 60 degrees
	}
	return out
}

// spread is a point about a city's centre: normal, 4 km each way.
func spread(r *rand.Rand, city geo.Point) geo.Point {
	return along(along(city, 0, 4000*r.NormFloat64()), math.Pi/2, 4000*r.NormFloat64())
}

// along is about m metres from p, on a sphere.
func along(p geo.Point, bearing, m float64) geo.Point {
	const rad = math.Pi / 180
	sinB, cosB := math.Sincos(bearing)
	sinLat, cosLat := math.Sincos(p.Lat * rad)
	sinD, cosD := math.Sincos(m / geo.EarthRadiusM)
	sin := max(-1, min(1, sinLat*cosD+cosLat*sinD*cosB))
	lng := p.Lng + math.Atan2(sinB*sinD*cosLat, cosD-sinLat*sin)/rad
	return geo.Point{Lat: math.Asin(sin) / rad, Lng: math.Remainder(lng, 360)}
}

// walkMPS is how fast phones walk.
const walkMPS = 1.4

// walker is where one phone is: it walks about a city, mostly straight on.
type walker struct {
	r       *rand.Rand
	at      geo.Point
	heading float64 // radians, clockwise from north
}

// walkers are the same for the same n.
func walkers(n int) []walker {
	towns := centres()
	out := make([]walker, n)
	for i := range out {
		r := rand.New(rand.NewPCG(75, uint64(i)))
		out[i] = walker{r: r, at: spread(r, towns[r.IntN(cities)]), heading: 2 * math.Pi * r.Float64()}
	}
	return out
}

// step goes on for so many seconds.
func (w *walker) step(seconds float64) {
	w.heading += w.r.NormFloat64() * math.Sqrt(seconds) / 4
	w.at = along(w.at, w.heading, walkMPS*seconds)
}
