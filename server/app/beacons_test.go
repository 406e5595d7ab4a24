package app_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// From the phone that hears a beacon to the push; a beacon that nobody knows is refused
// when the campaign is saved.
func TestABeaconThatAPhoneComesNearFiresItsCampaign(t *testing.T) {
	const uuid = "f7826da6-4fa2-4e98-8024-bc5b71e0893e"
	s := newStory(t)
	circle := map[string]any{"id": "cafe-inside", "ring": "inside", "radius": 60, "geometry": map[string]any{"type": "Point", "coordinates": []float64{cafe.Lng, cafe.Lat}}}
	s.must("PUT", "/api/v1/places/cafe", map[string]any{
		"name": "Café", "time_zone": "Europe/Amsterdam", "location": cafe, "geofences": []any{circle},
		"beacons": []any{map[string]any{"id": "till", "type": "ibeacon", "uuid": uuid, "major": 7, "minor": 2}},
	}, nil)
	near := func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "beacon", "transition": "near", "beacons": []string{"till"}}
		delete(c, "audience")
		delete(c, "context")
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{
			"title": "{{ trigger.transition }} {{ trigger.beacon }} of {{ place.name }}", "body": "Pay by phone", "channels": []string{"push"},
		}}}
	}
	s.campaign("pay", near)
	if code := s.call("PUT", "/api/v1/campaigns/lost", map[string]any{
		"name": "x", "class": "marketing", "status": "draft", "trigger": map[string]any{"type": "beacon", "transition": "near", "beacons": []string{"gone"}},
		"arms": []any{map[string]any{"id": "a", "message": map[string]any{"title": "x"}}},
	}, nil); code != http.StatusBadRequest && code != http.StatusUnprocessableEntity {
		t.Errorf("a beacon that there is not: %d", code)
	}
	ada := s.phone("ada", "android", nil).agree()
	till := func(p sdkpb.Beacon_Proximity) {
		major, minor := uint32(7), uint32(2)
		ada.Beacon(&sdkpb.Beacon{Ibeacon: &sdkpb.IBeacon{Uuid: uuid, Major: &major, Minor: &minor}, Proximity: p}, s.clock.Now())
		ada.post()
	}
	ada.background()
	till(sdkpb.Beacon_PROXIMITY_FAR)
	s.settle()
	if got := s.pushesTo(ada); len(got) > 0 {
		t.Errorf("far away: %v", got)
	}
	s.clock.Advance(20 * time.Second)
	till(sdkpb.Beacon_PROXIMITY_NEAR)
	s.eventually("the push", func() bool { return slices.Equal(s.pushesTo(ada), []string{"near till of Café by fcm"}) })
	// Near, far and near again is one occasion.
	s.clock.Advance(20 * time.Second)
	till(sdkpb.Beacon_PROXIMITY_FAR)
	s.clock.Advance(20 * time.Second)
	till(sdkpb.Beacon_PROXIMITY_NEAR)
	s.settle()
	if got := s.pushesTo(ada); len(got) != 1 {
		t.Errorf("told again: %v", got)
	}
}
