package h2conn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// assumed is the stream limit until the peer's first SETTINGS, unlimited that of
	// a peer whose SETTINGS have none.
	assumed   = 100
	unlimited = 1000

	streamWindow = 2 * maxAnswer // what we grant an answer: it is cut before
	connWindow   = 16 << 20      // and all answers of a connection together
	maxHeaders   = 32 << 10      // bytes of an answer's header, uncompressed
	maxStreamID  = 1<<31 - 1
)

var (
	errGoAway  = errors.New("the peer has sent GOAWAY")
	errRefused = errors.New("the peer has refused the stream")
	errNoPong  = errors.New("the peer does not answer pings")
	errCut     = errors.New("the stream was reset")
)

// wire is one HTTP/2 connection (RFC 9113) that makes POSTs. It exists because
// net/http writes each request by itself, twice, and does not tell its stream
// limit: here all requests that wait while a write is under way go into the next
// one, as a log's group commit does, and what the peer has said of a stream is
// known exactly. Two goroutines, run by the pool: read and write.
type wire struct {
	nc        net.Conn
	scheme    string
	host      string
	pingAfter time.Duration
	pingWait  time.Duration
	changed   func() // there may be more room, or none any more; called without mu
	fr        *http2.Framer
	frames    atomic.Uint64 // read so far
	wake      chan struct{} // capacity 1: there is something to write, or it is over

	mu      sync.Mutex
	err     error // why it is over; nil while it lives
	away    bool  // GOAWAY has come: no new streams
	streams map[uint32]*call
	hungry  []*call // that wait for window, first come, first served
	nextID  uint32
	limit   uint32 // the peer's, of streams at a time
	window  int64  // what the peer grants the connection, in bytes
	initial int64  // and a new stream
	frame   int    // the largest frame's payload
	spent   uint32 // of connWindow since the last update
	out     []byte // to be written
	batch   uint64 // the number of out, from 1
	taken   uint64 // the last batch that the writer has taken
	to      *http2.Framer
	enc     *hpack.Encoder
	block   []byte // the header being encoded
}

// call is one request on its stream.
type call struct {
	id     uint32
	batch  uint64 // in which its first frame went
	rest   []byte // of the body, not yet in out
	window int64
	res    Result
	// unprocessed: the peer did not act on it, certainly.
	unprocessed bool
	done        chan struct{}
}

type appender struct{ b *[]byte }

func (a appender) Write(p []byte) (int, error) {
	*a.b = append(*a.b, p...)
	return len(p), nil
}

// newWire takes over a connection on which both sides speak HTTP/2.
func newWire(nc net.Conn, scheme, host string, pingAfter, pingWait time.Duration, changed func()) *wire {
	w := &wire{
		nc: nc, scheme: scheme, host: host, pingAfter: pingAfter, pingWait: pingWait, changed: changed,
		wake: make(chan struct{}, 1), streams: make(map[uint32]*call), nextID: 1, limit: assumed,
		window: 65535, initial: 65535, frame: 16384, batch: 1,
	}
	w.fr = http2.NewFramer(io.Discard, bufio.NewReaderSize(nc, 16<<10))
	w.fr.SetReuseFrames()
	w.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	w.fr.MaxHeaderListSize = maxHeaders
	w.to = http2.NewFramer(appender{&w.out}, nil)
	w.enc = hpack.NewEncoder(appender{&w.block})
	w.out = append(w.out, http2.ClientPreface...)
	_ = w.to.WriteSettings( // to memory
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaders},
	)
	_ = w.to.WriteWindowUpdate(0, connWindow-65535)
	w.kick()
	return w
}

// state tells the limit, the streams that are open, and whether new ones can be.
func (w *wire) state() (limit, open int, usable bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int(w.limit), len(w.streams), w.err == nil && !w.away && w.nextID < maxStreamID
}

// do makes one request. room is false when there was no room for it: nothing has
// happened. again means that the peer certainly did not act on it.
func (w *wire) do(ctx context.Context, r *Request) (res Result, again, room bool) {
	c := &call{rest: r.Body, done: make(chan struct{})}
	w.mu.Lock()
	if w.err != nil || w.away || w.nextID >= maxStreamID || len(w.streams) >= int(w.limit) {
		w.mu.Unlock()
		return Result{}, true, false
	}
	w.open(c, r)
	w.mu.Unlock()

	select {
	case <-c.done:
		return c.res, c.unprocessed, true
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-c.done: // at the same moment
		return c.res, c.unprocessed, true
	default:
	}
	w.reset(c.id, http2.ErrCodeCancel)
	w.lost(c, ctx.Err(), true)
	return c.res, false, true
}

