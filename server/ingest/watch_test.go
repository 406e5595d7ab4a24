package ingest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

// sleeper is a phone whose app is woken for single POSTs.
type sleeper struct {
	w    *world
	id   string
	head map[string]string
	seq  uint64
}

// asleep registers a phone that agrees to everything and knows bubbles.
func (w *world) asleep(id, key string, platform sdkpb.Platform, caps ...string) *sleeper {
	w.t.Helper()
	w.installs.mu.Lock()
	if _, ok := w.installs.known[id]; !ok {
		w.installs.known[id] = ingest.Install{Consents: everything()}
	}
	w.installs.mu.Unlock()
	if caps == nil {
		caps = []string{sdkproto.CapBubble}
	}
	h := hello(id)
	h.AppKey, h.Platform, h.Caps = key, platform, caps
	reply, status := w.post(sdkproto.PathInstall, h, nil)
	if status != http.StatusOK {
		w.t.Fatalf("register: %d %v", status, reply)
	}
	if got := reply.HelloOk.Caps; !slices.Equal(got, slices.DeleteFunc(slices.Clone(caps), func(c string) bool { return c == "of-later" })) {
		w.t.Fatalf("capabilities %v answered with %v", caps, got)
	}
	head := auth(id, reply.HelloOk.NewDeviceToken)
	head[sdkproto.HeaderAppKey], head[sdkproto.HeaderCaps] = key, strings.Join(caps, ", ")
	return &sleeper{w: w, id: id, head: head}
}

func (w *world) iphone(id string, caps ...string) *sleeper {
	w.t.Helper()
	return w.asleep(id, ios, sdkpb.Platform_PLATFORM_IOS, caps...)
}

// post sends a batch of the items, whose seqs it gives, and returns the regions of
// the answer.
func (s *sleeper) post(ack *sdkpb.RegionsAck, items ...*sdkpb.Item) *sdkpb.Regions {
	s.w.t.Helper()
	for _, i := range items {
		s.seq++
		i.Seq = s.seq
		if i.OccurredMs == 0 {
			i.OccurredMs = s.w.clock.Now().UnixMilli()
		}
	}
	b := batch(items...)
	b.SentMs, b.RegionsAck = s.w.clock.Now().UnixMilli(), ack
	reply, status := s.w.post(sdkproto.PathBatch, b, s.head)
	if status != http.StatusOK || len(reply.Ack.GetRejects()) > 0 {
		s.w.t.Fatalf("%d %v", status, reply)
	}
	return reply.Regions
}

// accepts is the ack of an OS that took all.
func accepts(r *sdkpb.Regions) *sdkpb.RegionsAck { return refuses(r) }

// refuses is the ack of an OS that took all but the given.
func refuses(r *sdkpb.Regions, ids ...string) *sdkpb.RegionsAck {
	a := &sdkpb.RegionsAck{Etag: r.GetEtag()}
	for _, x := range append(slices.Clone(r.GetRegions()), r.GetBubble()) {
		switch {
		case x == nil:
		case slices.Contains(ids, x.Id):
			a.Failed = append(a.Failed, &sdkpb.RegionFailure{Id: x.Id, OsCode: "kCLErrorDomain 5"})
		default:
			a.Installed = append(a.Installed, x.Id)
		}
	}
	return a
}

func at(lat, lng, accuracyM float64) *sdkpb.Item {
	return &sdkpb.Item{Location: &sdkpb.Location{Lat: lat, Lng: lng, AccuracyM: accuracyM}}
}

// left is the OS's word that the bubble was left; nil where it attached no fix.
func left(l *sdkpb.Location) *sdkpb.Item {
	return &sdkpb.Item{RegionEvent: &sdkpb.RegionEvent{
		RegionId: sdkproto.BubbleID, Transition: sdkpb.RegionEvent_TRANSITION_EXIT, Location: l,
	}}
}

