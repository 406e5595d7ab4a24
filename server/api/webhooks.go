package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/channels/webhook"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// WebhookHealth is how a webhook does.
type WebhookHealth struct {
	Waiting      int            `json:"waiting" doc:"Events that are not sent yet"`
	DeadLetters  int            `json:"dead_letters"`
	FailingSince time.Time      `json:"failing_since,omitzero" doc:"Since when nothing was taken while something failed; absent: it works. It begins anew with the server"`
	PausedUntil  time.Time      `json:"paused_until,omitzero" doc:"When a receiver that seems to be down, or has asked for a pause, is tried again"`
	Last         *WebhookAnswer `json:"last_failure,omitempty" doc:"The newest call that failed since one that did not"`
}

// WebhookAnswer is what came of a call.
type WebhookAnswer struct {
	At     time.Time `json:"at"`
	TookMS int64     `json:"took_ms"`
	Status int       `json:"status,omitempty" doc:"HTTP; absent: there was no answer"`
	Reason string    `json:"reason,omitempty" doc:"http_<status>, timeout, connect, dns, tls, connection_lost, redirect, address_refused, secrets, not_sent; absent: it was taken"`
	Body   string    `json:"body,omitempty" doc:"The beginning of the answer, or words of what went wrong"`
}

// WebhookLetter is an event that was given up.
type WebhookLetter struct {
	Event    string             `json:"event" doc:"Its id: names it in a retry or a deletion"`
	Type     engage.WebhookType `json:"type"`
	Subject  string             `json:"subject,omitempty"`
	Time     time.Time          `json:"time" doc:"When it happened"`
	Data     json.RawMessage    `json:"data" doc:"What the receiver would have got"`
	Why      string             `json:"why" enum:"refused,exhausted,overdue,queue_full,disabled"`
	At       time.Time          `json:"accepted_at" doc:"When it came, or was sent again by hand"`
	DiedAt   time.Time          `json:"died_at"`
	Expires  time.Time          `json:"expires_at" doc:"When it vanishes from the list"`
	Attempts int                `json:"attempts"`
	Last     *WebhookAnswer     `json:"last_answer,omitempty"`
}

// WebhookTest is what came of a test.
type WebhookTest struct {
	Event   string        `json:"event" doc:"Id of the ping"`
	Outcome string        `json:"outcome" enum:"accepted,retry_after,token_gone,rejected,misconfigured" doc:"What it would mean for an event: accepted; retry_after: sent again; rejected: a dead letter; token_gone: the webhook is disabled; misconfigured: the address may not be called"`
	Answer  WebhookAnswer `json:"answer"`
}

// Webhooks is the sending side of webhooks. Workspace and id are of one that the
// catalogue has.
type Webhooks interface {
	// CheckURL says what is wrong with an address, by the operator's rules.
	CheckURL(url string) error
	Health(ctx context.Context, workspace, id string) (WebhookHealth, error)
	Test(ctx context.Context, workspace, id string) (*WebhookTest, error)
	Letters(ctx context.Context, workspace, id, cursor string, limit int) (Page[WebhookLetter], error)
	// Letter, Retry and Delete are of one dead letter: engage.NotFound when there is
	// none. engage.Conflict: the webhook is disabled.
	Letter(ctx context.Context, workspace, id, event string) (*WebhookLetter, error)
	Retry(ctx context.Context, workspace, id, event string) error
	Delete(ctx context.Context, workspace, id, event string) error
	// RetryAll and DeleteAll are of all dead letters, and say how many those were.
	RetryAll(ctx context.Context, workspace, id string) (int, error)
	DeleteAll(ctx context.Context, workspace, id string) (int, error)
}

const webhookHelp = "Events go to the address as CloudEvents 1.0 in structured JSON, signed as Standard Webhooks are: " +
	"webhook-signature is v1 and the base64 HMAC-SHA256 of id, timestamp and body with dots between. " +
	"Each is sent at least once, under the same id when it is repeated, in no order. " +
	"An answer 2xx takes it; 408, 425, 429, 5xx and no answer have it sent again for a day; 410 disables the webhook; all else makes it a dead letter. "

