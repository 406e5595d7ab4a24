package apns_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/apns"
	"github.com/footfall-engage/footfall/channels/apns/apnssim"
)

// crowd sends n messages from many workers, each once, and returns what was said
// of each by its attempt id. Nobody repeats anything: what the provider has, and
// what was said, must agree for every one.
func crowd(t *testing.T, s *apns.Sender, workers, n int, token func(i int) string) map[string]channels.Outcome {
	t.Helper()
	var mu sync.Mutex
	said := make(map[string]channels.Outcome, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				m := message(token(i))
				m.AttemptID = fmt.Sprintf("attempt-%d", i)
				out, err := s.Send(t.Context(), m)
				if err != nil {
					t.Errorf("%s: %v", m.AttemptID, err)
					return
				}
				mu.Lock()
				said[m.AttemptID] = out
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return said
}

// agree checks promise 4 at this level: an outcome for each, at most one push of
// each, none without its being said or being called ambiguous.
func agree(t *testing.T, sim *apnssim.Server, said map[string]channels.Outcome, n int) (accepted, ambiguous int) {
	t.Helper()
	if len(said) != n {
		t.Errorf("%d outcomes of %d", len(said), n)
	}
	taken := sim.Accepted()
	for id, out := range said {
		switch {
		case taken[id] > 1:
			t.Errorf("%s was accepted %d times: %+v", id, taken[id], out)
		case out.Kind == channels.Accepted && taken[id] != 1:
			t.Errorf("%s is said to be accepted and is not", id)
		case out.Kind != channels.Accepted && !out.Ambiguous && taken[id] != 0:
			t.Errorf("%s was accepted, and is said not to be: %+v", id, out)
		}
		if out.Kind == channels.Accepted {
			accepted++
		}
		if out.Ambiguous {
			ambiguous++
		}
	}
	return accepted, ambiguous
}

func ok(i int) string { return apnssim.Token("ok", fmt.Sprint(i)) }

func TestGoAwayStormLosesAndDoublesNothing(t *testing.T) {
	const n = 1500
	// Each connection is told to go away after nine pushes, with others under way.
	sim := start(t, apnssim.Options{MaxStreams: 20, GoAwayEvery: 9, Latency: time.Millisecond, LatencyP99: 4 * time.Millisecond, Seed: 1})
	s := sender(t, sim, nil)
	accepted, ambiguous := agree(t, sim, crowd(t, s, 40, n, ok), n)
	if ambiguous != 0 {
		t.Errorf("%d ambiguous: GOAWAY says what was not processed", ambiguous)
	}
	// A request may meet five GOAWAYs in a row; that it then says so is all right.
	if accepted < n*9/10 {
		t.Errorf("only %d of %d accepted", accepted, n)
	}
	if c := sim.Connections(); c < n/100 {
		t.Errorf("only %d connections: that was no storm", c)
	}
}

func TestResetsAfterAcceptanceAreAmbiguous(t *testing.T) {
	const n = 400
	sim := start(t, apnssim.Options{MaxStreams: 50, Latency: time.Millisecond, Seed: 2})
	for i, do := range []apnssim.Do{apnssim.Drop, apnssim.Reset, apnssim.Refuse, apnssim.Kill} {
		if err := sim.SetFaults(append(sim.Faults(), apnssim.Fault{Percent: float64(5 + i), Do: do})...); err != nil {
			t.Fatal(err)
		}
	}
	s := sender(t, sim, nil)
	accepted, ambiguous := agree(t, sim, crowd(t, s, 30, n, ok), n)
	if accepted == 0 || ambiguous == 0 {
		t.Errorf("%d accepted, %d ambiguous: nothing was tested", accepted, ambiguous)
	}
}

func TestStreamLimitOneWithRefusals(t *testing.T) {
	const n = 150
	sim := start(t, apnssim.Options{MaxStreams: 1, Seed: 3})
	if err := sim.SetFaults(
		apnssim.Fault{Percent: 10, Status: 503, Reason: "ServiceUnavailable"},
		apnssim.Fault{Percent: 10, Do: apnssim.Refuse},
	); err != nil {
		t.Fatal(err)
	}
	s := sender(t, sim, nil)
	_, ambiguous := agree(t, sim, crowd(t, s, 20, n, ok), n)
	if ambiguous != 0 || sim.PeakStreams() != 1 || sim.Connections() != 1 {
		t.Errorf("%d ambiguous, %d streams at a time, %d connections", ambiguous, sim.PeakStreams(), sim.Connections())
	}
}

func TestSlowBodiesDoNotChangeTheAnswer(t *testing.T) {
	sim := start(t, apnssim.Options{MaxStreams: 20, Slow: time.Hour})
	s := sender(t, sim, nil)
	if err := sim.SetFaults(
		apnssim.Fault{CollapseID: "late", Do: apnssim.SlowBody, DelayMS: 20, Status: 410, Reason: "Unregistered"},
		apnssim.Fault{CollapseID: "never", Do: apnssim.SlowBody, Status: 410, Reason: "Unregistered"},
		apnssim.Fault{CollapseID: "taken", Do: apnssim.SlowBody},
	); err != nil {
		t.Fatal(err)
	}
	send := func(id string, want channels.Outcome) {
		m := message(ok(1))
		m.CollapseKey = id
		out, err := s.Send(t.Context(), m)
		if err != nil || out.Kind != want.Kind || out.Status != want.Status || out.Reason != want.Reason || out.Ambiguous {
			t.Errorf("%s: %+v %v", id, out, err)
		}
	}
	send("first", channels.Outcome{Kind: channels.Accepted, Status: 200}) // opens the connection for more than one
	send("late", channels.Outcome{Kind: channels.TokenGone, Status: 410, Reason: "Unregistered"})
	var wg sync.WaitGroup
	wg.Go(func() { send("never", channels.Outcome{Kind: channels.RetryAfter, Status: 410, Reason: "body_lost"}) })
	wg.Go(func() { send("taken", channels.Outcome{Kind: channels.Accepted, Status: 200}) })
	// Once both are logged and the connection's lock was free, their heads are out.
	wait(t, func() bool { return len(sim.Requests()) == 4 && sim.InFlight() == 2 })
	_ = sim.Close()
	wg.Wait()
}

func TestEveryReasonArrivesAsItsOutcome(t *testing.T) {
	sim := start(t, apnssim.Options{})
	s := sender(t, sim, nil)
	config := channels.Outcome{Kind: channels.Misconfigured, Scope: channels.ScopeCredential}
	gone, ours := channels.Outcome{Kind: channels.TokenGone}, channels.Outcome{Kind: channels.Rejected}
	for _, k := range []struct {
		status  int
		reasons string
		want    channels.Outcome
	}{
		{400, "BadDeviceToken DeviceTokenNotForTopic", gone},
		{410, "Unregistered ExpiredToken", gone},
		{400, "BadCollapseId BadExpirationDate BadMessageId BadPriority BadTopic DuplicateHeaders InvalidPushType MissingDeviceToken MissingTopic PayloadEmpty", ours},
		{404, "BadPath", ours},
		{405, "MethodNotAllowed", ours},
		{413, "PayloadTooLarge", ours},
		{400, "TopicDisallowed", config},
		{403, "BadCertificate BadCertificateEnvironment Forbidden InvalidProviderToken MissingProviderToken UnrelatedKeyIdInToken BadEnvironmentKeyIdInToken BadEnvironmentKeyInToken ExpiredProviderToken", config},
		{429, "TooManyRequests", channels.Outcome{Kind: channels.RetryAfter, Scope: channels.ScopeDevice}},
		{500, "InternalServerError", channels.Outcome{Kind: channels.RetryAfter, RetryAfter: 15 * time.Minute}},
		{503, "ServiceUnavailable", channels.Outcome{Kind: channels.RetryAfter, RetryAfter: 15 * time.Minute}},
		{400, "IdleTimeout", channels.Outcome{Kind: channels.RetryAfter}}, // repeated five times on new connections
		{503, "Shutdown", channels.Outcome{Kind: channels.RetryAfter}},
		{400, "NeverHeardOf", ours},
		{403, "NeverHeardOf", config},
		{410, "NeverHeardOf", gone},
		{429, "NeverHeardOf", channels.Outcome{Kind: channels.RetryAfter}},
		{500, "NeverHeardOf", channels.Outcome{Kind: channels.RetryAfter, RetryAfter: 15 * time.Minute}},
		{429, "TooManyProviderTokenUpdates", channels.Outcome{Kind: channels.RetryAfter, Scope: channels.ScopeCredential, RetryAfter: 20 * time.Minute}},
	} {
		for reason := range strings.FieldsSeq(k.reasons) {
			if err := sim.SetFaults(apnssim.Fault{Status: k.status, Reason: reason}); err != nil {
				t.Fatal(err)
			}
			want := k.want
			want.Status, want.Reason, want.Raw = k.status, reason, `{"reason":"`+reason+`"}`
			if out, err := s.Send(t.Context(), message(ok(1))); err != nil || out != want {
				t.Errorf("%d %s\ngot  %+v %v\nwant %+v", k.status, reason, out, err, want)
			}
		}
	}
	for _, body := range []string{"<html><body>Bad Gateway</body></html>", `{"error":"proxy"}`, "null"} {
		if err := sim.SetFaults(apnssim.Fault{Status: 502, Body: body}); err != nil {
			t.Fatal(err)
		}
		want := channels.Outcome{Kind: channels.RetryAfter, Status: 502, Reason: "http_502", Raw: body}
		if out, err := s.Send(t.Context(), message(ok(1))); err != nil || out != want {
			t.Errorf("%s: %+v %v", body, out, err)
		}
	}
}

func TestTooManyTokenUpdatesKeepsTheToken(t *testing.T) {
	c := newClock()
	sim := start(t, apnssim.Options{Now: c.now})
	s := sender(t, sim, func(o *apns.Options) { o.Now = c.now })
	send := func() channels.Outcome {
		t.Helper()
		out, err := s.Send(t.Context(), message(ok(1)))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := send(); out.Kind != channels.Accepted {
		t.Fatal(out)
	}
	c.advance(45 * time.Minute)
	if err := sim.SetFaults(apnssim.Fault{Times: 1, Status: 429, Reason: "TooManyProviderTokenUpdates"}); err != nil {
		t.Fatal(err)
	}
	if out := send(); out.Kind != channels.RetryAfter || out.RetryAfter != 20*time.Minute || out.Scope != channels.ScopeCredential {
		t.Error(out)
	}
	c.advance(10 * time.Minute) // 55: it would be renewed at 50
	if out := send(); out.Kind != channels.Accepted || sim.ProviderTokens() != 1 {
		t.Error(out, sim.ProviderTokens())
	}
	c.advance(5 * time.Minute) // but is before it dies
	if out := send(); out.Kind != channels.Accepted || sim.ProviderTokens() != 2 {
		t.Error(out, sim.ProviderTokens())
	}
}

func TestABusyConnectionGetsASecondAndNoThird(t *testing.T) {
	const n = 400
	sim := start(t, apnssim.Options{MaxStreams: 10, Latency: 5 * time.Millisecond})
	s := sender(t, sim, func(o *apns.Options) { o.MaxConns = 2 })
	accepted, _ := agree(t, sim, crowd(t, s, 60, n, ok), n)
	if accepted != n || sim.Connections() != 2 || sim.PeakStreams() > 9 {
		t.Errorf("%d accepted, %d connections, %d streams at a time", accepted, sim.Connections(), sim.PeakStreams())
	}
}

func TestTheFirstPushOfAConnectionIsAlone(t *testing.T) {
	const n = 30
	var first atomic.Bool
	var beside atomic.Int64
	var sim *apnssim.Server
	// Apple's word is not waited for: the limit is high from the start.
	sim = start(t, apnssim.Options{InitialStreams: 100, MaxStreams: 100, Latency: 20 * time.Millisecond, OnAccept: func(apnssim.Delivered) {
		if first.CompareAndSwap(false, true) {
			beside.Store(int64(sim.InFlight()))
		}
	}})
	s := sender(t, sim, func(o *apns.Options) { o.MaxConns = 1 })
	if accepted, _ := agree(t, sim, crowd(t, s, n, n, ok), n); accepted != n {
		t.Errorf("%d accepted", accepted)
	}
	if beside.Load() != 1 || sim.PeakStreams() < 2 {
		t.Errorf("%d in flight with the first, %d at most", beside.Load(), sim.PeakStreams())
	}
}
