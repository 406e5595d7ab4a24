package app

import (
	"context"

	wire "github.com/footfall-engage/footfall/channels/webhook"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/webhook"
)

// hooks is the dispatcher as the API sees it.
type hooks struct{ a *App }

// CheckURL implements api.Webhooks.
func (h hooks) CheckURL(url string) error {
	allow, err := wire.ParseNetworks(h.a.o.Config.Webhooks.AllowNetworks)
	if err != nil {
		return err
	}
	return wire.CheckURL(url, allow)
}

func hookAnswer(a *webhook.Answer) *api.WebhookAnswer {
	if a == nil {
		return nil
	}
	return &api.WebhookAnswer{At: a.At, TookMS: a.TookMS, Status: a.Status, Reason: a.Reason, Body: a.Body}
}

// Health implements api.Webhooks.
func (h hooks) Health(ctx context.Context, workspace, id string) (api.WebhookHealth, error) {
	x, err := h.a.webhooks.Health(ctx, webhook.Key{Workspace: workspace, ID: id})
	return api.WebhookHealth{
		Waiting: x.Waiting, DeadLetters: x.Dead, FailingSince: x.FailingSince, PausedUntil: x.PausedUntil, Last: hookAnswer(x.Last),
	}, err
}

// Test implements api.Webhooks.
func (h hooks) Test(ctx context.Context, workspace, id string) (*api.WebhookTest, error) {
	t, err := h.a.webhooks.Test(ctx, webhook.Key{Workspace: workspace, ID: id})
	if err != nil {
		return nil, err
	}
	return &api.WebhookTest{Event: t.Event.ID, Outcome: string(t.Kind), Answer: *hookAnswer(&t.Answer)}, nil
}

func hookLetter(it *webhook.Item) api.WebhookLetter {
	return api.WebhookLetter{
		Event: it.Event.ID, Type: it.Event.Type, Subject: it.Event.Subject, Time: it.Event.Time, Data: it.Event.Data, Why: string(it.Why),
		At: it.At, DiedAt: it.Due, Expires: it.Expires, Attempts: it.Tries, Last: hookAnswer(it.Last),
	}
}

// Letters implements api.Webhooks.
func (h hooks) Letters(ctx context.Context, workspace, id, cursor string, limit int) (api.Page[api.WebhookLetter], error) {
	items, next, err := h.a.webhooks.DeadLetters(ctx, webhook.Key{Workspace: workspace, ID: id}, cursor, limit)
	out := api.Page[api.WebhookLetter]{Next: next}
	for _, it := range items {
		out.Items = append(out.Items, hookLetter(it))
	}
	return out, err
}

// Letter implements api.Webhooks.
func (h hooks) Letter(ctx context.Context, workspace, id, event string) (*api.WebhookLetter, error) {
	it, err := h.a.webhooks.DeadLetter(ctx, webhook.Key{Workspace: workspace, ID: id}, event)
	if err != nil {
		return nil, err
	}
	l := hookLetter(it)
	return &l, nil
}

// Retry implements api.Webhooks.
func (h hooks) Retry(ctx context.Context, workspace, id, event string) error {
	return h.a.webhooks.Retry(ctx, webhook.Key{Workspace: workspace, ID: id}, event)
}

// Delete implements api.Webhooks.
func (h hooks) Delete(ctx context.Context, workspace, id, event string) error {
	return h.a.webhooks.Delete(ctx, webhook.Key{Workspace: workspace, ID: id}, event)
}

// RetryAll implements api.Webhooks.
func (h hooks) RetryAll(ctx context.Context, workspace, id string) (int, error) {
	return h.a.webhooks.RetryAll(ctx, webhook.Key{Workspace: workspace, ID: id})
}

// DeleteAll implements api.Webhooks.
func (h hooks) DeleteAll(ctx context.Context, workspace, id string) (int, error) {
	return h.a.webhooks.DeleteAll(ctx, webhook.Key{Workspace: workspace, ID: id})
}
