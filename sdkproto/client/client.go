// Package client is the reference client of the SDK protocol in Go: what an SDK
// on a phone does, for tests, the demo and the load generator, which run
// thousands of them in one process.
//
// A Client is a phone's app. What it observes is enqueued (Track, Fix, …) and
// stays queued until the server has acknowledged or finally refused it. In the
// foreground, Run or Foreground keeps one websocket open; Background closes it;
// in the background PostBatch does what an app can do when its OS wakes it. An
// open connection costs two goroutines (the caller's of Run, and a writer), a
// backgrounded client none.
//
// Reading order: Options, Client, store.go and filestore.go (what outlives the
// process), queue.go (what waits and what is in flight), session.go (one
// websocket), post.go (the POSTs and GETs), token.go, numbered.go (what the server
// sends is taken once), message.go (claim, grant, shown once), waiting.go and due.go
// (messages that wait for their moment), inbox.go, tracking.go.
package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Options of a client. Endpoint, AppKey, InstallID and Platform are required.
type Options struct {
	Endpoint string // "http://host:port" or https, without path
	AppKey   string
	// InstallID is that of sdkproto.ValidInstallID, kept by the host over restarts. When
	// the token of the install is lost for good, another takes its place in the store:
	// Client.InstallID says which.
	InstallID  string
	Platform   sdkpb.Platform
	TimeZone   string // IANA name; empty says nothing
	Locale     string // BCP 47; empty says nothing
	AppVersion string
	OSVersion  string
	SDK        string // name/version; empty means this package's

	Codec sdkproto.Codec // nil means Protobuf
	// Caps is what client and host do beyond the first version. The client does what
	// sdkproto.CapResume, CapInbox, CapConfig, CapGoaway and CapTriggers ask for, if they
	// are named here; Features names all five. CapBubble is for a host whose OnRegions registers
	// the bubble, CapBeacons for one that looks for beacons.
	Caps        []string
	PushTarget  *sdkpb.PushTarget  // nil means none yet
	Permissions *sdkpb.Permissions // nil says nothing

	Clock  func() time.Time     // the phone's wall clock; nil means time.Now
	Mono   func() time.Duration // the phone's monotonic clock, above zero; nil means since New
	BootID string               // boot in which Mono counts; empty means a random one
	Rand   func() float64       // jitter, in [0, 1); nil means math/rand

	Dialer     *websocket.Dialer // nil means NewDialer(); share one among many clients
	HTTPClient *http.Client      // nil means one on http.DefaultTransport
	Logger     *slog.Logger      // nil discards; it never sees tokens or positions
	Store      Store             // nil means a new MemStore

	BackoffMin time.Duration // 0 means 1 s
	BackoffMax time.Duration // 0 means 300 s
	DeadAfter  time.Duration // silence beyond the ping interval that makes the server dead; 0 means 10 s
	FlushAfter time.Duration // how long an item may wait for company on the socket; 0 sends at once
	AckAfter   time.Duration // how long the server's numbered frames may wait for a frame to be acknowledged by; 0 means 2 s
	// Beyond MaxQueue items or MaxQueueBytes the oldest fix or beacon heard is
	// dropped, then the oldest event; 0 means 10,000, and 10 MB as protobuf.
	MaxQueue      int
	MaxQueueBytes int

	// DisableDedupe shows a message as often as it comes. For sabotage in the lab.
	DisableDedupe bool

	// HostShows: the host says by Shown and Gone what becomes of an in-app message
	// that OnMessage gave it; until Gone no other is claimed. Otherwise it counts as
	// shown, and as gone, when OnMessage returns.
	HostShows bool

	// The callbacks run on the goroutine that received what they tell. They may
	// enqueue; they must not wait for the server (Run, Background, Close, PostBatch,
	// SyncInbox, RefreshToken). Nil means nobody listens.

	// OnMessage shows a granted in-app message or takes an inbox message, once
	// per message id. One with a trigger comes once as it arrives with the inbox, and
	// again under its id each time it is to be shown, which is more than once for one with a
	// frequency.
	OnMessage func(*sdkpb.Message)
	OnInbox   func()              // Inbox has changed
	OnConfig  func(*sdkpb.Config) // another config is in force; Tracking says what follows
	// OnIdentity is told that the server has refused the proof of who somebody is
	// (sdkproto.RejectIdentity, RejectExpired): the host asks its server for another
	// and identifies again. Until then the client goes on anonymously.
	OnIdentity func(*sdkpb.Identify, *sdkpb.Reject)
	// OnRegions registers the whole set with the OS, its bubble too, and returns what
	// it refused.
	OnRegions func(*sdkpb.Regions) []*sdkpb.RegionFailure
	OnState   func(State, error)               // the error says why, where there is a reason
	OnAcked   func(*sdkpb.Item)                // the server has it durably
	OnReject  func(*sdkpb.Item, *sdkpb.Reject) // the server will never take it; it is gone
	OnDropped func(*sdkpb.Item)                // the queue was full
}

