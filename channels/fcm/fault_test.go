package fcm_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/fcm"
	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
)

// TestEveryRowOfTheTable is the table of FCM's answers, each given by the simulator
// in the documented shape: the outcome, and that it was one request.
func TestEveryRowOfTheTable(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault fcmsim.Fault
		want  channels.Outcome
	}{
		{"400, FcmError alone", fcmsim.Fault{Code: "INVALID_ARGUMENT"}, channels.Outcome{Kind: channels.TokenGone, Status: 400, Reason: "INVALID_ARGUMENT"}},
		{"400 without details", fcmsim.Fault{Status: 400}, channels.Outcome{Kind: channels.Rejected, Status: 400, Reason: "INVALID_ARGUMENT"}},
		{"404", fcmsim.Fault{Code: "UNREGISTERED"}, channels.Outcome{Kind: channels.TokenGone, Status: 404, Reason: "UNREGISTERED"}},
		{"404 without FcmError", fcmsim.Fault{Status: 404}, channels.Outcome{Kind: channels.Misconfigured, Status: 404, Reason: "NOT_FOUND", Scope: channels.ScopeCredential}},
		{"403", fcmsim.Fault{Code: "SENDER_ID_MISMATCH"}, channels.Outcome{Kind: channels.TokenGone, Status: 403, Reason: "SENDER_ID_MISMATCH"}},
		{"403 without FcmError", fcmsim.Fault{Status: 403}, channels.Outcome{Kind: channels.Misconfigured, Status: 403, Reason: "PERMISSION_DENIED", Scope: channels.ScopeCredential}},
		{"401 of a third party", fcmsim.Fault{Code: "THIRD_PARTY_AUTH_ERROR"}, channels.Outcome{Kind: channels.Misconfigured, Status: 401, Reason: "THIRD_PARTY_AUTH_ERROR", Scope: channels.ScopePlatform}},
		{"429", fcmsim.Fault{Code: "QUOTA_EXCEEDED"}, channels.Outcome{Kind: channels.RetryAfter, Status: 429, Reason: "QUOTA_EXCEEDED", RetryAfter: time.Minute, Scope: channels.ScopeCredential}},
		{"429 with a time", fcmsim.Fault{Code: "QUOTA_EXCEEDED", RetryAfter: 7 * time.Second}, channels.Outcome{Kind: channels.RetryAfter, Status: 429, Reason: "QUOTA_EXCEEDED", RetryAfter: 7 * time.Second, Scope: channels.ScopeCredential}},
		{"429 of the device", fcmsim.Fault{Code: "QUOTA_EXCEEDED", Quota: "device", RetryAfter: time.Second}, channels.Outcome{Kind: channels.RetryAfter, Status: 429, Reason: "QUOTA_EXCEEDED", RetryAfter: time.Second, Scope: channels.ScopeDevice}},
		{"429 of a topic", fcmsim.Fault{Code: "QUOTA_EXCEEDED", Quota: "topic:rain"}, channels.Outcome{Kind: channels.RetryAfter, Status: 429, Reason: "QUOTA_EXCEEDED", RetryAfter: time.Minute}},
		{"500", fcmsim.Fault{Code: "INTERNAL"}, channels.Outcome{Kind: channels.RetryAfter, Status: 500, Reason: "INTERNAL"}},
		{"502 of a gateway", fcmsim.Fault{Status: 502, HTML: true}, channels.Outcome{Kind: channels.RetryAfter, Status: 502, Reason: "http_502"}},
		{"503 of a gateway", fcmsim.Fault{Status: 503, HTML: true, RetryAfter: 30 * time.Second}, channels.Outcome{Kind: channels.RetryAfter, Status: 503, Reason: "http_503", RetryAfter: 30 * time.Second}},
		{"503", fcmsim.Fault{Code: "UNAVAILABLE", RetryAfter: 9 * time.Second}, channels.Outcome{Kind: channels.RetryAfter, Status: 503, Reason: "UNAVAILABLE", RetryAfter: 9 * time.Second}},
		{"504", fcmsim.Fault{Status: 504}, channels.Outcome{Kind: channels.RetryAfter, Status: 504, Reason: "DEADLINE_EXCEEDED", Ambiguous: true}},
		{"reset, not taken", fcmsim.Fault{Reset: true}, channels.Outcome{Kind: channels.RetryAfter, Reason: "connection_lost", Ambiguous: true}},
		{"reset after it was taken", fcmsim.Fault{Drop: true}, channels.Outcome{Kind: channels.RetryAfter, Reason: "connection_lost", Ambiguous: true}},
		{"taken, and the connection is to be left", fcmsim.Fault{GoAway: true}, channels.Outcome{Kind: channels.Accepted, Status: 200}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sim := start(t, fcmsim.Options{Rules: []fcmsim.Rule{{Match: map[string]string{"message.token": "plain"}, Fault: c.fault}}})
			s := sender(t, sim, nil)
			got, err := s.Send(t.Context(), message("plain"))
			if err != nil {
				t.Fatal(err)
			}
			if (got.Raw == "") != (got.Status == 0) || (got.ProviderID == "") != (got.Kind != channels.Accepted) {
				t.Errorf("%+v", got)
			}
			got.Raw, got.ProviderID = "", ""
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if n := requests(sim, "plain"); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			if out, err := s.Send(t.Context(), message("another")); err != nil || out.Kind != channels.Accepted {
				t.Error("the next one:", out, err)
			}
		})
	}
}

