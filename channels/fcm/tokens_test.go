package fcm_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/fcm"
	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
)

// TestAccessTokenIsRenewedBeforeItEnds, beside the sends, and once however many
// there are.
func TestAccessTokenIsRenewedBeforeItEnds(t *testing.T) {
	var mu sync.Mutex
	var skew time.Duration
	sim := start(t, fcmsim.Options{})
	s := sender(t, sim, func(o *fcm.Options) {
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(skew) }
	})
	send := func(name string) {
		t.Helper()
		if out, err := s.Send(t.Context(), message(name)); err != nil || out.Kind != channels.Accepted {
			t.Error(out, err)
		}
	}
	send("first")
	mu.Lock()
	skew = 56 * time.Minute // of its hour
	mu.Unlock()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { send("ok-many") })
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for sim.TokensIssued() < 2 {
		if ctx.Err() != nil {
			t.Fatal("not renewed")
		}
		send("ok-more")
	}
	for _, r := range sim.Requests() {
		if r.Status != 200 {
			t.Errorf("%+v", r)
		}
	}
	if n := sim.TokensIssued(); n != 2 {
		t.Errorf("%d access tokens", n)
	}
}

// TestFailingTokenEndpointIsLeftAlone: sends that find no access token do not each
// ask for one.
func TestFailingTokenEndpointIsLeftAlone(t *testing.T) {
	sim, other := start(t, fcmsim.Options{}), start(t, fcmsim.Options{})
	s := sender(t, sim, func(o *fcm.Options) { o.CredentialsJSON = replaced(other.Credentials(), other.URL(), sim.URL()) })
	began := time.Now()
	const sends = 2000
	for range sends {
		out, err := s.Send(t.Context(), message("a"))
		if err != nil || out.Kind != channels.Misconfigured || out.Reason != "invalid_grant" || out.Scope != channels.ScopeCredential || out.Raw == "" {
			t.Fatal(out, err)
		}
	}
	asked := 0.0
	families, err := sim.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "fcmsim_access_tokens_total" {
			for _, m := range f.GetMetric() {
				asked += m.GetCounter().GetValue()
			}
		}
	}
	// One a second, however long this machine took.
	if most := 2 + time.Since(began).Seconds(); asked < 1 || asked > most {
		t.Errorf("%v requests for an access token, want 1 to %v", asked, most)
	}
}
