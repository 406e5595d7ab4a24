package ingest

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

const (
	// nearestMoveM is how far a phone without a bubble moves before it gets a new
	// set of regions.
	nearestMoveM = 200
	// planAge is how old a set may become: then it is made anew when the phone shows
	// up, with all slots, since what held some may have let them go.
	planAge = 24 * time.Hour
	// maxSpeedMPS bounds what a fix may say of its speed: faster, nobody enters a
	// place.
	maxSpeedMPS = 100
	// noRegions is the etag of the empty set, sent when the phone may not watch.
	noRegions = "none"
)

// caps are the capabilities of an SDK that the gateway knows.
type caps struct{ bubble, beacons, resume, inbox, config, goaway, triggers bool }

// watching are those that matter to what is watched.
func (c caps) watching() caps { return caps{bubble: c.bubble, beacons: c.beacons} }

func capsOf(said []string) caps {
	var c caps
	for _, s := range said {
		switch s {
		case sdkproto.CapBubble:
			c.bubble = true
		case sdkproto.CapBeacons:
			c.beacons = true
		case sdkproto.CapResume:
			c.resume = true
		case sdkproto.CapInbox:
			c.inbox = true
		case sdkproto.CapConfig:
			c.config = true
		case sdkproto.CapGoaway:
			c.goaway = true
		case sdkproto.CapTriggers:
			c.triggers = true
		}
	}
	return c
}

// capsOfHeader reads sdkproto.HeaderCaps.
func capsOfHeader(h string) caps {
	said := strings.SplitN(h, ",", sdkproto.MaxCaps+1)
	for i := range said {
		said[i] = strings.TrimSpace(said[i])
	}
	return capsOf(said[:min(len(said), sdkproto.MaxCaps)])
}

func (c caps) names() []string {
	var out []string
	for _, x := range [...]struct {
		said bool
		name string
	}{
		{c.bubble, sdkproto.CapBubble},
		{c.beacons, sdkproto.CapBeacons},
		{c.resume, sdkproto.CapResume},
		{c.inbox, sdkproto.CapInbox},
		{c.config, sdkproto.CapConfig},
		{c.goaway, sdkproto.CapGoaway},
		{c.triggers, sdkproto.CapTriggers},
	} {
		if x.said {
			out = append(out, x.name)
		}
	}
	return out
}

// NoWatch says why a phone watches nothing; a bounded code.
type NoWatch string

// The reasons.
const (
	NoWatchPlatform   NoWatch = "platform"   // its OS watches nothing for an app
	NoWatchConsent    NoWatch = "consent"    // no consent to location in the background
	NoWatchPermission NoWatch = "permission" // the OS allows location less than always, or less than precisely
	NoWatchPosition   NoWatch = "position"   // nobody knows where it is
	NoWatchSlots      NoWatch = "slots"      // it has none to give
)

// watch is what a phone was told to watch, and what is needed to plan the next.
// It is guarded by install.mu.
type watch struct {
	platform geo.Platform
	caps     caps

	etag     string    // of the set; empty: none was told by this process
	at       time.Time // when it was made, by the server's clock
	revision uint64    // of the catalog that it was made of
	by       caps      // what it was made for
	made     geo.Slots // of what, as install.plan has it
	lookedM  float64   // how far from there a change of places may change it
	ids      []string  // of the regions, without the bubble
	bubble   geo.Circle
	// answered is the newest exit of a bubble that a set has answered.
	answered time.Time
	again    bool // the next set is to be made whatever else holds

	free    int // slots to plan with; geo.AllFree unless some were refused
	acked   bool
	refused map[string]string // by region: the OS's code; nil means none
}

// begin forgets what was told, not what the phone can do.
func (w *watch) begin() {
	*w = watch{platform: w.platform, caps: w.caps, answered: w.answered, free: geo.AllFree}
}

// before is what is registered, as far as a plan keeps to it.
func (w *watch) before() *geo.SlotPlan {
	if len(w.ids) == 0 {
		return nil
	}
	p := &geo.SlotPlan{Fences: make([]geo.Slot, len(w.ids))}
	for i, id := range w.ids {
		p.Fences[i].ID = id
	}
	return p
}

// plan is what geo is asked with, without what is registered.
func (in *install) plan() geo.Slots {
	v, w := &in.view, &in.watch
	return geo.Slots{
		Platform: w.platform, Beacons: w.caps.beacons, Free: w.free,
		At: v.position, AccuracyM: v.accuracyM, SpeedMPS: min(v.speedMPS, maxSpeedMPS),
	}
}

func weightIn(f Fences) func(id string) float64 {
	return func(id string) float64 { return f.Wish(id).Weight }
}

// noWatch is why the phone watches nothing; empty where it may. A phone that does
// not know bubbles was never asked for its permissions.
func (in *install) noWatch() NoWatch {
	v, w := &in.view, &in.watch
	switch {
	case w.platform.Fences() == 0:
		return NoWatchPlatform
	case !v.located(), w.caps.bubble && !v.granted(sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND):
		return NoWatchConsent
	case w.caps.bubble && !v.allowed.regions():
		return NoWatchPermission
	case !v.positioned:
		return NoWatchPosition
	}
	return ""
}

