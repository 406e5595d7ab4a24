package template_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

const endless = "fine\n{% for a in (1..1000) %}{% for b in (1..1000) %}{% for c in (1..1000) %}{% endfor %}{% endfor %}{% endfor %}"

func TestTheTrialRefusesWhatIsNeverWithinItsLimits(t *testing.T) {
	doubling := "{% assign a = place.name %}" + strings.Repeat("{% assign a = a | append: a %}", 50) + "{{ a }}"
	for _, c := range []struct {
		name    string
		content engage.Content
		want    string // start of the error; empty: none
	}{
		{"loops", engage.Content{Title: "Hi", Body: endless}, "too_large: body: line 2: the template does too much"},
		{"loops after a variable that some lack", engage.Content{Title: "Hi {{ profile.attributes.x }}", Body: "{{ profile.attributes.x }}" + endless}, "too_large: body: line 2: the template does too much"},
		{"append", engage.Content{Title: "Hi", Body: doubling}, "too_large: body: line 1: the text becomes too long"},
		{"of data", engage.Content{Title: "Hi", Data: map[string]string{"sku": doubling}}, "too_large: data.sku: line 1: the text becomes too long"},
		{"title", engage.Content{Title: strings.Repeat("a", 200) + " {{ place.name }}"}, "too_large: title: at most 200 bytes, has 202 whoever gets it"},
		{"title just not", engage.Content{Title: strings.Repeat("a", 200) + "{{ profile.attributes.x }}"}, ""},
		{"loops", engage.Content{Title: "Hi", Body: "{% for a in (1..100) %}{% for b in (1..100) %}{% endfor %}{% endfor %}x"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			parsed, err := template.ParseContent(c.content)
			if err != nil {
				t.Fatal(err)
			}
			_, err = parsed.Trial(nil)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || engage.CodeOf(err) != engage.TooLarge {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// Messages of older versions have such keys and must still load.
func TestTheTrialRefusesKeysThatNoPushMayHave(t *testing.T) {
	for _, key := range []string{"collapse_key", "deep_link", "image_url"} {
		c := engage.Content{Title: "Hi", Data: map[string]string{"sku": "1", key: "x"}}
		for _, channels := range [][]engage.Channel{nil, {engage.Push}, {engage.InApp, engage.Inbox}} {
			c.Channels = channels
			parsed, err := template.ParseContent(c)
			if err != nil {
				t.Fatalf("%s: refused where it is loaded: %v", key, err)
			}
			_, err = parsed.Trial(nil)
			var e *engage.Error
			switch {
			case !c.Allows(engage.Push):
				if err != nil {
					t.Errorf("%s of %v: %v", key, channels, err)
				}
			case !errors.As(err, &e) || e.Code != engage.Invalid || e.Field != "data."+key || !strings.Contains(e.Msg, "reserved"):
				t.Errorf("%s of %v: %v", key, channels, err)
			}
		}
	}
}

func TestTheTrialWarnsOfWhatAPersonMayLack(t *testing.T) {
	parsed, err := template.ParseContent(engage.Content{
		Title:    "{{ profile.attributes.name }}, {{ place.name }}: {{ weather.temperature_c }} {{ profile.visits }} {{ profile.likes | first }}",
		Body:     "{% for a in (1..3) %}{{ trigger.properties.sku }}{% endfor %}{{ profile.attributes.tier | default: 'x' }}{% if profile.attributes.a %}{{ profile.attributes.a }}{% endif %}",
		DeepLink: "{{ profile.attributes.link }}/x",
		ImageURL: "no/{{ place.id }}",
	})
	if err != nil {
		t.Fatal(err)
	}
	warnings, err := parsed.Trial(nil)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, w := range warnings {
		got = append(got, w.Error())
	}
	want := []string{
		"not_found: title: line 1: profile.attributes.name is missing; add a default or ask for it with if",
		"not_found: body: line 1: trigger.properties.sku is missing; add a default or ask for it with if",
		"not_found: deep_link: line 1: profile.attributes.link is missing; add a default or ask for it with if",
		`invalid: image_url: must be "https://…", is "no/p"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The dearest messages that are tried: what is spent per text is bounded by
// MaxWork, whatever the text.
func BenchmarkTrial(b *testing.B) {
	for name, body := range map[string]string{
		"loops": endless,
		"ifs":   "{% for a in (1..1000) %}" + strings.Repeat("{%if a%}{%endif%}", 400) + "{% endfor %}",
		"plain": "Hello {{ place.name }}, {{ profile.attributes.name | default: 'you' }}",
	} {
		parsed, err := template.ParseContent(engage.Content{Title: "Hi", Body: body})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = parsed.Trial(nil)
			}
		})
	}
}
