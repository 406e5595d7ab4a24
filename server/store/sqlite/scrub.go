package sqlite

import (
	"context"
	"fmt"
)

// Scrub has the files keep nothing of what was deleted or replaced: SQLite overwrites
// it in the pages (secure_delete), and this moves the WAL, in which older pages stand,
// into the file and truncates it. It waits for readers for at most the busy timeout;
// if one goes on reading, it is an error and may be tried again.
func (s *Store) Scrub(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.writer.turn.Lock()
	defer s.writer.turn.Unlock()
	w, err := s.writer.conn.walCheckpoint("TRUNCATE")
	if err != nil {
		return err
	}
	if w.size != w.moved {
		return fmt.Errorf("scrub: %d of %d bytes of the WAL could not be moved", w.size-w.moved, w.size)
	}
	return nil
}
