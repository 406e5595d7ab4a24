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
	"syscall"
	"time"

	"github.com/gorilla/websocket"

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
	raw   syscall.RawConn // of conn; nil where it is no plain socket
	codec sdkproto.Codec
	from  netip.Addr

	// Set by hello, before the session is known to others.
	id     string
	in     *install
	appKey string
	app    atomic.Pointer[App]
	pace   *pace // of the app's items
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
	flushing bool // somebody writes what waits, or will
	pingDue  bool
	byeSent  bool
	pongDue  *string   // the payload; nil means that none is
	bye      *farewell // nil means that the session goes on
	first    *outbound // that waits, in a list; nil means that none does
	last     *outbound
	queued   int // bytes of these and of those being written
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
	g.wheel.expectHello(s)
	if plain, ok := conn.NetConn().(syscall.Conn); ok {
		if raw, err := plain.SyscallConn(); err == nil { // else it is closed, as the reader will find
			s.raw = raw
		}
	}
	conn.SetPongHandler(func(string) error {
		s.alive.silent.Store(false)
		return nil
	})
	// What gorilla would write by itself could come between the parts of a frame.
	conn.SetPingHandler(s.pong)
	conn.SetCloseHandler(s.closed)
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

// reading is the memory for a message that is being read, which is used again.
type reading struct {
	buf     []byte
	decoder sdkproto.Decoder
}

var readings = sync.Pool{New: func() any { return new(reading) }}

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
	in, _ := readings.Get().(*reading)
	defer readings.Put(in)
	msg, err := readMessage(r, in.buf[:0])
	in.buf = msg[:0]
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
	// What is kept of a frame is texts, and what is made of it.
	frames, err := in.decoder.DecodeFrames(s.codec, msg, 0)
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
		s.g.metrics.came("unknown")
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
			s.tellRegions(s.g.o.Clock.Now())
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
	s.g.metrics.came(name)
}

// hello opens the session.
func (s *session) hello(f *sdkpb.Frame) {
	s.g.metrics.came("hello")
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
	s.pace = s.g.apps.of(&who.app)
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
	s.pushLocked(frameOf(welcome))
	s.mu.Unlock()

	a := s.g.asks(&who.app, s.caps, regions == "" || regions != in.watch.etag, s.g.o.Clock.Now())
	a.has = regions
	newRegions := s.g.regionsOf(s.life, in, &a)
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
func (s *session) tellRegions(now time.Time) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	a := s.g.asks(s.app.Load(), s.caps, false, now)
	if r := s.g.regionsOf(s.life, s.in, &a); r != nil {
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
