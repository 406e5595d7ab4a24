package fcm_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/fcm"
	"github.com/footfall-engage/footfall/channels/fcm/fcmsim"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// phone collects what the simulator delivered.
type phone struct {
	mu  sync.Mutex
	got []fcmsim.Delivered
}

func (p *phone) accept(d fcmsim.Delivered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, d)
}

func (p *phone) to(token string) (got []fcmsim.Delivered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.got {
		if d.Token == token {
			got = append(got, d)
		}
	}
	return got
}

func start(t testing.TB, o fcmsim.Options) *fcmsim.Server {
	t.Helper()
	sim, err := fcmsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	return sim
}

func sender(t testing.TB, sim *fcmsim.Server, change func(*fcm.Options)) *fcm.Sender {
	t.Helper()
	o := fcm.Options{CredentialsJSON: sim.Credentials(), Endpoint: sim.URL()}
	if change != nil {
		change(&o)
	}
	s, err := fcm.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func message(token string) channels.Message {
	return channels.Message{
		AttemptID: "attempt-" + token, DeliveryID: "delivery-1", CampaignID: "rainy-day",
		Target: channels.Target{Provider: channels.FCM, Token: channels.Token(token)},
		Title:  "Umbrella?", Body: "It rains at your shop", HighPrio: true,
	}
}

func replaced(b []byte, old, with string) []byte {
	return bytes.ReplaceAll(b, []byte(old), []byte(with))
}

func requests(sim *fcmsim.Server, token string) (n int) {
	for _, r := range sim.Requests() {
		if r.Token == token {
			n++
		}
	}
	return n
}

func TestRepeatReplacesUnderTheSameTag(t *testing.T) {
	var p phone
	sim := start(t, fcmsim.Options{OnAccept: p.accept})
	s := sender(t, sim, nil)
	for _, kind := range []string{"outage-2", "quota-1", "drop"} {
		token := fcmsim.Token(kind, "bob")
		var last channels.Outcome
		for range 3 {
			out, err := s.Send(t.Context(), message(token))
			if err != nil {
				t.Fatal(err)
			}
			last = out
		}
		if last.Kind != channels.Accepted {
			t.Errorf("%s: the third attempt is %+v", kind, last)
		}
		got := p.to(token)
		if len(got) == 0 {
			t.Errorf("%s: nothing arrived", kind)
		}
		for _, d := range got {
			if d.Tag != "attempt-"+token || d.CollapseKey != d.Tag || d.MessageID != "delivery-1" {
				t.Errorf("%s: tag %q, collapse key %q, message %q", kind, d.Tag, d.CollapseKey, d.MessageID)
			}
		}
	}
	if n := sim.Accepted()["attempt-"+fcmsim.Token("drop", "bob")]; n != 3 {
		t.Errorf("the audit saw %d accepted pushes of the dropped one, want 3", n)
	}
}

func TestMessageArrivesWhole(t *testing.T) {
	var p phone
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	sim := start(t, fcmsim.Options{OnAccept: p.accept})
	s := sender(t, sim, func(o *fcm.Options) {
		o.ChannelID = "offers"
		o.Now = func() time.Time { return now }
	})
	m := message("plain")
	m.DeepLink, m.ImageURL = "shop://umbrella", "https://img.example/u.png"
	m.Data = map[string]string{"colour": "rød"}
	m.ExpiresAt = now.Add(90*time.Minute + 400*time.Millisecond)
	if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Accepted {
		t.Fatal(out, err)
	}
	got := p.to("plain")
	if len(got) != 1 {
		t.Fatalf("%d deliveries", len(got))
	}
	golden(t, "message.json", got[0].Raw)
	if got[0].TTL != 90*time.Minute || !got[0].High || got[0].Data["colour"] != "rød" || got[0].ImageURL != m.ImageURL {
		t.Errorf("%+v", got[0])
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(want), bytes.TrimSpace(got)) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLargestMessagePasses(t *testing.T) {
	sim := start(t, fcmsim.Options{})
	s := sender(t, sim, nil)
	m := message("plain")
	m.Body = ""
	rest := len(m.Title) + len("footfall_message_id"+m.DeliveryID+"footfall_campaign_id"+m.CampaignID+m.AttemptID)
	m.Body = strings.Repeat("b", 4096-rest)
	if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Accepted {
		t.Error(out, err)
	}
	m.Body += "b"
	var me *channels.MessageError
	if _, err := s.Send(t.Context(), m); !errors.As(err, &me) || me.Code != channels.TooLong || me.Field != "body" {
		t.Error(err)
	}
}

func TestExpiredAccessTokenIsRenewedOnce(t *testing.T) {
	sim := start(t, fcmsim.Options{})
	s := sender(t, sim, nil)
	for i := range 3 {
		if out, err := s.Send(t.Context(), message("plain")); err != nil || out.Kind != channels.Accepted {
			t.Fatal(i, out, err)
		}
		sim.ExpireTokens()
	}
	if n := sim.TokensIssued(); n != 3 {
		t.Errorf("%d access tokens, want 3", n)
	}
}

func TestLasting401HaltsWithoutAskingForMoreTokens(t *testing.T) {
	sim := start(t, fcmsim.Options{})
	s := sender(t, sim, nil)
	token := fcmsim.Token("unauthorized", "x")
	for range 5 {
		out, err := s.Send(t.Context(), message(token))
		if err != nil || out.Kind != channels.Misconfigured || out.Reason != "UNAUTHENTICATED" || out.Status != 401 {
			t.Fatal(out, err)
		}
	}
	if n := sim.TokensIssued(); n != 2 {
		t.Errorf("%d access tokens, want the first and one renewal", n)
	}
	if n := requests(sim, token); n != 6 {
		t.Errorf("%d requests, want 2 for the first send and 1 for each later", n)
	}
}

func TestParallelSendsShareOneTokenFetch(t *testing.T) {
	sim := start(t, fcmsim.Options{})
	s := sender(t, sim, nil)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if out, err := s.Send(t.Context(), message(fmt.Sprintf("ok-%d", i))); err != nil || out.Kind != channels.Accepted {
				t.Error(out, err)
			}
		})
	}
	wg.Wait()
	if n := sim.TokensIssued(); n != 1 {
		t.Errorf("%d token requests", n)
	}
}

