package engage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schedule says at which times of the wall clock a campaign fires: once, or again and
// again. A time that the clocks of a zone skip is the moment at which they skip it; one
// that they show twice is the first of the two. So it comes once in every zone.
type Schedule struct {
	// At is the only time, "2026-12-01T09:00"; empty: it recurs.
	At string `json:"at,omitempty"`
	// Every is "day", "week" or "month"; empty with At.
	Every string `json:"every,omitempty"`
	// On are days, of a week "mon" to "sun", of a month "1" to "31" or "last". A month
	// without such a day has its last day instead.
	On   []string `json:"on,omitempty"`
	Time string   `json:"time,omitempty"` // "09:00", of what recurs
	// Zone by which the time is meant, for everybody; empty: each person's own, which is
	// that of the phone that they used last.
	Zone string `json:"zone,omitempty"`
	// FallbackZone is that of persons of whom no zone is known; empty: UTC.
	FallbackZone string `json:"fallback_zone,omitempty"`
}

// WallTime is the layout of a time of the wall clock, to the minute and without a zone.
const WallTime = "2006-01-02T15:04"

// Clocks differ from UTC by so much at most. No zone has ever been beyond.
const (
	maxAhead  = 14 * time.Hour
	maxBehind = 12 * time.Hour
)

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (s *Schedule) validate() error {
	for field, zone := range map[string]string{"zone": s.Zone, "fallback_zone": s.FallbackZone} {
		if _, known := Zone(zone); zone != "" && !known {
			return Errorf(Invalid, field, "unknown IANA zone %.60q", zone)
		}
	}
	if s.Zone != "" && s.FallbackZone != "" {
		return Errorf(Invalid, "fallback_zone", "is of no use with a zone for everybody")
	}
	if s.At != "" {
		switch _, err := time.Parse(WallTime, s.At); {
		case err != nil:
			return Errorf(Invalid, "at", `must be a time such as "2026-12-01T09:00", without a zone, is %.60q`, s.At)
		case s.Every != "" || s.Time != "" || len(s.On) > 0:
			return Errorf(Invalid, "at", "is the only time: every, on and time are of what recurs")
		}
		return nil
	}
	if t, err := time.Parse("15:04", s.Time); err != nil || t.Format("15:04") != s.Time {
		return Errorf(Invalid, "time", `must be a time of the day such as "09:00", is %.60q`, s.Time)
	}
	switch s.Every {
	case "day":
		if len(s.On) > 0 {
			return Errorf(Invalid, "on", "is of what recurs every week or month")
		}
	case "week", "month":
		if len(s.On) == 0 {
			return Errorf(Invalid, "on", "is required: say on which days of the %s", s.Every)
		}
	default:
		return Errorf(Invalid, "every", `must be "day", "week" or "month", or give "at" for once; is %.60q`, s.Every)
	}
	for i, on := range s.On {
		ok := slices.Contains(weekdays, on)
		if s.Every == "month" {
			n, err := strconv.Atoi(on)
			ok = on == "last" || err == nil && n >= 1 && n <= 31 && strconv.Itoa(n) == on
		}
		if !ok {
			return Errorf(Invalid, fmt.Sprintf("on[%d]", i), `must be a day, "mon" to "sun" of a week, "1" to "31" or "last" of a month; is %.60q`, on)
		}
	}
	return nil
}

// Between are the times of the wall clock from the day of one instant to that of another,
// both as UTC has them, in order.
func (s *Schedule) Between(from, to time.Time) []string {
	var out []string
	for day := from.UTC().Truncate(24 * time.Hour); !day.After(to); day = day.AddDate(0, 0, 1) {
		date := day.Format("2006-01-02")
		switch {
		case s.At != "":
			if strings.HasPrefix(s.At, date+"T") {
				out = append(out, s.At)
			}
		case s.falls(day):
			out = append(out, date+"T"+s.Time)
		}
	}
	return out
}

// falls reports whether it recurs on a day.
func (s *Schedule) falls(day time.Time) bool {
	switch s.Every {
	case "day":
		return true
	case "week":
		return slices.Contains(s.On, weekdays[day.Weekday()])
	}
	last := day.AddDate(0, 0, 1).Day() == 1
	return slices.ContainsFunc(s.On, func(on string) bool {
		n, err := strconv.Atoi(on)
		return err != nil && last || err == nil && (n == day.Day() || last && n > day.Day())
	})
}

