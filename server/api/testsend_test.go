package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// Test implements api.Push.
func (w *world) Test(_ context.Context, t *api.TestSend) (*api.TestOutcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return nil, w.broken
	}
	w.tested = append(w.tested, *t)
	o := w.outcome
	return &o, nil
}

func (w *world) lastTest() api.TestSend {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tested[len(w.tested)-1]
}

type testAnswer struct {
	Outcome, Words, Raw, Title, Body string
	Reason                           string
	Status                           int
	TookMS                           float64 `json:"took_ms"`
	DryRun                           bool    `json:"dry_run"`
	Warnings                         []api.FieldError
}

func TestATestSendSaysWhatTheProviderSaid(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.furnish(beta)
	s.world.outcome = api.TestOutcome{
		Provider: "fcm", Outcome: "token_gone", Reason: "UNREGISTERED", Status: 404, Raw: `{"error":{"code":404}}`, Took: 12500 * time.Microsecond,
	}
	send := func(body string) answer {
		return s.do(request{method: "POST", path: "/api/v1/apps/app/test-send", body: body})
	}
	var a testAnswer
	send(`{"install":"phone-1","content":{"title":"Hello {{ profile.attributes.city }}","body":"{{ place.name }}{{ profile.attributes.gone }}","push":{"subtitle":"{{ device.platform }}"}},
		"values":{"place":{"name":"Here"}}}`).want(http.StatusOK, &a)
	if a.Outcome != "token_gone" || a.Reason != "UNREGISTERED" || a.Status != 404 || a.Raw != `{"error":{"code":404}}` || a.TookMS != 12.5 || a.Words == "" {
		t.Errorf("answer %+v", a)
	}
	if a.Title != "Hello secret-of-alpha" || a.Body != "Here" || len(a.Warnings) != 1 || a.Warnings[0].Field != "content.body" {
		t.Errorf("rendered %+v", a)
	}
	got := s.world.lastTest()
	if got.Workspace != alpha || got.App != "app" || got.Install != "phone-1" || got.Send.Title != a.Title || got.Send.Push.Subtitle != "android" ||
		!strings.HasPrefix(got.Send.Delivery, "test-") || got.Send.ExpiresAt.Sub(start) <= 0 {
		t.Errorf("sent %+v", got)
	}
	send(`{"token":"secret-token","provider":"fcm","campaign":"rain","arm":"umbrella","dry_run":true}`).want(http.StatusOK, &a)
	got = s.world.lastTest()
	if got.Target == nil || got.Target.Token.Reveal() != "secret-token" || !got.DryRun || got.Send.Campaign != "rain" || got.Send.Title == "" || !a.DryRun {
		t.Errorf("sent %+v", got)
	}
	if log := s.log.String(); !strings.Contains(log, `"test send"`) || strings.Contains(log, "secret-token") || strings.Contains(log, "Hello") {
		t.Errorf("the log has %s", log)
	}
}

func TestATestSendIsRefusedWithTheFieldThatIsWrong(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	for _, c := range []struct {
		body, field string
		status      int
		code        engage.Code
	}{
		{`{"content":{"title":"x"}}`, "install", 422, engage.Invalid},
		{`{"install":"a","token":"b","content":{"title":"x"}}`, "token", 422, engage.Invalid},
		{`{"token":"b","content":{"title":"x"}}`, "provider", 422, engage.Invalid},
		{`{"token":"b","provider":"sms","content":{"title":"x"}}`, "provider", 422, engage.Invalid},
		{`{"install":"a","topic":"b","content":{"title":"x"}}`, "environment", 422, engage.Invalid},
		{`{"token":"b","provider":"apns","environment":"test","content":{"title":"x"}}`, "environment", 422, engage.Invalid},
		{`{"token":"` + strings.Repeat("t", 5000) + `","provider":"fcm","content":{"title":"x"}}`, "token", 422, engage.Invalid},
		{`{"install":"a"}`, "content", 422, engage.Invalid},
		{`{"install":"a","campaign":"rain","content":{"title":"x"}}`, "content", 422, engage.Invalid},
		{`{"install":"a","arm":"b","content":{"title":"x"}}`, "arm", 422, engage.Invalid},
		{`{"install":"a","campaign":"snow"}`, "campaign", 404, engage.NotFound},
		{`{"install":"a","campaign":"rain","arm":"snow"}`, "arm", 404, engage.NotFound},
		{`{"install":"a","content":{"title":"{{ x }}"}}`, "content.title", 422, engage.Invalid},
		{`{"install":"a","content":{"title":"x","actions":[{"id":"","label":"x"}]}}`, "content.actions[0].id", 422, engage.Invalid},
		{`{"install":"a","content":{"title":"x","push":{"priority":"fast"}}}`, "content.push.priority", 422, engage.Invalid},
		{`{"install":"a","content":{"title":"x","links":[]}}`, "content.links", 422, engage.Invalid},
	} {
		s.do(request{method: "POST", path: "/api/v1/apps/app/test-send", body: c.body}).wantProblem(c.status, c.code, c.field)
	}
	s.do(request{method: "POST", path: "/api/v1/apps/none/test-send", body: `{"install":"a","content":{"title":"x"}}`}).wantProblem(404, engage.NotFound, "id")
	s.do(request{method: "POST", path: "/api/v1/apps/app/test-send", key: s.keys[alpha][catalog.Viewer], body: `{}`}).wantProblem(403, engage.Forbidden, "")
	if n := len(s.world.tested); n != 0 {
		t.Errorf("%d were sent", n)
	}
}

func TestTestSendsAreLimitedPerWorkspace(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.furnish(beta)
	send := func(key string) answer {
		return s.do(request{method: "POST", path: "/api/v1/apps/app/test-send", key: key, body: `{"install":"phone-1","content":{"title":"x"}}`})
	}
	a, b := s.keys[alpha][catalog.Marketer], s.keys[beta][catalog.Marketer]
	for range 10 {
		send(a).want(http.StatusOK)
	}
	send(a).wantProblem(http.StatusTooManyRequests, engage.RateLimited, "")
	send(b).want(http.StatusOK)
	s.clock.Advance(2 * time.Second)
	send(a).want(http.StatusOK)
	send(a).wantProblem(http.StatusTooManyRequests, engage.RateLimited, "")
}
