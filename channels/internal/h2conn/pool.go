// Package h2conn sends requests to one host over a few HTTP/2 connections that
// it owns, because a push provider's stream limits are part of its protocol and
// net/http's shared pool answers a full connection with another dial: at a limit
// of one stream and 200 parallel requests that is hundreds of connections.
//
// A Pool keeps the requests in flight on a connection at or below 0.9 of the
// limit that the peer announces at that moment (exactly one when it is one),
// can hold a new connection at one request until the peer has accepted
// something, watches health by pings, opens a new connection when the peer says
// GOAWAY while the old one drains, and repeats at once what the peer certainly
// did not process. Whatever else goes wrong is told apart into "never sent" and
// "sent, and nothing is known".
package h2conn

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// ErrClosed is the error of Do on a closed pool.
var ErrClosed = errors.New("connection pool is closed")

// DialError wraps what kept the pool from having any connection at all.
type DialError struct{ Err error }

func (e *DialError) Error() string { return "connect: " + e.Err.Error() }
func (e *DialError) Unwrap() error { return e.Err }

// maxAnswer bounds an answer's body: a provider's own are below 2 KiB, a proxy's
// error page is cut.
const maxAnswer = 64 << 10

// maxTries bounds how often one Do repeats what the peer did not process.
const maxTries = 5

// recheck is how often a waiting request looks again for a slot that came free
// without a request ending (a raised limit, an acknowledged reset).
const recheck = 100 * time.Millisecond

// Options configure a Pool.
type Options struct {
	URL      *url.URL    // scheme and host; "http" means HTTP/2 without TLS
	TLS      *tls.Config // nil means the system's roots; not used with "http"
	MaxConns int         // connections in use at a time; 0 means 1. Draining ones are not counted
	// WarmUp holds a new connection at one request in flight until an answer on
	// it was reported with Result.Accept.
	WarmUp      bool
	PingAfter   time.Duration // silence before a health ping; 0 means 15 s
	PingTimeout time.Duration // without an answer the connection is closed; 0 means 15 s
	DialTimeout time.Duration // TCP and TLS together; 0 means 10 s
	Now         func() time.Time
}

// Pool is a few owned connections to one host. It is safe for concurrent use.
type Pool struct {
	opts      Options
	addr      string
	transport *http.Transport
	ctx       context.Context // ends with Close; dials hang on it
	cancel    context.CancelFunc
	wg        sync.WaitGroup // calls of Do and dials

	mu       sync.Mutex
	closed   bool
	conns    []*conn
	leaving  map[*conn]struct{} // out of use, with requests still in flight
	dialing  bool
	failures int       // dials failed in a row
	redialAt time.Time // no dial before
	dialErr  error     // of the last failed dial
	waiters  []*waiter // first come, first served; gone ones are skipped
}

// conn is an owned connection. Its slots are counted here and not by
// ClientConn.Reserve: when a peer lowers its limit, net/http (1.26) counts the
// reservations that wait for a stream against that limit, so that they wait for
// each other until their contexts end. A RoundTrip without a reservation waits
// for the streams only.
type conn struct {
	cc       *http.ClientConn
	inFlight int  // slots given out
	limit    int  // the peer's stream limit when last seen with room; 1 during warm-up
	proven   bool // something was accepted, or no warm-up is wanted
}

// allowed is how many requests may be in flight.
func (c *conn) allowed() int { return max(1, c.limit*9/10) }

type waiter struct {
	got  chan grant // capacity 1
	gone bool
}

type grant struct {
	c   *conn
	err error
}