// Span are the first and the last instant at which a time of the wall clock can come, in
// whatever zones persons are.
func (s *Schedule) Span(local string) (first, last time.Time) {
	if zone, fixed := Zone(s.Zone); fixed {
		at := InstantOf(local, zone)
		return at, at
	}
	wall, err := time.Parse(WallTime, local)
	if err != nil {
		return time.Time{}, time.Time{}
	}
	return wall.Add(-maxAhead), wall.Add(maxBehind)
}

// ZoneOf a person with these phones, the one used last first.
func (s *Schedule) ZoneOf(phones []Device) *time.Location {
	if zone, fixed := Zone(s.Zone); fixed {
		return zone
	}
	for i := range phones {
		if zone, known := Zone(phones[i].TimeZone); known {
			return zone
		}
	}
	if zone, known := Zone(s.FallbackZone); known {
		return zone
	}
	return time.UTC
}

// InstantOf a time of the wall clock in a zone, in UTC: the first if the clocks show it
// twice, the moment at which they skip it if they do. Zero if it is no WallTime.
func InstantOf(local string, zone *time.Location) time.Time {
	wall, err := time.Parse(WallTime, local)
	if err != nil {
		return time.Time{}
	}
	var first time.Time
	for _, near := range [...]time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := wall.Add(near).In(zone).Zone()
		at := wall.Add(-time.Duration(offset) * time.Second)
		if _, really := at.In(zone).Zone(); really == offset && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if first.IsZero() {
		_, before := wall.Add(-24 * time.Hour).In(zone).Zone()
		first, _ = wall.Add(-time.Duration(before) * time.Second).In(zone).ZoneBounds()
	}
	return first.UTC()
}

// ScheduleOccasion is the occasion of a time of a campaign's schedule, of every person.
func ScheduleOccasion(workspace, campaign, local string) string {
	return hashID("schedule", workspace, campaign, local)
}

// OccurrenceState is how far a campaign's time has come.
type OccurrenceState string

// The states. All but OccurrenceRunning are final.
const (
	OccurrenceRunning OccurrenceState = "running" // under way, or waits for zones in which it comes later
	OccurrenceDone    OccurrenceState = "done"
	OccurrenceStopped OccurrenceState = "stopped" // the campaign was changed or is not live any more
	OccurrenceMissed  OccurrenceState = "missed"  // the server came to it too late for anybody
)

// Occurrence is one time of a campaign's schedule, and how far it has come: a document of
// the collection "occurrences", "<campaign>/<local>".
type Occurrence struct {
	V         int             `json:"v"` // 1
	Workspace string          `json:"workspace"`
	Campaign  string          `json:"campaign"`
	Version   int64           `json:"campaign_version"` // with which it began
	Local     string          `json:"local"`            // WallTime
	State     OccurrenceState `json:"state"`
	Why       string          `json:"why,omitempty"` // of OccurrenceStopped: "edited", or the campaign's status
	StartedAt time.Time       `json:"started_at"`
	EndedAt   time.Time       `json:"ended_at,omitzero"`
	Of        int64           `json:"of"`      // persons that the workspace had when it began
	Reached   int64           `json:"reached"` // for whom the campaign stands in the log to be decided
	// From is since when the campaign is as it is: zones in which the time had come
	// before do not have it.
	From time.Time `json:"from"`
	// Last is up to which instant it has been through everybody; zero: not yet at all.
	Last time.Time   `json:"last,omitzero"`
	Due  []time.Time `json:"due,omitempty"`  // instants at which it goes through everybody again
	Pass *SchedPass  `json:"pass,omitempty"` // the one that is under way
}

// SchedPass is one way through all persons of a workspace, in the order of their ids.
type SchedPass struct {
	Until time.Time   `json:"until"`          // it takes those whose time comes up to this instant
	After string      `json:"after"`          // profile up to which it has come
	Next  []time.Time `json:"next,omitempty"` // instants of persons whose time comes later
}

// ID of the occurrence's document.
func (o *Occurrence) ID() string { return o.Campaign + "/" + o.Local }

// Ended reports whether the state is final.
func (o *Occurrence) Ended() bool { return o.State != OccurrenceRunning }
