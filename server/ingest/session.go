package ingest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

const (
	// askWithin bounds what a hello asks the others.
	askWithin = 10 * time.Second
	// claimWithin bounds a claim: meanwhile nobody reads, so pongs are not heard.
	claimWithin = sdkproto.DeadAfter / 2
)

// session is one websocket, from the handshake to its end.
type session struct {
	g     *Gateway
	life  context.Context // the gateway's, for what the reader asks the others: the request's ends with the handshake
	conn  *websocket.Conn
	codec sdkproto.Codec
	from  netip.Addr

	// Set by hello, before the session is known to others.
	id     string
	in     *install
	appKey string
	app    atomic.Pointer[App]
	caps   caps
	// minted is the hash of the token that was given to a first hello in this session,
	// until it is confirmed; nil: there is nothing to confirm. The reader's alone.
	minted []byte

	alive liveness
	slot  uint64 // of the wheel, guarded by it
	mail  mailbox

	mu       sync.Mutex
	opened   bool // hello_ok is queued
	ended    bool // the connection is of no use any more
	flushing bool // a goroutine empties the queue
	pingDue  bool
	byeSent  bool
	bye      *farewell // nil means that the session goes on
	queue    []outbound
	queued   int // bytes in queue and being written
	writing  int // bytes being written
	flights  int // batches that the log has and has not answered
	flying   int // their items
	// held is until when the phone was told to send no batch because the log could
	// not take one. What it had sent before it heard that is refused too, so that
	// nothing overtakes what was refused.
	held time.Time
}

// serveSocket is the handshake. It returns while the session lives.
func (g *Gateway) serveSocket(w http.ResponseWriter, r *http.Request) {
	life, err := g.enter()
	if err != nil {
		g.refuseError(r.Context(), w, sdkproto.JSON{}, err, "handshake")
		return
	}
	if !slices.ContainsFunc(websocket.Subprotocols(r), func(p string) bool {
		return p == sdkproto.SubprotocolPB || p == sdkproto.SubprotocolJSON
	}) {
		err = sdkproto.Errorf(sdkproto.ErrMalformed, "Sec-WebSocket-Protocol", "must offer %s or %s",
			sdkproto.SubprotocolPB, sdkproto.SubprotocolJSON)
	} else {
		err = g.reserve()
	}
	if err != nil {
		g.refuseError(r.Context(), w, sdkproto.JSON{}, err, "handshake")
		g.wg.Done()
		return
	}
	conn, err := g.upgrader.Upgrade(w, r, nil)
	if err != nil { // it has been answered
		g.unreserve()
		g.wg.Done()
		return
	}
	s := &session{g: g, life: life, conn: conn, codec: sdkproto.CodecFor(conn.Subprotocol()), from: addressOf(r.RemoteAddr)}
	g.metrics.sessions.Inc()
	g.wheel.expectHello(s)
	conn.SetPongHandler(func(string) error {
		s.alive.silent.Store(false)
		return nil
	})
	if !g.register(s) {
		s.close(sdkproto.CloseShutdown, "", atOnce)
	}
	go s.run() //nolint:contextcheck // the request's context ends with the handshake
}

// run reads until the connection ends.
func (s *session) run() {
	defer s.g.wg.Done()
	defer s.end()
	defer func() {
		if p := recover(); p != nil { // one bad frame stops nobody else
			s.g.log.Error("session panicked", "install", s.installID(), "stack", string(debug.Stack()))
			s.g.metrics.closing(sdkproto.CloseInternal)
		}
	}()
	for {
		kind, r, err := s.conn.NextReader()
		if err != nil {
			return
		}
		s.alive.silent.Store(false)
		if !s.isClosing() {
			s.message(kind, r)
		}
	}
}

func (s *session) end() {
	s.abort()
	s.g.wheel.forget(s)
	if s.in != nil {
		s.g.sessions.remove(s)
		s.in.detach(s)
		s.g.logEnd(s.in, s.id)
		s.g.installs.release(s.in)
	}
	s.g.dismiss(s)
	s.g.metrics.sessions.Dec()
}

func (s *session) installID() string {
	if s.in == nil {
		return ""
	}
	return s.in.key.install
}

// fail says what is wrong and closes.
func (s *session) fail(e *sdkproto.Error) {
	s.g.metrics.failed(e.Code)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(&farewell{code: closeCodeOf(e.Code), text: e.Code.Info().Name, words: e.Frame(0), patient: patiently})
}

