package template_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

func TestFindingsOfATextArePlain(t *testing.T) {
	link := func(r template.Rendered) template.Rendered { r.DeepLink = "shop://x"; return r }
	for name, c := range map[string]struct {
		r    template.Rendered
		want string // "kind field platform", each; "" finds nothing
	}{
		"good":              {link(template.Rendered{Title: "Rain at the corner shop", Body: "Umbrellas are 20 % off until 6 ☂️"}), ""},
		"long on iOS":       {link(template.Rendered{Title: strings.Repeat("x", 41), Body: strings.Repeat("y ", 90)}), "too_long title ios, too_long body ios"},
		"long on both":      {link(template.Rendered{Title: strings.Repeat("x", 46), Body: "b"}), "too_long title ios, too_long title android"},
		"a family is one":   {link(template.Rendered{Title: strings.Repeat("👨‍👩‍👧‍👦", 3), Body: "b"}), ""},
		"wide characters":   {link(template.Rendered{Title: strings.Repeat("漢", 21), Body: "b"}), "too_long title ios"},
		"many emoji":        {link(template.Rendered{Title: "🎉🎉", Body: "🎉👩🏽‍🚀"}), "many_emoji body "},
		"digits are none":   {link(template.Rendered{Title: "123456", Body: "© ™ 5"}), ""},
		"capitals":          {link(template.Rendered{Title: "SALE SALE SALE now", Body: "FREE"}), "capitals title "},
		"a short word":      {link(template.Rendered{Title: "IKEA SALE", Body: "b"}), ""},
		"zalgo":             {link(template.Rendered{Title: "H\u0335\u0321\u0330\u0352\u030d\u0314i", Body: "b"}), "stacked_marks title "},
		"Vietnamese":        {link(template.Rendered{Title: "Tie\u0302\u0301ng Vie\u0323\u0302t", Body: "b"}), ""},
		"Hebrew":            {link(template.Rendered{Title: "שלום עולם 20%", Body: "b"}), ""},
		"mixed":             {link(template.Rendered{Title: "iPhone במבצע היום בלבד", Body: "b"}), "direction title "},
		"an open direction": {link(template.Rendered{Title: "a\u202eb", Body: "b"}), "direction title "},
		"unseen":            {link(template.Rendered{Title: "a\u200bb", Body: "b"}), "invisible_characters title "},
		"no link":           {template.Rendered{Title: "t", Body: "b"}, "no_deep_link deep_link "},
		"plain http":        {template.Rendered{Title: "t", Body: "b", DeepLink: "HTTP://example.com"}, "plain_http deep_link "},
		"no title":          {link(template.Rendered{Body: "b"}), "no_title title "},
	} {
		var got []string
		for _, f := range template.Lint(&engage.Content{Title: "t", Body: "b"}, &c.r, "", "") {
			got = append(got, f.Kind+" "+f.Field+" "+f.Platform)
			if f.Words == "" || strings.Contains(f.Words, "%!") {
				t.Errorf("%s: words %q", name, f.Words)
			}
		}
		if all := strings.Join(got, ", "); all != c.want {
			t.Errorf("%s: found %q, want %q", name, all, c.want)
		}
	}
	long := template.Rendered{Title: strings.Repeat("x", 60), Body: "b", DeepLink: "shop://x"}
	if got := template.Lint(&engage.Content{}, &long, "", "android"); len(got) != 1 || got[0].Platform != "android" {
		t.Errorf("of one platform: %+v", got)
	}
	if got := template.Lint(&engage.Content{Channels: []engage.Channel{engage.Inbox}}, &long, "", ""); len(got) != 0 {
		t.Errorf("of no push: %+v", got)
	}
	if got := template.Lint(&engage.Content{Locales: map[string]engage.LocalContent{"nl": {Title: "x"}}}, &long, "nl", "ios"); len(got) != 1 || got[0].Field != "locales.nl.title" || got[0].Locale != "nl" {
		t.Errorf("of a language: %+v", got)
	}
}

func TestFindingsOfLanguages(t *testing.T) {
	m := engage.Content{
		Title: "Hi {{ profile.attributes.name }}", Body: "b", Push: &engage.PushContent{Subtitle: "s"}, Actions: []engage.Action{{ID: "go", Label: "Go"}},
		Locales: map[string]engage.LocalContent{
			"de": {Title: "Hallo {{ profile.attributes.name }}", Body: "b", Subtitle: "s", Actions: map[string]engage.LocalAction{"go": {Label: "Los"}}},
			"nl": {Title: "Hoi {{ profile.attributes.naam }}"},
		},
	}
	c, err := template.ParseContent(m)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range c.LintLocales() {
		got = append(got, f.Kind+" "+f.Field)
	}
	want := []string{
		"locale_not_said locale", "not_translated locales.nl", "not_translated locales.nl", "not_translated locales.nl",
		"other_variables locales.nl", "other_variables locales.nl",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %q", got)
	}
}
