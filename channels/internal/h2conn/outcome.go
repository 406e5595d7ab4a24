package h2conn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/channels"
)

// Reasons of outcomes without a provider's own code.
const (
	ReasonConnect = "connect"         // no connection could be made
	ReasonTimeout = "timeout"         // the attempt's time ended
	ReasonLost    = "connection_lost" // the connection or the stream ended without an answer
)

// NoAnswer turns a Result without a status into an Outcome, or into the error of
// Send when no attempt was made. ctx is the caller's, before the sender put its
// own time limit on it.
func NoAnswer(ctx context.Context, r Result) (channels.Outcome, error) {
	out := channels.Outcome{Kind: channels.RetryAfter, Reason: ReasonLost, Ambiguous: r.Sent}
	var dial *DialError
	switch {
	case errors.Is(r.Err, ErrClosed) && !r.Sent:
		return channels.Outcome{}, r.Err
	case ctx.Err() != nil && !r.Sent:
		return channels.Outcome{}, fmt.Errorf("nothing was sent: %w", ctx.Err())
	case errors.As(r.Err, &dial):
		out.Reason = ReasonConnect
	case errors.Is(r.Err, context.DeadlineExceeded):
		out.Reason = ReasonTimeout
	}
	return out, nil
}

// maxRetryAfter bounds what a provider (or a proxy in its name) may ask for.
const maxRetryAfter = 24 * time.Hour

// RetryAfter reads the header of that name, in seconds or as a date (RFC 9110
// §10.2.3). ok is false when it is absent or unreadable; a date in the past is 0.
func RetryAfter(h http.Header, now time.Time) (d time.Duration, ok bool) {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0, false
	}
	if s, err := strconv.ParseInt(v, 10, 64); err == nil {
		if s < 0 {
			return 0, false
		}
		return time.Duration(min(s, int64(maxRetryAfter/time.Second))) * time.Second, true
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}
