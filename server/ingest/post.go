package ingest

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

const (
	// answerWithin leaves a second of sdkproto.PostWithin to the network.
	answerWithin = sdkproto.PostWithin - time.Second
	// maxHelloBytes is more than any valid hello has.
	maxHelloBytes = 16 << 10
	// maxInboxBytes bounds the messages in an answer; the others come with the
	// next.
	maxInboxBytes = 128 << 10
)

// allowOrigins lets apps in webviews ask from any origin; see Gateway.upgrader.
func allowOrigins(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT")
	h.Set("Access-Control-Allow-Headers", strings.Join([]string{
		"Content-Type", "Content-Encoding", sdkproto.HeaderAppKey, sdkproto.HeaderInstall, sdkproto.HeaderAuthorization, sdkproto.HeaderCaps,
	}, ", "))
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	h.Set("Access-Control-Max-Age", "86400")
}

func (g *Gateway) serveBatch(w http.ResponseWriter, r *http.Request) { g.servePost(w, r, g.postBatch) }

func (g *Gateway) serveInstall(w http.ResponseWriter, r *http.Request) {
	g.servePost(w, r, g.postInstall)
}

func (g *Gateway) serveToken(w http.ResponseWriter, r *http.Request) { g.servePost(w, r, g.postToken) }

func (g *Gateway) serveConfig(w http.ResponseWriter, r *http.Request) { g.serveGet(w, r, g.getConfig) }

func (g *Gateway) serveInbox(w http.ResponseWriter, r *http.Request) { g.serveGet(w, r, g.getInbox) }

// handler answers a request that is admitted.
type handler func(context.Context, *http.Request, sdkproto.Codec) (*sdkpb.BatchReply, error)

// serveGet serves a GET, whose answer is of the first known type of its Accept, or
// JSON.
func (g *Gateway) serveGet(w http.ResponseWriter, r *http.Request, handle handler) {
	codec := sdkproto.CodecFor(strings.Split(r.Header.Get("Accept"), ",")...)
	if codec == nil {
		codec = sdkproto.JSON{}
	}
	w.Header().Set("Cache-Control", "no-store")
	allowOrigins(w)
	g.serve(w, r, codec, handle)
}

// servePost serves a POST, whose answer is of its own type.
func (g *Gateway) servePost(w http.ResponseWriter, r *http.Request, handle handler) {
	allowOrigins(w)
	codec := sdkproto.CodecFor(r.Header.Get("Content-Type"))
	if codec == nil {
		g.refuseError(r.Context(), w, sdkproto.JSON{}, sdkproto.Errorf(sdkproto.ErrMalformed, "Content-Type",
			"must be %s or %s", sdkproto.ContentTypePB, sdkproto.ContentTypeJSON), "post")
		return
	}
	g.serve(w, r, codec, handle)
}

// serve answers a request with a BatchReply.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, codec sdkproto.Codec, handle handler) {
	g.attend(w, r, codec, answerWithin, func(ctx context.Context) error {
		reply, err := handle(ctx, r, codec)
		if err == nil {
			g.reply(w, codec, http.StatusOK, reply)
		}
		return err
	})
}

