// Package delivertest has a deliver.Ledger in memory, for tests, and the
// contract that every Ledger must keep.
package delivertest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
)

// Ledger keeps deliveries in memory. What was written stays when the deliverer
// that wrote it "crashes".
type Ledger struct {
	clock clock.Clock

	mu      sync.Mutex
	records map[key]deliver.Record
	lanes   map[string][]entry // in order
	heads   map[key]head       // of inboxes
	items   map[key][]deliver.InboxItem
	fail    error
	writes  int
}

type key struct{ workspace, id string }

type head struct {
	body    []byte
	expires time.Time
}

type entry struct {
	due time.Time
	key
}

func (e entry) compare(o entry) int {
	return cmp.Or(e.due.Compare(o.due), strings.Compare(e.workspace, o.workspace), strings.Compare(e.id, o.id))
}

// NewLedger makes an empty ledger whose records expire by the clock.
func NewLedger(c clock.Clock) *Ledger {
	return &Ledger{
		clock: c, records: map[key]deliver.Record{}, lanes: map[string][]entry{}, heads: map[key]head{}, items: map[key][]deliver.InboxItem{},
	}
}

// Clone is a copy, as a backup is one.
func (l *Ledger) Clone() *Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := NewLedger(l.clock)
	maps.Copy(c.records, l.records)
	maps.Copy(c.heads, l.heads)
	for k, v := range l.lanes {
		c.lanes[k] = slices.Clone(v)
	}
	for k, v := range l.items {
		c.items[k] = slices.Clone(v)
	}
	return c
}

// Fail makes every call fail with err, and work again with nil.
func (l *Ledger) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

// Writes is the number of records that were written so far.
func (l *Ledger) Writes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writes
}

// Len is the number of records that are there, the expired ones too.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.records)
}

func (l *Ledger) get(k key) (deliver.Record, bool) {
	r, ok := l.records[k]
	if ok && !r.Expires.IsZero() && !l.clock.Now().Before(r.Expires) {
		return deliver.Record{}, false
	}
	return r, ok
}

// Get implements deliver.Ledger.
func (l *Ledger) Get(_ context.Context, workspace, id string) (deliver.Record, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.get(key{workspace, id})
	return r, ok, l.fail
}

// Write implements deliver.Ledger.
func (l *Ledger) Write(_ context.Context, writes []deliver.Write) ([]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return nil, l.fail
	}
	won := make([]bool, len(writes))
	for i, w := range writes {
		k := key{w.Workspace, w.ID}
		old, ok := l.get(k)
		if ok != (w.If != 0) || ok && old.Version != w.If {
			continue
		}
		if w.Inbox != nil {
			if err := l.changeInbox(w.Inbox); err != nil {
				return nil, err
			}
		}
		won[i] = true
		l.writes++
		l.unlist(k)
		r := w.Record
		r.Version = w.If + 1
		r.Body = slices.Clone(r.Body)
		l.records[k] = r
		if r.Lane != "" {
			e := entry{r.Due, k}
			at, _ := slices.BinarySearchFunc(l.lanes[r.Lane], e, entry.compare)
			l.lanes[r.Lane] = slices.Insert(l.lanes[r.Lane], at, e)
		}
	}
	return won, nil
}

// unlist takes a record out of its lane.
func (l *Ledger) unlist(k key) {
	old, ok := l.records[k]
	if !ok || old.Lane == "" {
		return
	}
	lane := l.lanes[old.Lane]
	if at, ok := slices.BinarySearchFunc(lane, entry{old.Due, k}, entry.compare); ok {
		l.lanes[old.Lane] = slices.Delete(lane, at, at+1)
	}
	if len(l.lanes[old.Lane]) == 0 {
		delete(l.lanes, old.Lane)
	}
}

// ChangeInbox implements deliver.Ledger.
func (l *Ledger) ChangeInbox(_ context.Context, c *deliver.InboxChange) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	return l.changeInbox(c)
}

func (l *Ledger) changeInbox(c *deliver.InboxChange) error {
	k := key{c.Workspace, c.Profile}
	edit, err := c.Apply(l.inbox(k))
	if err != nil || edit.Head == nil {
		return err
	}
	l.heads[k] = head{slices.Clone(edit.Head), edit.Expires}
	if edit.Put != nil {
		l.putItem(*edit.Put)
	}
	l.items[k] = slices.DeleteFunc(l.items[k], func(it deliver.InboxItem) bool { return slices.Contains(edit.Remove, it.Delivery) })
	return nil
}

// PutItem writes an item as builds did that kept no head.
func (l *Ledger) PutItem(it deliver.InboxItem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.putItem(it)
}

// RemoveItem loses an item.
func (l *Ledger) RemoveItem(workspace, profile, delivery string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := key{workspace, profile}
	l.items[k] = slices.DeleteFunc(l.items[k], func(it deliver.InboxItem) bool { return it.Delivery == delivery })
}

func (l *Ledger) putItem(it deliver.InboxItem) {
	k := key{it.Workspace, it.Profile}
	l.items[k] = slices.DeleteFunc(l.items[k], func(old deliver.InboxItem) bool { return old.Delivery == it.Delivery })
	l.items[k] = append(l.items[k], it)
	slices.SortFunc(l.items[k], func(a, b deliver.InboxItem) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Delivery, b.Delivery))
	})
}

// Due implements deliver.Ledger.
func (l *Ledger) Due(_ context.Context, lane string, after deliver.Mark, limit int) ([]deliver.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return nil, l.fail
	}
	entries := l.lanes[lane]
	mark := entry{after.Due, key{after.Workspace, after.ID}}
	at, there := slices.BinarySearchFunc(entries, mark, entry.compare)
	if there {
		at++
	}
	entries = entries[at:min(at+limit, len(entries))]
	out := make([]deliver.Record, len(entries))
	for i, e := range entries {
		out[i] = l.records[e.key]
	}
	return out, nil
}

// Lanes implements deliver.Ledger.
func (l *Ledger) Lanes(context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for name := range l.lanes {
		out = append(out, name)
	}
	return out, l.fail
}

// Waiting implements deliver.Ledger.
func (l *Ledger) Waiting(_ context.Context, prefix string) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, entries := range l.lanes {
		if strings.HasPrefix(name, prefix) {
			n += len(entries)
		}
	}
	return n, l.fail
}

// Inbox implements deliver.Ledger.
func (l *Ledger) Inbox(_ context.Context, workspace, profile string) (deliver.InboxState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inbox(key{workspace, profile}), l.fail
}

func (l *Ledger) inbox(k key) deliver.InboxState {
	if h, ok := l.heads[k]; ok && l.clock.Now().Before(h.expires) {
		return deliver.InboxState{Head: slices.Clone(h.body)}
	}
	return deliver.InboxState{Items: l.there(k)}
}

// there are the items that are not expired.
func (l *Ledger) there(k key) []deliver.InboxItem {
	now := l.clock.Now()
	return slices.DeleteFunc(slices.Clone(l.items[k]), func(it deliver.InboxItem) bool { return !now.Before(it.Expires) })
}

// InboxItems implements deliver.Ledger.
func (l *Ledger) InboxItems(_ context.Context, workspace, profile string, deliveries []string) ([]deliver.InboxItem, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(l.there(key{workspace, profile}), func(it deliver.InboxItem) bool {
		return !slices.Contains(deliveries, it.Delivery)
	}), l.fail
}
