package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// RetryError says that the server asked for patience, or could not.
type RetryError struct {
	After time.Duration // 0 means the client's own backoff
	Err   error

	exact bool // After is a time of this phone's own: nothing is added
}

// Error implements error.
func (e *RetryError) Error() string {
	return fmt.Sprintf("client: try again after %v: %v", e.After, e.Err)
}

// Unwrap returns the cause.
func (e *RetryError) Unwrap() error { return e.Err }

// session is one open websocket. All but conn and the limits is guarded by
// Client.mu.
type session struct {
	conn       *websocket.Conn
	shown      string // the device token of hello
	frameBytes int
	batchItems int
	silence    time.Duration // that makes the server dead

	credit  int
	flying  int // items
	lastID  uint64
	out     []*sdkpb.Frame // control frames that wait for the writer
	flights []*flight
	claims  map[uint64]claim       // by the id of the claim's frame
	asked   map[uint64]chan answer // likewise
	pages   int                    // of the inbox, followed in a row
	ackBy   time.Time              // when the newest numbered frame must be acknowledged; zero means none
	leave   *leave                 // the server said goaway
	pause   time.Time              // no batch before; zero means none
	fresh   time.Time              // when the oldest waiting item was noticed, for FlushAfter
	fatal   error                  // what the server said before it closed
}

// leave is how the client follows a goaway.
type leave struct {
	why   error     // with the delay
	until time.Time // acks are waited for
}

// Deadlines of the socket.
const (
	helloWait = 15 * time.Second
	writeWait = 10 * time.Second
	// pauseWithout is the pause after a retryable refusal that names none.
	pauseWithout = time.Second
	// leaveWithin is how long acks are waited for after a goaway.
	leaveWithin = 10 * time.Second
)

// runSession is one connection from dial to close. Opened says that hello was
// answered. The error is never nil: why it ended.
func (c *Client) runSession(ctx context.Context) (opened bool, err error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return false, err
	}
	// Nothing else ends a blocked read or write when ctx ends.
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second))
		_ = conn.Close()
	})
	defer func() {
		if !stop() {
			<-closed
		}
		_ = conn.Close()
	}()
	s, err := c.greet(ctx, conn)
	if err != nil {
		return false, err
	}
	c.state(Open, nil)

	writerDone := make(chan struct{})
	readerDone := make(chan struct{})
	go func() {
		defer close(writerDone)
		c.write(s, readerDone)
	}()
	err = c.read(ctx, s)
	close(readerDone)
	_ = conn.Close()
	<-writerDone
	return true, c.end(s, err)
}

// end takes back what was in flight, and says why the session ended.
func (c *Client) end(s *session, err error) error {
	code := sdkproto.CloseCode(0)
	ce, ok := errors.AsType[*websocket.CloseError](err)
	if ok {
		code = sdkproto.CloseCode(ce.Code)
	}
	var done settled
	c.mu.Lock()
	c.session = nil
	asked := s.asked
	s.asked, s.claims = nil, nil
	var lost []*entry
	for _, f := range s.flights {
		lost = append(lost, f.entries...)
		land(bySocket, f.entries)
	}
	malformed := code == sdkproto.CloseMalformed
	if tooLarge := code == sdkproto.CloseTooLarge || code == websocket.CloseMessageTooBig; malformed || tooLarge {
		reject := sdkproto.RejectInvalid
		if tooLarge {
			reject = sdkproto.RejectTooLarge
		}
		done = c.queue.bisect(bySocket, lost, reject, "the server closed the connection over a batch of this item alone")
	}
	fatal := s.fatal
	c.mu.Unlock()
	for _, ch := range asked {
		ch <- answer{err: errSessionEnded}
	}
	c.finish(done)
	if fatal != nil {
		return s.showed(fatal)
	}
	if code.Terminal() {
		return &TerminalError{Close: code, Reason: ce.Text, shown: s.shown}
	}
	if s.leave != nil {
		return s.leave.why
	}
	return fmt.Errorf("client: connection lost: %w", err)
}

// showed adds to a terminal error which token it may be about.
func (s *session) showed(err error) error {
	if t, ok := errors.AsType[*TerminalError](err); ok {
		t.shown = s.shown
	}
	return err
}

