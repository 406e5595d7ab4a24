// Package clock is the one source of time for the server: it stamps log time and
// drives timers and expiry. app supplies System; tests supply a Manual that they
// advance. Latency metrics may read the machine's own clock instead.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time and wakes at a time.
type Clock interface {
	// Now is the current time, UTC.
	Now() time.Time
	// At returns a channel that is closed when the clock reaches t, at once if it
	// is past, and a function that gives the channel up.
	At(t time.Time) (<-chan struct{}, func())
}

// System is the machine's clock.
type System struct{}

// Now implements Clock.
func (System) Now() time.Time { return time.Now().UTC() }

// At implements Clock.
func (System) At(t time.Time) (<-chan struct{}, func()) {
	ch := make(chan struct{})
	timer := time.AfterFunc(time.Until(t), func() { close(ch) })
	return ch, func() { timer.Stop() }
}

// Manual is a clock that stands still until it is advanced.
type Manual struct {
	mu      sync.Mutex
	now     time.Time
	waiting map[chan struct{}]time.Time
}

// NewManual starts at now.
func NewManual(now time.Time) *Manual {
	return &Manual{now: now.UTC(), waiting: map[chan struct{}]time.Time{}}
}

// Now implements Clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// At implements Clock.
func (m *Manual) At(t time.Time) (<-chan struct{}, func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := make(chan struct{})
	if !t.After(m.now) {
		close(ch)
		return ch, func() {}
	}
	m.waiting[ch] = t
	return ch, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.waiting, ch)
	}
}

// Advance moves the clock forward and wakes whoever waited for that.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	for ch, t := range m.waiting {
		if !t.After(m.now) {
			close(ch)
			delete(m.waiting, ch)
		}
	}
}
