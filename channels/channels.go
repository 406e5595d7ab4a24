// Package channels is what Footfall asks of a push provider: a Message goes in,
// an Outcome comes back. Each provider is a package of its own below this one;
// none of them knows the server, retries, or decides anything.
//
// There is no package for in-app messages and the inbox, since nobody stands between
// the server and the phone there: server/deliver offers, grants and keeps them,
// server/ingest carries them on the session, wherever it is open, and the phone's rules
// are sdkproto's ("Messages", "Messages that wait", "Inbox" of its README).
package channels

import (
	"context"
	"encoding/json"
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
	Environment string   `json:"environment,omitempty"` // APNs: "production" or "sandbox"; empty means not known, and production is tried first
	Topic       string   `json:"topic,omitempty"`       // APNs: bundle id; empty means the sender's default
	// Platform is "android", "ios" or "web": FCM serves all three, and is told only what
	// the one needs. Empty means not known: what Android and iOS need is sent.
	Platform string `json:"platform,omitempty"`
	// FID: Token is a Firebase Installation ID rather than a registration token (FCM).
	FID bool `json:"fid,omitempty"`
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

// MessageKind says what a Message is for.
type MessageKind string

// The kinds of a Message.
const (
	Notification MessageKind = "notification"  // is shown; also when empty
	Silent       MessageKind = "silent"        // wakes the app, which is given Data; nothing is shown
	LiveActivity MessageKind = "live_activity" // starts, changes or ends what Message.Live says
)

// Message is one push to one install.
type Message struct {
	// AttemptID is derived from the delivery and the install (DESIGN, promise 4).
	// It is the same on every retry, so that provider and phone can replace
	// rather than repeat: apns-collapse-id, Android notification.tag.
	AttemptID  string
	DeliveryID string // travels in data as "footfall_message_id": the SDK's dedupe key
	CampaignID string
	Target     Target
	Kind       MessageKind
	Title      string
	Subtitle   string // APNs only
	Body       string
	DeepLink   string
	ImageURL   string
	Actions    []Action // buttons, at most MaxActions
	Data       map[string]string
	// CollapseKey is shared by messages of which only the newest is of use: it
	// replaces the older ones, stored or shown. Empty means AttemptID, by which only
	// a repeat replaces. At most 64 bytes.
	CollapseKey string
	Label       string    // by which the provider's analytics count it; FCM only
	Sound       string    // "default", or a file of the app's; empty means none on APNs, the channel's on Android
	Badge       *int      // APNs: on the app's icon; 0 removes it, nil leaves it
	ExpiresAt   time.Time // zero means the provider's default
	NowOrNever  bool      // not stored for a phone that cannot be reached now, whatever ExpiresAt
	HighPrio    bool      // visible at once; false lets the OS choose the moment
	Android     Android
	Apple       Apple
	Live        *Live // with LiveActivity
	// DryRun has the provider judge the message and deliver nothing: FCM. APNs has no
	// such thing, and its sender refuses it.
	DryRun bool
}

// MaxActions is how many buttons a message may have.
const MaxActions = 3

// Action is one button.
type Action struct {
	ID       string // of the receipt; unique within the message
	Label    string
	DeepLink string // empty only closes the message
}

// Android is what only Android has.
type Android struct {
	ChannelID string // the notification channel; empty means the sender's default
}

// Apple is what only Apple's devices have.
type Apple struct {
	Category       string  // whose buttons the app has registered
	ThreadID       string  // notifications of a thread are grouped
	Interruption   string  // "passive", "active", "time-sensitive", "critical"; empty leaves it to iOS (active)
	Relevance      float64 // 0..1: which of the app's notifications the summary shows first; 0 says nothing
	MutableContent bool    // the app's service extension may change it; implied by ImageURL
	// CriticalVolume is that of the sound of a critical alert, 0..1; 0 means 1. Only
	// with Interruption "critical", which Apple must have granted to the app.
	CriticalVolume float64
}

// Live is a step in the life of a Live Activity (iOS 16.1, start by push 17.2).
type Live struct {
	Event          string          // "start", "update", "end"
	AttributesType string          // with start: the app's type
	Attributes     json.RawMessage // with start: an object of that type
	State          json.RawMessage // content-state, an object; required but with end
	At             time.Time       // of the state: iOS ignores what is older than what it has; required
	StaleAt        time.Time       // from then on it is shown as out of date; zero means never
	DismissAt      time.Time       // with end: when it vanishes; zero leaves it to iOS (4 hours)
}

// Kind of an Outcome.
type Kind string

// What a provider can say.
const (
	Accepted      Kind = "accepted"      // the provider took it; nothing is known of the phone
	RetryAfter    Kind = "retry_after"   // not now; Outcome.RetryAfter says when, 0 means choose
	TokenGone     Kind = "token_gone"    // this token is dead, or not of this app: deactivate it
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
	Scope     Scope     // of what Kind says; empty means the message's own
	// Environment is the one in which the token was found to live, where the sender
	// tried another than Target says; empty means no news.
	Environment string
	Raw         string // the body of the answer, at most MaxRaw; for people, who test
}

// MaxRaw is how much of a provider's answer is kept, in bytes.
const MaxRaw = 4096

// Scope is what an Outcome holds for beyond its message.
type Scope string

// The scopes: of RetryAfter, whom to leave alone meanwhile; of Misconfigured, what is
// wrong.
const (
	ScopeDevice     Scope = "device"     // this device only
	ScopePlatform   Scope = "platform"   // the devices of this platform at this provider (FCM's APNs key is bad)
	ScopeCredential Scope = "credential" // all that the credential sends
)

// Sender makes one attempt. An error means that no attempt was made at all (the
// context ended before it, the message is malformed); what the provider or the
// network did is an Outcome. Senders are safe for concurrent use.
type Sender interface {
	Send(ctx context.Context, m Message) (Outcome, error)
}