func (c *Client) dial(ctx context.Context) (*websocket.Conn, error) {
	conn, resp, err := c.dialer.DialContext(ctx, c.url(sdkproto.PathWS, true), nil) //nolint:bodyclose // gorilla has read the body and closed the connection
	if err != nil {
		if resp == nil || resp.StatusCode < 400 {
			return nil, fmt.Errorf("client: dial: %w", err)
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // what gorilla kept of it
		return nil, c.httpError(resp, body)
	}
	if conn.Subprotocol() != c.codec.Subprotocol() {
		_ = conn.Close()
		return nil, fmt.Errorf("client: server does not speak %s", c.codec.Subprotocol())
	}
	return conn, nil
}

// greet exchanges hello and hello_ok.
func (c *Client) greet(ctx context.Context, conn *websocket.Conn) (*session, error) {
	if !c.Registered() {
		// Nobody else asks for a token meanwhile: it would take the place of this one.
		select {
		case c.regLock <- struct{}{}:
			defer func() { <-c.regLock }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(helloWait))
	_ = conn.SetWriteDeadline(time.Now().Add(writeWait))
	hello, shown := c.hello(sdkpb.Lifecycle_STATE_FOREGROUND)
	if err := c.send(conn, &sdkpb.Frame{Id: 1, Hello: hello}); err != nil {
		return nil, fmt.Errorf("client: send hello: %w", err)
	}
	conn.SetReadLimit(sdkproto.MaxFrameBytes)
	s := &session{
		conn: conn, shown: shown, lastID: 1, credit: sdkproto.DefaultCredit, frameBytes: sdkproto.MaxFrameBytes,
		batchItems: sdkproto.MaxBatchItems, silence: sdkproto.PingEvery + c.opts.DeadAfter,
	}
	_, msg, err := conn.ReadMessage()
	if err != nil {
		return nil, c.end(s, err)
	}
	frames, err := c.codec.DecodeFrames(msg, 0)
	if err != nil {
		return nil, fmt.Errorf("client: answer to hello: %w", err)
	}
	if len(frames) == 0 || frames[0].HelloOk == nil && frames[0].Error == nil {
		return nil, errors.New("client: answer to hello is neither hello_ok nor error")
	}
	if e := frames[0].Error; e != nil {
		return nil, s.showed(frameError(e))
	}
	ok := frames[0].HelloOk
	if err := c.welcome(ctx, ok, shown, true); err != nil {
		return nil, err
	}
	if shown == "" {
		s.shown = ok.NewDeviceToken // by which the server knows this session
	}
	if ok.Credit > 0 {
		s.credit = int(ok.Credit)
	}
	if ok.PingMs > 0 {
		s.silence = time.Duration(ok.PingMs)*time.Millisecond + c.opts.DeadAfter
	}
	if n := int(ok.GetLimits().GetFrameBytes()); n > 0 {
		s.frameBytes = n
	}
	if n := int(ok.GetLimits().GetBatchItems()); n > 0 {
		s.batchItems = min(n, sdkproto.MaxBatchItems)
	}
	conn.SetPingHandler(func(data string) error {
		_ = conn.SetReadDeadline(time.Now().Add(s.silence))
		err := conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeWait))
		if errors.Is(err, websocket.ErrCloseSent) {
			return nil
		}
		return err
	})
	c.forgetAged(sdkproto.MaxAge)
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	// The server may have sent more along with hello_ok.
	for _, f := range frames[1:] {
		c.receive(ctx, s, f)
	}
	c.showDue()
	return s, nil
}

func (c *Client) send(conn *websocket.Conn, f *sdkpb.Frame) error {
	msg, err := sdkproto.EncodeFrame(c.codec, f)
	if err != nil {
		return err
	}
	return conn.WriteMessage(c.messageType(), msg)
}

func (c *Client) messageType() int {
	if c.codec.Binary() {
		return websocket.BinaryMessage
	}
	return websocket.TextMessage
}

// read takes what the server sends until the connection ends.
func (c *Client) read(ctx context.Context, s *session) error {
	for {
		c.mu.Lock()
		fatal := s.fatal // also of what came along with hello_ok
		c.mu.Unlock()
		if fatal != nil {
			return fatal
		}
		_ = s.conn.SetReadDeadline(time.Now().Add(s.silence))
		_, msg, err := s.conn.ReadMessage()
		if err != nil {
			return err
		}
		frames, err := c.codec.DecodeFrames(msg, 0)
		for _, f := range frames {
			c.receive(ctx, s, f)
		}
		if err != nil {
			return fmt.Errorf("frame of the server: %w", err)
		}
	}
}

