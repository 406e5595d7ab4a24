package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	wire "github.com/footfall-engage/footfall/channels/webhook"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/webhook"
	"github.com/footfall-engage/footfall/server/webhook/webhooktest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	m := &webhooktest.Memory{}
	webhooktest.RunQueue(t, func(*testing.T) webhook.Queue { return m })
}

func TestAnEventGoesToWhoHearsItOnce(t *testing.T) {
	w := newWorld(t)
	w.subscribe(bi)
	w.run()
	w.accept(event("e1", "crm", "bi"), event("e2", "bi", "nobody"))
	w.eventually("three calls", func() bool { return len(w.made()) == 3 })
	w.quiet()
	var got []string
	for _, c := range w.made() {
		got = append(got, c.url+" "+c.id)
		if c.batch || c.id != c.events[0] || !c.at.Equal(t0) {
			t.Errorf("call %+v", c)
		}
	}
	slices.Sort(got)
	if fmt.Sprint(got) != "[https://bi e1 https://bi e2 https://crm e1]" {
		t.Errorf("called %v", got)
	}
	if h := w.health(bi); h.Waiting != 0 || h.Dead != 0 || !h.FailingSince.IsZero() || w.metric("events_sent_total") != 3 {
		t.Errorf("health %+v", h)
	}
}

// What was accepted survives the death of the process at any point; what was answered
// but not noted comes again under the same id.
func TestNothingAcceptedIsLostToADeath(t *testing.T) {
	w := newWorld(t)
	w.accept(event("e1")) // and it dies before Run
	w.make()
	hold := make(chan struct{})
	w.plays(func(ctx context.Context, _ string, _ []string, _ wire.Request) channels.Outcome {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return channels.Outcome{Kind: channels.RetryAfter, Reason: "connection_lost", Ambiguous: true}
	})
	w.run()
	w.eventually("the call", func() bool { return len(w.made()) == 1 })
	w.stop() // in the middle of the call, which goes on for as long as a stop waits
	close(hold)
	if h := w.health(crm); h.Waiting != 1 {
		t.Fatalf("health %+v", h)
	}

	var broken atomic.Bool
	broken.Store(true)
	w.queue.Fault = func(op string) error {
		if op == "remove" && broken.Load() {
			return errors.New("it dies before the answer is noted")
		}
		return nil
	}
	w.answers(channels.Outcome{Kind: channels.Accepted, Status: 200})
	w.make()
	w.run()
	w.eventually("the second call", func() bool { return len(w.made()) == 2 })
	w.stop()
	broken.Store(false)
	w.make()
	w.run()
	w.eventually("the third call", func() bool { return len(w.made()) == 3 })
	w.quiet()
	for _, c := range w.made() {
		if c.id != "e1" {
			t.Errorf("call %+v", c)
		}
	}
	if h := w.health(crm); h.Waiting != 0 {
		t.Errorf("health %+v", h)
	}
	// The partition hands its outputs over again while the event waits, or is dead.
	w.answers(channels.Outcome{Kind: channels.Rejected, Reason: "http_400", Status: 400})
	w.accept(event("e2"), event("e2"))
	w.eventually("a dead letter", func() bool { return len(w.letters(crm)) == 1 })
	w.accept(event("e2"))
	w.quiet()
	if n := len(w.made()); n != 4 {
		t.Errorf("%d calls", n)
	}
}

func TestAFailedEventIsSentAgainUntilItsTimeIsOver(t *testing.T) {
	w := newWorld(t)
	w.answers(channels.Outcome{Kind: channels.RetryAfter, Reason: "http_500", Status: 500, Raw: "oh"})
	w.run()
	w.accept(event("e1"))
	w.eventually("the first call", func() bool { return len(w.made()) == 1 })
	w.quiet()
	w.passes(time.Second, 6*time.Second, "the second call", func() bool { return len(w.made()) == 2 })
	if h := w.health(crm); !h.FailingSince.Equal(t0) || h.Last == nil || h.Last.Status != 500 || h.Last.Body != "oh" || w.metric("failing_seconds") == 0 {
		t.Errorf("health %+v", h)
	}
	w.passes(time.Minute, 25*time.Hour, "the dead letter", func() bool { return len(w.letters(crm)) == 1 })
	if got := w.letters(crm)[0]; got != "e1 exhausted" {
		t.Error(got)
	}
	calls := w.made()
	if n := len(calls); n < 24 || n > 60 {
		t.Errorf("%d calls in a day", n)
	}
	for i := range calls[1:] {
		if gap := calls[i+1].at.Sub(calls[i].at); gap > time.Hour+time.Minute || gap < 2*time.Second {
			t.Errorf("%v between calls", gap)
		}
	}
	it, err := w.d.DeadLetter(t.Context(), crm, "e1")
	if err != nil || it.Tries != len(calls) || it.Last.Status != 500 || it.Last.Body != "oh" || !it.Since.Equal(t0) || w.metric("dead_letters_total", "exhausted") != 1 {
		t.Errorf("%+v %v", it, err)
	}
	// It vanishes some day.
	w.clock.Advance(31 * 24 * time.Hour)
	if got := w.letters(crm); len(got) != 0 {
		t.Errorf("letters %v", got)
	}
}

