package template

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of a message, in bytes once rendered. The providers' own limit is on
// the whole payload (4096 bytes); these keep a message well shaped.
const (
	MaxTitle     = 200
	MaxBody      = 2000
	MaxURL       = 2000
	MaxData      = 20 // entries
	MaxDataKey   = 100
	MaxDataValue = 1000
)

// Known lists the variables that a message may use, sorted.
func Known() []string {
	return []string{"campaign", "device", "now", "place", "profile", "trigger", "weather"}
}

// Content is the texts of a message, parsed. It is immutable and safe for
// concurrent use.
type Content struct {
	fields []field // in order: title, body, deep_link, image_url, data by key
	data   int     // index of the first data field
}

type field struct {
	name  string // "title", "data.sku"
	key   string // of data
	max   int
	check func(string) error // of what was rendered; may be nil
	*Template
}

// source is a field before it is parsed.
type source struct {
	field
	text string
}

// Rendered is what a message says.
type Rendered struct {
	Title, Body, DeepLink, ImageURL string
	Data                            map[string]string // nil if there is none
}

// ParseContent compiles the texts of a message. An error is an *engage.Error
// whose Field is the field of c. What is the same for everybody is checked as
// if it were rendered, the rest when it is.
func ParseContent(c engage.Content) (*Content, error) {
	out := &Content{data: 4}
	all := []source{
		{field{name: "title", max: MaxTitle}, c.Title},
		{field{name: "body", max: MaxBody}, c.Body},
		{field{name: "deep_link", max: MaxURL, check: checkLink}, c.DeepLink},
		{field{name: "image_url", max: MaxURL, check: checkImage}, c.ImageURL},
	}
	if len(c.Data) > MaxData {
		return nil, engage.Errorf(engage.TooLarge, "data", "at most %d entries, has %d", MaxData, len(c.Data))
	}
	for _, key := range slices.Sorted(maps.Keys(c.Data)) {
		if err := checkKey(key); err != nil {
			return nil, err
		}
		all = append(all, source{field{name: "data." + key, key: key, max: MaxDataValue}, c.Data[key]})
	}
	constant := true
	for i, f := range all {
		t, err := Parse(f.text)
		if err != nil {
			return nil, engage.At(f.name, err)
		}
		for _, name := range t.Variables() {
			if !slices.Contains(Known(), name) {
				return nil, engage.Errorf(engage.Invalid, f.name, "unknown variable %q; known are %s, and what the template assigns", clip(name), strings.Join(Known(), ", "))
			}
		}
		f.Template = t
		if t.Constant() {
			if _, err := f.render(nil, time.Time{}); err != nil {
				return nil, err
			}
		}
		constant = constant && (i > 1 || t.Constant())
		out.fields = append(out.fields, f.field)
	}
	if constant {
		spoken := Content{fields: out.fields[:2], data: out.data}
		if _, err := spoken.Render(nil, time.Time{}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Variables lists the variables that the message uses, sorted. "weather" among
// them means that it cannot be rendered without weather.
func (c *Content) Variables() []string {
	var out []string
	for _, f := range c.fields {
		out = append(out, f.variables...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Render renders the message, each text without the white space around it. An
// error is an *engage.Error with the field: a missing variable, a text beyond
// its limit, a link that is none, or a message with neither title nor body.
func (c *Content) Render(vars map[string]any, now time.Time) (Rendered, error) {
	var out Rendered
	for i, f := range c.fields {
		s, err := f.render(vars, now)
		if err != nil {
			return Rendered{}, err
		}
		switch i {
		case 0:
			out.Title = s
		case 1:
			out.Body = s
		case 2:
			out.DeepLink = s
		case 3:
			out.ImageURL = s
		default:
			if out.Data == nil {
				out.Data = make(map[string]string, len(c.fields)-c.data)
			}
			out.Data[f.key] = s
		}
	}
	if out.Title == "" && out.Body == "" {
		return Rendered{}, errSilent()
	}
	return out, nil
}

func errSilent() error {
	return engage.Errorf(engage.Invalid, "body", "the message says nothing: title and body are empty")
}

func (f field) render(vars map[string]any, now time.Time) (string, error) {
	s, err := f.Render(vars, now)
	if err != nil {
		return "", engage.At(f.name, err)
	}
	s = strings.TrimSpace(s)
	if len(s) > f.max {
		return "", engage.Errorf(engage.TooLarge, f.name, "at most %d bytes, has %d", f.max, len(s))
	}
	if f.check != nil && s != "" {
		if err := f.check(s); err != nil {
			return "", engage.At(f.name, err)
		}
	}
	return s, nil
}

// checkKey refuses keys that providers keep for themselves, or that Footfall
// uses, since a message with one would never pass or say something else.
func checkKey(key string) error {
	name := "data." + clip(key)
	switch {
	case key == "" || len(key) > MaxDataKey || strings.ContainsFunc(key, func(r rune) bool { return r > '~' || r <= ' ' }):
		return engage.Errorf(engage.Invalid, name, "a key has 1 to %d printable ASCII characters without spaces", MaxDataKey)
	case slices.Contains([]string{"from", "message_type", "notification", "aps"}, key),
		strings.HasPrefix(key, "google"), strings.HasPrefix(key, "gcm"), strings.HasPrefix(key, "footfall_"):
		return engage.Errorf(engage.Invalid, name, "the key is reserved")
	}
	return nil
}

// checkLink demands a URL with a scheme that an app may open.
func checkLink(s string) error {
	u, err := parseURL(s)
	if err != nil {
		return err
	}
	switch u.Scheme {
	case "":
		return engage.Errorf(engage.Invalid, "", `needs a scheme, such as "myapp://offers/7" or "https://…"; is %q`, clip(s))
	case "javascript", "data", "file", "vbscript", "blob", "about", "intent", "content":
		return engage.Errorf(engage.Invalid, "", "the scheme %q is not allowed", u.Scheme)
	}
	return nil
}

func checkImage(s string) error {
	u, err := parseURL(s)
	if err != nil {
		return err
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return engage.Errorf(engage.Invalid, "", `must be "https://…", is %q`, clip(s))
	}
	return nil
}

func parseURL(s string) (*url.URL, error) {
	if strings.ContainsFunc(s, unicode.IsSpace) {
		return nil, engage.Errorf(engage.Invalid, "", "a URL has no spaces; use url_encode; is %q", clip(s))
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, engage.Errorf(engage.Invalid, "", "is not a URL: %q", clip(s))
	}
	return u, nil
}
