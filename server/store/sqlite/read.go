package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/store"
)

// Iterate reads portions of at most so much, so that a reader is soon free again
// and memory stays bounded whatever the documents' size.
const (
	iterateRows  = 512
	iterateBytes = 1 << 20
)

// read lends a reading connection to f.
func (s *Store) read(ctx context.Context, f func(*conn) error) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := s.readers.take(ctx)
	if err != nil {
		return err
	}
	defer s.readers.give(c)
	return f(c)
}

func (s *Store) table(collection string) (*table, error) {
	t, ok := s.tables[collection]
	if !ok {
		return nil, &store.ArgError{Kind: store.ErrBadQuery, Field: "collection", Msg: fmt.Sprintf("%q is not declared", collection)}
	}
	return t, nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, collection string, key store.Key) (store.Doc, error) {
	t, err := s.table(collection)
	if err != nil {
		return store.Doc{}, err
	}
	if err := key.Check(store.ErrBadQuery); err != nil {
		return store.Doc{}, err
	}
	doc, found := store.Doc{Key: key}, false
	err = s.read(ctx, func(c *conn) error {
		return c.read(t.get, []driver.Value{key.Workspace, key.ID, s.now().UnixMilli()}, func(v []driver.Value) bool {
			fill(&doc, v)
			found = true
			return false
		})
	})
	switch {
	case err != nil:
		return store.Doc{}, readError("get", t, err)
	case !found:
		return store.Doc{}, fmt.Errorf("%s: %w", t.Name, store.ErrNotFound)
	}
	return doc, nil
}

func readError(what string, t *table, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrClosed) {
		return err
	}
	return fmt.Errorf("%s %s: %w", what, t.Name, err)
}

// fill takes version, expires and body from a row.
func fill(d *store.Doc, v []driver.Value) {
	d.Version, _ = v[0].(int64)
	if ms, ok := v[1].(int64); ok {
		d.Expires = time.UnixMilli(ms).UTC()
	}
	d.Body, _ = v[2].([]byte)
}

// match writes the condition of the query but for its place in an order.
func (s *Store) match(t *text, q store.Query) error {
	t.add(" WHERE ")
	if q.Workspace != "" {
		t.add("ws=")
		t.arg(q.Workspace)
		t.add(" AND ")
	}
	if q.IDPrefix != "" {
		t.prefix("id", q.IDPrefix)
		t.add(" AND ")
	}
	t.add("(expires IS NULL OR expires>")
	t.arg(s.now().UnixMilli())
	t.add(")")
	if q.Filter.IsZero() {
		return nil
	}
	t.add(" AND ")
	return t.filter(q.Filter)
}

// Count implements store.Store; the query's sort, limit and cursor play no part.
func (s *Store) Count(ctx context.Context, collection string, q store.Query) (int64, error) {
	t, err := s.table(collection)
	if err != nil {
		return 0, err
	}
	q.Sort, q.Limit, q.Cursor = "", 0, ""
	if err := q.Check(t.Opaque); err != nil {
		return 0, err
	}
	var sql text
	sql.add("SELECT count(*) FROM ", t.name)
	if err := s.match(&sql, q); err != nil {
		return 0, err
	}
	var n int64
	err = s.read(ctx, func(c *conn) error {
		return c.query(ctx, sql.String(), sql.args, func(v []driver.Value) bool {
			n, _ = v[0].(int64)
			return false
		})
	})
	if err != nil {
		return 0, readError("count", t, err)
	}
	return n, nil
}

// segment is a part of an order within which one condition and one ORDER BY
// give the documents that follow a position, by a range of an index.
type segment struct {
	cond  string
	args  []driver.Value // for the question marks of cond
	order string
}

// segments of the order from a position on (nil: from its start). Ascending,
// documents without the path come first; descending is the exact reverse.
func segments(path string, descending bool, from *store.Position) []segment {
	after, direction := ">", ""
	if descending {
		after, direction = "<", " DESC"
	}
	byID := "id" + direction
	if path == store.IDPath {
		s := segment{order: byID}
		if from != nil {
			s.cond, s.args = "id"+after+"+?", []driver.Value{from.ID}
		}
		return []segment{s}
	}
	e := extract("body", path)
	absent := segment{cond: e + " IS NULL", order: byID}
	present := segment{cond: e + " IS NOT NULL", order: e + direction + "," + byID}
	all := []segment{absent, present}
	if descending {
		all = []segment{present, absent}
	}
	switch {
	case from == nil:
		return all
	case from.Value == nil:
		absent.cond, absent.args = e+" IS NULL AND id"+after+"+?", []driver.Value{from.ID}
		if descending {
			return []segment{absent}
		}
		return []segment{absent, present}
	default:
		present.cond = e + after + "=+? AND (" + e + after + "+? OR id" + after + "+?)"
		present.args = []driver.Value{from.Value, from.Value, from.ID}
		if descending {
			return []segment{present, absent}
		}
		return []segment{present}
	}
}

