// Package partition is the loop in which every stateful stage runs: read a
// partition's log strictly in order, apply a pure step to the states that the
// partition owns, make the outputs durable before they leave, and keep the states
// together with the position up to which they are true.
//
// # One mechanism, two modes
//
// Reference commits, per batch of records, the changed states, the outbox and the
// position in one transaction of one store. It is the oracle of the tests, and
// the fallback for a store without the other's needs.
//
// Fast (the default) has two positions. The outbox and the output position are
// committed, in the hot store, before anything leaves; the states and the state
// position are committed together, beside the loop, every CheckpointEvery. After
// a crash the records between the two are applied again with their outputs
// suppressed, which is right because a step is pure: the same records give the
// same outputs (DESIGN, promise 3).
//
// # Once in effect
//
// An output carries its Source (partition, incarnation, sequence, index). A
// reader keeps, in its state position, the highest Source seen of each partition
// and drops what is not above it: an outbox row may be published any number of
// times. Rows leave in order per destination, so the mark never jumps over one.
//
// # Where a record comes from
//
// The owner of a partition is also its only appender in this process. A landed
// record is handed over in memory if its sequence is exactly the next; everything
// else is read from the stream. There is no third way, so nothing can overtake a
// record that has not been applied (reference: the prototype's trap).
//
// # Recovery, in order
//
// Open reads both positions and compares them with the stream. A stream that ends
// below a position has lost its tail: what is left of it is applied, it is
// sealed, and the next incarnation begins at its first record; an alarm says so.
// Run then applies the log to its end, and only then hands the outbox out again
// and fires timers.
//
// # One owner
//
// Open claims a partition by writing its positions back, which moves their
// versions on, before it reads anything else; every commit is conditional on the
// version that its owner knows. So the newest process owns the partition: an older
// one, which may still be alive on another machine, commits nothing from then on
// and ends with ErrFenced. What it appended before is in the log, and the new owner
// applies it like any other record.
//
// # What else is a record
//
// Timers: when one is due the owner appends a firing to its own stream and acts on
// that record; the firing of a timer that has been cleared or moved is ignored.
// Configuration: the owner appends the revision that it adopts. Both are thus in
// the log, and a replay finds them at the same place.
//
// # Poison
//
// An entry whose step fails or panics MaxAttempts times is set aside in the
// collection "quarantine" with its reason; an alarm counts it, the partition goes
// on, and Requeue appends it again as a new record. Trouble in reaching the store
// is not poison.
//
// # Outages
//
// With the log and the store on other machines either can be away for a minute.
// The loop waits that out, however long it takes, where it stands; Stats says what
// it waits for and since when, the log says it once per change. A commit whose
// answer was lost may have landed: before it is tried again the position is read
// back, which tells. What no repetition heals ends the loop, and Run returns the
// error: data that cannot be read, a closed log or store, ErrFenced.
package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/store"
)

// Mode of the loop.
type Mode string

// The modes.
const (
	Fast      Mode = "fast"
	Reference Mode = "reference"
)

// Configs is the configuration log as a partition sees it.
type Configs interface {
	Latest() uint64
	// Changed is closed when Latest has grown since the call.
	Changed() <-chan struct{}
	// At is the configuration of a revision, always the same value for the same
	// revision; revision 0 is the empty one.
	At(ctx context.Context, revision uint64) (any, error)
}

// Router takes outputs onward. Deliver returns when all are durable at dest, or
// in the hands of somebody who made them so; it may be given the same entries
// again. It is called by one goroutine per destination, in order.
type Router interface {
	Route(to, key string) (dest string)
	Deliver(ctx context.Context, dest string, entries []engage.Entry) error
}

// Store is what the loop needs of a store.
type Store interface {
	Get(ctx context.Context, collection string, key store.Key) (store.Doc, error)
	Iterate(ctx context.Context, collection string, q store.Query, f func(store.Doc) error) error
	Apply(ctx context.Context, b store.Batch) error
}

