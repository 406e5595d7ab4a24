// Package decide turns moments into decisions: it owns the state of each person,
// runs a trigger through the gates of every campaign that listens to it, and says
// yes to at most one. It is a pure step (engage.Machine) that a partition of kind
// "act" runs.
//
// # The gates, in order
//
// consent, eligibility, audience, context, quiet hours, caps, of campaigns that bring an
// offer that, of those whose texts look at items of catalogues these; then, among the
// campaigns that are left, arbitration: the highest priority wins, of the same the
// highest declared value, of the same the smaller id (arbitrate.go); it must render
// every arm, and else gives way to the next; then holdout and arm. Each gate that
// was asked is in the decision with what it saw, so that every no is explained.
// Service messages skip consent, quiet hours and caps.
//
// Holdout is last: treated and control have passed the same gates, and both spend
// the occasion and the cap.
//
// # Limits
//
// The gate of caps asks, in this order: the campaign's own caps; of the workspace's policy
// (engage.LimitPolicy) the gap, caps of all messages, of tags, of channels, the attention
// budget; then the campaign's budget and rate, which span people and are leased
// (budget.go, lease.go). The person's own are exact, since a profile has one writer, but
// for two stated exceptions: what two profiles had used before they became one adds up,
// and beyond 200 remembered messages limits may end later than they had to (limits.go).
// Days, weeks, months and quiet hours are of the zone of the phone, else of the place.
//
// # Waiting
//
// A campaign that needs weather which the trigger does not carry is parked, alone,
// until a weather record of the cell arrives in this partition or 2 s of log time
// have passed (then weather_unknown). So is one that asks about the forecast
// (outlook.go), which no trigger carries: it is of the weather record that this
// partition has. One whose texts look at items of catalogues is parked likewise, until
// these come as a record of the person (items.go). A campaign in quiet hours is deferred to
// their end. All run all gates again when they wake, for the same occasion, with
// the weather of then and with what was known of the person before the moment.
// Who waited for the same wakes together; whoever finds the moment taken meanwhile
// gives way. A person has at most 50 moments that wait, and 100 messages on their
// way; what comes beyond is suppressed and says so.
//
// # One person
//
// Every identifier mints a profile (engage.PersonID), as every install does. Profiles
// become one by edges (engage.Merge): an install that proves a user id, a touchpoint that
// names several identifiers, an alias. The junior of two (engage.Senior) freezes: its
// state becomes a Moved, its timers are cleared, and all that it has goes to the senior,
// which absorbs it; what still comes is forwarded, with where it was first sent. What
// comes of it does not depend on the order in which anything arrives, as long as nothing
// is refused; profile.Absorb says how two become one. Two users are one person by an
// alias alone. Caps that both had used add up, of two arms the first stands and the
// person is counted as conflicted. A person has 200 identifiers (a few more when many
// come at once), and remembers 64 profiles of installs.
//
// A build from before these edges bound an identifier to a profile by a Binding alone. Such
// a binding becomes an edge when somebody next proves the identifier. Until then what a
// till or an upload says of the identifier goes to the profile that it mints, who is
// another person beside the bound one, and answers for the identifier from then on
// (app's ProfileOf): the binding may be in another partition than that profile, and to ask
// there for each new person would cost every import a record more. The later proof makes
// one person of both.
//
// What a public key says changes nothing of anybody who is known (touch.go): it concerns
// a browser's own profile, or, once somebody is known by that, a shadow of it.
//
// # What follows
//
// For as long as a campaign's window lasts after a decision (engage.Goal), visits, purchases
// and the campaign's goal are counted of whoever was decided for, in the arms and in the
// control group alike (goals.go). Of the messages that the phone reported before a goal and
// whose goal it was, the one that was reported last is its last touch, and the others assisted.
//
// # One terminal state
//
// A decision is pending until a provider accepts, the SDK confirms, delivery
// fails, or it expires; the first of these is final and later facts are only kept
// as receipts. An expiry timer bounds the wait.
package decide

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
)

// weatherWait is how long a trigger waits for weather that is absent.
const weatherWait = 2 * time.Second

// expiryGrace is how much later than deliver the decision expires, so that
// deliver's own word is in the log first.
const expiryGrace = time.Minute

// joinWithin is how long after a person's visit another of their installs joins it.
const joinWithin = 30 * time.Minute

// Meter counts facts per campaign and arm, in the same transaction.
type Meter interface {
	Add(tx engage.Tx, workspace, campaign, arm string, add engage.Counts) error
}

// Machine is the step.
type Machine struct {
	Meter   Meter
	Learner Learner // nil: nobody learns
	// Other decodes and applies keys of stages that share the partition ("m:", the
	// meter's); nil when there are none.
	Other interface {
		Decode(key string, body []byte) (engage.State, error)
	}
}

