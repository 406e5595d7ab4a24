package decide

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
)

// Absorb is the body of a KindAbsorb entry: a person as they were when they froze.
type Absorb struct {
	V      int          `json:"v"` // 1
	Merge  engage.Merge `json:"merge"`
	Person *Person      `json:"person"`
}

// merge hears at one of two profiles that they are one person.
func (s *step) merge(x engage.Merge) error {
	me := s.p.ID
	if x.Of == "" {
		x.Of, x.And = me, x.With
	}
	if s.p.is(x.With) {
		if err := s.shadows(x, false); err != nil {
			return err
		}
		if s.p.is(x.Of) && s.p.is(x.And) && x.Of != x.And {
			s.keepPerson()
			s.p.Link(x.Of, x.And, s.occurred())
			s.p.Unprofiled()
		}
		return nil
	}
	if engage.MintedByUser(me) && engage.MintedByUser(x.With) && !x.Alias {
		return s.refuse(x, engage.IdentityConflict, "two users are two persons: only an alias makes them one")
	}
	if engage.Senior(x.With, me) {
		if x.Room == 0 {
			return s.sendMerge(x)
		}
		if identifiers(s.p.Absorbed)+identifiers([]string{me}) > x.Room-1 {
			return s.refuse(x, engage.IdentityConflict, "the person has too many identifiers")
		}
		return s.freeze(x)
	}
	room := profile.MaxAbsorbed - identifiers(s.p.Absorbed)
	if room < identifiers([]string{x.With}) {
		return s.refuse(x, engage.IdentityConflict, "the person has too many identifiers")
	}
	x.Room = room + 1
	return s.sendMerge(x)
}

// shadows tells the browsers that a merge names whether it was believed: then what a public
// key has said of them comes in. Where it was refused, two persons use the browser.
func (s *step) shadows(x engage.Merge, refused bool) error {
	if x.Why == whyShadow {
		return nil
	}
	for _, id := range []string{x.Of, x.And} {
		if !engage.MintedByBrowser(id) {
			continue
		}
		if err := emit(s.tx, engage.ProfileKey(s.ws, id), engage.KindShadow, s.e.Occurred, engage.ShadowWord{Refused: refused}); err != nil {
			return err
		}
	}
	return nil
}

// is reports whether a profile is this one or has become one with it.
func (p *Person) is(id string) bool {
	if id == p.ID {
		return true
	}
	_, found := slices.BinarySearch(p.Absorbed, id)
	return found
}

// identifiers counts the profiles that identifiers minted: those of installs are
// forgotten in time.
func identifiers(ids []string) int {
	n := 0
	for _, id := range ids {
		if !engage.MintedByInstall(id) {
			n++
		}
	}
	return n
}

// sendMerge sends a Merge on to the other one, with this one as its other.
func (s *step) sendMerge(x engage.Merge) error {
	to := x.With
	x.With = s.p.ID
	return emit(s.tx, engage.ProfileKey(s.ws, to), engage.KindMerge, s.e.Occurred, x)
}

// refuse leaves two profiles two, and says so at both.
func (s *step) refuse(x engage.Merge, code engage.Code, reason string) error {
	for _, id := range []string{s.p.ID, x.With} {
		no := engage.MergeRefused{Merge: x, Code: code}
		if id == x.With {
			no.With = s.p.ID
		}
		if err := emit(s.tx, engage.ProfileKey(s.ws, id), engage.KindMergeNo, s.e.Occurred, no); err != nil {
			return err
		}
	}
	if err := s.shadows(x, true); err != nil {
		return err
	}
	s.drop(engage.Dropped{
		From: engage.TouchSource{Kind: "merge", Name: x.Why}, Type: "merge", Code: code, Field: kindOf(x.Identifier), Reason: reason, Profile: s.p.ID,
	})
	return nil
}

// refused is what a person's history has of a merge that was refused: of the other one, who
// may be erased some day, nothing, and of an identifier that is not the person's its kind.
func (s *step) refused(no engage.MergeRefused) engage.MergeRefused {
	own := func(id string) string {
		if id != "" && s.p.is(id) {
			return id
		}
		return ""
	}
	if no.Identifier != "" && own(engage.PersonID(s.ws, no.Identifier)) == "" {
		no.Identifier = kindOf(no.Identifier)
	}
	no.Of, no.And, no.With = own(no.Of), own(no.And), ""
	return no
}

