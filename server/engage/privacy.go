package engage

import "time"

// States of an erasure.
const (
	ErasureRunning = "running"
	ErasureDone    = "done"
)

// Erasure is the receipt of an erasure. It names nobody.
type Erasure struct {
	V         int       `json:"v"` // 1
	ID        string    `json:"id"`
	Workspace string    `json:"workspace"`
	State     string    `json:"state"` // ErasureRunning, ErasureDone
	At        time.Time `json:"at"`
	AtUS      int64     `json:"at_us"` // the same in Unix microseconds, to sort by
	DoneAt    time.Time `json:"done_at,omitzero"`
	// LogUntil is when the event log's retention has removed the person's records.
	LogUntil time.Time `json:"log_until"`
	// LogRemovedAt is when it had; zero: it has not yet.
	LogRemovedAt time.Time `json:"log_removed_at,omitzero"`
	By           string    `json:"by"` // id of the key that asked
	Reason       string    `json:"reason,omitempty"`
	// Hashes of what the person went by, keyed, sorted.
	Hashes     []string         `json:"hashes"`
	Suppressed bool             `json:"suppressed,omitempty"` // the identifiers are on the suppression list since
	Deleted    map[string]int64 `json:"deleted"`              // documents by collection
}

// Suppression is an entry of the suppression list. Its identifier is not kept.
type Suppression struct {
	V      int       `json:"v"`    // 1
	Hash   string    `json:"hash"` // keyed, of the identifier
	Kind   string    `json:"kind"` // "user_id", "email", ...
	At     time.Time `json:"at"`
	By     string    `json:"by"` // id of the key that asked
	Reason string    `json:"reason,omitempty"`
}

// Access is somebody's look at a person, or change of one.
type Access struct {
	V         int       `json:"v"` // 1
	At        time.Time `json:"at"`
	Key       string    `json:"key"`       // id of the server key
	Name      string    `json:"name"`      // what the key is called
	Role      string    `json:"role"`      // of the key
	Operation string    `json:"operation"` // of the API: "get-person"
	Profile   string    `json:"profile"`
}
