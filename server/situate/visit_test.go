package situate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/situate"
)

func TestEnterAndExitFromFixes(t *testing.T) {
	p := newPhone(t, allConsents...)
	for i, step := range []struct {
		eastM, accuracyM float64
		want             string
	}{
		{1000, 10, ""},
		{250, 10, "enter cafe-near"},
		{85, 10, "enter cafe-in"},
		{0, 2000, ""},             // says nothing
		{130, 30, ""},             // its circle still touches the geofence
		{130, 15, "exit cafe-in"}, // 30 m > 1.5 × 15 m
		{95, 500, ""},             // too coarse to enter
		{50, 20, "enter cafe-in"}, // the same visit
		{600, 20, "exit cafe-in, exit cafe-near, visit cafe-near"},
	} {
		p.item(time.Duration(i+1)*time.Minute, fix(east(step.eastM), step.accuracyM))
		ts := p.triggers()
		if got := short(ts); got != step.want {
			t.Fatalf("step %d: %q, want %q", i, got, step.want)
		}
		for _, tr := range ts {
			if tr.Evidence != "fix" || math.Abs(tr.DistanceM-step.eastM) > 2 || tr.AccuracyM != step.accuracyM ||
				tr.Place != "cafe" || tr.Install != install || !tr.OccurredAt.Equal(t0.Add(time.Duration(i+1)*time.Minute)) {
				t.Errorf("step %d: saw %+v", i, tr)
			}
		}
	}
	if len(p.install().Places()) != 0 {
		t.Error("the visit is still open")
	}
}

func TestTheOSAndFixesAreOneVisitWithOneEnter(t *testing.T) {
	p := newPhone(t, allConsents...)
	p.item(1*sec, region("cafe-in", enter))
	first := p.wantTriggers("enter cafe-in")[0]
	if first.Evidence != "os_region" || first.DistanceM != 0 {
		t.Errorf("saw %+v", first)
	}
	p.item(2*sec, region("cafe-in", enter))
	p.item(3*sec, region("cafe-in", dwell))
	p.wantTriggers("")
	p.item(4*sec, fix(shop, 10))
	near := p.wantTriggers("enter cafe-near")[0]
	p.item(5*sec, region("cafe-in", exit))
	out := p.wantTriggers("exit cafe-in")[0]
	p.item(6*sec, fix(east(200), 10))
	p.wantTriggers("")
	p.item(7*sec, region("cafe-near", exit))
	last := p.wantTriggers("exit cafe-near, visit cafe-near")
	want := engage.VisitID(ws, install, "cafe", 4) // after three consents
	for _, tr := range []engage.Trigger{first, near, out, last[0], last[1]} {
		if tr.Occasion != want {
			t.Errorf("%s %s has occasion %s, want that of the first evidence, %s", tr.Transition, tr.Fence, tr.Occasion, want)
		}
	}
	p.item(8*sec, region("cafe-in", dwell))
	if again := p.wantTriggers("enter cafe-in")[0]; again.Occasion == want {
		t.Error("coming back did not mint a new visit")
	}
	p.item(9*sec, region("gone", enter))
	p.item(9*sec, region("cafe-in", sdkpb.RegionEvent_TRANSITION_UNSPECIFIED))
	p.wantTriggers("")
}

func TestTheOSIsDoubtedWhereItsOwnFixDeniesIt(t *testing.T) {
	it := region("cafe-in", enter)
	it.RegionEvent.Location = fix(east(9000), 10).Location
	p := newPhone(t, allConsents...)
	p.item(sec, it)
	p.wantTriggers("")
	if in := p.install(); len(in.Places()) != 0 || in.Doubted != 1 {
		t.Errorf("visits %v, doubted %d", in.Places(), in.Doubted)
	}
	// Without the consent to precise fixes, one denies nothing.
	p = newPhone(t, sdkpb.Consent_PURPOSE_LOCATION_FOREGROUND)
	p.item(sec, it)
	p.wantTriggers("enter cafe-in")
}

func beacon(uuid string, major, minor uint32, lost bool) *sdkpb.Item {
	return &sdkpb.Item{Beacon: &sdkpb.Beacon{Ibeacon: &sdkpb.IBeacon{Uuid: uuid, Major: &major, Minor: &minor}, Lost: lost}}
}

