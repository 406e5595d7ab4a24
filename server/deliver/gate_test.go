package deliver_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
)

// order is the campaigns (or what else stands before "-" in their ids) in the order in
// which their messages reached the provider.
type order struct {
	seen chan string
	gate chan struct{} // one is let through by each
}

func newOrder(w *world) *order {
	o := &order{make(chan string, 1<<16), make(chan struct{})}
	w.senders.saying(func(m channels.Message, _ int) (channels.Outcome, error) {
		id, _, _ := strings.Cut(m.DeliveryID, "-")
		o.seen <- id
		<-o.gate
		return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
	})
	return o
}

// pass lets n through, one after the other, and returns whose began since the last.
func (o *order) pass(w *world, n int) (seen []string) {
	for range n {
		o.gate <- struct{}{}
		w.settle()
	}
	for len(o.seen) > 0 {
		seen = append(seen, <-o.seen)
	}
	return seen
}

func (o *order) done(w *world) {
	close(o.gate)
	w.settle()
}

func of(campaign string, n int, edit ...func(*engage.Send)) (out []engage.Send) {
	for i := range n {
		s := send(fmt.Sprintf("%s-%04d", campaign, i), phone("a"))
		s.Campaign = campaign
		for _, e := range edit {
			e(&s)
		}
		out = append(out, s)
	}
	return out
}

func bulk(s *engage.Send) { s.Bulk = true }

func in(workspace string) func(*engage.Send) {
	return func(s *engage.Send) { s.Workspace = workspace }
}

func count(in []string, what string) (n int) {
	for _, x := range in {
		if x == what {
			n++
		}
	}
	return n
}

