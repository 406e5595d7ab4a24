package template

import (
	"maps"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Examples render the message in each of its languages, its own first, for the example
// person of Trial and more: what is missing counts as empty, and so does a text that does not
// work with the sample values, of which Trial tells. They show how much room the message
// takes at the least. The error is an *engage.Error of code TooLarge: the state of its
// Live Activity would never be sent.
func (c *Content) Examples(more map[string]any) ([]Rendered, error) {
	vars, now := samples(), time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	maps.Copy(vars, more)
	free := *c
	free.silent = true // it need not say anything
	var all []Rendered
	for i, v := range c.versions() {
		one := *v
		one.of = &free
		r, err := one.each(func(f field) (string, error) {
			s, _, err := f.trial(vars, now, speechOf(v.tag, v.tag))
			if err != nil {
				return "", nil //nolint:nilerr // Trial has told of it
			}
			return strings.TrimSpace(s), nil
		})
		if err != nil {
			if i > 0 {
				err = engage.At("locales."+v.name, err)
			}
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}
