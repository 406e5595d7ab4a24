package geo

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// Kind of a Transition.
type Kind string

// The kinds.
const (
	Enter Kind = "enter" // the device came into the fence
	Exit  Kind = "exit"  // it left it
	Near  Kind = "near"  // it came into an approach ring; leaving that is an Exit
	Dwell Kind = "dwell" // it has been inside for the fence's time
	Pass  Kind = "pass"  // its path between two fixes crossed the fence
	Stay  Kind = "visit" // its visit of the place ended: from Since to At
)

// Source of evidence.
type Source string

// The sources.
const (
	ByFix     Source = "fix"       // a position
	ByRegion  Source = "os_region" // the operating system's word about a region that it watches
	ByBeacon  Source = "beacon"    // a beacon that was seen, or no longer
	BySilence Source = "silence"   // nothing was heard until a time that mattered
	ByPath    Source = "path"      // the way between two fixes
)

// Evidence is one thing that was noticed about where a device is.
type Evidence struct {
	Source Source    // ByFix, ByRegion, ByBeacon or BySilence
	At     time.Time // when it happened, corrected device clock; microseconds count
	Seq    uint64    // names it among the device's evidence, for the ids of visits

	// Of a fix; and of the fix that came with a region event, if Located.
	Pos       Point
	AccuracyM float64 // 68 % radius in metres; 0 or negative means not given
	Mocked    bool    // the OS says that a test provider made it
	Located   bool    // Pos is given; always so with a fix

	// Of a region event or a beacon: the fence that it speaks of, and whether the
	// device is there.
	Fence  string
	Inside bool

	// Of silence, which Tracker.Due asks for: the device has a live session.
	Live bool
}

// Terms are what a Tracker needs to know of a fence besides its shape.
type Terms struct {
	Place string        // whose visits it makes; the fences of a place share them
	Near  bool          // it is an approach ring: a phase of a visit, no arrival
	Dwell time.Duration // after which Dwell is told; 0 means never
	Rule  *Rule         // what it takes as evidence
}

// World is what a Tracker looks at. It may change from one evidence to the next: what
// is settled stays as it was.
type World interface {
	// Index holds the fences.
	Index() *Index
	// Terms of a fence of the index.
	Terms(fence string) (Terms, bool)
	// Doubts about what phones say.
	Doubts() Doubts
	// VisitID mints the id of a visit of a place that began with the evidence of
	// the given seq; n tells several apart that late evidence made at once.
	VisitID(place string, seq uint64, n int) string
}

// Policy about a doubtful fix.
type Policy string

// The policies.
const (
	AcceptDoubtful Policy = "accept" // it counts as any other; it is flagged all the same
	FlagDoubtful   Policy = "flag"   // it counts, flagged; one that came too fast only once the next agrees with it
	RefuseDoubtful Policy = "refuse" // it is history and changes nothing; after one that came too fast, so are those that agree with it, for ten minutes
)

// Doubts say which fixes are not believed, and what is done about them.
type Doubts struct {
	Mocked Policy // of fixes that a test provider made
	Speed  Policy // of fixes that nobody could have reached in time
	// MaxSpeedMPS: a way from the last fix that took more than this, both error
	// circles allowed for, is flagged as speed, beyond TeleportMPS as teleport.
	// With more than ten minutes between the two, somebody may have flown: TeleportMPS
	// counts.
	MaxSpeedMPS float64
	TeleportMPS float64
}

// DefaultDoubts flag what is faster than 360 km/h, and as a teleport what is faster
// than sound.
func DefaultDoubts() Doubts {
	return Doubts{Mocked: FlagDoubtful, Speed: FlagDoubtful, MaxSpeedMPS: 100, TeleportMPS: 340}
}

// Flags of doubtful evidence.
type Flags uint8

// The flags.
const (
	FlagMocked Flags = 1 << iota
	FlagSpeed
	FlagTeleport
)

// Names are "mocked", "speed" and "teleport", as far as they apply; nil for none.
func (f Flags) Names() []string {
	var out []string
	for i, name := range []string{"mocked", "speed", "teleport"} {
		if f>>i&1 == 1 {
			out = append(out, name)
		}
	}
	return out
}