// without removes a fence.
func (w *world) without(id string) {
	w.t.Helper()
	w.catalog.change(func() {
		x, err := w.catalog.index.With(nil, []string{id})
		if err != nil {
			w.t.Fatal(err)
		}
		w.catalog.index = x
	})
}

func first(r *sdkpb.Regions) string {
	if len(r.GetRegions()) == 0 {
		return ""
	}
	return r.Regions[0].Id
}

func TestALeftBubbleIsAnsweredWithTheNextPlan(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	s := w.iphone("iphone-0001", "bubble", "of-later")
	set := s.post(nil, at(0.5, 0, 10))
	b := set.GetBubble()
	if first(set) != "fence-50" || len(set.Regions) != 19 || b.GetId() != "~bubble" || b.OnEnter || !b.OnExit || b.Lat != 0.5 || !set.Regions[0].Exact {
		t.Fatalf("the first set: %v", set)
	}
	// The nearest fence without a slot is the tenth to a side, 11.1 km away.
	if b.RadiusM < 9000 || b.RadiusM > 11_000 {
		t.Errorf("a bubble of %v m", b.RadiusM)
	}
	if got := s.post(accepts(set), at(north(0.5, 1500), 0, 10)); got != nil {
		t.Errorf("within the bubble: %v", got)
	}
	w.clock.Advance(time.Hour)
	next := s.post(nil, left(&sdkpb.Location{Lat: north(0.5, 10_000), AccuracyM: 30}))
	if first(next) != "fence-59" || next.Etag == set.Etag || next.GetBubble().GetLat() != north(0.5, 10_000) {
		t.Fatalf("after the bubble: %v", next)
	}
	// The exit is in the log, as it was said: its region is no place's.
	items := w.log.items(t, s.id)
	if last := items[len(items)-1].RegionEvent; last.GetRegionId() != "~bubble" || engage.ValidID(last.GetRegionId()) {
		t.Errorf("logged %v", last)
	}

	// The OS may not know where: then the next position counts, wherever it is.
	w.clock.Advance(time.Hour)
	if got := s.post(accepts(next), left(nil)); got != nil {
		t.Errorf("left for nobody knows where: %v", got)
	}
	w.clock.Advance(time.Minute)
	again := s.post(nil, at(north(0.5, 10_000), 0, 10))
	if again.GetBubble() == nil {
		t.Error("the position after an exit brought no set, though the OS will not speak of the old one again")
	}
	// An exit that is older than the plan is of an earlier bubble; it does no harm.
	late := left(&sdkpb.Location{Lat: 0.9})
	late.OccurredMs = w.clock.Now().Add(-30 * time.Minute).UnixMilli()
	if got := s.post(accepts(again), late); got != nil {
		t.Errorf("a late exit: %v", got)
	}
	// The answer may be lost: the same batch once more gets the set once more.
	w.clock.Advance(time.Hour)
	exit := left(&sdkpb.Location{Lat: 0.2})
	once := s.post(nil, exit)
	twice := s.post(nil, proto.CloneOf(exit))
	if once.GetEtag() == "" || twice.GetEtag() != once.GetEtag() {
		t.Errorf("first %v, then %v", once.GetEtag(), twice.GetEtag())
	}
	if got := s.post(accepts(twice), at(0.2, 0, 10)); got != nil {
		t.Errorf("acknowledged, and told again: %v", got)
	}
}

