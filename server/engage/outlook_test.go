package engage_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

func hoursFrom(at time.Time, conditions ...string) (out []engage.WeatherHour) {
	for i, c := range conditions {
		h := engage.WeatherHour{At: at.Add(time.Duration(i) * time.Hour), Condition: c, TemperatureC: float64(10 - i), FeelsLikeC: float64(8 - i), WindMPS: float64(i), UV: float64(i) / 2}
		if c == "rain" || c == "thunder" {
			h.Precipitation = 0.1
		}
		out = append(out, h)
	}
	return out
}

func TestAnOutlookIsOfTheWholeHoursThatBeginNext(t *testing.T) {
	ten := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	hours := hoursFrom(ten, "clear", "cloudy", "rain", "cloudy", "rain", "thunder")
	for _, c := range []struct {
		now   time.Time
		n     int
		known bool
		want  engage.Outlook
	}{
		{ten.Add(50 * time.Minute), 1, true, engage.Outlook{Hours: 1, Condition: "cloudy", Conditions: []string{"cloudy"}, MinC: 9, MaxC: 9, FeelsMinC: 7, FeelsMaxC: 7, WindMaxMPS: 1, UVMax: 0.5}},
		{ten, 3, true, engage.Outlook{
			Hours: 3, Condition: "rain", Conditions: []string{"cloudy", "rain"}, MinC: 7, MaxC: 9, FeelsMinC: 5, FeelsMaxC: 7,
			PrecipitMM: 0.1, WindMaxMPS: 3, UVMax: 1.5, FirstWetInH: 2,
		}},
		{ten.Add(2 * time.Hour), 3, true, engage.Outlook{
			Hours: 3, Condition: "thunder", Conditions: []string{"cloudy", "rain", "thunder"}, MinC: 5, MaxC: 7, FeelsMinC: 3, FeelsMaxC: 5,
			PrecipitMM: 0.2, WindMaxMPS: 5, UVMax: 2.5, FirstWetInH: 2,
		}},
		{ten, 6, false, engage.Outlook{}},                     // only five are known
		{ten.Add(3 * time.Hour), 3, false, engage.Outlook{}},  // only two are left
		{ten.Add(-3 * time.Hour), 1, false, engage.Outlook{}}, // it begins later
	} {
		got, known := engage.OutlookOf(hours, c.now, c.n)
		if known != c.known || known && !reflect.DeepEqual(got, c.want) {
			t.Errorf("at %v of %d hours: %v %+v, want %+v", c.now, c.n, known, got, c.want)
		}
	}
	// A hole in the forecast is not bridged.
	if _, known := engage.OutlookOf(append(hours[:2:2], hours[3:]...), ten, 3); known {
		t.Error("a forecast with a hole is taken for whole")
	}
}

// A build that knows no hours reads the record as it did, and this one reads its records.
func TestAWeatherRecordIsAWeatherForWhoKnowsNoHours(t *testing.T) {
	ten := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	w := engage.Weather{Cell: 0x85196953fffffff, At: ten, FetchedAt: ten, FreshUntil: ten.Add(time.Hour), Kind: "forecast", Condition: "rain", TemperatureC: 9, Provider: "sim"}
	body, err := json.Marshal(engage.WeatherRecord{Weather: w, Hours: hoursFrom(ten, "rain", "clear")})
	if err != nil {
		t.Fatal(err)
	}
	var old engage.Weather
	if err := json.Unmarshal(body, &old); err != nil || !reflect.DeepEqual(old, w) {
		t.Errorf("%+v, %v", old, err)
	}
	body, err = json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	var r engage.WeatherRecord
	if err := json.Unmarshal(body, &r); err != nil || r.Hours != nil || !reflect.DeepEqual(r.Weather, w) {
		t.Errorf("%+v, %v", r, err)
	}
}
