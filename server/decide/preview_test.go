package decide_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// preview is what the campaign's only arm says.
func preview(t *testing.T, in decide.PreviewOf) decide.Preview {
	t.Helper()
	if in.At.IsZero() {
		in.At = t0
	}
	in.Attributes = map[string]rules.Type{"tier": rules.String}
	got, err := decide.PreviewArms(in)
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	return got[0]
}

func TestAPreviewSaysWhatTheDecisionWouldSend(t *testing.T) {
	c := offer("x", func(c *engage.Campaign) {
		c.Arms[0].Message = engage.Content{
			Title: "{{ place.name }} for {{ profile.attributes.tier }}, {{ now | date: 'time' }}", Locale: "en",
			Body:    "{{ weather.temperature_c | round }} degrees on {{ device.platform }}, visit {{ profile.visits }}",
			Locales: map[string]engage.LocalContent{"nl": {Title: "{{ place.name }} voor {{ profile.attributes.tier }}, {{ now | date: 'time' }}"}},
		}
	})
	w := newWorld(t, c)
	w.meet("ada")
	w.apply(entry(engage.KindTraits, person("ada"), 0, map[string]any{"tier": "gold"}))
	state, err := json.Marshal(w.person("ada"))
	if err != nil {
		t.Fatal(err)
	}
	rain := sky("rain", 0, 60*60*sec)
	e := enters("ada", "cafe", "v1", 0, func(tr *engage.Trigger) { tr.Weather, tr.WeatherIs = &rain, engage.WeatherFresh })
	w.apply(e)
	sent := w.sends()
	if len(sent) != 1 {
		t.Fatalf("decided %s", w.verdicts())
	}
	in := decide.PreviewOf{Campaign: c, Person: state, Places: world0(nil).Places, At: e.At, Trigger: engage.Trigger{Place: "cafe", Weather: &rain}}
	got := preview(t, in)
	if r := got.Rendered; r.Title != sent[0].Title || r.Body != sent[0].Body || r.Locale != "nl" || len(got.Lacking) > 0 || got.Err != nil || got.Samples != nil {
		t.Errorf("previewed %+v, sent %q %q", got, sent[0].Title, sent[0].Body)
	}
	if sent[0].Title != "Café voor gold, 11:00" {
		t.Errorf("sent %q", sent[0].Title)
	}
	in.Locale, in.Platform = "en-US", "ios"
	if r := preview(t, in).Rendered; strings.ReplaceAll(r.Title, "\u202f", " ") != "Café for gold, 11:00 AM" || r.Body != "9 degrees on ios, visit 0" {
		t.Errorf("for another phone: %+v", r)
	}
}

func TestAPreviewTellsWhatIsMissing(t *testing.T) {
	c := offer("x", func(c *engage.Campaign) {
		c.Arms[0].Message.Body = "{{ profile.attributes.tier }} {{ weather.condition }} {{ trigger.distance_m | distance }}"
	})
	got := preview(t, decide.PreviewOf{Campaign: c})
	if got.Rendered.Body != "rain 1 m" || len(got.Lacking) != 1 || !strings.Contains(got.Lacking[0].Error(), "profile.attributes.tier is missing") ||
		!slices.Equal(got.Samples, []string{"place", "profile", "weather"}) || got.Platform != "ios" {
		t.Errorf("previewed %+v", got)
	}
	c.Arms[0].Message.DeepLink = "{{ place.name }}"
	if got = preview(t, decide.PreviewOf{Campaign: c}); got.Err == nil || !strings.Contains(got.Err.Error(), "deep_link") {
		t.Errorf("a link that is none: %+v", got)
	}
	c.Arms[0].Message.Body = "{{ x"
	if _, err := decide.PreviewArms(decide.PreviewOf{Campaign: c}); err == nil || !strings.Contains(err.Error(), "arms[0].message.body") {
		t.Errorf("a campaign that does not compile: %v", err)
	}
	// An event has no place, and no example of one.
	e := offer("e", func(c *engage.Campaign) {
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "paid"}
		c.Arms[0].Message = engage.Content{Title: "{{ trigger.properties.sum | money: 'EUR' }} {{ trigger.event }}"}
	})
	if got = preview(t, decide.PreviewOf{Campaign: e, Trigger: engage.Trigger{Properties: json.RawMessage(`{"sum":12.5}`)}, Locale: "de"}); strings.ReplaceAll(got.Rendered.Title, "\u00a0", " ") != "12,50 € paid" {
		t.Errorf("previewed %+v", got)
	}
	e.Arms[0].Message.Title = "At {{ place.name }}"
	if got = preview(t, decide.PreviewOf{Campaign: e}); len(got.Lacking) != 1 {
		t.Errorf("previewed %+v", got)
	}
}
