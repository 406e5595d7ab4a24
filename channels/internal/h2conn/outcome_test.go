package h2conn

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{"", 0, false},
		{"7", 7 * time.Second, true},
		{" 7 ", 7 * time.Second, true},
		{"0", 0, true},
		{"-1", 0, false},
		{"soon", 0, false},
		{"99999999999999", 24 * time.Hour, true},
		{"Tue, 03 Nov 2026 12:00:30 GMT", 30 * time.Second, true},
		{"Tue, 03 Nov 2026 11:00:00 GMT", 0, true},
		{"Tue, 03 Nov 2099 11:00:00 GMT", 24 * time.Hour, true},
	} {
		h := http.Header{"Retry-After": {c.value}}
		if got, ok := RetryAfter(h, now); got != c.want || ok != c.ok {
			t.Errorf("%q: %v %v, want %v %v", c.value, got, ok, c.want, c.ok)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("7")
	f.Add("Tue, 03 Nov 2026 12:00:30 GMT")
	f.Fuzz(func(t *testing.T, v string) {
		if d, _ := RetryAfter(http.Header{"Retry-After": {v}}, time.Unix(0, 0)); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %v", v, d)
		}
	})
}

func TestNoAnswerIsAnErrorOnlyWhenNothingWasAttempted(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		res  Result
		want channels.Outcome
		err  error
	}{
		{"context ended before", ended, Result{Err: context.Canceled}, channels.Outcome{}, context.Canceled},
		{"context ended after", ended, Result{Err: context.Canceled, Sent: true}, channels.Outcome{Kind: channels.RetryAfter, Reason: ReasonLost, Ambiguous: true}, nil},
		{"closed", t.Context(), Result{Err: ErrClosed}, channels.Outcome{}, ErrClosed},
		{"no connection", t.Context(), Result{Err: &DialError{context.DeadlineExceeded}}, channels.Outcome{Kind: channels.RetryAfter, Reason: ReasonConnect}, nil},
		{"own limit before", t.Context(), Result{Err: context.DeadlineExceeded}, channels.Outcome{Kind: channels.RetryAfter, Reason: ReasonTimeout}, nil},
		{"own limit after", t.Context(), Result{Err: context.DeadlineExceeded, Sent: true}, channels.Outcome{Kind: channels.RetryAfter, Reason: ReasonTimeout, Ambiguous: true}, nil},
	} {
		got, err := NoAnswer(c.ctx, c.res)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v %v", c.name, got, err)
		}
	}
}
