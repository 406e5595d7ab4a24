package template

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// maxTrialWarnings is how many missing variables of a text are told.
const maxTrialWarnings = 10

// samples are values of every variable that is known whoever the person is, as
// short as they come: what is too long with them is too long with any.
func samples() map[string]any {
	return map[string]any{
		"profile": map[string]any{
			"id": "p1", "attributes": map[string]any{}, "visits": 1, "likes": []any{"a"}, "dislikes": []any{"b"},
		},
		"campaign": map[string]any{"id": "c", "name": "c"},
		"device":   map[string]any{"platform": "ios", "locale": "en", "notifications": "granted", "location": "always"},
		"trigger": map[string]any{
			"type": "place", "transition": "enter", "ring": "inside", "distance_m": 1.0, "event": "e", "properties": map[string]any{},
		},
		"offer": map[string]any{
			"id": "o", "name": "o", "kind": "amount", "code": "ABC", "value": 1.0, "currency": "EUR", "worth": 1.0, "terms": "t",
			"expires_at": time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
		},
		"place": map[string]any{"id": "p", "name": "p", "tags": []any{"t"}, "occupancy": 10},
		"weather": map[string]any{
			"condition": "rain", "temperature_c": 9.0, "feels_like_c": 9.0, "precipitation_mm": 1.0, "wind_mps": 1.0, "uv": 1.0, "day": true,
			"next_1h": outlook(), "next_3h": outlook(), "next_6h": outlook(), "next_12h": outlook(),
		},
	}
}

// outlook is a sample of what is forecast for the next hours.
func outlook() map[string]any {
	return map[string]any{
		"condition": "rain", "conditions": []any{"rain"}, "temperature_min_c": 8.0, "temperature_max_c": 9.0, "feels_like_min_c": 8.0,
		"feels_like_max_c": 9.0, "precipitation_mm": 1.0, "wind_mps": 1.0, "uv": 1.0, "wet_in_h": 1,
	}
}

// Samples are values of every variable for somebody who wants to see a message without
// them: those of Trial. The maps are the caller's.
func Samples() map[string]any { return samples() }

// pushKeys are keys of data that channels/fcm (check.go) or channels/apns
// (message.go) refuses at every send, beside those that checkKey refuses: what the
// message itself has goes under them. Older versions have saved such messages, some
// of which are not pushed, or to one of the two alone; so ParseContent takes them.
var pushKeys = []string{"collapse_key", "deep_link", "image_url"}

// Trial renders every text once with short sample values, and without attributes
// and event properties, which depend on the person. What is missing counts as
// empty, so that the rest of the text is tried too. More are variables that only some
// campaigns have ("item", "catalog"), as short as the others; nil: none.
//
// The error is an *engage.Error of code TooLarge with the field: the text
// exceeds a limit of a rendering even so, so it would never be sent; or of code
// Invalid: a push with such a key in its data would be refused. Warnings are
// *engage.Errors with the field, of what a person may lack (NotFound) and of
// what does not work with the sample values (Invalid).
func (c *Content) Trial(more map[string]any) (warnings []error, err error) {
	for _, key := range pushKeys {
		if _, has := c.made.Data[key]; has && c.made.Allows(engage.Push) {
			return nil, engage.Errorf(engage.Invalid, "data."+key, "the key is reserved for what the message itself has, and would be refused in a push")
		}
	}
	vars := samples()
	maps.Copy(vars, more)
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	tried := map[string]bool{} // by name: what a language does not say itself is the message's own
	for _, v := range c.versions() {
		more, err := v.trial(vars, now, tried)
		warnings = append(warnings, more...)
		if err != nil {
			return warnings, err
		}
	}
	return warnings, nil
}

func (v *version) trial(vars map[string]any, now time.Time, tried map[string]bool) (warnings []error, err error) {
	for _, f := range v.fields {
		if tried[f.name] {
			continue
		}
		tried[f.name] = true
		s, lacking, err := f.trial(vars, now, speechOf(v.tag, v.tag))
		for _, l := range lacking {
			warnings = append(warnings, engage.At(f.name, l))
		}
		if err == nil {
			if s = strings.TrimSpace(s); len(s) > f.max {
				err = engage.Errorf(engage.TooLarge, "", "at most %d bytes, has %d whoever gets it", f.max, len(s))
			} else if len(lacking) == 0 && f.required && s == "" {
				err = engage.Errorf(engage.Invalid, "", "is empty")
			} else if len(lacking) == 0 && f.speaks && s == "" {
				err = engage.Errorf(engage.Invalid, "", "is blank with the sample values; whoever it is blank for gets no message")
			} else if f.check != nil && s != "" && len(lacking) == 0 {
				err = f.check(s)
			}
		}
		switch {
		case err == nil:
		case engage.CodeOf(err) == engage.TooLarge:
			return warnings, engage.At(f.name, err)
		default:
			warnings = append(warnings, engage.At(f.name, err))
		}
	}
	return warnings, nil
}

// trial renders with what is missing as empty, and says what that is.
func (t *Template) trial(vars map[string]any, now time.Time, in speech) (out string, lacking []error, err error) {
	defer recovered(&err)
	r := newRun(t, vars, now, in)
	r.lacks = func(err error) {
		same := func(other error) bool { return other.Error() == err.Error() }
		if len(lacking) < maxTrialWarnings && !slices.ContainsFunc(lacking, same) {
			lacking = append(lacking, err)
		}
	}
	_, err = r.all(t.nodes)
	if missing := (*engage.Error)(nil); errors.As(err, &missing) && missing.Code == engage.NotFound {
		r.lacks(err) // where there is no empty value to go on with
		err = nil
	}
	return string(r.out), lacking, err
}
