package decide

import (
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// onCall runs a moment that nobody reported of the person: the API was called for them,
// or a campaign's time has come. It has effect once, however often it comes, and it makes nobody seen.
func (s *step) onCall() error {
	var t engage.Trigger
	if err := read(s.e, &t); err != nil {
		return err
	}
	if t.Campaign == "" || t.Occasion == "" {
		return engage.Errorf(engage.Unsupported, "campaign", "no call that this version knows")
	}
	once := touchHash("call " + t.Campaign + "/" + t.Occasion)
	if s.p.Touched.has(once) {
		return nil
	}
	if t.Type == engage.TriggerSchedule && !s.onTime(&t) {
		return nil
	}
	s.p.Touched = s.p.Touched.and(once)
	if err := s.fire(&t); err != nil {
		return err
	}
	if t.Type == engage.TriggerSchedule {
		return nil // its decision tells of it: nothing has happened to the person
	}
	return s.timeline("", &t)
}

// onTime reports whether a campaign's time has come where the person is, by what is known
// of that here, and puts on the trigger since when. Where it has not, it comes again: the
// scheduler saw another zone.
func (s *step) onTime(t *engage.Trigger) bool {
	c := s.config.campaigns[t.Campaign]
	if c == nil || c.Trigger.Schedule == nil {
		return false
	}
	t.OccurredAt = engage.InstantOf(t.Local, c.Trigger.Schedule.ZoneOf(s.p.DevicesByUse()))
	return !t.OccurredAt.IsZero() && !t.OccurredAt.After(s.e.At)
}

// deviceOf a moment: the phone that brought it, or that the person used last where none
// did.
func (s *step) deviceOf(t *engage.Trigger) engage.Device {
	if t.Campaign != "" && t.Install == "" {
		if all := s.p.DevicesByUse(); len(all) > 0 {
			return all[0]
		}
	}
	return s.p.Devices[t.Install]
}

// maxPerHour is how often within an hour a campaign speaks to one person for events and
// calls, whatever its limits. It is no limit for marketers: it ends a circle, in which a
// retailer's system answers each message, which a webhook told it of, by the event or the
// call that fires the campaign.
const maxPerHour = 120

// runaway reports whether the campaign has spoken to the person so often, and how often.
func (a *attempt) runaway() (int, bool) {
	used := a.s.p.Used
	if !a.c.Trigger.Type.HasProperties() || len(used) < maxPerHour {
		return 0, false
	}
	n, since := 0, a.s.e.At.Add(-time.Hour)
	for key, at := range used {
		if at.After(since) && strings.HasPrefix(key, a.c.ID+"/") {
			n++
		}
	}
	return n, n >= maxPerHour
}
