package deliver

import (
	"context"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

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
func (d *Deliverer) pass(k key, g *gate, f *flow) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passLocked(k, g, f)
}

func (d *Deliverer) passLocked(k key, g *gate, f *flow) bool {
	if h := d.held[k]; h != nil {
		h.gate, h.missed = g, f
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
	d.mu.Lock()
	h := d.held[k]
	delete(d.held, k)
	d.mu.Unlock()
	if h != nil && h.missed != nil {
		d.notify(h.missed.lane, time.Time{}, time.Time{})
	}
}

// release is drop by one who has changed a delivery that waited in the lane.
func (d *Deliverer) release(k key, lane string) {
	d.mu.Lock()
	name, _ := splitLane(lane)
	if g := d.gates[name]; g != nil {
		if f := g.flows[lane]; f != nil {
			f.stale = true
		}
	}
	d.mu.Unlock()
	d.drop(k)
}

// pump takes what is due from the ledger whenever there is room, until ctx ends.
// What it has begun it ends with flights.
func (d *Deliverer) pump(ctx, flights context.Context, g *gate) {
	for ctx.Err() == nil {
		now := d.clock.Now()
		d.mu.Lock()
		at := g.look(now)
		d.mu.Unlock()
		if !at.IsZero() && !at.After(now) {
			d.work(flights, g, now)
			continue
		}
		var due <-chan struct{}
		cancel := func() {}
		if !at.IsZero() {
			due, cancel = d.clock.At(at)
		}
		select {
		case <-ctx.Done():
		case <-g.wake:
		case <-due:
		}
		cancel()
	}
}

// work ends what has expired of what cannot pass, and takes as many of the others a
// step further as there is room for.
func (d *Deliverer) work(ctx context.Context, g *gate, now time.Time) {
	d.mu.Lock()
	sweeps := g.sweeps(now)
	for _, f := range sweeps {
		f.sweep = time.Time{}
		f.reread(now) // when they can pass
	}
	for _, f := range g.flows {
		if f.stale || len(f.ready) > 0 && now.Sub(f.readAt) > fresh {
			f.reread(now)
		}
	}
	picks := g.pick(now)
	d.mu.Unlock()

	var changes []*change
	for _, f := range sweeps {
		changes = append(changes, d.sweep(ctx, g, f, now)...)
	}
	for f, n := range picks {
		if len(f.ready) == 0 {
			d.fill(ctx, f, max(n, page/len(picks)), now)
		}
	}
	for f, n := range picks {
		taken := 0
		for taken < n && len(f.ready) > 0 {
			r := d.next(g, f, now)
			if r == nil {
				continue
			}
			taken++
			if c := d.step(ctx, g, r, now); c != nil {
				changes = append(changes, c)
			}
		}
		d.mu.Lock()
		f.share.vt -= int64(n - taken)
		f.vt -= int64(n - taken)
		g.idle(f)
		d.mu.Unlock()
	}
	if len(changes) == 0 {
		return
	}
	if _, err := d.commit(ctx, changes); err != nil && d.dead() == nil {
		d.log.WarnContext(ctx, "deliveries wait for the ledger", "lane", g.name, "error", err)
	}
}

// fresh is how old a copy of a delivery may be from which an attempt is made: a receipt
// takes care of the copies, but who erases a person knows only the ledger.
const fresh = 100 * time.Millisecond

// reread forgets what was read. It runs under mu.
func (f *flow) reread(now time.Time) {
	f.stale = false
	if len(f.ready) > 0 {
		f.ready, f.next = nil, now
		f.rewind(Mark{})
	}
}

// rewind has the lane read from there at least. It runs under mu.
func (f *flow) rewind(to Mark) {
	if !f.mark.Due.Before(to.Due) {
		f.mark = to
	}
	if f.back != nil && !f.back.Due.Before(to.Due) {
		*f.back = to
	}
}

// rewind has the lane read from its start at that time.
func (d *Deliverer) rewind(lane string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name, k := splitLane(lane)
	g := d.gateLocked(name)
	f := g.flow(lane, k)
	f.rewind(Mark{})
	f.next = earlier(f.next, at)
	g.rouse()
}

// fill reads what is due in the flow, up to a limit. An error leaves it for later.
func (d *Deliverer) fill(ctx context.Context, f *flow, limit int, now time.Time) {
	d.mu.Lock()
	mark := f.mark
	back := Mark{Due: time.Unix(1<<40, 0)} // the end of all
	f.next, f.stale, f.readAt, f.back, f.landed = time.Time{}, false, now, &back, nil
	d.mu.Unlock()
	recs, more, err := d.fetch(ctx, f.lane, mark, limit)
	if err != nil {
		d.mu.Lock()
		f.back = nil
		d.mu.Unlock()
		if d.dead() == nil {
			d.log.WarnContext(ctx, "deliveries wait for the ledger", "lane", f.lane, "error", err)
		}
		d.notify(f.lane, d.clock.Now().Add(afterError), time.Time{})
		return
	}
	for i, r := range recs {
		if r.due().After(now) {
			d.notify(f.lane, r.due(), r.Send.ExpiresAt)
			more = false
			recs = recs[:i]
			break
		}
		mark = Mark{r.due(), r.Send.Workspace, r.Send.Delivery}
	}
	d.mu.Lock()
	// One that was under way when the lane was read, and is not any more, has gone on.
	f.ready = slices.DeleteFunc(recs, func(r *delivery) bool { return f.landed[r.key()] })
	f.mark, f.back, f.landed = mark, nil, nil
	f.rewind(back)
	if more {
		f.next = earlier(f.next, now)
	}
	d.mu.Unlock()
}

// next takes, and holds, the first of those that are ready; nil when somebody else holds
// it, or what was read does not hold any more.
func (d *Deliverer) next(g *gate, f *flow, now time.Time) *delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.stale {
		f.reread(now)
		return nil
	}
	r := f.ready[0]
	f.ready[0] = nil
	f.ready = f.ready[1:]
	if !d.passLocked(r.key(), g, f) {
		return nil
	}
	return r
}

