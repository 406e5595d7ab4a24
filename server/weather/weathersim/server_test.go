package weathersim

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "rewrite golden files")

var morning = time.Date(2026, 3, 14, 9, 20, 0, 0, time.UTC)

const (
	completePath = "/weatherapi/locationforecast/2.0/complete"
	amsterdam    = "?lat=52.3702&lon=4.8952"
	agent        = "footfall/test ops@shop.example"
)

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
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

type reply struct {
	*http.Response
	body []byte
}

func ask(t *testing.T, s *Server, pathAndQuery string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+pathAndQuery, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", agent)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	c := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp, body}
}

func TestSameSeedGivesTheSameAnswer(t *testing.T) {
	for _, product := range []string{"complete", "compact"} {
		var answers [2]string
		for i := range answers {
			s := start(t, Options{
				Now: clock.NewManual(morning).Now,
				Sky: Sky{Seed: 7, Around: geo.Point{Lat: 52.3702, Lng: 4.8952}},
			})
			answers[i] = string(ask(t, s, "/weatherapi/locationforecast/2.0/"+product+amsterdam).body)
		}
		if answers[0] != answers[1] {
			t.Errorf("%s: two servers of one seed differ", product)
		}
		golden := filepath.Join("testdata", product+".golden.json")
		if *update {
			if err := os.WriteFile(golden, []byte(answers[0]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if answers[0] != string(want) {
			t.Errorf("%s differs from %s (go test -update rewrites it)", product, golden)
		}
	}
}

func TestTermsOfServiceAreEnforced(t *testing.T) {
	s := start(t, Options{Now: clock.NewManual(morning).Now, MaxPerSecond: -1})
	for _, c := range []struct {
		name, query string
		header      []string
		want        int
	}{
		{"fine", amsterdam, nil, 200},
		{"nameless", amsterdam, []string{"User-Agent", ""}, 403},
		{"a library", amsterdam, []string{"User-Agent", "Go-http-client/1.1"}, 403},
		{"a version is no contact", amsterdam, []string{"User-Agent", "footfall/1.2.3"}, 403},
		{"a mail address", amsterdam, []string{"User-Agent", "footfall/1.2.3 ops@shop.example"}, 200},
		{"a site", amsterdam, []string{"User-Agent", "footfall/1.2.3 shop.example/contact"}, 200},
		{"five decimals", "?lat=52.37021&lon=4.8952", nil, 403},
		{"five decimals of lon", "?lat=52.3702&lon=4.89520", nil, 403},
		{"no lon", "?lat=52.3702", nil, 400},
		{"beyond the pole", "?lat=91&lon=0", nil, 400},
		{"not a number", "?lat=NaN&lon=0", nil, 400},
		{"an exponent", "?lat=5e1&lon=0", nil, 400},
	} {
		if got := ask(t, s, completePath+c.query, c.header...).StatusCode; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if got := ask(t, s, "/weatherapi/nowcast/2.0/complete"+amsterdam).StatusCode; got != 404 {
		t.Errorf("another product: %d", got)
	}
}

func TestUnchangedIsAnsweredWith304(t *testing.T) {
	now := clock.NewManual(morning)
	s := start(t, Options{Now: now.Now})
	first := ask(t, s, completePath+amsterdam)
	modified := first.Header.Get("Last-Modified")
	if modified != "Sat, 14 Mar 2026 09:00:00 GMT" || first.Header.Get("Expires") != "Sat, 14 Mar 2026 09:50:00 GMT" {
		t.Fatalf("headers: %v", first.Header)
	}
	now.Advance(30 * time.Minute)
	again := ask(t, s, completePath+amsterdam, "If-Modified-Since", modified)
	if again.StatusCode != 304 || len(again.body) != 0 || again.Header.Get("Expires") != "Sat, 14 Mar 2026 10:20:00 GMT" {
		t.Errorf("%d, %d bytes, %v", again.StatusCode, len(again.body), again.Header)
	}
	if got := ask(t, s, completePath+amsterdam, "If-Modified-Since", "Sat, 14 Mar 2026 09:30:00 GMT").StatusCode; got != 200 {
		t.Errorf("another date than the one given: %d, want 200", got)
	}
	for range 2 { // twice within one second: each counts
		s.Set(func(float64, float64, time.Time) Conditions { return Conditions{TemperatureC: 21} })
		set := ask(t, s, completePath+amsterdam, "If-Modified-Since", modified)
		if set.StatusCode != 200 || !strings.Contains(string(set.body), `"air_temperature":21`) {
			t.Errorf("after Set: %d", set.StatusCode)
		}
		modified = set.Header.Get("Last-Modified")
	}
	now.Advance(time.Hour)
	if got := ask(t, s, completePath+amsterdam, "If-Modified-Since", modified).StatusCode; got != 200 {
		t.Errorf("after the next run of the model: %d, want 200", got)
	}
}

func TestAnswerIsPackedForThoseWhoTakeIt(t *testing.T) {
	s := start(t, Options{Now: clock.NewManual(morning).Now})
	plain := ask(t, s, completePath+amsterdam)
	packed := ask(t, s, completePath+amsterdam, "Accept-Encoding", "br, gzip")
	if packed.Header.Get("Content-Encoding") != "gzip" || plain.Header.Get("Content-Encoding") != "" {
		t.Fatalf("encodings: %v, %v", packed.Header, plain.Header)
	}
	zr, err := gzip.NewReader(strings.NewReader(string(packed.body)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(zr)
	if err != nil || string(body) != string(plain.body) {
		t.Errorf("unpacked differs (%v)", err)
	}
}

func TestMoreThanTwentyASecondAreRefused(t *testing.T) {
	s := start(t, Options{Now: clock.NewManual(morning).Now, MaxPerSecond: 3})
	s.mu.Lock()
	for range 3 { // at the latest moment: the test need not be fast
		s.recent = append(s.recent, time.Now().Add(time.Minute))
	}
	s.mu.Unlock()
	got := ask(t, s, completePath+amsterdam)
	if got.StatusCode != 429 || got.Header.Get("Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q", got.StatusCode, got.Header.Get("Retry-After"))
	}
}

func TestFaultsHappenAndHeal(t *testing.T) {
	s := start(t, Options{Now: clock.NewManual(morning).Now})
	s.SetFault(Fault{Status: 503, RetryAfter: 90 * time.Second})
	if got := ask(t, s, completePath+amsterdam); got.StatusCode != 503 || got.Header.Get("Retry-After") != "90" {
		t.Errorf("outage: %d %v", got.StatusCode, got.Header)
	}
	s.SetFault(Fault{Deprecated: true})
	if got := ask(t, s, completePath+amsterdam).StatusCode; got != 203 {
		t.Errorf("deprecated: %d", got)
	}
	s.SetFault(Fault{Body: []byte("<html>")})
	if got := ask(t, s, completePath+amsterdam); got.StatusCode != 200 || string(got.body) != "<html>" {
		t.Errorf("another body: %d %s", got.StatusCode, got.body)
	}
	s.SetFault(Fault{Drop: true})
	resp, err := http.Get(s.URL() + completePath + amsterdam)
	if err == nil {
		_ = resp.Body.Close()
		t.Errorf("dropped: %d", resp.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
	s.SetFault(Fault{})
	if got := ask(t, s, completePath+amsterdam).StatusCode; got != 200 {
		t.Errorf("healed: %d", got)
	}
	var statuses []int
	for _, r := range s.Requests() {
		statuses = append(statuses, r.Status)
	}
	want := []int{503, 203, 200, 0, 200}
	if len(statuses) < len(want) || statuses[0] != 503 || statuses[len(statuses)-1] != 200 || s.Count() != len(statuses) {
		t.Errorf("noted statuses %v, want %v (the client may have repeated the dropped one)", statuses, want)
	}
}

func TestCloseBreaksOffSlowAnswers(t *testing.T) {
	s := start(t, Options{Now: clock.NewManual(morning).Now})
	s.SetFault(Fault{Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+completePath+amsterdam, nil)
		if err != nil {
			failed <- err
			return
		}
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := c.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	waitFor(t, func() bool { return s.Count() == 1 })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil || ctx.Err() != nil {
		t.Errorf("the slow request ended with %v", err)
	}
}

// waitFor polls with a bound; a real socket gives nothing to wait on.
func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited 10 s in vain")
		}
	}
}

func TestFrontsPassOverTheTown(t *testing.T) {
	sky := Sky{Seed: 3, Around: geo.Point{Lat: 52.37, Lng: 4.9}, Period: time.Hour}
	for k := range 24 { // each period has rain in its middle and is dry at its borders
		begin := morning.Truncate(time.Hour).Add(time.Duration(k) * time.Hour)
		wet, dry := 0, 0
		for m := range 60 {
			if sky.At(52.37, 4.9, begin.Add(time.Duration(m)*time.Minute)).PrecipitationMM > 0 {
				wet++
			} else {
				dry++
			}
		}
		if wet < 15 || dry < 15 {
			t.Errorf("hour %d: %d wet minutes, %d dry", k, wet, dry)
		}
	}
	// A front crosses: some time one end of the town has rain and the other not.
	west, east := 0, 0
	for m := range 24 * 60 {
		at := morning.Add(time.Duration(m) * time.Minute)
		w, e := sky.At(52.37, 4.85, at).PrecipitationMM > 0, sky.At(52.37, 4.95, at).PrecipitationMM > 0
		if w && !e {
			west++
		}
		if e && !w {
			east++
		}
	}
	if west == 0 || east == 0 {
		t.Errorf("rain only in the west for %d minutes, only in the east for %d", west, east)
	}
	other := sky
	other.Seed = 4
	differ := 0
	for m := range 600 {
		at := morning.Add(time.Duration(m) * time.Minute)
		if sky.At(52.37, 4.9, at) != other.At(52.37, 4.9, at) {
			differ++
		}
	}
	if differ < 500 {
		t.Errorf("another seed gives other weather in only %d of 600 minutes", differ)
	}
}

func TestEveryKindOfWeatherCanBeSet(t *testing.T) {
	s := start(t, Options{Now: clock.NewManual(morning).Now, MaxPerSecond: -1})
	for want, c := range map[string]Conditions{
		"clearsky_day":        {TemperatureC: 20},
		"fair_day":            {CloudPercent: 20},
		"partlycloudy_day":    {CloudPercent: 50},
		"cloudy":              {CloudPercent: 100},
		"fog":                 {Fog: true},
		"lightrain":           {TemperatureC: 10, PrecipitationMM: 0.2},
		"rain":                {TemperatureC: 10, PrecipitationMM: 1},
		"heavyrainandthunder": {TemperatureC: 10, PrecipitationMM: 5, Thunder: true},
		"lightsleet":          {TemperatureC: 1, PrecipitationMM: 0.2},
		"snow":                {TemperatureC: -3, PrecipitationMM: 1},
	} {
		s.Set(func(float64, float64, time.Time) Conditions { return c })
		var doc struct {
			Properties struct {
				Timeseries []struct {
					Data struct {
						Next1Hours struct {
							Summary struct {
								SymbolCode string `json:"symbol_code"`
							} `json:"summary"`
						} `json:"next_1_hours"`
					} `json:"data"`
				} `json:"timeseries"`
			} `json:"properties"`
		}
		if err := json.Unmarshal(ask(t, s, completePath+amsterdam).body, &doc); err != nil {
			t.Fatal(err)
		}
		if got := doc.Properties.Timeseries[0].Data.Next1Hours.Summary.SymbolCode; got != want {
			t.Errorf("%+v: %s, want %s", c, got, want)
		}
	}
}
