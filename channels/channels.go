// Package channels is what Footfall asks of a push provider: a Message goes in,
// an Outcome comes back. Each provider is a package of its own below this one;
// none of them knows the server, retries, or decides anything.
package channels

import (
	"context"
	"log/slog"
	"time"
)

// Provider names a push provider.
type Provider string

// The providers.
const (
	FCM  Provider = "fcm"
	APNs Provider = "apns"
)

// Target is the address of one install at its provider.
type Target struct {
	Provider    Provider `json:"provider"`
	Token       Token    `json:"token"`
	Environment string   `json:"environment,omitempty"` // APNs: "production" (also when empty) or "sandbox"
	Topic       string   `json:"topic,omitempty"`       // APNs: bundle id; empty means the sender's default
}

// Token is a device token. It is a secret: it redacts itself in logs.
type Token string

// LogValue hides the token.
func (t Token) LogValue() slog.Value {
	if t == "" {
		return slog.StringValue("none")
	}
	return slog.StringValue("redacted")
}

// Message is one push to one install.
type Message struct {
	// AttemptID is derived from the delivery and the install (DESIGN, promise 4).
	// It is the same on every retry, so that provider and phone can replace
	// rather than repeat: apns-collapse-id, Android notification.tag.
	AttemptID  string
	DeliveryID string // travels in data as "footfall_message_id": the SDK's dedupe key
	CampaignID string
	Target     Target
	Title      string
	Body       string
	DeepLink   string
	ImageURL   string
	Data       map[string]string
	ExpiresAt  time.Time // zero means the provider's default
	HighPrio   bool      // visible at once; false lets the OS choose the moment
}

// Kind of an Outcome.
type Kind string

// What a provider can say.
const (
	Accepted      Kind = "accepted"      // the provider took it; nothing is known of the phone
	RetryAfter    Kind = "retry_after"   // not now; Outcome.RetryAfter says when, 0 means choose
	TokenGone     Kind = "token_gone"    // this token is dead
	Rejected      Kind = "rejected"      // this message will never pass
	Misconfigured Kind = "misconfigured" // the credential or the app's set-up is wrong: nothing passes until a person acts
)

// Outcome is what the provider said of one attempt.
type Outcome struct {
	Kind       Kind
	RetryAfter time.Duration // with RetryAfter
	Reason     string        // the provider's own code: "UNREGISTERED", "BadDeviceToken"
	Status     int           // HTTP status; 0 means no answer
	ProviderID string        // the provider's name for what it took
	// Ambiguous: the request may have been taken although no answer came (the
	// connection was lost after sending). A repeat could be a second push.
	Ambiguous bool
	GoneSince time.Time // with TokenGone: since when, where the provider says it
}

// Sender makes one attempt. An error means that no attempt was made at all (the
// context ended before it, the message is malformed); what the provider or the
// network did is an Outcome. Senders are safe for concurrent use.
type Sender interface {
	Send(ctx context.Context, m Message) (Outcome, error)
}
