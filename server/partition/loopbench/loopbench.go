// Package loopbench measures the partition loop as the server runs it: what
// `footfall-lab bench loop` prints.
//
// # What is measured
//
// Items of 200 bytes are appended to partitions "in" on a schedule, whether or
// not the loop keeps up. "in" applies each to its install's state and hands the
// share that triggers to partitions "act", which apply them to the person's state
// and put out a send. Each send is committed to the hot store as an attempt, then
// POSTed over HTTP/2 with TLS to a sink in this process; what was answered is
// committed too. The event log is the embedded JetStream, the stores are two
// SQLite files, each step spins for 1 µs, states stay in memory and are saved
// every 500 ms. There is no websocket, no protobuf, no H3 and no deliver stage.
//
// Latency runs from the moment at which an item was due, not from that at which
// it was appended, to the arrival of its POST: a loop that stalls is charged for
// all whom it kept waiting. The first WarmUp of items is offered and not timed.
// CPU is the process's user and system time over all items: generator, client
// and sink are in it. The baseline is a run of those three alone, in which the
// client belongs to the server, strictly speaking: compare the prototype's figure
// with both. After the run the states are read back: every item must have taken
// effect once, and every attempt must have been answered.
//
// # What was found
//
// Two cores shared with seven others at work (load 10 to 13, the process's own
// priority raised), medians of three runs, 20 % triggering, process durability,
// fast; append 15-22 µs, commit 13-17 µs, distance 84-96 ns bare, meanwhile:
//
//	             p50 / p99 ms, CPU µs with generator, client, sink (without)
//	             here                     prototype, less disturbed
//	 1,000/s     0.46 / 6.6, 241 (160)    0.49 / 1.0, 232
//	 5,000/s     0.44 / 24,  141 (89)     0.33 / 2.5, 124
//	20,000/s     0.84 / 24,   53 (30)     0.85 / 8.2,  58
//
// So the medians and the CPU are the prototype's and the tail is not shown to be:
// p99 moved from 3 to 17 ms at 1,000/s and from 16 to 26 at 20,000/s between runs
// of the same binary, and 20,000/s with no states saved at all had 200 ms in a bad
// minute. Single runs: 2 % triggering, 40,000/s 0.58 / 11 and 60,000/s 0.68 / 20;
// reference mode 0.56 / 7.5 and 1.8 / 33 at 1,000 and 20,000/s; power 9 / 58 and
// 35 / 130, while a bare commit took 0.3 to 0.9 ms instead of the 0.2 of a quiet
// disk.
//
// process and power side by side (bench loop --durability both, 3 s, three rounds that
// took turns, medians; two cores shared with a load of 6 to 8, on a disk whose fsync
// took 100 µs, p99 0.2 to 2 ms, meanwhile; ack is from due to the answer of the log):
//
//	             process: items/s, ack p50 / p99 ms    power
//	 1,000/s      1,000, 0.18 / 7.7                      999, 0.88 / 31
//	20,000/s     17,600, 11 / 78                      19,100, 11 / 89
//	60,000/s     29,000, 31 / 243                     27,700, 22 / 103
//
// So power costs an idle server about five times the ack's median, which is the
// fsync and the scheduling around it, and a busy one nothing that this machine could
// tell from its noise: records grow while the disk works. A disk with an fsync of 2 ms
// adds that to every ack. From 20,000/s on the machine, not the durability, was the
// limit: less disturbed it did 60,000/s (above).
//
// Where a message's time goes at 1,000/s (p50, ms from due): applied by "in" 0.12,
// its output committed 0.20, applied by "act" 0.26, committed 0.30, attempt
// committed 0.32, POST arrived 0.46. At 20,000/s: 0.28, 0.36, 0.44, 0.50, 0.54,
// 0.84.
//
// What the CPU profile at 20,000/s says: SQLite 24 % (outputs with their position
// 10, saving the states 9, attempts 5), HTTP/2 with TLS on both sides about 25,
// the event log 15 to 18, steps with their states 7; of all that, allocation 10.
// Nothing stands out; what is left to win is fewer and larger commits.
//
// What was mended:
//   - Saving the states is 60 ms of work every 500 ms. It ran at a stretch, "in" and
//     "act" at the same moment, so both cores were taken, and each of the ten
//     hand-overs between goroutines that a message passes could wait up to 10 ms
//     for the runtime's preemption. It now yields every few dozen documents while it
//     encodes, checks and writes, and partitions save at different times. Four
//     interleaved pairs: p99 43 -> 21 ms, p95 15 -> 10, CPU unchanged.
//
// What was the bench's own: a generator that sleeps in the kernel keeps one of two
// processors from the loop (p50 0.6 -> 0.45 ms at 1,000/s without), and one that
// sleeps on the runtime's timers is up to 1.1 ms late in an idle process.
//
// What did not help: yielding before each append, and a pause of 300 µs between
// appends under load (the prototype's minimum gap): neither CPU nor latency moved
// beyond the noise.
package loopbench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// Options of a run.
type Options struct {
	// Dir gets a folder with the log and the stores, which is removed again.
	// Empty means the system's folder for temporary files.
	Dir string
	// Rate is items offered per second. Required.
	Rate int
	// Items to offer; 0 means as many as Duration takes at Rate.
	Items int
	// Duration, when Items is 0; 0 means 10 s.
	Duration time.Duration
	// WarmUp is how long the first items are not timed; 0 means a tenth of the run,
	// at most 1 s.
	WarmUp time.Duration
	// TriggerShare of the items ends in a POST; 0 means 0.2. Only those go on to
	// "act", as situate does with positions.
	TriggerShare float64
	// Partitions of each kind; 0 means 1.
	Partitions int
	// Installs and as many persons share the items; 0 means 10,000.
	Installs int
	// Durability of log and stores: "process" (the default) or "power".
	Durability string
	// Mode of the loop; empty means partition.Fast.
	Mode partition.Mode
	// Patience is how long to wait for what is under way when all is offered; 0
	// means 30 s.
	Patience time.Duration
	Logger   *slog.Logger // nil discards
	// Loaded, if not nil, is called when WarmUp is over, and what it returns when
	// all has arrived: for profiles.
	Loaded func() (drained func())
}

