package situate

import (
	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// regionGraceM is how far outside a geofence the fix of an OS event that entered it
// may be, whatever its accuracy: the OS judges a circle around the geofence, by
// evidence of its own, and may attach a fix of before or after it.
const regionGraceM = 100

// region applies what the OS said of a registered region. The OS has its own
// hysteresis, so its word counts at once, unless its own fix denies it; an unknown
// region (removed meanwhile) says nothing. Phones watch circles: of a geofence that
// is none, the OS entered the circle around it, which may be mostly street, so that
// entering takes a fix that says so too.
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
	_, circle := f.fence.Shape.(geo.Circle)
	denied := !circle
	if l := r.GetLocation(); l != nil && s.in.granted(engage.ConsentLocationPrecise) {
		p := geo.Point{Lat: l.GetLat(), Lng: l.GetLng()}
		t.distanceM, t.accuracyM = geo.DistanceM(p, f.place.Location), l.GetAccuracyM()
		if circle {
			denied = s.clearlyOutside(f.fence.Shape, p, l.GetAccuracyM())
		} else {
			denied = !s.enters(f.fence.Shape, p, l.GetAccuracyM())
		}
	}
	switch r.GetTransition() {
	case sdkpb.RegionEvent_TRANSITION_ENTER, sdkpb.RegionEvent_TRANSITION_DWELL:
		if inside {
			return nil
		}
		if denied {
			s.in.Doubted++
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

// enters reports whether a fix by itself begins a stay in a geofence.
func (s *step) enters(shape geo.Shape, p geo.Point, accuracyM float64) bool {
	return s.config.rule.Decide(geo.Outside, shape.MarginM(p), shape.BoundingRadiusM(), accuracyM).Changed
}

// clearlyOutside reports whether a fix would by itself end a stay in a geofence,
// and lies farther from it than regionGraceM. One that is too coarse to say denies
// nothing.
func (s *step) clearlyOutside(shape geo.Shape, p geo.Point, accuracyM float64) bool {
	margin := shape.MarginM(p)
	return margin > regionGraceM &&
		s.config.rule.Decide(geo.Inside, margin, shape.BoundingRadiusM(), accuracyM).Changed
}
