package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Install is under which id the phone is known, where that is not the host's id any
// more (README of the protocol, "A lost token"). It holds for one id of the host's: a
// host that gives another begins anew by itself.
type Install struct {
	Host   string // Options.InstallID
	ID     string // in its place; empty means that it is Host yet
	Former string // before ID, until ID has a token; empty afterwards
	Next   string // the id with which the next New begins anew; empty means that it does not
}

// now is the id in use.
func (i *Install) now() string {
	if i.ID != "" {
		return i.ID
	}
	return i.Host
}

// lost notes that the server has refused the install without a token: it has one, which
// this phone does not know any more. The phone begins anew when the app is started the
// next time, so that the host hears of it first, and a server that is wrong for a
// moment is not filled with installs. An id that was taken for that reason and that no
// server has accepted stays: to change it would help nobody. Called with the lock.
func (c *Client) lost(ctx context.Context) {
	i := c.kept.Install
	if i.Host != c.host {
		i = Install{Host: c.host}
	}
	if i.Next != "" || i.Former != "" {
		return
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	i.Next = hex.EncodeToString(b[:])
	c.log.WarnContext(ctx, "the device token is lost: the next start of the app begins anew", "install", c.opts.InstallID)
	c.keepOrWarn(Change{Install: &i})
}

// lostBy is lost, if that is what an error of a hello that showed a token says.
func (c *Client) lostBy(ctx context.Context, err error, shown string) {
	terminal, ok := errors.AsType[*TerminalError](err)
	if !ok || shown != "" || terminal.Action() != sdkproto.ActReregister {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept.Token == "" { // else the other way has got one meanwhile
		c.lost(ctx)
	}
}

// beginAnew is what a store holds after its install was lost: all that concerned the
// install and its person is forgotten, and what waits goes on under another id. Nil
// means that there is nothing to do.
func (s *Saved) beginAnew(host string) *Change {
	if s.Install.Host != host || s.Install.Next == "" {
		return nil
	}
	x := &Change{
		Install: &Install{Host: host, ID: s.Install.Next, Former: s.Install.now()},
		Tokens:  new(Tokens), Resume: new(sdkpb.Resume), Inbox: &sdkpb.Inbox{Full: true},
	}
	if s.Waiting != "" {
		x.Waiting = "[]"
	}
	return x
}
