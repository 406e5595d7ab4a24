package webhook

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/webhook"
	"github.com/footfall-engage/footfall/server/engage"
)

// fly makes one call and notes what came of it.
func (d *Dispatcher) fly(l *lane, target *Target, sub Subscription, call []*Item) {
	defer d.wg.Done()
	ctx := d.flights
	out, answer, sendErr := d.attempt(ctx, l.key, target, call)
	var next time.Time
	for ctx.Err() == nil { // what came of it is known here alone
		var err error
		if next, err = d.settle(ctx, l, sub, call, out, answer, sendErr); err == nil || ctx.Err() != nil {
			break
		}
		d.log.WarnContext(ctx, "note what came of a webhook call", "workspace", l.key.Workspace, "webhook", l.key.ID, "error", err)
		d.after(ctx, afterError)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, it := range call {
		l.end(it.Event.ID)
	}
	l.n--
	// Not before: while they are busy, who reads the queue passes them by.
	l.next = earlier(l.next, next)
	if l.sub.Status == Off { // what came back of the call is given up too
		l.next = d.clock.Now()
	}
	l.rouse()
}

// attempt makes one call.
func (d *Dispatcher) attempt(ctx context.Context, k Key, target *Target, call []*Item) (channels.Outcome, *Answer, error) {
	events := make([]webhook.Event, len(call))
	for i, it := range call {
		events[i] = webhook.Event{
			ID: it.Event.ID, Source: Source(k.Workspace), Type: string(it.Event.Type), Subject: it.Event.Subject,
			Time: it.Event.Time, Data: it.Event.Data,
		}
	}
	now := d.clock.Now()
	answer := &Answer{At: now}
	typ, body, err := webhook.Body(target.Batch > 1, events...)
	if err != nil {
		return channels.Outcome{}, answer, err
	}
	began := metricsNow()
	out, err := d.o.Sender.Send(ctx, webhook.Request{
		URL: target.URL, ID: callID(call), At: now, ContentType: typ, Body: body, Secrets: target.Secrets, Headers: target.Headers,
	})
	took := metricsNow().Sub(began)
	d.metrics.seconds.Observe(took.Seconds())
	answer.TookMS, answer.Status, answer.Reason, answer.Body = took.Milliseconds(), out.Status, out.Reason, cut(out.Raw, maxBody)
	return out, answer, err
}

// Source is the source of a workspace's CloudEvents.
func Source(workspace string) string { return "urn:footfall:" + workspace }

// callID is the webhook-id: that of the event, or a hash of those of the batch, so that
// the same repeated has the same.
func callID(call []*Item) string {
	if len(call) == 1 {
		return call[0].Event.ID
	}
	ids := make([]string, len(call))
	for i, it := range call {
		ids[i] = it.Event.ID
	}
	return engage.WebhookEventID("", "batch", ids...)
}

// settle notes what came of a call, in the queue and in the lane. next is when some of
// it is to be sent again; zero: nothing is.
func (d *Dispatcher) settle(ctx context.Context, l *lane, sub Subscription, call []*Item, out channels.Outcome, answer *Answer, sendErr error) (next time.Time, err error) {
	if sendErr != nil { // no attempt was made: what is to be sent cannot be
		out, answer.Reason, answer.Body = channels.Outcome{Kind: channels.Rejected}, "not_sent", sendErr.Error()
	}
	if out.Kind == channels.Accepted {
		if err := d.o.Queue.Remove(ctx, call); err != nil {
			return next, err
		}
		d.took(l, call)
		return next, nil
	}
	gone := false
	if out.Kind == channels.TokenGone {
		gone, err = d.o.Subscriptions.Disable(ctx, sub, "the receiver answered 410 Gone at "+answer.At.UTC().Format(time.RFC3339))
		if err != nil {
			return next, fmt.Errorf("disable: %w", err)
		}
		if gone {
			d.mu.Lock()
			l.sub.Status = Off // before the news of it comes
			d.mu.Unlock()
		}
	}
	again, buried := d.judge(call, out, answer, gone)
	if err := d.o.Queue.Put(ctx, again); err != nil {
		return next, err
	}
	if err := d.toDead(ctx, l, buried); err != nil {
		return next, err
	}
	d.metrics.attempts.WithLabelValues(l.key.Workspace, l.key.ID, string(out.Kind)).Inc()
	fresh := false
	for _, it := range call {
		fresh = fresh || it.Tries == 0
		d.mu.Lock()
		l.since = earlier(l.since, it.Since)
		d.mu.Unlock()
	}
	for _, it := range again {
		next = earlier(next, it.Due)
	}
	d.failed(l, sub.Version, out, answer, fresh)
	return next, nil
}

// judge says what becomes of the events of a call that was not taken: copies of them
// that are to be sent again, and that are given up. gone: the subscription is off.
func (d *Dispatcher) judge(call []*Item, out channels.Outcome, answer *Answer, gone bool) (again, buried []*Item) {
	now := d.clock.Now()
	for _, it := range call {
		c := *it
		c.Tries++
		c.Last = answer
		if c.Since.IsZero() {
			c.Since = answer.At
		}
		deadline := c.At.Add(d.o.MaxAge)
		switch {
		case gone:
			d.bury(&c, Disabled, now)
		case out.Kind == channels.Rejected && len(call) > 1:
			c.Alone, c.Due = true, now
		case out.Kind == channels.Rejected:
			d.bury(&c, Refused, now)
		case !now.Before(deadline):
			d.bury(&c, Exhausted, now)
		default:
			wait := max(backoff(firstWait, maxWait, c.Tries, c.Event.ID), out.RetryAfter)
			c.Due = earlier(now.Add(wait), deadline)
		}
		if c.Dead {
			buried = append(buried, &c)
		} else {
			again = append(again, &c)
		}
	}
	return again, buried
}

// took notes that the receiver took a call.
func (d *Dispatcher) took(l *lane, call []*Item) {
	d.metrics.attempts.WithLabelValues(l.key.Workspace, l.key.ID, string(channels.Accepted)).Inc()
	d.metrics.sent.WithLabelValues(l.key.Workspace, l.key.ID).Add(float64(len(call)))
	d.mu.Lock()
	defer d.mu.Unlock()
	if !l.since.IsZero() {
		d.log.Info("webhook works again", "workspace", l.key.Workspace, "webhook", l.key.ID, "failed_since", l.since)
	}
	l.waiting = max(l.waiting-len(call), 0)
	l.since, l.last, l.until, l.failures = time.Time{}, nil, time.Time{}, 0
}

// failed notes in the lane that a call was not taken, and pauses it when the receiver
// seems to be down. fresh: something in the call was sent for the first time. A call
// under another version of the subscription says nothing of the present one.
func (d *Dispatcher) failed(l *lane, version int64, out channels.Outcome, answer *Answer, fresh bool) {
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.since.IsZero() {
		l.since = answer.At
	}
	if l.last == nil {
		d.log.Warn("webhook fails", "workspace", l.key.Workspace, "webhook", l.key.ID, "status", answer.Status, "reason", answer.Reason)
	}
	l.last = answer
	switch {
	case l.sub.Version != version:
	case out.Kind == channels.Rejected || out.Kind == channels.TokenGone:
		l.failures, l.until = 0, time.Time{} // it is there
	case out.Scope == channels.ScopeCredential && out.RetryAfter > 0:
		if until := now.Add(min(out.RetryAfter, d.o.MaxAge)); until.After(l.until) {
			l.until = until
		}
		l.failures = max(l.failures, downAfter)
	case now.Before(l.until) || !fresh && l.failures == 0:
	default:
		l.failures++
		if out.Kind == channels.Misconfigured { // the next will not do better
			l.failures = max(l.failures, downAfter)
		}
		if l.failures >= downAfter {
			l.until = now.Add(backoff(firstPause, maxPause, l.failures-downAfter+1, l.key.ID))
		}
	}
	if now.Before(l.until) {
		l.sweep = earlier(l.sweep, now)
	}
	l.rouse()
}

// backoff is first, twice that, … most; half of it by chance, a hash of what fails.
func backoff(first, most time.Duration, n int, of string) time.Duration {
	wait := most
	if n-1 < 20 {
		wait = min(first<<(n-1), most)
	}
	return wait/2 + time.Duration(engage.Fraction("webhook", of, strconv.Itoa(n))*float64(wait/2))
}

// cut shortens a text to at most n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