func TestWhatTheOSRefusesIsPlannedAround(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.catalog.wishes = map[string]ingest.Wish{"fence-53": {Weight: 0}}
	s := w.iphone("iphone-0001")
	set := s.post(nil, at(0.5, 0, 10))
	ids := func(r *sdkpb.Regions) (out []string) {
		for _, x := range r.GetRegions() {
			out = append(out, x.Id)
		}
		return out
	}
	if slices.Contains(ids(set), "fence-53") {
		t.Error("an unwanted fence has a slot")
	}
	last := ids(set)
	a := refuses(set, last[len(last)-3:]...)
	a.Failed = append(a.Failed, &sdkpb.RegionFailure{Id: "nobody's", OsCode: strings.Repeat("x", 10_000)})
	fewer := s.post(a)
	if len(fewer.GetRegions()) != 16 || fewer.Bubble == nil || first(fewer) != "fence-50" {
		t.Fatalf("after three refusals: %v", fewer)
	}
	if got := s.post(refuses(set, last...), at(0.5, 0, 10)); len(got.GetRegions()) != 16 {
		t.Errorf("an ack of a set that is no more: %v", got)
	}
	if got, err := w.gateway.Watching(t.Context(), ws, s.id); err != nil || got.Free != 17 || got.Stale || len(got.Regions) != 16 {
		t.Errorf("watching %+v, %v", got, err)
	}
	// It is asked for once: what holds the slots may hold them for long.
	if got := s.post(accepts(fewer), at(0.5, 0, 10)); got != nil {
		t.Errorf("told again: %v", got)
	}
	w.clock.Advance(23 * time.Hour)
	if got := s.post(nil, at(0.5, 0, 10)); got != nil {
		t.Errorf("told again after 23 h: %v", got)
	}
	w.clock.Advance(time.Hour)
	if set = s.post(nil, at(0.5, 0, 10)); len(set.GetRegions()) != 19 {
		t.Errorf("after a day: %v", set)
	}
	// An OS that takes none needs no shorter list; the phone tries again by itself.
	if got := s.post(refuses(set, append(ids(set), "~bubble")...), at(0.5, 0, 10)); got != nil {
		t.Errorf("after a refusal of all: %v", got)
	}
	got, err := w.gateway.Watching(t.Context(), ws, s.id)
	if err != nil || !got.Acked || got.Regions[0].Refused != "kCLErrorDomain 5" || got.Bubble.Refused == "" {
		t.Errorf("watching %+v, %v", got, err)
	}
}

func TestAnAckOnTheSocketBringsAShorterSet(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{})
		w.installs.known["phone-00001"] = ingest.Install{Consents: everything()}
		var sets []*sdkpb.Regions
		var p *phone
		p = w.phone("phone-00001", codec, func(o *client.Options) {
			o.Caps = []string{sdkproto.CapBubble}
			o.OnRegions = func(r *sdkpb.Regions) []*sdkpb.RegionFailure {
				var failed []*sdkpb.RegionFailure
				for i, x := range r.Regions { // the OS has room for 30
					if i >= 29 {
						failed = append(failed, &sdkpb.RegionFailure{Id: x.Id, OsCode: "1001"})
					}
				}
				p.do(func() { sets = append(sets, r) })
				return failed
			}
		})
		p.Fix(&sdkpb.Location{Lat: 0.5, AccuracyM: 10}, noon)
		if err := p.Foreground(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, "a set that fits", p.get(func() bool { return len(sets) > 0 && len(sets[len(sets)-1].Regions) == 29 }))
		p.do(func() {
			if len(sets) != 2 || len(sets[0].Regions) != 50 || sets[1].Bubble == nil {
				t.Errorf("%d sets, the first of %d regions", len(sets), len(sets[0].Regions))
			}
		})
	})
}

