package situate

import (
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// Heard is a beacon of a place that a phone hears, or heard a moment ago.
type Heard struct {
	Beacon string `json:"beacon"` // its id
	Place  string `json:"place"`
	Seq    uint64 `json:"seq"`            // of the sighting that began it; makes the occasion
	Last   int64  `json:"last"`           // the newest sighting, Unix microseconds
	Near   bool   `json:"near,omitempty"` // within a few metres, as the OS judges it
	Gone   int64  `json:"gone,omitempty"` // since when it is not heard; 0: it is
}

const (
	// maxHeard bounds what is kept of an install. A phone hears a few at once; who says
	// that it hears more is not told of the further ones.
	maxHeard = 32
	// heardGrace is how much later than its rule says (geo.Rule.BeaconLost) a beacon counts
	// as lost that nobody said is: phones speak of those that they hear once a minute.
	heardGrace = 30 * time.Second
	// heardAgain is within which time after its loss a beacon that is heard again is the
	// same occasion: radio is not steady.
	heardAgain = 5 * time.Minute

	beaconsTimer = "beacons"
)

// stand is where a beacon stands.
type stand struct {
	id    string
	fence string // that it is evidence for
}

// standsOf are the beacons that a sighting may be of, as beaconFences has it.
func (w *workspace) standsOf(b *sdkpb.Beacon) []stand {
	var seen engage.Beacon
	switch {
	case b.GetIbeacon() != nil:
		i := b.GetIbeacon()
		seen = engage.Beacon{Type: engage.IBeacon, UUID: i.GetUuid(), Major: intOf(i.Major), Minor: intOf(i.Minor)}
	case b.GetEddystoneUid() != nil:
		seen = engage.Beacon{Type: engage.EddystoneUID, Namespace: b.GetEddystoneUid().GetNamespace(), Instance: b.GetEddystoneUid().GetInstance()}
	default:
		return nil
	}
	if b.GetLost() && seen.Type == engage.IBeacon && seen.Major == nil {
		var out []stand
		for key, s := range w.beacons {
			if key == seen.Key() || strings.HasPrefix(key, seen.Key()+":") {
				out = append(out, s)
			}
		}
		slices.SortFunc(out, func(a, b stand) int { return strings.Compare(a.id, b.id) })
		return out
	}
	for _, key := range seen.Keys() {
		if s, stands := w.beacons[key]; stands {
			return []stand{s}
		}
	}
	return nil
}

// hears notes what a sighting says of the beacons that stand somewhere, and tells the
// profile when one is heard first, is near first, or is lost. What came late of a time
// before the newest word of a beacon says nothing of it.
func (s *step) hears(b *sdkpb.Beacon, stands []stand) error {
	at := s.occurred()
	if at.After(s.e.At) {
		at = s.e.At
	}
	s.in.Heard = slices.DeleteFunc(slices.Clone(s.in.Heard), func(h Heard) bool {
		return h.Gone != 0 && s.e.At.Sub(time.UnixMicro(h.Gone)) >= heardAgain
	})
	for _, x := range stands {
		f, there := s.config.fences[x.fence]
		if !there {
			continue
		}
		if err := s.hear(b, x, f, at); err != nil {
			return err
		}
	}
	s.armHeard()
	return nil
}

// hear is hears of one beacon.
func (s *step) hear(b *sdkpb.Beacon, x stand, f fence, at time.Time) error {
	i := slices.IndexFunc(s.in.Heard, func(h Heard) bool { return h.Beacon == x.id && h.Place == f.place.ID })
	now := Heard{Beacon: x.id, Place: f.place.ID, Seq: s.seq, Last: at.UnixMicro()}
	if i >= 0 {
		old := s.in.Heard[i]
		if now.Last <= max(old.Last, old.Gone) {
			return nil // late
		}
		if lost := old.Last + f.heardFor().Microseconds(); old.Gone == 0 && now.Last > lost {
			// Silence that no timer has noticed: nobody listened, or the phone tells it all at once.
			if err := s.lose(i, time.UnixMicro(lost), geo.BySilence); err != nil {
				return err
			}
			old = s.in.Heard[i]
		}
		if old.Gone == 0 || now.Last-old.Gone < heardAgain.Microseconds() {
			now.Seq = old.Seq
		}
		now.Near, now.Gone = old.Near && old.Gone == 0, old.Gone
	}
	if b.GetLost() {
		if i < 0 || now.Gone != 0 {
			return nil
		}
		return s.lose(i, at, geo.ByBeacon)
	}
	first := i < 0 || now.Gone != 0
	now.Gone = 0
	wasNear := now.Near
	switch b.GetProximity() {
	case sdkpb.Beacon_PROXIMITY_IMMEDIATE, sdkpb.Beacon_PROXIMITY_NEAR:
		now.Near = true
	case sdkpb.Beacon_PROXIMITY_FAR:
		now.Near = false
	}
	if i < 0 && len(s.in.Heard) >= maxHeard {
		return nil
	}
	others := slices.DeleteFunc(slices.Clone(s.in.Heard), func(h Heard) bool {
		return h.Beacon == now.Beacon || h.Place != now.Place ||
			h.Gone != 0 && now.Last-h.Gone >= heardAgain.Microseconds() // one that was lost a moment ago still counts for its place
	})
	list := slices.Clone(s.in.Heard)
	if i < 0 {
		list = append(list, now)
	} else {
		list[i] = now
	}
	s.in.Heard = list
	if first {
		if err := s.tellBeacon(&now, f, engage.Enter, at, geo.ByBeacon, len(others) == 0); err != nil {
			return err
		}
	}
	if now.Near && !wasNear {
		only := !slices.ContainsFunc(others, func(h Heard) bool { return h.Near })
		return s.tellBeacon(&now, f, engage.ComeNear, at, geo.ByBeacon, only)
	}
	return nil
}

// heardFor is how long after its last sighting a beacon of the fence counts as heard.
func (f fence) heardFor() time.Duration { return f.rules.usual.BeaconLost + heardGrace }

// lose notes that a beacon is not heard any more.
func (s *step) lose(i int, at time.Time, by geo.Source) error {
	list := slices.Clone(s.in.Heard)
	h := &list[i]
	h.Gone, h.Near = at.UnixMicro(), false
	s.in.Heard = list
	x, stands := s.config.standing(h.Beacon, h.Place)
	if !stands {
		return nil // it was taken away meanwhile
	}
	last := !slices.ContainsFunc(list, func(o Heard) bool { return o.Place == h.Place && o.Gone == 0 })
	return s.tellBeacon(h, x, engage.Exit, at, by, last)
}

// standing is the fence of a beacon that still stands at a place.
func (w *workspace) standing(beacon, place string) (fence, bool) {
	site := w.places[place]
	if site == nil {
		return fence{}, false
	}
	for i := range site.Beacons {
		if b := &site.Beacons[i]; b.ID == beacon {
			if g := site.FenceOf(b); g != nil {
				f, there := w.fences[g.ID]
				return f, there
			}
		}
	}
	return fence{}, false
}

// tellBeacon tells the profile of a beacon, if some campaign listens to any.
func (s *step) tellBeacon(h *Heard, f fence, what engage.Transition, at time.Time, by geo.Source, wide bool) error {
	if !s.config.hearsBeacons {
		return nil
	}
	t := engage.Trigger{
		Type: engage.TriggerBeacon, Occasion: engage.EventID(s.ws, s.in.Install, h.Seq), Install: s.in.Install,
		OccurredAt: at.UTC(), Transition: what, Place: f.place.ID, Fence: f.geofence().ID, Beacon: h.Beacon, PlaceWide: wide, Evidence: string(by),
		Opening: opening(f.place, at),
	}
	if err := s.attach(&t, f.place.Place); err != nil {
		return err
	}
	return s.forward(engage.KindTrigger, t)
}

// armHeard sets the timer for the next silence, if anybody listens. One that is set too
// early is let ring.
func (s *step) armHeard() {
	if !s.config.hearsBeacons {
		return
	}
	var due time.Time
	for i := range s.in.Heard {
		h := &s.in.Heard[i]
		if h.Gone != 0 {
			continue
		}
		wait := heardGrace
		if f, stands := s.config.standing(h.Beacon, h.Place); stands {
			wait = f.heardFor()
		}
		if at := time.UnixMicro(h.Last).Add(wait); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	if due.IsZero() {
		return
	}
	if soonest := s.e.At.Add(time.Second); due.Before(soonest) {
		due = soonest
	}
	if s.in.HeardDue.IsZero() || due.Before(s.in.HeardDue) {
		s.in.HeardDue = due.UTC()
		s.tx.SetTimer(s.e.Key, beaconsTimer, s.in.HeardDue, nil)
	}
}

// unheard is the timer: what was not heard for too long is lost.
func (s *step) unheard() error {
	s.in.HeardDue = time.Time{}
	for i := range s.in.Heard {
		h := s.in.Heard[i]
		if h.Gone != 0 {
			continue
		}
		f, stands := s.config.standing(h.Beacon, h.Place)
		wait := heardGrace
		if stands {
			wait = f.heardFor()
		}
		if lost := time.UnixMicro(h.Last).Add(wait); !lost.After(s.e.At) {
			if err := s.lose(i, lost, geo.BySilence); err != nil {
				return err
			}
		}
	}
	s.armHeard()
	return nil
}
