package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// ledger keeps deliveries and inboxes in the hot store.
//
// A delivery is the document "<workspace>/<delivery>" of the system's part of
// "deliveries", since lanes run over all workspaces; its index is (lane, due_us), of
// those that are in a lane. What is in a person's inbox is the document "<profile>" of the workspace's part of
// "inbox", put on its version; what a message in it says is "<profile>/<delivery>",
// which is written once. Builds until issue 4 wrote these alone.
type ledger struct{ hot store.Store }

// OpenLedger opens a ledger of its own in a folder, in SQLite as the server has it:
// for measurements. close closes it.
func OpenLedger(ctx context.Context, dir string) (l deliver.Ledger, close func() error, err error) {
	s, err := sqlite.Open(ctx, sqlite.Options{
		Path: filepath.Join(dir, "hot.db"), Collections: hotCollections(), Durability: sqlite.DurabilityProcess, Now: clock.System{}.Now,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("open ledger: %w", err)
	}
	return ledger{s}, s.Close, nil
}

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
	var head recordHead
	if !head.peek(d.Body) {
		if err := json.Unmarshal(d.Body, &head); err != nil {
			return deliver.Record{}, fmt.Errorf("decode delivery %s: %w", id, err)
		}
	}
	r := deliver.Record{Workspace: ws, ID: id, Version: d.Version, Lane: head.Lane, Expires: d.Expires, Body: d.Body}
	if head.Lane != "" {
		r.Due = time.UnixMicro(head.DueUS).UTC()
	}
	return r, nil
}

// recordHead is of a record what the ledger needs.
type recordHead struct {
	Lane  string `json:"lane"`
	DueUS int64  `json:"due_us"`
}

// peek reads the head where it stands as deliver writes it, at the beginning:
// {"v":1,"lane":"…","due_us":…,. It reports false, and has read nothing, where it does not.
func (h *recordHead) peek(body []byte) bool {
	rest, ok := bytes.CutPrefix(body, []byte(`{"v":1,"lane":"`))
	if !ok {
		return false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
		return false
	}
	number, ok := bytes.CutPrefix(rest[end:], []byte(`","due_us":`))
	if !ok {
		return false
	}
	digits, _, ok := bytes.Cut(number, []byte(","))
	if !ok {
		return false
	}
	due, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return false
	}
	h.Lane, h.DueUS = string(rest[:end]), due
	return true
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
// happens; if one of them lost its race, in halves, until it is alone.
func (l ledger) Write(ctx context.Context, writes []deliver.Write) ([]bool, error) {
	won := make([]bool, len(writes))
	if err := l.write(ctx, writes, won); err != nil {
		return nil, fmt.Errorf("write deliveries: %w", err)
	}
	return won, nil
}

func (l ledger) write(ctx context.Context, writes []deliver.Write, won []bool) error {
	if len(writes) == 1 {
		var err error
		won[0], err = l.writeOne(ctx, writes[0])
		return err
	}
	err := l.apply(ctx, writes)
	if errors.Is(err, store.ErrVersion) {
		half := len(writes) / 2
		if err := l.write(ctx, writes[:half], won[:half]); err != nil {
			return err
		}
		return l.write(ctx, writes[half:], won[half:])
	}
	for i := range won {
		won[i] = err == nil
	}
	return err
}

// writeOne writes until its record has, or another has been written in its place:
// that somebody else changes the inbox does not end it.
func (l ledger) writeOne(ctx context.Context, w deliver.Write) (won bool, err error) {
	for {
		err := l.apply(ctx, []deliver.Write{w})
		if !errors.Is(err, store.ErrVersion) {
			return err == nil, err
		}
		if w.Inbox == nil {
			return false, nil
		}
		have := int64(0)
		switch doc, err := l.hot.Get(ctx, "deliveries", deliveryKey(w.Workspace, w.ID)); {
		case err == nil:
			have = doc.Version
		case !errors.Is(err, store.ErrNotFound):
			return false, err
		}
		if have != w.If {
			return false, nil
		}
	}
}

