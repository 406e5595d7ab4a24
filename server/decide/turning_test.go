package decide_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

func onWeather(where string) func(*engage.Campaign) {
	return func(c *engage.Campaign) {
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerWeather, Where: rule(where)}
	}
}

// turned is the call of a person who is at the cafe when the weather turns for a campaign.
func turned(id, campaign string, at time.Duration) engage.Entry {
	w := sky("rain", at, time.Hour)
	return entry(engage.KindCall, person(id), at, engage.Trigger{
		Type: engage.TriggerWeather, Campaign: campaign, Occasion: engage.TurningOccasion(ws, campaign, "cafe", t0.Add(at)), Install: "i-" + id,
		OccurredAt: t0.Add(at), Place: "cafe", Cell: weatherCell().String(), Weather: &w, WeatherIs: engage.WeatherFresh,
	})
}

func TestWeatherThatTurnsFiresItsCampaignOnce(t *testing.T) {
	w := newWorld(t, offer("wet", onWeather(rain), func(c *engage.Campaign) {
		c.Context = rule(`{"field":"weather.temperature_c","op":"lt","value":10}`)
		c.Arms[0].Message.Title = "{{ weather.condition }} at {{ place.name }}"
	}), offer("place"), offer("other", onWeather(rain)))
	w.meet("ada")
	w.apply(turned("ada", "wet", sec), turned("ada", "wet", sec), turned("nobody", "wet", sec)) // once more after a crash; one who was erased
	w.wantVerdicts("wet pending")
	if got := w.sends(); len(got) != 1 || got[0].Title != "rain at Café" || got[0].Devices[0].Install != "i-ada" {
		t.Errorf("sent %s", mustJSON(t, got))
	}
	w.apply(turned("ada", "wet", 4*time.Hour)) // it turns again: another occasion
	w.wantVerdicts("wet pending, wet pending")
	w.apply(turned("ada", "place", 5*time.Hour), turned("ada", "gone", 5*time.Hour)) // of what is no weather campaign any more
	w.wantVerdicts("wet pending, wet pending")
}

func TestAConditionOnTheForecastHoldsOnlyWhereItReaches(t *testing.T) {
	x, err := decide.NewTurning(&engage.CampaignTrigger{
		Type: engage.TriggerWeather, Where: rule(`{"all":[{"field":"weather.next_3h.conditions","op":"contains","value":"rain"},{"field":"weather.condition","op":"ne","value":"rain"}]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	hours := func(conditions ...string) (out []engage.WeatherHour) {
		for i, c := range conditions {
			out = append(out, engage.WeatherHour{At: t0.Add(time.Duration(i) * time.Hour), Condition: c})
		}
		return out
	}
	for name, c := range map[string]struct {
		now          string
		hours        []engage.WeatherHour
		holds, known bool
	}{
		"rain comes":         {"clear", hours("clear", "clear", "clear", "rain"), true, true},
		"none comes":         {"clear", hours("clear", "clear", "clear", "clear", "rain"), false, true},
		"it is there":        {"rain", hours("rain", "rain", "rain", "rain"), false, true},
		"it ends before":     {"clear", hours("clear", "rain"), false, false},
		"there are no hours": {"clear", nil, false, false},
	} {
		holds, known := x.Holds(&engage.WeatherRecord{Weather: sky(c.now, 0, time.Hour), Hours: c.hours}, t0)
		if holds != c.holds || known != c.known {
			t.Errorf("%s: holds %v, known %v", name, holds, known)
		}
	}
}