// asking is a phone that is there and may be told what to watch.
type asking struct {
	catalog  Catalog
	revision uint64
	now      time.Time
	app      *App
	caps     caps
	again    bool   // tell it whatever it was told before
	post     bool   // the answer to a POST: who has not acknowledged the set may not have it
	has      string // the etag of the set that it says it watches: that one is not told again
}

// regions is the set that the phone should watch now; nil means the one that it
// was told. Called with in.mu. The error is the catalog's fault.
func (in *install) regions(a *asking) (*sdkpb.Regions, error) {
	w := &in.watch
	w.platform, w.caps = geo.Platform(a.app.Platform), a.caps
	switch why := in.noWatch(); why {
	case "":
	case NoWatchPlatform:
		return nil, nil
	case NoWatchPosition: // what it watches may be right yet
		if w.etag == "" || w.etag == noRegions && !a.again {
			return nil, nil
		}
		return in.none(a), nil
	default:
		// One that knows bubbles may have a set from before this process.
		if w.etag == "" && !w.caps.bubble || w.etag == noRegions && !a.again {
			return nil, nil
		}
		return in.none(a), nil
	}
	if !w.caps.bubble {
		return in.nearest(a), nil
	}
	return in.planned(a)
}

// none tells the phone to watch nothing.
func (in *install) none(a *asking) *sdkpb.Regions {
	in.watch.begin()
	in.watch.etag, in.watch.at = noRegions, a.now
	if a.has == noRegions {
		return nil
	}
	return &sdkpb.Regions{Etag: noRegions}
}

// nearest is the set of a phone that does not know bubbles: the nearest circles,
// as they are.
func (in *install) nearest(a *asking) *sdkpb.Regions {
	v, w := &in.view, &in.watch
	moved := w.etag == "" || w.etag == noRegions || w.by != w.caps || geo.DistanceM(w.made.At, v.position) > nearestMoveM
	if !a.again && !moved && w.revision == a.revision {
		return nil
	}
	out := &sdkpb.Regions{}
	n := w.platform.Fences()
	w.lookedM = math.Inf(1)
	hits := a.catalog.Fences(in.key.workspace).Nearest(v.position, n, nil)
	if len(hits) >= n {
		w.lookedM = max(0, hits[len(hits)-1].MarginM)
	}
	for _, h := range hits {
		c := h.Shape.Center()
		out.Regions = append(out.Regions, &sdkpb.Region{
			Id: h.ID, Lat: c.Lat, Lng: c.Lng, RadiusM: h.Shape.BoundingRadiusM(), OnEnter: true, OnExit: true,
		})
	}
	w.bubble = geo.Circle{}
	return in.tell(a, in.plan(), out, a.again, false)
}

// planned is the set of a phone that knows bubbles.
func (in *install) planned(a *asking) (*sdkpb.Regions, error) {
	v, w := &in.view, &in.watch
	if w.etag == "" || w.etag == noRegions {
		w.begin()
	}
	old := w.etag != "" && a.now.Sub(w.at) >= planAge
	if old {
		w.free, w.refused = geo.AllFree, nil
	}
	left := v.leftAt.After(w.answered)
	if left && v.positionAt.Before(v.leftAt) {
		return nil, nil // around where it was there is nothing to plan: the next position tells
	}
	anew := old || left || a.post && w.etag != "" && !w.acked
	again := a.again || anew
	if !again && !w.again && in.holds(a) {
		return nil, nil
	}
	fences := a.catalog.Fences(in.key.workspace)
	made := in.plan()
	asked := made
	asked.Before, asked.Brief = w.before(), true
	plan, err := asked.Plan(fences.Nearest, weightIn(fences))
	if err != nil {
		return nil, fmt.Errorf("what to watch: %w", err)
	}
	out := &sdkpb.Regions{Regions: make([]*sdkpb.Region, len(plan.Fences))}
	all := make([]sdkpb.Region, len(plan.Fences)) // in one piece: they come and go together
	for i, f := range plan.Fences {
		r := &all[i]
		r.Id, r.Lat, r.Lng, r.RadiusM, r.OnEnter, r.OnExit, r.Exact = f.ID, f.Center.Lat, f.Center.Lng, f.RadiusM, true, true, f.Exact
		if w.platform == geo.Android {
			r.DwellS = wholeSeconds(fences.Wish(f.ID).Dwell)
		}
		out.Regions[i] = r
	}
	if b := plan.Bubble; b.RadiusM > 0 {
		out.Bubble = &sdkpb.Region{Id: sdkproto.BubbleID, Lat: b.Around.Lat, Lng: b.Around.Lng, RadiusM: b.RadiusM, OnExit: true}
	}
	w.bubble, w.lookedM = plan.Bubble, plan.LookedM
	// Whoever has left the bubble registers it again, even where it is the same: the
	// OS says nothing more of one that was left.
	out = in.tell(a, made, out, again, anew)
	w.answered = v.leftAt
	return out, nil
}

