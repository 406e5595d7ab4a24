package template_test

import (
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

// of are variables of a person whose phone has the locale.
func of(locale string) map[string]any {
	v := vars()
	v["device"] = map[string]any{"locale": locale}
	return v
}

// visible writes the spaces that do not break as "_".
func visible(s string) string {
	return strings.NewReplacer("\u00a0", "_", "\u202f", "_", "\u200f", "", "\u200e", "").Replace(s)
}

func TestTextsAreWrittenAsThePersonWould(t *testing.T) {
	amsterdam, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Fatal(err)
	}
	// A Sunday, 14:07 in Amsterdam.
	at := time.Date(2026, 3, 1, 13, 7, 0, 0, time.UTC).In(amsterdam)
	for _, c := range []struct{ locale, source, want string }{
		{"", `{{ 1234.5 | money: "EUR" }}`, "€1,234.50"},
		{"en-US", `{{ 1234.5 | money: "eur" }}`, "€1,234.50"},
		{"nl-NL", `{{ 1234.5 | money: "EUR" }}`, "€_1.234,50"},
		{"nl_NL", `{{ -12.345 | money: "EUR" }}`, "€_-12,35"},
		{"de-DE", `{{ 1234.5 | money: "EUR" }}`, "1.234,50_€"},
		{"de-CH", `{{ 1234.5 | money: "CHF" }}`, "CHF_1'234.50"},
		{"fr-FR", `{{ 1234.5 | money: "EUR" }}`, "1_234,50_€"},
		{"es-ES", `{{ 1234.5 | money: "EUR" }}`, "1234,50_€"}, // no group below 10000
		{"es-ES", `{{ 12345.5 | money: "EUR" }}`, "12.345,50_€"},
		{"en-IN", `{{ 1234567 | money: "INR", 0 }}`, "₹12,34,567"},
		{"ja", `{{ 1234.5 | money: "JPY" }}`, "￥1,235"},
		{"en-US", `{{ 12 | money: "CHF" }}`, "CHF_12.00"},
		{"en-AU", `{{ 12 | money: "AUD" }}`, "$_12.00"},
		{"en", `{{ 20.0 | money: "EUR", "auto" }} {{ 20.5 | money: "EUR", "auto" }}`, "€20 €20.50"},
		{"en", `{{ 1.005 | money: "EUR" }} {{ 9.995 | money: "EUR" }} {{ -0.001 | money: "EUR" }}`, "€1.01 €10.00 €0.00"},
		{"he-IL", `{{ 5 | money: "ILS" }}`, "5.00_₪"},
		{"xx-nonsense", `{{ 5 | money: "EUR" }}`, "€5.00"},
		{"nl", `{{ 1234567.891 | number }} {{ 2 | number: 2 }} {{ -3.5 | number }}`, "1.234.567,891 2,00 -3,5"},
		{"sv-SE", `{{ -3 | number }}`, "−3"},

		{"", `{{ 234 | distance }} {{ 1240 | distance }} {{ 12400 | distance }} {{ 7 | distance }}`, "230 m 1.2 km 12 km 7 m"},
		{"nl", `{{ 1240 | distance }}`, "1,2 km"},
		{"de", `{{ 1240 | distance }}`, "1,2 km"},
		{"en-US", `{{ 100 | distance }} {{ 700 | distance }} {{ 30000 | distance }}`, "330 ft 0.4 mi 19 mi"},
		{"en-GB", `{{ 100 | distance }} {{ 700 | distance }}`, "110 yd 0.4 mi"},
		{"en-US", `{{ 700 | distance: "metric" }}`, "700 m"},
		{"ru-RU", `{{ 700 | distance }}`, "700 м"},
		{"nl", `{{ 1609.344 | distance: "us" }}`, "1 mi"},

		{"", `{{ now | date: "%A %-d %B %H:%M" }}`, "Sunday 1 March 14:07"},
		{"nl-NL", `{{ now | date: "%A %-d %B, %a %b" }}`, "zondag 1 maart, zo mrt"},
		{"ru", `{{ now | date: "full" }}`, "воскресенье, 1 марта 2026_г."},
		{"en-US", `{{ now | date: "long" }} {{ now | date: "time" }} {{ now | date: "short" }}`, "March 1, 2026 2:07_PM 3/1/26"},
		{"en-GB", `{{ now | date: "long" }} {{ now | date: "time" }} {{ now | date: "short" }}`, "1 March 2026 14:07 01/03/2026"},
		{"es", `{{ now | date: "day" }}`, "domingo, 1 de marzo"},
		{"ja", `{{ now | date: "long" }}`, "2026年3月1日"},
		{"de-AT", `{{ "2026-01-05" | date: "day_month" }}`, "5. Jänner"},
		{"zh-TW", `{{ now | date: "%A" }}`, "星期日"},
		{"fr-CA", `{{ now | date: "time" }}`, "14 h 07"},

		{"en", `{{ 1 | pluralize: "visit", "visits" }} {{ 0 | pluralize: "visit", "visits" }} {{ 1.5 | pluralize: "hour", "hours" }}`, "visit visits hours"},
		{"fr", `{{ 0 | pluralize: "visite", "visites" }}`, "visite"},
		{"ru", `{{ 1 | pluralize: "a", "b", "c", "d" }}{{ 3 | pluralize: "a", "b", "c", "d" }}{{ 11 | pluralize: "a", "b", "c", "d" }}{{ 22 | pluralize: "a", "b", "c", "d" }}{{ 1.5 | pluralize: "a", "b", "c", "d" }}`, "abcbd"},
		{"pl", `{{ 1 | pluralize: "a", "b", "c" }}{{ 2 | pluralize: "a", "b", "c" }}{{ 5 | pluralize: "a", "b", "c" }}{{ 100000000000021 | pluralize: "a", "b", "c" }}`, "abcc"},
		{"ar", `{{ 0 | pluralize: "z", "o", "t", "f", "m", "x" }}{{ 2 | pluralize: "z", "o", "t", "f", "m", "x" }}{{ 11 | pluralize: "z", "o", "t", "f", "m", "x" }}`, "ztm"},
		{"ja", `{{ 1 | pluralize: "a", "b" }}`, "b"},

		// What is missing stays so, for default to come last.
		{"nl", `{{ profile.none | money: "EUR" | default: "-" }}{{ 1 | money: profile.none | default: "-" }}{{ profile.none | pluralize: "a", "b" | default: "-" }}`, "---"},
	} {
		tpl, err := template.Parse(c.source)
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
			continue
		}
		got, err := tpl.Render(of(c.locale), at)
		if err != nil || visible(got) != c.want {
			t.Errorf("%s: %s: got %q, want %q, %v", c.locale, c.source, visible(got), c.want, err)
		}
	}
}