func TestTheReceiverSaysWhen(t *testing.T) {
	w := newWorld(t)
	w.answers(channels.Outcome{Kind: channels.RetryAfter, Reason: "http_429", Status: 429, RetryAfter: 10 * time.Minute, Scope: channels.ScopeCredential})
	w.run()
	w.accept(event("e1"))
	w.eventually("the first call", func() bool { return len(w.made()) == 1 })
	w.quiet()
	w.answers(channels.Outcome{Kind: channels.Accepted, Status: 200})
	w.accept(event("e2")) // it is about the receiver, so this one waits too
	w.quiet()
	if h := w.health(crm); !h.PausedUntil.Equal(t0.Add(10 * time.Minute)) {
		t.Errorf("health %+v", h)
	}
	w.clock.Advance(10*time.Minute - 1)
	w.quiet()
	if n := len(w.made()); n != 1 {
		t.Fatalf("%d calls before it is time", n)
	}
	w.clock.Advance(1)
	w.eventually("both", func() bool { return len(w.made()) == 3 })
	w.quiet()
	if h := w.health(crm); h.Waiting != 0 || !h.FailingSince.IsZero() || !h.PausedUntil.IsZero() {
		t.Errorf("health %+v", h)
	}
}

// A receiver that is down is probed by one call at a time, and gets all when it is up.
func TestAReceiverThatIsDownIsProbed(t *testing.T) {
	w := newWorld(t)
	w.answers(channels.Outcome{Kind: channels.RetryAfter, Reason: "connect"})
	w.run()
	for i := range 100 {
		w.accept(event(fmt.Sprint("e", i)))
	}
	w.eventually("the first calls", func() bool { return len(w.made()) > 0 })
	w.quiet()
	first := len(w.made())
	if first > 10 {
		t.Errorf("%d calls before it was taken to be down", first)
	}
	for range 60 {
		w.clock.Advance(time.Minute)
		w.quiet()
	}
	if n := len(w.made()) - first; n < 50 || n > 70 {
		t.Errorf("%d probes in an hour", n)
	}
	w.answers(channels.Outcome{Kind: channels.Accepted})
	up := w.clock.Now()
	w.passes(time.Minute, 3*time.Hour, "an empty queue", func() bool { return w.health(crm).Waiting == 0 })
	late := 0
	for _, c := range w.made() {
		if c.at.After(up.Add(2 * time.Minute)) {
			late++
		}
	}
	if late > first+70 { // those that had failed before wait for their own time
		t.Errorf("%d calls came late", late)
	}
}

// An event that fails always is no reason to hold up the others.
func TestOnePoisonousEventHoldsUpNobody(t *testing.T) {
	w := newWorld(t)
	w.plays(func(_ context.Context, _ string, events []string, _ wire.Request) channels.Outcome {
		if events[0] == "poison" {
			return channels.Outcome{Kind: channels.RetryAfter, Reason: "http_500", Status: 500}
		}
		return channels.Outcome{Kind: channels.Accepted}
	})
	w.run()
	w.accept(event("poison"))
	for i := range 40 {
		w.passes(30*time.Second, 30*time.Second, "a step", func() bool { return w.clock.Now().Sub(t0) >= time.Duration(i+1)*30*time.Second })
		id := fmt.Sprint("e", i)
		w.accept(event(id))
		w.quiet()
		if !slices.ContainsFunc(w.made(), func(c call) bool { return c.id == id }) {
			t.Fatalf("%s waits for the poison: %+v", id, w.health(crm))
		}
	}
}