// Outcome says what became of evidence.
type Outcome string

// The outcomes.
const (
	Taken     Outcome = "taken"     // it stands in the order of its time
	Duplicate Outcome = "duplicate" // the same was taken before: no-op
	Late      Outcome = "late"      // it is older than the reorder window: history only
	Future    Outcome = "future"    // it is from more than MaxAheadOf after now: refused
	Ancient   Outcome = "ancient"   // it is older than MaxEvidenceAge: refused
	Suspected Outcome = "suspected" // it came too fast, and is not believed until another agrees with it
	Refused   Outcome = "refused"   // it is doubtful, and the policy is to refuse such: history only
	Invalid   Outcome = "invalid"   // it has no valid position, or speaks of no known fence
	Denied    Outcome = "denied"    // the OS's own fix says otherwise, or does not say that an outline was entered
	Crowded   Outcome = "crowded"   // the device is in too many fences already
)

// Times that a Tracker goes by.
const (
	// ReorderWindow is how much older than the newest evidence other evidence may
	// be, and still take its place in the order of time; less where more than 2,048
	// pieces of evidence, or 512 visits, fall into it.
	ReorderWindow = 15 * time.Minute
	// StaleAfter is the age beyond which a transition is history: nothing is to be
	// sent for it.
	StaleAfter = 15 * time.Minute
	// MaxAheadOf is how far a phone's clock, corrected, may be ahead: what is
	// within it is taken as now.
	MaxAheadOf = 5 * time.Minute
	// MaxEvidenceAge is how long a phone may have kept what it noticed.
	MaxEvidenceAge = 30 * 24 * time.Hour
)

// Bounds of what is kept within the reorder window, the evidence and the visits;
// beyond them, the oldest is settled early. The first is more than two fixes a second
// make.
const (
	maxWindow = 2048
	maxKnown  = 512
)

// maxTrackedM is the largest accuracy that is kept; larger ones are lowered to it.
const maxTrackedM = 1e6

// Transition is a change at a fence, or the end of a visit.
type Transition struct {
	Kind  Kind
	At    time.Time // when it happened: of the evidence that decided it; of a Dwell when the time was reached; of a Pass the middle of the way through
	Place string
	Fence string // of a Stay the fence that was left last
	Near  bool   // the fence is an approach ring
	Visit string // id; a Pass has one of its own

	By        Source // what decided it
	Pos       Point  // of the fix that decided it, if Located
	Located   bool
	MarginM   float64 // of Pos to the fence's border, negative inside
	AccuracyM float64 // of Pos; 0: not given
	Flags     Flags   // of the evidence
	Stale     bool    // older than StaleAfter when it became known: history

	Since time.Time // of an Exit, a Dwell or a Stay: when the fence, or the place, was entered

	since int64 // of the visit, where its id is not known yet
}

// Visit is a stay at a place: from the first evidence in any of its fences until the
// device is outside all of them.
type Visit struct {
	ID        string
	Place     string
	Since     time.Time
	Until     time.Time     // zero: it goes on
	Last      time.Time     // newest evidence of being there
	InsideAt  time.Time     // first inside a fence that is no approach ring; zero: never
	DwelledAt time.Time     // first Dwell; zero: none
	Confirmed time.Duration // for how long evidence without long gaps shows it there
	Fences    []string      // that were entered, sorted
	By        Source        // the first evidence
	Ended     Source        // what ended it; empty while it is open, and where its fences were removed
	Removed   bool          // its fences were removed
	Withdrawn bool          // late evidence showed that there was no such visit
	Stale     bool          // its beginning was older than StaleAfter when it became known
	Flags     Flags         // of the evidence by which fences were entered
}

// Step is what one piece of evidence did.
type Step struct {
	Outcome Outcome
	Flags   Flags
	// Told are transitions as they become known. They are provisional: late evidence
	// may show that it was otherwise, but they are never taken back. Of each fence,
	// enters and exits alternate.
	Told []Transition
	// Settled are transitions on which no evidence within the window can have a
	// bearing any more: what in-order arrival would have told.
	Settled []Transition
	// Visits are those that began, ended or were corrected, by their beginning.
	Visits []Visit
}

