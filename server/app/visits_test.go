package app_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// seen is what the API shows of visits.
type seen struct {
	Items []struct {
		ID, Place, Ended, Evidence string
		Open                       bool
		Since, Until, Last         time.Time
		InsideAt                   time.Time `json:"inside_at"`
		DurationS                  float64   `json:"duration_s"`
		Fences                     []string
	}
}

// metresNorth is so many metres north of the café.
func metresNorth(m float64) geo.Point { return geo.Point{Lat: cafe.Lat + m/111195, Lng: cafe.Lng} }

// A phone walks into a shop and out: one visit, with its times.
func TestAWalkThroughAShopIsOneVisit(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	ada := s.phone("ada", "android", nil).agree().background()
	var at []time.Time
	walk := func(metres ...float64) {
		for _, m := range metres {
			s.clock.Advance(20 * time.Second)
			ada.at(metresNorth(m), 8)
			at = append(at, s.clock.Now())
		}
		ada.post()
	}
	look := func(path string, into any) {
		t.Helper()
		s.settle()
		if err := s.app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.must("GET", "/api/v1/"+path, nil, into)
	}
	walk(600, 450, 250) // the last is in the approach ring
	var present struct{ Inside, Arriving int }
	look("places/cafe/presence", &present)
	if present.Arriving != 1 || present.Inside != 0 {
		t.Errorf("on the way: %+v", present)
	}
	walk(120, 5, 0, 3, 0, 4, 0, 2)
	look("places/cafe/presence", &present)
	if present.Arriving != 0 || present.Inside != 1 {
		t.Errorf("in the shop: %+v", present)
	}
	var open seen
	look("places/cafe/visits?open=true", &open)
	if len(open.Items) != 1 || !open.Items[0].Open {
		t.Fatalf("in the shop: %+v", open)
	}

	walk(150, 260, 450, 600)
	var got seen
	look("places/cafe/visits", &got)
	if len(got.Items) != 1 {
		t.Fatalf("%d visits: %+v", len(got.Items), got)
	}
	v := got.Items[0]
	if v.ID != open.Items[0].ID || v.Open || v.Ended != "exit" || v.Evidence != "fix" || len(v.Fences) != 2 {
		t.Errorf("%+v", v)
	}
	// at[2] is 250 m off, at[4] in the shop, at[12] 260 m off, at[13] beyond the ring.
	if !v.Since.Equal(at[2]) || !v.InsideAt.Equal(at[4]) || !v.Last.Equal(at[12]) || !v.Until.Equal(at[13]) {
		t.Errorf("since %v, inside %v, last %v, until %v; the fixes were at %v", v.Since, v.InsideAt, v.Last, v.Until, at)
	}
	if want := at[13].Sub(at[2]).Seconds(); v.DurationS != want {
		t.Errorf("%v s, want %v", v.DurationS, want)
	}
	var hers seen
	look("people/install:"+ada.install+"/visits?open=false", &hers)
	if len(hers.Items) != 1 || hers.Items[0].ID != v.ID {
		t.Errorf("hers: %+v", hers)
	}

	// Her track is all that she sent, though none of it is recorded yet.
	type position struct {
		At        time.Time
		Lat       float64
		AccuracyM float64 `json:"accuracy_m"`
		Coarse    bool
	}
	type positions struct{ Items []position }
	var track positions
	look("people/install:"+ada.install+"/track", &track)
	if len(track.Items) != len(at) {
		t.Fatalf("%d positions, want %d", len(track.Items), len(at))
	}
	for i, p := range track.Items {
		if want := at[len(at)-1-i]; !p.At.Equal(want) || p.AccuracyM != 8 || p.Coarse {
			t.Errorf("position %d: %+v, want one of %v", i, p, want)
		}
	}
	if d := track.Items[len(at)-5].Lat - metresNorth(5).Lat; d > 1e-7 || d < -1e-7 {
		t.Errorf("a latitude is off by %v", d)
	}

	// She withdraws the consent to precise location: what she sent before is shown
	// coarsely, and of what she sends after it nothing is kept.
	ada.SetConsent(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, false, "v1", "settings")
	ada.post()
	withdrawn := s.clock.Now()
	walk(600, 5, 0, 0)
	track = positions{}
	look("people/install:"+ada.install+"/track", &track)
	if len(track.Items) != 15 {
		t.Errorf("%d positions after the withdrawal, want the 15 from before it", len(track.Items))
	}
	for _, p := range track.Items {
		if p.At.After(withdrawn) || !p.Coarse || p.AccuracyM != 0 {
			t.Errorf("after the withdrawal: %+v", p)
		}
	}
	// Another server on the same folder knows the same.
	s.stop()
	s.serve()
	again := positions{}
	look("people/install:"+ada.install+"/track", &again)
	if !slices.Equal(again.Items, track.Items) {
		t.Errorf("after a restart: %+v", again)
	}
	got = seen{}
	look("places/cafe/visits", &got)
	if len(got.Items) != 1 || got.Items[0].ID != v.ID || got.Items[0].DurationS != v.DurationS {
		t.Errorf("after a restart: %+v", got)
	}
	got = seen{}
	look("places/cafe/visits?from="+url.QueryEscape(withdrawn.Format(time.RFC3339)), &got)
	if len(got.Items) != 0 {
		t.Errorf("a visit without consent: %+v", got)
	}
}

