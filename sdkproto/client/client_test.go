package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

func TestEverythingQueuedIsAckedOnce(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var acked record[uint64]
		c := g.client(func(o *client.Options) { o.OnAcked = func(i *sdkpb.Item) { acked.add(i.Seq) } })
		at := time.Now().Add(-time.Minute)
		seqs := []uint64{
			track(t, c, "product_viewed"),
			c.Fix(&sdkpb.Location{Lat: 52.5, Lng: 13.4, AccuracyM: 10}, at),
			c.RegionEvent("place-1/inside", sdkpb.RegionEvent_TRANSITION_ENTER, nil, at),
			c.Identify("ada", ""),
			c.SetPreferences(map[string]sdkpb.Preferences_Attitude{"fashion": sdkpb.Preferences_ATTITUDE_LIKE}),
			c.SetConsent(sdkpb.Consent_PURPOSE_MARKETING, true, "v1", "onboarding"),
			c.SetPermissions(&sdkpb.Permissions{Notifications: sdkpb.Permissions_NOTIFICATIONS_GRANTED}),
			c.SetPushTarget(&sdkpb.PushTarget{Provider: sdkpb.PushTarget_PROVIDER_FCM, Token: "t"}),
			c.SetLifecycle(sdkpb.Lifecycle_STATE_FOREGROUND),
			c.Receipt("m", sdkpb.Receipt_STATE_OPENED, "fcm"),
		}
		run(t, c)
		drained(t, c)
		for n, seq := range seqs {
			if seq != uint64(n+1) || g.times(seq) != 1 {
				t.Errorf("item %d has seq %d and was taken %d times", n, seq, g.times(seq))
			}
		}
		if got := acked.all(); fmt.Sprint(got) != fmt.Sprint(seqs) {
			t.Errorf("acked %v, want %v", got, seqs)
		}
		h := g.hellos[0]
		if h.AppKey != "ak_test" || h.InstallId != "install-1" || h.TimeZone != "Europe/Berlin" || h.BootId == "" || h.MonoMs == 0 ||
			h.GetPushTarget().GetToken() != "t" || h.GetPermissions() == nil || h.Lifecycle != sdkpb.Lifecycle_STATE_FOREGROUND {
			t.Errorf("hello: %v", h)
		}
	})
}

func TestItemsAreValidAndTimedByTheMonotonicClock(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var batches record[*sdkpb.Batch]
		g.session = func(_ int, p *peer) {
			p.hello(nil)
			for f := p.batch(); f != nil; f = p.batch() {
				batches.add(f.Batch)
				p.ack(f)
			}
		}
		// A phone whose wall clock is in 2035.
		wrong := time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC)
		c := g.client(func(o *client.Options) {
			o.Clock = func() time.Time { return wrong }
			o.Mono = func() time.Duration { return time.Hour }
		})
		c.Fix(&sdkpb.Location{Lat: 1, Lng: 2}, wrong.Add(-time.Minute))
		run(t, c)
		drained(t, c)
		b := batches.all()[0]
		now := time.Now()
		if bad := sdkproto.ValidateItem(b.Items[0], b, now); bad != nil {
			t.Fatalf("invalid: %v", bad)
		}
		if at, how := sdkproto.CorrectedTime(b.Items[0], b, now); how != sdkproto.HowMono || now.Sub(at) != time.Minute {
			t.Errorf("%v ago by %s", now.Sub(at), how)
		}
	})
}