// Tracker turns the evidence about one device into transitions and visits: what
// Rule says of single fixes, it confirms, orders in time and remembers. It is a
// value of little state that can be kept (MarshalJSON) and goes on where it was; the
// zero Tracker knows nothing yet. It is not for concurrent use, but a copy of one,
// by Clone, shares nothing that either changes.
//
// # Order
//
// Evidence takes effect in the order of its time, whatever the order of arrival:
// what is within ReorderWindow of the newest takes its place, and what follows it is
// done again. So visits become what in-order arrival would have made them, while
// what was told stays told; ids of visits stay. The same evidence twice is a no-op.
// Evidence that is older is Late. What lies behind the window is settled.
//
// # Presence
//
// For each fence: Rule's evidence enters and leaves. The newest evidence counts,
// whatever its source: an OS's word at once, unless its own fix denies it (by more
// than Rule's clear distance and 100 m; of a circle of less than 100 m, which is
// watched as one of 100 m, by the clear distance alone); of a fence that is no
// circle, phones watch the circle around it, so that entering takes a fix inside. While a beacon is
// seen no fix ends the stay; when it has not been seen for Rule.BeaconLost, and
// nothing else said inside within Rule.MaxGap before, the stay ends.
//
// # Time
//
// Dwell counts time that evidence vouches for: from the enter, through gaps of up
// to Rule.MaxGap between evidence of being inside, through longer ones only if the
// OS says inside all along, of a circle that is the fence itself. After a longer gap
// it begins anew. When the time comes
// and nothing is heard, Due asks for an Evidence of BySilence: it lets the dwell
// be told if the session is live, or the OS still says inside, and the last evidence
// is no older than MaxGap. Otherwise the visit stays unconfirmed. A visit of which
// nothing is heard for Rule.Silence, without a live session, ends at its last
// evidence.
type Tracker struct {
	newest  int64 // µs; of the phone's own evidence, which silence is not
	through int64 // everything up to here is settled
	settled moment
	live    moment
	window  []clue  // after through, in order
	known   []known // visits that are open, or ended after through
	// spare counts the free elements behind window, in what clones share: whoever
	// counts it down from what it sees may use the next.
	spare *atomic.Int64
	// The lists of live, and of settled, are this one's alone, to be changed in place.
	ownsLive, ownsSettled bool
}

// clue is evidence as it is kept. A position is rounded to 1e-7 degrees (1.1 cm),
// which is what phones give, an accuracy to 0.1 m: what was kept and read again must
// be what it was.
type clue struct {
	at       int64 // µs
	seq      uint64
	lat, lng int32  // 1e-7 degrees
	acc      uint32 // decimetres; 0: not given
	source   uint8  // into sources
	bits     uint8
	fence    string
}

// sources by their codes, in which evidence of one time takes effect: silence is the
// last word.
var sources = [...]Source{ByFix, ByRegion, ByBeacon, BySilence}

const (
	clueFix = iota
	clueRegion
	clueBeacon
	clueSilence
)

const degrees = 1e7

func (c *clue) pos() Point {
	return Point{Lat: float64(c.lat) / degrees, Lng: float64(c.lng) / degrees}
}

func (c *clue) accuracyM() float64 { return float64(c.acc) / 10 }

func (c *clue) by() Source { return sources[c.source] }

const (
	clueMocked = 1 << iota
	clueLocated
	clueInside
	clueLive
)

func (c *clue) is(bit uint8) bool { return c.bits&bit != 0 }

func bit(on bool, b uint8) uint8 {
	if on {
		return b
	}
	return 0
}

// compare is the order in which evidence takes effect: by time, and at one time by
// what it says, so that the order of arrival makes no difference. Equal evidence
// is the same.
func (c *clue) compare(o *clue) int {
	return cmp.Or(
		cmp.Compare(c.at, o.at),
		cmp.Compare(c.source, o.source),
		cmp.Compare(c.fence, o.fence),
		cmp.Compare(c.acc, o.acc),
		cmp.Compare(c.lat, o.lat),
		cmp.Compare(c.lng, o.lng),
		cmp.Compare(c.bits, o.bits),
	)
}

