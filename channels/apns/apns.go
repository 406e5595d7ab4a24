// Package apns sends pushes through the Apple Push Notification service.
//
// It uses apns2's notification, payload and key types, but not its client: that
// loses the status of answers that are not JSON and the Retry-After header, signs
// by its own clock, and lets net/http open hundreds of connections while Apple
// allows one stream. The connections are owned (see internal/h2conn): one request
// in flight until Apple accepted a push, then at most 0.9 of Apple's limit, one
// or a few connections per environment, all with the one team's provider token.
//
// # What the outcomes rest on
//
// BadDeviceToken is TokenGone here, although Apple also says it of a good token
// of the other environment: a Target names its environment, and learning it by
// trial belongs to who keeps the targets, not to this package. TokenGone is not
// proof of an uninstalled app (Apple blurs it on purpose); GoneSince tells
// whether a later registration is newer.
package apns

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/payload"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/internal/h2conn"
)

// Environments of a Target.
const (
	Production = "production" // also when empty
	Sandbox    = "sandbox"    // tokens of apps built for development
)

const (
	maxPayload    = 4096 // bytes of JSON, for an alert
	maxCollapseID = 64   // bytes
	maxTokenHex   = 400  // Live Activity tokens have been seen at 160; Apple sets no limit
)

// Keys beside "aps" in the payload. Every key that begins with "footfall_" is
// ours.
const (
	keyMessageID  = "footfall_message_id"  // the delivery: the SDK's dedupe key
	keyCampaignID = "footfall_campaign_id" // absent when the message has none
	keyDeepLink   = "deep_link"            // absent when the message has none
	keyImageURL   = "image_url"            // for the app's Notification Service Extension; absent when the message has none
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
	PrivateKeyPEM []byte         // the .p8 file
	Topic         string         // bundle id, for targets without one; may be empty
	ProductionURL string         // empty means Apple's
	SandboxURL    string         // empty means Apple's
	RootCAs       *x509.CertPool // nil means the system's
	MaxConns      int            // connections per environment; 0 means 2
	Timeout       time.Duration  // of one attempt; 0 means 20 s
	PingAfter     time.Duration  // silence before a health ping; 0 means 15 s
	PingTimeout   time.Duration  // without an answer the connection is given up; 0 means 15 s
	Logger        *slog.Logger   // nil logs nothing
	// Now is the clock of provider tokens and expiry; nil means time.Now. Apple
	// refuses provider tokens of a clock that is an hour off.
	Now func() time.Time
}

// Sender sends for one team. It is safe for concurrent use.
type Sender struct {
	opts     Options
	provider *provider
	pools    map[string]*h2conn.Pool // by environment
	log      *slog.Logger
}

var _ channels.Sender = (*Sender)(nil)

