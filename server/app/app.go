// Package app joins the parts of the server and runs them: it is the only package
// that imports everything. Reading order: New opens what the server stands on and
// wires the stages (ingest → situate → decide → deliver → measure), Run starts
// them and stops them in the opposite order, router.go is the chain itself, and
// the other files show one part to another through the few methods that it needs.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/collect"
	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/ingest"
	"github.com/footfall-engage/footfall/server/items"
	"github.com/footfall-engage/footfall/server/media"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/people"
	"github.com/footfall-engage/footfall/server/situate"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/uploads"
	"github.com/footfall-engage/footfall/server/weather"
	"github.com/footfall-engage/footfall/server/webhook"
)

// Options of a server.
type Options struct {
	Config  config.Config
	Clock   clock.Clock  // nil means the machine's
	Logger  *slog.Logger // nil discards
	Version string       // names the build, in logs, to weather providers and in partitions' positions

	// Mode of the partition loops; empty means partition.Fast.
	Mode partition.Mode
	// Weather replaces the configured provider, in tests.
	Weather weather.Provider
	// FaultyLog, in tests and in the demo's sabotage, takes away entries of phones
	// that are then acknowledged all the same: proof that an audit finds them.
	FaultyLog func(workspace, install string, entries []engage.Entry) []engage.Entry
	// SerialStore, in tests, takes a MongoDB server without transactions, such as
	// FerretDB: no two writers at a time, and a batch that a death can tear.
	SerialStore bool
	// Tape, if not nil, gets the server's Tape when it has stopped: everything that
	// it was told since it began, and what it made of that.
	Tape io.Writer
}

// App is a server.
type App struct {
	o        Options
	log      *slog.Logger
	life     *lifecycle
	registry *prometheus.Registry
	eventlog *eventlog.JetStream
	watch    *logWatch // nil for an embedded log
	hot      store.Store
	states   store.Store // may be the same as hot
	sealer   *catalog.Sealer
	catalog  *catalog.Catalog
	firstKey engage.Secret
	weather  *weather.Service
	feed     *weatherFeed
	nearby   *nearby
	insiders *insiders
	turnings *turnings

	occupancyDue atomic.Int64 // when tellOccupancy looks next, Unix nanoseconds; 0: it does not run
	router       *router
	offers       offers
	items        *items.Service
	senders      *senders
	deliver      *deliver.Deliverer
	lives        *deliver.Lives
	webhooks     *webhook.Dispatcher
	library      *media.Library // nil: images are not hosted
	people       *people.Service
	gateway      *ingest.Gateway
	collect      *collect.Collector
	uploads      *uploads.Service
	learner      *learner
	handler      http.Handler
	listener     net.Listener
	caughtUp     atomic.Bool
	serving      chan struct{}
}

