package sqlite

import (
	"database/sql/driver"
	"testing"

	"github.com/footfall-engage/footfall/server/store"
)

// Waiting is how many calls wait for the next commit.
func (s *Store) Waiting() int {
	s.writer.mu.Lock()
	defer s.writer.mu.Unlock()
	return len(s.writer.queue)
}

// Plans is Explain for tests.
func (s *Store) Plans(t *testing.T, collection string, q store.Query) []string {
	t.Helper()
	plans, err := s.Explain(t.Context(), collection, q)
	if err != nil {
		t.Fatal(err)
	}
	return plans
}

// Integrity is what SQLite finds wrong with the whole file.
func (s *Store) Integrity(t *testing.T) (problems []string) {
	t.Helper()
	s.writer.turn.Lock()
	defer s.writer.turn.Unlock()
	err := s.writer.conn.read("PRAGMA integrity_check", nil, func(v []driver.Value) bool {
		if text, _ := v[0].(string); text != "ok" {
			problems = append(problems, text)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return problems
}