func TestALostAckSendsTheSameSeqAgain(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var batches record[*sdkpb.Batch]
		g.session = func(n int, p *peer) {
			p.hello(nil)
			f := p.batch()
			if f == nil {
				return
			}
			batches.add(f.Batch)
			if n < 2 {
				return // durable, but the ack never leaves
			}
			p.ack(f)
			p.acceptAll()
		}
		c := g.client()
		seq := track(t, c, "a")
		run(t, c)
		drained(t, c)
		got := batches.all()
		if len(got) != 3 {
			t.Fatalf("%d batches, want 3", len(got))
		}
		for i, b := range got {
			if b.Items[0].Seq != seq || b.Attempt != uint32(i+1) || !proto.Equal(b.Items[0], got[0].Items[0]) {
				t.Errorf("attempt %d: %v", i, b)
			}
		}
		if g.hellos[0].DeviceToken != "" || g.hellos[2].DeviceToken != "dt_ws" {
			t.Errorf("tokens %q, %q", g.hellos[0].DeviceToken, g.hellos[2].DeviceToken)
		}
	})
}

func TestCloseCodesSayWhetherToReconnect(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		for _, info := range append(sdkproto.Closes(), sdkproto.CloseInfo{Code: 4444, Name: "later"}, sdkproto.CloseInfo{Code: 4999, Name: "never"}) {
			t.Run(info.Name, func(t *testing.T) {
				g := newGateway(t, codec)
				g.session = func(n int, p *peer) {
					p.hello(nil)
					if n == 0 || info.Code.Terminal() {
						p.close(info.Code)
						return
					}
					p.acceptAll()
				}
				c := g.client()
				result := run(t, c)
				if info.Code.Terminal() {
					if e := terminal(t, ended(t, result)); e.Close != info.Code || e.Action() != info.Code.Info().Action {
						t.Errorf("ended with %v", e)
					}
					if want := 1 + btoi(info.Code == sdkproto.CloseToken); g.sockets != want {
						t.Errorf("%d connections, want %d", g.sockets, want)
					}
					return
				}
				track(t, c, "a")
				drained(t, c)
			})
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		g.session = func(_ int, p *peer) {
			f := p.recv()
			if f.GetHello().GetDeviceToken() == "stale" {
				p.send(sdkproto.Errorf(sdkproto.ErrToken, "device_token", "unknown").Frame(f.Id))
				p.close(sdkproto.CloseToken)
				return
			}
			p.queued = append(p.queued, f)
			p.hello(nil)
			p.acceptAll()
		}
		store := new(client.MemStore)
		if err := store.SetToken("stale"); err != nil {
			t.Fatal(err)
		}
		c := g.client(func(o *client.Options) { o.Store = store })
		track(t, c, "a")
		run(t, c)
		drained(t, c)
		if saved, err := store.Load(); err != nil || saved.Token != "dt_ws" {
			t.Errorf("token %q, %v", saved.Token, err)
		}
	})
}

func TestAnErrorToHelloStopsOrWaitsAsTheTableSays(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		for _, code := range []sdkproto.ErrorCode{sdkproto.ErrAppKey, sdkproto.ErrBlocked, sdkproto.ErrVersion, sdkproto.ErrNoHello, sdkproto.ErrToken} {
			g := newGateway(t, codec)
			g.session = func(_ int, p *peer) {
				f := p.recv()
				p.send(sdkproto.Errorf(code, "", "no").Frame(f.GetId()))
				_ = p.recv()
			}
			if e := terminal(t, ended(t, run(t, g.client()))); e.Err != code || e.Action() != code.Info().Action {
				t.Errorf("code %d: %v", code, e)
			}
		}
		g := newGateway(t, codec)
		var states record[error]
		g.session = func(n int, p *peer) {
			if n == 0 {
				e := sdkproto.Errorf(sdkproto.ErrRate, "", "slow down")
				e.RetryAfter = 30 * time.Millisecond
				p.send(e.Frame(p.recv().GetId()))
				_ = p.recv()
				return
			}
			p.hello(nil)
			p.acceptAll()
		}
		c := g.client(func(o *client.Options) {
			o.OnState = func(s client.State, err error) {
				if s == client.Waiting {
					states.add(err)
				}
			}
		})
		start := time.Now()
		track(t, c, "a")
		run(t, c)
		drained(t, c)
		if d := time.Since(start); d < 30*time.Millisecond {
			t.Errorf("back after %v, asked for 30ms", d)
		}
		if e, ok := errors.AsType[*client.RetryError](states.all()[0]); !ok || e.After != 30*time.Millisecond {
			t.Errorf("waits because of %v", states.all()[0])
		}
	})
}

