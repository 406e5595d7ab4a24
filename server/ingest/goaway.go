package ingest

import (
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Reasons of a goaway.
const (
	goawayShutdown = "shutdown"
	goawayOverload = "overload"
)

// leave asks the phone to go and come back at a time of its own, and closes when
// what was taken is answered. A phone that does not know goaway hears the close
// code alone, and chooses its time by chance.
func (s *session) leave(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened && s.caps.goaway && !s.ended && s.bye == nil {
		f := &sdkpb.Frame{Goaway: &sdkpb.Goaway{
			Reason: reason, ReconnectAfterMs: uint32(s.g.returns.wait(s.g.o.Clock.Now(), 0).Milliseconds()),
		}}
		s.pushLocked(&outbound{frame: f, size: 64})
		s.g.metrics.goaways.WithLabelValues(reason).Inc()
	}
	s.closeLocked(&farewell{code: sdkproto.CloseShutdown, text: reason, patient: patiently})
}

// shed makes room for phones that were refused a socket since it was last called,
// as many as they were: by asking those to go whose app has said that it is in the
// background, where it needs none. The others are all alike, and stay.
func (g *Gateway) shed() {
	n := g.crowded.Swap(0)
	if n == 0 {
		return
	}
	for _, s := range g.sessions.all() {
		if n == 0 {
			return
		}
		if s.in.background.Load() && s.caps.goaway && s.isOpen() {
			s.leave(goawayOverload)
			n--
		}
	}
}
