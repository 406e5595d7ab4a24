package ingest

import (
	"sync"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// installKey names an install within all workspaces.
type installKey struct{ workspace, install string }

// Sessions are the open sockets by install. Its methods may be called from any
// goroutine.
type Sessions struct {
	g    *Gateway
	mu   sync.RWMutex
	open map[installKey]*session
}

func newSessions(g *Gateway) *Sessions { return &Sessions{g: g, open: map[installKey]*session{}} }

// Offer hands a message to the install's phone: true when it has an open session
// in the foreground whose queue took it. The phone may still lose it; one that
// resumes within sdkproto.ClaimWithin gets an in-app message again. A phone that
// keeps its inbox hears of an inbox message by InboxChanged.
func (x *Sessions) Offer(workspace, install string, m *sdkpb.Message) bool {
	inbox := m.GetKind() == sdkpb.Message_KIND_INBOX
	s := x.find(workspace, install)
	if s != nil && inbox && s.caps.inbox {
		x.g.inboxes.add(s)
		return s.isOpen()
	}
	taken := s != nil && !s.in.background.Load() && s.offerMessage(m, nil)
	if inbox && !taken {
		x.g.installs.missed(installKey{workspace, install})
	}
	return taken
}

// InboxChanged says that the inbox which the install's phone shows is another than
// it was: a message is new, was read or is gone, or the person is another. Without a
// session, or without the capability inbox, the phone hears of it when it next says
// hello. It does not block; many changes at once are told together.
func (x *Sessions) InboxChanged(workspace, install string) {
	s := x.find(workspace, install)
	switch {
	case s == nil:
		x.g.installs.missed(installKey{workspace, install})
	case s.caps.inbox:
		x.g.inboxes.add(s)
	}
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
