package app

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	wire "github.com/footfall-engage/footfall/channels/webhook"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/webhook"
)

// openWebhooks wires the dispatcher of webhook events.
func (a *App) openWebhooks() error {
	c := a.o.Config.Webhooks
	allow, err := wire.ParseNetworks(c.AllowNetworks)
	if err != nil {
		return engage.Errorf(engage.Invalid, "webhooks.allow_networks", "%v", err)
	}
	o := wire.Options{AllowNetworks: allow, Timeout: time.Duration(c.TimeoutS) * time.Second, UserAgent: "Footfall/" + a.o.Version}
	if c.RootCAFile != "" {
		system, err := x509.SystemCertPool()
		if err != nil {
			system = x509.NewCertPool()
		}
		if o.RootCAs, err = authorities("webhooks.root_ca_file", c.RootCAFile, system); err != nil {
			return err
		}
	}
	sender := wire.New(o)
	a.life.push("webhook connections", sender.Close)
	a.webhooks, err = webhook.New(webhook.Options{
		Queue: hookQueue{a.hot}, Subscriptions: subscriptions{a.catalog, a.sealer}, Sender: sender,
		Clock: a.o.Clock, Logger: a.log, Metrics: a.registry,
		MaxAge: time.Duration(c.MaxAgeS) * time.Second, DeadFor: time.Duration(c.DeadDays) * 24 * time.Hour,
		MaxQueued: c.MaxQueued, MaxDead: c.MaxQueued, InFlight: c.InFlight,
	})
	if err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	a.router.webhook = a.acceptWebhooks
	return nil
}

// acceptWebhooks takes events from a partition's outbox.
func (a *App) acceptWebhooks(ctx context.Context, entries []engage.Entry) error {
	by := map[string][]engage.WebhookEvent{}
	for _, e := range entries {
		var event engage.WebhookEvent
		if err := json.Unmarshal(e.Body, &event); err != nil {
			return fmt.Errorf("decode webhook event: %w", err)
		}
		by[e.Workspace()] = append(by[e.Workspace()], event)
	}
	for ws, events := range by {
		if err := a.webhooks.Accept(ctx, ws, events); err != nil {
			return err
		}
	}
	return nil
}

// subscriptions are the catalogue's, as the dispatcher sees them.
type subscriptions struct {
	catalog *catalog.Catalog
	sealer  *catalog.Sealer
}

var hookStatus = map[catalog.WebhookStatus]webhook.Status{
	catalog.WebhookEnabled: webhook.Enabled, catalog.WebhookPaused: webhook.Paused, catalog.WebhookDisabled: webhook.Off,
}

func subscriptionOf(w *catalog.Webhook) webhook.Subscription {
	return webhook.Subscription{Key: webhook.Key{Workspace: w.Workspace, ID: w.ID}, Version: w.Version, Status: hookStatus[w.Status]}
}

// All implements webhook.Subscriptions.
func (s subscriptions) All() []webhook.Subscription {
	now := s.catalog.Now()
	var out []webhook.Subscription
	for ws := range now.Workspaces {
		for _, w := range now.Webhooks(ws) {
			out = append(out, subscriptionOf(w))
		}
	}
	return out
}

// Workspaces implements webhook.Subscriptions.
func (s subscriptions) Workspaces() []string {
	var out []string
	for ws := range s.catalog.Now().Workspaces {
		out = append(out, ws)
	}
	return out
}

// Get implements webhook.Subscriptions.
func (s subscriptions) Get(k webhook.Key) (webhook.Subscription, bool) {
	w := s.catalog.Now().Webhook(k.Workspace, k.ID)
	if w == nil {
		return webhook.Subscription{}, false
	}
	return subscriptionOf(w), true
}

// Changed implements webhook.Subscriptions.
func (s subscriptions) Changed() <-chan struct{} { return s.catalog.Changed() }

// Open implements webhook.Subscriptions.
func (s subscriptions) Open(k webhook.Key) (*webhook.Target, error) {
	w := s.catalog.Now().Webhook(k.Workspace, k.ID)
	if w == nil {
		return nil, engage.Errorf(engage.NotFound, "id", "there is no webhook %q", k.ID)
	}
	t := &webhook.Target{URL: w.URL, Batch: w.Batch, Headers: map[string]string{}}
	for name, sealed := range w.Headers {
		value, err := s.sealer.Open(sealed)
		if err != nil {
			return nil, engage.At("headers."+name, err)
		}
		t.Headers[name] = value.Reveal()
	}
	for i, sealed := range w.Secrets {
		text, err := s.sealer.Open(sealed.Secret)
		if err != nil {
			return nil, engage.At(fmt.Sprintf("secrets[%d]", i), err)
		}
		secret, err := wire.ParseSecret(text.Reveal())
		if err != nil {
			return nil, fmt.Errorf("secrets[%d]: %w", i, err)
		}
		t.Secrets = append(t.Secrets, secret)
	}
	return t, nil
}

