package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

var update = flag.Bool("update", false, "write sdkproto/vectors/identity.json")

const vectorsFile = "../../sdkproto/vectors/identity.json"

// vectors is sdkproto/vectors/identity.json.
type vectors struct {
	// Keys by name. The private ones are for whoever wants to make the same proofs;
	// they are used nowhere else.
	Keys    map[string]vectorKey `json:"keys"`
	Vectors []vector             `json:"vectors"`
}

type vectorKey struct {
	ID         string `json:"id"`
	Alg        Alg    `json:"alg"`
	Secret     string `json:"secret,omitempty"`
	PublicKey  string `json:"public_key,omitempty"`  // PEM
	PrivateJWK string `json:"private_jwk,omitempty"` // JSON
}

type vector struct {
	Name   string   `json:"name"`
	App    string   `json:"app"`
	Mode   Mode     `json:"mode"`
	Keys   []string `json:"keys"`
	UserID string   `json:"user_id"`
	HMAC   string   `json:"hmac,omitempty"`
	JWT    string   `json:"jwt,omitempty"`
	NowMS  int64    `json:"now_ms,string"`
	Proven bool     `json:"proven"`
	Code   string   `json:"code,omitempty"` // of the reject; empty: it is taken
	Field  string   `json:"field,omitempty"`
}

// The vectors are what makeVectors makes, and the code here judges them as they say.
func TestVectors(t *testing.T) {
	made := makeVectors(t)
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile(vectorsFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, text) {
		t.Errorf("%s is not what its generator makes: run with -update, and look at what changed", vectorsFile)
	}
	var in vectors
	if err := json.Unmarshal(have, &in); err != nil {
		t.Fatal(err)
	}
	if len(in.Vectors) < 50 {
		t.Fatalf("%d vectors", len(in.Vectors))
	}
	seen := map[string]bool{}
	for _, v := range in.Vectors {
		if seen[v.Name] {
			t.Errorf("two vectors are called %q", v.Name)
		}
		seen[v.Name] = true
		t.Run(v.Name, func(t *testing.T) {
			var keys []Key
			for _, name := range v.Keys {
				k, known := in.Keys[name]
				if !known {
					t.Fatalf("no key %q", name)
				}
				keys = append(keys, Key{ID: k.ID, Alg: k.Alg, Secret: engage.Secret(k.Secret), Public: k.PublicKey})
			}
			judge, err := New(v.App, v.Mode, keys)
			if err != nil {
				t.Fatal(err)
			}
			proven, fault := judge.Judge(Proof{UserID: v.UserID, HMAC: v.HMAC, JWT: v.JWT}, time.UnixMilli(v.NowMS))
			code, field := "", ""
			if fault != nil {
				code, field = "identity_invalid", fault.Field
				if fault.Expired {
					code = "identity_expired"
				}
				for _, secret := range append(strings.Split(v.JWT, "."), v.HMAC) {
					if len(secret) > 8 && strings.Contains(fault.Error(), secret) {
						t.Error("the reason holds a part of the proof")
					}
				}
			}
			if proven != v.Proven || code != v.Code || field != v.Field {
				t.Errorf("proven %v, code %q, field %q; %v", proven, code, field, fault)
			}
		})
	}
}

// signer makes proofs with one key.
type signer struct {
	vectorKey
	private crypto.Signer // nil of a shared key
}

func (s signer) sign(t *testing.T, text string) []byte {
	t.Helper()
	switch k := s.private.(type) {
	case nil:
		return mac(s.Secret, text)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, []byte(text))
	default:
		digest := sha256.Sum256([]byte(text))
		der, err := k.Sign(nil, digest[:], crypto.SHA256) // without chance: RFC 6979
		if err != nil {
			t.Fatal(err)
		}
		var sig struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &sig); err != nil {
			t.Fatal(err)
		}
		out := make([]byte, 64)
		sig.R.FillBytes(out[:32])
		sig.S.FillBytes(out[32:])
		return out
	}
}

func mac(secret, text string) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(text))
	return h.Sum(nil)
}

type object = map[string]any

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func segment(v any) string {
	b, err := json.Marshal(v) // keys in order
	if err != nil {
		panic(err)
	}
	return b64(b)
}

