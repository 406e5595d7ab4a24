package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
)

// Options of a gateway. All but People, Logger, Registerer and Limits are required.
type Options struct {
	Catalog     Catalog
	Credentials Credentials
	Installs    Installs
	Log         Log
	Deliveries  Deliveries
	People      People // nil: what persons ask of what is kept of them is not served
	Clock       clock.Clock
	Logger      *slog.Logger          // nil discards; it never sees tokens or positions
	Registerer  prometheus.Registerer // nil means that nobody reads the metrics
	Limits      Limits
}

// Limits of the gateway; those of the protocol are sdkproto's. 0 means the
// default.
type Limits struct {
	MaxSessions int // open sockets, those before hello included; 100,000
	MaxPosts    int // POSTs under way, each with at most one body in memory; 256
	MaxInstalls int // remembered beyond those that are connected; 100,000
	// MaxUnacked bounds the frames that are held for phones which have not
	// acknowledged them, of all installs together, in bytes as protobuf; beyond it a
	// phone that loses its session gets the state anew. 64 MiB.
	MaxUnacked int64
	// MaxHellos is how many hellos of sockets are answered at a time; 256. Eight times
	// as many wait for their turn, and who comes beyond is told to come back.
	MaxHellos int
	Credit    int // items in flight per session; sdkproto.DefaultCredit
	// RegisterRate is how many installs one address may register per second, and
	// RegisterBurst how many at once; 10 and 1,000. The address is the one that the
	// connection comes from (of IPv6 its /64): behind a proxy that hides it, all
	// phones share it.
	RegisterRate  float64
	RegisterBurst int
	// ItemRate is how many items one install may bring per second, and ItemBurst how
	// many at once, never less than a batch; 200 and 2,000. Beyond it a batch is
	// refused whole, and the phone waits and sends it again.
	ItemRate  float64
	ItemBurst int
	// AppItemRate and AppItemBurst are the same for all installs of one app together;
	// 100,000 and 1,000,000. They keep one app's crowd from taking what others of the
	// same server need. Who is beyond them is told a time of its own.
	AppItemRate  float64
	AppItemBurst int
	// TokenAge is from when on a phone is offered another device token in the place of
	// the one that it has; 30 days.
	TokenAge time.Duration
	// StallAfter is how long the log may answer nothing before the phones that wait
	// for it are told to wait, and others are refused at once; 3 s. It is noticed
	// once a second.
	StallAfter time.Duration
	// MaxWaiting bounds what the log has taken and not answered, in bytes of memory;
	// beyond it phones are told to wait. 64 MiB.
	MaxWaiting int64
	// RetryAfter is the least that phones are told to wait when the log or the
	// gateway is too busy or does not answer; 1 s. What they are told is spread, and
	// grows with the crowd so that ReturnRate of them come again per second; 1,000.
	RetryAfter  time.Duration
	ReturnRate  float64
	DrainWithin time.Duration // how long the end of Run waits for the log and the phones; 5 s
}

func (l *Limits) setDefaults() {
	if l.MaxSessions <= 0 {
		l.MaxSessions = 100_000
	}
	if l.MaxPosts <= 0 {
		l.MaxPosts = 256
	}
	if l.MaxInstalls <= 0 {
		l.MaxInstalls = 100_000
	}
	if l.Credit <= 0 {
		l.Credit = sdkproto.DefaultCredit
	}
	if l.RegisterRate <= 0 {
		l.RegisterRate = 10
	}
	if l.RegisterBurst <= 0 {
		l.RegisterBurst = 1000
	}
	if l.ItemRate <= 0 {
		l.ItemRate = 200
	}
	if l.ItemBurst <= 0 {
		l.ItemBurst = 2000
	}
	l.ItemBurst = max(l.ItemBurst, sdkproto.MaxBatchItems)
	if l.AppItemRate <= 0 {
		l.AppItemRate = 100_000
	}
	if l.AppItemBurst <= 0 {
		l.AppItemBurst = 1_000_000
	}
	l.AppItemBurst = max(l.AppItemBurst, sdkproto.MaxBatchItems)
	if l.MaxUnacked <= 0 {
		l.MaxUnacked = 64 << 20
	}
	if l.MaxHellos <= 0 {
		l.MaxHellos = 256
	}
	if l.TokenAge <= 0 {
		l.TokenAge = 30 * 24 * time.Hour
	}
	if l.StallAfter <= 0 {
		l.StallAfter = 3 * time.Second
	}
	if l.MaxWaiting <= 0 {
		l.MaxWaiting = 64 << 20
	}
	if l.ReturnRate <= 0 {
		l.ReturnRate = 1000
	}
	if l.RetryAfter <= 0 {
		l.RetryAfter = time.Second
	}
	if l.DrainWithin <= 0 {
		l.DrainWithin = 5 * time.Second
	}
}

