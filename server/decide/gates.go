package decide

import (
	"errors"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// attempt is one trigger at one campaign.
type attempt struct {
	s      *step
	c      *campaign
	t      *engage.Trigger // the same of all campaigns: it does not change
	at     time.Time       // log time of the trigger
	d      *engage.Decision
	m      *moment
	before Before
	taken  string    // the campaign that has had the moment; empty means none
	until  time.Time // when the quiet hours end for which it waits
	closed channels  // whose caps are reached: it may not go by these
	// lastChance: weather was waited for and did not come.
	lastChance bool
	// lacks is the limit that spans people that a gate waits for units of; leaseUntil is
	// set of who has waited for such already, leaseOver when that was in vain.
	lacks      *limit
	leaseUntil time.Time
	leaseOver  bool
	trace      []byte // what its gates saw

	itemsSoFar
}

// errWaits: the moment was parked or deferred; nothing more is to be done now.
var errWaits = errors.New("waits")

// gate says no by a reason, with what it saw; errWaits puts the moment off.
type gate struct {
	name string
	ask  func(*attempt) (engage.Reason, *seen, error)
}

// gatesOf a class. Consent is first, so that no later gate looks at a person who
// said no.
var gatesOf = map[engage.Class][]gate{
	engage.Marketing: {
		{"consent", mapped((*attempt).consent)},
		{"eligibility", mapped((*attempt).eligibility)},
		{"audience", mapped((*attempt).audience)},
		{"context", (*attempt).context},
		{"quiet", mapped((*attempt).quiet)},
		{"cap", (*attempt).cap},
		{"offer", mapped((*attempt).offer)},
		{"items", mapped((*attempt).items)},
	},
	engage.Service: {
		{"eligibility", mapped((*attempt).eligibility)},
		{"audience", mapped((*attempt).audience)},
		{"context", (*attempt).context},
		{"offer", mapped((*attempt).offer)},
		{"items", mapped((*attempt).items)},
	},
}

// attempt is one at a moment, m, of which it has a copy: what a gate finds for its campaign
// is no other's.
func (s *step) attempt(c *campaign, m *moment, at time.Time, before Before) *attempt {
	t, kept := m.t, s.newRoom()
	a := &kept.attempt
	*a = attempt{s: s, c: c, t: t, at: at, before: before, m: &kept.moment, d: &engage.Decision{
		V: 1, Workspace: s.ws, Campaign: c.ID, Version: c.Version, Revision: s.rev,
		Profile: s.p.ID, Trigger: *t, At: at, AtUS: at.UnixMicro(), UpdatedAt: s.e.At,
		Delivery: engage.DeliveryID(s.ws, c.ID, s.p.ID, t.Occasion),
		Gates:    make([]engage.GateResult, 0, mostGates),
	}}
	kept.moment = *m
	a.d.ID = engage.DecisionID(a.d.Delivery, t)
	if len(t.Properties) > maxKeptProperties {
		a.d.Trigger.Properties = nil
	}
	return a
}

// mostGates is how many results a decision has that is made at once: of all gates, of the
// arbitration, the rendering and the holdout.
const mostGates = 10

func (a *attempt) pass(gate string, saw *seen) {
	a.d.Gates = append(a.d.Gates, engage.GateResult{Gate: gate, OK: true, Saw: a.told(saw)})
}

func (a *attempt) saw(gate string, reason engage.Reason, saw *seen) {
	a.d.Gates = append(a.d.Gates, engage.GateResult{Gate: gate, Reason: reason, Saw: a.told(saw)})
}

// told is what a gate saw, to be kept.
func (a *attempt) told(saw *seen) engage.Saw {
	a.s.used = 0
	if saw == nil || len(saw.marks) == 0 {
		return nil
	}
	if n := saw.size(); cap(a.trace)-len(a.trace) < n {
		a.trace = make([]byte, 0, max(n, traceBytes))
	}
	from := len(a.trace)
	a.trace = saw.append(a.trace)
	return a.trace[from:len(a.trace):len(a.trace)]
}

// traceBytes are what the trace of most decisions takes.
const traceBytes = 256

// run asks the gates and reports whether all said yes. A no is recorded.
func (a *attempt) run() (bool, error) {
	for _, g := range gatesOf[a.c.Class] {
		if g.name == "offer" && a.c.Offer == "" || g.name == "items" && !a.c.needsItems {
			continue
		}
		reason, saw, err := g.ask(a)
		switch {
		case errors.Is(err, errWaits) && len(a.s.p.Waiting) >= maxWaiting:
			reason = tooMany[reason]
			if saw == nil {
				saw = a.s.see()
			}
			saw.int("waiting", int64(len(a.s.p.Waiting)))
			a.saw(g.name, reason, saw)
			return false, a.suppress(reason)
		case errors.Is(err, errWaits):
			a.saw(g.name, reason, saw)
			return false, a.wait(g.name)
		case err != nil:
			return false, fmt.Errorf("%s of campaign %s: %w", g.name, a.c.ID, err)
		case reason != "":
			a.saw(g.name, reason, saw)
			return false, a.suppress(reason)
		}
		a.pass(g.name, saw)
	}
	return true, nil
}

// tooMany is the reason for a moment that would wait for another, if too many do.
var tooMany = map[engage.Reason]engage.Reason{
	engage.ReasonWeatherUnknown: engage.ReasonWeatherTooMany,
	engage.ReasonQuiet:          engage.ReasonQuietTooMany,
	engage.ReasonOfferWaits:     engage.ReasonOfferTooMany,
	engage.ReasonCapAsks:        engage.ReasonCapBudget,
	engage.ReasonItemsWaits:     engage.ReasonItemsTooMany,
}

// suppress ends the decision with a no.
func (a *attempt) suppress(reason engage.Reason) error {
	a.d.State, a.d.Reason, a.d.Delivery = engage.Suppressed, reason, ""
	a.s.made(a.d)
	return a.s.m.Meter.Add(a.s.tx, a.s.ws, a.c.ID, "", engage.Counts{Suppressed: map[engage.Reason]int64{reason: 1}})
}

// wait parks the moment until the gate may say something else.
func (a *attempt) wait(gate string) error {
	s := a.s
	w := Waiting{For: gate, Campaign: a.c.ID, Trigger: *a.t, Before: a.before, Taken: a.taken}
	due := s.e.At.Add(weatherWait)
	switch {
	case a.lacks != nil:
		if due = a.leaseUntil; due.IsZero() {
			due = s.e.At.Add(leaseWait)
		}
		w.For, w.Limit, w.Until = "lease", a.lacks.ID, due.UTC()
		if err := s.parkAt(a.lacks.ID); err != nil {
			return err
		}
		a.keepItems(&w)
	case gate == "items":
		var err error
		if due, err = a.awaitItems(&w); err != nil {
			return err
		}
	case gate == "context":
		w.For = "weather"
		if err := s.park(a.t.Cell); err != nil {
			return err
		}
	default:
		due = a.until
	}
	due = due.UTC()
	a.d.State, a.d.DueAt = engage.Pending, &due
	w.Decision = *a.d
	s.p.setWaiting(a.d.ID, &w)
	s.tx.SetTimer(s.key, w.For+"/"+a.d.ID, due, nil)
	s.made(a.d)
	return nil
}