func TestOnlyALocationThatIsAlwaysAllowedIsWatched(t *testing.T) {
	const (
		none, inUse, always = sdkpb.Permissions_LOCATION_NONE, sdkpb.Permissions_LOCATION_WHEN_IN_USE, sdkpb.Permissions_LOCATION_ALWAYS
		reduced             = sdkpb.Permissions_PRECISION_REDUCED
	)
	says := func(l sdkpb.Permissions_Location, p sdkpb.Permissions_Precision) *sdkpb.Item {
		return &sdkpb.Item{Permissions: &sdkpb.Permissions{Location: l, Precision: p}}
	}
	w := newWorld(t, ingest.Limits{})
	s := w.iphone("iphone-0001")
	if got := s.post(nil, at(0.5, 0, 10)); len(got.GetRegions()) != 19 {
		t.Errorf("a phone that has not said its permissions: %v", got)
	}
	for _, no := range []*sdkpb.Item{says(inUse, 0), says(none, 0), says(always, reduced)} {
		if got := s.post(nil, no); got == nil || got.Etag != "none" || len(got.Regions) > 0 || got.Bubble != nil {
			t.Errorf("after %v: %v", no.Permissions, got)
		}
		if got := s.post(nil, at(0.9, 0, 10)); got != nil {
			t.Errorf("told nothing again: %v", got)
		}
		if got, err := w.gateway.Watching(t.Context(), ws, s.id); err != nil || got.None != ingest.NoWatchPermission {
			t.Errorf("watching %+v, %v", got, err)
		}
		if got := s.post(nil, says(always, 0)); len(got.GetRegions()) != 19 || got.Bubble.GetLat() != 0.9 {
			t.Errorf("allowed again: %v", got)
		}
		s.post(nil, at(0.5, 0, 10))
	}
	// By the hello of a first run, and by what was known before this process.
	w.installs.known["iphone-0002"] = ingest.Install{Consents: everything(), Location: inUse, Position: &geo.Point{Lat: 0.5}}
	if got := w.iphone("iphone-0002").post(nil, at(0.5, 0, 10)); len(got.GetRegions()) > 0 {
		t.Errorf("known to be in use only: %v", got)
	}
	// Regions are for the background.
	w.installs.known["iphone-0003"] = ingest.Install{Consents: map[engage.Purpose]bool{
		engage.ConsentLocationForeground: true, engage.ConsentLocationPrecise: true,
	}}
	third := w.iphone("iphone-0003")
	third.post(nil, lifecycle(0, sdkpb.Lifecycle_STATE_FOREGROUND))
	if got := third.post(nil, at(0.5, 0, 10)); len(got.GetRegions()) > 0 {
		t.Errorf("without consent to the background: %v", got)
	}
	if got, err := w.gateway.Watching(t.Context(), ws, third.id); err != nil || got.None != ingest.NoWatchConsent {
		t.Errorf("watching %+v, %v", got, err)
	}
	if got := third.post(nil, consent(0, sdkpb.Consent_PURPOSE_LOCATION_BACKGROUND, true)); len(got.GetRegions()) != 19 {
		t.Errorf("with it: %v", got)
	}
}

func TestSlotsAreThoseOfThePlatform(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.catalog.wishes = map[string]ingest.Wish{"fence-50": {Weight: 1, Dwell: 299*time.Second + 1}}
	for _, c := range []struct {
		name  string
		phone *sleeper
		want  int
		dwell uint32
	}{
		{"iOS", w.iphone("iphone-0001"), 19, 0},
		{"iOS that looks for beacons", w.iphone("iphone-0002", "bubble", "beacons"), 9, 0},
		{"Android", w.asleep("phone-00001", android, sdkpb.Platform_PLATFORM_ANDROID), 50, 299},
	} {
		set := c.phone.post(nil, at(0.5, 0, 10))
		if len(set.GetRegions()) != c.want || set.Bubble == nil {
			t.Errorf("%s: %d regions, %v", c.name, len(set.GetRegions()), set.GetBubble())
		}
		if got := set.Regions[0]; got.Id != "fence-50" || got.DwellS != c.dwell {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	// It begins to look for beacons.
	s := w.iphone("iphone-0003")
	set := s.post(nil, at(0.5, 0, 10))
	s.head[sdkproto.HeaderCaps] = "beacons,bubble"
	if got := s.post(accepts(set)); len(got.GetRegions()) != 9 {
		t.Errorf("with beacons: %v", got)
	}
}

func TestChangedFencesReachWhoIsThere(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		w := newWorld(t, ingest.Limits{})
		w.installs.known["phone-00001"] = ingest.Install{Consents: everything()}
		p := w.phone("phone-00001", codec, func(o *client.Options) { o.Caps = []string{sdkproto.CapBubble} })
		p.Fix(&sdkpb.Location{Lat: 0.5, AccuracyM: 10}, noon)
		if err := p.Foreground(t.Context()); err != nil {
			t.Fatal(err)
		}
		last := func() (r *sdkpb.Regions) {
			p.do(func() {
				if n := len(p.regions); n > 0 {
					r = p.regions[n-1]
				}
			})
			return r
		}
		until(t, "first set", func() bool { return first(last()) == "fence-50" && !last().Regions[0].Exact == false })
		before := last()
		w.catalog.change(func() { w.catalog.apps["other"] = ingest.App{} })
		w.without("fence-50")
		until(t, "a set without the fence", func() bool { return first(last()) != "fence-50" })
		w.catalog.change(func() { w.catalog.wishes = map[string]ingest.Wish{"fence-99": {Weight: 2}} })
		if got := last(); got.Etag == before.Etag || got.Bubble == nil {
			t.Errorf("after the change %v", got)
		}
	})
}

