package api

import (
	"fmt"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// itemsOf are the items that a decision looked at, as they were.
func itemsOf(g engage.GateResult) string {
	var out []string
	add := func(item map[string]any) {
		name := fmt.Sprintf("%v of %v", item["id"], item["catalogue"])
		switch {
		case item["there"] == false:
			name += " (there is none)"
		case item["known"] == false:
			name += " (not known yet)"
		case item["version"] != nil:
			name += fmt.Sprintf(" (version %v)", item["version"])
		}
		out = append(out, name)
	}
	items, _ := g.Saw.Values()["items"].([]any)
	for _, x := range items {
		if item, is := x.(map[string]any); is {
			add(item)
		}
	}
	return strings.Join(out, ", ")
}

// itemsYes tells which items the texts looked at.
func itemsYes(g engage.GateResult) string {
	if items := itemsOf(g); items != "" {
		return "The texts look at the items " + items + "."
	}
	return "The texts look at no item of a catalogue here."
}

// itemsNo tells why the items were not had.
func itemsNo(g engage.GateResult) string {
	switch g.Reason {
	case engage.ReasonItemsWaits:
		return "The moment waited for the items that the texts name, for 2 seconds at most: " + itemsOf(g) + "."
	case engage.ReasonItemsTooMany:
		return "Too many moments of the person were waiting already."
	default:
		return "The items that the texts name did not come within 2 seconds: " + itemsOf(g) + "."
	}
}
