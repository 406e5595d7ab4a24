package eventlog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/footfall-engage/footfall/server/engage"
)

// DefaultConnectWithin is the patience of Connect.
const DefaultConnectWithin = 30 * time.Second

// RemoteOptions of a log on NATS servers. URLs and Replicas are required.
type RemoteOptions struct {
	// URLs of one or several servers of a cluster: nats://host:4222, or
	// tls://host:4222 to insist on TLS. Without user or password.
	URLs []string
	// Replicas of every stream: 1, 3 or 5.
	Replicas int
	// Prefix of stream names (PREFIX_IN_0) and subjects (PREFIX.in.0.>), so that
	// several installations share an account: [A-Z0-9_]*; "" for none. Two
	// installations with the same prefix in one account would mix their records.
	Prefix string

	// At most one way to log in:
	CredentialsFile string // .creds: a JWT and an nkey's seed
	NKeyFile        string // an nkey's seed
	User            string
	Password        engage.Secret
	Token           engage.Secret

	TLS TLSOptions
	// MonitorURLs of the servers, http://host:8222, all of them. Only asked under
	// DurabilityPower: see Connect.
	MonitorURLs []string
	Durability  Durability // "" means DurabilityProcess
	Logger      *slog.Logger
	// ConnectWithin is how long Connect waits for servers that do not answer yet;
	// 0 means DefaultConnectWithin.
	ConnectWithin time.Duration
}

// TLSOptions are files in PEM; "" means the system's authorities, and no
// certificate of our own.
type TLSOptions struct {
	RootCAFile        string
	CertFile, KeyFile string // both or none
}

// refusal is what another try at the start cannot change: somebody must change a
// configuration, there or here.
type refusal struct{ e *engage.Error }

func (r refusal) Error() string { return r.e.Error() }

func (r refusal) Unwrap() error { return r.e }

// refuse is an error that an operator can act on; cause may be nil.
func refuse(field string, cause error, format string, args ...any) error {
	return refusal{&engage.Error{Code: engage.Invalid, Field: field, Msg: fmt.Sprintf(format, args...), Err: cause}}
}

func isRefused(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// Connect opens the log on NATS servers, which others run, and returns when they
// have shown that they can hold it: they take the login, run a version that
// serves (MinServerVersion), have JetStream for the account, take messages of
// MaxMessageBytes, and hold a stream with the configured replicas (the empty
// stream FOOTFALL, made by the first Connect). Each of these is refused with
// what must be changed; servers that do not answer are waited for, up to
// ConnectWithin.
//
// Under DurabilityPower every server must fsync before it acknowledges
// (jetstream { sync_interval: always }), whatever the replicas. The servers of
// MonitorURLs are asked: one that does not is refused; what could not be asked is
// named in one warning.
//
// The connection is kept up for ever. It starts goroutines, which Close ends.
func Connect(ctx context.Context, o RemoteOptions) (*JetStream, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("connect event log: %w", err)
	}
	if o.ConnectWithin <= 0 {
		o.ConnectWithin = DefaultConnectWithin
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, o.ConnectWithin)
	defer cancel()
	k := &link{log: log, remote: true, refused: make(chan error, 1)}
	nc, err := o.dial(ctx, k)
	if err != nil {
		return nil, fmt.Errorf("connect event log: %w", err)
	}
	l, err := newJetStream(nc, settings{remote: true, replicas: o.Replicas, prefix: o.Prefix}, k, nil)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect event log to %s: %w", k.server(nc), err)
	}
	if err := l.examine(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("connect event log to %s: %w", k.server(nc), err), l.Close()) //nolint:contextcheck // it must be closed although ctx has ended
	}
	log.Info("event log: connected", "server", k.server(nc), "version", nc.ConnectedServerVersion(), "replicas", o.Replicas)
	return l, nil
}

// Validate checks what can be checked without a server; the files are read.
func (o RemoteOptions) Validate() error {
	invalid := func(field, format string, args ...any) error {
		return engage.Errorf(engage.Invalid, field, format, args...)
	}
	if len(o.URLs) == 0 {
		return invalid("url", "must name a server")
	}
	for i, raw := range o.URLs {
		if err := checkURL(raw, "nats", "tls"); err != nil {
			return invalid("url", "number %d %v", i+1, err)
		}
	}
	for i, raw := range o.MonitorURLs {
		if err := checkURL(raw, "http", "https"); err != nil {
			return invalid("monitor_url", "number %d %v", i+1, err)
		}
	}
	switch {
	case o.Replicas != 1 && o.Replicas != 3 && o.Replicas != 5:
		return invalid("replicas", "is %d, must be 1, 3 or 5", o.Replicas)
	case len(o.Prefix) > 40 || strings.Trim(o.Prefix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "":
		return invalid("prefix", "must be up to 40 of A-Z, 0-9, '_'")
	case o.Durability != "" && o.Durability != DurabilityProcess && o.Durability != DurabilityPower:
		return invalid("durability", "is %q, must be %q or %q", o.Durability, DurabilityProcess, DurabilityPower)
	case (o.User == "") != (o.Password == ""):
		return invalid("user", "a user and a password belong together")
	case (o.TLS.CertFile == "") != (o.TLS.KeyFile == ""):
		return invalid("tls.cert_file", "a certificate and a key belong together")
	}
	logins := 0
	for _, given := range []bool{o.CredentialsFile != "", o.NKeyFile != "", o.User != "", o.Token != ""} {
		if given {
			logins++
		}
	}
	if logins > 1 {
		return invalid("credentials_file", "only one of credentials_file, nkey_file, user and token can be given")
	}
	return o.checkFiles()
}

// checkURL never repeats what it was given: it may hold a password.
func checkURL(raw string, schemes ...string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("is not a URL")
	case u.User != nil:
		return errors.New("must not hold a user or password, which have settings of their own")
	case u.Scheme != schemes[0] && u.Scheme != schemes[1]:
		return fmt.Errorf("must begin with %s:// or %s://", schemes[0], schemes[1])
	case u.Hostname() == "":
		return errors.New("has no host")
	}
	return nil
}

