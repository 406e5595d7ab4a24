package partition

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/fastjson"
	"github.com/footfall-engage/footfall/server/store"
)

// snapshot is all that changed since the last one, at a record's end. States and
// documents are never changed after they were put, so it can be encoded beside
// the loop.
type snapshot struct {
	p      *Partition
	pos    statePosition
	over   int64 // version of the position that it is written over
	states map[string]engage.State
	writes map[writeKey]write
	timers map[timerKey]*timer
	sizes  sizes
}

// sizes are the bytes of encoded states, by key.
type sizes map[string]int

// snapshot takes the changes over; p.flight keeps the states from eviction until
// they are committed.
func (p *Partition) snapshot() *snapshot {
	s := &snapshot{
		p: p, over: p.statesVersion, states: p.dirty, writes: p.writes, timers: p.timers.dirty, sizes: make(sizes, len(p.dirty)),
		pos: statePosition{
			V: 1, position: position{p.inc, p.next - 1}, Marks: maps.Clone(p.marks),
			Adopted: p.adopted, Build: p.o.Build, Hours: append([]hourMark(nil), p.hours...), Sealed: append([]sealed(nil), p.sealed...),
		},
	}
	p.flight, p.sizes = p.dirty, s.sizes
	p.saving = s.pos.position
	p.saves = len(s.states) + len(s.writes)
	p.dirty = map[string]engage.State{}
	p.writes, p.pending = map[writeKey]write{}, 0
	p.timers.dirty = map[timerKey]*timer{}
	p.dirtyPos = false
	return s
}

// stretch is how many states are encoded, and entries applied, at a stretch.
const stretch = 8

// into encodes the snapshot into a batch; its last put is the position.
func (s *snapshot) into(b *store.Batch) error {
	p := s.p
	n := 0
	for key, st := range s.states {
		// A long stretch of work on few cores delays the loop; see sqlite.
		if n++; n%stretch == 0 {
			runtime.Gosched()
		}
		if st == nil {
			b.Deletes = append(b.Deletes, store.Delete{Collection: "state_" + p.o.Kind, Key: stateKey(key)})
			continue
		}
		body, err := st.Encode()
		if err != nil {
			return fmt.Errorf("encode state: %w", err)
		}
		s.sizes[key] = len(body)
		b.Puts = append(b.Puts, store.Put{Collection: "state_" + p.o.Kind, Key: stateKey(key), Body: body, If: store.AnyVersion})
	}
	for k, w := range s.writes {
		key := store.Key{Workspace: k.workspace, ID: k.id}
		if w.doc == nil {
			b.Deletes = append(b.Deletes, store.Delete{Collection: k.collection, Key: key})
			continue
		}
		body, err := encodeDoc(w.doc)
		if err != nil {
			return fmt.Errorf("encode %s: %w", k.collection, err)
		}
		b.Puts = append(b.Puts, store.Put{Collection: k.collection, Key: key, Body: body, Expires: w.expires, If: store.AnyVersion})
	}
	for k, t := range s.timers {
		if t == nil {
			b.Deletes = append(b.Deletes, store.Delete{Collection: "timers", Key: p.timerDoc(k)})
			continue
		}
		t.V = 1
		body, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("encode timer: %w", err)
		}
		b.Puts = append(b.Puts, store.Put{Collection: "timers", Key: p.timerDoc(k), Body: body, If: store.AnyVersion})
	}
	body, err := json.Marshal(s.pos)
	if err != nil {
		return fmt.Errorf("encode state position: %w", err)
	}
	b.Puts = append(b.Puts, p.positionPut("states", body, s.over))
	return nil
}

// Most documents are entries of a timeline.
var entryJSON = fastjson.Of[engage.TimelineEntry]()

// encodeDoc is what is stored of a recorded document: JSON, unless it knows better.
func encodeDoc(doc any) ([]byte, error) {
	switch x := doc.(type) {
	case engage.TimelineEntry:
		return entryJSON.Append(make([]byte, 0, 320+len(x.Data)), &x)
	case interface{ Encode() ([]byte, error) }:
		return x.Encode()
	}
	return json.Marshal(doc)
}

func (s *snapshot) commit(ctx context.Context) error {
	var b store.Batch
	if err := s.into(&b); err != nil {
		return err
	}
	if err := s.p.o.Fault(FaultStatesBefore); err != nil {
		return err
	}
	if err := s.p.commit(ctx, s.p.o.States, "commit states", b, b.Puts[len(b.Puts)-1]); err != nil {
		return fmt.Errorf("commit states up to %d: %w", s.pos.Seq, err)
	}
	return s.p.o.Fault(FaultStatesAfter)
}

// A save of many states is followed by a longer time until the next: savePace for each,
// at most saveRarely times CheckpointEvery.
const (
	savePace   = 2 * time.Millisecond
	saveRarely = 5
)

// saveAfter is how long after a save the next one begins. A state is encoded and
// written whole, and a busy install's changes with every message: of saves that follow
// each other slower, each saves the work of several. What it costs is read sooner
// than it was written by so much, and replayed after a crash.
func (p *Partition) saveAfter() time.Duration {
	return min(p.o.CheckpointEvery+time.Duration(p.saves)*savePace, saveRarely*p.o.CheckpointEvery)
}

