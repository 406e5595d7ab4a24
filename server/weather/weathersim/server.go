// Package weathersim is a weather provider to test and demonstrate with: an
// HTTP server that speaks MET Norway's locationforecast/2.0 (`complete` and
// `compact`) and insists on its terms of service, with weather of its own
// making. What MET Norway refuses, it refuses: nameless clients, more than four
// decimals, more than 20 requests a second.
package weathersim

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// maxRequests is how many of the last requests are remembered.
const maxRequests = 10000

// Options of a Server. The zero Options give a working one on the machine's clock.
type Options struct {
	Sky Sky
	// Now is the simulated time; nil means the machine's clock.
	Now func() time.Time
	// TTL from an answer to its Expires; 0 means 30 min. Whole seconds.
	TTL time.Duration
	// ModelInterval from one run of the model to the next: in between answers
	// do not change and If-Modified-Since is answered with 304; 0 means 1 h.
	// Whole seconds.
	ModelInterval time.Duration
	// MaxPerSecond of the machine's clock, beyond which the answer is 429;
	// 0 means 20, negative means no limit.
	MaxPerSecond int
	// Addr to listen on; empty means 127.0.0.1:0.
	Addr string
}

// Fault is what goes wrong. The zero Fault is nothing.
type Fault struct {
	Status     int           // answer with this (429, 503, …) instead of weather; 0 means not
	RetryAfter time.Duration // as a header beside Status; 0 means none
	Delay      time.Duration // before anything is answered, on the machine's clock
	Drop       bool          // close the connection instead of answering
	Deprecated bool          // 203 instead of 200
	Body       []byte        // instead of the forecast; nil means not
}

// Request is one request that came, in order of arrival.
type Request struct {
	At              time.Time // simulated time
	Path            string
	Lat, Lng        string // as they stood in the query
	UserAgent       string
	IfModifiedSince string
	Gzip            bool // the client takes it
	Status          int  // of the answer; 0 means dropped or given up
}

// Server is a running simulator. Safe for concurrent use.
type Server struct {
	o       Options
	url     string
	http    *http.Server
	served  chan error
	closing chan struct{}
	stop    sync.Once

	mu       sync.Mutex
	weather  func(lat, lng float64, at time.Time) Conditions
	changed  time.Time // the last Set, as Last-Modified: whole seconds; zero means never
	fault    Fault
	requests []Request
	count    int
	recent   []time.Time // requests of the last second, machine's clock
}

// Start listens and serves until Close.
func Start(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TTL < time.Second {
		o.TTL = 30 * time.Minute
	}
	if o.ModelInterval < time.Second {
		o.ModelInterval = time.Hour
	}
	if o.MaxPerSecond == 0 {
		o.MaxPerSecond = 20
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the weather simulator: %w", err)
	}
	s := &Server{
		o: o, url: "http://" + l.Addr().String(), weather: o.Sky.At,
		served: make(chan error, 1), closing: make(chan struct{}),
	}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	go func() { s.served <- s.http.Serve(l) }()
	return s, nil
}

// URL is the base to give to the client: "http://127.0.0.1:1234".
func (s *Server) URL() string { return s.url }

// Close breaks off what is under way and returns when all has ended.
func (s *Server) Close() error {
	var err error
	s.stop.Do(func() {
		close(s.closing)
		// Shutdown, not Close: it waits for the handlers, which closing hurries.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = s.http.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, s.http.Close())
		}
		if serr := <-s.served; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
	})
	return err
}

// Set replaces the weather; nil brings back the Sky. F must be safe for
// concurrent use. What a client has is modified by that.
func (s *Server) Set(f func(lat, lng float64, at time.Time) Conditions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f == nil {
		f = s.o.Sky.At
	}
	s.weather = f
	// HTTP dates have whole seconds: two changes within one must differ.
	now := s.o.Now().UTC().Truncate(time.Second)
	if last := s.modified(now); !now.After(last) {
		now = last.Add(time.Second)
	}
	s.changed = now
}

