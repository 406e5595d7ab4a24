// Package fcm sends pushes through Firebase Cloud Messaging's HTTP v1 API.
//
// It uses the Firebase Admin SDK's message types and its rendering, but puts its
// own transport under the SDK: that records what FCM said (the SDK loses status
// and details of some answers) and answers the SDK so that its own retries, up
// to four and without jitter, never happen. The durable queue above owns retries;
// one Send is one attempt. The exception is a 401, upon which the access token
// is renewed once and the request repeated: FCM has not looked at it.
//
// # What the outcomes rest on
//
// TokenGone is said of UNREGISTERED, of SENDER_ID_MISMATCH (the token belongs to
// another project) and of INVALID_ARGUMENT where FCM blames the token or nothing
// in particular. All three have been seen for tokens that later worked:
// deactivate the token, do not delete it, and reactivate it when the app
// registers it again. A burst of them means a wrong credential or a malformed
// message, not a thousand uninstalled apps. An INVALID_ARGUMENT that blames
// another field, or that comes without details (FCM's answer to an oversized
// message), is Rejected and leaves the token alone.
package fcm

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/messaging"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/option"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/internal/h2conn"
)

const (
	googleEndpoint = "https://fcm.googleapis.com"
	scope          = "https://www.googleapis.com/auth/firebase.messaging"
)

// OptionError is the error of New for an option that cannot be used. It never
// carries the credential.
type OptionError struct {
	Field string // "credentials_json"
	Msg   string
}

// Error gives field and reason.
func (e *OptionError) Error() string { return "fcm: " + e.Field + ": " + e.Msg }

// Options configure a Sender.
type Options struct {
	ProjectID       string // empty means the service account's project
	CredentialsJSON []byte // a service account's key file; its token_uri is where access tokens come from
	// Endpoint is the base URL; empty means Google's. With "http" the requests
	// go over HTTP/2 without TLS, as the simulator speaks it.
	Endpoint  string
	RootCAs   *x509.CertPool // nil means the system's
	ChannelID string         // Android notification channel; empty means the app's default
	MaxConns  int            // HTTP/2 connections, each with up to 90 (0.9 of the limit) in flight; 0 means 4
	Timeout   time.Duration  // of one attempt; 0 means 20 s
	Logger    *slog.Logger   // nil logs nothing
	Now       func() time.Time
}

// Sender sends to one Firebase project. It is safe for concurrent use.
type Sender struct {
	opts   Options
	client *messaging.Client
	tokens *tokens
	pool   *h2conn.Pool
	log    *slog.Logger
}

var _ channels.Sender = (*Sender)(nil)

// New makes a sender. It makes no request: a credential that Google refuses
// shows as a Misconfigured outcome.
func New(o Options) (*Sender, error) {
	conf, err := google.JWTConfigFromJSON(o.CredentialsJSON, scope)
	if err != nil {
		return nil, &OptionError{"credentials_json", "not a service account's key file"}
	}
	if o.ProjectID == "" {
		var account struct {
			ProjectID string `json:"project_id"`
		}
		if err := json.Unmarshal(o.CredentialsJSON, &account); err != nil || account.ProjectID == "" {
			return nil, &OptionError{"project_id", "neither given nor in the credentials"}
		}
		o.ProjectID = account.ProjectID
	}
	if o.Endpoint == "" {
		o.Endpoint = googleEndpoint
	}
	base, err := url.Parse(o.Endpoint)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, &OptionError{"endpoint", "must be an http or https URL"}
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 4
	}
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	tlsConfig := &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}
	s := &Sender{
		opts:   o,
		tokens: newTokens(conf, tlsConfig, o.Now),
		pool:   h2conn.New(h2conn.Options{URL: base, TLS: tlsConfig, MaxConns: o.MaxConns}),
		log:    o.Logger,
	}
	ctx := context.Background()
	app, err := firebase.NewApp(ctx, &firebase.Config{ProjectID: o.ProjectID},
		option.WithHTTPClient(&http.Client{Transport: (*recorder)(s)}),
		option.WithEndpoint(strings.TrimSuffix(o.Endpoint, "/")+"/v1"))
	if err == nil {
		s.client, err = app.Messaging(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("set up the Firebase messaging client: %w", err)
	}
	return s, nil
}

