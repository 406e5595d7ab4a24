package geo

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// passWithin is the longest time between two fixes whose way is taken to be straight.
const passWithin = 5 * time.Minute

// refusedFor is how long fixes that agree with one another are refused where the
// policy is that, after one that came too fast: the one before it may have been the
// wrong one.
const refusedFor = 10 * time.Minute

// farApart is the time between fixes from which on somebody may have flown.
const farApart = 10 * time.Minute

// judged is what a fix says of one fence.
type judged struct {
	fence  string
	terms  Terms
	margin float64
	says   Says
	in     bool // it was inside
}

// rank puts enters before exits, so that who goes from one fence of a place to
// another goes on with the visit; and what is nested in order: into the ring, then
// into the fence; out of the fence, then of its ring.
func (j *judged) rank() int {
	switch {
	case !j.in && j.terms.Near:
		return 0
	case !j.in:
		return 1
	case !j.terms.Near:
		return 2
	default:
		return 3
	}
}

// fix applies a position.
func (r *run) fix(m *moment) Outcome {
	c := r.clue
	d := r.w.Doubts()
	way := r.sample()
	r.flags |= tooFast(&m.Fix, &way, &d)
	if r.flags&FlagSpeed != 0 && d.Speed != AcceptDoubtful {
		// It is believed once others agree with it, and not with the last that was.
		first := c.at
		if m.Suspect.any() && tooFast(&m.Suspect, &way, &d) == 0 {
			first = m.Suspect.First
		}
		refuse := d.Speed == RefuseDoubtful
		if first == c.at || refuse && c.at-first < refusedFor.Microseconds() {
			way.First = first
			m.Suspect = way
			if refuse {
				return Refused
			}
			return Suspected
		}
	}
	m.Suspect = sample{}
	last, believed := m.Fix, c.accuracyM() <= DefaultRule().MaxAccuracyM
	if believed {
		m.Fix = way
	}
	js := r.judge(m)
	for i := range js {
		r.take(m, &js[i])
	}
	if last.any() && believed && r.flags&FlagSpeed == 0 {
		r.passes(m, &last, &way, js)
	}
	return Taken
}

// sample is the position of the evidence, with an accuracy that is assumed where none
// was given.
func (r *run) sample() sample {
	s := sample{At: r.clue.at, Pos: r.clue.pos(), Acc: r.clue.accuracyM()}
	if s.Acc == 0 {
		s.Acc = DefaultRule().AssumedAccuracyM
	}
	return s
}

// tooFast are the flags of a way that nobody could have made in the time; none where it
// has no beginning.
func tooFast(from, to *sample, d *Doubts) Flags {
	if !from.any() || !(d.MaxSpeedMPS > 0) {
		return 0
	}
	wayM := DistanceM(from.Pos, to.Pos) - from.Acc - to.Acc
	seconds, most := max(1, float64(to.At-from.At)/1e6), d.MaxSpeedMPS
	if to.At-from.At > farApart.Microseconds() {
		most = max(most, d.TeleportMPS)
	}
	switch {
	case wayM <= most*seconds:
		return 0
	case d.TeleportMPS > 0 && wayM > d.TeleportMPS*seconds:
		return FlagSpeed | FlagTeleport
	default:
		return FlagSpeed
	}
}

// judge gives what the fix says of the fences around it, and of those of which
// something is known, in the order in which it takes effect.
func (r *run) judge(m *moment) []judged {
	c := r.clue
	hits := r.w.Index().At(c.pos(), r.hits[:0])
	js, known := r.js[:0], append(r.known[:0], make([]bool, len(m.In))...)
	for i := range hits {
		t, there := r.w.Terms(hits[i].ID)
		if !there || t.Rule == nil {
			continue
		}
		says, _, _ := t.Rule.Judge(hits[i].MarginM, hits[i].Shape.BoundingRadiusM(), c.accuracyM())
		in := false
		if at, there := m.index(hits[i].ID); there {
			known[at], in = true, m.In[at].Inside
		}
		js = append(js, judged{hits[i].ID, t, hits[i].MarginM, says, in})
	}
	for i := range m.In {
		p := &m.In[i]
		if known[i] {
			continue
		}
		t, there := r.terms(p)
		f, indexed := r.w.Index().Fence(p.Fence)
		if !there || !indexed {
			continue
		}
		margin := f.Shape.MarginM(c.pos())
		says, _, _ := t.Rule.Judge(margin, f.Shape.BoundingRadiusM(), c.accuracyM())
		js = append(js, judged{p.Fence, t, margin, says, p.Inside})
	}
	if len(js) > 1 {
		slices.SortFunc(js, func(a, b judged) int { return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.fence, b.fence)) })
	}
	r.hits, r.js, r.known = hits, js, known
	return js
}

