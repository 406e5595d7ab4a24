package fcm

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"
)

const (
	// renewBefore is how long before its end an access token is replaced; it is
	// used on meanwhile, so that no send waits.
	renewBefore = 5 * time.Minute
	// lastUse is how long before its end an access token is no longer used.
	lastUse = 10 * time.Second
	// renewPause keeps a credential that is refused again and again from asking
	// for a new token with every send.
	renewPause   = time.Minute
	fetchTimeout = 10 * time.Second
)

var errTokensClosed = errors.New("fcm: sender is closed")

// tokens hands out access tokens: one fetch at a time, waited for no longer than
// the caller wants.
type tokens struct {
	conf   *jwt.Config
	ctx    context.Context // carries the HTTP client to x/oauth2; ends with close
	now    func() time.Time
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	current   string
	expires   time.Time
	fetching  chan struct{} // closed when the fetch under way has ended; nil without one
	fetchErr  error         // of the last fetch
	renewed   bool          // renewed upon a 401, and not proven since
	renewedAt time.Time
}

// bound ties every request to the life of the sender: x/oauth2's JWT flow makes
// its request without a context.
type bound struct {
	base http.RoundTripper
	ctx  context.Context // the flow offers no other way to end its request
}

// RoundTrip implements http.RoundTripper.
func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	return b.base.RoundTrip(r.WithContext(b.ctx))
}

func newTokens(conf *jwt.Config, tlsConfig *tls.Config, now func() time.Time) *tokens {
	ctx, cancel := context.WithCancel(context.Background())
	base := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		TLSClientConfig:   tlsConfig.Clone(),
		ForceAttemptHTTP2: true,
		DisableKeepAlives: true, // one request an hour
	}
	client := &http.Client{Transport: bound{base, ctx}, Timeout: fetchTimeout}
	return &tokens{
		conf:   conf,
		ctx:    context.WithValue(ctx, oauth2.HTTPClient, client),
		now:    now,
		cancel: cancel,
	}
}

// get returns a token that is still good, fetching one if need be.
func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return "", errTokensClosed
	}
	left := t.expires.Sub(t.now())
	if t.current != "" && left > lastUse {
		token := t.current
		if left < renewBefore {
			t.fetch()
		}
		t.mu.Unlock()
		return token, nil
	}
	done := t.fetch()
	t.mu.Unlock()
	return t.wait(ctx, done)
}

// renew replaces a token that FCM refused. ok is false when that is not worth
// while: the last renewal did not help either, and it is less than a minute ago.
func (t *tokens) renew(ctx context.Context, refused string) (token string, ok bool) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return "", false
	}
	if t.current != refused && t.current != "" {
		token = t.current // somebody else has renewed it
		t.mu.Unlock()
		return token, true
	}
	if t.current == refused {
		if t.renewed && t.now().Sub(t.renewedAt) < renewPause {
			t.mu.Unlock()
			return "", false
		}
		t.current = ""
		t.renewed, t.renewedAt = true, t.now()
	}
	done := t.fetch()
	t.mu.Unlock()
	token, err := t.wait(ctx, done)
	return token, err == nil
}

// worked says that FCM took the token.
func (t *tokens) worked(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if token == t.current {
		t.renewed = false
	}
}

// fetch starts a fetch unless one is under way. It runs under mu.
func (t *tokens) fetch() <-chan struct{} {
	if t.fetching != nil {
		return t.fetching
	}
	done := make(chan struct{})
	t.fetching = done
	t.wg.Go(t.exchange)
	return done
}

// exchange asks for a token and ends the fetch under way.
func (t *tokens) exchange() {
	got, err := t.conf.TokenSource(t.ctx).Token()
	t.mu.Lock()
	defer t.mu.Unlock()
	done := t.fetching
	t.fetching, t.fetchErr = nil, err
	if err == nil {
		t.current, t.expires = got.AccessToken, got.Expiry
		if got.Expiry.IsZero() {
			t.expires = t.now().Add(time.Hour)
		}
	}
	close(done)
}

func (t *tokens) wait(ctx context.Context, done <-chan struct{}) (string, error) {
	select {
	case <-done:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fetchErr != nil {
		return "", t.fetchErr
	}
	return t.current, nil
}

func (t *tokens) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.wg.Wait()
}
