package lab

import (
	"cmp"
	"slices"
	"time"

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
	// loiters: it reports by itself that somebody stayed, as Android does.
	loiters bool
	regions []watched // by id, the bubble among them
}

type watched struct {
	*sdkpb.Region
	known  bool // whether inside was ever looked at
	inside bool
	since  time.Time // that it is inside
	stayed bool      // which was reported
}

func newMonitor(p sdkpb.Platform) monitor {
	if p == sdkpb.Platform_PLATFORM_ANDROID {
		return monitor{slots: slotsAndroid, initial: true, loiters: true}
	}
	return monitor{slots: slotsIOS}
}

// register replaces the set. What stays in it with the same circle keeps its
// state. It returns what found no slot. The bubble is registered first.
func (m *monitor) register(set *sdkpb.Regions) []*sdkpb.RegionFailure {
	var failed []*sdkpb.RegionFailure
	all := set.GetRegions()
	if b := set.GetBubble(); b != nil {
		all = append([]*sdkpb.Region{b}, all...)
	}
	next := make([]watched, 0, min(len(all), m.slots))
	for _, r := range all {
		if len(next) == m.slots {
			failed = append(failed, &sdkpb.RegionFailure{Id: r.GetId(), OsCode: "too_many_regions"})
			continue
		}
		w := watched{Region: r}
		if i, ok := m.find(r.GetId()); ok {
			if old := m.regions[i]; old.GetLat() == r.GetLat() && old.GetLng() == r.GetLng() && old.GetRadiusM() == r.GetRadiusM() {
				w.known, w.inside, w.since, w.stayed = old.known, old.inside, old.since, old.stayed
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

// crossing of a region's border, or that somebody stayed within it.
type crossing struct {
	region string
	to     sdkpb.RegionEvent_Transition
	exact  bool // the region's border is the place's
}

// move tells where the phone is at a time. The crossings are in the order of the
// regions' ids.
func (m *monitor) move(p geo.Point, now time.Time) []crossing {
	var out []crossing
	for i := range m.regions {
		w := &m.regions[i]
		inside := geo.DistanceM(p, geo.Point{Lat: w.GetLat(), Lng: w.GetLng()}) <= w.GetRadiusM()
		was, known := w.inside, w.known
		w.inside, w.known = inside, true
		if inside && (!known || !was) {
			w.since, w.stayed = now, false
		}
		switch {
		case known && inside == was, !known && (!inside || !m.initial):
		case inside && w.GetOnEnter():
			out = append(out, crossing{w.GetId(), sdkpb.RegionEvent_TRANSITION_ENTER, w.GetExact()})
		case !inside && w.GetOnExit():
			out = append(out, crossing{w.GetId(), sdkpb.RegionEvent_TRANSITION_EXIT, w.GetExact()})
		}
		if dwell := time.Duration(w.GetDwellS()) * time.Second; m.loiters && inside && !w.stayed && dwell > 0 && now.Sub(w.since) >= dwell {
			w.stayed = true
			out = append(out, crossing{w.GetId(), sdkpb.RegionEvent_TRANSITION_DWELL, w.GetExact()})
		}
	}
	return out
}