// New makes a pool. It neither dials nor starts anything.
func New(o Options) *Pool {
	if o.MaxConns <= 0 {
		o.MaxConns = 1
	}
	if o.PingAfter == 0 {
		o.PingAfter = 15 * time.Second
	}
	if o.PingTimeout == 0 {
		o.PingTimeout = 15 * time.Second
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	protocols := new(http.Protocols)
	port := o.URL.Port()
	if o.URL.Scheme == "http" {
		protocols.SetUnencryptedHTTP2(true)
		if port == "" {
			port = "80"
		}
	} else {
		protocols.SetHTTP2(true)
		if port == "" {
			port = "443"
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{
		opts: o,
		addr: net.JoinHostPort(o.URL.Hostname(), port),
		transport: &http.Transport{
			Proxy:              http.ProxyFromEnvironment,
			TLSClientConfig:    o.TLS,
			Protocols:          protocols,
			DisableCompression: true,
			HTTP2: &http.HTTP2Config{
				SendPingTimeout:  o.PingAfter,
				PingTimeout:      o.PingTimeout,
				WriteByteTimeout: o.PingTimeout,
			},
		},
		ctx:     ctx,
		cancel:  cancel,
		leaving: make(map[*conn]struct{}),
	}
}

// Request is one POST.
type Request struct {
	Path   string // unescaped, with its leading slash
	Header http.Header
	Body   []byte
	// Accept says of an answer's status whether the peer accepted the request,
	// which ends a connection's warm-up. Nil means 200.
	Accept func(status int) bool
	// Again says of an answer that it only tells the connection to go away (the
	// peer did not process the request): the connection is retired and the
	// request is repeated at once. Nil means never.
	Again func(status int, body []byte) bool
}

// Result is what became of a Request.
type Result struct {
	Status int         // 0 means no answer; see Err
	Header http.Header // of the answer
	Body   []byte      // of the answer, at most 64 KiB of it
	Cut    bool        // the body broke off, or did not end in time: what there is of it may be a part
	Err    error       // why there is no answer
	// Sent: there is no answer, and the peer may have processed the request.
	// False with an Err means that it certainly did not.
	Sent bool
}

// Do sends one request and waits for its answer. The peer processes it at most
// once, unless Result.Sent says that nobody knows and the caller repeats it.
func (p *Pool) Do(ctx context.Context, r Request) Result {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return Result{Err: ErrClosed}
	}
	p.wg.Add(1)
	p.mu.Unlock()
	defer p.wg.Done()

	for try := 1; ; try++ {
		c, err := p.acquire(ctx)
		if err != nil {
			return Result{Err: err}
		}
		res, unprocessed := p.attempt(ctx, c, r)
		retire := false
		switch {
		case res.Status == 0:
		case r.Again != nil && r.Again(res.Status, res.Body):
			retire, unprocessed = true, true
		}
		accepted := res.Status != 0 && (r.Accept == nil && res.Status == http.StatusOK || r.Accept != nil && r.Accept(res.Status))
		p.release(c, accepted, retire)
		if !unprocessed || try >= maxTries || ctx.Err() != nil {
			return res
		}
	}
}

// attempt makes one request in a slot of a connection. unprocessed
// means that the peer certainly did not act on it.
func (p *Pool) attempt(ctx context.Context, c *conn, r Request) (res Result, unprocessed bool) {
	var wroteHeaders, wroteAll atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { wroteHeaders.Store(true) },
		WroteRequest: func(i httptrace.WroteRequestInfo) {
			if i.Err == nil {
				wroteAll.Store(true)
			}
		},
	})
	req := (&http.Request{
		Method:        http.MethodPost,
		URL:           &url.URL{Scheme: p.opts.URL.Scheme, Host: p.opts.URL.Host, Path: r.Path},
		Host:          p.opts.URL.Host,
		Header:        r.Header,
		Body:          io.NopCloser(bytes.NewReader(r.Body)),
		ContentLength: int64(len(r.Body)),
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
	}).WithContext(traced)
	resp, err := c.cc.RoundTrip(req)
	if err != nil {
		// When the context ends, RoundTrip does not wait for the writer, so that
		// "all is written" may come late: the headers decide then.
		sent := wroteAll.Load() || ctx.Err() != nil && wroteHeaders.Load()
		if !sent || notProcessed(err) {
			return Result{Err: err}, ctx.Err() == nil
		}
		return Result{Err: err, Sent: true}, false
	}
	// A body that breaks off does not take the status back.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	return Result{Status: resp.StatusCode, Header: resp.Header, Body: body, Cut: err != nil}, false
}

// goAwayText is the text of net/http's unexported error for a stream above the
// last one that a GOAWAY names. There is no other way to recognise it; should it
// change, such a request is reported as sent, which is the safe side, and the
// test of GOAWAY fails.
const goAwayText = "http2: Transport received Server's graceful shutdown GOAWAY"

// notProcessed tells whether the peer has said that it did nothing with the
// stream: RFC 9113 §8.7, REFUSED_STREAM or above GOAWAY's last stream.
func notProcessed(err error) bool {
	if se, ok := errors.AsType[http2.StreamError](err); ok {
		return se.Code == http2.ErrCodeRefusedStream
	}
	return err.Error() == goAwayText
}

// acquire waits for a slot on a connection.
func (p *Pool) acquire(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := &waiter{got: make(chan grant, 1)}
	p.mu.Lock()
	p.waiters = append(p.waiters, w)
	p.dispatch()
	p.mu.Unlock()
	select {
	case g := <-w.got:
		return g.c, g.err
	default:
	}
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		select {
		case g := <-w.got:
			return g.c, g.err
		case <-tick.C:
			p.mu.Lock()
			p.dispatch()
			p.mu.Unlock()
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			select {
			case g := <-w.got: // it came at the same moment: give it back
				if g.c != nil {
					p.free(g.c)
					p.dispatch()
				}
			default:
				w.gone = true
			}
			return nil, ctx.Err()
		}
	}
}