// checkpoint begins to save the states beside the loop, unless nothing changed
// or a save is under way.
func (p *Partition) checkpoint(ctx context.Context) error {
	if err := p.forgetRows(ctx); err != nil {
		return err
	}
	if p.o.Mode == Reference {
		return p.trim(ctx) // every batch has saved
	}
	if p.flight != nil {
		return nil
	}
	if !p.dirtyPos {
		return p.trim(ctx) // the clock goes on
	}
	s := p.snapshot()
	ctx = context.WithoutCancel(ctx)
	go func() { p.saved <- s.commit(ctx) }() // joined by whoever reads p.saved
	return nil
}

// checkpointed takes the result of a save.
func (p *Partition) checkpointed(ctx context.Context, err error) error {
	p.flight = nil
	if err != nil {
		return err
	}
	p.savedPos = p.saving
	p.statesVersion++
	p.evict()
	return p.trim(ctx)
}

// checkpointNow saves the states and waits for it.
func (p *Partition) checkpointNow(ctx context.Context) error {
	if p.flight != nil {
		if err := p.checkpointed(ctx, <-p.saved); err != nil {
			return err
		}
	}
	if err := p.forgetRows(ctx); err != nil {
		return err
	}
	if !p.dirtyPos && len(p.dirty) == 0 && len(p.writes) == 0 {
		return nil
	}
	s := p.snapshot()
	return p.checkpointed(ctx, s.commit(ctx))
}

// forgetRows deletes outbox rows that have left and that no commit took along. It
// can wait: a row that is still there is published again at most.
func (p *Partition) forgetRows(ctx context.Context) error {
	const doing = "delete outbox rows"
	gone := p.outbox.takeGone()
	if len(gone) == 0 {
		p.healed(doing) // a commit has taken them along
		return nil
	}
	done, err := p.once(ctx, doing, func(ctx context.Context) error {
		return p.o.Hot.Apply(ctx, store.Batch{Deletes: rowDeletes(gone)})
	})
	if err != nil {
		return fmt.Errorf("delete outbox rows: %w", err)
	}
	if !done {
		p.outbox.keepGone(gone)
	}
	return nil
}

// trim lets go of records that are older than the retention, by log time, and in
// the committed states.
func (p *Partition) trim(ctx context.Context) error {
	horizon := p.o.Clock.Now().Add(-p.o.Retention)
	if err := p.trimSealed(ctx, horizon); err != nil {
		return err
	}
	n := p.trimmable(horizon)
	if n == 0 || p.savedPos.Incarnation != p.inc {
		return nil
	}
	// The last record stays in any case: a stream that is empty after a power cut may
	// have forgotten where it was.
	before := p.savedPos.Seq
	if n < len(p.hours) {
		before = min(before, p.hours[n].Seq)
	}
	if before <= p.hours[0].Seq {
		return nil
	}
	done, err := p.once(ctx, "trim the log", func(ctx context.Context) error { return p.stream.Trim(ctx, before) })
	if err != nil {
		return fmt.Errorf("trim below %d: %w", before, err)
	}
	if done {
		rest := slices.Clone(p.hours[n:])
		if len(rest) == 0 || rest[0].Seq > before { // what is left of an hour
			rest = slices.Insert(rest, 0, hourMark{p.hours[n-1].Hour, before})
		}
		p.hours = rest
	}
	return nil
}

// trimmable is how many of the hours ended before the horizon.
func (p *Partition) trimmable(horizon time.Time) int {
	n := 0
	for n < len(p.hours) && !p.hours[n].Hour.Add(time.Hour).After(horizon) {
		n++
	}
	return n
}

// trimSealed empties incarnations that were sealed before the horizon.
func (p *Partition) trimSealed(ctx context.Context, horizon time.Time) error {
	for len(p.sealed) > 0 && p.sealed[0].At.Before(horizon) {
		done, err := p.once(ctx, "trim a sealed stream", func(ctx context.Context) error {
			s, _, last, err := p.openStream(ctx, p.sealed[0].Incarnation)
			if err != nil {
				return err
			}
			return s.Trim(ctx, last+1)
		})
		if err != nil {
			return fmt.Errorf("trim sealed incarnation: %w", err)
		}
		if !done {
			return nil
		}
		p.sealed = p.sealed[1:]
		p.dirtyPos = true
	}
	return nil
}

// expiry of a recorded document; wanted is false of those that are not kept at all.
func (p *Partition) expiry(k writeKey, at time.Time) (expires time.Time, wanted bool) {
	keep, ok := p.o.Keep[k.collection]
	if k.collection == engage.KeptTimeline {
		if own, has := p.o.Keep[engage.TimelineKept(k.id)]; has {
			keep, ok = own, true
		}
	}
	if !ok {
		return time.Time{}, true
	}
	return at.Add(keep), keep > 0
}

// dueChannel keeps one wake-up of the clock.
type dueChannel struct {
	t    time.Time
	ch   <-chan struct{}
	stop func()
}

// at returns a channel that closes at t; nil for the zero time.
func (d *dueChannel) at(c clock.Clock, t time.Time) <-chan struct{} {
	if t.Equal(d.t) && d.ch != nil {
		return d.ch
	}
	d.drop()
	if t.IsZero() {
		return nil
	}
	d.t = t
	d.ch, d.stop = c.At(t)
	return d.ch
}

func (d *dueChannel) drop() {
	if d.stop != nil {
		d.stop()
	}
	*d = dueChannel{}
}
