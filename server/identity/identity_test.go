package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

func TestAKeyIsWhatItsAlgorithmTakes(t *testing.T) {
	es, ed, hs := keyOf("es-1", ES256), keyOf("ed-1", EdDSA), keyOf("hs-1", HS256)
	pkcs8 := func(key any) string {
		b, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}))
	}
	spki := func(key any) string {
		b, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b}))
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public := func(s signer, change map[string]any) string {
		var o map[string]any
		if err := json.Unmarshal([]byte(s.PrivateJWK), &o); err != nil {
			t.Fatal(err)
		}
		delete(o, "d")
		maps.Copy(o, change)
		return jwk(o)
	}
	for _, c := range []struct {
		name  string
		key   Key
		field string // empty: fine
	}{
		{"HMAC", Key{ID: "a", Alg: HMAC, Secret: "0123456789abcdef"}, ""},
		{"HS256", Key{ID: "a", Alg: HS256, Secret: engage.Secret(hs.Secret)}, ""},
		{"ES256 by PEM", Key{ID: "a", Alg: ES256, Public: es.PublicKey}, ""},
		{"ES256 by JWK", Key{ID: "a", Alg: ES256, Public: public(es, map[string]any{"alg": "ES256", "use": "sig", "kid": "x"})}, ""},
		{"EdDSA by PEM", Key{ID: "a", Alg: EdDSA, Public: ed.PublicKey}, ""},
		{"EdDSA by JWK", Key{ID: "a", Alg: EdDSA, Public: " " + public(ed, nil)}, ""},
		{"EdDSA by JWK, the new name", Key{ID: "a", Alg: EdDSA, Public: public(ed, map[string]any{"alg": "Ed25519"})}, ""},

		{"no id", Key{Alg: HMAC, Secret: "0123456789abcdef"}, "id"},
		{"id with a slash", Key{ID: "a/b", Alg: HMAC, Secret: "0123456789abcdef"}, "id"},
		{"no alg", Key{ID: "a", Secret: "0123456789abcdef"}, "alg"},
		{"none", Key{ID: "a", Alg: "none"}, "alg"},
		{"RS256", Key{ID: "a", Alg: "RS256", Public: spki(&rsaKey.PublicKey)}, "alg"},
		{"HMAC short", Key{ID: "a", Alg: HMAC, Secret: "0123456789abcde"}, "secret"},
		{"HMAC none", Key{ID: "a", Alg: HMAC}, "secret"},
		{"HS256 short", Key{ID: "a", Alg: HS256, Secret: "0123456789abcdef0123456789abcde"}, "secret"},
		{"HS256 long", Key{ID: "a", Alg: HS256, Secret: engage.Secret(strings.Repeat("x", 201))}, "secret"},
		{"HS256 public", Key{ID: "a", Alg: HS256, Secret: engage.Secret(hs.Secret), Public: es.PublicKey}, "public_key"},
		{"ES256 secret", Key{ID: "a", Alg: ES256, Secret: engage.Secret(hs.Secret), Public: es.PublicKey}, "secret"},
		{"ES256 nothing", Key{ID: "a", Alg: ES256}, "public_key"},
		{"ES256 is EdDSA", Key{ID: "a", Alg: ES256, Public: ed.PublicKey}, "public_key"},
		{"EdDSA is ES256", Key{ID: "a", Alg: EdDSA, Public: public(es, nil)}, "public_key"},
		{"ES256 of P-384", Key{ID: "a", Alg: ES256, Public: spki(&p384.PublicKey)}, "public_key"},
		{"ES256 is RSA", Key{ID: "a", Alg: ES256, Public: spki(&rsaKey.PublicKey)}, "public_key"},
		{"private PEM", Key{ID: "a", Alg: ES256, Public: pkcs8(es.private)}, "public_key"},
		{"private JWK", Key{ID: "a", Alg: EdDSA, Public: ed.PrivateJWK}, "public_key"},
		{"symmetric JWK", Key{ID: "a", Alg: ES256, Public: `{"kty":"oct","k":"AAAA"}`}, "public_key"},
		{"a certificate", Key{ID: "a", Alg: ES256, Public: strings.ReplaceAll(es.PublicKey, "PUBLIC KEY", "CERTIFICATE")}, "public_key"},
		{"two PEM blocks", Key{ID: "a", Alg: ES256, Public: es.PublicKey + es.PublicKey}, "public_key"},
		{"PEM of nothing", Key{ID: "a", Alg: ES256, Public: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}, "public_key"},
		{"not on the curve", Key{ID: "a", Alg: ES256, Public: public(es, map[string]any{"y": b64(make([]byte, 32))})}, "public_key"},
		{"padded", Key{ID: "a", Alg: EdDSA, Public: public(ed, map[string]any{"x": b64(make([]byte, 32)) + "="})}, "public_key"},
		{"short x", Key{ID: "a", Alg: EdDSA, Public: public(ed, map[string]any{"x": "AAAA"})}, "public_key"},
		{"JWK for encryption", Key{ID: "a", Alg: ES256, Public: public(es, map[string]any{"use": "enc"})}, "public_key"},
		{"JWK of another alg", Key{ID: "a", Alg: ES256, Public: public(es, map[string]any{"alg": "ES384"})}, "public_key"},
		{"half a JWK", Key{ID: "a", Alg: ES256, Public: `{"kty":`}, "public_key"},
		{"text", Key{ID: "a", Alg: ES256, Public: "my key"}, "public_key"},
		{"too long", Key{ID: "a", Alg: ES256, Public: es.PublicKey + strings.Repeat("\n", 10) + strings.Repeat("x", MaxPublicChars)}, "public_key"},
	} {
		err := c.key.Validate()
		e, ours := errors.AsType[*engage.Error](err)
		switch {
		case c.field == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.field != "" && (!ours || e.Code != engage.Invalid || e.Field != c.field):
			t.Errorf("%s: %v, want field %s", c.name, err, c.field)
		}
		if secret := c.key.Secret.Reveal(); err != nil && len(secret) > 3 && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds the secret", c.name)
		}
	}
	one, asPEM, err := ParsePublic(ES256, public(es, nil))
	if err != nil || asPEM != es.PublicKey || !one.(*ecdsa.PublicKey).Equal(es.private.Public()) {
		t.Errorf("%v, %q, %v", one, asPEM, err)
	}
}

