package decide_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// What a message has per channel reaches deliver, its texts rendered and the rest as
// it was made; the campaign in force stays as it is.
func TestASendCarriesWhatEachChannelHas(t *testing.T) {
	ttl := int64(60)
	made := engage.Content{
		Title: "T", Body: "B", Channels: []engage.Channel{engage.InApp, engage.Push, engage.Inbox},
		Actions: []engage.Action{{ID: "go", Label: "To {{ place.name }}", DeepLink: "shop://{{ place.id }}"}},
		Push: &engage.PushContent{
			Subtitle: "At {{ place.name }}", TTLS: &ttl, CollapseKey: "k", Devices: engage.AllDevices,
			Android: &engage.AndroidPush{ChannelID: "offers"},
			IOS: &engage.IOSPush{ThreadID: "t", Live: &engage.LiveActivity{
				Event: engage.LiveUpdate, State: json.RawMessage(`{"at":"{{ place.name }}"}`),
			}},
		},
		InApp: &engage.InAppContent{Style: engage.Modal},
		Inbox: &engage.InboxContent{Pinned: true, ExpiresS: 5},
	}
	w := newWorld(t, offer("a", func(c *engage.Campaign) { c.Arms = []engage.Arm{{ID: "a", Message: made}} }))
	w.meet("phone")
	for _, visit := range []string{"v1", "v2"} { // the second is rendered from the same campaign
		w.apply(enters("phone", "cafe", visit, time.Second))
		sends := w.sends()
		if len(sends) != 1 {
			t.Fatalf("%d sends", len(sends))
		}
		s := sends[0]
		if !slices.Equal(s.Actions, []engage.Action{{ID: "go", Label: "To Café", DeepLink: "shop://cafe"}}) {
			t.Errorf("actions %+v", s.Actions)
		}
		p := s.Push
		if p == nil || p.Subtitle != "At Café" || p.TTLS == nil || *p.TTLS != 60 || p.CollapseKey != "k" || p.Devices != engage.AllDevices ||
			p.Android.ChannelID != "offers" || p.IOS.ThreadID != "t" || string(p.IOS.Live.State) != `{"at":"Café"}` {
			t.Errorf("push %s", mustJSON(t, p))
		}
		if s.InApp == nil || s.InApp.Style != engage.Modal || s.Inbox == nil || *s.Inbox != *made.Inbox {
			t.Errorf("in-app %s, inbox %s", mustJSON(t, s.InApp), mustJSON(t, s.Inbox))
		}
	}
	if made.Actions[0].Label != "To {{ place.name }}" || made.Push.Subtitle != "At {{ place.name }}" || string(made.Push.IOS.Live.State) != `{"at":"{{ place.name }}"}` {
		t.Error("rendering changed the campaign")
	}
}