func (c *Client) receive(ctx context.Context, s *session, f *sdkpb.Frame) {
	if err := sdkproto.CheckFrame(f); err != nil {
		c.log.DebugContext(ctx, "frame ignored", "install", c.opts.InstallID, "error", err)
		return
	}
	c.mu.Lock()
	at, old := c.position(f)
	if at != nil || old {
		c.owe(s)
	}
	c.mu.Unlock()
	if old {
		c.kick() // it is acknowledged again: the ack may have been lost
		return
	}
	var err error // of the store
	switch {
	case f.Ack != nil:
		c.receiveAck(s, f.Re, f.Ack)
	case f.Message != nil:
		c.receiveMessage(ctx, s, f.Message)
		err = c.took(at)
	case f.Grant != nil:
		c.receiveGrant(ctx, s, f.Re, f.Grant)
	case f.Regions != nil:
		err = c.receiveRegions(s, f.Regions, at)
	case f.Inbox != nil:
		err = c.takeInbox(ctx, f.Inbox, at)
		if !c.answered(s, f.Re, answer{frame: f, err: err}) && err == nil {
			c.nextPage(s, f.Inbox)
		}
	case f.Config != nil:
		err = c.takeConfig(f.Config, at)
	case f.NewToken != nil:
		err = c.takeToken(f.NewToken, s.shown)
		c.answered(s, f.Re, answer{frame: f, err: err})
	case f.Goaway != nil:
		c.receiveGoaway(s, f.Goaway)
	case f.Ping != nil:
		c.queueFrame(s, &sdkpb.Frame{Re: f.Id, Pong: &sdkpb.Pong{}})
	case f.Error != nil:
		c.receiveError(s, f.Re, f.Error)
	default:
		err = c.took(at) // of a kind that this version does not know
	}
	if err != nil {
		// What was not kept must not be acknowledged, nor anything after it.
		c.mu.Lock()
		s.ackBy = time.Time{}
		s.fatal = &RetryError{Err: err}
		c.mu.Unlock()
	}
	if at != nil {
		c.kick()
	}
}

// took keeps the number of a frame that brought nothing else to keep.
func (c *Client) took(at *sdkpb.Resume) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keep(Change{Resume: at})
}

func (c *Client) receiveRegions(s *session, r *sdkpb.Regions, at *sdkpb.Resume) error {
	ack := c.takeRegions(r)
	if ack == nil {
		return c.took(at)
	}
	c.mu.Lock()
	c.heard = nil // of a set that is no more
	err := c.keep(Change{Regions: r, Resume: at})
	c.mu.Unlock()
	c.queueFrame(s, &sdkpb.Frame{RegionsAck: ack})
	return err
}

// nextPage asks for the rest of an inbox that nobody waits for.
func (c *Client) nextPage(s *session, came *sdkpb.Inbox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.pages++; !came.More || s.pages > mostPages {
		s.pages = 0
		return
	}
	s.lastID++
	s.out = append(s.out, &sdkpb.Frame{Id: s.lastID, InboxSync: &sdkpb.InboxSync{Cursor: c.inboxCursor()}})
	c.kick()
}

func (c *Client) receiveGoaway(s *session, g *sdkpb.Goaway) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.leave = &leave{
		why: &RetryError{
			After: time.Duration(g.ReconnectAfterMs) * time.Millisecond, exact: true, Err: fmt.Errorf("the server said goaway: %s", g.Reason),
		},
		until: time.Now().Add(leaveWithin),
	}
	c.kick()
}

func (c *Client) queueFrame(s *session, f *sdkpb.Frame) {
	c.mu.Lock()
	s.out = append(s.out, f)
	c.mu.Unlock()
	c.kick()
}