// A change far away costs nothing: no phone is planned for.
func TestAChangeFarAwayPlansForNobody(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.installs.known["iphone-0001"] = ingest.Install{Consents: everything()}
	s := w.iphone("iphone-0001")
	r := w.dial(sdkproto.Protobuf{})
	h := hello(s.id)
	h.AppKey, h.Platform, h.Caps = ios, sdkpb.Platform_PLATFORM_IOS, []string{"bubble"}
	h.DeviceToken = strings.TrimPrefix(s.head[sdkproto.HeaderAuthorization], sdkproto.BearerPrefix)
	r.send(&sdkpb.Frame{Id: 1, Hello: h}, &sdkpb.Frame{Id: 2, Batch: batch(fix(1, 0.1, 0))})
	told := func() *sdkpb.Regions {
		t.Helper()
		for {
			if f := r.next(); f.Regions != nil {
				return f.Regions
			}
		}
	}
	if got := told(); first(got) != "fence-10" {
		t.Fatalf("told %v", got)
	}
	w.without("fence-98") // the first change of all: what was before is not known
	until(t, "plan", func() bool { return w.catalog.asked.Load() == 2 })
	w.without("fence-97")
	w.without("fence-96")
	w.catalog.change(func() { w.catalog.wishes = map[string]ingest.Wish{"fence-99": {Weight: 7}} })
	w.without("fence-11")
	if got := told(); len(got.Regions) != 19 || slices.ContainsFunc(got.Regions, func(x *sdkpb.Region) bool { return x.Id == "fence-11" }) {
		t.Errorf("told %v", got)
	}
	if n := w.catalog.asked.Load(); n != 3 {
		t.Errorf("planned %d times, should be at the first fix, at the first change and for the one at hand", n)
	}
	w.catalog.change(func() { w.catalog.wishes = map[string]ingest.Wish{"fence-10": {Weight: 0}} })
	if got := told(); first(got) == "fence-10" {
		t.Errorf("told %v", got)
	}
}

// A socket that is lost with a set on its way, and a POST before the next hello.
func TestASetThatWasNotAcknowledgedIsToldAgainByPOST(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	s := w.iphone("iphone-0001")
	set := s.post(nil, at(0.5, 0, 10))
	s.post(accepts(set))
	r := w.dial(sdkproto.Protobuf{})
	h := hello(s.id)
	h.AppKey, h.Platform, h.Caps = ios, sdkpb.Platform_PLATFORM_IOS, []string{"bubble"}
	h.DeviceToken = strings.TrimPrefix(s.head[sdkproto.HeaderAuthorization], sdkproto.BearerPrefix)
	r.send(&sdkpb.Frame{Id: 1, Hello: h})
	for f := r.next(); f.Regions == nil; f = r.next() {
	}
	w.catalog.change(func() { w.catalog.index = line(170) })
	for f := r.next(); f.Regions == nil; f = r.next() { // which the phone, as it were, never sees
	}
	got := s.post(nil, at(0.5, 0, 10))
	if len(got.GetRegions()) != 19 || got.Regions[0].RadiusM != 170 {
		t.Errorf("by POST: %v", got)
	}
	if got := s.post(accepts(got), at(0.5, 0, 10)); got != nil {
		t.Errorf("acknowledged, and told again: %v", got)
	}
}

