package template_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

var now = time.Date(2026, 3, 1, 18, 5, 9, 0, time.FixedZone("CET", 3600))

func vars() map[string]any {
	return map[string]any{
		"profile": map[string]any{
			"name": "ada", "empty": "", "points": 1250000.0, "price": 7.5, "n": json.Number("3"), "none": nil, "vip": true,
			"likes": []string{"fashion", "books"}, "born": "1815-12-10", "born_at": time.Date(1815, 12, 10, 12, 0, 0, 0, time.UTC),
			"attitude": engage.Like, "token": engage.Secret("s3cret"), "long": strings.Repeat("x", 20000), "big": int64(1) << 40,
			"nested": map[string]any{"b": 2, "a": 1, "c": 3}, "odd": struct{ X int }{7}, "bad": "a\xffb",
		},
		"place":   map[string]any{"name": "Café Zoë", "distance_m": 234.0},
		"weather": map[string]any{"temperature_c": 11.26, "condition": "rain"},
	}
}

func render(source string) (string, error) {
	t, err := template.Parse(source)
	if err != nil {
		return "", err
	}
	return t.Render(vars(), now)
}

func TestRenders(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{`Hi {{ profile.name | capitalize }}, {{ weather.temperature_c | round: 1 }} °C at {{place.name}}`, "Hi Ada, 11.3 °C at Café Zoë"},
		{"", ""},
		{"{ just } text }} %}", "{ just } text }} %}"},
		{`{{ profile.points }} {{ profile.price }} {{ profile.n }} {{ profile.big }} {{ profile.vip }} {{ 1.50 }}`, "1250000 7.5 3 1099511627776 true 1.5"},
		{`{{ profile.likes }}|{{ profile.likes | join: ", " }}|{{ profile.likes.first }}|{{ profile.likes[1] }}|{{ profile.likes[-1] }}|{{ profile["name"] }}`, "fashionbooks|fashion, books|fashion|books|books|ada"},
		{`{{ profile.attitude }} {{ profile.token }} {{ profile.bad }}`, "like redacted a\uFFFDb"},
		{"{{ profile.name\n | upcase }}", "ADA"},
		{"a {{- profile.name -}}  b\n{%- if true -%} c {%- endif -%} d", "aadabcd"},
		{"{{ 1 -}} \n {{ 2 }}", "12"},
		// conditions
		{`{% if profile.vip and profile.name == "ada" %}yes{% else %}no{% endif %}`, "yes"},
		{`{% if profile.nope %}a{% elsif profile.points > 10 %}b{% else %}c{% endif %}`, "b"},
		{`{% unless profile.nope %}a{% else %}b{% endunless %}`, "a"},
		{`{% if profile.nope > 3 or profile.nope == 3 or profile.nope contains 3 %}a{% else %}b{% endif %}`, "b"},
		{`{% if profile.likes contains "books" %}a{% endif %}{% if place.name contains "Zo" %}b{% endif %}`, "ab"},
		{`{% if 3 == profile.n and 2 < profile.n and profile.n >= 3 %}a{% endif %}`, "a"},
		{`{% if profile.empty == blank %}a{% endif %}{% if profile.nope == blank %}b{% endif %}{% if profile.name != empty %}c{% endif %}{% if profile.nope == nil %}d{% endif %}{% if blank == profile.empty %}e{% endif %}`, "abcde"},
		{`{% if profile.born_at < now and profile.born < now and now > profile.born %}a{% endif %}`, "a"},
		{`{% case weather.condition %}{% when "snow", "sleet" %}s{% when "rain" or "drizzle" %}r{% else %}e{% endcase %}`, "r"},
		{"{% case 5 %}\n{% when 4 %}s{% else %}e{% endcase %}", "e"},
		// loops
		{`{% for i in (1..3) %}{{ i }}{% unless forloop.last %},{% endunless %}{% endfor %}`, "1,2,3"},
		{`{% for i in (1..profile.n) reversed %}{{ i }}{% endfor %}`, "321"},
		{`{% for l in profile.likes limit:1 offset:1 %}{{ l }}{{ forloop.length }}{% endfor %}`, "books1"},
		{`{% for l in profile.likes reversed limit:1 %}{{ l }}{% endfor %}`, "fashion"},
		{`{% for l in profile.nope %}x{% else %}none{% endfor %}{% for i in (3..1) %}x{% else %}none{% endfor %}`, "nonenone"},
		{`{% for i in (1..5) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}`, "13"},
		{`{% for p in profile.nested %}{{ p[0] }}{{ p[1] }}{% endfor %}`, "a1b2c3"},
		{`{% for i in (1..2) %}{% for j in (1..2) %}{{ forloop.index }}{% endfor %}{{ forloop.index }};{% endfor %}`, "121;122;"},
		{`{% assign i = 7 %}{% for i in (1..2) %}{% endfor %}{{ i }}`, "7"},
		{`{% for w in "a b" | split: " " %}{{ w }}{% endfor %}`, "ab"},
		// assign, capture, comment, raw
		{`{% assign x = profile.name | upcase %}{{ x }}{% capture y %}<{{ x }}>{% endcapture %}{{ y }}{{ y.size }}`, "ADA<ADA>5"},
		{`a{% comment %}{{ x {% if %}{% endcomment %}b{% raw %}{{ x {% if %}{% endraw %}c`, "ab{{ x {% if %}c"},
		// missing ones
		{`{{ profile.nope | default: "you" }} {{ profile.nope | upcase | append: "!" | default: "you" }} {{ profile.empty | default: "e" }} {{ "x" | append: profile.nope | default: "d" }}`, "you you e d"},
		// filters
		{`{{ "élan" | capitalize }} {{ "a b" | url_encode }} {{ "<b>" | escape }} {{ " x " | strip }}|{{ " x " | lstrip }}|{{ " x " | rstrip }}|`, "Élan a+b &lt;b&gt; x|x | x|"},
		{`{{ "hello" | replace: "l", "L" }} {{ "hello" | replace_first: "l", "L" }} {{ "hello" | remove: "l" }} {{ "hello" | remove_first: "l" }}`, "heLLo heLlo heo helo"},
		{`{{ "hello world" | truncate: 8 }} {{ "hello" | truncate: 5 }} {{ "héllo" | truncate: 2, "" }} {{ "a b c" | truncatewords: 2 }} {{ "hello" | truncate: 2 }}`, "hello... hello hé a b... ..."},
		{`{{ "hello" | slice: 1, 3 }} {{ "hello" | slice: -2, 9 }} {{ "hello" | slice: 9 }}{{ profile.likes | slice: 1 | join }}`, "ell lo books"},
		{`{{ "a,b,,c,," | split: "," | join: "-" }} {{ "a  b" | split: " " | size }} {{ "" | split: "," | size }}`, "a-b--c 2 0"},
		{`{{ 1 | plus: 2 }} {{ 1 | minus: 2.5 }} {{ "3" | times: 4 }} {{ 7 | divided_by: 2 }} {{ 7.0 | divided_by: 2 }} {{ -7 | divided_by: 2 }} {{ -7 | modulo: 3 }}`, "3 -1.5 12 3 3.5 -4 2"},
		{`{{ 2.5 | round }} {{ -2.5 | round }} {{ 2.345 | round: 2 }} {{ 2.1 | ceil }} {{ 2.9 | floor }} {{ -3 | abs }} {{ -3.5 | abs }} {{ 5 | at_least: 7 }} {{ 5 | at_most: 3 }}`, "3 -3 2.35 3 2 3 3.5 7 3"},
		{`{{ 9007199254740993 | times: 9007199254740993 }}`, "81129638414606680000000000000000"},
		{`{{ "b,a,C,a" | split: "," | sort | join: "" }} {{ "b,a,C" | split: "," | sort_natural | join: "" }} {{ "b,a,b" | split: "," | uniq | join }} {{ profile.likes | reverse | first }} {{ profile.likes | concat: profile.likes | size }} {{ profile.likes | last }}`, "Caab abC b a books 4 books"},
		{`{{ 3 | distance }} {{ place.distance_m | distance }} {{ 994 | distance }} {{ 995 | distance }} {{ 1234 | distance }} {{ 9960 | distance }} {{ 12345 | distance }} {{ "0" | distance }}`, "3 m 230 m 990 m 1 km 1.2 km 10 km 12 km 0 m"},
		{`{{ now | date: "%Y-%m-%d %H:%M:%S %z" }}|{{ "now" | date: "%-d %B %y, %l:%M %p %A %^a %j" }}|{{ profile.born | date: "%e %b" }}|{{ profile.born_at | date: "%R" }}|{{ 0 | date: "%F %T" }}|{{ now }}|{{ "today" | date: "100%%" }}`, "2026-03-01 18:05:09 +0100|1 March 26,  6:05 PM Sunday SUN 060|10 Dec|13:00|1970-01-01 01:00:00|2026-03-01 18:05:09 +0100|100%"},
		{`{{ (profile.name | upcase) }}`, "ADA"},
	} {
		got, err := render(c.source)
		if err != nil || got != c.want {
			t.Errorf("%s\n got %q, %v\nwant %q", c.source, got, err, c.want)
		}
	}
}

