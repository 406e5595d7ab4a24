package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
)

// Channels implements api.Push.
func (w *world) Channels(_ context.Context, workspace string) ([]api.Channel, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.channels[workspace], w.broken
}

func TestChannelsSayWhatSomebodyMustDo(t *testing.T) {
	s := newSite(t)
	since := start.Add(-time.Hour)
	for _, c := range []struct {
		name  string
		given api.Channel
		alert string // in it; empty: none
	}{
		{"sends", api.Channel{State: api.ChannelOK}, ""},
		{"slow", api.Channel{State: api.ChannelSlow, RatePerS: 10, LastError: "QUOTA_EXCEEDED"}, ""},
		{"paused", api.Channel{State: api.ChannelPaused, Reason: "InvalidProviderToken", Status: 403, Since: since}, "since 2026-03-02 08:30:00 UTC: the provider says InvalidProviderToken (status 403). Mend the credential TEAM/KEY of the app shop"},
		{"probes", api.Channel{State: api.ChannelProbes, Reason: "SENDER", Since: since}, "Nothing has passed since"},
		{"down", api.Channel{State: api.ChannelDown, Since: since}, "has not answered since"},
		{"unusable", api.Channel{State: api.ChannelUnusable, Reason: "it cannot be read"}, "give the app shop another"},
		{"a platform", api.Channel{State: api.ChannelOK, Platforms: []api.ChannelPlatform{{Platform: "ios", Reason: "THIRD_PARTY_AUTH_ERROR", Since: since}}}, "Nothing has passed to ios"},
		{"late", api.Channel{State: api.ChannelOK, Live: api.ChannelQueue{Waiting: 9, Oldest: start.Add(-6 * time.Minute)}}, "waiting since 2026-03-02 09:24:00 UTC"},
		{"not late yet", api.Channel{State: api.ChannelOK, Live: api.ChannelQueue{Waiting: 9, Oldest: start.Add(-4 * time.Minute)}}, ""},
		{"bulk may be late", api.Channel{State: api.ChannelOK, Bulk: api.ChannelQueue{Waiting: 9, Oldest: since}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.given.App, c.given.Provider, c.given.Account = "shop", "apns", "TEAM/KEY"
			s.world.mu.Lock()
			s.world.channels = map[string][]api.Channel{alpha: {c.given}}
			s.world.mu.Unlock()
			var got struct {
				Items  []api.Channel
				Alerts int
			}
			s.do(request{method: "GET", path: "/api/v1/channels", role: catalog.Viewer}).want(200, &got)
			if len(got.Items) != 1 || !strings.Contains(got.Items[0].Alert, c.alert) || (c.alert == "") != (got.Items[0].Alert == "") || (got.Alerts == 1) != (c.alert != "") {
				t.Errorf("got %+v, want an alert with %q", got, c.alert)
			}
		})
	}
	var none struct{ Items []api.Channel }
	s.do(request{method: "GET", path: "/api/v1/channels", key: s.keys[beta][catalog.Admin]}).want(200, &none)
	if none.Items == nil || len(none.Items) != 0 {
		t.Errorf("another workspace sees %v", none.Items)
	}
}
