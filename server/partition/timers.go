package partition

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// timer is a document of the collection "timers".
type timer struct {
	V    int       `json:"v"` // 1
	Key  string    `json:"key"`
	Name string    `json:"name"`
	Due  time.Time `json:"due"`
	Body []byte    `json:"body,omitempty"`
}

type timerKey struct{ key, name string }

type timerOp struct {
	timer
	clear bool
}

type timerItem struct {
	timer
	at     int  // place in the heap
	firing bool // its record has been appended, not yet applied
}

// timers is the due index of a partition: in memory a heap, in the store
// documents that are committed with the states.
type timers struct {
	byKey map[timerKey]*timerItem
	heap  timerHeap
	dirty map[timerKey]*timer // nil: deleted
}

func (t *timers) init() {
	t.byKey = map[timerKey]*timerItem{}
	t.dirty = map[timerKey]*timer{}
}

func (t *timers) apply(op timerOp) {
	k := timerKey{op.Key, op.Name}
	if op.clear {
		t.remove(k)
		return
	}
	c := op.timer
	t.dirty[k] = &c
	t.put(op.timer)
}

func (t *timers) put(c timer) {
	k := timerKey{c.Key, c.Name}
	if it := t.byKey[k]; it != nil {
		it.timer, it.firing = c, false
		if it.at < 0 {
			heap.Push(&t.heap, it)
		} else {
			heap.Fix(&t.heap, it.at)
		}
		return
	}
	it := &timerItem{timer: c}
	t.byKey[k] = it
	heap.Push(&t.heap, it)
}

func (t *timers) remove(k timerKey) {
	it := t.byKey[k]
	if it == nil {
		return
	}
	delete(t.byKey, k)
	if it.at >= 0 {
		heap.Remove(&t.heap, it.at)
	}
	t.dirty[k] = nil
}

// fires reports whether a firing record still stands for a timer, and removes it.
func (t *timers) fires(key string, f engage.Firing) bool {
	k := timerKey{key, f.Name}
	it := t.byKey[k]
	if it == nil || !it.Due.Equal(f.Due) {
		return false
	}
	t.remove(k)
	return true
}

// due takes the timers that are due at now off the heap, as entries to append.
func (t *timers) due(now time.Time, limit int) []engage.Entry {
	var out []engage.Entry
	for len(t.heap) > 0 && len(out) < limit && !t.heap[0].Due.After(now) {
		it := heap.Pop(&t.heap).(*timerItem) //nolint:forcetypeassert // the heap holds nothing else
		it.firing = true
		body, err := json.Marshal(engage.Firing{Name: it.Name, Due: it.Due, Body: it.Body})
		if err != nil {
			panic(fmt.Sprintf("encode a firing: %v", err)) // strings, times and bytes always encode
		}
		out = append(out, engage.Entry{Kind: engage.KindTimer, Key: it.Key, Body: body})
	}
	return out
}

// unfire puts timers whose firing could not be appended back on the heap.
func (t *timers) unfire(entries []engage.Entry) {
	for _, e := range entries {
		var f engage.Firing
		if json.Unmarshal(e.Body, &f) != nil {
			continue
		}
		it := t.byKey[timerKey{e.Key, f.Name}]
		if it != nil && it.firing {
			it.firing = false
			heap.Push(&t.heap, it)
		}
	}
}

// nextDue is when the earliest timer is due; zero when there is none.
func (t *timers) nextDue() time.Time {
	if len(t.heap) == 0 {
		return time.Time{}
	}
	return t.heap[0].Due
}

func (p *Partition) timerDoc(k timerKey) store.Key {
	return store.Key{
		Workspace: engage.WorkspaceOf(k.key),
		ID:        p.name + "/" + engage.IDOf(k.key) + "/" + k.name,
	}
}

type timerHeap []*timerItem

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if !h[i].Due.Equal(h[j].Due) {
		return h[i].Due.Before(h[j].Due)
	}
	if h[i].Key != h[j].Key {
		return h[i].Key < h[j].Key
	}
	return h[i].Name < h[j].Name
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) {
	it := x.(*timerItem) //nolint:forcetypeassert // called by package heap with our own items
	it.at = len(*h)
	*h = append(*h, it)
}

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	it.at = -1
	return it
}
