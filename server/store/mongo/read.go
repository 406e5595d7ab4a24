package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/footfall-engage/footfall/server/store"
)

// Iterate reads portions of at most so much, so that no cursor waits for a
// callback and memory stays bounded whatever the documents' size.
const (
	iterateRows  = 512
	iterateBytes = 1 << 20
	// batchRows is how many documents the server sends at a time.
	batchRows = 128
)

// stored is a document as it is stored.
type stored struct {
	Key       string   `bson:"_id"`
	Workspace string   `bson:"w"`
	ID        string   `bson:"i"`
	Version   int64    `bson:"v"`
	Expires   *int64   `bson:"x"`
	Body      []byte   `bson:"b"`
	Paths     bson.Raw `bson:"f"` // the one that decides the order, or nothing
}

func (d *stored) doc() store.Doc {
	doc := store.Doc{Key: store.Key{Workspace: d.Workspace, ID: d.ID}, Version: d.Version, Body: d.Body}
	if d.Expires != nil {
		doc.Expires = time.UnixMilli(*d.Expires).UTC()
	}
	return doc
}

func expired(expires *int64, nowMS int64) bool { return expires != nil && *expires <= nowMS }

// fields of a stored document; more are paths of the projection.
func fields(more ...string) bson.D {
	d := bson.D{}
	for _, f := range []string{workspaceField, docIDField, versionField, expiresField, bodyField} {
		d = append(d, bson.E{Key: f, Value: 1})
	}
	for _, f := range more {
		d = append(d, bson.E{Key: f, Value: 1})
	}
	return d
}

func (s *Store) collection(name string) (*collection, error) {
	t, ok := s.collections[name]
	if !ok {
		return nil, &store.ArgError{Kind: store.ErrBadQuery, Field: "collection", Msg: fmt.Sprintf("%q is not declared", name)}
	}
	return t, nil
}

// read runs f as an operation under way, in a session.
func (s *Store) read(ctx context.Context, what string, t *collection, f func(context.Context) error) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.fail(ctx, what+" "+t.Name, s.session(ctx, f))
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, collection string, key store.Key) (store.Doc, error) {
	t, err := s.collection(collection)
	if err != nil {
		return store.Doc{}, err
	}
	if err := key.Check(store.ErrBadQuery); err != nil {
		return store.Doc{}, err
	}
	var d stored
	found := false
	err = s.read(ctx, "get", t, func(ctx context.Context) error {
		err := t.docs.FindOne(ctx, eq(idField, docID(key)), options.FindOne().SetProjection(fields())).Decode(&d)
		if errors.Is(err, driver.ErrNoDocuments) {
			return nil
		}
		found = err == nil && !expired(d.Expires, s.now().UnixMilli())
		return err
	})
	switch {
	case err != nil:
		return store.Doc{}, err
	case !found:
		return store.Doc{}, fmt.Errorf("%s: %w", t.Name, store.ErrNotFound)
	}
	return d.doc(), nil
}

// Count implements store.Store; the query's sort, limit and cursor play no part.
func (s *Store) Count(ctx context.Context, collection string, q store.Query) (int64, error) {
	t, err := s.collection(collection)
	if err != nil {
		return 0, err
	}
	q.Sort, q.Limit, q.Cursor = "", 0, ""
	if err := q.Check(t.Opaque); err != nil {
		return 0, err
	}
	conds, err := match(q, s.now().UnixMilli())
	if err != nil {
		return 0, err
	}
	var n int64
	err = s.read(ctx, "count", t, func(ctx context.Context) (err error) {
		n, err = t.docs.CountDocuments(ctx, and(conds...))
		return err
	})
	return n, err
}

