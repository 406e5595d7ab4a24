package client_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

func inApp(id string) *sdkpb.Frame {
	return &sdkpb.Frame{Message: &sdkpb.Message{MessageId: id, Kind: sdkpb.Message_KIND_IN_APP, Title: "t"}}
}

// conversation is what a phone did with the messages of one session.
type conversation struct {
	shown    record[string]
	claims   record[string]
	receipts record[string]
}

func (v *conversation) options(o *client.Options) {
	o.OnMessage = func(m *sdkpb.Message) { v.shown.add(m.MessageId) }
}

// serve answers claims with grant and takes receipts, until the client goes.
func (v *conversation) serve(p *peer, grant func(id string) *sdkpb.Grant) {
	for f := p.recv(); f != nil; f = p.recv() {
		switch {
		case f.Claim != nil:
			v.claims.add(f.Claim.MessageId)
			if g := grant(f.Claim.MessageId); g != nil {
				p.send(&sdkpb.Frame{Re: f.Id, Grant: g})
			}
		case f.Batch != nil:
			v.take(f.Batch)
			p.ack(f)
		}
	}
}

func (v *conversation) take(b *sdkpb.Batch) {
	for _, i := range b.Items {
		if r := i.Receipt; r != nil {
			v.receipts.add(fmt.Sprintf("%s %d %s", r.MessageId, r.State, r.Via))
		}
	}
}

func granted(id string) *sdkpb.Grant { return &sdkpb.Grant{MessageId: id, Granted: true} }

func TestAnInAppMessageIsShownOnceAndOnlyAfterItsGrant(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var v conversation
		past := inApp("past")
		past.Message.ExpiresMs = 1
		g.session = func(_ int, p *peer) {
			p.hello(nil, inApp("yes"), inApp("yes"), inApp("no"), past, inApp("last"))
			v.serve(p, func(id string) *sdkpb.Grant {
				if id == "no" {
					return &sdkpb.Grant{MessageId: id, Reason: "late"}
				}
				return granted(id)
			})
		}
		c := g.client(v.options)
		run(t, c)
		eventually(t, "receipts", func() bool { return len(v.receipts.all()) == 2 })
		if got := fmt.Sprint(v.shown.all(), v.receipts.all()); got != "[yes last] [yes 2 in_app last 2 in_app]" {
			t.Errorf("shown and receipts %s", got)
		}
		if got := fmt.Sprint(v.claims.all()); got != "[yes yes no last]" {
			t.Errorf("claims %s", got)
		}
	})
}

func TestAMessageWhoseGrantWasLostIsNotShown(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var v conversation
		g.session = func(n int, p *peer) {
			if n == 0 {
				p.hello(nil, inApp("m"))
				v.claims.add(p.recv().GetClaim().GetMessageId())
				return // the grant is lost with the connection
			}
			p.hello(nil, &sdkpb.Frame{Re: 2, Grant: granted("m")}, inApp("n")) // a grant of nothing that was claimed here
			v.serve(p, granted)
		}
		c := g.client(v.options)
		run(t, c)
		eventually(t, "the next message", func() bool { return len(v.receipts.all()) == 1 })
		if got := fmt.Sprint(v.shown.all(), v.claims.all()); got != "[n] [m n]" {
			t.Errorf("shown and claims %s", got)
		}
	})
}

func TestAPushAndAnInAppMessageOfOneIdAreShownOnce(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		for _, sabotage := range []bool{false, true} {
			g := newGateway(t, codec)
			var v conversation
			g.session = func(_ int, p *peer) {
				p.hello(nil, inApp("m"), inApp("n"))
				v.serve(p, granted)
			}
			c := g.client(v.options, func(o *client.Options) { o.DisableDedupe = sabotage })
			if !c.PushReceived("m", "fcm") {
				t.Error("the first push is not shown")
			}
			if c.PushReceived("m", "fcm") != sabotage {
				t.Errorf("sabotage %v: a repeated push", sabotage)
			}
			run(t, c)
			eventually(t, "n is shown", func() bool { s := v.shown.all(); return len(s) > 0 && s[len(s)-1] == "n" })
			if c.PushReceived("n", "apns") != sabotage {
				t.Errorf("sabotage %v: a push after the in-app message", sabotage)
			}
			drained(t, c)
			want := "[n] [m 1 fcm m 2 fcm n 2 in_app]"
			if sabotage {
				want = "[m n] [m 1 fcm m 2 fcm m 1 fcm m 2 fcm m 2 in_app n 2 in_app n 1 apns n 2 apns]"
			}
			if got := fmt.Sprint(v.shown.all(), v.receipts.all()); got != want {
				t.Errorf("sabotage %v: shown and receipts %s, want %s", sabotage, got, want)
			}
		}
	})
}