// One that is slow has its own calls under way and no more; the other does not notice.
func TestASlowSubscriberDelaysNobodyElse(t *testing.T) {
	w := newWorld(t)
	w.subscribe(bi)
	hold := make(chan struct{})
	w.plays(func(ctx context.Context, k string, _ []string, _ wire.Request) channels.Outcome {
		if k == "crm" {
			select {
			case <-hold:
			case <-ctx.Done():
			}
		}
		return channels.Outcome{Kind: channels.Accepted}
	})
	w.run()
	for i := range 500 {
		w.accept(event(fmt.Sprint("e", i), "crm", "bi")) // it does not wait either
	}
	w.eventually("all are with the quick one", func() bool {
		return w.metric("events_sent_total", "bi") == 500
	})
	slow := 0
	for _, c := range w.made() {
		if c.url == "https://crm" {
			slow++
		}
	}
	if slow > 4 {
		t.Errorf("%d calls under way at the slow one", slow)
	}
	close(hold)
	w.eventually("the slow one has all as well", func() bool { return w.metric("events_sent_total", "crm") == 500 })
}

func TestWhatIsRefusedIsADeadLetterAtOnce(t *testing.T) {
	w := newWorld(t)
	w.answers(channels.Outcome{Kind: channels.Rejected, Reason: "http_400", Status: 400, Raw: strings.Repeat("é", 2000)})
	w.run()
	w.accept(event("e1"))
	w.eventually("a dead letter", func() bool { return len(w.letters(crm)) == 1 })
	w.quiet()
	if got := w.letters(crm)[0]; got != "e1 refused" || len(w.made()) != 1 {
		t.Error(got, w.made())
	}
	it, err := w.d.DeadLetter(t.Context(), crm, "e1")
	if err != nil || len(it.Last.Body) != 1024 || it.Last.Reason != "http_400" {
		t.Errorf("%+v %v", it.Last, err)
	}
	if h := w.health(crm); h.FailingSince.IsZero() || !h.PausedUntil.IsZero() {
		t.Errorf("health %+v", h)
	}
	// The next is not held up, and what it says is no secret of the first.
	w.answers(channels.Outcome{Kind: channels.Accepted})
	w.accept(event("e2"))
	w.eventually("it works", func() bool { return w.health(crm).FailingSince.IsZero() })
}

func TestABatchIsOneCall(t *testing.T) {
	w := newWorld(t)
	w.subscribe(crm, func(x *webhook.Target) { x.Batch = 3 })
	var es []engage.WebhookEvent
	for i := range 7 {
		es = append(es, event(fmt.Sprint("e", i)))
	}
	w.accept(es...)
	w.run()
	w.eventually("three calls", func() bool { return w.metric("events_sent_total") == 7 })
	calls := w.made()
	if len(calls) != 3 {
		t.Errorf("calls %v", calls)
	}
	ids := map[string]bool{}
	for _, c := range calls {
		ids[c.id] = true
		if !c.batch {
			t.Errorf("call %+v", c)
		}
	}
	if len(ids) != 3 || ids["e0"] {
		t.Errorf("ids %v", ids)
	}
}

// One bad event does not take the others of its batch with it.
func TestARefusedBatchIsSentOneByOne(t *testing.T) {
	w := newWorld(t)
	w.subscribe(crm, func(x *webhook.Target) { x.Batch = 10 })
	w.plays(func(_ context.Context, _ string, events []string, _ wire.Request) channels.Outcome {
		if slices.Contains(events, "bad") {
			return channels.Outcome{Kind: channels.Rejected, Reason: "http_422", Status: 422}
		}
		return channels.Outcome{Kind: channels.Accepted}
	})
	w.accept(event("e1"), event("bad"), event("e2"))
	w.run()
	w.eventually("two are taken", func() bool { return w.metric("events_sent_total") == 2 })
	w.eventually("one is not", func() bool { return len(w.letters(crm)) == 1 })
	if got := w.letters(crm)[0]; got != "bad refused" {
		t.Error(got)
	}
	if n := len(w.made()); n != 4 {
		t.Errorf("%d calls", n)
	}
}

func TestGoneTurnsTheSubscriptionOff(t *testing.T) {
	w := newWorld(t, func(o *webhook.Options) { o.InFlight = 1 })
	w.answers(channels.Outcome{Kind: channels.TokenGone, Reason: "http_410", Status: 410})
	w.accept(event("e1"), event("e2"), event("e3"))
	w.run()
	w.eventually("all are dead letters", func() bool { return len(w.letters(crm)) == 3 })
	if got := fmt.Sprint(w.letters(crm)); got != "[e1 disabled e2 disabled e3 disabled]" {
		t.Error(got)
	}
	if s, _ := w.Get(crm); s.Status != webhook.Off {
		t.Errorf("it is %s", s.Status)
	}
	w.accept(event("e4")) // made before it was known
	w.quiet()
	if n := len(w.made()); n != 1 || len(w.letters(crm)) != 3 {
		t.Errorf("%d calls, letters %v", n, w.letters(crm))
	}
	if err := w.d.Retry(t.Context(), crm, "e1"); engage.CodeOf(err) != engage.Conflict {
		t.Errorf("retry: %v", err)
	}
	w.answers(channels.Outcome{Kind: channels.Accepted})
	w.setStatus(crm, webhook.Enabled)
	if n, err := w.d.RetryAll(t.Context(), crm); n != 3 || err != nil {
		t.Error(n, err)
	}
	w.eventually("all are sent", func() bool { return w.metric("events_sent_total") == 3 })
}

