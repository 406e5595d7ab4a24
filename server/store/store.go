// Package store is the document store that Footfall needs, and no more: typed
// collections of documents with a version, a small filter tree, and one atomic
// batch. Nothing here leans on SQL or on any one database.
//
// Implementations: store/sqlite (embedded), store/mongo (a MongoDB cluster). The
// contract is storetest.Run.
package store

import (
	"context"
	"errors"
	"time"
)

// Errors of the store; test with errors.Is.
var (
	ErrNotFound = errors.New("document not found")
	// ErrVersion: a Put or Delete with a condition met another version. Nothing
	// of its batch was written.
	ErrVersion = errors.New("document version differs")
	// ErrUnique: a Put would give two documents the same unique index value.
	// Nothing of its batch was written.
	ErrUnique = errors.New("unique index value taken")
)

// System is the workspace of documents that belong to no workspace.
const System = "_"

// Key names a document within a collection. Workspace is required.
type Key struct {
	Workspace string
	ID        string
}

// Doc is a document.
type Doc struct {
	Key
	// Version is 1 after the first write and grows by one with each; set by the store.
	Version int64
	// Body is a JSON object, or any bytes in an opaque collection.
	Body []byte
	// Expires is when the document vanishes; zero means never. An expired
	// document is not returned, though it may still occupy space.
	Expires time.Time
}

// Collection declares a collection. Declarations are given when a store is
// opened; indexes are created then.
type Collection struct {
	Name    string // [a-z][a-z0-9_]*
	Opaque  bool   // bodies are bytes: no filter, no index but the key
	Indexes []Index
}

// Index over JSON paths ("status", "trigger.place_id") within one workspace.
type Index struct {
	Name   string
	Paths  []string
	Unique bool // documents in which any of the paths is absent are not held against each other
	// Sparse may leave out documents in which the first path is absent: where most have
	// lost it they cost nothing. Queries that compare that path are served; what is asked
	// of the others is found without this index. It is not for a unique one.
	Sparse bool
}

// AnyVersion as Put.If or Delete.If: write whatever is there.
const AnyVersion int64 = -1

// Put writes a document whole.
type Put struct {
	Collection string
	Key
	Body    []byte
	Expires time.Time
	// If is the version that must be there: 0 means "absent", AnyVersion means
	// "whatever".
	If int64
}

// Delete removes a document; a missing one is no error unless If demands a version.
type Delete struct {
	Collection string
	Key
	If int64 // as Put.If, but 0 means AnyVersion
}

// Batch is written as a whole or not at all. Deletes run after puts.
type Batch struct {
	Puts    []Put
	Deletes []Delete
}

// Op is a comparison in a Filter.
type Op string

// The comparisons. Values are string, bool, or a number; for In a slice of
// those. A path that is absent satisfies none but Absent.
const (
	Eq     Op = "eq"
	Ne     Op = "ne" // present and different
	Lt     Op = "lt"
	Le     Op = "le"
	Gt     Op = "gt"
	Ge     Op = "ge"
	In     Op = "in"
	Exists Op = "exists"
	Absent Op = "absent"
	Has    Op = "has"    // the path is an array that contains the value
	Prefix Op = "prefix" // the path is a string with that prefix
)

// Filter is a tree: exactly one of All, Any, Not or (Path, Op) is used. The
// zero Filter matches everything. The path "_id" means the document's id.
type Filter struct {
	All   []Filter
	Any   []Filter
	Not   *Filter
	Path  string
	Op    Op
	Value any
}

// Query of one workspace's documents in one collection.
type Query struct {
	Workspace string
	IDPrefix  string // only ids with this prefix
	Filter    Filter
	// Sort is a path, "-path" for descending; ties go by id. Empty sorts by id.
	Sort   string
	Limit  int    // 0 means 100; at most 10000
	Cursor string // from Page.Next; only good for the same query
}

// Page of documents.
type Page struct {
	Docs []Doc
	Next string // empty when there are no more
}

// Store keeps documents. It is safe for concurrent use; concurrent batches may
// be committed together, but each stands or falls alone.
type Store interface {
	Get(ctx context.Context, collection string, key Key) (Doc, error)
	Find(ctx context.Context, collection string, q Query) (Page, error)
	Count(ctx context.Context, collection string, q Query) (int64, error)
	// Iterate calls f for every match in id order; f's error ends it and is
	// returned. Workspace "" in the query means every workspace, in order of
	// (workspace, id): for owners of partitions at start, never for an API.
	Iterate(ctx context.Context, collection string, q Query, f func(Doc) error) error
	// Apply commits the batch. When it returns nil the batch survives kill -9.
	// The new versions are not returned: a put's version is If+1 when If >= 0.
	Apply(ctx context.Context, b Batch) error
	// Purge frees the space of up to limit expired documents, which nobody can
	// see any more, and returns how many.
	Purge(ctx context.Context, limit int) (int, error)
	Close() error
}
