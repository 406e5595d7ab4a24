package weather_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/weather"
	"github.com/footfall-engage/footfall/server/weather/weathersim"
)

func TestTheHoursOfAForecastBeginWhereTheyAreAskedFor(t *testing.T) {
	now := clock.NewManual(morning)
	sim := startSim(t, weathersim.Options{Now: now.Now})
	sim.Set(func(_, _ float64, at time.Time) weathersim.Conditions {
		return weathersim.Conditions{TemperatureC: float64(at.Hour()), HumidityPercent: 80, CloudPercent: 100}
	})
	s := weather.New(weather.Options{Provider: newMet(t, weather.MetOptions{BaseURL: sim.URL(), Now: now.Now}), Now: now.Now})
	run(t, s)
	cell := cellAt(t, 52.37, 4.89, engage.WeatherResolution)
	if h := s.Hours(cell, morning); h != nil {
		t.Errorf("nothing was asked for, and there is %+v", h)
	}
	w, _, err := s.Get(t.Context(), cell)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []time.Time{w.At, w.At.Add(3 * time.Hour)} {
		hours := s.Hours(cell, from)
		if len(hours) != engage.MaxWeatherHours || !hours[0].At.Equal(from) {
			t.Fatalf("from %v: %d hours, the first of %v", from, len(hours), hours[0].At)
		}
		for i, h := range hours {
			if at := from.Add(time.Duration(i) * time.Hour); !h.At.Equal(at) || h.TemperatureC != float64(at.Hour()) || h.Condition != weather.Cloudy {
				t.Errorf("hour %d from %v: %+v", i, from, h)
			}
		}
		if _, known := engage.OutlookOf(hours, from.Add(20*time.Minute), 12); !known {
			t.Error("twelve hours are not known")
		}
	}
}
