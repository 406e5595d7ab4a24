// Package mongo is the production document store: one MongoDB database by the
// official driver (mongo-driver/v2). It needs a replica set or a sharded cluster
// of MongoDB 4.4 or later, for its transactions.
//
// # Documents
//
// A store.Collection people is the MongoDB collection doc_people. Its documents:
//
//	_id  workspace, NUL, id: its byte order is that of (workspace, id)
//	w    workspace, the first field of every secondary index
//	i    id, for what asks for ids across workspaces
//	v    version
//	x    expiry in milliseconds since 1970; not there means never
//	b    the body, byte for byte as it was given
//	f    what filters, sorts and indexes look at; not there if opaque
//
// f is flat: one field per path of the body, steps parted by "/", with the
// scalar as its value, and "path@" with the distinct scalars of an array. The
// body itself cannot serve: MongoDB would look into arrays where a path names
// members of objects only, has no room for names such as "a.b", does not tell
// null from absent in an order, and FerretDB refuses nested arrays. Flat rather
// than a tree, because MongoDB documents nest 100 deep and bodies do too, and
// because most documents are flat anyway. An object or an array is a fixed date
// there: it exists, and equals no scalar. A whole number within int64 is exact,
// others are doubles, one beyond their range is the last before it. A lone
// surrogate ("\ud800") is U+FFFD. A null is absent, of a repeated member the
// first counts, and paths are those that store.Filter can name, no others.
//
// MongoDB takes 16 MiB per document. A body of at most 8 MiB with its f beyond
// that is store.ErrBadBatch; an opaque body always fits.
//
// # Sharding
//
// The shard key of every collection is {_id: 1}. Every command carries an
// equality, a list or a range of _id (at least the workspace's), so that a router
// asks only the shards that have the workspace. Exceptions are what means all
// workspaces: Iterate without one, the search of Purge, and the building of a
// unique index when it is declared. To shard the database "footfall":
//
//	sh.enableSharding("footfall")
//	sh.shardCollection("footfall.doc_people", {_id: 1}) // each doc_ collection
//	sh.shardCollection("footfall.identifiers", {_id: 1})
//
// # Unique values
//
// A unique index of a sharded collection would have to contain the shard key. So
// the collection identifiers holds one document per claimed value, whose _id is
// workspace, collection, index and a hash of the values, and whose holder is a
// document's id. It is written in the transaction of the document; an identifier
// whose holder has expired holds nothing. A newly declared unique index is built
// at Open from what is stored: no other process may write then.
//
// # Writing
//
// One put or delete in a collection without unique indexes is one conditional
// command. Everything else is a transaction: read concern snapshot, the current
// versions read with one find per collection, everything judged, and what
// remains written on condition of the versions read. Conflicts with others
// (TransientTransactionError, and a duplicate key of what the snapshot did not
// show) begin it anew, within the caller's context and at most maxAttempts times.
// A no (ErrVersion, ErrUnique) ends with a commit too, so that it cannot rest on
// what a failing primary takes back.
//
// All writes wait for a majority with its journals (w: majority, j: true); reads
// are of the primary, with read concern majority, and never older than the last
// thing this store wrote or saw (sessions, causally consistent); retryable reads and
// writes are on. A URI that asks for less is refused.
//
// A context that ends before the write is sent withdraws it. Later the outcome
// is waited for, by repeating the commit where its answer was lost; only when the
// server cannot be asked for a time does Apply return ErrOutcomeUnknown.
//
// # Expiry
//
// There is no TTL index: the server would judge by its own clock, where we judge
// by Options.Now (a replay has another), it would leave the identifiers of what
// it deletes, and FerretDB has none. Purge deletes, identifiers too.
//
// # Durability
//
// With "process" and with "power" the same is asked of the server. What differs is
// what the server must be, for an acknowledged write to survive a power cut:
// a replica set of members with journals on disk (storage engine WiredTiger, not
// inMemory), writeConcernMajorityJournalDefault true (the default), and members
// whose power does not fail together, or disks that keep what they say they have
// synced. With "power" Open checks the two that can be asked (replSetGetConfig,
// serverStatus), refuses when the answer is wrong, and logs what it was not
// allowed to see.
//
// # Indexes
//
// Created at Open under names that begin with footfall_, held against the
// declarations, and rebuilt where they differ; others are left alone. A sparse one has
// all documents: FerretDB knows no partial indexes.
package mongo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	driver "go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// What a commit survives: see the package's doc.
const (
	DurabilityProcess = "process" // the process's death
	DurabilityPower   = "power"   // also a power cut of the servers
)