func (s *server) registerWebhooks() {
	register(s, operation{
		method: http.MethodGet, path: "/webhooks", id: "list-webhooks", tag: tagWebhooks, role: catalog.Marketer,
		summary: "List webhooks, and how they do",
	}, s.listWebhooks)
	register(s, operation{
		method: http.MethodGet, path: "/webhooks/{id}", id: "get-webhook", tag: tagWebhooks, role: catalog.Marketer,
		summary: "Get a webhook, and how it does",
	}, s.getWebhook)
	register(s, operation{
		method: http.MethodPut, path: "/webhooks/{id}", id: "put-webhook", tag: tagWebhooks, role: catalog.Admin,
		summary:     "Create or change a webhook",
		description: webhookHelp + "A new one has a secret, which is shown in this answer and never again. Events that wait go to the new address.",
		body:        webhookBody{}, examples: examplesOf("webhook"),
		errors: []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired},
	}, s.putWebhook)
	register(s, operation{
		method: http.MethodDelete, path: "/webhooks/{id}", id: "delete-webhook", tag: tagWebhooks, role: catalog.Admin,
		summary: "Delete a webhook", description: "Events that wait for it and its dead letters go too.",
		errors: []int{http.StatusConflict, http.StatusPreconditionFailed},
	}, s.deleteWebhook)
	register(s, operation{
		method: http.MethodPost, path: "/webhooks/{id}/secrets", id: "create-webhook-secret", tag: tagWebhooks, role: catalog.Admin, status: http.StatusCreated,
		summary: "Add a second secret to a webhook",
		description: "From now on both sign every event. To exchange a secret: add one, let your receiver take either, delete the old one. " +
			"The secret is shown in this answer and never again.",
		body: emptyBody{}, errors: []int{http.StatusConflict},
	}, s.createWebhookSecret)
	register(s, operation{
		method: http.MethodDelete, path: "/webhooks/{id}/secrets/{secret}", id: "delete-webhook-secret", tag: tagWebhooks, role: catalog.Admin,
		summary: "Delete a secret of a webhook", description: "At once. The last one cannot be deleted.", errors: []int{http.StatusConflict},
	}, s.deleteWebhookSecret)
	register(s, operation{
		method: http.MethodPost, path: "/webhooks/{id}/test", id: "test-webhook", tag: tagWebhooks, role: catalog.Admin,
		summary:     "Send a ping to a webhook's receiver",
		description: "One call with an event of the type footfall.ping, whatever the webhook's status, and what the receiver answered to it.",
		body:        emptyBody{},
	}, s.testWebhook)
	register(s, operation{
		method: http.MethodGet, path: "/webhooks/{id}/dead-letters", id: "list-dead-letters", tag: tagWebhooks, role: catalog.Marketer,
		summary: "List events that were given up", description: "The newest first.",
	}, s.listLetters)
	register(s, operation{
		method: http.MethodGet, path: "/webhooks/{id}/dead-letters/{event}", id: "get-dead-letter", tag: tagWebhooks, role: catalog.Marketer,
		summary: "Get an event that was given up",
	}, s.getLetter)
	register(s, operation{
		method: http.MethodPost, path: "/webhooks/{id}/dead-letters/retry", id: "retry-dead-letters", tag: tagWebhooks, role: catalog.Marketer,
		summary: "Send events that were given up again", description: "One, or all there are now, as if they had just come.",
		body: lettersBody{}, errors: []int{http.StatusConflict},
	}, s.retryLetters)
	register(s, operation{
		method: http.MethodDelete, path: "/webhooks/{id}/dead-letters/{event}", id: "delete-dead-letter", tag: tagWebhooks, role: catalog.Admin,
		summary: "Delete an event that was given up",
	}, s.deleteLetter)
	register(s, operation{
		method: http.MethodDelete, path: "/webhooks/{id}/dead-letters", id: "delete-dead-letters", tag: tagWebhooks, role: catalog.Admin,
		status: http.StatusOK, summary: "Delete all events that were given up",
	}, s.deleteLetters)
}

type emptyBody struct{}

