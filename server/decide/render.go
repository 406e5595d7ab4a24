package decide

import (
	"errors"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

// render renders every arm, each in the language that the person would get it in: treated
// and control must be equally able to get it. Other languages of an arm are not looked
// at. The error is an *unwrittenError.
func (a *attempt) render() (map[string]template.Rendered, error) {
	out := make(map[string]template.Rendered, len(a.c.arms))
	vars := a.m.vars(a.c, a.before)
	now, locale := a.m.local(), a.m.locale()
	for i := range a.c.arms {
		arm := &a.c.arms[i]
		r, err := arm.content.Render(vars, now, locale)
		if err != nil {
			return nil, &unwrittenError{arm.ID, a.m.nameless(a.c.about, err)}
		}
		out[arm.ID] = r
	}
	return out, nil
}

// unwrittenError is of an arm that cannot be rendered for a person.
type unwrittenError struct {
	arm string
	err error // of template
}

func (e *unwrittenError) Error() string { return engage.At("arms."+e.arm, e.err).Error() }
func (e *unwrittenError) Unwrap() error { return e.err }

// unwritten is what the trace has of a message that could not be rendered: which arm,
// which of its texts, and the variables that were missing.
func (s *step) unwritten(err error) *seen {
	saw := s.see().text("error", err.Error())
	if e, ok := errors.AsType[*unwrittenError](err); ok {
		saw.text("arm", e.arm)
	}
	if e, ok := errors.AsType[*engage.Error](err); ok {
		saw.text("field", e.Field)
		if len(e.Missing) > 0 {
			saw.any("missing", e.Missing)
		}
	}
	return saw
}

// wrote is what the trace has of arms that have several languages: in which each was
// rendered, and for a phone of which locale.
func (a *attempt) wrote(rendered map[string]template.Rendered) *seen {
	var chosen map[string]string
	for i := range a.c.arms {
		arm := &a.c.arms[i]
		if len(arm.Message.Locales) == 0 {
			continue
		}
		if chosen == nil {
			chosen = map[string]string{}
		}
		chosen[arm.ID] = rendered[arm.ID].Locale
	}
	if chosen == nil {
		return nil
	}
	return a.s.see().text("locale", a.m.locale()).any("chosen", chosen)
}

// locale is that of the phone whose moment it is; of a moment at no phone, of the one
// used last.
func (m *moment) locale() string {
	if m.t.Install == "" {
		for _, d := range m.s.p.DevicesByUse() {
			if d.Locale != "" {
				return d.Locale
			}
		}
	}
	return m.device.Locale
}
