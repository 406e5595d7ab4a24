package partition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/store"
)

// Quarantined is a document of the collection "quarantine".
type Quarantined struct {
	V         int         `json:"v"` // 1
	Partition string      `json:"partition"`
	Seq       uint64      `json:"seq"`
	Kind      engage.Kind `json:"kind,omitempty"` // empty: the whole record could not be read
	Key       string      `json:"key,omitempty"`
	At        time.Time   `json:"at"`
	Reason    string      `json:"reason"`
	Record    []byte      `json:"record"` // of the one entry, or what could not be read
}

// A batch of records ends early, after so many outputs, that a commit stays small, or
// after so many entries: between batches the loop looks whether states must be saved, and
// a record of a busy partition has hundreds.
const (
	maxOutputs = 4000
	maxEntries = 1000
)

// Run applies records until ctx ends, then commits the states and returns nil.
// Another error means that the partition has stopped where a crash would have
// left it.
func (p *Partition) Run(ctx context.Context) error {
	defer close(p.done)
	defer p.outages.cut()
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	g, gctx := errgroup.WithContext(inner)
	g.Go(func() error {
		err := p.writer.Run(gctx)
		if gctx.Err() != nil {
			return nil
		}
		return err
	})
	g.Go(func() error {
		// Publishers live as long as the loop.
		defer cancel()
		defer p.bound(ctx, gctx)()
		err := p.loop(ctx, gctx, g)
		if err == nil {
			return p.checkpointNow(context.WithoutCancel(ctx))
		}
		close(p.outages.over)
		if p.flight != nil {
			// Join it: what it saved is whole.
			p.log.Debug("last save", "error", <-p.saved)
		}
		return err
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("partition %s: %w", p.name, err)
	}
	return nil
}

// bound gives outages an end: StopWithin after stop, or after something broke,
// nothing is waited for any more. The function that it returns gives it up.
func (p *Partition) bound(stop, broken context.Context) (cancel func()) {
	ending := func() {
		//nolint:forbidigo // how long to wait for a neighbour decides nothing
		t := time.AfterFunc(p.o.StopWithin, p.outages.cut)
		context.AfterFunc(p.outages.ending, func() { t.Stop() })
	}
	a, b := context.AfterFunc(stop, ending), context.AfterFunc(broken, ending)
	return func() {
		a()
		b()
	}
}

// loop runs until stop ends (cleanly) or ctx ends (something broke).
func (p *Partition) loop(stop, ctx context.Context, g *errgroup.Group) error {
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(stop, cancel)()

	p.tx.p = p
	if err := p.finishOld(both); err != nil {
		return p.unlessStopped(stop, err)
	}
	wanted := p.o.Configs.Latest()
	// Saves are bursts of work: those of different partitions begin at different times.
	first := p.o.CheckpointEvery * time.Duration(engage.SlotOf(p.name)+1) / engage.Slots
	//nolint:forbidigo // how often states are saved decides nothing
	tick := time.NewTimer(first)
	defer tick.Stop()
	var due dueChannel
	defer due.drop()

	var msgs []record
	for both.Err() == nil {
		var err error
		if len(msgs) == 0 {
			if msgs, err = p.take(both); err != nil {
				return p.unlessStopped(stop, err)
			}
		}
		busy := len(msgs) > 0
		if busy {
			// A stop does not interrupt a batch: what is half applied must not be saved.
			if msgs, err = p.process(context.WithoutCancel(both), msgs); err != nil {
				return err
			}
		}
		for _, q := range p.outbox.unattended() {
			g.Go(func() error { return p.publish(ctx, q) })
		}
		if p.next > p.endAtRun {
			if err := p.housekeep(wanted); err != nil {
				return err
			}
		}
		if err := p.waitForRoom(both); err != nil {
			return p.unlessStopped(stop, err)
		}
		// With work at hand only look at what is due; otherwise wait.
		if busy {
			select {
			case <-tick.C:
				tick.Reset(p.saveAfter())
				err = p.checkpoint(both)
			case err = <-p.saved:
				err = p.checkpointed(both, err)
			case answer := <-p.flushes:
				err = p.flush(both, answer)
			default:
			}
		} else {
			select {
			case <-p.inbox.wake:
			case <-due.at(p.o.Clock, p.dueTime()):
			case <-p.o.Configs.Changed():
			case <-tick.C:
				tick.Reset(p.saveAfter())
				err = p.checkpoint(both)
			case err = <-p.saved:
				err = p.checkpointed(both, err)
			case answer := <-p.flushes:
				err = p.flush(both, answer)
			case <-both.Done():
			}
		}
		if err != nil {
			return p.unlessStopped(stop, err)
		}
	}
	return ctx.Err() // nil when only stop has ended
}

// flush saves for who asked. A save that failed stops the loop like any other:
// what it should have saved is not in memory as changed any more.
func (p *Partition) flush(ctx context.Context, answer chan<- error) error {
	err := p.checkpointNow(context.WithoutCancel(ctx))
	answer <- err
	return err
}

// unlessStopped is nil when err only says that we were asked to stop.
func (p *Partition) unlessStopped(stop context.Context, err error) error {
	if stop.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// dueTime is when the loop must look at the timers; zero for never.
func (p *Partition) dueTime() time.Time {
	if !p.isReady {
		return time.Time{}
	}
	return p.timers.nextDue()
}

// housekeep runs between batches once the log has been applied to the end it had
// at the start: adopt configuration, become ready, fire timers.
func (p *Partition) housekeep(wanted uint64) error {
	p.outbox.openGate()
	if latest := p.o.Configs.Latest(); latest > p.adopted && latest > p.asked {
		body := fmt.Appendf(nil, "%d", latest)
		e := engage.Entry{Kind: engage.KindAdopt, Key: engage.SystemWorkspace + "/c:adopt", Body: body}
		p.firing.Add(1)
		if err := p.writer.AppendAsync([]engage.Entry{e}, func(uint64, error) { p.firing.Add(-1) }); err == nil {
			p.asked = latest
			p.heard.Store(latest)
		} else {
			p.firing.Add(-1)
		}
	}
	if p.adopted < wanted {
		return nil
	}
	err := p.fire()
	if !p.isReady {
		p.isReady = true
		close(p.ready)
	}
	return err
}

// fire appends a record for every timer that is due.
func (p *Partition) fire() error {
	fired := p.timers.due(p.o.Clock.Now(), 1000)
	if len(fired) == 0 {
		return nil
	}
	p.firing.Add(1)
	if err := p.writer.AppendAsync(fired, func(uint64, error) { p.firing.Add(-1) }); err != nil {
		p.firing.Add(-1)
		p.timers.unfire(fired) // the writer is full: the next round tries again
		return nil
	}
	p.firings.Add(uint64(len(fired)))
	return p.o.Fault(FaultTimerAppended)
}

// take returns the next records, from memory if they follow exactly, else from
// the stream; none when the log has nothing more.
func (p *Partition) take(ctx context.Context) ([]record, error) {
	handed, read := p.inbox.take(p.next, p.o.MaxBatch)
	if read {
		return p.readFrom(ctx, p.stream)
	}
	return handed, nil
}

// readFrom reads from p.next on and trusts no order but that of the sequences.
func (p *Partition) readFrom(ctx context.Context, s eventlog.Stream) ([]record, error) {
	for attempt := 0; ; attempt++ {
		var msgs []eventlog.Message
		err := p.insist(ctx, "read the log", func(ctx context.Context) (err error) {
			msgs, err = s.Read(ctx, p.next, p.o.MaxBatch)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read from %d: %w", p.next, err)
		}
		n := 0
		for n < len(msgs) && msgs[n].Seq == p.next+uint64(n) {
			n++
		}
		if n > 0 {
			out := make([]record, n)
			for i, m := range msgs[:n] {
				out[i].Message = m
			}
			return out, nil
		}
		if attempt == 10 {
			return nil, fmt.Errorf("read from %d: the log answers out of order", p.next)
		}
	}
}

// process applies a batch of records and commits what they put out. It returns those
// that are left for the next batch.
func (p *Partition) process(ctx context.Context, msgs []record) (rest []record, err error) {
	if err := p.o.Fault(FaultRead); err != nil {
		return nil, err
	}
	dests := map[string][]engage.Entry{}
	outs, before := 0, p.steps
	for len(msgs) > 0 && outs < maxOutputs && p.steps-before < maxEntries {
		m := msgs[0]
		n, err := p.applyRecord(ctx, m, dests)
		if err != nil {
			return nil, err
		}
		outs += n
		p.next = m.Seq + 1
		if m.size > 0 { // it is the writer's memory
			p.writer.Release(m.entries)
		}
		msgs = msgs[1:]
	}
	p.dirtyPos = true
	if err := p.o.Fault(FaultApplied); err != nil {
		return nil, err
	}
	seq := p.next - 1
	rows := make([]row, 0, len(dests))
	for dest, entries := range dests {
		rows = append(rows, row{rowID(p.name, p.inc, seq, dest), dest, entries})
	}
	if err := p.commitOutputs(ctx, seq, rows); err != nil {
		return nil, err
	}
	for _, r := range rows {
		p.outbox.add(r)
	}
	p.position.Store(seq) // after the rows: who sees it sees them
	return msgs, nil
}

// commitOutputs makes rows durable; in Reference mode the states with them.
func (p *Partition) commitOutputs(ctx context.Context, seq uint64, rows []row) error {
	var b store.Batch
	for _, r := range rows {
		b.Puts = append(b.Puts, store.Put{
			Collection: "outbox", Key: store.Key{Workspace: store.System, ID: r.id},
			Body: engage.EncodeRecord(r.entries), If: store.AnyVersion,
		})
	}
	if p.o.Mode == Reference {
		p.deleteGone(&b)
		if err := p.snapshot().into(&b); err != nil {
			return err
		}
		p.flight = nil
		p.savedPos = p.saving
		p.evict()
		if err := p.o.Fault(FaultStatesBefore); err != nil {
			return err
		}
	} else {
		if len(rows) == 0 {
			return nil // nothing leaves: the output position may lag
		}
		p.deleteGone(&b)
		p.outPos = position{p.inc, seq}
		body, err := json.Marshal(outputPosition{1, p.outPos})
		if err != nil {
			return fmt.Errorf("encode output position: %w", err)
		}
		b.Puts = append(b.Puts, p.positionPut("out", body, p.outVersion))
	}
	if err := p.commit(ctx, p.o.Hot, "commit outputs", b, b.Puts[len(b.Puts)-1]); err != nil {
		return fmt.Errorf("commit outputs up to %d: %w", seq, err)
	}
	if p.o.Mode == Reference {
		p.statesVersion++
	} else {
		p.outVersion++
	}
	return p.o.Fault(FaultCommitted)
}

func (p *Partition) deleteGone(b *store.Batch) {
	b.Deletes = append(b.Deletes, rowDeletes(p.outbox.takeGone())...)
}

func rowDeletes(ids []string) []store.Delete {
	deletes := make([]store.Delete, len(ids))
	for i, id := range ids {
		deletes[i] = store.Delete{Collection: "outbox", Key: store.Key{Workspace: store.System, ID: id}}
	}
	return deletes
}

// applyRecord applies the entries of one record and adds what they put out to
// dests, unless an earlier run has committed it already.
func (p *Partition) applyRecord(ctx context.Context, m record, dests map[string][]engage.Entry) (int, error) {
	p.index = 0
	here := engage.Source{Partition: p.name, Incarnation: p.inc, Seq: m.Seq}
	entries := m.entries
	if entries == nil {
		var err error
		if entries, err = engage.DecodeRecord(m.Data); err != nil {
			p.quarantine(here, engage.Entry{}, m.Data, err.Error())
			return 0, nil
		}
	}
	if p.o.Tap != nil {
		p.o.Tap(m.Message)
	}
	suppressed := p.o.Mode == Fast && p.outPos.Incarnation == p.inc && m.Seq <= p.outPos.Seq
	n := 0
	for i := range entries {
		if p.steps++; p.steps%stretch == 0 {
			// A long stretch of work on few cores delays those for whom somebody waits:
			// acks do not wait for the loop. The runtime would end it after 10 ms.
			runtime.Gosched()
		}
		here.Index = uint32(i)
		outs, err := p.applyEntry(ctx, here, entries[i])
		if err != nil {
			return n, fmt.Errorf("apply %d.%d: %w", m.Seq, i, err)
		}
		if suppressed {
			continue
		}
		for _, o := range outs {
			dest := p.o.Router.Route(o.to, o.entry.Key)
			dests[dest] = append(dests[dest], o.entry)
			n++
		}
	}
	if len(entries) > 0 {
		p.markHour(entries[0].At, m.Seq)
	}
	return n, nil
}

func (p *Partition) markHour(at time.Time, seq uint64) {
	hour := at.Truncate(time.Hour)
	if n := len(p.hours); n == 0 || p.hours[n-1].Hour.Before(hour) {
		p.hours = append(p.hours, hourMark{hour, seq})
	}
}

// applyEntry applies one entry. The outputs are only good until the next call.
// An error means that we could not ask, not that the entry is bad.
func (p *Partition) applyEntry(ctx context.Context, here engage.Source, e engage.Entry) ([]output, error) {
	if !e.From.Outside() {
		if !e.From.After(p.marks[e.From.Partition]) {
			p.dropped.Add(1)
			return nil, nil
		}
		p.marks[e.From.Partition] = e.From
	}
	p.applied.Add(1)
	switch e.Kind {
	case engage.KindAdopt:
		return nil, p.adopt(ctx, here, e)
	case engage.KindTimer:
		var f engage.Firing
		if err := json.Unmarshal(e.Body, &f); err != nil {
			p.quarantine(here, e, nil, "timer: "+err.Error())
			return nil, nil
		}
		if !f.Requeued && !p.timers.fires(e.Key, f) {
			return nil, nil // cleared, moved, or fired before
		}
	}
	var last error
	for range p.o.MaxAttempts {
		p.tx.begin(e.At, here)
		last = p.try(e)
		if last == nil {
			return p.tx.commit(), nil
		}
		if p.tx.broken != nil {
			return nil, p.tx.broken
		}
	}
	p.quarantine(here, e, nil, last.Error())
	return nil, nil
}

func (p *Partition) try(e engage.Entry) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return p.o.Machine.Apply(&p.tx, e)
}

func (p *Partition) adopt(ctx context.Context, here engage.Source, e engage.Entry) error {
	var rev uint64
	if err := json.Unmarshal(e.Body, &rev); err != nil {
		p.quarantine(here, e, nil, "adopt: "+err.Error())
		return nil
	}
	if rev <= p.adopted {
		return nil
	}
	config, err := p.o.Configs.At(ctx, rev)
	if err != nil {
		return fmt.Errorf("configuration revision %d: %w", rev, err)
	}
	p.config, p.adopted = config, rev
	p.heard.Store(max(p.heard.Load(), rev))
	return nil
}

// quarantine sets an entry, or a record that cannot be read, aside.
func (p *Partition) quarantine(here engage.Source, e engage.Entry, unreadable []byte, reason string) {
	p.quarantined.Add(1)
	p.log.Error("entry quarantined", "seq", here.Seq, "index", here.Index, "kind", string(e.Kind), "reason", reason)
	record := unreadable
	workspace := store.System
	if record == nil {
		record = engage.EncodeRecord([]engage.Entry{e})
		workspace = e.Workspace()
	}
	id := fmt.Sprintf("%s/%06d/%020d/%06d", p.name, here.Incarnation, here.Seq, here.Index)
	p.writes[writeKey{"quarantine", workspace, id}] = write{doc: Quarantined{
		V: 1, Partition: p.name, Seq: here.Seq, Kind: e.Kind, Key: e.Key, At: e.At, Reason: reason, Record: append([]byte(nil), record...),
	}}
}

// Requeue appends a quarantined entry again, as a new record from the outside,
// and forgets the document. Its log time stays: the entry is as old as it was.
func (p *Partition) Requeue(ctx context.Context, workspace, id string) error {
	key := store.Key{Workspace: workspace, ID: id}
	doc, err := p.o.States.Get(ctx, "quarantine", key)
	if err != nil {
		return fmt.Errorf("quarantined %s: %w", id, err)
	}
	var q Quarantined
	if err := json.Unmarshal(doc.Body, &q); err != nil {
		return fmt.Errorf("decode quarantined %s: %w", id, err)
	}
	if q.Kind == "" {
		return engage.Errorf(engage.Unsupported, "id", "the record could not be read, so it cannot be replayed")
	}
	entries, err := engage.DecodeRecord(q.Record)
	if err != nil {
		return fmt.Errorf("quarantined %s: %w", id, err)
	}
	for i := range entries {
		if err := requeued(&entries[i], id); err != nil {
			return fmt.Errorf("quarantined %s: %w", id, err)
		}
	}
	if err := p.Append(ctx, entries); err != nil {
		return fmt.Errorf("append quarantined %s: %w", id, err)
	}
	return p.o.States.Apply(ctx, store.Batch{Deletes: []store.Delete{{Collection: "quarantine", Key: key}}})
}

// requeued makes a quarantined entry ready to be appended. It gets a source of
// its own, so that it takes effect once although a retry may be repeated; a firing
// is marked, since its timer was taken off when it was applied first.
func requeued(e *engage.Entry, id string) error {
	e.From = engage.Source{Partition: "quarantine:" + id, Incarnation: 1, Seq: 1}
	if e.Kind != engage.KindTimer {
		return nil
	}
	var f engage.Firing
	if err := json.Unmarshal(e.Body, &f); err != nil {
		return fmt.Errorf("decode firing: %w", err)
	}
	f.Requeued = true
	body, err := json.Marshal(f)
	e.Body = body
	return err
}

// errUnreadable: the state is there but cannot be decoded. That is the poison of
// whoever needs it, and stops nobody else.
var errUnreadable = errors.New("state cannot be read")

// load reads a state, from memory if it is there.
func (p *Partition) load(key string) (engage.State, error) {
	if s, ok := p.states.get(key); ok {
		return s, nil
	}
	var doc store.Doc
	known := true
	err := p.insist(context.Background(), "load a state", func(ctx context.Context) (err error) {
		doc, err = p.o.States.Get(ctx, "state_"+p.o.Kind, stateKey(key))
		if errors.Is(err, store.ErrNotFound) {
			known, err = false, nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load state: %w", err)
	}
	if !known {
		p.states.put(key, nil, 0)
		return nil, nil
	}
	s, err := p.o.Machine.Decode(key, doc.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	p.states.put(key, s, len(doc.Body))
	return s, nil
}

func stateKey(key string) store.Key {
	return store.Key{Workspace: engage.WorkspaceOf(key), ID: engage.IDOf(key)}
}

// waitForRoom holds the loop while too many outputs are under way, or too much
// has changed since a save that does not end.
func (p *Partition) waitForRoom(ctx context.Context) error {
	for {
		full := p.outbox.outstanding() > p.o.MaxOutstanding
		if full {
			p.outbox.openGate()
		} else if !p.muchPending() {
			return nil
		} else if p.flight == nil {
			return p.checkpoint(ctx) // the states are not saved often enough
		}
		select {
		case <-p.outbox.space:
		case err := <-p.saved:
			if err := p.checkpointed(ctx, err); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