type webhookBody struct {
	ID        string                `json:"id,omitempty" doc:"As in the path, if it is given"`
	Version   int64                 `json:"version" required:"false" doc:"That the change was made from, if If-Match does not say it"`
	Name      string                `json:"name,omitempty" maxLength:"200"`
	URL       string                `json:"url" doc:"https, of a public address; others, and plain http, where the operator allows them"`
	Status    catalog.WebhookStatus `json:"status,omitempty" enum:"enabled,paused,disabled" doc:"paused: events wait, for as long as they would be sent again; disabled: there are none, and those that waited are dead letters. Absent: enabled"`
	Types     []engage.WebhookType  `json:"types,omitempty" doc:"Which events; absent: all"`
	Places    []string              `json:"places,omitempty" maxItems:"500" doc:"With tags: only of these places, and messages that came of visits there"`
	Tags      []string              `json:"tags,omitempty" maxItems:"500" doc:"Of places that have one of these"`
	Campaigns []string              `json:"campaigns,omitempty" maxItems:"500" doc:"Messages of these campaigns only; events of places pass"`
	Headers   map[string]string     `json:"headers,omitempty" writeOnly:"true" doc:"Sent along, such as Authorization; kept encrypted, never shown. Absent: those that are there stay"`
	Batch     int                   `json:"batch,omitempty" minimum:"0" maximum:"100" doc:"Events of one call at most, as a JSON array (application/cloudevents-batch+json); 0 and 1: one event, no array"`
}

type webhookView struct {
	ID        string                `json:"id"`
	Version   int64                 `json:"version"`
	Name      string                `json:"name,omitempty"`
	URL       string                `json:"url"`
	Status    catalog.WebhookStatus `json:"status" enum:"enabled,paused,disabled"`
	Because   string                `json:"disabled_because,omitempty" doc:"Why the server disabled it"`
	Types     []engage.WebhookType  `json:"types,omitempty"`
	Places    []string              `json:"places,omitempty"`
	Tags      []string              `json:"tags,omitempty"`
	Campaigns []string              `json:"campaigns,omitempty"`
	Headers   []string              `json:"header_names,omitempty"`
	Batch     int                   `json:"batch,omitempty"`
	Secrets   []webhookSecretView   `json:"secrets" nullable:"false"`
	UpdatedAt time.Time             `json:"updated_at"`
	Health    *WebhookHealth        `json:"health,omitempty"`
}

type webhookSecretView struct {
	ID        string    `json:"id"`
	Secret    string    `json:"secret,omitempty" readOnly:"true" doc:"Only in the answer to its creation; it is not shown again"`
	CreatedAt time.Time `json:"created_at"`
}

// viewWebhook shows a webhook, and the secret that was just made for it.
func viewWebhook(w *catalog.Webhook, made string) webhookView {
	v := webhookView{
		ID: w.ID, Version: w.Version, Name: w.Name, URL: w.URL, Status: w.Status, Because: w.Because, Types: w.Types, Places: w.Places,
		Tags: w.Tags, Campaigns: w.Campaigns, Headers: slices.Sorted(maps.Keys(w.Headers)), Batch: w.Batch,
		Secrets: []webhookSecretView{}, UpdatedAt: w.UpdatedAt,
	}
	for i, s := range w.Secrets {
		x := webhookSecretView{ID: s.ID, CreatedAt: s.CreatedAt}
		if i == len(w.Secrets)-1 {
			x.Secret = made
		}
		v.Secrets = append(v.Secrets, x)
	}
	return v
}

func (s *server) webhookOf(who caller, id string) (*catalog.Webhook, error) {
	if w := s.o.Catalog.Now().Webhook(who.workspace, id); w != nil {
		return w, nil
	}
	return nil, engage.Errorf(engage.NotFound, "id", "there is no webhook %q", clip(id))
}

func (s *server) withHealth(ctx context.Context, w *catalog.Webhook, made string) (webhookView, error) {
	v := viewWebhook(w, made)
	h, err := s.o.Webhooks.Health(ctx, w.Workspace, w.ID)
	v.Health = &h
	return v, err
}

func (s *server) listWebhooks(ctx context.Context, who caller, in *struct{ Paging }) (*answered[list[webhookView]], error) {
	page := pageByID(s.o.Catalog.Now().Webhooks(who.workspace), func(w *catalog.Webhook) string { return w.ID }, in.Paging)
	out := list[webhookView]{Items: []webhookView{}, Next: page.Next}
	for _, w := range page.Items {
		v, err := s.withHealth(ctx, w, "")
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, v)
	}
	return &answered[list[webhookView]]{out}, nil
}