// State of the connection.
type State string

// The states.
const (
	Connecting State = "connecting"
	Open       State = "open"
	Waiting    State = "waiting"    // for the next attempt
	Background State = "background" // no connection is wanted
	Stopped    State = "stopped"    // the server said never again, or the context ended
)

// ErrRunning says that the client already has its connection.
var ErrRunning = errors.New("client: already in the foreground")

// TerminalError ends Run: the server said that reconnecting is pointless. After
// sdkproto.ActRetryDaily the host may run again the next day.
type TerminalError struct {
	Close  sdkproto.CloseCode // 0 when an error came instead
	Err    sdkproto.ErrorCode // 0 when only a close code came
	Reason string

	shown string // the device token that was refused, if one was
}

// Error implements error.
func (e *TerminalError) Error() string {
	if e.Err != 0 {
		return fmt.Sprintf("client: stopped by error %d %s: %s", e.Err, e.Err.Info().Name, e.Reason)
	}
	return fmt.Sprintf("client: stopped by close code %d %s: %s", e.Close, e.Close.Info().Name, e.Reason)
}

// Action is what the protocol asks of the host.
func (e *TerminalError) Action() sdkproto.Action {
	if e.Err != 0 {
		return e.Err.Info().Action
	}
	return e.Close.Info().Action
}

// Client is one install. Its methods may be called from any goroutine.
type Client struct {
	opts    Options
	host    string // Options.InstallID as the host gave it
	base    *url.URL
	codec   sdkproto.Codec
	dialer  *websocket.Dialer
	http    *http.Client
	log     *slog.Logger
	wake    chan struct{} // the writer has something to look at
	regLock chan struct{} // holds one token: who registers

	postLock chan struct{} // holds one token: whose POST of items is under way

	mu    sync.Mutex
	kept  Saved // what the store has, but for the items and the ids shown
	perms *sdkpb.Permissions
	push  *sdkpb.PushTarget
	queue queue
	// heard is what became of the regions that the answer to a POST brought; nil when
	// there is nothing to tell the server.
	heard   *sdkpb.RegionsAck
	shown   shownSet
	display display
	waiting waiting
	look    *time.Timer        // a message that waits may be due then; nil: none is set
	session *session           // nil without an open one
	cancel  context.CancelFunc // of the running loop; nil when none runs
	done    chan struct{}      // closed when it has returned
	leaving bool               // Background asked the loop to end
	drained chan struct{}      // closed when the queue is empty; nil when nobody waits
	// notBefore is when the server wants to be asked again, by Mono.
	notBefore time.Duration
	// trimAt is when the next item makes room by Mono, while the server has the app or
	// the install blocked; 0: it has not.
	trimAt time.Duration
	skew   time.Duration // server's clock minus ours, as last heard
}

// NewDialer makes a websocket dialer that many clients can share: small buffers,
// and write buffers only while something is written.
func NewDialer() *websocket.Dialer {
	return &websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		HandshakeTimeout: 15 * time.Second,
		ReadBufferSize:   1024,
		WriteBufferSize:  1024,
		WriteBufferPool:  &sync.Pool{},
	}
}

