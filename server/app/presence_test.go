package app_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// Silence: a phone that is open in the café and does not move dwells; one whose app
// was closed does not, and when nothing is heard of it, its visit ends.
func TestDwellOnSilenceTakesALiveSession(t *testing.T) {
	s := newStory(t)
	s.must("PUT", "/api/v1/places/cafe", map[string]any{
		"name": "Café", "time_zone": "Europe/Amsterdam", "hours": "Mo-Su 00:00-24:00",
		"geofences": []any{map[string]any{
			"id": "cafe-inside", "ring": "inside", "radius": 100, "dwell_s": 300,
			"geometry": map[string]any{"type": "Point", "coordinates": []float64{cafe.Lng, cafe.Lat}},
		}},
	}, nil)
	s.campaign("coffee", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "place", "transition": "dwell"}
		c["context"] = map[string]any{"all": []any{
			map[string]any{"field": "place.open", "op": "eq", "value": true},
			map[string]any{"field": "trigger.inside_s", "op": "ge", "value": 300},
		}}
		delete(c, "audience")
	})
	s.campaign("goodbye", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "place", "transition": "visit"}
		delete(c, "audience")
		delete(c, "context")
	})
	s.settle() // every partition knows them
	ada := s.phone("ada", "android", nil).agree().foreground()
	ada.at(cafe, 10)
	bob := s.phone("bob", "ios", nil).agree().background()
	bob.at(cafe, 10).post()
	s.eventually("both are in", func() bool {
		var page struct {
			Items []engage.Visit `json:"items"`
		}
		s.must("GET", "/api/v1/places/cafe/visits?open=true", nil, &page)
		return len(page.Items) == 2
	})
	s.clock.Advance(5*time.Minute + time.Second)
	if d := s.want(ada, "coffee", engage.Sent, ""); d.Trigger.Evidence != "silence" || d.Trigger.InsideS != 300 || d.Trigger.Opening != "open" {
		t.Errorf("decided on %+v", d.Trigger)
	}
	s.settle()
	if d := s.decisions(bob, "coffee"); len(d) != 0 {
		t.Errorf("a phone of which nothing is heard dwelled: %+v", d)
	}
	// Bob's OS tells of his leaving: the visit is over, and the two are one to him.
	bob.crosses("cafe-inside", sdkpb.RegionEvent_TRANSITION_EXIT).post()
	if d := s.want(bob, "goodbye", engage.Sent, ""); d.Trigger.InsideS < 300 {
		t.Errorf("decided on %+v", d.Trigger)
	}
}
