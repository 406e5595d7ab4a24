package people

import (
	"context"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/store"
)

// ErasedFor is how long an erasure is heeded by what was sent in before it and waits:
// longer than an upload may wait (uploads.MaxAge).
const ErasedFor = 90 * 24 * time.Hour

// erased are the newest erasures of a workspace, in Unix microseconds.
type erased struct {
	newest int64
	at     map[string]int64 // by the hash of an identifier or a profile
}

func (s *Service) loadErased(ctx context.Context) error {
	since := s.o.Clock.Now().Add(-ErasedFor).UnixMicro()
	q := store.Query{Filter: store.Filter{Path: "at_us", Op: store.Gt, Value: since}}
	err := s.o.Hot.Iterate(ctx, "erasures", q, func(d store.Doc) error {
		e, err := readJob(d)
		if err == nil {
			s.noteErased(e.Workspace, e.Hashes, e.AtUS)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read erasures: %w", err)
	}
	return nil
}

// noteErased has Erased know of an erasure.
func (s *Service) noteErased(workspace string, hashes []string, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgetErased < at { // once a day
		s.forgetErased = at + (24 * time.Hour).Microseconds()
		for ws, x := range s.erased {
			for hash, when := range x.at {
				if when < at-ErasedFor.Microseconds() {
					delete(x.at, hash)
				}
			}
			if len(x.at) == 0 {
				delete(s.erased, ws)
			}
		}
	}
	x := s.erased[workspace]
	if x == nil {
		x = &erased{at: map[string]int64{}}
		s.erased[workspace] = x
	}
	x.newest = max(x.newest, at)
	for _, hash := range hashes {
		x.at[hash] = max(x.at[hash], at)
	}
}

// Erased reports whether whom an identifier ("user_id:ada") or the id of a profile names has
// been erased since something was sent in: it is of somebody who is to be forgotten, and
// comes after the erasure only because it had to wait. It is cheap, never waits for the
// store, and knows erasures of ErasedFor.
func (s *Service) Erased(workspace, name string, sent time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	x := s.erased[workspace]
	if x == nil || sent.UnixMicro() > x.newest {
		return false
	}
	at, is := x.at[s.o.Hasher.Hash(workspace, name)]
	return is && sent.UnixMicro() <= at
}
