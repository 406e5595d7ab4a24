package webhook

import (
	"context"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/channels"
)

const (
	firstWait  = 5 * time.Second // after the first failure of an event
	maxWait    = time.Hour       // between two attempts of an event
	downAfter  = 3               // first attempts in a row that fail: the receiver is down
	firstPause = 2 * time.Second
	maxPause   = time.Minute     // between two probes of a receiver that is down
	afterError = 2 * time.Second // until the queue is asked again after an error
	minSweep   = time.Minute     // between two looks for what is overdue in a paused lane
	page       = 256             // items that are looked at together
)

// lane is a subscription with its pump. Dispatcher.mu guards it.
type lane struct {
	key     Key
	sub     Subscription
	target  *Target // nil: not opened yet
	wake    chan struct{}
	gone    bool            // the subscription is deleted
	resting bool            // the pump waits
	n       int             // calls under way
	ready   []*Item         // fetched, due, and in no call yet
	busy    map[string]bool // events that are ready or in a call: what the queue says of them is old
	// While the queue is being read, events of calls that end stay busy: what is read
	// may be from before.
	fetching bool
	ended    []string
	waiting  int // items, those of calls under way too; about
	dead     int // about: some expire
	// recounted is when dead was counted because there seemed to be too many.
	recounted time.Time
	// next is when the queue may have something due; zero: it is not known to have
	// anything.
	next time.Time
	// until is the end of a pause, failures the first attempts in a row that failed.
	until    time.Time
	failures int
	sweep    time.Time // while nothing is sent: when something may be overdue
	// What an operator is told: since when nothing was taken, and the last answer.
	since time.Time
	last  *Answer
}

func (l *lane) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// idle reports whether nothing may be sent at the time.
func (l *lane) idle(now time.Time) bool { return l.sub.Status == Paused || now.Before(l.until) }

// room is how many calls may begin.
func (l *lane) room(now time.Time, most int) int {
	switch {
	case l.idle(now):
		return 0
	case l.failures >= downAfter:
		return max(1-l.n, 0) // a probe
	default:
		return max(most-l.n, 0)
	}
}

// look is when the pump has something to do; zero: when it is woken.
func (l *lane) look(now time.Time, most int) time.Time {
	switch {
	case l.sub.Status == Off:
		return l.next
	case l.sub.Status == Paused:
		return l.sweep
	case now.Before(l.until):
		return earlier(l.until, l.sweep)
	case l.room(now, most) == 0:
		return time.Time{}
	case len(l.ready) > 0:
		return now
	default:
		return l.next
	}
}

// drop gives back what is ready, since it is not the time for it. mu is held.
func (l *lane) drop(now time.Time) {
	for _, it := range l.ready {
		delete(l.busy, it.Event.ID)
		l.next = now
	}
	l.ready = nil
}

// end lets events of a call be fetched again. mu is held.
func (l *lane) end(events ...string) {
	if l.fetching {
		l.ended = append(l.ended, events...)
		return
	}
	for _, id := range events {
		delete(l.busy, id)
	}
}

// pump sends what is due until ctx ends.
func (d *Dispatcher) pump(ctx context.Context, l *lane) {
	d.count(ctx, l)
	for ctx.Err() == nil {
		now := d.clock.Now()
		d.mu.Lock()
		if l.sweep.IsZero() && l.idle(now) {
			l.sweep = now
		}
		at, gone := l.look(now, d.o.InFlight), l.gone
		l.resting = at.IsZero() || at.After(now)
		d.mu.Unlock()
		if gone {
			return
		}
		if !at.IsZero() && !at.After(now) {
			if err := d.work(ctx, l, now); err != nil && ctx.Err() == nil {
				d.log.WarnContext(ctx, "webhook events wait for the store", "workspace", l.key.Workspace, "webhook", l.key.ID, "error", err)
				d.after(ctx, afterError)
				d.mu.Lock()
				l.next = earlier(l.next, d.clock.Now())
				d.mu.Unlock()
			}
			continue
		}
		var due <-chan struct{}
		cancel := func() {}
		if !at.IsZero() {
			due, cancel = d.clock.At(at)
		}
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-due:
		}
		cancel()
	}
}

