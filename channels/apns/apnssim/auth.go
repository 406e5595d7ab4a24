package apnssim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	teamID = "FOOTFALL01"
	keyID  = "SIMKEY0001"

	tokenLife   = time.Hour
	tokenFuture = time.Minute // how far ahead a provider's clock may be
)

// Environments, of a key's scope and of a Server.
const (
	Production = "production"
	Sandbox    = "sandbox"
)

// ProviderKey is a key by which providers sign.
type ProviderKey struct {
	Team        string   // the issuer of its tokens
	ID          string   // 10 characters
	Topics      []string // bundle ids that it may push to; empty means all of the team's
	Environment string   // in which it may push; empty means both
}

// providerKey is a key that the server knows.
type providerKey struct {
	ProviderKey
	key    *ecdsa.PrivateKey
	newest time.Time // when its last new token came
}

// bearer is a provider token that verified.
type bearer struct {
	token   string
	key     *providerKey
	issued  time.Time
	expired atomic.Bool // by ExpireTokens
}

// AddKey makes a key that the server knows, beside those that it has; one of the
// same ID is replaced. p8 is what Apple gives as a file.
func (s *Server) AddKey(k ProviderKey) (p8 []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a provider key: %w", err)
	}
	s.mu.Lock()
	s.keys[k.ID] = &providerKey{ProviderKey: k, key: key}
	s.mu.Unlock()
	return p8Of(key)
}

func p8Of(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write a provider key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Key is the provider key that every server knows from its start, for all topics
// and both environments.
func (s *Server) Key() (team, kid string, p8 []byte) {
	s.mu.Lock()
	k := s.keys[keyID]
	s.mu.Unlock()
	p8, _ = p8Of(k.key) // a key that we made ourselves can be written
	return k.Team, k.ID, p8
}

// Share makes the server accept the provider keys of another one, as Apple's two
// environments do; its own are replaced.
func (s *Server) Share(other *Server) {
	other.mu.Lock()
	keys := make(map[string]*providerKey, len(other.keys))
	for id, k := range other.keys {
		keys[id] = &providerKey{ProviderKey: k.ProviderKey, key: k.key}
	}
	other.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

// ProviderTokens counts the provider tokens seen.
func (s *Server) ProviderTokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens
}

// ExpireTokens makes every provider token seen so far ExpiredProviderToken.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bearers {
		b.expired.Store(true)
	}
}

// authorize verifies a provider token, or trusts the one that the connection
// showed before until it is too old. pinned is the key of the connection's first:
// Apple takes one team and key per connection.
func (s *Server) authorize(auth string, known *bearer, pinned *providerKey) (b *bearer, r refusal) {
	scheme, token, ok := strings.Cut(auth, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") || token == "" {
		return nil, refuse(403, "MissingProviderToken")
	}
	b = known
	if b == nil || b.token != token {
		if b, r = s.verify(token); r.status != 0 {
			return nil, r
		}
	}
	now := s.opts.Now()
	switch {
	case b.expired.Load() || now.Sub(b.issued) > tokenLife:
		return nil, refuse(403, "ExpiredProviderToken")
	case b.issued.Sub(now) > tokenFuture:
		return nil, refuse(403, "InvalidProviderToken")
	case pinned != nil && (pinned.ID != b.key.ID || pinned.Team != b.key.Team):
		return nil, refuse(403, "UnrelatedKeyIdInToken")
	case b.key.Environment != "" && b.key.Environment != s.environment():
		return nil, refuse(403, "BadEnvironmentKeyInToken")
	}
	return b, refusal{}
}

func (s *Server) verify(token string) (*bearer, refusal) {
	s.mu.Lock()
	b := s.bearers[token]
	keys := s.keys
	if b == nil {
		keys = maps.Clone(keys)
	}
	s.mu.Unlock()
	if b != nil {
		return b, refusal{}
	}
	claims := jwt.MapClaims{}
	var key *providerKey
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithoutClaimsValidation()).
		ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
			kid, _ := t.Header["kid"].(string)
			if key = keys[kid]; key == nil {
				return nil, errors.New("unknown key id")
			}
			return &key.key.PublicKey, nil
		})
	iat, iatErr := claims.GetIssuedAt()
	if err != nil || iatErr != nil || iat == nil || claims["iss"] != key.Team {
		return nil, refuse(403, "InvalidProviderToken")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.bearers[token]; b != nil {
		return b, refusal{} // another connection was faster
	}
	now := s.opts.Now()
	if d := s.opts.MinTokenUpdate; d > 0 && !key.newest.IsZero() && now.Sub(key.newest) < d {
		return nil, refuse(429, "TooManyProviderTokenUpdates")
	}
	key.newest = now
	maps.DeleteFunc(s.bearers, func(_ string, b *bearer) bool { return now.Sub(b.issued) > 2*tokenLife })
	b = &bearer{token: token, key: key, issued: iat.Time}
	s.bearers[token] = b
	s.tokens++
	return b, refusal{}
}

// allows tells whether a key may push to a bundle.
func (k *providerKey) allows(bundle string) bool {
	return len(k.Topics) == 0 || slices.Contains(k.Topics, bundle)
}
