package weather

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// cellsOf returns n different cells of resolution 5.
func cellsOf(t testing.TB, n int) []geo.Cell {
	t.Helper()
	cells := make([]geo.Cell, n)
	for i := range cells {
		c, err := geo.CellOf(geo.Point{Lat: float64(i/50) - 40, Lng: float64(i % 50)}, engage.WeatherResolution)
		if err != nil {
			t.Fatal(err)
		}
		cells[i] = c
	}
	return cells
}

// fake is a provider whose answers take some time and may fail. Its forecasts
// live 30 minutes and tell the number of the fetch as the temperature.
type fake struct {
	takes time.Duration

	mu      sync.Mutex
	fetches int
	under   int // way
	most    int // under way at once
	kept    []bool
	err     error
	hours   int // of a forecast; 0 means keepHours
	old     bool
}

func (*fake) Name() string { return "fake" }

func (p *fake) Fetch(ctx context.Context, _ geo.Cell, kept *Forecast) (*Forecast, error) {
	p.mu.Lock()
	p.fetches++
	n := p.fetches
	p.under++
	p.most = max(p.most, p.under)
	p.kept = append(p.kept, kept != nil)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.under--
		p.mu.Unlock()
	}()
	if p.takes > 0 {
		t := time.NewTimer(p.takes)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, &ProviderError{Provider: "fake", Err: &engage.Error{Code: engage.Unavailable, Msg: "slow", Err: ctx.Err()}}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	now := time.Now()
	if p.old && kept != nil {
		renewed := *kept
		renewed.FetchedAt, renewed.Expires = now, now.Add(30*time.Minute)
		return &renewed, nil
	}
	f := &Forecast{Provider: "fake", FetchedAt: now, Expires: now.Add(30 * time.Minute)}
	hours := p.hours
	if hours == 0 {
		hours = keepHours
	}
	for i := range hours {
		f.Hours = append(f.Hours, Hour{At: now.Truncate(time.Hour).Add(time.Duration(i) * time.Hour), Condition: Rain, TemperatureC: float64(n)})
	}
	return f, nil
}