// New makes a client with what its store holds. It starts nothing.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.Endpoint)
	switch {
	case err != nil:
		return nil, fmt.Errorf("client: endpoint: %w", err)
	case base.Scheme != "http" && base.Scheme != "https" || base.Host == "":
		return nil, fmt.Errorf("client: endpoint must be http://host or https://host, is %q", o.Endpoint)
	case o.AppKey == "":
		return nil, errors.New("client: app key is required")
	case !sdkproto.ValidInstallID(o.InstallID):
		return nil, errors.New("client: install id must be 8 to 100 of A-Z, a-z, 0-9, '.', '_', ':', '-'")
	case o.Platform == sdkpb.Platform_PLATFORM_UNSPECIFIED:
		return nil, errors.New("client: platform is required")
	}
	o.setDefaults()
	c := &Client{
		opts: o, host: o.InstallID, base: base, codec: o.Codec, http: o.HTTPClient, log: o.Logger,
		perms: o.Permissions, push: o.PushTarget,
		wake: make(chan struct{}, 1), regLock: make(chan struct{}, 1), postLock: make(chan struct{}, 1),
	}
	d := *o.Dialer
	d.Subprotocols = []string{c.codec.Subprotocol()}
	c.dialer = &d
	saved, err := o.Store.Load()
	if err != nil {
		return nil, fmt.Errorf("client: load store: %w", err)
	}
	if x := saved.beginAnew(c.host); x != nil {
		if err := o.Store.Apply(*x); err != nil {
			return nil, fmt.Errorf("client: begin anew: %w", err)
		}
		saved.apply(*x)
		o.Logger.Warn("the phone begins anew as another install", "install", saved.Install.ID, "former", saved.Install.Former)
	}
	if saved.Install.Host == c.host {
		c.opts.InstallID = saved.Install.now()
	}
	c.queue.load(saved)
	for _, id := range saved.Shown {
		c.shown.add(id)
	}
	saved.Items, saved.Shown = nil, nil
	c.kept = saved
	if err := c.waiting.load([]byte(saved.Waiting)); err != nil {
		o.Logger.Warn("messages that wait are forgotten", "install", o.InstallID, "error", err)
	}
	c.waiting.sync(saved.Inbox.GetMessages(), c.opts.Mono())
	return c, nil
}

func (o *Options) setDefaults() {
	if o.Codec == nil {
		o.Codec = sdkproto.Protobuf{}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Mono == nil {
		start := time.Now().Add(-time.Second) // a monotonic clock is above zero
		o.Mono = func() time.Duration { return time.Since(start) }
	}
	if o.BootID == "" {
		var b [8]byte
		_, _ = rand.Read(b[:]) // crypto/rand never fails
		o.BootID = hex.EncodeToString(b[:])
	}
	if o.Rand == nil {
		o.Rand = mathrand.Float64
	}
	if o.Dialer == nil {
		o.Dialer = NewDialer()
	}
	if o.HTTPClient == nil {
		o.HTTPClient = &http.Client{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Store == nil {
		o.Store = new(MemStore)
	}
	if o.BackoffMin <= 0 {
		o.BackoffMin = sdkproto.BackoffMin
	}
	if o.BackoffMax <= 0 {
		o.BackoffMax = max(sdkproto.BackoffMax, o.BackoffMin)
	}
	if o.DeadAfter <= 0 {
		o.DeadAfter = sdkproto.DeadAfter
	}
	if o.AckAfter <= 0 {
		o.AckAfter = 2 * time.Second
	}
	if o.MaxQueue <= 0 {
		o.MaxQueue = sdkproto.MaxQueueItems
	}
	if o.MaxQueueBytes <= 0 {
		o.MaxQueueBytes = sdkproto.MaxQueueBytes
	}
	if o.SDK == "" {
		o.SDK = "footfall-go/1.0"
	}
}

func (c *Client) url(path string, socket bool) string {
	u := *c.base
	if socket {
		u.Scheme = "ws" + strings.TrimPrefix(u.Scheme, "http")
	}
	u.Path = path
	return u.String()
}

// InstallID is the install's id. It is another than the host gave where that one's token
// was lost for good.
func (c *Client) InstallID() string { return c.opts.InstallID }

// Registered reports whether the client has a device token.
func (c *Client) Registered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept.Token != ""
}

// Features are the capabilities that the client has by itself, for Options.Caps.
func Features() []string {
	return []string{sdkproto.CapResume, sdkproto.CapInbox, sdkproto.CapConfig, sdkproto.CapGoaway, sdkproto.CapTriggers}
}

func (c *Client) has(capability string) bool { return slices.Contains(c.opts.Caps, capability) }

// keep makes a change durable and has it take effect. Called with the lock.
func (c *Client) keep(x Change) error {
	if x.empty() {
		return nil
	}
	if err := c.opts.Store.Apply(x); err != nil {
		return fmt.Errorf("client: keep state: %w", err)
	}
	x.Shown = "" // it has a set of its own
	c.kept.apply(x)
	return nil
}

// keepOrWarn is keep for what takes effect in this process anyway. Called with the
// lock.
func (c *Client) keepOrWarn(x Change) {
	if err := c.keep(x); err != nil {
		c.log.Warn("keep state", "install", c.opts.InstallID, "error", err)
		x.Shown = ""
		c.kept.apply(x)
	}
}

// Pending is the number of items that are neither acknowledged nor refused.
func (c *Client) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue.entries)
}

