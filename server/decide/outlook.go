package decide

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/template"
)

// ahead is what is forecast for the hours after a moment: of the cell's weather that this
// partition knows, so that no trigger has to carry it.
type ahead struct {
	hours []engage.WeatherHour
	final bool                   // it is as new as can be: to ask for another brings no more
	by    map[int]map[string]any // fields of the spans that were asked for; nil: not all of its hours are known
}

// outlookName is how rules and texts call a span.
func outlookName(hours int) string { return fmt.Sprintf("next_%dh", hours) }

// outlooksIn are the spans that the texts of a message name.
func outlooksIn(message engage.Content, content *template.Content) (out []int) {
	if !slices.Contains(content.Variables(), "weather") {
		return nil
	}
	text, err := json.Marshal(message)
	if err != nil {
		return nil // it was JSON
	}
	for _, n := range engage.OutlookHours {
		if strings.Contains(string(text), outlookName(n)) {
			out = append(out, n)
		}
	}
	return out
}

// outlooksOf are the spans that a context asks about, and those of the texts.
func outlooksOf(context *rules.Rule, texts []int) []int {
	for _, n := range engage.OutlookHours {
		if context.Uses("weather." + outlookName(n) + ".") {
			texts = append(texts, n)
		}
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// outlook gives the fields of a span; nil where its hours are not all known, or the
// forecast is too old.
func (m *moment) outlook(n int) (map[string]any, error) {
	if m.ahead == nil {
		m.ahead = &ahead{}
		if m.t.Cell != "" {
			_, c, err := cell(m.s.tx, m.t.Cell)
			if err != nil {
				return nil, err
			}
			if c.Weather != nil && !m.s.e.At.After(c.Weather.FreshUntil.Add(engage.MaxStaleWeather)) {
				m.ahead.hours, m.ahead.final = c.Hours, len(c.Hours) > 0 && !m.s.e.At.After(c.Weather.FreshUntil)
			}
		}
	}
	if f, asked := m.ahead.by[n]; asked {
		return f, nil
	}
	var fields map[string]any
	if o, known := engage.OutlookOf(m.ahead.hours, m.s.e.At, n); known {
		fields = o.Fields()
	}
	if m.ahead.by == nil {
		m.ahead.by = map[int]map[string]any{}
	}
	m.ahead.by[n] = fields
	return fields, nil
}

// outlookValue is a field of a span, "next_3h": of those that the gate has looked at.
func (m *moment) outlookValue(span, field string) (any, bool) {
	if m.ahead == nil {
		return nil, false
	}
	for n, fields := range m.ahead.by {
		if outlookName(n) == span {
			v, ok := fields[field]
			return v, ok
		}
	}
	return nil, false
}

// addOutlooks adds what is forecast to the weather that a campaign's texts see.
func (m *moment) addOutlooks(c *campaign, weather map[string]any) map[string]any {
	for _, n := range c.outlooks {
		if f, err := m.outlook(n); err == nil && f != nil { // the gate has asked, and told of errors
			weather[outlookName(n)] = f
		}
	}
	return weather
}

// outlooks looks at the forecast that the campaign needs, and says no, or waits as for
// the weather of now, where it is not known.
func (a *attempt) outlooks(saw *seen) (engage.Reason, error) {
	told := map[string]any{}
	for _, n := range a.c.outlooks {
		f, err := a.m.outlook(n)
		switch {
		case err != nil:
			return engage.ReasonWeatherUnknown, err
		case f != nil:
			told[outlookName(n)] = map[string]any{
				"condition": f["condition"], "temperature_min_c": f["temperature_min_c"],
				"temperature_max_c": f["temperature_max_c"], "precipitation_mm": f["precipitation_mm"],
			}
			continue
		}
		saw.int("forecast_unknown_h", int64(n))
		if a.t.Cell != "" && !a.lastChance && !a.m.ahead.final {
			return engage.ReasonWeatherUnknown, errWaits
		}
		return engage.ReasonWeatherUnknown, nil
	}
	saw.any("forecast", told)
	return "", nil
}

// stays has the weather of a preview go on as it is: there is no forecast of it.
func (m *moment) stays() {
	m.ahead = &ahead{}
	for i := 1; m.t.Weather != nil && i <= engage.MaxWeatherHours; i++ {
		w := m.t.Weather
		m.ahead.hours = append(m.ahead.hours, engage.WeatherHour{
			At: m.s.e.At.Add(time.Duration(i) * time.Hour), Condition: w.Condition, TemperatureC: w.TemperatureC, FeelsLikeC: w.FeelsLikeC,
			Precipitation: w.Precipitation, WindMPS: w.WindMPS, UV: w.UV,
		})
	}
}
