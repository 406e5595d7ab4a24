package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

// Reasons of answers that no provider gave.
const (
	reasonNotMade     = "not_made"    // nothing was sent
	reasonInterrupted = "interrupted" // the process ended; nobody knows
)

// flight is one attempt under way. The record of it is in the ledger: in the delivery's
// own, or in a leaf of the journal while the delivery's still waits in its lane.
type flight struct {
	noted  bool  // the journal has it
	leaf   *leaf // where; nil before it is written
	r      *delivery
	gate   *gate
	ask    ask
	sender channels.Sender
	dev    engage.Device
	m      channels.Message
}

// fly makes the attempt and settles it. It has a slot and holds the delivery.
func (d *Deliverer) fly(f *flight) {
	defer d.wg.Done()
	ctx := d.flights
	if d.fault(FaultAttempt) != nil {
		return
	}
	start := time.Now() //nolint:forbidigo // a metric of latency
	out, err := f.sender.Send(ctx, f.m)
	kind := string(out.Kind)
	if err != nil {
		kind = reasonNotMade
	}
	d.metrics.attempt.WithLabelValues(string(f.m.Target.Provider), kind).Observe(time.Since(start).Seconds()) //nolint:forbidigo // a metric of latency
	d.judge(ctx, f, out, err)                                                                                 // before the slot is free, so that a probe stays alone
	d.free(f.gate, &f.ask)
	if d.fault(FaultMade) != nil {
		return
	}
	switch {
	case err != nil:
	case out.Kind == channels.TokenGone:
		// What the provider knows may be older than the token's registration, which then
		// counts: this message goes another way, the next one tries the token again.
		if p := f.dev.Push; out.GoneSince.IsZero() || !p.At.After(out.GoneSince) {
			d.bury(ctx, f, out)
		}
	case out.Environment != "" && out.Environment != f.m.Target.Environment:
		d.learn(ctx, f, out)
	}
	d.settle(ctx, f, out, err)
}

// judge has the credential's gate learn from the answer, and says what a person should
// know of it.
func (d *Deliverer) judge(ctx context.Context, f *flight, out channels.Outcome, err error) {
	ws := f.r.Send.Workspace
	if err != nil {
		d.log.WarnContext(ctx, "no attempt was made", "workspace", ws, "delivery", f.m.DeliveryID,
			"credential", f.gate.name, "error", err)
		return
	}
	v := d.weigh(f.gate, &f.ask, out)
	switch {
	case v.down:
		d.log.WarnContext(ctx, "push provider is down", "credential", f.gate.name, "reason", out.Reason, "status", out.Status, "until", v.paused)
	case !v.paused.IsZero():
		d.log.ErrorContext(ctx, "push credential paused: a person must act", "workspace", ws, "app", f.dev.App,
			"credential", f.gate.name, "platform", v.platform, "reason", out.Reason, "status", out.Status, "until", v.paused)
	case v.works:
		d.log.InfoContext(ctx, "push credential works again", "credential", f.gate.name, "platform", v.platform)
	}
	if v.cut {
		d.log.WarnContext(ctx, "push rate halved: the quota is exceeded", "credential", f.gate.name, "reason", out.Reason)
	}
}

// bury says that the device's token is dead.
func (d *Deliverer) bury(ctx context.Context, f *flight, out channels.Outcome) {
	dead := engage.TokenDead{Install: f.dev.Install, Token: f.dev.Push.Token, Reason: out.Reason, Since: out.GoneSince}
	if err := d.o.Outcomes.TokenDead(ctx, f.r.Send.Workspace, dead); err != nil {
		// The next message to the token finds it again.
		d.log.WarnContext(ctx, "tell dead token", "workspace", f.r.Send.Workspace, "install", f.dev.Install, "error", err)
	}
}

// learn says in which environment the device's token lives.
func (d *Deliverer) learn(ctx context.Context, f *flight, out channels.Outcome) {
	found := engage.TokenEnvironment{Install: f.dev.Install, Token: f.dev.Push.Token, Environment: out.Environment}
	if err := d.o.Outcomes.TokenEnvironment(ctx, f.r.Send.Workspace, found); err != nil {
		// The next message to the token finds it again.
		d.log.WarnContext(ctx, "tell a token's environment", "workspace", f.r.Send.Workspace, "install", f.dev.Install, "error", err)
	}
}

