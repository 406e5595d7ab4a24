package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/deliver/delivertest"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestMemoryLedgerKeepsTheContract(t *testing.T) {
	delivertest.RunLedger(t, func(_ *testing.T, c clock.Clock) deliver.Ledger { return delivertest.NewLedger(c) })
}

func TestPushLeavesAfterOneWriteThatRecordsTheAttempt(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.saying(func(m channels.Message, _ int) (channels.Outcome, error) {
			rec, ok, _ := w.ledger.Get(context.Background(), "shop", "d1")
			if !ok || rec.Lane != "inflight" || !strings.Contains(string(rec.Body), m.AttemptID) {
				t.Errorf("made before it was recorded: %v %s", ok, rec.Body)
			}
			w.want("writes before the attempt", w.ledger.Writes(), 1)
			w.want("message", fmt.Sprint(m.DeliveryID, m.CampaignID, m.Title, m.Body, m.DeepLink, m.Data, m.ExpiresAt.Sub(noon), m.HighPrio),
				"d1rainy-dayUmbrella?It rainsshop://umap[sku:7] 1h0m0s true")
			return channels.Outcome{Kind: channels.Accepted, Status: 200, ProviderID: "p1"}, nil
		})
		w.accept(send("d1", phone("a")))
		w.want("told", w.told.list(), []string{"d1 accepted fcm a 1"})
		w.want("waiting", w.lanes(), "")
		rec, _, _ := w.ledger.Get(t.Context(), "shop", "d1")
		if strings.Contains(string(rec.Body), "tok-") {
			t.Errorf("a finished delivery keeps tokens: %s", rec.Body)
		}
		w.pass(24*time.Hour - time.Second)
		if _, ok, _ := w.ledger.Get(t.Context(), "shop", "d1"); !ok {
			t.Error("forgotten before a day is over")
		}
		w.pass(time.Second)
		if _, ok, _ := w.ledger.Get(t.Context(), "shop", "d1"); ok {
			t.Error("kept for more than a day")
		}
		w.end()
	})
}

func TestSameSendTwiceIsOneDelivery(t *testing.T) {
	bubble(t, func(w *world) {
		s := send("d1", phone("a"))
		w.make()
		if err := w.d.Accept(t.Context(), []engage.Send{s, s}); err != nil { // before Run
			t.Fatal(err)
		}
		w.start()
		w.accept(s, s)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := w.d.Accept(t.Context(), []engage.Send{s, send("d2", phone("a"))}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.settle()
		w.end()
		w.start() // the outbox hands over again
		w.accept(s, send("d2", phone("a")))
		w.want("attempts", w.senders.count("a", "d1")+w.senders.count("a", "d2"), 2)
		w.want("told", len(w.told.list()), 2)
		w.end()
	})
}

func TestClaimInTimeIsGrantedOnceAndNeverPushed(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.sessions.set("a", "b")
		w.accept(send("d1", phone("a"), phone("b")))
		w.want("offered", w.sessions.took(), []string{"a/in_app/d1"})
		w.pass(2*time.Second - time.Microsecond)
		w.want("of nothing", w.claim("a", "d9"), "unknown")
		w.want("foreign", w.claim("b", "d1"), "elsewhere")
		ok, reason, err := w.d.Claim(t.Context(), "other", "a", "d1")
		w.want("another workspace", fmt.Sprint(ok, reason, err), "falseunknown<nil>")
		w.want("in time", w.claim("a", "d1"), "granted")
		w.want("again", w.claim("a", "d1"), "late")
		w.want("foreign after it", w.claim("b", "d1"), "elsewhere")
		w.pass(30 * time.Second)
		w.want("told", w.told.list(), []string{"d1 granted in_app a 0"})
		if err := w.d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: "d1", State: engage.ReceiptDisplayed}); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour)
		w.want("told", w.told.list(), []string{"d1 granted in_app a 0"})
		w.want("attempts", w.senders.attempts(), []string(nil))
		w.want("inbox", w.inbox("ada"), []string(nil))
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}