// token is a JWT; header and claims as given.
func (s signer) token(t *testing.T, header, claims any) string {
	t.Helper()
	text := segment(header) + "." + segment(claims)
	return text + "." + b64(s.sign(t, text))
}

func (s signer) header() object { return object{"alg": string(s.Alg), "typ": "JWT", "kid": s.ID} }

func keyOf(id string, alg Alg) signer {
	seed := sha256.Sum256([]byte("footfall identity vectors: " + id))
	s := signer{vectorKey: vectorKey{ID: id, Alg: alg}}
	var public crypto.PublicKey
	switch alg {
	case ES256:
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
		if err != nil {
			panic(err)
		}
		raw, err := k.PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		s.private, public = k, &k.PublicKey
		s.PrivateJWK = jwk(object{"kty": "EC", "crv": "P-256", "x": b64(raw[1:33]), "y": b64(raw[33:]), "d": b64(seed[:])})
	case EdDSA:
		k := ed25519.NewKeyFromSeed(seed[:])
		s.private, public = k, k.Public()
		s.PrivateJWK = jwk(object{"kty": "OKP", "crv": "Ed25519", "x": b64(k.Public().(ed25519.PublicKey)), "d": b64(seed[:])})
	default:
		s.Secret = hex.EncodeToString(seed[:])
		return s
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err)
	}
	s.PublicKey = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return s
}

