package ingest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// credentialTries bounds how often two first hellos of one install make way for
// each other.
const credentialTries = 4

// app finds the app of a key.
func (g *Gateway) app(key string) (App, error) {
	app, ok := g.o.Catalog.App(key)
	if !ok {
		return App{}, sdkproto.Errorf(sdkproto.ErrAppKey, "app_key", "no app has this key")
	}
	if app.Disabled {
		return App{}, sdkproto.Errorf(sdkproto.ErrBlocked, "app_key", "the app is disabled")
	}
	return app, nil
}

// appOfHello is app, for a phone that says its platform.
func (g *Gateway) appOfHello(h *sdkpb.Hello) (App, error) {
	app, err := g.app(h.GetAppKey())
	if err != nil {
		return App{}, err
	}
	platform := strings.ToLower(strings.TrimPrefix(h.GetPlatform().String(), "PLATFORM_"))
	if app.Platform != platform {
		return App{}, sdkproto.Errorf(sdkproto.ErrAppKey, "platform", "the app key is for %s", app.Platform)
	}
	return app, nil
}

func tokenHash(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

// authenticate accepts the token of an install, or the one that is to replace it:
// with its first use that one is the token, and the other is dead. Due says that
// the token should be replaced (rotate).
func (g *Gateway) authenticate(ctx context.Context, app *App, install, token string) (due bool, err error) {
	if token == "" {
		return false, sdkproto.Errorf(sdkproto.ErrToken, "device_token", "is required")
	}
	shown := tokenHash(token)
	for range credentialTries {
		c, err := g.o.Credentials.Credential(ctx, app.Workspace, install)
		if err != nil {
			return false, fmt.Errorf("credential: %w", err)
		}
		current := subtle.ConstantTimeCompare(c.Hash, shown) == 1
		next := subtle.ConstantTimeCompare(c.Next, shown) == 1
		switch {
		case c.Version == 0 || c.App != app.ID || !current && !next:
			return false, sdkproto.Errorf(sdkproto.ErrToken, "device_token", "is not the token of this install and app")
		case next:
			c.Hash, c.Issued = c.Next, c.NextIssued
			c.Next, c.NextIssued = nil, time.Time{}
		case c.Confirmed:
			return g.due(&c, install), nil
		}
		c.Confirmed = true
		err = g.o.Credentials.PutCredential(ctx, app.Workspace, install, c, c.Version)
		if err == nil {
			return g.due(&c, install), nil
		}
		if engage.CodeOf(err) != engage.Conflict {
			return false, fmt.Errorf("confirm credential: %w", err)
		}
	}
	return false, g.busy("the install registers several times at once")
}

// offerAgain is how long a phone that was offered a token may take to show it
// before it is offered another: the answer may have been lost.
const offerAgain = time.Hour

// due reports whether a phone that has shown its token should be given another. No
// token ends by its age: a phone that was off for a year comes back with what it
// holds, and to refuse it would lose its queue and gain nothing, for whoever has
// stolen a token can use it while it is young.
func (g *Gateway) due(c *Credential, install string) bool {
	now := g.o.Clock.Now()
	if c.Next != nil && now.Sub(c.NextIssued) < offerAgain {
		return false
	}
	age := g.o.Limits.TokenAge
	if c.Issued.IsZero() {
		// A build that did not note the time has given it. Each such phone has its
		// own day, so that not all of them ask the store to write at once.
		days := max(int64(age/(24*time.Hour)), 1)
		return (now.Unix()/86400+int64(engage.Fraction("token", install)*float64(days)))%days == 0
	}
	return now.Sub(c.Issued) >= age
}

// newToken is a token of 256 random bits.
func newToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// mint gives an install a token, durable before it is told. A token that was
// never used is replaced: the answer that held it may have been lost.
func (g *Gateway) mint(ctx context.Context, app *App, install string) (token string, err error) {
	return g.changeToken(ctx, app, install, func(c *Credential, hash []byte) error {
		if c.Confirmed {
			return sdkproto.Errorf(sdkproto.ErrToken, "device_token", "is required: the install is registered")
		}
		*c = Credential{App: app.ID, Hash: hash, Issued: g.o.Clock.Now(), Version: c.Version}
		return nil
	})
}

// rotate gives an install that has been authenticated another token, durable before
// it is told. The one in use stays valid until the new one is first shown, so that
// an answer that is lost locks nobody out; asked again, another takes the place of
// one that was never shown.
func (g *Gateway) rotate(ctx context.Context, app *App, install string) (token string, err error) {
	return g.changeToken(ctx, app, install, func(c *Credential, hash []byte) error {
		if c.Version == 0 || c.App != app.ID || !c.Confirmed {
			return sdkproto.Errorf(sdkproto.ErrToken, "device_token", "is not the token of this install and app")
		}
		c.Next, c.NextIssued = hash, g.o.Clock.Now()
		return nil
	})
}

// errConfirmed: there is nothing to change.
var errConfirmed = errors.New("the token is confirmed")

// confirm notes that the phone has the token of that hash, without that it has shown
// it yet. An error of code ErrToken says that another token is in its place.
func (g *Gateway) confirm(ctx context.Context, app *App, install string, hash []byte) error {
	_, err := g.changeToken(ctx, app, install, func(c *Credential, _ []byte) error {
		switch {
		case c.App != app.ID || subtle.ConstantTimeCompare(c.Hash, hash) != 1:
			return sdkproto.Errorf(sdkproto.ErrToken, "device_token", "is not the token of this install and app")
		case c.Confirmed:
			return errConfirmed
		}
		c.Confirmed = true
		return nil
	})
	if errors.Is(err, errConfirmed) {
		return nil
	}
	return err
}

// changeToken keeps what change makes of a credential with a new token's hash.
func (g *Gateway) changeToken(ctx context.Context, app *App, install string, change func(*Credential, []byte) error) (token string, err error) {
	token = newToken()
	hash := tokenHash(token)
	for range credentialTries {
		c, err := g.o.Credentials.Credential(ctx, app.Workspace, install)
		if err != nil {
			return "", fmt.Errorf("credential: %w", err)
		}
		if err := change(&c, hash); err != nil {
			return "", err
		}
		err = g.o.Credentials.PutCredential(ctx, app.Workspace, install, c, c.Version)
		if err == nil {
			return token, nil
		}
		if engage.CodeOf(err) != engage.Conflict {
			return "", fmt.Errorf("keep credential: %w", err)
		}
	}
	return "", g.busy("the install registers several times at once")
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// greeted is an install that has said a hello which is in the log.
type greeted struct {
	key   string // public key of the app
	app   App
	in    *install // acquired: the caller releases it
	token string   // new; empty means that it had one
	due   bool     // the token that it had should be replaced (rotate)
	caps  caps
}

// greet takes a hello from an address: who it is, a token if it has none, and the
// log. Session is the id of the socket; empty for a POST.
func (g *Gateway) greet(ctx context.Context, h *sdkpb.Hello, from netip.Addr, session string) (greeted, error) {
	if err := sdkproto.ValidateHello(h); err != nil {
		return greeted{}, err
	}
	app, err := g.appOfHello(h)
	if err != nil {
		return greeted{}, err
	}
	// Before a token is made: a hello that the log cannot keep is not accepted.
	if e := g.mayTake(g.installs.slotOf(app.Workspace, h.GetInstallId())); e != nil {
		return greeted{}, e
	}
	out := greeted{key: h.GetAppKey(), app: app, caps: capsOf(h.GetCaps())}
	if h.GetDeviceToken() == "" {
		if err := g.mayRegister(from); err != nil {
			return greeted{}, err
		}
		out.token, err = g.mint(ctx, &app, h.GetInstallId())
	} else {
		h.FormerInstall = "" // for a first hello only
		out.due, err = g.authenticate(ctx, &app, h.GetInstallId(), h.GetDeviceToken())
	}
	if err != nil {
		return greeted{}, err
	}
	if out.in, err = g.installs.acquire(ctx, app.Workspace, h.GetInstallId()); err != nil {
		return greeted{}, err
	}
	if err := g.logSession(ctx, &out, h, session); err != nil {
		g.installs.release(out.in)
		return greeted{}, err
	}
	if h.GetFormerInstall() != "" {
		// Noted, here and in the log's record, and not acted upon: anybody could say it.
		g.metrics.anew.Inc()
		g.log.Info("an install begins anew", "workspace", app.Workspace, "install", h.GetInstallId(), "former_unproven", h.GetFormerInstall())
	}
	out.in.greeted(h)
	return out, nil
}

// sessionBody is the body of an engage.KindSession entry.
type sessionBody struct {
	App   string `json:"app"`
	Hello []byte `json:"hello"` // sdkpb.Hello without app key, device token, and what the phone has
	// Session is the id of the socket, whose end will be told; empty: it will not.
	Session string `json:"session,omitempty"`
}

func (g *Gateway) logSession(ctx context.Context, who *greeted, h *sdkpb.Hello, session string) error {
	h.AppKey, h.DeviceToken = "", ""
	// What the phone has concerns its session alone.
	h.Resume, h.ConfigEtag, h.RegionsEtag, h.InboxCursor = nil, "", "", nil
	hello, err := proto.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode hello: %w", err)
	}
	body, err := json.Marshal(sessionBody{App: who.app.ID, Hello: hello, Session: session})
	if err != nil {
		return fmt.Errorf("encode session: %w", err)
	}
	landed := make(chan error, 1)
	stalled, err := g.append(who.in, []engage.Entry{
		{Kind: engage.KindSession, Key: who.in.entryKey, Body: body},
	}, func(err error) { landed <- err })
	if err == nil {
		if err = g.await(ctx, who.in, landed, stalled); err != nil {
			g.logEnd(who.in, session) // it may land yet, and nobody will be there
		}
	}
	return wrap("log session", err)
}

// logEnd tells the log that a session is no more, after what it brought. It is not
// waited for, and is not told again: who relies on it bounds for how long.
func (g *Gateway) logEnd(in *install, session string) {
	if session == "" {
		return
	}
	lost := func(err error) {
		if err != nil {
			g.metrics.endsLost.Inc()
		}
	}
	body, err := json.Marshal(engage.SessionEnd{V: 1, Session: session})
	if g.stalls.bytes.Load() > g.stalls.most {
		err = engage.Errorf(engage.RateLimited, "", "too much waits for the log")
	}
	if err == nil {
		_, err = g.append(in, []engage.Entry{{Kind: engage.KindSessionEnd, Key: in.entryKey, Body: body}}, lost)
	}
	lost(err)
}

// helloOk answers a hello.
func (g *Gateway) helloOk(who *greeted, session string) *sdkpb.HelloOk {
	return &sdkpb.HelloOk{
		Session: session, NewDeviceToken: who.token,
		ServerMs: g.o.Clock.Now().UnixMilli(), PingMs: uint32(sdkproto.PingEvery.Milliseconds()),
		Limits: &sdkpb.Limits{
			FrameBytes: sdkproto.MaxFrameBytes, ItemBytes: sdkproto.MaxItemBytes,
			BatchItems: sdkproto.MaxBatchItems, BodyBytes: sdkproto.MaxBodyBytes,
		},
		Credit: uint32(g.o.Limits.Credit), Proto: sdkproto.ProtoMax, ThroughSeq: who.in.lastSeq.Load(),
		Caps: who.caps.names(),
	}
}