// holds reports whether what the phone was told is right for where it is.
func (in *install) holds(a *asking) bool {
	v, w := &in.view, &in.watch
	if w.etag == "" || w.etag == noRegions || w.revision != a.revision || w.by != w.caps {
		return false
	}
	if w.bubble.RadiusM == 0 { // no slot, wherever it is
		return true
	}
	plan := geo.SlotPlan{Bubble: w.bubble}
	return plan.Holds(v.position, v.accuracyM)
}

// unmoved reports whether a change of places concerns nothing that the phone was
// told, which then is of the new revision too.
func (in *install) unmoved(changed []geo.Circle, revision uint64) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	w := &in.watch
	if w.etag == "" || w.etag == noRegions || w.revision != revision-1 {
		return false
	}
	for _, c := range changed {
		// A percent for what a circle around an outline is off.
		if 0.99*geo.DistanceM(w.made.At, c.Around)-c.RadiusM <= w.lookedM {
			return false
		}
	}
	w.revision = revision
	return true
}

// tell keeps what the set is made of; nil means that the phone has it already: it
// was told, unless always, or it says so, unless it is to register all anew.
func (in *install) tell(a *asking, made geo.Slots, r *sdkpb.Regions, always, anew bool) *sdkpb.Regions {
	w := &in.watch
	r.Etag = etagOf(r)
	same := w.etag == r.Etag
	w.etag, w.at, w.revision, w.by, w.again = r.Etag, a.now, a.revision, w.caps, false
	w.made = made
	if same && !always {
		return nil
	}
	w.acked = w.acked && same
	w.ids = make([]string, len(r.Regions))
	for i, x := range r.Regions {
		w.ids[i] = x.Id
	}
	if r.Etag == a.has && !anew {
		return nil
	}
	w.acked = false
	return r
}

// etagOf names a set by what the phone registers, in whatever order.
func etagOf(r *sdkpb.Regions) string {
	if len(r.Regions) == 0 && r.Bubble == nil {
		return noRegions
	}
	all := make([]*sdkpb.Region, len(r.Regions), len(r.Regions)+1)
	copy(all, r.Regions)
	if r.Bubble != nil {
		all = append(all, r.Bubble)
	}
	slices.SortFunc(all, func(a, b *sdkpb.Region) int { return cmp.Compare(a.Id, b.Id) })
	h := fnv.New64a()
	var b []byte
	for _, x := range all {
		b = append(append(b[:0], x.Id...), 0)
		for _, f := range []float64{x.Lat, x.Lng, x.RadiusM} {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
		}
		b = binary.LittleEndian.AppendUint32(b, x.DwellS)
		if x.Exact {
			b = append(b, 1)
		}
		_, _ = h.Write(b) // a hash takes everything
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

func wholeSeconds(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32(min(max(1, d/time.Second), math.MaxInt32))
}

// acknowledged takes what a phone says of the set that it was told, and reports
// whether it needs another: one of fewer circles. A phone whose OS takes none of
// them has no use for fewer; it keeps them until its OS does.
func (in *install) acknowledged(a *sdkpb.RegionsAck) (fewer bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	w := &in.watch
	if a.GetEtag() != w.etag || w.etag == "" || w.etag == noRegions {
		return false // of another set, which is no more
	}
	w.acked, w.refused = true, nil
	told := len(w.ids)
	if w.bubble.RadiusM > 0 {
		told++
	}
	for _, f := range a.GetFailed() {
		id := f.GetId()
		if !slices.Contains(w.ids, id) && (id != sdkproto.BubbleID || w.bubble.RadiusM == 0) {
			continue
		}
		if w.refused == nil {
			w.refused = map[string]string{}
		}
		w.refused[strings.Clone(id)] = shortened(f.GetOsCode())
	}
	if n := len(w.refused); n == 0 || n == told || !w.by.bubble {
		return false
	}
	w.free = told - len(w.refused)
	w.again = true
	return true
}

// shortened is at most sdkproto.MaxIDChars of s, in memory of its own.
func shortened(s string) string {
	n := 0
	for i := range s {
		if n++; n > sdkproto.MaxIDChars {
			s = s[:i]
			break
		}
	}
	return strings.Clone(s)
}

// asks is the question of a phone that is there.
func (g *Gateway) asks(app *App, c caps, again bool, now time.Time) asking {
	return asking{catalog: g.o.Catalog, revision: g.revision.Load(), now: now, app: app, caps: c.watching(), again: again}
}

// regionsOf is in.regions, whose error is logged: the phone keeps what it has.
func (g *Gateway) regionsOf(ctx context.Context, in *install, a *asking) *sdkpb.Regions {
	r, err := in.regions(a)
	if err != nil && g.complaints.AllowN(a.now, 1) {
		g.log.ErrorContext(ctx, "regions not planned", "install", in.key.install, "error", err)
	}
	return r
}