// Close closes the connections and returns when nothing of the sender runs any
// more. Requests in flight end as ambiguous: drain before.
func (s *Sender) Close() error {
	s.tokens.close()
	s.pool.Close()
	return nil
}

// record is what one call of the SDK did on the network. It travels to the
// transport in the context because the SDK has no other way through.
type record struct {
	made    bool // the one attempt was made
	result  h2conn.Result
	authErr error // no access token could be had, so that no attempt was made
}

type recordKey struct{}

// Send makes one attempt.
func (s *Sender) Send(ctx context.Context, m channels.Message) (channels.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return channels.Outcome{}, fmt.Errorf("nothing was sent: %w", err)
	}
	msg, err := s.message(m)
	if err != nil {
		return channels.Outcome{}, err
	}
	limited, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	var rec record
	name, err := s.client.Send(context.WithValue(limited, recordKey{}, &rec), msg)
	if !rec.made {
		// The SDK refused the message before it asked the transport.
		return channels.Outcome{}, &channels.MessageError{Code: channels.Invalid, Field: "message", Msg: err.Error()}
	}
	out, err := s.outcome(ctx, &rec, name)
	if err != nil {
		return channels.Outcome{}, err
	}
	s.log.LogAttrs(ctx, slog.LevelDebug, "fcm attempt",
		slog.String("attempt_id", m.AttemptID), slog.Any("token", m.Target.Token),
		slog.String("kind", string(out.Kind)), slog.Int("status", out.Status),
		slog.String("reason", out.Reason), slog.Bool("ambiguous", out.Ambiguous))
	return out, nil
}

func (s *Sender) outcome(ctx context.Context, rec *record, name string) (channels.Outcome, error) {
	switch {
	case rec.authErr != nil:
		if ctx.Err() != nil {
			return channels.Outcome{}, fmt.Errorf("nothing was sent: %w", ctx.Err())
		}
		return authOutcome(rec.authErr, s.opts.Now())
	case rec.result.Status == 0:
		return h2conn.NoAnswer(ctx, rec.result)
	default:
		return classify(rec.result, name, s.opts.Now()), nil
	}
}

// recorder is the Sender as the SDK's transport. It never lets the SDK see an
// error or a 503, the two things that it repeats.
type recorder Sender

// RoundTrip makes the one attempt and records it.
func (t *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	defer func() { _ = req.Body.Close() }()
	rec, ok := req.Context().Value(recordKey{}).(*record)
	if !ok {
		return nil, errors.New("fcm: a request outside Send")
	}
	if !rec.made {
		rec.made = true
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, fmt.Errorf("read the SDK's request: %w", err)
		}
		t.attempt(req, body, rec)
	}
	status := rec.result.Status
	answer := rec.result.Body
	if status != http.StatusOK {
		status, answer = http.StatusInternalServerError, nil
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(answer)), Request: req,
	}, nil
}

// attempt sends the request; after a 401 it renews the access token and repeats
// it once.
func (t *recorder) attempt(req *http.Request, body []byte, rec *record) {
	ctx := req.Context()
	token, err := t.tokens.get(ctx)
	if err != nil {
		rec.authErr = err
		return
	}
	for {
		header := req.Header.Clone()
		header.Set("Authorization", "Bearer "+token)
		rec.result = t.pool.Do(ctx, h2conn.Request{Path: req.URL.Path, Header: header, Body: body})
		if rec.result.Status != http.StatusUnauthorized || parseError(rec.result.Body).code == "THIRD_PARTY_AUTH_ERROR" {
			if rec.result.Status != 0 {
				t.tokens.worked(token)
			}
			return
		}
		renewed, again := t.tokens.renew(ctx, token)
		if !again {
			return // the 401 stands
		}
		token = renewed
	}
}
