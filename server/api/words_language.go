package api

import (
	"maps"
	"slices"
	"strings"
)

// chosen is the language that each arm's text was in, by arm; empty: the message's own,
// of which nobody said which it is.
type chosen map[string]string

// languages says in which language a message was written, where it has several.
func (s seen) languages() string {
	if len(s.Chosen) == 0 {
		return ""
	}
	name := func(tag string) string {
		if tag == "" {
			return "the message's own language"
		}
		return "the language " + tag
	}
	var each []string
	for _, arm := range slices.Sorted(maps.Keys(s.Chosen)) {
		each = append(each, name(s.Chosen[arm]))
	}
	in := each[0]
	if len(slices.Compact(slices.Clone(each))) > 1 {
		for i, arm := range slices.Sorted(maps.Keys(s.Chosen)) {
			each[i] = each[i] + " (" + arm + ")"
		}
		in = strings.Join(each, ", ")
	}
	if s.Locale == "" {
		return ", in " + in + ": the phone has not said its own"
	}
	return ", in " + in + ", for a phone in " + s.Locale
}
