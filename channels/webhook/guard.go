package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// errRefused says that the guard did not let an address be dialled.
type errRefused struct{ addr, why string }

func (e *errRefused) Error() string { return e.addr + " " + e.why }

// Refused says why a Transport dialled no connection: which address was refused and
// why; false when err is about anything else.
func Refused(err error) (address, why string, ok bool) {
	if refused, is := errors.AsType[*errRefused](err); is {
		return refused.addr, refused.why, true
	}
	return "", "", false
}

// plainKey is under which a dial knows that no TLS follows.
type plainKey struct{}

// Transport makes requests to addresses that strangers have named: it connects to
// public addresses by https, and to those that the operator allows by either. It
// knows no proxy, which would look names up for it. It is safe for concurrent use.
type Transport struct{ t *http.Transport }

// NewTransport makes a Transport that holds idle connections until
// CloseIdleConnections. Allow may be reached though they are not public, and by plain
// http. Roots are whom to trust; nil means the system's authorities.
func NewTransport(allow []netip.Prefix, roots *x509.CertPool) *Transport {
	g := guard{allow}
	dialer := &net.Dialer{
		Timeout: 10 * time.Second, KeepAlive: 30 * time.Second,
		// The last moment before the connection, when its address is known for
		// certain: a name that resolves to another address than it did when it was
		// looked at gains nothing.
		ControlContext: func(ctx context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return &errRefused{address, "is no address"}
			}
			plain, _ := ctx.Value(plainKey{}).(bool)
			if why := g.refuses(ap.Addr(), plain); why != "" {
				return &errRefused{ap.Addr().String(), why}
			}
			return nil
		},
	}
	return &Transport{&http.Transport{
		DialContext: dialer.DialContext, ForceAttemptHTTP2: true, DisableCompression: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 32 << 10,
	}}
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.t.RoundTrip(r.WithContext(context.WithValue(r.Context(), plainKey{}, r.URL.Scheme == "http")))
}

// CloseIdleConnections gives idle connections up.
func (t *Transport) CloseIdleConnections() { t.t.CloseIdleConnections() }