func TestWithoutAClaimInTwoSecondsThePushGoesAndLateClaimsAreRefused(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.sessions.set("b") // the triggering phone has no session, the other has
		w.accept(send("d1", phone("a"), phone("b")))
		w.want("offered", w.sessions.took(), []string{"b/in_app/d1"})
		w.want("attempts", w.senders.attempts(), []string(nil))
		w.clock.Advance(2 * time.Second)
		w.want("at two seconds", w.claim("b", "d1"), "late")
		w.settle()
		w.want("attempts", w.senders.attempts(), []string{"tok-a@2s"})
		w.want("after the push", w.claim("b", "d1"), "late")
		w.want("told", w.told.list(), []string{"d1 accepted fcm a 1"})
		w.end()
	})
}

func TestClaimWaitsForADeliveryThatIsBeingAccepted(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.sessions.set("a")
		got := make(chan string, 1)
		var d *deliver.Deliverer
		claims := claimingSessions{w.sessions, func() {
			go func() {
				_, reason, err := d.Claim(context.Background(), "shop", "a", "d1")
				got <- fmt.Sprint(reason, err)
			}()
		}}
		d, err := deliver.New(deliver.Options{
			Ledger: slowLedger{w.ledger, w}, Sessions: claims, Senders: w.senders, Outcomes: w.told, Clock: w.clock,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Accept(t.Context(), []engage.Send{send("d1", phone("a"))}); err != nil {
			t.Fatal(err)
		}
		w.want("claim while it is written", <-got, "<nil>")
		w.end()
	})
}

// claimingSessions are claimed from as soon as they are offered something.
type claimingSessions struct {
	*sessions
	claim func()
}

func (s claimingSessions) Offer(ws, install string, m *sdkpb.Message) bool {
	defer s.claim()
	return s.sessions.Offer(ws, install, m)
}

// slowLedger writes when everybody else waits.
type slowLedger struct {
	*delivertest.Ledger
	w *world
}

func (l slowLedger) Write(ctx context.Context, writes []deliver.Write) ([]bool, error) {
	l.w.settle()
	return l.Ledger.Write(ctx, writes)
}

func TestGrantWithoutAReceiptEndsInTheInbox(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.sessions.set("a")
		w.accept(send("d1", phone("a")))
		w.want("claim", w.claim("a", "d1"), "granted")
		w.pass(59 * time.Second)
		w.want("inbox", w.inbox("ada"), []string(nil))
		w.pass(time.Second)
		w.want("inbox", w.inbox("ada"), []string{"d1"})
		w.want("told", w.told.list(), []string{"d1 granted in_app a 0", "d1 inboxed inbox not_displayed 0"})
		w.want("the open session gets it", w.sessions.took(), []string{"a/in_app/d1", "a/inbox/d1"})
		for range 2 {
			if err := w.d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: "d1", State: engage.ReceiptDisplayed}); err != nil {
				t.Fatal(err)
			}
		}
		w.want("inbox after the receipt", w.inbox("ada"), []string(nil))
		w.want("attempts", w.senders.attempts(), []string(nil))
		if err := w.d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: "nothing", State: engage.ReceiptDisplayed}); err != nil {
			t.Error(err)
		}
		w.end()
	})
}

func TestOneOfManyRacingClaimsAndTheFallbackWins(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.sessions.set("a")
		granted, pushed := 0, 0
		for round := range 40 {
			id := fmt.Sprintf("d%d", round)
			s := send(id, phone("a"))
			s.ExpiresAt = w.clock.Now().Add(time.Hour)
			w.accept(s)
			w.clock.Advance(2*time.Second - time.Microsecond)
			var wins sync.Map
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					if i == 32 {
						w.clock.Advance(time.Microsecond)
						return
					}
					ok, _, err := w.d.Claim(t.Context(), "shop", "a", id)
					if err != nil {
						t.Error(err)
					}
					if ok {
						wins.Store(i, true)
					}
				})
			}
			wg.Wait()
			w.settle()
			n := 0
			wins.Range(func(any, any) bool { n++; return true })
			p := w.senders.count("a", id)
			if n+p != 1 {
				t.Fatalf("%s: %d grants and %d pushes", id, n, p)
			}
			granted, pushed = granted+n, pushed+p
		}
		t.Logf("%d granted, %d pushed", granted, pushed)
		w.end()
	})
}

