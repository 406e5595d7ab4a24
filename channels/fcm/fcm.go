// Package fcm sends pushes through Firebase Cloud Messaging's HTTP v1 API.
//
// It uses the Firebase Admin SDK's message types and Google's credentials, but not
// the SDK's client: that repeats on its own, up to four times and without jitter,
// loses status and details of some answers, and marshals at ten times the cost.
// What is sent is the JSON that the SDK would send (a test compares them), over
// owned HTTP/2 connections. The durable queue above owns retries; one Send is one
// attempt. The exception is a 401, upon which the access token is renewed once and
// the request repeated: FCM has not looked at it.
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
//
// A 429 says in its details which quota is used up: the device's (ScopeDevice), a
// topic's (no scope) or the project's, which is also what is taken for granted when
// it does not say (ScopeCredential). A 5xx has no scope: it says that this request
// failed, and a tenth of them failing is no reason to stop all.
//
// Misconfigured has ScopePlatform for THIRD_PARTY_AUTH_ERROR, FCM's word for a bad
// APNs or Web Push key in the Firebase project: only that platform's phones are
// affected. All else of the kind (no valid access token, no permission, no such
// project, the API disabled) has ScopeCredential.
package fcm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2/google"

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
	path   string // of send requests
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
	return &Sender{
		opts:   o,
		path:   strings.TrimSuffix(base.Path, "/") + "/v1/projects/" + o.ProjectID + "/messages:send",
		tokens: newTokens(conf, tlsConfig, o.Now),
		pool:   h2conn.New(h2conn.Options{URL: base, TLS: tlsConfig, MaxConns: o.MaxConns}),
		log:    o.Logger,
	}, nil
}

// Close closes the connections and returns when nothing of the sender runs any
// more. Requests in flight end as ambiguous: drain before.
func (s *Sender) Close() error {
	s.tokens.close()
	s.pool.Close()
	return nil
}

// Send makes one attempt.
func (s *Sender) Send(ctx context.Context, m channels.Message) (channels.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return channels.Outcome{}, fmt.Errorf("nothing was sent: %w", err)
	}
	now := s.opts.Now()
	if err := check(&m, now); err != nil {
		return channels.Outcome{}, err
	}
	msg := s.message(&m, now)
	if err := checkSize(&m, msg); err != nil {
		return channels.Outcome{}, err
	}
	limited, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	res, err := s.attempt(limited, encode(msg, m.Target.FID, m.DryRun))
	out, err := s.outcome(ctx, res, err)
	if err != nil {
		return channels.Outcome{}, err
	}
	if s.log.Enabled(ctx, slog.LevelDebug) {
		s.log.LogAttrs(ctx, slog.LevelDebug, "fcm attempt",
			slog.String("attempt_id", m.AttemptID), slog.Any("token", m.Target.Token),
			slog.String("kind", string(out.Kind)), slog.Int("status", out.Status),
			slog.String("reason", out.Reason), slog.Bool("ambiguous", out.Ambiguous))
	}
	return out, nil
}

// outcome is what an attempt came to. authErr is why there was none: no access token
// could be had.
func (s *Sender) outcome(ctx context.Context, res h2conn.Result, authErr error) (channels.Outcome, error) {
	switch {
	case authErr != nil:
		if ctx.Err() != nil {
			return channels.Outcome{}, fmt.Errorf("nothing was sent: %w", ctx.Err())
		}
		return authOutcome(authErr, s.opts.Now())
	case res.Status == 0:
		return h2conn.NoAnswer(ctx, res)
	default:
		return classify(res, s.opts.Now()), nil
	}
}

// attempt sends the request; after a 401 it renews the access token and repeats
// it once. An error means that no access token could be had.
func (s *Sender) attempt(ctx context.Context, body []byte) (h2conn.Result, error) {
	b, err := s.tokens.get(ctx)
	if err != nil {
		return h2conn.Result{}, err
	}
	for {
		res := s.pool.Do(ctx, h2conn.Request{Path: s.path, Header: b.header, Body: body})
		if res.Status != http.StatusUnauthorized || parseError(res.Body).platform() {
			if res.Status != 0 {
				s.tokens.worked(b)
			}
			return res, nil
		}
		renewed, again := s.tokens.renew(ctx, b)
		if !again {
			return res, nil // the 401 stands
		}
		b = renewed
	}
}