// Options of Open.
type Options struct {
	// URI is mongodb:// or mongodb+srv://. It may hold a password, and is in no
	// log and no error. Options in it that weaken a write or a read are refused.
	URI engage.Secret
	// Database holds everything; created when it is not there.
	Database string
	// Collections that the store serves. Others stay untouched. Indexes are
	// created, rebuilt and dropped as declared.
	Collections []store.Collection
	// Durability of a commit; empty means DurabilityProcess.
	Durability string
	// Logger; nil means no logs.
	Logger *slog.Logger
	// Now is the clock of expiry. Required.
	Now func() time.Time
	// Serial takes a server without transactions, such as FerretDB. It is for
	// tests only: batches are judged and written one after the other under a lock
	// of this process, and a crash in one leaves a part of it behind.
	Serial bool

	monitor  *event.CommandMonitor // in tests, sees every command
	patience time.Duration         // in tests, instead of the constant
}

// Store is a store.Store in one MongoDB database.
type Store struct {
	log         *slog.Logger
	now         func() time.Time
	serial      bool
	patience    time.Duration // how long the outcome of a write is waited for
	declared    map[string]store.Collection
	collections map[string]*collection
	ordered     []*collection // as declared
	secrets     []string      // what no error text may hold

	client      *driver.Client
	db          *driver.Database
	identifiers *driver.Collection
	lock        sync.Mutex // of Serial's writers
	causal      causal

	mu     sync.Mutex // guards closed against begin
	closed bool
	active sync.WaitGroup
}

var _ store.Store = (*Store)(nil)

// collection is a declared collection.
type collection struct {
	store.Collection
	docs   *driver.Collection
	unique []uniqueIndex
}

// Open connects, looks whether the server is one that keeps the store's
// promises, and brings its collections and indexes to the declarations. It waits
// for the server at most as long as the URI's serverSelectionTimeoutMS says (10 s
// by default). Errors: store.ErrBadCollection; *store.NewerSchemaError when a
// newer program wrote the database; store.ErrUnique when documents that are there
// already contradict a new unique index; *Error with what the server or the
// network said.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		return nil, errors.New("mongo: Options.Now is required")
	}
	declared, err := store.CheckCollections(o.Collections)
	if err != nil {
		return nil, err
	}
	switch o.Durability {
	case "", DurabilityProcess, DurabilityPower:
	default:
		return nil, engage.Errorf(engage.Invalid, "durability", "must be %q or %q, not %q", DurabilityProcess, DurabilityPower, o.Durability)
	}
	if o.Database == "" || len(o.Database) > 63 || strings.ContainsAny(o.Database, "/\\. \"$*<>:|?\x00") {
		return nil, engage.Errorf(engage.Invalid, "database", "must be 1 to 63 bytes without / \\ . \" $ * < > : | ? and spaces")
	}
	s := &Store{
		log: o.Logger, now: o.Now, serial: o.Serial,
		declared: declared, collections: map[string]*collection{}, patience: patience,
	}
	if o.patience > 0 {
		s.patience = o.patience
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.connect(o); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store %s: %w", o.Database, err)
			err = errors.Join(err, s.disconnect(ctx))
		}
	}()
	s.db = s.client.Database(o.Database)
	s.identifiers = s.db.Collection("identifiers")
	for _, c := range o.Collections {
		t := &collection{Collection: c, docs: s.db.Collection("doc_" + c.Name)}
		for _, ix := range c.Indexes {
			if ix.Unique {
				t.unique = append(t.unique, newUniqueIndex(ix))
			}
		}
		s.collections[c.Name] = t
		s.ordered = append(s.ordered, t)
	}
	if err := s.checkServer(ctx, o.Durability); err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	return s, nil
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

// Close waits for the operations under way and disconnects. Later operations get
// store.ErrClosed. It must not be called from an Iterate's callback.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.active.Wait()
	return s.disconnect(context.Background())
}

func (s *Store) disconnect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return s.fail(ctx, "disconnect", s.client.Disconnect(ctx))
}

// causal is how far the server's time was when this store last heard of it, so
// that a read after a failover is not of before.
type causal struct {
	mu        sync.Mutex
	operation *bson.Timestamp
	cluster   bson.Raw
}

// session runs f with a context that carries a session, which begins where all
// before it ended. f's commands must use that context.
func (s *Store) session(ctx context.Context, f func(context.Context) error) error {
	if s.serial {
		return f(ctx)
	}
	sess, err := s.client.StartSession()
	if err != nil {
		return s.newError("begin session", err)
	}
	defer sess.EndSession(context.WithoutCancel(ctx))
	if err := s.causal.advance(sess); err != nil {
		return s.newError("begin session", err)
	}
	defer s.causal.note(sess)
	return f(driver.NewSessionContext(ctx, sess))
}

// advance has the session read nothing older than what was noted.
func (c *causal) advance(sess *driver.Session) error {
	c.mu.Lock()
	operation, cluster := c.operation, c.cluster
	c.mu.Unlock()
	if operation == nil || cluster == nil {
		return nil
	}
	if err := sess.AdvanceClusterTime(cluster); err != nil {
		return err
	}
	return sess.AdvanceOperationTime(operation)
}

func (c *causal) note(sess *driver.Session) {
	at := sess.OperationTime()
	if at == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.operation == nil || at.After(*c.operation) {
		c.operation, c.cluster = at, sess.ClusterTime()
	}
}