// New opens the data folder and wires the server. It starts nothing that works;
// Run or Close must follow.
func New(ctx context.Context, o Options) (_ *App, err error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	a := &App{o: o, log: o.Logger, life: newLifecycle(o.Logger), registry: prometheus.NewRegistry(), serving: make(chan struct{})}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	defer func() {
		if err != nil {
			err = errors.Join(err, a.life.stopAll())
		}
	}()
	if err := a.lockFolder(); err != nil {
		return nil, err
	}
	if a.eventlog, err = openLog(ctx, &o.Config, a.log); err != nil {
		return nil, err
	}
	a.life.push("event log", a.eventlog.Close)
	if err := a.openStores(ctx); err != nil {
		return nil, err
	}
	if err := a.outlast(ctx, func(ctx context.Context) error { return belong(ctx, a.eventlog, a.states, a.hot) }); err != nil {
		return nil, err
	}
	if a.sealer, err = sealer(&o.Config); err != nil {
		return nil, err
	}
	if err := a.outlast(ctx, func(ctx context.Context) (err error) {
		a.catalog, err = catalog.Open(ctx, catalog.Options{
			Log: a.eventlog, Clock: o.Clock, Compile: decide.Compile, Sealer: a.sealer, Logger: a.log,
		})
		return err
	}); err != nil {
		return nil, err
	}
	if err := a.outlast(ctx, a.firstWorkspace); err != nil {
		return nil, err
	}
	if err := a.openWeather(); err != nil {
		return nil, err
	}
	places := &configs[*situate.Config]{catalog: a.catalog, compile: situateConfig()}
	if err := a.openPartitions(ctx, places); err != nil {
		return nil, err
	}
	if err := a.openEdges(ctx, places); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	if a.listener, err = lc.Listen(ctx, "tcp", o.Config.Listen); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	a.life.push("listener", func() error {
		if err := a.listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	// Now that nothing of ours is in the way: the server that has the log stops.
	if !o.Config.EventLog.Embedded() {
		if err := a.outlast(ctx, a.claimLog); err != nil {
			return nil, err
		}
	}
	// Last: a key that is made and not shown, since the start fails, is of no use.
	k, token := catalog.NewKey(o.Config.Workspace, "first admin", catalog.Admin)
	if err := a.outlast(ctx, func(ctx context.Context) error { return a.makeFirstKey(ctx, k, token) }); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *App) openWeather() error {
	provider := a.o.Weather
	if c := a.o.Config.Weather; provider == nil && c.Enabled() {
		met, err := weather.NewMetNorway(weather.MetOptions{
			Contact: c.Contact, BaseURL: c.BaseURL, Version: a.o.Version, Now: a.o.Clock.Now, Logger: a.log,
		})
		if err != nil {
			return err
		}
		a.life.push("weather connections", func() error {
			met.CloseIdleConnections()
			return nil
		})
		provider = met
	}
	a.weather = weather.New(weather.Options{Provider: provider, Now: a.o.Clock.Now, Logger: a.log})
	a.feed = newWeatherFeed(a.weather, a.log)
	return nil
}

// personBytes are the persons that a partition keeps in memory, as encoded: some 14,000 of
// 20 attributes. A phone's state is wanted with every message and has more room; a
// person's is read again in a tenth of a millisecond.
const personBytes = 32 << 20

func (a *App) openPartitions(ctx context.Context, places *configs[*situate.Config]) error {
	n, err := a.partitionCount(ctx)
	if err != nil {
		return err
	}
	a.openOffers()
	a.openItems()
	a.router = &router{weather: a.feed, codes: a.offers.Fill, items: a.items.Known}
	a.learner = newLearner(a.catalog, a.o.Clock, a.log)
	a.insiders = newInsiders()
	a.turnings = a.newTurnings()
	a.nearby = newNearby(a.states, a.o.Config.Live, a.o.Clock, a.log)
	campaigns := &configs[*decide.Config]{catalog: a.catalog, compile: decideConfig(a.log)}
	open := func(kind string, i int, m engage.Machine, c partition.Configs) (*partition.Partition, error) {
		o := partition.Options{
			Kind: kind, Index: i, Mode: a.o.Mode, Log: a.eventlog, Hot: a.hot, States: a.states,
			Machine: m, Configs: c, Router: a.router, Clock: a.o.Clock, Build: a.o.Version, Logger: a.log,
			Retention: time.Duration(a.o.Config.RetentionDays) * 24 * time.Hour,
			Keep:      historyKept(&a.o.Config),
		}
		if kind == "in" {
			o.Observe = func(key string, s engage.State) {
				a.nearby.observe(key, s)
				a.insiders.observe(key, s)
			}
		} else {
			o.Observe = a.router.moves.observe
			o.MaxStateBytes = personBytes
		}
		return partition.Open(ctx, o)
	}
	for i := range n {
		p, err := open("in", i, situate.Machine{}, places)
		if err != nil {
			return err
		}
		a.router.in = append(a.router.in, p)
	}
	for i := range n {
		p, err := open("act", i, actMachine(a.learner), campaigns)
		if err != nil {
			return err
		}
		a.router.act = append(a.router.act, p)
	}
	a.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "footfall_live_devices", Help: "Installs with a young fix and consent to precise location, of all workspaces.",
	}, func() float64 { return float64(a.nearby.devices()) }))
	a.registry.MustRegister(newPartitionMetrics(a.router), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "footfall_event_log_connected", Help: "1 while the event log can be reached, 0 while it cannot.",
	}, func() float64 {
		if a.eventlog.Status().Connected {
			return 1
		}
		return 0
	}))
	return nil
}

