package weather

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
)

// Provider is a source of forecasts.
type Provider interface {
	// Name of the provider, as it stands in engage.Weather.
	Name() string
	// Fetch asks for a cell's forecast. Kept is what it answered last, nil if
	// there is nothing; it may answer kept itself, or a renewal of it. It
	// returns when ctx ends. Errors should be *ProviderError.
	Fetch(ctx context.Context, cell geo.Cell, kept *Forecast) (*Forecast, error)
}

// MaxRate is how often all cells together may ask the provider, per second: half
// of what MET Norway allows to one application.
const MaxRate = 10

// maxJitter bounds what is added to a forecast's life, a tenth of it at most.
const maxJitter = 2 * time.Minute

// Options configure a Service. The zero Options are a disabled one.
type Options struct {
	// Provider to ask; nil disables the service.
	Provider Provider
	// Now is the clock by which weather is fresh or stale and failures are
	// remembered; nil means the machine's.
	Now func() time.Time
	// Logger; nil discards.
	Logger *slog.Logger
	// MaxStale is how long a forecast is served beyond its freshness; 0 means
	// engage.MaxStaleWeather.
	MaxStale time.Duration
	// Rate is how many requests per second at most; 0 means MaxRate, which is
	// also the most. It is measured on the machine's clock, whatever Now says:
	// the provider lives by that one.
	Rate float64
	// Timeout of one request, on the machine's clock; 0 means 10 s.
	Timeout time.Duration
	// Jitter in [0, 1) spreads the renewals of cells that were fetched together;
	// nil means chance.
	Jitter func() float64
	// Workers are how many requests may be under way at once; 0 means 4.
	Workers int
	// MaxPending bounds the requests that wait, and the cells; 0 means 4096.
	MaxPending int
	// MaxCells bounds the cache; 0 means 10000, some 30 MB.
	MaxCells int
}

// Service answers what the weather at a cell is. Safe for concurrent use.
type Service struct {
	o       Options
	limiter *rate.Limiter
	jobs    chan geo.Cell // cells of calls that no worker has yet; its capacity bounds them
	answers chan func()   // to run on Run's own goroutine; capacity MaxPending, so that a counted one always fits

	mu      sync.Mutex
	cells   map[geo.Cell]*cellState
	calls   map[geo.Cell]*call
	pending int // functions accepted by Request and not yet run
	running bool
	closed  bool
	// The provider is left alone until then, because of pauseErr.
	pausedUntil time.Time
	pauseErr    error
	failing     bool // the last request failed, which was logged
	status      Status
}

// cellState is what is known of a cell.
type cellState struct {
	forecast   *Forecast // nil means none
	freshUntil time.Time
	usedAt     time.Time
	failures   int // in a row
	retryAt    time.Time
	err        error // of the last failure, while failures > 0
}

// call is a fetch, waiting or under way, and who wants its result.
type call struct {
	waiting []func(result) // must not block; called with mu held
}

type result struct {
	weather engage.Weather
	state   engage.WeatherState
	err     error
}

// New makes a service. It does nothing until Run.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = clock.System{}.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxStale <= 0 {
		o.MaxStale = engage.MaxStaleWeather
	}
	if o.Rate <= 0 || o.Rate > MaxRate {
		o.Rate = MaxRate
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Workers <= 0 {
		o.Workers = 4
	}
	if o.MaxPending <= 0 {
		o.MaxPending = 4096
	}
	if o.MaxCells <= 0 {
		o.MaxCells = 10000
	}
	s := &Service{
		o:       o,
		limiter: rate.NewLimiter(rate.Limit(o.Rate), max(1, int(o.Rate))),
		jobs:    make(chan geo.Cell, o.MaxPending),
		answers: make(chan func(), o.MaxPending),
		cells:   map[geo.Cell]*cellState{},
		calls:   map[geo.Cell]*call{},
	}
	if o.Provider != nil {
		s.status.Enabled, s.status.Provider = true, o.Provider.Name()
	}
	return s
}

