package catalog

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of webhook subscriptions.
const (
	MaxWebhooks       = 50  // of a workspace
	MaxWebhookSecrets = 2   // in force at once, while one is exchanged
	MaxWebhookBatch   = 100 // events of one call
	maxWebhookFilter  = 500
	maxWebhookHeaders = 20
)

// WebhookStatus says what becomes of a subscription's events.
type WebhookStatus string

// The statuses.
const (
	WebhookEnabled  WebhookStatus = "enabled"
	WebhookPaused   WebhookStatus = "paused"   // events are kept, and wait
	WebhookDisabled WebhookStatus = "disabled" // there are none; those that waited are dead letters
)

// Webhook is a subscription: which events go to which address.
type Webhook struct {
	engage.WebhookRule                   // the id, and which events
	Workspace          string            `json:"workspace"`
	Version            int64             `json:"version"`
	Name               string            `json:"name"`
	URL                string            `json:"url"`
	Status             WebhookStatus     `json:"status"`
	Because            string            `json:"because,omitempty"` // why the server disabled it; empty: it did not
	Headers            map[string]Sealed `json:"headers,omitempty"` // of the receiver's own, such as Authorization
	Batch              int               `json:"batch,omitempty"`   // events of one call at most; 0 and 1: one, and no batch
	Secrets            []WebhookSecret   `json:"secrets"`           // that sign, the oldest first
	UpdatedAt          time.Time         `json:"updated_at"`
}

// WebhookSecret is one that signs.
type WebhookSecret struct {
	ID        string    `json:"id"`
	Secret    Sealed    `json:"secret"`
	CreatedAt time.Time `json:"created_at"`
}

// NewWebhookSecretID is a fresh id for a secret.
func NewWebhookSecretID() string { return "s" + random(4) }

// Live reports whether events are made for it.
func (w *Webhook) Live() bool { return w.Status != WebhookDisabled }

// With is a copy that may be changed: its secrets are its own.
func (w *Webhook) With() *Webhook {
	c := *w
	c.Secrets = slices.Clone(w.Secrets)
	return &c
}

// Validate checks all that can be checked without other documents and without the
// operator's rules of whom may be called.
func (w *Webhook) Validate() error {
	u, err := url.Parse(w.URL)
	switch {
	case !engage.ValidID(w.ID):
		return engage.Errorf(engage.Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
	case len(w.Name) > 200:
		return engage.Errorf(engage.Invalid, "name", "must have at most 200 bytes, has %d", len(w.Name))
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return engage.Errorf(engage.Invalid, "url", "must be an address like https://shop.example.com/footfall")
	case w.Status != WebhookEnabled && w.Status != WebhookPaused && w.Status != WebhookDisabled:
		return engage.Errorf(engage.Invalid, "status", `must be "enabled", "paused" or "disabled", is %q`, w.Status)
	case w.Batch < 0 || w.Batch > MaxWebhookBatch:
		return engage.Errorf(engage.Invalid, "batch", "must be 0 to %d events, is %d", MaxWebhookBatch, w.Batch)
	case len(w.Headers) > maxWebhookHeaders:
		return engage.Errorf(engage.TooLarge, "headers", "at most %d, got %d", maxWebhookHeaders, len(w.Headers))
	case len(w.Secrets) < 1 || len(w.Secrets) > MaxWebhookSecrets:
		return engage.Errorf(engage.Conflict, "secrets", "one or %d sign, not %d", MaxWebhookSecrets, len(w.Secrets))
	}
	for i, t := range w.Types {
		if !slices.Contains(engage.WebhookTypes, t) {
			return engage.Errorf(engage.Invalid, fmt.Sprintf("types[%d]", i), "there are no events of the type %q", t)
		}
		if slices.Contains(w.Types[:i], t) {
			return engage.Errorf(engage.Invalid, fmt.Sprintf("types[%d]", i), "stands twice: %q", t)
		}
	}
	for field, ids := range map[string][]string{"places": w.Places, "campaigns": w.Campaigns, "tags": w.Tags} {
		if len(ids) > maxWebhookFilter {
			return engage.Errorf(engage.TooLarge, field, "at most %d, got %d", maxWebhookFilter, len(ids))
		}
		for i, id := range ids {
			if field == "tags" && (id == "" || len(id) > 100) || field != "tags" && !engage.ValidID(id) {
				return engage.Errorf(engage.Invalid, fmt.Sprintf("%s[%d]", field, i), "is not one that can be")
			}
		}
	}
	names := map[string]bool{}
	for name := range w.Headers {
		if names[strings.ToLower(name)] {
			return engage.Errorf(engage.Invalid, "headers."+name, "stands twice")
		}
		names[strings.ToLower(name)] = true
	}
	return nil
}

func (w *Webhook) head() (string, string, *int64, *time.Time) {
	return w.Workspace, w.ID, &w.Version, &w.UpdatedAt
}

// PutWebhook creates or replaces a subscription. Places and campaigns need not exist:
// a subscription outlives them, and hears of theirs when they are there again.
func (c *Catalog) PutWebhook(ctx context.Context, by string, w *Webhook, expected int64) error {
	return c.put(ctx, by, Webhooks, w, expected, func(s *Snapshot) error {
		if n := len(s.webhooks[w.Workspace]); s.Webhook(w.Workspace, w.ID) == nil && n >= MaxWebhooks {
			return engage.Errorf(engage.TooLarge, "id", "the workspace has %d subscriptions, at most %d", n, MaxWebhooks)
		}
		return nil
	})
}

// DeleteWebhook removes a subscription.
func (c *Catalog) DeleteWebhook(ctx context.Context, by, workspace, id string, expected int64) error {
	return c.remove(ctx, by, Webhooks, workspace, id, expected, nil)
}

// Webhook of a workspace; nil when there is none.
func (s *Snapshot) Webhook(workspace, id string) *Webhook { return s.webhooks[workspace][id] }

// Webhooks of a workspace, by id.
func (s *Snapshot) Webhooks(workspace string) []*Webhook { return byID(s.webhooks[workspace]) }

// WebhookRules say what the subscriptions of a workspace hear, by id; nil when there
// is none that does.
func (s *Snapshot) WebhookRules(workspace string) []*engage.WebhookRule {
	var out []*engage.WebhookRule
	for _, w := range s.Webhooks(workspace) {
		if w.Live() {
			out = append(out, &w.WebhookRule)
		}
	}
	return out
}
