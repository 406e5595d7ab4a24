package deliver_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

func to(policy engage.DevicePolicy, id string, devices ...engage.Device) engage.Send {
	s := send(id, devices...)
	s.Push = &engage.PushContent{Devices: policy}
	return s
}

// sent are the tokens of the attempts so far, in order of name.
func (w *world) sent() string {
	var out []string
	for _, a := range w.senders.attempts() {
		token, _, _ := strings.Cut(a, "@")
		out = append(out, strings.TrimPrefix(token, "tok-"))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestWhichOfAPersonsPhonesGetAPush(t *testing.T) {
	old := phone("old")
	old.SeenAt = noon.Add(-time.Hour)
	silent := phone("muted")
	silent.Notifications = "denied"
	for _, test := range []struct {
		policy engage.DevicePolicy
		want   string
	}{
		{"", "a"}, {engage.MostRecent, "a"}, {engage.AllDevices, "a b i old"}, {engage.OnePerPlatform, "a i"},
	} {
		t.Run(string(test.policy), func(t *testing.T) {
			bubble(t, func(w *world) {
				w.start()
				w.accept(to(test.policy, "d1", phone("a"), old, phone("b"), iphone("i"), silent))
				w.pass(time.Second)
				w.want("sent to", w.sent(), test.want)
				w.want("told", w.told.list(), []string{"d1 accepted fcm a 1"})
				w.want("waiting", w.lanes(), "")
				rec, _, _ := w.ledger.Get(t.Context(), "shop", "d1")
				if strings.Contains(string(rec.Body), "tok-") || strings.Count(string(rec.Body), `"provider"`) != len(strings.Fields(test.want)) {
					t.Errorf("the record shows not each attempt, or keeps tokens: %s", rec.Body)
				}
				w.end()
			})
		})
	}
}

// Each phone has its own retries, and one that waits holds up no other. decide hears of
// the first that was reached, once.
func TestPhonesOfAPersonAreRetriedEachForItself(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.saying(func(m channels.Message, n int) (channels.Outcome, error) {
			rec, _, _ := w.ledger.Get(t.Context(), "shop", m.DeliveryID)
			if rec.Lane != "inflight" || !strings.Contains(string(rec.Body), m.AttemptID) {
				t.Errorf("made before it was recorded: %s", rec.Body)
			}
			switch {
			case m.Target.Token == "tok-busy" && n < 3:
				return channels.Outcome{Kind: channels.RetryAfter, Status: 503, RetryAfter: time.Minute}, nil
			case m.Target.Token == "tok-gone":
				return channels.Outcome{Kind: channels.TokenGone, Reason: "UNREGISTERED", Status: 404}, nil
			case m.Target.Token == "tok-bad":
				return channels.Outcome{Kind: channels.Rejected, Reason: "INVALID_ARGUMENT", Status: 400}, nil
			}
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.accept(to(engage.AllDevices, "d1", phone("busy"), phone("gone"), phone("bad"), iphone("i"), phone("c")))
		w.pass(time.Second)
		w.want("at once", w.sent(), "bad busy c gone i")
		w.want("told", w.told.list(), []string{"d1 accepted apns i 4"})
		for range 10 {
			w.pass(time.Minute)
		}
		w.want("in the end", w.sent(), "bad busy busy busy c gone i")
		w.want("told", len(w.told.list()), 1)
		w.want("dead", len(w.told.dead), 1)
		w.want("waiting", w.lanes(), "")

		w.accept(to(engage.AllDevices, "d2", phone("gone"), phone("bad")))
		w.accept(to(engage.AllDevices, "d3", phone("gone")))
		w.accept(to(engage.OnePerPlatform, "d4", phone("gone"), phone("next"), phone("third")))
		w.pass(time.Second)
		told := w.told.list()[1:]
		slices.Sort(told)
		w.want("told", told, []string{"d2 failed fcm bad send_rejected INVALID_ARGUMENT 2", "d3 inboxed inbox token_dead 1", "d4 accepted fcm next 2"})
		w.end()
	})
}

func TestAPausedCredentialHoldsUpNoOtherPhoneOfThePerson(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.saying(func(m channels.Message, _ int) (channels.Outcome, error) {
			if m.Target.Provider == channels.APNs {
				return channels.Outcome{Kind: channels.Misconfigured, Reason: "InvalidProviderToken", Status: 403}, nil
			}
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.accept(send("pauses", iphone("x")))
		w.accept(to(engage.AllDevices, "d1", iphone("i"), phone("a")))
		w.want("told", w.told.list(), []string{"d1 accepted fcm a 1"})
		w.pass(2 * time.Hour) // the rest expires
		w.pass(time.Minute)
		w.want("waiting", w.lanes(), "")
		told := w.told.list()
		w.want("told", fmt.Sprint(len(told), strings.Contains(told[1], "pauses expired")), "2 true")
		w.end()
	})
}

// Who has seen it on one phone needs it on no other.
func TestWhatWasSeenOnOnePhoneGoesToNoOther(t *testing.T) {
	bubble(t, func(w *world) {
		w.start()
		w.senders.saying(func(m channels.Message, _ int) (channels.Outcome, error) {
			if m.Target.Token == "tok-busy" {
				return channels.Outcome{Kind: channels.RetryAfter, Status: 503}, nil
			}
			return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
		})
		w.accept(to(engage.AllDevices, "d1", phone("busy"), phone("a")))
		if err := w.d.Receipt(t.Context(), "shop", "ada", engage.ReceiptItem{Message: "d1", State: engage.ReceiptDisplayed}); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		w.want("sent to", w.sent(), "a busy")
		w.want("waiting", w.lanes(), "")
		w.end()
	})
}
