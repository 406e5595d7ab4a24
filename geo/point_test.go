package geo

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// geodesicM is the length of the WGS 84 geodesic by Vincenty's inverse formula
// (Survey Review 23/176, 1975): the yardstick, exact to less than a millimetre
// away from antipodes.
func geodesicM(p, q Point) float64 {
	const (
		a = semiMajorM
		f = flattening
		b = a * (1 - f)
	)
	rad := math.Pi / 180
	l := (q.Lng - p.Lng) * rad
	sinU1, cosU1 := math.Sincos(math.Atan((1 - f) * math.Tan(p.Lat*rad)))
	sinU2, cosU2 := math.Sincos(math.Atan((1 - f) * math.Tan(q.Lat*rad)))
	lambda := l
	for range 200 {
		sinL, cosL := math.Sincos(lambda)
		sinS := math.Hypot(cosU2*sinL, cosU1*sinU2-sinU1*cosU2*cosL)
		if sinS == 0 {
			return 0
		}
		cosS := sinU1*sinU2 + cosU1*cosU2*cosL
		sigma := math.Atan2(sinS, cosS)
		sinA := cosU1 * cosU2 * sinL / sinS
		cos2A := 1 - sinA*sinA
		cos2M := 0.0
		if cos2A > 1e-15 {
			cos2M = cosS - 2*sinU1*sinU2/cos2A
		}
		c := f / 16 * cos2A * (4 + f*(4-3*cos2A))
		was := lambda
		lambda = l + (1-c)*f*sinA*(sigma+c*sinS*(cos2M+c*cosS*(2*cos2M*cos2M-1)))
		if math.Abs(lambda-was) < 1e-13 {
			u2 := cos2A * (a*a - b*b) / (b * b)
			k := 1 + u2/16384*(4096+u2*(-768+u2*(320-175*u2)))
			m := u2 / 1024 * (256 + u2*(-128+u2*(74-47*u2)))
			d := m * sinS * (cos2M + m/4*(cosS*(2*cos2M*cos2M-1)-m/6*cos2M*(4*sinS*sinS-3)*(4*cos2M*cos2M-3)))
			return b * k * (sigma - d)
		}
	}
	return math.NaN()
}

// offset is the point about dist metres from p towards the bearing (radians), on
// a sphere: the caller checks the distance that it needs.
func offset(p Point, bearing, dist float64) Point {
	rad := math.Pi / 180
	d := dist / EarthRadiusM
	sinB, cosB := math.Sincos(bearing)
	sinLat, cosLat := math.Sincos(p.Lat * rad)
	sinD, cosD := math.Sincos(d)
	lat := math.Asin(max(-1, min(1, sinLat*cosD+cosLat*sinD*cosB)))
	lng := p.Lng + math.Atan2(sinB*sinD*cosLat, cosD-sinLat*math.Sin(lat))/rad
	if lng > 180 {
		lng -= 360
	}
	if lng < -180 {
		lng += 360
	}
	return Point{Lat: max(-90, min(90, lat/rad)), Lng: max(-180, min(180, lng))}
}

// anywhere is evenly distributed over the sphere.
func anywhere(r *rand.Rand) Point {
	return Point{Lat: math.Asin(2*r.Float64()-1) * 180 / math.Pi, Lng: 360*r.Float64() - 180}
}

func TestDistanceAgreesWithTheGeodesic(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	// The doc's bounds, by distance.
	bands := []struct{ upTo, bound float64 }{{10_000, 1e-8}, {100_000, 2e-7}, {1_000_000, 2e-5}, {5_000_000, 6e-4}}
	for _, band := range bands {
		worst := 0.0
		for range 20_000 {
			p := anywhere(r)
			switch r.IntN(4) {
			case 0:
				p.Lat = 89.9 + 0.1*r.Float64()
			case 1:
				p.Lat = 0
			}
			q := offset(p, 2*math.Pi*r.Float64(), band.upTo*math.Pow(r.Float64(), 2))
			want := geodesicM(p, q)
			if math.IsNaN(want) || want < 1 {
				continue
			}
			got := DistanceM(p, q)
			// Vincenty itself is good to about a tenth of a millimetre.
			if e := max(0, math.Abs(got-want)-1e-4) / want; e > worst {
				worst = e
			}
			if got != DistanceM(q, p) {
				t.Fatalf("distance %v to %v is not symmetric", p, q)
			}
		}
		t.Logf("up to %7.0f m: relative error %.1e", band.upTo, worst)
		if worst > band.bound {
			t.Errorf("up to %v m: relative error %.2e, want at most %.0e", band.upTo, worst, band.bound)
		}
	}
}

