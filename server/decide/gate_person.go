package decide

import (
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

func (a *attempt) consent() (engage.Reason, map[string]any, error) {
	c, answered := a.s.p.Consents.Of(engage.ConsentMarketing)
	if c.Granted {
		return "", nil, nil
	}
	saw := map[string]any{"purpose": string(engage.ConsentMarketing)}
	if answered { // who was never asked did not say no
		no := map[string]any{"at": c.At.UTC()}
		if c.TextVersion != "" {
			no["text_version"] = c.TextVersion
		}
		if c.Source != "" {
			no["source"] = c.Source
		}
		saw["answered"] = no
	}
	return engage.ReasonConsent, saw, nil
}

func (a *attempt) eligibility() (engage.Reason, map[string]any, error) {
	now := a.s.e.At
	switch age := a.at.Sub(a.t.OccurredAt); {
	case a.s.config.stop.Of(a.c.Class):
		return engage.ReasonStopped, map[string]any{"since": a.s.config.stop.At.UTC()}, nil
	case a.c.Start != nil && now.Before(*a.c.Start):
		return engage.ReasonNotStarted, map[string]any{"start": a.c.Start.UTC()}, nil
	case a.c.End != nil && now.After(*a.c.End):
		return engage.ReasonEnded, map[string]any{"end": a.c.End.UTC()}, nil
	case a.t.Stale:
		return engage.ReasonStale, map[string]any{"age_s": age.Seconds(), "known_too_late": true}, nil
	case age > a.c.Trigger.MaxAge():
		return engage.ReasonStale, map[string]any{"age_s": age.Seconds(), "max_age_s": a.c.Trigger.MaxAge().Seconds()}, nil
	}
	if _, used := a.s.p.Used[a.c.ID+"/"+a.t.Occasion]; used {
		return engage.ReasonOccasionUsed, map[string]any{"occasion": a.t.Occasion}, nil
	}
	if n, runaway := a.runaway(); runaway {
		return engage.ReasonRunaway, map[string]any{"count": n, "window_s": time.Hour.Seconds()}, nil
	}
	if len(a.s.p.Open) >= maxPending {
		if n := a.s.p.pending(); n >= maxPending {
			return engage.ReasonTooManyOpen, map[string]any{"pending": n}, nil
		}
	}
	if !a.reachable() {
		return engage.ReasonNoChannel, map[string]any{"channels": a.c.channels}, nil
	}
	return "", nil, nil
}

// reachable: some arm may go to the inbox or in-app, or some install takes pushes.
func (a *attempt) reachable() bool {
	if len(a.s.p.Devices) == 0 {
		return false
	}
	return !a.c.pushOnly || a.pushable()
}

// pushable: some install takes pushes.
func (a *attempt) pushable() bool {
	for _, d := range a.s.p.Devices {
		if d.Notifiable() && d.Push != nil && d.Push.Dead == "" {
			return true
		}
	}
	return false
}

// personBefore is the person as they were before the moment.
type personBefore struct {
	*Person
	before Before
	now    time.Time
	config *workspace
}

func (a *attempt) audience() (engage.Reason, map[string]any, error) {
	if lost := a.lostPlaces(); len(lost) > 0 {
		return engage.ReasonAudience, map[string]any{"failed": lost}, nil
	}
	person := personBefore{a.s.p, a.before, a.s.e.At, a.s.config}
	if a.c.audience.Match(person, a.s.e.At) {
		return "", nil, nil
	}
	_, x := a.c.audience.Eval(person, a.s.e.At)
	return engage.ReasonAudience, traced(map[string]any{}, x), nil
}
