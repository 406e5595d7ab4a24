package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// mostPages is how many answers with more to come are followed at a time.
const mostPages = 64

// mergeInbox is the inbox after what came: a new message, so that who reads the
// old one is not disturbed. The state's gone are the ids that were dismissed here
// and that the server has not taken out yet.
func mergeInbox(state, came *sdkpb.Inbox) *sdkpb.Inbox {
	next := &sdkpb.Inbox{Full: true, Cursor: came.Cursor}
	if !came.Full {
		next.Messages = slices.Clone(state.GetMessages())
	}
	if !came.Full || len(came.Messages) > 0 {
		next.Gone = slices.Clone(state.GetGone())
	}
	at := func(id string) int {
		return slices.IndexFunc(next.Messages, func(m *sdkpb.Message) bool { return m.MessageId == id })
	}
	for _, m := range came.Messages {
		if slices.Contains(next.Gone, m.MessageId) {
			continue // on its way out
		}
		i := at(m.MessageId)
		if i < 0 {
			next.Messages = append(next.Messages, m)
			continue
		}
		if next.Messages[i].Read && !m.Read {
			// Read here; the receipt that says so has not arrived there yet.
			m = proto.CloneOf(m)
			m.Read = true
		}
		next.Messages[i] = m
	}
	for _, id := range came.Gone {
		if i := at(id); i >= 0 {
			next.Messages = slices.Delete(next.Messages, i, i+1)
		}
		next.Gone = slices.DeleteFunc(next.Gone, func(g string) bool { return g == id })
	}
	if n := len(next.Messages) - sdkproto.MaxInboxMessages; n > 0 {
		slices.SortStableFunc(next.Messages, bySent)
		next.Messages = next.Messages[n:]
	}
	return next
}

// dismissed is the inbox without a message.
func dismissed(state *sdkpb.Inbox, id string) *sdkpb.Inbox {
	next := &sdkpb.Inbox{Full: true, Cursor: state.GetCursor(), Gone: slices.Clone(state.GetGone())}
	for _, m := range state.GetMessages() {
		if m.MessageId != id {
			next.Messages = append(next.Messages, m)
		}
	}
	if !slices.Contains(next.Gone, id) {
		next.Gone = append(next.Gone, id)
	}
	if n := len(next.Gone) - sdkproto.MaxInboxMessages; n > 0 {
		next.Gone = next.Gone[n:]
	}
	return next
}

func bySent(a, b *sdkpb.Message) int { return cmp.Compare(a.SentMs, b.SentMs) }

// inboxCursor is where to ask from. Called with the lock.
func (c *Client) inboxCursor() string {
	if c.queue.leaves() {
		return "" // the next inbox is another's
	}
	return c.kept.Inbox.GetCursor()
}

// Inbox is what waits in the person's inbox: pinned cards, then the others, each the
// newest first. The messages are copies.
func (c *Client) Inbox() []*sdkpb.Message {
	c.mu.Lock()
	state := c.kept.Inbox
	c.mu.Unlock()
	out := make([]*sdkpb.Message, 0, len(state.GetMessages()))
	for _, m := range state.GetMessages() {
		if m.GetKind() != sdkpb.Message_KIND_IN_APP { // those only wait for their moment
			out = append(out, proto.CloneOf(m))
		}
	}
	slices.SortStableFunc(out, bySent)
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b *sdkpb.Message) int {
		switch {
		case a.GetPinned() == b.GetPinned():
			return 0
		case a.GetPinned():
			return -1
		}
		return 1
	})
	return out
}

// ReadMessage says that the person has seen a message of the inbox. It reports
// whether it is there and was not read before; then a receipt is enqueued.
func (c *Client) ReadMessage(id string) bool {
	c.mu.Lock()
	var m *sdkpb.Message
	for _, x := range c.kept.Inbox.GetMessages() {
		if x.MessageId == id && !x.Read {
			m = proto.CloneOf(x)
			m.Read = true
		}
	}
	if m != nil {
		c.keepOrWarn(Change{Inbox: &sdkpb.Inbox{Messages: []*sdkpb.Message{m}, Cursor: c.kept.Inbox.GetCursor()}})
		c.syncWaiting()
	}
	c.mu.Unlock()
	if m == nil {
		return false
	}
	c.Receipt(id, sdkpb.Receipt_STATE_DISPLAYED, "inbox")
	return true
}

