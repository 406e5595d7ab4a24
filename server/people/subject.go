package people

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Subject is everything that a person goes by.
type Subject struct {
	Workspace   string
	Profile     string   // the one that is the person
	Absorbed    []string // profiles that were merged into it
	Identifiers []string // "user_id:ada"
	Installs    []string // that are the person's, or once were
}

func (s *Subject) clone() *Subject {
	c := *s
	c.Absorbed, c.Identifiers, c.Installs = slices.Clone(s.Absorbed), slices.Clone(s.Identifiers), slices.Clone(s.Installs)
	return &c
}

// Profiles are the profile and those that were merged into it.
func (s *Subject) Profiles() []string { return append([]string{s.Profile}, s.Absorbed...) }

// Hasher makes of identifiers what the receipts and the suppression list keep of
// them: HMAC-SHA-256, so that a list of users tells nothing without the key.
type Hasher struct{ key []byte }

// NewHasher derives its key from the server's secret key.
func NewHasher(secret []byte) Hasher {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("footfall people: hashes of identifiers, v1"))
	return Hasher{m.Sum(nil)}
}

// Hash of an identifier in a workspace, 64 hexadecimal digits.
func (h Hasher) Hash(workspace, identifier string) string {
	m := hmac.New(sha256.New, h.key)
	m.Write([]byte(workspace))
	m.Write([]byte{0})
	m.Write([]byte(identifier))
	return hex.EncodeToString(m.Sum(nil))
}
