package engage

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// MaxLocales is how many languages a message may have beside its own.
const MaxLocales = 40

// LocalContent is what a message says in another language. What is empty is as the
// message itself has it. Texts are Liquid templates.
type LocalContent struct {
	Title    string `json:"title,omitempty"`
	Body     string `json:"body,omitempty"`
	Subtitle string `json:"subtitle,omitempty"` // of a push
	DeepLink string `json:"deep_link,omitempty"`
	ImageURL string `json:"image_url,omitempty"`
	// Actions by the id of the message's button.
	Actions map[string]LocalAction `json:"actions,omitempty"`
}

// LocalAction is a button in another language.
type LocalAction struct {
	Label    string `json:"label,omitempty"`
	DeepLink string `json:"deep_link,omitempty"`
}

// localeName is a language, perhaps with its script and its country: "nl", "pt-BR",
// "zh-Hant-HK".
var localeName = regexp.MustCompile(`^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$`)

const localeForm = `must be a language, such as "nl", "pt-BR" or "zh-Hant", with "-" and in this case; is %q`

// ValidLocale reports whether a message may have a text in that locale.
func ValidLocale(s string) bool { return localeName.MatchString(s) }

// validateLocales checks the message's languages but for their templates. Each error
// names its field.
func (c *Content) validateLocales() error {
	switch {
	case c.Locale != "" && !ValidLocale(c.Locale):
		return Errorf(Invalid, "locale", localeForm, c.Locale)
	case len(c.Locales) > MaxLocales:
		return Errorf(TooLarge, "locales", "at most %d, has %d", MaxLocales, len(c.Locales))
	case len(c.Locales) > 0 && c.Push != nil && c.Push.Silent:
		return Errorf(Invalid, "locales", "a silent message shows nothing: it has only data")
	}
	for _, tag := range slices.Sorted(maps.Keys(c.Locales)) {
		field := "locales." + tag
		switch {
		case !ValidLocale(tag):
			return Errorf(Invalid, "locales", localeForm, tag)
		case tag == c.Locale:
			return Errorf(Invalid, field, "is the language of the message itself (locale)")
		}
		if err := c.Locales[tag].validate(c); err != nil {
			return At(field, err)
		}
	}
	return nil
}

func (l LocalContent) validate(c *Content) error {
	said := false
	for _, f := range []struct{ name, text, own string }{
		{"title", l.Title, c.Title},
		{"body", l.Body, c.Body},
		{"subtitle", l.Subtitle, c.subtitle()},
		{"deep_link", l.DeepLink, c.DeepLink},
		{"image_url", l.ImageURL, c.ImageURL},
	} {
		switch {
		case f.text == "":
			continue
		case strings.TrimSpace(f.text) == "":
			return Errorf(Invalid, f.name, "is blank: leave it out to have the message's own")
		case f.own == "" && f.name == "subtitle":
			return Errorf(Invalid, f.name, "the message itself has no push.subtitle")
		case f.own == "":
			return Errorf(Invalid, f.name, "the message itself has none: whose language is not among these would lack it")
		}
		said = true
	}
	for _, id := range slices.Sorted(maps.Keys(l.Actions)) {
		i := slices.IndexFunc(c.Actions, func(a Action) bool { return a.ID == id })
		a := l.Actions[id]
		switch {
		case i < 0:
			return Errorf(Invalid, "actions."+id, "the message has no button of this id")
		case a == LocalAction{}:
			return Errorf(Invalid, "actions."+id, "is empty: leave it out to have the message's own")
		case a.Label != "" && strings.TrimSpace(a.Label) == "":
			return Errorf(Invalid, "actions."+id+".label", "is blank: leave it out to have the message's own")
		case a.DeepLink != "" && strings.TrimSpace(a.DeepLink) == "":
			return Errorf(Invalid, "actions."+id+".deep_link", "is blank: leave it out to have the message's own")
		}
		said = true
	}
	if !said {
		return Errorf(Invalid, "", "says nothing of its own")
	}
	return nil
}

func (c *Content) subtitle() string {
	if c.Push == nil {
		return ""
	}
	return c.Push.Subtitle
}

// In is the message as one of its locales has it; itself if it has no such locale. What
// the two share is not copied.
func (c *Content) In(tag string) Content {
	out := *c
	l, ok := c.Locales[tag]
	if !ok {
		return out
	}
	for _, f := range []struct {
		to   *string
		text string
	}{{&out.Title, l.Title}, {&out.Body, l.Body}, {&out.DeepLink, l.DeepLink}, {&out.ImageURL, l.ImageURL}} {
		if f.text != "" {
			*f.to = f.text
		}
	}
	if l.Subtitle != "" && c.Push != nil {
		p := *c.Push
		p.Subtitle, out.Push = l.Subtitle, &p
	}
	out.Actions = slices.Clone(c.Actions)
	for i := range out.Actions {
		a := l.Actions[out.Actions[i].ID]
		if a.Label != "" {
			out.Actions[i].Label = a.Label
		}
		if a.DeepLink != "" {
			out.Actions[i].DeepLink = a.DeepLink
		}
	}
	return out
}

// Images are the addresses of the message's images by their fields, its locales' too.
func (c *Content) Images() map[string]string {
	out := map[string]string{}
	if c.ImageURL != "" {
		out["image_url"] = c.ImageURL
	}
	for tag, l := range c.Locales {
		if l.ImageURL != "" {
			out["locales."+tag+".image_url"] = l.ImageURL
		}
	}
	return out
}