// Cached is the weather of a cell (resolution 5) as far as it is known: fresh,
// stale or absent. It asks nobody and does not wait.
func (s *Service) Cached(cell geo.Cell) (engage.Weather, engage.WeatherState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, _ := s.known(cell, s.o.Now())
	return r.weather, r.state
}

// Hours of a cell's forecast from an hour on, at most engage.MaxWeatherHours; none where
// nothing is known. It asks nobody and does not wait.
func (s *Service) Hours(cell geo.Cell, from time.Time) []engage.WeatherHour {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cells[cell]
	if c == nil || c.forecast == nil {
		return nil
	}
	return c.forecast.From(from)
}

// Get is the weather of a cell of resolution 5. A fresh one is answered at once;
// otherwise it waits for the provider, once for all who want the cell, or for
// ctx, and then answers a stale one if there is one. The error says why the
// weather is absent and is nil otherwise: an *engage.Error for a wrong cell, a
// *ProviderError, ErrDisabled, ErrBusy, ErrClosed, or that of ctx.
func (s *Service) Get(ctx context.Context, cell geo.Cell) (engage.Weather, engage.WeatherState, error) {
	answer := make(chan result, 1)
	s.mu.Lock()
	r, final := s.known(cell, s.o.Now())
	if !final {
		if err := s.join(cell, func(r result) { answer <- r }); err != nil {
			r, final = r.because(err), true
		}
	}
	s.mu.Unlock()
	if final {
		return r.weather, r.state, r.err
	}
	select {
	case r = <-answer:
	case <-ctx.Done():
		r = r.because(ctx.Err())
	}
	return r.weather, r.state, r.err
}

// Request asks for what Get answers, and never waits: f is called with it later,
// exactly once, on a goroutine of Run, one such call after the other. F must not
// block; it may call Request. When Run ends, what is still open is answered with
// what is known or ErrClosed. An error, ErrBusy or ErrClosed, means that f will
// not be called.
func (s *Service) Request(cell geo.Cell, f func(engage.Weather, engage.WeatherState, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.pending >= s.o.MaxPending:
		return ErrBusy
	}
	answer := func(r result) {
		s.answers <- func() { f(r.weather, r.state, r.err) }
	}
	r, final := s.known(cell, s.o.Now())
	if final {
		answer(r)
	} else if err := s.join(cell, answer); err != nil {
		return err
	}
	s.pending++
	return nil
}

// because is r with err as the reason, if there is no weather.
func (r result) because(err error) result {
	if r.state == engage.WeatherAbsent {
		r.err = err
	}
	return r
}

// known is what can be said of a cell without asking. Final means that asking
// makes no sense now.
func (s *Service) known(cell geo.Cell, now time.Time) (r result, final bool) {
	r.state = engage.WeatherAbsent
	c := s.cells[cell] // there are only valid ones, so the rest of the check is spared
	switch {
	case s.o.Provider == nil:
		return r.because(ErrDisabled), true
	case c == nil && (cell.Resolution() != engage.WeatherResolution || !cell.Valid()):
		return r.because(engage.Errorf(engage.Invalid, "cell", "must be an H3 cell of resolution %d", engage.WeatherResolution)), true
	}
	if c != nil {
		c.usedAt = now
		r = c.weather(cell, now, s.o.MaxStale)
	}
	switch {
	case r.state == engage.WeatherFresh:
		return r, true
	case c != nil && now.Before(c.retryAt):
		return r.because(c.err), true
	case now.Before(s.pausedUntil):
		return r.because(s.pauseErr), true
	case s.closed:
		return r.because(ErrClosed), true
	}
	return r, false
}

func (c *cellState) weather(cell geo.Cell, now time.Time, maxStale time.Duration) result {
	absent := result{state: engage.WeatherAbsent}
	if c.forecast == nil || !now.Before(c.freshUntil.Add(maxStale)) {
		return absent
	}
	w, ok := c.forecast.At(now)
	if !ok {
		return absent
	}
	w.Cell, w.FetchedAt, w.FreshUntil = cell, c.forecast.FetchedAt, c.freshUntil
	if now.Before(c.freshUntil) {
		return result{weather: w, state: engage.WeatherFresh}
	}
	return result{weather: w, state: engage.WeatherStale}
}