func TestWatchingSaysWhyAFenceWasLeftOut(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	ask := func(id string) ingest.Watched {
		t.Helper()
		got, err := w.gateway.Watching(t.Context(), ws, id)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := ask("nobody-0001"); got.None != ingest.NoWatchPlatform || !got.ToldAt.IsZero() {
		t.Errorf("nobody: %+v", got)
	}
	// Before it has spoken: what it would be told.
	w.installs.known["iphone-0001"] = ingest.Install{Consents: everything(), Platform: "ios", Position: &geo.Point{Lat: 0.5}, AccuracyM: 12}
	if got := ask("iphone-0001"); !got.ToldAt.IsZero() || len(got.Regions) != 19 || got.Regions[0].ID != "fence-50" || got.Stale {
		t.Errorf("before: %+v", got)
	}
	w.catalog.wishes = map[string]ingest.Wish{"fence-51": {Weight: 2}, "fence-52": {}}
	s := w.iphone("iphone-0001")
	set := s.post(nil, at(0.5, 0, 10))
	s.post(accepts(set), at(north(0.5, 3000), 0, 50)) // in the bubble: the plan stands
	got := ask("iphone-0001")
	if got.ToldAt != noon || !got.Acked || got.Stale || got.Free != geo.AllFree || fmt.Sprint(got.Caps) != "[bubble]" || got.None != "" {
		t.Errorf("%+v", got)
	}
	if got.Bubble.RadiusM != set.Bubble.RadiusM || got.Bubble.Center.Lat != 0.5 || !got.Guaranteed || len(got.Regions) != len(set.Regions) {
		t.Errorf("bubble %+v and %d regions, told %v", got.Bubble, len(got.Regions), set)
	}
	for i, r := range got.Regions {
		if x := set.Regions[i]; r.ID != x.Id || r.RadiusM != x.RadiusM || r.Weight == 0 || r.Refused != "" {
			t.Errorf("region %d is %+v, told %v", i, r, x)
		}
	}
	why := map[string]geo.WhyLeftOut{}
	for _, l := range got.LeftOut {
		why[l.ID] = l.Why
	}
	if why["fence-52"] != geo.LeftUnwanted || why["fence-65"] != geo.LeftFarther || got.LeftOut[0].BorderM < 2000 {
		t.Errorf("left out %v", got.LeftOut)
	}
	w.without("fence-50")
	if got := ask("iphone-0001"); !got.Stale {
		t.Errorf("the phone was told of a fence that is gone: %+v", got)
	}
	if got, err := w.gateway.Watching(t.Context(), "rival", "iphone-0001"); err != nil || len(got.Regions) > 0 && !got.ToldAt.IsZero() {
		t.Errorf("another workspace sees %+v, %v", got, err)
	}
}

// A fix of thousands of kilometres, at a thousand times the speed of sound.
func TestAnAbsurdFixMakesNoAbsurdPlan(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	s := w.iphone("iphone-0001")
	speed := 1e300
	item := at(0.5, 0, 1e300)
	item.Location.SpeedMps = &speed
	set := s.post(nil, item)
	if b := set.GetBubble(); len(set.GetRegions()) != 19 || geo.DistanceM(geo.Point{Lat: b.Lat, Lng: b.Lng}, geo.Point{Lat: 0.5}) > 1 || b.RadiusM > geo.MaxRadiusM {
		t.Errorf("%v", set)
	}
	if got := s.post(accepts(set), at(0.5, 0, 17_000)); got != nil {
		t.Errorf("a coarse fix planned anew: %v", got)
	}
}