func TestWhyAMessageGoesIntoTheInbox(t *testing.T) {
	denied := phone("a")
	denied.Notifications = "denied"
	provisional := phone("p")
	provisional.Notifications = "provisional"
	without := phone("b")
	without.Push = nil
	dead := phone("c")
	dead.Push.Dead = "UNREGISTERED"
	bare := phone("e")
	bare.App = "bare"
	odd := phone("f")
	odd.Push.Provider = "carrier-pigeon"
	for _, test := range []struct {
		devices  []engage.Device
		channels []engage.Channel
		want     string
	}{
		{nil, nil, "inboxed inbox no_device 0"},
		{[]engage.Device{denied}, nil, "inboxed inbox no_permission 0"},
		{[]engage.Device{denied, without}, nil, "inboxed inbox no_token 0"},
		{[]engage.Device{odd}, nil, "inboxed inbox no_token 0"},
		{[]engage.Device{dead, denied}, nil, "inboxed inbox token_dead 0"},
		{[]engage.Device{denied, bare}, nil, "inboxed inbox no_credential 0"},
		{[]engage.Device{denied, without, dead, bare, provisional}, nil, "accepted fcm p 1"},
		{[]engage.Device{phone("x")}, []engage.Channel{engage.InApp, engage.Inbox}, "inboxed inbox no_session 0"},
		{[]engage.Device{phone("x")}, []engage.Channel{engage.InApp}, "failed eligibility_no_channel no_session 0"},
		{[]engage.Device{denied}, []engage.Channel{engage.Push}, "failed eligibility_no_channel no_permission 0"},
		{[]engage.Device{phone("open")}, []engage.Channel{engage.Push}, "accepted fcm open 1"},
		{[]engage.Device{phone("open")}, []engage.Channel{engage.InApp, engage.Inbox}, "inboxed inbox no_claim 0"},
		{[]engage.Device{phone("open")}, []engage.Channel{engage.Inbox}, "inboxed inbox no_session 0"},
	} {
		t.Run(test.want, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.start()
				w.sessions.set("open")
				s := send("d1", test.devices...)
				s.Channels = test.channels
				w.accept(s)
				w.pass(2 * time.Second)
				w.want("told", w.told.list(), []string{"d1 " + test.want})
				w.want("in the inbox", len(w.inbox("ada")) == 1, strings.HasPrefix(test.want, "inboxed"))
				w.end()
			})
		})
	}
}

func TestDevicesAreTriedTriggeringFirstThenByRecency(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		gone := time.Unix(7, 0)
		w.senders.say(channels.Outcome{Kind: channels.TokenGone, Reason: "UNREGISTERED", Status: 404, GoneSince: gone})
		old, recent := phone("old"), iphone("recent")
		old.SeenAt, recent.SeenAt = noon.Add(-2*time.Hour), noon.Add(-time.Hour)
		w.accept(send("d1", phone("trigger"), old, recent))
		w.want("attempts", w.senders.attempts(), []string{"tok-trigger@0s", "tok-recent@0s", "tok-old@0s"})
		w.want("told", w.told.list(), []string{"d1 inboxed inbox token_dead 3"})
		w.want("dead", len(w.told.dead), 3)
		if d := w.told.dead[0]; d.Install != "trigger" || d.Token != "tok-trigger" || d.Reason != "UNREGISTERED" || !d.Since.Equal(gone) {
			t.Errorf("told dead: %+v", d)
		}
		w.end()
	})
}

func TestWhatAProviderSaysDecides(t *testing.T) {
	ambiguous := channels.Outcome{Kind: channels.RetryAfter, Reason: "connection_lost", Ambiguous: true}
	never := false
	for _, test := range []struct {
		fact  string
		retry *bool
		say   channels.Outcome
		err   error
		want  string // told after ten seconds
		made  int
	}{
		{"rejected", nil, channels.Outcome{Kind: channels.Rejected, Reason: "PayloadTooLarge", Status: 413}, nil, "[d1 failed fcm a send_rejected PayloadTooLarge 1]", 1},
		{"ambiguous may not be repeated", &never, ambiguous, nil, "[d1 failed fcm a send_ambiguous connection_lost 1]", 1},
		{"ambiguous is repeated", nil, ambiguous, nil, "[d1 accepted fcm a 2]", 2},
		{"not now may be repeated", &never, channels.Outcome{Kind: channels.RetryAfter, Status: 503}, nil, "[d1 accepted fcm a 2]", 2},
		{"malformed", nil, channels.Outcome{}, &channels.MessageError{Code: channels.TooLong, Field: "body", Msg: "secret text"}, "[d1 failed fcm a send_rejected body too_long 1]", 1},
		{"expired on the way", nil, channels.Outcome{}, &channels.MessageError{Code: channels.Expired, Field: "expires_at"}, "[d1 expired fcm a send_expired 1]", 1},
		{"not made", nil, channels.Outcome{}, errors.New("sender is closed"), "[d1 accepted fcm a 2]", 2},
	} {
		t.Run(test.fact, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.start()
				w.senders.saying(func(_ channels.Message, n int) (channels.Outcome, error) {
					if n == 1 {
						return test.say, test.err
					}
					return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
				})
				s := send("d1", phone("a"))
				s.RetryAmbiguous = test.retry == nil
				w.accept(s)
				w.pass(10 * time.Second)
				w.want("told", w.told.list(), test.want)
				w.want("made", w.senders.count("a", "d1"), test.made)
				w.end()
			})
		})
	}
}

