package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
)

// lateAfter is how long a moment's message may wait for a credential that is not
// paused before somebody should look.
const lateAfter = 5 * time.Minute

func (s *server) registerChannels() {
	register(s, operation{
		method: http.MethodGet, path: "/channels", id: "list-channels", tag: tagOperations, role: catalog.Viewer,
		summary: "List the push credentials and how they do",
		description: "One entry per app and provider that has a credential: whether it sends, what the provider said when it does not, what waits for it and how fast it goes. " +
			"While one is paused nothing is lost: its messages wait until they expire, and the others go on.",
	}, s.listChannels)
}

type channelsView struct {
	Items  []Channel `json:"items" nullable:"false"`
	Alerts int       `json:"alerts" doc:"How many of them somebody must look at"`
}

func (s *server) listChannels(ctx context.Context, who caller, _ *struct{}) (*answered[channelsView], error) {
	all, err := s.o.Push.Channels(ctx, who.workspace)
	if err != nil {
		return nil, err
	}
	v := channelsView{Items: all}
	if all == nil {
		v.Items = []Channel{}
	}
	now := s.o.Clock.Now()
	for i := range v.Items {
		c := &v.Items[i]
		if c.Alert = channelAlert(c, now); c.Alert != "" {
			v.Alerts++
		}
	}
	return &answered[channelsView]{v}, nil
}

// channelAlert says what somebody must do about a credential; empty means nothing.
func channelAlert(c *Channel, now time.Time) string {
	said := c.Reason
	if c.Status != 0 {
		said = strings.TrimSpace(fmt.Sprintf("%s (status %d)", c.Reason, c.Status))
	}
	since := ""
	if !c.Since.IsZero() {
		since = " since " + moment(c.Since)
	}
	switch c.State {
	case ChannelPaused, ChannelProbes:
		return fmt.Sprintf("Nothing has passed%s: the provider says %s. Mend the credential %s of the app %s; what waits is sent then", since, said, c.Account, c.App)
	case ChannelDown:
		return fmt.Sprintf("The provider has not answered%s: look at the network of this server; what waits is sent when it answers", since)
	case ChannelUnusable:
		return fmt.Sprintf("The credential cannot be used (%s): give the app %s another", c.Reason, c.App)
	}
	for _, p := range c.Platforms {
		if p.Reason != "" {
			return fmt.Sprintf("Nothing has passed to %s since %s: the provider says %s. Look at the credential that %s has for it", p.Platform, moment(p.Since), p.Reason, c.Account)
		}
	}
	if o := c.Live.Oldest; !o.IsZero() && now.Sub(o) > lateAfter {
		return fmt.Sprintf("Messages have been waiting since %s: more is decided than the provider takes", moment(o))
	}
	return ""
}
