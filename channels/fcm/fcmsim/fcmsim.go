// Package fcmsim is a Firebase Cloud Messaging server for tests and the demo: a
// real HTTP server with an OAuth token endpoint, the checks and error bodies of the
// HTTP v1 API, its quotas, its storage for phones that cannot be reached, and the
// phones themselves. The unmodified Firebase Admin SDK works against it (there is a
// test): point it here with option.WithEndpoint(s.URL()+"/v1") and the key file of
// Server.Credentials.
//
// # Devices
//
// Any token is accepted and stands for a phone with the app open, unless it was
// added (Server.AddDevice, or over HTTP): then it has a state, a platform, a
// presence, and what FCM stores for it while it is out of reach. With Options.Strict
// only added ones exist.
//
// # Outcomes by token
//
// A token "<kind>-<name>" or "<kind>-<n>-<name>" chooses its outcome; any other
// is accepted. With n the outcome comes n times and then the push is accepted.
//
//	unregistered   404 UNREGISTERED
//	expired        the same, as for a token that was silent for 270 days
//	flapping       the same every other time, beginning with the first
//	mismatch       403 SENDER_ID_MISMATCH
//	invalid        400 INVALID_ARGUMENT with FcmError alone, as for a malformed token
//	malformed      the same
//	apnsauth       401 THIRD_PARTY_AUTH_ERROR
//	unauthorized   401 UNAUTHENTICATED, as for a revoked access token
//	quota          429 QUOTA_EXCEEDED, Retry-After 1
//	devicequota    the same, of this device
//	outage         503 UNAVAILABLE, Retry-After 1
//	internal       500 INTERNAL
//	html502        502 with a gateway's HTML
//	html503        503 with a gateway's HTML
//	reset          not accepted: the stream is reset; once unless n is given
//	drop           accepted, but the stream is reset instead of answered; once unless n is given
//	slow           accepted at once, answered after Options.Slow
//	slowbody       accepted and half answered at once, the other half after Options.Slow
//	goaway         accepted, and the connection is told to go away; once unless n is given
//
// Rules (Options.Rules, Server.SetRules) do the same by any field of the request, by
// chance, or a number of times.
//
// # Over HTTP
//
// What tests do with methods, people and other programs do under /sim/v1; see the
// table in state.go. /metrics is Prometheus's.
package fcmsim

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/channels/internal/simtoken"
)

// Token makes a token of a kind, "outage" or "outage-2".
func Token(kind, name string) string { return kind + "-" + name }

// Delivered is a push that the simulator accepted.
type Delivered struct {
	Token       string // empty of one to a topic, until it is with a phone
	FID         string
	Topic       string
	Condition   string
	MessageID   string // data.footfall_message_id
	Tag         string // android.notification.tag: the attempt id
	CollapseKey string // android.collapse_key
	Title       string
	Body        string
	ImageURL    string
	ChannelID   string
	Label       string // of analytics
	Data        map[string]string
	TTL         time.Duration // -1 when the message has none
	High        bool          // android.priority is "high"
	Visible     bool          // it has a notification
	At          time.Time     // when the request had arrived
	Name        string        // what the answer calls it
	Raw         json.RawMessage

	apnsCollapseID, apnsExpiration string
}

// Request is a line of the log: one send request that arrived, whatever came of
// it.
type Request struct {
	At        time.Time // when it had arrived
	Token     string    // or installation id; empty when the body was unreadable or not looked at
	MessageID string
	Tag       string // by what it replaces: the attempt id, unless the message has a collapse key
	Status    int    // what was answered; 0 means that no answer was given
	Code      string // FCM's error code, empty when accepted
	Accepted  bool   // the push was taken (also when no answer was given)
	DryRun    bool   // it was to be judged only
}

// Options configure a Server. The zero value works.
type Options struct {
	Addr      string   // empty means 127.0.0.1 on a free port
	ProjectID string   // empty means "footfall-sim"
	Projects  []string // further ones, each with a service account of its own
	Seed      uint64   // of everything that is left to chance
	// Latency passes before a send request is looked at. With LatencyP99 it is the
	// median of a log-normal distribution with that 99th percentile.
	Latency    time.Duration
	LatencyP99 time.Duration
	Slow       time.Duration // of the kinds "slow" and "slowbody"; 0 means 30 s
	TokenLife  time.Duration // of access tokens; 0 means 1 h
	Strict     bool          // only added devices exist
	Quotas     Quotas        // the zero value has none; see DocumentedQuotas
	Rules      []Rule        // see SetRules
	// OnAccept gets every accepted push before it is answered. It is called
	// from many goroutines and must not block.
	OnAccept func(Delivered)
	// OnArrive gets every push when it reaches its phone, at once or when the phone can
	// be reached again. The same holds for it.
	OnArrive func(Arrival)
	// KeepRequests bounds the log of requests; the oldest go first. 0 means 1,000,000.
	KeepRequests int
	KeepArrivals int              // the same of arrivals; 0 means 10,000
	Now          func() time.Time // nil means time.Now; Server.Advance adds to it
}

