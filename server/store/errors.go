package store

import (
	"errors"
	"fmt"
)

// More errors of the store; test with errors.Is. The first three come wrapped
// in an ArgError that names the field.
var (
	// ErrBadQuery: a key, filter, sort, limit or cursor that cannot be answered.
	ErrBadQuery = errors.New("bad query")
	// ErrBadBatch: a put or delete that no implementation takes. Nothing of its
	// batch was written.
	ErrBadBatch = errors.New("bad batch")
	// ErrBadCollection: a declaration that cannot be, or that contradicts what
	// is stored.
	ErrBadCollection = errors.New("bad collection")
	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("store is closed")
)

// ArgError says which argument was refused and why. It unwraps to its Kind.
type ArgError struct {
	Kind  error  // ErrBadQuery, ErrBadBatch or ErrBadCollection
	Field string // "filter.all[1].op", "puts[3].body"; empty means the whole
	Msg   string // never holds a value, which may be personal
}

// Error implements error.
func (e *ArgError) Error() string {
	if e.Field == "" {
		return e.Kind.Error() + ": " + e.Msg
	}
	return e.Kind.Error() + ": " + e.Field + ": " + e.Msg
}

// Unwrap returns the kind.
func (e *ArgError) Unwrap() error { return e.Kind }

func badQuery(field, msg string) error {
	return &ArgError{Kind: ErrBadQuery, Field: field, Msg: msg}
}

// NewerSchemaError says that what is stored was written by a newer version of
// Footfall. It has not been touched.
type NewerSchemaError struct {
	Found, Known int
}

// Error implements error.
func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("the store has schema version %d, this program knows up to %d: use the newer program", e.Found, e.Known)
}
