package deliver

import (
	"context"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

const (
	page       = 256         // records fetched at a time
	maxTelling = 256         // outcomes being told
	afterError = time.Second // until the ledger is asked again after an error

	pausePush, maxPausePush = time.Minute, 15 * time.Minute
	pauseTell, maxPauseTell = time.Second, 30 * time.Second
)

// lane is a queue of the ledger with its pump: what is in memory of it.
// Deliverer.mu guards it.
type lane struct {
	name string
	max  int // slots
	n    int // of them taken
	// next is when the ledger may have something due; zero means that it is not
	// known to have anything.
	next time.Time
	// Of a paused lane: until when, how often in a row, and when the next of its
	// deliveries expires as far as is known.
	until  time.Time
	pauses int
	sweep  time.Time
	wake   chan struct{}
}

// hold of a delivery by the goroutine that works on it.
type hold struct {
	missed *lane // whose pump passed it by meanwhile
}

func (l *lane) paused(now time.Time) bool { return now.Before(l.until) }

// room is the number of free slots. After a pause there is one, for a probe.
func (l *lane) room(now time.Time) int {
	switch {
	case l.paused(now):
		return 0
	case l.pauses > 0:
		return max(1-l.n, 0)
	default:
		return max(l.max-l.n, 0)
	}
}

// look is when the pump has something to do: zero means when it is woken.
func (l *lane) look(now time.Time) time.Time {
	switch {
	case l.paused(now):
		return earlier(l.until, l.sweep)
	case l.room(now) == 0:
		return time.Time{}
	default:
		return l.next
	}
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

// lane returns the lane of that name, which is made when it is new.
func (d *Deliverer) lane(name string) *lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.laneLocked(name)
}

func (d *Deliverer) laneLocked(name string) *lane {
	l := d.lanes[name]
	if l == nil {
		l = &lane{name: name, max: page, wake: make(chan struct{}, 1)}
		switch {
		case name == laneTell:
			l.max = maxTelling
		case strings.HasPrefix(name, lanePush):
			l.max = d.o.MaxInFlight
		}
		d.lanes[name] = l
		if d.running {
			d.startPump(l)
		}
	}
	return l
}

func (d *Deliverer) startPump(l *lane) {
	d.wg.Go(func() { d.pump(d.pumps, d.flights, l) })
}

// notify says that the lane has a delivery due at that time, and when it expires.
func (d *Deliverer) notify(name string, due, expires time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.laneLocked(name)
	if due.IsZero() {
		due = d.clock.Now()
	}
	next, sweep := earlier(l.next, due), l.sweep
	if !expires.IsZero() {
		sweep = earlier(l.sweep, expires)
	}
	if !next.Equal(l.next) || !sweep.Equal(l.sweep) {
		l.next, l.sweep = next, sweep
		l.rouse()
	}
}

// slot takes a slot of the lane, and with it the right to start one goroutine
// that Run joins. A fair one does not overtake what waits in the ledger. When Run
// ends only those get one that it joins themselves.
func (d *Deliverer) slot(l *lane, fair, joined bool) bool {
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running && !joined || l.room(now) == 0 || fair && !l.next.IsZero() && !l.next.After(now) {
		return false
	}
	l.n++
	d.metrics.inFlight.WithLabelValues(l.name).Set(float64(l.n))
	d.wg.Add(1)
	return true
}

func (d *Deliverer) free(l *lane) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l.n--
	d.metrics.inFlight.WithLabelValues(l.name).Set(float64(l.n))
	if !l.next.IsZero() {
		l.rouse()
	}
}

// pause stops the lane for a while, each time in a row for longer, and reports
// until when; zero if it was paused already.
func (d *Deliverer) pause(l *lane) time.Time {
	first, most := pausePush, maxPausePush
	if l.name == laneTell {
		first, most = pauseTell, maxPauseTell
	}
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.paused(now) {
		return time.Time{}
	}
	l.until = now.Add(min(first<<min(l.pauses, 10), most))
	l.pauses++
	l.sweep = now // the pump looks once what will expire
	d.metrics.paused.WithLabelValues(l.name).Set(1)
	l.rouse()
	return l.until
}

// resumes is when the lane's pause ends; now if there is none.
func (d *Deliverer) resumes(l *lane, now time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.paused(now) {
		return l.until
	}
	return now
}

// resume opens the lane wholly.
func (d *Deliverer) resume(l *lane) (was bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.pauses == 0 {
		return false
	}
	l.pauses, l.until = 0, time.Time{}
	d.metrics.paused.WithLabelValues(l.name).Set(0)
	l.rouse()
	return true
}

// hold takes a delivery for this goroutine; false when another has it. It keeps
// two goroutines of this process from doing the same; that it is right rests on
// the ledger's versions alone.
func (d *Deliverer) hold(k key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.holdLocked(k)
}

