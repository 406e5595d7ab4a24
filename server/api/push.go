package api

import (
	"context"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Push is the way to the push providers, and to what is known of their tokens.
type Push interface {
	// Test makes one attempt at once, past all queues, and tells what came of it. It is
	// counted nowhere. Errors: engage.NotFound of "app", "install" or "provider" (the
	// app has no credential for it), engage.Invalid of a field of the message, or of
	// "install" when it has no token.
	Test(ctx context.Context, t *TestSend) (*TestOutcome, error)
	// Channels are the push credentials of the workspace's apps, in order of app and
	// provider, whether something has been sent by them or not.
	Channels(ctx context.Context, workspace string) ([]Channel, error)
	// ImportTokens returns when they are durable; those of one install take effect in
	// their order. The same again changes nothing.
	ImportTokens(ctx context.Context, workspace string, tokens []engage.TokenImport) error
}

// States of a Channel.
const (
	ChannelOK       = "ok"
	ChannelUnknown  = "unknown"
	ChannelSlow     = "slow"
	ChannelDown     = "down"
	ChannelPaused   = "paused"
	ChannelProbes   = "probes"
	ChannelUnusable = "unusable"
)

// Channel is one push credential: how it does, and what waits for it.
type Channel struct {
	App         string            `json:"app"`
	Provider    string            `json:"provider" enum:"fcm,apns"`
	Account     string            `json:"account" doc:"FCM: the project; APNs: team and key id"`
	State       string            `json:"state" enum:"ok,unknown,slow,down,paused,probes,unusable" doc:"ok: it sends; unknown: the provider has not answered to a push by it since the server started, and the next one will tell; slow: the provider asked for less; down: the provider cannot be reached; paused: the provider says that the credential or set-up is wrong; probes: a pause is over and one message tries; unusable: the credential cannot be read"`
	Reason      string            `json:"reason,omitempty" doc:"The provider's own code"`
	Status      int               `json:"status,omitempty" doc:"HTTP status of the provider's answer"`
	Since       time.Time         `json:"since,omitzero" doc:"Since when nothing has passed"`
	Until       time.Time         `json:"until,omitzero" doc:"When it is tried again"`
	Platforms   []ChannelPlatform `json:"platforms,omitempty" nullable:"false" doc:"Platforms that are paused alone, while the credential sends to the others"`
	Live        ChannelQueue      `json:"live" doc:"Of moments"`
	Bulk        ChannelQueue      `json:"bulk" doc:"Of campaigns whose lane is bulk"`
	InFlight    int               `json:"in_flight" doc:"Attempts under way"`
	RatePerS    float64           `json:"rate_per_s,omitempty" doc:"What it may send; absent: without limit"`
	SentPerS    float64           `json:"sent_per_s" doc:"What it has sent lately"`
	LastError   string            `json:"last_error,omitempty" doc:"What the provider last said other than yes, since the server started"`
	LastErrorAt time.Time         `json:"last_error_at,omitzero"`
	// Alert is made by the API.
	Alert string `json:"alert,omitempty" doc:"What somebody must do; absent: nothing"`
}

// ChannelPlatform is a platform that a credential does not reach just now.
type ChannelPlatform struct {
	Platform string    `json:"platform" enum:"android,ios,web"`
	Reason   string    `json:"reason,omitempty"`
	Status   int       `json:"status,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
}

// ChannelQueue is what waits.
type ChannelQueue struct {
	Waiting int       `json:"waiting"`
	Oldest  time.Time `json:"oldest,omitzero" doc:"Since when the one that is due the longest waits; absent: none is due"`
}

// TestSend is one push to one phone, of which nothing but the answer is kept.
type TestSend struct {
	Workspace, App string
	// Install is whose newest token is tried, or Target a token that need not be known.
	Install  string
	Target   *engage.PushTarget
	Platform string // of Target's phone; empty means the app's
	// Send has the message; its devices are not looked at.
	Send   engage.Send
	DryRun bool
}

// TestOutcome is what a provider said.
type TestOutcome struct {
	Provider    string        `json:"provider"`
	Outcome     string        `json:"outcome" enum:"accepted,retry_after,token_gone,rejected,misconfigured" doc:"accepted: the provider took it, which is not to say that the phone has shown it"`
	Reason      string        `json:"reason,omitempty" doc:"The provider's own code"`
	Status      int           `json:"status,omitempty" doc:"HTTP status of the answer; absent: none came"`
	ProviderID  string        `json:"provider_id,omitempty" doc:"What the provider calls the message"`
	Ambiguous   bool          `json:"ambiguous,omitempty" doc:"The connection was lost after sending: it may have been taken"`
	Environment string        `json:"environment,omitempty" doc:"APNs: where the token was found to live, if it is not where it was said to"`
	Scope       string        `json:"scope,omitempty" doc:"Whom the outcome concerns beyond this message: device, platform or credential"`
	RetryAfterS float64       `json:"retry_after_s,omitempty" doc:"When the provider wants to be asked again"`
	GoneSince   time.Time     `json:"gone_since,omitzero" doc:"Since when the token is dead, as the provider says"`
	Raw         string        `json:"raw,omitempty" doc:"The provider's answer as it came, at most 4096 bytes"`
	TookMS      float64       `json:"took_ms"`
	Took        time.Duration `json:"-"`
}