func TestARefusedHandshakeHonoursRetryAfter(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	g.handshake = func(n int, w http.ResponseWriter) bool {
		if n > 0 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	var why record[error]
	c := g.client(func(o *client.Options) {
		o.OnState = func(s client.State, err error) {
			if s == client.Waiting {
				why.add(err)
			}
		}
	})
	start := time.Now()
	track(t, c, "a")
	run(t, c)
	drained(t, c)
	if e, ok := errors.AsType[*client.RetryError](why.all()[0]); !ok || e.After != time.Second || time.Since(start) < time.Second {
		t.Errorf("after %v because of %v", time.Since(start), why.all()[0])
	}
}

func TestRejectedItemsAreDroppedAndRetryableOnesComeBack(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		g.session = func(_ int, p *peer) {
			p.hello(nil)
			first := true
			for f := p.batch(); f != nil; f = p.batch() {
				if !first {
					p.ack(f)
					continue
				}
				first = false
				a := ackOf(f.Batch)
				a.RetryAfterMs = 5
				for _, i := range f.Batch.Items {
					switch i.Seq {
					case 1:
						a.Rejects = append(a.Rejects, sdkproto.NewReject(i, sdkproto.RejectConsent, "", "no"))
					case 2:
						a.Rejects = append(a.Rejects, sdkproto.NewReject(i, sdkproto.RejectRate, "", "later"))
					default:
						g.take([]*sdkpb.Item{i})
					}
				}
				p.send(&sdkpb.Frame{Re: f.Id, Ack: a})
			}
		}
		var rejects record[string]
		var acked record[uint64]
		c := g.client(func(o *client.Options) {
			o.OnReject = func(i *sdkpb.Item, r *sdkpb.Reject) { rejects.add(fmt.Sprint(i.Seq, " ", r.Code)) }
			o.OnAcked = func(i *sdkpb.Item) { acked.add(i.Seq) }
		})
		for range 3 {
			track(t, c, "a")
		}
		run(t, c)
		drained(t, c)
		eventually(t, "callbacks", func() bool { return len(acked.all()) == 2 })
		if got := fmt.Sprint(rejects.all(), acked.all()); got != "[1 consent_missing] [3 2]" {
			t.Errorf("rejects and acks %s", got)
		}
	})
}

func poisoned(b *sdkpb.Batch) bool {
	for _, i := range b.Items {
		if i.GetEvent().GetName() == "poison" {
			return true
		}
	}
	return false
}