func jwk(o object) string {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func makeVectors(t *testing.T) vectors {
	t.Helper()
	const app, user = "shop", "ada"
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	hm, hm2, hs := keyOf("hmac-1", HMAC), keyOf("hmac-2", HMAC), keyOf("hs-1", HS256)
	es, es2, ed := keyOf("es-1", ES256), keyOf("es-2", ES256), keyOf("ed-1", EdDSA)
	out := vectors{Keys: map[string]vectorKey{}}
	for _, s := range []signer{hm, hm2, hs, es, es2, ed} {
		out.Keys[s.ID] = s.vectorKey
	}
	claims := func(change object) object {
		c := object{"sub": user, "aud": app, "iat": now.Unix() - 60, "exp": now.Unix() + 1740}
		for k, v := range change {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return c
	}
	names := func(keys []signer) []string {
		ids := []string{}
		for _, k := range keys {
			ids = append(ids, k.ID)
		}
		return ids
	}
	add := func(name string, keys []signer, change func(*vector)) {
		v := vector{Name: name, App: app, Mode: Required, Keys: names(keys), UserID: user, NowMS: now.UnixMilli()}
		change(&v)
		v.Proven = v.Code == "" && v.Mode != Off && (v.HMAC != "" || v.JWT != "")
		out.Vectors = append(out.Vectors, v)
	}
	const invalid, expired = "identity_invalid", "identity_expired"
	good := func(name string, keys []signer, jwt string) {
		add(name, keys, func(v *vector) { v.JWT = jwt })
	}
	bad := func(name string, keys []signer, jwt, field string) {
		add(name, keys, func(v *vector) { v.JWT, v.Code, v.Field = jwt, invalid, field })
	}
	all := []signer{hm, hs, es, ed}

	// By a keyed hash.
	sum := func(s signer, app, user string) string {
		return hex.EncodeToString(mac(s.Secret, "v1\x00"+app+"\x00"+user))
	}
	hash := func(name string, keys []signer, proof, field string) {
		add(name, keys, func(v *vector) {
			if v.HMAC = proof; field != "" {
				v.Code, v.Field = invalid, field
			}
		})
	}
	hash("hmac: good", all, sum(hm, app, user), "")
	hash("hmac: good, in capitals", all, strings.ToUpper(sum(hm, app, user)), "")
	hash("hmac: good by the second of two keys", []signer{hm, hm2}, sum(hm2, app, user), "")
	hash("hmac: of a key that the app does not have", []signer{hm}, sum(hm2, app, user), "identify.hmac")
	hash("hmac: of another user", all, sum(hm, app, "eve"), "identify.hmac")
	hash("hmac: of another app", all, sum(hm, "other", user), "identify.hmac")
	hash("hmac: of app and user run together", all, hex.EncodeToString(mac(hm.Secret, "v1shopada")), "identify.hmac")
	hash("hmac: border between app and user moved", all, hex.EncodeToString(mac(hm.Secret, "v1\x00sho\x00pada")), "identify.hmac")
	hash("hmac: of the user id alone", all, hex.EncodeToString(mac(hm.Secret, user)), "identify.hmac")
	hash("hmac: by the secret of a key for tokens", all, sum(hs, app, user), "identify.hmac")
	hash("hmac: by the text of a public key", all, hex.EncodeToString(mac(es.PublicKey, "v1\x00shop\x00ada")), "identify.hmac")
	hash("hmac: by an empty secret", all, hex.EncodeToString(mac("", "v1\x00shop\x00ada")), "identify.hmac")
	hash("hmac: too short", all, sum(hm, app, user)[:62], "identify.hmac")
	hash("hmac: not hexadecimal", all, strings.Repeat("zz", 32), "identify.hmac")
	hash("hmac: the app has keys for tokens only", []signer{es, hs}, sum(hm, app, user), "identify.hmac")
	add("hmac: never expires", all, func(v *vector) {
		v.HMAC, v.NowMS = sum(hm, app, user), now.AddDate(20, 0, 0).UnixMilli()
	})
	add("hmac: a user id in another script", all, func(v *vector) {
		v.UserID, v.HMAC = "アダ", sum(hm, app, "アダ")
	})

	// By a token.
	for _, s := range []signer{es, ed, hs} {
		n := "jwt: " + string(s.Alg)
		good(n+" good", all, s.token(t, s.header(), claims(nil)))
		good(n+" good, the only key, no kid", []signer{hm, s}, s.token(t, object{"alg": string(s.Alg)}, claims(nil)))
		text := segment(s.header()) + "." + segment(claims(nil))
		sig := s.sign(t, text)
		sig[0] ^= 1
		bad(n+" one bit of the signature", all, text+"."+b64(sig), "identify.jwt")
		bad(n+" no signature", all, text+".", "identify.jwt")
		other := strings.Split(s.token(t, s.header(), claims(nil)), ".")
		bad(n+" the claims of another user under the signature", all, other[0]+"."+segment(claims(object{"sub": "eve"}))+"."+other[2], "identify.jwt")
	}
	bad("jwt: alg none", all, segment(object{"alg": "none", "kid": "es-1"})+"."+segment(claims(nil))+".", "identify.jwt.alg")
	bad("jwt: alg None", all, segment(object{"alg": "None", "kid": "es-1"})+"."+segment(claims(nil))+".", "identify.jwt.alg")
	bad("jwt: alg missing", all, segment(object{"kid": "es-1"})+"."+segment(claims(nil))+"."+b64([]byte("x")), "identify.jwt.alg")
	bad("jwt: alg RS256", all, segment(object{"alg": "RS256", "kid": "es-1"})+"."+segment(claims(nil))+"."+b64(make([]byte, 256)), "identify.jwt.alg")
	bad("jwt: alg ES384", all, segment(object{"alg": "ES384", "kid": "es-1"})+"."+segment(claims(nil))+"."+b64(make([]byte, 96)), "identify.jwt.alg")
	bad("jwt: alg HMAC is no algorithm of tokens", all, segment(object{"alg": "HMAC", "kid": "hmac-1"})+"."+segment(claims(nil))+"."+b64(make([]byte, 32)), "identify.jwt.alg")
	for _, public := range []struct{ name, as string }{
		{"PEM", es.PublicKey}, {"trimmed PEM", strings.TrimSpace(es.PublicKey)}, {"DER", string(der(es))},
	} {
		forged := signer{vectorKey: vectorKey{ID: "es-1", Alg: HS256, Secret: public.as}}
		bad("jwt: HS256 by the ES256 public key, "+public.name, all, forged.token(t, forged.header(), claims(nil)), "identify.jwt.alg")
		bad("jwt: HS256 by the ES256 public key, "+public.name+", the only key, no kid", []signer{es}, forged.token(t, object{"alg": "HS256"}, claims(nil)), "identify.jwt.alg")
	}
	bad("jwt: EdDSA under the kid of an ES256 key", all, ed.token(t, object{"alg": "EdDSA", "kid": "es-1"}, claims(nil)), "identify.jwt.alg")
	bad("jwt: by another key under the kid", []signer{es}, es2.token(t, object{"alg": "ES256", "kid": "es-1"}, claims(nil)), "identify.jwt")
	bad("jwt: a key that the app does not have", []signer{es}, es2.token(t, es2.header(), claims(nil)), "identify.jwt.kid")
	bad("jwt: several keys, no kid", []signer{es, es2}, es2.token(t, object{"alg": "ES256"}, claims(nil)), "identify.jwt.kid")
	good("jwt: the second of two keys", []signer{es, es2}, es2.token(t, es2.header(), claims(nil)))
	bad("jwt: kid of the key for hmac", all, signer{vectorKey: vectorKey{Secret: hm.Secret}}.token(t, object{"alg": "HS256", "kid": "hmac-1"}, claims(nil)), "identify.jwt.kid")
	bad("jwt: the app has a key for hmac only", []signer{hm}, signer{vectorKey: vectorKey{Secret: hm.Secret}}.token(t, object{"alg": "HS256"}, claims(nil)), "identify.jwt")
	bad("jwt: kid is a number", all, es.token(t, object{"alg": "ES256", "kid": 1}, claims(nil)), "identify.jwt.kid")
	bad("jwt: kid is empty", all, es.token(t, object{"alg": "ES256", "kid": ""}, claims(nil)), "identify.jwt.kid")
	bad("jwt: crit", all, es.token(t, object{"alg": "ES256", "kid": "es-1", "crit": []string{"b64"}, "b64": false}, claims(nil)), "identify.jwt.crit")
	good("jwt: a key in the header is not looked at, the app's is right", all, es.token(t, object{"alg": "ES256", "kid": "es-1", "jwk": json.RawMessage(es2.PrivateJWK)}, claims(nil)))
	bad("jwt: signed by a key that stands in the header", all, es2.token(t, object{"alg": "ES256", "kid": "es-1", "jwk": json.RawMessage(es2.PrivateJWK)}, claims(nil)), "identify.jwt")

	for _, c := range []struct {
		name  string
		to    object
		field string // empty: good
	}{
		{"aud in a list", object{"aud": []string{"other", app}}, ""},
		{"claims that say nothing here", object{"iss": "https://shop.example", "jti": "7", "Sub": "eve", "name": "Ada"}, ""},
		{"times with fractions", object{"iat": float64(now.Unix()) - 0.5, "exp": float64(now.Unix()) + 0.5}, ""},
		{"an hour long", object{"iat": now.Unix() - 60, "exp": now.Unix() - 60 + 3600}, ""},
		{"iat within the leeway", object{"iat": now.Unix() + 60, "exp": now.Unix() + 600}, ""},
		{"exp within the leeway", object{"exp": now.Unix() - 59}, ""},
		{"nbf has come", object{"nbf": now.Unix() - 1}, ""},
		{"sub of another user", object{"sub": "eve"}, "identify.jwt.sub"},
		{"no sub", object{"sub": nil}, "identify.jwt.sub"},
		{"sub is a list", object{"sub": []string{user}}, "identify.jwt.sub"},
		{"sub in capitals", object{"sub": "ADA"}, "identify.jwt.sub"},
		{"sub under another name", object{"sub": nil, "Sub": user}, "identify.jwt.sub"},
		{"aud of another app", object{"aud": "other"}, "identify.jwt.aud"},
		{"no aud", object{"aud": nil}, "identify.jwt.aud"},
		{"aud in a list without it", object{"aud": []string{"other", "shop2"}}, "identify.jwt.aud"},
		{"aud is a list of numbers", object{"aud": []int{1}}, "identify.jwt.aud"},
		{"no iat", object{"iat": nil}, "identify.jwt.iat"},
		{"iat is text", object{"iat": "now"}, "identify.jwt.iat"},
		{"iat in the future", object{"iat": now.Unix() + 61, "exp": now.Unix() + 600}, "identify.jwt.iat"},
		{"no exp", object{"exp": nil}, "identify.jwt.exp"},
		{"exp is text", object{"exp": "2026-11-22T13:00:00Z"}, "identify.jwt.exp"},
		{"exp in milliseconds", object{"exp": now.UnixMilli()}, "identify.jwt.exp"},
		{"exp is beyond all numbers", object{"exp": 1e300}, "identify.jwt.exp"},
		{"more than an hour long", object{"exp": now.Unix() - 60 + 3601}, "identify.jwt.exp"},
		{"exp before iat", object{"exp": now.Unix() - 61}, "identify.jwt.exp"},
		{"exp at iat", object{"exp": now.Unix() - 60}, "identify.jwt.exp"},
		{"nbf in the future", object{"nbf": now.Unix() + 61}, "identify.jwt.nbf"},
	} {
		token := es.token(t, es.header(), claims(c.to))
		if c.field == "" {
			good("jwt: "+c.name, all, token)
		} else {
			bad("jwt: "+c.name, all, token, c.field)
		}
	}
	late := func(name string, s signer, after time.Duration) {
		add(name, all, func(v *vector) {
			v.JWT, v.NowMS = s.token(t, s.header(), claims(nil)), now.Add(1740*time.Second+after).UnixMilli()
			if after >= Leeway {
				v.Code, v.Field = expired, "identify.jwt.exp"
			}
		})
	}
	late("jwt: expired, within the leeway", es, Leeway-time.Second)
	late("jwt: ES256 expired", es, Leeway)
	late("jwt: EdDSA expired a day ago", ed, 24*time.Hour)
	late("jwt: HS256 expired", hs, Leeway)
	add("jwt: expired, and of another user", all, func(v *vector) {
		v.JWT, v.NowMS = es.token(t, es.header(), claims(object{"sub": "eve"})), now.Add(24*time.Hour).UnixMilli()
		v.Code, v.Field = invalid, "identify.jwt.sub"
	})

	whole := es.token(t, es.header(), claims(nil))
	parts := strings.Split(whole, ".")
	for _, m := range []struct{ name, jwt, field string }{
		{"one part", "x", "identify.jwt"},
		{"two parts", parts[0] + "." + parts[1], "identify.jwt"},
		{"four parts", whole + ".x", "identify.jwt"},
		{"empty parts", "..", "identify.jwt"},
		{"with padding", parts[0] + "=." + parts[1] + "." + parts[2], "identify.jwt"},
		{"a space after it", whole + " ", "identify.jwt"},
		{"header is a list", segment([]int{1}) + "." + parts[1] + "." + parts[2], "identify.jwt"},
		{"claims are text", es.tokenOf(t, parts[0], b64([]byte("ada"))), "identify.jwt"},
		{"claims are null", es.tokenOf(t, parts[0], b64([]byte("null"))), "identify.jwt.sub"},
		{"an encrypted token", strings.Repeat("eyJhbGciOiJkaXIifQ.", 4) + "x", "identify.jwt"},
	} {
		bad("jwt: "+m.name, all, m.jwt, m.field)
	}

	// Modes.
	for _, m := range []Mode{Required, Optional, Off} {
		n := "mode " + string(m) + ": "
		add(n+"no proof", all, func(v *vector) {
			if v.Mode = m; m == Required {
				v.Code, v.Field = invalid, "identify"
			}
		})
		add(n+"a good token", all, func(v *vector) { v.Mode, v.JWT = m, whole })
		add(n+"a wrong token", all, func(v *vector) {
			if v.Mode, v.JWT = m, whole+"x"; m != Off {
				v.Code, v.Field = invalid, "identify.jwt"
			}
		})
		add(n+"a wrong hmac", all, func(v *vector) {
			if v.Mode, v.HMAC = m, sum(hm2, app, user); m != Off {
				v.Code, v.Field = invalid, "identify.hmac"
			}
		})
		add(n+"no key, a token", nil, func(v *vector) {
			if v.Mode, v.JWT = m, whole; m != Off {
				v.Code, v.Field = invalid, "identify"
			}
		})
		add(n+"hmac and token", all, func(v *vector) {
			if v.Mode, v.JWT, v.HMAC = m, whole, sum(hm, app, user); m != Off {
				v.Code, v.Field = invalid, "identify.jwt"
			}
		})
	}
	return out
}

func (s signer) tokenOf(t *testing.T, header, claims string) string {
	t.Helper()
	return header + "." + claims + "." + b64(s.sign(t, header+"."+claims))
}

func der(s signer) []byte {
	block, _ := pem.Decode([]byte(s.PublicKey))
	return block.Bytes
}