// take applies what a fix says of a fence.
func (r *run) take(m *moment, j *judged) {
	at := r.clue.at
	rule := j.terms.Rule
	p := m.find(j.fence)
	inside := p != nil && p.Inside
	switch j.says {
	case SaysInside, SaysMaybeInside:
		if inside {
			p.Other = at
			r.see(m, p, &j.terms)
			return
		}
		if p == nil {
			if p = m.at(j.fence, &j.terms, maxPresences); p == nil {
				return
			}
		}
		if j.says == SaysInside || p.confirm(at, rule.EnterConfirm) {
			r.enter(m, p, j.margin)
			p.Other = at
		}
	case SaysMaybeOutside, SaysOutside:
		switch {
		case p == nil:
		case !inside:
			r.graze(m, p, j)
			p.Maybe, p.MaybeLast = 0, 0
			p.OS = p.OS && j.says != SaysOutside
		case p.Beacon != 0:
			p.Heard, p.Other = at, 0 // what is seen is nearer than what is measured
		case j.says == SaysOutside || p.confirm(at, rule.ExitConfirm):
			p.OS = false
			r.leave(m, p, at, ByFix, j.margin)
		default:
			p.Heard = at
		}
	}
}

// confirm notes a fix that straddles the border, and reports whether it confirms
// earlier ones: a zero time needs none.
func (p *presence) confirm(at int64, after time.Duration) bool {
	if p.Maybe == 0 {
		p.Maybe = at
	}
	p.MaybeLast = at
	return at-p.Maybe >= after.Microseconds() && (at > p.Maybe || after == 0)
}

// graze tells a pass of a device that was perhaps inside, and now is not: a visit
// too short to be confirmed.
func (r *run) graze(m *moment, p *presence, j *judged) {
	if p.Maybe == 0 || p.Near || m.inside(p.Place) || r.flags&FlagSpeed != 0 {
		return
	}
	r.pass(m, p, p.MaybeLast, ByFix, j.margin)
}

// pass tells one: of the visit that is open, if the device is near, else with an id
// of its own.
func (r *run) pass(m *moment, p *presence, at int64, by Source, marginM float64) *Transition {
	tr := r.transition(m, Pass, p, at, by, marginM)
	if tr.Visit == "" && tr.since == 0 {
		tr.Visit = r.w.VisitID(p.Place, r.clue.seq, passID)
	}
	return tr
}

// passID tells the ids of passes from those of visits.
const passID = 128

// passes tells the fences that the way between two fixes crossed, with neither of
// them inside.
func (r *run) passes(m *moment, from, to *sample, js []judged) {
	took := to.At - from.At
	wayM := DistanceM(from.Pos, to.Pos)
	if took <= 0 || took > passWithin.Microseconds() || wayM <= from.Acc+to.Acc {
		return // what is shorter than its own error is no way
	}
	a, b := unitOf(from.Pos), unitOf(to.Pos)
	middle := onTheWay(a, b, 0.5)
	var buf [16]Hit
	acc := max(from.Acc, to.Acc)
	hits := r.w.Index().Within(middle, wayM/2+1, buf[:0])
	slices.SortFunc(hits, func(a, b Hit) int { return cmp.Compare(a.ID, b.ID) })
	was := func(place string) bool {
		return slices.ContainsFunc(js, func(j judged) bool { return j.in && !j.terms.Near && j.terms.Place == place })
	}
	var told []string // places
	for i := range hits {
		h := &hits[i]
		t, there := r.w.Terms(h.ID)
		if !there || t.Rule == nil || t.Near || was(t.Place) || slices.Contains(told, t.Place) || m.inside(t.Place) {
			continue
		}
		p := m.find(h.ID)
		if p != nil && p.Maybe != 0 || slices.ContainsFunc(js, func(j judged) bool { return j.fence == h.ID && j.margin <= 0 }) ||
			h.Shape.Contains(from.Pos) {
			continue
		}
		if says, _, _ := t.Rule.Judge(0, h.Shape.BoundingRadiusM(), acc); says == SaysNothing {
			continue // too coarse for this fence
		}
		in, out, crossed := crossing(h.Shape, a, b, wayM)
		if !crossed {
			continue
		}
		if p == nil {
			p = &presence{Fence: h.ID, Place: t.Place}
		}
		told = append(told, t.Place)
		through := onTheWay(a, b, (in+out)/2)
		tr := r.pass(m, p, from.At+int64((in+out)/2*float64(took)), ByPath, math.NaN())
		tr.Pos, tr.Located, tr.AccuracyM, tr.MarginM = through, true, acc, h.Shape.MarginM(through)
	}
}

// onTheWay is the point at a share of the way from a to b, of unit vectors.
func onTheWay(a, b vec, share float64) Point {
	return vec{a.x + (b.x-a.x)*share, a.y + (b.y-a.y)*share, a.z + (b.z-a.z)*share}.direction()
}

// crossing gives the shares of the way from a to b at which it first comes into the
// shape and last leaves it. It goes by steps as long as nothing can be missed, but of
// no less than a metre: a chord shorter than that may be.
func crossing(s Shape, a, b vec, wayM float64) (in, out float64, crossed bool) {
	march := func(from, to vec) (float64, bool) {
		for at := 0.0; at <= wayM; {
			margin := s.MarginM(onTheWay(from, to, at/wayM))
			if margin <= 0 {
				return at / wayM, true
			}
			at += max(1, (margin-1)*10/11)
		}
		return 0, false
	}
	in, crossed = march(a, b)
	if !crossed {
		return 0, 0, false
	}
	back, crossed := march(b, a)
	if !crossed {
		return in, in, true
	}
	return in, max(in, 1-back), true
}
