package template

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"

	"github.com/footfall-engage/footfall/server/engage"
)

// Room is how much of a text a platform shows before it cuts it, in characters of usual
// width: an emoji or a Chinese character takes two. They are round figures, of a phone
// of usual width with the usual size of letters, for a notification that is not
// unfolded: one line of title, and of body four lines on iOS and one on Android, whose
// unfolded notification shows some 240.
type Room struct {
	Platform              string
	Title, Subtitle, Body int
	Why                   string
}

// Rooms are those of the platforms that messages are pushed to.
var Rooms = []Room{
	{"ios", 40, 45, 178, "iOS shows about %d on the lock screen"},
	{"android", 45, 0, 240, "Android shows about %d even when it is unfolded"},
}

// Kinds of findings.
const (
	FindTooLong   = "too_long"
	FindEmoji     = "many_emoji"
	FindCapitals  = "capitals"
	FindStacked   = "stacked_marks"
	FindDirection = "direction"
	FindInvisible = "invisible_characters"
	FindNoLink    = "no_deep_link"
	FindPlainLink = "plain_http"
	FindNoTitle   = "no_title"
	FindUntold    = "locale_not_said"
	FindPartly    = "not_translated"
	FindVariables = "other_variables"
	FindCatalogue = "unknown_catalogue"
	FindField     = "unknown_item_field"
)

const (
	maxEmoji    = 3
	minCapitals = 12 // letters, of which more than two thirds are capitals
	maxMarks    = 4  // on one character: Vietnamese and Thai have two, Hebrew with all its points three
	maxQuoted   = 40 // characters of a text that a finding quotes
)

// Finding is something that could be sent and is perhaps not meant.
type Finding struct {
	Kind     string
	Field    string // of the message: "title", "locales.nl.body"
	Locale   string // whose text it is; empty: the message's own
	Platform string // where it matters; empty: everywhere
	Words    string // for marketers
}

// Lint finds in a rendered message what could be sent and is perhaps not meant. Locale
// is that of the message's texts which it is, "" for its own. Platform names one (ios,
// android), else both are judged.
func Lint(made *engage.Content, r *Rendered, locale, platform string) []Finding {
	l := linter{made: made, locale: locale}
	if made.Push != nil && made.Push.Silent {
		return nil
	}
	l.room(r, platform)
	for _, f := range []struct{ field, text string }{{"title", r.Title}, {"push.subtitle", r.Subtitle}, {"body", r.Body}} {
		l.text(f.field, f.text)
	}
	if n := emoji(r.Title) + emoji(r.Body); n > maxEmoji {
		l.find(FindEmoji, "body", "", "title and body have %d emoji: more than %d are hard to read, and are read out one by one to who cannot see", n, maxEmoji)
	}
	if r.Title == "" && r.Body != "" && made.Allows(engage.Push) {
		l.find(FindNoTitle, "title", "", "a push without a title has the app's name there")
	}
	l.links(r)
	return l.found
}

type linter struct {
	made   *engage.Content
	locale string
	found  []Finding
}

// find adds a finding. A field is that of the language where that says it itself.
func (l *linter) find(kind, field, platform, format string, args ...any) {
	l.found = append(l.found, Finding{kind, LocalField(l.made, l.locale, field), l.locale, platform, fmt.Sprintf(format, args...)})
}

func (l *linter) room(r *Rendered, platform string) {
	if !l.made.Allows(engage.Push) {
		return
	}
	for _, room := range Rooms {
		if platform != "" && platform != room.Platform {
			continue
		}
		for _, f := range []struct {
			field, text string
			most        int
		}{{"title", r.Title, room.Title}, {"push.subtitle", r.Subtitle, room.Subtitle}, {"body", r.Body, room.Body}} {
			if width := uniseg.StringWidth(f.text); f.most > 0 && width > f.most {
				l.find(FindTooLong, f.field, room.Platform, "takes the room of %d characters; "+room.Why, width, f.most)
			}
		}
	}
}

// text looks at the characters of one text.
func (l *linter) text(field, text string) {
	letters, capitals, depth, rtl, ltr := 0, 0, 0, 0, 0
	var first rune
	unseen := false
	for _, r := range text {
		switch {
		case unicode.IsLetter(r):
			letters++
			if unicode.IsUpper(r) {
				capitals++
			}
			if rightToLeft(r) {
				rtl++
			} else {
				ltr++
			}
			if first == 0 {
				first = r
			}
		case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
			switch r {
			case 0x202C, 0x2069:
				depth--
			default:
				depth++
			}
		case r == 0x200B, r == 0x2060, r == 0xFEFF, r == 0xAD, r != '\n' && unicode.IsControl(r):
			unseen = true
		}
	}
	if letters >= minCapitals && 3*capitals > 2*letters {
		l.find(FindCapitals, field, "", "is mostly in capitals, which reads as shouting: %q", clipTo(text))
	}
	if depth != 0 {
		l.find(FindDirection, field, "", "begins a direction of writing that it does not end (or ends one that it has not begun), so that what follows may be shown in the wrong order")
	} else if startsRTL := rightToLeft(first); first != 0 && (startsRTL && ltr > rtl || !startsRTL && rtl > ltr) {
		l.find(FindDirection, field, "", "begins with a word of the other direction of writing, by which phones lay out all of it: %q", clipTo(text))
	}
	if unseen {
		l.find(FindInvisible, field, "", "has characters that nobody sees (such as U+200B or U+00AD), perhaps from copying")
	}
	for g := uniseg.NewGraphemes(text); g.Next(); {
		marks := 0
		for _, r := range g.Runes() {
			if unicode.In(r, unicode.Mn, unicode.Me) && r != 0xFE0F && r != 0x20E3 {
				marks++
			}
		}
		if marks > maxMarks {
			l.find(FindStacked, field, "", "has %d marks on one character, which run into the lines around it", marks)
			break
		}
	}
}