// ChangeInbox implements deliver.Ledger.
func (l ledger) ChangeInbox(ctx context.Context, c *deliver.InboxChange) error {
	for {
		var b store.Batch
		if err := l.addInboxes(ctx, &b, []*deliver.InboxChange{c}); err != nil {
			return err
		}
		if len(b.Puts)+len(b.Deletes) == 0 {
			return nil
		}
		if err := l.hot.Apply(ctx, b); !errors.Is(err, store.ErrVersion) {
			return err
		}
	}
}

// apply writes all or nothing.
func (l ledger) apply(ctx context.Context, writes []deliver.Write) error {
	var b store.Batch
	var inboxes []*deliver.InboxChange
	for _, w := range writes {
		b.Puts = append(b.Puts, store.Put{
			Collection: "deliveries", Key: deliveryKey(w.Workspace, w.ID), Body: w.Body, Expires: w.Expires, If: w.If,
		})
		if w.Inbox != nil {
			inboxes = append(inboxes, w.Inbox)
		}
	}
	if err := l.addInboxes(ctx, &b, inboxes); err != nil {
		return err
	}
	return l.hot.Apply(ctx, b)
}

// inboxBatch is what is to be written of one inbox.
type inboxBatch struct {
	key     store.Key
	version int64 // of the head that was read
	state   deliver.InboxState
	expires time.Time
	changed bool
	items   map[string]*deliver.InboxItem // by delivery; nil: removed
}

// addInboxes adds what the changes make of the inboxes that are there.
func (l ledger) addInboxes(ctx context.Context, b *store.Batch, changes []*deliver.InboxChange) error {
	var all []*inboxBatch
	for _, c := range changes {
		key := store.Key{Workspace: c.Workspace, ID: c.Profile}
		i := slices.IndexFunc(all, func(x *inboxBatch) bool { return x.key == key })
		if i < 0 {
			state, version, err := l.inbox(ctx, c.Workspace, c.Profile)
			if err != nil {
				return err
			}
			i = len(all)
			all = append(all, &inboxBatch{key: key, version: version, state: state, items: map[string]*deliver.InboxItem{}})
		}
		x := all[i]
		edit, err := c.Apply(x.state)
		if err != nil {
			return fmt.Errorf("change inbox of %s: %w", c.Profile, err)
		}
		if edit.Head == nil {
			continue
		}
		x.state, x.expires, x.changed = deliver.InboxState{Head: edit.Head}, edit.Expires, true
		if edit.Put != nil {
			x.items[edit.Put.Delivery] = edit.Put
		}
		for _, id := range edit.Remove {
			x.items[id] = nil
		}
	}
	for _, x := range all {
		if !x.changed {
			continue
		}
		b.Puts = append(b.Puts, store.Put{Collection: "inbox", Key: x.key, Body: x.state.Head, Expires: x.expires, If: x.version})
		for _, id := range slices.Sorted(maps.Keys(x.items)) {
			it, key := x.items[id], inboxKey(x.key.Workspace, x.key.ID, id)
			if it == nil {
				b.Deletes = append(b.Deletes, store.Delete{Collection: "inbox", Key: key})
				continue
			}
			body, err := json.Marshal(inboxDoc{1, it.At.UnixMicro(), it.Body})
			if err != nil {
				return fmt.Errorf("encode inbox item: %w", err)
			}
			b.Puts = append(b.Puts, store.Put{Collection: "inbox", Key: key, Body: body, Expires: it.Expires, If: store.AnyVersion})
		}
	}
	return nil
}

func inboxKey(workspace, profile, delivery string) store.Key {
	return store.Key{Workspace: workspace, ID: profile + "/" + delivery}
}

