// Package flaky is a bad network: a TCP proxy that cuts connections at random
// moments, in every way in which a phone's network does it. Between a client and
// the real server it shows whether anything is lost or doubled.
//
// What happens to the n-th connection is drawn from the seed and n alone; when it
// happens is counted in bytes, or in time on a connection that is idle. What the
// two ends make of it depends on their own timing.
package flaky

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Options of a proxy. Target is required.
type Options struct {
	Listen string // host:port; empty means a free port on loopback
	Target string // host:port of the server
	Seed   uint64
	// Cuts is how many connections are cut or refused; after that all pass.
	Cuts int
	// MaxBytes and MaxTime bound what a connection lives to see; most are cut far
	// earlier. 0 means 16 KiB and 200 ms.
	MaxBytes int
	MaxTime  time.Duration
	// OnCut is told each cut, with their number so far. It must not block.
	OnCut func(n int)
}

// Counts of what a proxy did.
type Counts struct {
	Connections int   `json:"connections"`
	Cuts        int   `json:"cuts"`         // of all kinds below
	Refused     int   `json:"refused"`      // closed before a byte
	Reset       int   `json:"reset"`        // in the middle of what was on its way, with a reset
	Ended       int   `json:"ended"`        // likewise, with an end
	RepliesLost int   `json:"replies_lost"` // the server heard, and its answers did not arrive
	Unheard     int   `json:"unheard"`      // the phone spoke, and nothing arrived
	Delayed     int   `json:"delayed"`      // chunks that were held back a moment
	BytesUp     int64 `json:"bytes_up"`
	BytesDown   int64 `json:"bytes_down"`
}

// Proxy is one listener in front of one server.
type Proxy struct {
	opts     Options
	listener net.Listener

	mu     sync.Mutex
	counts Counts
}

// kind of a cut.
type kind int

const (
	refuse kind = iota
	reset
	end
	mute // replies are lost for a moment, then a reset
	deaf // requests are lost for a moment, then a reset
)

// The directions of a connection.
const (
	up   = 0 // to the server
	down = 1
)

// fate is what will happen to a connection.
type fate struct {
	kind      kind
	direction int           // whose bytes are counted
	bytes     int           // that pass in that direction
	after     time.Duration // or when this has passed
	hold      time.Duration // between silence and the reset
	delays    [2]*rand.Rand // of the chunks, by direction
}

// New listens. It starts nothing: connections wait for Run.
func New(ctx context.Context, o Options) (*Proxy, error) {
	if o.Target == "" {
		return nil, errors.New("flaky: target is required")
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 16 << 10
	}
	if o.MaxTime <= 0 {
		o.MaxTime = 200 * time.Millisecond
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("flaky: %w", err)
	}
	return &Proxy{opts: o, listener: l}, nil
}

// Addr is where it listens, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL is its address for a client of HTTP.
func (p *Proxy) URL() string { return "http://" + p.Addr() }

// Counts is what it has done so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Run serves until ctx ends. It has closed and joined everything when it returns.
func (p *Proxy) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.listener.Close() })
	defer stop()
	defer p.listener.Close() //nolint:errcheck // a listener that goes away
	var all sync.WaitGroup
	defer all.Wait()
	for n := uint64(0); ; n++ {
		c, err := p.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("flaky: accept: %w", err)
		}
		p.mu.Lock()
		p.counts.Connections++
		p.mu.Unlock()
		all.Go(func() { p.serve(ctx, c, p.draw(n)) })
	}
}

// draw is the fate of the n-th connection.
func (p *Proxy) draw(n uint64) fate {
	rng := rand.New(rand.NewPCG(p.opts.Seed, n))
	f := fate{
		direction: rng.IntN(2),
		bytes:     int(spread(rng, 16, float64(p.opts.MaxBytes))),
		after:     time.Duration(spread(rng, float64(time.Millisecond), float64(p.opts.MaxTime))),
		hold:      time.Duration(rng.IntN(10)+1) * time.Millisecond,
	}
	switch roll := rng.Float64(); {
	case roll < 0.05:
		f.kind = refuse
	case roll < 0.40:
		f.kind = reset
	case roll < 0.60:
		f.kind = end
	case roll < 0.85:
		f.kind = mute
	default:
		f.kind = deaf
	}
	for i := range f.delays {
		f.delays[i] = rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
	}
	return f
}

// spread draws between a and b so that each order of magnitude is as likely.
func spread(rng *rand.Rand, a, b float64) float64 {
	return a * math.Exp(rng.Float64()*math.Log(max(b/a, 1)))
}

// More lets n more connections be cut or refused.
func (p *Proxy) More(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opts.Cuts += n
}

