package ingest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/sdkproto"
)

const (
	tickEvery  = time.Second
	pingTicks  = uint64(sdkproto.PingEvery / tickEvery)
	deadTicks  = uint64(sdkproto.DeadAfter / tickEvery)
	helloTicks = uint64(sdkproto.HelloWithin / tickEvery)
)

// wheel times all sessions by its own ticks.
type wheel struct {
	mu    sync.Mutex
	tick  uint64
	fresh map[*session]uint64 // before hello: when they came
	slots [pingTicks]map[*session]*liveness
}

// liveness of an open session. The zero value is alive.
type liveness struct {
	pinged uint64      // tick of the last ping; 0 means none yet
	silent atomic.Bool // nothing was heard since it
}

func newWheel() *wheel {
	w := &wheel{fresh: map[*session]uint64{}}
	for i := range w.slots {
		w.slots[i] = map[*session]*liveness{}
	}
	return w
}

// expectHello gives the session its time for hello.
func (w *wheel) expectHello(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh[s] = w.tick
}

// greeted ends the time for hello: it is here, and is being answered.
func (w *wheel) greeted(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.fresh, s)
}

// opened has the session pinged from now on, first in pingTicks.
func (w *wheel) opened(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.slot = w.tick % pingTicks
	w.slots[s.slot][s] = &s.alive
}

func (w *wheel) forget(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.fresh, s)
	delete(w.slots[s.slot], s)
}

// turn is one tick.
func (w *wheel) turn() {
	var late, due, dead []*session
	w.mu.Lock()
	w.tick++
	for s, born := range w.fresh {
		if w.tick-born > helloTicks {
			late = append(late, s)
		}
	}
	for s, a := range w.slots[w.tick%pingTicks] {
		a.pinged = w.tick
		a.silent.Store(true)
		due = append(due, s)
	}
	for s, a := range w.slots[(w.tick+pingTicks-deadTicks)%pingTicks] {
		if a.pinged+deadTicks == w.tick && a.silent.Load() {
			dead = append(dead, s)
		}
	}
	w.mu.Unlock()
	for _, s := range late {
		s.close(sdkproto.CloseHelloTimeout, "no hello in time", atOnce)
	}
	for _, s := range due {
		s.ping()
	}
	for _, s := range dead {
		s.close(sdkproto.CloseNoPong, "a ping was not answered", atOnce)
	}
}
