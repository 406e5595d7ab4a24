package weathersim

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// Conditions are the weather at a position and a moment.
type Conditions struct {
	TemperatureC    float64
	HumidityPercent float64 // relative, 0 to 100
	WindMPS         float64
	CloudPercent    float64
	PrecipitationMM float64 // per hour; falls as snow below 0.5 °C, as sleet below 2 °C
	UV              float64 // index under a clear sky
	Fog             bool
	Thunder         bool // counts while something falls
}

// Sky is the weather over a town: fronts of rain that pass over it one after the
// other, before a background of season and time of day. It is a function of its
// fields, position and time alone: the same Sky gives the same weather.
type Sky struct {
	Seed uint64
	// Around is the middle of the town; fronts pass it about once per Period.
	Around geo.Point
	// Period from one front to the next; 0 means 2 h. It also scales how long a
	// front lasts: a third to a half of it.
	Period time.Duration
	// SpeedKMH at which the fronts move, so that one quarter gets wet before the
	// other; 0 means 30.
	SpeedKMH float64
}

// front is one band of rain.
type front struct {
	at      time.Time     // its middle passes Sky.Around
	half    time.Duration // half of how long it takes to pass a position
	east    float64       // direction in which it moves, a unit vector
	north   float64
	peakMM  float64 // per hour, in its middle
	thunder bool
}

func (s Sky) period() time.Duration {
	if s.Period <= 0 {
		return 2 * time.Hour
	}
	return s.Period
}

// front k passes within the k-th period since the Unix epoch.
func (s Sky) front(k int64) front {
	r := rand.New(rand.NewPCG(s.Seed, uint64(k))) //nolint:gosec // weather is no secret
	p := float64(s.period())
	direction := 2 * math.Pi * r.Float64()
	peak := 0.4 + 6*math.Pow(r.Float64(), 2)
	start := time.Unix(0, 0).Add(time.Duration(k) * s.period())
	return front{
		at:      start.Add(time.Duration(p * (0.4 + 0.2*r.Float64()))),
		half:    time.Duration(p * (1.0/6 + r.Float64()/12)),
		east:    math.Cos(direction),
		north:   math.Sin(direction),
		peakMM:  peak,
		thunder: peak > 4 && r.Float64() < 0.5,
	}
}

// At is the weather at a position and a time.
func (s Sky) At(lat, lng float64, at time.Time) Conditions {
	background := rand.New(rand.NewPCG(s.Seed, 0xf00d)) //nolint:gosec // weather is no secret
	hour := float64(at.UTC().Hour()) + float64(at.Minute())/60 + lng/15
	season := math.Cos(2 * math.Pi * (float64(at.UTC().YearDay()) - 200) / 365) // 1 in July
	if lat < 0 {
		season = -season
	}
	day := math.Cos(2 * math.Pi * (hour - 14) / 24) // 1 in the early afternoon
	c := Conditions{
		TemperatureC:    27 - 0.35*math.Abs(lat) + 9*season*math.Abs(lat)/50 + 4*day + 2*(background.Float64()-0.5),
		HumidityPercent: 62 - 12*day,
		WindMPS:         2 + 3*background.Float64(),
		CloudPercent:    20,
		UV:              max(0, (6+3*season)*math.Cos(2*math.Pi*(hour-12)/24)),
	}
	speed := s.SpeedKMH
	if speed <= 0 {
		speed = 30
	}
	const kmPerDegree = 111.2
	eastKM := (lng - s.Around.Lng) * kmPerDegree * math.Cos(s.Around.Lat*math.Pi/180)
	northKM := (lat - s.Around.Lat) * kmPerDegree
	k := int64(math.Floor(float64(at.UnixNano()) / float64(s.period())))
	for i := k - 2; i <= k+2; i++ { // neighbours: a front arrives earlier or later off the middle
		f := s.front(i)
		arrives := f.at.Add(time.Duration((eastKM*f.east + northKM*f.north) / speed * float64(time.Hour)))
		off := math.Abs(float64(at.Sub(arrives))) / float64(f.half)
		if off >= 1.5 {
			continue
		}
		c.CloudPercent = max(c.CloudPercent, min(100, 100*(2.2-off)/1.2)) // clouds come first
		if off >= 1 {
			continue
		}
		strength := math.Cos(off * math.Pi / 2)
		c.PrecipitationMM = max(c.PrecipitationMM, f.peakMM*strength)
		c.TemperatureC -= 4 * strength
		c.HumidityPercent = max(c.HumidityPercent, 65+30*strength)
		c.WindMPS += 4 * strength
		c.Thunder = c.Thunder || f.thunder && strength > 0.7
	}
	c.Fog = c.PrecipitationMM == 0 && c.WindMPS < 2.5 && day < -0.8
	return c
}

// symbol is MET Norway's code for the conditions: base, intensity, and day or
// night where the code knows them.
func (c Conditions) symbol(day bool) string {
	suffix := "_night"
	if day {
		suffix = "_day"
	}
	if c.PrecipitationMM >= 0.1 {
		kind := "rain"
		switch {
		case c.TemperatureC < 0.5:
			kind = "snow"
		case c.TemperatureC < 2:
			kind = "sleet"
		}
		switch {
		case c.PrecipitationMM < 0.5:
			kind = "light" + kind
		case c.PrecipitationMM >= 2.5:
			kind = "heavy" + kind
		}
		if c.Thunder {
			kind += "andthunder"
		}
		return kind
	}
	switch {
	case c.Fog:
		return "fog"
	case c.CloudPercent < 13:
		return "clearsky" + suffix
	case c.CloudPercent < 38:
		return "fair" + suffix
	case c.CloudPercent < 86:
		return "partlycloudy" + suffix
	}
	return "cloudy"
}
