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

	"github.com/footfall-engage/footfall/channels/internal/h2conn"
)

const (
	// renewBefore is how long before its end an access token is replaced; it is
	// used on meanwhile, so that no send waits.
	renewBefore = 5 * time.Minute
	// lastUse is how long before its end an access token is no longer used.
	lastUse = 10 * time.Second
	// renewPause keeps a credential that is refused again and again from asking
	// for a new token with every send.
	renewPause = time.Minute
	// failPause is how long after a failed fetch the next is not begun.
	failPause    = time.Second
	fetchTimeout = 10 * time.Second
)

var (
	errTokensClosed = errors.New("fcm: sender is closed")
	errRefused      = errors.New("fcm: the new access token is refused already")
)

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
	current   *bearer
	expires   time.Time
	fetching  chan struct{} // closed when the fetch under way has ended; nil without one
	fetchErr  error         // of the last fetch
	failedAt  time.Time     // of the last fetch, by the machine's clock; zero when it succeeded
	renewed   bool          // renewed upon a 401, and not proven since
	renewedAt time.Time
}

// bearer is an access token and the headers of the requests that carry it. The
// requests share them: nobody may change them.
type bearer struct {
	token  string
	header []h2conn.Field
}

func newBearer(token string) *bearer {
	return &bearer{token, []h2conn.Field{
		{Name: "authorization", Value: "Bearer " + token},
		{Name: "content-type", Value: "application/json"},
		{Name: "user-agent", Value: "footfall"},
		{Name: "x-goog-api-format-version", Value: "2"}, // as the SDK says; errors come with FcmError
	}}
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
func (t *tokens) get(ctx context.Context) (*bearer, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, errTokensClosed
	}
	left := t.expires.Sub(t.now())
	held := t.fetching == nil && !t.failedAt.IsZero() && time.Since(t.failedAt) < failPause
	if t.current != nil && left > lastUse {
		b := t.current
		if left < renewBefore && !held {
			t.fetch()
		}
		t.mu.Unlock()
		return b, nil
	}
	if held {
		defer t.mu.Unlock()
		return nil, t.fetchErr
	}
	done := t.fetch()
	t.mu.Unlock()
	return t.wait(ctx, done)
}

// renew replaces a token that FCM refused. ok is false when that is not worth
// while: the last renewal did not help either, and it is less than a minute ago.
func (t *tokens) renew(ctx context.Context, refused *bearer) (_ *bearer, ok bool) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, false
	}
	if t.current != refused && t.current != nil {
		defer t.mu.Unlock()
		return t.current, true // somebody else has renewed it
	}
	if t.current == refused {
		if t.renewed && t.now().Sub(t.renewedAt) < renewPause {
			t.mu.Unlock()
			return nil, false
		}
		t.current = nil
		t.renewed, t.renewedAt = true, t.now()
	}
	done := t.fetch()
	t.mu.Unlock()
	b, err := t.wait(ctx, done)
	return b, err == nil
}

// worked says that FCM took the token.
func (t *tokens) worked(b *bearer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b == t.current {
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
	if err != nil {
		t.failedAt = time.Now()
	} else {
		// The library has reckoned the end by the machine's clock; ours may be
		// another.
		life := time.Hour
		if !got.Expiry.IsZero() {
			life = time.Until(got.Expiry)
		}
		t.current, t.expires, t.failedAt = newBearer(got.AccessToken), t.now().Add(life), time.Time{}
	}
	close(done)
}

func (t *tokens) wait(ctx context.Context, done <-chan struct{}) (*bearer, error) {
	select {
	case <-done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fetchErr != nil {
		return nil, t.fetchErr
	}
	if t.current == nil { // FCM refused the new one before we looked
		return nil, errRefused
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