// Run is the foreground: it keeps a websocket open, reconnecting with backoff,
// until ctx ends (its error is returned), Background or Close is called (nil),
// or the server says never again (a *TerminalError). It has joined everything
// when it returns. When the last lifecycle item said background, it enqueues one
// that says foreground.
func (c *Client) Run(ctx context.Context) error {
	ctx, err := c.begin(ctx)
	if err != nil {
		return err
	}
	c.comeBack()
	return c.loop(ctx)
}

// Foreground is Run on a goroutine of the client's, which Background or Close
// joins; OnState tells how it ended.
func (c *Client) Foreground(ctx context.Context) error {
	ctx, err := c.begin(ctx)
	if err != nil {
		return err
	}
	c.comeBack()
	go func() {
		if err := c.loop(ctx); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "foreground ended", "install", c.opts.InstallID, "error", err)
		}
	}()
	return nil
}

func (c *Client) begin(ctx context.Context) (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		return nil, ErrRunning
	}
	ctx, c.cancel = context.WithCancel(ctx)
	c.done = make(chan struct{})
	c.leaving = false
	return ctx, nil
}

// comeBack makes foreground the last word. Hello says it too, but a background
// item that still waits, or is on its way by a POST, arrives after hello and
// would leave the install in the background.
func (c *Client) comeBack() {
	c.mu.Lock()
	away := c.queue.away
	if !away && !c.waiting.open {
		c.waiting.foreground(c.opts.Mono())
	}
	c.mu.Unlock()
	if away {
		c.SetLifecycle(sdkpb.Lifecycle_STATE_FOREGROUND)
	}
}

// Background says that the app left the foreground, waits until the queue is
// acknowledged, 10 s have passed or ctx ends, and closes the connection; without
// an open one it does not wait. What is left waits for PostBatch. The error is
// ctx's, when the connection did not end in time.
func (c *Client) Background(ctx context.Context) error {
	c.SetLifecycle(sdkpb.Lifecycle_STATE_BACKGROUND)
	c.mu.Lock()
	done := c.done
	if c.cancel == nil {
		c.mu.Unlock()
		return nil
	}
	var drained chan struct{}
	if c.session != nil && len(c.queue.entries) > 0 {
		if c.drained == nil {
			c.drained = make(chan struct{})
		}
		drained = c.drained
	}
	c.mu.Unlock()
	if drained != nil {
		patience := time.NewTimer(sdkproto.PostWithin)
		defer patience.Stop()
		select {
		case <-drained:
		case <-done:
		case <-patience.C:
		case <-ctx.Done():
		}
	}
	return c.leave(ctx)
}

// Close ends the connection at once, as when the OS kills the app, and waits
// until it has ended. The client can run again.
func (c *Client) Close() { _ = c.leave(context.Background()) }

func (c *Client) leave(ctx context.Context) error {
	c.mu.Lock()
	cancel, done := c.cancel, c.done
	if cancel == nil {
		c.mu.Unlock()
		return nil
	}
	c.leaving = true
	c.mu.Unlock()
	cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	// Its end is under way and needs no network: prefer to say that it ended.
	select {
	case <-done:
		return nil
	case <-time.After(time.Second):
		return ctx.Err()
	}
}

