// Package identity judges whether an app has proven who uses it: by a keyed hash of
// the user's id that the retailer's server made, or by a token that it signed. It is
// pure: keys, a proof and the time go in, a verdict comes out.
//
// # Keys
//
// An app has several keys at once, so that one can take the place of another. Each
// has one algorithm. A token's header may name a key (kid); it never chooses how the
// key is used: a token whose alg is not that of the key is refused, so that neither
// "none" nor a public key taken for a shared secret proves anything. Without a kid the
// token is held against the only key for tokens; of several none is guessed.
//
// # Tokens
//
// A JWS in compact form whose claims are sub (the user's id), aud (the app's id, or a
// list with it), iat, and exp at most an hour after iat; nbf is heeded, others are
// not looked at. They are looked at once the signature is right, by the server's
// clock at arrival, since a phone's clock could make an old token young: a phone that
// was offline asks for another. An app's id is unique in its workspace only: whoever
// uses the same key in two workspaces says that both are the same to them.
//
// # Modes
//
// Required: an identification without a good proof is refused. Optional: one without
// any proof is taken, unproven; a wrong one is refused. Off: proofs are not looked at,
// and every identification is unproven. What is unproven gains nothing: it is noted
// on the install's own anonymous profile.
package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/footfall-engage/footfall/server/engage"
)

// Mode says what identifications need.
type Mode string

// The modes.
const (
	Off      Mode = "off"
	Optional Mode = "optional"
	Required Mode = "required" // also when none is said
)

// Valid reports whether the mode is one of them.
func (m Mode) Valid() bool { return m == Off || m == Optional || m == Required }

// Alg is what a key is used for, and nothing else.
type Alg string

// The algorithms: HMAC is for identify.hmac, the others for identify.jwt as RFC 7518
// and RFC 8037 name them.
const (
	HMAC  Alg = "HMAC"
	HS256 Alg = "HS256"
	ES256 Alg = "ES256"
	EdDSA Alg = "EdDSA" // Ed25519
)

// Shared reports whether the key is a secret that both sides hold.
func (a Alg) Shared() bool { return a == HMAC || a == HS256 }

// Valid reports whether the algorithm is one of them.
func (a Alg) Valid() bool { return a.Shared() || a == ES256 || a == EdDSA }

// Limits.
const (
	MaxKeys     = 10
	MaxJWTChars = 4096
	MaxSecret   = 200              // bytes of a shared secret
	MaxLife     = time.Hour        // of a token, from iat to exp
	Leeway      = 60 * time.Second // for clocks that differ
)

// MinSecret is the least that a shared secret has, in bytes: RFC 7518 wants as many
// as the hash has for HS256; of HMAC earlier builds wanted 16.
func (a Alg) MinSecret() int {
	if a == HS256 {
		return sha256.Size
	}
	return 16
}

// Key is one key of an app.
type Key struct {
	ID     string // kid
	Alg    Alg
	Secret engage.Secret // of a shared one: its bytes are the key
	Public string        // of the others: PEM or JWK, as ParsePublic takes it
}

// key is a Key that is ready to be used: []byte, *ecdsa.PublicKey or
// ed25519.PublicKey, which is all that its algorithm takes.
type key struct {
	id  string
	alg Alg
	use any
}

// Verifier judges the proofs of one app. It is immutable; a nil Verifier is that of
// an app without keys, in the mode Required.
type Verifier struct {
	app  string
	mode Mode
	keys []key
}

// New makes a Verifier; an empty mode means Required. The error is an *engage.Error
// of code Invalid whose field is keys[i] and what is wrong with it.
func New(app string, mode Mode, keys []Key) (*Verifier, error) {
	if mode == "" {
		mode = Required
	}
	if !mode.Valid() {
		return nil, engage.Errorf(engage.Invalid, "mode", `must be "off", "optional" or "required", is %q`, mode)
	}
	if len(keys) > MaxKeys {
		return nil, engage.Errorf(engage.TooLarge, "keys", "at most %d, got %d", MaxKeys, len(keys))
	}
	v := &Verifier{app: app, mode: mode}
	for i, k := range keys {
		use, err := k.material()
		if err != nil {
			return nil, engage.At(fmt.Sprintf("keys[%d]", i), err)
		}
		if slices.ContainsFunc(v.keys, func(other key) bool { return other.id == k.ID }) {
			return nil, engage.Errorf(engage.Invalid, fmt.Sprintf("keys[%d].id", i), "is that of another key")
		}
		v.keys = append(v.keys, key{k.ID, k.Alg, use})
	}
	return v, nil
}

