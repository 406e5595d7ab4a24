package deliver

import (
	"time"

	"github.com/footfall-engage/footfall/channels"
)

// CredentialState says whether a credential sends.
type CredentialState string

// The states.
const (
	CredentialOK     CredentialState = "ok"
	CredentialSlow   CredentialState = "slow"   // the provider has asked for less: Rate grows back
	CredentialPaused CredentialState = "paused" // a person must act: Reason says upon what
	CredentialProbes CredentialState = "probes" // a pause is over, and one message tries
)

// CredentialStatus is what deliver knows of one push credential: what shares a name
// shares a queue, a rate and a pause.
type CredentialStatus struct {
	Provider   channels.Provider
	Credential string // as Senders names it
	State      CredentialState
	// Of the pause, or of the last one while it probes: since when nothing has passed,
	// until when it lasts, and what the provider said. Zero without one.
	Since, Until time.Time
	Reason       string
	Status       int // HTTP status of the answer
	// Platforms that are paused alone, while the credential sends to the others.
	Platforms []PlatformStatus
	Live      QueueStatus // what a moment of a person has sent
	Bulk      QueueStatus // what an import, a schedule or an API call has sent
	InFlight  int         // attempts under way
	// Rate is what it may send, per second, as the provider's answers have it; 0 means
	// without limit.
	Rate float64
	// PerS is what it has sent lately, attempts per second.
	PerS float64
	// LastError is what the provider said last other than yes, and when; zero if it
	// has not since this process started.
	LastError   string
	LastErrorAt time.Time
}

// PlatformStatus is a platform ("android", "ios", "web") of a credential that is paused.
type PlatformStatus struct {
	Platform     string
	Since, Until time.Time
	Reason       string
	Status       int
}

// QueueStatus is what waits in a credential's live or bulk lane, those included that
// wait for the time of their next attempt.
type QueueStatus struct {
	Waiting int
	// Oldest is since when the one that is due the longest waits; zero when none is due.
	Oldest time.Time
}