// Disable implements webhook.Subscriptions.
func (s subscriptions) Disable(ctx context.Context, sub webhook.Subscription, because string) (bool, error) {
	w := s.catalog.Now().Webhook(sub.Workspace, sub.ID)
	if w == nil || w.Version != sub.Version {
		return false, nil
	}
	c := w.With()
	c.Status, c.Because = catalog.WebhookDisabled, because
	err := s.catalog.PutWebhook(ctx, "system", c, sub.Version)
	if code := engage.CodeOf(err); code == engage.Conflict || code == engage.NotFound {
		return false, nil
	}
	return err == nil, err
}

// hookQueue keeps webhook events in the hot store: an item is the document
// "<webhook>/<event>" of its workspace's part of "webhooks", with the index
// (lane, due_us). A lane is "q/<webhook>" of what waits, "d/<webhook>" of dead letters.
type hookQueue struct{ hot store.Store }

// hookCollection declares where it keeps them.
func hookCollection() store.Collection {
	return store.Collection{Name: "webhooks", Indexes: []store.Index{{Name: "lane", Paths: []string{"lane", "due_us"}}}}
}

// hookDoc is the body of an item's document.
type hookDoc struct {
	V     int           `json:"v"` // 1
	Lane  string        `json:"lane"`
	DueUS int64         `json:"due_us"`
	Item  *webhook.Item `json:"item"`
}

func hookLane(id string, dead bool) string {
	if dead {
		return "d/" + id
	}
	return "q/" + id
}

func hookKey(k webhook.Key, event string) store.Key {
	return store.Key{Workspace: k.Workspace, ID: k.ID + "/" + event}
}

func hookPut(it *webhook.Item) (store.Put, error) {
	body, err := json.Marshal(hookDoc{1, hookLane(it.Key.ID, it.Dead), it.Due.UnixMicro(), it})
	if err != nil {
		return store.Put{}, fmt.Errorf("encode webhook event: %w", err)
	}
	return store.Put{Collection: "webhooks", Key: hookKey(it.Key, it.Event.ID), Body: body, Expires: it.Expires, If: it.Version}, nil
}

func hookItem(d store.Doc) (*webhook.Item, error) {
	var doc hookDoc
	if err := json.Unmarshal(d.Body, &doc); err != nil {
		return nil, fmt.Errorf("decode webhook event: %w", err)
	}
	if doc.V != 1 || doc.Item == nil {
		return nil, fmt.Errorf("decode webhook event: version %d is not known", doc.V)
	}
	id, _, _ := strings.Cut(d.ID, "/")
	doc.Item.Key, doc.Item.Version, doc.Item.Expires = webhook.Key{Workspace: d.Workspace, ID: id}, d.Version, d.Expires
	return doc.Item, nil
}

// hookPortion bounds the documents of one batch.
const hookPortion = 500

// write puts items, each on its version: together, which is what almost always
// happens; if one of them lost its race, each for itself.
func (q hookQueue) write(ctx context.Context, items []*webhook.Item) (won []bool, err error) {
	won = make([]bool, len(items))
	for from := 0; from < len(items); from += hookPortion {
		to := min(from+hookPortion, len(items))
		var b store.Batch
		for _, it := range items[from:to] {
			p, err := hookPut(it)
			if err != nil {
				return nil, err
			}
			b.Puts = append(b.Puts, p)
		}
		err := store.ErrVersion
		if !twice(b.Puts) {
			err = q.hot.Apply(ctx, b)
		}
		switch {
		case err == nil:
			for i := from; i < to; i++ {
				won[i] = true
			}
		case errors.Is(err, store.ErrVersion):
			for i, p := range b.Puts {
				err := q.hot.Apply(ctx, store.Batch{Puts: []store.Put{p}})
				if err != nil && !errors.Is(err, store.ErrVersion) {
					return nil, fmt.Errorf("write webhook events: %w", err)
				}
				won[from+i] = err == nil
			}
		default:
			return nil, fmt.Errorf("write webhook events: %w", err)
		}
	}
	for i, it := range items {
		if won[i] {
			it.Version++
		}
	}
	return won, nil
}

// twice reports whether a document is put twice, which no batch may.
func twice(puts []store.Put) bool {
	seen := make(map[store.Key]bool, len(puts))
	for _, p := range puts {
		if seen[p.Key] {
			return true
		}
		seen[p.Key] = true
	}
	return false
}