func TestRegionsAreRegisteredAndAcked(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var acks record[*sdkpb.RegionsAck]
		set := &sdkpb.Regions{Etag: "e", Regions: []*sdkpb.Region{{Id: "a", RadiusM: 100}, {Id: "b", RadiusM: 100}}}
		g.session = func(_ int, p *peer) {
			p.hello(nil, &sdkpb.Frame{Regions: set})
			for f := p.recv(); f != nil; f = p.recv() {
				if f.RegionsAck != nil {
					acks.add(f.RegionsAck)
				}
			}
		}
		c := g.client(func(o *client.Options) {
			o.OnRegions = func(r *sdkpb.Regions) []*sdkpb.RegionFailure {
				return []*sdkpb.RegionFailure{{Id: r.Regions[1].Id, OsCode: "full"}}
			}
		})
		run(t, c)
		eventually(t, "regions_ack", func() bool { return len(acks.all()) == 1 })
		if a := acks.all()[0]; a.Etag != "e" || fmt.Sprint(a.Installed) != "[a]" || len(a.Failed) != 1 {
			t.Errorf("%v", a)
		}
	})
}

// What an answer to a POST made the OS do is told by the next POST that arrives.
func TestAWokenPhoneTellsWhatBecameOfItsRegions(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var heard record[string]
		g.post = func(n int, w http.ResponseWriter, r *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
			if got := r.Header.Get("Footfall-Caps"); got != "bubble,beacons" {
				t.Errorf("capabilities %q", got)
			}
			said := "nothing"
			if a := b.RegionsAck; a != nil {
				said = fmt.Sprint(a.Etag, a.Installed, len(a.Failed))
			}
			heard.add(said)
			if n == 1 {
				w.WriteHeader(http.StatusBadGateway)
				return nil
			}
			reply := ackReply(b)
			if n == 0 {
				reply.Regions = &sdkpb.Regions{
					Etag: "e", Regions: []*sdkpb.Region{{Id: "a"}, {Id: "b"}}, Bubble: &sdkpb.Region{Id: sdkproto.BubbleID},
				}
			}
			return reply
		}
		var caps record[string]
		g.install = func(_ int, _ http.ResponseWriter, h *sdkpb.Hello) *sdkpb.BatchReply {
			caps.add(fmt.Sprint(h.Caps))
			return &sdkpb.BatchReply{HelloOk: &sdkpb.HelloOk{NewDeviceToken: "dt_post"}}
		}
		c := g.client(func(o *client.Options) {
			o.Caps = []string{sdkproto.CapBubble, sdkproto.CapBeacons}
			o.OnRegions = func(*sdkpb.Regions) []*sdkpb.RegionFailure { return []*sdkpb.RegionFailure{{Id: "b", OsCode: "5"}} }
		})
		for range 4 {
			_ = c.PostBatch(t.Context()) // the second fails
		}
		if got := fmt.Sprint(heard.all(), caps.all()); got != "[nothing e[a ~bubble] 1 e[a ~bubble] 1 nothing] [[bubble beacons]]" {
			t.Errorf("the server heard %s", got)
		}
	})
}