// join adds f to those who wait for the cell's call, and makes the call if there
// is none. The caller holds mu.
func (s *Service) join(cell geo.Cell, f func(result)) error {
	c := s.calls[cell]
	if c == nil {
		select {
		case s.jobs <- cell:
		default:
			return ErrBusy
		}
		c = &call{}
		s.calls[cell] = c
	}
	c.waiting = append(c.waiting, f)
	return nil
}

// Run serves until ctx ends, and returns nil when its goroutines have ended and
// every accepted Request is answered. It can run once.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.running || s.closed {
		s.mu.Unlock()
		return errors.New("the weather service runs already or has ended")
	}
	s.running = true
	s.mu.Unlock()

	var workers sync.WaitGroup
	for range s.o.Workers {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case cell := <-s.jobs:
					s.fetch(ctx, cell)
				}
			}
		})
	}
	// Answers come from here alone, so that a slow f delays no fetch, and f is
	// never called while a lock is held.
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		for f := range s.answers {
			f()
			s.mu.Lock()
			s.pending--
			s.mu.Unlock()
		}
	}()
	workers.Wait()
	<-ctx.Done()

	s.mu.Lock()
	s.running, s.closed = false, true
	for cell := range s.calls {
		s.finish(cell)
	}
	close(s.answers) // nobody sends any more: all senders look at closed, under mu
	s.mu.Unlock()
	<-answered
	if c, ok := s.o.Provider.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	return nil
}

// finish answers those who wait for the cell. The caller holds mu.
func (s *Service) finish(cell geo.Cell) {
	c := s.calls[cell]
	delete(s.calls, cell)
	r, final := s.known(cell, s.o.Now())
	if !final { // the clock moved past a pause, or past a life, meanwhile
		r = r.because(engage.Errorf(engage.Unavailable, "weather", "no weather for now"))
	}
	for _, f := range c.waiting {
		f(r)
	}
}

// fetch makes the call for a cell.
func (s *Service) fetch(ctx context.Context, cell geo.Cell) {
	s.mu.Lock()
	var kept *Forecast
	if c := s.cells[cell]; c != nil {
		kept = c.forecast
	}
	s.mu.Unlock()

	f, err := s.ask(ctx, cell, kept)
	if err == nil && kept != nil {
		if _, ok := f.At(s.o.Now()); !ok {
			// Unchanged for so long that it says nothing of now: ask anew.
			f, err = s.ask(ctx, cell, nil)
		}
	}
	if err == nil {
		if _, ok := f.At(s.o.Now()); !ok {
			err = &ProviderError{Provider: s.status.Provider, Err: engage.Errorf(engage.Invalid, "properties.timeseries", "has no hour for now")}
		}
	}
	if ctx.Err() != nil {
		return // Run answers, when all workers have ended
	}
	s.learn(ctx, cell, f, err)
}

