package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/identity"
)

const identityHelp = "An app proves who uses it by a keyed hash (HMAC) or by a token that its server signs (JWT by ES256, EdDSA or HS256). " +
	"Modes: required (an identification without a good proof is refused), optional (one without any proof is taken and noted as unproven), " +
	"off (proofs are not looked at). What is unproven never touches a person who is known. "

const keyHelp = "Each key has one algorithm and is used for no other. A token names its key in its header (kid), and must when the app has several for tokens. " +
	"To replace a key: add the new one, let your server sign with it, delete the old one an hour later."

func (s *server) registerIdentity() {
	register(s, operation{
		method: http.MethodGet, path: "/apps/{id}/identity", id: "get-identity", tag: tagApps, role: catalog.Marketer,
		summary: "Get how an app proves its users", description: identityHelp + "Its version is that of the app.",
	}, s.getIdentity)
	register(s, operation{
		method: http.MethodPut, path: "/apps/{id}/identity", id: "put-identity", tag: tagApps, role: catalog.Admin,
		summary: "Set the mode of an app's identifications", description: identityHelp + "The keys stay as they are. It is in force at once, for open sessions too.",
		body: identityBody{}, errors: []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired},
	}, s.putIdentity)
	register(s, operation{
		method: http.MethodPost, path: "/apps/{id}/identity/keys", id: "create-identity-key", tag: tagApps, role: catalog.Admin, status: http.StatusCreated,
		summary: "Add an identity key to an app", description: keyHelp + " A secret that is made here is shown in this answer and never again.",
		body: identityKeyBody{}, errors: []int{http.StatusConflict, http.StatusPreconditionFailed},
	}, s.createIdentityKey)
	register(s, operation{
		method: http.MethodGet, path: "/apps/{id}/identity/keys", id: "list-identity-keys", tag: tagApps, role: catalog.Marketer,
		summary: "List the identity keys of an app", description: "All of them, at most 10, the oldest first, without their secrets.",
	}, s.listIdentityKeys)
	register(s, operation{
		method: http.MethodDelete, path: "/apps/{id}/identity/keys/{key}", id: "delete-identity-key", tag: tagApps, role: catalog.Admin,
		summary: "Delete an identity key of an app", description: "At once: proofs that it made are refused from now on.",
		errors: []int{http.StatusConflict, http.StatusPreconditionFailed},
	}, s.deleteIdentityKey)
}

type newIdentity struct {
	Mode identity.Mode     `json:"mode,omitempty" enum:"off,optional,required" doc:"Absent: required"`
	Keys []identityKeyBody `json:"keys,omitempty" maxItems:"10"`
}

type identityBody struct {
	Version int64         `json:"version" required:"false" doc:"That the change was made from, if If-Match does not say it"`
	Mode    identity.Mode `json:"mode" enum:"off,optional,required"`
}

type identityKeyBody struct {
	ID        string          `json:"id,omitempty" doc:"The kid of its tokens: 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'; absent: the kid of a JWK, else one is made"`
	Alg       identity.Alg    `json:"alg" enum:"HMAC,HS256,ES256,EdDSA"`
	Secret    engage.Secret   `json:"secret,omitempty" writeOnly:"true" doc:"Of HMAC (16 to 200 bytes) and HS256 (32 to 200): its bytes in UTF-8 are the key; absent: one is made"`
	PublicKey json.RawMessage `json:"public_key,omitempty" doc:"Of ES256 and EdDSA: the text of a PEM file, or a JWK as an object or its text"`
}

type identityView struct {
	Mode identity.Mode     `json:"mode" enum:"off,optional,required"`
	Keys []identityKeyView `json:"keys" nullable:"false"`
}

type identityKeyView struct {
	ID        string       `json:"id"`
	Alg       identity.Alg `json:"alg" enum:"HMAC,HS256,ES256,EdDSA"`
	Secret    string       `json:"secret,omitempty" readOnly:"true" doc:"Only in the answer to its creation, and only when it was made there; it is not shown again"`
	PublicKey string       `json:"public_key,omitempty" doc:"PEM"`
	CreatedAt time.Time    `json:"created_at,omitzero" doc:"Absent: not known"`
}

