package deliver

import (
	"context"
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
		if len(f.ready) > 0 { // they are read again when they can pass
			f.ready, f.next = nil, now
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
			r := d.next(f)
			if !d.pass(r.key(), g, f) {
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

// fill reads what is due in the flow, up to a limit. An error leaves it for later.
func (d *Deliverer) fill(ctx context.Context, f *flow, limit int, now time.Time) {
	d.mu.Lock()
	f.next = time.Time{}
	d.mu.Unlock()
	recs, more, err := d.fetch(ctx, f.lane, limit)
	if err != nil {
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
	}
	if more {
		d.notify(f.lane, now, time.Time{})
	}
	d.mu.Lock()
	f.ready = recs
	d.mu.Unlock()
}

// next takes the first of those that are ready.
func (d *Deliverer) next(f *flow) *delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := f.ready[0]
	f.ready[0] = nil
	f.ready = f.ready[1:]
	return r
}

// sweep ends what has expired of the flow's first.
func (d *Deliverer) sweep(ctx context.Context, g *gate, f *flow, now time.Time) (changes []*change) {
	recs, _, err := d.fetch(ctx, f.lane, page)
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
	if len(changes) == page { // there may be more
		d.notify(f.lane, now, now)
	}
	return changes
}

// fetch reads the first records of the lane, and says whether there may be more. Those
// that cannot be read stay where they are, and so more are read.
func (d *Deliverer) fetch(ctx context.Context, lane string, limit int) (out []*delivery, more bool, err error) {
	for bad := 0; ; {
		recs, err := d.o.Ledger.Due(ctx, lane, limit+bad)
		if err != nil {
			return nil, false, err
		}
		out = make([]*delivery, 0, len(recs))
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
		more = len(recs) == limit+bad
		if unread <= bad || !more {
			return out, more, nil
		}
		bad = unread
	}
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
