// Package apnssim is an Apple Push Notification service for tests and the demo:
// a TLS server that speaks only HTTP/2 and only as much of it as APNs needs, so
// that it can do what net/http's server cannot and Apple does: raise and lower
// the stream limit of a living connection, refuse streams, and send GOAWAY with
// requests left unprocessed. It verifies provider tokens, headers, device tokens
// and payloads, and hands what it accepts to a virtual phone.
//
// Every token that is hexadecimal and long enough is taken for a registered one of
// a phone that is online, until the server is told otherwise: by the methods below,
// or over HTTP by State. What Apple checks is checked in this order: path, method,
// repeated headers, provider token, headers, topic, token and payload, device,
// rate; only what is in order meets the faults of SetFaults and of its token.
//
// # Outcomes by token
//
// Token makes a device token that chooses its outcome. With a number in the kind
// ("outage-2") the outcome comes that many times and then the push is accepted.
//
//	unregistered, expired   410 Unregistered, ExpiredToken, with a timestamp an hour ago
//	badtoken, nottopic      400 BadDeviceToken, DeviceTokenNotForTopic
//	forbidden               403 Forbidden
//	badkey                  403 BadEnvironmentKeyInToken
//	quota                   429 TooManyRequests, Retry-After 1
//	outage                  503 ServiceUnavailable, Retry-After 1
//	internal                500 InternalServerError, without Retry-After
//	html502                 502 with a proxy's HTML
//	slow                    accepted at once, answered after Options.Slow
//	slowbody                accepted at once, status at once, body after Options.Slow
//
// These come once unless a number is given:
//
//	idle                    400 IdleTimeout
//	shutdown                503 Shutdown
//	refuse                  the stream is refused (REFUSED_STREAM)
//	goaway                  GOAWAY below this stream
//	reset                   not accepted: the stream is reset with an error that does not say so
//	drop                    accepted, but the stream is reset instead of answered
//	kill                    accepted, but the connection is closed
//	hang                    accepted, and never answered
package apnssim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/channels/internal/simtoken"
)

const tokenBytes = 32

// Token makes a device token of a kind, "outage" or "outage-2", that is the same
// for the same arguments: the kind and the name in hexadecimal. A name that does
// not fit is hashed.
func Token(kind, name string) string {
	b := []byte(kind + "-" + name)
	if len(b) > tokenBytes {
		h := sha256.Sum256([]byte(name))
		b = append([]byte(kind+"-"), hex.EncodeToString(h[:])...)[:tokenBytes]
	}
	return hex.EncodeToString(append(b, make([]byte, tokenBytes-len(b))...))
}

// Delivered is a push that the simulator accepted. Of OnAccept it has no Phone,
// ReachedAt and Ignored yet.
type Delivered struct {
	Token      string            `json:"token"`
	MessageID  string            `json:"message_id,omitempty"` // footfall_message_id
	APNsID     string            `json:"apns_id"`
	CollapseID string            `json:"collapse_id,omitempty"` // the attempt id, where the message has no collapse key
	Topic      string            `json:"topic"`
	PushType   string            `json:"push_type"`
	Title      string            `json:"title,omitempty"`
	Body       string            `json:"body,omitempty"`
	Data       map[string]string `json:"data,omitempty"` // the payload's other strings
	Priority   int               `json:"priority"`
	Expiration time.Time         `json:"expiration,omitzero"` // zero when the request has none; 1970 means once
	At         time.Time         `json:"at"`                  // when the request had arrived
	Raw        json.RawMessage   `json:"payload"`
	Phone      Phone             `json:"phone,omitempty"` // what the phone was doing when it was reached
	ReachedAt  time.Time         `json:"reached_at,omitzero"`
	Ignored    string            `json:"ignored,omitempty"` // why a phone did nothing with a push of a Live Activity
}

// Request is a line of the log: one push request that arrived, whatever came of
// it.
type Request struct {
	At         time.Time `json:"at"` // when it had arrived
	Token      string    `json:"token"`
	APNsID     string    `json:"apns_id"`
	CollapseID string    `json:"collapse_id,omitempty"` // the attempt id, where the message has no collapse key
	MessageID  string    `json:"message_id,omitempty"`
	Status     int       `json:"status"`           // what was answered; 0 means that no answer was given
	Reason     string    `json:"reason,omitempty"` // Apple's, empty when accepted
	Accepted   bool      `json:"accepted"`         // the push went to the phone (also when no answer was given)
}

