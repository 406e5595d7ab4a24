// Package webhooktest has a webhook.Queue in memory, and the contract that every
// implementation keeps.
package webhooktest

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/webhook"
)

// Memory is a Queue in memory. The zero value is empty.
type Memory struct {
	mu    sync.Mutex
	items map[webhook.Key]map[string]webhook.Item
	// Fault, if not nil, is asked before each call by its name ("add", "next", "put",
	// "remove", "count", …); its error is the call's, and nothing is done.
	Fault func(op string) error
	Now   func() time.Time // judges what is expired; nil: nothing is
}

func (m *Memory) begin(op string) (func(), error) {
	m.mu.Lock()
	if m.items == nil {
		m.items = map[webhook.Key]map[string]webhook.Item{}
	}
	if m.Fault != nil {
		if err := m.Fault(op); err != nil {
			m.mu.Unlock()
			return nil, err
		}
	}
	if m.Now != nil {
		now := m.Now()
		for _, of := range m.items {
			for id, it := range of {
				if !it.Expires.IsZero() && !now.Before(it.Expires) {
					delete(of, id)
				}
			}
		}
	}
	return m.mu.Unlock, nil
}

// kept is a copy as a store would give it back.
func kept(it webhook.Item) *webhook.Item {
	b, err := json.Marshal(it)
	if err != nil {
		panic(err)
	}
	out := &webhook.Item{Key: it.Key, Version: it.Version, Expires: it.Expires}
	if err := json.Unmarshal(b, out); err != nil {
		panic(err)
	}
	return out
}

// Add implements webhook.Queue.
func (m *Memory) Add(_ context.Context, items []*webhook.Item) ([]bool, error) {
	end, err := m.begin("add")
	if err != nil {
		return nil, err
	}
	defer end()
	added := make([]bool, len(items))
	for i, it := range items {
		if m.items[it.Key] == nil {
			m.items[it.Key] = map[string]webhook.Item{}
		}
		if _, there := m.items[it.Key][it.Event.ID]; !there {
			it.Version = 1
			m.items[it.Key][it.Event.ID] = *kept(*it)
			added[i] = true
		}
	}
	return added, nil
}

// sorted are the items of a subscription as they are kept, the earliest due first.
func (m *Memory) sorted(k webhook.Key, dead bool) []webhook.Item {
	var out []webhook.Item
	for _, it := range m.items[k] {
		if it.Dead == dead {
			out = append(out, it)
		}
	}
	slices.SortFunc(out, func(a, b webhook.Item) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Event.ID, b.Event.ID))
	})
	return out
}

func copies(items []webhook.Item) []*webhook.Item {
	var out []*webhook.Item
	for _, it := range items {
		out = append(out, kept(it))
	}
	return out
}

// Next implements webhook.Queue.
func (m *Memory) Next(_ context.Context, k webhook.Key, limit int) ([]*webhook.Item, error) {
	end, err := m.begin("next")
	if err != nil {
		return nil, err
	}
	defer end()
	all := m.sorted(k, false)
	return copies(all[:min(limit, len(all))]), nil
}

// Put implements webhook.Queue.
func (m *Memory) Put(_ context.Context, items []*webhook.Item) error {
	end, err := m.begin("put")
	if err != nil {
		return err
	}
	defer end()
	for _, it := range items {
		if have, there := m.items[it.Key][it.Event.ID]; there && have.Version == it.Version {
			it.Version++
			m.items[it.Key][it.Event.ID] = *kept(*it)
		}
	}
	return nil
}

// Remove implements webhook.Queue.
func (m *Memory) Remove(_ context.Context, items []*webhook.Item) error {
	end, err := m.begin("remove")
	if err != nil {
		return err
	}
	defer end()
	for _, it := range items {
		delete(m.items[it.Key], it.Event.ID)
	}
	return nil
}

// Get implements webhook.Queue.
func (m *Memory) Get(_ context.Context, k webhook.Key, event string) (*webhook.Item, error) {
	end, err := m.begin("get")
	if err != nil {
		return nil, err
	}
	defer end()
	it, there := m.items[k][event]
	if !there {
		return nil, nil //nolint:nilnil // the contract
	}
	return kept(it), nil
}

