package engage

import (
	"math"
	"slices"
	"time"
)

// WeatherHour is the forecast for one hour at a cell.
type WeatherHour struct {
	At            time.Time `json:"at"` // its beginning, UTC
	Condition     string    `json:"condition"`
	TemperatureC  float64   `json:"temperature_c"`
	FeelsLikeC    float64   `json:"feels_like_c"`
	Precipitation float64   `json:"precipitation_mm,omitempty"` // within the hour
	WindMPS       float64   `json:"wind_mps,omitempty"`
	UV            float64   `json:"uv,omitempty"` // 0 also means not given
}

// WeatherRecord is the body of a KindWeather entry: the weather at a cell for about now,
// and the hours to come. One that an earlier build wrote has no hours.
type WeatherRecord struct {
	Weather
	// Hours ascend from the one that Weather is of, at most MaxWeatherHours. They are kept
	// beside the weather and not within, so that no trigger carries them.
	Hours []WeatherHour `json:"hours,omitempty"`
}

// OutlookHours are the spans of the next hours that may be asked about.
var OutlookHours = [...]int{1, 3, 6, 12}

// MaxWeatherHours are kept of a forecast: the longest span, for as long as a forecast is
// served after it was fetched, as a rule.
const MaxWeatherHours = 16

// Outlook is what a forecast says of the next hours together.
type Outlook struct {
	Hours       int      `json:"hours"`
	Condition   string   `json:"condition"`  // the gravest of them, by conditionsByGravity
	Conditions  []string `json:"conditions"` // all, in order of time, each once
	MinC        float64  `json:"temperature_min_c"`
	MaxC        float64  `json:"temperature_max_c"`
	FeelsMinC   float64  `json:"feels_like_min_c"`
	FeelsMaxC   float64  `json:"feels_like_max_c"`
	PrecipitMM  float64  `json:"precipitation_mm"` // the sum
	WindMaxMPS  float64  `json:"wind_mps"`         // the strongest
	UVMax       float64  `json:"uv"`               // the highest
	FirstWetInH int      `json:"wet_in_h"`         // in which of the hours something falls first, from 1; 0: in none
}

// conditionsByGravity are the values of Weather.Condition, the gravest last.
var conditionsByGravity = []string{"clear", "partly_cloudy", "cloudy", "fog", "rain", "sleet", "snow", "thunder"}

// wetFrom is where in conditionsByGravity something falls.
const wetFrom = 4

// OutlookOf sums up the n hours that begin after now, the first of them within an hour.
// False means that not all of them are known: a part is no forecast of the whole.
func OutlookOf(hours []WeatherHour, now time.Time, n int) (Outlook, bool) {
	end := now.Add(time.Duration(n) * time.Hour)
	o := Outlook{Hours: n}
	gravest, known := -1, 0
	for i := range hours {
		h := &hours[i]
		if !h.At.After(now) || h.At.After(end) {
			continue
		}
		if known++; known == 1 {
			o.MinC, o.MaxC, o.FeelsMinC, o.FeelsMaxC = h.TemperatureC, h.TemperatureC, h.FeelsLikeC, h.FeelsLikeC
		}
		o.MinC, o.MaxC = min(o.MinC, h.TemperatureC), max(o.MaxC, h.TemperatureC)
		o.FeelsMinC, o.FeelsMaxC = min(o.FeelsMinC, h.FeelsLikeC), max(o.FeelsMaxC, h.FeelsLikeC)
		o.PrecipitMM += h.Precipitation
		o.WindMaxMPS, o.UVMax = max(o.WindMaxMPS, h.WindMPS), max(o.UVMax, h.UV)
		if !slices.Contains(o.Conditions, h.Condition) {
			o.Conditions = append(o.Conditions, h.Condition)
		}
		grave := slices.Index(conditionsByGravity, h.Condition)
		if grave > gravest || o.Condition == "" {
			gravest, o.Condition = grave, h.Condition
		}
		if grave >= wetFrom && o.FirstWetInH == 0 {
			o.FirstWetInH = known
		}
	}
	o.PrecipitMM = math.Round(o.PrecipitMM*100) / 100 // sums of tenths are not tenths
	return o, known == n
}

// Fields are what rules and texts see of it.
func (o *Outlook) Fields() map[string]any {
	return map[string]any{
		"condition": o.Condition, "conditions": o.Conditions,
		"temperature_min_c": o.MinC, "temperature_max_c": o.MaxC, "feels_like_min_c": o.FeelsMinC, "feels_like_max_c": o.FeelsMaxC,
		"precipitation_mm": o.PrecipitMM, "wind_mps": o.WindMaxMPS, "uv": o.UVMax, "wet_in_h": o.FirstWetInH,
	}
}