func TestBadUsesOfLocalFiltersAreRefused(t *testing.T) {
	for source, says := range map[string]string{
		`{{ 1 | money: "XXQ" }}`:                  "is not the code of a currency",
		`{{ "dear" | money: "EUR" }}`:             "is not a number",
		`{{ 1 | money: "EUR", 9 }}`:               "decimals are 0 to 6",
		`{{ 1 | number: -1 }}`:                    "decimals are 0 to 6",
		`{{ 1 | distance: "leagues" }}`:           `units are "metric"`,
		`{{ -1 | distance }}`:                     "is not a distance",
		`{{ "many" | pluralize: "a", "b" }}`:      "is not a number",
		`{{ now | date: "%Q" }}`:                  "unknown %Q",
		`{{ 1 | money }}`:                         "takes 1 to 2 arguments",
		`{{ 1 | pluralize: "a" }}`:                "takes 2 to 6 arguments",
		`{{ 1 | money: "EUR", "whole" }}`:         "is not a whole number",
		`{{ profile.nested | money: "EUR" }}`:     "is not a number",
		`{{ 1 | pluralize: "a", "b", "c" }}{{ }}`: "is empty",
	} {
		tpl, err := template.Parse(source)
		if err == nil {
			_, err = tpl.Render(of("nl"), now)
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", source, err, says)
		}
	}
}

