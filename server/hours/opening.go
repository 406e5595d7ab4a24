package hours

import (
	"errors"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Opening is when one place is open: its hours with its exceptions, its holidays
// and its zone. It never changes, and a nil Opening knows nothing.
type Opening struct {
	hours Hours
	place Place
}

// Of compiles the opening of a place; nil when its hours are not known. The error is
// an *engage.Error of the place's field: "hours", "exceptions[2].hours", "time_zone".
// p.Validate is not asked again.
func Of(p *engage.Place) (*Opening, error) {
	if p.Hours == "" {
		if len(p.Exceptions) > 0 {
			return nil, engage.Errorf(engage.Invalid, "exceptions", "need hours that they are exceptions from")
		}
		return nil, nil //nolint:nilnil // a nil Opening is one that knows nothing
	}
	base, err := Parse(p.Hours)
	if err != nil {
		return nil, refusal("hours", err)
	}
	o := &Opening{hours: base}
	var known bool
	if o.place.Zone, known = engage.Zone(p.TimeZone); !known {
		return nil, engage.Errorf(engage.Invalid, "time_zone", "is needed with hours, and must be an IANA zone")
	}
	for i, text := range p.Holidays {
		d, err := ParseDate(text)
		if err != nil {
			return nil, refusal(fmt.Sprintf("holidays[%d]", i), err)
		}
		o.place.Public = append(o.place.Public, d)
	}
	for i, e := range p.Exceptions {
		d, err := ParseDate(e.Date)
		if err != nil {
			return nil, refusal(engage.Index("exceptions", i, "date"), err)
		}
		rules, err := exception(d, e.Hours)
		if err != nil {
			return nil, refusal(engage.Index("exceptions", i, "hours"), err)
		}
		o.hours.rules = append(o.hours.rules, rules...)
		o.hours.dated = true
	}
	return o, nil
}

// exception is the rules that replace all others for what begins on one day.
func exception(d Date, text string) ([]rule, error) {
	h, err := Parse(text)
	if err != nil {
		return nil, err
	}
	for i, r := range h.rules {
		if len(r.dates)+len(r.weeks)+len(r.weekdays)+len(r.holidays) > 0 {
			return nil, &Error{Reason: "must be times alone, such as 10:00-14:00, or off: the date says the day"}
		}
		if i > 0 && r.sep == normal {
			return nil, &Error{Reason: "must be one rule: times of one day are joined by a comma"}
		}
		h.rules[i].dates = []dateRange{on(d)}
	}
	return h.rules, nil
}

// on is one day as a selector of dates.
func on(d Date) dateRange {
	one := date{kind: dayOfMonth, month: d.Month, dom: d.Day}
	return dateRange{years: []numbers{{from: d.Year, to: d.Year}}, from: one, to: one}
}

func refusal(field string, err error) error {
	code := engage.Invalid
	if e, ok := errors.AsType[*Error](err); ok && e.Unsupported {
		code = engage.Unsupported
	}
	return &engage.Error{Code: code, Field: field, Msg: err.Error()}
}

// At tells the state at t.
func (o *Opening) At(t time.Time) Status {
	if o == nil {
		return Status{State: Unknown}
	}
	return o.hours.At(t, o.place)
}

// Until tells how long the state of t lasts, as Hours.Until does.
func (o *Opening) Until(t time.Time) (time.Time, bool) {
	if o == nil {
		return time.Time{}, false
	}
	return o.hours.Until(t, o.place)
}

// NextOpen tells when the place is open next, as Hours.NextOpen does.
func (o *Opening) NextOpen(t time.Time) (time.Time, bool) {
	if o == nil {
		return time.Time{}, false
	}
	return o.hours.NextOpen(t, o.place)
}

// Look is At and Until in plain values: whether the place is open at t, whether that
// is known at all, and when it changes next, in the zone of the place; zero where it
// does not within Horizon.
func (o *Opening) Look(t time.Time) (open, known bool, next time.Time) {
	s := o.At(t)
	next, _ = o.Until(t)
	return s.State == Open, s.State != Unknown, next
}
