package api_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// hooks is the sending side of webhooks as a test has it: every webhook has one dead
// letter, "<workspace>-1", until it is retried or deleted.
type hooks struct {
	mu   sync.Mutex
	gone map[string]string // workspace -> how
}

func (*hooks) CheckURL(url string) error {
	if !strings.HasPrefix(url, "https://") {
		return errors.New("must begin with https://")
	}
	return nil
}

func (h *hooks) Health(_ context.Context, ws, _ string) (api.WebhookHealth, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone[ws] != "" {
		return api.WebhookHealth{}, nil
	}
	return api.WebhookHealth{DeadLetters: 1, FailingSince: start, Last: &api.WebhookAnswer{At: start, Status: 500, Reason: "http_500"}}, nil
}

func (*hooks) Test(_ context.Context, _, id string) (*api.WebhookTest, error) {
	return &api.WebhookTest{Event: "ping-" + id, Outcome: "accepted", Answer: api.WebhookAnswer{At: start, Status: 200, Body: "thanks"}}, nil
}

func (h *hooks) Letters(ctx context.Context, ws, id, cursor string, limit int) (api.Page[api.WebhookLetter], error) {
	l, err := h.Letter(ctx, ws, id, ws+"-1")
	if err != nil {
		return page[api.WebhookLetter](nil, cursor, limit)
	}
	return page([]api.WebhookLetter{*l}, cursor, limit)
}

func (h *hooks) Letter(_ context.Context, ws, _, event string) (*api.WebhookLetter, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if event != ws+"-1" || h.gone[ws] != "" {
		return nil, engage.Errorf(engage.NotFound, "event", "there is no such dead letter")
	}
	return &api.WebhookLetter{Event: event, Type: engage.WebhookEntered, Data: []byte(`{"profile_id":"` + ws + `"}`), Why: "refused", Attempts: 1}, nil
}

func (h *hooks) end(ctx context.Context, ws, event, how string) error {
	if _, err := h.Letter(ctx, ws, "", event); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone == nil {
		h.gone = map[string]string{}
	}
	h.gone[ws] = how
	return nil
}

func (h *hooks) Retry(ctx context.Context, ws, _, event string) error {
	return h.end(ctx, ws, event, "retried")
}

func (h *hooks) Delete(ctx context.Context, ws, _, event string) error {
	return h.end(ctx, ws, event, "deleted")
}

func (h *hooks) RetryAll(ctx context.Context, ws, _ string) (int, error) {
	if h.end(ctx, ws, ws+"-1", "retried") != nil {
		return 0, nil
	}
	return 1, nil
}

func (h *hooks) DeleteAll(ctx context.Context, ws, _ string) (int, error) {
	if h.end(ctx, ws, ws+"-1", "deleted") != nil {
		return 0, nil
	}
	return 1, nil
}

// of is how a workspace's dead letter went.
func (h *hooks) of(ws string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gone[ws]
}

func (s *site) hook(method, path, body string, header ...string) answer {
	s.t.Helper()
	r := request{method: method, path: "/api/v1/webhooks" + path, body: body, role: catalog.Admin, header: map[string]string{}}
	for i := 0; i+1 < len(header); i += 2 {
		r.header[header[i]] = header[i+1]
	}
	return s.do(r)
}

type hookView struct {
	Version int64
	Status  string
	URL     string
	Names   []string `json:"header_names"`
	Types   []string
	Secrets []struct{ ID, Secret string }
	Health  struct {
		DeadLetters int `json:"dead_letters"`
	}
}

