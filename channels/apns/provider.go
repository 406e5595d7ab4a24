package apns

import (
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sideshow/apns2/token"
)

const (
	// renewAfter replaces the provider token before Apple's hour is over.
	renewAfter = 50 * time.Minute
	// minAge is Apple's: a token renewed more often than every 20 minutes gives
	// TooManyProviderTokenUpdates.
	minAge = 20 * time.Minute
	// maxAge is where a token would be refused on its way.
	maxAge = 59 * time.Minute
)

// provider signs the team's provider token: one at a time, shared by all
// connections.
type provider struct {
	now func() time.Time

	mu    sync.Mutex
	token token.Token
	kept  time.Time // the token must not be replaced before; zero when Apple has not complained
}

func newProvider(o Options) (*provider, error) {
	if o.TeamID == "" {
		return nil, &OptionError{"team_id", "missing"}
	}
	if o.KeyID == "" {
		return nil, &OptionError{"key_id", "missing"}
	}
	key, err := token.AuthKeyFromBytes(o.PrivateKeyPEM)
	if err != nil {
		return nil, &OptionError{"private_key_pem", "not a PKCS #8 EC key (Apple's .p8 file)"}
	}
	if key.Curve.Params().BitSize != 256 {
		return nil, &OptionError{"private_key_pem", "not on the curve P-256"}
	}
	return &provider{now: o.Now, token: token.Token{AuthKey: key, KeyID: o.KeyID, TeamID: o.TeamID}}, nil
}

// bearer returns the current token, signing one when there is none or it is old.
func (p *provider) bearer() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	age := p.now().Sub(time.Unix(p.token.IssuedAt, 0))
	// A negative age: the clock was set back. Apple refuses a token from the
	// future, so that waiting would not help.
	due := age >= renewAfter && !p.now().Before(p.kept) || age >= maxAge
	if p.token.Bearer == "" || due || age < 0 {
		if err := p.sign(); err != nil {
			return "", err
		}
	}
	return p.token.Bearer, nil
}

// renew replaces a token that Apple called expired. ok is false when it is too
// young for that: then a clock is wrong, ours or the key's.
func (p *provider) renew(refused string) (bearer string, ok bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.token.Bearer != refused {
		return p.token.Bearer, true, nil // somebody else has renewed it
	}
	if p.now().Sub(time.Unix(p.token.IssuedAt, 0)) < minAge || p.now().Before(p.kept) {
		return "", false, nil
	}
	if err := p.sign(); err != nil {
		return "", false, err
	}
	return p.token.Bearer, true, nil
}

// keep leaves the token as it is for the next 20 minutes, as far as it lives:
// Apple has complained of too many.
func (p *provider) keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = p.now().Add(minAge)
}

// sign makes a token by our clock (token.Generate knows only time.Now). It runs
// under mu.
func (p *provider) sign() error {
	iat := p.now().Unix()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": p.token.TeamID, "iat": iat})
	t.Header["kid"] = p.token.KeyID
	bearer, err := t.SignedString(p.token.AuthKey)
	if err != nil {
		return fmt.Errorf("sign the provider token: %w", err)
	}
	p.token.IssuedAt, p.token.Bearer = iat, bearer
	return nil
}