// cut takes one from the cuts that are left, and reports whether there was one.
func (p *Proxy) cut(k kind) bool {
	p.mu.Lock()
	if p.counts.Cuts >= p.opts.Cuts {
		p.mu.Unlock()
		return false
	}
	p.counts.Cuts++
	n := p.counts.Cuts
	switch k {
	case refuse:
		p.counts.Refused++
	case reset:
		p.counts.Reset++
	case end:
		p.counts.Ended++
	case mute:
		p.counts.RepliesLost++
	case deaf:
		p.counts.Unheard++
	}
	p.mu.Unlock()
	if p.opts.OnCut != nil {
		p.opts.OnCut(n)
	}
	return true
}

// link is one connection through the proxy.
type link struct {
	p      *Proxy
	fate   fate
	ends   [2]*net.TCPConn // [up] is the phone's, which up is read from
	burn   func()          // the fate comes true, once
	closed chan struct{}

	mu     sync.Mutex
	lost   [2]bool // what is read in that direction is thrown away
	passed [2]int
}

func (p *Proxy) serve(ctx context.Context, phone net.Conn, f fate) {
	if f.kind == refuse && p.cut(refuse) {
		_ = phone.Close()
		return
	}
	server, err := new(net.Dialer).DialContext(ctx, "tcp", p.opts.Target)
	if err != nil {
		_ = phone.Close() // as where no server listens
		return
	}
	a, _ := phone.(*net.TCPConn)
	b, _ := server.(*net.TCPConn)
	l := &link{p: p, fate: f, ends: [2]*net.TCPConn{a, b}, closed: make(chan struct{})}
	l.burn = sync.OnceFunc(l.comeTrue)
	timer := time.AfterFunc(f.after, l.burn)
	stop := context.AfterFunc(ctx, func() { l.close(false) })
	var both sync.WaitGroup
	both.Go(func() { l.pass(up) })
	both.Go(func() { l.pass(down) })
	both.Wait()
	stop()
	timer.Stop()
	l.close(false)
}

// comeTrue cuts the link, if there is a cut left.
func (l *link) comeTrue() {
	k := l.fate.kind
	if k == refuse {
		k = reset // the cuts had been spent when it came, or it would not be here
	}
	if !l.p.cut(k) {
		return
	}
	switch k {
	case end:
		l.close(false)
	case mute, deaf:
		l.mu.Lock()
		l.lost[map[kind]int{mute: down, deaf: up}[k]] = true
		l.mu.Unlock()
		time.AfterFunc(l.fate.hold, func() { l.close(true) })
	default:
		l.close(true)
	}
}

// close ends both sides, with a reset if hard.
func (l *link) close(hard bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		return
	default:
	}
	close(l.closed)
	for _, c := range l.ends {
		if hard {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
}

// pass carries one direction until an end of it has gone.
func (l *link) pass(direction int) {
	from, to := l.ends[direction], l.ends[1-direction]
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if n > 0 && !l.carry(direction, to, buf[:n]) {
			return
		}
		if errors.Is(err, io.EOF) {
			_ = to.CloseWrite() // the other direction may go on
			return
		}
		if err != nil {
			l.close(true)
			return
		}
	}
}

// carry brings one chunk over, or the part of it that still passes.
func (l *link) carry(direction int, to *net.TCPConn, chunk []byte) bool {
	if l.fate.delays[direction].IntN(16) == 0 && !l.delay(direction) {
		return false
	}
	l.mu.Lock()
	left := l.fate.bytes - l.passed[direction]
	l.passed[direction] += len(chunk)
	counted := direction == l.fate.direction
	l.mu.Unlock()
	if counted && left >= 0 && left < len(chunk) {
		// What is lost afterwards is the rest of this chunk, when requests are; when
		// replies are, the whole chunk still passes.
		first := chunk[:left]
		if l.fate.kind == mute && direction == up {
			first = chunk
		}
		if !l.write(direction, to, first) {
			return false
		}
		chunk = chunk[len(first):]
		l.burn()
	}
	return l.write(direction, to, chunk)
}

func (l *link) write(direction int, to *net.TCPConn, chunk []byte) bool {
	l.mu.Lock()
	lost := l.lost[direction]
	l.mu.Unlock()
	if lost || len(chunk) == 0 {
		return true
	}
	n, err := to.Write(chunk)
	l.p.mu.Lock()
	if direction == up {
		l.p.counts.BytesUp += int64(n)
	} else {
		l.p.counts.BytesDown += int64(n)
	}
	l.p.mu.Unlock()
	if err != nil {
		l.close(true)
		return false
	}
	return true
}

// delay holds a chunk back for some milliseconds. False means the link has ended.
func (l *link) delay(direction int) bool {
	l.p.mu.Lock()
	spent := l.p.counts.Cuts >= l.p.opts.Cuts
	if !spent {
		l.p.counts.Delayed++
	}
	l.p.mu.Unlock()
	if spent {
		return true // a network that has become good
	}
	t := time.NewTimer(time.Duration(l.fate.delays[direction].IntN(8)+1) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.closed:
		return false
	}
}
