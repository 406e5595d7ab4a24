package engage

import (
	"errors"
	"fmt"
	"strings"
)

// Code classifies an Error; it is mapped to HTTP in one place (api) and to item
// rejects in another (ingest).
type Code string

// The codes.
const (
	Invalid      Code = "invalid"      // a field has a value that cannot be
	Malformed    Code = "malformed"    // the document cannot be read: it is not JSON, or not UTF-8
	NotFound     Code = "not_found"    // no such thing in this workspace
	Conflict     Code = "conflict"     // somebody else changed it, or the id is taken
	Unauthorized Code = "unauthorized" // who are you
	Forbidden    Code = "forbidden"    // you may not
	TooLarge     Code = "too_large"    // beyond a stated limit
	Unsupported  Code = "unsupported"  // known, but not built or not enabled
	RateLimited  Code = "rate_limited"
	Unavailable  Code = "unavailable" // try again later
	Internal     Code = "internal"

	ConsentMissing   Code = "consent_missing"   // the person has not agreed to this
	IdentityInvalid  Code = "identity_invalid"  // the proof of identity is missing or wrong
	MergeUnsupported Code = "merge_unsupported" // the identifier belongs to another profile; of earlier builds
	IdentityConflict Code = "identity_conflict" // two persons whom nothing but an alias may merge
	AttributeType    Code = "attribute_type"    // another type than the attribute has
)

// Error is an error that a person can act on: what kind, which field, why.
type Error struct {
	Code  Code
	Field string // path in the document, "message.push.title"; empty means the whole
	Msg   string
	Err   error // cause, for logs; may be nil
	// Missing are the variables of a text that had no value, where that is the error.
	Missing []string
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(string(e.Code))
	if e.Field != "" {
		b.WriteString(": ")
		b.WriteString(e.Field)
	}
	b.WriteString(": ")
	b.WriteString(e.Msg)
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error.
func Errorf(code Code, field, format string, args ...any) *Error {
	return &Error{Code: code, Field: field, Msg: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of err, Internal if it has none, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// At puts the error's field below prefix: At("audience", err of "all[1].op")
// is an error of "audience.all[1].op". Errors of other types get the field.
func At(prefix string, err error) error {
	if err == nil {
		return nil
	}
	err = FromGeo(err)
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return &Error{Code: Invalid, Field: prefix, Msg: err.Error()}
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
