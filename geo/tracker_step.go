package geo

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// regionGraceM is how far outside a circle the fix of an OS event that entered it
// may be, whatever its accuracy: the OS judges by evidence of its own, and may
// attach a fix of before or after.
const regionGraceM = 100

// minWatchedM is the smallest radius that phones notice reliably: smaller circles are
// registered with this one.
const minWatchedM = 100

// moment is what is known at one time, in the order of events.
type moment struct {
	In      []presence `json:"in,omitempty"`    // by fence
	Stays   []stay     `json:"stays,omitempty"` // open visits, by place
	Fix     sample     `json:"fix,omitzero"`    // the last that is believed
	Suspect sample     `json:"suspect,omitzero"`
}

// sample is a fix as later ones are compared with it.
type sample struct {
	At    int64   `json:"at"`
	Pos   Point   `json:"pos"`
	Acc   float64 `json:"acc"`
	First int64   `json:"first,omitempty"` // of a suspect: when the first that it agrees with came
}

// any reports whether there is one: the time of evidence is never zero.
func (s *sample) any() bool { return s.At != 0 }

// presence is what is known of the device at a fence. Without Inside it is there
// for Maybe, or for OS.
type presence struct {
	Fence  string `json:"fence"`
	Place  string `json:"place"`
	Near   bool   `json:"near,omitempty"`
	Inside bool   `json:"inside,omitempty"`

	Since   int64 `json:"since,omitempty"`   // of the enter
	Seen    int64 `json:"seen,omitempty"`    // newest evidence of being inside
	Heard   int64 `json:"heard,omitempty"`   // newest evidence that does not deny it
	Counted int64 `json:"counted,omitempty"` // the dwell counts from here
	Dwelled bool  `json:"dwelled,omitempty"`
	Asked   int64 `json:"asked,omitempty"` // when silence was last taken note of

	OS     bool  `json:"os,omitempty"`     // the OS says inside of the circle that it watches
	Exact  bool  `json:"exact,omitempty"`  // that circle is the fence: the OS vouches for the time in between
	Beacon int64 `json:"beacon,omitempty"` // last sighting of one; 0: none, or it is lost
	Other  int64 `json:"other,omitempty"`  // when something else than a beacon last said inside; 0: never, or a fix denied it

	// Fixes that straddle the border on the other side, from the first to the last;
	// 0: none.
	Maybe     int64 `json:"maybe,omitempty"`
	MaybeLast int64 `json:"maybe_last,omitempty"`
}

// stay is an open visit. The zero ID is not known yet.
type stay struct {
	ID        string   `json:"id"`
	Place     string   `json:"place"`
	Since     int64    `json:"since"`
	Seen      int64    `json:"seen"`
	Counted   int64    `json:"counted"` // confirmed time counts from here
	Confirmed int64    `json:"confirmed,omitempty"`
	InsideAt  int64    `json:"inside_at,omitempty"`
	DwelledAt int64    `json:"dwelled_at,omitempty"`
	Fences    []string `json:"fences"`
	By        Source   `json:"by"`
	Flags     Flags    `json:"flags,omitempty"`

	until   int64 // once it has ended
	ended   Source
	removed bool
}

// own makes the moment's lists the owner's, to be changed.
func (m *moment) own() {
	m.In = slices.Clone(m.In)
	m.Stays = slices.Clone(m.Stays)
}

// over is own, in the lists of a moment that nobody has any more, if they are free.
func (m *moment) over(old *moment, free bool) {
	if !free {
		m.own()
		return
	}
	m.In = append(old.In[:0], m.In...)
	m.Stays = append(old.Stays[:0], m.Stays...)
}

// index is where the presence at a fence stands, or would.
func (m *moment) index(fence string) (i int, there bool) {
	return slices.BinarySearchFunc(m.In, fence, func(p presence, f string) int { return cmp.Compare(p.Fence, f) })
}