// Options of a partition.
type Options struct {
	Kind      string // "in", "act": prefix of streams, positions and the state collection "state_<kind>"
	Index     int
	Mode      Mode
	Log       eventlog.Log
	Hot       Store // outbox and output position; unused in Reference
	States    Store // states, timers, state position; in Reference the outbox too
	Machine   engage.Machine
	Configs   Configs
	Router    Router
	Clock     clock.Clock
	Build     string // names the code; a replay by other code is recorded
	Logger    *slog.Logger
	Retention time.Duration // records are kept at least this long; 0 means 7 days
	// Keep says how long documents that steps record live, from the log time of
	// the entry on, by collection, and by engage.TimelineKept for classes of timelines
	// that have their own; those of others live until they are deleted. 0: they are not
	// recorded at all.
	Keep map[string]time.Duration

	// CheckpointEvery is how often the states are saved, if something changed; 0 means
	// 500 ms. Where many change, it is up to five times as rarely: see saveAfter.
	CheckpointEvery time.Duration
	MaxAttempts     int // before quarantine; 0 means 3
	MaxOutstanding  int // outputs under way before the loop waits; 0 means 20000
	MaxStates       int // states kept in memory when clean; 0 means 50000
	// MaxStateBytes bounds these, too, by what they take when encoded, about; 0 means 64 MB.
	// What has changed and waits for its save is held to a quarter of it.
	MaxStateBytes int64
	MaxBatch      int // records applied per commit; 0 means 256
	// StopWithin is how long a partition that is asked to stop still waits for a log
	// or a store that does not answer; 0 means 5 s. What it cannot save then is
	// applied again at the next start.
	StopWithin     time.Duration
	NoHandover     bool                   // read everything from the stream
	MaxRecordBytes int                    // of the writer; 0 means its default
	Tap            func(eventlog.Message) // sees every applied record, for recording streams in tests
	// Observe sees every state that an applied entry has changed, nil for one that
	// was deleted, in the order of the log: what is kept beside the store, to
	// answer sooner. An entry that fails shows nothing. The state is the
	// partition's: read it in the call, never change it, never keep it. It is called
	// from the loop, which waits for it. States that are in the store when the partition is opened are
	// not shown: read them between Open and Run. What is applied again after a
	// crash is shown again, from there on.
	Observe func(key string, s engage.State)

	// Fault is called at every step that a crash could separate from the next;
	// an error from it stops the partition as a crash would. Tests only.
	Fault func(point string) error
}

// The fault points, in the order in which a record meets them.
const (
	FaultRead          = "read"           // records are read, none applied
	FaultApplied       = "applied"        // applied in memory, nothing committed
	FaultCommitted     = "committed"      // outputs (Reference: everything) are committed, nothing has left
	FaultDelivered     = "delivered"      // outputs have left, their rows are still there
	FaultStatesBefore  = "states_before"  // before the states are committed
	FaultStatesAfter   = "states_after"   // after
	FaultSealed        = "sealed"         // the old incarnation is sealed, the new one not begun
	FaultTimerAppended = "timer_appended" // a firing has been appended
)

// Collections that a store for partitions of this kind must declare: first those
// of the hot store, then those of the states' store.
func Collections(kind string) (hot, states []store.Collection) {
	hot = []store.Collection{{Name: "outbox", Opaque: true}, {Name: "positions"}}
	states = []store.Collection{
		{Name: "state_" + kind},
		{Name: "timers"},
		{Name: "positions"},
		{Name: "quarantine"},
		{Name: "alarms"},
	}
	return hot, states
}