// Find implements store.Store.
func (s *Store) Find(ctx context.Context, collection string, q store.Query) (store.Page, error) {
	t, err := s.table(collection)
	if err != nil {
		return store.Page{}, err
	}
	if err := q.Check(t.Opaque); err != nil {
		return store.Page{}, err
	}
	path, descending := q.SortPath()
	var from *store.Position
	if q.Cursor != "" {
		p, err := store.ParseCursor(q.Cursor, q.Fingerprint(collection), path == store.IDPath)
		if err != nil {
			return store.Page{}, err
		}
		if _, foreign := p.Value.(store.Composite); foreign {
			return store.Page{}, &store.ArgError{Kind: store.ErrBadQuery, Field: "cursor", Msg: "is not one of ours"}
		}
		from = &p
	}
	var page store.Page
	var last store.Position
	more, limit := false, q.PageSize()
	err = s.read(ctx, func(c *conn) error {
		for _, seg := range segments(path, descending, from) {
			sql, err := s.findSQL(t, q, path, seg, limit-len(page.Docs)+1)
			if err != nil {
				return err
			}
			err = c.query(ctx, sql.String(), sql.args, func(v []driver.Value) bool {
				if len(page.Docs) == limit {
					more = true
					return false
				}
				doc := store.Doc{Key: store.Key{Workspace: q.Workspace}}
				fill(&doc, v)
				doc.ID, _ = v[3].(string)
				last = store.Position{ID: doc.ID}
				if len(v) > 4 {
					last.Value = v[4]
				}
				page.Docs = append(page.Docs, doc)
				return true
			})
			if err != nil || more {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return store.Page{}, readError("find", t, err)
	}
	if more {
		if page.Next, err = last.Cursor(q.Fingerprint(collection)); err != nil {
			return store.Page{}, fmt.Errorf("encode cursor: %w", err)
		}
	}
	return page, nil
}

// findSQL is one segment of a page: version, expires, body, id and, unless the
// order is by id, the value that decides it.
func (s *Store) findSQL(t *table, q store.Query, path string, seg segment, limit int) (*text, error) {
	var sql text
	sql.add("SELECT version,expires,CAST(body AS BLOB),id")
	if path != store.IDPath {
		sql.add(",", extract("body", path))
	}
	sql.add(" FROM ", t.name)
	if err := s.match(&sql, q); err != nil {
		return nil, err
	}
	if seg.cond != "" {
		sql.add(" AND ", seg.cond)
		sql.args = append(sql.args, seg.args...)
	}
	sql.add(" ORDER BY ", seg.order, " LIMIT 0")
	sql.arg(int64(limit)) // 0+?, since a lone +? would not be hidden here
	return &sql, nil
}

// Iterate implements store.Store. It reads in portions: see the package's doc.
// A sort, a limit or a cursor is refused.
func (s *Store) Iterate(ctx context.Context, collection string, q store.Query, f func(store.Doc) error) error {
	t, err := s.table(collection)
	if err != nil {
		return err
	}
	if err := q.CheckMatch(t.Opaque); err != nil {
		return err
	}
	if q.Sort != "" || q.Limit != 0 || q.Cursor != "" {
		return &store.ArgError{Kind: store.ErrBadQuery, Field: "sort", Msg: "iterate knows no sort, limit or cursor"}
	}
	var last store.Key
	for {
		docs, more, err := s.portion(ctx, t, q, last)
		if err != nil {
			return readError("iterate", t, err)
		}
		for _, d := range docs {
			last = d.Key
			if err := f(d); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// portion returns some documents after a key (zero: from the start), at least
// one if there is one.
func (s *Store) portion(ctx context.Context, t *table, q store.Query, after store.Key) (docs []store.Doc, more bool, err error) {
	var sql text
	sql.add("SELECT version,expires,CAST(body AS BLOB),id,ws FROM ", t.name)
	if err := s.match(&sql, q); err != nil {
		return nil, false, err
	}
	switch {
	case after.ID == "":
	case q.Workspace != "":
		sql.add(" AND id>")
		sql.arg(after.ID)
	default:
		sql.add(" AND (ws,id)>(")
		sql.arg(after.Workspace)
		sql.add(",")
		sql.arg(after.ID)
		sql.add(")")
	}
	sql.add(" ORDER BY ws,id")
	bytes := 0
	err = s.read(ctx, func(c *conn) error {
		return c.query(ctx, sql.String(), sql.args, func(v []driver.Value) bool {
			if len(docs) == iterateRows || bytes >= iterateBytes {
				more = true
				return false
			}
			var doc store.Doc
			fill(&doc, v)
			doc.ID, _ = v[3].(string)
			doc.Workspace, _ = v[4].(string)
			bytes += len(doc.Body)
			docs = append(docs, doc)
			return true
		})
	})
	return docs, more, err
}