// settle records what came of the attempt, and goes on with the delivery. The
// ledger is asked until it answers: else the answer would be forgotten and the
// push repeated. Even when the flight is cut off it is tried once.
func (d *Deliverer) settle(ctx context.Context, f *flight, out channels.Outcome, sendErr error) {
	r, number, begun := f.r, f.r.Made, *f.r.last()
	whole := context.WithoutCancel(ctx)
	unsure := false // an outcome may have been written that nobody tells
	for {
		if r != nil {
			c := &change{r: r, owned: true, lands: f}
			d.apply(whole, c, f, out, sendErr)
			if r.State == done && r.Lane == laneTell {
				a := &ask{lane: laneTell, joined: true}
				if ok, _ := d.slot(d.gate(laneTell), a); ok {
					c.trust = a
					r.trust()
				}
			}
			won, err := d.commit(whole, []*change{c})
			if err == nil && won[0] {
				return
			}
			unsure = unsure || err != nil && c.trust != nil
			if err != nil {
				if d.dead() != nil {
					return
				}
				d.log.WarnContext(ctx, "the answer waits for the ledger", "delivery", f.m.DeliveryID, "error", err)
				if !d.sleep(ctx, afterError) {
					return
				}
			}
		}
		// A receipt came in between, or the write only seemed to fail.
		var err error
		r, err = d.reread(whole, f.r.key())
		switch {
		case err != nil:
			if d.dead() != nil || !d.sleep(ctx, afterError) {
				return
			}
		case r == nil:
			d.landed(f)
			d.drop(f.r.key())
			return
		case f.noted && r.State == waiting && r.Made == number-1: // a receipt came, which leaves it to us
			r.began(begun)
		case r.State != sending || r.Made != number:
			if unsure && r.State == done && r.Made == number && r.Told && r.Lane == "" {
				r.untell(d.clock.Now())
				won, err := d.commit(whole, []*change{{r: r}})
				if err != nil && d.dead() == nil && d.sleep(ctx, afterError) || err == nil && !won[0] {
					r = nil
					continue
				}
				if err != nil {
					return
				}
			}
			d.landed(f)
			d.drop(f.r.key())
			if r.Lane != "" {
				d.notify(r.Lane, r.due(), r.Send.ExpiresAt)
			}
			return
		}
	}
}

// apply changes the delivery as the answer says.
func (d *Deliverer) apply(ctx context.Context, c *change, f *flight, out channels.Outcome, sendErr error) {
	r, now := c.r, d.clock.Now()
	a := r.last()
	a.Answer = &answer{out.Kind, out.Reason, out.Status, out.ProviderID, out.Ambiguous}
	goOn := func() { // with the other phones, if there are any
		if !d.refuse(ctx, r, now) {
			d.push(ctx, c, now, false)
		}
	}
	failed := func(reason engage.Reason, detail string) {
		if r.fans() {
			r.ends(legFailed, reason, detail)
			goOn()
			return
		}
		r.finish(engage.DeliveryOutcome{State: engage.DeliveryFailed, Reason: reason, Detail: detail}, now)
	}
	failures := &r.Failed
	again := func(due time.Time) {
		r.State = waiting
		if l := r.leg(a.Install); l != nil {
			l.DueUS = ceilMicro(due)
			goOn()
			return
		}
		r.wait(r.pushLane(a), due)
	}
	if l := r.leg(a.Install); l != nil {
		failures = &l.Failed
	}
	var malformed *channels.MessageError
	switch {
	case errors.As(sendErr, &malformed):
		a.Answer = &answer{Reason: reasonNotMade}
		if malformed.Code == channels.Expired && !r.accepted() {
			r.finish(engage.DeliveryOutcome{State: engage.DeliveryExpired, Reason: engage.ReasonSendExpired}, now)
			return
		}
		failed(engage.ReasonRejected, malformed.Field+" "+string(malformed.Code))
	case sendErr != nil:
		a.Answer = &answer{Reason: reasonNotMade}
		again(now.Add(afterError))
	case out.Kind == channels.Accepted && r.fans():
		told := r.accepted()
		r.ends(legAccepted, "", "")
		switch more := len(r.chosen()) > 0; {
		case told:
			goOn()
		case more:
			r.State = waiting
			r.tell(engage.DeliveryOutcome{State: engage.DeliveryAccepted, Channel: string(a.Provider), Install: a.Install}, now)
		default:
			r.finish(engage.DeliveryOutcome{State: engage.DeliveryAccepted, Channel: string(a.Provider), Install: a.Install}, now)
		}
	case out.Kind == channels.Accepted:
		r.finish(engage.DeliveryOutcome{State: engage.DeliveryAccepted, Channel: string(a.Provider), Install: a.Install}, now)
	case out.Ambiguous && !r.Send.RetryAmbiguous:
		failed(engage.ReasonAmbiguous, out.Reason)
	case out.Kind == channels.TokenGone:
		r.Gone = append(r.Gone, a.Install)
		r.ends(legGone, "", out.Reason)
		goOn()
	case out.Kind == channels.Rejected:
		failed(engage.ReasonRejected, out.Reason)
	case out.Kind == channels.Misconfigured:
		again(d.resumes(f.gate, f.ask.platform, now))
	default: // not now
		if out.Status != http.StatusTooManyRequests {
			*failures++
		}
		if *failures >= maxAttempts {
			failed(engage.ReasonExhausted, out.Reason)
			return
		}
		chance := engage.Fraction("retry", a.ID, strconv.Itoa(a.Number))
		delay := backoff(a.Number, chance)
		if out.RetryAfter > 0 { // not all at the same moment
			delay = out.RetryAfter + time.Duration(float64(out.RetryAfter/10)*chance)
		}
		again(now.Add(delay))
	}
	if r.Displayed && r.State == waiting {
		r.shown()
	}
}

