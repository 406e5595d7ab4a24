package deliver_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
)

// A quota that is exceeded halves the rate, delays all for as long as the provider says,
// and counts as nobody's failure.
func TestAnExceededQuotaCutsTheRateAndFailsNothing(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		exceeded := true
		w.senders.saying(func(channels.Message, int) (channels.Outcome, error) {
			if exceeded {
				return channels.Outcome{Kind: channels.RetryAfter, Status: http.StatusTooManyRequests, Reason: "QUOTA_EXCEEDED", RetryAfter: 10 * time.Second, Scope: channels.ScopeCredential}, nil
			}
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.accept(of("c", 1)...)
		w.accept(of("d", 50)...)
		w.want("after the first nobody is tried", len(w.senders.attempts()), 1)
		all, _ := w.d.Credentials(t.Context())
		w.want("state", all[0].State, deliver.CredentialSlow)
		w.want("cuts", metric(t, w, "footfall_deliver_rate_cuts_total"), 1)
		for range 15 { // more often than a failure may be
			w.pass(11 * time.Second)
		}
		exceeded = false
		for range 600 {
			w.pass(2 * time.Second)
		}
		w.want("told", len(w.told.list()), 51)
		for _, line := range w.told.list() {
			var id, state string
			if _, err := fmt.Sscan(line, &id, &state); err != nil || state != "accepted" {
				t.Error(line)
			}
		}
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}

func TestADeviceThatIsToBeLeftAloneDelaysNoOther(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.saying(func(m channels.Message, n int) (channels.Outcome, error) {
			if m.DeliveryID == "d1" && n == 1 {
				return channels.Outcome{Kind: channels.RetryAfter, Status: http.StatusTooManyRequests, RetryAfter: 30 * time.Second, Scope: channels.ScopeDevice}, nil
			}
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.accept(send("d1", phone("a")))
		w.accept(send("d2", phone("a")), send("d3", phone("b")))
		w.want("told", w.told.list(), []string{"d3 accepted fcm b 1"})
		w.pass(29 * time.Second)
		w.want("told", len(w.told.list()), 1)
		w.pass(10 * time.Second)
		w.want("told", len(w.told.list()), 3)
		w.want("cuts", metric(t, w, "footfall_deliver_rate_cuts_total"), 0)
		w.end()
	})
}

// What the provider wants to have later than the message lasts ends as expired, at its
// expiry.
func TestARetryAfterBeyondTheExpiryEndsAsExpired(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.say(channels.Outcome{Kind: channels.RetryAfter, Status: 503, Reason: "UNAVAILABLE", RetryAfter: 2 * time.Hour})
		w.accept(send("d1", phone("a")))
		w.pass(time.Hour - time.Microsecond)
		w.want("told", w.told.list(), []string(nil))
		w.pass(time.Microsecond)
		w.want("told", w.told.list(), []string{"d1 expired fcm a send_expired UNAVAILABLE 1"})
		w.end()
	})
}

func TestSilentMessagesBeyondTheBudgetWaitOrEnd(t *testing.T) {
	bubble(t, func(w *world) {
		w.limits.SilentPerHour = 3
		w.start()
		quiet := func(id string, lasts time.Duration) engage.Send {
			s := send(id, phone("a"))
			s.Push = &engage.PushContent{Silent: true}
			s.ExpiresAt = noon.Add(lasts)
			return s
		}
		for i := range 3 {
			w.accept(quiet(fmt.Sprintf("s%d", i), time.Hour))
		}
		w.accept(quiet("later", time.Hour))
		w.accept(quiet("short", 19*time.Minute))
		only := quiet("only", 19*time.Minute)
		only.Channels = []engage.Channel{engage.Push}
		w.accept(only)
		w.accept(send("loud", phone("a")))
		w.want("told", w.told.list(), []string{
			"s0 accepted fcm a 1", "s1 accepted fcm a 1", "s2 accepted fcm a 1",
			"short inboxed inbox silent_budget 0", "only failed eligibility_no_channel silent_budget 0", "loud accepted fcm a 1",
		})
		w.pass(20*time.Minute - time.Second)
		w.want("told", len(w.told.list()), 6)
		w.pass(time.Second)
		w.want("told", len(w.told.list()), 7)
		w.end()
	})
}

func TestCollapsibleMessagesToADeviceAreSpaced(t *testing.T) {
	bubble(t, func(w *world) {
		w.limits = deliver.DefaultLimits()
		w.start()
		for i := range 22 {
			s := send(fmt.Sprint(i), phone("a"))
			s.Push = &engage.PushContent{CollapseKey: "score"}
			w.accept(s)
		}
		w.want("at once", len(w.told.list()), 20)
		w.pass(3 * time.Minute)
		w.want("three minutes later", len(w.told.list()), 21)
		w.pass(3 * time.Minute)
		w.want("six minutes later", len(w.told.list()), 22)
		w.end()
	})
}

// A provider that is down is left alone but for one message now and then, fails no
// message that has not been tried, and is not overrun when it is back.
func TestAProviderThatIsDownIsProbedAndComesBackSlowly(t *testing.T) {
	bubble(t, func(w *world) {
		w.inFlight = 100
		w.start()
		var down atomic.Bool
		down.Store(true)
		w.senders.saying(func(channels.Message, int) (channels.Outcome, error) {
			if down.Load() {
				return channels.Outcome{Kind: channels.RetryAfter, Status: 503}, nil
			}
			time.Sleep(time.Second) //nolint:forbidigo // a provider's latency, in the bubble's time
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.accept(of("c", 1000)...)
		made := len(w.senders.attempts())
		if made < 20 || made > 200 {
			t.Errorf("%d attempts before it counts as down", made)
		}
		w.want("alarm", metric(t, w, "footfall_deliver_down"), 1)
		all, _ := w.d.Credentials(t.Context())
		w.want("state", all[0].State, deliver.CredentialDown)
		for range 60 {
			w.pass(time.Second)
		}
		if n := len(w.senders.attempts()) - made; n < 4 || n > 10 {
			t.Errorf("%d probes in a minute", n)
		}
		down.Store(false)
		w.senders.forgetPeak()
		w.pass(time.Minute)
		time.Sleep(1500 * time.Millisecond) //nolint:forbidigo // the bubble's time: the probe's answer, and then ten attempts under way
		w.settle()
		w.want("alarm afterwards", metric(t, w, "footfall_deliver_down"), 0)
		if n := w.senders.most(); n > 12 {
			t.Errorf("%d at once when it is back", n)
		}
		for range 30 {
			time.Sleep(time.Minute) //nolint:forbidigo // the bubble's time
			w.pass(time.Minute)
		}
		w.want("most", w.senders.most(), 100)
		w.want("waiting", w.lanes(), "")
		w.want("told", len(w.told.list()), 1000)
		w.end()
	})
}
