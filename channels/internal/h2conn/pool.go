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
//
// The connections are not net/http's: see wire.
package h2conn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
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
	opts   Options
	addr   string
	ctx    context.Context // ends with Close; dials hang on it
	cancel context.CancelFunc
	wg     sync.WaitGroup // calls of Do, dials, connections' readers and writers

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

// conn is an owned connection and its slots.
type conn struct {
	w        *wire
	inFlight int  // slots given out
	limit    int  // the peer's stream limit when last looked at; at most 1 during warm-up
	proven   bool // something was accepted, or no warm-up is wanted
}

// allowed is how many requests may be in flight.
func (c *conn) allowed() int {
	if c.limit <= 1 {
		return c.limit
	}
	return max(1, c.limit*9/10)
}

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
	port := o.URL.Port()
	switch {
	case port != "":
	case o.URL.Scheme == "http":
		port = "80"
	default:
		port = "443"
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{
		opts:    o,
		addr:    net.JoinHostPort(o.URL.Hostname(), port),
		ctx:     ctx,
		cancel:  cancel,
		leaving: make(map[*conn]struct{}),
	}
}

// Field is one of a request's header. A list of them costs a third of an http.Header.
type Field struct {
	Name  string // in lower case
	Value string
	Once  bool // the value is another for each request
}

// Request is one POST.
type Request struct {
	Path   string  // unescaped, with its leading slash
	Header []Field // may be shared among requests
	Body   []byte  // must not be changed until Do has returned, or after
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
	for i := range r.Header {
		if f := &r.Header[i]; !isName(f.Name) || !httpguts.ValidHeaderFieldValue(f.Value) {
			return Result{Err: fmt.Errorf("header %q is not one", f.Name)} // the value may be a secret
		}
	}
	if !plainPath(r.Path) {
		r.Path = (&url.URL{Path: r.Path}).EscapedPath()
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return Result{Err: ErrClosed}
	}
	p.wg.Add(1)
	p.mu.Unlock()
	defer p.wg.Done()

	for try := 1; ; {
		c, err := p.acquire(ctx)
		if err != nil {
			return Result{Err: err}
		}
		res, unprocessed, room := c.w.do(ctx, &r)
		if !room { // the connection has changed since its slot was given
			p.release(c, false, false)
			continue
		}
		retire := res.Status != 0 && r.Again != nil && r.Again(res.Status, res.Body)
		accepted := res.Status != 0 && (r.Accept == nil && res.Status == http.StatusOK || r.Accept != nil && r.Accept(res.Status))
		p.release(c, accepted, retire)
		if !unprocessed && !retire || try >= maxTries || ctx.Err() != nil {
			return res
		}
		try++
	}
}

// isName reports whether a header may be named so: HTTP/2 knows lower case alone (RFC 9113
// §8.2.1).
func isName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return httpguts.ValidHeaderFieldName(name)
}

// plainPath tells whether a path has nothing that could have to be escaped.
func plainPath(path string) bool {
	for i := range len(path) {
		c := path[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '-' || c > ':') && c != '_' {
			return false
		}
	}
	return true
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
		c.w.close()
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
	c.w.close()
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

// changed looks again when a connection's limit has changed or it has ended.
func (p *Pool) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range slices.Clone(p.conns) {
		if _, _, usable := c.w.state(); !usable {
			p.remove(c)
		}
	}
	p.dispatch()
}

// pick takes a slot, or tells whether another connection would help. It runs
// under mu.
func (p *Pool) pick() (_ *conn, mayGrow bool) {
	full := true
	for i := 0; i < len(p.conns); {
		c := p.conns[i]
		limit, open, usable := c.w.state()
		if !usable {
			p.remove(c)
			continue
		}
		i++
		c.limit = limit
		if !c.proven {
			c.limit = min(limit, 1)
		}
		if c.limit <= 1 {
			full = false // the peer has us on a short leash: more connections would be rude
		}
		if max(c.inFlight, open) < c.allowed() {
			c.inFlight++
			return c, false
		}
	}
	return nil, len(p.conns) == 0 || full && len(p.conns) < p.opts.MaxConns
}

// dial opens one connection.
func (p *Pool) dial() {
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.DialTimeout)
	nc, err := p.connect(ctx)
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
		_ = nc.Close()
	default:
		p.failures = 0
		w := newWire(nc, p.opts.URL.Scheme, p.opts.URL.Host, p.opts.PingAfter, p.opts.PingTimeout, p.changed)
		p.wg.Go(w.read)
		p.wg.Go(w.write)
		p.conns = append(p.conns, &conn{w: w, limit: 1, proven: !p.opts.WarmUp})
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
		c.w.close()
	}
	for c := range p.leaving {
		c.w.close()
	}
	p.conns, p.leaving = nil, nil
	p.dispatch()
	p.mu.Unlock()
	p.wg.Wait()
}
