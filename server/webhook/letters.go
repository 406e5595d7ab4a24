package webhook

import (
	"context"
	"encoding/json"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

// Health is how a subscription does.
type Health struct {
	Waiting      int       // events that are not sent yet
	Dead         int       // dead letters
	FailingSince time.Time // since when nothing was taken while something failed; zero: it works
	PausedUntil  time.Time // when the receiver is tried again; zero: nothing holds it up
	Last         *Answer   // of the newest call that failed, since the last that did not; nil: none
}

// Health of a subscription; dead letters are counted anew.
func (d *Dispatcher) Health(ctx context.Context, k Key) (Health, error) {
	waiting, dead, err := d.o.Queue.Count(ctx, k)
	if err != nil {
		return Health{}, err
	}
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	h := Health{Waiting: waiting, Dead: dead}
	if l := d.lanes[k]; l != nil {
		l.dead = dead
		h.FailingSince, h.Last = l.since, l.last
		if now.Before(l.until) {
			h.PausedUntil = l.until
		}
	}
	return h, nil
}

// Tested is what came of a test.
type Tested struct {
	Event  Event
	Kind   channels.Kind
	Answer Answer // Body is whole, at most channels.MaxRaw
}

// Test sends a ping to the receiver, once, past the queue and whatever the status. An
// error of code engage.NotFound says that there is no such subscription.
func (d *Dispatcher) Test(ctx context.Context, k Key) (Tested, error) {
	if _, ok := d.o.Subscriptions.Get(k); !ok {
		return Tested{}, engage.Errorf(engage.NotFound, "id", "there is no webhook %q", k.ID)
	}
	target, err := d.o.Subscriptions.Open(k)
	if err != nil {
		return Tested{}, err
	}
	now := d.clock.Now()
	data, err := json.Marshal(map[string]string{"workspace": k.Workspace, "webhook_id": k.ID, "message": "a test of this webhook"})
	if err != nil {
		return Tested{}, err
	}
	it := &Item{Key: k, V: 1, At: now, Event: Event{
		ID:   engage.WebhookEventID(k.Workspace, engage.WebhookPing, k.ID, now.Format(time.RFC3339Nano)),
		Type: engage.WebhookPing, Time: now, Data: data,
	}}
	out, answer, err := d.attempt(ctx, k, target, []*Item{it})
	if err != nil {
		return Tested{}, engage.Errorf(engage.Invalid, "url", "%v", err)
	}
	answer.Body = out.Raw
	return Tested{Event: it.Event, Kind: out.Kind, Answer: *answer}, nil
}

// DeadLetters is a page of them, the newest first; next is the cursor of the page
// after it.
func (d *Dispatcher) DeadLetters(ctx context.Context, k Key, cursor string, limit int) (items []*Item, next string, err error) {
	return d.o.Queue.Dead(ctx, k, cursor, limit)
}

// DeadLetter is one. engage.NotFound when there is none.
func (d *Dispatcher) DeadLetter(ctx context.Context, k Key, event string) (*Item, error) {
	it, err := d.o.Queue.Get(ctx, k, event)
	if err != nil {
		return nil, err
	}
	if it == nil || !it.Dead {
		return nil, engage.Errorf(engage.NotFound, "event", "there is no such dead letter")
	}
	return it, nil
}

// Retry lets a dead letter be sent again, as if it had come now.
func (d *Dispatcher) Retry(ctx context.Context, k Key, event string) error {
	if err := d.mayRetry(k); err != nil {
		return err
	}
	it, err := d.DeadLetter(ctx, k, event)
	if err != nil {
		return err
	}
	return d.revive(ctx, k, []*Item{it})
}

func (d *Dispatcher) mayRetry(k Key) error {
	s, ok := d.o.Subscriptions.Get(k)
	switch {
	case !ok:
		return engage.Errorf(engage.NotFound, "id", "there is no webhook %q", k.ID)
	case s.Status == Off:
		return engage.Errorf(engage.Conflict, "status", "the webhook is disabled: enable it first")
	default:
		return nil
	}
}

// RetryAll lets all that are dead now be sent again, and returns how many.
func (d *Dispatcher) RetryAll(ctx context.Context, k Key) (n int, err error) {
	if err := d.mayRetry(k); err != nil {
		return 0, err
	}
	return d.each(ctx, k, func(items []*Item) error { return d.revive(ctx, k, items) })
}

// Delete deletes a dead letter.
func (d *Dispatcher) Delete(ctx context.Context, k Key, event string) error {
	it, err := d.DeadLetter(ctx, k, event)
	if err != nil {
		return err
	}
	if err := d.o.Queue.Remove(ctx, []*Item{it}); err != nil {
		return err
	}
	d.fewer(k, 1)
	return nil
}

// DeleteAll deletes all that are dead now, and returns how many.
func (d *Dispatcher) DeleteAll(ctx context.Context, k Key) (n int, err error) {
	return d.each(ctx, k, func(items []*Item) error {
		if err := d.o.Queue.Remove(ctx, items); err != nil {
			return err
		}
		d.fewer(k, len(items))
		return nil
	})
}

// each calls f for the dead letters there are now, by portions, and returns how many
// there were. f takes them out of the list; those that die meanwhile stay.
func (d *Dispatcher) each(ctx context.Context, k Key, f func([]*Item) error) (n int, err error) {
	now := d.clock.Now()
	cursor := ""
	for {
		// By cursor, not from the start again: what dies meanwhile comes in front.
		items, next, err := d.o.Queue.Dead(ctx, k, cursor, page)
		if err != nil {
			return n, err
		}
		var old []*Item
		for _, it := range items {
			if !it.Due.After(now) {
				old = append(old, it)
			}
		}
		if len(old) > 0 {
			if err := f(old); err != nil {
				return n, err
			}
			n += len(old)
		}
		if next == "" {
			return n, nil
		}
		cursor = next
	}
}

func (d *Dispatcher) revive(ctx context.Context, k Key, items []*Item) error {
	now := d.clock.Now()
	for _, it := range items {
		it.Dead, it.Why, it.Due, it.At, it.Tries, it.Since, it.Expires = false, "", now, now, 0, time.Time{}, time.Time{}
	}
	if err := d.o.Queue.Put(ctx, items); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lanes[k]; l != nil {
		l.waiting += len(items)
		l.dead = max(l.dead-len(items), 0)
		l.next = earlier(l.next, now)
		l.rouse()
	}
	return nil
}

func (d *Dispatcher) fewer(k Key, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lanes[k]; l != nil {
		l.dead = max(l.dead-n, 0)
	}
}
