package decide

import (
	"slices"

	"github.com/footfall-engage/footfall/server/engage"
)

func (a *attempt) context() (engage.Reason, *seen, error) {
	saw := a.s.see()
	if a.t.Type == engage.TriggerPlace {
		saw.number("distance_m", a.t.DistanceM).number("accuracy_m", a.t.AccuracyM)
	}
	if a.c.needsWeather {
		saw.text("weather_is", string(a.t.WeatherIs))
		if a.t.Weather == nil {
			if a.t.Cell != "" && !a.lastChance {
				return engage.ReasonWeatherUnknown, saw, errWaits
			}
			return engage.ReasonWeatherUnknown, saw, nil
		}
		w := a.t.Weather
		saw.object("weather", a.s.see().text("kind", w.Kind).text("condition", w.Condition).number("temperature_c", w.TemperatureC).
			number("precipitation_mm", w.Precipitation).text("provider", w.Provider))
		if len(a.c.outlooks) > 0 {
			if reason, err := a.outlooks(saw); reason != "" {
				return reason, saw, err
			}
		}
	}
	if a.c.context.Match(a.m, a.s.e.At) {
		return "", saw, nil
	}
	_, x := a.c.context.Eval(a.m, a.s.e.At)
	for name, v := range traced(map[string]any{}, x) {
		saw.any(name, v)
	}
	return engage.ReasonContext, saw, nil
}

// park has the person woken when weather of a cell comes, and asks for it.
func (s *step) park(of string) error {
	key, c, err := cell(s.tx, of)
	if err != nil {
		return err
	}
	i, found := slices.BinarySearch(c.Parked, s.key)
	if !found {
		c.Parked = slices.Insert(slices.Clone(c.Parked), i, s.key)
	}
	ask := s.e.At.Sub(c.AskedAt) >= weatherWait
	if ask {
		c.AskedAt = s.e.At
		s.tx.Emit("weather", engage.Entry{Kind: engage.KindWeatherRequest, Key: engage.WeatherKey(of), Body: []byte(of)})
	}
	if ask || !found {
		s.tx.Put(key, c)
	}
	return nil
}
