// Package fcmsim is a Firebase Cloud Messaging server for tests and the demo: a
// real HTTP server with an OAuth token endpoint, the checks of the HTTP v1 API
// that a sender can trip over, and error bodies in FCM's shape. What it accepts
// it hands to a virtual phone.
//
// # Outcomes by token
//
// A token "<kind>-<name>" or "<kind>-<n>-<name>" chooses its outcome; any other
// is accepted. With n the outcome comes n times and then the push is accepted.
//
//	unregistered   404 UNREGISTERED
//	mismatch       403 SENDER_ID_MISMATCH
//	invalid        400 INVALID_ARGUMENT with FcmError, as for a malformed token
//	apnsauth       401 THIRD_PARTY_AUTH_ERROR
//	unauthorized   401 UNAUTHENTICATED, as for a revoked access token
//	quota          429 QUOTA_EXCEEDED, Retry-After 1
//	outage         503 UNAVAILABLE, Retry-After 1
//	internal       500 INTERNAL
//	html502        502 with a gateway's HTML
//	drop           accepted, but the stream is reset instead of answered; once unless n is given
//	slow           accepted at once, answered after Options.Slow
package fcmsim

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/footfall-engage/footfall/channels/internal/simtoken"
)

// Token makes a token of a kind, "outage" or "outage-2".
func Token(kind, name string) string { return kind + "-" + name }

// Delivered is a push that the simulator accepted.
type Delivered struct {
	Token       string
	MessageID   string // data.footfall_message_id
	Tag         string // android.notification.tag: the attempt id
	CollapseKey string
	Title       string
	Body        string
	ImageURL    string
	Data        map[string]string
	TTL         time.Duration // -1 when the message has none
	High        bool          // android.priority is "high"
	At          time.Time     // when the request had arrived
	Name        string        // what the answer calls it
	Raw         json.RawMessage
}

// Request is a line of the log: one send request that arrived, whatever came of
// it.
type Request struct {
	At        time.Time // when it had arrived
	Token     string    // empty when the body was unreadable or not looked at
	MessageID string
	Tag       string // the attempt id
	Status    int    // what was answered; 0 means that no answer was given
	Code      string // FCM's error code, empty when accepted
	Accepted  bool   // the push went to the phone (also when no answer was given)
}

// Options configure a Server. The zero value works.
type Options struct {
	Addr      string        // empty means 127.0.0.1 on a free port
	ProjectID string        // empty means "footfall-sim"
	Latency   time.Duration // before a send request is looked at
	Slow      time.Duration // of the "slow" kind; 0 means 30 s
	TokenLife time.Duration // of access tokens; 0 means 1 h
	// OnAccept gets every accepted push before it is answered. It is called
	// from many goroutines and must not block.
	OnAccept func(Delivered)
	// KeepRequests bounds the log; the oldest go first. 0 means 1,000,000.
	KeepRequests int
	Now          func() time.Time // nil means time.Now
}

// Server is a running simulator.
type Server struct {
	opts   Options
	key    *rsa.PrivateKey
	http   *http.Server
	wg     sync.WaitGroup // handlers
	url    string
	stop   context.CancelFunc
	ctx    context.Context // ends with Close: ends slow answers
	done   chan struct{}
	issued atomic.Uint64
	names  atomic.Uint64
	uses   simtoken.Counter

	mu       sync.RWMutex
	bearers  map[string]time.Time // access token to its end
	requests []Request
	tokens   int // token requests that were granted
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
	if o.Now == nil {
		o.Now = time.Now
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make a service account key: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		stop()
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{
		opts: o, key: key, ctx: ctx, stop: stop, done: make(chan struct{}),
		url: "http://" + ln.Addr().String(), bearers: make(map[string]time.Time),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /v1/projects/{project}/{method}", s.send)
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
	return s, nil
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

// ProjectID is the project that it serves.
func (s *Server) ProjectID() string { return s.opts.ProjectID }

const (
	clientEmail = "sender@footfall-sim.iam.gserviceaccount.com"
	keyID       = "fcmsim-key-1"
	wantScope   = "https://www.googleapis.com/auth/firebase.messaging"
	maxBody     = 64 << 10
)

// Credentials is a service account's key file whose token_uri is the simulator.
func (s *Server) Credentials() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		return nil // a key that we made ourselves can be marshalled
	}
	b, _ := json.Marshal(map[string]string{
		"type":           "service_account",
		"project_id":     s.opts.ProjectID,
		"private_key_id": keyID,
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":   clientEmail,
		"client_id":      "100000000000000000001",
		"token_uri":      s.url + "/token",
	})
	return b
}

// ExpireTokens makes every access token issued so far invalid.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.bearers)
}

// TokensIssued counts the access tokens issued.
func (s *Server) TokensIssued() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tokens
}

// Requests is a copy of the log, oldest first.
func (s *Server) Requests() []Request {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.requests)
}