func (m *moment) find(fence string) *presence {
	i, there := m.index(fence)
	if !there {
		return nil
	}
	return &m.In[i]
}

// Bounds of the fences that a device may be in at once, and so of what one that lies
// can cost: by words of regions and beacons, which it may say of any fence, and by
// fixes. 26 shops on one spot with a ring each are 52.
const (
	maxWords     = 256
	maxPresences = 2048
)

// at is the presence at a fence, made if there is none; nil if there are as many
// as may be.
func (m *moment) at(fence string, t *Terms, most int) *presence {
	i, there := m.index(fence)
	if !there {
		if len(m.In) >= most {
			return nil
		}
		m.In = slices.Insert(m.In, i, presence{Fence: fence, Place: t.Place, Near: t.Near})
	}
	return &m.In[i]
}

// vouched reports whether the OS vouches that the device is inside all along.
func (p *presence) vouched() bool { return p.OS && p.Exact }

// tidy drops presences that say nothing.
func (m *moment) tidy() {
	m.In = slices.DeleteFunc(m.In, func(p presence) bool { return !p.Inside && !p.OS && p.Maybe == 0 })
}

func (m *moment) stay(place string) *stay {
	for i := range m.Stays {
		if m.Stays[i].Place == place {
			return &m.Stays[i]
		}
	}
	return nil
}

// inside reports whether the device is inside a fence of the place that is no
// approach ring.
func (m *moment) inside(place string) bool {
	return slices.ContainsFunc(m.In, func(p presence) bool { return p.Inside && !p.Near && p.Place == place })
}

// run is the application of some evidence.
type run struct {
	w    World
	t    *Tracker
	now  int64
	mint bool // new visits get their ids here

	out   []Transition
	ended []stay

	clue  *clue // being applied
	flags Flags // of it

	// Memory that is used again.
	held  clue
	hits  []Hit
	js    []judged
	known []bool
}

// runs are kept for their memory: every piece of evidence wants one.
var runs = sync.Pool{New: func() any { return new(run) }}

func newRun(w World, t *Tracker, now int64) *run {
	r := runs.Get().(*run) //nolint:forcetypeassert // the pool has nothing else
	r.w, r.t, r.now = w, t, now
	return r
}

// maxKept bounds what a run remembers the room for.
const maxKept = 64

// done gives the run back. What it found (out, ended) is its taker's.
func (r *run) done() {
	hits, js, known := r.hits, r.js, r.known
	*r = run{}
	if cap(hits) <= maxKept && cap(js) <= maxKept && cap(known) <= maxKept {
		clear(hits) // not to keep alive what they name
		clear(js)
		r.hits, r.js, r.known = hits[:0], js[:0], known[:0]
	}
	runs.Put(r)
}

func (r *run) stale(at time.Time) bool { return r.now-at.UnixMicro() > StaleAfter.Microseconds() }

// apply brings a moment, which is the caller's own, forward by a piece of evidence.
func (r *run) apply(m *moment, c *clue) (Outcome, Flags) {
	r.held = *c
	r.clue, r.flags = &r.held, 0
	r.expire(m)
	outcome := Taken
	doubts := r.w.Doubts()
	if c.is(clueMocked) {
		r.flags |= FlagMocked
		if doubts.Mocked == RefuseDoubtful {
			m.tidy()
			return Refused, r.flags
		}
	}
	switch c.source {
	case clueFix:
		outcome = r.fix(m)
	case clueRegion:
		outcome = r.region(m)
	case clueBeacon:
		r.beacon(m)
	case clueSilence:
		r.silence(m)
	}
	m.tidy()
	return outcome, r.flags
}

// terms of a presence; false where its fence is no longer what it was.
func (r *run) terms(p *presence) (Terms, bool) {
	t, there := r.w.Terms(p.Fence)
	return t, there && t.Place == p.Place && t.Rule != nil
}