// viewIdentity shows an app's settings, and of its secrets those that were just made.
func viewIdentity(a *catalog.App, made map[string]engage.Secret) identityView {
	settings := a.IdentitySettings()
	v := identityView{Mode: settings.Mode, Keys: []identityKeyView{}}
	for _, k := range settings.Keys {
		v.Keys = append(v.Keys, identityKeyView{k.ID, k.Alg, made[k.ID].Reveal(), k.PublicKey, k.CreatedAt})
	}
	return v
}

// newIdentity makes the settings of a new app; made is given the secrets that were
// made for it, by key.
func (s *server) newIdentity(b *newIdentity, made map[string]engage.Secret) (*catalog.Identity, error) {
	out := &catalog.Identity{Mode: b.Mode}
	if len(b.Keys) > identity.MaxKeys {
		return nil, engage.Errorf(engage.TooLarge, "keys", "at most %d, got %d", identity.MaxKeys, len(b.Keys))
	}
	for i := range b.Keys {
		k, secret, err := s.identityKey(&b.Keys[i])
		if err != nil {
			return nil, engage.At("keys["+strconv.Itoa(i)+"]", err)
		}
		if secret != "" {
			made[k.ID] = secret
		}
		out.Keys = append(out.Keys, *k)
	}
	return out, nil
}

// identityKey makes a key of what was sent; secret is that which was made for it.
func (s *server) identityKey(b *identityKeyBody) (_ *catalog.IdentityKey, secret engage.Secret, err error) {
	k := &catalog.IdentityKey{ID: b.ID, Alg: b.Alg, CreatedAt: s.o.Clock.Now().UTC()}
	check := identity.Key{ID: b.ID, Alg: b.Alg, Secret: b.Secret}
	if len(b.PublicKey) > 0 {
		text, kid, err := publicKeyText(b.PublicKey)
		if err != nil {
			return nil, "", err
		}
		if check.ID == "" {
			check.ID = kid
		}
		check.Public = text
	}
	if check.ID == "" {
		check.ID = catalog.NewIdentityKeyID()
	}
	k.ID = check.ID
	if b.Alg.Shared() && b.Secret == "" {
		secret = catalog.NewIdentitySecret()
		check.Secret = secret
	}
	if err := check.Validate(); err != nil {
		return nil, "", err
	}
	if b.Alg.Shared() {
		k.Secret = s.o.Sealer.Seal(check.Secret.Reveal())
		return k, secret, nil
	}
	_, k.PublicKey, err = identity.ParsePublic(b.Alg, check.Public)
	return k, "", err
}

// publicKeyText is a public key as text, and the kid of a JWK. Errors say nothing of
// what stands in it.
func publicKeyText(raw json.RawMessage) (text, kid string, err error) {
	text = string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", "", engage.Errorf(engage.Invalid, "public_key", "must be text, or an object")
		}
	}
	var jwk struct{ Kid string }
	if json.Unmarshal([]byte(text), &jwk) == nil {
		kid = jwk.Kid
	}
	return text, kid, nil
}

func (s *server) appOf(who caller, id string) (*catalog.App, error) {
	if a := s.o.Catalog.Now().App(who.workspace, id); a != nil {
		return a, nil
	}
	return nil, engage.Errorf(engage.NotFound, "id", "there is no app %q", clip(id))
}

func (s *server) getIdentity(_ context.Context, who caller, in *byID) (*versioned[identityView], error) {
	a, err := s.appOf(who, in.ID)
	if err != nil {
		return nil, err
	}
	return versionedOf(viewIdentity(a, nil), a.Version, a.Version), nil
}

type putIdentityInput struct {
	ID      string `path:"id" maxLength:"100"`
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag (version of the app) that the change was made from; * means whatever is there now"`
	Raw
}

