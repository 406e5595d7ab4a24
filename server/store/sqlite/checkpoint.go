package sqlite

import (
	"database/sql/driver"
	"fmt"
	"sync"
	"sync/atomic"
)

const (
	pageBytes = 4096
	// checkpointBytes in the WAL that are not yet in the file start a checkpoint.
	checkpointBytes = 4 << 20
	// walHighWater is where a checkpoint stops the writer for its last part, if that is
	// less than checkpointBytes, and walTop where it does whatever is left. A WAL is reused
	// from its start only when all of it has been moved, which a writer without pauses
	// would never let happen. To move what a large commit has written takes as long as
	// the commit: walTop is so many of them that it is seldom waited for.
	walHighWater = 32 << 20
	walTop       = 128 << 20
	// readersWaitMS is how long the writer is held up for readers, in milliseconds; a
	// reader that takes longer keeps the WAL from being reused until the next time.
	readersWaitMS = 20
)

// checkpointer moves the WAL into the file beside the writer.
type checkpointer struct {
	conn    *conn        // used by the one goroutine under way
	written atomic.Int64 // bytes since the last checkpoint, an over-estimate
	turn    sync.Mutex   // held by that goroutine, or by who moves the WAL themselves; before writer.turn
	running sync.WaitGroup
}

// wal is the state of the WAL in bytes.
type wal struct {
	size  int64
	moved int64 // of size, what is in the file already
	busy  bool  // somebody was in the way, and not all that was asked for was done
}

// checkpointWhenDue starts a checkpoint if the group made it due. The caller
// is an operation under way, so Close is not waiting yet.
func (s *Store) checkpointWhenDue(group []*call) {
	var n int64
	for _, c := range group {
		// A document touches a page or two, and one more per index.
		n += int64(c.bytes) + int64(c.ops)*2*pageBytes
	}
	k := &s.checkpoint
	if k.written.Add(n) < checkpointBytes || !k.turn.TryLock() {
		return
	}
	k.running.Go(func() {
		defer k.turn.Unlock()
		if err := s.runCheckpoint(); err != nil {
			s.log.Error("checkpoint", "error", err)
		}
	})
}

func (s *Store) runCheckpoint() error {
	k := &s.checkpoint
	k.written.Store(0)
	w, err := k.conn.walCheckpoint("NOOP")
	if err != nil {
		return err
	}
	if due := w.size - w.moved; due < checkpointBytes {
		k.written.Add(due)
		return nil
	}
	if w, err = k.conn.walCheckpoint("PASSIVE"); err != nil || w.size < walHighWater {
		return err
	}
	// What was written since it began is not in those figures.
	if w, err = k.conn.walCheckpoint("NOOP"); err != nil || w.size < walTop && w.size-w.moved >= checkpointBytes {
		k.written.Add(w.size - w.moved) // the next commit begins the next one
		return err
	}
	s.writer.turn.Lock()
	defer s.writer.turn.Unlock()
	// RESTART also waits, for readersWait, until nobody reads from the WAL: under readers
	// that come one after the other a PASSIVE one leaves it to chance whether the writer
	// may begin it anew, and it grows without end.
	_, err = k.conn.walCheckpoint("RESTART")
	return err
}

// walCheckpoint runs the pragma; NOOP only looks.
func (c *conn) walCheckpoint(mode string) (wal, error) {
	var w wal
	err := c.read("PRAGMA wal_checkpoint("+mode+")", nil, func(v []driver.Value) bool {
		busy, _ := v[0].(int64)
		frames, _ := v[1].(int64)
		moved, _ := v[2].(int64)
		w = wal{size: frames * pageBytes, moved: moved * pageBytes, busy: busy != 0}
		return false
	})
	if err != nil {
		return wal{}, fmt.Errorf("wal_checkpoint %s: %w", mode, err)
	}
	return w, nil
}
