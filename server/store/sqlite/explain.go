package sqlite

import (
	"context"
	"database/sql/driver"
	"strings"

	"github.com/footfall-engage/footfall/server/store"
)

// Explain returns SQLite's plan of each statement that Find runs for the first page of a
// query, its steps with "; " between: "SEARCH … USING INDEX …" reads a range of an index,
// "SCAN …" everything, "USE TEMP B-TREE …" sorts what it has read.
func (s *Store) Explain(ctx context.Context, collection string, q store.Query) ([]string, error) {
	tb, err := s.table(collection)
	if err != nil {
		return nil, err
	}
	if err := q.Check(tb.Opaque); err != nil {
		return nil, err
	}
	path, descending := q.SortPath()
	var plans []string
	for _, seg := range segments(path, descending, nil) {
		sql, err := s.findSQL(tb, q, path, seg, 10)
		if err != nil {
			return nil, err
		}
		var plan []string
		err = s.read(ctx, func(c *conn) error {
			return c.query(ctx, "EXPLAIN QUERY PLAN "+sql.String(), sql.args, func(v []driver.Value) bool {
				line, _ := v[3].(string)
				plan = append(plan, line)
				return true
			})
		})
		if err != nil {
			return nil, readError("explain", tb, err)
		}
		plans = append(plans, strings.Join(plan, "; "))
	}
	return plans, nil
}