// open begins a stream. It runs under mu.
func (w *wire) open(c *call, r *Request) {
	c.id, c.batch, c.window = w.nextID, w.batch, w.initial
	w.nextID += 2
	w.streams[c.id] = c
	w.encode(r)
	end := len(c.rest) == 0
	for first, b := true, w.block; first || len(b) > 0; first = false {
		n := min(len(b), w.frame)
		if first {
			_ = w.to.WriteHeaders(http2.HeadersFrameParam{StreamID: c.id, BlockFragment: b[:n], EndHeaders: n == len(b), EndStream: end}) // to memory
		} else {
			_ = w.to.WriteContinuation(c.id, n == len(b), b[:n])
		}
		b = b[n:]
	}
	if !end && !w.feed(c) {
		w.hungry = append(w.hungry, c)
	}
	w.kick()
}

// encode makes the header block. What differs from request to request, and the
// path of a push holds a device token, stays out of the compression's table, so
// that what is the same, above all the authorization, stays in it.
func (w *wire) encode(r *Request) {
	w.block = w.block[:0]
	field := func(name, value string, once bool) {
		_ = w.enc.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: once}) // to memory
	}
	field(":method", http.MethodPost, false)
	field(":scheme", w.scheme, false)
	field(":authority", w.host, false)
	field(":path", r.Path, true)
	field("content-length", strconv.Itoa(len(r.Body)), true)
	for i := range r.Header {
		f := &r.Header[i]
		field(f.Name, f.Value, f.Once)
	}
}

// feed writes as much of a body as the windows allow; true when all of it is out.
// It runs under mu.
func (w *wire) feed(c *call) bool {
	for len(c.rest) > 0 {
		n := min(int64(len(c.rest)), int64(w.frame), c.window, w.window)
		if n <= 0 {
			return false
		}
		_ = w.to.WriteData(c.id, n == int64(len(c.rest)), c.rest[:n]) // to memory
		c.rest = c.rest[n:]
		c.window -= n
		w.window -= n
	}
	return true
}

// feedAll goes on with those that wait for window. It runs under mu.
func (w *wire) feedAll() {
	still := w.hungry[:0]
	for _, c := range w.hungry {
		if w.streams[c.id] == c && !w.feed(c) {
			still = append(still, c)
		}
	}
	clear(w.hungry[len(still):])
	w.hungry = still
	w.kick()
}

// kick wakes the writer.
func (w *wire) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// write writes what comes until the connection is over, and closes it.
func (w *wire) write() {
	defer func() { _ = w.nc.Close() }()
	var spare []byte
	for range w.wake {
		runtime.Gosched() // those who are about to add to the batch may
		w.mu.Lock()
		if w.err != nil {
			w.mu.Unlock()
			return
		}
		b := w.out
		w.out = spare[:0]
		w.taken = w.batch
		w.batch++
		w.mu.Unlock()
		if len(b) > 0 {
			// A deadline of the real clock: it bounds a dead network, not the product's time.
			_ = w.nc.SetWriteDeadline(time.Now().Add(w.pingWait))
			if _, err := w.nc.Write(b); err != nil {
				w.fail(fmt.Errorf("write: %w", err))
				return
			}
		}
		if spare = b; cap(spare) > 256<<10 {
			spare = nil
		}
	}
}

// read handles what comes until the connection is over.
func (w *wire) read() {
	defer w.watch()()
	for {
		f, err := w.fr.ReadFrame()
		if err == nil {
			w.frames.Add(1)
			err = w.handle(f)
		}
		if se, ok := errors.AsType[http2.StreamError](err); ok {
			w.mu.Lock()
			if c := w.streams[se.StreamID]; c != nil {
				w.lost(c, se, true)
			}
			w.reset(se.StreamID, se.Code)
			w.mu.Unlock()
			err = nil
		}
		if err != nil {
			w.fail(err)
			w.changed()
			return
		}
	}
}

