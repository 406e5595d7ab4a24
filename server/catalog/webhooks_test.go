package catalog_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
)

func hook(workspace, id string, change ...func(*catalog.Webhook)) *catalog.Webhook {
	w := &catalog.Webhook{
		WebhookRule: engage.WebhookRule{ID: id}, Workspace: workspace, URL: "https://shop.example.com/footfall", Status: catalog.WebhookEnabled,
		Secrets: []catalog.WebhookSecret{{ID: "s1", Secret: "v1:sealed", CreatedAt: t0}},
	}
	for _, f := range change {
		f(w)
	}
	return w
}

func TestSubscriptionsAreVersionedAndOutliveARestart(t *testing.T) {
	memory := new(eventlogtest.Memory)
	c := open(t, memory.Open())
	seed(t, c)
	crm := hook("acme", "crm", func(w *catalog.Webhook) {
		w.Types, w.Places, w.Headers = []engage.WebhookType{engage.WebhookEntered}, []string{"cafe"}, map[string]catalog.Sealed{"Authorization": "v1:x"}
	})
	must(t, c.PutWebhook(t.Context(), by, crm, 0))
	must(t, c.PutWebhook(t.Context(), by, hook("rival", "crm"), 0))
	if err := c.PutWebhook(t.Context(), by, hook("acme", "crm"), 0); engage.CodeOf(err) != engage.Conflict {
		t.Errorf("put over another: %v", err)
	}
	must(t, c.PutWebhook(t.Context(), by, hook("acme", "off", func(w *catalog.Webhook) { w.Status = catalog.WebhookDisabled }), 0))
	must(t, c.PutWebhook(t.Context(), by, hook("acme", "held", func(w *catalog.Webhook) { w.Status = catalog.WebhookPaused }), 0))
	must(t, c.DeleteWebhook(t.Context(), by, "rival", "crm", 1))

	c = open(t, memory.Open())
	now := c.Now()
	if got := now.Webhook("acme", "crm"); got == nil || got.Version != 1 || got.Headers["Authorization"] != "v1:x" || got.Secrets[0].Secret != "v1:sealed" {
		t.Errorf("after a restart it is %+v", got)
	}
	if rules := now.WebhookRules("acme"); len(rules) != 2 || rules[0].ID != "crm" || rules[0].Places[0] != "cafe" || rules[1].ID != "held" {
		t.Errorf("rules %+v", rules)
	}
	if now.Webhook("rival", "crm") != nil || now.WebhookRules("rival") != nil {
		t.Error("a deleted one hears")
	}
	for i := range catalog.MaxWebhooks - 3 {
		must(t, c.PutWebhook(t.Context(), by, hook("acme", fmt.Sprint("w", i)), 0))
	}
	if err := c.PutWebhook(t.Context(), by, hook("acme", "one-more"), 0); engage.CodeOf(err) != engage.TooLarge {
		t.Errorf("one too many: %v", err)
	}
	must(t, c.PutWebhook(t.Context(), by, hook("acme", "crm"), 1)) // a change is no more
}

func TestASubscriptionThatCannotBeIsRefused(t *testing.T) {
	c := fresh(t)
	for field, change := range map[string]func(*catalog.Webhook){
		"id":           func(w *catalog.Webhook) { w.ID = "a/b" },
		"name":         func(w *catalog.Webhook) { w.Name = strings.Repeat("x", 201) },
		"url":          func(w *catalog.Webhook) { w.URL = "shop.example.com" },
		"status":       func(w *catalog.Webhook) { w.Status = "" },
		"batch":        func(w *catalog.Webhook) { w.Batch = 101 },
		"secrets":      func(w *catalog.Webhook) { w.Secrets = nil },
		"types[0]":     func(w *catalog.Webhook) { w.Types = []engage.WebhookType{engage.WebhookPing} },
		"types[1]":     func(w *catalog.Webhook) { w.Types = []engage.WebhookType{engage.WebhookEntered, engage.WebhookEntered} },
		"places[1]":    func(w *catalog.Webhook) { w.Places = []string{"cafe", ""} },
		"campaigns[0]": func(w *catalog.Webhook) { w.Campaigns = []string{"a b"} },
		"tags[0]":      func(w *catalog.Webhook) { w.Tags = []string{""} },
		"tags":         func(w *catalog.Webhook) { w.Tags = make([]string, 501) },
		"headers":      func(w *catalog.Webhook) { w.Headers = many(21) },
	} {
		err := c.PutWebhook(t.Context(), by, hook("acme", "crm", change), 0)
		e, ok := err.(*engage.Error) //nolint:errorlint // it is not wrapped
		if !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := c.PutWebhook(t.Context(), by, hook("acme", "crm", func(w *catalog.Webhook) {
		w.Headers = map[string]catalog.Sealed{"X-Shop": "v1:a", "x-shop": "v1:b"}
	}), 0); engage.CodeOf(err) != engage.Invalid {
		t.Errorf("a header twice: %v", err)
	}
	if c.Now().Webhook("acme", "crm") != nil {
		t.Error("one was kept")
	}
}

func many(n int) map[string]catalog.Sealed {
	out := map[string]catalog.Sealed{}
	for i := range n {
		out[fmt.Sprint("x-", i)] = "v1:x"
	}
	return out
}
