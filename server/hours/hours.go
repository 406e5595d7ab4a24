package hours

import "time"

// State of a place at a moment.
type State string

// The states.
const (
	Open    State = "open"
	Closed  State = "closed"
	Unknown State = "unknown" // the hours say so ("by appointment"), or there are none
)

// Hours are parsed opening hours. The zero value has no rules: nothing is known of
// the place, which is different from closed. Hours are equal if their String is.
type Hours struct {
	rules []rule
	dated bool // some rule depends on more than the weekday and the time
}

// Place is where hours hold.
type Place struct {
	Zone   *time.Location // as engage.Zone gives it; nil means UTC
	Public []Date         // public holidays of the place, in any order: PH
	School []Date         // days of school holidays: SH
}

// Status is what the hours say of a moment.
type Status struct {
	State   State
	Comment string // of the rule that decided, as in "off \"stocktaking\""; empty if it has none
	// Holiday: the rule that decided holds because the day is a holiday (PH or SH).
	// With Closed the place is closed for a holiday, or outside its holiday hours.
	Holiday bool
	// OpenEnd: the place is open, but its hours do not say until when ("18:00+").
	// They are taken to last until midnight, at least four hours.
	OpenEnd bool
}

// Horizon is how far ahead Until and NextOpen look.
const Horizon = 731 * 24 * time.Hour

// weekly is far enough for rules of weekdays and times alone: nothing new comes
// after a week, and a time that a change of the clocks skipped comes the week after.
const weekly = 22 * 24 * time.Hour

// IsZero reports whether there are no hours.
func (h Hours) IsZero() bool { return len(h.rules) == 0 }

// At tells the state at t.
func (h Hours) At(t time.Time, p Place) Status {
	s, _ := h.at(p.local(t), p)
	return s
}

// Until tells how long the state of t lasts: the first moment after t at which it is
// another one, in the zone of the place. False if that is not within Horizon.
// Minutes to closing are Until minus t.
func (h Hours) Until(t time.Time, p Place) (time.Time, bool) {
	was := h.At(t, p).State
	return h.search(t, p, func(s State) bool { return s != was })
}

// NextOpen tells when the place is open next, in its zone: t itself if it is open
// then. False if it does not open within Horizon.
func (h Hours) NextOpen(t time.Time, p Place) (time.Time, bool) {
	if h.At(t, p).State == Open {
		return p.local(t), true
	}
	return h.search(t, p, func(s State) bool { return s == Open })
}

// search gives the first moment after t whose state is wanted. Between one time in
// the rules and the next the state is the same, unless the clocks change.
func (h Hours) search(t time.Time, p Place, wanted func(State) bool) (time.Time, bool) {
	end := t.Add(weekly)
	if h.dated {
		end = t.Add(Horizon)
	}
	at := p.local(t)
	_, next := h.at(at, p)
	for {
		hour, minute, second := at.Clock()
		ahead := time.Duration(next*60-hour*3600-minute*60-second)*time.Second - time.Duration(at.Nanosecond())
		// On the last day of a leap year Go gives an end of the zone's offset that is
		// past; no zone changes its clocks then.
		_, changes := at.ZoneBounds()
		if then := at.Add(ahead); changes.After(at) && changes.Before(then) {
			at = p.local(changes)
		} else {
			at = then
		}
		if at.After(end) {
			return time.Time{}, false
		}
		var s Status
		if s, next = h.at(at, p); wanted(s.State) {
			return at, true
		}
	}
}

func (p Place) local(t time.Time) time.Time {
	if p.Zone == nil {
		return t.UTC()
	}
	return t.In(p.Zone)
}

// verdict of the rules on what begins on one day.
type verdict struct {
	Status
	rule int // that named this minute; -1 if none did
}

// at gives the status at a local time, and the minute of the day (at most 24:00)
// until which it holds as long as the clocks do not change.
func (h Hours) at(local time.Time, p Place) (Status, int) {
	if h.IsZero() {
		return Status{State: Unknown}, midnight
	}
	hour, m, _ := local.Clock()
	minute := hour*60 + m
	today := dayOf(local)
	// What begins today and what began yesterday and goes on after midnight.
	days := [2]day{today, today.add(-1)}
	closed := verdict{Status{State: Closed}, -1}
	verdicts := [2]verdict{closed, closed}
	next := midnight
	for i := range h.rules {
		r := &h.rules[i]
		// It may be heard later today: its times count all the same.
		silent := r.sep == fallback && decided(verdicts).State != Closed
		for k, d := range days {
			on, holiday := r.on(d, p)
			if !on {
				continue
			}
			if r.replaces() {
				verdicts[k] = closed
				verdicts[k].Holiday = holiday
				if r.kind == Closed { // the whole day
					verdicts[k].Comment = r.comment
					continue
				}
			}
			at := minute + k*midnight
			next = r.nextTime(at, next+k*midnight) - k*midnight
			if state, openEnd, speaks := r.stateAt(at); speaks && !silent {
				verdicts[k] = verdict{Status{State: state, Comment: r.comment, Holiday: holiday, OpenEnd: openEnd}, i}
			}
		}
	}
	return decided(verdicts), next
}

// decided is the later rule's word; of the same rule, that of today.
func decided(v [2]verdict) Status {
	if v[1].rule > v[0].rule {
		return v[1].Status
	}
	return v[0].Status
}
