package decide_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

// told is what a gate of the only decision saw.
func (w *world) told(gate string) map[string]any {
	w.Helper()
	for _, g := range w.decisions()[0].Gates {
		if g.Gate == gate {
			return g.Saw.Values()
		}
	}
	w.Fatalf("the gate %s was not asked", gate)
	return nil
}

// tongues has its message in two languages.
func tongues(c *engage.Campaign) {
	c.Arms[0].Message = engage.Content{
		Title: "Open", Body: "Until {{ now | date: '%H:%M, %A' }}", Locale: "en",
		Locales: map[string]engage.LocalContent{"nl": {Title: "Geopend", Body: "Tot {{ now | date: '%H:%M, %A' }}"}},
	}
}

func TestAPersonGetsTheLanguageOfThePhoneThatTriggered(t *testing.T) {
	for _, c := range []struct{ install, title, body, chosen string }{
		{"i-ada", "Geopend", "Tot 11:01, maandag", "nl"}, // 10:01 UTC, at a café in Amsterdam
		{"i-two", "Open", "Until 11:01, Monday", "en"},   // her other phone, in German
		{"", "Open", "Until 11:01, Monday", "en"},        // at no phone: the one used last
	} {
		w := newWorld(t, offer("x", tongues))
		w.meet("ada")
		w.apply(entry(engage.KindDevice, person("ada"), sec, device("i-two", func(d *engage.Device) {
			d.Locale, d.SeenAt = "de-DE", t0.Add(sec)
		})))
		w.apply(enters("ada", "cafe", "v1", 60*sec, func(tr *engage.Trigger) { tr.Install = c.install }))
		sends := w.sends()
		if len(sends) != 1 || sends[0].Title != c.title || sends[0].Body != c.body {
			t.Fatalf("%s: sent %+v", c.install, sends)
		}
		saw := w.told("render")
		if got, want := saw["chosen"], map[string]any{"a": c.chosen}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the trace says %v, want %v", c.install, got, want)
		}
	}
}

func TestTheTraceNamesTheHole(t *testing.T) {
	for _, c := range []struct {
		body    string
		locales map[string]engage.LocalContent
		field   string
		missing any
	}{
		{"{{ profile.attributes.colour }}, {{ trigger.none }}", nil, "body", []any{"profile.attributes.colour"}},
		{"Come", map[string]engage.LocalContent{"nl": {Body: "{{ profile.attributes.maat | append: profile.attributes.kleur }}"}}, "locales.nl.body", []any{"profile.attributes.maat", "profile.attributes.kleur"}},
		{" {% if profile.attributes.colour %}x{% endif %} ", nil, "body", nil},
	} {
		w := newWorld(t, offer("x", func(c2 *engage.Campaign) {
			c2.Arms[0].ID = "b.body"
			c2.Arms[0].Message.Body, c2.Arms[0].Message.Locales = c.body, c.locales
		}))
		w.meet("ada")
		w.apply(enters("ada", "cafe", "v1", 0))
		w.wantVerdicts("x suppressed render")
		saw := w.told("render")
		if saw["arm"] != "b.body" || saw["field"] != c.field || !reflect.DeepEqual(saw["missing"], c.missing) || !strings.Contains(saw["error"].(string), "arms.b.body."+c.field) {
			t.Errorf("%s: the trace says %v", c.body, saw)
		}
	}
}
