package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// MaxPublicChars bounds the text of a public key.
const MaxPublicChars = 4096

// pemPublic is the type of a PEM block that holds a SubjectPublicKeyInfo.
const pemPublic = "PUBLIC KEY"

// ParsePublic reads a public key for the algorithm, a PEM block ("PUBLIC KEY") or a
// JWK, and gives it as PEM, too. The error is an *engage.Error of code Invalid; it
// holds nothing of the text, which may be a private key by mistake.
func ParsePublic(alg Alg, text string) (key crypto.PublicKey, asPEM string, err error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, "", engage.Errorf(engage.Invalid, "", "is required: PEM or JWK")
	case len(text) > MaxPublicChars:
		return nil, "", engage.Errorf(engage.Invalid, "", "at most %d characters", MaxPublicChars)
	case text[0] == '{':
		key, err = parseJWK(alg, text)
	default:
		key, err = parsePEM(text)
	}
	if err != nil {
		return nil, "", err
	}
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if alg != ES256 || k.Curve != elliptic.P256() {
			return nil, "", engage.Errorf(engage.Invalid, "", "is not a key for %s", alg)
		}
	case ed25519.PublicKey:
		if alg != EdDSA {
			return nil, "", engage.Errorf(engage.Invalid, "", "is not a key for %s", alg)
		}
	default:
		return nil, "", engage.Errorf(engage.Invalid, "", "is not a key for %s", alg)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, "", engage.Errorf(engage.Invalid, "", "is not a key for %s", alg)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der})), nil
}

func parsePEM(text string) (crypto.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, engage.Errorf(engage.Invalid, "", "is neither PEM nor a JWK")
	case strings.Contains(block.Type, "PRIVATE"):
		return nil, errPrivate()
	case block.Type != pemPublic || len(strings.TrimSpace(string(rest))) > 0:
		return nil, engage.Errorf(engage.Invalid, "", "must be one PEM block of the type PUBLIC KEY")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, engage.Errorf(engage.Invalid, "", "is not a public key (SubjectPublicKeyInfo)")
	}
	return key, nil
}

func errPrivate() error {
	return engage.Errorf(engage.Invalid, "", "is a private key: it stays on your server; give the public one")
}

// parseJWK reads a JWK (RFC 7517, RFC 8037).
func parseJWK(alg Alg, text string) (crypto.PublicKey, error) {
	var k struct {
		Kty, Crv, X, Y, Alg, Use string
		D, K                     json.RawMessage
	}
	if json.Unmarshal([]byte(text), &k) != nil {
		return nil, engage.Errorf(engage.Invalid, "", "is no JWK")
	}
	x, errX := base64.RawURLEncoding.Strict().DecodeString(k.X)
	y, errY := base64.RawURLEncoding.Strict().DecodeString(k.Y)
	switch {
	case k.D != nil || k.K != nil:
		return nil, errPrivate()
	case k.Alg != "" && k.Alg != string(alg) && (alg != EdDSA || k.Alg != "Ed25519"):
		return nil, engage.Errorf(engage.Invalid, "", "its alg is not %s", alg)
	case k.Use != "" && k.Use != "sig":
		return nil, engage.Errorf(engage.Invalid, "", "its use is not sig")
	case errors.Join(errX, errY) != nil:
		return nil, engage.Errorf(engage.Invalid, "", "its x or y is not base64url without padding")
	case k.Kty == "EC" && k.Crv == "P-256" && len(x) == 32 && len(y) == 32:
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return nil, engage.Errorf(engage.Invalid, "", "is no point of P-256")
		}
		return key, nil
	case k.Kty == "OKP" && k.Crv == "Ed25519" && len(x) == ed25519.PublicKeySize:
		return ed25519.PublicKey(x), nil
	}
	return nil, engage.Errorf(engage.Invalid, "", "must be of kty EC and crv P-256, or of kty OKP and crv Ed25519")
}