// sweep ends what has expired of the flow's first.
func (d *Deliverer) sweep(ctx context.Context, g *gate, f *flow, now time.Time) (changes []*change) {
	recs, more, err := d.fetch(ctx, f.lane, Mark{}, page)
	if err != nil {
		d.notify(f.lane, now.Add(afterError), now.Add(afterError))
		return nil
	}
	for _, r := range recs {
		if !r.expired(now) {
			d.notify(f.lane, r.due(), r.Send.ExpiresAt)
			continue
		}
		if !d.pass(r.key(), g, f) {
			continue
		}
		if c := d.step(ctx, g, r, now); c != nil {
			changes = append(changes, c)
		}
	}
	if more && len(changes) > 0 {
		d.notify(f.lane, now, now)
	}
	return changes
}

// fetch reads the first records of the lane behind the mark, and says whether there may
// be more. Those that cannot be read, or are under way, stay where they are, and so more
// are read.
func (d *Deliverer) fetch(ctx context.Context, lane string, after Mark, limit int) (out []*delivery, more bool, err error) {
	for bad := 0; ; {
		recs, err := d.o.Ledger.Due(ctx, lane, after, limit+bad)
		if err != nil {
			return nil, false, err
		}
		out = make([]*delivery, 0, len(recs))
		noted := d.noted(recs)
		unread := 0
		for i, rec := range recs {
			if noted[i] {
				unread++
				continue
			}
			r, err := readRecord(rec)
			if err != nil {
				unread++
				d.unreadable(ctx, rec, err)
				continue
			}
			out = append(out, r)
		}
		more = len(recs) == limit+bad
		if unread <= bad || !more {
			return out, more, nil
		}
		bad = unread
	}
}

// noted says which of the records are of deliveries that are under way.
func (d *Deliverer) noted(recs []Record) []bool {
	out := make([]bool, len(recs))
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, rec := range recs {
		h := d.held[key{rec.Workspace, rec.ID}]
		out[i] = h != nil && h.noted
	}
	return out
}

// step takes a held delivery of the gate further; nil when nothing is to be
// written.
func (d *Deliverer) step(ctx context.Context, g *gate, r *delivery, now time.Time) *change {
	c := &change{r: r, owned: true}
	switch {
	case g.name == laneTell:
		a := &ask{lane: laneTell}
		if ok, _ := d.slot(g, a); !ok {
			d.drop(r.key())
			d.notify(laneTell, r.due(), time.Time{})
			return nil
		}
		go d.tellStored(g, a, r)
		return nil
	case r.State == sending: // recorded by a write that seemed to fail, and so not made
		a := r.last()
		a.Answer = &answer{Reason: reasonNotMade}
		r.State = waiting
		r.wait(r.pushLane(a), now)
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
