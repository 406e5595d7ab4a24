// Package weather knows the weather of a cell about now. It asks a provider
// (MetNorway) per H3 cell of resolution 5, never per person: a provider sees
// the centre of some 250 km² and learns nothing of anybody.
//
// Service is the door: a cache per cell with one request at a time for each,
// that serves a forecast past its freshness while the provider is down, and
// says so. weathersim is a provider to test and demonstrate with.
package weather

import (
	"math"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// The values of engage.Weather.Condition.
const (
	Clear        = "clear" // at most a few clouds
	PartlyCloudy = "partly_cloudy"
	Cloudy       = "cloudy"
	Fog          = "fog"
	Rain         = "rain"
	Sleet        = "sleet"
	Snow         = "snow"
	Thunder      = "thunder" // with rain, sleet or snow
)

// Forecast is what a provider said of one cell, hour by hour. It is never
// changed once made: a renewal is another Forecast that may share its Hours.
type Forecast struct {
	Hours []Hour // ascending, without doubles; beginning with the hour under way or the next

	// ModelAt is when the provider made the forecast; zero means it did not say.
	ModelAt time.Time
	// FetchedAt is when the provider last confirmed it, by our clock.
	FetchedAt time.Time
	// Expires is when the provider may be asked again, by our clock.
	Expires time.Time
	// Validator is what the provider wants to see again to answer "unchanged";
	// empty means it cannot.
	Validator string
	// Deprecated: the provider is about to withdraw the product we ask for.
	Deprecated bool

	Provider    string
	Attribution string // what the licence wants shown beside it
}

// Hour is the forecast for one hour.
type Hour struct {
	At              time.Time // its beginning, UTC
	Condition       string
	Day             bool // the sun is up in the middle of the hour
	TemperatureC    float64
	FeelsLikeC      float64
	PrecipitationMM float64 // within the hour
	WindMPS         float64
	UV              float64 // index under a clear sky; 0 also means not given
}

// At is the weather that the forecast holds for now: of the hour under way, or
// of the next where the forecast begins with that. False means that it holds
// neither. Cell, FreshUntil and FetchedAt are set by Service.
func (f *Forecast) At(now time.Time) (engage.Weather, bool) {
	var hour *Hour
	for i := range f.Hours {
		if f.Hours[i].At.After(now) {
			if i == 0 && f.Hours[i].At.Sub(now) <= time.Hour {
				hour = &f.Hours[i]
			}
			break
		}
		hour = &f.Hours[i]
	}
	if hour == nil || !now.Before(hour.At.Add(time.Hour)) {
		return engage.Weather{}, false
	}
	return engage.Weather{
		At:            hour.At,
		Kind:          "forecast",
		Condition:     hour.Condition,
		TemperatureC:  hour.TemperatureC,
		FeelsLikeC:    hour.FeelsLikeC,
		Precipitation: hour.PrecipitationMM,
		WindMPS:       hour.WindMPS,
		UV:            hour.UV,
		Day:           hour.Day,
		Provider:      f.Provider,
		Attribution:   f.Attribution,
	}, true
}

// From are the hours of the forecast from one on, at most engage.MaxWeatherHours.
func (f *Forecast) From(at time.Time) []engage.WeatherHour {
	out := make([]engage.WeatherHour, 0, engage.MaxWeatherHours)
	for i := range f.Hours {
		h := &f.Hours[i]
		if h.At.Before(at) {
			continue
		}
		if len(out) == engage.MaxWeatherHours {
			break
		}
		out = append(out, engage.WeatherHour{
			At: h.At, Condition: h.Condition, TemperatureC: h.TemperatureC, FeelsLikeC: h.FeelsLikeC,
			Precipitation: h.PrecipitationMM, WindMPS: h.WindMPS, UV: h.UV,
		})
	}
	return out
}

// FeelsLike is the apparent temperature in the shade, °C to one decimal, for a
// temperature in °C, a relative humidity in % and a wind in m/s at 10 m height:
// AT = T + 0.33 e - 0.70 v - 4.00 with the vapour pressure
// e = RH/100 · 6.105 · exp(17.27 T / (237.7 + T)) hPa (R. G. Steadman, Norms of
// apparent temperature in Australia, Aust. Met. Mag. 43, 1994, without
// radiation; used by the Australian Bureau of Meteorology). One formula for
// heat and cold, so that a rule over it has no step between a wind chill and a
// heat index.
func FeelsLike(temperatureC, humidityPercent, windMPS float64) float64 {
	e := humidityPercent / 100 * 6.105 * math.Exp(17.27*temperatureC/(237.7+temperatureC))
	at := temperatureC + 0.33*e - 0.70*windMPS - 4.00
	return math.Round(at*10) / 10
}

// sunIsUp reports whether the upper edge of the sun is above the horizon at sea
// level: elevation of its centre above -0.833° (refraction and radius). The
// position is the low-precision formula of the Astronomical Almanac (page C5),
// good to 0.01° between 1950 and 2050.
func sunIsUp(p geo.Point, at time.Time) bool {
	const rad = math.Pi / 180
	j2000 := time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC)
	n := at.Sub(j2000).Hours() / 24
	meanLng := 280.460 + 0.9856474*n
	anomaly := (357.528 + 0.9856003*n) * rad
	lambda := (meanLng + 1.915*math.Sin(anomaly) + 0.020*math.Sin(2*anomaly)) * rad
	obliquity := (23.439 - 0.0000004*n) * rad
	ascension := math.Atan2(math.Cos(obliquity)*math.Sin(lambda), math.Cos(lambda))
	declination := math.Asin(math.Sin(obliquity) * math.Sin(lambda))
	hourAngle := (280.46061837+360.98564736629*n+p.Lng)*rad - ascension
	sin := math.Sin(p.Lat*rad)*math.Sin(declination) +
		math.Cos(p.Lat*rad)*math.Cos(declination)*math.Cos(hourAngle)
	return math.Asin(sin)/rad > -0.833
}