// New makes a sender. It makes no request: a key that Apple refuses shows as a
// Misconfigured outcome.
func New(o Options) (*Sender, error) {
	if o.ProductionURL == "" {
		o.ProductionURL = apns2.HostProduction
	}
	if o.SandboxURL == "" {
		o.SandboxURL = apns2.HostDevelopment
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 2
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
	p, err := newProvider(o)
	if err != nil {
		return nil, err
	}
	s := &Sender{opts: o, provider: p, pools: make(map[string]*h2conn.Pool), log: o.Logger}
	for env, raw := range map[string]string{Production: o.ProductionURL, Sandbox: o.SandboxURL} {
		base, err := url.Parse(raw)
		if err != nil || base.Host == "" || base.Scheme != "https" {
			return nil, &OptionError{env + "_url", "must be an https URL"}
		}
		s.pools[env] = h2conn.New(h2conn.Options{
			URL: base, TLS: &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			MaxConns: o.MaxConns, WarmUp: true, PingAfter: o.PingAfter, PingTimeout: o.PingTimeout,
		})
	}
	return s, nil
}

// Close closes the connections and returns when nothing of the sender runs any
// more. Requests in flight end as ambiguous: drain before.
func (s *Sender) Close() error {
	for _, p := range s.pools {
		p.Close()
	}
	return nil
}

// Send makes one attempt. Within it the request is repeated only where Apple
// certainly did not act on it: a refused stream, a connection that was told to
// go away, and once when the provider token had expired.
func (s *Sender) Send(ctx context.Context, m channels.Message) (channels.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return channels.Outcome{}, fmt.Errorf("nothing was sent: %w", err)
	}
	n, err := s.notification(m)
	if err != nil {
		return channels.Outcome{}, err
	}
	pool := s.pools[environment(m.Target)]
	if pool == nil {
		return channels.Outcome{}, &channels.MessageError{Code: channels.Invalid, Field: "target.environment", Msg: "must be production or sandbox"}
	}
	limited, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	out, err := s.attempt(ctx, limited, pool, n)
	if err != nil {
		return channels.Outcome{}, err
	}
	s.log.LogAttrs(ctx, slog.LevelDebug, "apns attempt",
		slog.String("attempt_id", m.AttemptID), slog.Any("token", m.Target.Token),
		slog.String("kind", string(out.Kind)), slog.Int("status", out.Status),
		slog.String("reason", out.Reason), slog.Bool("ambiguous", out.Ambiguous))
	return out, nil
}

func (s *Sender) attempt(ctx, limited context.Context, pool *h2conn.Pool, n *apns2.Notification) (channels.Outcome, error) {
	bearer, err := s.provider.bearer()
	if err != nil {
		return channels.Outcome{}, err
	}
	for {
		res := pool.Do(limited, h2conn.Request{
			Path:   "/3/device/" + n.DeviceToken,
			Header: header(n, bearer),
			Body:   n.Payload.([]byte),
			Again:  goingAway,
		})
		if res.Status == 0 {
			return h2conn.NoAnswer(ctx, res)
		}
		out := classify(res, s.opts.Now())
		if out.Reason != apns2.ReasonExpiredProviderToken {
			return out, nil
		}
		renewed, ok, err := s.provider.renew(bearer)
		if err != nil || !ok {
			return out, err
		}
		bearer = renewed
	}
}

// goingAway recognises answers that are about the connection: Apple closes it
// and has not looked at the request.
func goingAway(status int, body []byte) bool {
	if status != http.StatusBadRequest && status != http.StatusServiceUnavailable {
		return false
	}
	r := parseAnswer(body).Reason
	return r == "IdleTimeout" || r == apns2.ReasonShutdown
}

func environment(t channels.Target) string {
	if t.Environment == "" {
		return Production
	}
	return t.Environment
}

// notification maps a Message onto Apple's.
func (s *Sender) notification(m channels.Message) (*apns2.Notification, error) {
	topic := m.Target.Topic
	if topic == "" {
		topic = s.opts.Topic
	}
	token := string(m.Target.Token)
	switch {
	case token == "":
		return nil, &channels.MessageError{Code: channels.Missing, Field: "target.token", Msg: "APNs needs a device token"}
	case !isHex(token) || len(token) > maxTokenHex:
		return nil, &channels.MessageError{Code: channels.Invalid, Field: "target.token", Msg: "must be hexadecimal"}
	case topic == "":
		return nil, &channels.MessageError{Code: channels.Missing, Field: "target.topic", Msg: "neither the target nor the sender has one"}
	case !headerSafe(topic):
		return nil, &channels.MessageError{Code: channels.Invalid, Field: "target.topic", Msg: "must be visible ASCII"}
	case m.AttemptID == "":
		return nil, &channels.MessageError{Code: channels.Missing, Field: "attempt_id", Msg: "without it a repeat could not replace"}
	case len(m.AttemptID) > maxCollapseID:
		return nil, &channels.MessageError{Code: channels.TooLong, Field: "attempt_id", Msg: fmt.Sprintf("%d bytes, at most %d", len(m.AttemptID), maxCollapseID)}
	case !headerSafe(m.AttemptID):
		return nil, &channels.MessageError{Code: channels.Invalid, Field: "attempt_id", Msg: "must be visible ASCII"}
	case !m.ExpiresAt.IsZero() && !m.ExpiresAt.After(s.opts.Now()):
		return nil, &channels.MessageError{Code: channels.Expired, Field: "expires_at", Msg: "it has passed"}
	}
	body, err := render(m)
	if err != nil {
		return nil, err
	}
	n := &apns2.Notification{
		ApnsID:      apnsID(m.AttemptID),
		CollapseID:  m.AttemptID,
		DeviceToken: token,
		Topic:       topic,
		Expiration:  m.ExpiresAt,
		Priority:    apns2.PriorityLow,
		Payload:     body,
		PushType:    apns2.PushTypeAlert,
	}
	if m.HighPrio {
		n.Priority = apns2.PriorityHigh
	}
	return n, nil
}

