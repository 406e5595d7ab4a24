package template

import (
	"maps"
	"slices"

	"golang.org/x/text/language"

	"github.com/footfall-engage/footfall/server/engage"
)

// tongues are the languages of a message.
type tongues struct {
	own     version
	others  []*version // in order of their names
	matcher language.Matcher
	tags    []language.Tag // of the matcher: of own, then of others
}

// version is a message in one language. What it does not say itself is as in the
// message's own.
type version struct {
	of     *Content
	name   string // as the message has it; empty: not said
	tag    language.Tag
	fields []field
}

// learn compiles the languages of the message, whose own texts are compiled.
func (c *Content) learn(made *engage.Content) error {
	c.own = version{of: c, name: made.Locale, tag: parseLocale(made.Locale), fields: c.fields}
	if made.Locale != "" && c.own.tag == language.Und {
		return engage.Errorf(engage.Invalid, "locale", "no such language: %q", clip(made.Locale))
	}
	c.tags = []language.Tag{c.own.tag}
	for _, name := range slices.Sorted(maps.Keys(made.Locales)) {
		v := &version{of: c, name: name, tag: parseLocale(name), fields: slices.Clone(c.fields)}
		if v.tag == language.Und {
			return engage.Errorf(engage.Invalid, "locales."+clip(name), "no such language")
		}
		if i := slices.Index(c.tags, v.tag); i >= 0 {
			return engage.Errorf(engage.Invalid, "locales."+clip(name), "is the same as %q", cmpName(c.nameOf(i), made.Locale))
		}
		l := made.Locales[name]
		if err := v.say(made, &l); err != nil {
			return err
		}
		c.tags, c.others = append(c.tags, v.tag), append(c.others, v)
	}
	if len(c.others) > 0 {
		c.matcher = language.NewMatcher(c.tags)
	}
	return nil
}

func cmpName(name, own string) string {
	if name == "" {
		return own
	}
	return name
}

func (c *Content) nameOf(i int) string {
	if i == 0 {
		return c.own.name
	}
	return c.others[i-1].name
}

// say puts the texts of a language in the place of the message's own.
func (v *version) say(made *engage.Content, l *engage.LocalContent) error {
	texts := map[string][2]string{ // by the field: the name of the text, and the text
		"title": {"title", l.Title}, "body": {"body", l.Body}, "push.subtitle": {"subtitle", l.Subtitle},
		"deep_link": {"deep_link", l.DeepLink}, "image_url": {"image_url", l.ImageURL},
	}
	for i, a := range made.Actions {
		own := l.Actions[a.ID]
		texts[engage.Index("actions", i, "label")] = [2]string{"actions." + a.ID + ".label", own.Label}
		texts[engage.Index("actions", i, "deep_link")] = [2]string{"actions." + a.ID + ".deep_link", own.DeepLink}
	}
	for i := range v.fields {
		f := &v.fields[i]
		text, has := texts[f.name]
		if !has || text[1] == "" {
			continue
		}
		f.name = "locales." + v.name + "." + text[0]
		f.speaks = text[0] == "title" || text[0] == "body"
		if err := f.parse(text[1]); err != nil {
			return err
		}
	}
	return nil
}

// versions are all languages of the message, its own first.
func (c *Content) versions() []*version {
	return append([]*version{&c.own}, c.others...)
}

// Locales are the names of the message's languages, its own first, which is empty if
// it is not said.
func (c *Content) Locales() []string {
	var out []string
	for _, v := range c.versions() {
		out = append(out, v.name)
	}
	return out
}

// choose is the message for a phone: in its locale, else in its language, else in the
// message's own; and how that is written.
func (c *Content) choose(locale string) (*version, speech) {
	person := parseLocale(locale)
	v := &c.own
	if c.matcher != nil && person != language.Und {
		_, i, sure := c.matcher.Match(person)
		if i > 0 && sure > language.No && sameLanguage(person, c.tags[i]) {
			v = c.others[i-1]
		}
	}
	return v, speechOf(v.tag, person)
}

// sameLanguage reports whether who speaks one reads the other: the matcher also takes
// Dutch for Afrikaans.
func sameLanguage(a, b language.Tag) bool {
	base := func(t language.Tag) string {
		b, _ := t.Base()
		if s := b.String(); s != "nn" {
			return s
		}
		return "nb"
	}
	x, _ := a.Script()
	y, _ := b.Script()
	return base(a) == base(b) && x == y
}
