package ingest

import (
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// installKey names an install within all workspaces.
type installKey struct{ workspace, install string }

// Sessions are the open sockets by install. Its methods may be called from any
// goroutine.
type Sessions struct {
	mu   sync.RWMutex
	open map[installKey]*session
}

func newSessions() *Sessions { return &Sessions{open: map[installKey]*session{}} }

// Offer hands a message to the install's phone: true when it has an open session
// in the foreground whose queue took it. The phone may still lose it.
func (x *Sessions) Offer(workspace, install string, m *sdkpb.Message) bool {
	s := x.find(workspace, install)
	if s == nil || s.in.background.Load() {
		return false
	}
	f := &sdkpb.Frame{Message: m}
	return s.offer(f, proto.Size(f))
}

// Online reports whether the install has an open session in the foreground.
func (x *Sessions) Online(workspace, install string) bool {
	s := x.find(workspace, install)
	return s != nil && !s.in.background.Load() && s.isOpen()
}

// Count is the number of installs with a session.
func (x *Sessions) Count() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.open)
}

func (x *Sessions) find(workspace, install string) *session {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.open[installKey{workspace, install}]
}

func (x *Sessions) all() []*session {
	x.mu.RLock()
	defer x.mu.RUnlock()
	out := make([]*session, 0, len(x.open))
	for _, s := range x.open {
		out = append(out, s)
	}
	return out
}

// put makes s the session of its install and closes the one that was.
func (x *Sessions) put(s *session) {
	x.mu.Lock()
	old := x.open[s.in.key]
	x.open[s.in.key] = s
	x.mu.Unlock()
	if old != nil {
		old.close(sdkproto.CloseReplaced, "a newer connection", patiently)
	}
}

// remove forgets s unless a newer one has taken its place.
func (x *Sessions) remove(s *session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.open[s.in.key] == s {
		delete(x.open, s.in.key)
	}
}
