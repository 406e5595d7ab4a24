package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/store"
)

// ledger keeps deliveries and inboxes in the hot store.
//
// A delivery is the document "<workspace>/<delivery>" of the system's part of
// "deliveries", since lanes run over all workspaces; its index is (lane, due_us).
// An inbox item is the document "<profile>/<delivery>" of the workspace's part of
// "inbox".
type ledger struct{ hot store.Store }

func deliveryKey(workspace, id string) store.Key {
	return store.Key{Workspace: store.System, ID: workspace + "/" + id}
}

// inboxDoc is the body of an inbox document.
type inboxDoc struct {
	V    int             `json:"v"` // 1
	AtUS int64           `json:"at_us"`
	Item json.RawMessage `json:"item"`
}

func record(d store.Doc) (deliver.Record, error) {
	ws, id, _ := strings.Cut(d.ID, "/")
	var head struct {
		Lane  string `json:"lane"`
		DueUS int64  `json:"due_us"`
	}
	if err := json.Unmarshal(d.Body, &head); err != nil {
		return deliver.Record{}, fmt.Errorf("decode delivery %s: %w", id, err)
	}
	r := deliver.Record{Workspace: ws, ID: id, Version: d.Version, Lane: head.Lane, Expires: d.Expires, Body: d.Body}
	if head.Lane != "" {
		r.Due = time.UnixMicro(head.DueUS).UTC()
	}
	return r, nil
}

// Get implements deliver.Ledger.
func (l ledger) Get(ctx context.Context, workspace, id string) (deliver.Record, bool, error) {
	doc, err := l.hot.Get(ctx, "deliveries", deliveryKey(workspace, id))
	if errors.Is(err, store.ErrNotFound) {
		return deliver.Record{}, false, nil
	}
	if err != nil {
		return deliver.Record{}, false, fmt.Errorf("read delivery: %w", err)
	}
	r, err := record(doc)
	return r, err == nil, err
}

// Write implements deliver.Ledger: all in one batch, which is what almost always
// happens; if one of them lost its race, each for itself.
func (l ledger) Write(ctx context.Context, writes []deliver.Write) ([]bool, error) {
	won := make([]bool, len(writes))
	var all store.Batch
	for _, w := range writes {
		if err := add(&all, w); err != nil {
			return nil, err
		}
	}
	err := l.hot.Apply(ctx, all)
	if err == nil {
		for i := range won {
			won[i] = true
		}
		return won, nil
	}
	if !errors.Is(err, store.ErrVersion) || len(writes) == 1 {
		if errors.Is(err, store.ErrVersion) {
			return won, nil
		}
		return nil, fmt.Errorf("write deliveries: %w", err)
	}
	for i, w := range writes {
		var one store.Batch
		if err := add(&one, w); err != nil {
			return nil, err
		}
		switch err := l.hot.Apply(ctx, one); {
		case err == nil:
			won[i] = true
		case !errors.Is(err, store.ErrVersion):
			return nil, fmt.Errorf("write delivery: %w", err)
		}
	}
	return won, nil
}

func add(b *store.Batch, w deliver.Write) error {
	b.Puts = append(b.Puts, store.Put{
		Collection: "deliveries", Key: deliveryKey(w.Workspace, w.ID), Body: w.Body, Expires: w.Expires, If: w.If,
	})
	if w.Inbox != nil {
		body, err := json.Marshal(inboxDoc{1, w.Inbox.At.UnixMicro(), w.Inbox.Body})
		if err != nil {
			return fmt.Errorf("encode inbox item: %w", err)
		}
		b.Puts = append(b.Puts, store.Put{
			Collection: "inbox", Key: inboxKey(w.Inbox.Workspace, w.Inbox.Profile, w.Inbox.Delivery),
			Body: body, Expires: w.Inbox.Expires, If: store.AnyVersion,
		})
	}
	if w.Unbox != "" {
		b.Deletes = append(b.Deletes, store.Delete{Collection: "inbox", Key: inboxKey(w.Workspace, w.Unbox, w.ID)})
	}
	return nil
}

func inboxKey(workspace, profile, delivery string) store.Key {
	return store.Key{Workspace: workspace, ID: profile + "/" + delivery}
}

// Due implements deliver.Ledger.
func (l ledger) Due(ctx context.Context, lane string, limit int) ([]deliver.Record, error) {
	page, err := l.hot.Find(ctx, "deliveries", store.Query{
		Workspace: store.System, Filter: store.Filter{Path: "lane", Op: store.Eq, Value: lane}, Sort: "due_us", Limit: limit,
	})
	if err != nil {
		return nil, fmt.Errorf("find deliveries of lane %s: %w", lane, err)
	}
	out := make([]deliver.Record, len(page.Docs))
	for i, d := range page.Docs {
		if out[i], err = record(d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Lanes implements deliver.Ledger by hopping from one lane to the next along the
// index.
func (l ledger) Lanes(ctx context.Context) ([]string, error) {
	var out []string
	last := ""
	for {
		page, err := l.hot.Find(ctx, "deliveries", store.Query{
			Workspace: store.System, Filter: store.Filter{Path: "lane", Op: store.Gt, Value: last}, Sort: "lane", Limit: 1,
		})
		if err != nil {
			return nil, fmt.Errorf("find lanes: %w", err)
		}
		if len(page.Docs) == 0 {
			return out, nil
		}
		r, err := record(page.Docs[0])
		if err != nil {
			return nil, err
		}
		last = r.Lane
		out = append(out, last)
	}
}

// Inbox implements deliver.Ledger.
func (l ledger) Inbox(ctx context.Context, workspace, profile string) ([]deliver.InboxItem, error) {
	var out []deliver.InboxItem
	err := l.hot.Iterate(ctx, "inbox", store.Query{Workspace: workspace, IDPrefix: profile + "/"}, func(d store.Doc) error {
		var doc inboxDoc
		if err := json.Unmarshal(d.Body, &doc); err != nil {
			return fmt.Errorf("decode inbox item %s: %w", d.ID, err)
		}
		out = append(out, deliver.InboxItem{
			Workspace: workspace, Profile: profile, Delivery: strings.TrimPrefix(d.ID, profile+"/"),
			At: time.UnixMicro(doc.AtUS).UTC(), Expires: d.Expires, Body: doc.Item,
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read inbox: %w", err)
	}
	slices.SortStableFunc(out, func(a, b deliver.InboxItem) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Delivery, b.Delivery))
	})
	return out, nil
}

// Trim implements deliver.Ledger.
func (l ledger) Trim(ctx context.Context, workspace, profile string, keep int) error {
	items, err := l.Inbox(ctx, workspace, profile)
	if err != nil || len(items) <= keep {
		return err
	}
	var b store.Batch
	for _, it := range items[:len(items)-keep] {
		b.Deletes = append(b.Deletes, store.Delete{Collection: "inbox", Key: inboxKey(workspace, profile, it.Delivery)})
	}
	if err := l.hot.Apply(ctx, b); err != nil {
		return fmt.Errorf("trim inbox: %w", err)
	}
	return nil
}