// render makes the payload and refuses what Apple would, naming the field that
// takes most room.
func render(m channels.Message) ([]byte, error) {
	p := payload.NewPayload().AlertTitle(m.Title).AlertBody(m.Body)
	if m.HighPrio {
		p.Sound("default")
	}
	if m.ImageURL != "" {
		p.MutableContent().Custom(keyImageURL, m.ImageURL)
	}
	for k, v := range m.Data {
		if k == "aps" || k == "" || k == keyDeepLink || k == keyImageURL || strings.HasPrefix(k, "footfall_") {
			return nil, &channels.MessageError{Code: channels.Reserved, Field: "data." + k, Msg: "the key belongs to Apple or to Footfall"}
		}
		p.Custom(k, v)
	}
	for k, v := range map[string]string{keyMessageID: m.DeliveryID, keyCampaignID: m.CampaignID, keyDeepLink: m.DeepLink} {
		if v != "" {
			p.Custom(k, v)
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("render the payload: %w", err)
	}
	if len(b) > maxPayload {
		field, most := longest(m)
		return nil, &channels.MessageError{
			Code: channels.TooLong, Field: field,
			Msg: fmt.Sprintf("%d bytes of a payload of %d, which may have %d", most, len(b), maxPayload),
		}
	}
	return b, nil
}

func longest(m channels.Message) (field string, most int) {
	add := func(f string, n int) {
		if n > most || n == most && f < field {
			field, most = f, n
		}
	}
	add("title", len(m.Title))
	add("body", len(m.Body))
	add(keyDeepLink, len(m.DeepLink))
	add(keyImageURL, len(m.ImageURL))
	for k, v := range m.Data {
		add("data."+k, len(k)+len(v))
	}
	return field, most
}

// header makes the request's headers; keys are in Go's canonical form and go out
// in lower case.
func header(n *apns2.Notification, bearer string) http.Header {
	h := http.Header{
		"Authorization":    {"bearer " + bearer},
		"Content-Type":     {"application/json"},
		"User-Agent":       {"footfall"},
		"Apns-Id":          {n.ApnsID},
		"Apns-Collapse-Id": {n.CollapseID},
		"Apns-Topic":       {n.Topic},
		"Apns-Push-Type":   {string(n.PushType)},
		"Apns-Priority":    {strconv.Itoa(n.Priority)},
	}
	if !n.Expiration.IsZero() {
		h["Apns-Expiration"] = []string{strconv.FormatInt(n.Expiration.Unix(), 10)}
	}
	return h
}

// apnsID is a UUID (version 8, RFC 9562 §5.8) that is the same for every repeat
// of an attempt.
func apnsID(attemptID string) string {
	h := sha256.Sum256([]byte(attemptID))
	h[6] = h[6]&0x0f | 0x80
	h[8] = h[8]&0x3f | 0x80
	x := hex.EncodeToString(h[:16])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

func isHex(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s)%2 == 0
}

func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
