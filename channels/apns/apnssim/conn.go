package apnssim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	handshakeTimeout = 10 * time.Second
	lingerTimeout    = 2 * time.Second // of a connection that was told to go away
	// maxBody is where a body is cut off; what is longer than a payload may be
	// is refused by then.
	maxBody    = 16 << 10
	connWindow = 1 << 30 // what we grant a connection, so that it never waits for us
)

// conn is one HTTP/2 connection (RFC 9113). One goroutine reads; answers are
// written by it, or by timers when there is a delay. Answers are below 200 bytes
// and are written without regard to the peer's flow-control windows.
type conn struct {
	s  *Server
	nc net.Conn
	br *bufio.Reader

	mu      sync.Mutex // everything below
	bw      *bufio.Writer
	fr      *http2.Framer // writing; the reader's side is its goroutine's
	henc    *hpack.Encoder
	hbuf    bytes.Buffer
	streams map[uint32]*stream
	lastID  uint32       // highest stream begun
	acted   uint32       // highest stream looked at
	limit   uint32       // the stream limit announced
	away    bool         // GOAWAY was sent
	last    uint32       // its last stream
	closed  bool         // no more writes
	bearer  *bearer      // the provider token last verified here
	pinned  *providerKey // the key of the first
	taken   int          // pushes accepted
	idle    *time.Timer  // nil without Options.IdleTimeout
	spent   uint32       // of the window, since the last update
}

// stream is one request.
type stream struct {
	id     uint32
	at     time.Time
	fields []hpack.HeaderField
	body   []byte
	whole  bool        // the request is complete
	timer  *time.Timer // of the delay before it is looked at, or answered
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{s: s, nc: nc, streams: make(map[uint32]*stream), limit: s.opts.InitialStreams}
}

// serve runs until the connection ends.
func (c *conn) serve() {
	defer c.close()
	raw := c.nc
	_ = raw.SetDeadline(time.Now().Add(handshakeTimeout))
	tc := tls.Server(raw, c.s.tls)
	if err := tc.HandshakeContext(context.Background()); err != nil || tc.ConnectionState().NegotiatedProtocol != "h2" {
		return
	}
	c.br = bufio.NewReaderSize(tc, 16<<10)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.br, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	_ = raw.SetDeadline(time.Time{})

	c.mu.Lock()
	if d := c.s.opts.IdleTimeout; d > 0 {
		c.idle = time.AfterFunc(d, func() { c.goAway("IdleTimeout") })
	}
	c.bw = bufio.NewWriterSize(tc, 16<<10)
	c.fr = http2.NewFramer(c.bw, c.br)
	c.fr.SetReuseFrames()
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fr.MaxHeaderListSize = 16 << 10
	c.fr.SetMaxReadFrameSize(16 << 10)
	c.henc = hpack.NewEncoder(&c.hbuf)
	_ = c.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: c.limit}, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 16 << 10})
	_ = c.fr.WriteWindowUpdate(0, connWindow)
	_ = c.bw.Flush()
	c.mu.Unlock()

	for {
		f, err := c.fr.ReadFrame()
		if err == nil {
			err = c.frame(f)
		}
		if !c.survives(err) {
			return
		}
		if c.br.Buffered() == 0 {
			c.mu.Lock()
			c.flush()
			c.mu.Unlock()
		}
	}
}

// survives answers a protocol error and tells whether the connection goes on.
func (c *conn) survives(err error) bool {
	if err == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var se http2.StreamError
	var ce http2.ConnectionError
	switch {
	case c.closed:
	case errors.As(err, &se):
		c.forget(se.StreamID)
		_ = c.fr.WriteRSTStream(se.StreamID, se.Code)
		return true
	case errors.As(err, &ce):
		_ = c.fr.WriteGoAway(c.acted, http2.ErrCode(ce), nil)
		c.flush()
	}
	return false
}