func TestAPoisonousItemIsFoundAndGivenUpAlone(t *testing.T) {
	type way struct {
		name string
		set  func(g *gateway)
		do   func(t *testing.T, c *client.Client)
	}
	socket := func(t *testing.T, c *client.Client) { run(t, c) }
	post := func(t *testing.T, c *client.Client) {
		if err := c.PostBatch(t.Context()); err != nil {
			t.Error(err)
		}
	}
	onSocket := func(answer func(p *peer, f *sdkpb.Frame)) func(*gateway) {
		return func(g *gateway) {
			g.session = func(_ int, p *peer) {
				p.hello(nil)
				for f := p.batch(); f != nil; f = p.batch() {
					if poisoned(f.Batch) {
						answer(p, f)
						continue
					}
					p.ack(f)
				}
			}
		}
	}
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		for _, w := range []way{
			{"error 107", onSocket(func(p *peer, f *sdkpb.Frame) {
				p.send(sdkproto.Errorf(sdkproto.ErrMalformed, "batch", "bad").Frame(f.Id))
			}), socket},
			{"error 108", onSocket(func(p *peer, f *sdkpb.Frame) {
				p.send(sdkproto.Errorf(sdkproto.ErrTooLarge, "batch", "big").Frame(f.Id))
			}), socket},
			{"close 4007", onSocket(func(p *peer, _ *sdkpb.Frame) { p.close(sdkproto.CloseMalformed) }), socket},
			{"close 1009", onSocket(func(p *peer, _ *sdkpb.Frame) { p.close(1009) }), socket},
			{"POST 400", func(g *gateway) {
				g.post = func(_ int, _ http.ResponseWriter, _ *http.Request, b *sdkpb.Batch) *sdkpb.BatchReply {
					if poisoned(b) {
						return &sdkpb.BatchReply{Error: sdkproto.Errorf(sdkproto.ErrMalformed, "", "bad").Proto()}
					}
					g.take(b.Items)
					return ackReply(b)
				}
			}, post},
		} {
			t.Run(w.name, func(t *testing.T) {
				g := newGateway(t, codec)
				w.set(g)
				var given record[string]
				c := g.client(func(o *client.Options) {
					o.OnReject = func(i *sdkpb.Item, _ *sdkpb.Reject) { given.add(i.GetEvent().GetName()) }
				})
				for n := range 20 {
					name := "fine"
					if n == 13 {
						name = "poison"
					}
					track(t, c, name)
				}
				w.do(t, c)
				drained(t, c)
				eventually(t, "callback", func() bool { return len(given.all()) > 0 })
				if got := fmt.Sprint(given.all()); got != "[poison]" {
					t.Errorf("given up: %s", got)
				}
				for seq := uint64(1); seq <= 20; seq++ {
					if want := btoi(seq != 14); g.times(seq) != want {
						t.Errorf("seq %d taken %d times, want %d", seq, g.times(seq), want)
					}
				}
			})
		}
	})
}

func TestTextThatIsNotUTF8DoesNotWedgeTheQueue(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var given record[uint64]
		c := g.client(func(o *client.Options) { o.OnReject = func(i *sdkpb.Item, _ *sdkpb.Reject) { given.add(i.Seq) } })
		track(t, c, "a")
		c.Identify("\xff", "")
		track(t, c, "b")
		run(t, c)
		drained(t, c)
		eventually(t, "callback", func() bool { return len(given.all()) == 1 })
		if given.all()[0] != 2 || g.times(1) != 1 || g.times(3) != 1 {
			t.Errorf("given up %v, taken %d and %d", given.all(), g.times(1), g.times(3))
		}
	})
}

func TestCreditAndLimitsAreKept(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		release := make(chan struct{})
		g.session = func(_ int, p *peer) {
			p.hello(func(ok *sdkpb.HelloOk) {
				ok.Credit = 7
				ok.Limits = &sdkpb.Limits{FrameBytes: 1500, BatchItems: 3}
			})
			var open []*sdkpb.Frame
			flying := 0
			for f := p.batch(); f != nil; f = p.batch() {
				if len(f.Batch.Items) > 3 {
					t.Errorf("%d items in a batch", len(f.Batch.Items))
				}
				if msg, _ := sdkproto.EncodeFrame(codec, f); len(msg) > 1500 {
					t.Errorf("a frame of %d bytes", len(msg))
				}
				open, flying = append(open, f), flying+len(f.Batch.Items)
				if flying < 7 {
					continue
				}
				if flying > 7 {
					t.Errorf("%d items in flight", flying)
				}
				select {
				case <-release:
				case <-time.After(bound):
				}
				for _, f := range open {
					p.ack(f)
				}
				open, flying = nil, 0
			}
		}
		c := g.client()
		for range 35 { // a multiple of the credit
			c.Identify(strings.Repeat("u", 90), "")
		}
		run(t, c)
		close(release)
		drained(t, c)
	})
}