func (p *Pool) release(c *conn, accepted, retire bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if accepted {
		c.proven = true
	}
	p.free(c)
	if retire {
		p.remove(c)
	}
	p.dispatch()
}

// free gives a slot back. It runs under mu.
func (p *Pool) free(c *conn) {
	c.inFlight--
	if _, ok := p.leaving[c]; ok && c.inFlight == 0 {
		delete(p.leaving, c)
		_ = c.cc.Close()
	}
}

// remove takes a connection out of use; its other requests end undisturbed. It
// runs under mu.
func (p *Pool) remove(c *conn) {
	i := slices.Index(p.conns, c)
	if i < 0 {
		return
	}
	p.conns = slices.Delete(p.conns, i, i+1)
	if c.inFlight > 0 {
		p.leaving[c] = struct{}{}
		return
	}
	_ = c.cc.Close()
}

// dispatch gives free slots to those who wait, and dials when that helps. It
// runs under mu.
func (p *Pool) dispatch() {
	for len(p.waiters) > 0 {
		w := p.waiters[0]
		if w.gone {
			p.waiters = p.waiters[1:]
			continue
		}
		if p.closed {
			p.waiters = p.waiters[1:]
			w.got <- grant{err: ErrClosed}
			continue
		}
		c, mayGrow := p.pick()
		if c != nil {
			p.waiters = p.waiters[1:]
			w.got <- grant{c: c}
			continue
		}
		if p.dialing || !mayGrow {
			return
		}
		if p.opts.Now().Before(p.redialAt) {
			if len(p.conns) > 0 {
				return // those that are there will come free
			}
			p.waiters = p.waiters[1:]
			w.got <- grant{err: &DialError{p.dialErr}}
			continue
		}
		p.dialing = true
		p.wg.Go(p.dial)
		return
	}
	p.waiters = nil
}

// pick takes a slot, or tells whether another connection would help. It runs
// under mu.
func (p *Pool) pick() (_ *conn, mayGrow bool) {
	usable, full := 0, true
	for _, c := range slices.Clone(p.conns) {
		if c.cc.Err() != nil {
			p.remove(c)
			continue
		}
		before := c.cc.InFlight()
		available := c.cc.Available()
		after := c.cc.InFlight()
		used := max(c.inFlight, after)
		if available == 0 && used == 0 {
			available = c.cc.Available() // its last request may have ended just now
		}
		if available == 0 {
			switch {
			case used == 0:
				p.remove(c)
			case c.limit <= 1:
				usable++
				full = false
			case max(before, after) > c.allowed():
				usable++ // truly full: streams that have just ended still count
			}
			// Else it has no room although it is not full: it has had a GOAWAY,
			// or its limit was lowered. It is as good as not there.
			continue
		}
		usable++
		if c.proven {
			// Not before: until the peer's first SETTINGS net/http assumes 100. A
			// request that starts or ends while we look must not make the sum
			// too large, hence the smaller count.
			c.limit = available + min(before, after)
		}
		if c.limit <= 1 {
			full = false // the peer has us on a short leash: more connections would be rude
		}
		if used < c.allowed() {
			c.inFlight++
			return c, false
		}
	}
	return nil, usable == 0 || full && usable < p.opts.MaxConns
}

// dial opens one connection.
func (p *Pool) dial() {
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.DialTimeout)
	cc, err := p.transport.NewClientConn(ctx, p.opts.URL.Scheme, p.addr)
	cancel()

	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing = false
	switch {
	case err != nil:
		p.dialErr = fmt.Errorf("%s: %w", p.addr, err)
		// 50 ms, doubled, at most about 3 s: enough to spare a dead provider the
		// storm, short enough to notice its return.
		p.redialAt = p.opts.Now().Add(50 * time.Millisecond << min(p.failures, 6))
		p.failures++
		if len(p.conns) == 0 {
			for _, w := range p.waiters {
				if !w.gone {
					w.got <- grant{err: &DialError{p.dialErr}}
				}
			}
			p.waiters = nil
		}
	case p.closed:
		_ = cc.Close()
	default:
		p.failures = 0
		p.conns = append(p.conns, &conn{cc: cc, limit: 1, proven: !p.opts.WarmUp})
	}
	p.dispatch()
}

// Conns tells how many connections are in use, for metrics and tests.
func (p *Pool) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Close closes all connections and returns when every Do and dial has ended.
// Requests in flight end without an answer: drain before.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.cancel()
	for _, c := range p.conns {
		_ = c.cc.Close()
	}
	for c := range p.leaving {
		_ = c.cc.Close()
	}
	p.conns, p.leaving = nil, nil
	p.dispatch()
	p.mu.Unlock()
	p.wg.Wait()
}
