package apns_test

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
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/apns"
	"github.com/footfall-engage/footfall/channels/apns/apnssim"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// phone collects what the simulator delivered.
type phone struct {
	mu  sync.Mutex
	got []apnssim.Delivered
}

func (p *phone) accept(d apnssim.Delivered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, d)
}

func (p *phone) to(token string) (got []apnssim.Delivered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.got {
		if d.Token == token {
			got = append(got, d)
		}
	}
	return got
}

// clock is a clock that the test moves.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}
func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func start(t testing.TB, o apnssim.Options) *apnssim.Server {
	t.Helper()
	sim, err := apnssim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	return sim
}

func sender(t testing.TB, sim *apnssim.Server, change func(*apns.Options)) *apns.Sender {
	t.Helper()
	team, kid, p8 := sim.Key()
	o := apns.Options{
		TeamID: team, KeyID: kid, PrivateKeyPEM: p8, Topic: "com.example.shop",
		ProductionURL: sim.URL(), SandboxURL: sim.URL(), RootCAs: sim.RootCAs(),
	}
	if change != nil {
		change(&o)
	}
	s, err := apns.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func message(token string) channels.Message {
	return channels.Message{
		AttemptID: "attempt-" + token[:16], DeliveryID: "delivery-1", CampaignID: "rainy-day",
		Target: channels.Target{Provider: channels.APNs, Token: channels.Token(token)},
		Title:  "Umbrella?", Body: "It rains at your shop", HighPrio: true,
	}
}

func requests(sim *apnssim.Server, token string) (n int) {
	for _, r := range sim.Requests() {
		if r.Token == token {
			n++
		}
	}
	return n
}

func TestEachAnswerHasItsOutcomeAndIsOneRequest(t *testing.T) {
	c := newClock()
	gone := c.now().Add(-time.Hour)
	sim := start(t, apnssim.Options{Now: c.now})
	s := sender(t, sim, func(o *apns.Options) { o.Now = c.now })
	for _, c := range []struct {
		kind string
		want channels.Outcome
		reqs int // 0 means 1
	}{
		{kind: "ok", want: channels.Outcome{Kind: channels.Accepted, Status: 200}},
		{kind: "unregistered", want: channels.Outcome{Kind: channels.TokenGone, Status: 410, Reason: "Unregistered", GoneSince: gone}},
		{kind: "expired", want: channels.Outcome{Kind: channels.TokenGone, Status: 410, Reason: "ExpiredToken", GoneSince: gone}},
		{kind: "badtoken", want: channels.Outcome{Kind: channels.TokenGone, Status: 400, Reason: "BadDeviceToken"}},
		{kind: "nottopic", want: channels.Outcome{Kind: channels.TokenGone, Status: 400, Reason: "DeviceTokenNotForTopic"}},
		{kind: "forbidden", want: channels.Outcome{Kind: channels.Misconfigured, Status: 403, Reason: "Forbidden", Scope: channels.ScopeCredential}},
		{kind: "badkey", want: channels.Outcome{Kind: channels.Misconfigured, Status: 403, Reason: "BadEnvironmentKeyInToken", Scope: channels.ScopeCredential}},
		{kind: "quota", want: channels.Outcome{Kind: channels.RetryAfter, Status: 429, Reason: "TooManyRequests", RetryAfter: time.Second, Scope: channels.ScopeDevice}},
		{kind: "outage", want: channels.Outcome{Kind: channels.RetryAfter, Status: 503, Reason: "ServiceUnavailable", RetryAfter: time.Second}},
		{kind: "internal", want: channels.Outcome{Kind: channels.RetryAfter, Status: 500, Reason: "InternalServerError", RetryAfter: 15 * time.Minute}},
		{kind: "html502", want: channels.Outcome{Kind: channels.RetryAfter, Status: 502, Reason: "http_502"}},
		{kind: "drop", want: channels.Outcome{Kind: channels.RetryAfter, Reason: "connection_lost", Ambiguous: true}},
		{kind: "kill", want: channels.Outcome{Kind: channels.RetryAfter, Reason: "connection_lost", Ambiguous: true}},
		// What Apple did not process is repeated within the attempt.
		{kind: "refuse", want: channels.Outcome{Kind: channels.Accepted, Status: 200}, reqs: 2},
		{kind: "goaway", want: channels.Outcome{Kind: channels.Accepted, Status: 200}, reqs: 2},
		{kind: "idle", want: channels.Outcome{Kind: channels.Accepted, Status: 200}, reqs: 2},
		{kind: "shutdown", want: channels.Outcome{Kind: channels.Accepted, Status: 200}, reqs: 2},
		{kind: "refuse-99", want: channels.Outcome{Kind: channels.RetryAfter, Reason: "connection_lost"}, reqs: 5},
	} {
		t.Run(c.kind, func(t *testing.T) {
			token := apnssim.Token(c.kind, "ada")
			got, err := s.Send(t.Context(), message(token))
			if err != nil {
				t.Fatal(err)
			}
			if got.Kind == channels.Accepted {
				if got.ProviderID == "" {
					t.Error("no provider id")
				}
				got.ProviderID = ""
			}
			if refused := got.Status >= 400; refused != (got.Raw != "") {
				t.Errorf("raw %q", got.Raw)
			}
			got.Raw = ""
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if n := requests(sim, token); n != max(c.reqs, 1) {
				t.Errorf("%d requests, want %d", n, max(c.reqs, 1))
			}
		})
	}
}

func TestRepeatReplacesUnderTheSameIDs(t *testing.T) {
	var p phone
	sim := start(t, apnssim.Options{OnAccept: p.accept})
	s := sender(t, sim, nil)
	for _, kind := range []string{"outage-2", "quota-1", "drop", "kill"} {
		token := apnssim.Token(kind, "bob")
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
			t.Fatalf("%s: nothing arrived", kind)
		}
		for _, d := range got {
			if d.CollapseID != message(token).AttemptID || d.APNsID != got[0].APNsID || d.MessageID != "delivery-1" {
				t.Errorf("%s: %+v", kind, d)
			}
		}
	}
}

