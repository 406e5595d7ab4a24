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
	h.Set("Access-Control-Allow-Methods", "GET, POST")
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

// servePost does what is common to the POSTs: admission, encoding, time.
func (g *Gateway) servePost(w http.ResponseWriter, r *http.Request,
	handle func(context.Context, *http.Request, sdkproto.Codec) (*sdkpb.BatchReply, error),
) {
	allowOrigins(w)
	codec := sdkproto.CodecFor(r.Header.Get("Content-Type"))
	if codec == nil {
		g.refuseError(r.Context(), w, sdkproto.JSON{}, sdkproto.Errorf(sdkproto.ErrMalformed, "Content-Type",
			"must be %s or %s", sdkproto.ContentTypePB, sdkproto.ContentTypeJSON), "post")
		return
	}
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
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	defer context.AfterFunc(life, cancel)() //nolint:contextcheck // the gateway's end ends requests too
	// A body that trickles in does not hold its place for longer. Where the
	// server behind w has no deadlines, its own must do.
	_ = http.NewResponseController(w).SetReadDeadline(soon(answerWithin))
	reply, err := handle(ctx, r, codec)
	if err != nil {
		g.refuseError(r.Context(), w, codec, err, "post")
		return
	}
	g.reply(w, codec, http.StatusOK, reply)
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
		reply.Messages = nil
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
	who, err := g.greet(ctx, h, addressOf(r.RemoteAddr), "")
	if err != nil {
		return nil, err
	}
	defer g.installs.release(who.in)
	reply := &sdkpb.BatchReply{HelloOk: g.helloOk(&who, "")}
	g.enclose(ctx, reply, who.in, g.asks(&who.app, who.caps, true))
	return reply, nil
}

func bearer(r *http.Request) string {
	a := r.Header.Get(sdkproto.HeaderAuthorization)
	if n := len(sdkproto.BearerPrefix); len(a) > n && strings.EqualFold(a[:n], sdkproto.BearerPrefix) {
		return a[n:]
	}
	return ""
}

// postBatch takes the batch of a woken app.
func (g *Gateway) postBatch(ctx context.Context, r *http.Request, codec sdkproto.Codec) (*sdkpb.BatchReply, error) {
	start := g.metrics.now()
	app, err := g.app(r.Header.Get(sdkproto.HeaderAppKey))
	if err != nil {
		return nil, err
	}
	id := r.Header.Get(sdkproto.HeaderInstall)
	if !sdkproto.ValidInstallID(id) {
		return nil, sdkproto.Errorf(sdkproto.ErrMalformed, sdkproto.HeaderInstall, "must be an install id")
	}
	if _, err := g.authenticate(ctx, &app, id, bearer(r)); err != nil {
		return nil, err
	}
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
	if e := g.mayBring(in, len(b.GetItems())); e != nil {
		return nil, e
	}
	ack := &sdkpb.Ack{BatchId: b.GetBatchId()}
	landed := make(chan error, 1)
	stalled, err := g.take(in, &app, b, g.o.Clock.Now(), ack, func(err error) { landed <- err })
	if err == nil {
		err = g.await(ctx, in, landed, stalled)
	}
	if err != nil {
		return nil, err
	}
	ack.ServerMs = g.o.Clock.Now().UnixMilli()
	g.metrics.acked("post", start)
	reply := &sdkpb.BatchReply{Ack: ack}
	if a := b.GetRegionsAck(); a != nil {
		in.acknowledged(a)
	}
	// An answer to an earlier attempt may have been lost with a set of regions in
	// it; a batch without items asks for what is new.
	again := b.GetAttempt() > 1 || len(b.GetItems()) == 0
	g.enclose(ctx, reply, in, g.asks(&app, capsOfHeader(r.Header.Get(sdkproto.HeaderCaps)), again))
	return reply, nil
}

// enclose adds what the phone should know to an answer.
func (g *Gateway) enclose(ctx context.Context, reply *sdkpb.BatchReply, in *install, a *asking) {
	a.post = true
	in.mu.Lock()
	reply.Regions = g.regionsOf(ctx, in, a)
	in.mu.Unlock()
	messages, err := g.o.Deliveries.Inbox(ctx, in.key.workspace, in.key.install)
	if err != nil {
		g.inboxFailed(ctx, in, err)
		return
	}
	size := 0
	for i, m := range messages {
		if size += proto.Size(m); size > maxInboxBytes {
			messages = messages[:i]
			break
		}
	}
	reply.Messages = messages
}
