package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Status of the connection to the servers, for readiness and metrics.
type Status struct {
	Connected bool
	Since     time.Time // when it became so, UTC
	Server    string    // name and address of the last server; "embedded" in this process
	Reason    string    // why it is not connected; "" when it is
}

// Of a connection over a network. A server that is silent is noticed after
// pingEvery × (1 + pingsOut), at most 6 s.
const (
	pingEvery    = 2 * time.Second
	pingsOut     = 2
	dialTimeout  = 2 * time.Second
	writeTimeout = 5 * time.Second
	// Between rounds through all servers, with jitter, for ever.
	minReconnect = 100 * time.Millisecond
	maxReconnect = 2 * time.Second
	// rideOut is how long Trim and Seal, which nobody waits for at a door, ask
	// again: more than a broker's restart takes.
	rideOut = 2 * time.Minute
)

// link watches one connection.
type link struct {
	log     *slog.Logger
	remote  bool
	refused chan error // the server's word on permissions; nil when nobody listens

	mu      sync.Mutex
	status  Status
	renew   func() // after every reconnect
	waiting map[*waitingFor]bool
}

// waitingFor is somebody who waits for an answer over the connection.
type waitingFor struct{ cancel context.CancelCauseFunc }

// errLost: the connection broke before the answer came.
var errLost = errors.New("the connection was lost before the answer came")

// whileConnected is ctx, ended with the cause errLost when the connection
// breaks: an answer that was under way does not come any more. Done must be
// called.
func (k *link) whileConnected(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &waitingFor{cancel}
	k.mu.Lock()
	if k.waiting == nil {
		k.waiting = map[*waitingFor]bool{}
	}
	k.waiting[w] = true
	k.mu.Unlock()
	return ctx, func() {
		k.mu.Lock()
		delete(k.waiting, w)
		k.mu.Unlock()
		cancel(nil)
	}
}

// options are what Stream's code needs of a connection, in process or not.
func (k *link) options() []nats.Option {
	all := []nats.Option{
		nats.Name("footfall"),
		nats.MaxReconnects(-1),
		// While disconnected an append fails at once: a buffered one would land
		// later, after its caller has been told otherwise.
		nats.ReconnectBufSize(-1),
		nats.NoCallbacksAfterClientClose(),
		nats.DisconnectErrHandler(k.disconnected),
		nats.ReconnectHandler(k.reconnected),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { k.failed(err) }),
		nats.ErrorHandler(k.trouble),
	}
	if !k.remote {
		return all
	}
	return append(
		all,
		// A server whose users are being changed must not end the connection for ever.
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsOut),
		nats.Timeout(dialTimeout), nats.FlusherTimeout(writeTimeout),
		nats.CustomReconnectDelay(func(round int) time.Duration {
			d := maxReconnect
			if round < 5 {
				d = minReconnect << round
			}
			d = min(d, maxReconnect)
			return d/2 + rand.N(d/2+1)
		}),
	)
}

// now is when the state changed, for people and metrics; nothing is decided by it.
func now() time.Time { return time.Now().UTC() } //nolint:forbidigo // see above

func (k *link) connected(nc *nats.Conn, renew func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.renew = renew
	k.status = Status{Connected: true, Since: now(), Server: k.server(nc)}
}

func (k *link) server(nc *nats.Conn) string {
	if !k.remote {
		return "embedded"
	}
	return fmt.Sprintf("%s (%s)", nc.ConnectedServerName(), nc.ConnectedAddr())
}

func (k *link) disconnected(_ *nats.Conn, err error) {
	k.mu.Lock()
	k.status.Connected, k.status.Since, k.status.Reason = false, now(), "connection lost"
	if err != nil {
		k.status.Reason = "connection lost: " + err.Error()
	}
	for w := range k.waiting {
		w.cancel(errLost)
	}
	server := k.status.Server
	k.mu.Unlock()
	k.log.Warn("event log: connection lost", "server", server, "error", err)
}

func (k *link) failed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.status.Connected && err != nil {
		k.status.Reason = err.Error()
	}
}

func (k *link) reconnected(nc *nats.Conn) {
	server := k.server(nc)
	k.mu.Lock()
	down := now().Sub(k.status.Since)
	k.status = Status{Connected: true, Since: now(), Server: server}
	renew := k.renew
	k.mu.Unlock()
	k.log.Info("event log: connected again", "server", server, "after", down)
	if renew != nil {
		renew()
	}
}

// trouble is what the connection tells of itself, such as a missing permission.
func (k *link) trouble(_ *nats.Conn, _ *nats.Subscription, err error) {
	k.log.Warn("event log: connection", "error", err)
	if errors.Is(err, nats.ErrPermissionViolation) {
		select {
		case k.refused <- err:
		default:
		}
	}
}

func (k *link) closed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Connected, k.status.Since, k.status.Reason = false, now(), "closed"
}

// Status of the connection. An embedded log is connected until it is closed.
func (l *JetStream) Status() Status {
	l.link.mu.Lock()
	defer l.link.mu.Unlock()
	return l.link.status
}

// pause waits and reports whether to go on: ctx has not ended and the log is open.
func (l *JetStream) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d) //nolint:forbidigo // between two tries
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-l.done:
	}
	return false
}

func (l *JetStream) isClosed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// passing reports whether an error of a remote log may be gone at the next try:
// servers that are away, or that choose a leader.
func (l *JetStream) passing(ctx context.Context, err error) bool {
	return l.remote && ctx.Err() == nil && !errors.Is(err, ErrTrimmed) && !errors.Is(l.mapErr(err), ErrClosed)
}

// insist does what can be done twice until it is done, for at most rideOut.
func (l *JetStream) insist(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, rideOut)
	defer cancel()
	for backoff := askAgain; ; backoff = min(2*backoff, maxReconnect) {
		err := do(ctx)
		if err == nil || !l.passing(ctx, err) || errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		l.log.Warn("event log: not done, trying again", "error", err)
		if !l.pause(ctx, backoff) {
			return err
		}
	}
}