func (c *Client) receiveMessage(ctx context.Context, s *session, m *sdkpb.Message) {
	switch m.Kind {
	case sdkpb.Message_KIND_INBOX:
		c.arrived(ctx, m)
	case sdkpb.Message_KIND_IN_APP:
		if !c.wanted(m) {
			return
		}
		c.mu.Lock()
		if !c.showable(s) {
			c.mu.Unlock()
			return // it goes as a push
		}
		s.lastID++
		if s.claims == nil {
			s.claims = make(map[uint64]claim)
		}
		s.claims[s.lastID] = claim{message: m, at: c.opts.Mono()}
		s.out = append(s.out, &sdkpb.Frame{Id: s.lastID, Claim: &sdkpb.Claim{MessageId: m.MessageId}})
		c.mu.Unlock()
		c.kick()
	}
}

// arrived removes the flight that a frame answers; nil means none.
func (s *session) arrived(re uint64, batchID string) *flight {
	i := slices.IndexFunc(s.flights, func(f *flight) bool {
		return re != 0 && f.id == re || re == 0 && batchID != "" && f.batchID == batchID
	})
	if i < 0 {
		return nil
	}
	f := s.flights[i]
	s.flights = slices.Delete(s.flights, i, i+1)
	s.flying -= len(f.entries)
	return f
}

func (c *Client) receiveAck(s *session, re uint64, ack *sdkpb.Ack) {
	var done settled
	c.mu.Lock()
	if f := s.arrived(re, ack.BatchId); f != nil {
		done = c.queue.settle(bySocket, f.entries, ack.Rejects)
	}
	if ack.Credit != nil {
		s.credit = int(*ack.Credit)
	}
	if ack.RetryAfterMs > 0 {
		s.pauseFor(time.Duration(ack.RetryAfterMs) * time.Millisecond)
	} else if done.again {
		s.pauseFor(pauseWithout)
	}
	c.mu.Unlock()
	c.finish(done)
}

func (s *session) pauseFor(d time.Duration) {
	if until := time.Now().Add(d); until.After(s.pause) {
		s.pause = until
	}
}

// receiveError acts as the table of error codes says.
func (c *Client) receiveError(s *session, re uint64, e *sdkpb.Error) {
	code := sdkproto.ErrorCode(e.Code)
	after := time.Duration(e.RetryAfterMs) * time.Millisecond
	var done settled
	c.answered(s, re, answer{err: sdkproto.Errorf(code, e.Field, "%s", e.Reason)})
	c.mu.Lock()
	delete(s.claims, re) // not granted
	f := s.arrived(re, "")
	var entries []*entry
	if f != nil {
		entries = f.entries
	}
	land(bySocket, entries)
	switch act := code.Info().Action; act {
	case sdkproto.ActBisect:
		done = c.queue.bisect(bySocket, entries, sdkproto.RejectInvalid, e.Reason)
	case sdkproto.ActHalve:
		done = c.queue.bisect(bySocket, entries, sdkproto.RejectTooLarge, e.Reason)
	case sdkproto.ActWait, sdkproto.ActBackoff:
		if f == nil && re == 0 && act == sdkproto.ActBackoff && code != sdkproto.ErrRate {
			s.fatal = frameError(e) // the session, not a batch
			break
		}
		if after == 0 && code == sdkproto.ErrRate {
			after = sdkproto.RetryWithout
		}
		s.pauseFor(max(after, pauseWithout))
	case sdkproto.ActStop, sdkproto.ActRetryDaily, sdkproto.ActReregister:
		s.fatal = frameError(e)
	default: // unknown frame, identity: the session goes on
		c.log.Info("server says", "install", c.opts.InstallID, "code", e.Code, "name", e.Name, "field", e.Field)
	}
	c.mu.Unlock()
	c.finish(done)
}

// frameError is the error that ends a session after an error frame.
func frameError(e *sdkpb.Error) error {
	code := sdkproto.ErrorCode(e.Code)
	switch code.Info().Action {
	case sdkproto.ActStop, sdkproto.ActRetryDaily, sdkproto.ActReregister, sdkproto.ActAskHost:
		return &TerminalError{Err: code, Reason: e.Reason}
	}
	after := time.Duration(e.RetryAfterMs) * time.Millisecond
	if after == 0 && code == sdkproto.ErrRate {
		after = sdkproto.RetryWithout
	}
	return &RetryError{After: after, Err: sdkproto.Errorf(code, e.Field, "%s", e.Reason)}
}

