package ingest

import (
	"container/list"
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/footfall-engage/footfall/sdkproto"
)

// mostAddresses bounds how many addresses are remembered; who is forgotten has a
// full bucket again.
const mostAddresses = 10_000

// registrations is a token bucket per remote address.
type registrations struct {
	every rate.Limit
	burst int

	mu     sync.Mutex
	byAddr map[netip.Addr]*list.Element
	used   *list.List // of *bucket, the most recently used first
}

type bucket struct {
	addr  netip.Addr
	limit *rate.Limiter
}

func newRegistrations(perSecond float64, burst int) *registrations {
	return &registrations{
		every: rate.Limit(perSecond), burst: burst,
		byAddr: map[netip.Addr]*list.Element{}, used: list.New(),
	}
}

// take spends one of an address's tokens, or says how long there is none.
func (x *registrations) take(addr netip.Addr, now time.Time) (wait time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.byAddr[addr]
	if e == nil {
		e = x.used.PushFront(&bucket{addr, rate.NewLimiter(x.every, x.burst)})
		x.byAddr[addr] = e
		if x.used.Len() > mostAddresses {
			oldest, _ := x.used.Remove(x.used.Back()).(*bucket)
			delete(x.byAddr, oldest.addr)
		}
	} else {
		x.used.MoveToFront(e)
	}
	b, _ := e.Value.(*bucket)
	return spend(b.limit, 1, now)
}

// spend takes n tokens, or none and says when there are that many.
func spend(l *rate.Limiter, n int, now time.Time) (wait time.Duration) {
	r := l.ReserveN(now, n)
	if !r.OK() { // never that many at once; Limits see to it that there are
		return math.MaxInt64
	}
	wait = r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// addressOf is where a request comes from, as far as one payer has it: an IPv4
// address, or the /64 of an IPv6 one. All that cannot be read are one.
func addressOf(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// mayRegister refuses who registers installs too fast.
func (g *Gateway) mayRegister(from netip.Addr) error {
	if wait := g.registrations.take(from, g.o.Clock.Now()); wait > 0 {
		g.metrics.limited.WithLabelValues("registrations").Inc()
		return g.tooFast("", "too many registrations from one address", wait)
	}
	return nil
}

// mayBring refuses a batch of an install that sends items too fast; nothing of
// it was taken.
func (g *Gateway) mayBring(in *install, items int) *sdkproto.Error {
	in.paceOnce.Do(func() {
		in.pace = rate.NewLimiter(rate.Limit(g.o.Limits.ItemRate), g.o.Limits.ItemBurst)
	})
	if wait := spend(in.pace, items, g.o.Clock.Now()); wait > 0 {
		g.metrics.limited.WithLabelValues("items").Inc()
		return g.tooFast("batch.items", "too many items of one install", wait)
	}
	return nil
}

// tooFast tells how long to wait, at least as long as when the server is busy.
func (g *Gateway) tooFast(field, why string, wait time.Duration) *sdkproto.Error {
	e := sdkproto.Errorf(sdkproto.ErrRate, field, "%s", why)
	e.RetryAfter = max(g.o.Limits.RetryAfter, wait.Round(time.Millisecond))
	return e
}