// freeze ends this profile: all that it has goes to the other one.
func (s *step) freeze(x engage.Merge) error {
	s.dated()
	for id, d := range s.p.Open {
		if !d.State.Terminal() {
			s.tx.ClearTimer(s.key, "expire/"+id)
		}
	}
	for id, w := range s.p.Waiting {
		s.tx.ClearTimer(s.key, w.For+"/"+id)
	}
	s.tx.Put(s.key, &Moved{V: 1, Workspace: s.ws, ID: s.p.ID, Redirect: x.With, At: s.e.At, Shadow: s.p.Shadow})
	return emit(s.tx, engage.ProfileKey(s.ws, x.With), engage.KindAbsorb, s.e.Occurred, Absorb{V: 1, Merge: x, Person: s.p})
}

// absorb takes in a person who has frozen.
func (s *step) absorb() error {
	var a Absorb
	if err := read(s.e, &a); err != nil {
		return err
	}
	if a.V != 1 || a.Person == nil || a.Person.V != 1 {
		return engage.Errorf(engage.Unsupported, "v", "no person that this version can absorb")
	}
	q, x := a.Person, a.Merge
	if s.p.is(q.ID) {
		return nil
	}
	if err := s.shadows(x, false); err != nil {
		return err
	}
	claimed := s.p.Claimed
	s.p.Absorb(&q.Profile, profile.Link{A: x.Of, B: x.And, At: s.occurred()})
	if s.p.Claimed != claimed {
		s.noteClaim(s.p.Claimed)
	}
	for _, id := range []string{x.Of, x.And} {
		if x.Identifier != "" && s.p.is(id) && id == engage.PersonID(s.ws, x.Identifier) {
			s.p.Bind(x.Identifier)
		}
	}
	if s.p.FirstSeen.IsZero() {
		s.p.Seen(s.e.At)
	}
	s.p.Used = earliest(s.p.Used, q.Used)
	for campaign, at := range q.Spent {
		all := slices.Concat(s.p.Spent[campaign], at)
		slices.SortFunc(all, time.Time.Compare)
		s.p.Spent = replaced(s.p.Spent, campaign, all)
	}
	s.absorbSpends(q)
	s.absorbOffers(q)
	s.p.Touched = s.p.Touched.with(q.Touched)
	if err := s.absorbAims(q); err != nil {
		return err
	}
	if err := s.absorbArms(q); err != nil {
		return err
	}
	s.absorbRecent(q)
	if err := s.absorbWaiting(q); err != nil {
		return err
	}
	installs := q.Devices
	if _, known := installs[x.Install]; !known && x.Install != "" {
		installs = replaced(installs, x.Install, engage.Device{})
	}
	for _, install := range slices.Sorted(maps.Keys(installs)) {
		body, err := json.Marshal(engage.GiveInstall{From: q.ID, To: s.p.ID})
		if err != nil {
			return fmt.Errorf("encode give_install: %w", err)
		}
		s.tx.Emit("in", engage.Entry{Kind: engage.KindGiveInstall, Key: engage.InstallKey(s.ws, install), Body: body})
	}
	return s.timeline(x.Install, map[string]any{"profile": q.ID, "identifier": x.Identifier, "install": x.Install, "why": x.Why})
}

func earliest(a, b map[string]time.Time) map[string]time.Time {
	for k, at := range b {
		if had, is := a[k]; !is || at.Before(had) {
			a = replaced(a, k, at)
		}
	}
	return a
}

// absorbArms keeps of each campaign the arm that was assigned first. Who had two is
// left out of the analysis, and counted.
func (s *step) absorbArms(q *Person) error {
	conflicted := slices.Concat(s.p.Conflicted, q.Conflicted)
	for _, campaign := range slices.Sorted(maps.Keys(q.Arms)) {
		arm, at := q.Arms[campaign], q.ArmsAt[campaign]
		had, is := s.p.Arms[campaign]
		hadAt := s.p.ArmsAt[campaign]
		if is && had != arm && !slices.Contains(conflicted, campaign) {
			conflicted = append(conflicted, campaign)
			if err := s.m.Meter.Add(s.tx, s.ws, campaign, "", engage.Counts{Conflicted: 1}); err != nil {
				return err
			}
		}
		if !is || at.Before(hadAt) || at.Equal(hadAt) && arm < had {
			s.p.Arms = replaced(s.p.Arms, campaign, arm)
			if s.p.ArmsAt = replaced(s.p.ArmsAt, campaign, at); at.IsZero() {
				delete(s.p.ArmsAt, campaign) // of an earlier build, which did not keep it
			}
		}
	}
	slices.Sort(conflicted)
	s.p.Conflicted = slices.Clip(slices.Compact(conflicted))
	return nil
}

