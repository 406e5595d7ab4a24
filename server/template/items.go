package template

import (
	"fmt"
	"time"
)

// Items gives items of catalogues to texts, as the variable "catalog":
//
//	{{ catalog.products["sku-1"].name }}   {{ catalog.products[profile.attributes.last_viewed].price | money: "EUR" }}
//
// Item is what texts see of one; nil: there is none, or nobody knows it yet, so that
// what a text asks of it is missing. An error ends the rendering: the text looks at too
// many. It is asked again for the same item, and answers the same.
type Items interface {
	Item(catalogue, id string) (map[string]any, error)
}

type (
	// shelves is the variable "catalog", shelf one of its catalogues.
	shelves struct{ of Items }
	shelf   struct {
		of   Items
		name string
	}
)

// lookWork is what it costs to look at an item.
const lookWork = 64

// item is what stands behind shelf[index].
func (r *run) item(s shelf, index any) value {
	if index == nil || r.charge(lookWork) != nil {
		return value{nil, r}
	}
	id, err := text(index)
	if err != nil {
		return value{nil, r}
	}
	item, err := s.of.Item(s.name, id)
	if err != nil {
		r.fault = err
	}
	if item == nil || err != nil {
		return value{nil, r}
	}
	return value{item, r}
}

// itemOf is a shelf's item, nil if there is none.
func itemOf(s shelf, id string) any {
	if item, err := s.of.Item(s.name, id); err == nil && item != nil {
		return item
	}
	return nil
}

// Look goes through the texts of a phone's language as Render does, and makes nothing of
// them: whoever gives the items learns which ones the texts ask for. What is missing
// counts as empty, so that all of them come to light that can be told yet.
func (c *Content) Look(vars map[string]any, now time.Time, locale string) {
	v, in := c.choose(locale)
	for _, f := range v.fields {
		if !f.constant {
			_, _, _ = f.trial(vars, now, in) // Render tells what is wrong
		}
	}
}

// Mention is a catalogue that a text names, and perhaps a field of its items.
type Mention struct {
	Text      string // the field of the message: "title", "locales.nl.body"
	Catalogue string // "": that of the variable "item"
	Field     string // "": none, or one that cannot be told before it is rendered
}

// Mentions are the catalogues and their items' fields that the texts name, as far as they
// stand in them, in order.
func (c *Content) Mentions() []Mention {
	var out []Mention
	seen := map[Mention]bool{}
	for _, v := range c.versions() {
		for _, f := range v.fields {
			for _, m := range f.mentions {
				if m.Text = f.name; !seen[m] {
					seen[m] = true
					out = append(out, m)
				}
			}
		}
	}
	return out
}

// LintItems finds catalogues, and fields of their items, that the texts name and that
// there are not. About is the catalogue of the variable "item"; field reports whether the
// items of a catalogue have a field, and whether there is the catalogue.
func (c *Content) LintItems(about string, field func(catalogue, name string) (has, there bool)) []Finding {
	var found []Finding
	for _, m := range c.Mentions() {
		if m.Catalogue == "" {
			m.Catalogue = about
		}
		has, there := field(m.Catalogue, m.Field)
		switch {
		case !there && m.Field == "":
			found = append(found, Finding{Kind: FindCatalogue, Field: m.Text, Words: fmt.Sprintf("there is no catalogue %q: what the text asks of it is missing, for everybody", m.Catalogue)})
		case there && !has && m.Field != "":
			found = append(found, Finding{Kind: FindField, Field: m.Text, Words: fmt.Sprintf("no item of the catalogue %q has had the field %q yet: it is missing, for everybody", m.Catalogue, m.Field)})
		}
	}
	return found
}

// mention notes what lexemes that begin with a name say of items, and returns the
// catalogue of whose item they are, whole and without a field.
func (c *compiler) mention(ls []lexeme) (catalogue string, whole bool) {
	of, rest := "", ls[1:]
	switch aliased, is := c.items[ls[0].s]; {
	case ls[0].s == "catalog":
		key, after, fixed := accessor(rest)
		if !fixed {
			return "", false
		}
		c.mentions = append(c.mentions, Mention{Catalogue: key})
		if _, rest, _ = accessor(after); len(rest) == len(after) {
			return "", false
		}
		of = key
	case is:
		of = aliased
	case ls[0].s == "item" && !c.set["item"]:
	default:
		return "", false
	}
	field, _, fixed := accessor(rest)
	if fixed && field != "id" {
		c.mentions = append(c.mentions, Mention{Catalogue: of, Field: field})
	}
	return of, len(rest) == 0
}

// accessor reads ".name" or "[...]" at the beginning of lexemes: the name where it is
// fixed, and what follows; all of ls when there is none.
func accessor(ls []lexeme) (name string, after []lexeme, fixed bool) {
	switch {
	case len(ls) == 0:
		return "", ls, false
	case ls[0].kind == lexProperty:
		return ls[0].s[1:], ls[1:], true
	case !ls[0].is("["):
		return "", ls, false
	}
	depth := 0
	for i, l := range ls {
		switch {
		case l.is("["):
			depth++
		case l.is("]"):
			depth--
		}
		if depth == 0 {
			if i == 2 && ls[1].kind == lexString {
				return ls[1].s[1 : len(ls[1].s)-1], ls[i+1:], true
			}
			return "", ls[i+1:], false
		}
	}
	return "", ls, false
}