// Gateway serves the SDK protocol.
type Gateway struct {
	o        Options
	log      *slog.Logger
	metrics  *metrics
	installs *installs
	sessions *Sessions
	// registrations limits who registers; its buckets are by address.
	registrations *registrations
	wheel         *wheel
	stalls        stalls
	returns       returns
	complaints    *rate.Limiter // what is logged of single phones
	upgrader      websocket.Upgrader
	posts         chan struct{} // holds one token per POST under way
	exports       chan struct{} // likewise, of exports
	ready         chan struct{}
	revision      atomic.Uint64 // grows with every change of the catalog
	inboxes       inboxes
	flushes       flushes
	crowded       atomic.Int64  // sockets that were refused for want of room, since the last tick
	hellos        chan struct{} // holds one token per hello of a socket that is being answered
	helloQueue    atomic.Int64  // hellos that wait for one, or have one
	apps          paces
	items         allowance // of each install
	began         time.Time

	mu      sync.Mutex
	started bool
	serving bool
	sockets map[*session]struct{}
	// reserved counts the sockets and those whose handshake is under way.
	reserved int
	life     context.Context // of what sessions ask the others; ends after them
	wg       sync.WaitGroup  // sessions, flushes, POSTs; grows only while serving, or by who is in it
}

// New makes a gateway. It serves once Run runs; until then, and after, it answers
// 503.
func New(o Options) (*Gateway, error) {
	switch {
	case o.Catalog == nil, o.Credentials == nil, o.Installs == nil, o.Log == nil, o.Deliveries == nil, o.Clock == nil:
		return nil, errors.New("ingest: catalog, credentials, installs, log, deliveries and clock are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Limits.setDefaults()
	g := &Gateway{
		o: o, log: o.Logger,
		registrations: newRegistrations(o.Limits.RegisterRate, o.Limits.RegisterBurst),
		wheel:         newWheel(),
		stalls:        stalls{after: o.Limits.StallAfter, most: o.Limits.MaxWaiting},
		returns:       returns{least: o.Limits.RetryAfter, every: time.Duration(float64(time.Second) / o.Limits.ReturnRate)},
		complaints:    rate.NewLimiter(1, 20),
		posts:         make(chan struct{}, o.Limits.MaxPosts),
		exports:       make(chan struct{}, maxExports),
		hellos:        make(chan struct{}, o.Limits.MaxHellos),
		apps:          newPaces(o.Limits.AppItemRate, o.Limits.AppItemBurst),
		items:         allowance{float64(time.Second) / o.Limits.ItemRate, o.Limits.ItemBurst},
		began:         o.Clock.Now(),
		flushes:       flushes{most: runtime.GOMAXPROCS(0)},
		ready:         make(chan struct{}),
		sockets:       map[*session]struct{}{},
	}
	g.installs = newInstalls(o.Installs, o.Limits.MaxInstalls, o.Limits.MaxUnacked, &g.stalls.slots)
	g.sessions = newSessions(g)
	var err error
	if g.metrics, err = newMetrics(o.Registerer, g.LogHealth, g.installs.unacked.Load); err != nil {
		return nil, err
	}
	g.upgrader = websocket.Upgrader{
		ReadBufferSize: 512, WriteBufferPool: &sync.Pool{}, // a pool, so that no buffer is made: see write.go
		Subprotocols: []string{sdkproto.SubprotocolPB, sdkproto.SubprotocolJSON},
		// An app in a webview comes from any origin. There are no cookies: a page
		// gains nothing that the app key in it does not give it anyway.
		CheckOrigin: func(*http.Request) bool { return true },
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			g.refuse(w, sdkproto.JSON{}, status, sdkproto.Errorf(sdkproto.ErrMalformed, "", "%v", reason))
		},
	}
	return g, nil
}

// Ready is closed when Run serves.
func (g *Gateway) Ready() <-chan struct{} { return g.ready }

// Sessions are the open sockets, for the deliver stage.
func (g *Gateway) Sessions() *Sessions { return g.sessions }

// Routes serves the paths of the protocol below /sdk/v1/.
func (g *Gateway) Routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+sdkproto.PathWS, g.serveSocket)
	mux.HandleFunc("POST "+sdkproto.PathBatch, g.serveBatch)
	mux.HandleFunc("POST "+sdkproto.PathInstall, g.serveInstall)
	mux.HandleFunc("POST "+sdkproto.PathToken, g.serveToken)
	mux.HandleFunc("GET "+sdkproto.PathConfig, g.serveConfig)
	mux.HandleFunc("GET "+sdkproto.PathInbox, g.serveInbox)
	if g.o.People != nil {
		g.personRoutes(mux)
	}
	mux.HandleFunc("OPTIONS /sdk/v1/", func(w http.ResponseWriter, _ *http.Request) {
		allowOrigins(w)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/sdk/v1/", g.serveUnknown)
	return mux
}

// Run serves until ctx ends, which is no error. Then it refuses what is new,
// answers what was taken, asks all phones to go and come back at times of their own,
// closes their sessions with 4001, and has joined
// everything when it returns: the log is not called any more.
func (g *Gateway) Run(ctx context.Context) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g.mu.Lock()
	if g.started {
		g.mu.Unlock()
		return errors.New("ingest: a gateway runs once")
	}
	changed := g.o.Catalog.Changed() // before anybody is served, so that no change is missed
	g.started, g.serving, g.life = true, true, life
	g.mu.Unlock()
	close(g.ready)

	following := make(chan struct{})
	go func() {
		defer close(following)
		g.follow(ctx, changed)
	}()
	g.work(ctx)
	<-following

	g.mu.Lock()
	g.serving = false
	g.mu.Unlock()
	for _, s := range g.allSockets() {
		s.leave(goawayShutdown)
	}
	joined := make(chan struct{})
	go func() {
		g.wg.Wait()
		close(joined)
	}()
	drain, stop := context.WithTimeout(life, g.o.Limits.DrainWithin)
	defer stop()
	select {
	case <-joined:
		return nil
	case <-drain.Done():
	}
	end()
	for _, s := range g.allSockets() {
		s.abort()
	}
	<-joined
	return nil
}

