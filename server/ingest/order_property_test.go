package ingest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
)

// lived is what is so of an item, whatever the phone's clocks said.
type lived struct {
	at   time.Time     // by the true clock
	skew time.Duration // of the wall clock then
	boot int
	// since are the settings that the wall clock has had from then on.
	since []time.Duration
}

// restless is a phone that is closed, killed, rebooted, whose clock is set, and which
// says what it has by socket and POST at once.
type restless struct {
	*world
	r     *rand.Rand
	store *client.MemStore
	codec sdkproto.Codec
	id    string
	c     *client.Client
	posts sync.WaitGroup
	skew  atomic.Int64
	boot  int
	up    time.Time // when the phone booted
	items []*lived
	times []time.Time // at which something can have been received: true time passes at rest
}

func (p *restless) launch() {
	p.t.Helper()
	booted, boot := p.up, p.boot
	c, err := client.New(client.Options{
		Endpoint: p.server.URL, AppKey: android, InstallID: p.id, Platform: sdkpb.Platform_PLATFORM_ANDROID,
		Codec: p.codec, HTTPClient: p.http, Store: p.store, BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond,
		Clock:  func() time.Time { return p.clock.Now().Add(time.Duration(p.skew.Load())) },
		Mono:   func() time.Duration { return p.clock.Now().Sub(booted) },
		BootID: fmt.Sprint("boot-", boot),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.c = c
}

// rest ends all that is on its way, so that true time can pass without any of it
// passing on the wire, or at a server that has yet to read what is in its sockets.
func (p *restless) rest() {
	p.c.Close()
	p.posts.Wait()
	until(p.t, "end of the sockets", func() bool { return p.gauge("footfall_ingest_sessions") == 0 })
}

// pass lets true time pass.
func (p *restless) pass(most time.Duration) {
	p.clock.Advance(time.Duration(p.r.Int64N(int64(most))))
	p.times = append(p.times, p.clock.Now())
}

func (p *restless) set(skew time.Duration) {
	p.skew.Store(int64(skew))
	for _, i := range p.items {
		i.since = append(i.since, skew)
	}
}

func (p *restless) step() {
	switch p.r.IntN(10) {
	case 0, 1, 2:
		for range 1 + p.r.IntN(5) {
			skew := time.Duration(p.skew.Load())
			p.items = append(p.items, &lived{p.clock.Now(), skew, p.boot, []time.Duration{skew}})
			if _, err := p.c.Track(fmt.Sprint(len(p.items)), nil); err != nil {
				p.t.Fatal(err)
			}
		}
	case 3, 4:
		_ = p.c.Foreground(context.WithoutCancel(p.t.Context())) // it may be there already
	case 5, 6:
		c := p.c
		p.posts.Go(func() { _ = c.PostBatch(context.WithoutCancel(p.t.Context())) })
	case 7:
		p.c.Close()
	case 8:
		p.rest()
		p.set(time.Duration(p.r.Int64N(int64(10*time.Minute))) - 5*time.Minute)
		p.pass(10 * time.Minute)
	case 9: // killed, or the phone rebooted; the storage is what stays
		p.rest()
		if p.r.IntN(2) == 0 {
			p.boot++
			p.up = p.clock.Now()
			p.pass(3 * time.Hour)
		}
		p.launch()
	}
}

// A phone by socket and POST at once, with connections that end, clocks that are set
// and reboots: each item is in the log, the first copies in the order of seq, and
// when it happened is as the README says: exact within a boot, else off by what the
// wall clock was changed, and never in the future. Nothing passes on the wire here.
func TestItemsReachTheLogInOrderAndOnTime(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec sdkproto.Codec) {
		for seed := range uint64(4) {
			w := newWorld(t, ingest.Limits{})
			p := &restless{
				world: w, r: rand.New(rand.NewPCG(seed, 21)), store: new(client.MemStore), codec: codec,
				id: fmt.Sprintf("restless-%d", seed), up: noon.Add(-time.Hour), times: []time.Time{noon},
			}
			p.launch()
			for range 120 {
				p.step()
			}
			p.rest()
			if err := p.c.Foreground(context.WithoutCancel(t.Context())); err != nil {
				t.Fatal(err)
			}
			until(t, "empty queue", func() bool { return p.c.Pending() == 0 })
			p.c.Close()
			p.check(seed)
		}
	})
}

func (p *restless) check(seed uint64) {
	t := p.t
	t.Helper()
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	next, copies := uint64(1), 0
	for _, e := range p.log.entries {
		if e.Kind != engage.KindItem || e.Key != engage.InstallKey(ws, p.id) {
			continue
		}
		item := new(sdkpb.Item)
		if err := proto.Unmarshal(e.Body, item); err != nil {
			t.Fatal(err)
		}
		if item.Seq < next {
			copies++
			continue
		}
		if item.Seq != next || item.Event == nil {
			t.Fatalf("seed %d: item %d (%v) where %d should be", seed, item.Seq, item, next)
		}
		next++
		var n int
		if _, err := fmt.Sscan(item.Event.GetName(), &n); err != nil || n < 1 || n > len(p.items) {
			t.Fatalf("seed %d: event %q", seed, item.Event.GetName())
		}
		p.onTime(seed, n, e)
	}
	if next != uint64(len(p.items))+1 {
		t.Fatalf("seed %d: the log has %d of %d items", seed, next-1, len(p.items))
	}
	if len(p.items) < 30 {
		t.Fatalf("seed %d: only %d items", seed, len(p.items))
	}
}

// onTime checks when the log says that an item happened.
func (p *restless) onTime(seed uint64, n int, e engage.Entry) {
	p.t.Helper()
	const round = 2 * time.Millisecond
	i := p.items[n-1]
	off := e.Occurred.Sub(i.at)
	if off.Abs() <= round { // of the same boot, or no clock was changed
		return
	}
	explained := slices.ContainsFunc(i.since, func(sent time.Duration) bool {
		return (off - (i.skew - sent)).Abs() <= round
	})
	// Where the changed clock says future, it is when the server received it.
	clamped := off > 0 && slices.ContainsFunc(p.times, func(at time.Time) bool { return e.Occurred.Sub(at).Abs() <= round })
	if i.boot == p.boot || !explained && !clamped {
		p.t.Errorf("seed %d: item %d is off by %v; its boot %d of %d, clock %v, then %v", seed, n, off, i.boot, p.boot, i.skew, i.since)
	}
}