// Server is a running simulator.
type Server struct {
	opts     Options
	accounts []account
	http     *http.Server
	wg       sync.WaitGroup // handlers
	url      string
	stop     context.CancelFunc
	ctx      context.Context // ends with Close: ends slow answers
	done     chan struct{}
	metrics  *metrics
	skew     atomic.Int64  // nanoseconds, what Advance added
	issued   atomic.Int64  // access tokens
	names    atomic.Uint64 // messages accepted
	uses     simtoken.Counter
	quotas   quotas

	badAPNsKey atomic.Bool
	ruled      atomic.Bool // there are rules

	randMu sync.Mutex
	rand   *mathrand.Rand

	bearerMu sync.RWMutex
	bearers  map[string]bearer // by access token

	ruleMu sync.Mutex
	rules  []*rule

	deviceMu sync.Mutex
	phones   map[string]*phone // by token
	fids     map[string]*phone

	logMu    sync.RWMutex
	requests []Request
	arrivals []Arrival
}

// Start starts a simulator.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.ProjectID == "" {
		o.ProjectID = "footfall-sim"
	}
	if o.Slow <= 0 {
		o.Slow = 30 * time.Second
	}
	if o.TokenLife <= 0 {
		o.TokenLife = time.Hour
	}
	if o.KeepRequests <= 0 {
		o.KeepRequests = 1_000_000
	}
	if o.KeepArrivals <= 0 {
		o.KeepArrivals = 10_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		opts: o, ctx: ctx, stop: stop, done: make(chan struct{}), metrics: newMetrics(),
		rand:    mathrand.New(mathrand.NewPCG(o.Seed, 0)),
		bearers: make(map[string]bearer), phones: make(map[string]*phone), fids: make(map[string]*phone),
	}
	for _, project := range append([]string{o.ProjectID}, o.Projects...) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			stop()
			return nil, fmt.Errorf("make a service account key: %w", err)
		}
		s.accounts = append(s.accounts, account{project, "sender@" + project + ".iam.gserviceaccount.com", key})
	}
	s.SetRules(o.Rules...)
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		stop()
		return nil, fmt.Errorf("listen: %w", err)
	}
	s.url = "http://" + ln.Addr().String()
	s.serve(ln)
	return s, nil
}

func (s *Server) serve(ln net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /v1/projects/{project}/{method}", s.send)
	mux.HandleFunc("POST /iid/v1:batchAdd", s.subscribe)
	mux.HandleFunc("POST /iid/v1:batchRemove", s.subscribe)
	s.stateAPI(mux)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.wg.Add(1)
			defer s.wg.Done()
			mux.ServeHTTP(w, r)
		}),
		Protocols: protocols, ReadHeaderTimeout: 10 * time.Second,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 100}, // as Google's front ends
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(ln) // always ErrServerClosed: Close is the only end
	}()
}

// Close stops the server at once and returns when nothing of it runs any more.
// Requests in flight end without an answer.
func (s *Server) Close() error {
	s.stop()
	err := s.http.Close()
	<-s.done
	s.wg.Wait()
	return err
}

// URL is the base URL, a sender's Endpoint.
func (s *Server) URL() string { return s.url }

// ProjectID is the (first) project that it serves.
func (s *Server) ProjectID() string { return s.opts.ProjectID }

// now is the simulator's clock. Only latencies and slow answers take the machine's.
func (s *Server) now() time.Time { return s.opts.Now().Add(time.Duration(s.skew.Load())) }

// Advance moves the simulator's clock on: access tokens end, stored messages expire,
// quotas fill up.
func (s *Server) Advance(d time.Duration) { s.skew.Add(int64(d)) }

// Requests is a copy of the log, oldest first.
func (s *Server) Requests() []Request {
	s.logMu.RLock()
	defer s.logMu.RUnlock()
	return slices.Clone(s.requests)
}

// Accepted counts how often each attempt id was accepted.
func (s *Server) Accepted() map[string]int {
	s.logMu.RLock()
	defer s.logMu.RUnlock()
	m := make(map[string]int)
	for _, r := range s.requests {
		if r.Accepted {
			m[r.Tag]++
		}
	}
	return m
}

func (s *Server) log(r Request) {
	s.metrics.request(r)
	s.logMu.Lock()
	defer s.logMu.Unlock()
	if len(s.requests) >= s.opts.KeepRequests {
		s.requests = slices.Delete(s.requests, 0, max(1, s.opts.KeepRequests/10))
	}
	s.requests = append(s.requests, r)
}
