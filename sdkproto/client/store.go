package client

import (
	"cmp"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Store keeps what must outlive the app's process. Calls come one at a time. A
// client never sends an item that the store has not taken, so that no seq is
// used twice. Each call is kept as a whole or not at all, and when it returns nil
// it is durable; the messages that it is given are not changed afterwards.
type Store interface {
	// Load is called once, by New.
	Load() (Saved, error)
	// Append keeps items at the end of the queue, in the order of their seq, and
	// the last one's as the highest that was given out.
	Append(items ...*sdkpb.Item) error
	// Remove forgets items that were acknowledged, refused or dropped.
	Remove(seqs []uint64) error
	// Apply keeps a change of everything else.
	Apply(Change) error
}

// Saved is what a store holds. Its messages belong to the store: read only.
type Saved struct {
	Token    string
	OldToken string        // valid until Token was accepted once; empty means none
	NextSeq  uint64        // the lowest seq never given out; 0 means 1
	Items    []*sdkpb.Item // in the order of their seq
	Shown    []string      // ids of messages, oldest first, at most a thousand
	Resume   *sdkpb.Resume // nil means nothing to resume
	Config   *sdkpb.Config // nil means none
	Regions  *sdkpb.Regions
	// Inbox is the whole of it: messages, cursor, and as gone the ids that were
	// dismissed here and of which the server has not said so yet. Nil means empty.
	Inbox *sdkpb.Inbox
	// Tracking is what the app asked for: UNSPECIFIED nothing yet, OFF after it
	// stopped.
	Tracking sdkpb.Tracking_Preset
	// Waiting are the messages that wait for their moment, as JSON of the client's own;
	// empty means none.
	Waiting string
	Install Install
}

// Tokens are the device token in use and the one before.
type Tokens struct{ Token, Old string }

// Change is what is kept at once. What is nil or empty stays as it is.
type Change struct {
	Tokens  *Tokens
	Shown   string        // id of a message that the person is about to see
	Resume  *sdkpb.Resume // an empty one forgets
	Config  *sdkpb.Config
	Regions *sdkpb.Regions
	Inbox   *sdkpb.Inbox // as it came; full without messages empties
	// Dismissed is the id of a message that the person does not want in the inbox
	// any more.
	Dismissed string
	Tracking  *sdkpb.Tracking_Preset
	Waiting   string
	Install   *Install
}

// empty reports whether there is nothing to keep.
func (x *Change) empty() bool { return *x == Change{} }

// apply makes the change. It replaces what it changes and alters none of it, so
// that an earlier copy of s stays as it was.
func (s *Saved) apply(x Change) {
	if x.Tokens != nil {
		s.Token, s.OldToken = x.Tokens.Token, x.Tokens.Old
	}
	if x.Shown != "" {
		s.Shown = append(slices.Clip(s.Shown), x.Shown)
		if len(s.Shown) > maxShown {
			s.Shown = slices.Clone(s.Shown[len(s.Shown)-maxShown:])
		}
	}
	if x.Resume != nil {
		s.Resume = x.Resume
		if proto.Size(x.Resume) == 0 {
			s.Resume = nil
		}
	}
	if x.Config != nil {
		s.Config = x.Config
	}
	if x.Regions != nil {
		s.Regions = x.Regions
	}
	if x.Inbox != nil {
		s.Inbox = mergeInbox(s.Inbox, x.Inbox)
	}
	if x.Dismissed != "" {
		s.Inbox = dismissed(s.Inbox, x.Dismissed)
	}
	if x.Tracking != nil {
		s.Tracking = *x.Tracking
	}
	if x.Waiting != "" {
		s.Waiting = x.Waiting
	}
	if x.Install != nil {
		s.Install = *x.Install
	}
}

func (s *Saved) append(items []*sdkpb.Item) {
	for _, i := range items {
		s.Items = append(s.Items, i)
		s.NextSeq = max(s.NextSeq, i.Seq+1)
	}
}

func (s *Saved) remove(seqs []uint64) {
	if len(seqs) == 0 {
		return
	}
	bySeq := func(i *sdkpb.Item, seq uint64) int { return cmp.Compare(i.Seq, seq) }
	gone := make(map[uint64]bool, len(seqs))
	for _, n := range seqs {
		gone[n] = true
	}
	// Mostly it is the oldest that go: the rest need not be looked at.
	from, _ := slices.BinarySearchFunc(s.Items, slices.Min(seqs), bySeq)
	to, _ := slices.BinarySearchFunc(s.Items, slices.Max(seqs)+1, bySeq)
	kept := slices.DeleteFunc(s.Items[from:to], func(i *sdkpb.Item) bool { return gone[i.Seq] })
	switch {
	case len(s.Items) == to-from-len(kept):
		s.Items = nil // an idle phone holds no memory for its queue
	case len(kept) == 0 && from == 0:
		s.Items = s.Items[to:]
	default:
		s.Items = slices.Delete(s.Items, from+len(kept), to)
	}
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
func (s *MemStore) Append(items ...*sdkpb.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved.append(items)
	return nil
}

// Remove implements Store.
func (s *MemStore) Remove(seqs []uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved.remove(seqs)
	return nil
}

// Apply implements Store.
func (s *MemStore) Apply(x Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved.apply(x)
	return nil
}

// SetToken keeps a device token, and none before it.
func (s *MemStore) SetToken(token string) error {
	return s.Apply(Change{Tokens: &Tokens{Token: token}})
}

// SetShown keeps the id of a message that was shown.
func (s *MemStore) SetShown(messageID string) error { return s.Apply(Change{Shown: messageID}) }