func TestDistanceOfKnownPairs(t *testing.T) {
	for _, c := range []struct {
		name   string
		a, b   Point
		want   float64
		within float64
	}{
		{"same point", Point{52.52, 13.405}, Point{52.52, 13.405}, 0, 0},
		{"antimeridian is one line", Point{10, 180}, Point{10, -180}, 0, 0},
		{"a pole has every longitude", Point{90, 0}, Point{90, 137}, 0, 0},
		{"across the antimeridian", Point{0, 179.9995}, Point{0, -179.9995}, 111.3195, 0.001}, // a·π/180·0.001
		{"one second of latitude at the equator", Point{0, 0}, Point{1.0 / 3600, 0}, 30.7151, 0.001},
		{"Flinders Peak to Buninyon", Point{-37.95103341666667, 144.42486788888888}, Point{-37.65282113888889, 143.92649552777777}, 54972.271, 0.02}, // GDA94 technical manual, §4
	} {
		if got := DistanceM(c.a, c.b); math.Abs(got-c.want) > c.within {
			t.Errorf("%s: %v m, want %v", c.name, got, c.want)
		}
	}
	if d := DistanceM(Point{0, 0}, Point{0, 180}); !(d > 19.9e6 && d < 20.1e6) {
		t.Errorf("antipodes: %v m, want half the circumference", d)
	}
}

func TestPointsThatAreNoneAreRefused(t *testing.T) {
	for _, c := range []struct {
		p    Point
		want string
	}{
		{Point{91, 0}, "lat must be -90 to 90, is 91"},
		{Point{-90.0001, 0}, "lat must be -90 to 90, is -90.0001"},
		{Point{math.NaN(), 0}, "lat must be -90 to 90, is NaN"},
		{Point{0, math.Inf(1)}, "lng must be -180 to 180, is +Inf"},
		{Point{0, -180.5}, "lng must be -180 to 180, is -180.5"},
	} {
		err := c.p.Validate()
		if _, ok := errors.AsType[*Error](err); !ok || err.Error() != c.want {
			t.Errorf("%v: %v, want %s", c.p, err, c.want)
		}
	}
	for _, p := range []Point{{}, {90, 180}, {-90, -180}} {
		if err := p.Validate(); err != nil {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func TestPositionsAreNotLogged(t *testing.T) {
	p := Point{Lat: 52.5219, Lng: 13.4132}
	fine, err := CellOf(p, 9)
	if err != nil {
		t.Fatal(err)
	}
	coarse := fine.Parent(5)
	var b bytes.Buffer
	// Without the time, whose seconds can read like a latitude.
	noTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	slog.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{ReplaceAttr: noTime})).Info("fix", "pos", p, "fine", fine, "weather_cell", coarse)
	for _, s := range []string{"52.5", "13.4", fine.String()} {
		if strings.Contains(b.String(), s) {
			t.Errorf("%s is logged: %s", s, b.String())
		}
	}
	if !strings.Contains(b.String(), coarse.String()) {
		t.Errorf("the weather cell is not logged: %s", b.String())
	}
}

func TestPointAsJSON(t *testing.T) {
	b, err := json.Marshal(Point{Lat: 1.5, Lng: -2})
	if err != nil || string(b) != `{"lat":1.5,"lng":-2}` {
		t.Errorf("%s, %v", b, err)
	}
}
