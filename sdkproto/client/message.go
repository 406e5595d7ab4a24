package client

import (
	"context"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// maxShown is how many message ids a phone remembers.
const maxShown = 1000

// shownSet remembers the newest message ids. Guarded by Client.mu.
type shownSet struct {
	ids   map[string]struct{}
	order []string
}

func (s *shownSet) has(id string) bool {
	_, ok := s.ids[id]
	return ok
}

func (s *shownSet) add(id string) {
	if s.has(id) {
		return
	}
	if s.ids == nil {
		s.ids = make(map[string]struct{})
	}
	s.ids[id] = struct{}{}
	s.order = append(s.order, id)
	if len(s.order) > maxShown {
		delete(s.ids, s.order[0])
		s.order = s.order[1:]
	}
}

// markShown reports whether the message may be shown now, and remembers it
// before it is: a crash in between loses one, never doubles one.
func (c *Client) markShown(ctx context.Context, id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shown.has(id) {
		return c.opts.DisableDedupe
	}
	if err := c.keep(Change{Shown: id}); err != nil {
		c.log.WarnContext(ctx, "keep shown message", "install", c.opts.InstallID, "message", id, "error", err)
	}
	c.shown.add(id)
	return true
}

// wanted reports whether the message is neither expired nor shown already.
func (c *Client) wanted(m *sdkpb.Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.ExpiresMs != 0 && !c.opts.Clock().Add(c.skew).Before(time.UnixMilli(m.ExpiresMs)) {
		return false
	}
	return c.opts.DisableDedupe || !c.shown.has(m.MessageId)
}

// claim is one that waits for its grant.
type claim struct {
	message *sdkpb.Message
	at      time.Duration // when it was made, by Mono
	waits   bool          // for a moment of its own: Client.waiting has it
}

// claimLost is how long an answer to a claim may take before it holds up no other.
const claimLost = 10 * time.Second

// display is what an in-app message has to respect. Guarded by Client.mu.
type display struct {
	quiet   bool   // the host wants none
	showing string // id of the one that the host shows; empty means none
	said    bool   // that it is displayed
	ended   bool   // one has gone before
	goneAt  time.Duration
}

// showable reports whether an in-app message could be shown now. Called with the
// lock.
func (c *Client) showable(s *session) bool {
	d := &c.display
	if d.quiet || d.showing != "" || c.queue.away || c.queue.leaves() { // it may be of who has just logged out
		return false
	}
	now, gap := c.opts.Mono(), time.Duration(c.kept.Config.GetInAppGapMs())*time.Millisecond
	if gap > 0 && d.ended && now-d.goneAt < gap {
		return false
	}
	if !c.opts.HostShows && gap == 0 {
		return true // a message is gone as soon as it is shown
	}
	return !s.claiming(now)
}

// claiming reports whether a claim of the session may still be granted.
func (s *session) claiming(now time.Duration) bool {
	if s != nil {
		for _, x := range s.claims {
			if now-x.at < claimLost {
				return true // that one may be shown first
			}
		}
	}
	return false
}

// SetQuiet says that the host wants no in-app messages now, during a checkout say,
// or wants them again.
func (c *Client) SetQuiet(quiet bool) {
	c.mu.Lock()
	c.display.quiet = quiet
	c.mu.Unlock()
	c.showDue()
}

// Shown says that the person can see the in-app message that OnMessage gave, which
// enqueues its receipt. For Options.HostShows.
func (c *Client) Shown(messageID string) {
	c.mu.Lock()
	first := c.display.showing == messageID && !c.display.said
	if first {
		c.display.said = true
	}
	c.mu.Unlock()
	if first {
		c.Receipt(messageID, sdkpb.Receipt_STATE_DISPLAYED, "in_app")
	}
}

// Gone says that the in-app message is not on the screen any more, or was never
// shown: from now on another may be.
func (c *Client) Gone(messageID string) {
	c.mu.Lock()
	if c.display.showing == messageID {
		c.display.showing = ""
		c.display.ended, c.display.goneAt = true, c.opts.Mono()
	}
	c.mu.Unlock()
	c.showDue()
}

func (c *Client) receiveGrant(ctx context.Context, s *session, re uint64, g *sdkpb.Grant) {
	c.mu.Lock()
	x, ok := s.claims[re]
	delete(s.claims, re)
	if ok && x.waits {
		if g.Granted && g.MessageId == x.message.MessageId {
			c.waiting.grant(g.MessageId)
		} else {
			c.waiting.drop(x.message.MessageId)
		}
		c.keepWaiting()
	}
	c.mu.Unlock()
	if ok && !x.waits && g.Granted && g.MessageId == x.message.MessageId {
		c.show(ctx, x.message)
	}
	c.showDue()
}

// show shows a granted in-app message.
func (c *Client) show(ctx context.Context, m *sdkpb.Message) {
	if !c.wanted(m) || !c.markShown(ctx, m.MessageId) {
		return
	}
	c.mu.Lock()
	c.display.showing, c.display.said = m.MessageId, false
	if c.waiting.keep(m, c.serverNow(), c.opts.Mono()) {
		c.keepWaiting()
	}
	c.mu.Unlock()
	c.present(m)
}

// present has the host show what display.showing names.
func (c *Client) present(m *sdkpb.Message) {
	byHost := c.opts.HostShows && c.opts.OnMessage != nil
	if c.opts.OnMessage != nil {
		c.opts.OnMessage(m)
	}
	if !byHost {
		c.Shown(m.MessageId)
		c.Gone(m.MessageId)
	}
}

// PushReceived tells that the OS handed over a push with the message's id; via
// is "fcm" or "apns". It reports whether the person sees it: false for a message
// that was shown already. Then receipts for delivered and displayed are queued;
// the host posts them, or the socket takes them.
func (c *Client) PushReceived(messageID, via string) bool {
	if !c.markShown(context.Background(), messageID) {
		return false
	}
	c.Receipt(messageID, sdkpb.Receipt_STATE_DELIVERED, via)
	c.Receipt(messageID, sdkpb.Receipt_STATE_DISPLAYED, via)
	return true
}

// takeRegions has the OS register the set; nil means that nobody did.
func (c *Client) takeRegions(r *sdkpb.Regions) *sdkpb.RegionsAck {
	if c.opts.OnRegions == nil {
		return nil
	}
	failed := c.opts.OnRegions(r)
	bad := make(map[string]bool, len(failed))
	for _, f := range failed {
		bad[f.Id] = true
	}
	ack := &sdkpb.RegionsAck{Etag: r.Etag, Failed: failed}
	all := r.Regions
	if r.Bubble != nil {
		all = append(slices.Clip(all), r.Bubble)
	}
	for _, x := range all {
		if !bad[x.Id] {
			ack.Installed = append(ack.Installed, x.Id)
		}
	}
	return ack
}