// refusal is what must be said of a bad template.
type refusal struct {
	source string
	code   engage.Code
	says   string
}

func (c refusal) check(t *testing.T, err error) {
	t.Helper()
	var e *engage.Error
	if !errors.As(err, &e) {
		t.Errorf("%.100s: accepted or an error of another type: %v", c.source, err)
		return
	}
	if e.Code != c.code || !strings.Contains(e.Msg, c.says) {
		t.Errorf("%.100s: %v\nwant %s saying %q", c.source, e, c.code, c.says)
	}
}

func TestBadSourcesAreRefusedWhenParsed(t *testing.T) {
	for _, c := range []refusal{
		{"a\nb {{ x", engage.Invalid, "line 2: {{ is not closed"},
		{"{{ x } {{ y }}", engage.Invalid, "line 1: {{ is not closed by }} before"},
		{"{% if x", engage.Invalid, "{% is not closed"},
		{"{{ }}", engage.Invalid, "is empty"},
		{"{{--}}", engage.Invalid, "is empty"},
		{"{%%}", engage.Invalid, "is not a tag"},
		{"{{ a b }}", engage.Invalid, `syntax error in "a b"`},
		{"{{ a ; b }}", engage.Invalid, `syntax error at "; b"`},
		{"{{ %assign x = 1 }}", engage.Invalid, "syntax error at"},
		{"{{ 'abc }}", engage.Invalid, "syntax error at"},
		{"{{ 99999999999999999999 }}", engage.Invalid, "beyond the range"},
		{"{{ x | }}", engage.Invalid, "syntax error"},
		{"{{ | upcase }}", engage.Invalid, "syntax error"},
		{"{{ x | upcas }}", engage.Invalid, `unknown filter "upcas"; known are abs, append`},
		{"{{ x | append }}", engage.Invalid, "takes 1 argument, has 0"},
		{"{{ x | append: }}", engage.Invalid, "an argument is missing"},
		{"{{ x | upcase: 1 }}", engage.Invalid, "takes 0 arguments, has 1"},
		{"{{ x | slice: 1, 2, 3 }}", engage.Invalid, "takes 1 to 2 arguments, has 3"},
		{"{{ x | first.name }}", engage.Invalid, "cannot follow a filter"},
		{"{{ x | first[0] }}", engage.Invalid, "cannot follow a filter"},
		{"{{ __run }}", engage.Invalid, "do not begin with __"},
		{"{{ (1..1000000000).AsArray }}", engage.Invalid, "range"},
		{"{% assign x = (1..1000000000) %}", engage.Invalid, "range"},
		{"{{ (now).Local }}", engage.Invalid, "cannot follow a bracket"},
		{"{{ (now)['Local'] }}", engage.Invalid, "cannot follow a bracket"},
		{"{% for i in (1..9).AsArray %}{% endfor %}", engage.Invalid, "range"},
		{"{% for i in (1..9) | reverse %}{% endfor %}", engage.Invalid, "range"},
		{`{% include "/etc/passwd" %}`, engage.Invalid, "templates cannot read other files"},
		{`{% render "x" %}`, engage.Invalid, "templates cannot read other files"},
		{"{% increment x %}", engage.Invalid, `unknown tag "increment"`},
		{"{% cycle 'a', 'b' %}", engage.Invalid, `unknown tag "cycle"`},
		{"{% tablerow i in (1..3) %}{% endtablerow %}", engage.Invalid, `unknown tag "tablerow"`},
		{"{% endif %}", engage.Invalid, "has no beginning"},
		{"{% else %}", engage.Invalid, "has no beginning"},
		{"{% if a %}{% endfor %}", engage.Invalid, "has no beginning"},
		{"x\n{% if a %}{% else %}", engage.Invalid, "line 2: {% if %} is not closed by {% endif %}"},
		{"{% if a %}{% else %}{% elsif b %}{% endif %}", engage.Invalid, "has no beginning"},
		{"{% if %}{% endif %}", engage.Invalid, "an expression is missing"},
		{"{% if a = b %}{% endif %}", engage.Invalid, `syntax error at "="`},
		{"{% if a %}{% else if b %}{% endif %}", engage.Invalid, `{% else %} takes nothing, has "if b"`},
		{"{% raw %}", engage.Invalid, "not closed by {% endraw %}"},
		{"{% comment %}", engage.Invalid, "not closed by {% endcomment %}"},
		{"{% case a %}x{% when 1 %}{% endcase %}", engage.Invalid, "something stands between"},
		{"{% case a %}{% when %}{% endcase %}", engage.Invalid, "an expression is missing"},
		{"{% for i of x %}{% endfor %}", engage.Invalid, `"name in list"`},
		{"{% for i in x limit: %}{% endfor %}", engage.Invalid, "syntax error"},
		{"{% for i in x wrong %}{% endfor %}", engage.Invalid, "syntax error"},
		{"{% for now in x %}{% endfor %}", engage.Invalid, "cannot be set"},
		{"{% assign nil = 1 %}", engage.Invalid, "cannot be set"},
		{"{% assign x %}", engage.Invalid, `"name = value"`},
		{"{% capture %}{% endcapture %}", engage.Invalid, "wants a name"},
		{"{% break %}", engage.Invalid, "outside of a loop"},
		{"{% for i in (1..2) %}{% capture x %}{% continue %}{% endcapture %}{% endfor %}", engage.Invalid, "outside of a loop"},
		{"{% for i in (1..100000000) %}{% endfor %}", engage.TooLarge, "at most 1000 times"},
		{"{% for i in (-9223372036854775808..9223372036854775807) %}{% endfor %}", engage.TooLarge, "at most 1000 times"},
		{"{% for i in (1.5..2) %}{% endfor %}", engage.Invalid, "whole numbers"},
		{strings.Repeat("{% if a %}", 21) + strings.Repeat("{% endif %}", 21), engage.TooLarge, "20 deep"},
		{"{{ " + strings.Repeat("(", 21) + "1" + strings.Repeat(")", 21) + " }}", engage.TooLarge, "20 deep"},
		{strings.Repeat("x", template.MaxSource+1), engage.TooLarge, "8192 bytes"},
		{"\xff", engage.Invalid, "UTF-8"},
	} {
		_, err := template.Parse(c.source)
		c.check(t, err)
	}
}