// interrupted settles an attempt that an earlier process may have made.
func (d *Deliverer) interrupted(r *delivery, now time.Time) {
	a := r.last()
	a.Answer = &answer{Reason: reasonInterrupted, Ambiguous: true}
	failures := &r.Failed
	if l := r.leg(a.Install); l != nil {
		failures = &l.Failed
	}
	*failures++
	fail := func(reason engage.Reason) {
		if r.fans() {
			r.ends(legFailed, reason, reasonInterrupted)
			r.goesOn(now)
			return
		}
		r.finish(engage.DeliveryOutcome{State: engage.DeliveryFailed, Reason: reason, Detail: reasonInterrupted}, now)
	}
	switch {
	case r.Displayed:
		r.shown()
	case !r.Send.RetryAmbiguous:
		fail(engage.ReasonAmbiguous)
	case *failures >= maxAttempts:
		fail(engage.ReasonExhausted)
	case r.fans():
		r.goesOn(now)
	default:
		r.State = waiting
		r.wait(r.pushLane(a), now)
	}
}

// tellStored is tell of an outcome that was found in the ledger, if it is still
// there: it may have been told since it was read.
func (d *Deliverer) tellStored(g *gate, a *ask, r *delivery) {
	now, err := d.reread(d.flights, r.key())
	if err == nil && now != nil && now.Lane == laneTell {
		d.tell(g, a, now, nil)
		return
	}
	d.free(g, a)
	d.drop(r.key())
	if err != nil && d.dead() == nil {
		d.notify(laneTell, d.clock.Now().Add(afterError), time.Time{})
	}
	d.wg.Done()
}

// depart has what the journal says of attempts hold from now on.
func (d *Deliverer) depart(flights []*flight, l *leaf) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range flights {
		f.leaf = l
		f.gate.class(f.ask.bulk).noted++
		if h := d.held[f.r.key()]; h != nil {
			h.noted = true
		}
	}
}