func (p *fake) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *fake) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// inBubble runs f in a synctest bubble with a running service.
func inBubble(t *testing.T, p Provider, o Options, f func(t *testing.T, s *Service)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if p != nil {
			o.Provider = p
		}
		if o.Jitter == nil {
			o.Jitter = func() float64 { return 0 }
		}
		s := New(o)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		f(t, s)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// pass lets the bubble's time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

var errDown = &ProviderError{Provider: "fake", Status: 503, Err: engage.Errorf(engage.Unavailable, "", "down")}

func TestManyWhoWantOneCellShareOneFetch(t *testing.T) {
	p := &fake{takes: time.Second}
	inBubble(t, p, Options{}, func(t *testing.T, s *Service) {
		cell := cellsOf(t, 1)[0]
		var wg sync.WaitGroup
		answered := 0
		for range 50 {
			wg.Go(func() {
				if w, state, err := s.Get(t.Context(), cell); err != nil || state != engage.WeatherFresh || w.TemperatureC != 1 || w.Cell != cell {
					t.Errorf("%+v %s %v", w, state, err)
				}
			})
			if err := s.Request(cell, func(w engage.Weather, state engage.WeatherState, err error) {
				answered++
				if err != nil || state != engage.WeatherFresh || w.TemperatureC != 1 {
					t.Errorf("%+v %s %v", w, state, err)
				}
			}); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		synctest.Wait()
		if p.count() != 1 || answered != 50 {
			t.Errorf("%d fetches, %d answers", p.count(), answered)
		}
	})
}

func TestFreshIsServedUntilExpiresAndJitterThenAskedOnce(t *testing.T) {
	p := &fake{}
	inBubble(t, p, Options{Jitter: func() float64 { return 0.5 }}, func(t *testing.T, s *Service) {
		cell := cellsOf(t, 1)[0]
		begin := time.Now()
		w, _, err := s.Get(t.Context(), cell)
		// Half of the jitter, which is the smaller of a tenth of the life and 2 min.
		if err != nil || !w.FreshUntil.Equal(begin.Add(31*time.Minute)) {
			t.Fatalf("%+v, %v", w, err)
		}
		pass(31*time.Minute - time.Second)
		if _, state, _ := s.Get(t.Context(), cell); state != engage.WeatherFresh || p.count() != 1 {
			t.Errorf("%s, %d fetches", state, p.count())
		}
		pass(time.Second)
		if _, state := s.Cached(cell); state != engage.WeatherStale || p.count() != 1 {
			t.Errorf("%s, %d fetches", state, p.count())
		}
		if w, state, _ := s.Get(t.Context(), cell); state != engage.WeatherFresh || w.TemperatureC != 2 || !p.kept[1] {
			t.Errorf("%+v %s", w, state)
		}
	})
}

func TestHourTurnsWithoutAskingAgain(t *testing.T) {
	p := &fake{}
	inBubble(t, p, Options{}, func(t *testing.T, s *Service) {
		cell := cellsOf(t, 1)[0]
		pass(50*time.Minute - time.Duration(time.Now().UnixNano())%time.Hour) // the bubble begins on the hour
		first, _, _ := s.Get(t.Context(), cell)
		pass(20 * time.Minute)
		second, state := s.Cached(cell)
		if state != engage.WeatherFresh || second.At.Sub(first.At) != time.Hour || p.count() != 1 {
			t.Errorf("from %v to %v, %s, %d fetches", first.At, second.At, state, p.count())
		}
	})
}

func TestStaleIsServedThreeHoursAndMarked(t *testing.T) {
	p := &fake{}
	var log bytes.Buffer
	inBubble(t, p, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(t *testing.T, s *Service) {
		cell := cellsOf(t, 1)[0]
		if _, _, err := s.Get(t.Context(), cell); err != nil {
			t.Fatal(err)
		}
		p.fail(errDown)
		pass(30*time.Minute + 3*time.Hour - time.Second)
		w, state, err := s.Get(t.Context(), cell)
		if err != nil || state != engage.WeatherStale || w.TemperatureC != 1 {
			t.Errorf("%+v %s %v", w, state, err)
		}
		pass(time.Second)
		w, state, err = s.Get(t.Context(), cell)
		if !errors.Is(err, errDown) || state != engage.WeatherAbsent || w != (engage.Weather{}) {
			t.Errorf("%+v %s %v", w, state, err)
		}
		p.fail(nil)
		pass(pauseLongest)
		if _, state, err = s.Get(t.Context(), cell); err != nil || state != engage.WeatherFresh {
			t.Errorf("%s %v", state, err)
		}
		if strings.Count(log.String(), "level=WARN") != 1 || strings.Count(log.String(), "answers again") != 1 {
			t.Errorf("log:\n%s", &log)
		}
	})
}

func TestFailedCellIsLeftAloneEachTimeLonger(t *testing.T) {
	p := &fake{err: errDown}
	inBubble(t, p, Options{}, func(t *testing.T, s *Service) {
		cell := cellsOf(t, 1)[0]
		for i, pause := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
			for range 3 {
				if _, state, err := s.Get(t.Context(), cell); state != engage.WeatherAbsent || !errors.Is(err, errDown) {
					t.Errorf("%s %v", state, err)
				}
			}
			pass(pause - time.Nanosecond)
			if _, _, err := s.Get(t.Context(), cell); err == nil || p.count() != i+1 {
				t.Errorf("failure %d: %d fetches", i+1, p.count())
			}
			pass(time.Nanosecond)
		}
		p.fail(nil)
		other := cellsOf(t, 2)[1]
		if _, state, err := s.Get(t.Context(), other); state != engage.WeatherFresh {
			t.Errorf("another cell: %s %v", state, err)
		}
		if _, state, err := s.Get(t.Context(), cell); state != engage.WeatherFresh {
			t.Errorf("the cell: %s %v", state, err)
		}
		// A success ends the row: the next failure counts as the first again.
		pass(30 * time.Minute)
		p.fail(errDown)
		before := p.count()
		for range 2 {
			if _, state, err := s.Get(t.Context(), cell); state != engage.WeatherStale || err != nil {
				t.Errorf("%s %v", state, err)
			}
			pass(pauseFirst)
		}
		if n := p.count() - before; n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

func TestWhatConcernsAllCellsPausesAll(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		pause time.Duration
	}{
		{"rate limited", &ProviderError{Status: 429, Err: engage.Errorf(engage.RateLimited, "", "slow down")}, time.Minute},
		{"rate limited for long", &ProviderError{Status: 429, RetryAfter: 2 * time.Hour, Err: engage.Errorf(engage.RateLimited, "", "slow down")}, 2 * time.Hour},
		{"refused", &ProviderError{Status: 403, Err: engage.Errorf(engage.Forbidden, "", "who are you")}, 10 * time.Minute},
		{"down for a while", &ProviderError{Status: 503, RetryAfter: 7 * time.Minute, Err: engage.Errorf(engage.Unavailable, "", "upgrade")}, 7 * time.Minute},
	} {
		p := &fake{err: c.err}
		inBubble(t, p, Options{}, func(t *testing.T, s *Service) {
			cells := cellsOf(t, 3)
			begin := time.Now()
			for _, cell := range cells {
				if _, _, err := s.Get(t.Context(), cell); !errors.Is(err, c.err) {
					t.Errorf("%s: %v", c.name, err)
				}
			}
			if st := s.Status(); p.count() != 1 || !st.PausedUntil.Equal(begin.Add(c.pause)) || st.Failures != 1 || st.LastError != c.err.Error() {
				t.Errorf("%s: %d fetches, %+v", c.name, p.count(), st)
			}
			p.fail(nil)
			pass(c.pause)
			if _, state, err := s.Get(t.Context(), cells[1]); state != engage.WeatherFresh {
				t.Errorf("%s: after the pause %s %v", c.name, state, err)
			}
		})
	}
}

func TestPauseReachesThoseWhoWaitForTheRate(t *testing.T) {
	p := &fake{takes: 100 * time.Millisecond, err: &ProviderError{Status: 429, Err: engage.Errorf(engage.RateLimited, "", "slow down")}}
	inBubble(t, p, Options{Rate: 1, Workers: 8}, func(t *testing.T, s *Service) {
		var wg sync.WaitGroup
		for _, cell := range cellsOf(t, 20) {
			wg.Go(func() {
				if _, _, err := s.Get(t.Context(), cell); engage.CodeOf(err) != engage.RateLimited {
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		if p.count() != 1 {
			t.Errorf("%d fetches after the first 429", p.count())
		}
	})
}

func TestNoMoreThanTenRequestsASecond(t *testing.T) {
	p := &fake{}
	inBubble(t, p, Options{Rate: 1000}, func(t *testing.T, s *Service) {
		begin := time.Now()
		var wg sync.WaitGroup
		for _, cell := range cellsOf(t, 60) {
			wg.Go(func() {
				if _, state, err := s.Get(t.Context(), cell); state != engage.WeatherFresh {
					t.Errorf("%s %v", state, err)
				}
			})
		}
		wg.Wait()
		// Ten at once, then ten a second.
		if took := time.Since(begin); took < 5*time.Second || took > 6*time.Second || p.count() != 60 {
			t.Errorf("%d fetches in %v", p.count(), took)
		}
	})
}

func TestRequestNeverWaits(t *testing.T) {
	p := &fake{takes: time.Hour}
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Provider: p, MaxPending: 3, Workers: 1, Timeout: 2 * time.Hour})
		cells := cellsOf(t, 4)
		answers := map[geo.Cell]error{}
		ask := func(cell geo.Cell) error {
			return s.Request(cell, func(_ engage.Weather, _ engage.WeatherState, err error) { answers[cell] = err })
		}
		for i, cell := range cells { // nobody serves yet
			if err := ask(cell); (i < 3 && err != nil) || (i == 3 && !errors.Is(err, ErrBusy)) {
				t.Errorf("request %d: %v", i, err)
			}
		}
		// A call that waits is bounded too, by the cells.
		if _, _, err := s.Get(t.Context(), cells[3]); !errors.Is(err, ErrBusy) {
			t.Errorf("get: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		pass(90 * time.Minute) // the first is answered, the second under way
		if err, ok := answers[cells[0]]; !ok || err != nil || len(answers) != 1 {
			t.Errorf("answers %v", answers)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(answers) != 3 || !errors.Is(answers[cells[1]], ErrClosed) || !errors.Is(answers[cells[2]], ErrClosed) {
			t.Errorf("answers %v", answers)
		}
		if err := ask(cells[3]); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		if _, state, err := s.Get(t.Context(), cells[3]); !errors.Is(err, ErrClosed) || state != engage.WeatherAbsent {
			t.Errorf("after the end: %s %v", state, err)
		}
		if _, state, err := s.Get(t.Context(), cells[0]); err != nil || state == engage.WeatherAbsent {
			t.Errorf("after the end, known: %s %v", state, err)
		}
		if err := s.Run(t.Context()); err == nil {
			t.Error("ran twice")
		}
	})
}

func TestAnAnswerMayRequest(t *testing.T) {
	p := &fake{}
	inBubble(t, p, Options{MaxPending: 2}, func(t *testing.T, s *Service) {
		cells := cellsOf(t, 2)
		var order []string
		err := s.Request(cells[0], func(engage.Weather, engage.WeatherState, error) {
			order = append(order, "first")
			if err := s.Request(cells[1], func(engage.Weather, engage.WeatherState, error) { order = append(order, "second") }); err != nil {
				t.Error(err)
			}
			if err := s.Request(cells[0], func(engage.Weather, engage.WeatherState, error) { order = append(order, "cached") }); !errors.Is(err, ErrBusy) {
				t.Errorf("a third while two are open: %v", err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := fmt.Sprint(order); got != "[first second]" {
			t.Errorf("%v", got)
		}
	})
}

func TestDisabledServiceAnswersAbsentAtOnce(t *testing.T) {
	inBubble(t, nil, Options{}, func(t *testing.T, s *Service) {
		cell := cellsOf(t, 1)[0]
		begin := time.Now()
		if _, state, err := s.Get(t.Context(), cell); state != engage.WeatherAbsent || !errors.Is(err, ErrDisabled) || engage.CodeOf(err) != engage.Unsupported {
			t.Errorf("%s %v", state, err)
		}
		var got error
		if err := s.Request(cell, func(_ engage.Weather, _ engage.WeatherState, err error) { got = err }); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !errors.Is(got, ErrDisabled) || time.Since(begin) != 0 {
			t.Errorf("%v after %v", got, time.Since(begin))
		}
		if st := s.Status(); st.Enabled || st.Requests != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestCallerMayGiveUpWaiting(t *testing.T) {
	p := &fake{takes: 5 * time.Second}
	inBubble(t, p, Options{}, func(t *testing.T, s *Service) {
		cell := cellsOf(t, 1)[0]
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, state, err := s.Get(ctx, cell); state != engage.WeatherAbsent || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s %v", state, err)
		}
		pass(4 * time.Second) // the fetch goes on for whoever comes next
		if _, state := s.Cached(cell); state != engage.WeatherFresh {
			t.Errorf("%s", state)
		}
		pass(time.Hour)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, state, err := s.Get(ctx, cell); state != engage.WeatherStale || err != nil {
			t.Errorf("with something stale at hand: %s %v", state, err)
		}
	})
}

func TestSlowProviderRunsIntoTheTimeout(t *testing.T) {
	p := &fake{takes: time.Hour}
	inBubble(t, p, Options{Timeout: 3 * time.Second}, func(t *testing.T, s *Service) {
		begin := time.Now()
		_, state, err := s.Get(t.Context(), cellsOf(t, 1)[0])
		if state != engage.WeatherAbsent || !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 3*time.Second {
			t.Errorf("%s %v after %v", state, err, time.Since(begin))
		}
	})
}

func TestOnlyCellsOfResolutionFiveAreAsked(t *testing.T) {
	p := &fake{}
	inBubble(t, p, Options{}, func(t *testing.T, s *Service) {
		fine, err := geo.CellOf(geo.Point{Lat: 52, Lng: 5}, 9)
		if err != nil {
			t.Fatal(err)
		}
		for _, cell := range []geo.Cell{0, fine, fine.Parent(4), 0x85ffffffffffffff} {
			var e *engage.Error
			if _, state, err := s.Get(t.Context(), cell); state != engage.WeatherAbsent || !errors.As(err, &e) || e.Code != engage.Invalid || e.Field != "cell" {
				t.Errorf("%x: %s %v", uint64(cell), state, err)
			}
		}
		if p.count() != 0 {
			t.Errorf("%d fetches", p.count())
		}
	})
}

func TestUnchangedForecastThatSaysNothingOfNowIsAskedAnew(t *testing.T) {
	p := &fake{hours: 1, old: true}
	inBubble(t, p, Options{}, func(t *testing.T, s *Service) {
		cell := cellsOf(t, 1)[0]
		if _, _, err := s.Get(t.Context(), cell); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Hour)
		w, state, err := s.Get(t.Context(), cell)
		if err != nil || state != engage.WeatherFresh || w.TemperatureC != 3 || fmt.Sprint(p.kept) != "[false true false]" {
			t.Errorf("%+v %s %v, kept %v", w, state, err, p.kept)
		}
	})
}

func TestForecastWithoutNowIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Provider: fetchFunc(func() (*Forecast, error) { return &Forecast{Expires: time.Now().Add(time.Hour)}, nil })})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		cell := cellsOf(t, 1)[0]
		var e *engage.Error
		if _, state, err := s.Get(t.Context(), cell); state != engage.WeatherAbsent || !errors.As(err, &e) || e.Code != engage.Invalid || e.Field != "properties.timeseries" {
			t.Errorf("%s %v", state, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// fetchFunc is a Provider.
type fetchFunc func() (*Forecast, error)

func (fetchFunc) Name() string { return "func" }

func (f fetchFunc) Fetch(context.Context, geo.Cell, *Forecast) (*Forecast, error) { return f() }

func TestCacheStaysWithinItsBound(t *testing.T) {
	p := &fake{}
	inBubble(t, p, Options{MaxCells: 5}, func(t *testing.T, s *Service) {
		cells := cellsOf(t, 12)
		for _, cell := range cells {
			if _, _, err := s.Get(t.Context(), cell); err != nil {
				t.Error(err)
			}
			pass(time.Second)
			s.Cached(cells[0]) // somebody looks at it again and again
		}
		if st := s.Status(); st.Fresh != 5 {
			t.Errorf("%d cells cached", st.Fresh)
		}
		if _, state := s.Cached(cells[0]); state != engage.WeatherFresh {
			t.Error("the cell in use was thrown out")
		}
		pass(4 * time.Hour) // all are of no use: one new cell sweeps them out
		if _, _, err := s.Get(t.Context(), cells[1]); err != nil {
			t.Error(err)
		}
		if n := len(s.cells); n != 2 && n != 1 {
			t.Errorf("%d cells kept", n)
		}
	})
}

func TestStatusTellsHowItDoes(t *testing.T) {
	p := &fake{}
	inBubble(t, p, Options{}, func(t *testing.T, s *Service) {
		cells := cellsOf(t, 2)
		begin := time.Now()
		if st := s.Status(); st.Age() != 0 || !st.Enabled || st.Provider != "fake" {
			t.Errorf("%+v", st)
		}
		for _, cell := range cells {
			if _, _, err := s.Get(t.Context(), cell); err != nil {
				t.Error(err)
			}
			pass(20 * time.Minute)
		}
		st := s.Status()
		if st.Fresh != 1 || st.Stale != 1 || st.Requests != 2 || st.Failures != 0 || st.Age() != 40*time.Minute || !st.LastSuccess.Equal(begin.Add(20*time.Minute)) || !st.PausedUntil.IsZero() {
			t.Errorf("%+v", st)
		}
	})
}

func TestEverybodyIsAnsweredExactlyOnceWhateverHappens(t *testing.T) {
	p := &fake{takes: 300 * time.Millisecond}
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Provider: p, MaxPending: 16, MaxCells: 8})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		cells := cellsOf(t, 12)
		var mu sync.Mutex
		accepted, answered := 0, map[int]int{}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 100 {
					id, cell := g*1000+i, cells[(g*7+i*5)%len(cells)]
					switch i % 4 {
					case 0:
						ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*10*time.Millisecond)
						_, _, _ = s.Get(ctx, cell)
						cancel()
					case 1:
						s.Status()
						s.Cached(cell)
					default:
						err := s.Request(cell, func(engage.Weather, engage.WeatherState, error) {
							mu.Lock()
							defer mu.Unlock()
							answered[id]++
						})
						if err == nil {
							mu.Lock()
							accepted++
							mu.Unlock()
						}
					}
					<-time.After(time.Duration(i%3) * 40 * time.Millisecond)
					if g == 0 && i == 50 {
						cancel()
					}
					if g == 1 && i%20 == 0 {
						p.fail(map[bool]error{true: errDown}[i%40 == 0])
					}
				}
			})
		}
		wg.Wait()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(answered) != accepted || accepted == 0 {
			t.Errorf("%d accepted, %d answered", accepted, len(answered))
		}
		for id, n := range answered {
			if n != 1 {
				t.Errorf("request %d was answered %d times", id, n)
			}
		}
	})
}

func BenchmarkCached(b *testing.B) {
	cell := cellsOf(b, 1)[0]
	s := New(Options{Provider: &fake{}})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	if _, _, err := s.Get(b.Context(), cell); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.Cached(cell)
	}
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}