func TestCreditZeroStopsUntilAnAckRaisesIt(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var asked record[bool]
		raise := make(chan struct{})
		g.session = func(_ int, p *peer) {
			p.hello(nil, &sdkpb.Frame{Ack: &sdkpb.Ack{Credit: proto.Uint32(0)}}, &sdkpb.Frame{Id: 77, Ping: &sdkpb.Ping{}})
			f := p.recv() // the pong: the writer has run, and sent no batch
			asked.add(f.GetPong() != nil && f.Re == 77)
			<-raise
			p.send(&sdkpb.Frame{Ack: &sdkpb.Ack{Credit: proto.Uint32(500)}})
			p.acceptAll()
		}
		c := g.client()
		track(t, c, "a")
		run(t, c)
		eventually(t, "pong", func() bool { return len(asked.all()) == 1 })
		if !asked.all()[0] || c.Pending() != 1 {
			t.Errorf("pong first: %v, pending %d", asked.all(), c.Pending())
		}
		close(raise)
		drained(t, c)
	})
}

func TestASilentServerIsDead(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	g.session = func(n int, p *peer) {
		p.hello(func(ok *sdkpb.HelloOk) { ok.PingMs = 1 })
		if n == 0 {
			for p.recv() != nil {
			}
			return
		}
		p.acceptAll()
	}
	c := g.client(func(o *client.Options) { o.DeadAfter = 200 * time.Millisecond })
	start := time.Now()
	track(t, c, "a")
	run(t, c)
	drained(t, c)
	if d := time.Since(start); d < 200*time.Millisecond {
		t.Errorf("given up after %v", d)
	}
}

func TestAnOpenConnectionCostsTwoGoroutinesAndABackgroundedOneNone(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	const phones = 20
	dialer := client.NewDialer()
	var open record[int]
	clients := make([]*client.Client, phones)
	for i := range clients {
		clients[i] = g.client(func(o *client.Options) {
			o.Dialer = dialer
			o.OnState = func(s client.State, _ error) {
				if s == client.Open {
					open.add(i)
				}
			}
		})
		if err := clients[i].Foreground(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are open", func() bool { return len(open.all()) == phones })
	eventually(t, "two each", func() bool { return goroutinesOfClients() == 2*phones })
	for _, c := range clients {
		if err := c.Background(t.Context()); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "none", func() bool { return goroutinesOfClients() == 0 })
}

func goroutinesOfClients() int {
	buf := make([]byte, 1<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "sdkproto/client.(*Client)") {
			n++
		}
	}
	return n
}

// BenchmarkIdleClient states the heap of a client without a connection.
func BenchmarkIdleClient(b *testing.B) {
	var before, after runtime.MemStats
	clients := make([]*client.Client, 0, b.N)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range b.N {
		c, err := client.New(client.Options{Endpoint: "http://127.0.0.1:1", AppKey: "a", InstallID: "install-1", Platform: sdkpb.Platform_PLATFORM_IOS, HTTPClient: http.DefaultClient})
		if err != nil {
			b.Fatal(err)
		}
		clients = append(clients, c)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(clients)), "heap_B/client")
	runtime.KeepAlive(clients)
}

