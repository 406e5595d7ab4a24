package catalog

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/identity"
	"github.com/footfall-engage/footfall/server/rules"
)

// Workspace is a tenant: nothing of it is ever seen from another.
type Workspace struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
	Name    string `json:"name"`
	// Attributes of persons that rules may ask about, and their types.
	Attributes map[string]rules.Type `json:"attributes,omitempty"`
	// PrivateAttributes are those of which nobody is shown examples, sorted.
	PrivateAttributes []string `json:"private_attributes,omitempty"`
	// LocationPolicy is what is made of positions that may be lies; nil: the default.
	LocationPolicy *engage.LocationPolicy `json:"location_policy,omitempty"`
	// ReviewRequired: a campaign becomes live by a second person only.
	ReviewRequired bool         `json:"review_required,omitempty"`
	Stop           *engage.Stop `json:"stop,omitempty"` // nil: messages go out
	UpdatedAt      time.Time    `json:"updated_at"`
}

// Validate checks the workspace.
func (w *Workspace) Validate() error {
	if !engage.ValidID(w.ID) {
		return engage.Errorf(engage.Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
	}
	if len(w.Attributes) > 500 {
		return engage.Errorf(engage.TooLarge, "attributes", "at most 500, got %d", len(w.Attributes))
	}
	for name, t := range w.Attributes {
		if !engage.ValidID(name) || strings.Contains(name, ".") {
			return engage.Errorf(engage.Invalid, "attributes."+name, "must be named by 1 to 100 of a-z, A-Z, 0-9, '_', '-'")
		}
		if !t.Valid() {
			return engage.Errorf(engage.Invalid, "attributes."+name, "unknown type %q", t)
		}
	}
	if len(w.PrivateAttributes) > 500 {
		return engage.Errorf(engage.TooLarge, "private_attributes", "at most 500, got %d", len(w.PrivateAttributes))
	}
	if err := w.LocationPolicy.Validate(); err != nil {
		return err
	}
	return engage.At("stop", w.Stop.Validate())
}

func (w *Workspace) head() (string, string, *int64, *time.Time) {
	return w.ID, w.ID, &w.Version, &w.UpdatedAt
}

// App is a shopping app that embeds the SDK. Its key is public; its secrets are
// sealed.
type App struct {
	ID        string `json:"id"`
	Workspace string `json:"workspace"`
	Version   int64  `json:"version"`
	Name      string `json:"name"`
	Platform  string `json:"platform"`            // android, ios, web
	Key       string `json:"key"`                 // public: "ffa_…"
	BundleID  string `json:"bundle_id,omitempty"` // APNs topic
	Disabled  bool   `json:"disabled,omitempty"`
	// IdentitySecret is the only identity key of an app of an earlier build: HMAC, under
	// the id of LegacyIdentityKey. IdentitySettings has it among the others.
	IdentitySecret Sealed    `json:"identity_secret,omitempty"`
	Identity       *Identity `json:"identity,omitempty"` // nil: the mode is required, and there is no other key
	FCM            *FCM      `json:"fcm,omitempty"`
	APNs           *APNs     `json:"apns,omitempty"`
	// SDK is what its SDKs are told; nil: nothing but the protocol's specification.
	SDK *SDKConfig `json:"sdk,omitempty"`

	UpdatedAt time.Time `json:"updated_at"`
}

// FCM credential of an app.
type FCM struct {
	ProjectID      string `json:"project_id"`
	ServiceAccount Sealed `json:"service_account,omitempty"` // JSON; empty: the server's own of the project, from its configuration
}

// APNs credential of an app.
type APNs struct {
	TeamID     string `json:"team_id"`
	KeyID      string `json:"key_id"`
	PrivateKey Sealed `json:"private_key"` // PEM (.p8)
}

// Identity says how an app proves its users.
type Identity struct {
	Mode identity.Mode `json:"mode,omitempty"` // empty: required
	Keys []IdentityKey `json:"keys,omitempty"`
}

// IdentityKey is one of an app's keys.
type IdentityKey struct {
	ID        string       `json:"id"` // a token's kid
	Alg       identity.Alg `json:"alg"`
	Secret    Sealed       `json:"secret,omitempty"`     // of HMAC and HS256
	PublicKey string       `json:"public_key,omitempty"` // of ES256 and EdDSA: PEM
	CreatedAt time.Time    `json:"created_at,omitzero"`  // zero: by an earlier build
}

// LegacyIdentityKey is the id of the key that App.IdentitySecret is.
const LegacyIdentityKey = "identity_secret"

// IdentitySettings are an app's, of whatever build: never nil, a copy, with its mode
// said and with the key of an earlier build.
func (a *App) IdentitySettings() *Identity {
	out := &Identity{Mode: identity.Required}
	if a.IdentitySecret != "" {
		out.Keys = append(out.Keys, IdentityKey{ID: LegacyIdentityKey, Alg: identity.HMAC, Secret: a.IdentitySecret})
	}
	if a.Identity != nil {
		if a.Identity.Mode != "" {
			out.Mode = a.Identity.Mode
		}
		out.Keys = append(out.Keys, a.Identity.Keys...)
	}
	return out
}

// WithIdentity is a copy of the app that has these settings.
func (a *App) WithIdentity(i *Identity) *App {
	c := *a
	c.IdentitySecret, c.Identity = "", i
	return &c
}

func (i *Identity) validate() error {
	if i.Mode != "" && !i.Mode.Valid() {
		return engage.Errorf(engage.Invalid, "mode", `must be "off", "optional" or "required", is %q`, i.Mode)
	}
	if len(i.Keys) > identity.MaxKeys {
		return engage.Errorf(engage.TooLarge, "keys", "at most %d, got %d", identity.MaxKeys, len(i.Keys))
	}
	for n, k := range i.Keys {
		at := fmt.Sprintf("keys[%d]", n)
		if slices.ContainsFunc(i.Keys[:n], func(other IdentityKey) bool { return other.ID == k.ID }) {
			return engage.Errorf(engage.Conflict, at+".id", "the app has another key of this id")
		}
		check := identity.Key{ID: k.ID, Alg: k.Alg, Public: k.PublicKey}
		if k.Alg.Shared() { // what is sealed was checked when it was
			if k.Secret == "" {
				return engage.Errorf(engage.Invalid, at+".secret", "is required")
			}
			check.Secret = engage.Secret(strings.Repeat("x", k.Alg.MinSecret()))
		}
		if err := check.Validate(); err != nil {
			return engage.At(at, err)
		}
	}
	return nil
}

// NewIdentitySecret is a fresh secret for HMAC or HS256; the text is the key.
func NewIdentitySecret() engage.Secret { return engage.Secret(random(32)) }

// NewIdentityKeyID is a fresh id for a key.
func NewIdentityKeyID() string { return "k" + random(4) }

// Validate checks the app.
func (a *App) Validate() error {
	if err := a.IdentitySettings().validate(); err != nil {
		return engage.At("identity", err)
	}
	if err := a.SDK.Validate(); err != nil {
		return engage.At("sdk", err)
	}
	switch {
	case !engage.ValidID(a.ID):
		return engage.Errorf(engage.Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
	case a.Platform != "android" && a.Platform != "ios" && a.Platform != "web":
		return engage.Errorf(engage.Invalid, "platform", `must be "android", "ios" or "web", is %q`, a.Platform)
	case !strings.HasPrefix(a.Key, "ffa_") || len(a.Key) < 12 || len(a.Key) > 100:
		return engage.Errorf(engage.Invalid, "key", `must begin with "ffa_" and have 12 to 100 characters`)
	case a.FCM != nil && a.FCM.ProjectID == "":
		return engage.Errorf(engage.Invalid, "fcm", "needs project_id")
	case a.APNs != nil && (a.APNs.TeamID == "" || a.APNs.KeyID == "" || a.APNs.PrivateKey == ""):
		return engage.Errorf(engage.Invalid, "apns", "needs team_id, key_id and private_key")
	case a.APNs != nil && a.BundleID == "":
		return engage.Errorf(engage.Invalid, "bundle_id", "is required with apns")
	}
	return nil
}

func (a *App) head() (string, string, *int64, *time.Time) {
	return a.Workspace, a.ID, &a.Version, &a.UpdatedAt
}

// NewAppKey is a fresh public app key.
func NewAppKey() string { return "ffa_" + random(15) }

// Role of a server key.
type Role string

// The roles.
const (
	Admin    Role = "admin"    // everything, in every workspace
	Marketer Role = "marketer" // everything but keys and apps, in its workspace
	Viewer   Role = "viewer"   // reads, in its workspace
	Till     Role = "till"     // redeems codes in its workspace, and reads nothing
)

// Key is a server key: a bearer token of the API. Only its hash is kept.
type Key struct {
	ID        string    `json:"id"`
	Workspace string    `json:"workspace"`
	Version   int64     `json:"version"`
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	Hash      string    `json:"hash"` // hex SHA-256: the token has 256 bits, so no slow hash is needed
	UpdatedAt time.Time `json:"updated_at"`
}

// Validate checks the key.
func (k *Key) Validate() error {
	switch {
	case !engage.ValidID(k.ID):
		return engage.Errorf(engage.Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
	case k.Role != Admin && k.Role != Marketer && k.Role != Viewer && k.Role != Till:
		return engage.Errorf(engage.Invalid, "role", `must be "admin", "marketer", "viewer" or "till", is %q`, k.Role)
	case len(k.Hash) != 64:
		return engage.Errorf(engage.Invalid, "hash", "must be a hex SHA-256")
	}
	return nil
}

func (k *Key) head() (string, string, *int64, *time.Time) {
	return k.Workspace, k.ID, &k.Version, &k.UpdatedAt
}

// NewKey mints a key and its token, "ffk_<id>_<secret>"; the token is shown once.
func NewKey(workspace, name string, role Role) (*Key, engage.Secret) {
	id := random(6)
	token := "ffk_" + id + "_" + random(32)
	return &Key{ID: id, Workspace: workspace, Name: name, Role: role, Hash: HashToken(token)}, engage.Secret(token)
}

// HashToken is how tokens of 256 random bits are kept.
func HashToken(token string) string {
	s := sha256.Sum256([]byte(token))
	return hex.EncodeToString(s[:])
}

// Matches compares a token with the kept hash in constant time.
func Matches(hash, token string) bool {
	return subtle.ConstantTimeCompare([]byte(hash), []byte(HashToken(token))) == 1
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return hex.EncodeToString(b)
}

// Sealed is a secret encrypted at rest: "v1:" and base64 of nonce and ciphertext.
type Sealed string

// Sealer encrypts secrets with a key that stands outside the data.
type Sealer struct {
	aead cipher.AEAD
	key  []byte
}

// NewSealer takes a key of 32 bytes.
func NewSealer(key []byte) (*Sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil || len(key) != 32 {
		return nil, engage.Errorf(engage.Invalid, "secrets.key_file", "must hold 32 bytes, has %d", len(key))
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	return &Sealer{aead, slices.Clone(key)}, nil
}

// Derive makes another key of the secret one, for a purpose: 32 bytes, from which the
// secret key cannot be told.
func (s *Sealer) Derive(purpose string) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte("footfall derived key: " + purpose))
	return m.Sum(nil)
}

// Seal encrypts a secret; the empty one stays empty.
func (s *Sealer) Seal(secret string) Sealed {
	if secret == "" {
		return ""
	}
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails (Go 1.24)
	return Sealed("v1:" + base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, []byte(secret), nil)))
}

// Open decrypts.
func (s *Sealer) Open(sealed Sealed) (engage.Secret, error) {
	if sealed == "" {
		return "", nil
	}
	text, ok := strings.CutPrefix(string(sealed), "v1:")
	b, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(b) < s.aead.NonceSize() {
		return "", engage.Errorf(engage.Internal, "secret", "is not a sealed secret")
	}
	n := s.aead.NonceSize()
	plain, err := s.aead.Open(nil, b[:n], b[n:], nil)
	if err != nil {
		return "", engage.Errorf(engage.Internal, "secret", "was sealed with another key than the one in secrets.key_file")
	}
	return engage.Secret(plain), nil
}
