package situate

import (
	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// said tells the profile what the OS said of a registered region, as it said it: the
// tracker may wait for a fix that confirms it, or know it already. What the tracker does
// not believe is not told, and nothing is where no campaign listens. Each is an occasion of
// its own.
func (s *step) said(r *sdkpb.RegionEvent, ev *geo.Evidence, done *geo.Step) error {
	f, there := s.config.fences[r.GetRegionId()]
	if !there || !s.config.hearsRegions || done.Outcome != geo.Taken && done.Outcome != geo.Crowded {
		return nil
	}
	t := engage.Trigger{
		Type: engage.TriggerRegion, Occasion: engage.EventID(s.ws, s.in.Install, s.seq), Install: s.in.Install,
		OccurredAt: s.occurred(), Ring: f.geofence().Ring, Place: f.place.ID, Fence: r.GetRegionId(), Evidence: string(geo.ByRegion),
	}
	switch r.GetTransition() {
	case sdkpb.RegionEvent_TRANSITION_ENTER:
		t.Transition = engage.Enter
	case sdkpb.RegionEvent_TRANSITION_EXIT:
		t.Transition = engage.Exit
	default:
		return nil // that it is still there is no event
	}
	if t.Ring == "" {
		t.Ring = engage.Inside
	}
	if ev.Located {
		t.DistanceM, t.AccuracyM = geo.DistanceM(ev.Pos, f.place.Location), ev.AccuracyM
	}
	t.Opening = opening(f.place, t.OccurredAt)
	if err := s.attach(&t, f.place.Place); err != nil {
		return err
	}
	return s.forward(engage.KindTrigger, t)
}
