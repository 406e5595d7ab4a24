package template

import (
	"maps"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Sample renders the message for somebody who wants to see it before anybody gets it:
// what vars lack of the variables that everybody has is of samples, and what is
// missing then is empty, and told as warnings (*engage.Error with the field, of code
// NotFound). Errors are those of Render.
func (c *Content) Sample(vars map[string]any, now time.Time) (out Rendered, warnings []error, err error) {
	all := samples()
	maps.Copy(all, vars)
	out, err = c.each(func(f field) (string, error) {
		s, lacking, err := f.trial(all, now)
		if err != nil {
			return "", engage.At(f.name, err)
		}
		for _, l := range lacking {
			warnings = append(warnings, engage.At(f.name, l))
		}
		return f.fit(s)
	})
	return out, warnings, err
}