func TestHalfAnAnswerIsAmbiguous(t *testing.T) {
	sim := start(t, fcmsim.Options{Slow: time.Hour})
	s := sender(t, sim, func(o *fcm.Options) { o.Timeout = 300 * time.Millisecond })
	m := message(fcmsim.Token("slowbody", "x"))
	// On a loaded machine the time may end before anything was sent.
	for range 100 {
		out, err := s.Send(t.Context(), m)
		if err != nil || out.Kind != channels.RetryAfter {
			t.Fatal(out, err)
		}
		if out.Ambiguous {
			return
		}
	}
	t.Error("never ambiguous")
}

// TestManyFaultsLoseNothing sends through a provider that does all at once what
// providers do. Every send has an outcome; what was taken twice had an ambiguous one.
func TestManyFaultsLoseNothing(t *testing.T) {
	const n = 400
	rule := func(rate float64, f fcmsim.Fault) fcmsim.Rule { return fcmsim.Rule{Rate: rate, Fault: f} }
	sim := start(t, fcmsim.Options{Seed: 3, Rules: []fcmsim.Rule{
		rule(0.1, fcmsim.Fault{Code: "UNAVAILABLE"}), rule(0.05, fcmsim.Fault{Drop: true}), rule(0.05, fcmsim.Fault{Reset: true}),
		rule(0.05, fcmsim.Fault{GoAway: true}), rule(0.05, fcmsim.Fault{Status: 401}), rule(0.05, fcmsim.Fault{Slow: 5 * time.Millisecond}),
		rule(0.05, fcmsim.Fault{Code: "QUOTA_EXCEEDED", RetryAfter: time.Second}),
	}})
	s := sender(t, sim, func(o *fcm.Options) { o.Timeout = time.Minute })
	var mu sync.Mutex
	ambiguous := map[string]int{}
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			for i := w; i < n; i += 20 {
				m := message(fmt.Sprintf("phone-%d", i))
				for try := 0; ; try++ {
					out, err := s.Send(t.Context(), m)
					if err != nil || try > 100 {
						t.Error(m.AttemptID, out, err)
						return
					}
					if out.Ambiguous {
						mu.Lock()
						ambiguous[m.AttemptID]++
						mu.Unlock()
					}
					if out.Kind == channels.Accepted {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	accepted := sim.Accepted()
	if len(accepted) != n {
		t.Errorf("%d of %d arrived", len(accepted), n)
	}
	repeats := 0
	for id, times := range accepted {
		repeats += times - 1
		if times-1 > ambiguous[id] {
			t.Errorf("%s was taken %d times, and %d outcomes were ambiguous", id, times, ambiguous[id])
		}
	}
	if repeats == 0 || len(ambiguous) == 0 {
		t.Error("the faults did not happen")
	}
}

func TestDryRunAndInstallationID(t *testing.T) {
	sim := start(t, fcmsim.Options{Strict: true})
	s := sender(t, sim, nil)
	ada, err := sim.AddDevice(fcmsim.Device{})
	if err != nil {
		t.Fatal(err)
	}
	m := message(ada.FID)
	m.Target.FID = true
	if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Accepted {
		t.Error(out, err)
	}
	m.DryRun = true
	if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Accepted || out.ProviderID != "projects/footfall-sim/messages/fake_message_id" {
		t.Error(out, err)
	}
	if got := sim.Arrivals(); len(got) != 1 || got[0].Token != ada.Token {
		t.Errorf("%+v", got)
	}
	m.Target.Token = "nobody"
	if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.TokenGone {
		t.Error("a dry run to nobody:", out, err)
	}
}

// TestNowOrNeverIsNotKept and what is to be kept is, on both systems.
func TestNowOrNeverIsNotKept(t *testing.T) {
	sim := start(t, fcmsim.Options{})
	s := sender(t, sim, nil)
	for _, platform := range []string{fcmsim.AndroidPhone, fcmsim.IPhone} {
		d, err := sim.AddDevice(fcmsim.Device{Platform: platform, Presence: fcmsim.Offline})
		if err != nil {
			t.Fatal(err)
		}
		for _, never := range []bool{true, false} {
			m := message(d.Token)
			m.AttemptID, m.Target.Platform, m.NowOrNever, m.ExpiresAt = "a", platform, never, time.Now().Add(time.Hour)
			if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Accepted {
				t.Fatal(out, err)
			}
			if kept := len(sim.Stored(d.Token)); (kept == 0) != never {
				t.Errorf("%s, now or never %t: %d stored", platform, never, kept)
			}
		}
	}
}

// TestSilentMessagesReachTheAppAndAreNotShown on a phone in the background.
func TestSilentMessagesReachTheAppAndAreNotShown(t *testing.T) {
	sim := start(t, fcmsim.Options{})
	s := sender(t, sim, nil)
	for _, platform := range []string{fcmsim.AndroidPhone, fcmsim.IPhone, fcmsim.Browser} {
		d, err := sim.AddDevice(fcmsim.Device{Platform: platform, Presence: fcmsim.Background})
		if err != nil {
			t.Fatal(err)
		}
		m := message(d.Token)
		m.AttemptID, m.Target.Platform, m.Kind = "a", platform, channels.Silent
		if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Accepted {
			t.Fatal(out, err)
		}
		if a := sim.Arrivals(); a[len(a)-1].Via != fcmsim.ToApp || a[len(a)-1].MessageID != "delivery-1" || len(sim.Tray(d.Token)) != 0 {
			t.Errorf("%s: %+v", platform, a[len(a)-1])
		}
	}
}

// TestSendersOfSeveralProjectsDoNotMeet: each has its own credential, and a token of
// the other's is not its own.
func TestSendersOfSeveralProjectsDoNotMeet(t *testing.T) {
	sim := start(t, fcmsim.Options{Projects: []string{"shoes"}})
	hats := sender(t, sim, nil)
	shoes := sender(t, sim, func(o *fcm.Options) { o.CredentialsJSON = sim.CredentialsOf("shoes") })
	d, err := sim.AddDevice(fcmsim.Device{Project: "shoes"})
	if err != nil {
		t.Fatal(err)
	}
	m := message(d.Token)
	m.AttemptID = "a"
	if out, err := shoes.Send(t.Context(), m); err != nil || out.Kind != channels.Accepted {
		t.Error(out, err)
	}
	if out, err := hats.Send(t.Context(), m); err != nil || out.Kind != channels.TokenGone || out.Reason != "SENDER_ID_MISMATCH" {
		t.Error(out, err)
	}
}
