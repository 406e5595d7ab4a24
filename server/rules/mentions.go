package rules

import (
	"fmt"
	"strings"
)

// PlaceRef is where a rule names a place by its id.
type PlaceRef struct {
	Path  string // in the rule: "all[1].field", "value", "any[0].value[2]"
	Place string
}

// Places lists the places that the rule names, in its order: in fields (visited.<id>.…)
// and in values (place.id, favourite_place, favourite_places, home_place).
func (r *Rule) Places() []PlaceRef {
	if r.Always() {
		return nil
	}
	return r.root.places(nil)
}

func (n *node) places(out []PlaceRef) []PlaceRef {
	if n.kind != leaf {
		for i := range n.of {
			out = n.of[i].places(out)
		}
		return out
	}
	if place, _, ok := VisitedField(n.field); ok {
		return append(out, PlaceRef{below(n.path, "field"), place})
	}
	switch n.field {
	case "place.id", "favourite_place", "favourite_places", "home_place":
	default:
		return out
	}
	switch n.test {
	case In:
		for i, x := range n.set {
			out = append(out, PlaceRef{fmt.Sprintf("%s[%d]", below(n.path, "value"), i), x.s})
		}
	case Eq, Contains:
		out = append(out, PlaceRef{below(n.path, "value"), n.low.s})
	}
	return out
}

// Families of fields about visits: "visited.<place>.visits", "visited_tag.<tag>.last_at".
const (
	visitedPlace = "visited."
	visitedTag   = "visited_tag."
)

// VisitedField splits a field about the visits to one place into the place's id and
// "visits" or "last_at".
func VisitedField(path string) (place, what string, ok bool) { return split(path, visitedPlace) }

// VisitedTagField likewise, of the places that have a tag.
func VisitedTagField(path string) (tag, what string, ok bool) { return split(path, visitedTag) }

// split cuts at the last dot: ids and tags may have dots, too.
func split(path, family string) (name, what string, ok bool) {
	rest, ok := strings.CutPrefix(path, family)
	i := strings.LastIndexByte(rest, '.')
	if !ok || i <= 0 {
		return "", "", false
	}
	what = rest[i+1:]
	return rest[:i], what, what == "visits" || what == "last_at"
}