func closeCodeOf(c sdkproto.ErrorCode) sdkproto.CloseCode {
	switch c {
	case sdkproto.ErrToken:
		return sdkproto.CloseToken
	case sdkproto.ErrAppKey:
		return sdkproto.CloseAppKey
	case sdkproto.ErrBlocked:
		return sdkproto.CloseBlocked
	case sdkproto.ErrNoHello:
		return sdkproto.CloseNoHello
	case sdkproto.ErrVersion:
		return sdkproto.CloseVersion
	case sdkproto.ErrMalformed:
		return sdkproto.CloseMalformed
	case sdkproto.ErrTooLarge:
		return sdkproto.CloseTooLarge
	case sdkproto.ErrRate:
		return sdkproto.CloseRate
	}
	return sdkproto.CloseInternal
}

// complain answers a frame with an error; the session goes on.
func (s *session) complain(re uint64, e *sdkproto.Error) {
	s.g.metrics.failed(e.Code)
	s.push(e.Frame(re))
}

var readBuffers = sync.Pool{New: func() any { return new([]byte) }}

var errMessageTooLarge = errors.New("message too large")

// readMessage reads one websocket message of at most sdkproto.MaxFrameBytes,
// taking memory only for what has come.
func readMessage(r io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(max(2*cap(buf), 1024), sdkproto.MaxFrameBytes+1))
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > sdkproto.MaxFrameBytes:
			return buf, errMessageTooLarge
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

// message takes one websocket message. An error of the connection shows itself
// at the next read.
func (s *session) message(kind int, r io.Reader) {
	buf, _ := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	msg, err := readMessage(r, (*buf)[:0])
	*buf = msg[:0]
	switch {
	case errors.Is(err, errMessageTooLarge):
		s.fail(sdkproto.Errorf(sdkproto.ErrTooLarge, "", "more than %d bytes", sdkproto.MaxFrameBytes))
		return
	case err != nil:
		return
	case (kind == websocket.BinaryMessage) != s.codec.Binary():
		s.fail(sdkproto.Errorf(sdkproto.ErrMalformed, "", "not a message of %s", s.codec.Subprotocol()))
		return
	}
	frames, err := s.codec.DecodeFrames(msg, 0)
	for _, f := range frames {
		s.receive(f)
		if s.isClosing() {
			return
		}
	}
	if err != nil {
		s.fail(s.g.answer(s.life, err, "decode"))
	}
}

func (s *session) receive(f *sdkpb.Frame) {
	bad := sdkproto.CheckFrame(f)
	if s.in != nil && f.GetDownAck() > 0 {
		s.acknowledged(f.GetDownAck())
	}
	if s.in == nil {
		if bad != nil || f.Hello == nil {
			s.fail(sdkproto.Errorf(sdkproto.ErrNoHello, "", "the first frame must be hello"))
			return
		}
		s.hello(f)
		return
	}
	if bad != nil {
		s.g.metrics.frames.WithLabelValues("unknown").Inc()
		s.complain(f.GetId(), s.g.answer(s.life, bad, "check frame"))
		return
	}
	name := "unexpected"
	switch {
	case f.Batch != nil:
		name = "batch"
		s.batch(f.GetId(), f.Batch)
	case f.Claim != nil:
		name = "claim"
		s.claim(f.GetId(), f.Claim.GetMessageId())
	case f.RegionsAck != nil:
		name = "regions_ack"
		if s.in.acknowledged(f.RegionsAck) {
			s.tellRegions()
		}
	case f.Ping != nil:
		name = "ping"
		s.push(&sdkpb.Frame{Re: f.GetId(), Pong: &sdkpb.Pong{}})
	case f.Pong != nil:
		name = "pong"
	case f.InboxSync != nil:
		name = "inbox_sync"
		s.inboxSync(f.GetId(), f.InboxSync.GetCursor())
	case f.TokenRefresh != nil:
		name = "token_refresh"
		s.tokenRefresh(f.GetId())
	default:
		s.complain(f.GetId(), sdkproto.Errorf(sdkproto.ErrMalformed, "", "a frame that only the server sends, or a second hello"))
	}
	s.g.metrics.frames.WithLabelValues(name).Inc()
}