// frame handles one frame; it runs in the reader.
func (c *conn) frame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.fr.WritePing(true, f.Data)
		}
	case *http2.RSTStreamFrame:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.forget(f.StreamID)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := f.ForeachSetting(func(s http2.Setting) error {
		if s.ID == http2.SettingHeaderTableSize {
			c.henc.SetMaxDynamicTableSize(min(s.Val, 4096))
		}
		return s.Valid()
	})
	if err != nil {
		return err
	}
	return c.fr.WriteSettingsAck()
}

func (c *conn) headers(f *http2.MetaHeadersFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.streams[f.StreamID]; st != nil { // trailers end the request
		if st.whole || !f.StreamEnded() {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.complete(st)
		return nil
	}
	if f.StreamID%2 == 0 || f.StreamID <= c.lastID {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.lastID = f.StreamID
	if c.away && f.StreamID > c.last {
		return nil // the peer knows, or will: it is above GOAWAY's last
	}
	if c.idle != nil {
		c.idle.Stop()
	}
	if uint32(len(c.streams)) >= c.limit {
		c.s.metrics.refused.Inc()
		return c.fr.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
	}
	st := &stream{id: f.StreamID, at: c.s.opts.Now(), fields: f.Fields}
	c.streams[st.id] = st
	for n := int64(len(c.streams)); ; {
		old := c.s.peak.Load()
		if n <= old || c.s.peak.CompareAndSwap(old, n) {
			break
		}
	}
	if f.StreamEnded() {
		c.complete(st)
	}
	return nil
}

func (c *conn) data(f *http2.DataFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spent += f.Length; c.spent > connWindow/2 {
		if err := c.fr.WriteWindowUpdate(0, c.spent); err != nil {
			return err
		}
		c.spent = 0
	}
	st := c.streams[f.StreamID]
	if st == nil {
		return nil // of a stream that has ended here
	}
	if st.whole {
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	}
	if room := maxBody - len(st.body); room > 0 {
		st.body = append(st.body, f.Data()[:min(room, len(f.Data()))]...)
	}
	if f.StreamEnded() {
		c.complete(st)
	} else if len(st.body) >= maxBody {
		c.complete(st) // refused as too large without the rest
	}
	return nil
}

// complete takes a whole request up. It runs under mu.
func (c *conn) complete(st *stream) {
	st.whole = true
	if d := c.s.latency(); d > 0 {
		c.later(st, d, func() { c.take(st, true) })
		return
	}
	c.mu.Unlock() // the judgement may call out
	c.take(st, false)
	c.mu.Lock()
}

// later runs f after d unless the stream ends before. It runs under mu.
func (c *conn) later(st *stream, d time.Duration, f func()) {
	c.s.wg.Add(1)
	st.timer = time.AfterFunc(d, func() {
		defer c.s.wg.Done()
		f()
	})
}

// take looks at a request and does what comes of it.
func (c *conn) take(st *stream, flush bool) {
	c.mu.Lock()
	if c.closed || c.streams[st.id] != st {
		c.mu.Unlock()
		return
	}
	c.acted = max(c.acted, st.id)
	known, pinned := c.bearer, c.pinned
	c.mu.Unlock()

	v := c.s.judge(st, known, pinned)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.bearer = v.bearer
	if c.pinned == nil && v.bearer != nil {
		c.pinned = v.bearer.key
	}
	switch {
	case v.do == Hang:
		c.log(v) // only the end of the stream or connection frees it
		return
	case v.do == Answer && v.delay > 0:
		c.later(st, v.delay, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.finish(st, v)
			c.flush()
		})
		return
	}
	c.finish(st, v)
	if flush {
		c.flush()
	}
}

// log writes the request down; status 0 where nothing is answered.
func (c *conn) log(v verdict) {
	if !v.plain {
		c.s.log(v.entry)
	}
}

// finish answers, logs, and adjusts the stream limit. It runs under mu.
func (c *conn) finish(st *stream, v verdict) {
	gone := c.closed || c.streams[st.id] != st
	if gone {
		v.entry.Status = 0 // nobody waits any more
	}
	c.log(v) // before the peer can know
	if gone {
		return
	}
	if v.entry.Accepted {
		c.taken++
	}
	switch v.do {
	case SlowBody:
		c.adjust(v.entry.Status)
		c.writeHead(st, v, false)
		c.flush()
		c.later(st, v.delay, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.closed || c.streams[st.id] != st {
				return
			}
			delete(c.streams, st.id)
			_ = c.fr.WriteData(st.id, true, v.body)
			c.flush()
			c.ended()
		})
		return
	case Drop, Reset:
		_ = c.fr.WriteRSTStream(st.id, http2.ErrCodeInternal)
	case Refuse:
		_ = c.fr.WriteRSTStream(st.id, http2.ErrCodeRefusedStream)
	case GoAway:
		delete(c.streams, st.id)
		c.leave(st.id)
		c.ended()
		return
	case Kill:
		c.shut()
		return
	default:
		c.adjust(v.entry.Status)
		c.answer(st, v)
	}
	delete(c.streams, st.id)
	if every := c.s.opts.GoAwayEvery; every > 0 && c.taken >= every && !c.away {
		c.leaveAt(c.acted, "Shutdown")
	}
	c.ended()
}

