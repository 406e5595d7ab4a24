package lab

import (
	"context"
	"errors"
	"net"
	"sync"
)

// errOffline is what a phone without network gets.
var errOffline = errors.New("lab: the phone is offline")

// gate is a phone's network, which can go away: what is open breaks, and nothing
// new opens until it is back. What was on its way may or may not have arrived,
// as with a real one.
type gate struct {
	dialer net.Dialer

	mu      sync.Mutex
	offline bool
	conns   map[*gatedConn]struct{}
}

// DialContext is for a transport or a websocket dialer.
func (g *gate) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if g.closed() {
		return nil, errOffline
	}
	c, err := g.dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	gc := &gatedConn{Conn: c, gate: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.offline { // meanwhile
		_ = c.Close()
		return nil, errOffline
	}
	if g.conns == nil {
		g.conns = make(map[*gatedConn]struct{})
	}
	g.conns[gc] = struct{}{}
	return gc, nil
}

func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.offline
}

// set takes the network away or brings it back.
func (g *gate) set(offline bool) {
	g.mu.Lock()
	g.offline = offline
	var broken []*gatedConn
	if offline {
		for c := range g.conns {
			broken = append(broken, c)
		}
	}
	g.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

type gatedConn struct {
	net.Conn
	gate *gate
}

// Close implements net.Conn.
func (c *gatedConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