func TestRunEndsWithItsContextAndOnlyOneRuns(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	opened := make(chan struct{}, 8)
	c := g.client(func(o *client.Options) {
		o.OnState = func(s client.State, _ error) {
			if s == client.Open {
				opened <- struct{}{}
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- c.Run(ctx) }()
	<-opened
	if err := c.Run(t.Context()); !errors.Is(err, client.ErrRunning) {
		t.Errorf("a second Run: %v", err)
	}
	cancel()
	if err := ended(t, result); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if err := c.Foreground(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-opened
	c.Close()
	c.Close()
}

func TestBackgroundSaysSoAndLeavesNothingBehind(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var states record[client.State]
		c := g.client(func(o *client.Options) { o.OnState = func(s client.State, _ error) { states.add(s) } })
		if err := c.Foreground(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "open", func() bool { s := states.all(); return len(s) > 1 && s[1] == client.Open })
		seq := track(t, c, "a")
		if err := c.Background(t.Context()); err != nil {
			t.Fatal(err)
		}
		if g.times(seq) != 1 || g.times(seq+1) != 1 || c.Pending() != 0 {
			t.Errorf("taken %d and %d times, %d pending", g.times(seq), g.times(seq+1), c.Pending())
		}
		if s := states.all(); s[len(s)-1] != client.Background {
			t.Errorf("states %v", s)
		}
		// Background again is only an item, for the next POST.
		if err := c.Background(t.Context()); err != nil || c.Pending() != 1 {
			t.Errorf("%v, %d pending", err, c.Pending())
		}
		if err := c.PostBatch(t.Context()); err != nil || c.Pending() != 0 {
			t.Errorf("%v, %d pending", err, c.Pending())
		}
		// And to the front again.
		if err := c.Foreground(t.Context()); err != nil {
			t.Fatal(err)
		}
		track(t, c, "b")
		drained(t, c)
		c.Close()
	})
}

// The server takes lifecycle items in the order of their seq, whatever way they
// come; hello counts only until the next of them.
func TestTheForegroundIsTheLastWord(t *testing.T) {
	const (
		away = sdkpb.Lifecycle_STATE_BACKGROUND
		here = sdkpb.Lifecycle_STATE_FOREGROUND
	)
	gone := func(c *client.Client) { c.SetLifecycle(away) }
	tests := []struct {
		name   string
		before func(t *testing.T, c *client.Client)
		reopen bool // by a new process with the same store
		want   []sdkpb.Lifecycle_State
	}{
		{"background waits", func(_ *testing.T, c *client.Client) { gone(c) }, false, []sdkpb.Lifecycle_State{away, here}},
		{"background waits over a restart", func(_ *testing.T, c *client.Client) { gone(c) }, true, []sdkpb.Lifecycle_State{away, here}},
		{"background was posted", func(t *testing.T, c *client.Client) {
			gone(c)
			if err := c.PostBatch(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, false, []sdkpb.Lifecycle_State{away, here}},
		{"the host has said so", func(_ *testing.T, c *client.Client) { gone(c); c.SetLifecycle(here) }, false, []sdkpb.Lifecycle_State{away, here}},
		{"never in the background", func(*testing.T, *client.Client) {}, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, how := range []string{"Run", "Foreground"} {
				g := newGateway(t, sdkproto.Protobuf{})
				var said record[sdkpb.Lifecycle_State]
				store := new(client.MemStore)
				open := func() *client.Client {
					return g.client(func(o *client.Options) {
						o.Store = store
						o.OnAcked = func(i *sdkpb.Item) {
							if i.Lifecycle != nil {
								said.add(i.Lifecycle.State)
							}
						}
					})
				}
				c := open()
				tt.before(t, c)
				if tt.reopen {
					c = open()
				}
				for range 2 { // to the front, and again
					if how == "Run" {
						run(t, c)
					} else if err := c.Foreground(t.Context()); err != nil {
						t.Fatal(err)
					}
					track(t, c, "a")
					drained(t, c)
					c.Close()
				}
				if got := said.all(); !slices.Equal(got, tt.want) {
					t.Errorf("%s: the server took %v, want %v", how, got, tt.want)
				}
			}
		})
	}
}

func TestAnInterruptedClientGoesOnWithItsStore(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	store := new(client.MemStore)
	with := func(o *client.Options) { o.Store = store }
	c := g.client(with)
	track(t, c, "a")
	track(t, c, "b")
	c.PushReceived("m", "fcm") // two receipts
	c = g.client(with)
	if c.Pending() != 4 || c.PushReceived("m", "fcm") {
		t.Errorf("%d pending after a restart", c.Pending())
	}
	if seq := track(t, c, "c"); seq != 5 {
		t.Errorf("seq %d is not new", seq)
	}
	if err := c.PostBatch(t.Context()); err != nil {
		t.Fatal(err)
	}
	c = g.client(with)
	if seq := track(t, c, "d"); seq != 6 || !c.Registered() {
		t.Errorf("seq %d is not new, registered %v", seq, c.Registered())
	}
}

type failingStore struct {
	client.MemStore
	fail bool
}

func (s *failingStore) Append(items ...*sdkpb.Item) error {
	if s.fail {
		return errors.New("disk full")
	}
	return s.MemStore.Append(items...)
}

func TestNothingIsSentBeforeTheStoreHasIt(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	store := &failingStore{}
	c := g.client(func(o *client.Options) { o.Store = store })
	track(t, c, "a")
	store.fail = true
	track(t, c, "b")
	if err := c.PostBatch(t.Context()); err == nil {
		t.Error("no word about the store")
	}
	store.fail = false
	if g.times(2) != 0 {
		t.Error("sent before it was kept")
	}
	track(t, c, "c")
	if err := c.PostBatch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g.times(1) != 1 || g.times(2) != 1 || g.times(3) != 1 {
		t.Errorf("taken %v", g.taken)
	}
}

func TestLostStorageContinuesAboveTheServersSeq(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	g.session = func(_ int, p *peer) {
		p.hello(func(ok *sdkpb.HelloOk) { ok.ThroughSeq = 40 })
		p.acceptAll()
	}
	c := g.client()
	track(t, c, "a")
	run(t, c)
	drained(t, c)
	if g.times(1) != 0 || g.times(41) != 1 || track(t, c, "b") != 42 {
		t.Errorf("taken %v", g.taken)
	}
	drained(t, c)
}

func TestAFullQueueDropsFixesThenEventsNeverAnswers(t *testing.T) {
	g := newGateway(t, sdkproto.Protobuf{})
	var dropped record[uint64]
	c := g.client(func(o *client.Options) {
		o.MaxQueue = 3
		o.OnDropped = func(i *sdkpb.Item) { dropped.add(i.Seq) }
	})
	c.SetConsent(sdkpb.Consent_PURPOSE_MARKETING, false, "", "") // 1
	track(t, c, "a")                                             // 2
	c.Fix(&sdkpb.Location{}, time.Time{})                        // 3
	c.Receipt("m", sdkpb.Receipt_STATE_OPENED, "")               // 4 drops 3
	c.Receipt("m", sdkpb.Receipt_STATE_ACTION, "")               // 5 drops 2
	c.Receipt("m", sdkpb.Receipt_STATE_CONVERTED, "")            // 6 drops none
	if fmt.Sprint(dropped.all()) != "[3 2]" || c.Pending() != 4 {
		t.Errorf("dropped %v, %d pending", dropped.all(), c.Pending())
	}
	id := &sdkpb.IBeacon{Uuid: "f7826da6-4fa2-4e98-8024-bc5b71e0893e", Major: new(uint32), Minor: new(uint32)}
	c.Beacon(&sdkpb.Beacon{Ibeacon: id, Lost: true}, time.Time{}) // 7 drops none
	c.Beacon(&sdkpb.Beacon{Ibeacon: id}, time.Time{})             // 8 drops none, being the newest
	c.Receipt("m", sdkpb.Receipt_STATE_OPENED, "")                // 9 drops 8
	if fmt.Sprint(dropped.all()) != "[3 2 8]" {
		t.Errorf("dropped %v", dropped.all())
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := client.Options{Endpoint: "http://localhost:1", AppKey: "a", InstallID: "install-1", Platform: sdkpb.Platform_PLATFORM_WEB}
	if _, err := client.New(good); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*client.Options){
		"endpoint without scheme": func(o *client.Options) { o.Endpoint = "localhost:1" },
		"endpoint of another":     func(o *client.Options) { o.Endpoint = "ftp://localhost" },
		"no app key":              func(o *client.Options) { o.AppKey = "" },
		"a bad install":           func(o *client.Options) { o.InstallID = "x" },
		"no platform":             func(o *client.Options) { o.Platform = 0 },
	} {
		o := good
		edit(&o)
		if _, err := client.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c, err := client.New(good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Track("x", map[string]any{"f": func() {}}); err == nil || c.Pending() != 0 {
		t.Errorf("properties without JSON: %v", err)
	}
}
