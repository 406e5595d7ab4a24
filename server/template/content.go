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
	MaxLabel     = 100 // of a button
	MaxData      = 20  // entries
	MaxDataKey   = 100
	MaxDataValue = 1000
)

// Known lists the variables that a message may use, sorted.
func Known() []string {
	return []string{"campaign", "catalog", "device", "item", "now", "offer", "place", "profile", "trigger", "weather"}
}

// Content is the texts of a message, parsed. It is immutable and safe for
// concurrent use.
type Content struct {
	fields []field // in order: title, body, deep_link, image_url, data by key, then the rest
	made   engage.Content
	live   *live // nil: no Live Activity
	// silent: it need not say anything, being seen by nobody or as a Live Activity only.
	silent bool
	tongues
}

type field struct {
	name     string // "title", "data.sku", "locales.nl.title"
	max      int
	required bool               // must not be empty once rendered
	speaks   bool               // title or body: must not be blank once rendered, if it was written
	check    func(string) error // of what was rendered; may be nil
	put      func(*Rendered, string)
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
	Actions                         []engage.Action
	Subtitle                        string               // of a push
	Locale                          string               // of the texts; empty: not known
	Live                            *engage.LiveActivity // nil: none

	texts []string // of the Live Activity, in order; nil when Live is made
}

// Push is what a message has as a push, with its texts as they were rendered; nil for
// nil.
func (r *Rendered) Push(made *engage.PushContent) *engage.PushContent {
	if made == nil {
		return nil
	}
	p := *made
	p.Subtitle = r.Subtitle
	if r.Live != nil {
		ios := *made.IOS
		ios.Live = r.Live
		p.IOS = &ios
	}
	return &p
}

// ParseContent compiles the texts of a message. An error is an *engage.Error
// whose Field is the field of c. What is the same for everybody is checked as
// if it were rendered, the rest when it is.
func ParseContent(c engage.Content) (*Content, error) {
	out := &Content{made: c}
	all := []source{
		{field{name: "title", max: MaxTitle, speaks: true, put: func(r *Rendered, s string) { r.Title = s }}, c.Title},
		{field{name: "body", max: MaxBody, speaks: true, put: func(r *Rendered, s string) { r.Body = s }}, c.Body},
		{field{name: "deep_link", max: MaxURL, check: checkLink, put: func(r *Rendered, s string) { r.DeepLink = s }}, c.DeepLink},
		{field{name: "image_url", max: MaxURL, check: checkImage, put: func(r *Rendered, s string) { r.ImageURL = s }}, c.ImageURL},
	}
	if len(c.Data) > MaxData {
		return nil, engage.Errorf(engage.TooLarge, "data", "at most %d entries, has %d", MaxData, len(c.Data))
	}
	for _, key := range slices.Sorted(maps.Keys(c.Data)) {
		if err := checkKey(key); err != nil {
			return nil, err
		}
		all = append(all, source{field{name: "data." + key, max: MaxDataValue, put: func(r *Rendered, s string) { r.Data[key] = s }}, c.Data[key]})
	}
	for i, a := range c.Actions {
		all = append(all,
			source{field{name: engage.Index("actions", i, "label"), max: MaxLabel, required: true, put: func(r *Rendered, s string) { r.Actions[i].Label = s }}, a.Label},
			source{field{name: engage.Index("actions", i, "deep_link"), max: MaxURL, check: checkLink, put: func(r *Rendered, s string) { r.Actions[i].DeepLink = s }}, a.DeepLink})
	}
	if p := c.Push; p != nil {
		all = append(all, source{field{name: "push.subtitle", max: MaxTitle, put: func(r *Rendered, s string) { r.Subtitle = s }}, p.Subtitle})
		out.silent = p.Silent
		if p.IOS != nil && p.IOS.Live != nil {
			texts, err := out.takeLive(p.IOS.Live)
			if err != nil {
				return nil, engage.At("push.ios.live_activity", err)
			}
			all = append(all, texts...)
			out.silent = out.silent || c.Title == "" && c.Body == ""
		}
	}
	spoken := true // what is spoken is the same for everybody
	for i, f := range all {
		if err := f.parse(f.text); err != nil {
			return nil, err
		}
		spoken = spoken && (i > 1 || f.Constant())
		out.fields = append(out.fields, f.field)
	}
	if spoken && !out.silent {
		said := false
		for _, f := range out.fields[:2] {
			s, err := f.render(nil, time.Time{}, speech{})
			if err != nil {
				return nil, err
			}
			said = said || s != ""
		}
		if !said {
			return nil, errSilent()
		}
	}
	return out, out.learn(&c)
}

