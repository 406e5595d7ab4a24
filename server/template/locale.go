package template

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"
)

// localesFile is what CLDR knows of some hundred locales, as cldr/gen.mjs writes it.
//
//go:embed cldr/locales.json
var localesFile []byte

// locale is how a language writes dates, numbers, money and distances, in a country
// where that matters. It never changes.
type locale struct {
	Months, MonthsAbbr []string          // from January
	Days, DaysAbbr     []string          // from Sunday
	AMPM               []string          `json:"ampm"`
	Dates              map[string]string // by style, in the letters of CLDR
	numerals
	Minus string
	Lakh  bool // groups of two above the first: 12,34,567
	Money struct {
		numerals
		Sign, Letters []string // of symbols that are signs, of those that are letters: positive, negative
	}
	Symbols map[string]string // of currencies, where they are not the code
	Units   map[string]string // "# km", by unit

	tag language.Tag
}

type numerals struct {
	Decimal, Group string
	MinGroup       int // digits that must stand before the first group
}

type localeTable struct {
	locales map[string]*locale
	digits  map[string]int // decimals of each currency
}

var table = sync.OnceValue(func() localeTable {
	var file struct {
		Digits  map[string]int             `json:"digits"`
		Locales map[string]json.RawMessage `json:"locales"`
	}
	if err := json.Unmarshal(localesFile, &file); err != nil {
		panic(fmt.Sprintf("template: locales.json: %v", err))
	}
	t := localeTable{locales: make(map[string]*locale, len(file.Locales)), digits: file.Digits}
	var load func(tag string) *locale
	load = func(tag string) *locale {
		if l := t.locales[tag]; l != nil {
			return l
		}
		l := &locale{}
		var symbols map[string]string
		if tag != english {
			var head struct{ Parent string }
			if err := json.Unmarshal(file.Locales[tag], &head); err != nil {
				panic(fmt.Sprintf("template: locales.json: %s: %v", tag, err))
			}
			if head.Parent == "" {
				head.Parent = english
			}
			*l = *load(head.Parent)
			// Reading must write into nothing that is the parent's; of dates and units a
			// locale holds some.
			for _, list := range []*[]string{&l.Months, &l.MonthsAbbr, &l.Days, &l.DaysAbbr, &l.AMPM, &l.Money.Sign, &l.Money.Letters} {
				*list = slices.Clone(*list)
			}
			l.Dates, l.Units = maps.Clone(l.Dates), maps.Clone(l.Units)
			symbols = l.Symbols
			l.Symbols = nil
		}
		if err := json.Unmarshal(file.Locales[tag], l); err != nil {
			panic(fmt.Sprintf("template: locales.json: %s: %v", tag, err))
		}
		if l.Symbols == nil {
			l.Symbols = symbols
		}
		l.tag = language.MustParse(tag)
		t.locales[tag] = l
		return l
	}
	for tag := range file.Locales {
		load(tag)
	}
	return t
})

// english is what is written where no language is known.
const english = "en"

// maxLocale is how long the name of a locale may be, in bytes: of longer ones nothing
// is known.
const maxLocale = 35

// parseLocale reads what a phone calls its locale: "nl-NL", "nl_NL", "zh-Hant-TW". What
// is none is language.Und.
func parseLocale(name string) language.Tag {
	if name == "" || len(name) > maxLocale {
		return language.Und
	}
	name, _, _ = strings.Cut(name, "@") // POSIX: de_DE@euro
	name, _, _ = strings.Cut(name, ".") // nl_NL.UTF-8
	tag, err := language.Parse(strings.ReplaceAll(name, "_", "-"))
	if err != nil {
		return language.Und
	}
	base, script, region := tag.Raw() // without extensions and variants
	if base.String() == "no" {
		base = language.MustParseBase("nb")
	}
	if tag, err = language.Compose(base, script, region); err != nil {
		return language.Und
	}
	return tag
}

// deviceLocale is that of the phone for which the variables are.
func deviceLocale(vars map[string]any) language.Tag {
	name, _ := property(plain(vars["device"]), "locale").(string)
	return parseLocale(name)
}

// localeOf is the nearest locale that is known, English if there is none.
func localeOf(tag language.Tag) *locale {
	known := table().locales
	for t := tag; t != language.Und; t = t.Parent() {
		if l := known[t.String()]; l != nil {
			return l
		}
	}
	if base, certain := tag.Base(); certain != language.No {
		if l := known[base.String()]; l != nil {
			return l
		}
	}
	return known[english]
}

// speech is in which language a text is written, and for whom.
type speech struct {
	text   language.Tag // names, separators, plurals
	person language.Tag // whose country says the units
}

// speechOf is how a text is written of which is known in which language it is, or und,
// for a person's phone of a locale.
func speechOf(text, person language.Tag) speech {
	s := speech{text, person}
	if text == language.Und {
		s.text = person
		return s
	}
	// Of the same language the phone knows the country: its dates and its separators.
	a, _ := text.Base()
	if b, certain := person.Base(); certain != language.No && a == b {
		x, _ := text.Script()
		if y, _ := person.Script(); x == y && !regional(text) {
			s.text = person
		}
	}
	return s
}

// regional reports whether a tag names a country.
func regional(tag language.Tag) bool {
	_, _, region := tag.Raw()
	return region.IsCountry()
}