func TestABeaconIsEvidenceForItsPlace(t *testing.T) {
	const uuid = "f7826da6-4fa2-4e98-8024-bc5b71e0893e"
	p := newPhone(t, allConsents...)
	place := cafe(shop)
	major := 7
	place.Beacons = []engage.Beacon{{ID: "till", Type: engage.IBeacon, UUID: strings.ToUpper(uuid), Major: &major}}
	if err := place.Validate(); err != nil {
		t.Fatal(err)
	}
	p.Adopt(config(t, place))
	p.item(1*sec, beacon(uuid, 8, 1, false)) // another shop's
	p.wantTriggers("")
	p.item(2*sec, beacon(uuid, 7, 1, false))
	first := p.wantTriggers("enter cafe-in")[0]
	if first.Evidence != "beacon" {
		t.Errorf("saw %+v", first)
	}
	p.item(3*sec, fix(shop, 10))
	p.wantTriggers("enter cafe-near")
	p.item(4*sec, &sdkpb.Item{Beacon: &sdkpb.Beacon{Ibeacon: &sdkpb.IBeacon{Uuid: uuid}, Lost: true}}) // none of that UUID any more
	p.item(30*sec, fix(east(1000), 10))
	if last := p.wantTriggers("exit cafe-in, exit cafe-near, visit cafe-near"); last[0].Occasion != first.Occasion {
		t.Error("it was not one visit")
	}
	// A beacon alone: its loss ends the visit after a while, by the timer.
	p.item(time.Minute, beacon(uuid, 7, 1, false))
	p.wantTriggers("enter cafe-in")
	if err := p.FireUntil(t0.Add(3 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if out := p.wantTriggers("exit cafe-in, visit cafe-in")[0]; !out.OccurredAt.Equal(t0.Add(2 * time.Minute)) {
		t.Errorf("lost at %v", out.OccurredAt)
	}
	p = newPhone(t)
	p.Adopt(config(t, place))
	p.item(sec, beacon(uuid, 7, 1, false))
	p.wantTriggers("")
	if p.install().Refused != 1 {
		t.Error("without consent it was taken")
	}
}

// dwelling is the cafe with a dwell of five minutes.
func dwelling() *engage.Place {
	c := cafe(shop)
	c.Geofences[0].DwellS = 300
	return c
}

func TestDwellIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(p *phone)
		want    string
	}{
		"silence without a session is no dwell": {func(*phone) {}, ""},
		"a live session is": {func(p *phone) {
			p.apply(socket(p.T, "s1"))
		}, "dwell cafe-in"},
		"one that ended is not": {func(p *phone) {
			p.apply(socket(p.T, "s1"), socketEnd(p.T, "s1"))
		}, ""},
		"the end of an older one ends nothing": {func(p *phone) {
			p.apply(socket(p.T, "s1"), socket(p.T, "s2"), socketEnd(p.T, "s1"))
		}, "dwell cafe-in"},
		"nor is the background": {func(p *phone) {
			p.apply(socket(p.T, "s1"))
			p.item(0, lifecycle(sdkpb.Lifecycle_STATE_BACKGROUND))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPhone(t, allConsents...)
			p.T = t
			p.Adopt(config(t, dwelling()))
			c.prepare(p)
			p.item(sec, fix(shop, 10))
			p.wantTriggers("enter cafe-near, enter cafe-in")
			if err := p.FireUntil(t0.Add(10 * time.Minute)); err != nil {
				t.Fatal(err)
			}
			for _, tr := range p.wantTriggers(c.want) {
				if !tr.OccurredAt.Equal(t0.Add(sec+5*time.Minute)) || tr.InsideS != 300 || tr.Evidence != "silence" {
					t.Errorf("saw %+v", tr)
				}
			}
		})
	}
}

func socket(t *testing.T, id string) engage.Entry {
	t.Helper()
	e := session(t, 0)
	var body situate.Session
	if err := json.Unmarshal(e.Body, &body); err != nil {
		t.Fatal(err)
	}
	var h sdkpb.Hello
	if err := proto.Unmarshal(body.Hello, &h); err != nil {
		t.Fatal(err)
	}
	h.Lifecycle = sdkpb.Lifecycle_STATE_FOREGROUND
	var err error
	if body.Hello, err = proto.Marshal(&h); err != nil {
		t.Fatal(err)
	}
	body.Session = id
	e.Body = mustJSON(t, body)
	return e
}

