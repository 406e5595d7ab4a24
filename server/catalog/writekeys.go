package catalog

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// MaxWriteKeys is how many write keys a workspace may have, the revoked ones too.
const MaxWriteKeys = 200

// WriteKeyKind says how much what a write key brings is believed.
type WriteKeyKind string

// The kinds.
const (
	// WritePublic keys stand in web pages and apps, where everybody can read them: what
	// they bring is about anonymous visitors only, and claims at most.
	WritePublic WriteKeyKind = "public"
	// WriteServer keys are secrets of the retailer's own systems: they are believed.
	WriteServer WriteKeyKind = "server"
)

// WriteSources are what a write key may be used by, with the first as the default: it
// is the engage.TouchSource.Kind of what the key brings.
var WriteSources = map[WriteKeyKind][]string{
	WritePublic: {"web"},
	WriteServer: {"server", "till"},
}

// WriteKey lets a website, a server or a till bring what people did, by the tracking
// API (package collect). It opens nothing else: nothing can be read with it.
type WriteKey struct {
	ID        string       `json:"id"`
	Workspace string       `json:"workspace"`
	Version   int64        `json:"version"`
	Name      string       `json:"name"`
	Kind      WriteKeyKind `json:"kind"`
	Source    string       `json:"source"`          // of WriteSources
	Token     string       `json:"token,omitempty"` // of a public key
	Hash      string       `json:"hash,omitempty"`  // of a server key: hex SHA-256 of its token
	// Origins of a public key are those whose pages may use it, "https://shop.example" or
	// "https://*.shop.example"; empty: all.
	Origins []string `json:"origins,omitempty"`
	// RequestsPerS and CallsPerS are how much the key may bring; 0: as much as any.
	RequestsPerS int `json:"requests_per_s,omitempty"`
	CallsPerS    int `json:"calls_per_s,omitempty"`
	// RevokedAt: what it brings since then is dropped, and listed as such. Zero: in force.
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	UpdatedAt time.Time `json:"updated_at"`
}

// NewWriteKey mints a key and its token: "ffw_<id>_<secret>" of a public one, which is
// kept as it is, and "ffs_<id>_<secret>" of a server's, which is shown once. An empty
// source is the kind's first.
func NewWriteKey(workspace, name string, kind WriteKeyKind, source string) (*WriteKey, engage.Secret) {
	k := &WriteKey{ID: random(6), Workspace: workspace, Name: name, Kind: kind, Source: source}
	if source == "" && len(WriteSources[kind]) > 0 {
		k.Source = WriteSources[kind][0]
	}
	if kind == WritePublic {
		k.Token = "ffw_" + k.ID + "_" + random(12)
		return k, engage.Secret(k.Token)
	}
	token := "ffs_" + k.ID + "_" + random(32)
	k.Hash = HashToken(token)
	return k, engage.Secret(token)
}

// Revoked reports whether the key is no longer in force.
func (k *WriteKey) Revoked() bool { return !k.RevokedAt.IsZero() }

// Validate checks the key.
func (k *WriteKey) Validate() error {
	sources, known := WriteSources[k.Kind]
	switch {
	case !engage.ValidID(k.ID):
		return engage.Errorf(engage.Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
	case k.Name == "" || len(k.Name) > 200:
		return engage.Errorf(engage.Invalid, "name", "must have 1 to 200 bytes, has %d", len(k.Name))
	case !known:
		return engage.Errorf(engage.Invalid, "kind", `must be "public" or "server", is %q`, k.Kind)
	case k.Kind == WritePublic && (k.Hash != "" || !strings.HasPrefix(k.Token, "ffw_"+k.ID+"_")):
		return engage.Errorf(engage.Invalid, "token", "a public key has a token of its own id, and no hash")
	case k.Kind == WriteServer && (k.Token != "" || len(k.Hash) != 64):
		return engage.Errorf(engage.Invalid, "hash", "a server key has the hex SHA-256 of its token, and not the token")
	case !slices.Contains(sources, k.Source):
		return engage.Errorf(engage.Invalid, "source", "of a %s key must be %s, is %q", k.Kind, strings.Join(sources, " or "), k.Source)
	case len(k.Origins) > 0 && k.Kind != WritePublic:
		return engage.Errorf(engage.Invalid, "origins", "a server's key stands in no page")
	case len(k.Origins) > MaxOrigins:
		return engage.Errorf(engage.TooLarge, "origins", "at most %d, got %d", MaxOrigins, len(k.Origins))
	case k.RequestsPerS < 0 || k.RequestsPerS > MaxRequestsPerS:
		return engage.Errorf(engage.Invalid, "requests_per_s", "must be 0 (as much as any) to %d", MaxRequestsPerS)
	case k.CallsPerS < 0 || k.CallsPerS > MaxWriteCallsPerS:
		return engage.Errorf(engage.Invalid, "calls_per_s", "must be 0 (as much as any) to %d", MaxWriteCallsPerS)
	}
	for _, o := range k.Origins {
		if err := checkOrigin(o); err != nil {
			return err
		}
	}
	return nil
}

func (k *WriteKey) head() (string, string, *int64, *time.Time) {
	return k.Workspace, k.ID, &k.Version, &k.UpdatedAt
}

// PutWriteKey creates or replaces a write key. Its id is unique on the server, since a
// token names its key before anybody knows the workspace.
func (c *Catalog) PutWriteKey(ctx context.Context, by string, k *WriteKey, expected int64) error {
	return c.put(ctx, by, WriteKeys, k, expected, func(s *Snapshot) error {
		old := s.writeKeys[k.ID]
		if old != nil && old.Workspace != k.Workspace {
			return engage.Errorf(engage.Conflict, "id", "is taken")
		}
		if n := len(s.WriteKeys(k.Workspace)); old == nil && n >= MaxWriteKeys {
			return engage.Errorf(engage.TooLarge, "id", "the workspace has %d write keys, at most %d: remove revoked ones", n, MaxWriteKeys)
		}
		return nil
	})
}

// DeleteWriteKey forgets a write key: it is unknown from then on.
func (c *Catalog) DeleteWriteKey(ctx context.Context, by, workspace, id string, expected int64) error {
	return c.remove(ctx, by, WriteKeys, workspace, id, expected, nil)
}

// WriteKey of a workspace; nil when there is none.
func (s *Snapshot) WriteKey(workspace, id string) *WriteKey {
	if k := s.writeKeys[id]; k != nil && k.Workspace == workspace {
		return k
	}
	return nil
}

// WriteKeys of a workspace, by id, the revoked ones too.
func (s *Snapshot) WriteKeys(workspace string) []*WriteKey {
	m := maps.Clone(s.writeKeys)
	maps.DeleteFunc(m, func(_ string, k *WriteKey) bool { return k.Workspace != workspace })
	return byID(m)
}

// WriteKeyByToken is the write key of a token, also when it is revoked; nil when there
// is none.
func (s *Snapshot) WriteKeyByToken(token string) *WriteKey {
	kind, rest, _ := strings.Cut(token, "_")
	id, _, _ := strings.Cut(rest, "_")
	k := s.writeKeys[id]
	switch {
	case k == nil:
		return nil
	case kind == "ffw" && k.Kind == WritePublic && k.Token == token:
		return k
	case kind == "ffs" && k.Kind == WriteServer && Matches(k.Hash, token):
		return k
	}
	return nil
}
