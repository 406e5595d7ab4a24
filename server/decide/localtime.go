package decide

import (
	"strconv"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// home is the zone by which the person lives: the phone's, that of the trigger before
// the one used last, else the place's, else UTC. Quiet hours and days of the calendar
// are of it; what rules call local is the place's time (moment.local).
func (m *moment) home() *time.Location {
	if m.homeZone == nil {
		m.homeZone = m.findHome()
	}
	return m.homeZone
}

func (m *moment) findHome() *time.Location {
	if z, known := engage.Zone(m.device.TimeZone); known {
		return z
	}
	for _, d := range m.s.p.DevicesByUse() {
		if z, known := engage.Zone(d.TimeZone); known {
			return z
		}
	}
	if m.place != nil {
		if z, known := engage.Zone(m.place.TimeZone); known {
			return z
		}
	}
	return time.UTC
}

// wall is a time of day: minutes since midnight, as a clock on the wall shows it.
type wall int

// wallOf reads "HH:MM", which Validate has checked.
func wallOf(text string) wall {
	h, m, _ := strings.Cut(text, ":")
	hours, err1 := strconv.Atoi(h)
	minutes, err2 := strconv.Atoi(m)
	if err1 != nil || err2 != nil {
		return 0
	}
	return wall(hours*60 + minutes)
}

// instants are the first and the last instant at which the clocks of a zone show a time
// of a day (which may be beyond its month, as in time.Date). Of a time that they skip
// both are the instant at which they skip it; two differ where it comes twice.
func instants(year int, month time.Month, day int, at wall, zone *time.Location) (first, last time.Time) {
	shown := time.Date(year, month, day, 0, int(at), 0, 0, time.UTC)
	guess := time.Date(year, month, day, 0, int(at), 0, 0, zone)
	begins, ends := guess.ZoneBounds()
	var found bool
	for _, near := range [...]time.Time{guess, begins.Add(-time.Second), ends} {
		_, offset := near.In(zone).Zone()
		t := shown.Add(-time.Duration(offset) * time.Second).In(zone)
		if _, really := t.Zone(); really != offset {
			continue // that offset is not in force then
		}
		if !found || t.Before(first) {
			first = t
		}
		if !found || t.After(last) {
			last = t
		}
		found = true
	}
	if found {
		return first, last
	}
	_, offset := guess.Zone()
	if guess.Add(time.Duration(offset) * time.Second).UTC().After(shown) {
		return begins, begins // the guess is behind the gap
	}
	return ends, ends
}

// quietUntil reports whether a local time is within quiet hours, and when they end.
//
// They last from the first instant at which the clocks show their start to the last one
// at which they show their end: of a night with an hour twice no part is loud, and an end
// that is skipped is when the clocks skip it.
func quietUntil(q engage.QuietHours, local time.Time) (time.Time, bool) {
	from, to := wallOf(q.Start), wallOf(q.End)
	if now := wall(local.Hour()*60 + local.Minute()); steady(local) && !now.within(from, to) {
		return time.Time{}, false // nearly always: what follows is ten times as much
	}
	for _, begun := range [...]int{0, -1} { // today's, and yesterday's that go on
		y, m, d := local.Date()
		start, _ := instants(y, m, d+begun, from, local.Location())
		over := 0
		if to <= from {
			over = 1
		}
		_, end := instants(y, m, d+begun+over, to, local.Location())
		if !local.Before(start) && local.Before(end) {
			return end, true
		}
	}
	return time.Time{}, false
}

// within reports whether a time of day is from one on and before another, over midnight
// if that is not after it.
func (w wall) within(from, to wall) bool {
	if from < to {
		return w >= from && w < to
	}
	return w >= from || w < to
}

// steady reports whether the clocks of a zone are not changed within two days.
func steady(local time.Time) bool {
	const far = 48 * time.Hour
	begins, ends := local.ZoneBounds()
	return (begins.IsZero() || local.Sub(begins) > far) && (ends.IsZero() || ends.Sub(local) > far)
}

// period is when the calendar's period of a local time began, and when the next begins.
func period(c engage.Calendar, local time.Time) (begins, next time.Time) {
	y, m, d := local.Date()
	first := func(y int, m time.Month, d int) time.Time {
		t, _ := instants(y, m, d, 0, local.Location())
		return t
	}
	switch c {
	case engage.CalendarMonth:
		return first(y, m, 1), first(y, m+1, 1)
	case engage.CalendarWeek:
		d -= (int(local.Weekday()) + 6) % 7 // back to Monday
		return first(y, m, d), first(y, m, d+7)
	default:
		return first(y, m, d), first(y, m, d+1)
	}
}
