// Package apns sends pushes through the Apple Push Notification service.
//
// It uses apns2's notification, payload and key types, but not its client: that
// loses the status of answers that are not JSON and the Retry-After header, signs
// by its own clock, and lets net/http open hundreds of connections while Apple
// allows one stream. The connections are owned (see internal/h2conn): one request
// in flight until Apple accepted a push, then at most 0.9 of Apple's limit, one
// or a few connections per team and environment, all with the team's one provider
// token (see Shared).
//
// # What the outcomes rest on
//
// Apple says BadDeviceToken also of a good token of the other environment. The
// other one is then asked once (also when the key is not for the first); if the token lives there, Outcome.Environment says
// so, and whoever keeps the targets should remember it, because every push would
// ask twice otherwise. TokenGone is not proof of an uninstalled app (Apple blurs
// it on purpose); GoneSince tells whether a later registration is newer.
//
// A phone names its topic and environment itself, and need not tell the truth: a
// topic other than the sender's that the key may not use is TokenGone, and a
// sandbox for which the key is not made is Rejected. Neither is Misconfigured, by
// which one phone would stop the pushes of all.
//
// An ambiguous start of a Live Activity that is repeated may start a second one:
// Apple collapses notifications, not activities. Updates and ends are safe to
// repeat, for iOS goes by their timestamp.
//
// # The payload
//
// Beside "aps" the payload has the message's Data and keys of ours, all strings:
//
//	footfall_message_id   the delivery, by which the SDK shows a message once
//	footfall_campaign_id  absent when the message has none
//	footfall_actions      the buttons, a JSON array of {"id","label","deep_link"}; absent without buttons
//	deep_link             absent when the message has none
//	image_url             for the app's Notification Service Extension; absent when the message has none
//
// An image, and buttons without a category, need the extension: they make the
// content mutable. A silent push has "content-available" and these keys, and
// nothing that could be shown.
package apns

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/sideshow/apns2"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/internal/h2conn"
)

// Environments of a Target.
const (
	Production = "production" // also when empty
	Sandbox    = "sandbox"    // tokens of apps built for development
)

// OptionError is the error of New for an option that cannot be used. It never
// carries the key.
type OptionError struct {
	Field string // "private_key_pem"
	Msg   string
}

// Error gives field and reason.
func (e *OptionError) Error() string { return "apns: " + e.Field + ": " + e.Msg }

// Options configure a Sender.
type Options struct {
	TeamID        string
	KeyID         string
	PrivateKeyPEM []byte // the .p8 file
	Topic         string // bundle id, for targets without one; may be empty
	// ProductionURL and SandboxURL are the servers; both empty means Apple's. When
	// one is given and the other empty, there is no other: its targets are refused.
	ProductionURL string
	SandboxURL    string
	RootCAs       *x509.CertPool // nil means the system's
	MaxConns      int            // connections per environment; 0 means 2
	Timeout       time.Duration  // of one attempt; 0 means 20 s
	PingAfter     time.Duration  // silence before a health ping; 0 means 15 s
	PingTimeout   time.Duration  // without an answer the connection is given up; 0 means 15 s
	Shared        *Shared        // with which other senders connections are shared; nil means none
	Logger        *slog.Logger   // nil logs nothing
	// Now is the clock of provider tokens and expiry; nil means time.Now. Apple
	// refuses provider tokens of a clock that is an hour off.
	Now func() time.Time
}

// Sender sends for one app. It is safe for concurrent use.
type Sender struct {
	opts   Options
	team   *team
	log    *slog.Logger
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	sends  sync.WaitGroup
}

var _ channels.Sender = (*Sender)(nil)

// New makes a sender. It makes no request: a key that Apple refuses shows as a
// Misconfigured outcome.
func New(o Options) (*Sender, error) {
	if o.ProductionURL == "" && o.SandboxURL == "" {
		o.ProductionURL, o.SandboxURL = apns2.HostProduction, apns2.HostDevelopment
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 2
	}
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	if o.Shared == nil {
		o.Shared = new(Shared)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	t, err := o.Shared.join(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Sender{opts: o, team: t, log: o.Logger, ctx: ctx, cancel: cancel}, nil
}

// Close ends the sender and returns when nothing of it runs any more. Its requests
// in flight end as ambiguous: drain before. Connections that other senders use
// stay open.
func (s *Sender) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.sends.Wait()
	if !was {
		s.opts.Shared.leave(s.team)
	}
	return nil
}

// enter counts a Send in; false means that the sender is closed.
func (s *Sender) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.sends.Add(1)
	return true
}