func socketEnd(t *testing.T, id string) engage.Entry {
	t.Helper()
	return engage.Entry{Kind: engage.KindSessionEnd, Key: key, At: t0, Body: mustJSON(t, engage.SessionEnd{V: 1, Session: id})}
}

// A phone whose app may not watch regions is silent when it leaves: the next time it
// shows up inside, that is another visit.
func TestAForegroundOnlyPhoneThatWentDarkIsGreetedAgain(t *testing.T) {
	p := newPhone(t, allConsents...)
	p.item(sec, fix(shop, 10))
	first := p.wantTriggers("enter cafe-near, enter cafe-in")[0]
	if err := p.FireUntil(t0.Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, tr := range p.wantTriggers("exit cafe-in, exit cafe-near, visit cafe-near") {
		if !tr.OccurredAt.Equal(t0.Add(sec)) || !tr.Stale {
			t.Errorf("saw %+v", tr)
		}
	}
	p.item(5*time.Hour, fix(shop, 10))
	if again := p.wantTriggers("enter cafe-near, enter cafe-in")[0]; again.Occasion == first.Occasion {
		t.Error("the visit of hours ago goes on")
	}
	// One that may is believed to be there still.
	q := newPhone(t, allConsents...)
	q.apply(session(t, 0)) // "always"
	q.item(sec, fix(shop, 10))
	q.triggers()
	if err := q.FireUntil(t0.Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	q.item(5*time.Hour, fix(shop, 10))
	q.wantTriggers("")
}

func TestVisitsAndTracksAreRecorded(t *testing.T) {
	p := newPhone(t, allConsents...)
	p.Adopt(config(t, dwelling()))
	for i, m := range []float64{1000, 0, 0, 0, 0, 0, 0, 1000} {
		it := fix(east(m), 10)
		it.Location.Mocked = i == 3
		p.item(time.Duration(i)*time.Minute, it)
	}
	p.wantTriggers("enter cafe-near, enter cafe-in, dwell cafe-in, exit cafe-in, exit cafe-near, visit cafe-near")
	docs := p.Docs("visits")
	if len(docs) != 1 {
		t.Fatalf("%d visits", len(docs))
	}
	for id, body := range docs {
		var v engage.Visit
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		want := engage.Visit{
			V: 1, ID: v.ID, Place: "cafe", Install: install, Profile: engage.ProfileID(ws, install),
			Since: t0.Add(time.Minute), SinceUS: t0.Add(time.Minute).UnixMicro(), Until: t0.Add(7 * time.Minute), Last: t0.Add(6 * time.Minute),
			InsideAt: t0.Add(time.Minute), DwelledAt: t0.Add(6 * time.Minute), ConfirmedS: 300, Fences: []string{"cafe-in", "cafe-near"},
			Evidence: "fix", Ended: engage.EndedByExit, Revision: v.Revision,
		}
		if a, b := mustJSON(t, v), mustJSON(t, want); !bytes.Equal(a, b) || !strings.HasSuffix(id, v.ID) {
			t.Errorf("%s\n%s, want\n%s", id, a, b)
		}
	}
	if n := len(p.Docs("tracks")); n != 0 {
		t.Errorf("%d tracks before the hour is over", n)
	}
	for h := 1; h <= 3; h++ {
		p.item(time.Duration(h)*time.Hour, fix(east(1000), 10))
	}
	for _, body := range p.Docs("tracks") {
		var c engage.TrackChunk
		if err := json.Unmarshal(body, &c); err != nil {
			t.Fatal(err)
		}
		if c.Hour.Equal(geo.HourOf(t0)) && (c.N != 8 || c.Track.Fixes()[3].Flags != geo.TrackMocked) {
			t.Errorf("recorded %+v", c)
		}
	}
	if n := len(p.Docs("tracks")); n != 2 {
		t.Errorf("%d tracks after three hours, want the two that are over", n)
	}
	if err := p.FireUntil(t0.Add(5 * time.Hour)); err != nil { // silence
		t.Fatal(err)
	}
	if n := len(p.Docs("tracks")); n != 4 || !p.install().Tracks.IsZero() {
		t.Errorf("%d tracks after a silence, want all four", n)
	}
	p.item(6*time.Hour, fix(shop, 10))
	for _, purpose := range allConsents[:2] {
		p.item(6*time.Hour+sec, consent(purpose, false))
	}
	ended := 0
	for _, body := range p.Docs("visits") {
		if bytes.Contains(body, []byte(`"ended":"consent"`)) {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("%d visits ended by the withdrawal", ended)
	}
}

func TestWithoutThePreciseConsentNoPositionIsLeft(t *testing.T) {
	p := newPhone(t, allConsents...)
	p.Adopt(config(t, dwelling()))
	p.item(sec, fix(shop, 10))
	p.item(60*sec, fix(east(20), 10))
	p.wantTriggers("enter cafe-near, enter cafe-in")
	p.item(61*sec, consent(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, false))
	state := string(p.Bytes(key))
	for _, trace := range []string{`"pos"`, `"window"`, `"tracks"`, "cafe"} {
		if strings.Contains(state, trace) {
			t.Errorf("the state still has %s: %s", trace, state)
		}
	}
	p.apply(socket(t, "s1"))
	if err := p.FireUntil(t0.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	p.wantTriggers("")
	ended := 0
	for _, body := range p.Docs("visits") {
		if bytes.Contains(body, []byte(`"ended":"consent"`)) {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("%d visits ended by the withdrawal", ended)
	}
	// What the OS says goes on.
	p.item(2*time.Hour, region("cafe-in", enter))
	p.wantTriggers("enter cafe-in")
}

func TestABacklogIsHistory(t *testing.T) {
	p := newPhone(t, allConsents...)
	// Hours later, in one batch.
	for i, m := range []float64{1000, 0, 0, 1000} {
		p.seq++
		e := entry(p.seq, time.Duration(i)*10*time.Minute, fix(east(m), 10))
		e.At = t0.Add(8 * time.Hour)
		p.apply(e)
	}
	for _, tr := range p.wantTriggers("enter cafe-near, enter cafe-in, exit cafe-in, exit cafe-near, visit cafe-near") {
		if !tr.Stale {
			t.Errorf("%s %s is not stale", tr.Transition, tr.Fence)
		}
	}
}

func TestVisitsOfVersion1GoOn(t *testing.T) {
	body := `{"v":1,"install":"install-ada","profile":"` + engage.ProfileID(ws, install) + `","accepted":[[1,9]],"device":{"install":"install-ada","location":"always"},
		"consents":{"location_foreground":{"granted":true},"location_precise":{"granted":true}},
		"fix":{"at":"2026-11-02T10:00:30Z","pos":{"lat":52.0,"lng":4.36},"accuracy_m":10},
		"visits":{"cafe":{"id":"the-visit","since":"2026-11-02T10:00:10Z","last":"2026-11-02T10:00:20Z","fences":["cafe-in","cafe-near"]}},"left":{"bar":"2026-11-02T09:00:00Z"}}`
	st, err := situate.Machine{}.Decode(key, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	p := newPhone(t)
	p.Put(key, st)
	p.seq = 9
	p.item(time.Minute, fix(shop, 10))
	p.wantTriggers("")
	p.item(2*time.Minute, fix(east(1000), 10))
	for _, tr := range p.wantTriggers("exit cafe-in, exit cafe-near, visit cafe-near") {
		if tr.Occasion != "the-visit" {
			t.Errorf("%s of visit %q", tr.Transition, tr.Occasion)
		}
	}
}

// A revision changes the index by what differs, and gives what a new one would.
func TestAChangedConfigurationIsThatOfItsPlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var places []*engage.Place
	var before *situate.Config
	for round := range 40 {
		switch {
		case len(places) > 0 && r.IntN(3) == 0:
			places = slices.Delete(slices.Clone(places), 0, 1)
		case len(places) > 0 && r.IntN(2) == 0:
			moved := *places[r.IntN(len(places))]
			moved.Geofences = []engage.Geofence{{ID: moved.ID + "-x", Ring: engage.Inside, Shape: geo.Circle{Around: east(1000 * r.Float64()), RadiusM: 100}}}
			places = slices.Clone(places)
			i := slices.IndexFunc(places, func(p *engage.Place) bool { return p.ID == moved.ID })
			places[i] = &moved
		default:
			p := &engage.Place{ID: fmt.Sprintf("p%d", round), Workspace: ws, Name: "p", Location: shop}
			p.Geofences = []engage.Geofence{{ID: p.ID + "-in", Ring: engage.Inside, Shape: geo.Circle{Around: east(1000 * r.Float64()), RadiusM: 100}}}
			places = append(slices.Clone(places), p)
		}
		in := []situate.Workspace{{ID: ws, Places: places}}
		changed, err := situate.NewConfig(before, in)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := situate.NewConfig(nil, in)
		if err != nil {
			t.Fatal(err)
		}
		a, b := changed.Nearest(ws, shop, 100, nil), fresh.Nearest(ws, shop, 100, nil)
		if !slices.Equal(a, b) || len(a) != len(places) {
			t.Fatalf("round %d: %d geofences, want %d of %d places", round, len(a), len(b), len(places))
		}
		before = changed
	}
}

func TestPlacesThatChangeDuringAVisit(t *testing.T) {
	inside := func(t *testing.T) *phone {
		t.Helper()
		p := newPhone(t, allConsents...)
		p.item(sec, fix(shop, 10))
		p.wantTriggers("enter cafe-near, enter cafe-in")
		return p
	}
	t.Run("moved away: left by the next fix", func(t *testing.T) {
		p := inside(t)
		p.Adopt(config(t, cafe(east(5000))))
		p.item(2*sec, fix(shop, 10))
		p.wantTriggers("exit cafe-in, exit cafe-near, visit cafe-near")
	})
	t.Run("removed: the visit ends and nothing is told", func(t *testing.T) {
		p := inside(t)
		other := cafe(east(9000))
		other.ID, other.Geofences = "other", []engage.Geofence{{ID: "other", Ring: engage.Inside, Shape: geo.Circle{Around: east(9000), RadiusM: 50}}}
		p.Adopt(config(t, other))
		p.item(2*sec, fix(shop, 10))
		p.wantTriggers("")
		if n := len(p.install().Places()); n != 0 {
			t.Errorf("%d visits open", n)
		}
	})
	t.Run("all places removed: the visit ends too", func(t *testing.T) {
		p := inside(t)
		p.Adopt(config(t))
		p.item(2*sec, fix(shop, 10))
		p.item(3*sec, region("cafe-in", exit))
		p.wantTriggers("")
		if n := len(p.install().Places()); n != 0 {
			t.Errorf("%d visits open", n)
		}
	})
	t.Run("one geofence removed: the visit goes on in the other", func(t *testing.T) {
		p := inside(t)
		c := cafe(shop)
		c.Geofences = c.Geofences[1:]
		p.Adopt(config(t, c))
		p.item(2*sec, fix(shop, 10))
		p.wantTriggers("")
		p.item(30*sec, fix(east(1000), 10))
		p.wantTriggers("exit cafe-near, visit cafe-near")
	})
	t.Run("a geofence id that another place took over ends the old visit", func(t *testing.T) {
		p := inside(t)
		c := cafe(shop)
		c.ID = "bar"
		p.Adopt(config(t, c))
		p.item(2*sec, fix(shop, 10))
		p.wantTriggers("enter cafe-near, enter cafe-in")
		if v := p.install().Places(); !slices.Equal(v, []string{"bar"}) {
			t.Errorf("visits %v", v)
		}
	})
	t.Run("another workspace's places are not there", func(t *testing.T) {
		p := newPhone(t, allConsents...)
		c := cafe(shop)
		c.Workspace = "rival"
		p.Adopt(config(t, c))
		p.item(sec, fix(shop, 10))
		p.item(2*sec, region("cafe-in", enter))
		p.wantTriggers("")
	})
}

func TestALiarIsRefusedWhereTheWorkspaceSaysSo(t *testing.T) {
	for policy, want := range map[geo.Policy]string{geo.FlagDoubtful: "enter cafe-near, enter cafe-in", geo.RefuseDoubtful: ""} {
		p := newPhone(t, allConsents...)
		c, err := situate.NewConfig(nil, []situate.Workspace{{
			ID: ws, Places: []*engage.Place{cafe(shop)}, Doubts: (&engage.LocationPolicy{Mocked: policy}).Doubts(),
		}})
		if err != nil {
			t.Fatal(err)
		}
		p.Adopt(c)
		it := fix(shop, 10)
		it.Location.Mocked = true
		p.item(sec, it)
		for _, tr := range p.wantTriggers(want) {
			if !slices.Equal(tr.Flags, []string{"mocked"}) {
				t.Errorf("flags %v", tr.Flags)
			}
		}
		if in := p.install(); (in.Fix == nil) != (want == "") || in.Tracks.IsZero() {
			t.Errorf("%s: kept fix %v, tracks %v", policy, in.Fix, in.Tracks)
		}
	}
}
