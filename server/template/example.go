package template

import (
	"strings"
	"time"
)

// Example renders the message for the example person of Trial: what is missing counts
// as empty, and so does a text that does not work with the sample values, of which
// Trial tells. It shows how much room the message takes at the least. The error is an
// *engage.Error of code TooLarge: the state of its Live Activity would never be sent.
func (c *Content) Example() (Rendered, error) {
	vars, now := samples(), time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	free := *c
	free.silent = true // it need not say anything
	return free.each(func(f field) (string, error) {
		s, _, err := f.trial(vars, now)
		if err != nil {
			return "", nil //nolint:nilerr // Trial has told of it
		}
		return strings.TrimSpace(s), nil
	})
}