// hello opens the session.
func (s *session) hello(f *sdkpb.Frame) {
	s.g.metrics.frames.WithLabelValues("hello").Inc()
	s.g.wheel.greeted(s)
	ctx, cancel := context.WithTimeout(s.life, askWithin)
	defer cancel()
	leave, e := s.g.admit(ctx)
	if e != nil {
		s.fail(e)
		return
	}
	defer leave()
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	s.id = hex.EncodeToString(b[:])
	h := has{f.Hello.GetResume(), f.Hello.GetConfigEtag(), f.Hello.GetRegionsEtag(), f.Hello.InboxCursor}
	who, err := s.g.greet(ctx, f.Hello, s.from, s.id)
	if err != nil {
		s.fail(s.g.answer(s.life, err, "hello"))
		return
	}
	if who.token != "" {
		s.minted = tokenHash(who.token)
	}
	if token := s.g.renew(ctx, &who.app, who.in.key.install, who.due); token != "" {
		who.token = token
	}
	s.in = who.in
	s.appKey = who.key
	s.app.Store(&who.app)
	s.caps = who.caps
	s.g.sessions.put(s)
	s.g.wheel.opened(s)
	w, answered := s.welcome(f.GetId(), &who, &h)
	if !answered {
		return
	}
	s.followApp() // a change that came before put has missed this session
	switch {
	case h.cursor != nil:
		s.openInbox(ctx, *h.cursor)
	case w.cursor != "":
		s.openInbox(ctx, w.cursor)
	case !s.caps.inbox && w.messages:
		s.tellMessages(ctx)
	}
}

// has is what a hello says that the phone has.
type has struct {
	resume          *sdkpb.Resume
	config, regions string  // etags
	cursor          *string // of the inbox; nil asks for nothing
}

// welcomed is what a session begins with beside what it was told.
type welcomed struct {
	cursor   string // of an inbox that was sent again; empty means of none
	messages bool   // messages may wait for an SDK that does not ask by cursor
}

// welcome answers the hello, and tells what the phone lacks: when it resumes the
// frames that it had not taken, and what has changed since; else what its etags do
// not show that it has. Until it returns nobody else tells the phone anything, so
// that numbers go out in their order. A session whose place a newer one has meanwhile
// taken is not answered: it must not take the numbered frames from that one.
func (s *session) welcome(re uint64, who *greeted, h *has) (w welcomed, answered bool) {
	in, x := s.in, s.g.installs
	in.mu.Lock()
	defer in.mu.Unlock()
	in.downMu.Lock()
	defer in.downMu.Unlock()
	if s.g.sessions.find(in.key.workspace, in.key.install) != s {
		return w, false
	}
	ok := s.g.helloOk(who, s.id)
	w.messages = true
	regions, config := h.regions, h.config
	if s.caps.resume {
		ok.Resumed = x.resume(in, s, h.resume, s.g.o.Clock.Now())
		d := in.down
		ok.Epoch = d.epoch
		if ok.Resumed {
			w.messages, d.missed = d.missed, false
			if h.cursor != nil { // it is answered as of now
				d.drop(x, func(k *kept) bool { return k.topic == topicInbox })
			}
			if etag, waits := d.pending(topicRegions); waits {
				regions = etag
			}
			if etag, waits := d.pending(topicConfig); waits {
				config = etag
			}
		}
		s.g.metrics.resuming(h.resume != nil, ok.Resumed)
	} else {
		x.forgetDown(in)
	}
	welcome := &sdkpb.Frame{Re: re, HelloOk: ok}
	s.mu.Lock()
	s.opened = true
	s.pushLocked(welcome, proto.Size(welcome))
	s.mu.Unlock()

	a := s.g.asks(&who.app, s.caps, regions == "" || regions != in.watch.etag)
	a.has = regions
	newRegions := s.g.regionsOf(s.life, in, a)
	var newConfig *sdkpb.Config
	if s.caps.config {
		newConfig = configFor(&who.app, config)
	}
	if ok.Resumed {
		in.down.drop(x, func(k *kept) bool {
			return k.topic == topicRegions && newRegions != nil || k.topic == topicConfig && newConfig != nil
		})
		w.cursor = s.replay()
	}
	if newConfig != nil {
		s.tellLocked(configFrame(newConfig))
	}
	if newRegions != nil {
		s.tellLocked(regionsFrame(newRegions))
	}
	return w, true
}

func regionsFrame(r *sdkpb.Regions) (*sdkpb.Frame, number) {
	return &sdkpb.Frame{Regions: r}, number{topic: topicRegions, etag: r.GetEtag()}
}

// tellRegions sends the set to watch if it is another than before. The install
// stays locked until the set is queued, so that of two the later one is the last
// that the phone hears.
func (s *session) tellRegions() {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if r := s.g.regionsOf(s.life, s.in, s.g.asks(s.app.Load(), s.caps, false)); r != nil {
		s.tell(regionsFrame(r))
	}
}