// known is a visit that somebody has been told of, or will be.
type known struct {
	ID      string   `json:"id"`
	Place   string   `json:"place"`
	Since   int64    `json:"since"`
	Until   int64    `json:"until,omitempty"` // 0: open
	Stale   bool     `json:"stale,omitempty"`
	Dwelled []string `json:"dwelled,omitempty"` // stays at fences of which a dwell was told
	Print   uint64   `json:"print"`             // of what was last said of it
}

// Clone is a copy; neither changes what the other sees.
func (t *Tracker) Clone() Tracker {
	c := *t
	if c.ownsLive {
		c.live.own()
	}
	if c.ownsSettled {
		c.settled.own()
	}
	return c
}

// CloneOver makes into what Clone gives, in the memory that it has: for somebody who
// clones again and again, and has no use for an older one any more.
func (t *Tracker) CloneOver(into *Tracker) {
	live, settled := into.live, into.settled
	liveFree, settledFree := into.ownsLive, into.ownsSettled
	*into = *t
	if t.ownsLive {
		into.live.over(&live, liveFree)
	}
	if t.ownsSettled {
		into.settled.over(&settled, settledFree)
	}
}

// ownLive makes the lists of live those of t alone.
func (t *Tracker) ownLive() *moment {
	if !t.ownsLive {
		t.live.own()
		t.ownsLive = true
	}
	return &t.live
}

// ownSettled does so with those of settled.
func (t *Tracker) ownSettled() *moment {
	if !t.ownsSettled {
		t.settled.own()
		t.ownsSettled = true
	}
	return &t.settled
}

// settleOn makes what is settled a moment, with lists of its own.
func (t *Tracker) settleOn(m moment) {
	m.own()
	t.settled, t.ownsSettled = m, true
}

// Apply takes one piece of evidence. now is when it is taken, which it can be at
// most as old as MaxEvidenceAge, and tells what is stale; zero means its own time.
func (t *Tracker) Apply(w World, e Evidence, now time.Time) Step {
	c, outcome := newClue(w, &e, now)
	if outcome != Taken {
		return Step{Outcome: outcome}
	}
	if c.at <= t.through && t.newest != 0 {
		if c.source != clueSilence {
			return Step{Outcome: Late}
		}
		c.at = t.through + 1 // a clock that went back: nothing was heard since, all the same
	}
	at, twice := len(t.window), false
	if at > 0 && t.window[at-1].at >= c.at { // almost always it is the newest
		at, twice = slices.BinarySearchFunc(t.window, c, func(a, b clue) int { return a.compare(&b) })
	}
	if twice {
		return Step{Outcome: Duplicate}
	}
	r := newRun(w, t, now.UnixMicro())
	defer r.done()
	if now.IsZero() {
		r.now = c.at
	}
	step := Step{Outcome: Taken}
	if at == len(t.window) {
		t.push(c)
		step = t.forward(r, &c)
	} else {
		t.window, t.spare = slices.Insert(slices.Clip(t.window), at, c), nil
		step = t.again(r, at)
	}
	if c.source != clueSilence && c.at > t.newest {
		t.newest = c.at
	}
	t.settle(w, t.newest-ReorderWindow.Microseconds(), r.now, &step)
	return step
}

// push appends to the window, in place unless a clone was there first.
func (t *Tracker) push(c clue) {
	free := int64(cap(t.window) - len(t.window))
	if free > 0 && t.spare != nil && t.spare.CompareAndSwap(free, free-1) {
		t.window = append(t.window, c)
		return
	}
	grown := make([]clue, len(t.window), len(t.window)+len(t.window)/2+4)
	copy(grown, t.window)
	t.window, t.spare = append(grown, c), new(atomic.Int64)
	t.spare.Store(int64(cap(t.window) - len(t.window)))
}