// Find implements store.Store.
func (s *Store) Find(ctx context.Context, collection string, q store.Query) (store.Page, error) {
	t, err := s.collection(collection)
	if err != nil {
		return store.Page{}, err
	}
	if err := q.Check(t.Opaque); err != nil {
		return store.Page{}, err
	}
	path, descending := q.SortPath()
	fingerprint := q.Fingerprint(collection)
	var from *store.Position
	if q.Cursor != "" {
		p, err := store.ParseCursor(q.Cursor, fingerprint, path == store.IDPath)
		if err != nil {
			return store.Page{}, err
		}
		from = &p
	}
	conds, err := match(q, s.now().UnixMilli())
	if err != nil {
		return store.Page{}, err
	}
	direction := 1
	if descending {
		direction = -1
	}
	byID := bson.E{Key: idField, Value: direction}
	o := options.Find().SetProjection(fields()).SetSort(bson.D{byID})
	if path != store.IDPath {
		name := pathsField + "." + field(path)
		o = options.Find().SetProjection(fields(name)).SetSort(bson.D{{Key: name, Value: direction}, byID})
	}
	var page store.Page
	var last stored
	more, limit := false, q.PageSize()
	err = s.read(ctx, "find", t, func(ctx context.Context) error {
		for _, seg := range segments(path, descending, q.Workspace, from) {
			cond := and(append(slices.Clip(conds), seg...)...)
			missing := limit - len(page.Docs) + 1                                                                          // one more tells whether there is a next page
			cursor, err := t.docs.Find(ctx, cond, o.SetLimit(int64(missing)).SetBatchSize(int32(min(missing, batchRows)))) //nolint:gosec // small
			if err != nil {
				return err
			}
			err = each(ctx, cursor, func(d *stored) bool {
				if len(page.Docs) == limit {
					more = true
					return false
				}
				last = *d
				page.Docs = append(page.Docs, d.doc())
				return true
			})
			if err != nil || more {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return store.Page{}, err
	}
	if more {
		p := store.Position{ID: last.ID}
		if path != store.IDPath && last.Paths != nil {
			p.Value = positionValue(last.Paths.Lookup(field(path)))
		}
		if page.Next, err = p.Cursor(fingerprint); err != nil {
			return store.Page{}, fmt.Errorf("encode cursor: %w", err)
		}
	}
	return page, nil
}

// each calls f for each document until it returns false, and closes the cursor.
func each(ctx context.Context, cursor *driver.Cursor, f func(*stored) bool) (err error) {
	defer func() {
		if cerr := cursor.Close(context.WithoutCancel(ctx)); err == nil {
			err = cerr
		}
	}()
	for cursor.Next(ctx) {
		var d stored
		if err := cursor.Decode(&d); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		if !f(&d) {
			return nil
		}
	}
	return cursor.Err()
}

// Iterate implements store.Store. It reads in portions and holds no cursor while
// f runs, so f may use the store. A document that is there throughout is seen
// once, one that changes meanwhile in either state. A sort, a limit or a cursor
// is refused.
func (s *Store) Iterate(ctx context.Context, collection string, q store.Query, f func(store.Doc) error) error {
	t, err := s.collection(collection)
	if err != nil {
		return err
	}
	if err := q.CheckMatch(t.Opaque); err != nil {
		return err
	}
	if q.Sort != "" || q.Limit != 0 || q.Cursor != "" {
		return &store.ArgError{Kind: store.ErrBadQuery, Field: "sort", Msg: "iterate knows no sort, limit or cursor"}
	}
	return s.iterate(ctx, t, q, f)
}

func (s *Store) iterate(ctx context.Context, t *collection, q store.Query, f func(store.Doc) error) error {
	last := ""
	for {
		docs, more, err := s.portion(ctx, t, q, last)
		if err != nil {
			return err
		}
		for _, d := range docs {
			if err := f(d); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		last = docID(docs[len(docs)-1].Key)
	}
}

// portion returns some documents after an _id (empty: from the start), at least
// one if more may follow.
func (s *Store) portion(ctx context.Context, t *collection, q store.Query, last string) (docs []store.Doc, more bool, err error) {
	conds, err := match(q, s.now().UnixMilli())
	if err != nil {
		return nil, false, err
	}
	if last != "" {
		conds = append(conds, op(idField, "$gt", last))
	}
	rows := iterateRows
	if s.serial {
		rows *= 8 // FerretDB scans the collection for each
	}
	o := options.Find().SetProjection(fields()).SetSort(bson.D{{Key: idField, Value: 1}}).SetLimit(int64(rows)).SetBatchSize(batchRows)
	bytes := 0
	err = s.read(ctx, "iterate", t, func(ctx context.Context) error {
		cursor, err := t.docs.Find(ctx, and(conds...), o)
		if err != nil {
			return err
		}
		return each(ctx, cursor, func(d *stored) bool {
			docs = append(docs, d.doc())
			bytes += len(d.Body)
			more = len(docs) == rows || bytes >= iterateBytes
			return !more
		})
	})
	return docs, more, err
}
