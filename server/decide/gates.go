package decide

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

// attempt is one trigger at one campaign.
type attempt struct {
	s      *step
	c      *campaign
	t      engage.Trigger
	at     time.Time // log time of the trigger
	d      engage.Decision
	m      *moment
	before Before
	taken  string // the campaign that has had the moment; empty means none
	// lastChance: weather was waited for and did not come.
	lastChance bool
}

// errWaits: the moment was parked or deferred; nothing more is to be done now.
var errWaits = errors.New("waits")

// gate says no by a reason, with what it saw; errWaits puts the moment off.
type gate struct {
	name string
	ask  func(*attempt) (engage.Reason, map[string]any, error)
}

// gatesOf a class. Consent is first, so that no later gate looks at a person who
// said no.
var gatesOf = map[engage.Class][]gate{
	engage.Marketing: {
		{"consent", (*attempt).consent},
		{"eligibility", (*attempt).eligibility},
		{"audience", (*attempt).audience},
		{"context", (*attempt).context},
		{"quiet", (*attempt).quiet},
		{"cap", (*attempt).cap},
	},
	engage.Service: {
		{"eligibility", (*attempt).eligibility},
		{"audience", (*attempt).audience},
		{"context", (*attempt).context},
	},
}

func (s *step) attempt(c *campaign, t engage.Trigger, at time.Time, before Before) *attempt {
	a := &attempt{s: s, c: c, t: t, at: at, before: before, m: s.moment(&t)}
	a.d = engage.Decision{
		V: 1, Workspace: s.ws, Campaign: c.ID, Version: c.Version, Revision: s.rev,
		Profile: s.p.ID, Trigger: t, At: at, AtUS: at.UnixMicro(), UpdatedAt: s.e.At,
		Delivery: engage.DeliveryID(s.ws, c.ID, s.p.ID, t.Occasion),
	}
	a.d.ID = engage.DecisionID(a.d.Delivery, &t)
	if len(t.Properties) > maxKeptProperties {
		a.d.Trigger.Properties = nil
	}
	return a
}

func (a *attempt) pass(gate string, saw map[string]any) {
	a.d.Gates = append(a.d.Gates, engage.GateResult{Gate: gate, OK: true, Saw: saw})
}

func (a *attempt) saw(gate string, reason engage.Reason, saw map[string]any) {
	a.d.Gates = append(a.d.Gates, engage.GateResult{Gate: gate, Reason: reason, Saw: saw})
}