// loop keeps sessions until there is a reason not to.
func (c *Client) loop(ctx context.Context) (err error) {
	defer func() {
		c.mu.Lock()
		leaving := c.leaving
		c.cancel()
		done := c.done
		c.cancel = nil
		c.drained = nil // its waiter watches done too
		c.waiting.background()
		c.stopLooking()
		c.mu.Unlock()
		if leaving {
			err = nil
			c.state(Background, nil)
		} else {
			c.state(Stopped, err)
		}
		close(done)
	}()
	var attempt int
	reregistered := false
	for {
		c.state(Connecting, nil)
		start := time.Now()
		opened, err := c.runSession(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// A session that ends at once proves nothing: a server that says hello_ok
		// and then goodbye is not asked without a pause.
		if opened && time.Since(start) >= 10*c.opts.BackoffMin {
			attempt, reregistered = 0, false
		}
		if terminal, ok := errors.AsType[*TerminalError](err); ok {
			if terminal.Action() != sdkproto.ActReregister || !c.tokenRefused(ctx, terminal.shown, &reregistered) {
				c.blockedBy(err)
				return err
			}
			continue
		}
		wait := c.backoff(attempt, err)
		attempt++
		c.state(Waiting, err)
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// backoff is full jitter between 0 and BackoffMin·2^attempt, at most BackoffMax;
// after a server's wish, that and a little jitter.
func (c *Client) backoff(attempt int, err error) time.Duration {
	if after, ok := errors.AsType[*RetryError](err); ok && after.After > 0 {
		if after.exact {
			return after.After
		}
		return after.After + time.Duration(c.opts.Rand()*float64(max(after.After/4, c.opts.BackoffMin)))
	}
	most := c.opts.BackoffMax
	if attempt < 30 {
		most = min(most, c.opts.BackoffMin<<attempt)
	}
	return time.Duration(c.opts.Rand() * float64(most))
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Client) state(s State, err error) {
	if c.opts.OnState != nil {
		c.opts.OnState(s, err)
	}
}

// hello is the identification of now, and the token that it shows.
func (c *Client) hello(state sdkpb.Lifecycle_State) (*sdkpb.Hello, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := &c.opts
	h := &sdkpb.Hello{
		AppKey: o.AppKey, InstallId: o.InstallID, DeviceToken: c.kept.Token,
		ProtoMin: sdkproto.ProtoMin, ProtoMax: sdkproto.ProtoMax, Sdk: o.SDK,
		Platform: o.Platform, OsVersion: o.OSVersion, AppVersion: o.AppVersion,
		BootId: o.BootID, WallMs: o.Clock().UnixMilli(), MonoMs: o.Mono().Milliseconds(),
		TimeZone: o.TimeZone, Locale: o.Locale, Caps: o.Caps,
		Permissions: c.perms, PushTarget: c.push, Lifecycle: state,
		RegionsEtag: c.kept.Regions.GetEtag(),
	}
	if i := &c.kept.Install; i.Host == c.host && c.kept.Token == "" {
		h.FormerInstall = i.Former
	}
	if c.has(sdkproto.CapConfig) {
		h.ConfigEtag = c.kept.Config.GetEtag()
	}
	if c.has(sdkproto.CapInbox) {
		h.InboxCursor = new(c.inboxCursor())
	}
	if c.has(sdkproto.CapResume) && state == sdkpb.Lifecycle_STATE_FOREGROUND {
		h.Resume = c.kept.Resume
	}
	return h, c.kept.Token
}

// welcome takes what hello_ok says for longer than a session. Shown is the token
// that hello showed; socket says that numbered frames may follow.
func (c *Client) welcome(ctx context.Context, ok *sdkpb.HelloOk, shown string, socket bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trimAt = 0
	if ok.ServerMs != 0 {
		c.skew = time.UnixMilli(ok.ServerMs).Sub(c.opts.Clock())
	}
	var x Change
	switch {
	case ok.NewDeviceToken != "":
		x.Tokens = c.rotated(ok.NewDeviceToken, shown)
		if i := c.kept.Install; i.Host == c.host && i.Former != "" {
			i.Former = "" // it is known under its new id
			x.Install = &i
		}
	case shown == c.kept.Token && c.kept.OldToken != "":
		x.Tokens = &Tokens{Token: shown}
	}
	if socket && c.has(sdkproto.CapResume) {
		x.Resume = &sdkpb.Resume{Session: ok.Session, Epoch: ok.Epoch}
		switch {
		case ok.Epoch == "":
			x.Resume = new(sdkpb.Resume)
		case ok.Epoch == c.kept.Resume.GetEpoch():
			x.Resume.LastSeq = c.kept.Resume.GetLastSeq()
		}
	}
	if err := c.keep(x); err != nil {
		return err
	}
	if ok.ThroughSeq >= c.queue.next && ok.ThroughSeq > 0 {
		c.log.WarnContext(ctx, "storage was lost: items are renumbered", "install", c.opts.InstallID, "through_seq", ok.ThroughSeq)
		c.queue.renumber(c.opts.Store, ok.ThroughSeq+1)
	}
	return nil
}

// kick makes the writer look.
func (c *Client) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