// Partition is one partition of a stage.
type Partition struct {
	o      Options
	name   string // "in/0"
	log    *slog.Logger
	stream eventlog.Stream // the current incarnation
	writer *eventlog.Writer

	// Set by Open, used by Run.
	old       eventlog.Stream // a previous incarnation that must be finished first; nil normally
	oldLast   uint64
	endAtRun  uint64 // last sequence when opened
	writerInc uint32 // of the stream that takes appends

	// The loop's own; nobody else touches them while Run runs.
	inc      uint32 // of the record being applied
	next     uint64 // sequence to apply next
	outPos   position
	marks    map[string]engage.Source
	adopted  uint64
	asked    uint64 // revision whose adoption has been appended
	config   any
	hours    []hourMark
	states   cache
	dirty    map[string]engage.State // nil value: deleted
	flight   map[string]engage.State // being committed
	writes   map[writeKey]write
	pending  int64 // bytes of dirty and writes, about
	timers   timers
	tx       Tx
	index    uint32 // of the next output of the record being applied
	steps    uint   // entries that the loop has looked at
	savedOn  string // build of the state position that was loaded
	dirtyPos bool
	saving   position // of the save under way
	saves    int      // states and documents in the newest save
	sizes    sizes    // of the states in it, once it has ended
	// Versions of the position documents, by which a commit is fenced.
	outVersion, statesVersion int64
	savedPos                  position // of the last one that succeeded
	sealed                    []sealed

	inbox   inbox
	outbox  outbox
	outages outages
	flushes chan chan error
	saved   chan error // result of the checkpoint under way

	ready   chan struct{}
	done    chan struct{} // closed when Run has ended
	isReady bool

	applied     atomic.Uint64 // entries
	quarantined atomic.Uint64
	dropped     atomic.Uint64 // entries not above their source's mark
	position    atomic.Uint64 // last applied sequence
	firings     atomic.Uint64
	firing      atomic.Int64  // appends of firings and adoptions under way
	heard       atomic.Uint64 // newest revision that is adopted, or whose adoption has been given to the writer
}

// Errors of a partition; test with errors.Is.
var (
	// ErrStopped says that the partition does not run any more.
	ErrStopped = errors.New("partition stopped")
	// ErrFenced says that another process has opened this partition since and
	// owns it now. Nothing of the commit that met it was written.
	ErrFenced = errors.New("another process has taken the partition over")
)

// Open recovers the positions and the stream. It starts nothing. A log or a store
// that does not answer is waited for, at most a minute.
func Open(ctx context.Context, o Options) (*Partition, error) {
	defaults(&o)
	p := &Partition{
		o: o, name: fmt.Sprintf("%s/%d", o.Kind, o.Index),
		marks: map[string]engage.Source{}, states: newCache(), dirty: map[string]engage.State{},
		writes: map[writeKey]write{}, ready: make(chan struct{}), done: make(chan struct{}),
		flushes: make(chan chan error), saved: make(chan error, 1),
	}
	p.log = o.Logger.With("partition", p.name)
	p.timers.init()
	p.inbox.init()
	p.outbox.init()
	p.outages.init()
	patience, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	if err := p.recover(patience); err != nil {
		p.outages.cut()
		return nil, fmt.Errorf("open partition %s: %w", p.name, err)
	}
	p.writer = eventlog.NewWriter(p.stream, eventlog.WriterOptions{
		Partition: p.name,
		Subject: func(ws string) string {
			return fmt.Sprintf("%s.%d.%s", p.subjectRoot(p.writerInc), o.Index, ws)
		},
		MaxRecordBytes: o.MaxRecordBytes,
		Now:            o.Clock.Now,
		Landed: func(seq uint64, data []byte, entries []engage.Entry) {
			r := record{Message: eventlog.Message{Seq: seq}, entries: entries, size: len(data)}
			if o.Tap != nil {
				r.Data = bytes.Clone(data)
			}
			p.inbox.landed(r, !o.NoHandover)
		},
		Trouble: func(err error) {
			const doing = "append to the log"
			if err == nil {
				p.healed(doing)
				return
			}
			p.trouble(doing, err)
		},
		Logger: o.Logger,
	})
	return p, nil
}

