package sdkproto

import "time"

// Paths by which persons see and change what is kept of them, below the endpoint.
// Bodies and answers are JSON, of the types of this file; an error is a BatchReply, as
// everywhere. README.md, "What is kept of me", is the specification.
const (
	PathPreferences = "/sdk/v1/preferences" // GET, answered by Preferences; PUT PutPreferences, answered by Put
	PathConsents    = "/sdk/v1/consents"    // GET, answered by Consents; PUT PutConsent to /{purpose}, answered by Put
	PathExport      = "/sdk/v1/export"      // GET, answered by one JSON object
	PathErasure     = "/sdk/v1/erasure"     // POST AskErasure, answered by Erasure; GET /{id} likewise
)

// Preferences are the person's likes and dislikes.
type Preferences struct {
	Topics     map[string]string `json:"topics"` // "like" or "dislike", by topic
	ThroughSeq uint64            `json:"through_seq"`
}

// PutPreferences says likes and dislikes. Topics that it does not name stay.
type PutPreferences struct {
	Seq    uint64             `json:"seq"`    // of the item that this is; required
	Topics map[string]*string `json:"topics"` // "like", "dislike", or null, which forgets
}

// Consents are the person's answers to the purposes.
type Consents struct {
	Consents   map[string]ConsentAnswer `json:"consents"` // by purpose; a missing one was never answered, which is no
	ThroughSeq uint64                   `json:"through_seq"`
}

// ConsentAnswer is the answer in force to one purpose.
type ConsentAnswer struct {
	Granted     bool      `json:"granted"`
	TextVersion string    `json:"text_version,omitempty"` // which text the person saw
	Source      string    `json:"source,omitempty"`       // where
	At          time.Time `json:"at,omitzero"`            // when the server had it; zero: not known yet, it has just come
	Here        bool      `json:"here"`                   // the answer of this install, by which what it sends is taken
}

// PutConsent answers one purpose.
type PutConsent struct {
	Seq         uint64 `json:"seq"`     // of the item that this is; required
	Granted     *bool  `json:"granted"` // required
	TextVersion string `json:"text_version,omitempty"`
	Source      string `json:"source,omitempty"`
}

// Put says that what was put is durable. ThroughSeq is the highest number that the
// server has seen of the install's items.
type Put struct {
	ThroughSeq uint64 `json:"through_seq"`
}

// AskErasure asks that everything that is kept of a person be erased. It proves who
// asks as an identify item does, whatever the install has proven before.
type AskErasure struct {
	UserID string `json:"user_id"`
	HMAC   string `json:"hmac,omitempty"`
	JWT    string `json:"jwt,omitempty"`
}

// Erasure is the receipt. It names nobody; whoever has its id may look how far it is.
type Erasure struct {
	ID     string    `json:"id"`
	State  string    `json:"state"` // "running" or "done"
	At     time.Time `json:"at"`
	DoneAt time.Time `json:"done_at,omitzero"`
	// LogUntil is until when the server's log keeps records of before, which nobody
	// reads any more.
	LogUntil time.Time `json:"log_until"`
	// LogRemovedAt is when they were gone; zero: they are not yet.
	LogRemovedAt time.Time `json:"log_removed_at,omitzero"`
	StatusPath   string    `json:"status_path"` // where to look: PathErasure and the id
}