// Dead implements webhook.Queue.
func (m *Memory) Dead(_ context.Context, k webhook.Key, cursor string, limit int) ([]*webhook.Item, string, error) {
	end, err := m.begin("dead")
	if err != nil {
		return nil, "", err
	}
	defer end()
	all := m.sorted(k, true)
	slices.Reverse(all)
	if cursor != "" {
		us, err := strconv.ParseInt(cursor[:min(len(cursor), 16)], 10, 64)
		if err != nil {
			return nil, "", engage.Errorf(engage.Invalid, "cursor", "is not a cursor of this list")
		}
		all = slices.DeleteFunc(all, func(it webhook.Item) bool {
			at := it.Due.UnixMicro()
			return at > us || at == us && it.Event.ID >= cursor[17:]
		})
	}
	if len(all) <= limit {
		return copies(all), "", nil
	}
	last := all[limit-1]
	return copies(all[:limit]), strconv.FormatInt(last.Due.UnixMicro(), 10) + "/" + last.Event.ID, nil
}

// Count implements webhook.Queue.
func (m *Memory) Count(_ context.Context, k webhook.Key) (waiting, dead int, err error) {
	end, err := m.begin("count")
	if err != nil {
		return 0, 0, err
	}
	defer end()
	for _, it := range m.items[k] {
		if it.Dead {
			dead++
		} else {
			waiting++
		}
	}
	return waiting, dead, nil
}

// Forget implements webhook.Queue.
func (m *Memory) Forget(_ context.Context, k webhook.Key) error {
	end, err := m.begin("forget")
	if err != nil {
		return err
	}
	defer end()
	delete(m.items, k)
	return nil
}

// Subscriptions implements webhook.Queue.
func (m *Memory) Subscriptions(_ context.Context, workspace string) ([]string, error) {
	end, err := m.begin("subscriptions")
	if err != nil {
		return nil, err
	}
	defer end()
	var out []string
	for k, of := range m.items {
		if k.Workspace == workspace && len(of) > 0 {
			out = append(out, k.ID)
		}
	}
	slices.Sort(out)
	return out, nil
}

var at = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

func item(k webhook.Key, event string, due time.Duration) *webhook.Item {
	return &webhook.Item{
		Key: k, V: 1, Due: at.Add(due), At: at,
		Event: webhook.Event{ID: event, Type: engage.WebhookEntered, Subject: "people/ada", Time: at, Data: json.RawMessage(`{"place":{"name":"Café & <b>"}}`)},
	}
}

