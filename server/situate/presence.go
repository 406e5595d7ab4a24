package situate

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/hours"
)

// presenceTimer asks the tracker what silence means; tracksTimer records what a phone
// that fell silent has left in its state.
const (
	presenceTimer = "presence"
	tracksTimer   = "tracks"
)

// sessionBelieved is how long a session is taken to be live of which nothing is
// heard: a server that dies does not log its end.
const sessionBelieved = time.Hour

// world is what the tracker sees now, in this step.
func (s *step) world() geo.World {
	s.seen = world{s.config, s.ws, s.in.Install, s.in.Device.Location != "always"}
	return &s.seen
}

// live reports whether the phone has a session in the foreground.
func (s *step) live() bool {
	return s.in.Session != "" && s.in.Device.Lifecycle != "background" && s.e.At.Sub(s.in.Device.SeenAt) <= sessionBelieved
}

// observe gives evidence to the tracker, and tells what follows.
func (s *step) observe(ev geo.Evidence) (geo.Step, error) {
	ev.Seq = s.seq
	if s.in.Edition != s.config.edition {
		s.in.Tracker.Freeze()
		s.in.Edition = s.config.edition
	}
	w := s.world()
	done := s.in.Tracker.Apply(w, ev, s.e.At)
	for i := range done.Told {
		if err := s.tell(&done.Told[i]); err != nil {
			return done, err
		}
	}
	for i := range done.Visits {
		s.recordVisit(&done.Visits[i], "")
	}
	s.arm(w)
	return done, nil
}

// arm sets the timer for the next silence that matters. One that is set too early
// is let ring: then it is set again.
func (s *step) arm(w geo.World) {
	due, any := s.in.Tracker.Due(w)
	if soonest := s.e.At.Add(time.Second); due.Before(soonest) {
		due = soonest // whatever comes of a firing, it does not bring the next one at once
	}
	if any && (s.in.Due.IsZero() || due.Before(s.in.Due)) {
		s.in.Due = due
		s.tx.SetTimer(s.e.Key, presenceTimer, due, nil)
	}
}

// timer applies a firing.
func (s *step) timer() error {
	var f engage.Firing
	if err := json.Unmarshal(s.e.Body, &f); err != nil {
		return fmt.Errorf("timer: %w", err)
	}
	switch f.Name {
	case presenceTimer:
	case beaconsTimer:
		return s.unheard()
	case tracksTimer:
		s.recordTracks(s.in.Tracks.Open())
		s.in.Tracks = engage.Tracks{}
		return nil
	default:
		return engage.Errorf(engage.Unsupported, "timer", "situate knows no timer %q", f.Name)
	}
	s.in.Due = time.Time{}
	w := s.world()
	if due, any := s.in.Tracker.Due(w); any && !due.After(s.e.At) {
		_, err := s.observe(geo.Evidence{Source: geo.BySilence, At: s.e.At, Live: s.live()})
		return err
	}
	s.arm(w)
	return nil
}

// fix applies a precise position.
func (s *step) fix(f *sdkproto.Fix, at time.Time) error {
	p := geo.Point{Lat: f.Lat, Lng: f.Lng}
	done, err := s.observe(geo.Evidence{
		Source: geo.ByFix, At: at, Pos: p, AccuracyM: f.AccuracyM, Located: true, Mocked: f.Mocked,
	})
	if err != nil {
		return err
	}
	flags := geo.TrackFlags(0)
	for _, doubt := range [...]struct {
		on   bool
		flag geo.TrackFlags
	}{
		{f.Mocked, geo.TrackMocked},
		{done.Flags&geo.FlagSpeed != 0, geo.TrackSpeed},
		{done.Flags&geo.FlagTeleport != 0, geo.TrackTeleport},
		{done.Outcome == geo.Late, geo.TrackLate},
		{done.Outcome == geo.Refused || f.AccuracyM > geo.DefaultRule().MaxAccuracyM, geo.TrackIgnored},
	} {
		if doubt.on {
			flags |= doubt.flag
		}
	}
	switch done.Outcome {
	case geo.Duplicate, geo.Future, geo.Ancient, geo.Invalid:
		return nil
	case geo.Refused, geo.Suspected:
	default:
		if at.After(s.e.At) {
			at = s.e.At
		}
		if s.in.Fix == nil || at.After(s.in.Fix.At) {
			s.in.setFix(Fix{At: at, Pos: p, AccuracyM: f.AccuracyM})
			s.in.Coarse = 0
		}
	}
	return s.track(geo.TrackFix{At: at, Pos: p, AccuracyM: f.AccuracyM, Flags: flags})
}