const itemBytes = 200

func (o *Options) defaults() error {
	if o.Duration == 0 {
		o.Duration = 10 * time.Second
	}
	if o.Items == 0 {
		o.Items = int(float64(o.Rate) * o.Duration.Seconds())
	}
	if o.TriggerShare == 0 {
		o.TriggerShare = 0.2
	}
	if o.Partitions == 0 {
		o.Partitions = 1
	}
	if o.Installs == 0 {
		o.Installs = 10_000
	}
	if o.Durability == "" {
		o.Durability = eventlog.DurabilityProcess
	}
	if o.Mode == "" {
		o.Mode = partition.Fast
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Rate < 1 || o.Rate > 10_000_000:
		return engage.Errorf(engage.Invalid, "rate", "must be 1 to 10,000,000 items per second, not %d", o.Rate)
	case o.Items < 10:
		return engage.Errorf(engage.Invalid, "items", "must be at least 10, not %d", o.Items)
	case o.TriggerShare < 0 || o.TriggerShare > 1:
		return engage.Errorf(engage.Invalid, "trigger_share", "must be between 0 and 1, not %g", o.TriggerShare)
	case o.Partitions < 1 || o.Partitions > engage.Slots:
		return engage.Errorf(engage.Invalid, "partitions", "must be 1 to %d, not %d", engage.Slots, o.Partitions)
	case o.Durability != eventlog.DurabilityProcess && o.Durability != eventlog.DurabilityPower:
		return engage.Errorf(engage.Invalid, "durability", "must be %q or %q, not %q", eventlog.DurabilityProcess, eventlog.DurabilityPower, o.Durability)
	case o.Mode != partition.Fast && o.Mode != partition.Reference:
		return engage.Errorf(engage.Invalid, "mode", "must be %q or %q, not %q", partition.Fast, partition.Reference, o.Mode)
	}
	if o.WarmUp == 0 {
		run := time.Duration(float64(o.Items) / float64(o.Rate) * float64(time.Second))
		o.WarmUp = min(run/10, time.Second)
	}
	return nil
}

// ErrIncomplete says that not everything arrived within Options.Patience, or that
// the states do not say what was offered.
var ErrIncomplete = errors.New("the run did not complete")

// Run offers the items and returns what it measured. Nothing else of weight
// should run in the process.
func Run(ctx context.Context, o Options) (Result, error) {
	if err := o.defaults(); err != nil {
		return Result{}, err
	}
	dir, err := os.MkdirTemp(o.Dir, "footfall-loop-")
	if err != nil {
		return Result{}, fmt.Errorf("folder for the run: %w", err)
	}
	r, err := run(ctx, &o, dir)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return Result{}, fmt.Errorf("bench of %d items at %d/s: %w", o.Items, o.Rate, err)
	}
	return r, nil
}