// httpError is the error of an HTTP answer that is not 2xx.
func (c *Client) httpError(resp *http.Response, body []byte) error {
	var reply sdkpb.BatchReply
	if codec := sdkproto.CodecFor(resp.Header.Get("Content-Type")); codec != nil && len(body) > 0 {
		_ = codec.Unmarshal(body, &reply) // without it the status tells enough
	}
	e, bare := reply.Error, reply.Error == nil
	if bare {
		e = &sdkpb.Error{Code: uint32(codeOfStatus(resp.StatusCode)), Reason: "HTTP " + resp.Status}
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 && e.RetryAfterMs == 0 {
		e.RetryAfterMs = uint32(min(s, 24*3600)) * 1000
	}
	switch code := sdkproto.ErrorCode(e.Code); code {
	case sdkproto.ErrMalformed, sdkproto.ErrTooLarge:
		return &refusedError{code: code, reason: e.Reason, bare: bare}
	}
	return frameError(e)
}

// refusedError: the batch was refused as a whole.
type refusedError struct {
	code   sdkproto.ErrorCode
	reason string
	bare   bool // only a status, maybe of a proxy: no reason to give up an item
}

// Error implements error.
func (e *refusedError) Error() string {
	return fmt.Sprintf("client: refused by error %d %s: %s", e.code, e.code.Info().Name, e.reason)
}

func (e *refusedError) reject() sdkproto.RejectCode {
	if e.code == sdkproto.ErrTooLarge {
		return sdkproto.RejectTooLarge
	}
	return sdkproto.RejectInvalid
}

// codeOfStatus is what a status without a BatchReply means. A proxy or a captive
// portal says it, not the server: nothing is dropped, no token is forgotten, and
// nobody stops for it.
func codeOfStatus(status int) sdkproto.ErrorCode {
	switch status {
	case http.StatusBadRequest:
		return sdkproto.ErrMalformed
	case http.StatusRequestEntityTooLarge:
		return sdkproto.ErrTooLarge
	case http.StatusTooManyRequests:
		return sdkproto.ErrRate
	}
	return sdkproto.ErrInternal
}

// write sends what waits until the reader ends or the connection breaks.
func (c *Client) write(s *session, readerDone <-chan struct{}) {
	var timer *time.Timer
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	for {
		msg, done, wait := c.compose(s)
		c.finishIfAny(done)
		if wait < 0 { // all is said
			c.bye(s, readerDone)
			return
		}
		if len(msg) > 0 {
			_ = s.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if err := s.conn.WriteMessage(c.messageType(), msg); err != nil {
				_ = s.conn.Close() // the reader tells why
				<-readerDone
				return
			}
			continue
		}
		var due <-chan time.Time
		if wait > 0 {
			if timer == nil {
				timer = time.NewTimer(wait)
			} else {
				timer.Reset(wait)
			}
			due = timer.C
		}
		select {
		case <-c.wake:
		case <-due:
		case <-readerDone:
			return
		}
	}
}

// bye closes a connection that the server wants to end.
func (c *Client) bye(s *session, readerDone <-chan struct{}) {
	end := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = s.conn.WriteControl(websocket.CloseMessage, end, time.Now().Add(writeWait))
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-readerDone: // it has seen the server's close
	case <-patience.C:
		_ = s.conn.Close()
		<-readerDone
	}
}

func (c *Client) finishIfAny(s settled) {
	if len(s.acked)+len(s.refused) > 0 {
		c.finish(s)
	}
}

// compose is the next websocket message: the control frames that wait, then one
// batch, within the frame limit. Without one, wait says when to look again; 0
// means when woken, less that the session should be closed.
func (c *Client) compose(s *session) (msg []byte, done settled, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if msg = c.composeControl(s); len(msg) > 0 {
		return msg, done, 0
	}
	if s.leave != nil {
		if left := time.Until(s.leave.until); len(s.flights) > 0 && left > 0 {
			return nil, done, left
		}
		return nil, done, -1
	}
	msg, done, wait = c.composeBatch(s)
	if len(msg) > 0 {
		return msg, done, 0
	}
	if !s.ackBy.IsZero() {
		wait = sooner(wait, max(time.Until(s.ackBy), 1))
	}
	return nil, done, wait
}

// sooner is the shorter of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b < a {
		return b
	}
	return a
}