// ask asks the provider as soon as the rate allows. After a pause that began
// while it waited it does not ask.
func (s *Service) ask(ctx context.Context, cell geo.Cell, kept *Forecast) (*Forecast, error) {
	if err := s.limiter.Wait(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.o.Now().Before(s.pausedUntil) {
		defer s.mu.Unlock()
		return nil, errPaused{s.pauseErr}
	}
	s.status.Requests++
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	f, err := s.o.Provider.Fetch(ctx, cell, kept)
	if err == nil && f == nil {
		err = &ProviderError{Provider: s.status.Provider, Err: engage.Errorf(engage.Internal, "", "the provider gave neither forecast nor error")}
	}
	return f, err
}

// errPaused: not asked, because of a pause for that reason.
type errPaused struct{ error }

// learn keeps what came of a fetch and answers those who wait.
func (s *Service) learn(ctx context.Context, cell geo.Cell, f *Forecast, err error) {
	jitter := min(max(s.o.Jitter(), 0), 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	if paused := (errPaused{}); errors.As(err, &paused) {
		s.finish(cell)
		return
	}
	c := s.cells[cell]
	if c == nil {
		s.makeRoom(now)
		c = &cellState{usedAt: now}
		s.cells[cell] = c
	}
	if err == nil {
		spread := min(f.Expires.Sub(f.FetchedAt)/10, maxJitter)
		c.forecast, c.freshUntil = f, f.Expires.Add(time.Duration(jitter*float64(spread)))
		c.failures, c.retryAt, c.err = 0, time.Time{}, nil
		s.status.LastSuccess, s.status.Deprecated = now, f.Deprecated
		if s.failing {
			s.failing = false
			s.o.Logger.InfoContext(ctx, "weather provider answers again", "provider", s.status.Provider)
		}
		s.finish(cell)
		return
	}
	c.failures++
	pause, everywhere := pauseAfter(err, c.failures)
	c.retryAt, c.err = now.Add(pause), err
	if everywhere && c.retryAt.After(s.pausedUntil) {
		s.pausedUntil, s.pauseErr = c.retryAt, err
	}
	s.status.Failures++
	s.status.LastFailure, s.status.LastError = now, err.Error()
	if !s.failing { // the first of a row; the rest is in Status
		s.failing = true
		s.o.Logger.WarnContext(ctx, "weather provider fails", "provider", s.status.Provider, "error", err, "code", engage.CodeOf(err), "pause", pause, "all_cells", everywhere)
	}
	s.finish(cell)
}

// makeRoom keeps the cache within its bound: what is no longer of use goes, else
// what was not used for longest. The caller holds mu.
func (s *Service) makeRoom(now time.Time) {
	if len(s.cells) < s.o.MaxCells {
		return
	}
	var oldest geo.Cell
	for cell, c := range s.cells {
		if c.weather(cell, now, s.o.MaxStale).state == engage.WeatherAbsent && !now.Before(c.retryAt) {
			delete(s.cells, cell)
			continue
		}
		o := s.cells[oldest]
		if o == nil || c.usedAt.Before(o.usedAt) || c.usedAt.Equal(o.usedAt) && cell < oldest {
			oldest = cell
		}
	}
	if len(s.cells) >= s.o.MaxCells {
		delete(s.cells, oldest)
	}
}

// Status is how the service does, for the API and for metrics.
type Status struct {
	Enabled     bool      `json:"enabled"` // a provider is configured
	Provider    string    `json:"provider,omitempty"`
	Deprecated  bool      `json:"deprecated,omitempty"` // the provider will withdraw the product we ask for
	Fresh       int       `json:"fresh"`                // cells with fresh weather
	Stale       int       `json:"stale"`                // cells with weather beyond its freshness that is still served
	Pending     int       `json:"pending"`              // cells that are being asked for or wait for it
	Requests    uint64    `json:"requests"`             // to the provider
	Failures    uint64    `json:"failures"`             // of those, without a usable answer
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	LastError   string    `json:"last_error,omitempty"`  // of LastFailure; stays after a success
	PausedUntil time.Time `json:"paused_until,omitzero"` // the provider is asked for no cell before; zero means it may be asked
	OldestFetch time.Time `json:"oldest_fetch,omitzero"` // among the fresh and stale: when the provider last confirmed it
	Now         time.Time `json:"now"`                   // by the service's clock, to take ages from
}

// Age is how long ago the oldest served weather was confirmed; 0 if there is
// none.
func (s Status) Age() time.Duration {
	if s.OldestFetch.IsZero() {
		return 0
	}
	return s.Now.Sub(s.OldestFetch)
}

// Status tells how the service does.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	st := s.status
	st.Now, st.Pending = now, len(s.calls)
	if now.Before(s.pausedUntil) {
		st.PausedUntil = s.pausedUntil
	}
	for cell, c := range s.cells {
		switch c.weather(cell, now, s.o.MaxStale).state {
		case engage.WeatherFresh:
			st.Fresh++
		case engage.WeatherStale:
			st.Stale++
		default:
			continue
		}
		if at := c.forecast.FetchedAt; st.OldestFetch.IsZero() || at.Before(st.OldestFetch) {
			st.OldestFetch = at
		}
	}
	return st
}