// spoken is a message in several languages.
func spoken() engage.Content {
	return engage.Content{
		Title: "Hello {{ profile.name | default: 'you' }}", Body: "It is {{ now | date: 'day_month' }}: {{ 12.5 | money: 'EUR' }}", Locale: "en",
		DeepLink: "shop://offer", ImageURL: "https://example.com/en.png",
		Actions: []engage.Action{{ID: "go", Label: "Go"}, {ID: "no", Label: "No"}},
		Push:    &engage.PushContent{Subtitle: "Today"},
		Locales: map[string]engage.LocalContent{
			"nl":      {Title: "Hallo {{ profile.name | default: 'jij' }}", Body: "Het is {{ now | date: 'day_month' }}: {{ 12.5 | money: 'EUR' }}", Subtitle: "Vandaag", Actions: map[string]engage.LocalAction{"go": {Label: "Ga"}}},
			"pt-BR":   {Title: "Olá", ImageURL: "https://example.com/pt.png"},
			"zh-Hant": {Title: "你好"},
			"nb":      {Title: "Hei"},
		},
	}
}

func TestAPhoneGetsTheTextOfItsLanguage(t *testing.T) {
	c, err := template.ParseContent(spoken())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	for _, want := range []struct{ phone, locale, title string }{
		{"nl-NL", "nl", "Hallo ada"},
		{"nl_BE", "nl", "Hallo ada"},
		{"nl", "nl", "Hallo ada"},
		{"pt-BR", "pt-BR", "Olá"},
		{"pt-PT", "pt-BR", "Olá"},
		{"pt", "pt-BR", "Olá"},
		{"zh-TW", "zh-Hant", "你好"},
		{"zh-HK", "zh-Hant", "你好"},
		{"zh-CN", "en", "Hello ada"},
		{"no", "nb", "Hei"},
		{"nb-NO", "nb", "Hei"},
		{"af-ZA", "en", "Hello ada"}, // not Dutch, though near
		{"es-MX", "en", "Hello ada"},
		{"de-DE", "en", "Hello ada"},
		{"", "en", "Hello ada"},
		{"en-GB", "en", "Hello ada"},
		{"%%%", "en", "Hello ada"},
	} {
		got, err := c.Render(vars(), at, want.phone)
		if err != nil || got.Locale != want.locale || got.Title != want.title {
			t.Errorf("%q: got %q in %q, want %q in %q, %v", want.phone, got.Title, got.Locale, want.title, want.locale, err)
		}
	}
	got, err := c.Render(vars(), at, "nl-BE")
	if err != nil {
		t.Fatal(err)
	}
	if visible(got.Body) != "Het is 1 maart: €_12,50" || got.Subtitle != "Vandaag" || got.Actions[0].Label != "Ga" || got.Actions[1].Label != "No" ||
		got.DeepLink != "shop://offer" || got.ImageURL != "https://example.com/en.png" {
		t.Errorf("rendered %+v", got)
	}
	// What the language does not say is the message's own; an English text has English
	// dates, whatever the phone is set to.
	got, err = c.Render(vars(), at, "de-DE")
	if err != nil || got.Body != "It is March 1: €12.50" {
		t.Errorf("rendered %+v, %v", got, err)
	}
	if got, err = c.Render(vars(), at, "pt-PT"); err != nil || got.ImageURL != "https://example.com/pt.png" || got.Subtitle != "Today" {
		t.Errorf("rendered %+v, %v", got, err)
	}
}

func TestVariablesOfALanguageCount(t *testing.T) {
	m := spoken()
	m.Locales["nb"] = engage.LocalContent{Title: "Hei {{ weather.condition }}"}
	c, err := template.ParseContent(m)
	if err != nil {
		t.Fatal(err)
	}
	if v := strings.Join(c.Variables(), " "); v != "now profile weather" {
		t.Errorf("variables %q", v)
	}
	_, err = c.Render(map[string]any{"profile": map[string]any{}}, now, "nb")
	if names := template.MissingIn(err); len(names) != 1 || names[0] != "weather.condition" || !strings.Contains(err.Error(), "locales.nb.title") {
		t.Errorf("missing %v of %v", names, err)
	}
	if _, err := c.Render(map[string]any{"profile": map[string]any{}}, now, "nl"); err != nil {
		t.Errorf("another language's hole: %v", err)
	}
}

