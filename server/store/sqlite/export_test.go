package sqlite

import (
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
