package client_test

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// held is a message that waits for an event.
func held(id, event string, times uint32) *sdkpb.Message {
	return &sdkpb.Message{
		MessageId: id, Kind: sdkpb.Message_KIND_IN_APP, Title: id,
		Trigger: &sdkpb.Trigger{Event: event}, Frequency: &sdkpb.Frequency{Times: times},
	}
}

func inbox(messages ...*sdkpb.Message) *sdkpb.Frame {
	return &sdkpb.Frame{Inbox: &sdkpb.Inbox{Full: true, Cursor: "c", Messages: messages}}
}

func TestAMessageThatWaitsIsClaimedAtItsMomentOnce(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var v conversation
		n := held("n", "", 0)
		n.Trigger = &sdkpb.Trigger{Screen: "checkout"}
		g.session = func(_ int, p *peer) {
			p.hello(nil, inbox(held("m", "cart", 2), n, &sdkpb.Message{MessageId: "card", Kind: sdkpb.Message_KIND_INBOX}))
			v.serve(p, func(id string) *sdkpb.Grant {
				if id == "n" {
					return &sdkpb.Grant{MessageId: id, Reason: "late"}
				}
				return granted(id)
			})
		}
		c := g.client(whole, v.options)
		run(t, c)
		eventually(t, "all have come", func() bool { return len(v.receipts.all()) == 3 })
		track(t, c, "other")
		c.Screen("home")
		drained(t, c)
		if got := fmt.Sprintf("%v %v %s", v.shown.all(), v.claims.all(), mailbox(c)); got != "[card] [] card" {
			t.Fatalf("before the moment: shown, claims and inbox %s", got)
		}
		track(t, c, "cart")
		eventually(t, "m is shown", func() bool { return len(v.shown.all()) == 2 })
		track(t, c, "cart")
		eventually(t, "m is shown again", func() bool { return len(v.shown.all()) == 3 })
		c.Screen("checkout")
		eventually(t, "n is claimed", func() bool { return len(v.claims.all()) == 2 })
		track(t, c, "cart") // the answer to the claim has come before this one's ack
		drained(t, c)
		c.Screen("checkout")
		drained(t, c)
		if got := fmt.Sprint(v.shown.all(), v.claims.all()); got != "[card m m] [m n]" {
			t.Errorf("shown and claims %s", got)
		}
		displayed := 0
		for _, r := range v.receipts.all() {
			if r == "m 2 in_app" {
				displayed++
			}
		}
		if displayed != 1 {
			t.Errorf("receipts %v", v.receipts.all())
		}
	})
}

func TestAClaimWhoseAnswerIsLostIsMadeAgain(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var v conversation
		g.session = func(n int, p *peer) {
			p.hello(nil, inbox(held("m", "cart", 0)))
			v.serve(p, func(id string) *sdkpb.Grant {
				if n == 0 {
					p.close(sdkproto.CloseInternal)
					return nil
				}
				return granted(id)
			})
		}
		c := g.client(whole, v.options)
		run(t, c)
		eventually(t, "it has come", func() bool { return len(v.receipts.all()) == 1 })
		track(t, c, "cart")
		eventually(t, "it is shown", func() bool { return len(v.shown.all()) == 1 })
		if got := fmt.Sprint(v.shown.all(), v.claims.all()); got != "[m] [m m]" {
			t.Errorf("shown and claims %s", got)
		}
	})
}

// What waits, and that it was granted, is there after a restart: the second client
// shows it without a claim, and shows no more than is left.
func TestWhatWaitsOutlivesARestart(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		dir := t.TempDir()
		for n, want := range []string{"[m] [m]", "[m] []", "[] []"} {
			var v conversation
			var opened record[int]
			g.session = func(session int, p *peer) {
				opened.add(session)
				if n == 0 {
					p.hello(nil, inbox(held("m", "cart", 2)))
				} else {
					p.hello(nil)
				}
				v.serve(p, granted)
			}
			store := openStore(t, dir)
			c := g.client(whole, v.options, func(o *client.Options) { o.Store = store })
			run(t, c)
			eventually(t, "it has come", func() bool {
				return len(opened.all()) == 1 && (n > 0 || len(v.receipts.all()) == 1)
			})
			track(t, c, "cart")
			if n < 2 {
				eventually(t, "it is shown", func() bool { return len(v.shown.all()) == 1 })
			}
			drained(t, c)
			if got := fmt.Sprint(v.shown.all(), v.claims.all()); got != want {
				t.Errorf("run %d: shown and claims %s, want %s", n, got, want)
			}
			c.Close()
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestWhoActsUponAMessageOrLeavesIsNotShownItAgain(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var v conversation
		g.session = func(_ int, p *peer) {
			p.hello(nil, inbox(held("a", "cart", 9), held("b", "order", 9)))
			v.serve(p, granted)
		}
		c := g.client(whole, v.options)
		run(t, c)
		eventually(t, "they have come", func() bool { return len(v.receipts.all()) == 2 })
		for n := range 2 {
			track(t, c, "cart")
			eventually(t, "a is shown", func() bool { return len(v.shown.all()) == n+1 })
		}
		c.Receipt("a", sdkpb.Receipt_STATE_ACTION, "in_app")
		track(t, c, "cart")
		track(t, c, "order")
		eventually(t, "b is shown", func() bool { return len(v.shown.all()) == 3 })
		c.Logout()
		track(t, c, "order")
		drained(t, c)
		if got := fmt.Sprint(v.shown.all(), v.claims.all()); got != "[a a b] [a b]" {
			t.Errorf("shown and claims %s", got)
		}
	})
}

func TestPinnedCardsStandAboveTheOthers(t *testing.T) {
	both(t, func(t *testing.T, codec sdkproto.Codec) {
		g := newGateway(t, codec)
		var v conversation
		pinned := func(m *sdkpb.Message) *sdkpb.Message {
			m = proto.CloneOf(m)
			m.Pinned = true
			return m
		}
		g.session = func(_ int, p *peer) {
			p.hello(nil, inbox(mail("a", 1), pinned(mail("b", 2)), pinned(mail("c", 3)), mail("d", 4)))
			v.serve(p, granted)
		}
		c := g.client(whole, v.options)
		run(t, c)
		eventually(t, "they have come", func() bool { return len(v.receipts.all()) == 4 })
		if got := mailbox(c); got != "c b d a" {
			t.Errorf("inbox %q", got)
		}
	})
}
