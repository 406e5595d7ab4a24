package template

import (
	"maps"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Sample renders the message for somebody who wants to see it before anybody gets it,
// as for a phone of the locale: what vars lack of the variables that everybody has is of
// samples, and what is missing then is empty, and told as warnings (*engage.Error with
// the field, of code NotFound). Errors are those of Render.
func (c *Content) Sample(vars map[string]any, now time.Time, locale string) (out Rendered, warnings []error, err error) {
	all := samples()
	maps.Copy(all, vars)
	return c.Draft(all, now, locale)
}

// Draft renders the message as Render does, but what is missing is empty, and told as
// warnings, as of a title or body of which nothing is left: with any, Render would give
// no message.
func (c *Content) Draft(vars map[string]any, now time.Time, locale string) (out Rendered, warnings []error, err error) {
	v, in := c.choose(locale)
	out, err = v.each(func(f field) (string, error) {
		s, lacking, err := f.trial(vars, now, in)
		if err != nil {
			return "", engage.At(f.name, err)
		}
		for _, l := range lacking {
			warnings = append(warnings, engage.At(f.name, l))
		}
		s, err = f.fit(s)
		if err == nil && s == "" && f.speaks {
			warnings = append(warnings, errBlank(f.name))
		}
		return s, err
	})
	return out, warnings, err
}