func TestBadLanguagesAreRefusedWithTheirField(t *testing.T) {
	for _, c := range []struct {
		change func(*engage.Content)
		field  string
	}{
		{func(c *engage.Content) { c.Locales["nl"] = engage.LocalContent{Title: "{{ x"} }, "locales.nl.title"},
		{func(c *engage.Content) { c.Locales["nl"] = engage.LocalContent{Body: "{{ persn.name }}"} }, "locales.nl.body"},
		{func(c *engage.Content) { c.Locales["nl"] = engage.LocalContent{DeepLink: "javascript:x"} }, "locales.nl.deep_link"},
		{func(c *engage.Content) { c.Locales["nl"] = engage.LocalContent{Subtitle: strings.Repeat("x", 201)} }, "locales.nl.subtitle"},
		{func(c *engage.Content) {
			c.Locales["nl"] = engage.LocalContent{Actions: map[string]engage.LocalAction{"go": {Label: strings.Repeat("x", 101)}}}
		}, "locales.nl.actions.go.label"},
		{func(c *engage.Content) { c.Locales["he"], c.Locales["iw"] = c.Locales["nl"], c.Locales["nl"] }, "locales.iw"}, // one language by two names
		{func(c *engage.Content) { c.Locale = "no" }, "locales.nb"},
		{func(c *engage.Content) { c.Locale = "x1" }, "locale"},
	} {
		m := spoken()
		c.change(&m)
		_, err := template.ParseContent(m)
		if err == nil || !strings.Contains(err.Error(), ": "+c.field+": ") {
			t.Errorf("got %v, want %s", err, c.field)
		}
	}
}

func TestABlankTextIsAHole(t *testing.T) {
	c, err := template.ParseContent(engage.Content{Title: "Rain", Body: "{% if profile.none %}Hello{% endif %} "})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Render(vars(), now, ""); err == nil || !strings.Contains(err.Error(), "body: says nothing") {
		t.Errorf("a blank body: %v", err)
	}
	if warnings, err := c.Trial(nil); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "blank") {
		t.Errorf("the trial warned of %v, %v", warnings, err)
	}
	if _, warnings, err := c.Draft(vars(), now, ""); err != nil || len(warnings) != 1 {
		t.Errorf("the draft warned of %v, %v", warnings, err)
	}
}

func TestTheTrialTriesEveryLanguageOnce(t *testing.T) {
	m := spoken()
	m.Title = "{{ profile.attributes.name }}"
	m.Locales = map[string]engage.LocalContent{"nl": {Body: "{{ profile.attributes.naam }}"}, "de": {Subtitle: "{{ 1 | divided_by: 0 }}"}}
	c, err := template.ParseContent(m)
	if err != nil {
		t.Fatal(err)
	}
	warnings, err := c.Trial(nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, w := range warnings {
		all = append(all, strings.SplitN(w.Error(), ": ", 3)[1])
	}
	if got := strings.Join(all, " "); got != "title locales.de.subtitle locales.nl.body" {
		t.Errorf("warned of %q: %v", got, warnings)
	}
	examples, err := c.Examples(nil)
	if err != nil || len(examples) != 3 || examples[0].Locale != "en" || examples[2].Locale != "nl" {
		t.Errorf("examples %+v, %v", examples, err)
	}
}

func BenchmarkRenderInALanguage(b *testing.B) {
	c, err := template.ParseContent(spoken())
	if err != nil {
		b.Fatal(err)
	}
	v := vars()
	for b.Loop() {
		if _, err := c.Render(v, now, "nl-NL"); err != nil {
			b.Fatal(err)
		}
	}
}
