package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/footfall-engage/footfall/server/durable"
	"github.com/footfall-engage/footfall/server/lockfile"
)

// Durability says what an append survives once it has been answered.
type Durability = string

// The durabilities.
const (
	// DurabilityProcess: the end of the process, also by kill -9. Written to
	// the operating system at once, to the disk within two minutes.
	DurabilityProcess Durability = "process"
	// DurabilityPower: also a power cut. Every append waits for the disk, and so
	// does the start for what an earlier process has left.
	DurabilityPower Durability = "power"
)

// EmbeddedOptions of a log in this process.
type EmbeddedOptions struct {
	Dir        string       // holds the log; created if it is not there; one process at a time
	Durability Durability   // "" means DurabilityProcess
	Logger     *slog.Logger // nil discards
}

// storeLimit is what JetStream may store: the disk is the limit, and the
// owners trim.
const storeLimit = 1 << 50

// OpenEmbedded starts NATS JetStream in this process, without any port, on a
// folder, and returns when what the folder holds is recovered. It starts
// goroutines, which Close ends.
func OpenEmbedded(ctx context.Context, o EmbeddedOptions) (*JetStream, error) {
	if o.Dir == "" {
		return nil, errors.New("open event log: no folder given")
	}
	if o.Durability != "" && o.Durability != DurabilityProcess && o.Durability != DurabilityPower {
		return nil, fmt.Errorf("open event log: durability %q: must be %q or %q", o.Durability, DurabilityProcess, DurabilityPower)
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l, err := openEmbedded(ctx, o.Dir, o.Durability == DurabilityPower, log)
	if err != nil {
		return nil, fmt.Errorf("open event log in %s: %w", o.Dir, err)
	}
	return l, nil
}

func openEmbedded(ctx context.Context, dir string, syncAlways bool, log *slog.Logger) (*JetStream, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	// nats-server does not notice a second one on its folder; they would
	// overwrite each other's records.
	lock, err := lockfile.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	if syncAlways {
		// What a killed process had written and not synced would be served as if it
		// were certain.
		if err := durable.Tree(dir); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	srv, err := startServer(ctx, dir, syncAlways, log)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	below := func() error {
		srv.Shutdown()
		srv.WaitForShutdown()
		return lock.Close()
	}
	k := &link{log: log}
	nc, err := nats.Connect("", append(k.options(), nats.InProcessServer(srv))...)
	if err != nil {
		return nil, errors.Join(err, below())
	}
	l, err := newJetStream(nc, settings{replicas: 1}, k, below)
	if err != nil {
		nc.Close()
		return nil, errors.Join(err, below())
	}
	if err := l.finishTrims(ctx); err != nil {
		return nil, errors.Join(err, l.Close()) //nolint:contextcheck // it waits for its own reads only
	}
	return l, nil
}

// finishTrims trims up to the last hole of each stream. Trim forgets a whole
// block of messages by removing its file, which nats-server 2.15.2 does not make
// certain, and those in the next block by marks in it, which it does: after a power
// cut the block may be there again and the marked ones are missing behind it.
// Nothing else takes messages from the middle.
func (l *JetStream) finishTrims(ctx context.Context) error {
	streams := l.js.ListStreams(ctx)
	for info := range streams.Info() {
		if info.State.NumDeleted == 0 {
			continue
		}
		name := info.Config.Name
		st, err := l.js.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("finish the trim of %s: %w", name, err)
		}
		detailed, err := st.Info(ctx, jetstream.WithDeletedDetails(true))
		if err != nil {
			return fmt.Errorf("finish the trim of %s: %w", name, err)
		}
		if len(detailed.State.Deleted) == 0 {
			continue
		}
		before := slices.Max(detailed.State.Deleted) + 1
		l.log.Warn("event log: finish a trim that was cut short", "stream", name, "first", info.State.FirstSeq, "before", before)
		if err := st.Purge(ctx, jetstream.WithPurgeSequence(before)); err != nil {
			return fmt.Errorf("finish the trim of %s: %w", name, err)
		}
	}
	if err := streams.Err(); err != nil {
		return fmt.Errorf("list streams: %w", err)
	}
	return nil
}

func startServer(ctx context.Context, dir string, syncAlways bool, log *slog.Logger) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName:             "footfall",
		DontListen:             true,
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               dir,
		SyncAlways:             syncAlways,
		JetStreamMaxStore:      storeLimit,
		MaxPayload:             MaxMessageBytes + maxHeaderBytes,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, err
	}
	sl := &serverLog{log: log}
	srv.SetLogger(sl, false, false)
	started := make(chan struct{})
	go func() {
		defer close(started)
		srv.Start() // returns when everything runs, since it has no port to listen on
	}()
	select {
	case <-started:
		err = sl.fatal()
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		<-started // it cannot be interrupted
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, err
	}
	return srv, nil
}

// serverLog passes the server's log on. Its notices are our debug messages.
type serverLog struct {
	log *slog.Logger
	mu  sync.Mutex
	err error
}

var _ server.Logger = (*serverLog)(nil)

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *serverLog) say(level slog.Level, format string, v []any) {
	if ctx := context.Background(); l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "nats server", "message", fmt.Sprintf(format, v...))
	}
}

func (l *serverLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.say(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.say(slog.LevelWarn, format, v) }

// Fatalf is how the server says that it could not start; it goes on.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.say(slog.LevelError, format, v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf(format, v...)
	}
}