func (d *Deliverer) holdLocked(k key) bool {
	if d.held[k] != nil {
		return false
	}
	d.held[k] = &hold{}
	return true
}

// pass is hold for a pump, which is told when the delivery is free.
func (d *Deliverer) pass(k key, l *lane) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h := d.held[k]; h != nil {
		h.missed = l
		return false
	}
	return d.holdLocked(k)
}

// open holds a delivery that is being accepted; claims wait until it is in the
// ledger.
func (d *Deliverer) open(k key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fresh[k] != nil || !d.holdLocked(k) {
		return false
	}
	d.fresh[k] = make(chan struct{})
	return true
}

func (d *Deliverer) drop(k key) {
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.held[k]
	delete(d.held, k)
	if h != nil && h.missed != nil {
		h.missed.next = earlier(h.missed.next, now)
		h.missed.rouse()
	}
}

// pump takes what is due from the ledger whenever there is room, until ctx ends.
// What it has begun it ends with flights.
func (d *Deliverer) pump(ctx, flights context.Context, l *lane) {
	for ctx.Err() == nil {
		now := d.clock.Now()
		d.mu.Lock()
		room, at := l.room(now), l.look(now)
		d.mu.Unlock()
		if !at.IsZero() && !at.After(now) {
			if err := d.work(flights, l, now, room); err != nil && d.dead() == nil {
				d.log.WarnContext(ctx, "deliveries wait for the ledger", "lane", l.name, "error", err)
				d.notify(l.name, d.clock.Now().Add(afterError), time.Time{})
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

// work takes up to room deliveries that are due a step further. Without room the
// lane is paused: then it only ends what has expired.
func (d *Deliverer) work(ctx context.Context, l *lane, now time.Time, room int) error {
	sweeping := room == 0
	d.mu.Lock()
	if sweeping {
		l.sweep = time.Time{}
	} else {
		l.next = time.Time{}
	}
	limit := min(room, page) + l.n + 1
	if sweeping {
		limit = page
	}
	d.mu.Unlock()
	recs, err := d.fetch(ctx, l.name, limit)
	if err != nil {
		return err
	}
	var changes []*change
	taken := 0
	for _, r := range recs {
		switch {
		case sweeping && !r.expired(now):
			d.notify(l.name, r.due(), r.Send.ExpiresAt)
			continue
		case r.due().After(now) && !sweeping:
			d.notify(l.name, r.due(), r.Send.ExpiresAt)
			continue
		case taken == room && !sweeping:
			d.notify(l.name, r.due(), r.Send.ExpiresAt)
			continue
		}
		if !d.pass(r.key(), l) {
			continue
		}
		taken++
		if c := d.step(ctx, l, r, now); c != nil {
			changes = append(changes, c)
		}
	}
	_, err = d.commit(ctx, changes)
	return err
}

// fetch reads the first records of the lane. Those that cannot be read stay where
// they are, and so more are read.
func (d *Deliverer) fetch(ctx context.Context, lane string, limit int) ([]*delivery, error) {
	for bad := 0; ; {
		recs, err := d.o.Ledger.Due(ctx, lane, limit+bad)
		if err != nil {
			return nil, err
		}
		var out []*delivery
		unread := 0
		for _, rec := range recs {
			r, err := readRecord(rec)
			if err != nil {
				unread++
				d.unreadable(ctx, rec, err)
				continue
			}
			out = append(out, r)
		}
		if unread <= bad || len(recs) < limit+bad {
			return out, nil
		}
		bad = unread
	}
}

// step takes a held delivery of the lane further; nil when nothing is to be
// written.
func (d *Deliverer) step(ctx context.Context, l *lane, r *delivery, now time.Time) *change {
	c := &change{r: r, owned: true}
	switch {
	case l.name == laneTell:
		if !d.slot(l, false, false) {
			d.drop(r.key())
			d.notify(l.name, r.due(), time.Time{})
			return nil
		}
		go d.tellStored(l, r)
		return nil
	case r.State == sending: // recorded by a write that seemed to fail, and so not made
		a := r.last()
		a.Answer = &answer{Reason: reasonNotMade}
		r.State = waiting
		r.wait(pushLane(a), now)
	case d.refuse(ctx, r, now):
	case r.State == granted:
		d.inbox(ctx, c, detailNotDisplayed, engage.ReasonNotDisplayed, now)
	default:
		before := r.Lane
		d.push(ctx, c, now, false)
		if r.State == waiting && r.Lane == before && !r.due().After(now) { // no slot after all
			d.drop(r.key())
			d.notify(r.Lane, r.due(), r.Send.ExpiresAt)
			return nil
		}
	}
	return c
}