func TestAWokenPhoneRegistersPostsAndTakesTheAnswer(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var v conversation
		var regions record[string]
		g.post = func(n int, _ http.ResponseWriter, r *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
			if got := r.Header.Get("Authorization"); got != "Bearer dt_post" {
				t.Errorf("authorization %q", got)
			}
			v.take(b)
			g.take(b.Items)
			reply := ackReply(b)
			reply.Regions = &sdkpb.Regions{Etag: fmt.Sprint(n)}
			reply.Messages = []*sdkpb.Message{{MessageId: "m", Kind: sdkpb.Message_KIND_INBOX}}
			return reply
		}
		var acked record[uint64]
		c := g.client(v.options, func(o *client.Options) {
			o.OnRegions = func(r *sdkpb.Regions) []*sdkpb.RegionFailure { regions.add(r.Etag); return nil }
			o.OnAcked = func(i *sdkpb.Item) { acked.add(i.Seq) }
		})
		seq := c.RegionEvent("r", sdkpb.RegionEvent_TRANSITION_ENTER, nil, time.Time{})
		if err := c.PostBatch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if g.times(seq) != 1 || fmt.Sprint(acked.all()) != "[1]" {
			t.Errorf("taken %d times, acked %v", g.times(seq), acked.all())
		}
		// The receipt of the inbox message waits; the same message is not new.
		if err := c.PostBatch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(v.shown.all(), v.receipts.all(), regions.all(), c.Pending()); got != "[m] [m 1 inbox] [0 1] 0" {
			t.Errorf("shown, receipts, regions, pending: %s", got)
		}
		if g.installs != 1 {
			t.Errorf("registered %d times", g.installs)
		}
	})
}

func TestPOSTFailuresKeepTheQueueAndTheServersWish(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		for _, tt := range []struct {
			name   string
			status int
			after  string
			check  func(t *testing.T, err error)
			silent bool // the next PostBatch asks nothing
		}{
			{"429", 429, "7", retryAfter(7 * time.Second), true},
			{"429 without Retry-After", 429, "", retryAfter(time.Minute), true},
			{"503", 503, "3", retryAfter(3 * time.Second), true},
			{"500", 500, "", retryAfter(0), false},
			{"502 of a proxy", 502, "", retryAfter(0), false},
			{"404 of a proxy", 404, "", retryAfter(0), false},
			{"400 of a proxy, for one item", 400, "", func(t *testing.T, err error) {
				if err == nil {
					t.Error("taken for good")
				}
			}, false},
			{"403 of a proxy", 403, "", retryAfter(0), false},
			{"426 of a proxy", 426, "", retryAfter(0), false},
			{"401 of a captive portal", 401, "", retryAfter(0), false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				g := newGateway(t, codec)
				broken := true
				g.post = func(_ int, w http.ResponseWriter, _ *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
					if !broken {
						g.take(b.Items)
						return ackReply(b)
					}
					if tt.after != "" {
						w.Header().Set("Retry-After", tt.after)
					}
					w.Header().Set("Content-Type", "text/html")
					w.WriteHeader(tt.status)
					_, _ = io.WriteString(w, "<html>")
					return nil
				}
				mono := time.Hour
				c := g.client(func(o *client.Options) { o.Mono = func() time.Duration { return mono } })
				track(t, c, "a")
				tt.check(t, c.PostBatch(t.Context()))
				if c.Pending() != 1 {
					t.Fatalf("%d pending", c.Pending())
				}
				broken = false
				before := g.posts
				err := c.PostBatch(t.Context())
				if asked := g.posts > before; asked == tt.silent || asked != (err == nil) {
					t.Errorf("asked again: %v, %v", asked, err)
				}
				mono += time.Hour
				if err := c.PostBatch(t.Context()); err != nil || c.Pending() != 0 {
					t.Errorf("after the wait: %v, %d pending", err, c.Pending())
				}
			})
		}
	})
}

func retryAfter(d time.Duration) func(*testing.T, error) {
	return func(t *testing.T, err error) {
		t.Helper()
		if e, ok := errors.AsType[*client.RetryError](err); !ok || e.After != d {
			t.Errorf("%v, want to retry after %v", err, d)
		}
	}
}

func TestALargeBacklogGoesInCompressedBatches(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var encodings record[string]
		g.post = func(_ int, _ http.ResponseWriter, r *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
			encodings.add(fmt.Sprint(r.Header.Get("Content-Encoding"), " ", len(b.Items)))
			g.take(b.Items)
			return ackReply(b)
		}
		c := g.client()
		for n := range 700 {
			c.Fix(&sdkpb.Location{Lat: float64(n) / 11, Lng: float64(n) / 7, AccuracyM: float64(n)}, time.Time{})
		}
		for range 2 {
			if err := c.PostBatch(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprint(encodings.all(), c.Pending()); got != "[gzip 500 gzip 200] 0" {
			t.Errorf("%s", got)
		}
	})
}