func TestOneMessageDoesNotWaitForAThousandOfAnotherCampaign(t *testing.T) {
	bubble(t, func(w *world) {
		w.inFlight = 4
		w.start()
		o := newOrder(w)
		w.accept(of("big", 2000)...)
		o.pass(w, 20)
		w.accept(of("small", 1)...)
		if seen := o.pass(w, 3); !slices.Contains(seen, "small") {
			t.Errorf("after 3 of 2000 more it has not gone: %v", seen)
		}
		w.accept(of("other", 30)...)
		seen := o.pass(w, 40)
		if n := count(seen, "other"); n < 18 || n > 22 {
			t.Errorf("%d of 40 were of the second campaign, want half", n)
		}
		o.done(w)
		w.want("told", len(w.told.list()), 2031)
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}

// A workspace with many campaigns gets no more than one with a single one.
func TestWorkspacesShareACredentialEvenly(t *testing.T) {
	bubble(t, func(w *world) {
		w.told.any = true
		w.inFlight = 1
		w.start()
		o := newOrder(w)
		for i := range 9 {
			w.accept(of(fmt.Sprintf("m%d", i), 50, in("many"))...)
		}
		w.accept(of("one", 50, in("single"))...)
		seen := o.pass(w, 40)
		if n := count(seen, "one"); n < 18 || n > 22 {
			t.Errorf("%d of 40 were of the other workspace, want half: %v", n, seen)
		}
		o.done(w)
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}

func TestLiveDoesNotWaitForBulkAndBulkIsNotStarved(t *testing.T) {
	bubble(t, func(w *world) {
		w.inFlight = 16
		w.start()
		o := newOrder(w)
		w.accept(of("bulk", 500, bulk)...)
		seen := o.pass(w, 0)
		w.want("slots that bulk takes", len(seen), 14)
		if all, err := w.d.Credentials(t.Context()); err != nil || len(all) != 1 || all[0].State != deliver.CredentialUnknown {
			t.Errorf("before the first answer: %+v, %v", all, err)
		}
		w.accept(of("live", 2)...) // two slots are left for it
		w.want("at once", o.pass(w, 0), []string{"live", "live"})
		w.accept(of("more", 200)...)
		seen = o.pass(w, 102)
		if n := count(seen, "bulk"); n != 6 {
			t.Errorf("%d of %d were bulk, want one of 17", n, len(seen))
		}
		all, err := w.d.Credentials(t.Context())
		if err != nil || len(all) != 1 || all[0].Bulk.Waiting != 500-14-6 || all[0].Live.Waiting != 200-96 || all[0].InFlight != 16 || all[0].State != deliver.CredentialOK {
			t.Errorf("credentials: %+v, %v", all, err)
		}
		if !all[0].Live.Oldest.Equal(noon) {
			t.Errorf("oldest: %v", all[0].Live.Oldest)
		}
		o.done(w)
		w.want("told", len(w.told.list()), 702)
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}

func TestQueuesSurviveARestart(t *testing.T) {
	bubble(t, func(w *world) {
		w.make()
		if err := w.d.Accept(t.Context(), append(of("big", 600, bulk), of("small", 3)...)); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.want("told", len(w.told.list()), 603)
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}

func TestAPlatformIsPausedAlone(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		ios := func(install string) engage.Device { // by FCM
			d := phone(install)
			d.Platform = "ios"
			return d
		}
		broken := true
		w.senders.saying(func(m channels.Message, _ int) (channels.Outcome, error) {
			if broken && strings.HasPrefix(string(m.Target.Token), "tok-i") {
				return channels.Outcome{Kind: channels.Misconfigured, Scope: channels.ScopePlatform, Reason: "THIRD_PARTY_AUTH_ERROR", Status: 401}, nil
			}
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.accept(send("i0", ios("i0")))
		for i := range 5 {
			w.accept(send(fmt.Sprintf("i%d", i+1), ios("i")), send(fmt.Sprintf("a%d", i), phone("a")))
		}
		w.want("the others", len(w.told.list()), 5)
		w.want("attempts", len(w.senders.attempts()), 6)
		w.want("alarm", metric(t, w, "footfall_deliver_platform_paused"), 1)
		w.want("of all", metric(t, w, "footfall_deliver_paused"), 0)
		all, err := w.d.Credentials(t.Context())
		if err != nil || len(all) != 1 || all[0].State != deliver.CredentialOK || len(all[0].Platforms) != 1 {
			t.Fatalf("credentials: %+v, %v", all, err)
		}
		p := all[0].Platforms[0]
		w.want("platform", fmt.Sprint(p.Platform, p.Reason, p.Status, p.Since.Equal(noon), p.Until.Sub(noon)), "iosTHIRD_PARTY_AUTH_ERROR401 true 1m0s")
		w.pass(time.Minute)
		w.want("probes", len(w.senders.attempts()), 7)
		broken = false
		w.pass(2 * time.Minute)
		w.want("told", len(w.told.list()), 11)
		w.want("alarm afterwards", metric(t, w, "footfall_deliver_platform_paused"), 0)
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}

func TestWhatExpiresWhileAPlatformIsPausedEnds(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.say(channels.Outcome{Kind: channels.Misconfigured, Scope: channels.ScopePlatform, Status: 401})
		w.accept(send("d0", phone("a")))
		short := send("d1", phone("a"))
		short.ExpiresAt = noon.Add(20 * time.Second)
		w.accept(short)
		w.want("told", w.told.list(), []string(nil))
		w.pass(20 * time.Second)
		w.want("told", w.told.list(), []string{"d1 expired send_expired 0"})
		w.end()
	})
}

func TestAPausedCredentialSaysWhyAndUntilWhen(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.say(channels.Outcome{Kind: channels.Misconfigured, Reason: "InvalidProviderToken", Status: 403})
		w.accept(send("d1", iphone("a")))
		all, err := w.d.Credentials(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("credentials: %+v, %v", all, err)
		}
		c := all[0]
		w.want("status", fmt.Sprint(c.Provider, " ", c.Credential, " ", c.State, " ", c.Reason, c.Status, c.Since.Sub(noon), c.Until.Sub(noon), " ", c.Live.Waiting, c.LastError),
			"apns app paused InvalidProviderToken403 0s 1m0s 1InvalidProviderToken")
		w.clock.Advance(time.Minute)
		w.senders.say(channels.Outcome{Kind: channels.Accepted, Status: 200})
		w.settle()
		all, _ = w.d.Credentials(t.Context())
		w.want("afterwards", all[0].State, "ok")
		w.end()
	})
}
