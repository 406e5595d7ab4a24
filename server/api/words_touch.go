package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// maxSaid is how many attributes, purposes or topics an entry of a timeline names; the
// others are counted.
const maxSaid = 4

// touchWords says what a touchpoint other than an app told. It names what was said, never
// the values, and does not claim that all of it took effect: an answer that is older than
// the one that was known changes nothing, and a value of a wrong type is dropped.
func touchWords(t *engage.Touch) string {
	said := touchSaid(t)
	switch {
	case t.Order != nil:
		said = append([]string{fmt.Sprintf("Order %s: %s", t.Order.ID, t.Order.Status)}, said...)
		return strings.Join(said, "; ")
	case t.Event != nil && t.Event.Name != "":
		said = append([]string{fmt.Sprintf("%q", t.Event.Name)}, said...)
	case len(said) == 0:
		said = []string{"named the person"}
	}
	return t.From.Kind + ": " + strings.Join(said, "; ")
}

// touchSaid is what a touch says of the person, beside the event or order that it is.
func touchSaid(t *engage.Touch) []string {
	out := attributesSaid(t.Traits)
	say := func(what string, names []string) {
		if len(names) > 0 {
			out = append(out, what+" "+few(names))
		}
	}
	if t.Trusted { // what a public key says of consents is not heeded
		yes, no := consentsSaid(t.Consents)
		say("agreed to", yes)
		say("said no to", no)
	}
	likes, dislikes, forgotten := preferencesSaid(t.Preferences)
	say("likes", likes)
	say("dislikes", dislikes)
	say("forgot what was said of", forgotten)
	if t.Claimed != "" {
		out = append(out, "named a user without proof")
	}
	if t.Alias != "" {
		out = append(out, "another identifier is the same person's")
	}
	if t.Device != nil {
		out = append(out, deviceSaid(t.Device)...)
	}
	return out
}

// deviceSaid is what a browser told of itself.
func deviceSaid(d *engage.TouchDevice) []string {
	var told []string
	for _, x := range []struct{ value, name string }{{d.Locale, "language"}, {d.TimeZone, "time zone"}, {d.AppVersion, "version"}} {
		if x.value != "" {
			told = append(told, x.name)
		}
	}
	if len(told) == 0 {
		return nil
	}
	return []string{"the browser's " + strings.Join(told, ", ")}
}

// attributesSaid names the attributes that are given a value, and those that are taken it.
func attributesSaid(traits map[string]any) []string {
	var set, forgotten, out []string
	for name, v := range traits {
		if v == nil {
			forgotten = append(forgotten, name)
		} else {
			set = append(set, name)
		}
	}
	switch len(set) {
	case 0:
	case 1:
		out = append(out, "attribute "+few(set))
	default:
		out = append(out, "attributes "+few(set))
	}
	if len(forgotten) > 0 {
		out = append(out, "forgot "+few(forgotten))
	}
	return out
}

// consentsSaid are the purposes that were agreed to, and those that were not.
func consentsSaid(answers map[engage.Purpose]engage.Consent) (yes, no []string) {
	for purpose, c := range answers {
		if c.Granted {
			yes = append(yes, string(purpose))
		} else {
			no = append(no, string(purpose))
		}
	}
	return yes, no
}

// preferencesSaid are topics by what was said of them; of an attitude that is not known
// nothing was kept.
func preferencesSaid(answers map[string]engage.Attitude) (likes, dislikes, forgotten []string) {
	for topic, a := range answers {
		switch a {
		case engage.Like:
			likes = append(likes, topic)
		case engage.Dislike:
			dislikes = append(dislikes, topic)
		case "":
			forgotten = append(forgotten, topic)
		}
	}
	return likes, dislikes, forgotten
}

// kept reads what was said of a person into a map. Where not all of it could be kept, an
// entry says what was: {"kept": {...}, "left_out": [names]}.
func kept[V any](data json.RawMessage, into *map[string]V) bool {
	var full struct {
		Kept    map[string]V `json:"kept"`
		LeftOut []string     `json:"left_out"`
	}
	if json.Unmarshal(data, &full) == nil && full.Kept != nil && full.LeftOut != nil {
		*into = full.Kept
		return true
	}
	return json.Unmarshal(data, into) == nil && *into != nil
}

// few names the first of the names, which it sorts, and counts the others.
func few(names []string) string {
	slices.Sort(names)
	more := len(names) - maxSaid
	shown := make([]string, 0, maxSaid)
	for _, name := range names[:min(len(names), maxSaid)] {
		shown = append(shown, clip(name))
	}
	text := strings.Join(shown, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func answersWords(yes string, yeses []string, no string, noes []string) string {
	slices.Sort(yeses)
	slices.Sort(noes)
	parts := []string{}
	if len(yeses) > 0 {
		parts = append(parts, yes+" "+strings.Join(yeses, ", "))
	}
	if len(noes) > 0 {
		parts = append(parts, no+" "+strings.Join(noes, ", "))
	}
	text := strings.Join(parts, "; ")
	if text == "" {
		return "An answer was forgotten"
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