// Decode implements engage.Machine.
func (m Machine) Decode(key string, body []byte) (engage.State, error) {
	id := engage.IDOf(key)
	var s interface {
		engage.State
		version() int
	}
	switch {
	case strings.HasPrefix(id, "p:"):
		s = &Person{}
		if RedirectOf(body) != "" {
			s = &Moved{}
		}
	case strings.HasPrefix(id, "d:"):
		s = &Binding{}
	case strings.HasPrefix(id, "w:"):
		s = &Cell{}
	case strings.HasPrefix(id, "l:"):
		s = &Owner{}
	case strings.HasPrefix(id, "h:"):
		s = &Holding{}
	case strings.HasPrefix(id, "u:"):
		s = &OfferUse{}
	case m.Other != nil:
		return m.Other.Decode(key, body)
	default:
		return nil, fmt.Errorf("state %q: unknown kind of key", id)
	}
	var err error
	if p, is := s.(*Person); is {
		err = personJSON.Unmarshal(body, p)
	} else {
		err = json.Unmarshal(body, s)
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if v := s.version(); v != 1 {
		return nil, fmt.Errorf("state: version %d is not known", v)
	}
	return s, nil
}

// Apply implements engage.Machine.
func (m Machine) Apply(tx engage.Tx, e engage.Entry) error {
	switch e.Kind {
	case engage.KindWeather:
		return m.weather(tx, e)
	case engage.KindIdentify:
		return identify(tx, e)
	case engage.KindErase:
		return erase(tx, e)
	case engage.KindReservation:
		return reservation(tx, e)
	case engage.KindOfferUse:
		return offerUsed(tx, e)
	}
	if of, err := m.leases(tx, e); of || err != nil {
		return err
	}
	from := ""
	if e.Kind == engage.KindForward {
		var f engage.Forward
		if err := read(e, &f); err != nil {
			return err
		}
		e.Kind, e.Body, from = f.Kind, f.Body, f.Profile
	}
	st, err := tx.Load(e.Key)
	if err != nil {
		return err
	}
	if e.Kind == engage.KindDecision {
		if st == nil {
			return nil // erased
		}
		return recorded(tx, e)
	}
	if at, moved := st.(*Moved); moved {
		return m.moved(tx, e, at, from)
	}
	if !begets(e.Kind) && st == nil {
		return nil
	}
	switch e.Kind {
	case engage.KindClaimed:
		return m.claimed(tx, e)
	case engage.KindDisclaim:
		return m.disclaim(tx, e)
	case engage.KindMerge:
		var x engage.Merge
		if err := read(e, &x); err != nil {
			return err
		}
		s, err := m.person(tx, e)
		if err != nil {
			return err
		}
		return s.merge(x)
	case engage.KindShadow:
		s, err := m.person(tx, e)
		if err != nil {
			return err
		}
		shadow, err := s.p.Shadow.heard(tx, e, s.p.ID)
		if err != nil || shadow == s.p.Shadow {
			return err
		}
		s.keepPerson()
		s.p.Shadow = shadow
		return nil
	case engage.KindTouch:
		return m.touch(tx, e)
	case engage.KindYield:
		return nil // of an earlier build: a Merge says the same
	}
	s, err := m.person(tx, e)
	if err != nil {
		return err
	}
	s.keepPerson()
	defer s.p.forget(e.At)
	switch e.Kind {
	case engage.KindTimer:
		return s.timer()
	case engage.KindTrigger:
		return s.onTrigger()
	case engage.KindCall:
		return s.onCall()
	case engage.KindOutcome:
		return s.onOutcome()
	case engage.KindReceipt:
		return s.onReceipt()
	case engage.KindRedemption:
		return s.onRedemption()
	case engage.KindAbsorb:
		return s.absorb()
	case engage.KindItems:
		return s.onItems()
	case engage.KindMergeNo:
		var no engage.MergeRefused
		if err := read(e, &no); err != nil {
			return err
		}
		return s.timeline(no.Install, s.refused(no))
	}
	s.p.Seen(e.At)
	return s.said(from)
}

// said takes what a phone says of itself and of the person; from is the profile at
// which it was said, where that is another by now.
func (s *step) said(from string) error {
	e := s.e
	switch e.Kind {
	case engage.KindDevice:
		var d engage.Device
		if err := read(e, &d); err != nil {
			return err
		}
		s.p.SetDevice(d, e.At)
		d.Push, d.Spare = nil, nil // no token in the timeline
		return s.timeline(d.Install, d)
	case engage.KindDeviceGone:
		var gone engage.DeviceGone
		if err := read(e, &gone); err != nil {
			return err
		}
		s.p.RemoveDevice(gone.Install, e.At)
		return s.timeline(gone.Install, gone)
	case engage.KindPreferences:
		var answers map[string]engage.Attitude
		if err := read(e, &answers); err != nil {
			return err
		}
		left := s.p.SetPreferences(answers, profile.StampOf(e.Occurred, e.At, true))
		s.noRoom(s.fromSDK(), "preferences.", left)
		return folded(s, answers, left)
	case engage.KindConsent:
		var answers engage.ByPurpose[engage.Consent]
		if err := read(e, &answers); err != nil {
			return err
		}
		s.consent(from, answers)
		return s.timeline("", answers)
	case engage.KindTraits:
		return s.traits()
	case engage.KindBound, engage.KindBindRefused:
		var id engage.Identify
		if err := read(e, &id); err != nil {
			return err
		}
		if e.Kind == engage.KindBound {
			s.p.Bind(id.Identifier)
		}
		return s.timeline(id.Install, id)
	default:
		return engage.Errorf(engage.Unsupported, "kind", "decide knows no entry of kind %q", e.Kind)
	}
}

// consent takes answers that were given at a profile; empty means at this one.
func (s *step) consent(at string, answers engage.ByPurpose[engage.Consent]) {
	when, given := s.occurred(), engage.ByPurpose[engage.Consent]{}
	for purpose, c := range answers.All() {
		if !when.Equal(c.At) {
			c.OccurredAt = when
		}
		given = given.With(purpose, c)
	}
	s.p.SetConsents(at, given)
	s.p.Unprofiled()
}

// occurred is when it happened, in UTC, and not after it was heard of.
func (s *step) occurred() time.Time {
	if s.e.Occurred.IsZero() || s.e.Occurred.After(s.e.At) {
		return s.e.At.UTC()
	}
	return s.e.Occurred.UTC()
}

func read(e engage.Entry, into any) error {
	if err := json.Unmarshal(e.Body, into); err != nil {
		return fmt.Errorf("%s: %w", e.Kind, err)
	}
	return nil
}

// onTrigger runs a moment through every campaign that listens to it.
func (s *step) onTrigger() error {
	var t engage.Trigger
	if err := triggerJSON.Unmarshal(s.e.Body, &t); err != nil {
		return fmt.Errorf("%s: %w", s.e.Kind, err)
	}
	if err := s.tellPlace(&t); err != nil {
		return err
	}
	s.join(&t)
	if err := s.fire(&t); err != nil {
		return err
	}
	// The person changes after the decision: "visits ge 1" means before this one.
	if t.Type == engage.TriggerPlace && t.Transition == engage.Enter && t.Ring == engage.Inside && s.p.Recent[t.Place].Counted != t.Occasion {
		r := s.p.Recent[t.Place]
		r.Counted, r.CountedAt, r.LastBefore = t.Occasion, t.OccurredAt, s.p.LastVisitAt
		s.p.setRecent(t.Place, r)
		s.p.Visited(t.OccurredAt)
		s.p.VisitedPlace(t.Place, t.OccurredAt)
		if err := s.cameTo(&t); err != nil {
			return err
		}
	}
	if t.Type == engage.TriggerEvent {
		if err := s.did(t.Event, t.Properties, t.OccurredAt); err != nil {
			return err
		}
		s.lean(t.Event, t.Properties, nil)
	}
	s.p.Seen(s.e.At)
	return s.timeline(t.Install, &t)
}

// fire runs a moment through the campaigns that listen to it.
func (s *step) fire(t *engage.Trigger) error {
	if err := s.lookWeather(t); err != nil {
		return err
	}
	before := s.before(t)
	listening := s.config.listening(t, s.e.At)
	if len(listening) == 0 {
		return nil
	}
	s.begin()
	defer s.done()
	passed := make([]*attempt, 0, len(listening))
	m := s.moment(t)
	m.local()
	for _, c := range listening {
		a := s.attempt(c, m, s.e.At, before)
		ok, err := a.run()
		if err != nil {
			return err
		}
		if ok {
			passed = append(passed, a)
		}
	}
	return s.arbitrate(passed)
}

// join makes the visit of a second install of the person the one visit, for as
// long as that install goes on calling it by its own id.
func (s *step) join(t *engage.Trigger) {
	if t.Type != engage.TriggerPlace {
		return
	}
	r, known := s.p.Recent[t.Place]
	switch {
	case known && (t.Occasion == r.Occasion || slices.Contains(r.Joined, t.Occasion)):
	case known && r.Install != t.Install && t.OccurredAt.Sub(r.At).Abs() < joinWithin:
		r.Joined = append(slices.Clone(r.Joined), t.Occasion)
		if len(r.Joined) > maxJoined {
			r.Joined = r.Joined[1:]
		}
	default:
		r = Recent{Occasion: t.Occasion, Install: t.Install}
	}
	t.Occasion = r.Occasion
	if t.OccurredAt.After(r.At) {
		r.At = t.OccurredAt
	}
	s.p.setRecent(t.Place, r)
}

// before is what was known of the person before a moment: an enter of a visit that
// was counted already (by another geofence or install) does not see it.
func (s *step) before(t *engage.Trigger) Before {
	b := Before{Visits: s.p.Visits, LastVisitAt: s.p.LastVisitAt, LastSeen: s.p.LastSeen}
	if t.Type != engage.TriggerPlace || t.Transition != engage.Enter {
		return b
	}
	if r := s.p.Recent[t.Place]; r.Counted != "" && r.Counted == t.Occasion {
		b.Visits--
		if b.LastVisitAt.Equal(r.CountedAt) {
			b.LastVisitAt = r.LastBefore
		}
	}
	return b
}

// waiting are the decisions that wait and that want takes, the oldest first.
func (s *step) waiting(want func(*Waiting) bool) []string {
	var ids []string
	for id, w := range s.p.Waiting {
		if want(&w) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(x, y string) int {
		a, b := s.p.Waiting[x], s.p.Waiting[y]
		return cmp.Or(a.Decision.At.Compare(b.Decision.At), a.Trigger.OccurredAt.Compare(b.Trigger.OccurredAt), strings.Compare(x, y))
	})
	return ids
}

// together are the decisions about the same moment that wait for the same as the
// given one: they wake together, so that one of them has it.
func (s *step) together(id string) []string {
	first := s.p.Waiting[id]
	return s.waiting(func(w *Waiting) bool {
		return w.For == first.For && sameMoment(&w.Trigger, &first.Trigger) && w.Decision.DueAt.Equal(*first.Decision.DueAt)
	})
}

// timer wakes what waited: "weather/<decision>", "quiet/<decision>", "lease/<decision>",
// "items/<decision>"; "expire/<delivery>" ends a decision.
func (s *step) timer() error {
	var f engage.Firing
	if err := read(s.e, &f); err != nil {
		return err
	}
	kind, id, _ := strings.Cut(f.Name, "/")
	switch kind {
	case "weather", "quiet", "lease", "items":
		if w, ok := s.p.Waiting[id]; !ok || w.For != kind {
			return nil
		}
		return s.wake(s.together(id), true)
	case "expire":
		return s.expire(id)
	default:
		return engage.Errorf(engage.Unsupported, "name", "no timer is called %q", f.Name)
	}
}

// wake runs a moment again for the campaigns that waited together.
func (s *step) wake(ids []string, lastChance bool) error {
	woken := make([]Waiting, len(ids))
	for i, id := range ids {
		w := s.p.Waiting[id]
		s.p.setWaiting(id, nil)
		s.tx.ClearTimer(s.key, w.For+"/"+id)
		woken[i] = w
	}
	s.begin()
	defer s.done()
	passed := make([]*attempt, 0, len(woken))
	for i := range woken {
		w := &woken[i]
		s.age(&w.Trigger)
		if err := s.lookWeather(&w.Trigger); err != nil {
			return err
		}
		c := s.config.campaigns[w.Campaign]
		if c == nil {
			if err := s.gone(w.Decision); err != nil {
				return err
			}
			continue
		}
		a := s.attempt(c, s.moment(&w.Trigger), w.Decision.At, w.Before)
		a.d.ID, a.d.Delivery = w.Decision.ID, w.Decision.Delivery // minted by who the person was then
		a.taken = w.Taken
		a.lastChance = lastChance && w.For == "weather"
		a.leaseUntil, a.leaseOver = w.Until, lastChance && w.For == "lease"
		a.itemsSoFar = itemsSoFar{known: w.Items, itemsUntil: w.ItemsUntil, itemsOver: lastChance && w.For == "items"}
		ok, err := a.run()
		if err != nil {
			return err
		}
		if ok {
			passed = append(passed, a)
		}
	}
	return s.arbitrate(passed)
}

// gone ends a decision whose campaign was paused, ended or deleted while it waited.
func (s *step) gone(d engage.Decision) error {
	d.Gates = append(slices.Clone(d.Gates), engage.GateResult{
		Gate: "eligibility", Reason: engage.ReasonPaused, Saw: engage.SawOf(map[string]any{"revision": s.rev}),
	})
	d.State, d.Reason, d.Delivery, d.DueAt, d.UpdatedAt, d.Revision = engage.Suppressed, engage.ReasonPaused, "", nil, s.e.At, s.rev
	s.record(d)
	return s.m.Meter.Add(s.tx, s.ws, d.Campaign, "", engage.Counts{Suppressed: map[engage.Reason]int64{d.Reason: 1}})
}