// expire ends what was not heard of for too long before the evidence.
func (r *run) expire(m *moment) {
	at := r.clue.at
	for i := 0; i < len(m.In); i++ {
		p := &m.In[i]
		t, there := r.terms(p)
		if !there {
			r.remove(m, i)
			i--
			continue
		}
		if p.Near = t.Near; p.Inside && !p.Near {
			if s := m.stay(p.Place); s != nil && s.InsideAt == 0 {
				s.InsideAt = p.Since // it was resumed, or the fence was a ring
			}
		}
		if p.Beacon != 0 {
			if lost := p.Beacon + t.Rule.BeaconLost.Microseconds(); lost < at || lost == at && r.clue.source == clueSilence {
				p.Beacon = 0
				if p.alone(lost, t.Rule) {
					r.leave(m, p, lost, ByBeacon, math.NaN())
				}
			}
		}
		if quiet := at-p.Heard > t.Rule.quiet(p.OS); p.Inside && quiet && !r.clue.is(clueLive) {
			p.OS = false
			r.leave(m, p, p.Seen, BySilence, math.NaN())
		}
		if p.Maybe != 0 && at-p.MaybeLast > t.Rule.ConfirmWithin.Microseconds() {
			p.Maybe, p.MaybeLast = 0, 0
		}
	}
}

// alone reports whether nothing but the beacon that is lost said inside of late.
func (p *presence) alone(lost int64, rule *Rule) bool {
	return p.Inside && !p.OS && lost-p.Other > rule.MaxGap.Microseconds()
}

// quiet is how long a stay goes on of which nothing is heard, in µs.
func (r *Rule) quiet(watched bool) int64 {
	if watched {
		return max(r.Silence, r.WatchedSilence).Microseconds()
	}
	return r.Silence.Microseconds()
}

// due is when silence may make a difference at the fence; 0 for never.
func (p *presence) due(w World) int64 {
	if !p.Inside {
		return 0
	}
	t, there := w.Terms(p.Fence)
	if !there || t.Rule == nil {
		return 0
	}
	due := p.Heard + t.Rule.quiet(p.OS) + 1
	if p.Beacon != 0 {
		due = min(due, p.Beacon+t.Rule.BeaconLost.Microseconds())
	}
	if dwell := p.Counted + t.Dwell.Microseconds(); t.Dwell > 0 && !p.Dwelled && dwell > max(p.Seen, p.Asked) && dwell-p.Seen <= t.Rule.MaxGap.Microseconds() {
		due = min(due, dwell)
	}
	return due
}

// silence lets a dwell be told for which no evidence came.
func (r *run) silence(m *moment) {
	at := r.clue.at
	for i := range m.In {
		p := &m.In[i]
		p.Asked = at
		if r.clue.is(clueLive) {
			p.Heard = max(p.Heard, at) // a live session would have told of leaving
		}
		t, there := r.terms(p)
		if !there || !p.Inside || p.Dwelled || t.Dwell <= 0 || !r.clue.is(clueLive) && !p.vouched() {
			continue
		}
		if at-p.Counted >= t.Dwell.Microseconds() && at-p.Seen <= t.Rule.MaxGap.Microseconds() {
			r.dwell(m, p, &t)
			// It was there until then: nothing ends before.
			p.Seen = max(p.Seen, p.Counted+t.Dwell.Microseconds())
			if s := m.stay(p.Place); s != nil {
				s.Seen = max(s.Seen, p.Seen)
			}
		}
	}
}

// see notes evidence of being inside.
func (r *run) see(m *moment, p *presence, t *Terms) {
	at := r.clue.at
	gap := t.Rule.MaxGap.Microseconds()
	if at-p.Seen > gap && !p.vouched() {
		p.Counted = at // nobody vouches for the time between
	}
	p.Seen, p.Heard, p.Maybe, p.MaybeLast = at, at, 0, 0
	if s := m.stay(p.Place); s != nil {
		if at-s.Seen > gap && !p.vouched() {
			s.Confirmed += s.Seen - s.Counted
			s.Counted = at
		}
		s.Seen = max(s.Seen, at)
	}
	if t.Dwell > 0 && !p.Dwelled && at-p.Counted >= t.Dwell.Microseconds() {
		r.dwell(m, p, t)
	}
}