func newClue(w World, e *Evidence, now time.Time) (clue, Outcome) {
	at := e.At
	if !now.IsZero() {
		switch ahead := at.Sub(now); {
		case ahead > MaxAheadOf:
			return clue{}, Future
		case ahead > 0:
			at = now
		case -ahead > MaxEvidenceAge:
			return clue{}, Ancient
		}
	}
	source := slices.Index(sources[:], e.Source)
	switch {
	case source < 0:
		return clue{}, Invalid
	case at.UnixMicro() <= 0:
		return clue{}, Ancient
	}
	c := clue{
		at: at.UnixMicro(), seq: e.Seq, source: uint8(source),
		bits: bit(e.Mocked, clueMocked) | bit(e.Located || e.Source == ByFix, clueLocated) | bit(e.Inside, clueInside) | bit(e.Live, clueLive),
	}
	if c.is(clueLocated) {
		if e.Pos.Validate() != nil {
			return clue{}, Invalid
		}
		c.lat, c.lng = int32(math.Round(e.Pos.Lat*degrees)), int32(math.Round(e.Pos.Lng*degrees))
		if e.AccuracyM > 0 { // else not given, NaN too
			c.acc = uint32(min(max(1, math.Round(e.AccuracyM*10)), maxTrackedM*10))
		}
	}
	if c.source == clueRegion || c.source == clueBeacon {
		if _, known := w.Terms(e.Fence); !known {
			return clue{}, Invalid
		}
		c.fence = e.Fence
	}
	return c, Taken
}

// forward applies evidence that is the newest.
func (t *Tracker) forward(r *run, c *clue) Step {
	r.mint = true
	outcome, flags := r.apply(t.ownLive(), c)
	step := Step{Outcome: outcome, Flags: flags, Told: r.out}
	for i := range step.Told {
		step.Told[i].Stale = r.stale(step.Told[i].At)
		if step.Told[i].Kind == Dwell {
			t.toldDwell(step.Told[i].Visit, step.Told[i].Fence, step.Told[i].Since)
		}
	}
	if len(r.out) > 0 || len(r.ended) > 0 {
		step.Visits = t.say(r, r.ended)
	}
	return step
}

// again applies the window anew, of which the evidence at the given place has just
// been put in.
func (t *Tracker) again(r *run, inserted int) Step {
	before := t.live
	now := t.settled
	now.own()
	var outcome Outcome
	var flags Flags
	for i := range t.window {
		o, f := r.apply(&now, &t.window[i])
		if i == inserted {
			outcome, flags = o, f
		}
	}
	t.live, t.ownsLive = now, true
	ended, withdrawn := t.recognise(r, r.ended, t.window[inserted].seq)
	step := Step{Outcome: outcome, Flags: flags, Told: t.differences(r, &before, &t.window[inserted])}
	step.Visits = append(withdrawn, t.say(r, ended)...)
	return step
}

// settle lets go of evidence up to a time.
func (t *Tracker) settle(w World, through, now int64, step *Step) {
	if len(t.window) > maxWindow {
		through = max(through, t.window[len(t.window)-maxWindow-1].at)
	}
	if n := len(t.known) - maxKnown; n > 0 {
		var over []int64
		for i := range t.known {
			if until := t.known[i].Until; until != 0 {
				over = append(over, until)
			}
		}
		slices.Sort(over)
		if n <= len(over) {
			through = max(through, over[n-1])
		}
	}
	if through <= t.through {
		return
	}
	t.through = through
	n := 0
	for n < len(t.window) && t.window[n].at <= through {
		n++
	}
	if n > 0 {
		r := newRun(w, t, now)
		defer r.done()
		for i := range n {
			r.apply(t.ownSettled(), &t.window[i])
		}
		t.window = t.window[n:]
		if len(t.window) == 0 {
			t.window, t.spare = nil, nil
		}
		for i := range r.out {
			r.out[i].Stale = r.stale(r.out[i].At)
		}
		step.Settled = append(step.Settled, r.out...)
	}
	if slices.ContainsFunc(t.known, t.past) {
		t.known = slices.DeleteFunc(slices.Clone(t.known), t.past)
	}
}

// past reports whether a visit is over for good: it ended before what the window
// holds, and so the settled moment knows.
func (t *Tracker) past(k known) bool {
	if k.Until == 0 || k.Until > t.through {
		return false
	}
	s := t.settled.stay(k.Place)
	return s == nil || s.ID != k.ID && s.Since != k.Since
}

