package apns_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/apns"
	"github.com/footfall-engage/footfall/channels/apns/apnssim"
)

func TestAppsOfOneTeamShareConnectionsAndProviderToken(t *testing.T) {
	sim := start(t, apnssim.Options{})
	var shared apns.Shared
	var apps []*apns.Sender
	for i := range 3 {
		apps = append(apps, sender(t, sim, func(o *apns.Options) { o.Shared, o.Topic = &shared, fmt.Sprintf("com.example.app%d", i) }))
	}
	send := func(s *apns.Sender) (channels.Outcome, error) {
		return s.Send(t.Context(), message(apnssim.Token("ok", "x")))
	}
	for _, s := range apps {
		if out, err := send(s); err != nil || out.Kind != channels.Accepted {
			t.Fatal(out, err)
		}
	}
	if c, p := sim.Connections(), sim.ProviderTokens(); c != 1 || p != 1 {
		t.Errorf("%d connections, %d provider tokens, want one each", c, p)
	}
	// Closing some leaves the others undisturbed; closing twice does no harm.
	for range 2 {
		_ = apps[0].Close()
	}
	_ = apps[1].Close()
	if _, err := send(apps[0]); err == nil {
		t.Error("a closed sender sends")
	}
	if out, err := send(apps[2]); err != nil || out.Kind != channels.Accepted || sim.Connections() != 1 {
		t.Error(out, err, sim.Connections())
	}
	_ = apps[2].Close()
	// After the last the next begins anew.
	if out, err := send(sender(t, sim, func(o *apns.Options) { o.Shared = &shared })); err != nil || out.Kind != channels.Accepted || sim.Connections() != 2 {
		t.Error(out, err, sim.Connections())
	}
}

func TestOtherKeysShareNothing(t *testing.T) {
	sim := start(t, apnssim.Options{})
	var shared apns.Shared
	a := sender(t, sim, func(o *apns.Options) { o.Shared = &shared })
	b := sender(t, sim, func(o *apns.Options) { o.Shared, o.KeyID = &shared, "OTHERKEY01" })
	if out, err := a.Send(t.Context(), message(apnssim.Token("ok", "x"))); err != nil || out.Kind != channels.Accepted {
		t.Error(out, err)
	}
	if out, err := b.Send(t.Context(), message(apnssim.Token("ok", "x"))); err != nil || out.Kind != channels.Misconfigured {
		t.Error(out, err)
	}
	if n := sim.Connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestClosingASenderEndsItsRequests(t *testing.T) {
	sim := start(t, apnssim.Options{})
	var shared apns.Shared
	a := sender(t, sim, func(o *apns.Options) { o.Shared = &shared })
	b := sender(t, sim, func(o *apns.Options) { o.Shared = &shared })
	if _, err := b.Send(t.Context(), message(apnssim.Token("ok", "x"))); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	token := apnssim.Token("slow", "x")
	wg.Go(func() {
		out, err := a.Send(t.Context(), message(token))
		if err != nil || out.Kind != channels.RetryAfter || !out.Ambiguous {
			t.Errorf("%+v %v", out, err)
		}
	})
	wait(t, func() bool { return sim.InFlight() == 1 })
	_ = a.Close()
	wg.Wait()
	if out, err := b.Send(t.Context(), message(apnssim.Token("ok", "x"))); err != nil || out.Kind != channels.Accepted {
		t.Error(out, err)
	}
}

// wait waits for a condition.
func wait(t testing.TB, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the test ended while waiting")
		}
	}
}

// environments starts a production and a sandbox server that know one key.
func environments(t *testing.T) (production, sandbox *apnssim.Server, s *apns.Sender) {
	t.Helper()
	production, sandbox = start(t, apnssim.Options{}), start(t, apnssim.Options{})
	sandbox.Share(production)
	s = sender(t, production, func(o *apns.Options) {
		o.SandboxURL = sandbox.URL()
		production.RootCAs().AppendCertsFromPEM(sandbox.CertificatePEM())
	})
	return production, sandbox, s
}

