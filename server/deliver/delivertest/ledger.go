// Package delivertest has a deliver.Ledger in memory, for tests, and the
// contract that every Ledger must keep.
package delivertest

import (
	"cmp"
	"context"
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
	inbox   map[key][]deliver.InboxItem
	fail    error
	writes  int
}

type key struct{ workspace, id string }

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
		clock: c, records: map[key]deliver.Record{}, lanes: map[string][]entry{}, inbox: map[key][]deliver.InboxItem{},
	}
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
		if w.Unbox != "" {
			l.unbox(key{w.Workspace, w.Unbox}, w.ID)
		}
		if w.Inbox != nil {
			p := key{w.Inbox.Workspace, w.Inbox.Profile}
			l.unbox(p, w.Inbox.Delivery)
			l.inbox[p] = append(l.inbox[p], *w.Inbox)
			slices.SortFunc(l.inbox[p], func(a, b deliver.InboxItem) int {
				return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Delivery, b.Delivery))
			})
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

func (l *Ledger) unbox(profile key, delivery string) {
	l.inbox[profile] = slices.DeleteFunc(l.inbox[profile], func(it deliver.InboxItem) bool { return it.Delivery == delivery })
}

// Due implements deliver.Ledger.
func (l *Ledger) Due(_ context.Context, lane string, limit int) ([]deliver.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return nil, l.fail
	}
	entries := l.lanes[lane]
	entries = entries[:min(limit, len(entries))]
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

// Inbox implements deliver.Ledger.
func (l *Ledger) Inbox(_ context.Context, workspace, profile string) ([]deliver.InboxItem, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	out := slices.DeleteFunc(slices.Clone(l.inbox[key{workspace, profile}]), func(it deliver.InboxItem) bool {
		return !now.Before(it.Expires)
	})
	return out, l.fail
}

// Trim implements deliver.Ledger.
func (l *Ledger) Trim(_ context.Context, workspace, profile string, keep int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := key{workspace, profile}
	if n := len(l.inbox[p]); n > keep {
		l.inbox[p] = slices.Delete(l.inbox[p], 0, n-keep)
	}
	return l.fail
}