// watch pings a peer that has been silent and gives it up when that is in vain.
func (w *wire) watch() (stop func()) {
	var mu sync.Mutex
	var timer *time.Timer
	var asked time.Time // zero unless a ping is unanswered
	stopped, seen := false, w.frames.Load()
	check := func() {
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			return
		}
		now := w.frames.Load()
		switch {
		case now != seen:
			seen, asked = now, time.Time{}
		case asked.IsZero():
			asked = time.Now()
			w.mu.Lock()
			_ = w.to.WritePing(false, [8]byte{'f', 'o', 'o', 't', 'f', 'a', 'l', 'l'}) // to memory
			w.kick()
			w.mu.Unlock()
		case time.Since(asked) >= w.pingWait:
			w.fail(errNoPong)
			return
		}
		timer.Reset(min(w.pingAfter, w.pingWait))
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(w.pingAfter, check)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

// handle does what a frame says. It runs in the reader.
func (w *wire) handle(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return w.headers(f)
	case *http2.DataFrame:
		return w.data(f)
	case *http2.SettingsFrame:
		return w.settings(f)
	case *http2.RSTStreamFrame:
		w.mu.Lock()
		defer w.mu.Unlock()
		if c := w.streams[f.StreamID]; c != nil {
			if f.ErrCode == http2.ErrCodeRefusedStream && c.res.Status == 0 {
				w.spare(c, errRefused)
			} else {
				w.lost(c, fmt.Errorf("%w: %v", errCut, f.ErrCode), true)
			}
		}
	case *http2.GoAwayFrame:
		w.goAway(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			w.mu.Lock()
			defer w.mu.Unlock()
			_ = w.to.WritePing(true, f.Data) // to memory
			w.kick()
		}
	case *http2.WindowUpdateFrame:
		w.mu.Lock()
		defer w.mu.Unlock()
		if f.StreamID == 0 {
			w.window += int64(f.Increment)
		} else if c := w.streams[f.StreamID]; c != nil {
			c.window += int64(f.Increment)
		}
		if len(w.hungry) > 0 {
			w.feedAll()
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

func (w *wire) headers(f *http2.MetaHeadersFrame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.streams[f.StreamID]
	if c == nil {
		return nil // of a stream that we have given up
	}
	if c.res.Status == 0 {
		status, err := strconv.Atoi(f.PseudoValue("status"))
		if err != nil || status < 100 || status > 999 || f.Truncated {
			w.lost(c, errCut, true)
			w.reset(f.StreamID, http2.ErrCodeProtocol)
			return nil
		}
		if status < 200 && !f.StreamEnded() {
			return nil // the answer is still to come
		}
		c.res.Status = status
		c.res.Header = make(http.Header, len(f.RegularFields()))
		for _, h := range f.RegularFields() {
			c.res.Header.Add(h.Name, h.Value)
		}
	}
	if f.StreamEnded() {
		w.finish(c)
	}
	return nil
}

func (w *wire) data(f *http2.DataFrame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.spent += f.Length; w.spent > connWindow/2 {
		_ = w.to.WriteWindowUpdate(0, w.spent) // to memory
		w.spent = 0
		w.kick()
	}
	c := w.streams[f.StreamID]
	switch {
	case c == nil:
		return nil
	case c.res.Status == 0:
		w.lost(c, errCut, true)
		w.reset(f.StreamID, http2.ErrCodeProtocol)
		return nil
	}
	c.res.Body = append(c.res.Body, f.Data()[:min(len(f.Data()), maxAnswer-len(c.res.Body))]...)
	if f.StreamEnded() || len(c.res.Body) >= maxAnswer {
		w.finish(c)
		if !f.StreamEnded() {
			w.reset(f.StreamID, http2.ErrCodeCancel)
		}
	}
	return nil
}

func (w *wire) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	w.mu.Lock()
	limit, told := w.limit, false
	err := f.ForeachSetting(func(s http2.Setting) error {
		switch s.ID {
		case http2.SettingMaxConcurrentStreams:
			limit, told = min(s.Val, maxStreamID), true
		case http2.SettingInitialWindowSize:
			more := int64(s.Val) - w.initial
			w.initial = int64(s.Val)
			for _, c := range w.streams {
				c.window += more
			}
		case http2.SettingMaxFrameSize:
			w.frame = int(min(s.Val, 64<<10))
		case http2.SettingHeaderTableSize:
			w.enc.SetMaxDynamicTableSize(min(s.Val, 4096))
		}
		return s.Valid()
	})
	if w.frames.Load() == 1 && !told {
		limit = unlimited
	}
	w.limit = limit
	_ = w.to.WriteSettingsAck() // to memory
	w.feedAll()
	w.mu.Unlock()
	w.changed()
	return err
}

func (w *wire) goAway(f *http2.GoAwayFrame) {
	w.mu.Lock()
	w.away = true
	for id, c := range w.streams {
		if id > f.LastStreamID {
			w.spare(c, errGoAway)
		}
	}
	w.mu.Unlock()
	w.changed()
}

// reset gives a stream up. It runs under mu.
func (w *wire) reset(id uint32, code http2.ErrCode) {
	_ = w.to.WriteRSTStream(id, code) // to memory
	w.kick()
}

// finish ends a call with its answer. It runs under mu.
func (w *wire) finish(c *call) {
	delete(w.streams, c.id)
	if len(c.rest) > 0 { // answered before all was sent
		c.rest = nil
		w.reset(c.id, http2.ErrCodeNo)
	}
	close(c.done)
}

// spare ends a call on which the peer certainly did not act. It runs under mu.
func (w *wire) spare(c *call, err error) {
	c.res, c.unprocessed, c.rest = Result{Err: err}, true, nil
	w.finish(c)
}

// lost ends a call that gets no answer any more, or no more of it. It runs under mu.
func (w *wire) lost(c *call, err error, sent bool) {
	c.rest = nil
	if c.res.Status != 0 {
		c.res.Cut = true // the status stands
	} else {
		c.res, c.unprocessed = Result{Err: err, Sent: sent}, !sent
	}
	w.finish(c)
}

// fail ends the connection. A call of whose frames the writer has taken none was
// not sent.
func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	w.err = err
	for _, c := range w.streams {
		w.lost(c, err, c.batch <= w.taken)
	}
	_ = w.nc.SetDeadline(time.Unix(1, 0)) // ends what the reader and the writer wait for
	w.kick()
}

// close ends the connection from our side.
func (w *wire) close() { w.fail(ErrClosed) }
