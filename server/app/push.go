package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
)

// pushes is the push side of the server as the API sees it.
type pushes struct{ a *App }

// Test implements api.Push.
func (p pushes) Test(ctx context.Context, t *api.TestSend) (*api.TestOutcome, error) {
	app := p.a.catalog.Now().App(t.Workspace, t.App)
	if app == nil {
		return nil, engage.Errorf(engage.NotFound, "app", "there is no app %q", t.App)
	}
	dev, err := p.testDevice(ctx, t, app)
	if err != nil {
		return nil, err
	}
	sender, _, err := p.a.senders.Sender(ctx, t.Workspace, t.App, dev.Push.Provider)
	if engage.CodeOf(err) == engage.NotFound || engage.CodeOf(err) == engage.Unsupported {
		return nil, engage.Errorf(engage.NotFound, "provider", "the app %q has no credential for %s: give it one", t.App, dev.Push.Provider)
	}
	if err != nil {
		return nil, err
	}
	t.Send.ImageURL = p.a.imageAddress(t.Workspace, t.Send.Campaign, t.Send.ImageURL)
	m := deliver.PushOf(&t.Send, dev)
	m.DryRun = t.DryRun
	start := time.Now()
	out, err := sender.Send(ctx, m)
	took := time.Since(start)
	if err != nil {
		return nil, notSent(ctx, err)
	}
	if t.Install != "" {
		p.learn(ctx, t.Workspace, dev, out)
	}
	return &api.TestOutcome{
		Provider: dev.Push.Provider, Outcome: string(out.Kind), Reason: out.Reason, Status: out.Status, ProviderID: out.ProviderID,
		Ambiguous: out.Ambiguous, Environment: out.Environment, Scope: string(out.Scope), RetryAfterS: out.RetryAfter.Seconds(),
		GoneSince: out.GoneSince, Raw: out.Raw, Took: took,
	}, nil
}

// Channels implements api.Push.
func (p pushes) Channels(ctx context.Context, workspace string) ([]api.Channel, error) {
	known, err := p.a.deliver.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	type name struct {
		provider   channels.Provider
		credential string
	}
	by := make(map[name]*deliver.CredentialStatus, len(known))
	for i := range known {
		by[name{known[i].Provider, known[i].Credential}] = &known[i]
	}
	out := []api.Channel{}
	for _, app := range p.a.catalog.Now().Apps(workspace) {
		for _, provider := range []channels.Provider{channels.APNs, channels.FCM} {
			c := api.Channel{App: app.ID, Provider: string(provider), State: api.ChannelUnknown}
			switch {
			case provider == channels.APNs && app.APNs != nil:
				c.Account = app.APNs.TeamID + "/" + app.APNs.KeyID
			case provider == channels.FCM && app.FCM != nil:
				c.Account = app.FCM.ProjectID
			default:
				continue
			}
			_, credential, err := p.a.senders.Sender(ctx, workspace, app.ID, c.Provider)
			if err != nil { // what it says may quote the credential; the log has it when something is sent
				c.State, c.Reason = api.ChannelUnusable, "it cannot be read"
			} else if s := by[name{provider, credential}]; s != nil {
				describe(&c, s)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

// ImportTokens implements api.Push.
func (p pushes) ImportTokens(ctx context.Context, workspace string, all []engage.TokenImport) error {
	by := map[*partition.Partition][]engage.Entry{}
	for i := range all {
		key := engage.InstallKey(workspace, all[i].Install)
		body, err := json.Marshal(&all[i])
		if err != nil {
			return fmt.Errorf("encode token_import: %w", err)
		}
		to := p.a.router.inOf(key)
		by[to] = append(by[to], engage.Entry{Kind: engage.KindTokenImport, Key: key, Body: body})
	}
	for _, to := range p.a.router.in {
		if es := by[to]; len(es) > 0 {
			if err := to.Append(ctx, es); err != nil {
				return busy(err)
			}
		}
	}
	return nil
}

// describe puts what deliver knows of a credential into what the API shows.
func describe(c *api.Channel, s *deliver.CredentialStatus) {
	c.State, c.Reason, c.Status, c.Since, c.Until = string(s.State), s.Reason, s.Status, s.Since, s.Until
	for _, x := range s.Platforms {
		c.Platforms = append(c.Platforms, api.ChannelPlatform{Platform: x.Platform, Reason: x.Reason, Status: x.Status, Since: x.Since, Until: x.Until})
	}
	c.Live, c.Bulk = api.ChannelQueue(s.Live), api.ChannelQueue(s.Bulk)
	c.InFlight, c.RatePerS, c.SentPerS, c.LastError, c.LastErrorAt = s.InFlight, s.Rate, s.PerS, s.LastError, s.LastErrorAt
}

// testDevice is the phone that is tried: of the install, or made up around a token.
func (p pushes) testDevice(ctx context.Context, t *api.TestSend, app *catalog.App) (*engage.Device, error) {
	if t.Install == "" {
		return &engage.Device{Install: "test", App: t.App, Platform: app.Platform, Push: t.Target}, nil
	}
	in, err := readInstall(ctx, p.a.states, t.Workspace, t.Install)
	if err != nil {
		return nil, err
	}
	if in == nil || in.Device.App != t.App {
		return nil, engage.Errorf(engage.NotFound, "install", "the app %q has no install of this id", t.App)
	}
	dev := in.Device
	if t.Target != nil && t.Target.Provider != "" {
		target := dev.PushOf(t.Target.Provider)
		if target == nil {
			return nil, engage.Errorf(engage.Invalid, "install", "has given no token of %s", t.Target.Provider)
		}
		dev.Push = target
	}
	if dev.Push == nil {
		return nil, engage.Errorf(engage.Invalid, "install", "has given no push token: the person has not allowed notifications, or the app does not say")
	}
	return &dev, nil // a token that is called dead is tried, too: that is how to find out
}

// learn keeps what a provider has said of a token, as deliver does.
func (p pushes) learn(ctx context.Context, workspace string, dev *engage.Device, out channels.Outcome) {
	var err error
	switch {
	case out.Kind == channels.TokenGone:
		err = outcomes{p.a.router}.TokenDead(ctx, workspace, engage.TokenDead{
			Install: dev.Install, Token: dev.Push.Token, Reason: out.Reason, Since: out.GoneSince,
		})
	case out.Environment != "":
		err = outcomes{p.a.router}.TokenEnvironment(ctx, workspace, engage.TokenEnvironment{
			Install: dev.Install, Token: dev.Push.Token, Environment: out.Environment,
		})
	}
	if err != nil { // the next message finds it again
		p.a.log.WarnContext(ctx, "tell what a test has found of a token", "workspace", workspace, "install", dev.Install, "error", err)
	}
}

// notSent is why no attempt was made, in terms of the request.
func notSent(ctx context.Context, err error) error {
	if m, ok := errors.AsType[*channels.MessageError](err); ok {
		field := "content." + m.Field
		switch m.Field {
		case "target.token":
			field = "token"
		case "target.topic":
			field = "topic"
		case "target.environment":
			field = "environment"
		case "dry_run":
			field = "dry_run"
		}
		return &engage.Error{Code: engage.Invalid, Field: field, Msg: fmt.Sprintf("is %s: %s", m.Code, m.Msg), Err: err}
	}
	if ctx.Err() != nil {
		return engage.Errorf(engage.Unavailable, "", "the provider could not be reached in time")
	}
	return fmt.Errorf("test send: %w", err)
}