// Settle settles everything, as if the window had passed: what is older than the
// newest evidence is Late from now on.
func (t *Tracker) Settle(w World) Step {
	step := Step{Outcome: Taken}
	through := t.newest
	if n := len(t.window); n > 0 {
		through = max(through, t.window[n-1].at)
	}
	t.settle(w, through, through, &step)
	return step
}

// Due is the earliest time at which an Evidence of BySilence may make a difference;
// false if there is none.
func (t *Tracker) Due(w World) (time.Time, bool) {
	due := int64(0)
	for i := range t.live.In {
		if at := t.live.In[i].due(w); at != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	if due == 0 {
		return time.Time{}, false
	}
	return time.UnixMicro(due).UTC(), true
}

// Inside reports whether the device is inside a fence, and since when.
func (t *Tracker) Inside(fence string) (since time.Time, inside bool) {
	p := t.live.find(fence)
	if p == nil || !p.Inside {
		return time.Time{}, false
	}
	return micro(p.Since), true
}

// Open are the visits that go on, by place.
func (t *Tracker) Open() []Visit {
	out := make([]Visit, 0, len(t.live.Stays))
	for i := range t.live.Stays {
		out = append(out, t.visit(&t.live.Stays[i]))
	}
	return out
}

// Places are those of the visits that go on, sorted.
func (t *Tracker) Places() []string {
	out := make([]string, len(t.live.Stays))
	for i := range t.live.Stays {
		out[i] = t.live.Stays[i].Place
	}
	return out
}

// FencesOf are the fences of a place that the device is inside of, sorted.
func (t *Tracker) FencesOf(place string) []string {
	var out []string
	for i := range t.live.In {
		if p := &t.live.In[i]; p.Inside && p.Place == place {
			out = append(out, p.Fence)
		}
	}
	return out
}

// End ends all visits at a time, when no more evidence may be had: the person
// withdrew. The Tracker knows nothing then.
func (t *Tracker) End(at time.Time) []Visit {
	out := make([]Visit, 0, len(t.live.Stays))
	for i := range t.live.Stays {
		s := &t.live.Stays[i]
		v := t.visit(s)
		v.Until = micro(max(s.Since, min(at.UnixMicro(), s.Seen)))
		out = append(out, v)
	}
	*t = Tracker{}
	return out
}

// Freeze settles what is known as it is: evidence that is older than the newest is
// Late from now on. It is for a World of other fences: what happened among the old
// ones is not to be told again by the new ones.
func (t *Tracker) Freeze() {
	t.settleOn(t.live)
	t.window, t.spare = nil, nil
	t.through = max(t.through, t.newest)
	t.known = slices.DeleteFunc(slices.Clone(t.known), t.past)
}

// ForgetPositions makes the Tracker know nothing of where the device was but what the
// OS and beacons say, when positions may no longer be had: it ends what only fixes
// vouch for, at its last evidence, and returns the visits that ended. Evidence that
// is older than the newest is Late from now on.
func (t *Tracker) ForgetPositions() []Visit {
	m := t.ownLive()
	m.Fix, m.Suspect = sample{}, sample{}
	m.In = slices.DeleteFunc(m.In, func(p presence) bool { return !p.OS && p.Beacon == 0 })
	for i := range m.In {
		m.In[i].Maybe, m.In[i].MaybeLast = 0, 0
	}
	var out []Visit
	m.Stays = slices.DeleteFunc(m.Stays, func(s stay) bool {
		if slices.ContainsFunc(m.In, func(p presence) bool { return p.Inside && p.Place == s.Place }) {
			return false
		}
		v := t.visit(&s)
		v.Until = micro(max(s.Since, s.Seen))
		out = append(out, v)
		return true
	})
	t.settleOn(*m)
	t.window, t.spare = nil, nil
	t.through = max(t.through, t.newest)
	t.known = slices.DeleteFunc(slices.Clone(t.known), func(k known) bool {
		return !slices.ContainsFunc(m.Stays, func(s stay) bool { return s.ID == k.ID })
	})
	return out
}

func micro(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.UnixMicro(at).UTC()
}
