package geo

import (
	"errors"
	"fmt"
	"strings"
)

// Error says which field has a value that cannot be, and why. Its text reads as
// a sentence: "radius must be 10 to 100000 m, is -1".
type Error struct {
	Field  string // path below what was given, "coordinates[1]", "fences[3].shape.radius"; empty means the whole
	Reason string // what must hold and what is, "must be -90 to 90, is 91"
	At     *Point // where on Earth it fails, for a map; nil where no point can be named. Reason says it too
	// Unsupported marks what is valid but cannot be done here, such as writing a
	// shape of another package as GeoJSON.
	Unsupported bool
}

// Error implements error.
func (e *Error) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + " " + e.Reason
}

func errorf(field, format string, args ...any) *Error {
	return &Error{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// below puts the field of err under prefix; an error of another type becomes the
// reason.
func below(prefix string, err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return errorf(prefix, "is invalid: %v", err)
	}
	c := *e
	switch {
	case c.Field == "":
		c.Field = prefix
	case strings.HasPrefix(c.Field, "["):
		c.Field = prefix + c.Field
	default:
		c.Field = prefix + "." + c.Field
	}
	return &c
}
