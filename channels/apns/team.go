package apns

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"sync"

	"github.com/footfall-engage/footfall/channels/internal/h2conn"
)

// Shared is what the senders of one process have in common: Apple wants one team
// per connection and one provider token per team and key, however many apps the
// team has. Senders with the same team, key and servers use the same connections
// and the same provider token; the settings of the connections and the clock are
// those of the first of them, and the last that is closed closes them. The zero
// value is ready. It is safe for concurrent use.
type Shared struct {
	mu    sync.Mutex
	teams map[teamKey]*team
}

// teamKey tells teams apart. Two keys of one Apple team are two of ours: each
// signs provider tokens of its own, and Apple answers a connection that changes
// between them with TooManyProviderTokenUpdates.
type teamKey struct {
	team, key           string
	secret              [sha256.Size]byte // of the private key's file
	production, sandbox string
	roots               *x509.CertPool
}

// team is a provider token and the connections on which it is shown.
type team struct {
	key      teamKey
	provider *provider
	pools    map[string]*h2conn.Pool // by environment; without one that cannot be reached
	users    int                     // senders
}

// join gives a sender its team.
func (s *Shared) join(o Options) (*team, error) {
	key := teamKey{
		team: o.TeamID, key: o.KeyID, secret: sha256.Sum256(o.PrivateKeyPEM),
		production: o.ProductionURL, sandbox: o.SandboxURL, roots: o.RootCAs,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.teams[key]; t != nil {
		t.users++
		return t, nil
	}
	p, err := newProvider(o)
	if err != nil {
		return nil, err
	}
	t := &team{key: key, provider: p, pools: make(map[string]*h2conn.Pool), users: 1}
	byURL := make(map[string]*h2conn.Pool)
	for _, e := range []struct{ env, raw string }{{Production, o.ProductionURL}, {Sandbox, o.SandboxURL}} {
		if e.raw == "" {
			continue
		}
		base, err := url.Parse(e.raw)
		if err != nil || base.Host == "" || base.Scheme != "https" {
			return nil, &OptionError{e.env + "_url", "must be an https URL"}
		}
		if byURL[e.raw] == nil {
			byURL[e.raw] = h2conn.New(h2conn.Options{
				URL: base, TLS: &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
				MaxConns: o.MaxConns, WarmUp: true, PingAfter: o.PingAfter, PingTimeout: o.PingTimeout,
			})
		}
		t.pools[e.env] = byURL[e.raw]
	}
	if s.teams == nil {
		s.teams = make(map[teamKey]*team)
	}
	s.teams[key] = t
	return t, nil
}

// leave takes a sender out; with the last one the connections are closed.
func (s *Shared) leave(t *team) {
	s.mu.Lock()
	t.users--
	last := t.users == 0
	if last {
		delete(s.teams, t.key)
	}
	s.mu.Unlock()
	if last {
		for _, p := range t.pools {
			p.Close()
		}
	}
}

// other is the environment beside env, if it is a server of its own.
func (t *team) other(env string) (string, *h2conn.Pool) {
	name := Sandbox
	if env == Sandbox {
		name = Production
	}
	if p := t.pools[name]; p != nil && p != t.pools[env] {
		return name, p
	}
	return "", nil
}
