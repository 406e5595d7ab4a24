package eventlog

import (
	"math/bits"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// call is one Append or AppendAsync.
type call struct {
	entries []engage.Entry
	left    int // entries that have neither landed nor failed
	err     error
	done    func(seq uint64, err error)
	pooled  bool // nobody but the writer knows it
}

// callPool keeps calls for their memory.
var callPool = sync.Pool{New: func() any { return new(call) }}

// free gives back a call that is over.
func (c *call) free() {
	if c.pooled {
		*c = call{}
		callPool.Put(c)
	}
}

// run is the longest stretch of a call's entries that are of one workspace and
// all sourced or all not.
type run struct {
	call    *call
	entries []engage.Entry // not yet in a record
	turn    uint64         // of a sourced one, in the order of arrival; 0: it is not
}

// turn is of a sourced run.
type turn struct {
	n     uint64
	queue *queue
}

// queue holds the runs of one workspace.
type queue struct {
	workspace string
	runs      fifo[run]
	inRing    bool
}

// pile is what waits to be appended: first in, first out within a workspace,
// the workspaces in turn, and sourced entries in the order of their arrival
// whatever their workspace: their reader keeps one high-water mark per source,
// so an entry that overtakes another would make it drop the other.
type pile struct {
	queues  map[string]*queue
	ring    fifo[*queue] // those whose first run may be taken
	sourced fifo[turn]   // in order of arrival
	turns   uint64       // the newest
	rec     record       // what take gives, for its memory
	free    [][]engage.Entry
}

// maxEmptyQueues are kept for reuse.
const maxEmptyQueues = 64

func newPile() *pile { return &pile{queues: map[string]*queue{}} }

func (p *pile) add(c *call) {
	rest := c.entries
	for len(rest) > 0 {
		ws, sourced := rest[0].Workspace(), !rest[0].From.Outside()
		n := 1
		for n < len(rest) && rest[n].Workspace() == ws && !rest[n].From.Outside() == sourced {
			n++
		}
		q := p.queues[ws]
		if q == nil {
			q = &queue{workspace: ws}
			p.queues[ws] = q
		}
		r := run{call: c, entries: rest[:n]}
		if sourced {
			p.turns++
			r.turn = p.turns
			p.sourced.push(turn{r.turn, q})
		}
		q.runs.push(r)
		p.enter(q)
		rest = rest[n:]
	}
}

// enter puts a queue into the ring if its first run may be taken.
func (p *pile) enter(q *queue) {
	r := q.runs.front()
	if r == nil || q.inRing || !p.takeable(r) {
		return
	}
	q.inRing = true
	p.ring.push(q)
}

func (p *pile) takeable(r *run) bool {
	return r.turn == 0 || p.sourced.front().n == r.turn
}

// part is what a record has of a call.
type part struct {
	call *call
	n    int
}

// record is what is appended as one message.
type record struct {
	workspace string
	entries   []engage.Entry
	parts     []part
}

// take forms the next record, nil if nothing waits. Its first entry may exceed
// maxBytes. The record is good until the next take; its entries are given away.
func (p *pile) take(maxEntries, maxBytes int) *record {
	q, ok := p.ring.pop()
	if !ok {
		return nil
	}
	q.inRing = false
	rec := &p.rec
	clear(rec.parts)
	rec.workspace, rec.parts = q.workspace, rec.parts[:0]
	waiting, calls := 0, min(q.runs.len(), maxEntries)
	for _, r := range q.runs.all()[:calls] {
		waiting += len(r.entries)
	}
	rec.entries = p.room(min(waiting, maxEntries))
	size := recordOverhead
	full := false
	for !full {
		r := q.runs.front()
		if r == nil || !p.takeable(r) {
			break
		}
		n := 0
		for n < len(r.entries) && !full {
			size += entrySize(&r.entries[n])
			if full = len(rec.entries)+n == maxEntries || len(rec.entries)+n > 0 && size > maxBytes; !full {
				n++
			}
		}
		if n == 0 {
			break
		}
		rec.entries = append(rec.entries, r.entries[:n]...)
		rec.parts = append(rec.parts, part{r.call, n})
		if r.entries = r.entries[n:]; len(r.entries) > 0 {
			break
		}
		isSourced := r.turn != 0
		q.runs.pop()
		if isSourced {
			p.sourced.pop()
			if next := p.sourced.front(); next != nil && next.queue != q {
				p.enter(next.queue)
			}
		}
	}
	p.enter(q)
	if q.runs.len() == 0 && len(p.queues) > maxEmptyQueues {
		delete(p.queues, q.workspace)
	}
	return rec
}

// Rooms for the entries of a record that are kept for reuse, and how large one may be.
const (
	maxRooms     = 8
	maxRoomSlots = 512
)

// room is memory for n entries.
func (p *pile) room(n int) []engage.Entry {
	for i, free := range p.free {
		if cap(free) >= n {
			last := len(p.free) - 1
			p.free[i], p.free[last] = p.free[last], nil
			p.free = p.free[:last]
			return free
		}
	}
	if len(p.free) == maxRooms { // all too small: the next to come back may be larger
		p.free = p.free[:maxRooms-1]
	}
	if n > maxRoomSlots {
		return make([]engage.Entry, 0, n)
	}
	return make([]engage.Entry, 0, max(8, 1<<bits.Len(uint(n-1))))
}

// vacate takes the memory of a record's entries back.
func (p *pile) vacate(entries []engage.Entry) {
	if cap(entries) <= maxRoomSlots && len(p.free) < maxRooms {
		p.free = append(p.free, entries[:0])
	}
}

// calls returns the calls that have entries waiting, each once.
func (p *pile) calls() []*call {
	seen := map[*call]bool{}
	var all []*call
	for _, q := range p.queues {
		for _, r := range q.runs.all() {
			if !seen[r.call] {
				seen[r.call] = true
				all = append(all, r.call)
			}
		}
	}
	return all
}

// recordOverhead is the most that a record has beside its entries.
const recordOverhead = 1 + 5

// stamped stands for the log time that an entry will get.
var stamped = time.Unix(1<<32, 0)

// entrySize is the encoded size of an entry once it is stamped.
func entrySize(e *engage.Entry) int {
	at := e.At
	if at.IsZero() {
		at = stamped
	}
	n := prefixed(len(e.Kind)) + prefixed(len(e.Key)) + varintLen(at) + varintLen(e.Occurred) +
		prefixed(len(e.From.Partition)) + prefixed(len(e.Body))
	if !e.From.Outside() {
		n += uvarintLen(uint64(e.From.Incarnation)) + uvarintLen(e.From.Seq) + uvarintLen(uint64(e.From.Index))
	}
	return n
}

func prefixed(n int) int { return n + uvarintLen(uint64(n)) }

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func varintLen(t time.Time) int {
	if t.IsZero() {
		return 1
	}
	n := t.UnixNano()
	return uvarintLen(uint64(n)<<1 ^ uint64(n>>63))
}

// fifo is a queue that reuses its memory.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) push(v T) {
	if f.head > 32 && f.head > len(f.items)/2 {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, v)
}

// front is the first, nil when there is none, until the next push or pop.
func (f *fifo[T]) front() *T {
	if f.head == len(f.items) {
		return nil
	}
	return &f.items[f.head]
}

func (f *fifo[T]) pop() (v T, ok bool) {
	if f.head == len(f.items) {
		return v, false
	}
	var zero T
	v, f.items[f.head] = f.items[f.head], zero
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return v, true
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }

func (f *fifo[T]) all() []T { return f.items[f.head:] }