// Validate checks the key.
func (k Key) Validate() error {
	_, err := k.material()
	return err
}

func (k Key) material() (any, error) {
	switch {
	case !engage.ValidID(k.ID):
		return nil, engage.Errorf(engage.Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
	case !k.Alg.Valid():
		return nil, engage.Errorf(engage.Invalid, "alg", `must be "HMAC", "HS256", "ES256" or "EdDSA"`)
	case !k.Alg.Shared() && k.Secret != "":
		return nil, engage.Errorf(engage.Invalid, "secret", "%s has a public key", k.Alg)
	case k.Alg.Shared() && k.Public != "":
		return nil, engage.Errorf(engage.Invalid, "public_key", "%s has a shared secret", k.Alg)
	case k.Alg.Shared():
		secret := []byte(k.Secret.Reveal())
		if n := len(secret); n < k.Alg.MinSecret() || n > MaxSecret {
			return nil, engage.Errorf(engage.Invalid, "secret", "must have %d to %d bytes, has %d", k.Alg.MinSecret(), MaxSecret, n)
		}
		return secret, nil
	}
	public, _, err := ParsePublic(k.Alg, k.Public)
	if err != nil {
		return nil, engage.At("public_key", err)
	}
	return public, nil
}

// Proof is what an identification says.
type Proof struct {
	UserID string
	HMAC   string // hex; empty: none
	JWT    string // compact; empty: none
}

// Fault is why an identification is refused, for the app's developer. It holds
// nothing of the proof.
type Fault struct {
	Expired bool   // it was good once: another is to be asked for
	Field   string // "identify.jwt.exp"
	Reason  string
}

// Error implements error.
func (f *Fault) Error() string { return f.Field + ": " + f.Reason }

func fault(field, format string, args ...any) *Fault {
	return &Fault{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Judge judges an identification that came at now. Proven says that the proof is
// good; with neither that nor a fault the identification is taken as unproven.
func (v *Verifier) Judge(p Proof, now time.Time) (proven bool, _ *Fault) {
	if v == nil {
		v = &Verifier{mode: Required}
	}
	none := p.HMAC == "" && p.JWT == ""
	switch {
	case v.mode == Off, none && v.mode == Optional:
		return false, nil
	case len(v.keys) == 0:
		return false, fault("identify", "the app has no identity key, so nothing can be proven")
	case none:
		return false, fault("identify", "the app wants a proof: hmac or jwt")
	case p.HMAC != "" && p.JWT != "":
		return false, fault("identify.jwt", "of hmac and jwt one at most")
	}
	var bad *Fault
	if p.HMAC != "" {
		bad = v.hash(p)
	} else {
		bad = v.token(p, now)
	}
	return bad == nil, bad
}

// hash holds the proof against every key for it: it names none.
func (v *Verifier) hash(p Proof) *Fault {
	given, err := hex.DecodeString(p.HMAC)
	if err != nil || len(given) != sha256.Size {
		return fault("identify.hmac", "must be %d hexadecimal digits", 2*sha256.Size)
	}
	any := false
	for _, k := range v.keys {
		if k.alg != HMAC {
			continue
		}
		any = true
		if hmac.Equal(given, Sum(k.use.([]byte), v.app, p.UserID)) { //nolint:forcetypeassert // material gives nothing else
			return nil
		}
	}
	if !any {
		return fault("identify.hmac", "the app has no key of the algorithm HMAC")
	}
	return fault("identify.hmac", `must be hex HMAC-SHA256(identity secret, "v1\0" + app id + "\0" + user_id)`)
}

// Sum is the proof by a keyed hash, before it is written in hex.
func Sum(secret []byte, app, user string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("v1\x00" + app + "\x00" + user))
	return h.Sum(nil)
}

// parser reads tokens of the algorithms that there are; which of them a token may
// have its key says. Claims are judged here, so that each has its own reason.
var parser = jwt.NewParser(
	jwt.WithValidMethods([]string{string(HS256), string(ES256), string(EdDSA)}),
	jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation(),
)

// token judges a JWT.
func (v *Verifier) token(p Proof, now time.Time) *Fault {
	if len(p.JWT) > MaxJWTChars {
		return fault("identify.jwt", "at most %d characters, has %d", MaxJWTChars, len(p.JWT))
	}
	claims := jwt.MapClaims{}
	var bad *Fault
	_, err := parser.ParseWithClaims(p.JWT, claims, func(t *jwt.Token) (any, error) {
		k, f := v.pick(t)
		if f != nil {
			bad = f
			return nil, f
		}
		return k.use, nil
	})
	switch {
	case bad != nil:
		return bad
	case err != nil:
		return unread(err)
	}
	return v.claims(claims, p.UserID, now)
}

// pick is the key that a token is to be held against.
func (v *Verifier) pick(t *jwt.Token) (*key, *Fault) {
	if _, there := t.Header["crit"]; there { // RFC 7515: who does not understand what it names must refuse
		return nil, fault("identify.jwt.crit", "is not supported")
	}
	kid, said := t.Header["kid"]
	var k *key
	for i := range v.keys {
		switch {
		case v.keys[i].alg == HMAC:
		case said && kid == v.keys[i].id:
			k = &v.keys[i]
		case !said && k != nil:
			return nil, fault("identify.jwt.kid", "is required: the app has several keys for tokens")
		case !said:
			k = &v.keys[i]
		}
	}
	switch {
	case k == nil && said:
		return nil, fault("identify.jwt.kid", "names no key of the app")
	case k == nil:
		return nil, fault("identify.jwt", "the app has no key for tokens")
	case t.Method.Alg() != string(k.alg):
		return nil, fault("identify.jwt.alg", "must be %s, that of key %q", k.alg, k.id)
	}
	return k, nil
}

// unread is what is wrong with a token that cannot be read or was not signed by the
// key. The library's own words may hold parts of the token.
func unread(err error) *Fault {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return fault("identify.jwt", "is not a JWS in compact form with a JSON object of claims")
	case errors.Is(err, jwt.ErrSignatureInvalid), errors.Is(err, jwt.ErrECDSAVerification), errors.Is(err, jwt.ErrEd25519Verification):
		return fault("identify.jwt", "its signature is not that of the key")
	}
	return fault("identify.jwt.alg", "must be HS256, ES256 or EdDSA, that of the key")
}

// claims judges what a token says. Its signature is good.
func (v *Verifier) claims(c jwt.MapClaims, user string, now time.Time) *Fault {
	if sub, _ := c["sub"].(string); sub == "" || sub != user {
		return fault("identify.jwt.sub", "must be the user_id")
	}
	if aud, err := c.GetAudience(); err != nil || !slices.Contains(aud, v.app) {
		return fault("identify.jwt.aud", "must be the app id, %q", v.app)
	}
	issued, ok := seconds(c["iat"])
	if !ok {
		return fault("identify.jwt.iat", "must be a time in seconds")
	}
	expires, ok := seconds(c["exp"])
	switch {
	case !ok:
		return fault("identify.jwt.exp", "must be a time in seconds")
	case !expires.After(issued) || expires.Sub(issued) > MaxLife:
		return fault("identify.jwt.exp", "must be after iat, by at most %v", MaxLife)
	case issued.After(now.Add(Leeway)):
		return fault("identify.jwt.iat", "is in the future: is the clock of the server right that signed it?")
	}
	if nbf, said := c["nbf"]; said {
		if t, ok := seconds(nbf); !ok || t.After(now.Add(Leeway)) {
			return fault("identify.jwt.nbf", "is in the future, or no time")
		}
	}
	if !now.Before(expires.Add(Leeway)) {
		return &Fault{Expired: true, Field: "identify.jwt.exp", Reason: "has passed: ask the app's server for another token"}
	}
	return nil
}

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

// seconds reads a NumericDate (RFC 7519).
func seconds(claim any) (time.Time, bool) {
	f, ok := claim.(float64)
	if !ok || !(f >= 0 && f <= maxSeconds) {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(f * 1000)), true
}