// followApp takes the app as it is now, and closes if it is no more. The install
// is locked so that of two changes the later one is the last that the phone hears.
func (s *session) followApp() {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	before := s.app.Load()
	app, err := s.g.app(s.appKey)
	if err == nil && (app.Workspace != before.Workspace || app.ID != before.ID) {
		err = sdkproto.Errorf(sdkproto.ErrAppKey, "app_key", "the key is another app's now")
	}
	if err != nil {
		s.fail(s.g.answer(s.life, err, "follow the catalog"))
		return
	}
	s.app.Store(&app)
	if !s.caps.config {
		return
	}
	if c := configFor(&app, before.Config.GetEtag()); c != nil {
		s.tell(configFrame(c))
	}
}

// batch judges a batch and has the good items logged; the ack follows when they
// are durable.
func (s *session) batch(re uint64, b *sdkpb.Batch) {
	start := s.g.metrics.now()
	if e := checkBatch(b); e != nil {
		s.complain(re, e)
		return
	}
	if e := s.mayTake(b); e != nil {
		s.hold(re, e)
		return
	}
	if s.minted != nil && slices.ContainsFunc(b.Items, func(i *sdkpb.Item) bool { return i.GetIdentify() != nil }) && !s.confirm(re) {
		return
	}
	if !s.depart(len(b.Items)) {
		s.complain(re, sdkproto.Errorf(sdkproto.ErrCredit, "batch.items", "more than %d items in flight", s.g.o.Limits.Credit))
		return
	}
	if e := s.g.mayBring(s.in, s.app.Load(), len(b.Items)); e != nil {
		// What came after it waits too: none may overtake it.
		s.hold(0, e)
		s.arrive(len(b.Items), e.Frame(re))
		return
	}
	now := s.g.o.Clock.Now()
	ack := &sdkpb.Ack{BatchId: b.GetBatchId()}
	n := len(b.Items)
	landed := func(err error) {
		var f *sdkpb.Frame
		if err != nil {
			e := s.g.answer(s.life, err, "log batch")
			s.hold(0, e)
			f = e.Frame(re)
		} else {
			ack.ServerMs = s.g.o.Clock.Now().UnixMilli()
			f = &sdkpb.Frame{Re: re, Ack: ack}
			s.g.metrics.acked("ws", start)
		}
		s.arrive(n, f)
	}
	if _, err := s.g.take(s.in, s.app.Load(), b, now, ack, landed); err != nil {
		landed(err)
		return
	}
	s.tellRegions()
}

// confirm ends the time in which a hello without a token gets another one, before
// something depends on whose the install is: a phone sends nothing before it has kept
// the token. False means that it could not be, and that the phone has been told so.
func (s *session) confirm(re uint64) bool {
	ctx, cancel := context.WithTimeout(s.life, claimWithin)
	defer cancel()
	err := s.g.confirm(ctx, s.app.Load(), s.in.key.install, s.minted)
	if err == nil {
		s.minted = nil
		return true
	}
	if e := s.g.answer(ctx, err, "confirm token"); e.Code == sdkproto.ErrToken {
		s.fail(e) // another hello has another token: who is this?
	} else {
		s.hold(re, e)
	}
	return false
}

// mayTake refuses a batch that the log could not take now, and what was on its
// way when an earlier one was refused.
func (s *session) mayTake(b *sdkpb.Batch) *sdkproto.Error {
	if len(b.Items) == 0 {
		return nil
	}
	s.mu.Lock()
	rest := s.held.Sub(s.g.o.Clock.Now())
	s.mu.Unlock()
	if rest > 0 {
		e := sdkproto.Errorf(sdkproto.ErrRate, "", "an earlier batch waits to be sent again")
		e.RetryAfter = (rest + time.Millisecond - 1).Truncate(time.Millisecond)
		return e
	}
	return s.g.mayTake(s.in.slot)
}

// hold remembers that the phone was told to wait; with re it is told now.
func (s *session) hold(re uint64, e *sdkproto.Error) {
	s.g.metrics.failed(e.Code)
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := s.g.o.Clock.Now().Add(e.RetryAfter); until.After(s.held) {
		s.held = until
	}
	if re != 0 {
		f := e.Frame(re)
		s.pushLocked(f, proto.Size(f))
	}
}