func TestBadValuesAreRefusedWhenRendered(t *testing.T) {
	for _, c := range []refusal{
		{"a\n{{ profile.nme }}", engage.NotFound, "line 2: profile.nme is missing"},
		{"{{ profile.none }}", engage.NotFound, "profile.none is missing"},
		{"{{ persn.name }}", engage.NotFound, "persn.name is missing"},
		{"{{ profile.nme | upcase }}", engage.NotFound, "profile.nme is missing"},
		{`{{ "x" | append: profile.nme }}`, engage.NotFound, "profile.nme is missing"},
		{"{{ profile.nme | default: profile.nnme }}", engage.NotFound, "profile.nme, profile.nnme are missing"},
		{"{% assign x = profile.nme %}{{ x }}", engage.NotFound, "x is missing"},
		{"{% for i in (1..profile.nme) %}{% endfor %}", engage.NotFound, "profile.nme is missing"},
		{"{{ profile.odd }}", engage.NotFound, "profile.odd is missing"},
		{"{{ now.Local }}", engage.NotFound, "now.Local is missing"},
		{"{{ now['Unix'] }}", engage.NotFound, "is missing"},
		{"{{ profile.likes[7] }}", engage.NotFound, "is missing"},
		{"{{ profile }}", engage.Invalid, "an object is not a text"},
		{"{{ profile.name | plus: 1 }}", engage.Invalid, `"ada" is not a number`},
		{"{{ profile.name | date: '%Y' }}", engage.Invalid, `"ada" is not a date`},
		{"{{ now | date: '%Q' }}", engage.Invalid, "unknown %Q"},
		{"{{ now | date: '%9999d' }}", engage.Invalid, "unknown %9"},
		{"{{ now | date: '%' }}", engage.Invalid, "% at the end"},
		{"{{ 99999999999999999 | date: '%Y' }}", engage.Invalid, "is not a date"},
		{"{{ 1 | divided_by: 0 }}{{ 1 | modulo: 0 }}", engage.Invalid, "division by zero"},
		{"{{ -1 | distance }}", engage.Invalid, "is not a distance"},
		{"{{ 1 | first }}", engage.Invalid, "is not a list"},
		{"{{ profile.name | join }}", engage.Invalid, "is not a list"},
		{"{{ 1 | size }}", engage.Invalid, "has no size"},
		{"{{ 1 | round: 99 }}", engage.Invalid, "0 to 15"},
		{"{% for i in profile.name %}{% endfor %}", engage.Invalid, "is not a list"},
		{"{% for i in (1..profile.name) %}{% endfor %}", engage.Invalid, "not a whole number"},
		{"{% for i in profile.likes limit: 1.5 %}{% endfor %}", engage.Invalid, "not a whole number"},
		// what would run for ever or fill the memory
		{"{% assign n = 100000000 %}{% for i in (1..n) %}{% endfor %}", engage.TooLarge, "at most 1000 times"},
		{"{% for i in (1..profile.big) %}{% endfor %}", engage.TooLarge, "at most 1000 times"},
		{"{% for i in (1..1000) %}{% for j in (1..1000) %}{% for k in (1..1000) %}{% endfor %}{% endfor %}{% endfor %}", engage.TooLarge, "does too much"},
		{"{% for i in (1..1000) %}xxxxxxxxxxxxxxxxxxxx{% endfor %}", engage.TooLarge, "too long"},
		{"{% capture x %}{% for i in (1..1000) %}xxxxxxxxxxxxxxxxxxxx{% endfor %}{% endcapture %}", engage.TooLarge, "too long"},
		{`{% assign s = "xxxxxxxxxx" %}{% for i in (1..1000) %}{% assign s = s | append: s %}{% endfor %}`, engage.TooLarge, "too long"},
		{`{% assign s = "xxxxxxxxxx" %}{% for i in (1..1000) %}{% assign s = s | replace: "x", "xxxxxxxxxx" %}{% endfor %}`, engage.TooLarge, "too long"},
		{`{% assign s = "xxxxxxxxxx" %}{% for i in (1..1000) %}{% assign s = s | replace: "", "xxxxxxxxxx" %}{% endfor %}`, engage.TooLarge, "too long"},
		{`{% assign s = "%" %}{% for i in (1..9) %}{% assign s = s | append: s %}{% endfor %}{% assign s = s | replace: "%", "%c" %}{% for i in (1..4) %}{{ now | date: s }}{% endfor %}`, engage.TooLarge, "too long"},
		{`{{ profile.long | split: "" | size }}`, engage.Invalid, "at most 1000 items"},
		{`{% assign l = "a,b" | split: "," %}{% for i in (1..1000) %}{% assign l = l | concat: l %}{% endfor %}`, engage.Invalid, "at most 1000 items"},
		{`{{ profile.long }}`, engage.TooLarge, "too long"},
		{`{% for i in (1..1000) %}{{ profile.long | slice: 1 }}{% endfor %}`, engage.TooLarge, "does too much"},
		{`{% for i in (1..1000) %}{% if profile.long contains "y" or profile.long contains "z" or profile.long contains "q" %}{% endif %}{% for j in (1..1000) %}{% endfor %}{% endfor %}`, engage.TooLarge, "does too much"},
	} {
		tpl, err := template.Parse(c.source)
		if err != nil {
			t.Errorf("%s: refused when parsed: %v", c.source, err)
			continue
		}
		out, err := tpl.Render(vars(), now)
		if out != "" && err != nil {
			t.Errorf("%s: an error and a text: %q", c.source, out)
		}
		c.check(t, err)
	}
}