func TestATokenOfTheOtherEnvironmentIsFoundThere(t *testing.T) {
	production, sandbox, s := environments(t)
	// Each simulator knows its own token; the kind of a token is a word to both,
	// so that the unknown one is of a form that only one takes.
	for _, env := range []string{"", apns.Production, apns.Sandbox} {
		first, second, other := production, sandbox, apns.Sandbox
		if env == apns.Sandbox {
			first, second, other = sandbox, production, apns.Production
		}
		token := apnssim.Token("ok", "lives."+other+env)
		first.Forget(token)
		m := message(token)
		m.Target.Environment = env
		out, err := s.Send(t.Context(), m)
		if err != nil || out.Kind != channels.Accepted || out.Environment != other {
			t.Errorf("%q: %+v %v", env, out, err)
		}
		if requests(first, token) != 1 || requests(second, token) != 1 {
			t.Errorf("%q: %d and %d requests", env, requests(first, token), requests(second, token))
		}
		second.Forget(token)
		out, err = s.Send(t.Context(), m)
		if err != nil || out.Kind != channels.TokenGone || out.Reason != "BadDeviceToken" || out.Environment != "" {
			t.Errorf("%q, unknown to both: %+v %v", env, out, err)
		}
	}
}

func TestAnEnvironmentThatCannotBeAskedLeavesTheTokenAlive(t *testing.T) {
	production, sandbox, s := environments(t)
	token := apnssim.Token("ok", "x")
	production.Forget(token)
	_ = sandbox.Close()
	out, err := s.Send(t.Context(), message(token))
	if err != nil || out.Kind != channels.RetryAfter || out.Reason != "connect" || out.Ambiguous {
		t.Error(out, err)
	}
}

func TestASenderOfOneEnvironmentHasNoOther(t *testing.T) {
	sim := start(t, apnssim.Options{})
	s := sender(t, sim, func(o *apns.Options) { o.SandboxURL = "" })
	m := message(apnssim.Token("badtoken", "x"))
	if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.TokenGone {
		t.Error(out, err)
	}
	m.Target.Environment = apns.Sandbox
	_, err := s.Send(t.Context(), m)
	if me, ok := errors.AsType[*channels.MessageError](err); !ok || me.Field != "target.environment" {
		t.Error(err)
	}
}

func TestWhatAPhoneSaysOfItselfStopsNobodyElse(t *testing.T) {
	sim := start(t, apnssim.Options{Topics: []string{"com.example.shop"}})
	s := sender(t, sim, nil)
	m := message(apnssim.Token("ok", "x"))
	m.Target.Topic = "com.example.elsewhere"
	if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.TokenGone || out.Reason != "TopicDisallowed" || out.Scope != "" {
		t.Error(out, err)
	}
	m = message(apnssim.Token("badkey", "x"))
	m.Target.Environment = apns.Sandbox
	if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Rejected || out.Scope != "" {
		t.Error(out, err)
	}
	// The app's own words are the operator's to correct.
	own := sender(t, sim, func(o *apns.Options) { o.Topic = "com.example.typo" })
	if out, err := own.Send(t.Context(), message(apnssim.Token("ok", "x"))); err != nil || out.Kind != channels.Misconfigured || out.Scope != channels.ScopeCredential {
		t.Error(out, err)
	}
}

func TestAKeyOfTheSandboxAloneFindsItsTokensThere(t *testing.T) {
	production, sandbox := start(t, apnssim.Options{}), start(t, apnssim.Options{Sandbox: true})
	p8, err := production.AddKey(apnssim.ProviderKey{Team: "DEVTEAM001", ID: "SANDBOXKEY", Environment: apnssim.Sandbox})
	if err != nil {
		t.Fatal(err)
	}
	sandbox.Share(production)
	s := sender(t, production, func(o *apns.Options) {
		o.TeamID, o.KeyID, o.PrivateKeyPEM, o.SandboxURL = "DEVTEAM001", "SANDBOXKEY", p8, sandbox.URL()
		production.RootCAs().AppendCertsFromPEM(sandbox.CertificatePEM())
	})
	token := apnssim.Token("ok", "x")
	if out, err := s.Send(t.Context(), message(token)); err != nil || out.Kind != channels.Accepted || out.Environment != apns.Sandbox {
		t.Errorf("%+v %v", out, err)
	}
	// What is not of the sandbox needs another key: a person must act.
	sandbox.Forget(token)
	if out, err := s.Send(t.Context(), message(token)); err != nil || out.Kind != channels.Misconfigured || out.Reason != "BadEnvironmentKeyInToken" || out.Environment != "" {
		t.Errorf("%+v %v", out, err)
	}
}