func (s *server) getWebhook(ctx context.Context, who caller, in *byID) (*versioned[webhookView], error) {
	w, err := s.webhookOf(who, in.ID)
	if err != nil {
		return nil, err
	}
	v, err := s.withHealth(ctx, w, "")
	if err != nil {
		return nil, err
	}
	return versionedOf(v, w.Version, w.Version), nil
}

type putWebhookInput struct {
	ID string `path:"id" maxLength:"100"`
	Changing
	Raw
}

func (s *server) putWebhook(ctx context.Context, who caller, in *putWebhookInput) (*versioned[webhookView], error) {
	var b webhookBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if b.ID != "" && b.ID != in.ID {
		return nil, engage.Errorf(engage.Invalid, "id", "is %q in the document and %q in the path", clip(b.ID), clip(in.ID))
	}
	w := &catalog.Webhook{
		WebhookRule: engage.WebhookRule{ID: in.ID, Types: b.Types, Places: b.Places, Tags: b.Tags, Campaigns: b.Campaigns},
		Workspace:   who.workspace, Name: b.Name, URL: b.URL, Status: b.Status, Batch: b.Batch,
	}
	if w.Status == "" {
		w.Status = catalog.WebhookEnabled
	}
	if err := s.o.Webhooks.CheckURL(b.URL); err != nil {
		return nil, engage.Errorf(engage.Invalid, "url", "%v", err)
	}
	if b.Headers != nil {
		w.Headers = map[string]catalog.Sealed{}
	}
	for name, value := range b.Headers {
		if err := webhook.CheckHeader(name, value); err != nil {
			return nil, engage.Errorf(engage.Invalid, "headers."+clip(name), "%v", err)
		}
		w.Headers[name] = s.o.Sealer.Seal(value)
	}
	before, made := int64(0), ""
	if old := s.o.Catalog.Now().Webhook(who.workspace, in.ID); old != nil {
		before, w.Secrets = old.Version, old.Secrets
		if b.Headers == nil {
			w.Headers = old.Headers
		}
		if w.Status == catalog.WebhookDisabled {
			w.Because = old.Because
		}
	} else {
		made = s.addSecret(w)
	}
	expected, err := in.expected(before, b.Version)
	if err != nil {
		return nil, err
	}
	if err := s.o.Catalog.PutWebhook(ctx, who.key.ID, w, expected); err != nil {
		return nil, err
	}
	v, err := s.withHealth(ctx, w, made)
	if err != nil { // it is put, and the secret must not be lost
		v = viewWebhook(w, made)
	}
	return versionedOf(v, w.Version, before), nil
}

// addSecret makes a secret for a webhook and returns it.
func (s *server) addSecret(w *catalog.Webhook) string {
	made := webhook.NewSecret()
	w.Secrets = append(w.Secrets, catalog.WebhookSecret{ID: catalog.NewWebhookSecretID(), Secret: s.o.Sealer.Seal(made), CreatedAt: s.o.Clock.Now().UTC()})
	return made
}

func (s *server) deleteWebhook(ctx context.Context, who caller, in *deleteInput) (*struct{}, error) {
	expected, err := in.expected()
	if err != nil {
		return nil, err
	}
	return nil, s.o.Catalog.DeleteWebhook(ctx, who.key.ID, who.workspace, in.ID, expected)
}

// changeWebhook puts a webhook changed; one that somebody else changes meanwhile is
// read again.
func (s *server) changeWebhook(ctx context.Context, who caller, id string, change func(*catalog.Webhook) error) (*catalog.Webhook, error) {
	for try := 1; ; try++ {
		old, err := s.webhookOf(who, id)
		if err != nil {
			return nil, err
		}
		w := old.With()
		if err := change(w); err != nil {
			return nil, err
		}
		err = s.o.Catalog.PutWebhook(ctx, who.key.ID, w, old.Version)
		if engage.CodeOf(err) == engage.Conflict && try < keyTries {
			continue
		}
		return w, err
	}
}