func (r *run) dwell(m *moment, p *presence, t *Terms) {
	p.Dwelled = true
	at := p.Counted + t.Dwell.Microseconds()
	tr := r.transition(m, Dwell, p, at, r.clue.by(), math.NaN())
	tr.Since = micro(p.Since)
	if s := m.stay(p.Place); s != nil && s.DwelledAt == 0 {
		s.DwelledAt = at
	}
}

// enter begins a stay at a fence.
func (r *run) enter(m *moment, p *presence, marginM float64) {
	at := r.clue.at
	p.Inside, p.Dwelled, p.Since, p.Seen, p.Heard, p.Counted = true, false, at, at, at, at
	p.Asked, p.Maybe, p.MaybeLast = 0, 0, 0
	s := m.stay(p.Place)
	if s == nil {
		id := ""
		if r.mint {
			id = r.t.mintID(r.w, p.Place, r.clue.seq, at, r.stale(micro(at)))
		} else {
			id = r.t.idOf(p.Place, at)
		}
		i, _ := slices.BinarySearchFunc(m.Stays, p.Place, func(s stay, place string) int { return cmp.Compare(s.Place, place) })
		m.Stays = slices.Insert(m.Stays, i, stay{ID: id, Place: p.Place, Since: at, Counted: at, By: r.clue.by()})
		s = &m.Stays[i]
	}
	s.Seen = max(s.Seen, at)
	s.Flags |= r.flags
	if !p.Near && s.InsideAt == 0 {
		s.InsideAt = at
	}
	if i, there := slices.BinarySearch(s.Fences, p.Fence); !there {
		s.Fences = slices.Insert(slices.Clip(s.Fences), i, p.Fence)
	}
	kind := Enter
	if p.Near {
		kind = Near
	}
	r.transition(m, kind, p, at, r.clue.by(), marginM)
}

// leave ends a stay at a fence, and the visit with the last.
func (r *run) leave(m *moment, p *presence, at int64, by Source, marginM float64) {
	since := p.Since
	r.transition(m, Exit, p, at, by, marginM).Since = micro(since)
	p.Inside, p.Dwelled, p.Other, p.Maybe, p.MaybeLast = false, false, 0, 0, 0
	r.depart(m, p, at, by)
}

// depart ends the visit if the device is in no fence of the place.
func (r *run) depart(m *moment, p *presence, at int64, by Source) {
	for i := range m.In {
		if m.In[i].Inside && m.In[i].Place == p.Place {
			return
		}
	}
	i := slices.IndexFunc(m.Stays, func(s stay) bool { return s.Place == p.Place })
	if i < 0 {
		return
	}
	s := m.Stays[i]
	s.until, s.ended, s.removed = max(at, s.Since, s.Seen), by, by == ""
	s.Confirmed += s.Seen - s.Counted
	s.Counted = s.Seen
	if s.InsideAt != 0 && by != "" {
		r.transition(m, Stay, p, s.until, by, math.NaN()).Since = micro(s.Since)
	}
	m.Stays = slices.Delete(m.Stays, i, i+1)
	r.ended = append(r.ended, s)
}

// remove forgets the presence at a fence that is no longer there: nothing was left.
func (r *run) remove(m *moment, i int) {
	p := m.In[i]
	m.In = slices.Delete(m.In, i, i+1)
	if s := m.stay(p.Place); p.Inside && s != nil {
		r.depart(m, &p, s.Seen, "")
	}
}

