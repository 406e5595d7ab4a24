package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/channels"
	wire "github.com/footfall-engage/footfall/channels/webhook"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/webhook"
	"github.com/footfall-engage/footfall/server/webhook/webhooktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	t0  = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	crm = webhook.Key{Workspace: "acme", ID: "crm"}
	bi  = webhook.Key{Workspace: "acme", ID: "bi"}
)

// within bounds every wait; nothing here is slow.
const within = 60 * time.Second

// world is a dispatcher with its subscriptions, receivers that the test plays, and a
// clock that the test advances.
type world struct {
	*testing.T
	clock   *clock.Manual
	queue   *webhooktest.Memory
	d       *webhook.Dispatcher
	metrics *prometheus.Registry
	opts    webhook.Options
	stop    func()

	mu      sync.Mutex
	subs    map[webhook.Key]webhook.Subscription
	targets map[webhook.Key]*webhook.Target
	changed chan struct{}
	// answer plays the receivers; it may block.
	answer func(ctx context.Context, k string, events []string, r wire.Request) channels.Outcome
	calls  []call
}

// call is one that was made: to whom, and which events.
type call struct {
	url, id string
	batch   bool
	events  []string
	at      time.Time
}

func newWorld(t *testing.T, change ...func(*webhook.Options)) *world {
	t.Helper()
	w := &world{
		T: t, clock: clock.NewManual(t0), queue: &webhooktest.Memory{}, subs: map[webhook.Key]webhook.Subscription{},
		targets: map[webhook.Key]*webhook.Target{}, changed: make(chan struct{}), stop: func() {},
	}
	w.queue.Now = w.clock.Now
	w.opts = webhook.Options{Queue: w.queue, Subscriptions: w, Sender: w, Clock: w.clock}
	for _, f := range change {
		f(&w.opts)
	}
	w.subscribe(crm)
	w.make()
	t.Cleanup(func() { w.stop() })
	return w
}

// make makes a dispatcher, as a new start would.
func (w *world) make() {
	w.Helper()
	w.metrics = prometheus.NewRegistry()
	w.opts.Metrics = w.metrics
	var err error
	if w.d, err = webhook.New(w.opts); err != nil {
		w.Fatal(err)
	}
}

// run starts the dispatcher.
func (w *world) run() {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.d.Run(ctx) }()
	w.stop = func() {
		w.Helper()
		w.stop = func() {}
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
	}
}

func (w *world) subscribe(k webhook.Key, change ...func(*webhook.Target)) {
	t := &webhook.Target{URL: "https://" + k.ID, Secrets: []wire.Secret{make([]byte, 32)}}
	for _, f := range change {
		f(t)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subs[k] = webhook.Subscription{Key: k, Version: w.subs[k].Version + 1, Status: webhook.Enabled}
	w.targets[k] = t
	w.tell()
}

func (w *world) setStatus(k webhook.Key, s webhook.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sub := w.subs[k]
	sub.Status = s
	sub.Version++
	w.subs[k] = sub
	w.tell()
}

func (w *world) unsubscribe(k webhook.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.subs, k)
	w.tell()
}

func (w *world) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) All() []webhook.Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []webhook.Subscription
	for _, s := range w.subs {
		out = append(out, s)
	}
	return out
}

func (w *world) Workspaces() []string { return []string{"acme"} }

func (w *world) Get(k webhook.Key) (webhook.Subscription, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.subs[k]
	return s, ok
}

func (w *world) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *world) Open(k webhook.Key) (*webhook.Target, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.targets[k]; t != nil {
		return t, nil
	}
	return nil, errors.New("sealed with another key")
}

func (w *world) Disable(_ context.Context, s webhook.Subscription, _ string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.subs[s.Key].Version != s.Version {
		return false, nil
	}
	s.Status = webhook.Off
	s.Version++
	w.subs[s.Key] = s
	w.tell()
	return true, nil
}

// Send implements webhook.Sender.
func (w *world) Send(ctx context.Context, r wire.Request) (channels.Outcome, error) {
	events, err := wire.Parse(r.ContentType, r.Body)
	if err != nil {
		w.Errorf("sent %s: %v", r.Body, err)
	}
	c := call{url: r.URL, id: r.ID, batch: r.ContentType == wire.BatchContentType, at: r.At}
	for _, e := range events {
		c.events = append(c.events, e.ID)
		if e.Source != "urn:footfall:acme" || e.Subject != "people/ada" && e.Type != "footfall.ping" {
			w.Errorf("sent %+v", e)
		}
	}
	w.mu.Lock()
	w.calls = append(w.calls, c)
	answer := w.answer
	w.mu.Unlock()
	if answer == nil {
		return channels.Outcome{Kind: channels.Accepted, Status: 204}, nil
	}
	return answer(ctx, strings.TrimPrefix(r.URL, "https://"), c.events, r), nil
}

// answers makes every receiver say this from now on.
func (w *world) answers(out channels.Outcome) {
	w.plays(func(context.Context, string, []string, wire.Request) channels.Outcome { return out })
}

func (w *world) plays(f func(ctx context.Context, k string, events []string, r wire.Request) channels.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

// made are the calls so far.
func (w *world) made() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

func event(id string, to ...string) engage.WebhookEvent {
	if len(to) == 0 {
		to = []string{"crm"}
	}
	return engage.WebhookEvent{
		V: 1, ID: id, Type: engage.WebhookEntered, Subject: "people/ada", Time: t0, To: to, Data: json.RawMessage(`{"place":{"id":"cafe"}}`),
	}
}

func (w *world) accept(es ...engage.WebhookEvent) {
	w.Helper()
	if err := w.d.Accept(w.Context(), "acme", es); err != nil {
		w.Fatal(err)
	}
}

// eventually waits for a condition.
func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), within)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.Fatalf("it does not come: %s; %d calls, health %+v", what, len(w.made()), w.health(crm))
		}
	}
}

// passes lets the time go on by steps until a condition holds, for at most a while.
func (w *world) passes(step, most time.Duration, what string, ok func() bool) {
	w.Helper()
	for went := time.Duration(0); !ok(); went += step {
		if went > most {
			w.Fatalf("not within %v of the clock: %s; health %+v", most, what, w.health(crm))
		}
		w.clock.Advance(step)
		w.quiet()
	}
}

// quiet waits until nothing is under way: the calls that were to be made at this time
// of the clock are.
func (w *world) quiet() {
	w.Helper()
	w.eventually("rest", w.d.Resting)
}

func (w *world) health(k webhook.Key) webhook.Health {
	h, err := w.d.Health(context.Background(), k)
	if err != nil {
		w.Fatal(err)
	}
	return h
}

// letters are "<event> <why>" of the dead letters, sorted.
func (w *world) letters(k webhook.Key) []string {
	w.Helper()
	items, _, err := w.d.DeadLetters(w.Context(), k, "", 1000)
	if err != nil {
		w.Fatal(err)
	}
	out := []string{}
	for _, it := range items {
		out = append(out, fmt.Sprintf("%s %s", it.Event.ID, it.Why))
	}
	slices.Sort(out)
	return out
}

// metric is the value of one that has these labels.
func (w *world) metric(name string, labels ...string) float64 {
	w.Helper()
	all, err := w.metrics.Gather()
	if err != nil {
		w.Fatal(err)
	}
	sum := 0.0
	for _, f := range all {
		if f.GetName() != "footfall_webhook_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := 0
			for _, l := range m.GetLabel() {
				if slices.Contains(labels, l.GetValue()) {
					have++
				}
			}
			if have < len(labels) {
				continue
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}
