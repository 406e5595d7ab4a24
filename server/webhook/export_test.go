package webhook

// Resting reports whether every lane has done what is to be done at this time of the
// clock, and has no call under way.
func (d *Dispatcher) Resting() bool {
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running || len(d.lanes) < len(d.o.Subscriptions.All()) {
		return false
	}
	for _, l := range d.lanes {
		at := l.look(now, d.o.InFlight)
		if s, ok := d.o.Subscriptions.Get(l.key); !ok || s.Version != l.sub.Version {
			return false // it will be told
		}
		if !l.resting || l.n > 0 || len(l.wake) > 0 || !at.IsZero() && !at.After(now) {
			return false
		}
	}
	return true
}