func TestRenderingChangesNothingAndIsTheSameForEverybodyAtOnce(t *testing.T) {
	tpl, err := template.Parse(`{% assign profile = profile.nested %}{% for p in profile %}{{ p | join: "=" }} {% endfor %}{{ place.name }}`)
	if err != nil {
		t.Fatal(err)
	}
	shared, before := vars(), fmt.Sprint(vars())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if got, err := tpl.Render(shared, now); err != nil || got != "a=1 b=2 c=3 Café Zoë" {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	if after := fmt.Sprint(shared); after != before {
		t.Errorf("the variables were changed: %s", after)
	}
}

func TestVariablesAreThoseNotSetByTheTemplate(t *testing.T) {
	tpl, err := template.Parse(`{% assign x = place.name | append: trigger.y %}{{ x }}{% for l in profile.likes limit: device.n %}{{ l }}{{ forloop.index }}{% endfor %}
		{% case weather.condition %}{% when campaign.c %}{% endcase %}{% capture z %}{{ now }}{% endcapture %}{{ z }}{% if true and nil == empty %}{{ profile.a["true"][place.b] }}{{ offer.code }}{{ catalog.x }}{{ item.y }}{% endif %}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := tpl.Variables(); !slices.Equal(got, template.Known()) {
		t.Errorf("variables %v", got)
	}
}

func TestFiltersAreListed(t *testing.T) {
	got := template.Filters()
	if !slices.IsSorted(got) {
		t.Error("not sorted")
	}
	for _, name := range []string{
		"default", "upcase", "downcase", "capitalize", "date", "plus", "minus", "round", "truncate", "escape",
		"strip", "replace", "split", "join", "first", "last", "size", "distance",
	} {
		if !slices.Contains(got, name) {
			t.Errorf("%s is missing", name)
		}
	}
}

func content() engage.Content {
	return engage.Content{
		Title: "Rain near {{ place.name }}", Body: " {{ profile.name | default: 'Hello' | capitalize }}, take an umbrella. \n",
		DeepLink: "shop://offers?near={{ place.name | url_encode }}", ImageURL: "https://example.com/{{ weather.condition }}.png",
		Data: map[string]string{"sku": "U-{{ profile.n }}", "a": "1"},
	}
}

func TestContentRenders(t *testing.T) {
	c, err := template.ParseContent(content())
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Render(vars(), now, "")
	if err != nil {
		t.Fatal(err)
	}
	if got.Title != "Rain near Café Zoë" || got.Body != "Ada, take an umbrella." || got.DeepLink != "shop://offers?near=Caf%C3%A9+Zo%C3%AB" ||
		got.ImageURL != "https://example.com/rain.png" || !maps.Equal(got.Data, map[string]string{"sku": "U-3", "a": "1"}) {
		t.Errorf("rendered %+v", got)
	}
	if v := c.Variables(); !slices.Equal(v, []string{"place", "profile", "weather"}) {
		t.Errorf("variables %v", v)
	}
}

func TestBadContentIsRefusedWithItsField(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*engage.Content)
		field  string
		says   string
		late   bool // only when rendered
	}{
		{"syntax", func(c *engage.Content) { c.Title = "{{ x" }, "title", "not closed", false},
		{"unknown variable", func(c *engage.Content) { c.Body = "{{ persn.name }}" }, "body", `unknown variable "persn"; known are campaign`, false},
		{"title too long", func(c *engage.Content) { c.Title = strings.Repeat("x", 201) }, "title", "at most 200 bytes, has 201", false},
		{"title too long when rendered", func(c *engage.Content) { c.Title = "{{ profile.long | truncate: 300 }}" }, "title", "at most 200 bytes", true},
		{"says nothing", func(c *engage.Content) { c.Title, c.Body = " ", "" }, "body", "says nothing", false},
		{"says nothing when rendered", func(c *engage.Content) { c.Title, c.Body = "", "{{ profile.empty }}" }, "body", "says nothing", true},
		{"hole", func(c *engage.Content) { c.Body = "{{ profile.nope }}" }, "body", "profile.nope is missing", true},
		{"link without scheme", func(c *engage.Content) { c.DeepLink = "offers/7" }, "deep_link", "needs a scheme", false},
		{"script", func(c *engage.Content) { c.DeepLink = "JavaScript:alert(1)" }, "deep_link", "not allowed", false},
		{"no URL", func(c *engage.Content) { c.DeepLink = "a://b%zz" }, "deep_link", "is not a URL", false},
		{"link with a space", func(c *engage.Content) { c.DeepLink = "shop://{{ place.name }}" }, "deep_link", "use url_encode", true},
		{"link from a profile", func(c *engage.Content) { c.DeepLink = "{{ profile.name }}" }, "deep_link", "needs a scheme", true},
		{"image", func(c *engage.Content) { c.ImageURL = "ftp://x/y.png" }, "image_url", "https://", false},
		{"data", func(c *engage.Content) { c.Data["sku"] = "{% oops %}" }, "data.sku", "unknown tag", false},
		{"data key", func(c *engage.Content) { c.Data["google.x"] = "1" }, "data.google.x", "reserved", false},
		{"own data key", func(c *engage.Content) { c.Data["footfall_message_id"] = "1" }, "data.footfall_message_id", "reserved", false},
		{"odd data key", func(c *engage.Content) { c.Data["a b"] = "1" }, "data.a b", "printable", false},
		{"data value", func(c *engage.Content) { c.Data["sku"] = strings.Repeat("x", 1001) }, "data.sku", "at most 1000", false},
		{"much data", func(c *engage.Content) {
			for i := range 30 {
				c.Data[fmt.Sprint("k", i)] = ""
			}
		}, "data", "at most 20", false},
	} {
		given := content()
		c.change(&given)
		parsed, err := template.ParseContent(given)
		if c.late {
			if err != nil {
				t.Errorf("%s: refused too early: %v", c.name, err)
				continue
			}
			_, err = parsed.Render(vars(), now, "")
		}
		var e *engage.Error
		if !errors.As(err, &e) || e.Field != c.field || !strings.Contains(e.Msg, c.says) {
			t.Errorf("%s: %v, want %q at %q", c.name, err, c.says, c.field)
		}
	}
}

// The text that the library's figure was measured with: about 200 bytes, six
// variables.
const typical = `Hi {{ profile.name | default: "there" }}, it is {{ weather.temperature_c | round }} °C with {{ weather.condition }} at {{ place.name }}. {% if profile.vip %}Your {{ profile.points }} points wait.{% endif %} See you!`

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := template.Parse(typical); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	tpl, err := template.Parse(typical)
	if err != nil {
		b.Fatal(err)
	}
	v := vars()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tpl.Render(v, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRenderUntilTheWorkIsSpent(b *testing.B) {
	for name, source := range map[string]string{
		"loops":    "{% for i in (1..1000) %}{% for j in (1..1000) %}{% endfor %}{% endfor %}",
		"filters":  "{% for i in (1..1000) %}{% for j in (1..1000) %}{% assign x = 1" + strings.Repeat("|abs", 1000) + " %}{% endfor %}{% endfor %}",
		"contains": "{% for i in (1..1000) %}{% for j in (1..1000) %}{% if profile.long contains 'xxxxxxxy'" + strings.Repeat(" or profile.long contains 'xxxxxxxy'", 200) + " %}{% endif %}{% endfor %}{% endfor %}",
		"equal":    "{% for i in (1..1000) %}{% for j in (1..1000) %}{% if profile.likes == profile.likes" + strings.Repeat(" and profile.likes == profile.likes", 200) + " %}{% endif %}{% endfor %}{% endfor %}",
		"sort":     `{% assign l = "b,a,d,c" | split: "," %}{% for i in (1..7) %}{% assign l = l | concat: l %}{% endfor %}{% for i in (1..1000) %}{% assign m = l | sort %}{% endfor %}`,
	} {
		b.Run(name, func(b *testing.B) {
			tpl, err := template.Parse(source)
			if err != nil {
				b.Fatal(err)
			}
			v := vars()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tpl.Render(v, now); engage.CodeOf(err) != engage.TooLarge {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzRender(f *testing.F) {
	for _, s := range []string{
		typical, "{% for i in (1..1000) %}{{ i | append: profile.long }}{% endfor %}", "{% raw %}{{{% endraw %}",
		`{% case x %}{% when 1, "a" or nil %}{% else %}{% endcase %}`, `{% unless a == blank %}{{ a.b[c].d | slice: 1, 2 }}{% endunless %}`,
		`{% assign é = "a,b" | split: "," %}{% for x in é reversed limit: 2 offset: 1 %}{{ x }}{{ forloop.first }}{% endfor %}`,
		`{{ now | date: "%-d %B" }}{{ 1.5 | times: 3 | modulo: 0.4 | distance }}`, "{%- capture x -%}{{- 1 -}}{%- endcapture -%}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		tpl, err := template.Parse(source)
		helpful(t, err)
		if err != nil {
			return
		}
		start := time.Now()
		out, err := tpl.Render(vars(), now)
		helpful(t, err)
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("took %s", took)
		}
		if len(out) > template.MaxOutput {
			t.Fatalf("rendered %d bytes", len(out))
		}
		again, err2 := tpl.Render(vars(), now)
		if out != again || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("twice is not the same: %q %v, %q %v", out, err, again, err2)
		}
	})
}

func helpful(t *testing.T, err error) {
	t.Helper()
	var e *engage.Error
	if err != nil && (!errors.As(err, &e) || e.Msg == "") {
		t.Fatalf("an error that helps nobody: %v", err)
	}
	if e != nil && e.Err != nil {
		t.Fatalf("the library panicked: %v", e.Err)
	}
}
