package template_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

// parts is a message whose buttons, subtitle and Live Activity have templates.
func parts() engage.Content {
	return engage.Content{
		Title:   "Order",
		Actions: []engage.Action{{ID: "map", Label: "To {{ place.name }}", DeepLink: "shop://map?q={{ place.name | url_encode }}"}, {ID: "no", Label: "No"}},
		Push: &engage.PushContent{
			Subtitle: "{{ profile.name | capitalize }}", Badge: new(int),
			IOS: &engage.IOSPush{ThreadID: "orders", Live: &engage.LiveActivity{
				Event: engage.LiveStart, AttributesType: "Order", Attributes: json.RawMessage(`{"shop":"{{ place.name }}","n":12345678901234567890}`),
				State: json.RawMessage(`{"lines":["{{ profile.name }}",{"b":"2 & {{ profile.n }}","a":true}],"eta":null}`),
			}},
		},
	}
}

func TestPartsRender(t *testing.T) {
	made := parts()
	c, err := template.ParseContent(made)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second rendering does not see the first
		got, err := c.Render(vars(), now, "")
		if err != nil {
			t.Fatal(err)
		}
		want := []engage.Action{{ID: "map", Label: "To Café Zoë", DeepLink: "shop://map?q=Caf%C3%A9+Zo%C3%AB"}, {ID: "no", Label: "No"}}
		if len(got.Actions) != 2 || got.Actions[0] != want[0] || got.Actions[1] != want[1] || got.Subtitle != "Ada" {
			t.Errorf("rendered %+v", got)
		}
		if l := got.Live; l == nil || l.Event != engage.LiveStart || l.AttributesType != "Order" ||
			string(l.Attributes) != `{"n":12345678901234567890,"shop":"Café Zoë"}` ||
			string(l.State) != `{"eta":null,"lines":["ada",{"a":true,"b":"2 & 3"}]}` {
			t.Errorf("live activity %+v: %s %s", l, l.Attributes, l.State)
		}
	}
	if made.Actions[0].Label != "To {{ place.name }}" || !strings.Contains(string(made.Push.IOS.Live.State), "{{") {
		t.Error("rendering changed the campaign")
	}
	if v := strings.Join(c.Variables(), " "); v != "place profile" {
		t.Errorf("variables %q", v)
	}
}

func TestBadPartsAreRefusedWithTheirField(t *testing.T) {
	live := func(state string) func(*engage.Content) {
		return func(c *engage.Content) { c.Push.IOS.Live.State = json.RawMessage(state) }
	}
	const at = "push.ios.live_activity."
	for _, c := range []struct {
		name   string
		change func(*engage.Content)
		field  string
		says   string
		late   bool // only when rendered
	}{
		{"a label's syntax", func(c *engage.Content) { c.Actions[0].Label = "{{ x" }, "actions[0].label", "not closed", false},
		{"a label that is too long", func(c *engage.Content) { c.Actions[1].Label = strings.Repeat("x", 101) }, "actions[1].label", "at most 100 bytes", false},
		{"an empty label", func(c *engage.Content) { c.Actions[1].Label = "{{ profile.none | default: '' }}" }, "actions[1].label", "is empty", true},
		{"a link of a button", func(c *engage.Content) { c.Actions[1].DeepLink = "javascript:x" }, "actions[1].deep_link", "not allowed", false},
		{"a subtitle", func(c *engage.Content) { c.Push.Subtitle = "{{ profile.none }}" }, "push.subtitle", "missing", true},
		{"a long subtitle", func(c *engage.Content) { c.Push.Subtitle = strings.Repeat("x", 201) }, "push.subtitle", "at most 200", false},
		{"no JSON", live(`{`), at + "content_state", "not JSON", false},
		{"two objects", live(`{} {}`), at + "content_state", "more than one", false},
		{"a list", live(`[]`), at + "content_state", "JSON object", false},
		{"a string's syntax", live(`{"a":["x","{% for %}"]}`), at + "content_state.a[1]", "for", false},
		{"a string's variable", live(`{"a":"{{ persn.name }}"}`), at + "content_state.a", "unknown variable", false},
		{"too deep", live(strings.Repeat(`{"a":`, 12) + "1" + strings.Repeat("}", 12)), at + "content_state" + strings.Repeat(".a", 11), "levels deep", false},
		{"too many strings", live(`{"a":[` + strings.Repeat(`"x",`, 100) + `"x"]}`), at + "content_state.a[99]", "at most 100 strings", false},
		{"too large when rendered", live(`{"a":["` + strings.Repeat(`{{ profile.name }}",`+`"`, 3) + strings.Repeat(`{% for i in (1..300) %}xxx{% endfor %}","`, 4) + `"]}`), at + "content_state", "at most 3500 bytes", true},
	} {
		m := parts()
		c.change(&m)
		p, err := template.ParseContent(m)
		if c.late {
			if err != nil {
				t.Errorf("%s: refused at once: %v", c.name, err)
				continue
			}
			_, err = p.Render(vars(), now, "")
		}
		var e *engage.Error
		if !errors.As(err, &e) || e.Field != c.field || !strings.Contains(e.Msg, c.says) {
			t.Errorf("%s: got %v, want %s with %q", c.name, err, c.field, c.says)
		}
	}
}

func TestSilentAndWordlessMessagesRender(t *testing.T) {
	for name, m := range map[string]engage.Content{
		"silent":          {Channels: []engage.Channel{engage.Push}, Data: map[string]string{"sync": "{{ trigger.event }}"}, Push: &engage.PushContent{Silent: true}},
		"a Live Activity": {Channels: []engage.Channel{engage.Push}, Push: &engage.PushContent{IOS: &engage.IOSPush{Live: &engage.LiveActivity{Event: engage.LiveEnd}}}},
	} {
		c, err := template.ParseContent(m)
		if err == nil {
			_, err = c.Render(map[string]any{"trigger": map[string]any{"event": "e"}}, now, "")
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c, err := template.ParseContent(engage.Content{Title: "{{ profile.name | default: '' }}"}); err != nil {
		t.Error(err)
	} else if _, err := c.Render(map[string]any{"profile": map[string]any{}}, now, ""); err == nil {
		t.Error("a message that says nothing was rendered")
	}
}

func TestATrialSeesButtonsAndSubtitle(t *testing.T) {
	m := parts()
	m.Actions[1].Label = "{{ place.name | replace: 'p', '' }}"
	m.Push.Subtitle = "{{ profile.attributes.name }}"
	m.Push.IOS = nil
	c, err := template.ParseContent(m)
	if err != nil {
		t.Fatal(err)
	}
	warnings, err := c.Trial(nil)
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, w := range warnings {
		if e, ok := errors.AsType[*engage.Error](w); ok {
			fields = append(fields, e.Field)
		}
	}
	if got := strings.Join(fields, " "); got != "actions[1].label push.subtitle" {
		t.Errorf("warned of %q: %v", got, warnings)
	}
}
