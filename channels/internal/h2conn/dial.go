package h2conn

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/http2"
	"golang.org/x/net/proxy"
)

// connect opens a connection for HTTP/2 to the pool's host, through the proxy that
// the environment names for it (HTTPS_PROXY, NO_PROXY), if any.
func (p *Pool) connect(ctx context.Context) (net.Conn, error) {
	through, err := http.ProxyFromEnvironment(&http.Request{URL: p.opts.URL})
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	var nc net.Conn
	if through == nil {
		nc, err = new(net.Dialer).DialContext(ctx, "tcp", p.addr)
	} else {
		nc, err = tunnel(ctx, through, p.addr)
	}
	if err != nil {
		return nil, err
	}
	if p.opts.URL.Scheme == "http" {
		return nc, nil // prior knowledge (RFC 9113 §3.3)
	}
	conf := p.opts.TLS.Clone()
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	conf.NextProtos = []string{http2.NextProtoTLS}
	if conf.ServerName == "" {
		conf.ServerName = p.opts.URL.Hostname()
	}
	tc := tls.Client(nc, conf)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	if got := tc.ConnectionState().NegotiatedProtocol; got != http2.NextProtoTLS {
		_ = tc.Close()
		return nil, fmt.Errorf("the server does not speak HTTP/2 but %q", got)
	}
	return tc, nil
}

// tunnel connects through a proxy: CONNECT of HTTP, or SOCKS 5.
func tunnel(ctx context.Context, through *url.URL, addr string) (net.Conn, error) {
	var at string
	switch through.Scheme {
	case "socks5", "socks5h":
		d, err := proxy.FromURL(through, new(net.Dialer))
		if err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
		return d.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
	case "http":
		at = withPort(through, "80")
	case "https":
		at = withPort(through, "443")
	default:
		return nil, fmt.Errorf("proxy: scheme %q is not supported", through.Scheme)
	}
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	// The exchange ends with ctx: closing is the one way to interrupt it.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	fail := func(err error) (net.Conn, error) {
		stop()
		_ = nc.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if through.Scheme == "https" {
		tc := tls.Client(nc, &tls.Config{ServerName: through.Hostname(), MinVersion: tls.VersionTLS12})
		if err := tc.HandshakeContext(ctx); err != nil {
			return fail(err)
		}
		nc = tc
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: make(http.Header)}
	if u := through.User; u != nil {
		password, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := req.Write(nc); err != nil {
		return fail(err)
	}
	br := bufio.NewReaderSize(nc, 4096)
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		return fail(err)
	}
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode != http.StatusOK:
		return fail(fmt.Errorf("it answered %s", resp.Status))
	case br.Buffered() > 0: // the host must not speak first
		return fail(errors.New("it sent more than its answer"))
	case !stop():
		return fail(ctx.Err())
	}
	return nc, nil
}

func withPort(u *url.URL, port string) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), port)
}