// DismissMessage takes a message out of the inbox. It reports whether it was
// there; then a receipt is enqueued.
func (c *Client) DismissMessage(id string) bool {
	c.mu.Lock()
	had := slices.ContainsFunc(c.kept.Inbox.GetMessages(), func(m *sdkpb.Message) bool { return m.MessageId == id })
	if had {
		c.keepOrWarn(Change{Dismissed: id})
	}
	c.mu.Unlock()
	if had {
		c.Receipt(id, sdkpb.Receipt_STATE_DISMISSED, "inbox")
	}
	return had
}

// SyncInbox asks what has changed: on the socket if there is one, else by GET. It
// returns when all of it was taken.
func (c *Client) SyncInbox(ctx context.Context) error {
	for range mostPages {
		came, err := c.askInbox(ctx)
		if err != nil || !came.GetMore() {
			return err
		}
	}
	return errors.New("client: the inbox has no end")
}

func (c *Client) askInbox(ctx context.Context) (*sdkpb.Inbox, error) {
	answer, err := c.ask(ctx, func() *sdkpb.Frame {
		return &sdkpb.Frame{InboxSync: &sdkpb.InboxSync{Cursor: c.inboxCursor()}}
	})
	if !errors.Is(err, errNoSession) {
		return answer.GetInbox(), err
	}
	if !c.Registered() { // it may be Register that asks
		if err := c.Register(ctx); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	query := url.Values{"cursor": {c.inboxCursor()}}
	c.mu.Unlock()
	reply, err := c.get(ctx, sdkproto.PathInbox, query)
	if err != nil {
		return nil, err
	}
	if reply.Inbox == nil {
		return nil, errors.New("client: the answer holds no inbox")
	}
	return reply.Inbox, c.takeInbox(ctx, reply.Inbox, nil)
}

// takeInbox takes what came of the inbox, together with its number on the socket
// if it had one, and then tells the host. The error is the store's.
func (c *Client) takeInbox(ctx context.Context, came *sdkpb.Inbox, at *sdkpb.Resume) error {
	c.mu.Lock()
	if c.queue.leaves() {
		// It may still be of the person who has just logged out. Once the server has
		// heard of that, all is asked for anew.
		err := c.keep(Change{Resume: at})
		c.mu.Unlock()
		return err
	}
	before := c.kept.Inbox
	if err := c.keep(Change{Inbox: came, Resume: at}); err != nil {
		c.mu.Unlock()
		return fmt.Errorf("client: keep inbox: %w", err)
	}
	c.syncWaiting()
	var fresh []*sdkpb.Message
	for _, m := range c.kept.Inbox.GetMessages() {
		old := slices.IndexFunc(before.GetMessages(), func(x *sdkpb.Message) bool { return x.MessageId == m.MessageId })
		if old < 0 && !m.Read {
			fresh = append(fresh, m)
		}
	}
	c.mu.Unlock()
	slices.SortStableFunc(fresh, bySent)
	for _, m := range fresh {
		c.arrived(ctx, m)
	}
	if c.opts.OnInbox != nil {
		c.opts.OnInbox()
	}
	c.showDue()
	return nil
}

// arrived hands an inbox message to the host, once per id.
func (c *Client) arrived(ctx context.Context, m *sdkpb.Message) {
	if !c.wanted(m) || !c.markShown(ctx, m.MessageId) {
		return
	}
	if c.opts.OnMessage != nil && m.GetKind() != sdkpb.Message_KIND_IN_APP {
		c.opts.OnMessage(m)
	}
	// Delivered, not displayed: the person has not opened the inbox. The host
	// says when.
	c.Receipt(m.MessageId, sdkpb.Receipt_STATE_DELIVERED, "inbox")
}