// after waits a while that the clock of the server does not drive: a store that does
// not answer is a matter of the machine.
func (d *Dispatcher) after(ctx context.Context, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	<-ctx.Done()
}

// count learns what an earlier run left. What comes meanwhile may be counted twice,
// until the queue is found empty.
func (d *Dispatcher) count(ctx context.Context, l *lane) {
	waiting, dead, err := d.o.Queue.Count(ctx, l.key)
	if err != nil {
		if ctx.Err() == nil {
			d.log.WarnContext(ctx, "count webhook events", "workspace", l.key.Workspace, "webhook", l.key.ID, "error", err)
		}
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l.waiting, l.dead = max(l.waiting, waiting), max(l.dead, dead)
}

// work takes what is due a step further.
func (d *Dispatcher) work(ctx context.Context, l *lane, now time.Time) error {
	d.mu.Lock()
	sub, target := l.sub, l.target
	if sub.Status == Off || l.idle(now) || l.failures >= downAfter {
		l.drop(now)
	}
	d.mu.Unlock()
	if sub.Status == Off {
		if s, ok := d.o.Subscriptions.Get(l.key); !ok || s.Status != Off {
			d.mu.Lock()
			if l.sub == sub {
				l.next = time.Time{} // it is on again, or gone: reconcile comes with that
			}
			d.mu.Unlock()
			return nil
		}
		return d.buryAll(ctx, l, now)
	}
	if sub.Status == Enabled && target == nil {
		var err error
		if target, err = d.o.Subscriptions.Open(l.key); err != nil {
			d.failed(l, sub.Version, channels.Outcome{Kind: channels.Misconfigured}, &Answer{At: now, Reason: "secrets", Body: err.Error()}, true)
			d.log.ErrorContext(ctx, "webhook cannot be opened", "workspace", l.key.Workspace, "webhook", l.key.ID, "error", err)
			return nil
		}
		d.mu.Lock()
		if l.sub.Version == sub.Version { // else it may be the one of before
			l.target = target
		}
		d.mu.Unlock()
	}
	if err := d.fetch(ctx, l, now); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if target != nil && l.sub.Version == sub.Version {
		d.begin(l, target, sub, now)
	}
	return nil
}

// fetch fills up what is ready, if nothing is; while nothing may be sent, or no more
// than a probe, it gives up what has been here for too long.
func (d *Dispatcher) fetch(ctx context.Context, l *lane, now time.Time) error {
	d.mu.Lock()
	if len(l.ready) > 0 {
		d.mu.Unlock()
		return nil
	}
	idle, probing, busy := l.idle(now), l.failures >= downAfter, len(l.busy)
	l.next, l.sweep = time.Time{}, time.Time{}
	l.fetching = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		l.fetching = false
		l.end(l.ended...)
		l.ended = nil
	}()
	limit := page + busy
	items, err := d.o.Queue.Next(ctx, l.key, limit)
	if err != nil {
		return err
	}
	more := len(items) == limit
	if len(items) == 0 && busy == 0 {
		d.mu.Lock()
		l.waiting = len(l.busy)
		d.mu.Unlock()
	}
	if idle || probing {
		all := len(items)
		if items, err = d.overdue(ctx, l, items, now); err != nil {
			return err
		}
		more = more || all > len(items)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if idle {
		l.sweep = now.Add(d.o.MaxAge)
		for _, it := range items {
			l.sweep = earlier(l.sweep, it.At.Add(d.o.MaxAge))
		}
		if least := now.Add(minSweep); l.sweep.Before(least) {
			l.sweep = least
		}
		if more && len(items) == 0 {
			l.sweep = now
		}
		l.next = earlier(l.next, now) // when the pause is over
		return nil
	}
	if more {
		l.next = now
	}
	for _, it := range items {
		switch {
		case l.busy[it.Event.ID]:
		case it.Due.After(now):
			l.next = earlier(l.next, it.Due)
		default:
			l.ready = append(l.ready, it)
			l.busy[it.Event.ID] = true
		}
	}
	return nil
}

// begin starts calls with what is ready. d.mu is held.
func (d *Dispatcher) begin(l *lane, target *Target, sub Subscription, now time.Time) {
	batch := max(target.Batch, 1)
	probing := l.failures >= downAfter
	if probing { // with what has not failed yet, which says more of the receiver
		batch = 1
		if i := slices.IndexFunc(l.ready, func(it *Item) bool { return it.Tries == 0 }); i > 0 {
			l.ready[0], l.ready[i] = l.ready[i], l.ready[0]
		}
	}
	for room := l.room(now, d.o.InFlight); room > 0 && len(l.ready) > 0; room-- {
		n := 1
		for !l.ready[0].Alone && n < batch && n < len(l.ready) && !l.ready[n].Alone {
			n++
		}
		call := l.ready[:n:n]
		l.ready = l.ready[n:]
		l.n++
		d.wg.Add(1)
		go d.fly(l, target, sub, call)
	}
	if probing {
		l.drop(now)
	}
}

// overdue gives up what has been here for too long, and returns the rest.
func (d *Dispatcher) overdue(ctx context.Context, l *lane, items []*Item, now time.Time) (rest []*Item, err error) {
	var old []*Item
	d.mu.Lock()
	for _, it := range items {
		if now.Before(it.At.Add(d.o.MaxAge)) || l.busy[it.Event.ID] {
			rest = append(rest, it)
			continue
		}
		why := Overdue
		if it.Tries > 0 {
			why = Exhausted
		}
		if it.Last == nil {
			it.Last = l.last
		}
		d.bury(it, why, now)
		old = append(old, it)
	}
	d.mu.Unlock()
	return rest, d.toDead(ctx, l, old)
}

// buryAll makes dead letters of all that waits: the subscription is off.
func (d *Dispatcher) buryAll(ctx context.Context, l *lane, now time.Time) error {
	for {
		d.mu.Lock()
		busy := len(l.busy)
		d.mu.Unlock()
		items, err := d.o.Queue.Next(ctx, l.key, page+busy)
		if err != nil {
			return err
		}
		var all []*Item
		d.mu.Lock()
		for _, it := range items {
			if !l.busy[it.Event.ID] {
				d.bury(it, Disabled, now)
				all = append(all, it)
			}
		}
		if len(all) == 0 {
			l.next = time.Time{}
			d.mu.Unlock()
			return nil
		}
		d.mu.Unlock()
		if err := d.toDead(ctx, l, all); err != nil {
			return err
		}
	}
}

// toDead writes items that are buried; what there is no room for is dropped.
func (d *Dispatcher) toDead(ctx context.Context, l *lane, items []*Item) error {
	if len(items) == 0 {
		return nil
	}
	d.mu.Lock()
	room := max(d.o.MaxDead-l.dead, 0)
	d.mu.Unlock()
	keep := items[:min(room, len(items))]
	drop := items[len(keep):]
	if err := d.o.Queue.Put(ctx, keep); err != nil {
		return err
	}
	if err := d.o.Queue.Remove(ctx, drop); err != nil {
		return err
	}
	for _, it := range keep {
		d.metrics.died.WithLabelValues(l.key.Workspace, l.key.ID, string(it.Why)).Inc()
	}
	d.metrics.dropped.WithLabelValues(l.key.Workspace, l.key.ID).Add(float64(len(drop)))
	d.mu.Lock()
	defer d.mu.Unlock()
	l.waiting = max(l.waiting-len(items), 0)
	l.dead += len(keep)
	return nil
}