// SetFault makes all requests fail that way from now on; the zero Fault heals.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Requests that came so far, the oldest first: the last 10,000.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Count of all requests so far.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// modified is when what is answered at now last changed. The caller holds mu.
func (s *Server) modified(now time.Time) time.Time {
	run := now.UTC().Truncate(s.o.ModelInterval)
	if s.changed.After(run) {
		return s.changed
	}
	return run
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	now := s.o.Now().UTC()
	query := r.URL.Query()
	seen := Request{
		At: now, Path: r.URL.Path, Lat: query.Get("lat"), Lng: query.Get("lon"), UserAgent: r.UserAgent(),
		IfModifiedSince: r.Header.Get("If-Modified-Since"), Gzip: takesGzip(r),
	}
	s.mu.Lock()
	fault, weather, modified, tooMany := s.fault, s.weather, s.modified(now), s.tooMany()
	s.count++
	n := s.count
	if len(s.requests) >= maxRequests {
		s.requests = append(s.requests[:0], s.requests[len(s.requests)-maxRequests+1:]...)
	}
	s.requests = append(s.requests, seen)
	s.mu.Unlock()
	status := func(code int) { // before anything is written: who got the answer finds it noted
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := len(s.requests) - 1 - (s.count - n); i >= 0 {
			s.requests[i].Status = code
		}
	}
	refuse := func(code int, why string) {
		status(code)
		http.Error(w, why, code)
	}

	w.Header().Set("Date", now.Format(http.TimeFormat))
	if fault.Delay > 0 {
		t := time.NewTimer(fault.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		case <-s.closing:
			fault.Drop = true
		}
	}
	if fault.Drop {
		panic(http.ErrAbortHandler) // net/http's way to close a connection without an answer
	}
	if fault.Status != 0 {
		if fault.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(fault.RetryAfter/time.Second)))
		}
		refuse(fault.Status, http.StatusText(fault.Status))
		return
	}
	lat, lng, code, why := place(query.Get("lat"), query.Get("lon"))
	complete := strings.HasSuffix(r.URL.Path, "/complete")
	switch {
	case r.URL.Path != "/weatherapi/locationforecast/2.0/complete" && r.URL.Path != "/weatherapi/locationforecast/2.0/compact":
		refuse(http.StatusNotFound, "no such product")
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		refuse(http.StatusMethodNotAllowed, "GET only")
		return
	case !hasContact(r.UserAgent()):
		refuse(http.StatusForbidden, "identify yourself: User-Agent with application and contact")
		return
	case tooMany:
		w.Header().Set("Retry-After", "1")
		refuse(http.StatusTooManyRequests, "too many requests")
		return
	case code != 0:
		refuse(code, why)
		return
	}
	h := w.Header()
	h.Set("Expires", now.Add(s.o.TTL).Format(http.TimeFormat))
	h.Set("Last-Modified", modified.Format(http.TimeFormat))
	h.Set("Vary", "Accept, Accept-Encoding")
	// Byte for byte: MET Norway wants back exactly what it gave.
	if seen.IfModifiedSince == h.Get("Last-Modified") && fault.Body == nil {
		status(http.StatusNotModified)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := fault.Body
	if body == nil {
		var err error
		if body, err = answer(weather, lat, lng, now, modified, complete); err != nil {
			refuse(http.StatusInternalServerError, err.Error())
			return
		}
	}
	h.Set("Content-Type", "application/json")
	code = http.StatusOK
	if fault.Deprecated {
		code = http.StatusNonAuthoritativeInfo
	}
	status(code)
	if !seen.Gzip {
		w.WriteHeader(code)
		_, _ = w.Write(body)
		return
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(code)
	zw := gzip.NewWriter(w)
	_, _ = zw.Write(body)
	_ = zw.Close()
}

// tooMany reports whether this request exceeds the limit of the running second.
// The caller holds mu.
func (s *Server) tooMany() bool {
	if s.o.MaxPerSecond < 0 {
		return false
	}
	now := time.Now()
	kept := s.recent[:0]
	for _, t := range s.recent {
		if now.Sub(t) < time.Second {
			kept = append(kept, t)
		}
	}
	s.recent = kept
	if len(s.recent) >= s.o.MaxPerSecond {
		return true
	}
	s.recent = append(s.recent, now)
	return false
}

func takesGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if strings.TrimSpace(part) == "gzip" {
			return true
		}
	}
	return false
}

var webAddress = regexp.MustCompile(`^(https?://)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}(/\S*)?$`)

// hasContact reports whether a User-Agent has a word that is an e-mail or web
// address; "Go-http-client/1.1" has none.
func hasContact(userAgent string) bool {
	for word := range strings.FieldsSeq(userAgent) {
		word = strings.Trim(word, "()+,;")
		if at := strings.IndexByte(word, '@'); at > 0 && strings.Contains(word[at:], ".") || webAddress.MatchString(word) {
			return true
		}
	}
	return false
}

