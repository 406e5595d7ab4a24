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