func TestMessageArrivesWhole(t *testing.T) {
	var p phone
	c := newClock()
	sim := start(t, apnssim.Options{OnAccept: p.accept, Now: c.now, Topics: []string{"com.example.other"}})
	s := sender(t, sim, func(o *apns.Options) { o.Now = c.now })
	m := message(apnssim.Token("ok", "whole"))
	m.Target.Topic, m.Target.Environment = "com.example.other", apns.Sandbox
	m.DeepLink, m.ImageURL = "shop://umbrella", "https://img.example/u.png"
	m.Data = map[string]string{"colour": "rød"}
	m.ExpiresAt = c.now().Add(time.Hour)
	m.HighPrio = false
	if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Accepted {
		t.Fatal(out, err)
	}
	d := p.to(string(m.Target.Token))[0]
	golden(t, "payload.json", d.Raw)
	if d.Priority != 5 || !d.Expiration.Equal(m.ExpiresAt) || d.Topic != "com.example.other" || d.Title != m.Title || d.Body != m.Body {
		t.Errorf("%+v", d)
	}
	m.Target.Topic = ""
	if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Misconfigured || out.Reason != "TopicDisallowed" {
		t.Error(out, err)
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

func TestMalformedMessagesAreRefusedWithoutARequest(t *testing.T) {
	c := newClock()
	sim := start(t, apnssim.Options{Now: c.now})
	s := sender(t, sim, func(o *apns.Options) { o.Now = c.now; o.Topic = "" })
	for _, k := range []struct {
		name   string
		change func(*channels.Message)
		code   channels.MessageErrorCode
		field  string
	}{
		{"no token", func(m *channels.Message) { m.Target.Token = "" }, channels.Missing, "target.token"},
		{"token not hex", func(m *channels.Message) { m.Target.Token = "../../x" }, channels.Invalid, "target.token"},
		{"no topic", func(m *channels.Message) { m.Target.Topic = "" }, channels.Missing, "target.topic"},
		{"topic with a line break", func(m *channels.Message) { m.Target.Topic = "a\nb" }, channels.Invalid, "target.topic"},
		{"environment", func(m *channels.Message) { m.Target.Environment = "moon" }, channels.Invalid, "target.environment"},
		{"no attempt id", func(m *channels.Message) { m.AttemptID = "" }, channels.Missing, "attempt_id"},
		{"long attempt id", func(m *channels.Message) { m.AttemptID = strings.Repeat("a", 65) }, channels.TooLong, "attempt_id"},
		{"long body", func(m *channels.Message) { m.Body = strings.Repeat("b", 4096) }, channels.TooLong, "body"},
		{"long data", func(m *channels.Message) { m.Data = map[string]string{"a": strings.Repeat("x", 4096)} }, channels.TooLong, "data.a"},
		{"reserved", func(m *channels.Message) { m.Data = map[string]string{"aps": "x"} }, channels.Reserved, "data.aps"},
		{"expired", func(m *channels.Message) { m.ExpiresAt = c.now() }, channels.Expired, "expires_at"},
	} {
		t.Run(k.name, func(t *testing.T) {
			m := message(apnssim.Token("ok", "x"))
			m.Target.Topic = "com.example.shop"
			k.change(&m)
			_, err := s.Send(t.Context(), m)
			var me *channels.MessageError
			if !errors.As(err, &me) || me.Code != k.code || me.Field != k.field {
				t.Errorf("got %v, want %s of %s", err, k.code, k.field)
			}
		})
	}
	if n := len(sim.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestOneConnectionServesManyWithinTheLimit(t *testing.T) {
	sim := start(t, apnssim.Options{MaxStreams: 50, Latency: 2 * time.Millisecond})
	s := sender(t, sim, func(o *apns.Options) { o.MaxConns = 1 })
	parallel(t, s, 200, 5)
	if n := sim.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if n := sim.PeakStreams(); n > 45 || n < 20 {
		t.Errorf("%d streams at a time, want at most 0.9 of 50 and good use of them", n)
	}
}

func TestLimitOfOneStaysOneConnectionWithoutErrors(t *testing.T) {
	sim := start(t, apnssim.Options{MaxStreams: 1})
	s := sender(t, sim, nil)
	parallel(t, s, 100, 3)
	if c, p := sim.Connections(), sim.PeakStreams(); c != 1 || p != 1 {
		t.Errorf("%d connections, %d streams at a time", c, p)
	}
}

func TestLimitThatFallsAtEachRejectionLosesNothing(t *testing.T) {
	sim := start(t, apnssim.Options{MaxStreams: 100, DropOnReject: true, Latency: time.Millisecond})
	s := sender(t, sim, nil)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			kind, want := "ok", channels.Accepted
			if i%10 == 0 {
				kind, want = "badtoken", channels.TokenGone
			}
			token := apnssim.Token(kind, fmt.Sprint(i))
			if out, err := s.Send(t.Context(), message(token)); err != nil || out.Kind != want {
				t.Errorf("%s: %+v %v", kind, out, err)
			}
		})
	}
	wg.Wait()
}

func TestGoAwayUnderLoadLosesAndDoublesNothing(t *testing.T) {
	var goAway atomic.Int64
	var sim *apnssim.Server
	sim = start(t, apnssim.Options{MaxStreams: 100, Latency: time.Millisecond, OnAccept: func(apnssim.Delivered) {
		if n := goAway.Add(1); n%200 == 0 {
			go sim.GoAway()
		}
	}})
	s := sender(t, sim, nil)
	parallel(t, s, 80, 20)
	for id, n := range sim.Accepted() {
		if n != 1 {
			t.Errorf("%s was accepted %d times", id, n)
		}
	}
	if n := len(sim.Accepted()); n != 1600 {
		t.Errorf("%d accepted, want 1600", n)
	}
	if n := sim.Connections(); n < 3 {
		t.Errorf("only %d connections: no GOAWAY was tested", n)
	}
}

// parallel sends each times from workers, all of which must be accepted.
func parallel(t *testing.T, s *apns.Sender, workers, each int) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				m := message(apnssim.Token("ok", fmt.Sprintf("%d.%d", w, i)))
				m.AttemptID = fmt.Sprintf("a-%d-%d", w, i)
				if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Accepted {
					t.Errorf("%+v %v", out, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestProviderTokenLivesFiftyMinutes(t *testing.T) {
	c := newClock()
	sim := start(t, apnssim.Options{Now: c.now, MinTokenUpdate: 20 * time.Minute})
	s := sender(t, sim, func(o *apns.Options) { o.Now = c.now })
	send := func() channels.Outcome {
		t.Helper()
		out, err := s.Send(t.Context(), message(apnssim.Token("ok", "t")))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for range 8 { // 0 to 140 minutes
		if out := send(); out.Kind != channels.Accepted {
			t.Fatal(out)
		}
		c.advance(20 * time.Minute)
	}
	if n := sim.ProviderTokens(); n != 3 {
		t.Errorf("%d provider tokens, want one at 0, 60 and 120 minutes", n)
	}
}

func TestExpiredProviderTokenIsRenewedOnceAndNotTooOften(t *testing.T) {
	c := newClock()
	sim := start(t, apnssim.Options{Now: c.now, MinTokenUpdate: 20 * time.Minute})
	s := sender(t, sim, func(o *apns.Options) { o.Now = c.now })
	send := func() channels.Outcome {
		t.Helper()
		out, err := s.Send(t.Context(), message(apnssim.Token("ok", "t")))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	send()
	sim.ExpireTokens()
	if out := send(); out.Kind != channels.Misconfigured || out.Reason != "ExpiredProviderToken" {
		t.Errorf("a young token must not be replaced: %+v", out)
	}
	c.advance(25 * time.Minute)
	if out := send(); out.Kind != channels.Accepted {
		t.Errorf("an older one must: %+v", out)
	}
	if n := sim.ProviderTokens(); n != 2 {
		t.Errorf("%d provider tokens", n)
	}
}

func TestWrongKeysAreMisconfigured(t *testing.T) {
	sim, other := start(t, apnssim.Options{}), start(t, apnssim.Options{})
	_, _, p8 := other.Key()
	s := sender(t, sim, func(o *apns.Options) { o.PrivateKeyPEM = p8 })
	out, err := s.Send(t.Context(), message(apnssim.Token("ok", "x")))
	if err != nil || out.Kind != channels.Misconfigured || out.Reason != "InvalidProviderToken" {
		t.Error(out, err)
	}
	var oe *apns.OptionError
	if _, err := apns.New(apns.Options{TeamID: "t", KeyID: "k", PrivateKeyPEM: []byte("secret")}); !errors.As(err, &oe) || oe.Field != "private_key_pem" || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestUnreachableProviderIsNotAmbiguous(t *testing.T) {
	sim := start(t, apnssim.Options{})
	s := sender(t, sim, nil)
	_ = sim.Close()
	for range 3 { // also while the next dial is held back
		out, err := s.Send(t.Context(), message(apnssim.Token("ok", "x")))
		if err != nil || out.Kind != channels.RetryAfter || out.Reason != "connect" || out.Ambiguous {
			t.Error(out, err)
		}
	}
}

func TestUntrustedCertificateIsNotAmbiguous(t *testing.T) {
	sim := start(t, apnssim.Options{})
	s := sender(t, sim, func(o *apns.Options) { o.RootCAs = nil })
	out, err := s.Send(t.Context(), message(apnssim.Token("ok", "x")))
	if err != nil || out.Kind != channels.RetryAfter || out.Reason != "connect" || out.Ambiguous {
		t.Error(out, err)
	}
}

func TestDeadlineAfterSendingIsAmbiguous(t *testing.T) {
	sim := start(t, apnssim.Options{})
	s := sender(t, sim, func(o *apns.Options) { o.Timeout = 300 * time.Millisecond })
	if _, err := s.Send(t.Context(), message(apnssim.Token("ok", "warm"))); err != nil {
		t.Fatal(err)
	}
	out, err := s.Send(t.Context(), message(apnssim.Token("slow", "x")))
	if err != nil || out.Kind != channels.RetryAfter || !out.Ambiguous || out.Reason != "timeout" {
		t.Error(out, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Send(ctx, message(apnssim.Token("ok", "x"))); !errors.Is(err, context.Canceled) {
		t.Error("an ended context must be an error:", err)
	}
}

func TestLogsCarryNoSecret(t *testing.T) {
	var buf bytes.Buffer
	sim := start(t, apnssim.Options{})
	s := sender(t, sim, func(o *apns.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	for _, kind := range []string{"ok", "unregistered", "kill"} {
		m := message(apnssim.Token(kind, "x"))
		m.AttemptID = "attempt-7"
		if _, err := s.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(buf.String(), string(m.Target.Token)) {
			t.Error("the log has the token")
		}
	}
	if got := buf.String(); !strings.Contains(got, "attempt-7") || strings.Contains(got, "Umbrella") || strings.Contains(got, "eyJ") {
		t.Error(got)
	}
}

func TestClosedSenderSaysSo(t *testing.T) {
	sim := start(t, apnssim.Options{})
	s := sender(t, sim, nil)
	if _, err := s.Send(t.Context(), message(apnssim.Token("ok", "x"))); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(t.Context(), message(apnssim.Token("ok", "x"))); err == nil {
		t.Error("no error")
	}
}
