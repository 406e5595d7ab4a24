package app_test

import (
	"fmt"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

// Who comes when five are there is told so; the sixth does not learn that it is six.
func TestACampaignAsksHowFullAPlaceIs(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("busy", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "place", "transition": "enter"}
		c["context"] = map[string]any{"field": "place.occupancy", "op": "ge", "value": 5}
		delete(c, "audience")
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{"title": "{{ place.occupancy }} are here", "body": "x", "channels": []string{"push"}}}}
	})
	ada := s.phone("ada", "android", nil).agree().background()
	for i := range 5 {
		s.phone(fmt.Sprint("guest-", i), "android", nil).agree().background().at(cafe, 10).post()
	}
	s.minutes(2)
	ada.at(cafe, 10).post()
	s.eventually("the push", func() bool { return len(s.pushesTo(ada)) > 0 })
	if got := s.pushesTo(ada); got[0] != "5 are here by fcm" {
		t.Errorf("Ada got %v", got)
	}
	if d := s.want(ada, "busy", engage.Sent, ""); d.Trigger.Occupancy == nil || *d.Trigger.Occupancy != 5 {
		t.Errorf("the trigger carries %v", d.Trigger.Occupancy)
	}
}