// composeControl is all control frames that wait and fit. Called with the lock.
func (c *Client) composeControl(s *session) (msg []byte) {
	if !s.ackBy.IsZero() && len(s.out) == 0 && (s.leave != nil || !time.Now().Before(s.ackBy)) {
		s.lastID++
		s.out = append(s.out, &sdkpb.Frame{Id: s.lastID, Ping: &sdkpb.Ping{}}) // to say it in
	}
	for n := 0; len(s.out) > 0 && n < sdkproto.MaxFramesPerWSMsg; n++ {
		c.stamp(s, s.out[0])
		longer, err := c.codec.AppendFrame(msg, s.out[0])
		if err != nil || len(longer) > s.frameBytes {
			if len(msg) > 0 && err == nil {
				return msg
			}
			longer = msg // one that can never be sent
		}
		msg = longer
		s.out = s.out[1:]
	}
	if len(s.out) == 0 {
		s.out = nil
	}
	return msg
}

// composeBatch is the next batch. Called with the lock.
func (c *Client) composeBatch(s *session) (msg []byte, done settled, wait time.Duration) {
	if err := c.queue.save(c.opts.Store); err != nil {
		c.log.Warn("keep item", "install", c.opts.InstallID, "error", err)
		wait = pauseWithout
	}
	if d := time.Until(s.pause); d > 0 {
		return nil, done, d
	}
	if c.queue.most > 0 && len(s.flights) > 0 {
		return nil, done, wait // one at a time, to know which one is refused
	}
	if d := c.linger(s); d > 0 {
		return nil, done, d
	}
	n := min(s.credit-s.flying, s.batchItems)
	if n <= 0 {
		return nil, done, wait
	}
	var f *flight
	msg, f, done = c.encodeBatch(bySocket, n, s.frameBytes, func(b *sdkpb.Batch) ([]byte, error) {
		frame := &sdkpb.Frame{Id: s.lastID + 1, Batch: b}
		if !s.ackBy.IsZero() {
			frame.DownAck = c.kept.Resume.GetLastSeq()
		}
		return sdkproto.EncodeFrame(c.codec, frame)
	})
	if f == nil {
		return nil, done, wait
	}
	s.lastID++
	s.ackBy = time.Time{}
	f.id = s.lastID
	s.flights = append(s.flights, f)
	s.flying += len(f.entries)
	s.fresh = time.Time{}
	return msg, done, 0
}

// linger is how long items still wait for company.
func (c *Client) linger(s *session) time.Duration {
	if c.opts.FlushAfter <= 0 || c.drained != nil ||
		!slices.ContainsFunc(c.queue.entries, func(e *entry) bool { return !e.onSocket && !e.gone }) {
		return 0
	}
	if s.fresh.IsZero() {
		s.fresh = time.Now()
	}
	return time.Until(s.fresh.Add(c.opts.FlushAfter))
}

// encodeBatch takes at most n items that fit limit when encoded. Items that no
// message can carry are refused on the way. Called with the lock.
func (c *Client) encodeBatch(w way, n, limit int, encode func(*sdkpb.Batch) ([]byte, error)) ([]byte, *flight, settled) {
	var done settled
	size := limit - 256 // batch and frame around the items
	if !c.codec.Binary() {
		size /= 3 // JSON is longer; what does not fit is halved below
	}
	for {
		es := c.queue.take(w, n, size)
		if len(es) == 0 {
			return nil, nil, done
		}
		b := c.queue.batch(es)
		b.SentMs, b.SentMonoMs, b.BootId = c.opts.Clock().UnixMilli(), c.opts.Mono().Milliseconds(), c.opts.BootID
		msg, err := encode(b)
		if err == nil && len(msg) <= limit {
			return msg, &flight{batchID: b.BatchId, entries: es}, done
		}
		land(w, es)
		if len(es) > 1 {
			n = len(es) / 2
			continue
		}
		code, reason := sdkproto.RejectTooLarge, fmt.Sprintf("more than %d bytes", limit)
		if err != nil {
			code, reason = sdkproto.RejectInvalid, "cannot be encoded: text that is not UTF-8"
		}
		bad := c.queue.settle(w, es, []*sdkpb.Reject{sdkproto.NewReject(es[0].item, code, "", "%s", reason)})
		done.refused = append(done.refused, bad.refused...)
		done.rejects = append(done.rejects, bad.rejects...)
	}
}
