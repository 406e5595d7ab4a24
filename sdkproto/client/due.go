package client

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// This file joins the rules of waiting.go to the session and the screen.

// Screen says which screen the app shows now: a message may wait for it. Nothing is
// sent.
func (c *Client) Screen(name string) {
	c.mu.Lock()
	c.waiting.shows(name, c.opts.Mono())
	c.mu.Unlock()
	c.showDue()
}

// serverNow is the server's clock as the phone knows it. Called with the lock.
func (c *Client) serverNow() time.Time { return c.opts.Clock().Add(c.skew) }

// keepWaiting makes the messages that wait durable. Called with the lock.
func (c *Client) keepWaiting() {
	b, err := c.waiting.save(c.serverNow())
	if err != nil {
		c.log.Warn("keep messages that wait", "install", c.opts.InstallID, "error", err)
		return
	}
	if string(b) != c.kept.Waiting && (c.kept.Waiting != "" || string(b) != "[]") {
		c.keepOrWarn(Change{Waiting: string(b)})
	}
}

// syncWaiting takes what the inbox holds. Called with the lock.
func (c *Client) syncWaiting() {
	if c.waiting.sync(c.kept.Inbox.GetMessages(), c.opts.Mono()) {
		c.keepWaiting()
	}
}

// tellWaiting tells the messages that wait what an item says, and reports whether one
// may be due now. Called with the lock.
func (c *Client) tellWaiting(item *sdkpb.Item) bool {
	x, mono := &c.waiting, c.opts.Mono()
	switch {
	case item.Event != nil:
		x.event(item.Event.Name, mono)
	case item.Lifecycle.GetState() == sdkpb.Lifecycle_STATE_BACKGROUND:
		x.background()
		c.stopLooking()
		return false
	case item.Lifecycle.GetState() == sdkpb.Lifecycle_STATE_FOREGROUND:
		if !x.open {
			x.foreground(mono)
		}
	case item.Receipt != nil:
		switch item.Receipt.State {
		case sdkpb.Receipt_STATE_OPENED, sdkpb.Receipt_STATE_ACTION, sdkpb.Receipt_STATE_DISMISSED:
			if x.drop(item.Receipt.MessageId) {
				c.keepWaiting()
			}
		}
		return false
	default:
		return false
	}
	return len(x.all) > 0
}

// stopLooking is called with the lock.
func (c *Client) stopLooking() {
	if c.look != nil {
		c.look.Stop()
		c.look = nil
	}
}

// showDue shows the message that is due, or claims it where it was not granted yet; if
// there may be one later, it looks again then.
func (c *Client) showDue() {
	c.mu.Lock()
	c.stopLooking()
	if !c.waiting.open || len(c.waiting.all) == 0 {
		c.mu.Unlock()
		return
	}
	mono := c.opts.Mono()
	w, next := c.waiting.due(c.serverNow(), mono)
	s := c.session
	switch {
	case w == nil:
	case s.claiming(mono):
		next = mono + claimLost // the answer may be lost
	default:
		next = c.gapUntil(mono)
	}
	if next > mono {
		c.look = time.AfterFunc(next-mono, c.showDue)
	}
	if w == nil || next > mono || !c.showable(s) || !w.granted && (s == nil || s.leave != nil) {
		c.mu.Unlock()
		return
	}
	m := proto.CloneOf(w.message)
	if !w.granted {
		s.lastID++
		if s.claims == nil {
			s.claims = make(map[uint64]claim)
		}
		s.claims[s.lastID] = claim{message: m, at: mono, waits: true}
		s.out = append(s.out, &sdkpb.Frame{Id: s.lastID, Claim: &sdkpb.Claim{MessageId: m.MessageId}})
		c.look = time.AfterFunc(claimLost, c.showDue)
		c.mu.Unlock()
		c.kick()
		return
	}
	// Counted before it is shown: a crash in between loses one time, never doubles one.
	c.waiting.was(m.MessageId, c.serverNow(), mono)
	c.keepWaiting()
	if !c.shown.has(m.MessageId) {
		c.keepOrWarn(Change{Shown: m.MessageId})
		c.shown.add(m.MessageId)
	}
	c.display.showing, c.display.said = m.MessageId, w.shown > 1
	c.mu.Unlock()
	c.present(m)
}

// gapUntil is when the gap after the last in-app message ends, by the monotonic clock.
// Called with the lock.
func (c *Client) gapUntil(mono time.Duration) time.Duration {
	gap := time.Duration(c.kept.Config.GetInAppGapMs()) * time.Millisecond
	if gap <= 0 || !c.display.ended {
		return mono
	}
	return max(mono, c.display.goneAt+gap)
}
