package engage

import "time"

// State is what a partition keeps for one key. A State that has been put is
// never changed again: Edit gives a clone.
type State interface {
	Clone() State
	// Encode is a JSON object with its format version in "v".
	Encode() ([]byte, error)
}

// Recloner is a State, a pointer, that is cloned for nearly every entry, and that can be
// cloned into memory that is there already.
type Recloner interface {
	State
	// CloneOver is Clone in the memory of old, which nobody has any more; old may be of
	// another type, or nil.
	CloneOver(old State) State
}

// Machine is a stage's pure step: no I/O, no clock, no chance, so that the same
// entries always give the same states and outputs.
type Machine interface {
	// Decode reads a State of any version so far.
	Decode(key string, body []byte) (State, error)
	// Apply applies one entry. What it did through tx takes effect as a whole if
	// it returns nil, and not at all otherwise. An error of tx must be returned.
	Apply(tx Tx, e Entry) error
}

// Tx is what a Machine may do with its partition while it applies one entry.
type Tx interface {
	// Load returns the state of a key of this partition, nil when there is none.
	// It must not be changed, nor kept beyond this Apply (see Recloner).
	Load(key string) (State, error)
	// Edit returns a clone that becomes the state, nil when there is none. Of a
	// Recloner, nothing that outlives this Apply may point into it: what is put out or
	// recorded has copies, or shares what is never changed in place.
	Edit(key string) (State, error)
	Put(key string, s State)
	Delete(key string)
	// Emit sends an entry onward; to names a destination that app knows: "act",
	// "in", "send", "weather". At and From are set by the partition.
	Emit(to string, e Entry)
	// SetTimer has an entry of KindTimer with this key and a Firing as its body
	// applied when the clock reaches due. A timer of the same key and name is moved.
	SetTimer(key, name string, due time.Time, body []byte)
	ClearTimer(key, name string)
	// Record writes a document (encoded as JSON when it is committed, so it must
	// not change) together with the states; a nil doc deletes it.
	Record(collection, workspace, id string, doc any)
	// Config is the configuration that the partition has adopted, and its
	// revision; nil and 0 before the first.
	Config() (any, uint64)
	// Position is where the entry stands: its partition, incarnation, sequence.
	Position() Source
	// At is the entry's log time.
	At() time.Time
}

// Firing is the body of a KindTimer entry.
type Firing struct {
	Name string    `json:"name"`
	Due  time.Time `json:"due"`
	Body []byte    `json:"body,omitempty"`
	// Requeued: it was set aside and is tried again; its timer is gone already.
	Requeued bool `json:"requeued,omitempty"`
}
