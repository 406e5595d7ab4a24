package webhook

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/webhook"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
)

// Status of a subscription.
type Status string

// The statuses.
const (
	Enabled Status = "enabled"
	Paused  Status = "paused" // its events wait
	Off     Status = "disabled"
)

// Subscription is one as the catalogue has it.
type Subscription struct {
	Key
	Version int64
	Status  Status
}

// Target is where the events of a subscription go.
type Target struct {
	URL     string
	Headers map[string]string
	Secrets []webhook.Secret
	Batch   int // events of one call at most; 0 and 1: one, and no batch
}

// Subscriptions are those of the catalogue.
type Subscriptions interface {
	// All of every workspace.
	All() []Subscription
	Workspaces() []string
	// Get is one; false when there is none.
	Get(k Key) (Subscription, bool)
	// Changed is closed when All may have changed since the call.
	Changed() <-chan struct{}
	// Open is where the events go, as of now.
	Open(k Key) (*Target, error)
	// Disable turns a subscription off, unless it has been changed since: stood says
	// which.
	Disable(ctx context.Context, s Subscription, because string) (stood bool, err error)
}

// Sender makes one attempt (*webhook.Sender).
type Sender interface {
	Send(ctx context.Context, r webhook.Request) (channels.Outcome, error)
}

// Options of New. Those without a default are required.
type Options struct {
	Queue         Queue
	Subscriptions Subscriptions
	Sender        Sender
	Clock         clock.Clock
	Logger        *slog.Logger          // nil discards
	Metrics       prometheus.Registerer // nil: none

	MaxAge    time.Duration // an event is sent for so long after it came; 0 means 24 h
	DeadFor   time.Duration // a dead letter is kept; 0 means 30 days
	MaxQueued int           // events that wait, per subscription; 0 means 100,000
	MaxDead   int           // dead letters, per subscription; 0 means 100,000
	InFlight  int           // calls under way, per subscription; 0 means 4
}

// Dispatcher sends events. Accept may be called before Run.
type Dispatcher struct {
	o       Options
	log     *slog.Logger
	clock   clock.Clock
	metrics *metrics

	mu      sync.Mutex
	lanes   map[Key]*lane
	running bool
	ending  bool
	pumps   context.Context //nolint:containedctx // of Run, for lanes that begin later
	flights context.Context //nolint:containedctx // outlives pumps, so that calls can end
	wg      sync.WaitGroup
}