// Hours offline, then one batch, with a live fix before it: the visits have their
// true times, and the track has every fix once.
func TestABacklogBecomesVisitsOfItsTime(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	ada := s.phone("ada", "android", nil).agree().background()
	var at []time.Time
	for i := range 3 { // thrice in and out within four hours, nothing sent
		for _, m := range []float64{800, 0, 0, 0, 800} {
			s.clock.Advance(15 * time.Minute)
			ada.at(metresNorth(m+float64(i)), 8)
			at = append(at, s.clock.Now())
		}
	}
	ada.post()
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Items []struct {
			Since time.Time
			Stale bool
			Ended string
		}
	}
	s.must("GET", "/api/v1/people/install:"+ada.install+"/visits", nil, &got)
	if len(got.Items) != 3 {
		t.Fatalf("%d visits, want 3: %+v", len(got.Items), got)
	}
	for i, v := range got.Items {
		if want := at[5*(2-i)+1]; !v.Since.Equal(want) || v.Ended == "" {
			t.Errorf("visit %d: %+v, want one from %v on", i, v, want)
		}
	}
	if !got.Items[2].Stale || !got.Items[1].Stale {
		t.Errorf("visits of hours ago are not stale: %+v", got)
	}
	var track struct{ Items []struct{ At time.Time } }
	s.must("GET", "/api/v1/people/install:"+ada.install+"/track", nil, &track)
	if len(track.Items) != len(at) {
		t.Errorf("%d positions, want %d", len(track.Items), len(at))
	}
}

// Without the consent to precise location the phone's own regions make visits, and
// there is no track; fixes make neither.
func TestRegionsMakeVisitsWithoutATrack(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.settle() // every partition knows the place
	ben := s.phone("ben", "ios", nil).agree(sdkpb.Consent_PURPOSE_LOCATION_PRECISE).background()
	ben.at(metresNorth(600), 8).at(cafe, 8).post()
	began := s.clock.Now()
	ben.crosses("cafe-near", sdkpb.RegionEvent_TRANSITION_ENTER).post()
	s.clock.Advance(5 * time.Minute)
	ben.crosses("cafe-near", sdkpb.RegionEvent_TRANSITION_EXIT).post()
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got seen
	s.must("GET", "/api/v1/people/install:"+ben.install+"/visits", nil, &got)
	if len(got.Items) != 1 {
		t.Fatalf("%d visits: %+v", len(got.Items), got)
	}
	if v := got.Items[0]; v.Evidence != "os_region" || v.Open || !v.InsideAt.IsZero() || !v.Since.Equal(began) || v.DurationS != 300 {
		t.Errorf("%+v, want 300 s in the approach ring from %v on", v, began)
	}
	var track struct{ Items []struct{ At time.Time } }
	s.must("GET", "/api/v1/people/install:"+ben.install+"/track", nil, &track)
	if len(track.Items) != 0 {
		t.Errorf("%d positions without the consent to them", len(track.Items))
	}
}