func defaults(o *Options) {
	if o.Mode == "" {
		o.Mode = Fast
	}
	if o.Mode == Reference {
		o.Hot = o.States
	}
	if o.Retention == 0 {
		o.Retention = 7 * 24 * time.Hour
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = 500 * time.Millisecond
	}
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 3
	}
	if o.StopWithin == 0 {
		o.StopWithin = 5 * time.Second
	}
	if o.MaxOutstanding == 0 {
		o.MaxOutstanding = 20000
	}
	if o.MaxStates == 0 {
		o.MaxStates = 50000
	}
	if o.MaxStateBytes == 0 {
		o.MaxStateBytes = 64 << 20
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 256
	}
	if o.Fault == nil {
		o.Fault = func(string) error { return nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Name of the partition: "in/0".
func (p *Partition) Name() string { return p.name }

// Append makes entries durable in the partition's log and returns then.
func (p *Partition) Append(ctx context.Context, entries []engage.Entry) error {
	return p.writer.Append(ctx, entries)
}

// AppendAsync is Append for callers that coalesce; see eventlog.Writer.
func (p *Partition) AppendAsync(entries []engage.Entry, done func(seq uint64, err error)) error {
	return p.writer.AppendAsync(entries, done)
}

// Ready is closed when the log as it stood at the start has been applied and the
// configuration of that moment adopted.
func (p *Partition) Ready() <-chan struct{} { return p.ready }

// Stats of a partition, for metrics and health.
type Stats struct {
	Applied     uint64 // entries, since the start
	Dropped     uint64 // entries that had taken effect before
	Quarantined uint64 // since the start
	Position    uint64 // last applied sequence
	Landed      uint64 // last sequence known to be in the log
	Outstanding int    // outputs under way
	Firings     uint64
	States      int64   // kept in memory
	StateBytes  int64   // of these, encoded, about
	Trouble     Trouble // what it waits for longest; zero when the log, the store and its neighbours answer
	Outages     uint64  // how often something did not answer, since the start
}

// Stats reads the counters.
func (p *Partition) Stats() Stats {
	trouble, outages := p.outages.oldest()
	return Stats{
		Trouble: trouble, Outages: outages,
		Applied: p.applied.Load(), Dropped: p.dropped.Load(), Quarantined: p.quarantined.Load(),
		Position: p.position.Load(), Landed: p.inbox.last(), Outstanding: p.outbox.outstanding(),
		Firings: p.firings.Load(), States: p.states.count.Load(), StateBytes: p.states.size.Load(),
	}
}

// Knows reports whether the adoption of a revision stands in the log, or is about to,
// before whatever is appended from now on.
func (p *Partition) Knows(revision uint64) bool { return p.heard.Load() >= revision }

// Idle reports whether everything that has landed is applied and every output
// has left.
func (p *Partition) Idle() bool {
	if p.heard.Load() < p.o.Configs.Latest() {
		return false // it will be adopted
	}
	firing := p.firing.Load() // first: what has landed since is in Landed
	s := p.Stats()
	return firing == 0 && s.Position >= s.Landed && s.Outstanding == 0
}

// Flush commits the states as they are now, so that a reader of the store sees
// them.
func (p *Partition) Flush(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case p.flushes <- answer:
	case <-p.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done(): // the store does not answer
		return ctx.Err()
	}
}

// streamName of an incarnation.
func (p *Partition) streamName(inc uint32) string {
	base := fmt.Sprintf("%s_%d", strings.ToUpper(p.o.Kind), p.o.Index)
	if inc == 1 {
		return base
	}
	return fmt.Sprintf("%s_I%d", base, inc)
}

func (p *Partition) openStream(ctx context.Context, inc uint32) (eventlog.Stream, uint64, uint64, error) {
	// Every incarnation has subjects of its own, since two streams cannot share one.
	s, err := p.o.Log.Open(ctx, p.streamName(inc), fmt.Sprintf("%s.%d.>", p.subjectRoot(inc), p.o.Index))
	if err != nil {
		return nil, 0, 0, err
	}
	first, last, err := s.Bounds(ctx)
	return s, first, last, err
}

// insistOnStream is openStream that waits out an outage.
func (p *Partition) insistOnStream(ctx context.Context, inc uint32) (s eventlog.Stream, first, last uint64, err error) {
	err = p.insist(ctx, "open the stream", func(ctx context.Context) error {
		s, first, last, err = p.openStream(ctx, inc)
		return err
	})
	return s, first, last, err
}

func (p *Partition) subjectRoot(inc uint32) string {
	if inc == 1 {
		return p.o.Kind
	}
	return fmt.Sprintf("%s-i%d", p.o.Kind, inc)
}
