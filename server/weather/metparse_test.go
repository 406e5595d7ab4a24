package weather

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

var update = flag.Bool("update", false, "rewrite golden files")

// The moment and place of weathersim's golden answers.
var (
	goldenAt    = time.Date(2026, 3, 14, 9, 20, 0, 0, time.UTC)
	goldenPlace = geo.Point{Lat: 52.3702, Lng: 4.8952}
)

func readSim(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("weathersim", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnswerIsReadHourByHour(t *testing.T) {
	hours, modelAt, err := parseMet(readSim(t, "complete.golden.json"), goldenPlace, goldenAt)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC); !modelAt.Equal(want) {
		t.Errorf("model ran at %v, want %v", modelAt, want)
	}
	got, err := json.MarshalIndent(hours, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "hours.golden.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("hours differ from %s (go test -update rewrites it):\n%s", golden, got)
	}
}

func TestCompactIsCompleteWithoutUV(t *testing.T) {
	complete, _, err := parseMet(readSim(t, "complete.golden.json"), goldenPlace, goldenAt)
	if err != nil {
		t.Fatal(err)
	}
	compact, _, err := parseMet(readSim(t, "compact.golden.json"), goldenPlace, goldenAt)
	if err != nil {
		t.Fatal(err)
	}
	if len(compact) != len(complete) {
		t.Fatalf("compact has %d hours, complete %d", len(compact), len(complete))
	}
	uv := 0.0
	for i := range complete {
		uv = max(uv, complete[i].UV)
		complete[i].UV = 0
		if compact[i] != complete[i] {
			t.Errorf("hour %d: compact %+v, complete %+v", i, compact[i], complete[i])
		}
	}
	if uv == 0 {
		t.Error("complete has no UV either")
	}
}

func TestEverySymbolHasItsCondition(t *testing.T) {
	// The 41 symbols of https://api.met.no/weatherapi/weathericon/2.0/legends.
	want := map[string]string{
		"clearsky": Clear, "fair": Clear, "partlycloudy": PartlyCloudy, "cloudy": Cloudy, "fog": Fog,
		"lightrain": Rain, "rain": Rain, "heavyrain": Rain,
		"lightrainshowers": Rain, "rainshowers": Rain, "heavyrainshowers": Rain,
		"lightsleet": Sleet, "sleet": Sleet, "heavysleet": Sleet,
		"lightsleetshowers": Sleet, "sleetshowers": Sleet, "heavysleetshowers": Sleet,
		"lightsnow": Snow, "snow": Snow, "heavysnow": Snow,
		"lightsnowshowers": Snow, "snowshowers": Snow, "heavysnowshowers": Snow,
		"lightrainandthunder": Thunder, "rainandthunder": Thunder, "heavyrainandthunder": Thunder,
		"lightrainshowersandthunder": Thunder, "rainshowersandthunder": Thunder, "heavyrainshowersandthunder": Thunder,
		"lightsleetandthunder": Thunder, "sleetandthunder": Thunder, "heavysleetandthunder": Thunder,
		"lightssleetshowersandthunder": Thunder, "sleetshowersandthunder": Thunder, "heavysleetshowersandthunder": Thunder,
		"lightsnowandthunder": Thunder, "snowandthunder": Thunder, "heavysnowandthunder": Thunder,
		"lightssnowshowersandthunder": Thunder, "snowshowersandthunder": Thunder, "heavysnowshowersandthunder": Thunder,
	}
	if len(want) != 41 {
		t.Fatalf("%d symbols in the table", len(want))
	}
	for base, condition := range want {
		for suffix, day := range map[string]bool{"": false, "_day": true, "_night": false, "_polartwilight": false} {
			got, gotDay, told, ok := parseSymbol(base + suffix)
			if !ok || got != condition || gotDay != day || told != (suffix != "") {
				t.Errorf("%s%s: %q, day %v, told %v, ok %v", base, suffix, got, gotDay, told, ok)
			}
		}
	}
	for _, bad := range []string{"", "_day", "sunny", "rain_noon", "rainandhail", "clearsky_day_night", "Rain", "lightclearsky", "thunder"} {
		if _, _, _, ok := parseSymbol(bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}

// oneHour is a minimal answer; edit changes it before it is encoded.
func oneHour(edit func(entry, instant, next map[string]any)) string {
	instant := map[string]any{"air_temperature": 10.0, "relative_humidity": 50.0, "wind_speed": 1.0}
	next := map[string]any{"summary": map[string]any{"symbol_code": "rain"}, "details": map[string]any{"precipitation_amount": 1.0}}
	data := map[string]any{"instant": map[string]any{"details": instant}, "next_1_hours": next}
	entry := map[string]any{"time": "2026-03-14T09:00:00Z", "data": data}
	if edit != nil {
		edit(entry, instant, next)
	}
	b, err := json.Marshal(map[string]any{"properties": map[string]any{
		"meta":       map[string]any{"updated_at": "2026-03-14T08:00:00Z", "units": map[string]any{"air_temperature": "celsius"}},
		"timeseries": []any{entry},
	}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestBadAnswersAreRefusedWithTheField(t *testing.T) {
	if _, _, err := parseMet([]byte(oneHour(nil)), goldenPlace, goldenAt); err != nil {
		t.Fatalf("the table's base is bad itself: %v", err)
	}
	const first = "properties.timeseries[0]."
	for _, c := range []struct{ name, body, field string }{
		{"empty", ``, ""},
		{"not JSON", `<html>`, ""},
		{"NaN", strings.Replace(oneHour(nil), `"air_temperature":10`, `"air_temperature":NaN`, 1), ""},
		{"infinite", strings.Replace(oneHour(nil), `"air_temperature":10`, `"air_temperature":1e999`, 1), ""},
		{"truncated", oneHour(nil)[:200], ""},
		{"trailing", oneHour(nil) + "x", ""},
		{"a number as text", strings.Replace(oneHour(nil), `"wind_speed":1`, `"wind_speed":"1"`, 1), ""},
		{"null", `null`, "properties"},
		{"no properties", `{}`, "properties"},
		{"no model time", `{"properties":{}}`, "properties.meta.updated_at"},
		{"fahrenheit", strings.Replace(oneHour(nil), "celsius", "fahrenheit", 1), "properties.meta.units.air_temperature"},
		{"bad time", oneHour(func(e, _, _ map[string]any) { e["time"] = "noon" }), first + "time"},
		{"no temperature", oneHour(func(_, i, _ map[string]any) { delete(i, "air_temperature") }), first + "data.instant.details.air_temperature"},
		{"null temperature", oneHour(func(_, i, _ map[string]any) { i["air_temperature"] = nil }), first + "data.instant.details.air_temperature"},
		{"kelvin", oneHour(func(_, i, _ map[string]any) { i["air_temperature"] = 283.0 }), first + "data.instant.details.air_temperature"},
		{"no humidity", oneHour(func(_, i, _ map[string]any) { delete(i, "relative_humidity") }), first + "data.instant.details.relative_humidity"},
		{"wind from behind", oneHour(func(_, i, _ map[string]any) { i["wind_speed"] = -1.0 }), first + "data.instant.details.wind_speed"},
		{"UV out of this world", oneHour(func(_, i, _ map[string]any) { i["ultraviolet_index_clear_sky"] = 1e9 }), first + "data.instant.details.ultraviolet_index_clear_sky"},
		{"no precipitation", oneHour(func(_, _, n map[string]any) { delete(n, "details") }), first + "data.next_1_hours.details.precipitation_amount"},
		{"no symbol", oneHour(func(_, _, n map[string]any) { delete(n, "summary") }), first + "data.next_1_hours.summary.symbol_code"},
		{"unknown symbol", oneHour(func(_, _, n map[string]any) { n["summary"] = map[string]any{"symbol_code": "frogs"} }), first + "data.next_1_hours.summary.symbol_code"},
	} {
		_, _, err := parseMet([]byte(c.body), goldenPlace, goldenAt)
		var e *engage.Error
		if !errors.As(err, &e) || e.Code != engage.Invalid || e.Field != c.field {
			t.Errorf("%s: %v, want invalid field %q", c.name, err, c.field)
		}
	}
	twice := strings.Replace(oneHour(nil), `"timeseries":[`, `"timeseries":[{"time":"2026-03-14T09:00:00Z","data":{}},`, 1)
	var e *engage.Error
	if _, _, err := parseMet([]byte(twice), goldenPlace, goldenAt); !errors.As(err, &e) || e.Field != "properties.timeseries[1].time" {
		t.Errorf("the same hour twice: %v", err)
	}
}

func TestForecastAnswersForTheHourUnderWay(t *testing.T) {
	nine := time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)
	f := &Forecast{Hours: []Hour{{At: nine, TemperatureC: 9}, {At: nine.Add(time.Hour), TemperatureC: 10}, {At: nine.Add(3 * time.Hour), TemperatureC: 12}}}
	for _, c := range []struct {
		at   time.Duration
		want float64 // 0 means none
	}{
		{-61 * time.Minute, 0},
		{-time.Hour, 9}, // the forecast begins with the next hour
		{-time.Minute, 9},
		{0, 9},
		{59*time.Minute + 59*time.Second, 9},
		{time.Hour, 10},
		{2 * time.Hour, 0}, // a gap
		{3 * time.Hour, 12},
		{4 * time.Hour, 0},
	} {
		w, ok := f.At(nine.Add(c.at))
		if ok != (c.want != 0) || w.TemperatureC != c.want {
			t.Errorf("at %v: %v %v, want %v", c.at, w.TemperatureC, ok, c.want)
		}
	}
	if _, ok := (&Forecast{}).At(nine); ok {
		t.Error("an empty forecast answered")
	}
}

func TestFeelsLikeIsSteadmansApparentTemperature(t *testing.T) {
	for _, c := range []struct{ temperature, humidity, wind, want float64 }{
		{30, 50, 0, 33.0},   // e = 21.14 hPa: 30 + 6.98 - 4
		{20, 50, 3, 17.7},   // e = 11.66 hPa: 20 + 3.85 - 2.1 - 4
		{0, 80, 10, -9.4},   // e = 4.88 hPa: 1.61 - 7 - 4
		{-20, 70, 5, -27.2}, // e = 0.87 hPa: -20 + 0.29 - 3.5 - 4
	} {
		if got := FeelsLike(c.temperature, c.humidity, c.wind); got != c.want {
			t.Errorf("%v °C, %v %%, %v m/s: feels like %v, want %v", c.temperature, c.humidity, c.wind, got, c.want)
		}
	}
}

func TestSunRisesAndSetsByTheAlmanac(t *testing.T) {
	london, tromso := geo.Point{Lat: 51.5, Lng: -0.1}, geo.Point{Lat: 69.65, Lng: 18.96}
	for _, c := range []struct {
		place geo.Point
		at    string
		want  bool
	}{
		// London, 20 July 2020: sunrise 04:07, sunset 20:06 UTC.
		{london, "2020-07-20T03:58:00Z", false},
		{london, "2020-07-20T04:16:00Z", true},
		{london, "2020-07-20T19:57:00Z", true},
		{london, "2020-07-20T20:15:00Z", false},
		{tromso, "2025-12-21T11:00:00Z", false}, // polar night at noon
		{tromso, "2025-06-21T23:00:00Z", true},  // midnight sun
		{geo.Point{Lat: -33.87, Lng: 151.21}, "2025-01-01T01:00:00Z", true},
		{geo.Point{Lat: 0, Lng: -180}, "2025-03-20T12:00:00Z", false},
		{geo.Point{Lat: 0, Lng: 180}, "2025-03-20T00:00:00Z", true},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := sunIsUp(c.place, at); got != c.want {
			t.Errorf("%v %s: up %v", c.place, c.at, got)
		}
	}
}

// recorded are real answers, which may not be committed; the test skips
// where they are absent.
func recorded(t *testing.T, name string) (body []byte, at time.Time, place geo.Point) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "weather", name))
	if err != nil {
		t.Skipf("no recorded answers beside the project: %v", err)
	}
	var file struct {
		Headers map[string]string `json:"headers"`
		Data    json.RawMessage   `json:"data"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	at, err = time.Parse(time.RFC1123, file.Headers["Date"])
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Geometry struct {
			Coordinates []float64 `json:"coordinates"`
		} `json:"geometry"`
	}
	if err := json.Unmarshal(file.Data, &doc); err != nil {
		t.Fatal(err)
	}
	return file.Data, at, geo.Point{Lat: doc.Geometry.Coordinates[1], Lng: doc.Geometry.Coordinates[0]}
}

func TestRecordedAnswersAreRead(t *testing.T) {
	for name, want := range map[string]engage.Weather{
		"metno_lat51.5lon-0.1altitude25_complete.json": {
			Condition: Clear, TemperatureC: 18.8, FeelsLikeC: 16.5, WindMPS: 2.3, UV: 6.4, Day: true,
			At: time.Date(2020, 7, 20, 11, 0, 0, 0, time.UTC), Kind: "forecast",
		},
		"metno_lat39.9lon116.4altitudeNone_compact.json": {
			Condition: Clear, TemperatureC: 30.4, FeelsLikeC: 33.2, WindMPS: 1.8, Day: true,
			At: time.Date(2020, 7, 20, 11, 0, 0, 0, time.UTC), Kind: "forecast",
		},
	} {
		t.Run(name, func(t *testing.T) {
			body, at, place := recorded(t, name)
			hours, modelAt, err := parseMet(body, place, at)
			if err != nil {
				t.Fatal(err)
			}
			if want := time.Date(2020, 7, 20, 1, 30, 57, 0, time.UTC); !modelAt.Equal(want) {
				t.Errorf("model ran at %v, want %v", modelAt, want)
			}
			if len(hours) != keepHours+1 && len(hours) != keepHours {
				t.Errorf("%d hours kept, want about %d", len(hours), keepHours)
			}
			got, ok := (&Forecast{Hours: hours}).At(at)
			if !ok || got != want {
				t.Errorf("got %+v (%v)\nwant %+v", got, ok, want)
			}
		})
	}
}

func TestOurSunAgreesWithRecordedSymbols(t *testing.T) {
	for _, name := range []string{"metno_lat51.5lon-0.1altitude25_complete.json", "metno_lat39.9lon116.4altitudeNone_compact.json"} {
		t.Run(name, func(t *testing.T) {
			body, _, place := recorded(t, name)
			var doc metDoc
			if err := json.Unmarshal(body, &doc); err != nil {
				t.Fatal(err)
			}
			compared := 0
			for _, e := range doc.Properties.Timeseries {
				if e.Data.Next1Hours == nil {
					continue
				}
				_, day, told, ok := parseSymbol(e.Data.Next1Hours.Summary.SymbolCode)
				if !ok {
					t.Errorf("unknown symbol %q", e.Data.Next1Hours.Summary.SymbolCode)
				}
				at, err := time.Parse(time.RFC3339, e.Time)
				if err != nil {
					t.Fatal(err)
				}
				if !told || sunIsUp(place, at) != sunIsUp(place, at.Add(time.Hour)) {
					continue // the sun rises or sets within the hour: either is right
				}
				compared++
				if got := sunIsUp(place, at.Add(30*time.Minute)); got != day {
					t.Errorf("%s: sun up %v, symbol %s", e.Time, got, e.Data.Next1Hours.Summary.SymbolCode)
				}
			}
			if compared < 20 {
				t.Errorf("only %d hours compared", compared)
			}
		})
	}
}

func FuzzParseMet(f *testing.F) {
	// Not the golden answers: 40 kB seeds make the fuzzer slow.
	f.Add([]byte(oneHour(nil)))
	f.Add([]byte(oneHour(func(_, i, _ map[string]any) { i["ultraviolet_index_clear_sky"] = 3.1 })))
	f.Add([]byte(oneHour(func(e, _, _ map[string]any) { e["time"] = "2026-03-14T10:00:00+01:00" })))
	f.Add([]byte(`{"properties":{"meta":{"updated_at":"2026-03-14T08:00:00Z"},"timeseries":[]}}`))
	f.Add([]byte(`{"properties":{"timeseries":[{"time":null,"data":{"next_1_hours":{}}}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		hours, modelAt, err := parseMet(body, goldenPlace, goldenAt)
		if err != nil {
			var e *engage.Error
			if !errors.As(err, &e) || e.Code != engage.Invalid {
				t.Fatalf("not an error that a person can act on: %v", err)
			}
			return
		}
		if modelAt.IsZero() {
			t.Error("no model time")
		}
		for i, h := range hours {
			if i > 0 && !h.At.After(hours[i-1].At) {
				t.Errorf("hour %d is not after the one before", i)
			}
			if h.At.Sub(goldenAt) > keepHours*time.Hour || goldenAt.Sub(h.At) >= time.Hour {
				t.Errorf("hour %v kept at %v", h.At, goldenAt)
			}
			if !(h.TemperatureC >= -100 && h.TemperatureC <= 70 && h.FeelsLikeC > -250 && h.FeelsLikeC < 250) {
				t.Errorf("hour %d: %+v", i, h)
			}
			switch h.Condition {
			case Clear, PartlyCloudy, Cloudy, Fog, Rain, Sleet, Snow, Thunder:
			default:
				t.Errorf("condition %q", h.Condition)
			}
		}
	})
}
