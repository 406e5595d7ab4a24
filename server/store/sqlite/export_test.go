package sqlite

import (
	"database/sql/driver"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/store"
)

// Waiting is how many calls wait for the next commit.
func (s *Store) Waiting() int {
	s.writer.mu.Lock()
	defer s.writer.mu.Unlock()
	return len(s.writer.queue)
}

// Plans returns SQLite's plan for each statement that Find runs for the query.
func (s *Store) Plans(t *testing.T, collection string, q store.Query) []string {
	t.Helper()
	tb, err := s.table(collection)
	if err != nil {
		t.Fatal(err)
	}
	path, descending := q.SortPath()
	var plans []string
	for _, seg := range segments(path, descending, nil) {
		sql, err := s.findSQL(tb, q, path, seg, 10)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		err = s.read(t.Context(), func(c *conn) error {
			return c.query(t.Context(), "EXPLAIN QUERY PLAN "+sql.String(), sql.args, func(v []driver.Value) bool {
				line, _ := v[3].(string)
				plan = append(plan, line)
				return true
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, strings.Join(plan, "; "))
	}
	return plans
}