func TestSecretsOfAWebhookAreShownOnceAndExchanged(t *testing.T) {
	s := newSite(t)
	var v hookView
	s.hook("PUT", "/crm", `{"url":"https://crm.example.com","headers":{"Authorization":"Bearer a-secret"},"types":["footfall.place.entered"]}`).want(201, &v)
	if len(v.Secrets) != 1 || !strings.HasPrefix(v.Secrets[0].Secret, "whsec_") || v.Status != "enabled" || v.Health.DeadLetters != 1 {
		t.Fatalf("made %+v", v)
	}
	first := v.Secrets[0]
	shown := func() string {
		return string(s.hook("GET", "/crm", "").want(200).body) + string(s.hook("GET", "", "").want(200).body)
	}
	if all := shown(); strings.Contains(all, "whsec_") || strings.Contains(all, "a-secret") || !strings.Contains(all, `"Authorization"`) || strings.Contains(all, "v1:") {
		t.Errorf("shown %s", all)
	}
	kept := s.catalog.Now().Webhook(alpha, "crm")
	if got, err := s.sealer.Open(kept.Secrets[0].Secret); err != nil || got.Reveal() != first.Secret {
		t.Errorf("kept %v, %v", got, err)
	}
	if got, err := s.sealer.Open(kept.Headers["Authorization"]); err != nil || got.Reveal() != "Bearer a-secret" {
		t.Errorf("kept %v, %v", got, err)
	}

	var second struct{ ID, Secret string }
	s.hook("POST", "/crm/secrets", `{}`).want(201, &second)
	if second.Secret == first.Secret || second.ID == first.ID || !strings.HasPrefix(second.Secret, "whsec_") {
		t.Errorf("made %+v", second)
	}
	s.hook("POST", "/crm/secrets", `{}`).wantProblem(409, engage.Conflict, "secrets")
	s.hook("DELETE", "/crm/secrets/"+first.ID, "").want(204)
	s.hook("DELETE", "/crm/secrets/"+first.ID, "").wantProblem(404, engage.NotFound, "secret")
	s.hook("DELETE", "/crm/secrets/"+second.ID, "").wantProblem(409, engage.Conflict, "secret")

	// A change keeps the secrets, and the headers unless it says others.
	s.hook("PUT", "/crm", `{"url":"https://other.example.com"}`).wantProblem(428, "precondition_required", "If-Match")
	v = hookView{}
	s.hook("PUT", "/crm", `{"url":"https://other.example.com","status":"paused"}`, "If-Match", "*").want(200, &v)
	if v.URL != "https://other.example.com" || v.Status != "paused" || len(v.Names) != 1 || len(v.Secrets) != 1 || v.Secrets[0].ID != second.ID || v.Secrets[0].Secret != "" || len(v.Types) != 0 {
		t.Errorf("changed to %+v", v)
	}
	s.hook("PUT", "/crm", `{"url":"https://other.example.com","headers":{}}`, "If-Match", `"1"`).wantProblem(412, engage.Conflict, "version")
	s.hook("PUT", "/crm", `{"url":"https://other.example.com","headers":{}}`, "If-Match", "*").want(200)
	if got := s.catalog.Now().Webhook(alpha, "crm"); len(got.Headers) != 0 {
		t.Errorf("headers %v", got.Headers)
	}
	s.hook("DELETE", "/crm", "").want(204)
	s.hook("GET", "/crm", "").wantProblem(404, engage.NotFound, "id")
}

func TestAWebhookThatCannotBeIsRefused(t *testing.T) {
	s := newSite(t)
	for field, body := range map[string]string{
		"url":                `{"url":"http://crm.example.com"}`,
		"types[0]":           `{"url":"https://crm.example.com","types":["footfall.ping"]}`,
		"headers.webhook-id": `{"url":"https://crm.example.com","headers":{"webhook-id":"a-secret"}}`,
		"status":             `{"url":"https://crm.example.com","status":"on"}`,
		"id":                 `{"id":"other","url":"https://crm.example.com"}`,
		"batch":              `{"url":"https://crm.example.com","batch":101}`,
		"places[0]":          `{"url":"https://crm.example.com","places":["a b"]}`,
	} {
		a := s.hook("PUT", "/crm", body)
		a.wantProblem(422, engage.Invalid, field)
		if strings.Contains(string(a.body), "a-secret") {
			t.Errorf("%s: the refusal shows the value", field)
		}
	}
	if s.catalog.Now().Webhook(alpha, "crm") != nil {
		t.Error("one was kept")
	}
	s.do(request{method: "PUT", path: "/api/v1/webhooks/crm", body: `{"url":"https://crm.example.com"}`, role: catalog.Marketer}).wantProblem(403, engage.Forbidden, "")
}

func TestDeadLettersAreListedSentAgainAndDeleted(t *testing.T) {
	s := newSite(t)
	s.hook("PUT", "/crm", `{"url":"https://crm.example.com"}`).want(201)
	var letters struct {
		Items []struct{ Event, Why string }
	}
	s.get("/api/v1/webhooks/crm/dead-letters").want(200, &letters)
	if len(letters.Items) != 1 || letters.Items[0].Event != "alpha-1" || letters.Items[0].Why != "refused" {
		t.Fatalf("%+v", letters)
	}
	s.get("/api/v1/webhooks/crm/dead-letters/alpha-1").want(200)
	s.get("/api/v1/webhooks/crm/dead-letters/none").wantProblem(404, engage.NotFound, "event")
	s.get("/api/v1/webhooks/none/dead-letters").wantProblem(404, engage.NotFound, "id")
	for _, body := range []string{`{}`, `{"event":"alpha-1","all":true}`} {
		s.hook("POST", "/crm/dead-letters/retry", body).wantProblem(422, engage.Invalid, "event")
	}
	s.hook("POST", "/crm/dead-letters/retry", `{"event":"none"}`).wantProblem(404, engage.NotFound, "event")
	var n struct{ Count int }
	s.hook("POST", "/crm/dead-letters/retry", `{"all":true}`).want(200, &n)
	if n.Count != 1 || s.hooks.gone[alpha] != "retried" {
		t.Errorf("%d, %v", n.Count, s.hooks.gone)
	}
	s.hooks.gone = nil
	s.hook("DELETE", "/crm/dead-letters/alpha-1", "").want(204)
	s.hook("DELETE", "/crm/dead-letters", "").want(200, &n)
	if n.Count != 0 || s.hooks.gone[alpha] != "deleted" {
		t.Errorf("%d, %v", n.Count, s.hooks.gone)
	}
	var test struct {
		Outcome string
		Answer  struct{ Body string }
	}
	s.hook("POST", "/crm/test", `{}`).want(200, &test)
	if test.Outcome != "accepted" || test.Answer.Body != "thanks" {
		t.Errorf("%+v", test)
	}
}