// follow tells the sessions what a change of the catalog means to them, until ctx
// ends. What changes meanwhile is told by the next round. It is not the wheel's
// business: a round is as long as there are phones.
func (g *Gateway) follow(ctx context.Context, changed <-chan struct{}) {
	var before map[string]Fences // of the last round, by workspace
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		changed = g.o.Catalog.Changed()
		all := g.sessions.all()
		// Before the revision grows, so that no plan of it is of older fences.
		now := map[string]Fences{}
		news := map[string]change{}
		for _, s := range all {
			ws := s.in.key.workspace
			if _, known := now[ws]; known {
				continue
			}
			now[ws] = g.o.Catalog.Fences(ws)
			if old := before[ws]; old != nil {
				c := change{}
				c.circles, c.known = now[ws].Since(old)
				news[ws] = c
			}
		}
		before = now
		revision := g.revision.Add(1)
		// Anew: who has come since may have planned by the revision before.
		all = g.sessions.all()
		for _, s := range all { // first who may be here at all
			s.followApp()
		}
		for _, s := range all {
			if ctx.Err() != nil {
				return
			}
			if c := news[s.in.key.workspace]; !c.known || !s.in.unmoved(c.circles, revision) {
				s.tellRegions(g.o.Clock.Now())
			}
		}
	}
}

