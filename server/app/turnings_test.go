package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/weather/weathersim"
)

// skyOf sets the weather of all hours from now on.
func (s *story) skyOf(mm float64) {
	s.sky.Set(func(_, _ float64, _ time.Time) weathersim.Conditions {
		return weathersim.Conditions{TemperatureC: 9, HumidityPercent: 90, CloudPercent: 100, PrecipitationMM: mm}
	})
}

// rainStarts is a campaign for who is at a cafe when rain begins.
func rainStarts(c map[string]any) {
	c["trigger"] = map[string]any{
		"type": "weather", "tags": []string{"coffee"},
		"where": map[string]any{"field": "weather.condition", "op": "in", "value": []string{"rain", "thunder"}},
	}
	delete(c, "context")
	delete(c, "limits")
	c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{
		"title": "{{ weather.condition }} at {{ place.name }}", "body": "Stay a little", "channels": []string{"push"},
	}}}
}

// minutes lets the time pass, and all that comes of it.
func (s *story) minutes(n int) {
	for range n {
		s.settle()
		s.clock.Advance(time.Minute)
	}
	s.settle()
}

// Who is inside when it begins to rain is told, once; who is elsewhere is not, nor is
// anybody when it rained already.
func TestRainThatBeginsTellsWhoIsInside(t *testing.T) {
	s := newStory(t)
	s.skyOf(0)
	s.place("cafe", cafe, "coffee")
	s.campaign("stay", rainStarts)
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	bob := s.phone("bob", "android", nil).agree().likes("fashion").background()
	ada.at(cafe, 10).post()
	bob.at(far, 10).post()
	s.minutes(3) // the first looks
	if got := s.pushesTo(ada); len(got) > 0 {
		t.Fatalf("before the rain: %v", got)
	}
	s.skyOf(2)
	s.eventuallyByMinutes("the rain is known", 90, func() bool { return len(s.pushesTo(ada)) > 0 })
	if got := s.pushesTo(ada); len(got) != 1 || got[0] != "rain at Café cafe by fcm" {
		t.Errorf("Ada got %v", got)
	}
	if got := s.pushesTo(bob); len(got) > 0 {
		t.Errorf("Bob, who is elsewhere, got %v", got)
	}
	// A shower that flutters is no new one, after a restart neither.
	s.stop()
	s.serve()
	s.skyOf(0)
	s.minutes(35)
	s.skyOf(2)
	s.minutes(35)
	if got := s.pushesTo(ada); len(got) != 1 {
		t.Errorf("it fluttered, and Ada got %v", got)
	}
	ds := s.decisions(ada, "stay")
	if len(ds) != 1 || ds[0].Trigger.Type != engage.TriggerWeather || ds[0].Trigger.Place != "cafe" || ds[0].Trigger.Weather.Condition != "rain" {
		t.Errorf("decided %+v", ds)
	}
}

// eventuallyByMinutes lets minutes pass until something is so.
func (s *story) eventuallyByMinutes(what string, most int, ok func() bool) {
	s.t.Helper()
	for range most {
		s.minutes(1)
		if ok() {
			return
		}
	}
	s.t.Fatalf("not within %d minutes: %s", most, what)
}

// While the provider is down nothing turns; what it says afterwards is a first look where
// too long has passed.
func TestAnOutageTurnsNothing(t *testing.T) {
	s := newStory(t)
	s.skyOf(0)
	s.place("cafe", cafe, "coffee")
	s.campaign("stay", rainStarts)
	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	ada.at(cafe, 10).post()
	s.minutes(3)
	s.sky.SetFault(outage())
	s.skyOf(2)
	s.minutes(150)
	s.sky.SetFault(weathersim.Fault{})
	ada.at(cafe, 10).post()
	s.minutes(40)
	if got := s.decisions(ada, "stay"); len(got) > 0 {
		t.Errorf("decided %+v", got)
	}
}

func TestAWeatherTriggerIsRefusedWithItsField(t *testing.T) {
	s := newStory(t)
	n := 0
	for trigger, field := range map[string]string{
		`{"type":"weather"}`: "trigger.where",
		`{"type":"weather","where":{"field":"weather.condition","op":"eq","value":"drizzle"}}`:               "trigger.where.value",
		`{"type":"weather","where":{"field":"likes","op":"contains","value":"x"}}`:                           "trigger.where.field",
		`{"type":"weather","where":{"field":"local.hour","op":"gt","value":3}}`:                              "trigger.where.field",
		`{"type":"weather","where":{"field":"weather.uv","op":"gt","value":3},"transition":"enter"}`:         "trigger.transition",
		`{"type":"weather","where":{"field":"weather.uv","op":"gt","value":3},"rings":["near"]}`:             "trigger.rings",
		`{"type":"weather","where":{"field":"weather.uv","op":"gt","value":3},"again_after_s":60}`:           "trigger.again_after_s",
		`{"type":"weather","where":{"field":"weather.uv","op":"gt","value":3},"places":["gone"]}`:            "trigger.places[0]",
		`{"type":"place","transition":"enter","again_after_s":3600}`:                                         "trigger.again_after_s",
		`{"type":"weather","where":{"field":"weather.next_3h.uv","op":"gt","value":3},"again_after_s":3600}`: "",
		`{"type":"weather","where":{"field":"weather.next_2h.uv","op":"gt","value":3},"again_after_s":3600}`: "trigger.where.field",
	} {
		n++
		var problem struct {
			Field string `json:"field"`
		}
		body := fmt.Sprintf(`{"name":"x","class":"marketing","status":"draft","trigger":%s,"arms":[{"id":"a","message":{"title":"x"}}]}`, trigger)
		code := s.call("PUT", fmt.Sprintf("/api/v1/campaigns/x-%d", n), json.RawMessage(body), &problem)
		if field == "" && code != http.StatusCreated || field != "" && (code/100 != 4 || problem.Field != field) {
			t.Errorf("%s: %d, field %q, want %q", trigger, code, problem.Field, field)
		}
	}
}