func TestRetriesWaitAsTheProviderSaysElseTwiceAsLongEachTime(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.say(channels.Outcome{Kind: channels.RetryAfter, Reason: "UNAVAILABLE", Status: 503})
		s := send("d1", phone("a"))
		s.ExpiresAt = noon.Add(24 * time.Hour)
		w.accept(s)
		var at []time.Duration
		for range 301 {
			if n := w.senders.count("a", "d1"); n > len(at) {
				at = append(at, w.clock.Now().Sub(noon))
			}
			w.pass(time.Second)
		}
		w.want("attempts in 5 minutes", len(at), 8)
		for i := 1; i < len(at); i++ {
			gap, full := at[i]-at[i-1], time.Second<<(i-1)
			if gap < full/2 || gap > full+time.Second {
				t.Errorf("attempt %d came %v after the one before, want %v to %v", i+1, gap, full/2, full)
			}
		}
		w.want("told", w.told.list(), []string{"d1 failed fcm a send_exhausted UNAVAILABLE 8"})

		// A provider's own word, to the second, and without end: it says nothing of
		// the message.
		w.senders.say(channels.Outcome{Kind: channels.RetryAfter, RetryAfter: 10 * time.Minute, Reason: "QUOTA_EXCEEDED", Status: 429})
		s = send("d2", phone("a"))
		s.ExpiresAt = w.clock.Now().Add(3 * time.Hour)
		w.accept(s)
		for range 3 * 60 {
			w.pass(time.Minute)
		}
		if n := w.senders.count("a", "d2"); n < 15 || n > 18 {
			t.Errorf("%d attempts in 3 hours at 10 to 11 minutes", n)
		}
		told := w.told.list()
		if last := told[len(told)-1]; !strings.HasPrefix(last, "d2 expired fcm a send_expired QUOTA_EXCEEDED") {
			t.Errorf("told %s", last)
		}
		w.end()
	})
}

func TestExpiryIsJudgedBeforeEachAttempt(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.sessions.set("open")
		past := send("d1", phone("a"))
		past.ExpiresAt = noon
		soon := send("d2", phone("open")) // offered, expires before the two seconds are over
		soon.ExpiresAt = noon.Add(time.Second)
		w.senders.say(channels.Outcome{Kind: channels.RetryAfter, RetryAfter: time.Hour, Reason: "R", Status: 503})
		later := send("d3", phone("a")) // expires while it waits for its next attempt
		later.ExpiresAt = noon.Add(time.Minute)
		w.accept(past, soon, later)
		w.want("told at once", w.told.list(), []string{"d1 expired send_expired 0"})
		w.pass(time.Second)
		w.want("claim at its expiry", w.claim("open", "d2"), "expired")
		w.pass(time.Minute)
		w.want("told", w.told.list(), []string{"d1 expired send_expired 0", "d2 expired send_expired 0", "d3 expired fcm a send_expired R 1"})
		w.end()
	})
}

