// Package sqlite is the embedded document store: one SQLite file in WAL mode
// (mattn/go-sqlite3).
//
// # Writing
//
// There is one writing connection. Concurrent Applies are grouped into one
// transaction, each under a savepoint of its own, by whoever comes first; a
// lonely Apply starts at once. With Durability "process" a commit survives
// kill -9 (it is in the WAL, which the kernel has), with "power" also a power
// cut (the WAL is synced, one sync per group; at Open also what a killed process
// has left in it). Commits do not pay for
// checkpoints: those run beside them on a connection of their own, in a goroutine
// that a commit starts when enough has been written and that Close joins. When
// the WAL has grown past 32 MiB and little of it is left to move, or past 128 MiB
// whatever is left, the rest of one holds the writer up, and waits up to 20 ms for
// readers, so that the WAL can be reused from its start.
//
// # Reading
//
// A few reading connections see the last commit. Iterate reads in portions and
// holds no connection while its callback runs, so the callback may use the
// store, and no long read keeps the WAL from being reused: a document that is
// there throughout is seen once, one that changes meanwhile in either state.
//
// # Documents
//
// JSON is filtered and indexed in place by json_extract. A JSON null counts as
// an absent path. A path names members of objects only ("items.0" is the member
// "0", not an element). If a member occurs twice the first counts. Expiry is in
// whole milliseconds.
//
// # Figures
//
// Medians of three runs of the benchmarks here: documents of 1 KB, two indexes,
// a virtual machine of 2 cores shared with other work (load 2 to 4) whose disk
// syncs in about 120 us. Expect a factor of two either way elsewhere.
//
//	                            process     power
//	Apply of one put, p50       40 us       199 us
//	  p99                       129 us      3.6 ms
//	64 writers, puts/s          21,000      24,000
//	  p50                       1.9 ms      2.0 ms
//	batches of 1000, new        54,000/s    46,000/s
//	batches of 1000, existing   53,000/s    41,000/s
//	Get by id, 1 / 8 readers    9 / 7.6 us
//	Find one by an index        14 us
//	Find a sorted page of 50    78 us
//	Find 1000 ids by In         5.0 ms
//	Find, no index, 50k docs    61 ms
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/durable"
	"github.com/footfall-engage/footfall/server/store"
)

// What a commit survives.
const (
	DurabilityProcess = "process" // the process's death
	DurabilityPower   = "power"   // also the machine's
)

// Points at which Options.Fault is asked.
const (
	FaultBeforeCommit = "before_commit" // everything is written, nothing committed
	FaultAfterCommit  = "after_commit"  // committed, nobody told
)

// readers is the number of reading connections. More do not help: a point read
// takes a few microseconds of one core.
const readers = 4

// Pages that a connection keeps, in KiB. The writer's stay from one commit to the next;
// SQLite's own 2 MiB would write the pages of a large batch several times. A reader's
// go with the next commit, which a store of a million documents of 2 KB bears: the inner
// pages of its trees take 10 MB, and of each document only the last two are read then.
const (
	writerCacheKiB = 64 << 10
	readerCacheKiB = 16 << 10
)

// Options of Open.
type Options struct {
	// Path of the file; its folder must be there. Beside it appear Path-wal and
	// Path-shm. Only one process, and in it one Store, may have it open.
	Path string
	// Collections that the store serves. Others in the file stay untouched.
	// Indexes are created, rebuilt and dropped as declared.
	Collections []store.Collection
	// Durability of a commit; empty means DurabilityProcess.
	Durability string
	// Logger; nil means no logs.
	Logger *slog.Logger
	// Now is the clock of expiry. Required.
	Now func() time.Time
	// Fault, in tests, is asked at each point; an error there fails every batch
	// of the group, and before the commit rolls it back.
	Fault func(point string) error
}

