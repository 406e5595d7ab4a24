package channels

// Size is how much room a message takes of what its provider allows.
type Size struct {
	Bytes int // of what the provider counts
	Limit int // how many it may have
	// Field is the one that takes most room, as a MessageError names it; empty: none
	// takes any.
	Field      string
	FieldBytes int
}