func TestWrongCredentialsAreMisconfigured(t *testing.T) {
	sim, other := start(t, fcmsim.Options{Projects: []string{"elsewhere"}}), start(t, fcmsim.Options{})
	t.Run("key of another account", func(t *testing.T) {
		creds := replaced(other.Credentials(), other.URL(), sim.URL())
		s := sender(t, sim, func(o *fcm.Options) { o.CredentialsJSON = creds })
		out, err := s.Send(t.Context(), message("plain"))
		if err != nil || out.Kind != channels.Misconfigured || out.Reason != "invalid_grant" {
			t.Error(out, err)
		}
	})
	for project, reason := range map[string]string{"elsewhere": "PERMISSION_DENIED", "nowhere": "NOT_FOUND"} {
		t.Run("project "+project, func(t *testing.T) {
			s := sender(t, sim, func(o *fcm.Options) { o.ProjectID = project })
			out, err := s.Send(t.Context(), message("plain"))
			if err != nil || out.Kind != channels.Misconfigured || out.Reason != reason || out.Scope != channels.ScopeCredential {
				t.Error(out, err)
			}
		})
	}
	t.Run("not a key file", func(t *testing.T) {
		var oe *fcm.OptionError
		if _, err := fcm.New(fcm.Options{CredentialsJSON: []byte(`{"type":"x","private_key":"secret"}`)}); !errors.As(err, &oe) || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	})
}

func TestUnreachableProviderIsNotAmbiguous(t *testing.T) {
	sim, gone := start(t, fcmsim.Options{}), start(t, fcmsim.Options{})
	_ = gone.Close()
	t.Run("push", func(t *testing.T) {
		s := sender(t, sim, func(o *fcm.Options) { o.Endpoint = gone.URL() })
		out, err := s.Send(t.Context(), message("plain"))
		if err != nil || out.Kind != channels.RetryAfter || out.Reason != "connect" || out.Ambiguous {
			t.Error(out, err)
		}
	})
	t.Run("access token", func(t *testing.T) {
		s := sender(t, gone, func(o *fcm.Options) { o.Endpoint = sim.URL() })
		out, err := s.Send(t.Context(), message("plain"))
		if err != nil || out.Kind != channels.RetryAfter || out.Reason != "oauth_unavailable" || out.Ambiguous {
			t.Error(out, err)
		}
	})
}

func TestDeadlineAfterSendingIsAmbiguous(t *testing.T) {
	sim := start(t, fcmsim.Options{})
	s := sender(t, sim, func(o *fcm.Options) { o.Timeout = 300 * time.Millisecond })
	if _, err := s.Send(t.Context(), message("warm")); err != nil {
		t.Fatal(err)
	}
	out, err := s.Send(t.Context(), message(fcmsim.Token("slow", "x")))
	if err != nil || out.Kind != channels.RetryAfter || !out.Ambiguous || out.Reason != "timeout" || out.Status != 0 {
		t.Error(out, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Send(ctx, message("plain")); !errors.Is(err, context.Canceled) {
		t.Error("an ended context must be an error:", err)
	}
}

func TestLogsCarryNoSecret(t *testing.T) {
	var buf bytes.Buffer
	sim := start(t, fcmsim.Options{})
	s := sender(t, sim, func(o *fcm.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	for _, kind := range []string{"ok", "invalid", "drop"} {
		m := message(fcmsim.Token(kind, "SECRETTOKEN"))
		m.AttemptID = "attempt-7"
		if _, err := s.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if got := buf.String(); !strings.Contains(got, "attempt-7") || strings.Contains(got, "SECRETTOKEN") || strings.Contains(got, "Umbrella") || strings.Contains(got, "ya29") {
		t.Error(got)
	}
}

func TestClosedSenderSaysSo(t *testing.T) {
	sim := start(t, fcmsim.Options{})
	s := sender(t, sim, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(t.Context(), message("plain")); err == nil {
		t.Error("no error")
	}
}