// A POST and a socket at the same time: what the one has in flight the other sends
// too, before anything later, so that whatever gets lost nothing is overtaken.
func TestNothingOvertakesOnTheOtherWay(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var mu sync.Mutex
		var first []uint64 // seqs in the order of their first arrival
		seen := map[uint64]bool{}
		arrive := func(b *sdkpb.Batch) {
			mu.Lock()
			defer mu.Unlock()
			for _, i := range b.Items {
				if !seen[i.Seq] {
					seen[i.Seq] = true
					first = append(first, i.Seq)
				}
			}
		}
		g.session = func(n int, p *peer) {
			p.hello(nil)
			for f := p.batch(); f != nil; f = p.batch() {
				if n%3 == 2 {
					return // what it carried is lost
				}
				arrive(f.Batch)
				if f.Batch.Items[0].Seq%7 == 0 {
					return // taken, and the ack is lost
				}
				p.ack(f)
			}
		}
		posted := 0
		g.post = func(_ int, w http.ResponseWriter, _ *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
			if posted++; posted%4 == 3 {
				w.WriteHeader(http.StatusBadGateway)
				return nil
			}
			arrive(b)
			return ackReply(b)
		}
		c := g.client(func(o *client.Options) { o.BackoffMax = time.Millisecond })
		run(t, c)
		const items = 500
		for range items {
			track(t, c, "a")
			_ = c.PostBatch(t.Context()) // every fourth fails
		}
		_ = c.PostBatch(t.Context())
		_ = c.PostBatch(t.Context())
		drained(t, c)
		mu.Lock()
		defer mu.Unlock()
		if len(first) != items || !slices.IsSorted(first) {
			t.Errorf("%d items arrived in the order %v", len(first), first)
		}
	})
}

// Connections that die at random moments, before or after the batch was made
// durable, lose nothing, and every item is reported as acknowledged once.
func TestFlakyConnectionsLoseNothing(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		r := rand.New(rand.NewPCG(1, 2))
		var chance sync.Mutex
		roll := func(n int) int {
			chance.Lock()
			defer chance.Unlock()
			return r.IntN(n)
		}
		const deaths = 60
		g.session = func(n int, p *peer) {
			if n >= deaths {
				p.hello(nil)
				p.acceptAll()
				return
			}
			if roll(5) == 0 {
				return // before hello_ok
			}
			p.hello(nil)
			for f := p.batch(); f != nil; f = p.batch() {
				switch roll(3) {
				case 0:
					return // not durable
				case 1:
					g.take(f.Batch.Items)
					return // durable, ack lost
				}
				p.ack(f)
			}
		}
		g.post = func(_ int, w http.ResponseWriter, _ *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
			if roll(2) == 0 {
				w.WriteHeader(http.StatusBadGateway)
				return nil
			}
			g.take(b.Items)
			return ackReply(b)
		}
		var acked record[uint64]
		c := g.client(func(o *client.Options) {
			o.BackoffMax = 2 * time.Millisecond
			o.OnAcked = func(i *sdkpb.Item) { acked.add(i.Seq) }
		})
		run(t, c)
		sent := uint64(0)
		connections := func() int {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.sockets
		}
		eventually(t, "the last connection stays", func() bool {
			sent = track(t, c, "a")
			if sent%10 == 0 {
				_ = c.PostBatch(t.Context()) // it fails half of the time
			}
			return connections() > deaths
		})
		drained(t, c)
		eventually(t, "callbacks", func() bool { return len(acked.all()) >= int(sent) })
		times := map[uint64]int{}
		for _, seq := range acked.all() {
			times[seq]++
		}
		for seq := uint64(1); seq <= sent; seq++ {
			if g.times(seq) == 0 || times[seq] != 1 {
				t.Errorf("seq %d taken %d times, acked %d times", seq, g.times(seq), times[seq])
			}
		}
	})
}
