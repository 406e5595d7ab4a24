package ingest

import (
	"container/list"
	"context"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
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

// allowance is how many items a pace lets through.
type allowance struct {
	every float64 // ns from one to the next
	burst int     // at once
}

// span is how long so many items take at the pace, in ns.
func (l *allowance) span(n int) int64 { return int64(min(float64(n)*l.every, math.MaxInt64/4)) }

// pace is a token bucket in one number, for there is one per install: until when what
// was let through fills it, in ns since the gateway began. The zero value has all its
// tokens.
type pace struct{ until atomic.Int64 }

// spend takes n tokens, or none and says when there are that many.
func (p *pace) spend(l *allowance, n int, now time.Duration) (wait time.Duration) {
	if n > l.burst { // never that many at once; Limits see to it that there are
		return math.MaxInt64
	}
	most := int64(now) + l.span(l.burst)
	for {
		old := p.until.Load()
		// More than all was never taken: then the clock has gone back.
		since := min(max(old, int64(now)), most)
		until := since + l.span(n)
		if until > most {
			wait, until = time.Duration(until-most), since
		}
		if p.until.CompareAndSwap(old, until) {
			return wait
		}
		wait = 0
	}
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

// helloQueues is how many times Limits.MaxHellos hellos wait for their turn.
const helloQueues = 8

// admit waits for a hello's turn, within ctx: so many phones that come at once are
// served one after the other, and the store and the log are not asked for more than
// they can do in time. Who would wait for long is told when to come again. The
// caller calls leave when the hello is answered.
func (g *Gateway) admit(ctx context.Context) (leave func(), e *sdkproto.Error) {
	refuse := func() *sdkproto.Error {
		g.helloQueue.Add(-1)
		g.metrics.limited.WithLabelValues("hellos").Inc()
		return g.busy("too many phones come at once")
	}
	if g.helloQueue.Add(1) > int64((1+helloQueues)*cap(g.hellos)) {
		return nil, refuse()
	}
	select {
	case g.hellos <- struct{}{}:
	case <-ctx.Done():
		return nil, refuse()
	}
	return func() {
		<-g.hellos
		g.helloQueue.Add(-1)
	}, nil
}

// paces are token buckets by app. There are few apps: none is forgotten.
type paces struct {
	allowance
	byApp *sync.Map // *pace by appKey
}

type appKey struct{ workspace, app string }

func newPaces(perSecond float64, burst int) paces {
	return paces{allowance{float64(time.Second) / perSecond, burst}, new(sync.Map)}
}

func (x *paces) of(app *App) *pace {
	key := appKey{app.Workspace, app.ID}
	if p, ok := x.byApp.Load(key); ok {
		return p.(*pace) //nolint:forcetypeassert // nothing else is stored
	}
	p, _ := x.byApp.LoadOrStore(key, new(pace))
	return p.(*pace) //nolint:forcetypeassert // as above
}

// mayBring refuses a batch of an install or an app that sends items too fast;
// nothing of it was taken.
func (g *Gateway) mayBring(in *install, app *pace, items int, now time.Time) *sdkproto.Error {
	if e := g.mayPass(in, items, now); e != nil {
		return e
	}
	if wait := app.spend(&g.apps.allowance, items, now.Sub(g.began)); wait > 0 {
		g.metrics.limited.WithLabelValues("app_items").Inc()
		e := sdkproto.Errorf(sdkproto.ErrRate, "batch.items", "too many items of one app")
		// A whole crowd is told: one after the other.
		e.RetryAfter = g.returns.wait(now, min(wait, longestWait/2))
		return e
	}
	return nil
}

// mayPass refuses what an install sends too fast.
func (g *Gateway) mayPass(in *install, items int, now time.Time) *sdkproto.Error {
	if wait := in.pace.spend(&g.items, items, now.Sub(g.began)); wait > 0 {
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