// Accepted counts how often each attempt id was accepted.
func (s *Server) Accepted() map[string]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := make(map[string]int)
	for _, r := range s.requests {
		if r.Accepted {
			m[r.Tag]++
		}
	}
	return m
}

func (s *Server) log(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) >= s.opts.KeepRequests {
		s.requests = slices.Delete(s.requests, 0, max(1, s.opts.KeepRequests/10))
	}
	s.requests = append(s.requests, r)
}

// token is the OAuth endpoint: RFC 7523, an assertion for an access token.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuseToken(w, "unsupported_grant_type", "only JWT bearer grants")
		return
	}
	if err := s.checkAssertion(r.PostFormValue("assertion")); err != nil {
		refuseToken(w, "invalid_grant", err.Error())
		return
	}
	bearer := "ya29.sim-" + strconv.FormatUint(s.issued.Add(1), 10)
	s.mu.Lock()
	s.bearers[bearer] = s.opts.Now().Add(s.opts.TokenLife)
	s.tokens++
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{
		"access_token": bearer, "token_type": "Bearer", "expires_in": int(s.opts.TokenLife / time.Second),
	})
}

func (s *Server) checkAssertion(assertion string) error {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(assertion, claims,
		func(t *jwt.Token) (any, error) {
			if t.Header["kid"] != keyID {
				return nil, errors.New("unknown key id")
			}
			return &s.key.PublicKey, nil
		},
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(clientEmail), jwt.WithAudience(s.url+"/token"),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(s.opts.Now), jwt.WithLeeway(30*time.Second))
	if err != nil {
		return fmt.Errorf("assertion: %w", err)
	}
	exp, _ := claims.GetExpirationTime()
	iat, err := claims.GetIssuedAt()
	if err != nil || iat == nil || exp.Sub(iat.Time) > time.Hour+time.Minute {
		return errors.New("assertion: must be valid for at most one hour from iat")
	}
	scope, _ := claims["scope"].(string)
	if !slices.Contains(strings.Fields(scope), wantScope) {
		return errors.New("assertion: scope lacks firebase.messaging")
	}
	return nil
}

func refuseToken(w http.ResponseWriter, code, why string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": why})
}

// send is messages:send.
func (s *Server) send(w http.ResponseWriter, r *http.Request) {
	entry := Request{At: s.opts.Now()}
	if s.opts.Latency > 0 {
		t := time.NewTimer(s.opts.Latency)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			s.log(entry)
			return
		}
	}
	refuse := func(f fault) {
		entry.Status, entry.Code = f.status, f.code
		s.log(entry)
		f.write(w)
	}
	if r.PathValue("method") != "messages:send" {
		refuse(notFound)
		return
	}
	if f, ok := s.authorize(r); !ok {
		refuse(f)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(invalid("Request payload size exceeds the limit"))
		return
	}
	req, f, ok := parse(body)
	entry.Token, entry.MessageID, entry.Tag = req.Message.Token, req.Message.Data["footfall_message_id"], req.Message.Android.Notification.Tag
	if !ok {
		refuse(f)
		return
	}
	kind, times, _ := simtoken.Split(req.Message.Token)
	if f, ok := faults[kind]; ok && s.strikes(req.Message.Token, times) {
		refuse(f)
		return
	}
	name := "projects/" + s.opts.ProjectID + "/messages/0:" + strconv.FormatUint(s.names.Add(1), 10)
	if req.ValidateOnly {
		name = "projects/" + s.opts.ProjectID + "/messages/fake_message_id"
	} else {
		entry.Accepted = true
		if s.opts.OnAccept != nil {
			s.opts.OnAccept(req.delivered(entry.At, name, body))
		}
	}
	switch {
	case kind == "drop" && s.uses.Next(req.Message.Token) <= max(times, 1):
		s.log(entry)
		panic(http.ErrAbortHandler) // net/http's way to end a stream without an answer
	case kind == "slow":
		t := time.NewTimer(s.opts.Slow)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			s.log(entry)
			return
		case <-s.ctx.Done():
			s.log(entry)
			return
		}
	}
	entry.Status = http.StatusOK
	s.log(entry)
	answer(w, http.StatusOK, map[string]string{"name": name})
}

// strikes tells whether a fault is still due: always, or the first n times.
func (s *Server) strikes(token string, times int) bool {
	return times == 0 || s.uses.Next(token) <= times
}

func (s *Server) authorize(r *http.Request) (fault, bool) {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if ok {
		s.mu.RLock()
		var until time.Time
		until, ok = s.bearers[bearer]
		s.mu.RUnlock()
		ok = ok && s.opts.Now().Before(until)
	}
	if !ok {
		return unauthenticated, false
	}
	if r.PathValue("project") != s.opts.ProjectID {
		return forbiddenProject, false
	}
	return fault{}, true
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the peer may be gone
}