// Addr is the address that the server listens on.
func (a *App) Addr() net.Addr { return a.listener.Addr() }

// URL is the address under which it is reached from this machine.
func (a *App) URL() string { return "http://" + a.listener.Addr().String() }

// FirstKey is the admin key that was made because there was none; empty
// otherwise. It is not kept anywhere: show it now.
func (a *App) FirstKey() engage.Secret { return a.firstKey }

// Catalog is the configuration.
func (a *App) Catalog() *catalog.Catalog { return a.catalog }

// Sealer seals secrets for the catalogue.
func (a *App) Sealer() *catalog.Sealer { return a.sealer }

// Serving is closed when the server has caught up and takes everything.
func (a *App) Serving() <-chan struct{} { return a.serving }

// Close gives up what New opened, when Run is never called.
func (a *App) Close() error { return a.life.stopAll() }

// Run serves until ctx ends or a part fails; then it stops accepting, lets what
// is under way settle, saves all states and closes. What a part failed by is
// returned.
func (a *App) Run(ctx context.Context) error {
	err := a.run(ctx)
	return errors.Join(err, a.life.stopAll())
}

func (a *App) run(ctx context.Context) error {
	if a.o.Tape != nil {
		a.life.push("tape", a.writeTape) // when all below have stopped
	}
	// Order: those who are sent to run before those who send.
	a.life.push("senders", a.senders.close)
	if err := a.outlast(ctx, a.nearby.load); err != nil { // before a partition shows it what is newer
		return err
	}
	if err := a.outlast(ctx, func(ctx context.Context) error {
		for ws := range a.catalog.Now().Workspaces {
			if err := a.insiders.load(ctx, a.states, ws); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if a.library != nil {
		if err := a.outlast(ctx, a.library.Load); err != nil {
			return err
		}
		a.life.run("hosted images", a.library.Run)
	}
	a.life.run("nearby", a.nearby.run)
	a.life.run("weather", a.weather.Run)
	a.life.run("webhooks", a.webhooks.Run)
	for _, p := range a.router.act {
		a.life.run(p.Name(), p.Run)
	}
	a.life.run("deliver", a.deliver.Run)
	a.life.run("live activities", a.lives.Run)
	for _, p := range a.router.in {
		a.life.run(p.Name(), p.Run)
	}
	a.life.run("purge", a.purge)
	a.life.run("list of what was dropped", a.collect.Run)
	a.life.run("people", a.people.Run)
	a.life.run("attributes", a.learner.run)
	if a.watch != nil {
		a.life.run("event log watch", a.watchLog)
	}
	a.life.run("weather feed", func(ctx context.Context) error { return a.feed.run(ctx, a.router) })
	a.life.push("settle", a.settle)
	server := &http.Server{
		Handler: a.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	a.life.run("http", func(ctx context.Context) error { return serve(ctx, server, a.listener) })
	if err := a.catchUp(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	a.life.run("uploads", a.uploads.Run)
	a.life.run("redemptions", a.offers.Run)
	a.life.run("schedules", a.newScheduler().Run)
	a.life.run("weather turnings", a.turnings.run)
	a.life.run("occupancy", a.tellOccupancy)
	a.life.run("gateway", a.gateway.Run)
	select {
	case <-a.gateway.Ready():
	case err := <-a.life.failed:
		return err
	case <-ctx.Done():
		return nil
	}
	a.caughtUp.Store(true)
	close(a.serving)
	a.log.Info("serving", "url", a.URL(), "version", a.o.Version)
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.life.failed:
		return err
	}
}

// catchUp waits until every partition has applied its log, and makes their states
// visible to readers of the store.
func (a *App) catchUp(ctx context.Context) error {
	for _, p := range a.partitions() {
		select {
		case <-p.Ready():
		case err := <-a.life.failed:
			return err
		case <-ctx.Done():
			return nil
		}
		switch err := p.Flush(ctx); {
		case errors.Is(err, partition.ErrStopped):
			return <-a.life.failed // it stopped with a reason
		case err != nil && ctx.Err() == nil:
			return fmt.Errorf("save states of %s: %w", p.Name(), err)
		}
	}
	return nil
}

func (a *App) partitions() []*partition.Partition {
	return append(append([]*partition.Partition{}, a.router.in...), a.router.act...)
}

// purgeEvery is how often expired documents are removed; they are invisible before.
const purgeEvery = time.Minute

// purgePortion is how many of them at once.
const purgePortion = 500

// purge removes expired documents in small portions.
func (a *App) purge(ctx context.Context) error {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		for _, s := range a.stores() {
			for n := purgePortion; n == purgePortion && ctx.Err() == nil; {
				var err error
				if n, err = s.Purge(ctx, purgePortion); err != nil && ctx.Err() == nil {
					a.log.Error("purge expired documents", "error", err)
					break
				}
			}
		}
	}
}

// stores are hot and states, once each.
func (a *App) stores() []store.Store {
	if a.hot == a.states {
		return []store.Store{a.hot}
	}
	return []store.Store{a.hot, a.states}
}

// settleWithin bounds how long a stop waits for work under way. What is not done
// by then is in the log and the outbox, and goes on at the next start.
const settleWithin = 2 * time.Second

func (a *App) settle() error {
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	_ = a.Settle(ctx) // what is left goes on at the next start
	return nil
}

// Settle waits until everything that has been logged is applied and handed on.
func (a *App) Settle(ctx context.Context) error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for idle := 0; idle < 3; {
		if a.idle() {
			idle++
		} else {
			idle = 0
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (a *App) idle() bool {
	if a.caughtUp.Load() && !a.offers.Idle() {
		return false
	}
	for _, p := range a.partitions() {
		if !p.Idle() {
			return false
		}
	}
	if due := a.occupancyDue.Load(); due != 0 && due <= a.o.Clock.Now().UnixNano() {
		return false
	}
	return a.turnings.idle()
}

// Flush saves the states of all partitions, so that readers of the store see them.
func (a *App) Flush(ctx context.Context) error {
	var g errgroup.Group
	for _, p := range a.partitions() {
		g.Go(func() error { return p.Flush(ctx) })
	}
	return g.Wait()
}

// ready reports whether the server takes everything, and if not, why.
func (a *App) ready() (ready bool, missing []string) {
	for _, p := range a.partitions() {
		s := p.Stats()
		select {
		case <-p.Ready():
		default:
			missing = append(missing, fmt.Sprintf("%s is catching up: record %d of %d", p.Name(), s.Position, s.Landed))
		}
		if t := s.Trouble; t != (partition.Trouble{}) {
			missing = append(missing, fmt.Sprintf("%s cannot %s since %s: %s", p.Name(), t.Doing, t.Since.Format(time.RFC3339), cut(t.Error, 300)))
		}
	}
	if len(missing) == 0 && !a.caughtUp.Load() {
		missing = append(missing, "the gateway is starting")
	}
	if l := a.eventlog.Status(); !l.Connected {
		missing = append(missing, fmt.Sprintf("the event log is away since %s: %s", l.Since.Format(time.RFC3339), l.Reason))
	} else if why, since := a.watch.trouble(); why != "" {
		missing = append(missing, fmt.Sprintf("the event log cannot be used since %s: %s", since.UTC().Format(time.RFC3339), cut(why, 300)))
	} else if h := a.gateway.LogHealth(); h.Stalled > 0 {
		missing = append(missing, fmt.Sprintf("the event log has been silent for %s: phones are told to wait", h.Silent.Round(time.Millisecond)))
	}
	return len(missing) == 0, missing
}

// cut shortens a text to at most n bytes, at a rune's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// serve runs an HTTP server until ctx ends, then lets requests finish.
func serve(ctx context.Context, s *http.Server, l net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := s.Shutdown(bounded)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	if failure := <-failed; !errors.Is(failure, http.ErrServerClosed) {
		err = errors.Join(err, failure)
	}
	return err
}