// transition appends one. marginM is NaN where it is not known.
func (r *run) transition(m *moment, kind Kind, p *presence, at int64, by Source, marginM float64) *Transition {
	c := r.clue
	tr := Transition{Kind: kind, At: micro(at), Place: p.Place, Fence: p.Fence, Near: p.Near, By: by, Flags: r.flags}
	if s := m.stay(p.Place); s != nil {
		tr.Visit = s.ID
		if s.ID == "" {
			tr.since = s.Since
		}
	}
	if c.is(clueLocated) && by == c.by() {
		tr.Pos, tr.Located, tr.AccuracyM = c.pos(), true, c.accuracyM()
		if !math.IsNaN(marginM) {
			tr.MarginM = marginM
		}
	}
	r.out = append(r.out, tr)
	return &r.out[len(r.out)-1]
}

// region applies the OS's word about a region.
func (r *run) region(m *moment) Outcome {
	c := r.clue
	t, there := r.w.Terms(c.fence)
	if !there || t.Rule == nil {
		return Invalid
	}
	margin := math.NaN()
	f, there := r.w.Index().Fence(c.fence)
	if !there {
		return Invalid
	}
	if c.is(clueLocated) {
		margin = f.Shape.MarginM(c.pos())
		doubts, way := r.w.Doubts(), r.sample()
		if r.flags |= tooFast(&m.Fix, &way, &doubts); r.flags&FlagSpeed != 0 && doubts.Speed == RefuseDoubtful {
			return Refused
		}
	}
	said, _, _ := t.Rule.Judge(margin, f.Shape.BoundingRadiusM(), c.accuracyM())
	radiusM, circle := circleOf(f.Shape)
	exact := circle && radiusM >= minWatchedM
	if !c.is(clueInside) {
		p := m.find(c.fence)
		if p == nil {
			return Taken
		}
		if p.Inside && p.vouched() {
			r.see(m, p, &t) // the OS vouches for the time until now
		}
		p.OS = false
		switch {
		case !p.Inside:
		case said == SaysInside:
			return Denied // it is well within, by its own fix
		case p.Beacon != 0:
			p.Other = 0 // what is seen is nearer; when it is lost, nothing else says inside
		default:
			r.leave(m, p, c.at, ByRegion, margin)
		}
		return Taken
	}
	p := m.find(c.fence)
	switch {
	case circle && said != SaysOutside:
	case exact && margin <= regionGraceM:
	case exact:
		return Denied
	case p != nil && p.Inside:
	case !circle && (said == SaysInside || said == SaysMaybeInside):
	default: // in the circle that is watched; where in that, fixes must tell
		if p = m.at(c.fence, &t, maxWords); p != nil {
			p.OS, p.Exact = true, false
		}
		return Denied
	}
	if p = m.at(c.fence, &t, maxWords); p == nil {
		return Crowded
	}
	p.OS, p.Exact, p.Other = true, exact, c.at
	if p.Inside {
		r.see(m, p, &t)
	} else {
		r.enter(m, p, margin)
	}
	return Taken
}

// circleOf is the radius of a shape that is a circle: a Circle, and a ring around one.
func circleOf(s Shape) (radiusM float64, is bool) {
	switch s := s.(type) {
	case Circle:
		return s.RadiusM, true
	case OutwardRing:
		radiusM, is = circleOf(s.Of)
		return radiusM + s.WithinM, is
	}
	return 0, false
}

// beacon applies a sighting of one that belongs to a fence, or its loss.
func (r *run) beacon(m *moment) {
	c := r.clue
	t, there := r.w.Terms(c.fence)
	if !there || t.Rule == nil {
		return
	}
	if c.is(clueInside) {
		p := m.at(c.fence, &t, maxWords)
		if p == nil {
			return
		}
		p.Beacon = c.at
		if p.Inside {
			r.see(m, p, &t)
		} else {
			r.enter(m, p, math.NaN())
		}
		return
	}
	p := m.find(c.fence)
	if p == nil || p.Beacon == 0 {
		return
	}
	p.Beacon = 0
	if p.alone(c.at, t.Rule) {
		r.leave(m, p, c.at, ByBeacon, math.NaN())
	}
}