// tellToWait asks the phone to send no batch, if it has sent one that the log
// does not answer, and was not asked already. What it sent stays with the log:
// its ack comes when it is durable.
func (s *session) tellToWait(now time.Time) {
	if !s.in.slot.stalled.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flights == 0 || s.bye != nil || s.held.After(now) {
		return
	}
	e := sdkproto.Errorf(sdkproto.ErrRate, "", "the log does not answer")
	e.RetryAfter = s.g.patience(s.in.slot)
	s.held = now.Add(e.RetryAfter)
	s.g.metrics.failed(e.Code)
	s.g.metrics.waits.WithLabelValues("in_flight").Inc()
	f := e.Frame(0)
	s.pushLocked(f, proto.Size(f))
}

// depart counts a batch out, unless that is beyond the credit.
func (s *session) depart(items int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying+items > s.g.o.Limits.Credit {
		return false
	}
	s.flights++
	s.flying += items
	return true
}

// arrive counts it in, with its answer. It does not block: the log calls it.
func (s *session) arrive(items int, f *sdkpb.Frame) {
	size := proto.Size(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flights--
	s.flying -= items
	s.pushLocked(f, size)
	s.kickLocked() // a patient close waits for this
}

// checkBatch checks what is not an item's own fault. A batch of too many items
// does not come here: the codecs refuse it.
func checkBatch(b *sdkpb.Batch) *sdkproto.Error {
	if len(b.GetBatchId()) > 4*sdkproto.MaxIDChars {
		return sdkproto.Errorf(sdkproto.ErrMalformed, "batch.batch_id", "at most %d characters", sdkproto.MaxIDChars)
	}
	if len(b.GetConfigEtag()) > sdkproto.MaxIDChars {
		return sdkproto.Errorf(sdkproto.ErrMalformed, "batch.config_etag", "at most %d characters", sdkproto.MaxIDChars)
	}
	return checkCursor("batch.inbox_cursor", b.GetInboxCursor())
}

// maxRejectBytes is what the rejects of one ack may take before they lose what
// their seq and code do not need.
const maxRejectBytes = chunkBytes - 1024

// take judges a batch, fills the ack and hands the good items to the log. Landed
// is called once when they are durable or the log failed, unless take returns an
// error: then nothing was taken. Stalled is as in append; nil for never.
func (g *Gateway) take(in *install, app *App, b *sdkpb.Batch, received time.Time, ack *sdkpb.Ack, landed func(error)) (stalled <-chan struct{}, err error) {
	nothing, err := func() (bool, error) {
		in.mu.Lock()
		defer in.mu.Unlock()
		v := in.view
		j := g.judge(&v, in, app, b, received)
		ack.ThroughSeq, ack.Rejects = j.through, j.rejects
		shorten(ack)
		if len(j.entries) == 0 {
			in.seen(j.through)
			return true, nil
		}
		var err error
		if stalled, err = g.append(in, j.entries, landed); err == nil {
			in.seen(j.through)
			if in.take(&v) {
				g.installs.left(in)
			}
		}
		return false, err
	}()
	if nothing {
		landed(nil)
	}
	return stalled, err
}

// shorten takes from many rejects what their seq and code do not need, so that
// the ack fits into a message.
func shorten(ack *sdkpb.Ack) {
	if len(ack.Rejects) == 0 || proto.Size(ack) <= maxRejectBytes {
		return
	}
	for _, r := range ack.Rejects {
		r.ItemId, r.Reason = "", ""
	}
}

// claim answers whether the phone may show a message.
func (s *session) claim(re uint64, message string) {
	if message == "" || len(message) > 4*sdkproto.MaxIDChars {
		s.complain(re, sdkproto.Errorf(sdkproto.ErrMalformed, "claim.message_id", "must be 1 to %d characters", sdkproto.MaxIDChars))
		return
	}
	ctx, cancel := context.WithTimeout(s.life, claimWithin)
	defer cancel()
	granted, reason, err := s.g.o.Deliveries.Claim(ctx, s.in.key.workspace, s.in.key.install, message)
	if err != nil {
		e := s.g.answer(ctx, err, "claim")
		if engage.CodeOf(err) == engage.NotFound {
			s.push(&sdkpb.Frame{Re: re, Grant: &sdkpb.Grant{MessageId: message, Reason: "unknown"}})
			return
		}
		s.complain(re, e)
		return
	}
	if granted {
		reason = ""
	}
	s.push(&sdkpb.Frame{Re: re, Grant: &sdkpb.Grant{MessageId: message, Granted: granted, Reason: reason}})
}