// RunQueue holds a Queue to the contract. open gives one on what an earlier one of the
// same test wrote; the clock of the queue stands before all that expires.
func RunQueue(t *testing.T, open func(t *testing.T) webhook.Queue) {
	crm, other, foreign := webhook.Key{Workspace: "acme", ID: "crm"}, webhook.Key{Workspace: "acme", ID: "crm2"}, webhook.Key{Workspace: "rival", ID: "crm"}
	q := open(t)
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	next := func(q webhook.Queue, k webhook.Key, limit int, want ...string) []*webhook.Item {
		t.Helper()
		items, err := q.Next(ctx, k, limit)
		check(err)
		var got []string
		for _, it := range items {
			got = append(got, it.Event.ID)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("next of %v: %v, want %v", k, got, want)
		}
		return items
	}
	if added, err := q.Add(ctx, nil); err != nil || len(added) != 0 {
		t.Fatal(added, err)
	}
	added, err := q.Add(ctx, []*webhook.Item{item(crm, "b", 2*time.Second), item(crm, "a", 3*time.Second), item(other, "a", 0), item(foreign, "a", 0), item(crm, "c", time.Second)})
	check(err)
	if slices.Contains(added, false) {
		t.Fatalf("added %v", added)
	}
	// What is there is let be, what is not is added.
	added, err = q.Add(ctx, []*webhook.Item{item(crm, "a", 0), item(crm, "d", 4*time.Second)})
	check(err)
	if !slices.Equal(added, []bool{false, true}) {
		t.Fatalf("added %v", added)
	}
	next(q, crm, 2, "c", "b")
	q = open(t)
	items := next(q, crm, 10, "c", "b", "a", "d")
	if got := items[2]; got.Key != crm || got.Version != 1 || !got.Due.Equal(at.Add(3*time.Second)) || string(got.Event.Data) != `{"place":{"name":"Café & \u003cb\u003e"}}` && string(got.Event.Data) != `{"place":{"name":"Café & <b>"}}` && string(got.Event.Data) != `{"place":{"name":"Café \u0026 \u003cb\u003e"}}` {
		t.Errorf("read back %+v: %s", got, got.Event.Data)
	}

	// A change counts once: who has read before it changes nothing.
	stale := next(q, crm, 10, "c", "b", "a", "d")[0]
	c := items[0]
	c.Due, c.Tries, c.Since, c.Alone = at.Add(9*time.Second), 1, at, true
	c.Last = &webhook.Answer{At: at, TookMS: 12, Status: 500, Reason: "http_500", Body: "oh"}
	check(q.Put(ctx, []*webhook.Item{c}))
	stale.Due = at
	check(q.Put(ctx, []*webhook.Item{stale}))
	got := next(q, crm, 10, "b", "a", "d", "c")[3]
	if got.Version != 2 || got.Tries != 1 || !got.Alone || got.Last == nil || *got.Last != *c.Last || !got.Since.Equal(at) {
		t.Errorf("changed to %+v", got)
	}
	// The copy that was put goes on from its version.
	c.Tries = 2
	check(q.Put(ctx, []*webhook.Item{c}))
	if got := next(q, crm, 10, "b", "a", "d", "c")[3]; got.Tries != 2 {
		t.Errorf("changed again to %+v", got)
	}

	// Dead letters, the newest first, by pages.
	for i, it := range next(q, crm, 10, "b", "a", "d", "c") {
		it.Dead, it.Why, it.Due, it.Expires = true, webhook.Refused, at.Add(time.Duration(i/2)*time.Minute), at.Add(1000*time.Hour)
		check(q.Put(ctx, []*webhook.Item{it}))
	}
	next(q, crm, 10)
	var dead []string
	cursor := ""
	for range 10 {
		page, n, err := q.Dead(ctx, crm, cursor, 1)
		check(err)
		for _, it := range page {
			dead = append(dead, it.Event.ID)
			if !it.Dead || it.Why != webhook.Refused || !it.Expires.Equal(at.Add(1000*time.Hour)) {
				t.Errorf("dead letter %+v", it)
			}
		}
		if cursor = n; n == "" {
			break
		}
	}
	if !slices.Equal(dead, []string{"d", "c", "b", "a"}) {
		t.Errorf("dead letters %v", dead)
	}
	if _, _, err := q.Dead(ctx, crm, "nonsense", 1); engage.CodeOf(err) != engage.Invalid {
		t.Errorf("a bad cursor: %v", err)
	}
	if waiting, n, err := q.Count(ctx, crm); err != nil || waiting != 0 || n != 4 {
		t.Errorf("%d wait, %d dead, %v", waiting, n, err)
	}
	if added, err := q.Add(ctx, []*webhook.Item{item(crm, "a", 0)}); err != nil || added[0] {
		t.Errorf("a dead letter was added again: %v %v", added, err)
	}
	it, err := q.Get(ctx, crm, "a")
	check(err)
	if it == nil || !it.Dead {
		t.Fatalf("got %+v", it)
	}
	it.Dead, it.Why, it.Expires = false, "", time.Time{}
	check(q.Put(ctx, []*webhook.Item{it}))
	if got := next(q, crm, 10, "a")[0]; !got.Expires.IsZero() {
		t.Errorf("what waits expires at %v", got.Expires)
	}
	if it, err := q.Get(ctx, crm, "none"); err != nil || it != nil {
		t.Errorf("got %+v, %v", it, err)
	}

	// What is removed is gone, and put by nobody.
	check(q.Remove(ctx, []*webhook.Item{it, item(crm, "never", 0)}))
	check(q.Put(ctx, []*webhook.Item{it}))
	next(q, crm, 10)
	if subs, err := q.Subscriptions(ctx, "acme"); err != nil || !slices.Equal(subs, []string{"crm", "crm2"}) {
		t.Errorf("subscriptions %v, %v", subs, err)
	}
	check(q.Forget(ctx, crm))
	if subs, err := q.Subscriptions(ctx, "acme"); err != nil || !slices.Equal(subs, []string{"crm2"}) {
		t.Errorf("subscriptions %v, %v", subs, err)
	}
	next(q, other, 10, "a")
	next(q, foreign, 10, "a")

	// Many at once.
	var many []*webhook.Item
	for i := range 1200 {
		many = append(many, item(crm, strconv.Itoa(1_000_000+i), time.Duration(i)*time.Microsecond))
	}
	_, err = q.Add(ctx, many)
	check(err)
	if waiting, _, err := q.Count(ctx, crm); err != nil || waiting != 1200 {
		t.Errorf("%d wait, %v", waiting, err)
	}
	check(q.Remove(ctx, many[:600]))
	items, err = q.Next(ctx, crm, 1000)
	check(err)
	if len(items) != 600 || items[0].Event.ID != "1000600" {
		t.Errorf("%d wait, the first is %s", len(items), items[0].Event.ID)
	}
	check(q.Forget(ctx, crm))
	next(q, crm, 10)
}
