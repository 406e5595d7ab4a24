package channels

import "fmt"

// MessageErrorCode says what is wrong with a Message.
type MessageErrorCode string

// The codes of a MessageError.
const (
	Missing  MessageErrorCode = "missing"  // a field that must be set is empty
	TooLong  MessageErrorCode = "too_long" // the field makes the message larger than the provider takes
	Reserved MessageErrorCode = "reserved" // the key belongs to the provider or to Footfall
	Invalid  MessageErrorCode = "invalid"  // the value has the wrong form
	Expired  MessageErrorCode = "expired"  // ExpiresAt has passed: nothing was sent
)

// MessageError is the error of Send for a Message that cannot be sent as it is:
// no request was made, and a repeat of the same Message fails again. It never
// carries the value, which may be personal.
type MessageError struct {
	Code  MessageErrorCode
	Field string // "title", "data.color", "target.token"
	Msg   string // for people: "4180 bytes, at most 4096"
}

// Error gives code, field and reason.
func (e *MessageError) Error() string {
	return fmt.Sprintf("%s %s: %s", e.Field, e.Code, e.Msg)
}