// Store is a store.Store in one SQLite file.
type Store struct {
	path     string
	file     *os.File // of path, to scrub it
	log      *slog.Logger
	now      func() time.Time
	fault    func(point string) error
	declared map[string]store.Collection
	tables   map[string]*table
	ordered  []*table // as declared

	writer     writer
	checkpoint checkpointer
	readers    pool

	mu     sync.Mutex // guards closed against begin
	closed bool
	active sync.WaitGroup
}

var _ store.Store = (*Store)(nil)

// Open opens the file, creating it readable by its owner only, and brings its
// indexes to the declarations. Errors: store.ErrBadCollection; *store.NewerSchemaError
// when a newer program wrote the file; store.ErrUnique when documents that are
// there already contradict a new unique index.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		return nil, errors.New("sqlite: Options.Now is required")
	}
	declared, err := store.CheckCollections(o.Collections)
	if err != nil {
		return nil, err
	}
	synchronous := "NORMAL"
	switch o.Durability {
	case "", DurabilityProcess:
	case DurabilityPower:
		synchronous = "FULL"
	default:
		return nil, fmt.Errorf("durability %q is neither %q nor %q", o.Durability, DurabilityProcess, DurabilityPower)
	}
	s := &Store{
		path: o.Path, log: o.Logger, now: o.Now, fault: o.Fault,
		declared: declared, tables: map[string]*table{}, readers: newPool(),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, c := range o.Collections {
		t := newTable(c)
		s.tables[c.Name] = t
		s.ordered = append(s.ordered, t)
	}
	if s.file, err = create(o.Path); err != nil {
		return nil, fmt.Errorf("create store: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open store %s: %w", o.Path, err), s.disconnect())
		}
	}()
	if o.Durability == DurabilityPower {
		// SQLite would serve what a killed process had written to the WAL and not
		// synced as if it were certain. SQLite does not have the file open yet: closing
		// it again drops no locks.
		if err := durable.Files(o.Path, o.Path+"-wal"); err != nil {
			return nil, fmt.Errorf("sync: %w", err)
		}
	}
	// The WAL is reused from its start after a checkpoint; the limit only gives
	// back what an exceptional burst took.
	common := []string{"synchronous=" + synchronous, "wal_autocheckpoint=0", "temp_store=MEMORY", "journal_size_limit=67108864"}
	if s.writer.conn, err = connect(o.Path, append([]string{"journal_mode=WAL", "secure_delete=ON", cacheSize(writerCacheKiB)}, common...)...); err != nil {
		return nil, err
	}
	if err := s.migrate(s.writer.conn); err != nil {
		return nil, err
	}
	if s.checkpoint.conn, err = connect(o.Path, append(common, fmt.Sprintf("busy_timeout=%d", readersWaitMS))...); err != nil {
		return nil, err
	}
	for range readers {
		c, err := connect(o.Path, append([]string{"query_only=1", cacheSize(readerCacheKiB)}, common...)...)
		if err != nil {
			return nil, err
		}
		s.readers.give(c)
	}
	return s, nil
}

// create opens the file, and makes it, if it is not there, with the permissions that SQLite
// then gives to the files beside it. It must stay open for as long as a connection is:
// closing it drops the locks of SQLite in this process.
func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}

// begin admits an operation unless the store is closed; end must follow.
func (s *Store) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	s.active.Add(1)
	return nil
}

func (s *Store) end() { s.active.Done() }

// Close waits for the operations under way, moves the WAL into the file and
// closes it. Later operations get store.ErrClosed. It must not be called from an
// Iterate's callback.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.active.Wait()
	s.checkpoint.running.Wait()
	if _, err := s.writer.conn.walCheckpoint("TRUNCATE"); err != nil {
		return errors.Join(fmt.Errorf("checkpoint: %w", err), s.disconnect())
	}
	return s.disconnect()
}

func (s *Store) disconnect() error {
	var errs []error
	for _, c := range []*conn{s.checkpoint.conn, s.writer.conn} {
		if c != nil {
			errs = append(errs, c.close())
		}
	}
	for _, c := range s.readers.idle {
		errs = append(errs, c.close())
	}
	s.readers.idle = nil
	return errors.Join(append(errs, s.file.Close())...)
}