func TestAVerifierIsMadeOfFewKeysOfDifferentNames(t *testing.T) {
	k := func(id string) Key { return Key{ID: id, Alg: HMAC, Secret: "0123456789abcdef"} }
	var eleven []Key
	for _, id := range "abcdefghijk" {
		eleven = append(eleven, k(string(id)))
	}
	for _, c := range []struct {
		mode  Mode
		keys  []Key
		field string
	}{
		{"", nil, ""},
		{Off, eleven[:10], ""},
		{"on", nil, "mode"},
		{Off, eleven, "keys"},
		{Off, []Key{k("a"), k("b"), k("a")}, "keys[2].id"},
		{Off, []Key{k("a"), {ID: "b", Alg: ES256, Public: "x"}}, "keys[1].public_key"},
	} {
		_, err := New("shop", c.mode, c.keys)
		e, _ := errors.AsType[*engage.Error](err)
		if c.field == "" && err != nil || c.field != "" && (e == nil || e.Field != c.field) {
			t.Errorf("%q with %d keys: %v, want field %q", c.mode, len(c.keys), err, c.field)
		}
	}
}

func TestNothingIsProvenWithoutKeys(t *testing.T) {
	var none *Verifier
	for _, p := range []Proof{{UserID: "ada"}, {UserID: "ada", HMAC: strings.Repeat("00", 32)}, {UserID: "ada", JWT: "a.b.c"}} {
		if proven, fault := none.Judge(p, time.Unix(0, 0)); proven || fault == nil {
			t.Errorf("%+v: %v %v", p, proven, fault)
		}
	}
}

func TestALongTokenIsNotRead(t *testing.T) {
	es := keyOf("es-1", ES256)
	v, err := New("shop", Required, []Key{{ID: es.ID, Alg: ES256, Public: es.PublicKey}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	token := func(pad int) string {
		return es.token(t, es.header(), object{"sub": "ada", "aud": "shop", "iat": now.Unix(), "exp": now.Unix() + 60, "pad": strings.Repeat("x", pad)})
	}
	for _, c := range []struct {
		pad int
		ok  bool
	}{{0, true}, {2700, true}, {MaxJWTChars, false}} {
		if proven, fault := v.Judge(Proof{UserID: "ada", JWT: token(c.pad)}, now); proven != c.ok {
			t.Errorf("%d characters: %v %v", len(token(c.pad)), proven, fault)
		}
	}
}

// Whatever a phone says, nothing is proven but by a proof that a key made.
func FuzzJudge(f *testing.F) {
	signed := func(p Proof) Proof { // what the proof stands for; the signature may have a twin
		text := p.JWT
		if i := strings.LastIndex(text, "."); i >= 0 {
			text = text[:i]
		}
		return Proof{p.UserID, strings.ToLower(p.HMAC), text}
	}
	good := map[Proof]bool{}
	for _, v := range makeVectors(&testing.T{}).Vectors {
		f.Add(v.UserID, v.HMAC, v.JWT)
		if v.Proven {
			good[signed(Proof{v.UserID, v.HMAC, v.JWT})] = true
		}
	}
	hm, hs, es, ed := keyOf("hmac-1", HMAC), keyOf("hs-1", HS256), keyOf("es-1", ES256), keyOf("ed-1", EdDSA)
	v, err := New("shop", Required, []Key{
		{ID: hm.ID, Alg: HMAC, Secret: engage.Secret(hm.Secret)},
		{ID: hs.ID, Alg: HS256, Secret: engage.Secret(hs.Secret)},
		{ID: es.ID, Alg: ES256, Public: es.PublicKey},
		{ID: ed.ID, Alg: EdDSA, Public: ed.PublicKey},
	})
	if err != nil {
		f.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, user, hash, token string) {
		p := Proof{user, hash, token}
		proven, fault := v.Judge(p, now)
		if proven == (fault != nil) {
			t.Fatalf("proven %v and %v", proven, fault)
		}
		if proven && !good[signed(p)] {
			t.Fatalf("proven by %+v", p)
		}
	})
}