func TestPausedCredentialDelaysNobodyElse(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		var mu sync.Mutex
		broken := true
		w.senders.saying(func(m channels.Message, _ int) (channels.Outcome, error) {
			mu.Lock()
			defer mu.Unlock()
			if broken && m.Target.Provider == channels.APNs {
				return channels.Outcome{Kind: channels.Misconfigured, Reason: "InvalidProviderToken", Status: 403}, nil
			}
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		var sends []engage.Send
		for i := range 20 {
			sends = append(sends, send(fmt.Sprintf("i%02d", i), iphone("i")))
		}
		sends[3].ExpiresAt = noon.Add(30 * time.Second)
		w.accept(sends[:10]...)
		made := len(w.senders.attempts())
		w.accept(sends[10:]...)
		w.want("attempts on a paused credential", len(w.senders.attempts()), made)
		w.want("alarm", metric(t, w, "footfall_deliver_paused"), 1)
		for i := range 5 {
			w.accept(send(fmt.Sprintf("g%d", i), phone("g")))
		}
		w.want("the others", len(w.told.list()), 5)
		w.pass(30 * time.Second)
		if told := w.told.list(); !strings.HasPrefix(told[len(told)-1], "i03 expired") {
			t.Errorf("told %v", told)
		}
		w.pass(30 * time.Second)
		w.want("probes after a minute", len(w.senders.attempts())-made-5, 1)
		w.pass(time.Minute)
		w.want("probes after another", len(w.senders.attempts())-made-5, 1)
		w.pass(time.Minute)
		w.want("probes after two", len(w.senders.attempts())-made-5, 2)
		mu.Lock()
		broken = false
		mu.Unlock()
		w.pass(4 * time.Minute)
		w.want("told", len(w.told.list()), 25)
		w.want("alarm afterwards", metric(t, w, "footfall_deliver_paused"), 0)
		w.want("waiting", w.lanes(), "")
		w.end()
		if strings.Count(w.logs.String(), "push credential paused") != 3 || strings.Count(w.logs.String(), "works again") != 1 {
			t.Errorf("logs: %s", w.logs)
		}
		for _, secret := range []string{"tok-", "It rains"} {
			if strings.Contains(w.logs.String(), secret) {
				t.Errorf("logs carry %q", secret)
			}
		}
	})
}

// metric is the value of the first of that name, 0 if there is none.
func metric(t *testing.T, w *world, name string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return 0
}

func TestFiveTimesMoreThanTheProviderTakesIsNotLost(t *testing.T) {
	bubble(t, func(w *world) {
		w.inFlight = 20
		w.start()
		const n = 4000
		gate := make(chan struct{})
		w.senders.saying(func(channels.Message, int) (channels.Outcome, error) {
			<-gate
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		go func() { // a fifth of what is offered is taken meanwhile
			for range n / 5 {
				gate <- struct{}{}
			}
		}()
		for i := 0; i < n; i += 50 {
			var sends []engage.Send
			for j := range 50 {
				sends = append(sends, send(fmt.Sprintf("d%04d", i+j), phone("a")))
			}
			if err := w.d.Accept(t.Context(), sends); err != nil {
				t.Fatal(err)
			}
		}
		w.settle()
		// One that found room as it was accepted is under way in its own record, the others
		// in the journal alone while they wait in their lane.
		undone := 0
		for lane := range strings.FieldsSeq(w.lanes()) {
			name, count, _ := strings.Cut(lane, ":")
			if name != "inflight" && name != "push/fcm/app" {
				t.Errorf("lane %s", lane)
			}
			k, err := strconv.Atoi(count)
			if err != nil {
				t.Fatal(err)
			}
			undone += k
		}
		w.want("not answered yet", undone, n-n/5)
		w.want("under way", len(underWay(w.ledger)), 20)
		close(gate)
		w.settle()
		w.want("told", len(w.told.list()), n)
		w.want("made", len(w.senders.attempts()), n)
		w.want("most under way", w.senders.most(), 20)
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}

func TestReceiptStopsARetryAndEmptiesTheInbox(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.say(channels.Outcome{Kind: channels.RetryAfter, Ambiguous: true, Reason: "connection_lost"})
		w.accept(send("d1", phone("a")))
		if err := w.d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: "d1", State: engage.ReceiptDisplayed}); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		w.want("made", w.senders.count("a", "d1"), 1)

		gate := make(chan struct{}) // the receipt overtakes the provider's answer
		w.senders.saying(func(channels.Message, int) (channels.Outcome, error) {
			<-gate
			return channels.Outcome{Kind: channels.RetryAfter, Ambiguous: true}, nil
		})
		w.accept(send("d2", phone("a")))
		if err := w.d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: "d2", State: engage.ReceiptDisplayed}); err != nil {
			t.Fatal(err)
		}
		close(gate)
		w.pass(time.Minute)
		w.want("made", w.senders.count("a", "d2"), 1)
		w.want("told", w.told.list(), []string(nil)) // decide has the receipts
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}

