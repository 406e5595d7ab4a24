package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/footfall-engage/footfall/channels"
)

// Options of a Sender. The zero value is a good one.
type Options struct {
	// AllowNetworks may be called though they are not public, and by plain http.
	AllowNetworks []netip.Prefix
	RootCAs       *x509.CertPool // nil means the system's
	Timeout       time.Duration  // of an attempt, its answer included; 0 means 15 s
	UserAgent     string         // empty means "Footfall"
}

// Sender makes attempts. It is safe for concurrent use.
type Sender struct {
	o      Options
	client *http.Client
}

// Request is what is sent to whom.
type Request struct {
	URL         string
	ID          string // webhook-id: the same on every repeat, of the same events
	At          time.Time
	ContentType string
	Body        []byte
	Secrets     []Secret          // all that are in force; at least one
	Headers     map[string]string // of the receiver's own; see CheckHeader
}

// Reasons of outcomes that are no HTTP status; "http_<status>" is the reason of one
// that is.
const (
	ReasonTimeout        = "timeout"
	ReasonConnect        = "connect"         // no connection: refused, unreachable
	ReasonDNS            = "dns"             // the name is not known, or nobody could tell
	ReasonTLS            = "tls"             // the certificate is not good, or no TLS was spoken
	ReasonConnectionLost = "connection_lost" // after the request, or a part of it, was sent
	ReasonRedirect       = "redirect"
	ReasonAddress        = "address_refused"
)

// New makes a sender. It holds idle connections until Close.
func New(o Options) *Sender {
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	if o.UserAgent == "" {
		o.UserAgent = "Footfall"
	}
	return &Sender{o: o, client: &http.Client{
		Transport:     NewTransport(o.AllowNetworks, o.RootCAs),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close gives idle connections up.
func (s *Sender) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// Send makes one attempt. An error means that none was made: the request is
// malformed, or ctx had ended.
func (s *Sender) Send(ctx context.Context, r Request) (channels.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return channels.Outcome{}, err
	}
	req, err := s.request(r)
	if err != nil {
		return channels.Outcome{}, err
	}
	var wrote atomic.Bool // some of the request has left
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	resp, err := s.client.Do(req.WithContext(ctx))
	if err != nil {
		return failed(err, wrote.Load()), nil
	}
	defer func() { _ = resp.Body.Close() }() // what is of use of it has been read
	raw, err := io.ReadAll(io.LimitReader(resp.Body, channels.MaxRaw))
	if err == nil {
		// A little more, so that the connection can be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	}
	// That the body is cut off does not change what the status says.
	return classify(resp, strings.ToValidUTF8(string(raw), "\uFFFD"), r.At), nil
}

func (s *Sender) request(r Request) (*http.Request, error) {
	req, err := http.NewRequest(http.MethodPost, r.URL, bytes.NewReader(r.Body)) //nolint:noctx // Send gives it its context
	if err != nil {
		return nil, errors.New("the address of the webhook is malformed") // the error would show it
	}
	if r.ID == "" || len(r.Secrets) == 0 {
		return nil, errors.New("a webhook needs an id and a secret")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		if err := CheckHeader(name, r.Headers[name]); err != nil {
			return nil, err
		}
		req.Header.Set(name, r.Headers[name])
	}
	signatures := make([]string, len(r.Secrets))
	for i, secret := range r.Secrets {
		signatures[i] = Sign(secret, r.ID, r.At, r.Body)
	}
	req.Header.Set("Content-Type", r.ContentType)
	req.Header.Set("User-Agent", s.o.UserAgent)
	req.Header.Set(HeaderID, r.ID)
	req.Header.Set(HeaderTimestamp, strconv.FormatInt(r.At.Unix(), 10))
	req.Header.Set(HeaderSignature, strings.Join(signatures, " "))
	return req, nil
}

// CheckHeader says why a receiver's own header cannot be sent. It never shows the
// value.
func CheckHeader(name, value string) error {
	lower := strings.ToLower(name)
	switch {
	case name == "" || len(name) > 100 || strings.Trim(lower, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
		return errors.New("a header's name must be 1 to 100 of a-z, A-Z, 0-9, '-', '_'")
	case strings.HasPrefix(lower, "webhook-") || strings.HasPrefix(lower, "proxy-") || strings.HasPrefix(lower, "ce-") || slices.Contains(reserved, lower):
		return fmt.Errorf("the header %s is set by Footfall or belongs to the connection", name)
	case len(value) > 2000:
		return fmt.Errorf("the header %s must have at most 2000 bytes", name)
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("the header %s must not hold control characters", name)
		}
	}
	return nil
}

var reserved = []string{
	"accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive",
	"te", "trailer", "transfer-encoding", "upgrade", "user-agent",
}

// classify says what an answer means.
func classify(resp *http.Response, raw string, now time.Time) channels.Outcome {
	out := channels.Outcome{Status: resp.StatusCode, Reason: "http_" + strconv.Itoa(resp.StatusCode), Raw: raw}
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		out.Kind, out.Reason = channels.Accepted, ""
	case code >= 300 && code < 400:
		out.Kind, out.Reason = channels.Rejected, ReasonRedirect
	case code == http.StatusGone:
		out.Kind = channels.TokenGone
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		out.Kind = channels.RetryAfter
		out.RetryAfter = retryAfter(resp.Header, now)
		// Whoever stands in between may have handed it on.
		out.Ambiguous = code == http.StatusGatewayTimeout || code == http.StatusRequestTimeout
		if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
			out.Scope = channels.ScopeCredential // it is about the receiver, not about this event
		}
	default:
		out.Kind = channels.Rejected
	}
	return out
}

// retryAfter reads seconds or a date; 0 when there is none that can be read. A date
// is measured against the answer's own, for the receiver's clock may differ.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return max(time.Duration(n)*time.Second, 0)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
		now = theirs
	}
	return max(at.Sub(now), 0)
}

// failed says what it means that there was no answer. sent: some of the request had
// left.
func failed(err error, sent bool) channels.Outcome {
	if refused, ok := errors.AsType[*errRefused](err); ok {
		return channels.Outcome{Kind: channels.Misconfigured, Reason: ReasonAddress, Raw: refused.Error()}
	}
	out := channels.Outcome{Kind: channels.RetryAfter, Ambiguous: sent, Raw: words(err)}
	_, isDNS := errors.AsType[*net.DNSError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case isDNS && !sent:
		out.Reason = ReasonDNS
	case isNet && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		out.Reason = ReasonTimeout
	case sent:
		out.Reason = ReasonConnectionLost
	case isTLS(err):
		out.Reason = ReasonTLS
	default:
		out.Reason = ReasonConnect
	}
	return out
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	return errors.Is(err, http.ErrSchemeMismatch) || strings.Contains(err.Error(), "tls: ") // a handshake has no type of error of its own
}

// words are an error for people, without the address, which may hold a secret.
func words(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), channels.MaxRaw)], "\uFFFD")
}