// parse compiles the field's text. What is the same for everybody is checked as if it
// were rendered.
func (f *field) parse(text string) error {
	t, err := Parse(text)
	if err != nil {
		return engage.At(f.name, err)
	}
	for _, name := range t.Variables() {
		if !slices.Contains(Known(), name) {
			return engage.Errorf(engage.Invalid, f.name, "unknown variable %q; known are %s, and what the template assigns", clip(name), strings.Join(Known(), ", "))
		}
	}
	f.Template = t
	f.speaks = f.speaks && strings.TrimSpace(text) != ""
	if t.Constant() {
		_, err = f.render(nil, time.Time{}, speech{})
	}
	return err
}

// Variables lists the variables that the message uses in any of its languages, sorted.
// "weather" among them means that it cannot be rendered without weather.
func (c *Content) Variables() []string {
	var out []string
	for _, v := range c.versions() {
		for _, f := range v.fields {
			out = append(out, f.variables...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Render renders the message, each text without the white space around it, for a
// phone of a locale ("nl-NL"; empty if it is not known), which says the language and
// how dates, numbers and distances are written. An error is an *engage.Error with the
// field: a missing variable (MissingIn names it), a title or body of which nothing is
// left, a text beyond its limit, a link that is none, or a message with neither title
// nor body.
func (c *Content) Render(vars map[string]any, now time.Time, locale string) (Rendered, error) {
	v, s := c.choose(locale)
	return v.each(func(f field) (string, error) { return f.render(vars, now, s) })
}

// each makes the message of what render makes of each text.
func (v *version) each(render func(field) (string, error)) (Rendered, error) {
	out := Rendered{Locale: v.name}
	c := v.of
	if len(c.made.Data) > 0 {
		out.Data = make(map[string]string, len(c.made.Data))
	}
	out.Actions = slices.Clone(c.made.Actions)
	for _, f := range v.fields {
		s, err := render(f)
		if err != nil {
			return Rendered{}, err
		}
		f.put(&out, s)
	}
	if out.Title == "" && out.Body == "" && !c.silent {
		return Rendered{}, errSilent()
	}
	if c.live != nil {
		if err := c.live.finish(&out); err != nil {
			return Rendered{}, engage.At("push.ios.live_activity", err)
		}
	}
	return out, nil
}

func errSilent() error {
	return engage.Errorf(engage.Invalid, "body", "the message says nothing: title and body are empty")
}

func (f field) render(vars map[string]any, now time.Time, in speech) (string, error) {
	s, err := f.in(vars, now, in)
	if err != nil {
		return "", engage.At(f.name, err)
	}
	s, err = f.fit(s)
	if err == nil && f.speaks && s == "" {
		err = errBlank(f.name)
	}
	return s, err
}

// errBlank is of a title or a body of which nothing is left for this person.
func errBlank(field string) error {
	return engage.Errorf(engage.Invalid, field, "says nothing for this person: it is blank")
}

// fit is what was rendered, without the white space around it, if it may be sent.
func (f field) fit(s string) (string, error) {
	s = strings.TrimSpace(s)
	if len(s) > f.max {
		return "", engage.Errorf(engage.TooLarge, f.name, "at most %d bytes, has %d", f.max, len(s))
	}
	if f.required && s == "" {
		return "", engage.Errorf(engage.Invalid, f.name, "is empty")
	}
	if f.check != nil && s != "" {
		if err := f.check(s); err != nil {
			return "", engage.At(f.name, err)
		}
	}
	return s, nil
}

// checkKey refuses keys that providers keep for themselves, or that Footfall
// uses, since a message with one would never pass or say something else. Trial
// refuses some more.
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