// ended looks after a connection of which a stream has ended. It runs under mu.
func (c *conn) ended() {
	switch {
	case len(c.streams) > 0:
	case c.away:
		c.linger()
	case c.idle != nil:
		c.idle.Reset(c.s.opts.IdleTimeout)
	}
}

// linger leaves it to the peer to close: closing with its bytes unread would
// make the kernel discard what we have written. It runs under mu.
func (c *conn) linger() {
	c.flush()
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerTimeout))
}

// adjust raises the limit after a success and may lower it after a refusal.
func (c *conn) adjust(status int) {
	limit := c.limit
	switch {
	case status == 200:
		limit = c.s.opts.MaxStreams
	case c.s.opts.DropOnReject:
		limit = 1
	}
	if limit != c.limit {
		c.limit = limit
		_ = c.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: limit})
	}
}

func (c *conn) answer(st *stream, v verdict) {
	c.writeHead(st, v, len(v.body) == 0)
	if len(v.body) > 0 {
		_ = c.fr.WriteData(st.id, true, v.body)
	}
}

func (c *conn) writeHead(st *stream, v verdict, end bool) {
	c.hbuf.Reset()
	_ = c.henc.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(v.entry.Status)})
	for _, f := range v.fields {
		_ = c.henc.WriteField(f)
	}
	_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: st.id, BlockFragment: c.hbuf.Bytes(), EndHeaders: true, EndStream: end})
}

// goAway ends the connection when what was looked at is answered.
func (c *conn) goAway(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.fr == nil || c.away {
		return
	}
	c.leaveAt(c.acted, reason)
}

// leave sends GOAWAY below a stream, or refuses the stream alone when later ones
// were looked at already. It runs under mu.
func (c *conn) leave(id uint32) {
	for other := range c.streams {
		if other > id && other <= c.acted {
			_ = c.fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
			return
		}
	}
	c.leaveAt(max(id, 2)-2, "Shutdown")
}

func (c *conn) leaveAt(last uint32, reason string) {
	c.away, c.last = true, last
	c.s.away.Add(1)
	debug, _ := json.Marshal(map[string]string{"reason": reason}) // a string
	_ = c.fr.WriteGoAway(last, http2.ErrCodeNo, debug)
	for id := range c.streams {
		if id > last {
			c.forget(id)
		}
	}
	c.flush()
	c.ended()
}

// forget ends a stream without an answer. It runs under mu.
func (c *conn) forget(id uint32) {
	st := c.streams[id]
	if st == nil {
		return
	}
	if st.timer != nil && st.timer.Stop() {
		c.s.wg.Done()
	}
	delete(c.streams, id)
}

// flush writes what is buffered. It runs under mu.
func (c *conn) flush() {
	if !c.closed && c.bw != nil {
		_ = c.bw.Flush() // a broken connection shows in the reader
	}
}

func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut()
}

// shut closes the connection; the reader ends by it. It runs under mu.
func (c *conn) shut() {
	if c.closed {
		return
	}
	c.closed = true
	if c.idle != nil {
		c.idle.Stop()
	}
	for id := range c.streams {
		c.forget(id)
	}
	_ = c.nc.Close()
}