// absorbRecent keeps the newer visit of each place. Where both are the same one it has
// both names.
func (s *step) absorbRecent(q *Person) {
	for _, place := range slices.Sorted(maps.Keys(q.Recent)) {
		r, mine := q.Recent[place], s.p.Recent[place]
		if mine.At.After(r.At) || mine.At.Equal(r.At) && mine.Occasion < r.Occasion {
			r, mine = mine, r
		}
		if mine.Occasion != "" && mine.Occasion != r.Occasion && r.At.Sub(mine.At) < joinWithin {
			r.Joined = slices.Concat(r.Joined, []string{mine.Occasion}, mine.Joined)
			slices.Sort(r.Joined)
			r.Joined = slices.Compact(r.Joined)
			if n := len(r.Joined) - maxJoined; n > 0 {
				r.Joined = r.Joined[n:]
			}
			if r.Counted == "" && mine.Counted != "" {
				r.Counted, r.CountedAt, r.LastBefore = r.Occasion, mine.CountedAt, mine.LastBefore
			}
		}
		s.p.setRecent(place, r)
	}
}

// absorbWaiting takes over what is on its way, and what waits, with its timers.
func (s *step) absorbWaiting(q *Person) error {
	for _, id := range slices.Sorted(maps.Keys(q.Open)) {
		d := q.Open[id]
		if s.p.Open[id] != nil {
			continue
		}
		s.p.setOpen(d)
		if !d.State.Terminal() && d.DueAt != nil {
			s.tx.SetTimer(s.key, "expire/"+id, *d.DueAt, nil)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(q.Waiting)) {
		if err := s.takeOver(q.Waiting[id]); err != nil {
			return err
		}
	}
	return s.wakeKnown()
}

// takeOver has a moment wait here that waited at another profile, if there is room. Its
// decision ends there; this one makes its own.
func (s *step) takeOver(w Waiting) error {
	old := w.Decision
	old.State, old.Reason, old.Delivery, old.DueAt, old.UpdatedAt = engage.Suppressed, engage.ReasonMerged, "", nil, s.e.At
	old.Gates = append(slices.Clone(old.Gates), engage.GateResult{
		Gate: "eligibility", Reason: engage.ReasonMerged, Saw: engage.SawOf(map[string]any{"profile": s.p.ID}),
	})
	s.record(old)
	add := engage.Counts{Suppressed: map[engage.Reason]int64{old.Reason: 1}}
	if err := s.m.Meter.Add(s.tx, s.ws, old.Campaign, "", add); err != nil {
		return err
	}
	d := &w.Decision
	d.Profile, d.Delivery = s.p.ID, engage.DeliveryID(s.ws, d.Campaign, s.p.ID, w.Trigger.Occasion)
	d.ID, d.UpdatedAt = engage.DecisionID(d.Delivery, &w.Trigger), s.e.At
	if _, is := s.p.Waiting[d.ID]; is || d.DueAt == nil || len(s.p.Waiting) >= maxWaiting {
		return nil
	}
	s.p.setWaiting(d.ID, &w)
	s.tx.SetTimer(s.key, w.For+"/"+d.ID, *d.DueAt, nil)
	s.record(*d)
	switch w.For {
	case "weather":
		return s.park(w.Trigger.Cell)
	case "lease":
		return s.parkAt(w.Limit)
	case "items":
		return s.askItems(w.Asked) // the answer to what was asked there names nobody here
	}
	return nil
}

// wakeKnown wakes the moments whose weather has come while they were on their way from
// another profile: this partition has it, and it does not come again.
func (s *step) wakeKnown() error {
	for {
		ids := s.waiting(func(w *Waiting) bool {
			if w.For != "weather" {
				return false
			}
			_, c, err := cell(s.tx, w.Trigger.Cell)
			return err == nil && c.Weather != nil && !s.e.At.After(c.Weather.FreshUntil)
		})
		if len(ids) == 0 {
			return nil
		}
		if err := s.wake(s.together(ids[0]), false); err != nil {
			return err
		}
	}
}

// drop lists something that had no effect.
func (s *step) drop(d engage.Dropped) {
	at := s.tx.Position()
	d.V, d.Workspace, d.At, d.AtUS = 1, s.ws, s.e.At, s.e.At.UnixMicro()
	d.ID = fmt.Sprintf("%020d/%s.%d.%020d.%06d", s.e.At.UnixNano(), at.Partition, at.Incarnation, at.Seq, at.Index)
	if s.drops++; s.drops > 1 {
		d.ID += fmt.Sprintf(".%06d", s.drops)
	}
	s.tx.Record("dropped", s.ws, d.ID, d)
}
