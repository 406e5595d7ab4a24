package weather

import (
	"errors"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Errors of Service; test with errors.Is. They are engage.Errors too.
var (
	// ErrDisabled: no provider is configured.
	ErrDisabled error = engage.Errorf(engage.Unsupported, "weather.contact", "weather is disabled until a contact is configured")
	// ErrBusy: too many requests are waiting; ask again later.
	ErrBusy error = engage.Errorf(engage.RateLimited, "weather", "too many weather requests are waiting")
	// ErrClosed: the service has ended.
	ErrClosed error = engage.Errorf(engage.Unavailable, "weather", "the weather service has ended")
)

// ProviderError is why a provider gave no weather. It wraps an engage.Error:
// Forbidden (the provider refuses us), RateLimited, Unavailable (it is down or
// out of reach), Invalid (it does not know the cell, or its answer is not one;
// Field names where).
type ProviderError struct {
	Provider string
	// Status is the HTTP status; 0 means that there was no answer.
	Status int
	// RetryAfter is how long the provider wants to be left alone; 0 means that
	// it did not say.
	RetryAfter time.Duration
	Err        error
}

// Error implements error.
func (e *ProviderError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("%s: %v", e.Provider, e.Err)
	}
	return fmt.Sprintf("%s: status %d: %v", e.Provider, e.Status, e.Err)
}

// Unwrap returns the engage.Error.
func (e *ProviderError) Unwrap() error { return e.Err }

// everywhere reports whether the reason holds for all cells, not for one.
func (e *ProviderError) everywhere() bool {
	code := engage.CodeOf(e.Err)
	return code == engage.Forbidden || code == engage.RateLimited || e.RetryAfter > 0
}

// How long a provider, or one cell of it, is left alone after a failure, where
// the provider does not want longer.
const (
	pauseForbidden   = 10 * time.Minute // somebody must change the configuration
	pauseRateLimited = time.Minute
	pauseFirst       = 15 * time.Second // of one cell; doubles with each failure
	pauseLongest     = 5 * time.Minute
)

// pauseAfter is how long to leave the provider alone after err and the given
// number of failures in a row, and whether that concerns all cells.
func pauseAfter(err error, failures int) (pause time.Duration, everywhere bool) {
	pause = pauseLongest
	if failures < 6 {
		pause = min(pauseFirst<<max(failures-1, 0), pauseLongest)
	}
	var pe *ProviderError
	if !errors.As(err, &pe) {
		return pause, false
	}
	switch engage.CodeOf(pe.Err) {
	case engage.Forbidden:
		pause = pauseForbidden
	case engage.RateLimited:
		pause = pauseRateLimited
	}
	return max(pause, pe.RetryAfter), pe.everywhere()
}