// Options configure a Server. The zero value works.
type Options struct {
	Addr string // empty means 127.0.0.1 on a free port
	// StateAddr is where State is served, over plain HTTP, to whoever can reach it;
	// empty means nowhere. Port 0 is a free one.
	StateAddr string
	Sandbox   bool     // the server is of the sandbox environment: answers have apns-unique-id
	Topics    []string // bundle ids; empty means any
	Seed      uint64   // of all chance: latencies, shares of faults, ids that Apple makes up
	// Latency is before a request is looked at: always that long, or with LatencyP99
	// log-normal with Latency as the median and LatencyP99 as the 99th percentile.
	Latency        time.Duration
	LatencyP99     time.Duration
	Slow           time.Duration // of the "slow" kinds; 0 means 30 s
	InitialStreams uint32        // a connection's stream limit until it had a success; 0 means 1
	MaxStreams     uint32        // and after; 0 means 1000
	// DropOnReject lowers a connection's limit to one after a refused push until
	// its next success.
	DropOnReject bool
	// GoAwayEvery tells a connection to go away after so many accepted pushes;
	// 0 means never.
	GoAwayEvery int
	// IdleTimeout is how long a connection may be without a request before it is
	// told to go away with the reason IdleTimeout; 0 means for ever.
	IdleTimeout time.Duration
	// MinTokenUpdate refuses a provider token that comes sooner after the last
	// new one of its key. Apple's is 20 minutes; 0 means no check.
	MinTokenUpdate time.Duration
	// KnownTokensOnly makes BadDeviceToken of every token that was not registered.
	KnownTokensOnly bool
	// PerTokenPerMinute is how many pushes a token may get in a minute before
	// TooManyRequests; 0 means any.
	PerTokenPerMinute int
	// SilentPerHour is how many silent pushes reach a phone in the background in an
	// hour; the others are lost. iOS allows two or three; 0 means all.
	SilentPerHour int
	// OnAccept gets every accepted push before it is answered, OnDeliver every one
	// that reaches its phone, then or later. They are called from many goroutines
	// and must not block.
	OnAccept  func(Delivered)
	OnDeliver func(Delivered)
	// KeepRequests and KeepDelivered bound the log and what Delivered tells; the
	// oldest go first. 0 means 1,000,000 and 1,000.
	KeepRequests  int
	KeepDelivered int
	Now           func() time.Time // nil means time.Now
}

// Server is a running simulator of one environment.
type Server struct {
	opts    Options
	roots   *x509.CertPool
	cert    []byte // DER
	ln      net.Listener
	tls     *tls.Config
	wg      sync.WaitGroup // the listener, connections and delayed answers
	uses    simtoken.Counter
	total   atomic.Int64 // connections accepted
	peak    atomic.Int64 // most streams open on one connection
	away    atomic.Int64 // connections told to go away
	faults  faults
	devices devices
	metrics *metrics
	state   *http.Server // nil without Options.StateAddr
	stateAt string

	luck sync.Mutex
	rand *rand.Rand // under luck

	mu         sync.Mutex
	closed     bool
	conns      map[*conn]struct{}
	requests   []Request
	reached    []Delivered
	keys       map[string]*providerKey // by key id
	bearers    map[string]*bearer      // provider tokens that verified
	tokens     int                     // that were ever in bearers
	activities map[string]*Activity    // by the token of their updates
	starters   map[string]bool         // push-to-start tokens, once a start has gone there
	started    int                     // activities, by pushes
	channels   map[string]*channel
	made       int // channels
}

// Start starts a simulator.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Slow <= 0 {
		o.Slow = 30 * time.Second
	}
	if o.InitialStreams == 0 {
		o.InitialStreams = 1
	}
	if o.MaxStreams == 0 {
		o.MaxStreams = 1000
	}
	if o.KeepRequests <= 0 {
		o.KeepRequests = 1_000_000
	}
	if o.KeepDelivered <= 0 {
		o.KeepDelivered = 1000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	cert, roots, err := certificate()
	if err != nil {
		return nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{
		opts: o, roots: roots, cert: cert.Leaf.Raw, ln: ln,
		tls:     &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12},
		devices: devices{knownOnly: o.KnownTokensOnly, byToken: make(map[string]*device), used: make(map[string]*window)},
		rand:    rand.New(rand.NewPCG(o.Seed, 0x61706e73)),
		conns:   make(map[*conn]struct{}), keys: make(map[string]*providerKey), bearers: make(map[string]*bearer),
		activities: make(map[string]*Activity), channels: make(map[string]*channel),
	}
	s.metrics = newMetrics(s)
	if _, err := s.AddKey(ProviderKey{Team: teamID, ID: keyID}); err != nil {
		_ = ln.Close()
		return nil, err
	}
	if o.StateAddr != "" {
		if err := s.serveState(); err != nil {
			_ = ln.Close()
			return nil, err
		}
	}
	s.wg.Go(s.serve)
	return s, nil
}