// change of a workspace's geofences.
type change struct {
	circles []geo.Circle // around them, as they were and as they are
	known   bool
}

// work turns the wheel until ctx ends.
func (g *Gateway) work(ctx context.Context) {
	stalled, turns := false, uint64(0)
	tick, stop := g.o.Clock.At(g.o.Clock.Now().Add(tickEvery))
	for {
		select {
		case <-ctx.Done():
			stop()
			return
		case <-tick:
			g.wheel.turn()
			stalled = g.watch(stalled)
			g.shed()
			g.inboxes.retry() //nolint:contextcheck // a worker lives as long as the gateway, not as its clock
			if turns++; turns%sweepEvery == 0 || g.installs.crowded() {
				g.installs.sweep(g.o.Clock.Now())
			}
			tick, stop = g.o.Clock.At(g.o.Clock.Now().Add(tickEvery))
		}
	}
}

func (g *Gateway) allSockets() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*session, 0, len(g.sockets))
	for s := range g.sockets {
		out = append(out, s)
	}
	return out
}

// enter counts a request in, unless the gateway does not serve; the caller
// counts it out of wg.
func (g *Gateway) enter() (context.Context, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.serving {
		return nil, g.unavailable("the server is starting or going away")
	}
	g.wg.Add(1)
	return g.life, nil
}

// reserve makes room for one socket, unless there are too many.
func (g *Gateway) reserve() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reserved >= g.o.Limits.MaxSessions {
		g.crowded.Add(1)
		return g.unavailable("too many connections")
	}
	g.reserved++
	g.metrics.sessions.Inc()
	return nil
}

func (g *Gateway) unreserve() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reserved--
	g.metrics.sessions.Dec()
}

// register takes a socket that has its room, and reports whether Run goes on.
func (g *Gateway) register(s *session) (serving bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sockets[s] = struct{}{}
	return g.serving
}

func (g *Gateway) dismiss(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sockets, s)
	g.reserved--
	g.metrics.sessions.Dec()
}

// unavailable is the answer when there is nobody to do it.
func (g *Gateway) unavailable(why string) *sdkproto.Error {
	e := sdkproto.Errorf(sdkproto.ErrInternal, "", "%s", why)
	e.RetryAfter = g.returns.wait(g.o.Clock.Now(), 0)
	return e
}

// busy is the answer when there is too much to do.
func (g *Gateway) busy(why string) *sdkproto.Error {
	e := sdkproto.Errorf(sdkproto.ErrRate, "", "%s", why)
	e.RetryAfter = g.returns.wait(g.o.Clock.Now(), 0)
	return e
}

// answer is what a phone is told of err. What is not the phone's doing is logged
// with what was being done (of many phones only some: what fails for one often
// fails for all), and told without its details.
func (g *Gateway) answer(ctx context.Context, err error, doing string) *sdkproto.Error {
	if e, ok := errors.AsType[*sdkproto.Error](err); ok {
		return e
	}
	switch engage.CodeOf(err) {
	case engage.RateLimited, engage.Unavailable:
		g.metrics.waits.WithLabelValues("busy").Inc()
		return g.busy("the server has too much to do")
	}
	if ctx.Err() == nil && g.complaints.AllowN(g.o.Clock.Now(), 1) {
		g.log.ErrorContext(ctx, "phone not served", "doing", doing, "error", err)
	}
	return g.unavailable("the server could not")
}
