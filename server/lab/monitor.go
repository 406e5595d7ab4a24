package lab

import (
	"cmp"
	"slices"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Slots that the OS has for an app's regions.
const (
	slotsIOS     = 20
	slotsAndroid = 100
)

// monitor is the OS's own watch over the regions that the app registered. It
// reports every crossing once. The zero value watches nothing. It is guarded by
// its phone.
type monitor struct {
	slots int
	// initial: a region in which the phone already is when it is registered is
	// reported as entered, as Android does (INITIAL_TRIGGER_ENTER) and iOS does not.
	initial bool
	regions []watched // by id
}

type watched struct {
	*sdkpb.Region
	known  bool // whether inside was ever looked at
	inside bool
}

func newMonitor(p sdkpb.Platform) monitor {
	if p == sdkpb.Platform_PLATFORM_ANDROID {
		return monitor{slots: slotsAndroid, initial: true}
	}
	return monitor{slots: slotsIOS}
}

// register replaces the set. What stays in it with the same circle keeps its
// state. It returns what found no slot.
func (m *monitor) register(set *sdkpb.Regions) []*sdkpb.RegionFailure {
	var failed []*sdkpb.RegionFailure
	next := make([]watched, 0, min(len(set.GetRegions()), m.slots))
	for _, r := range set.GetRegions() {
		if len(next) == m.slots {
			failed = append(failed, &sdkpb.RegionFailure{Id: r.GetId(), OsCode: "too_many_regions"})
			continue
		}
		w := watched{Region: r}
		if i, ok := m.find(r.GetId()); ok {
			if old := m.regions[i]; old.GetLat() == r.GetLat() && old.GetLng() == r.GetLng() && old.GetRadiusM() == r.GetRadiusM() {
				w.known, w.inside = old.known, old.inside
			}
		}
		next = append(next, w)
	}
	slices.SortFunc(next, func(a, b watched) int { return cmp.Compare(a.GetId(), b.GetId()) })
	m.regions = next
	return failed
}

func (m *monitor) find(id string) (int, bool) {
	return slices.BinarySearchFunc(m.regions, id, func(w watched, id string) int { return cmp.Compare(w.GetId(), id) })
}

// crossing of a region's border.
type crossing struct {
	region string
	to     sdkpb.RegionEvent_Transition
}

// move tells where the phone is now. The crossings are in the order of the
// regions' ids.
func (m *monitor) move(p geo.Point) []crossing {
	var out []crossing
	for i := range m.regions {
		w := &m.regions[i]
		inside := geo.DistanceM(p, geo.Point{Lat: w.GetLat(), Lng: w.GetLng()}) <= w.GetRadiusM()
		was, known := w.inside, w.known
		w.inside, w.known = inside, true
		switch {
		case known && inside == was, !known && (!inside || !m.initial):
		case inside && w.GetOnEnter():
			out = append(out, crossing{w.GetId(), sdkpb.RegionEvent_TRANSITION_ENTER})
		case !inside && w.GetOnExit():
			out = append(out, crossing{w.GetId(), sdkpb.RegionEvent_TRANSITION_EXIT})
		}
	}
	return out
}
