package weather

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// keepHours is how far ahead a forecast is kept: an answer may be valid for a
// day and is served some hours longer while the provider is down.
const keepHours = 30

// The parts of locationforecast/2.0 that we read, the same in `complete` and in
// `compact` (https://api.met.no/doc/locationforecast/datamodel). Pointers tell
// what is missing from what is zero.
type metDoc struct {
	Properties *struct {
		Meta struct {
			UpdatedAt string            `json:"updated_at"`
			Units     map[string]string `json:"units"`
		} `json:"meta"`
		Timeseries []metEntry `json:"timeseries"`
	} `json:"properties"`
}

type metEntry struct {
	Time string `json:"time"`
	Data struct {
		Instant struct {
			Details struct {
				AirTemperature   *float64 `json:"air_temperature"`
				RelativeHumidity *float64 `json:"relative_humidity"`
				WindSpeed        *float64 `json:"wind_speed"`
				UV               *float64 `json:"ultraviolet_index_clear_sky"`
			} `json:"details"`
		} `json:"instant"`
		Next1Hours *struct {
			Summary struct {
				SymbolCode string `json:"symbol_code"`
			} `json:"summary"`
			Details struct {
				PrecipitationAmount *float64 `json:"precipitation_amount"`
			} `json:"details"`
		} `json:"next_1_hours"`
	} `json:"data"`
}

var metUnits = map[string]string{
	"air_temperature":             "celsius",
	"relative_humidity":           "%",
	"wind_speed":                  "m/s",
	"precipitation_amount":        "mm",
	"ultraviolet_index_clear_sky": "1",
}

// parseMet reads an answer of locationforecast/2.0 for the place p: the hours
// from the one under way at now on, and when the model ran. Entries without a
// next hour (the far end, in steps of six hours) are left out. The error is an
// engage.Error with the field's path; one bad value in an hour that would be
// kept refuses the answer, since it says that we misunderstand the provider.
func parseMet(body []byte, p geo.Point, now time.Time) ([]Hour, time.Time, error) {
	var doc metDoc
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, time.Time{}, &engage.Error{Code: engage.Invalid, Msg: "the answer is not JSON of the expected shape", Err: err}
	}
	if doc.Properties == nil {
		return nil, time.Time{}, engage.Errorf(engage.Invalid, "properties", "is missing")
	}
	for name, want := range metUnits {
		if got, ok := doc.Properties.Meta.Units[name]; ok && got != want {
			return nil, time.Time{}, engage.Errorf(engage.Invalid, "properties.meta.units."+name, "must be %q, is %.40q", want, got)
		}
	}
	modelAt, err := parseMetTime("properties.meta.updated_at", doc.Properties.Meta.UpdatedAt)
	if err != nil {
		return nil, time.Time{}, err
	}
	var hours []Hour
	var last time.Time
	for i := range doc.Properties.Timeseries {
		e, field := &doc.Properties.Timeseries[i], fmt.Sprintf("properties.timeseries[%d]", i)
		at, err := parseMetTime(field+".time", e.Time)
		switch {
		case err != nil:
			return nil, time.Time{}, err
		case i > 0 && !at.After(last):
			return nil, time.Time{}, engage.Errorf(engage.Invalid, field+".time", "must be after the one before")
		}
		last = at
		if at.Sub(now) > keepHours*time.Hour {
			break
		}
		if now.Sub(at) >= time.Hour || e.Data.Next1Hours == nil {
			continue
		}
		hour, err := e.hour(p, at)
		if err != nil {
			return nil, time.Time{}, engage.At(field, err)
		}
		hours = append(hours, hour)
	}
	return hours, modelAt, nil
}

func parseMetTime(field, s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1990 || t.Year() > 2200 {
		return time.Time{}, engage.Errorf(engage.Invalid, field, "must be a time of RFC 3339, is %.40q", s)
	}
	return t.UTC(), nil
}

func (e *metEntry) hour(p geo.Point, at time.Time) (Hour, error) {
	// Bounds are beyond what was ever measured on Earth (WMO archive of extremes).
	instant, next := &e.Data.Instant.Details, e.Data.Next1Hours
	for _, v := range []struct {
		field    string
		value    *float64
		min, max float64
		optional bool
	}{
		{"data.instant.details.air_temperature", instant.AirTemperature, -100, 70, false},
		{"data.instant.details.relative_humidity", instant.RelativeHumidity, 0, 110, false},
		{"data.instant.details.wind_speed", instant.WindSpeed, 0, 150, false},
		{"data.instant.details.ultraviolet_index_clear_sky", instant.UV, 0, 50, true},
		{"data.next_1_hours.details.precipitation_amount", next.Details.PrecipitationAmount, 0, 500, false},
	} {
		switch {
		case v.value == nil && v.optional:
		case v.value == nil:
			return Hour{}, engage.Errorf(engage.Invalid, v.field, "is missing")
		case !(*v.value >= v.min && *v.value <= v.max):
			return Hour{}, engage.Errorf(engage.Invalid, v.field, "must be %v to %v, is %v", v.min, v.max, *v.value)
		}
	}
	condition, day, told, ok := parseSymbol(next.Summary.SymbolCode)
	if !ok {
		return Hour{}, engage.Errorf(engage.Invalid, "data.next_1_hours.summary.symbol_code", "is not a known symbol: %.60q", next.Summary.SymbolCode)
	}
	if !told {
		day = sunIsUp(p, at.Add(30*time.Minute))
	}
	h := Hour{
		At:              at,
		Condition:       condition,
		Day:             day,
		TemperatureC:    *instant.AirTemperature,
		FeelsLikeC:      FeelsLike(*instant.AirTemperature, *instant.RelativeHumidity, *instant.WindSpeed),
		PrecipitationMM: *next.Details.PrecipitationAmount,
		WindMPS:         *instant.WindSpeed,
	}
	if instant.UV != nil {
		h.UV = *instant.UV
	}
	return h, nil
}

// symbolWithFall are the symbols with something falling. Some are misspelt at
// MET Norway ("lightssleetshowersandthunder") and stay so.
var symbolWithFall = regexp.MustCompile(`^(?:lights?|heavy)?(rain|sleet|snow)(?:showers)?(andthunder)?$`)

// parseSymbol maps a symbol code (https://api.met.no/weatherapi/weathericon/2.0)
// to a condition. Told says whether the code knows day from night; the polar
// twilight is night, since the sun stays below the horizon.
func parseSymbol(code string) (condition string, day, told, ok bool) {
	base, variant, told := strings.Cut(code, "_")
	if told && variant != "day" && variant != "night" && variant != "polartwilight" {
		return "", false, false, false
	}
	day = variant == "day"
	switch base {
	case "clearsky", "fair": // fair: up to three eighths of cloud
		return Clear, day, told, true
	case "partlycloudy":
		return PartlyCloudy, day, told, true
	case "cloudy":
		return Cloudy, day, told, true
	case "fog":
		return Fog, day, told, true
	}
	m := symbolWithFall.FindStringSubmatch(base)
	switch {
	case m == nil:
		return "", false, false, false
	case m[2] != "":
		return Thunder, day, told, true
	}
	return m[1], day, told, true // rain, sleet, snow: the words are the same
}