// attend does what is common to all requests: admission, time, and the answer to an
// error, with which answer has not begun one.
func (g *Gateway) attend(w http.ResponseWriter, r *http.Request, codec sdkproto.Codec, within time.Duration, answer func(context.Context) error) {
	life, err := g.enter()
	if err != nil {
		g.refuseError(r.Context(), w, codec, err, "post")
		return
	}
	defer g.wg.Done()
	select {
	case g.posts <- struct{}{}:
		defer func() { <-g.posts }()
	default:
		g.refuseError(r.Context(), w, codec, g.busy("too many POSTs at once"), "post")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	defer context.AfterFunc(life, cancel)() //nolint:contextcheck // the gateway's end ends requests too
	// A body that trickles in does not hold its place for longer. Where the
	// server behind w has no deadlines, its own must do.
	_ = http.NewResponseController(w).SetReadDeadline(soon(answerWithin))
	if err := answer(ctx); err != nil {
		g.refuseError(r.Context(), w, codec, err, "post")
	}
}

// refuseError answers with the error and its status.
func (g *Gateway) refuseError(ctx context.Context, w http.ResponseWriter, codec sdkproto.Codec, err error, doing string) {
	e := g.answer(ctx, err, doing)
	g.refuse(w, codec, e.Code.Info().HTTP, e)
}

func (g *Gateway) refuse(w http.ResponseWriter, codec sdkproto.Codec, status int, e *sdkproto.Error) {
	g.metrics.failed(e.Code)
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	g.reply(w, codec, status, &sdkpb.BatchReply{Error: e.Proto()})
}

func (g *Gateway) reply(w http.ResponseWriter, codec sdkproto.Codec, status int, reply *sdkpb.BatchReply) {
	body, err := codec.Marshal(reply)
	if err != nil { // a message whose text is not UTF-8: the ack matters more
		g.log.Error("answer cannot be encoded", "error", err)
		reply.Messages, reply.Inbox = nil, nil
		if body, err = codec.Marshal(reply); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", codec.ContentType())
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a phone that has gone asks again
}

// body reads a POST's body into m.
func body(r *http.Request, codec sdkproto.Codec, limit int, m proto.Message) error {
	encoding := r.Header.Get("Content-Encoding")
	if r.ContentLength > int64(limit) {
		return sdkproto.Errorf(sdkproto.ErrTooLarge, "", "more than %d bytes", limit)
	}
	raw, err := sdkproto.ReadBody(r.Body, encoding, limit)
	if err != nil {
		return err
	}
	return codec.Unmarshal(raw, m)
}

// postInstall registers an install, or greets one that has its token.
func (g *Gateway) postInstall(ctx context.Context, r *http.Request, codec sdkproto.Codec) (*sdkpb.BatchReply, error) {
	h := new(sdkpb.Hello)
	if err := body(r, codec, maxHelloBytes, h); err != nil {
		return nil, err
	}
	if h.GetDeviceToken() == "" {
		h.DeviceToken = bearer(r)
	}
	if h.GetLifecycle() == sdkpb.Lifecycle_STATE_UNSPECIFIED {
		h.Lifecycle = sdkpb.Lifecycle_STATE_BACKGROUND // only a socket implies the foreground
	}
	phone := has{config: h.GetConfigEtag(), regions: h.GetRegionsEtag(), cursor: h.InboxCursor}
	who, err := g.greet(ctx, h, addressOf(r.RemoteAddr), "")
	if err != nil {
		return nil, err
	}
	defer g.installs.release(who.in)
	if token := g.renew(ctx, &who.app, who.in.key.install, who.due); token != "" {
		who.token = token
	}
	reply := &sdkpb.BatchReply{HelloOk: g.helloOk(&who, "")}
	a := g.asks(&who.app, who.caps, true, g.o.Clock.Now())
	a.has = phone.regions
	g.encloseRegions(ctx, reply, who.in, &a)
	if who.caps.config {
		g.encloseConfig(reply, who.in, &who.app, phone.config)
	}
	g.encloseInbox(ctx, reply, who.in, who.caps, phone.cursor)
	return reply, nil
}

func bearer(r *http.Request) string {
	a := r.Header.Get(sdkproto.HeaderAuthorization)
	if n := len(sdkproto.BearerPrefix); len(a) > n && strings.EqualFold(a[:n], sdkproto.BearerPrefix) {
		return a[n:]
	}
	return ""
}

// caller is who asks, as the headers say.
type caller struct {
	app     App
	install string
	due     bool // its token should be replaced
}

// identify authenticates the headers of a request.
func (g *Gateway) identify(ctx context.Context, r *http.Request) (caller, error) {
	app, err := g.app(r.Header.Get(sdkproto.HeaderAppKey))
	if err != nil {
		return caller{}, err
	}
	id := r.Header.Get(sdkproto.HeaderInstall)
	if !sdkproto.ValidInstallID(id) {
		return caller{}, sdkproto.Errorf(sdkproto.ErrMalformed, sdkproto.HeaderInstall, "must be an install id")
	}
	due, err := g.authenticate(ctx, &app, id, bearer(r))
	return caller{app, id, due}, err
}

// ask acquires the install of who asks something that costs as much as some items.
func (g *Gateway) ask(ctx context.Context, who caller, cost int, field string) (*install, error) {
	in, err := g.installs.acquire(ctx, who.app.Workspace, who.install)
	if err != nil {
		return nil, err
	}
	if e := g.mayAsk(in, cost, field); e != nil {
		g.installs.release(in)
		return nil, e
	}
	return in, nil
}

// getConfig answers GET /sdk/v1/config.
func (g *Gateway) getConfig(ctx context.Context, r *http.Request, _ sdkproto.Codec) (*sdkpb.BatchReply, error) {
	who, err := g.identify(ctx, r)
	if err != nil {
		return nil, err
	}
	c := who.app.Config
	if c == nil {
		c = readme
	}
	return &sdkpb.BatchReply{Config: c}, nil
}

// getInbox answers GET /sdk/v1/inbox?cursor=.
func (g *Gateway) getInbox(ctx context.Context, r *http.Request, _ sdkproto.Codec) (*sdkpb.BatchReply, error) {
	who, err := g.identify(ctx, r)
	if err != nil {
		return nil, err
	}
	cursor := r.URL.Query().Get("cursor")
	if e := checkCursor("cursor", cursor); e != nil {
		return nil, e
	}
	in, err := g.ask(ctx, who, syncCost, "inbox")
	if err != nil {
		return nil, err
	}
	defer g.installs.release(in)
	x, _, err := g.inboxSince(ctx, in, capsOfHeader(r.Header.Get(sdkproto.HeaderCaps)), cursor, maxInboxBytes)
	if err != nil {
		return nil, err
	}
	return &sdkpb.BatchReply{Inbox: x}, nil
}

// postBatch takes the batch of a woken app.
func (g *Gateway) postBatch(ctx context.Context, r *http.Request, codec sdkproto.Codec) (*sdkpb.BatchReply, error) {
	start := g.o.Clock.Now()
	who, err := g.identify(ctx, r)
	if err != nil {
		return nil, err
	}
	app, id := who.app, who.install
	b := new(sdkpb.Batch)
	if err := body(r, codec, sdkproto.MaxBodyBytes, b); err != nil {
		return nil, err
	}
	if e := checkBatch(b); e != nil {
		return nil, e
	}
	if len(b.GetItems()) > 0 { // without items it asks for what waits, which needs no log
		if e := g.mayTake(g.installs.slotOf(app.Workspace, id)); e != nil {
			return nil, e
		}
	}
	in, err := g.installs.acquire(ctx, app.Workspace, id)
	if err != nil {
		return nil, err
	}
	defer g.installs.release(in)
	now := g.o.Clock.Now()
	if e := g.mayBring(in, g.apps.of(&app), len(b.GetItems()), now); e != nil {
		return nil, e
	}
	ack := &sdkpb.Ack{BatchId: b.GetBatchId()}
	landed := make(chan error, 1)
	var stalled <-chan struct{}
	nothing, err := g.take(in, &app, b, now, ack, nil, func(entries []engage.Entry) (err error) {
		stalled, err = g.append(in, entries, func(err error) { landed <- err })
		return err
	})
	if err == nil && !nothing {
		err = g.await(ctx, in, landed, stalled)
	}
	if err != nil {
		return nil, err
	}
	now = g.o.Clock.Now()
	ack.ServerMs = now.UnixMilli()
	g.metrics.ackedPost(now.Sub(start))
	reply := &sdkpb.BatchReply{Ack: ack}
	if a := b.GetRegionsAck(); a != nil {
		in.acknowledged(a)
	}
	c := capsOfHeader(r.Header.Get(sdkproto.HeaderCaps))
	// An answer to an earlier attempt may have been lost with a set of regions in
	// it; a batch without items asks for what is new.
	again := b.GetAttempt() > 1 || len(b.GetItems()) == 0
	a := g.asks(&app, c, again, now)
	g.encloseRegions(ctx, reply, in, &a)
	if b.ConfigEtag != nil {
		g.encloseConfig(reply, in, &app, b.GetConfigEtag())
	}
	g.encloseInbox(ctx, reply, in, c, b.InboxCursor)
	if token := g.renew(ctx, &app, id, who.due); token != "" {
		reply.NewToken = &sdkpb.NewToken{DeviceToken: token}
	}
	return reply, nil
}

// encloseRegions adds the set that the phone should watch to an answer, in the place
// of one that a session would bring again.
func (g *Gateway) encloseRegions(ctx context.Context, reply *sdkpb.BatchReply, in *install, a *asking) {
	a.post = true
	in.mu.Lock()
	defer in.mu.Unlock()
	if reply.Regions = g.regionsOf(ctx, in, a); reply.Regions != nil {
		g.installs.told(in, topicRegions)
	}
}

// encloseConfig adds the config to an answer, likewise, if it is another than the
// phone has.
func (g *Gateway) encloseConfig(reply *sdkpb.BatchReply, in *install, app *App, etag string) {
	if reply.Config = configFor(app, etag); reply.Config != nil {
		g.installs.told(in, topicConfig)
	}
}
