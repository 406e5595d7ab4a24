package engage_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

// local is full in Dutch, too.
func local() engage.Content {
	c := full()
	c.Locale = "en"
	c.Locales = map[string]engage.LocalContent{
		"nl": {
			Title: "T2", Body: "B2", Subtitle: "S2", DeepLink: "shop://nl", ImageURL: "https://example.com/nl.png",
			Actions: map[string]engage.LocalAction{"buy": {Label: "Koop", DeepLink: "shop://koop"}, "later": {Label: "Straks"}},
		},
		"zh-Hant-HK": {Title: "T3"}, "es-419": {Body: "B3"},
	}
	return c
}

func TestAMessageInAnotherLanguage(t *testing.T) {
	c := local()
	if err := saying(c).Validate(); err != nil {
		t.Fatal(err)
	}
	nl := c.In("nl")
	if nl.Title != "T2" || nl.Body != "B2" || nl.Push.Subtitle != "S2" || nl.DeepLink != "shop://nl" || nl.ImageURL != "https://example.com/nl.png" ||
		nl.Actions[0] != (engage.Action{ID: "buy", Label: "Koop", DeepLink: "shop://koop"}) || nl.Actions[1] != (engage.Action{ID: "later", Label: "Straks"}) ||
		nl.Actions[2] != c.Actions[2] || nl.Push.Sound != c.Push.Sound {
		t.Errorf("in Dutch: %+v", nl)
	}
	if es := c.In("es-419"); es.Title != "T" || es.Body != "B3" || es.Push != c.Push {
		t.Errorf("in Spanish: %+v", es)
	}
	if c.Title != "T" || c.Push.Subtitle != "S" || c.Actions[0].Label != "Buy" {
		t.Errorf("the message was changed: %+v", c)
	}
	if got := c.Images(); !maps.Equal(got, map[string]string{"image_url": "https://example.com/x.png", "locales.nl.image_url": "https://example.com/nl.png"}) {
		t.Errorf("images %v", got)
	}
}

func TestBadLanguagesAreRefused(t *testing.T) {
	nl := func(l engage.LocalContent) func(*engage.Content) {
		return func(c *engage.Content) { c.Locales["nl"] = l }
	}
	for _, c := range []struct {
		field  string // below arms[0].message
		says   string
		code   engage.Code
		change func(*engage.Content)
	}{
		{"locale", `is "en_GB"`, engage.Invalid, func(c *engage.Content) { c.Locale = "en_GB" }},
		{"locales", `is "NL"`, engage.Invalid, func(c *engage.Content) { c.Locales["NL"] = engage.LocalContent{Title: "T"} }},
		{"locales", "at most 40, has 46", engage.TooLarge, func(c *engage.Content) {
			for i := range 43 {
				c.Locales[fmt.Sprintf("x%c%c", 'a'+i/26, 'a'+i%26)] = engage.LocalContent{Title: "T"}
			}
		}},
		{"locales.en", "the language of the message itself", engage.Invalid, func(c *engage.Content) { c.Locales["en"] = engage.LocalContent{Title: "T"} }},
		{"locales.nl", "says nothing of its own", engage.Invalid, nl(engage.LocalContent{})},
		{"locales.nl.title", "is blank", engage.Invalid, nl(engage.LocalContent{Title: " "})},
		{"locales.nl.deep_link", "the message itself has none", engage.Invalid, func(c *engage.Content) { c.DeepLink = "" }},
		{"locales.nl.subtitle", "no push.subtitle", engage.Invalid, func(c *engage.Content) { c.Push = nil }},
		{"locales.nl.actions.sell", "no button of this id", engage.Invalid, nl(engage.LocalContent{Actions: map[string]engage.LocalAction{"sell": {Label: "x"}}})},
		{"locales.nl.actions.buy", "is empty", engage.Invalid, nl(engage.LocalContent{Actions: map[string]engage.LocalAction{"buy": {}}})},
		{"locales.nl.actions.buy.label", "is blank", engage.Invalid, nl(engage.LocalContent{Actions: map[string]engage.LocalAction{"buy": {Label: "\t"}}})},
		{"locales", "a silent message", engage.Invalid, func(c *engage.Content) {
			*c = engage.Content{Channels: []engage.Channel{engage.Push}, Push: &engage.PushContent{Silent: true}, Locales: c.Locales}
		}},
	} {
		m := local()
		c.change(&m)
		err := saying(m).Validate()
		var e *engage.Error
		want := strings.TrimSuffix("arms[0].message."+c.field, ".")
		if !errors.As(err, &e) || e.Code != c.code || e.Field != want || !strings.Contains(e.Msg, c.says) {
			t.Errorf("got %v, want %s of %s with %q", err, c.code, want, c.says)
		}
	}
}
