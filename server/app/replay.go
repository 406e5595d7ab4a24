package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/measure"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/situate"
	"github.com/footfall-engage/footfall/server/store"
)

// ReplayOptions say on what and how a tape is played. Replay needs Log and Store.
type ReplayOptions struct {
	Log eventlog.Log // without these streams, or with empty ones
	// Store is empty and declares AllCollections. Its clock should stand at the
	// tape's At, so that nothing has expired that had not then.
	Store    store.Store
	Mode     partition.Mode // empty means partition.Fast
	MaxBatch int            // records per commit; 0 means the partitions' default
	Logger   *slog.Logger   // nil discards
}

// Replay appends a tape's streams to an empty log, has new partitions apply them to
// an empty store, and returns what these made of them; it should be the tape's
// Live. Nothing leaves the partitions and nothing new is decided: what came of
// their outputs, firings of timers and adopted configuration stand in the streams.
// engage.Conflict when the log or the store is not empty; nothing is written then.
func Replay(ctx context.Context, t *Tape, o ReplayOptions) (Results, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	names := slices.Sorted(maps.Keys(t.Streams))
	if err := replayable(ctx, names, o); err != nil {
		return nil, err
	}
	if err := fill(ctx, o.Log, catalog.Stream, catalog.Subjects, t.Config); err != nil {
		return nil, err
	}
	for _, name := range names {
		kind, index, err := splitPartition(name)
		if err != nil {
			return nil, err
		}
		stream, subjects := streamOf(kind, index)
		if err := fill(ctx, o.Log, stream, subjects, t.Streams[name]); err != nil {
			return nil, err
		}
	}
	cat, err := catalog.Open(ctx, catalog.Options{Log: o.Log, Clock: clock.NewManual(t.At), Compile: decide.Compile, Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	for _, name := range names {
		if err := replayPartition(ctx, name, cat, o); err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
	}
	got, err := ReadResults(ctx, o.Store)
	return got.Of(t.V), err
}

// ReplayAt is Replay on the log and the store of a configuration, which it opens
// and closes: what is embedded is in its data folder, documents in "replay.db".
// o.Log and o.Store are not looked at.
func ReplayAt(ctx context.Context, t *Tape, c *config.Config, o ReplayOptions) (_ Results, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	log, err := openLog(ctx, c, o.Logger)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	now := func() time.Time { return t.At }
	var s store.Store
	if c.Store.MongoDB.Enabled() {
		s, err = openMongoDB(ctx, c, o.Logger, now, false)
	} else {
		s, err = openSQLite(ctx, c, "replay.db", AllCollections(), o.Logger, now)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	o.Log, o.Store = log, s
	return Replay(ctx, t, o)
}

// replayable makes sure that log and store are empty.
func replayable(ctx context.Context, names []string, o ReplayOptions) error {
	taken := func(stream, subjects string) error {
		s, err := o.Log.Open(ctx, stream, subjects)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		_, last, err := s.Bounds(ctx)
		if err == nil && last > 0 {
			err = engage.Errorf(engage.Conflict, "event_log", "stream %s is not empty: a replay needs a log of its own", stream)
		}
		return err
	}
	if err := taken(catalog.Stream, catalog.Subjects); err != nil {
		return err
	}
	for _, name := range names {
		kind, index, err := splitPartition(name)
		if err != nil {
			return err
		}
		if err := taken(streamOf(kind, index)); err != nil {
			return err
		}
	}
	for _, c := range AllCollections() {
		err := o.Store.Iterate(ctx, c.Name, store.Query{}, func(store.Doc) error {
			return engage.Errorf(engage.Conflict, "store", "collection %s is not empty: a replay needs a store of its own", c.Name)
		})
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
	}
	return nil
}

// fill appends the records of a stream, each at its own sequence.
func fill(ctx context.Context, log eventlog.Log, name, subjects string, records []eventlog.Message) error {
	s, err := log.Open(ctx, name, subjects)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	for i, m := range records {
		seq, err := s.Append(ctx, m.Subject, m.Data, int64(i))
		if err == nil && seq != m.Seq {
			err = fmt.Errorf("record %d became %d", m.Seq, seq)
		}
		if err != nil {
			return fmt.Errorf("replay: stream %s: %w", name, err)
		}
	}
	return nil
}

// replayPartition applies a partition's stream to its end and saves the states.
func replayPartition(ctx context.Context, name string, cat *catalog.Catalog, o ReplayOptions) error {
	kind, index, err := splitPartition(name)
	if err != nil {
		return err
	}
	po := partition.Options{
		Kind: kind, Index: index, Mode: o.Mode, MaxBatch: o.MaxBatch, Log: o.Log, Hot: o.Store, States: o.Store,
		Router: nowhere{}, Build: "replay", Logger: o.Logger,
		// Long before any timer is due and any record old.
		Clock: clock.NewManual(time.Unix(0, 0)),
	}
	if kind == "in" {
		po.Machine, po.Configs = situate.Machine{}, frozen{&configs[*situate.Config]{catalog: cat, compile: situateConfig()}}
	} else {
		po.Machine, po.Configs = actMachine(nil), frozen{&configs[*decide.Config]{catalog: cat, compile: decideConfig(o.Logger)}}
	}
	p, err := partition.Open(ctx, po)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(running) }()
	select {
	case <-p.Ready():
	case err := <-ended:
		if err == nil {
			err = ctx.Err()
		}
		return err
	}
	// A partition that is ready has applied everything; what it did not save yet it
	// saves when it is stopped.
	stop()
	return errors.Join(<-ended, ctx.Err())
}

// actMachine is the stage of the partitions by profile.
func actMachine(l decide.Learner) engage.Machine {
	return decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}, Learner: l}
}

// nowhere swallows outputs.
type nowhere struct{}

func (nowhere) Route(to, _ string) string                             { return to }
func (nowhere) Deliver(context.Context, string, []engage.Entry) error { return nil }

// frozen shows no revision of its own.
type frozen struct{ partition.Configs }

func (frozen) Latest() uint64           { return 0 }
func (frozen) Changed() <-chan struct{} { return nil }