// track keeps a fix for the history.
func (s *step) track(f geo.TrackFix) error {
	longer, done, err := s.in.Tracks.Add(f, s.seq)
	if err != nil {
		return err
	}
	if s.in.Tracks.IsZero() {
		// Once what it holds is beyond the reorder window it need not wait for more.
		s.tx.SetTimer(s.e.Key, tracksTimer, s.e.At.Truncate(time.Hour).Add(time.Hour+geo.ReorderWindow), nil)
	}
	s.in.Tracks = longer
	s.recordTracks(done)
	return nil
}

func (s *step) recordTracks(parts []engage.OpenTrack) {
	for _, part := range parts {
		c := part.Chunk(s.in.Install, s.in.Profile)
		s.tx.Record("tracks", s.ws, c.ID, c)
	}
}

// region applies what the OS said of a registered region; an unknown one (removed
// meanwhile) says nothing.
func (s *step) region(r *sdkpb.RegionEvent) error {
	if !s.mayLocate(s.seq) {
		s.in.Refused++
		return nil
	}
	ev := geo.Evidence{Source: geo.ByRegion, At: s.occurred(), Fence: r.GetRegionId()}
	switch r.GetTransition() {
	case sdkpb.RegionEvent_TRANSITION_ENTER, sdkpb.RegionEvent_TRANSITION_DWELL:
		ev.Inside = true
	case sdkpb.RegionEvent_TRANSITION_EXIT:
	default:
		return nil
	}
	s.locate(&ev, r.GetLocation())
	done, err := s.word(ev)
	if err != nil {
		return err
	}
	return s.said(r, &ev, &done)
}

// locate puts the fix that came with evidence on it, if the person agreed to precise
// ones.
func (s *step) locate(ev *geo.Evidence, l *sdkpb.Location) {
	if l != nil && s.in.grantedAt(engage.ConsentLocationPrecise, s.seq) {
		ev.Pos, ev.AccuracyM = geo.Point{Lat: l.GetLat(), Lng: l.GetLng()}, l.GetAccuracyM()
		ev.Located, ev.Mocked = true, l.GetMocked()
	}
}

// word applies evidence that speaks of a geofence, and counts what is not believed.
func (s *step) word(ev geo.Evidence) (geo.Step, error) {
	done, err := s.observe(ev)
	if err == nil && done.Outcome == geo.Denied {
		s.in.Doubted++
	}
	return done, err
}

// beacon applies the sighting of one, if it stands at a place.
func (s *step) beacon(b *sdkpb.Beacon) error {
	if !s.mayLocate(s.seq) {
		s.in.Refused++
		return nil
	}
	stands := s.config.standsOf(b)
	told := map[string]bool{}
	for _, x := range stands {
		if told[x.fence] {
			continue
		}
		told[x.fence] = true
		ev := geo.Evidence{Source: geo.ByBeacon, At: s.occurred(), Fence: x.fence, Inside: !b.GetLost()}
		s.locate(&ev, b.GetLocation())
		if _, err := s.word(ev); err != nil {
			return err
		}
	}
	if len(stands) == 0 {
		return nil
	}
	return s.hears(b, stands)
}