func run(ctx context.Context, o *Options, dir string) (Result, error) {
	before, err := measureAnchor(ctx, filepath.Join(dir, "anchor1"), o.Durability)
	if err != nil {
		return Result{}, fmt.Errorf("anchor: %w", err)
	}
	plan := newPlan(o)
	base, err := baseline(ctx, o, plan)
	if err != nil {
		return Result{}, fmt.Errorf("baseline: %w", err)
	}
	res, err := measure(ctx, o, plan, filepath.Join(dir, "loop"))
	if err != nil {
		return Result{}, err
	}
	after, err := measureAnchor(ctx, filepath.Join(dir, "anchor2"), o.Durability)
	if err != nil {
		return Result{}, fmt.Errorf("anchor: %w", err)
	}
	res.CPUBaselineUS = base
	res.CPUServerUS = res.CPUUS - base
	res.Anchor = before.mean(after)
	res.Prototype = prototypeOf(o)
	return res, nil
}

// baseline is the CPU per item of generator, client and sink without a loop
// between them.
func baseline(ctx context.Context, o *Options, plan *plan) (cpuUS float64, err error) {
	s, err := startSink(plan)
	if err != nil {
		return 0, err
	}
	c := newSender(s, plan, nil)
	g, gctx := errgroup.WithContext(ctx)
	inner, stop := context.WithCancel(gctx)
	g.Go(func() error { return c.run(inner) })
	cpu := cpuTime()
	g.Go(func() error {
		defer stop()
		err := plan.offer(gctx, o.Rate, func(e engage.Entry) error {
			if plan.triggers(e.Body) {
				c.jobs <- attempt{body: e.Body}
			}
			return nil
		}, nil)
		if err != nil {
			return err
		}
		if err := plan.wait(gctx, o.Patience, plan.allArrived); err != nil {
			return err
		}
		cpuUS = float64((cpuTime() - cpu).Nanoseconds()) / 1e3 / float64(o.Items)
		return nil
	})
	err = g.Wait()
	stop()
	return cpuUS, errors.Join(err, s.close())
}

// measure runs the loop itself.
func measure(ctx context.Context, o *Options, plan *plan, dir string) (res Result, err error) {
	plan.reset()
	b, err := openBench(ctx, o, plan, dir)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, b.close()) }() //nolint:contextcheck // closing the log waits for its own reads only

	g, gctx := errgroup.WithContext(ctx)
	inner, stop := context.WithCancel(gctx)
	defer stop()
	for _, p := range b.partitions() {
		g.Go(func() error { return p.Run(inner) })
	}
	g.Go(func() error { return b.sender.run(inner) })
	g.Go(func() error {
		defer stop()
		var err error
		res, err = b.drive(gctx, o)
		return err
	})
	if err := g.Wait(); err != nil {
		return Result{}, err
	}
	return res, b.verify(ctx, o)
}

// bench is the server's loop with its neighbours.
type bench struct {
	plan    *plan
	log     *eventlog.JetStream
	hot     *sqlite.Store
	states  *sqlite.Store
	in, act []*partition.Partition
	sink    *sink
	sender  *sender
}