var (
	decimalNumber = regexp.MustCompile(`^-?[0-9]{1,3}(\.[0-9]*)?$`)
	tooPrecise    = regexp.MustCompile(`\.[0-9]{5,}$`)
)

// place reads the coordinates; code is the status to refuse them with, or 0.
func place(latText, lngText string) (lat, lng float64, code int, why string) {
	for _, s := range []string{latText, lngText} {
		if !decimalNumber.MatchString(s) {
			return 0, 0, http.StatusBadRequest, "lat and lon must be decimal numbers"
		}
		if tooPrecise.MatchString(s) {
			return 0, 0, http.StatusForbidden, "at most four decimals"
		}
	}
	lat, err1 := strconv.ParseFloat(latText, 64)
	lng, err2 := strconv.ParseFloat(lngText, 64)
	if err := errors.Join(err1, err2, geo.Point{Lat: lat, Lng: lng}.Validate()); err != nil {
		return 0, 0, http.StatusBadRequest, "lat or lon is out of range"
	}
	return lat, lng, 0, ""
}

// hourly entries, then one every six hours, as MET Norway has them.
const (
	hourly   = 54
	sixHours = 20
)

type object = map[string]any

// answer is the forecast from the hour of now on. The hour under way has the
// conditions at the moment of the last change, so that a client with a short TTL
// sees a front pass; the later ones those at their beginning.
func answer(weather func(lat, lng float64, at time.Time) Conditions, lat, lng float64, now, modified time.Time, complete bool) ([]byte, error) {
	start := now.Truncate(time.Hour)
	at := func(t time.Time) Conditions {
		if modified.After(t) && modified.Before(t.Add(time.Hour)) {
			t = modified
		}
		return weather(lat, lng, t)
	}
	var series []object
	for i := range hourly + sixHours {
		t := start.Add(time.Duration(i) * time.Hour)
		if i >= hourly {
			first := start.Add(hourly * time.Hour).Truncate(6 * time.Hour).Add(6 * time.Hour)
			t = first.Add(time.Duration(i-hourly) * 6 * time.Hour)
		}
		c := at(t)
		details := object{
			"air_temperature": tenth(c.TemperatureC), "relative_humidity": tenth(c.HumidityPercent),
			"wind_speed": tenth(c.WindMPS), "cloud_area_fraction": tenth(c.CloudPercent),
			"air_pressure_at_sea_level": 1013.2, "wind_from_direction": 240.0,
		}
		if complete {
			details["ultraviolet_index_clear_sky"] = tenth(c.UV)
			details["fog_area_fraction"] = 0.0
			if c.Fog {
				details["fog_area_fraction"] = 100.0
			}
		}
		symbol := c.symbol(isDay(lng, t))
		data := object{"instant": object{"details": details}}
		if i < hourly {
			data["next_1_hours"] = object{
				"summary": object{"symbol_code": symbol},
				"details": object{"precipitation_amount": tenth(c.PrecipitationMM)},
			}
		}
		data["next_6_hours"] = object{
			"summary": object{"symbol_code": symbol},
			"details": object{"precipitation_amount": tenth(3 * c.PrecipitationMM)},
		}
		series = append(series, object{"time": t.Format(time.RFC3339), "data": data})
	}
	return json.Marshal(object{
		"type":     "Feature",
		"geometry": object{"type": "Point", "coordinates": []float64{lng, lat, 10}},
		"properties": object{
			"meta": object{
				"updated_at": modified.Format(time.RFC3339),
				"units": object{
					"air_pressure_at_sea_level": "hPa", "air_temperature": "celsius", "cloud_area_fraction": "%",
					"fog_area_fraction": "%", "precipitation_amount": "mm", "relative_humidity": "%",
					"ultraviolet_index_clear_sky": "1", "wind_from_direction": "degrees", "wind_speed": "m/s",
				},
			},
			"timeseries": series,
		},
	})
}

func tenth(x float64) float64 { return math.Round(x*10) / 10 }

// isDay is from 6 to 18 by the sun, without seasons.
func isDay(lng float64, t time.Time) bool {
	hour := math.Mod(float64(t.UTC().Hour())+float64(t.Minute())/60+lng/15+24, 24)
	return hour >= 6 && hour < 18
}