func intOf(v *uint32) *int {
	if v == nil {
		return nil
	}
	n := int(*v)
	return &n
}

// transitions by their names here.
var transitions = map[geo.Kind]engage.Transition{
	geo.Enter: engage.Enter, geo.Near: engage.Enter, geo.Exit: engage.Exit,
	geo.Dwell: engage.Dwell, geo.Pass: engage.Pass, geo.Stay: engage.VisitEnded,
}

// tell tells the profile of a transition.
func (s *step) tell(tr *geo.Transition) error {
	f, there := s.config.fences[tr.Fence]
	if !there {
		return nil
	}
	t := engage.Trigger{
		Type: engage.TriggerPlace, Occasion: tr.Visit, Install: s.in.Install, OccurredAt: tr.At,
		Transition: transitions[tr.Kind], Ring: engage.Inside, Place: tr.Place, Fence: tr.Fence,
		Evidence: string(tr.By), Stale: tr.Stale, Flags: tr.Flags.Names(),
	}
	if tr.Near && tr.Kind != geo.Stay {
		t.Ring = engage.Near
	}
	if tr.Located {
		t.DistanceM, t.AccuracyM = geo.DistanceM(tr.Pos, f.place.Location), tr.AccuracyM
	}
	if !tr.Since.IsZero() {
		t.InsideS = tr.At.Sub(tr.Since).Seconds()
	}
	t.Opening = opening(f.place, tr.At)
	if err := s.attach(&t, f.place.Place); err != nil {
		return err
	}
	return s.forward(engage.KindTrigger, t)
}

// opening is whether a place was open at a time; empty if that is not known.
func opening(p *site, at time.Time) string {
	if state := p.opening.At(at).State; state != hours.Unknown {
		return string(state)
	}
	return ""
}

// ends are how visits end, by what ended them.
var ends = map[geo.Source]engage.VisitEnd{
	geo.ByFix: engage.EndedByExit, geo.ByRegion: engage.EndedByExit,
	geo.BySilence: engage.EndedBySilence, geo.ByBeacon: engage.EndedByBeacon,
}

// recordVisit writes a visit into the history. Why it ended is given where it was not
// by evidence.
func (s *step) recordVisit(v *geo.Visit, why engage.VisitEnd) {
	_, revision := s.tx.Config()
	doc := &engage.Visit{
		V: 1, ID: v.ID, Place: v.Place, Install: s.in.Install, Profile: s.in.Profile,
		Since: v.Since, SinceUS: v.Since.UnixMicro(), Until: v.Until, Last: v.Last, InsideAt: v.InsideAt, DwelledAt: v.DwelledAt,
		ConfirmedS: v.Confirmed.Seconds(), Fences: v.Fences, Evidence: string(v.By), Ended: ends[v.Ended],
		Stale: v.Stale, Flags: v.Flags.Names(), Revision: revision,
	}
	switch {
	case why != "":
		doc.Ended = why
	case v.Withdrawn:
		doc.Ended = engage.EndedByWithdrawal
	case v.Removed:
		doc.Ended = engage.EndedByRemoval
	}
	s.tx.Record("visits", s.ws, v.ID, doc)
}

// endVisits ends what is open: the person withdrew the consent to location.
func (s *step) endVisits() {
	s.endBy(s.in.Tracker.End(s.e.At), engage.EndedByConsent)
	s.in.Heard = nil
}

// forgetPositions ends what stands on positions alone: the person withdrew the
// consent to precise ones.
func (s *step) forgetPositions() { s.endBy(s.in.Tracker.ForgetPositions(), engage.EndedByConsent) }

func (s *step) endBy(visits []geo.Visit, why engage.VisitEnd) {
	for i := range visits {
		s.recordVisit(&visits[i], why)
	}
	s.recordTracks(s.in.Tracks.Open())
	s.in.Tracks = engage.Tracks{}
}
