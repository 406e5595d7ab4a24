// Package apnssim is an Apple Push Notification service for tests and the demo:
// a TLS server that speaks only HTTP/2 and only as much of it as APNs needs, so
// that it can do what net/http's server cannot and Apple does: raise and lower
// the stream limit of a living connection, refuse streams, and send GOAWAY with
// requests left unprocessed. It verifies provider tokens, headers, device tokens
// and payloads, and hands what it accepts to a virtual phone.
//
// # Outcomes by token
//
// Token makes a device token that chooses its outcome; any other hexadecimal
// token is accepted. With a number in the kind ("outage-2") the outcome comes
// that many times and then the push is accepted.
//
//	unregistered, expired   410 Unregistered, ExpiredToken, with a timestamp an hour ago
//	badtoken, nottopic      400 BadDeviceToken, DeviceTokenNotForTopic
//	forbidden               403 Forbidden
//	badkey                  403 BadEnvironmentKeyInToken
//	quota                   429 TooManyRequests, Retry-After 1
//	outage                  503 ServiceUnavailable, Retry-After 1
//	internal                500 InternalServerError, without Retry-After
//	html502                 502 with a proxy's HTML
//	idle                    400 IdleTimeout; once unless a number is given
//	shutdown                503 Shutdown; once unless a number is given
//	refuse                  the stream is refused (REFUSED_STREAM); once unless a number is given
//	goaway                  GOAWAY below this stream; once unless a number is given
//	drop                    accepted, but the stream is reset instead of answered; once unless a number is given
//	kill                    accepted, but the connection is closed; once unless a number is given
//	slow                    accepted at once, answered after Options.Slow
package apnssim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/channels/internal/simtoken"
)

const (
	tokenBytes = 32
	teamID     = "FOOTFALL01"
	keyID      = "SIMKEY0001"
)

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

// Delivered is a push that the simulator accepted.
type Delivered struct {
	Token      string
	MessageID  string // footfall_message_id
	APNsID     string // apns-id
	CollapseID string // apns-collapse-id: the attempt id
	Topic      string
	Title      string
	Body       string
	Data       map[string]string // the payload's other strings
	Priority   int
	Expiration time.Time // zero when the request has none; 1970 means once
	At         time.Time // when the request had arrived
	Raw        json.RawMessage
}

// Request is a line of the log: one push request that arrived, whatever came of
// it.
type Request struct {
	At         time.Time // when it had arrived
	Token      string
	APNsID     string
	CollapseID string // the attempt id
	MessageID  string
	Status     int    // what was answered; 0 means that no answer was given
	Reason     string // Apple's, empty when accepted
	Accepted   bool   // the push went to the phone (also when no answer was given)
}

// Options configure a Server. The zero value works.
type Options struct {
	Addr           string        // empty means 127.0.0.1 on a free port
	Topics         []string      // bundle ids; empty means any
	Latency        time.Duration // before a request is looked at
	Slow           time.Duration // of the "slow" kind; 0 means 30 s
	InitialStreams uint32        // a connection's stream limit until it had a success; 0 means 1
	MaxStreams     uint32        // and after; 0 means 1000
	// DropOnReject lowers a connection's limit to one after a refused push until
	// its next success.
	DropOnReject bool
	// MinTokenUpdate refuses a provider token that comes sooner after the last
	// new one. Apple's is 20 minutes; 0 means no check.
	MinTokenUpdate time.Duration
	// OnAccept gets every accepted push before it is answered. It is called from
	// many goroutines and must not block.
	OnAccept func(Delivered)
	// KeepRequests bounds the log; the oldest go first. 0 means 1,000,000.
	KeepRequests int
	Now          func() time.Time // nil means time.Now
}

// Server is a running simulator of one environment.
type Server struct {
	opts  Options
	key   *ecdsa.PrivateKey
	roots *x509.CertPool
	cert  []byte // DER
	ln    net.Listener
	tls   *tls.Config
	wg    sync.WaitGroup // the listener, connections and delayed answers
	uses  simtoken.Counter
	total atomic.Int64 // connections accepted
	peak  atomic.Int64 // most streams open on one connection

	mu       sync.Mutex
	closed   bool
	conns    map[*conn]struct{}
	requests []Request
	bearers  map[string]*bearer // provider tokens that verified
	newest   time.Time          // when the last new provider token came
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
	if o.Now == nil {
		o.Now = time.Now
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a provider key: %w", err)
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
		opts: o, key: key, roots: roots, cert: cert.Leaf.Raw, ln: ln,
		tls:   &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12},
		conns: make(map[*conn]struct{}), bearers: make(map[string]*bearer),
	}
	s.wg.Go(s.serve)
	return s, nil
}

// certificate makes a certificate that is its own authority.
func certificate() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
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
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
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

// Key is the provider key that the server knows.
func (s *Server) Key() (team, kid string, p8 []byte) {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		return teamID, keyID, nil // a key that we made ourselves can be marshalled
	}
	return teamID, keyID, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Share makes the server accept the provider key of another one, as Apple's two
// environments do.
func (s *Server) Share(other *Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = other.key
}

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

// ProviderTokens counts the provider tokens seen.
func (s *Server) ProviderTokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bearers)
}

// ExpireTokens makes every provider token seen so far ExpiredProviderToken.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bearers {
		b.expired.Store(true)
	}
}

// GoAway tells every connection to go away: what has been looked at is still
// answered, the rest is left unprocessed.
func (s *Server) GoAway() {
	s.mu.Lock()
	conns := s.open()
	s.mu.Unlock()
	for _, c := range conns {
		c.goAway()
	}
}

func (s *Server) log(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) >= s.opts.KeepRequests {
		s.requests = slices.Delete(s.requests, 0, max(1, s.opts.KeepRequests/10))
	}
	s.requests = append(s.requests, r)
}