// Add implements webhook.Queue.
func (q hookQueue) Add(ctx context.Context, items []*webhook.Item) ([]bool, error) {
	return q.write(ctx, items)
}

// Put implements webhook.Queue.
func (q hookQueue) Put(ctx context.Context, items []*webhook.Item) error {
	_, err := q.write(ctx, items)
	return err
}

// Remove implements webhook.Queue.
func (q hookQueue) Remove(ctx context.Context, items []*webhook.Item) error {
	keys := make([]store.Key, len(items))
	for i, it := range items {
		keys[i] = hookKey(it.Key, it.Event.ID)
	}
	return q.remove(ctx, keys)
}

func (q hookQueue) remove(ctx context.Context, keys []store.Key) error {
	for from := 0; from < len(keys); from += hookPortion {
		var b store.Batch
		for _, k := range keys[from:min(from+hookPortion, len(keys))] {
			b.Deletes = append(b.Deletes, store.Delete{Collection: "webhooks", Key: k})
		}
		if err := q.hot.Apply(ctx, b); err != nil {
			return fmt.Errorf("remove webhook events: %w", err)
		}
	}
	return nil
}

func (q hookQueue) find(ctx context.Context, k webhook.Key, dead bool, sort, cursor string, limit int) ([]*webhook.Item, string, error) {
	p, err := q.hot.Find(ctx, "webhooks", store.Query{
		Workspace: k.Workspace, Filter: equals("lane", hookLane(k.ID, dead)), Sort: sort, Cursor: cursor, Limit: limit,
	})
	if err != nil {
		return nil, "", err
	}
	out := make([]*webhook.Item, len(p.Docs))
	for i, d := range p.Docs {
		if out[i], err = hookItem(d); err != nil {
			return nil, "", err
		}
	}
	return out, p.Next, nil
}

// Next implements webhook.Queue.
func (q hookQueue) Next(ctx context.Context, k webhook.Key, limit int) ([]*webhook.Item, error) {
	items, _, err := q.find(ctx, k, false, "due_us", "", limit)
	if err != nil {
		return nil, fmt.Errorf("find webhook events: %w", err)
	}
	return items, nil
}

// Dead implements webhook.Queue.
func (q hookQueue) Dead(ctx context.Context, k webhook.Key, cursor string, limit int) ([]*webhook.Item, string, error) {
	items, next, err := q.find(ctx, k, true, "-due_us", cursor, limit)
	return items, next, badQuery(err)
}

// Get implements webhook.Queue.
func (q hookQueue) Get(ctx context.Context, k webhook.Key, event string) (*webhook.Item, error) {
	d, err := q.hot.Get(ctx, "webhooks", hookKey(k, event))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // the contract of webhook.Queue
	}
	if err != nil {
		return nil, badQuery(err)
	}
	return hookItem(d)
}

// Count implements webhook.Queue.
func (q hookQueue) Count(ctx context.Context, k webhook.Key) (waiting, dead int, err error) {
	for lane, into := range map[bool]*int{false: &waiting, true: &dead} {
		n, err := q.hot.Count(ctx, "webhooks", store.Query{Workspace: k.Workspace, Filter: equals("lane", hookLane(k.ID, lane))})
		if err != nil {
			return 0, 0, fmt.Errorf("count webhook events: %w", err)
		}
		*into = int(n)
	}
	return waiting, dead, nil
}

// Forget implements webhook.Queue.
func (q hookQueue) Forget(ctx context.Context, k webhook.Key) error {
	for {
		p, err := q.hot.Find(ctx, "webhooks", store.Query{Workspace: k.Workspace, IDPrefix: k.ID + "/", Limit: hookPortion})
		if err != nil {
			return fmt.Errorf("find webhook events: %w", err)
		}
		if len(p.Docs) == 0 {
			return nil
		}
		keys := make([]store.Key, len(p.Docs))
		for i, d := range p.Docs {
			keys[i] = d.Key
		}
		if err := q.remove(ctx, keys); err != nil {
			return err
		}
	}
}

// Subscriptions implements webhook.Queue by hopping from one to the next.
func (q hookQueue) Subscriptions(ctx context.Context, workspace string) ([]string, error) {
	var out []string
	query := store.Query{Workspace: workspace, Limit: 1}
	for {
		p, err := q.hot.Find(ctx, "webhooks", query)
		if err != nil {
			return nil, fmt.Errorf("find webhooks with events: %w", err)
		}
		if len(p.Docs) == 0 {
			return out, nil
		}
		id, _, _ := strings.Cut(p.Docs[0].ID, "/")
		out = append(out, id)
		// "0" follows "/": beyond all that begin with this id.
		query.Filter = store.Filter{Path: "_id", Op: store.Gt, Value: id + "0"}
	}
}