func rightToLeft(r rune) bool {
	return unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko)
}

func (l *linter) links(r *Rendered) {
	if strings.TrimSpace(r.DeepLink) == "" && len(l.made.Actions) == 0 {
		l.find(FindNoLink, "deep_link", "", "there is none: who taps the message comes to the start of the app")
	}
	plain := func(s string) bool { return len(s) >= 7 && strings.EqualFold(s[:7], "http://") }
	if plain(r.DeepLink) {
		l.find(FindPlainLink, "deep_link", "", "begins with http://: phones refuse it or warn of it, and anybody on the way can read and change it")
	}
	for i, a := range r.Actions {
		if plain(a.DeepLink) {
			l.find(FindPlainLink, engage.Index("actions", i, "deep_link"), "", "begins with http://: phones refuse it or warn of it, and anybody on the way can read and change it")
		}
	}
}

// emoji counts the characters that are shown as pictures.
func emoji(text string) (n int) {
	for g := uniseg.NewGraphemes(text); g.Next(); {
		rs := g.Runes()
		if rs[0] >= 0x1F000 && rs[0] < 0x20000 || slices.Contains(rs, 0xFE0F) || rs[0] >= 0x2600 && rs[0] < 0x27C0 && g.Width() == 2 {
			n++
		}
	}
	return n
}

// LintLocales finds what a message's languages lack of one another.
func (c *Content) LintLocales() []Finding {
	made := &c.made
	if len(made.Locales) == 0 {
		return nil
	}
	var found []Finding
	add := func(kind, field, locale, format string, args ...any) {
		found = append(found, Finding{Kind: kind, Field: field, Locale: locale, Words: fmt.Sprintf(format, args...)})
	}
	if made.Locale == "" {
		add(FindUntold, "locale", "", "say in which language the message itself is: dates and numbers in it are written for the phone's language until then")
	}
	for i, v := range c.others {
		name := v.name
		at := "locales." + name
		l := made.Locales[name]
		for _, f := range []struct {
			field, own, text string
		}{{"title", made.Title, l.Title}, {"body", made.Body, l.Body}, {"subtitle", subtitleOf(made), l.Subtitle}} {
			if f.own != "" && f.text == "" {
				add(FindPartly, at, name, "has no %s of its own, so that the message's stands beside its other texts", f.field)
			}
		}
		for _, a := range made.Actions {
			if l.Actions[a.ID].Label == "" {
				add(FindPartly, at, name, "has no label of its own for the button %q", a.ID)
			}
		}
		own, other := names(c.fields), names(c.others[i].fields)
		var more, less []string
		for _, n := range slices.Sorted(maps.Keys(other)) {
			if !own[n] {
				more = append(more, n)
			}
		}
		for _, n := range slices.Sorted(maps.Keys(own)) {
			if !other[n] {
				less = append(less, n)
			}
		}
		if len(more) > 0 {
			add(FindVariables, at, name, "asks for %s, which the message itself does not: who lacks it gets nothing in this language only", strings.Join(more, ", "))
		}
		if len(less) > 0 {
			add(FindVariables, at, name, "does not have %s, which the message itself has", strings.Join(less, ", "))
		}
	}
	return found
}

// names are the variables with their properties that texts ask for.
func names(fields []field) map[string]bool {
	out := map[string]bool{}
	for _, f := range fields {
		for _, path := range f.paths {
			if slices.Contains(f.variables, path[0]) {
				out[strings.Join(path, ".")] = true
			}
		}
	}
	return out
}

func subtitleOf(c *engage.Content) string {
	if c.Push == nil {
		return ""
	}
	return c.Push.Subtitle
}

// LocalField is a field of a message in one of its languages as the message has it: that
// of the language where that says it itself.
func LocalField(made *engage.Content, locale, field string) string {
	l := made.Locales[locale]
	at := "locales." + locale + "."
	switch {
	case field == "title" && l.Title != "", field == "body" && l.Body != "", field == "deep_link" && l.DeepLink != "", field == "image_url" && l.ImageURL != "":
		return at + field
	case field == "push.subtitle" && l.Subtitle != "":
		return at + "subtitle"
	}
	for i, a := range made.Actions {
		switch own := l.Actions[a.ID]; {
		case field == engage.Index("actions", i, "label") && own.Label != "":
			return at + "actions." + a.ID + ".label"
		case field == engage.Index("actions", i, "deep_link") && own.DeepLink != "":
			return at + "actions." + a.ID + ".deep_link"
		}
	}
	return field
}

func clipTo(s string) string {
	if r := []rune(s); len(r) > maxQuoted {
		return string(r[:maxQuoted]) + "…"
	}
	return s
}
