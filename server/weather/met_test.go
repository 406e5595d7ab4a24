package weather_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/weather"
	"github.com/footfall-engage/footfall/server/weather/weathersim"
)

var morning = time.Date(2026, 3, 14, 9, 20, 0, 0, time.UTC)

const contact = "ops@shop.example"

func cellAt(t testing.TB, lat, lng float64, res int) geo.Cell {
	t.Helper()
	c, err := geo.CellOf(geo.Point{Lat: lat, Lng: lng}, res)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func startSim(t *testing.T, o weathersim.Options) *weathersim.Server {
	t.Helper()
	s, err := weathersim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newMet(t *testing.T, o weather.MetOptions) *weather.MetNorway {
	t.Helper()
	if o.Contact == "" {
		o.Contact = contact
	}
	if o.Now == nil {
		o.Now = clock.NewManual(morning).Now
	}
	m, err := weather.NewMetNorway(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.CloseIdleConnections)
	return m
}

func TestContactIsRequired(t *testing.T) {
	for _, c := range []struct {
		o     weather.MetOptions
		field string // empty means that it is taken
	}{
		{weather.MetOptions{}, "weather.contact"},
		{weather.MetOptions{Contact: "me"}, "weather.contact"},
		{weather.MetOptions{Contact: "ops@shop.example\r\nX-Evil: 1"}, "weather.contact"},
		{weather.MetOptions{Contact: "öps@shop.example"}, "weather.contact"},
		{weather.MetOptions{Contact: strings.Repeat("a", 200) + "@b.example"}, "weather.contact"},
		{weather.MetOptions{Contact: contact}, ""},
		{weather.MetOptions{Contact: "https://shop.example/contact"}, ""},
		{weather.MetOptions{Contact: "shop.example"}, ""},
		{weather.MetOptions{Contact: contact, Version: "1 0"}, "weather.version"},
		{weather.MetOptions{Contact: contact, BaseURL: "api.met.no"}, "weather.base_url"},
		{weather.MetOptions{Contact: contact, BaseURL: "ftp://api.met.no"}, "weather.base_url"},
		{weather.MetOptions{Contact: contact, BaseURL: "https://user:secret@api.met.no"}, "weather.base_url"},
		{weather.MetOptions{Contact: contact, BaseURL: "https://cache.example/met/"}, ""},
	} {
		_, err := weather.NewMetNorway(c.o)
		if c.field == "" {
			if err != nil {
				t.Errorf("%+v: %v", c.o, err)
			}
			continue
		}
		var e *engage.Error
		if !errors.As(err, &e) || e.Code != engage.Invalid || e.Field != c.field {
			t.Errorf("%+v: %v, want field %s", c.o, err, c.field)
		}
	}
}

func TestProviderSeesOnlyTheCellsCentreWithFourDecimals(t *testing.T) {
	sim := startSim(t, weathersim.Options{Now: clock.NewManual(morning).Now})
	m := newMet(t, weather.MetOptions{BaseURL: sim.URL(), Version: "1.2.3"})
	// A person's own cell, some square metres: the provider is to learn nothing of it.
	own := cellAt(t, 52.370216, 4.895168, 12)
	f, err := m.Fetch(t.Context(), own, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f.Provider != "met.no" || !strings.Contains(f.Attribution, "MET Norway") || !strings.Contains(f.Attribution, "CC BY 4.0") {
		t.Errorf("provider %q, attribution %q", f.Provider, f.Attribution)
	}
	got := sim.Requests()[0]
	centre := own.Parent(engage.WeatherResolution).Center()
	if got.Lat != fmt.Sprintf("%.4f", centre.Lat) || got.Lng != fmt.Sprintf("%.4f", centre.Lng) {
		t.Errorf("asked for %s %s, want the centre %.4f %.4f", got.Lat, got.Lng, centre.Lat, centre.Lng)
	}
	if got.UserAgent != "footfall/1.2.3 ops@shop.example" || !got.Gzip || got.Path != "/weatherapi/locationforecast/2.0/complete" {
		t.Errorf("%+v", got)
	}
	if _, err := m.Fetch(t.Context(), 0, nil); engage.CodeOf(err) != engage.Invalid {
		t.Errorf("no cell: %v", err)
	}
}

func TestNobodyAsksBeforeExpiresAndThenWithTheExactLastModified(t *testing.T) {
	now := clock.NewManual(morning)
	sim := startSim(t, weathersim.Options{Now: now.Now})
	m := newMet(t, weather.MetOptions{BaseURL: sim.URL(), Now: now.Now})
	cell := cellAt(t, 52.37, 4.89, 5)
	first, err := m.Fetch(t.Context(), cell, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := morning.Add(30 * time.Minute); !first.Expires.Equal(want) || first.Validator != "Sat, 14 Mar 2026 09:00:00 GMT" {
		t.Fatalf("expires %v, want %v; validator %q", first.Expires, want, first.Validator)
	}
	now.Advance(30*time.Minute - time.Second)
	if again, err := m.Fetch(t.Context(), cell, first); err != nil || again != first || sim.Count() != 1 {
		t.Fatalf("before Expires: %v, %d requests", err, sim.Count())
	}
	now.Advance(time.Second)
	second, err := m.Fetch(t.Context(), cell, first)
	if err != nil {
		t.Fatal(err)
	}
	req := sim.Requests()[1]
	if req.Status != 304 || req.IfModifiedSince != first.Validator {
		t.Errorf("%+v", req)
	}
	if &second.Hours[0] != &first.Hours[0] || !second.Expires.Equal(morning.Add(time.Hour)) || !second.FetchedAt.Equal(now.Now()) {
		t.Errorf("not a renewal: expires %v, fetched %v", second.Expires, second.FetchedAt)
	}
	if !first.Expires.Equal(morning.Add(30 * time.Minute)) {
		t.Error("the first forecast was changed")
	}
	now.Advance(30 * time.Minute) // 10:20: the model has run again
	third, err := m.Fetch(t.Context(), cell, second)
	if err != nil {
		t.Fatal(err)
	}
	if third.Validator != "Sat, 14 Mar 2026 10:00:00 GMT" || !third.Hours[0].At.Equal(morning.Truncate(time.Hour).Add(time.Hour)) {
		t.Errorf("validator %q, first hour %v", third.Validator, third.Hours[0].At)
	}
}

// answering is a provider that answers as told.
func answering(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestFreshnessIsTakenFromTheProvidersOwnClock(t *testing.T) {
	ahead := morning.Add(40 * time.Minute) // the provider's clock is ahead by that
	for _, c := range []struct {
		name   string
		header map[string]string
		want   time.Duration
	}{
		{"lifetime is Expires less Date", map[string]string{"Date": httpTime(ahead), "Expires": httpTime(ahead.Add(25 * time.Minute))}, 25 * time.Minute},
		{"less the time in a shared cache", map[string]string{"Date": httpTime(ahead), "Expires": httpTime(ahead.Add(25 * time.Minute)), "Age": "300"}, 20 * time.Minute},
		{"over on arrival", map[string]string{"Date": httpTime(ahead), "Expires": httpTime(ahead.Add(-time.Minute))}, time.Minute},
		{"absent", map[string]string{"Date": httpTime(ahead)}, 30 * time.Minute},
		{"not a date", map[string]string{"Date": httpTime(ahead), "Expires": "0"}, 30 * time.Minute},
		{"beyond reason", map[string]string{"Date": httpTime(ahead), "Expires": httpTime(ahead.AddDate(50, 0, 0))}, 24 * time.Hour},
	} {
		srv := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range c.header {
				w.Header().Set(k, v)
			}
			_, _ = w.Write([]byte(`{"properties":{"meta":{"updated_at":"2026-03-14T08:00:00Z"},"timeseries":[]}}`))
		})
		f, err := newMet(t, weather.MetOptions{BaseURL: srv.URL}).Fetch(t.Context(), cellAt(t, 52.37, 4.89, 5), nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := f.Expires.Sub(morning); got != c.want {
			t.Errorf("%s: fresh for %v, want %v", c.name, got, c.want)
		}
	}
}

func httpTime(at time.Time) string { return at.UTC().Format(http.TimeFormat) }

func TestRefusalsAreTypedAndCarryRetryAfter(t *testing.T) {
	cell := cellAt(t, 52.37, 4.89, 5)
	for _, c := range []struct {
		status     int
		retryAfter string
		code       engage.Code
		want       time.Duration
	}{
		{401, "", engage.Forbidden, 0},
		{403, "", engage.Forbidden, 0},
		{429, "90", engage.RateLimited, 90 * time.Second},
		{429, httpTime(morning.Add(10 * time.Minute)), engage.RateLimited, 10 * time.Minute},
		{429, httpTime(morning.Add(-10 * time.Minute)), engage.RateLimited, 0},
		{429, "soon", engage.RateLimited, 0},
		{429, "-5", engage.RateLimited, 0},
		{503, "99999999", engage.Unavailable, 24 * time.Hour},
		{500, "", engage.Unavailable, 0},
		{502, "", engage.Unavailable, 0},
		{400, "", engage.Invalid, 0},
		{422, "", engage.Invalid, 0},
		{204, "", engage.Invalid, 0},
		{304, "", engage.Invalid, 0}, // although we had nothing
	} {
		srv := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.retryAfter != "" {
				w.Header().Set("Retry-After", c.retryAfter)
			}
			w.WriteHeader(c.status)
		})
		_, err := newMet(t, weather.MetOptions{BaseURL: srv.URL}).Fetch(t.Context(), cell, nil)
		var pe *weather.ProviderError
		if !errors.As(err, &pe) || pe.Status != c.status || pe.RetryAfter != c.want || engage.CodeOf(err) != c.code || pe.Provider != "met.no" {
			t.Errorf("%d %q: %v (%+v), want %s after %v", c.status, c.retryAfter, err, pe, c.code, c.want)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") })
	srv := answering(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.RequestURI(), http.StatusFound)
	})
	if _, err := newMet(t, weather.MetOptions{BaseURL: srv.URL}).Fetch(t.Context(), cellAt(t, 52.37, 4.89, 5), nil); engage.CodeOf(err) != engage.Invalid {
		t.Errorf("%v", err)
	}
}

func TestBadBodiesAreRefused(t *testing.T) {
	packed := func(b []byte) []byte {
		var buf bytes.Buffer
		zw := gzip.NewWriter(&buf)
		_, _ = zw.Write(b)
		_ = zw.Close()
		return buf.Bytes()
	}
	large := bytes.Repeat([]byte(" "), 4<<20+1)
	for _, c := range []struct {
		name, encoding string
		body           []byte
		code           engage.Code
	}{
		{"too large", "", large, engage.TooLarge},
		{"a bomb", "gzip", packed(large), engage.TooLarge},
		{"not gzip", "gzip", []byte("{}"), engage.Unavailable},
		{"gzip that breaks off", "gzip", packed(large)[:100], engage.Unavailable},
		{"unasked encoding", "br", []byte("{}"), engage.Unavailable},
		{"not JSON", "", []byte("<html>"), engage.Invalid},
		{"empty", "", nil, engage.Invalid},
	} {
		srv := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.encoding != "" {
				w.Header().Set("Content-Encoding", c.encoding)
			}
			_, _ = w.Write(c.body)
		})
		_, err := newMet(t, weather.MetOptions{BaseURL: srv.URL}).Fetch(t.Context(), cellAt(t, 52.37, 4.89, 5), nil)
		var pe *weather.ProviderError
		if !errors.As(err, &pe) || engage.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
}

func TestEndlessBodyIsNotReadToItsEnd(t *testing.T) {
	written := make(chan int, 1)
	srv := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		block, sum := make([]byte, 64<<10), 0
		for sum < 256<<20 {
			n, err := w.Write(block)
			sum += n
			if err != nil {
				break
			}
		}
		written <- sum
	})
	_, err := newMet(t, weather.MetOptions{BaseURL: srv.URL}).Fetch(t.Context(), cellAt(t, 52.37, 4.89, 5), nil)
	if engage.CodeOf(err) != engage.TooLarge {
		t.Errorf("%v", err)
	}
	if n := <-written; n > 64<<20 { // 4 MiB, and what the sockets hold
		t.Errorf("%d bytes were taken", n)
	}
}

func TestDeprecationIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	sim := startSim(t, weathersim.Options{Now: clock.NewManual(morning).Now})
	sim.SetFault(weathersim.Fault{Deprecated: true})
	m := newMet(t, weather.MetOptions{BaseURL: sim.URL(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		f, err := m.Fetch(t.Context(), cellAt(t, 52.37, 4.89, 5), nil)
		if err != nil || !f.Deprecated || len(f.Hours) == 0 {
			t.Fatalf("%+v, %v", f, err)
		}
	}
	if n := strings.Count(log.String(), "deprecated"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, &log)
	}
}

func TestErrorsTellNoPosition(t *testing.T) {
	sim := startSim(t, weathersim.Options{Now: clock.NewManual(morning).Now})
	m := newMet(t, weather.MetOptions{BaseURL: sim.URL()})
	cell := cellAt(t, 52.37, 4.89, 5)
	centre := cell.Center()
	position := regexp.MustCompile(regexp.QuoteMeta(strconv.Itoa(int(centre.Lat))+".") + `\d|lat=|lon=`)
	sim.SetFault(weathersim.Fault{Drop: true})
	_, dropped := m.Fetch(t.Context(), cell, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, cancelled := m.Fetch(ctx, cell, nil)
	if err := sim.Close(); err != nil {
		t.Fatal(err)
	}
	_, refused := m.Fetch(t.Context(), cell, nil)
	for name, err := range map[string]error{"dropped": dropped, "cancelled": cancelled, "refused": refused} {
		if engage.CodeOf(err) != engage.Unavailable || position.MatchString(err.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !errors.Is(cancelled, context.Canceled) {
		t.Errorf("cancelled: %v", cancelled)
	}
}

// The whole of it: simulator, provider, service.
func TestUmbrellaWeatherThroughAnOutage(t *testing.T) {
	now := clock.NewManual(morning)
	sim := startSim(t, weathersim.Options{Now: now.Now})
	rain := func(mm float64) func(float64, float64, time.Time) weathersim.Conditions {
		return func(float64, float64, time.Time) weathersim.Conditions {
			return weathersim.Conditions{TemperatureC: 11, HumidityPercent: 80, WindMPS: 4, PrecipitationMM: mm, CloudPercent: 100}
		}
	}
	sim.Set(rain(2))
	s := weather.New(weather.Options{
		Provider: newMet(t, weather.MetOptions{BaseURL: sim.URL(), Now: now.Now}),
		Now:      now.Now, Jitter: func() float64 { return 0 },
	})
	run(t, s)
	cell := cellAt(t, 52.37, 4.89, 5)
	want := func(step string, state engage.WeatherState, condition string, requests int) {
		t.Helper()
		w, got, err := s.Get(t.Context(), cell)
		if got != state || w.Condition != condition || (err == nil) != (state != engage.WeatherAbsent) || sim.Count() != requests {
			t.Fatalf("%s: %s %q, %v, %d requests; want %s %q, %d requests", step, got, w.Condition, err, sim.Count(), state, condition, requests)
		}
	}
	want("first", engage.WeatherFresh, weather.Rain, 1)
	w, _ := s.Cached(cell)
	if w.Cell != cell || w.Kind != "forecast" || w.Provider != "met.no" || w.Precipitation != 2 || !w.FetchedAt.Equal(morning) || !w.FreshUntil.Equal(morning.Add(30*time.Minute)) || !w.Day {
		t.Errorf("%+v", w)
	}
	sim.Set(rain(0))
	now.Advance(29 * time.Minute)
	want("still fresh", engage.WeatherFresh, weather.Rain, 1)
	now.Advance(time.Minute)
	want("renewed", engage.WeatherFresh, weather.Cloudy, 2)
	sim.SetFault(weathersim.Fault{Status: 503, RetryAfter: 10 * time.Minute})
	now.Advance(30 * time.Minute)
	want("outage", engage.WeatherStale, weather.Cloudy, 3)
	now.Advance(9 * time.Minute)
	want("left alone", engage.WeatherStale, weather.Cloudy, 3)
	now.Advance(3*time.Hour - 9*time.Minute)
	want("too old", engage.WeatherAbsent, "", 4)
	sim.SetFault(weathersim.Fault{})
	sim.Set(rain(0.3))
	now.Advance(10 * time.Minute)
	want("healed", engage.WeatherFresh, weather.Rain, 5)
	if st := s.Status(); st.Requests != 5 || st.Failures != 2 || st.Fresh != 1 || st.Stale != 0 || st.Provider != "met.no" || !st.Enabled || st.Age() != 0 {
		t.Errorf("%+v", st)
	}
}

// run starts the service and, at the test's end, ends it.
func run(t *testing.T, s *weather.Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
