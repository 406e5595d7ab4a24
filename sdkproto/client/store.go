package client

import (
	"slices"
	"sync"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Store keeps what must outlive the app's process. Calls come one at a time. A
// client never sends an item that the store has not taken, so that no seq is
// used twice.
type Store interface {
	// Load is called once, by New.
	Load() (Saved, error)
	// Append keeps an item at the end of the queue, and its seq as the highest
	// that was given out. It returns when both are durable.
	Append(item *sdkpb.Item) error
	// Remove forgets items that were acknowledged or refused.
	Remove(seqs []uint64) error
	// SetToken keeps the device token; empty forgets it.
	SetToken(token string) error
	// SetShown keeps the id of a message before the person sees it. A store may
	// forget ids beyond the newest thousand.
	SetShown(messageID string) error
}

// Saved is what a store holds.
type Saved struct {
	Token   string
	NextSeq uint64        // the lowest seq never given out; 0 means 1
	Items   []*sdkpb.Item // in the order of their seq
	Shown   []string      // ids of messages, oldest first
}

// MemStore is a Store in memory: it outlives a Client, not the process. The zero
// value is empty and ready.
type MemStore struct {
	mu    sync.Mutex
	saved Saved
}

// Load implements Store.
func (s *MemStore) Load() (Saved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.saved
	c.Items = slices.Clone(c.Items)
	c.Shown = slices.Clone(c.Shown)
	return c, nil
}

// Append implements Store.
func (s *MemStore) Append(item *sdkpb.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved.Items = append(s.saved.Items, item)
	s.saved.NextSeq = max(s.saved.NextSeq, item.Seq+1)
	return nil
}

// Remove implements Store.
func (s *MemStore) Remove(seqs []uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := make(map[uint64]bool, len(seqs))
	for _, n := range seqs {
		gone[n] = true
	}
	s.saved.Items = slices.DeleteFunc(s.saved.Items, func(i *sdkpb.Item) bool { return gone[i.Seq] })
	if len(s.saved.Items) == 0 {
		s.saved.Items = nil // an idle phone holds no memory for its queue
	}
	return nil
}

// SetToken implements Store.
func (s *MemStore) SetToken(token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved.Token = token
	return nil
}

// SetShown implements Store.
func (s *MemStore) SetShown(messageID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved.Shown = append(s.saved.Shown, messageID)
	if len(s.saved.Shown) > maxShown {
		s.saved.Shown = slices.Clone(s.saved.Shown[len(s.saved.Shown)-maxShown:])
	}
	return nil
}
