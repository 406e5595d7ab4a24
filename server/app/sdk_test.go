package app_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/api"
)

// What a sleeping phone watches follows the catalogue: the places, the campaigns
// that name them, and where the phone is when its bubble is left.
func TestASleepingPhoneWatchesWhatTheCatalogueWants(t *testing.T) {
	s := newStory(t)
	north := func(m float64) geo.Point { return geo.Point{Lat: cafe.Lat + m/111_267, Lng: cafe.Lng} }
	for i := range 20 { // one every 600 m, each with two geofences
		s.place(fmt.Sprintf("p%02d", i), north(600*float64(i)))
	}
	var set *sdkpb.Regions
	ada := s.phone("ada", "ios", func(o *client.Options) {
		o.Caps = []string{sdkproto.CapBubble}
		o.OnRegions = func(r *sdkpb.Regions) []*sdkpb.RegionFailure { set = r; return nil }
	}).agree().background()
	watches := func(id string) *sdkpb.Region {
		if i := slices.IndexFunc(set.GetRegions(), func(r *sdkpb.Region) bool { return r.Id == id }); i >= 0 {
			return set.Regions[i]
		}
		return nil
	}
	ada.at(north(0), 10).post()
	inside, near := watches("p00-inside"), watches("p00-near")
	if len(set.GetRegions()) != 19 || inside.GetRadiusM() != 100 || inside.Exact || near.GetRadiusM() != 300 || !near.Exact {
		t.Fatalf("watches %v", set)
	}
	// The tenth place has one slot for its two geofences. A campaign names a farther.
	bubble := set.Bubble.GetRadiusM()
	if bubble < 3000 || watches("p11-near") != nil || watches("p09-near") == nil {
		t.Fatalf("watches %v", set)
	}
	s.campaign("far-away", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "place", "transition": "enter", "places": []string{"p11"}}
	})
	s.clock.Advance(time.Minute)
	ada.at(north(10), 10).post()
	if watches("p11-near") == nil || watches("p11-inside") == nil {
		t.Errorf("does not watch what a campaign waits for: %v", set)
	}
	s.settle()
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got struct{ Items []api.Watched }
	s.must("GET", "/api/v1/people/install:"+ada.install+"/regions", nil, &got)
	if len(got.Items) != 1 || got.Items[0].Regions[0].ID == "" || got.Items[0].Bubble == nil || len(got.Items[0].LeftOut) == 0 || got.Items[0].Stale {
		t.Errorf("watching %+v", got)
	}
	// The OS wakes the app beyond the bubble, and the answer brings the next.
	s.clock.Advance(time.Hour)
	ada.RegionEvent(sdkproto.BubbleID, sdkpb.RegionEvent_TRANSITION_EXIT,
		&sdkpb.Location{Lat: north(9000).Lat, Lng: cafe.Lng, AccuracyM: 20}, s.clock.Now())
	before := set.Etag
	ada.post()
	if set.Etag == before || watches("p15-inside") == nil || set.Bubble.GetLat() != north(9000).Lat {
		t.Errorf("watches %v after its bubble was left", set)
	}
	// It was at the fifteenth place when it said so; the bubble itself is no place.
	s.settle()
	if d := s.decisions(ada, "far-away"); len(d) != 0 {
		t.Errorf("decided %+v", d)
	}
	var page struct{ Items []struct{ Reason string } }
	s.must("GET", "/api/v1/quarantine", nil, &page)
	if len(page.Items) > 0 {
		t.Errorf("quarantined %v", page.Items)
	}
}
