package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// rotated are the tokens after the server gave another one to a request that
// showed one, empty for none. The one that still works is kept beside it. Called
// with the lock.
func (c *Client) rotated(token, shown string) *Tokens {
	old := shown
	if old == "" {
		old = c.kept.Token // of a registration on the other way, which may be the newer
	}
	if old == token {
		old = ""
	}
	return &Tokens{Token: token, Old: old}
}

// takeToken keeps a token that replaces the one shown, before it is used.
func (c *Client) takeToken(t *sdkpb.NewToken, shown string) error {
	if t.GetDeviceToken() == "" {
		return errors.New("client: the new device token is empty")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keep(Change{Tokens: c.rotated(t.DeviceToken, shown)})
}

// tokenAccepted notes that the server took a request that showed a token: the one
// before it is of no use any more.
func (c *Client) tokenAccepted(shown string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if shown != "" && shown == c.kept.Token && c.kept.OldToken != "" {
		c.keepOrWarn(Change{Tokens: &Tokens{Token: shown}})
	}
}

// tokenRefused draws the consequence of an error 101, and reports whether another
// attempt may do better: with another token, or once without one.
func (c *Client) tokenRefused(ctx context.Context, shown string, reregistered *bool) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.kept.Token != shown: // replaced in the meantime
		return true
	case c.kept.OldToken != "":
		c.log.WarnContext(ctx, "the new device token was refused, the old one is tried", "install", c.opts.InstallID)
		c.keepOrWarn(Change{Tokens: &Tokens{Token: c.kept.OldToken}})
		return true
	case shown == "":
		c.lost(ctx)
		return false
	case *reregistered:
		return false
	}
	*reregistered = true
	c.keepOrWarn(Change{Tokens: new(Tokens)})
	return true
}

// RefreshToken asks for another device token, on the socket if there is one, else
// by POST. The one at hand stays valid until the new one was used. The errors are
// those of PostBatch.
func (c *Client) RefreshToken(ctx context.Context) error {
	_, err := c.ask(ctx, func() *sdkpb.Frame { return &sdkpb.Frame{TokenRefresh: &sdkpb.TokenRefresh{}} })
	if !errors.Is(err, errNoSession) {
		return err
	}
	if err := c.Register(ctx); err != nil {
		return err
	}
	body, err := c.codec.Marshal(&sdkpb.TokenRefresh{})
	if err != nil {
		return fmt.Errorf("client: refresh token: %w", err)
	}
	reply, shown, err := c.post(ctx, sdkproto.PathToken, body)
	if err != nil {
		return fmt.Errorf("client: refresh token: %w", err)
	}
	if reply.NewToken == nil {
		return errors.New("client: refresh token: the answer holds none")
	}
	return c.takeToken(reply.NewToken, shown)
}
