package api_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/identity"
)

type identityDoc struct {
	Mode string
	Keys []identityKeyDoc
}

type identityKeyDoc struct {
	ID, Alg, Secret string
	PublicKey       string    `json:"public_key"`
	CreatedAt       time.Time `json:"created_at"`
}

func publicPEM(t *testing.T, key any) string {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b}))
}

func TestAnAppsIdentityKeysCanBeRotated(t *testing.T) {
	s := newSite(t)
	admin := func(method, path, body string, header map[string]string) answer {
		return s.do(request{method: method, path: "/api/v1/apps" + path, body: body, role: catalog.Admin, header: header})
	}
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edJWK := `{"kty":"OKP","crv":"Ed25519","kid":"2026-11","x":"` + base64.RawURLEncoding.EncodeToString(edPublic) + `"}`

	// As earlier builds took it: one secret, required.
	admin("POST", "", `{"id":"old","name":"x","platform":"web","identity_secret":"identity-secret-1"}`, nil).want(201)
	var doc identityDoc
	a := admin("GET", "/old/identity", "", nil).want(200, &doc)
	if doc.Mode != "required" || len(doc.Keys) != 1 || doc.Keys[0].ID != catalog.LegacyIdentityKey || doc.Keys[0].Alg != "HMAC" || doc.Keys[0].Secret != "" {
		t.Fatalf("an app with a secret alone: %s", a.body)
	}

	// Made with keys: those without a secret are given one, which is shown once.
	var app struct {
		Key      string
		Identity identityDoc
	}
	a = admin("POST", "", fmt.Sprintf(`{"id":"app","name":"x","platform":"web","identity":{"mode":"optional","keys":[
		{"id":"h","alg":"HMAC"},{"id":"own","alg":"HS256","secret":"%s"},{"id":"es","alg":"ES256","public_key":%s},{"alg":"EdDSA","public_key":%s}]}}`,
		strings.Repeat("s", 32), quoted(t, publicPEM(t, &es.PublicKey)), edJWK), nil).want(201, &app)
	keys := app.Identity.Keys
	if app.Identity.Mode != "optional" || len(keys) != 4 || len(keys[0].Secret) < 32 || keys[1].Secret != "" ||
		keys[2].PublicKey != publicPEM(t, &es.PublicKey) || keys[3].ID != "2026-11" || keys[3].PublicKey != publicPEM(t, edPublic) || !keys[3].CreatedAt.Equal(start) {
		t.Fatalf("made %s", a.body)
	}
	kept := s.catalog.Now().AppByKey(app.Key).IdentitySettings()
	for i, want := range []string{keys[0].Secret, strings.Repeat("s", 32), "", ""} {
		if got, err := s.sealer.Open(kept.Keys[i].Secret); err != nil || got.Reveal() != want {
			t.Errorf("key %d is kept as %q, %v", i, got.Reveal(), err)
		}
	}
	answers := string(s.get("/api/v1/apps").want(200).body) + string(admin("GET", "/app", "", nil).body) +
		string(admin("GET", "/app/identity", "", nil).body) + string(admin("GET", "/app/identity/keys", "", nil).body)
	for _, secret := range []string{keys[0].Secret, strings.Repeat("s", 32), "v1:", "identity-secret-1"} {
		if strings.Contains(answers, secret) {
			t.Errorf("%s came back", secret)
		}
	}

	// The mode, by version.
	a = admin("PUT", "/app/identity", `{"mode":"off"}`, nil)
	a.wantProblem(http.StatusPreconditionRequired, "precondition_required", "If-Match")
	a = admin("PUT", "/app/identity", `{"mode":"off"}`, map[string]string{"If-Match": `"1"`}).want(200, &doc)
	if a.header.Get("ETag") != `"2"` || doc.Mode != "off" || len(doc.Keys) != 4 {
		t.Errorf("%v %s", a.header, a.body)
	}
	admin("PUT", "/app/identity", `{"mode":"required","version":1}`, nil).wantProblem(http.StatusPreconditionFailed, engage.Conflict, "version")
	admin("PUT", "/app/identity", `{"mode":"required","version":2}`, nil).want(200)
	admin("PUT", "/app/identity", `{"mode":"sometimes"}`, map[string]string{"If-Match": "*"}).wantProblem(422, engage.Invalid, "mode")
	admin("PUT", "/app/identity", `{"mode":"off","keys":[]}`, map[string]string{"If-Match": "*"}).wantProblem(422, engage.Invalid, "keys")
	admin("PUT", "/nobody/identity", `{"mode":"off"}`, map[string]string{"If-Match": "*"}).wantProblem(404, engage.NotFound, "id")

	// Keys come and go.
	var made identityKeyDoc
	a = admin("POST", "/old/identity/keys", `{"alg":"HMAC"}`, nil).want(201, &made)
	if made.ID == "" || len(made.Secret) < 32 || a.header.Get("ETag") != `"2"` {
		t.Errorf("%s", a.body)
	}
	admin("POST", "/old/identity/keys", `{"id":"`+made.ID+`","alg":"HS256"}`, nil).wantProblem(409, engage.Conflict, "id")
	admin("POST", "/old/identity/keys", `{"alg":"HS256"}`, map[string]string{"If-Match": `"1"`}).wantProblem(http.StatusPreconditionFailed, engage.Conflict, "version")
	admin("DELETE", "/old/identity/keys/"+catalog.LegacyIdentityKey, "", nil).want(204)
	admin("DELETE", "/old/identity/keys/"+catalog.LegacyIdentityKey, "", nil).wantProblem(404, engage.NotFound, "key")
	admin("DELETE", "/nobody/identity/keys/x", "", nil).wantProblem(404, engage.NotFound, "id")
	var list struct{ Items []identityKeyDoc }
	admin("GET", "/old/identity/keys", "", nil).want(200, &list)
	if len(list.Items) != 1 || list.Items[0].ID != made.ID || list.Items[0].Secret != "" {
		t.Errorf("left %+v", list.Items)
	}
	if old := s.catalog.Now().App(alpha, "old"); old.IdentitySecret != "" || old.Version != 3 {
		t.Errorf("the old secret is still there: version %d", old.Version)
	}
	// Who did it stands in the configuration's log, as for all else.
	if h := s.catalog.History(alpha, catalog.Apps, "old"); len(h) != 3 || h[2].By != h[0].By || h[2].By == "" {
		t.Errorf("history %+v", h)
	}

	for _, c := range []struct{ name, body, field string }{
		{"no alg", `{"id":"x"}`, "alg"},
		{"none", `{"alg":"none"}`, "alg"},
		{"RS256", `{"alg":"RS256","public_key":"x"}`, "alg"},
		{"short", `{"alg":"HS256","secret":"a-secret"}`, "secret"},
		{"private key", `{"alg":"ES256","public_key":` + quoted(t, pemKey(t)) + `}`, "public_key"},
		{"no public key", `{"alg":"ES256"}`, "public_key"},
		{"public key of another kind", `{"alg":"ES256","public_key":` + edJWK + `}`, "public_key"},
		{"secret of a public key", `{"alg":"EdDSA","public_key":` + edJWK + `,"secret":"a-secret-that-is-long-enough-for-it"}`, "secret"},
		{"bad id", `{"id":"a b","alg":"HMAC"}`, "id"},
		{"kid that is no id", `{"alg":"EdDSA","public_key":` + strings.Replace(edJWK, "2026-11", "2026/11", 1) + `}`, "id"},
		{"a number", `{"alg":"ES256","public_key":7}`, "public_key"},
		{"unknown", `{"alg":"HMAC","secrets":"a-secret"}`, "secrets"},
	} {
		a := admin("POST", "/app/identity/keys", c.body, nil)
		a.wantProblem(422, engage.Invalid, c.field)
		if strings.Contains(string(a.body), "a-secret") || strings.Contains(string(a.body), "BEGIN PRIV") {
			t.Errorf("%s: the refusal shows the secret: %s", c.name, a.body)
		}
	}
	for field, body := range map[string]string{
		"identity.keys[0].alg": `"identity":{"keys":[{}]}`, "identity.mode": `"identity":{"mode":"on"}`,
		"identity.keys[1].id": `"identity":{"keys":[{"id":"a","alg":"HMAC"},{"id":"a","alg":"HMAC"}]}`,
	} {
		a := admin("POST", "", `{"id":"bad","name":"x","platform":"web",`+body+`}`, nil)
		if a.status != 422 && a.status != 409 || !strings.Contains(string(a.body), `"field":"`+field+`"`) {
			t.Errorf("%s: %d %s", field, a.status, a.body)
		}
	}

	// Who adds at once adds all; and there are at most ten.
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			admin("POST", "/old/identity/keys", fmt.Sprintf(`{"id":"at-once-%d","alg":"HMAC"}`, i), nil).want(201)
		})
	}
	wg.Wait()
	for range identity.MaxKeys - 4 {
		admin("POST", "/old/identity/keys", `{"alg":"HMAC"}`, nil).want(201)
	}
	admin("POST", "/old/identity/keys", `{"alg":"HMAC"}`, nil).wantProblem(409, engage.Conflict, "")
	admin("GET", "/old/identity", "", nil).want(200, &doc)
	if len(doc.Keys) != identity.MaxKeys {
		t.Errorf("%d keys", len(doc.Keys))
	}
}