// run asks the gates and reports whether all said yes. A no is recorded.
func (a *attempt) run() (bool, error) {
	for _, g := range gatesOf[a.c.Class] {
		reason, saw, err := g.ask(a)
		switch {
		case errors.Is(err, errWaits) && len(a.s.p.Waiting) >= maxWaiting:
			reason = tooMany[reason]
			saw["waiting"] = len(a.s.p.Waiting)
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
}

// suppress ends the decision with a no.
func (a *attempt) suppress(reason engage.Reason) error {
	a.d.State, a.d.Reason, a.d.Delivery = engage.Suppressed, reason, ""
	a.s.tx.Record("decisions", a.s.ws, a.d.ID, a.d)
	return a.s.m.Meter.Add(a.s.tx, a.s.ws, a.c.ID, "", engage.Counts{Suppressed: map[engage.Reason]int64{reason: 1}})
}

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
	if !a.c.pushOnly {
		return true
	}
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
}

// Value implements rules.Env over rules.PersonSchema.
func (p personBefore) Value(path string) (any, bool) {
	switch path {
	case "visits":
		return p.before.Visits, true
	case "last_visit_at":
		return p.before.LastVisitAt, !p.before.LastVisitAt.IsZero()
	case "last_seen":
		return p.before.LastSeen, !p.before.LastSeen.IsZero()
	}
	return p.ValueAt(path, p.now)
}

func (a *attempt) audience() (engage.Reason, map[string]any, error) {
	person := personBefore{a.s.p, a.before, a.s.e.At}
	if a.c.audience.Match(person, a.s.e.At) {
		return "", nil, nil
	}
	_, x := a.c.audience.Eval(person, a.s.e.At)
	return engage.ReasonAudience, map[string]any{"failed": x.Failed()}, nil
}

func (a *attempt) context() (engage.Reason, map[string]any, error) {
	saw := map[string]any{}
	if a.t.Type == engage.TriggerPlace {
		saw["distance_m"], saw["accuracy_m"] = a.t.DistanceM, a.t.AccuracyM
	}
	if a.c.needsWeather {
		saw["weather_is"] = string(a.t.WeatherIs)
		if a.t.Weather == nil {
			if a.t.Cell != "" && !a.lastChance {
				return engage.ReasonWeatherUnknown, saw, errWaits
			}
			return engage.ReasonWeatherUnknown, saw, nil
		}
		saw["weather"] = map[string]any{
			"kind": a.t.Weather.Kind, "condition": a.t.Weather.Condition, "temperature_c": a.t.Weather.TemperatureC,
			"precipitation_mm": a.t.Weather.Precipitation, "provider": a.t.Weather.Provider,
		}
	}
	if a.c.context.Match(a.m, a.s.e.At) {
		return "", saw, nil
	}
	_, x := a.c.context.Eval(a.m, a.s.e.At)
	saw["failed"] = x.Failed()
	return engage.ReasonContext, saw, nil
}

func (a *attempt) quiet() (engage.Reason, map[string]any, error) {
	q := a.c.Limits.Quiet
	if q == nil {
		return "", nil, nil
	}
	local := a.m.local()
	end, quiet := quietUntil(*q, local)
	if !quiet {
		return "", nil, nil
	}
	saw := map[string]any{"local_time": local.Format("15:04"), "zone": a.m.zone.String(), "until": end.UTC()}
	if end.After(a.at.Add(a.c.Limits.Expire())) {
		return engage.ReasonQuietExpired, saw, nil // its time is over before they are
	}
	return engage.ReasonQuiet, saw, errWaits
}

func (a *attempt) cap() (engage.Reason, map[string]any, error) {
	l := a.c.Limits
	if l.Cap == 0 {
		return "", nil, nil
	}
	since := a.s.e.At.Add(-time.Duration(l.CapWindowS) * time.Second)
	n := 0
	for _, at := range a.s.p.Spent[a.c.ID] {
		if at.After(since) {
			n++
		}
	}
	saw := map[string]any{"count": n, "cap": l.Cap, "window_s": l.CapWindowS}
	if n >= l.Cap {
		return engage.ReasonCap, saw, nil
	}
	return "", saw, nil
}

// wait parks the moment until the gate may say something else.
func (a *attempt) wait(gate string) error {
	s := a.s
	w := Waiting{For: gate, Campaign: a.c.ID, Trigger: a.t, Before: a.before, Taken: a.taken}
	due := s.e.At.Add(weatherWait)
	if gate == "context" {
		w.For = "weather"
		if err := s.park(a.t.Cell); err != nil {
			return err
		}
	} else {
		due, _ = quietUntil(*a.c.Limits.Quiet, s.e.At.In(a.m.zone))
	}
	due = due.UTC()
	a.d.State, a.d.DueAt = engage.Pending, &due
	w.Decision = a.d
	s.p.setWaiting(a.d.ID, &w)
	s.tx.SetTimer(s.key, w.For+"/"+a.d.ID, due, nil)
	s.tx.Record("decisions", s.ws, a.d.ID, a.d)
	return nil
}

// park has the person woken when weather of a cell comes, and asks for it.
func (s *step) park(of string) error {
	key, c, err := cell(s.tx, of)
	if err != nil {
		return err
	}
	i, found := slices.BinarySearch(c.Parked, s.key)
	if !found {
		c.Parked = slices.Insert(slices.Clone(c.Parked), i, s.key)
	}
	ask := s.e.At.Sub(c.AskedAt) >= weatherWait
	if ask {
		c.AskedAt = s.e.At
		s.tx.Emit("weather", engage.Entry{Kind: engage.KindWeatherRequest, Key: engage.WeatherKey(of), Body: []byte(of)})
	}
	if ask || !found {
		s.tx.Put(key, c)
	}
	return nil
}

// render renders every arm: treated and control must be equally able to get it.
func (a *attempt) render() (map[string]template.Rendered, error) {
	out := make(map[string]template.Rendered, len(a.c.arms))
	vars := a.m.vars(a.c, a.before)
	for _, arm := range a.c.arms {
		r, err := arm.content.Render(vars, a.s.e.At)
		if err != nil {
			return nil, engage.At("arms."+arm.ID, err)
		}
		out[arm.ID] = r
	}
	return out, nil
}

// arm is sticky from the first eligible occasion: whoever was treated stays so,
// also when their arm is removed. The holdout and the choice of an arm are two
// hashes, so that changing one does not move the other.
func (a *attempt) arm() string {
	s := a.s
	had, assigned := s.p.Arms[a.c.ID]
	if had == engage.HoldoutArm && a.c.Class == engage.Marketing || assigned && a.c.arm(had) != nil {
		return had
	}
	arm := ""
	if !assigned && a.c.Class == engage.Marketing && engage.Fraction("holdout", s.ws, a.c.ID, s.p.ID)*100 < a.c.HoldoutPercent {
		arm = engage.HoldoutArm
	} else {
		at := engage.Fraction("arm", s.ws, a.c.ID, s.p.ID) * float64(a.c.weight)
		for i := range a.c.arms {
			arm = a.c.arms[i].ID
			if at -= float64(a.c.arms[i].weight()); at < 0 {
				break
			}
		}
	}
	s.p.Arms = replaced(s.p.Arms, a.c.ID, arm)
	if !assigned {
		s.p.ArmsAt = replaced(s.p.ArmsAt, a.c.ID, s.e.At)
	}
	return arm
}

// decide ends in a send or in the control group; both spend the occasion and the cap.
func (a *attempt) decide(rendered map[string]template.Rendered) error {
	s := a.s
	now := s.e.At
	arm := a.arm()
	s.p.Used = replaced(s.p.Used, a.c.ID+"/"+a.t.Occasion, now)
	if l := a.c.Limits; l.Cap > 0 {
		since := now.Add(-time.Duration(l.CapWindowS) * time.Second)
		kept := []time.Time{}
		for _, at := range s.p.Spent[a.c.ID] {
			if at.After(since) {
				kept = append(kept, at)
			}
		}
		s.p.Spent = replaced(s.p.Spent, a.c.ID, append(kept, now))
	}
	a.d.Arm = arm
	if arm == engage.HoldoutArm {
		a.saw("holdout", "", map[string]any{"arm": arm, "holdout_percent": a.c.HoldoutPercent})
		a.d.State = engage.HeldOut
		s.tx.Record("decisions", s.ws, a.d.ID, a.d)
		return s.m.Meter.Add(s.tx, s.ws, a.c.ID, arm, engage.Counts{Decided: 1, HeldOut: 1})
	}
	a.pass("holdout", map[string]any{"arm": arm, "holdout_percent": a.c.HoldoutPercent})
	expires := now.Add(a.c.Limits.Expire())
	r := rendered[arm]
	said := &a.c.arm(arm).Message
	send := engage.Send{
		Delivery: a.d.Delivery, Workspace: s.ws, Campaign: a.c.ID, Arm: arm, Profile: s.p.ID, Class: a.c.Class,
		Title: r.Title, Body: r.Body, DeepLink: r.DeepLink, ImageURL: r.ImageURL, Data: r.Data,
		Actions: r.Actions, Push: r.Push(said.Push), InApp: said.InApp, Inbox: said.Inbox,
		Channels: a.c.arm(arm).allowed, Devices: a.devices(), DecidedAt: now, ExpiresAt: expires,
		Bulk:           a.c.Lane == engage.BulkLane,
		RetryAmbiguous: a.c.Limits.RetryAmbiguous == nil || *a.c.Limits.RetryAmbiguous,
	}
	body, err := json.Marshal(send)
	if err != nil {
		return fmt.Errorf("encode send: %w", err)
	}
	s.tx.Emit("send", engage.Entry{Kind: engage.KindSend, Key: s.key, Occurred: s.e.Occurred, Body: body})
	due := expires.Add(expiryGrace)
	a.d.State, a.d.DueAt = engage.Pending, &due
	d := a.d
	s.p.setOpen(&d)
	s.tx.SetTimer(s.key, "expire/"+d.Delivery, due, nil)
	s.tx.Record("decisions", s.ws, d.ID, d)
	return s.m.Meter.Add(s.tx, s.ws, a.c.ID, arm, engage.Counts{Decided: 1})
}

// devices are the person's installs, the triggering one first.
func (a *attempt) devices() []engage.Device {
	ds := a.s.p.DevicesByUse()
	i := slices.IndexFunc(ds, func(d engage.Device) bool { return d.Install == a.t.Install })
	if i > 0 {
		d := ds[i]
		ds = slices.Insert(slices.Delete(ds, i, i+1), 0, d)
	}
	return ds
}

// quietUntil reports whether a local time is within quiet hours, and when they end.
func quietUntil(q engage.QuietHours, local time.Time) (time.Time, bool) {
	start, err1 := time.Parse("15:04", q.Start)
	end, err2 := time.Parse("15:04", q.End)
	if err1 != nil || err2 != nil {
		return time.Time{}, false // Validate refuses such
	}
	minute := func(t time.Time) int { return t.Hour()*60 + t.Minute() }
	now, from, to := minute(local), minute(start), minute(end)
	day := 0
	switch { // over midnight if end is before start
	case from < to && now >= from && now < to:
	case from > to && now >= from:
		day = 1
	case from > to && now < to:
	default:
		return time.Time{}, false
	}
	until := time.Date(local.Year(), local.Month(), local.Day()+day, end.Hour(), end.Minute(), 0, 0, local.Location())
	for !until.After(local) { // a wall time that the clocks skip or show twice: the later one
		until = until.Add(30 * time.Minute)
	}
	return until, true
}
