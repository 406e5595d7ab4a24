package app_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/server/engage"
)

// A message that waits for its moment, from the campaign to the screen: the phone has
// it at once, as a card too, and shows it when the app says so; no push ever goes.
func TestAMessageWaitsOnThePhoneForItsMoment(t *testing.T) {
	s := newStory(t)
	s.campaign("help", func(c map[string]any) {
		delete(c, "audience")
		delete(c, "context")
		c["trigger"] = map[string]any{"type": "event", "event": "cart_filled"}
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{
			"title": "Free delivery, {{ trigger.event }}", "channels": []string{"in_app", "inbox"},
			"actions": []any{map[string]any{"id": "use", "label": "Use it", "deep_link": "shop://cart"}},
			"in_app":  map[string]any{"style": "modal", "trigger": map[string]any{"event": "checkout_opened"}},
			"inbox":   map[string]any{"pinned": true},
		}}}
	})
	ada := s.phone("ada", "android", func(o *client.Options) { o.Caps = client.Features() }).agree().foreground()
	if _, err := ada.Track("cart_filled", nil); err != nil {
		t.Fatal(err)
	}
	s.eventually("the phone has the card", func() bool { return len(ada.Inbox()) == 1 })
	// With an append under way the log would not have answered for those three seconds, and
	// the phone would be told to wait, by a clock that stands.
	s.eventually("all is acknowledged", func() bool { return ada.Pending() == 0 })
	s.settle()
	s.clock.Advance(3 * time.Second) // an offer would be a push by now
	s.settle()
	// The host hears of the card when it comes; that was not the showing.
	if m := ada.Inbox()[0]; m.Read || !m.Pinned || m.Title != "Free delivery, cart_filled" || len(m.GetDisplay().GetActions()) != 1 || len(ada.shows()) != 1 {
		t.Errorf("the card is %v, %d shown", m, len(ada.shows()))
	}
	if _, err := ada.Track("checkout_opened", nil); err != nil {
		t.Fatal(err)
	}
	s.eventually("it is shown", func() bool { return len(ada.shows()) == 2 })
	if d := s.want(ada, "help", engage.Sent, ""); d.Channel != "in_app" {
		t.Errorf("it went by %q", d.Channel)
	}
	s.eventually("its card is read", func() bool { return ada.Inbox()[0].Read })
	if _, err := ada.Track("checkout_opened", nil); err != nil {
		t.Fatal(err)
	}
	s.eventually("all is acknowledged", func() bool { return ada.Pending() == 0 })
	if got := ada.shows(); len(got) != 2 || len(s.pushesTo(ada)) != 0 {
		t.Errorf("shown %q, pushed %v", got, s.pushesTo(ada))
	}
}