// landed says that what came of the flight is in the delivery's record.
func (d *Deliverer) landed(f *flight) {
	if f.leaf == nil {
		return
	}
	d.journal.done(f.leaf, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	f.gate.class(f.ask.bulk).noted--
	if w := f.gate.flows[f.ask.lane]; w != nil && w.back != nil {
		if w.landed == nil {
			w.landed = map[key]bool{}
		}
		w.landed[f.r.key()] = true
	}
}

// tell tells decide the outcome, and records that it did. It has a slot of the
// gate and holds the delivery. Where a leaf of the journal says that the outcome is to be
// told, the record has Told already, and it is the leaf that is told.
func (d *Deliverer) tell(g *gate, a *ask, r *delivery, l *leaf) {
	defer d.wg.Done()
	defer d.drop(r.key())
	defer d.free(g, a)
	ctx := d.flights
	ws, profile := r.Send.Workspace, r.Send.Profile
	if d.fault(FaultTelling) != nil {
		return
	}
	if err := d.o.Outcomes.Outcome(ctx, ws, profile, *r.Outcome); err != nil {
		if until := d.pauseTelling(g); !until.IsZero() {
			d.log.WarnContext(ctx, "outcomes wait", "until", until, "error", err)
		}
		if l != nil {
			d.distrust(ctx, r, l)
			return
		}
		d.notify(laneTell, r.due(), time.Time{})
		return
	}
	if d.fault(FaultTold) != nil {
		return
	}
	d.resume(g)
	o := r.Outcome
	d.metrics.outcomes.WithLabelValues(string(o.State), o.Channel, string(o.Reason)).Inc()
	if l != nil {
		d.journal.done(l, 1)
		return
	}
	// If the record is lost it is told again: decide takes it twice.
	told := *o
	err := d.update(ctx, r, func(r *delivery) bool {
		if r.Lane != laneTell || *r.Outcome != told {
			return false
		}
		r.Told = true
		switch r.State {
		case granted:
			r.wait(laneTimer, r.UpdatedAt.Add(receiptWithin))
		case waiting: // accepted for one phone: now the others
			r.goesOn(r.UpdatedAt)
		default:
			r.rest()
		}
		return true
	})
	if err != nil && d.dead() == nil {
		d.log.WarnContext(ctx, "record that an outcome is told", "workspace", ws, "delivery", told.Delivery, "error", err)
		d.notify(laneTell, d.clock.Now().Add(afterError), time.Time{})
	}
}

// distrust puts the delivery back among those whose outcome is to be told. Until that is
// written the journal has it.
func (d *Deliverer) distrust(ctx context.Context, r *delivery, l *leaf) {
	whole, told, k := context.WithoutCancel(ctx), *r.Outcome, r.key()
	for {
		err := d.update(whole, r, func(r *delivery) bool {
			if !r.Told || r.Lane != "" || r.Outcome == nil || *r.Outcome != told {
				return false
			}
			r.untell(d.clock.Now())
			return true
		})
		if err == nil {
			d.journal.done(l, 1)
			d.notify(laneTell, d.clock.Now(), time.Time{}) // if it only seemed to fail before
			return
		}
		for err != nil {
			if d.dead() != nil {
				return
			}
			d.log.WarnContext(ctx, "an outcome waits for the ledger", "delivery", told.Delivery, "error", err)
			if !d.sleep(ctx, afterError) {
				return
			}
			r, err = d.reread(whole, k)
		}
	}
}

// update writes what change makes of the delivery, read again whenever somebody
// else was faster, until change says that there is nothing to do.
func (d *Deliverer) update(ctx context.Context, r *delivery, change func(*delivery) bool) error {
	for k := r.key(); r != nil && change(r); {
		version := r.version
		rec, err := r.record()
		if err != nil {
			return err
		}
		if err := d.dead(); err != nil {
			return err
		}
		won, _, err := d.write(ctx, []Write{{Record: rec, If: version}}, nil)
		if err != nil {
			return fmt.Errorf("write ledger: %w", err)
		}
		if won[0] {
			if r.Lane != "" {
				d.notify(r.Lane, r.due(), r.Send.ExpiresAt)
			}
			return nil
		}
		if r, err = d.reread(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// reread reads a delivery; nil when there is none.
func (d *Deliverer) reread(ctx context.Context, k key) (*delivery, error) {
	rec, ok, err := d.o.Ledger.Get(ctx, k.workspace, k.id)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	if !ok {
		return nil, nil
	}
	return readRecord(rec)
}

// sleep waits on the clock; false when ctx ended first.
func (d *Deliverer) sleep(ctx context.Context, t time.Duration) bool {
	over, cancel := d.clock.At(d.clock.Now().Add(t))
	defer cancel()
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}
