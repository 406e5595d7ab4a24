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
	if err := c.opts.Store.SetShown(id); err != nil {
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

// takeInbox hands an inbox message to the host, once per id.
func (c *Client) takeInbox(ctx context.Context, m *sdkpb.Message) {
	if !c.wanted(m) || !c.markShown(ctx, m.MessageId) {
		return
	}
	if c.opts.OnMessage != nil {
		c.opts.OnMessage(m)
	}
	// Delivered, not displayed: the person has not opened the inbox. The host
	// says when.
	c.Receipt(m.MessageId, sdkpb.Receipt_STATE_DELIVERED, "inbox")
}

// show shows a granted in-app message.
func (c *Client) show(ctx context.Context, m *sdkpb.Message) {
	if !c.wanted(m) || !c.markShown(ctx, m.MessageId) {
		return
	}
	if c.opts.OnMessage != nil {
		c.opts.OnMessage(m)
	}
	c.Receipt(m.MessageId, sdkpb.Receipt_STATE_DISPLAYED, "in_app")
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
