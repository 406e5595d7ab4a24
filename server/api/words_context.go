package api

import (
	"fmt"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// seenAhead is what the context gate saw of the forecast.
type seenAhead struct {
	Forecast         map[string]outlookSeen `json:"forecast"`           // by span, "next_3h"
	ForecastUnknownH int                    `json:"forecast_unknown_h"` // the span of which not all was known
}

type outlookSeen struct {
	Condition string  `json:"condition"`
	MinC      float64 `json:"temperature_min_c"`
	MaxC      float64 `json:"temperature_max_c"`
	PrecipMM  float64 `json:"precipitation_mm"`
}

// ahead says what was forecast, after what the weather was.
func (s seenAhead) ahead() string {
	var out strings.Builder
	for _, n := range engage.OutlookHours {
		o, seen := s.Forecast[fmt.Sprintf("next_%dh", n)]
		if !seen {
			continue
		}
		_, _ = fmt.Fprintf(&out, "; for %s: %s, %s to %s °C", nextHours(n), strings.ReplaceAll(o.Condition, "_", " "), number(o.MinC), number(o.MaxC))
		if o.PrecipMM > 0 {
			_, _ = fmt.Fprintf(&out, ", %s mm", number(o.PrecipMM))
		}
	}
	return out.String()
}

func nextHours(n int) string {
	if n == 1 {
		return "the next hour"
	}
	return fmt.Sprintf("the next %d hours", n)
}

// beaconWords says what a phone told of a beacon.
func beaconWords(t *engage.Trigger, place string) string {
	name := fmt.Sprintf("the beacon %q of %s", t.Beacon, place)
	switch {
	case t.Transition == engage.Enter:
		return "Heard " + name
	case t.Transition == engage.ComeNear:
		return "Came near " + name
	case t.Evidence == "silence":
		return "Heard " + name + " no more (nothing was heard meanwhile)"
	default:
		return "Heard " + name + " no more"
	}
}

// turningWords says that the weather turned where somebody was.
func turningWords(t *engage.Trigger, place string) string {
	words := "The weather turned at " + place
	if w := t.Weather; w != nil {
		words += fmt.Sprintf(" (%s)", (&sky{Kind: w.Kind, Condition: w.Condition, TemperatureC: w.TemperatureC}).words())
	}
	return words
}