func TestInboxKeepsTheNewestHundredUntilTheyExpire(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		for i := range 103 {
			w.accept(send(fmt.Sprintf("d%03d", i)))
			w.clock.Advance(time.Second)
		}
		got := w.inbox("ada")
		w.want("kept", []any{len(got), got[0], got[99]}, "[100 d003 d102]")
		w.want("another's", w.inbox("bob"), []string(nil))
		ms, err := w.d.Inbox(t.Context(), "shop", "ada")
		if err != nil || ms[0].Title != "Umbrella?" || ms[0].Data["sku"] != "7" || ms[0].ExpiresMs != noon.Add(time.Hour).UnixMilli() {
			t.Errorf("message %v, %v", ms[0], err)
		}
		if ms, _ := w.d.Inbox(t.Context(), "other", "ada"); len(ms) != 0 {
			t.Errorf("another workspace reads %v", ms)
		}
		w.pass(time.Hour)
		w.want("after an hour", w.inbox("ada"), []string(nil))
		w.end()
	})
}

func TestPermitIsAskedBeforeEachStep(t *testing.T) {
	bubble(t, func(w *world) {
		p := &permit{}
		w.permits = p
		w.start()
		w.senders.say(channels.Outcome{Kind: channels.RetryAfter, Status: 503})
		w.sessions.set("open")
		w.accept(send("d1", phone("a")), send("d2", phone("open")))
		p.set(engage.ReasonConsent)
		w.accept(send("d3", phone("a")))
		w.pass(2 * time.Second)
		told := w.told.list() // in no order: they wait in different lanes
		slices.Sort(told)
		w.want("told", told, []string{"d1 failed fcm a consent 1", "d2 failed consent 0", "d3 failed consent 0"})
		w.want("made", len(w.senders.attempts()), 1)
		w.end()
	})
}

type permit struct {
	mu     sync.Mutex
	reason engage.Reason
}

func (p *permit) set(r engage.Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reason = r
}

func (p *permit) Permit(context.Context, *engage.Send) (engage.Reason, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason, nil
}

func TestLedgerThatFailsLosesAndRepeatsNothing(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		down := errors.New("disk full")
		w.senders.saying(func(m channels.Message, _ int) (channels.Outcome, error) {
			if m.DeliveryID == "d1" {
				w.ledger.Fail(down) // the answer cannot be recorded
			}
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.accept(send("d1", phone("a")))
		if err := w.d.Accept(t.Context(), []engage.Send{send("d2", phone("a"))}); !errors.Is(err, down) {
			t.Fatalf("Accept: %v", err)
		}
		if _, _, err := w.d.Claim(t.Context(), "shop", "a", "d1"); !errors.Is(err, down) {
			t.Errorf("Claim: %v", err)
		}
		if err := w.d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: "d1", State: engage.ReceiptDisplayed}); !errors.Is(err, down) {
			t.Errorf("Displayed: %v", err)
		}
		if _, err := w.d.Inbox(t.Context(), "shop", "ada"); !errors.Is(err, down) {
			t.Errorf("Inbox: %v", err)
		}
		for range 5 {
			w.pass(time.Second)
		}
		w.ledger.Fail(nil)
		for range 3 {
			w.pass(time.Second)
		}
		w.accept(send("d2", phone("a")))
		w.want("told", w.told.list(), []string{"d1 accepted fcm a 1", "d2 accepted fcm a 1"})
		w.want("made", w.senders.attempts(), []string{"tok-a@0s", "tok-a@8s"})
		w.end()
	})
}

func TestOutcomesWaitUntilTheLogTakesThem(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.told.set(errors.New("log is full"))
		for i := range 300 {
			w.accept(send(fmt.Sprintf("d%d", i), phone("a")))
		}
		w.want("made", len(w.senders.attempts()), 300)
		w.want("waiting", w.lanes(), "tell:300")
		w.pass(10 * time.Second)
		w.end()
		w.start() // untold ones are told again
		w.told.set(nil)
		for range 5 {
			w.pass(time.Second)
		}
		w.want("told", len(w.told.list()), 300)
		w.want("waiting", w.lanes(), "")
		w.want("made", len(w.senders.attempts()), 300)
		w.end()
	})
}

