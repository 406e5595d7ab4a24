package decide_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// forecast is a weather record of the cell whose hours, from t0 on, have these conditions
// in turn.
func forecast(at, freshFor time.Duration, conditions ...string) engage.Entry {
	r := engage.WeatherRecord{Weather: sky(conditions[0], at, freshFor)}
	for i := range engage.MaxWeatherHours {
		h := engage.WeatherHour{At: t0.Add(time.Duration(i) * time.Hour), Condition: conditions[i%len(conditions)], TemperatureC: float64(10 - i), UV: 1}
		if h.Condition == "rain" {
			h.Precipitation = 0.4
		}
		r.Hours = append(r.Hours, h)
	}
	return entry(engage.KindWeather, engage.WeatherKey(weatherCell().String()), at, r)
}

func drySoon(c *engage.Campaign) {
	c.Context = rule(`{"field":"weather.next_3h.precipitation_mm","op":"eq","value":0}`)
}

// The rule and the text see what the partition's forecast says from the moment on.
func TestARuleAndATextSeeTheForecast(t *testing.T) {
	for name, c := range map[string]struct {
		conditions []string
		context    string
		at         time.Duration
		want       string
		title      string
	}{
		"rain comes":         {[]string{"clear", "clear", "clear", "rain"}, `{"field":"weather.next_3h.conditions","op":"contains","value":"rain"}`, 0, "x pending", "rain, 7 to 9, in 3 h"},
		"not within an hour": {[]string{"clear", "clear", "clear", "rain"}, `{"field":"weather.next_1h.conditions","op":"contains","value":"rain"}`, 0, "x suppressed context", ""},
		"two hours later it is within the hour": {
			[]string{"clear", "clear", "clear", "rain"}, `{"field":"weather.next_1h.condition","op":"eq","value":"rain"}`, 2 * time.Hour, "x pending", "rain, 5 to 7, in 1 h",
		},
		"it gets colder": {[]string{"clear"}, `{"field":"weather.next_12h.temperature_min_c","op":"lt","value":0}`, 0, "x pending", "clear, 7 to 9, in 0 h"},
		"the spans together": {
			[]string{"clear", "rain"}, `{"all":[{"field":"weather.next_6h.precipitation_mm","op":"eq","value":1.2},{"field":"weather.condition","op":"eq","value":"clear"}]}`, 0, "x pending", "rain, 7 to 9, in 1 h",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, offer("x", func(o *engage.Campaign) {
				o.Context = rule(c.context)
				o.Arms[0].Message.Title = `{{ weather.next_3h.condition }}, {{ weather.next_3h.temperature_min_c }} to {{ weather.next_3h.temperature_max_c }}, in {{ weather.next_3h.wet_in_h }} h`
			}))
			w.meet("ada")
			w.apply(forecast(0, 3*time.Hour, c.conditions...), enters("ada", "cafe", "v1", c.at))
			w.wantVerdicts(c.want)
			if got := w.sends(); c.title != "" && (len(got) != 1 || got[0].Title != c.title) {
				t.Errorf("said %s, want %q", mustJSON(t, got), c.title)
			}
			// The trigger does not carry the hours: they would be in every record of it.
			if d := w.decisions()[0]; len(mustJSON(t, d.Trigger)) > 1000 {
				t.Errorf("the trigger is large: %s", mustJSON(t, d.Trigger))
			}
		})
	}
}

// A forecast that is not there is waited for like the weather of now; one that cannot come
// is a no at once, never a guess.
func TestAForecastThatIsNotKnownIsNoGuess(t *testing.T) {
	wet := func(tr *engage.Trigger) {
		s := sky("clear", 0, time.Hour)
		tr.Weather, tr.WeatherIs = &s, engage.WeatherFresh
	}
	t.Run("situate knew the weather, this partition knows no forecast yet", func(t *testing.T) {
		w := newWorld(t, offer("x", drySoon))
		w.meet("ada")
		w.apply(enters("ada", "cafe", "v1", 0, wet))
		w.wantVerdicts("x pending")
		if n := w.asked(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		f := &world{T: t, Partition: w.Fork()}
		f.apply(forecast(sec, time.Hour, "clear"))
		if got := f.sends(); len(got) != 1 {
			t.Errorf("the forecast came: %s", f.verdicts())
		}
		w.fireUntil(3 * sec)
		w.wantVerdicts("x suppressed weather_unknown")
	})
	t.Run("a record of an earlier build has no hours", func(t *testing.T) {
		w := newWorld(t, offer("x", drySoon))
		w.meet("ada")
		w.apply(weather("clear", 0, time.Hour), enters("ada", "cafe", "v1", 0))
		w.wantVerdicts("x pending")
		w.apply(forecast(sec, time.Hour, "clear"))
		if got := w.sends(); len(got) != 1 {
			t.Errorf("the forecast came: %s", w.verdicts())
		}
	})
	t.Run("it ends too early", func(t *testing.T) {
		w := newWorld(t, offer("x", func(c *engage.Campaign) {
			c.Context = rule(`{"field":"weather.next_12h.uv","op":"ge","value":0}`)
		}))
		w.meet("ada")
		w.apply(forecast(0, 12*time.Hour, "clear"), enters("ada", "cafe", "v1", 6*time.Hour, wet))
		w.wantVerdicts("x suppressed weather_unknown")
		if n := w.asked(); n != 0 {
			t.Errorf("asked %d times for what is as new as can be", n)
		}
	})
	t.Run("an outage made it too old", func(t *testing.T) {
		w := newWorld(t, offer("x", drySoon))
		w.meet("ada")
		w.apply(forecast(0, time.Hour, "clear"), enters("ada", "cafe", "v1", 4*time.Hour+sec))
		w.fireUntil(5 * time.Hour)
		w.wantVerdicts("x suppressed weather_unknown")
	})
}