func (s *server) putIdentity(ctx context.Context, who caller, in *putIdentityInput) (*versioned[identityView], error) {
	var b identityBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	if !b.Mode.Valid() {
		return nil, engage.Errorf(engage.Invalid, "mode", `must be "off", "optional" or "required", is %q`, clip(string(b.Mode)))
	}
	a, err := s.appOf(who, in.ID)
	if err != nil {
		return nil, err
	}
	expected, err := Changing{IfMatch: in.IfMatch}.expected(a.Version, b.Version)
	if err != nil {
		return nil, err
	}
	settings := a.IdentitySettings()
	settings.Mode = b.Mode
	changed := a.WithIdentity(settings)
	if err := s.o.Catalog.PutApp(ctx, who.key.ID, changed, expected); err != nil {
		return nil, err
	}
	return versionedOf(viewIdentity(changed, nil), changed.Version, a.Version), nil
}

type createIdentityKeyInput struct {
	ID      string `path:"id" maxLength:"100"`
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag (version of the app) that the key is added to; absent: whatever is there"`
	Raw
}

// keyTries bounds how often a key is added anew because the app has changed meanwhile.
const keyTries = 5

func (s *server) createIdentityKey(ctx context.Context, who caller, in *createIdentityKeyInput) (*versioned[identityKeyView], error) {
	var b identityKeyBody
	if err := decode(in.RawBody, &b); err != nil {
		return nil, err
	}
	k, secret, err := s.identityKey(&b)
	if err != nil {
		return nil, err
	}
	changed, err := s.changeIdentity(ctx, who, in.ID, in.IfMatch, func(i *catalog.Identity) error {
		if slices.ContainsFunc(i.Keys, func(have catalog.IdentityKey) bool { return have.ID == k.ID }) {
			return engage.Errorf(engage.Conflict, "id", "the app has a key of this id")
		}
		if len(i.Keys) >= identity.MaxKeys {
			return engage.Errorf(engage.Conflict, "", "an app has at most %d keys: delete one first", identity.MaxKeys)
		}
		i.Keys = append(i.Keys, *k)
		return nil
	})
	if err != nil {
		return nil, err
	}
	v := identityKeyView{k.ID, k.Alg, secret.Reveal(), k.PublicKey, k.CreatedAt}
	return versionedOf(v, changed.Version, 0), nil
}

// changeIdentity puts the app with its settings changed. Without a version that it
// must have, one that somebody else changes meanwhile is read again: what is added or
// taken away does not depend on the rest.
func (s *server) changeIdentity(ctx context.Context, who caller, id, ifMatch string, change func(*catalog.Identity) error) (*catalog.App, error) {
	for try := 1; ; try++ {
		a, err := s.appOf(who, id)
		if err != nil {
			return nil, err
		}
		expected := a.Version
		if ifMatch != "" {
			if expected, err = (Changing{IfMatch: ifMatch}).expected(a.Version, 0); err != nil {
				return nil, err
			}
		}
		settings := a.IdentitySettings()
		if err := change(settings); err != nil {
			return nil, err
		}
		changed := a.WithIdentity(settings)
		err = s.o.Catalog.PutApp(ctx, who.key.ID, changed, expected)
		if engage.CodeOf(err) == engage.Conflict && ifMatch == "" && try < keyTries {
			continue
		}
		return changed, err
	}
}

func (s *server) listIdentityKeys(_ context.Context, who caller, in *byID) (*answered[list[identityKeyView]], error) {
	a, err := s.appOf(who, in.ID)
	if err != nil {
		return nil, err
	}
	return &answered[list[identityKeyView]]{list[identityKeyView]{Items: viewIdentity(a, nil).Keys}}, nil
}

type deleteIdentityKeyInput struct {
	ID      string `path:"id" maxLength:"100"`
	Key     string `path:"key" maxLength:"100"`
	IfMatch string `header:"If-Match" maxLength:"40" doc:"The ETag (version of the app) that the key is taken from; absent: whatever is there"`
}

func (s *server) deleteIdentityKey(ctx context.Context, who caller, in *deleteIdentityKeyInput) (*struct{}, error) {
	_, err := s.changeIdentity(ctx, who, in.ID, in.IfMatch, func(i *catalog.Identity) error {
		n := slices.IndexFunc(i.Keys, func(k catalog.IdentityKey) bool { return k.ID == in.Key })
		if n < 0 {
			return engage.Errorf(engage.NotFound, "key", "the app has no key %q", clip(in.Key))
		}
		i.Keys = slices.Delete(i.Keys, n, n+1)
		return nil
	})
	return nil, err
}
