package client

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// StartTracking says which preset the app wants. Unless the server wants another,
// Tracking follows it. PRESET_OFF stops.
func (c *Client) StartTracking(p sdkpb.Tracking_Preset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p != c.kept.Tracking {
		c.keepOrWarn(Change{Tracking: &p})
	}
}

// StopTracking says that the app wants none, whatever the server wants.
func (c *Client) StopTracking() { c.StartTracking(sdkpb.Tracking_PRESET_OFF) }

// Tracking is how the host should follow the phone now, with every field set: what
// the app started, or what the server puts in its place.
func (c *Client) Tracking() *sdkpb.Tracking {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sdkproto.EffectiveTracking(c.kept.Tracking, c.kept.Config, c.opts.Platform)
}

// Config is what the server has said last, a copy; nil means nothing yet.
func (c *Client) Config() *sdkpb.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept.Config == nil {
		return nil
	}
	return proto.CloneOf(c.kept.Config)
}

// Regions is the set that the phone watches, a copy, for a host whose OS has
// dropped it; nil means none yet.
func (c *Client) Regions() *sdkpb.Regions {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept.Regions == nil {
		return nil
	}
	return proto.CloneOf(c.kept.Regions)
}

// FetchConfig asks for the config by GET.
func (c *Client) FetchConfig(ctx context.Context) error {
	if err := c.Register(ctx); err != nil {
		return err
	}
	reply, err := c.get(ctx, sdkproto.PathConfig, nil)
	if err != nil {
		return err
	}
	if reply.Config == nil {
		return errors.New("client: the answer holds no config")
	}
	return c.takeConfig(reply.Config, nil)
}

// takeConfig keeps a config, together with its number on the socket if it had one,
// and tells the host if it is another. The error is the store's.
func (c *Client) takeConfig(came *sdkpb.Config, at *sdkpb.Resume) error {
	c.mu.Lock()
	same := proto.Equal(c.kept.Config, came)
	err := c.keep(Change{Config: came, Resume: at})
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("client: keep config: %w", err)
	}
	if !same && c.opts.OnConfig != nil {
		c.opts.OnConfig(proto.CloneOf(came))
	}
	return nil
}
