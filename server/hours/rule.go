package hours

import (
	"slices"
	"time"
)

// midnight at the end of the day, in minutes; two of them is the latest end of a time.
const midnight = 24 * 60

// separator says how a rule joins those before it.
type separator uint8

const (
	normal     separator = iota // ";", and the first rule
	additional                  // ","
	fallback                    // "||"
)

// rule is one rule; what is empty is not restricted.
type rule struct {
	sep      separator
	dates    []dateRange
	weeks    []numbers
	weekdays []weekday
	holidays []holiday
	both     bool   // both a weekday and a holiday, "PH Su"; else either, "Su,PH"
	spans    []span // none is the whole day
	kind     State
	comment  string
}

// ending of a span.
type ending uint8

const (
	stated ending = iota // "10:00-12:00"
	absent               // "10:00+"
	later                // "10:00-12:00+": open until 12:00, perhaps longer
)

// span is a time, in minutes from the day's midnight; to is after from, at most 48:00.
type span struct {
	from, to int // to of an absent end is the guess of guessed
	end      ending
}

// guessed is until when an open end is taken to last: midnight, at least four hours.
func guessed(from int) int { return min(max(midnight, from+4*60), 2*midnight) }

// replaces reports whether on its days the rule takes the place of those before it.
func (r *rule) replaces() bool {
	switch {
	case r.sep == fallback:
		return false
	case r.kind == Closed:
		return len(r.spans) == 0
	default:
		return r.sep == normal
	}
}

// stateAt tells what the rule says of a minute of what begins on its day; false if
// it says nothing.
func (r *rule) stateAt(minute int) (state State, openEnd, speaks bool) {
	if len(r.spans) == 0 {
		return r.kind, false, 0 <= minute && minute < midnight
	}
	for _, s := range r.spans {
		switch {
		case minute < s.from:
		case minute < s.to:
			return r.kind, s.end == absent && r.kind == Open, true
		case s.end == later && minute < guessed(s.to):
			if r.kind == Open {
				state, speaks = Unknown, true // unless another span is sure
			} else {
				return r.kind, false, true
			}
		}
	}
	return state, false, speaks
}

// nextTime is the first time after minute at which stateAt may change, at most next.
func (r *rule) nextTime(minute, next int) int {
	for _, s := range r.spans {
		times := [3]int{s.from, s.to, s.to}
		if s.end == later {
			times[2] = guessed(s.to)
		}
		for _, t := range times {
			if t > minute {
				next = min(next, t)
			}
		}
	}
	return next
}

// on reports whether the rule holds for what begins on the day, and whether that is
// because of a holiday.
func (r *rule) on(d day, p Place) (on, isHoliday bool) {
	if len(r.weekdays) == 0 && len(r.holidays) == 0 {
		return r.inRange(d), false
	}
	byHoliday := slices.ContainsFunc(r.holidays, func(h holiday) bool {
		base := d.add(-h.offset)
		return h.on(base, p) && r.inRange(base)
	})
	if byHoliday && !r.both {
		return true, true
	}
	byWeekday := slices.ContainsFunc(r.weekdays, func(w weekday) bool {
		base := d.add(-w.offset)
		return w.on(base) && r.inRange(base)
	})
	if r.both {
		return byHoliday && byWeekday, byHoliday && byWeekday
	}
	return byWeekday, false
}

// inRange reports whether the day is in the dates and weeks.
func (r *rule) inRange(d day) bool {
	if len(r.dates) > 0 && !slices.ContainsFunc(r.dates, func(x dateRange) bool { return x.has(d) }) {
		return false
	}
	if len(r.weeks) == 0 {
		return true
	}
	_, week := time.Unix(int64(d.n)*86400, 0).UTC().ISOWeek()
	return slices.ContainsFunc(r.weeks, func(w numbers) bool { return w.has(week) })
}

// numbers are those from one to another, or beyond the end and from the start again
// if to is less (weeks only); with a step, every step-th of them.
type numbers struct{ from, to, step int }

func (n numbers) has(x int) bool {
	if n.to < n.from {
		return x >= n.from || x <= n.to
	}
	return n.from <= x && x <= n.to && (n.step == 0 || (x-n.from)%n.step == 0)
}

// weekday is a day of the week, or a range of them that may go over the end of the
// week, or some of a month's days of that name; or the day offset days after it.
type weekday struct {
	from, to time.Weekday
	nth      []numbers // 1 to 5, or -5 to -1 from the month's end
	offset   int
}

func (w weekday) on(d day) bool {
	if length := (w.to - w.from + 7) % 7; (d.weekday-w.from+7)%7 > length {
		return false
	}
	if len(w.nth) == 0 {
		return true
	}
	first, last := (d.dom-1)/7+1, -(daysIn(d.year, d.month)-d.dom)/7-1
	return slices.ContainsFunc(w.nth, func(n numbers) bool { return n.has(first) || n.has(last) })
}

// holiday is a public or a school holiday, or the day offset days after it.
type holiday struct {
	school bool
	offset int
}

func (h holiday) on(d day, p Place) bool {
	list := p.Public
	if h.school {
		list = p.School
	}
	return slices.Contains(list, d.date())
}
