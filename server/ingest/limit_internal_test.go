package ingest

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/time/rate"
)

// A pace is what a rate.Limiter is, to the rounding of its floating tokens.
func TestPaceIsATokenBucket(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	begin := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for range 200 {
		perSecond, burst := 1+float64(r.IntN(300)), 1+r.IntN(500)
		l := allowance{float64(time.Second) / perSecond, burst}
		limit := rate.NewLimiter(rate.Limit(perSecond), burst)
		var p pace
		now, allowed := time.Duration(0), 0
		for range 100 {
			now += time.Duration(r.Int64N(int64(float64(burst) / perSecond * float64(time.Second) / 3)))
			n := r.IntN(burst + 1)
			got, want := p.spend(&l, n, now), spend(limit, n, begin.Add(now))
			if d := got - want; d < -time.Microsecond || d > time.Microsecond {
				t.Fatalf("%d at %s of %d, %v/s: waits %s, want %s", n, now, burst, perSecond, got, want)
			}
			if want == 0 {
				allowed++
			}
		}
		if allowed == 0 {
			t.Fatal("nothing was let through")
		}
		if wait := p.spend(&l, burst+1, now); wait != math.MaxInt64 {
			t.Errorf("more than a burst waits %s", wait)
		}
	}
}

// A clock that goes back by a day does not make anybody wait for one.
func TestPaceOutlivesTheClock(t *testing.T) {
	l := allowance{float64(time.Second) / 10, 20}
	var p pace
	if wait := p.spend(&l, 20, 24*time.Hour); wait != 0 {
		t.Fatalf("the first waits %s", wait)
	}
	if wait := p.spend(&l, 20, 0); wait != 2*time.Second {
		t.Errorf("waits %s, want the time of a burst", wait)
	}
	if wait := p.spend(&l, 20, 2*time.Second); wait != 0 {
		t.Errorf("waits %s after a refusal", wait)
	}
}

func TestPaceIsSharedByWhoSends(t *testing.T) {
	l := allowance{float64(time.Hour), 1000}
	var p pace
	var wg sync.WaitGroup
	var passed atomic.Int64
	for range 4 {
		wg.Go(func() {
			for range 400 {
				if p.spend(&l, 1, time.Second) == 0 {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n != 1000 {
		t.Errorf("%d passed, want the burst", n)
	}
}

// There are as many as phones: the next size that Go has for them is 704 bytes.
func TestInstallIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(install{}); n > 640 {
		t.Errorf("an install takes %d bytes", n)
	}
}

func TestBucketsOfAddressesAreBounded(t *testing.T) {
	x := newRegistrations(1, 1)
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	a := netip.MustParseAddr("10.0.0.0")
	first := a
	for range mostAddresses + 10 {
		if wait := x.take(a, now); wait != 0 {
			t.Fatalf("%s waits %s", a, wait)
		}
		a = a.Next()
	}
	if len(x.byAddr) != mostAddresses || x.used.Len() != mostAddresses {
		t.Errorf("%d addresses remembered, %d in the list", len(x.byAddr), x.used.Len())
	}
	if x.byAddr[first] != nil {
		t.Error("the oldest was kept")
	}
	if wait := x.take(a.Prev(), now); wait != time.Second {
		t.Errorf("the newest waits %s", wait)
	}
}

func TestOnePayerHasOneAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[::ffff:192.0.2.7]:99": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:99": "2001:db8:1:2::",
		"[fe80::1%eth0]:1": "fe80::", "pipe": "invalid IP", "": "invalid IP",
	} {
		if got := addressOf(remote).String(); got != want {
			t.Errorf("%q: %s, want %s", remote, got, want)
		}
	}
}