func (s *server) createWebhookSecret(ctx context.Context, who caller, in *struct {
	ID string `path:"id" maxLength:"100"`
	Raw
},
) (*answered[webhookSecretView], error) {
	if err := decode(in.RawBody, &emptyBody{}); err != nil {
		return nil, err
	}
	var made string
	w, err := s.changeWebhook(ctx, who, in.ID, func(w *catalog.Webhook) error {
		if len(w.Secrets) >= catalog.MaxWebhookSecrets {
			return engage.Errorf(engage.Conflict, "secrets", "there are %d already: delete one first", len(w.Secrets))
		}
		made = s.addSecret(w)
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := viewWebhook(w, made).Secrets
	return &answered[webhookSecretView]{all[len(all)-1]}, nil
}

func (s *server) deleteWebhookSecret(ctx context.Context, who caller, in *struct {
	ID     string `path:"id" maxLength:"100"`
	Secret string `path:"secret" maxLength:"100"`
},
) (*struct{}, error) {
	_, err := s.changeWebhook(ctx, who, in.ID, func(w *catalog.Webhook) error {
		n := slices.IndexFunc(w.Secrets, func(x catalog.WebhookSecret) bool { return x.ID == in.Secret })
		switch {
		case n < 0:
			return engage.Errorf(engage.NotFound, "secret", "the webhook has no secret %q", clip(in.Secret))
		case len(w.Secrets) == 1:
			return engage.Errorf(engage.Conflict, "secret", "is the last one: add another first")
		}
		w.Secrets = slices.Delete(w.Secrets, n, n+1)
		return nil
	})
	return nil, err
}

type onWebhook struct {
	ID string `path:"id" maxLength:"100"`
	Raw
}

func (s *server) testWebhook(ctx context.Context, who caller, in *onWebhook) (*answered[WebhookTest], error) {
	if err := decode(in.RawBody, &emptyBody{}); err != nil {
		return nil, err
	}
	if _, err := s.webhookOf(who, in.ID); err != nil {
		return nil, err
	}
	t, err := s.o.Webhooks.Test(ctx, who.workspace, in.ID)
	if err != nil {
		return nil, err
	}
	return &answered[WebhookTest]{*t}, nil
}

func (s *server) listLetters(ctx context.Context, who caller, in *struct {
	ID string `path:"id" maxLength:"100"`
	Paging
},
) (*answered[list[WebhookLetter]], error) {
	if _, err := s.webhookOf(who, in.ID); err != nil {
		return nil, err
	}
	page, err := s.o.Webhooks.Letters(ctx, who.workspace, in.ID, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(page, func(l WebhookLetter) WebhookLetter { return l }), nil
}

type letterInput struct {
	ID    string `path:"id" maxLength:"100"`
	Event string `path:"event" maxLength:"100"`
}

func (s *server) getLetter(ctx context.Context, who caller, in *letterInput) (*answered[WebhookLetter], error) {
	if _, err := s.webhookOf(who, in.ID); err != nil {
		return nil, err
	}
	l, err := s.o.Webhooks.Letter(ctx, who.workspace, in.ID, in.Event)
	if err != nil {
		return nil, err
	}
	return &answered[WebhookLetter]{*l}, nil
}

type lettersBody struct {
	Event string `json:"event,omitempty" doc:"Id of one; or"`
	All   bool   `json:"all,omitempty" doc:"all of them"`
}

type letterCount struct {
	Count int `json:"count" doc:"How many those were"`
}

func (s *server) retryLetters(ctx context.Context, who caller, in *onWebhook) (*answered[letterCount], error) {
	var b lettersBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if (b.Event == "") != b.All {
		return nil, engage.Errorf(engage.Invalid, "event", `give one event, or "all": true`)
	}
	if _, err := s.webhookOf(who, in.ID); err != nil {
		return nil, err
	}
	if b.All {
		n, err := s.o.Webhooks.RetryAll(ctx, who.workspace, in.ID)
		return &answered[letterCount]{letterCount{n}}, err
	}
	return &answered[letterCount]{letterCount{1}}, s.o.Webhooks.Retry(ctx, who.workspace, in.ID, b.Event)
}

func (s *server) deleteLetter(ctx context.Context, who caller, in *letterInput) (*struct{}, error) {
	if _, err := s.webhookOf(who, in.ID); err != nil {
		return nil, err
	}
	return nil, s.o.Webhooks.Delete(ctx, who.workspace, in.ID, in.Event)
}

func (s *server) deleteLetters(ctx context.Context, who caller, in *byID) (*answered[letterCount], error) {
	if _, err := s.webhookOf(who, in.ID); err != nil {
		return nil, err
	}
	n, err := s.o.Webhooks.DeleteAll(ctx, who.workspace, in.ID)
	return &answered[letterCount]{letterCount{n}}, err
}
