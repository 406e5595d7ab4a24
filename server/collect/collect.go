package collect

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
)

// Key is a write key.
type Key struct {
	ID        string
	Workspace string
	Source    string // engage.TouchSource.Kind
	Trusted   bool   // a server's
	Revoked   bool   // what it brings is dropped
	// Allows reports whether a page of an origin, as its browser says it, may use the
	// key; nil: all may.
	Allows func(origin string) bool
	// IsTime reports whether an attribute is a time, by what binds the key: a date alone,
	// 2026-01-31, is then midnight UTC. nil: none is.
	IsTime func(attribute string) bool
	// RequestRate and CallRate are the key's own, per second; 0: those of Limits.
	RequestRate, CallRate float64
}

// Catalog knows the write keys and the places.
type Catalog interface {
	// WriteKey is the key of a token, also a revoked one.
	WriteKey(token string) (Key, bool)
	// Place reports whether a workspace has the place.
	Place(workspace, id string) bool
}

// Suppression knows who wants to be left alone.
type Suppression interface {
	// Suppressed reports whether an identifier of a workspace is on its suppression list.
	Suppressed(workspace, identifier string) bool
}

// Log makes entries durable.
type Log interface {
	// AppendAsync takes entries of one workspace and calls done when all are durable,
	// those of one key in their order. An error that it returns, and one of done, may
	// leave some of them taken. RateLimited: the log is behind. Done must not block.
	AppendAsync(entries []engage.Entry, done func(error)) error
}

// List keeps what was answered and had no effect.
type List interface {
	// Put adds to the list, each for as long as given.
	Put(ctx context.Context, drops []engage.Dropped, keep time.Duration) error
	// Trim removes, of every workspace, the oldest beyond the newest so many.
	Trim(ctx context.Context, newest int) error
}

// Limits of the tracking API. Zero means the default.
type Limits struct {
	MaxCall      int           // bytes of one call; 32 KB
	MaxBody      int           // bytes of a batch, decompressed; 500 KB
	MaxBatch     int           // calls of a batch; 2,500
	MaxRequests  int           // at a time, in all; 512
	RequestRate  float64       // requests per second of a key; 1,000
	CallRate     float64       // calls per second of a key; 20,000
	ReadWithin   time.Duration // a body must be here; 20 s
	AppendWithin time.Duration // the log must have it; 10 s
	KeepDropped  time.Duration // 14 days
	MaxDropped   int           // kept per workspace; 10,000
}

// DroppedFor is how long it is listed that something was dropped.
const DroppedFor = 14 * 24 * time.Hour

func orDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

func (l *Limits) setDefaults() {
	orDefault(&l.MaxCall, 32<<10)
	orDefault(&l.MaxBody, 500<<10)
	orDefault(&l.MaxBatch, 2500)
	orDefault(&l.MaxRequests, 512)
	orDefault(&l.RequestRate, 1000)
	orDefault(&l.CallRate, 20_000)
	orDefault(&l.ReadWithin, 20*time.Second)
	orDefault(&l.AppendWithin, 10*time.Second)
	orDefault(&l.KeepDropped, DroppedFor)
	orDefault(&l.MaxDropped, 10_000)
}

// Options of a Collector. All but Suppressed, Registerer and Limits are required.
type Options struct {
	Catalog    Catalog
	Log        Log
	List       List
	Suppressed Suppression // nil: nobody is
	Clock      clock.Clock
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: nothing is counted for others
	Limits     Limits
}

// Collector serves the tracking API.
type Collector struct {
	o       Options
	metrics *metrics
	list    *listing
	places  chan struct{} // one per request that is being served
	refused *rate.Limiter // what is listed of pages that may not use a key

	mu    sync.Mutex
	rates map[string]*rates // by the id of the key
}

// rates of a key.
type rates struct {
	requests, calls *rate.Limiter
	of              [2]float64 // requests and calls per second, as they were configured
}

// New makes a collector; it starts nothing.
func New(o Options) (*Collector, error) {
	if o.Catalog == nil || o.Log == nil || o.List == nil || o.Clock == nil || o.Logger == nil {
		return nil, errors.New("collect options: Catalog, Log, List, Clock and Logger are required")
	}
	o.Limits.setDefaults()
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	return &Collector{
		o: o, metrics: m, places: make(chan struct{}, o.Limits.MaxRequests), rates: map[string]*rates{},
		refused: rate.NewLimiter(1, 20),
		list:    newListing(&o, m),
	}, nil
}

// Run writes the list of what was dropped until ctx ends, and then what waits.
func (c *Collector) Run(ctx context.Context) error { return c.list.run(ctx) }

// Handler serves everything below /v1/.
func (c *Collector) Handler() http.Handler { return http.HandlerFunc(c.serve) }

// maxRates bounds how many keys' rates are remembered. There are fewer keys; those that
// were removed are forgotten then.
const maxRates = 10_000

// spend takes a request of so many calls from what a key may bring, or says how long it
// may not.
func (c *Collector) spend(k *Key, calls int, now time.Time) (wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rates[k.ID]
	l := &c.o.Limits
	of := [2]float64{cmp.Or(k.RequestRate, l.RequestRate), cmp.Or(k.CallRate, l.CallRate)}
	if r == nil || r.of != of {
		if len(c.rates) >= maxRates {
			clear(c.rates)
		}
		// A batch of the greatest size is taken once in a while, however little a key may
		// bring: else it would never be.
		r = &rates{
			requests: rate.NewLimiter(rate.Limit(of[0]), max(int(2*of[0]), 1)),
			calls:    rate.NewLimiter(rate.Limit(of[1]), max(int(2*of[1]), l.MaxBatch)),
			of:       of,
		}
		c.rates[k.ID] = r
	}
	first := r.requests.ReserveN(now, 1)
	if wait = first.DelayFrom(now); wait > 0 {
		first.CancelAt(now)
		return wait
	}
	second := r.calls.ReserveN(now, calls)
	if wait = second.DelayFrom(now); wait > 0 {
		second.CancelAt(now)
		first.CancelAt(now)
	}
	return wait
}
