package situate

import (
	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// region applies what the OS said of a registered region. The OS has its own
// hysteresis, so its word counts at once; an unknown region (removed meanwhile)
// says nothing.
func (s *step) region(r *sdkpb.RegionEvent) error {
	if !s.mayLocate() {
		s.in.Refused++
		return nil
	}
	f, ok := s.config.fences[r.GetRegionId()]
	if !ok {
		return nil
	}
	at := s.occurred()
	v := s.in.Visits[f.place.ID]
	inside := v != nil && v.in(f.fence.ID)
	t := sighting{fence: f, evidence: "os_region", at: at}
	if l := r.GetLocation(); l != nil && s.in.granted(engage.ConsentLocationPrecise) {
		t.distanceM = geo.DistanceM(geo.Point{Lat: l.GetLat(), Lng: l.GetLng()}, f.place.Location)
		t.accuracyM = l.GetAccuracyM()
	}
	switch r.GetTransition() {
	case sdkpb.RegionEvent_TRANSITION_ENTER, sdkpb.RegionEvent_TRANSITION_DWELL:
		if inside {
			return nil
		}
		t.inside = true
	case sdkpb.RegionEvent_TRANSITION_EXIT:
		if !inside {
			return nil
		}
	default:
		return nil
	}
	now := geo.Outside
	if t.inside {
		now = geo.Inside
	}
	if s.overtaken(f, now, at) {
		return nil
	}
	return s.transition(t)
}
