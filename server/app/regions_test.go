package app_test

import (
	"slices"
	"testing"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// The phone's system wakes the app at a region's border: that alone fires a campaign, also
// one that was launched when the server ran already.
func TestWhatAPhonesSystemSaysFiresARegionCampaign(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("arriving", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "region", "transition": "near", "places": []string{"cafe"}}
		delete(c, "audience")
		delete(c, "context")
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{
			"title": "{{ trigger.transition }} {{ trigger.ring }} of {{ place.name }}", "body": "Come in", "channels": []string{"push"},
		}}}
	})
	ada := s.phone("ada", "android", nil).agree()
	ada.background().crosses("cafe-near", sdkpb.RegionEvent_TRANSITION_ENTER).post()
	s.eventually("the push", func() bool { return slices.Equal(s.pushesTo(ada), []string{"enter near of Café cafe by fcm"}) })
}