func TestAPausedSubscriptionKeepsItsEvents(t *testing.T) {
	w := newWorld(t)
	w.setStatus(crm, webhook.Paused)
	w.run()
	w.accept(event("e1"))
	w.quiet()
	w.clock.Advance(23 * time.Hour)
	w.accept(event("e2"))
	w.quiet()
	if len(w.made()) != 0 || w.health(crm).Waiting != 2 {
		t.Fatalf("calls %v, health %+v", w.made(), w.health(crm))
	}
	w.passes(time.Minute, 3*time.Hour, "the first is overdue", func() bool { return len(w.letters(crm)) == 1 })
	if got := w.letters(crm)[0]; got != "e1 overdue" {
		t.Error(got)
	}
	w.setStatus(crm, webhook.Enabled)
	w.eventually("the second goes", func() bool { return len(w.made()) == 1 })
}

func TestAChangeIsTriedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.answers(channels.Outcome{Kind: channels.Misconfigured, Reason: "address_refused", Raw: "10.0.0.1 is not public"})
	w.run()
	w.accept(event("e1"), event("e2"))
	w.eventually("it fails", func() bool { return len(w.made()) > 0 })
	w.quiet()
	if h := w.health(crm); h.PausedUntil.IsZero() || h.Last.Reason != "address_refused" {
		t.Errorf("health %+v", h)
	}
	w.answers(channels.Outcome{Kind: channels.Accepted})
	before := len(w.made())
	w.accept(event("e3"))
	w.quiet()
	if n := len(w.made()); n != before {
		t.Fatalf("%d calls", n)
	}
	w.subscribe(crm, func(x *webhook.Target) { x.URL = "https://elsewhere" })
	w.eventually("the new address is called", func() bool {
		return slices.ContainsFunc(w.made(), func(c call) bool { return c.url == "https://elsewhere" })
	})
	w.passes(time.Second, time.Minute, "all are sent", func() bool { return w.health(crm).Waiting == 0 })
}

func TestSecretsThatCannotBeOpenedHoldUpTheirOwnAlone(t *testing.T) {
	w := newWorld(t)
	w.subscribe(bi)
	w.mu.Lock()
	w.targets[crm] = nil
	w.mu.Unlock()
	w.run()
	w.accept(event("e1", "crm", "bi"))
	w.eventually("the other gets it", func() bool { return len(w.made()) == 1 })
	w.eventually("it is said", func() bool { h := w.health(crm); return h.Last != nil && h.Last.Reason == "secrets" })
	w.subscribe(crm)
	w.eventually("now it goes", func() bool { return len(w.made()) == 2 })
}

func TestTheQueueIsBounded(t *testing.T) {
	w := newWorld(t, func(o *webhook.Options) { o.MaxQueued, o.MaxDead = 3, 2 })
	for i := range 9 {
		w.accept(event(fmt.Sprint("e", i)))
	}
	if h := w.health(crm); h.Waiting != 3 || h.Dead != 2 || w.metric("events_dropped_total") != 4 {
		t.Errorf("health %+v, dropped %v", h, w.metric("events_dropped_total"))
	}
	if got := fmt.Sprint(w.letters(crm)); got != "[e3 queue_full e4 queue_full]" {
		t.Error(got)
	}
	// Those that expired make room.
	w.clock.Advance(31 * 24 * time.Hour)
	w.accept(event("late"))
	if got := fmt.Sprint(w.letters(crm)); got != "[late queue_full]" {
		t.Error(got)
	}
}

func TestWhatIsDeletedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.answers(channels.Outcome{Kind: channels.RetryAfter, Reason: "http_500", Status: 500})
	w.run()
	w.accept(event("e1"))
	w.eventually("it fails", func() bool { return len(w.made()) == 1 })
	w.quiet()
	w.unsubscribe(crm)
	w.eventually("it is forgotten", func() bool { h := w.health(crm); return h.Waiting == 0 && w.metric("attempts_total") == 0 })
	w.stop()
	// A death between the deletion and the forgetting is made up for.
	w.subscribe(crm)
	w.make()
	w.accept(event("e2"))
	w.unsubscribe(crm)
	w.make()
	w.run()
	w.eventually("it is forgotten", func() bool { return w.health(crm).Waiting == 0 })
}

func TestDeadLettersCanBeSentAgainOrDeleted(t *testing.T) {
	w := newWorld(t)
	w.answers(channels.Outcome{Kind: channels.Rejected, Reason: "http_400", Status: 400})
	w.run()
	var es []engage.WebhookEvent
	for i := range 700 {
		es = append(es, event(fmt.Sprintf("e%03d", i)))
	}
	w.accept(es...)
	w.eventually("all are dead", func() bool { return w.health(crm).Dead == 700 })
	w.quiet()
	if err := w.d.Delete(t.Context(), crm, "e000"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{w.d.Delete(t.Context(), crm, "e000"), w.d.Retry(t.Context(), crm, "e000"), w.d.Retry(t.Context(), bi, "e001")} {
		if engage.CodeOf(err) != engage.NotFound {
			t.Errorf("of what is not there: %v", err)
		}
	}
	// A retry that is refused again is a dead letter again.
	if err := w.d.Retry(t.Context(), crm, "e001"); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is sent", func() bool { return len(w.made()) == 701 })
	w.quiet()
	if h := w.health(crm); h.Dead != 699 {
		t.Errorf("health %+v", h)
	}
	w.answers(channels.Outcome{Kind: channels.Accepted})
	if err := w.d.Retry(t.Context(), crm, "e001"); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is sent", func() bool { return w.metric("events_sent_total") == 1 })
	if n, err := w.d.RetryAll(t.Context(), crm); n != 698 || err != nil {
		t.Errorf("%d again, %v", n, err)
	}
	w.eventually("all are sent", func() bool { return w.metric("events_sent_total") == 699 })
	w.answers(channels.Outcome{Kind: channels.Rejected, Reason: "http_400", Status: 400})
	w.accept(event("x1"), event("x2"))
	w.eventually("both are dead", func() bool { return len(w.letters(crm)) == 2 })
	w.quiet()
	if n, err := w.d.DeleteAll(t.Context(), crm); n != 2 || err != nil || len(w.letters(crm)) != 0 {
		t.Errorf("%d deleted, %v, left %v", n, err, w.letters(crm))
	}
}

func TestATestTellsWhatTheReceiverSaid(t *testing.T) {
	w := newWorld(t)
	w.setStatus(crm, webhook.Paused)
	w.answers(channels.Outcome{Kind: channels.Rejected, Reason: "http_403", Status: 403, Raw: strings.Repeat("x", 3000)})
	got, err := w.d.Test(t.Context(), crm)
	if err != nil || got.Kind != channels.Rejected || got.Answer.Status != 403 || len(got.Answer.Body) != 3000 || got.Event.Type != engage.WebhookPing {
		t.Errorf("%+v %v", got, err)
	}
	if len(w.made()) != 1 || w.health(crm).Dead != 0 || w.health(crm).Waiting != 0 {
		t.Errorf("calls %v", w.made())
	}
	if _, err := w.d.Test(t.Context(), bi); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("of one that is not there: %v", err)
	}
}

// A store that does not answer is waited for; nothing is sent twice for it.
func TestAnOutageOfTheStoreIsWaitedOut(t *testing.T) {
	w := newWorld(t)
	var away atomic.Bool
	w.queue.Fault = func(op string) error {
		if away.Load() && op != "count" {
			return errors.New("away")
		}
		return nil
	}
	w.run()
	w.quiet()
	away.Store(true)
	if err := w.d.Accept(t.Context(), "acme", []engage.WebhookEvent{event("e1")}); err == nil {
		t.Fatal("it was accepted")
	}
	away.Store(false)
	w.plays(func(context.Context, string, []string, wire.Request) channels.Outcome {
		away.Store(true) // before it is noted
		return channels.Outcome{Kind: channels.Accepted}
	})
	w.accept(event("e1"))
	w.eventually("the call", func() bool { return len(w.made()) == 1 })
	away.Store(false)
	w.eventually("it is noted", func() bool { return w.health(crm).Waiting == 0 && w.metric("events_sent_total") == 1 })
	if n := len(w.made()); n != 1 {
		t.Errorf("%d calls", n)
	}
}