func (o RemoteOptions) checkFiles() error {
	unusable := func(field string, err error) error {
		return &engage.Error{Code: engage.Invalid, Field: field, Msg: "cannot be used", Err: err}
	}
	if file := o.CredentialsFile; file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return unusable("credentials_file", err)
		}
		k, err := nkeys.ParseDecoratedUserNKey(data)
		if err != nil {
			return unusable("credentials_file", errors.New("it holds no user's seed"))
		}
		k.Wipe()
		if _, err := nkeys.ParseDecoratedJWT(data); err != nil {
			return unusable("credentials_file", errors.New("it holds no JWT"))
		}
	}
	if file := o.NKeyFile; file != "" {
		if _, err := os.Stat(file); err != nil {
			return unusable("nkey_file", err)
		}
		if _, err := nats.NkeyOptionFromSeed(file); err != nil {
			return unusable("nkey_file", errors.New("it holds no user's seed"))
		}
	}
	if file := o.TLS.RootCAFile; file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return unusable("tls.root_ca_file", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(data) {
			return unusable("tls.root_ca_file", errors.New("it holds no certificate"))
		}
	}
	if o.TLS.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(o.TLS.CertFile, o.TLS.KeyFile); err != nil {
			return unusable("tls.cert_file", err)
		}
	}
	return nil
}

// natsOptions for a connection. Files are read again at every reconnect, so that
// renewed certificates and credentials come into use.
func (o RemoteOptions) natsOptions(k *link) ([]nats.Option, error) {
	all := k.options()
	switch {
	case o.CredentialsFile != "":
		all = append(all, nats.UserCredentials(o.CredentialsFile))
	case o.NKeyFile != "":
		opt, err := nats.NkeyOptionFromSeed(o.NKeyFile)
		if err != nil {
			return nil, errors.New("nkey_file holds no user's seed")
		}
		all = append(all, opt)
	case o.User != "":
		all = append(all, nats.UserInfo(o.User, o.Password.Reveal()))
	case o.Token != "":
		all = append(all, nats.Token(o.Token.Reveal()))
	}
	if o.TLS.RootCAFile != "" {
		all = append(all, nats.RootCAs(o.TLS.RootCAFile))
	}
	if o.TLS.CertFile != "" {
		all = append(all, nats.ClientCert(o.TLS.CertFile, o.TLS.KeyFile))
	}
	return all, nil
}

// dial connects to one of the servers.
func (o RemoteOptions) dial(ctx context.Context, k *link) (*nats.Conn, error) {
	opts, err := o.natsOptions(k)
	if err != nil {
		return nil, err
	}
	var why error
	for backoff := minReconnect; ; backoff = min(2*backoff, maxReconnect) {
		nc, err := nats.Connect(strings.Join(o.URLs, ","), opts...)
		if err == nil {
			return nc, nil
		}
		if err = o.whyNot(ctx, opts); isRefused(err) {
			return nil, err
		}
		if ctx.Err() == nil || why == nil { // once the time is up every server only seems slow
			why = err
		}
		if !pause(ctx, backoff) {
			return nil, fmt.Errorf("no server within %s: %w", o.ConnectWithin, why)
		}
	}
}

// whyNot tells what each server says; the client's own error is the last one's.
func (o RemoteOptions) whyNot(ctx context.Context, opts []nats.Option) error {
	var all []error
	for _, raw := range o.URLs {
		nc, err := nats.Connect(raw, append(opts, nats.NoReconnect())...)
		if err == nil {
			nc.Close() // it has just come up: the next round has it
			continue
		}
		if errors.Is(err, nats.ErrNoServers) {
			err = unreachable(ctx, raw)
		}
		all = append(all, fmt.Errorf("%s: %w", raw, explain(err)))
	}
	return errors.Join(all...)
}

// unreachable says why no connection comes about, which the client does not.
func unreachable(ctx context.Context, raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("is not a URL")
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "4222")
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	_ = c.Close() // nothing was said
	return errors.New("takes connections, but does not answer as a NATS server")
}

// explain says which errors of a connection are for an operator.
func explain(err error) error {
	var (
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		alert   *net.OpError
	)
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired):
		return refuse("user", err, "the server refused the login (user and password, token, nkey_file or credentials_file)")
	case errors.Is(err, nats.ErrNkeysNotSupported):
		return refuse("nkey_file", err, "the server asks for no nkey")
	case errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid):
		return refuse("tls.root_ca_file", err, "the server's certificate cannot be trusted")
	case errors.As(err, &alert) && alert.Op == "remote error":
		return refuse("tls.cert_file", err, "the server does not take our certificate, or wants one")
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return refuse("url", err, "TLS is wanted on one side only")
	}
	return err
}