// Send makes one attempt. Within it the request is repeated only where Apple
// certainly did not act on it: a refused stream, a connection that was told to
// go away, once when the provider token had expired, and once in the other
// environment when this one does not know the token or the key is not for it.
func (s *Sender) Send(ctx context.Context, m channels.Message) (channels.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return channels.Outcome{}, fmt.Errorf("nothing was sent: %w", err)
	}
	n, err := s.notification(m)
	if err != nil {
		return channels.Outcome{}, err
	}
	env := m.Target.Environment
	if env == "" {
		env = Production
		if s.team.pools[env] == nil {
			env = Sandbox
		}
	}
	pool := s.team.pools[env]
	if pool == nil {
		return channels.Outcome{}, &channels.MessageError{Code: channels.Invalid, Field: "target.environment", Msg: "must be production or sandbox, and the sender must have a server of it"}
	}
	if !s.enter() {
		return channels.Outcome{}, h2conn.ErrClosed
	}
	defer s.sends.Done()
	limited, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() //nolint:contextcheck // Close ends what callers have begun
	out, err := s.attempt(ctx, limited, pool, n)
	if err != nil {
		return channels.Outcome{}, err
	}
	switch out.Reason {
	case apns2.ReasonBadDeviceToken, reasonBadEnvironmentKeyID, reasonBadEnvironmentKey:
		if other, p := s.team.other(env); p != nil {
			if out, err = s.second(ctx, limited, other, p, n, out); err != nil {
				return channels.Outcome{}, err
			}
		}
	}
	out = s.blame(m.Target, out)
	s.log.LogAttrs(ctx, slog.LevelDebug, "apns attempt",
		slog.String("attempt_id", m.AttemptID), slog.Any("token", m.Target.Token),
		slog.String("kind", string(out.Kind)), slog.Int("status", out.Status),
		slog.String("reason", out.Reason), slog.Bool("ambiguous", out.Ambiguous))
	return out, nil
}

// attempt makes the request in one environment.
func (s *Sender) attempt(ctx, limited context.Context, pool *h2conn.Pool, n *apns2.Notification) (channels.Outcome, error) {
	bearer, err := s.team.provider.bearer()
	if err != nil {
		return channels.Outcome{}, err
	}
	for renewed := false; ; renewed = true {
		res := pool.Do(limited, h2conn.Request{
			Path:   "/3/device/" + n.DeviceToken,
			Header: header(n, bearer),
			Body:   n.Payload.([]byte),
			Again:  goingAway,
		})
		if res.Status == 0 {
			if !res.Sent && s.ctx.Err() != nil {
				return channels.Outcome{}, h2conn.ErrClosed
			}
			return h2conn.NoAnswer(ctx, res)
		}
		out := classify(res, s.opts.Now())
		switch {
		case out.Reason == apns2.ReasonTooManyProviderTokenUpdates:
			s.team.provider.keep()
			return out, nil
		case out.Reason != apns2.ReasonExpiredProviderToken || renewed:
			return out, nil
		}
		fresh, ok, err := s.team.provider.renew(bearer)
		if err != nil || !ok {
			return out, err
		}
		bearer = fresh
	}
}

// second asks the other environment when the first does not take the token. Only
// an answer about the token changes the verdict; where none can be had, the
// attempt is to be repeated.
func (s *Sender) second(ctx, limited context.Context, env string, pool *h2conn.Pool, n *apns2.Notification, first channels.Outcome) (channels.Outcome, error) {
	out, err := s.attempt(ctx, limited, pool, n)
	if err != nil {
		return channels.Outcome{}, err
	}
	switch {
	case out.Kind == channels.Accepted:
		out.Environment = env
		return out, nil
	case out.Reason == apns2.ReasonUnregistered, out.Reason == apns2.ReasonExpiredToken, out.Kind == channels.RetryAfter:
		return out, nil // it is of that environment, or nobody knows
	}
	return first, nil // unknown there too, or the key is not for that environment
}

// blame takes what a phone's own words about itself have caused off the
// credential.
func (s *Sender) blame(t channels.Target, out channels.Outcome) channels.Outcome {
	if out.Kind != channels.Misconfigured {
		return out
	}
	switch out.Reason {
	case apns2.ReasonTopicDisallowed:
		if s.opts.Topic != "" && t.Topic != "" && bundle(t.Topic) != bundle(s.opts.Topic) {
			out.Kind, out.Scope = channels.TokenGone, ""
		}
	case reasonBadEnvironmentKeyID, reasonBadEnvironmentKey:
		if t.Environment == Sandbox {
			out.Kind, out.Scope = channels.Rejected, ""
		}
	}
	return out
}

// goingAway recognises answers that are about the connection: Apple closes it
// and has not looked at the request.
func goingAway(status int, body []byte) bool {
	if status != http.StatusBadRequest && status != http.StatusServiceUnavailable {
		return false
	}
	r := parseAnswer(body).Reason
	return r == apns2.ReasonIdleTimeout || r == apns2.ReasonShutdown
}
