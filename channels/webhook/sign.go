package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of the Standard Webhooks specification.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

// Tolerance is how far the timestamp of a message may be from the receiver's clock:
// who records a message cannot send it again later.
const Tolerance = 5 * time.Minute

// Bounds of a secret in bytes, as the specification has them.
const (
	MinSecret = 24
	MaxSecret = 64
)

const (
	secretPrefix = "whsec_"
	newSecret    = 32 // bytes
)

// Errors of Verify; test with errors.Is.
var (
	ErrHeaders   = errors.New("the webhook headers are missing or malformed")
	ErrTimestamp = errors.New("the webhook timestamp is too far from now")
	ErrSignature = errors.New("no signature of the webhook is right")
	ErrSecret    = errors.New(`a secret must be "whsec_" and the base64 of 24 to 64 bytes`)
)

// Secret is the key that receiver and sender share. It redacts itself in logs.
type Secret []byte

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue("redacted") }

// String hides the secret from fmt.
func (Secret) String() string { return "redacted" }

// NewSecret makes one, as text: it is shown to the receiver's people.
func NewSecret() string {
	b := make([]byte, newSecret)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return secretPrefix + base64.StdEncoding.EncodeToString(b)
}

// ParseSecret reads the text of a secret, with or without its prefix. ErrSecret
// shows nothing of it.
func ParseSecret(text string) (Secret, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, secretPrefix))
	if err != nil || len(b) < MinSecret || len(b) > MaxSecret {
		return nil, ErrSecret
	}
	return b, nil
}

// Sign is the signature of one secret: "v1," and base64.
func Sign(secret Secret, id string, at time.Time, body []byte) string {
	return "v1," + base64.StdEncoding.EncodeToString(mac(secret, id, strconv.FormatInt(at.Unix(), 10), body))
}

func mac(secret Secret, id, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(id + "." + timestamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Verify checks that the message comes from who shares one of the secrets (as
// NewSecret makes them; two while one is exchanged), is unchanged, and is of about
// now.
func Verify(header http.Header, body []byte, now time.Time, secrets ...string) error {
	id, timestamp := header.Get(HeaderID), header.Get(HeaderTimestamp)
	unix, err := strconv.ParseInt(timestamp, 10, 64)
	if id == "" || err != nil || header.Get(HeaderSignature) == "" {
		return ErrHeaders
	}
	if off := now.Sub(time.Unix(unix, 0)); off > Tolerance || off < -Tolerance {
		return ErrTimestamp
	}
	if len(secrets) == 0 {
		return fmt.Errorf("%w: none was given", ErrSecret)
	}
	for _, text := range secrets {
		secret, err := ParseSecret(text)
		if err != nil {
			return err
		}
		want := mac(secret, id, timestamp, body)
		for given := range strings.FieldsSeq(header.Get(HeaderSignature)) {
			version, encoded, _ := strings.Cut(given, ",")
			if got, err := base64.StdEncoding.DecodeString(encoded); version == "v1" && err == nil && hmac.Equal(got, want) {
				return nil
			}
		}
	}
	return ErrSignature
}