func TestSenderThatCannotBeFoundOutIsAskedAgain(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.lookup = errors.New("catalog is closed")
		w.accept(send("d1", phone("a")))
		w.want("waiting", w.lanes(), "timer:1")
		w.senders.mu.Lock()
		w.senders.lookup = nil
		w.senders.mu.Unlock()
		w.pass(time.Second)
		w.want("told", w.told.list(), []string{"d1 accepted fcm a 1"})
		w.end()
	})
}

func TestEndOfRunWaitsForAttemptsThenCutsThemOff(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.saying(func(m channels.Message, _ int) (channels.Outcome, error) {
			if m.DeliveryID == "hangs" {
				<-w.senders.newest().Done()
				return channels.Outcome{Kind: channels.RetryAfter, Ambiguous: true, Reason: "timeout"}, nil
			}
			time.Sleep(5 * time.Second) //nolint:forbidigo // a provider's latency, in the bubble's time
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.accept(send("slow", phone("a")), send("hangs", phone("a")))
		start := time.Now()
		w.end()
		w.want("waited", time.Since(start), 10*time.Second)
		w.want("told", w.told.list(), []string{"slow accepted fcm a 1"})
		w.want("waiting", w.lanes(), "push/fcm/app:1")
		w.senders.say(channels.Outcome{Kind: channels.Accepted, Status: 200})
		w.start()
		w.pass(time.Second)
		w.want("told", w.told.list(), []string{"slow accepted fcm a 1", "hangs accepted fcm a 2"})
		w.end()
	})
}

func TestSendThatCanNeverBeDeliveredHoldsUpNoOther(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		bad := send("", phone("a"))
		w.accept(bad, send("d1", phone("a")))
		w.want("told", w.told.list(), []string{"d1 accepted fcm a 1"})
		w.want("refused", metric(t, w, "footfall_deliver_refused_total"), 1)
		w.end()
	})
}

func TestUnreadableRecordHoldsUpNoOther(t *testing.T) {
	bubble(t, func(w *world) {
		for _, lane := range []string{"inflight", "timer", "push/fcm/app", "tell"} {
			for i := range 300 {
				id := fmt.Sprintf("%s-%d", strings.ReplaceAll(lane, "/", "-"), i)
				if _, err := w.ledger.Write(t.Context(), []deliver.Write{{Record: deliver.Record{
					Workspace: "shop", ID: id, Lane: lane, Due: noon.Add(-time.Hour), Body: []byte(`{"v":99}`),
				}}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.make()
		if err := w.d.Accept(t.Context(), []engage.Send{send("d1", phone("a"))}); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.sessions.set("open")
		w.accept(send("d2", phone("open")))
		w.pass(2 * time.Second)
		w.want("told", len(w.told.list()), 2)
		w.end()
		w.want("said of each once", strings.Count(w.logs.String(), "delivery record left alone"), 1200)
	})
}

func TestNewAndRunRefuseWrongUse(t *testing.T) {
	var e *engage.Error
	if _, err := deliver.New(deliver.Options{}); !errors.As(err, &e) || e.Field != "ledger" {
		t.Errorf("New without a ledger: %v", err)
	}
	bubble(t, func(w *world) {
		w.inFlight = -1
		if _, err := deliver.New(deliver.Options{
			Ledger: w.ledger, Sessions: w.sessions, Senders: w.senders, Outcomes: w.told, Clock: w.clock, MaxInFlight: -1,
		}); !errors.As(err, &e) || e.Field != "max_in_flight" {
			t.Errorf("New with -1 in flight: %v", err)
		}
		w.inFlight = 0
		w.start()
		if err := w.d.Run(t.Context()); engage.CodeOf(err) != engage.Conflict {
			t.Errorf("Run twice: %v", err)
		}
		if _, err := deliver.New(deliver.Options{
			Ledger: w.ledger, Sessions: w.sessions, Senders: w.senders, Outcomes: w.told, Clock: w.clock, Metrics: w.metrics,
		}); err == nil {
			t.Error("metrics registered twice")
		}
		w.end()
	})
}