// New makes a dispatcher. It starts nothing.
func New(o Options) (*Dispatcher, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxAge == 0 {
		o.MaxAge = 24 * time.Hour
	}
	if o.DeadFor == 0 {
		o.DeadFor = 30 * 24 * time.Hour
	}
	if o.MaxQueued == 0 {
		o.MaxQueued = 100_000
	}
	if o.MaxDead == 0 {
		o.MaxDead = 100_000
	}
	if o.InFlight == 0 {
		o.InFlight = 4
	}
	d := &Dispatcher{o: o, log: o.Logger, clock: o.Clock, metrics: newMetrics(), lanes: map[Key]*lane{}}
	if o.Metrics != nil {
		for _, c := range append(d.metrics.all(), prometheus.Collector(collector{d})) {
			if err := o.Metrics.Register(c); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// Accept keeps events of a workspace for the subscriptions that they are for, and
// returns when they are durable. The same events may be given again.
func (d *Dispatcher) Accept(ctx context.Context, workspace string, events []engage.WebhookEvent) error {
	now := d.clock.Now()
	var items []*Item
	var of []*lane
	for i := range events {
		e := &events[i]
		for _, id := range e.To {
			k := Key{workspace, id}
			s, ok := d.o.Subscriptions.Get(k)
			if !ok || s.Status == Off {
				continue // since the event was made
			}
			it := &Item{
				Key: k, V: 1, Due: now, At: now,
				Event: Event{ID: e.ID, Type: e.Type, Subject: e.Subject, Time: e.Time, Data: e.Data},
			}
			l := d.lane(s)
			switch d.room(ctx, l, now) {
			case roomDead:
				d.bury(it, QueueFull, now)
			case roomNone:
				d.metrics.dropped.WithLabelValues(workspace, id).Inc()
				continue
			case roomYes:
			}
			items = append(items, it)
			of = append(of, l)
		}
	}
	if len(items) == 0 {
		return nil
	}
	added, err := d.o.Queue.Add(ctx, items)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, it := range items {
		if !added[i] {
			continue
		}
		l := of[i]
		if it.Dead {
			l.dead++
			d.metrics.died.WithLabelValues(workspace, it.Key.ID, string(it.Why)).Inc()
			continue
		}
		l.waiting++
		l.next = earlier(l.next, now)
		l.rouse()
	}
	return nil
}

// Where there is room for one more event.
const (
	roomYes  = iota
	roomDead // too many wait: among the dead letters
	roomNone // there are too many of those as well
)

// recountEvery bounds how often dead letters are counted because there seem to be too
// many: some expire.
const recountEvery = time.Minute

func (d *Dispatcher) room(ctx context.Context, l *lane, now time.Time) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.waiting < d.o.MaxQueued {
		return roomYes
	}
	if l.dead >= d.o.MaxDead && now.Sub(l.recounted) >= recountEvery {
		l.recounted = now
		d.mu.Unlock()
		_, dead, err := d.o.Queue.Count(ctx, l.key)
		d.mu.Lock()
		if err == nil {
			l.dead = dead
		}
	}
	if l.dead < d.o.MaxDead {
		return roomDead
	}
	return roomNone
}

// bury makes a dead letter of an item.
func (d *Dispatcher) bury(it *Item, why Why, now time.Time) {
	it.Dead, it.Why, it.Due, it.Expires = true, why, now, now.Add(d.o.DeadFor)
}

// lane of a subscription, which is made when it is new.
func (d *Dispatcher) lane(s Subscription) *lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lanes[s.Key]
	if l == nil {
		l = &lane{key: s.Key, sub: s, busy: map[string]bool{}, wake: make(chan struct{}, 1)}
		// What waits from an earlier run is due now, for all that is known.
		l.next = d.clock.Now()
		d.lanes[s.Key] = l
		if d.running && !d.ending {
			d.start(l)
		}
	}
	return l
}

// start starts the pump of a lane. d.mu is held.
func (d *Dispatcher) start(l *lane) {
	d.wg.Go(func() { d.pump(d.pumps, l) })
}

// stopWithin is how long calls under way may go on when the server stops.
const stopWithin = 2 * time.Second

// Run sends until ctx ends. A call that is cut off then is made again at the next
// start, under the same id.
func (d *Dispatcher) Run(ctx context.Context) error {
	flights, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	d.mu.Lock()
	d.running, d.pumps, d.flights = true, ctx, flights
	for _, l := range d.lanes {
		d.start(l)
	}
	d.mu.Unlock()
	d.sweepForgotten(ctx)
	for {
		changed := d.o.Subscriptions.Changed()
		d.reconcile(ctx)
		select {
		case <-changed:
			continue
		case <-ctx.Done():
		}
		break
	}
	d.mu.Lock()
	d.ending = true
	d.mu.Unlock()
	grace, stop := context.WithTimeout(flights, stopWithin)
	defer stop()
	done := make(chan struct{})
	go func() {
		d.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-grace.Done():
	}
	cancel()
	<-done
	return nil
}

// reconcile makes lanes of new subscriptions, tells those that have changed, and ends
// those that are gone.
func (d *Dispatcher) reconcile(ctx context.Context) {
	have := map[Key]bool{}
	for _, s := range d.o.Subscriptions.All() {
		have[s.Key] = true
		l := d.lane(s)
		d.mu.Lock()
		if l.sub.Version != s.Version {
			// Somebody has changed it, perhaps what was wrong with it: try at once.
			l.sub, l.target = s, nil
			l.until, l.failures = time.Time{}, 0
			l.next = d.clock.Now()
			l.rouse()
		}
		d.mu.Unlock()
	}
	d.mu.Lock()
	var gone []*lane
	for k, l := range d.lanes {
		if !have[k] {
			delete(d.lanes, k)
			gone = append(gone, l)
			l.gone = true
			l.rouse()
		}
	}
	d.mu.Unlock()
	for _, l := range gone {
		d.metrics.forget(l.key)
		if err := d.o.Queue.Forget(ctx, l.key); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "events of a deleted webhook are left", "workspace", l.key.Workspace, "webhook", l.key.ID, "error", err)
		}
	}
}

// sweepForgotten removes what a subscription left behind that was deleted when the
// server died.
func (d *Dispatcher) sweepForgotten(ctx context.Context) {
	for _, ws := range d.o.Subscriptions.Workspaces() {
		ids, err := d.o.Queue.Subscriptions(ctx, ws)
		if err != nil {
			d.log.WarnContext(ctx, "look for events of deleted webhooks", "workspace", ws, "error", err)
			continue
		}
		for _, id := range ids {
			if _, ok := d.o.Subscriptions.Get(Key{ws, id}); ok {
				continue
			}
			if err := d.o.Queue.Forget(ctx, Key{ws, id}); err != nil && ctx.Err() == nil {
				d.log.WarnContext(ctx, "events of a deleted webhook are left", "workspace", ws, "webhook", id, "error", err)
			}
		}
	}
}
