package api

import (
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// onlyTimePast reports whether the only time of a campaign's schedule has come in every
// zone. What recurs has no such time.
func onlyTimePast(c *engage.Campaign, now time.Time) bool {
	x := c.Trigger.Schedule
	if c.Trigger.Type != engage.TriggerSchedule || x == nil || x.At == "" {
		return false
	}
	_, last := x.Span(x.At)
	return !last.After(now)
}

// pastTimes warns of times that leave a campaign nothing to send; one that was ended is
// meant to send nothing.
func pastTimes(c *engage.Campaign, now time.Time) (out []FieldError) {
	if c.Status == engage.Ended {
		return nil
	}
	if c.End != nil && !c.End.After(now) {
		out = append(out, FieldError{engage.Invalid, "end", "is past: the campaign would send nothing"})
	}
	if onlyTimePast(c, now) {
		out = append(out, FieldError{engage.Invalid, "trigger.schedule.at", "is past everywhere: the campaign would send nothing"})
	}
	return out
}

// overWords says that a campaign waits for nothing any more; empty: it may still be fired.
func overWords(c *engage.Campaign, now time.Time) string {
	switch {
	case c.End != nil && !c.End.After(now):
		return "It is over since " + moment(*c.End) + ", its end: move that, or end it so that nobody wonders."
	case onlyTimePast(c, now):
		return "It is over: its only time, " + strings.Replace(c.Trigger.Schedule.At, "T", " ", 1) + ", is past. Its occurrences say what came of it; to send it again give it another time."
	}
	return ""
}