func openBench(ctx context.Context, o *Options, plan *plan, dir string) (_ *bench, err error) {
	b := &bench{plan: plan}
	defer func() { //nolint:contextcheck // as above
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.log, err = eventlog.OpenEmbedded(ctx, eventlog.EmbeddedOptions{Dir: dir, Durability: o.Durability, Logger: o.Logger}); err != nil {
		return nil, err
	}
	hot, states := partition.Collections("in")
	hot = append(hot, store.Collection{Name: attempts, Opaque: true})
	states = append(states, store.Collection{Name: "state_act"})
	if o.Mode == partition.Reference {
		states = append(states, store.Collection{Name: "outbox", Opaque: true})
	}
	open := func(file string, c []store.Collection) (*sqlite.Store, error) {
		return sqlite.Open(ctx, sqlite.Options{
			Path: filepath.Join(dir, file), Collections: c, Durability: o.Durability, Logger: o.Logger, Now: clock.System{}.Now,
		})
	}
	if b.hot, err = open("hot.db", hot); err != nil {
		return nil, err
	}
	if b.states, err = open("states.db", states); err != nil {
		return nil, err
	}
	if b.sink, err = startSink(plan); err != nil {
		return nil, err
	}
	b.sender = newSender(b.sink, plan, b.hot)
	step := calibrate(time.Microsecond)
	for i := range o.Partitions {
		for _, kind := range []string{"in", "act"} {
			p, err := partition.Open(ctx, partition.Options{
				Kind: kind, Index: i, Mode: o.Mode, Log: b.log, Hot: b.hot, States: b.states,
				Machine: &machine{kind: kind, plan: plan, spins: step}, Configs: noConfigs{}, Router: b,
				Clock: clock.System{}, Build: "bench", Logger: o.Logger,
			})
			if err != nil {
				return nil, err
			}
			if kind == "in" {
				b.in = append(b.in, p)
			} else {
				b.act = append(b.act, p)
			}
		}
	}
	return b, nil
}

func (b *bench) partitions() []*partition.Partition {
	return append(append([]*partition.Partition(nil), b.in...), b.act...)
}

// drive offers the items and waits until all has taken effect.
func (b *bench) drive(ctx context.Context, o *Options) (Result, error) {
	for _, p := range b.partitions() {
		select {
		case <-p.Ready():
		case <-ctx.Done():
			return Result{}, ctx.Err()
		}
	}
	drained := func() {}
	warm := func() {
		if o.Loaded != nil {
			drained = o.Loaded()
		}
	}
	runtime.GC() // what the start left is not the loop's
	cpu, began := cpuTime(), now()
	err := b.plan.offer(ctx, o.Rate, func(e engage.Entry) error {
		return b.in[engage.PartitionOf(e.Key, len(b.in))].AppendAsync([]engage.Entry{e}, func(_ uint64, err error) { b.plan.landed(e.Body, err) })
	}, warm)
	if err != nil {
		return Result{}, err
	}
	if err := b.plan.wait(ctx, o.Patience, b.settled); err != nil {
		return Result{}, err
	}
	took := now().Sub(began)
	used := cpuTime() - cpu
	drained()
	res := b.plan.result(o)
	res.CPUUS = float64(used.Nanoseconds()) / 1e3 / float64(o.Items)
	res.AchievedPerS = float64(o.Items) / took.Seconds()
	return res, nil
}

func (b *bench) settled() bool {
	if !b.plan.allArrived() || int(b.plan.durable.Load()) < b.plan.items || b.sender.outstanding.Load() > 0 {
		return false
	}
	for _, p := range b.partitions() {
		if !p.Idle() {
			return false
		}
	}
	return true
}

// verify reads from the stores that every item took effect once and no attempt is
// left.
func (b *bench) verify(ctx context.Context, o *Options) error {
	for kind, want := range map[string]int{"in": o.Items, "act": b.plan.triggering} {
		n := 0
		err := b.states.Iterate(ctx, "state_"+kind, store.Query{}, func(d store.Doc) error {
			st, err := decodeTally(d.Body)
			if err == nil {
				n += st.N
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("read states: %w", err)
		}
		if n != want {
			return fmt.Errorf("%w: the states of %q count %d items, %d were offered", ErrIncomplete, kind, n, want)
		}
	}
	left := 0
	err := b.hot.Iterate(ctx, attempts, store.Query{}, func(store.Doc) error { left++; return nil })
	if err == nil && left > 0 {
		err = fmt.Errorf("%w: %d attempts have no answer", ErrIncomplete, left)
	}
	return err
}

func (b *bench) close() error {
	var errs []error
	if b.sink != nil {
		errs = append(errs, b.sink.close())
	}
	if b.states != nil {
		errs = append(errs, b.states.Close())
	}
	if b.hot != nil {
		errs = append(errs, b.hot.Close())
	}
	if b.log != nil {
		errs = append(errs, b.log.Close())
	}
	return errors.Join(errs...)
}

// Route implements partition.Router.
func (b *bench) Route(to, key string) string {
	if to == "act" {
		return b.act[engage.PartitionOf(key, len(b.act))].Name()
	}
	return to
}

// Deliver implements partition.Router.
func (b *bench) Deliver(ctx context.Context, dest string, entries []engage.Entry) error {
	passed := handedOn
	if dest == "send" {
		passed = sent
	}
	for i := range entries {
		b.plan.reached(passed, entries[i].Body)
	}
	if dest == "send" {
		return b.sender.accept(ctx, entries)
	}
	for _, p := range b.act {
		if p.Name() == dest {
			return p.Append(ctx, entries)
		}
	}
	return fmt.Errorf("there is no destination %q", dest)
}

// noConfigs is a configuration that never changes.
type noConfigs struct{}

func (noConfigs) Latest() uint64                          { return 0 }
func (noConfigs) Changed() <-chan struct{}                { return nil }
func (noConfigs) At(context.Context, uint64) (any, error) { return nil, nil }