// Due implements deliver.Ledger.
func (l ledger) Due(ctx context.Context, lane string, after deliver.Mark, limit int) ([]deliver.Record, error) {
	filter := store.Filter{Path: "lane", Op: store.Eq, Value: lane}
	if !after.Due.IsZero() {
		at := after.Due.UnixMicro()
		filter = store.Filter{All: []store.Filter{filter, {Path: "due_us", Op: store.Ge, Value: at}}}
		if after.ID != "" {
			filter.All = append(filter.All, store.Filter{Any: []store.Filter{
				{Path: "due_us", Op: store.Gt, Value: at},
				{Path: store.IDPath, Op: store.Gt, Value: deliveryKey(after.Workspace, after.ID).ID},
			}})
		}
	}
	page, err := l.hot.Find(ctx, "deliveries", store.Query{Workspace: store.System, Filter: filter, Sort: "due_us", Limit: limit})
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

// Waiting implements deliver.Ledger.
func (l ledger) Waiting(ctx context.Context, prefix string) (int, error) {
	n, err := l.hot.Count(ctx, "deliveries", store.Query{
		Workspace: store.System, Filter: store.Filter{Path: "lane", Op: store.Prefix, Value: prefix},
	})
	if err != nil {
		return 0, fmt.Errorf("count deliveries of lanes %s: %w", prefix, err)
	}
	return int(n), nil
}

// Inbox implements deliver.Ledger.
func (l ledger) Inbox(ctx context.Context, workspace, profile string) (deliver.InboxState, error) {
	state, _, err := l.inbox(ctx, workspace, profile)
	return state, err
}

// inbox also returns the version of the head, 0 for none.
func (l ledger) inbox(ctx context.Context, workspace, profile string) (state deliver.InboxState, version int64, err error) {
	head, err := l.hot.Get(ctx, "inbox", store.Key{Workspace: workspace, ID: profile})
	if err == nil {
		return deliver.InboxState{Head: head.Body}, head.Version, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return state, 0, fmt.Errorf("read inbox: %w", err)
	}
	err = l.hot.Iterate(ctx, "inbox", store.Query{Workspace: workspace, IDPrefix: profile + "/"}, func(d store.Doc) error {
		it, err := inboxItem(workspace, profile, d)
		state.Items = append(state.Items, it)
		return err
	})
	if err != nil {
		return state, 0, fmt.Errorf("read inbox: %w", err)
	}
	slices.SortStableFunc(state.Items, func(a, b deliver.InboxItem) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Delivery, b.Delivery))
	})
	return state, 0, nil
}

func inboxItem(workspace, profile string, d store.Doc) (deliver.InboxItem, error) {
	var doc inboxDoc
	if err := json.Unmarshal(d.Body, &doc); err != nil {
		return deliver.InboxItem{}, fmt.Errorf("decode inbox item %s: %w", d.ID, err)
	}
	return deliver.InboxItem{
		Workspace: workspace, Profile: profile, Delivery: strings.TrimPrefix(d.ID, profile+"/"),
		At: time.UnixMicro(doc.AtUS).UTC(), Expires: d.Expires, Body: doc.Item,
	}, nil
}

// fewItems are read one by one, which is quicker than to find them.
const fewItems = 3

// InboxItems implements deliver.Ledger.
func (l ledger) InboxItems(ctx context.Context, workspace, profile string, deliveries []string) ([]deliver.InboxItem, error) {
	var out []deliver.InboxItem
	add := func(d store.Doc) error {
		it, err := inboxItem(workspace, profile, d)
		out = append(out, it)
		return err
	}
	if len(deliveries) > fewItems {
		err := l.hot.Iterate(ctx, "inbox", store.Query{Workspace: workspace, IDPrefix: profile + "/"}, func(d store.Doc) error {
			if !slices.Contains(deliveries, strings.TrimPrefix(d.ID, profile+"/")) {
				return nil
			}
			return add(d)
		})
		if err != nil {
			return nil, fmt.Errorf("read inbox items: %w", err)
		}
		return out, nil
	}
	for _, id := range deliveries {
		doc, err := l.hot.Get(ctx, "inbox", inboxKey(workspace, profile, id))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err == nil {
			err = add(doc)
		}
		if err != nil {
			return nil, fmt.Errorf("read inbox item: %w", err)
		}
	}
	return out, nil
}