// certificate makes a certificate that is its own authority.
func certificate() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("make a TLS key: %w", err)
	}
	// Fixed dates far apart: the simulator's clock may be a test's.
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "apnssim"},
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(crand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("make a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("parse our certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots, nil
}

func (s *Server) serve() {
	for {
		nc, err := s.ln.Accept()
		if err != nil {
			return // closed
		}
		c := newConn(s, nc)
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = nc.Close()
			return
		}
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.total.Add(1)
		s.wg.Go(func() {
			c.serve()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// Close stops the server at once and returns when nothing of it runs any more.
// Requests in flight end without an answer.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	conns := s.open()
	s.mu.Unlock()
	err := s.ln.Close()
	if s.state != nil {
		err = errors.Join(err, s.state.Close())
	}
	for _, c := range conns {
		c.close()
	}
	s.wg.Wait()
	return err
}

// open lists the connections; it runs under mu.
func (s *Server) open() []*conn {
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// URL is the base URL.
func (s *Server) URL() string { return "https://" + s.ln.Addr().String() }

// CertificatePEM is the server's certificate, which signed itself: what a file of
// authorities to trust holds.
func (s *Server) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert})
}

// RootCAs verifies the server's certificate.
func (s *Server) RootCAs() *x509.CertPool { return s.roots }

// Requests is a copy of the log, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Accepted counts how often each attempt id was accepted.
func (s *Server) Accepted() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]int)
	for _, r := range s.requests {
		if r.Accepted {
			m[r.CollapseID]++
		}
	}
	return m
}

// Connections counts the connections accepted since the start.
func (s *Server) Connections() int { return int(s.total.Load()) }

// PeakStreams is the most streams that were open on one connection at a time.
func (s *Server) PeakStreams() int { return int(s.peak.Load()) }

// GoAways counts the connections told to go away.
func (s *Server) GoAways() int { return int(s.away.Load()) }

// InFlight counts the requests under way.
func (s *Server) InFlight() (n int) {
	s.mu.Lock()
	conns := s.open()
	s.mu.Unlock()
	for _, c := range conns {
		c.mu.Lock()
		n += len(c.streams)
		c.mu.Unlock()
	}
	return n
}

func (s *Server) environment() string {
	if s.opts.Sandbox {
		return Sandbox
	}
	return Production
}

// chance is from [0, 1).
func (s *Server) chance() float64 {
	s.luck.Lock()
	defer s.luck.Unlock()
	return s.rand.Float64()
}

// latency is how long the next request waits before it is looked at.
func (s *Server) latency() time.Duration {
	o := &s.opts
	if o.LatencyP99 <= o.Latency || o.Latency <= 0 {
		return o.Latency
	}
	s.luck.Lock()
	z := s.rand.NormFloat64()
	s.luck.Unlock()
	const z99 = 2.3263 // the 99th percentile of a normal distribution
	sigma := math.Log(float64(o.LatencyP99)/float64(o.Latency)) / z99
	return time.Duration(float64(o.Latency) * math.Exp(sigma*z))
}

// newUUID is an id that Apple makes up.
func (s *Server) newUUID() string {
	s.luck.Lock()
	a, b := s.rand.Uint64(), s.rand.Uint64()
	s.luck.Unlock()
	return fmt.Sprintf("%08X-%04X-4%03X-8%03X-%012X", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffffffffffff)
}

// GoAway tells every connection to go away: what has been looked at is still
// answered, the rest is left unprocessed.
func (s *Server) GoAway() { s.GoAwayBecause("") }

// GoAwayBecause is GoAway with a reason other than Shutdown.
func (s *Server) GoAwayBecause(reason string) {
	if reason == "" {
		reason = "Shutdown"
	}
	s.mu.Lock()
	conns := s.open()
	s.mu.Unlock()
	for _, c := range conns {
		c.goAway(reason)
	}
}

func (s *Server) log(r Request) {
	s.metrics.request(r.Status, r.Reason)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) >= s.opts.KeepRequests {
		s.requests = slices.Delete(s.requests, 0, max(1, s.opts.KeepRequests/10))
	}
	s.requests = append(s.requests, r)
}
