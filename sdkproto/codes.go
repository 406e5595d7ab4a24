package sdkproto

import (
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// ErrorCode of an error frame, or of the error in a BatchReply.
type ErrorCode uint32

// The error codes. Errors says what each means and what a client does.
const (
	ErrInternal     ErrorCode = 100
	ErrToken        ErrorCode = 101
	ErrAppKey       ErrorCode = 102
	ErrBlocked      ErrorCode = 103
	ErrUnknownFrame ErrorCode = 104
	ErrNoHello      ErrorCode = 105
	ErrMalformed    ErrorCode = 107
	ErrTooLarge     ErrorCode = 108
	ErrVersion      ErrorCode = 109
	ErrRate         ErrorCode = 111
	ErrCredit       ErrorCode = 112
	ErrIdentity     ErrorCode = 120
)

// Action that a client takes.
type Action string

// The actions.
const (
	ActBackoff    Action = "backoff"    // keep the queue; again after retry_after, else 1 to 300 s with full jitter
	ActReregister Action = "reregister" // forget the device token, register once; refused again: stop
	ActStop       Action = "stop"       // stop and tell the host app
	ActRetryDaily Action = "daily"      // stop; try again once a day; keep at most one day of items
	ActIgnore     Action = "ignore"     // go on
	ActBisect     Action = "bisect"     // halve the batch; a batch of one is dropped and reported
	ActHalve      Action = "halve"      // as bisect, and keep later batches small
	ActAskHost    Action = "ask_host"   // ask the host app for a new proof; go on anonymously
	ActWait       Action = "wait"       // send no item until acks have brought credit back
	ActReconnect  Action = "reconnect"  // full jitter
	ActDrop       Action = "drop"       // drop the item and report it
)

// ErrorInfo is one row of the error table.
type ErrorInfo struct {
	Code      ErrorCode
	Name      string
	HTTP      int  // status on the POSTs
	Retryable bool // the same request may succeed later
	Action    Action
	Meaning   string
}

// Errors is the table of error codes, in ascending order.
func Errors() []ErrorInfo {
	return []ErrorInfo{
		{ErrInternal, "internal", 503, true, ActBackoff, "the server could not; nothing was acknowledged"},
		{ErrToken, "token_invalid", 401, false, ActReregister, "the device token is missing, unknown or expired"},
		{ErrAppKey, "app_key_invalid", 401, false, ActStop, "no such app key, or not for this platform"},
		{ErrBlocked, "app_disabled", 403, false, ActRetryDaily, "the app or the install is blocked"},
		{ErrUnknownFrame, "unknown_frame", 400, false, ActIgnore, "a frame that this server does not know; the connection stays"},
		{ErrNoHello, "hello_required", 400, false, ActStop, "the first frame was not a valid hello"},
		{ErrMalformed, "malformed", 400, false, ActBisect, "not decodable, or against the protocol"},
		{ErrTooLarge, "too_large", 413, false, ActHalve, "beyond a limit of size or count"},
		{ErrVersion, "version_unsupported", 426, false, ActStop, "no protocol version in common"},
		{ErrRate, "rate_limited", 429, true, ActBackoff, "too many requests: of this install, or for the server; nothing was acknowledged"},
		{ErrCredit, "credit_exceeded", 429, true, ActWait, "more items in flight than the credit allows; the batch was not taken"},
		{ErrIdentity, "identity_invalid", 401, false, ActAskHost, "the proof of identity is missing, wrong or expired"},
	}
}

// Info returns the row of the code. An unknown code from a newer server has the
// row of an internal error, retryable, so that its items are kept.
func (c ErrorCode) Info() ErrorInfo {
	for _, e := range Errors() {
		if e.Code == c {
			return e
		}
	}
	return ErrorInfo{c, fmt.Sprintf("error_%d", uint32(c)), 503, true, ActBackoff, "a code that this version does not know"}
}

// CloseCode of a websocket. 4000 to 4499 mean reconnect, 4500 to 4999 do not.
type CloseCode int

// The close codes.
const (
	CloseShutdown     CloseCode = 4001
	CloseHelloTimeout CloseCode = 4002
	CloseExpired      CloseCode = 4005
	CloseRate         CloseCode = 4006
	CloseMalformed    CloseCode = 4007
	CloseSlow         CloseCode = 4008
	CloseTooLarge     CloseCode = 4009
	CloseNoPong       CloseCode = 4012
	CloseInternal     CloseCode = 4013

	CloseAppKey   CloseCode = 4500
	CloseToken    CloseCode = 4501
	CloseNoHello  CloseCode = 4502
	CloseReplaced CloseCode = 4503
	CloseVersion  CloseCode = 4504
	CloseBlocked  CloseCode = 4505
)

// CloseInfo is one row of the table of close codes.
type CloseInfo struct {
	Code    CloseCode
	Name    string
	Action  Action
	Meaning string
}

// Closes is the table of close codes, in ascending order.
func Closes() []CloseInfo {
	return []CloseInfo{
		{CloseShutdown, "shutdown", ActReconnect, "the server goes away"},
		{CloseHelloTimeout, "hello_timeout", ActReconnect, "no hello within 5 s"},
		{CloseExpired, "expired", ActReconnect, "the session is older than the server allows"},
		{CloseRate, "rate_limited", ActReconnect, "too many requests; an error 111 with retry_after_ms went before"},
		{CloseMalformed, "malformed", ActBisect, "a frame that cannot be decoded; the batch in flight is treated as after error 107"},
		{CloseSlow, "slow", ActReconnect, "the phone does not read what it is sent"},
		{CloseTooLarge, "too_large", ActHalve, "a websocket message beyond frame_bytes; also close code 1009"},
		{CloseNoPong, "no_pong", ActReconnect, "a ping was not answered in time"},
		{CloseInternal, "internal", ActReconnect, "the server could not"},
		{CloseAppKey, "app_key_invalid", ActStop, "as error 102"},
		{CloseToken, "token_invalid", ActReregister, "as error 101"},
		{CloseNoHello, "hello_required", ActStop, "as error 105"},
		{CloseReplaced, "replaced", ActStop, "the install has opened a newer connection"},
		{CloseVersion, "version_unsupported", ActStop, "as error 109"},
		{CloseBlocked, "blocked", ActRetryDaily, "as error 103"},
	}
}

// Terminal reports whether a client must not reconnect by itself after the code.
// Codes below 4000 belong to the websocket protocol or the network: reconnect.
func (c CloseCode) Terminal() bool { return c >= 4500 && c <= 4999 }

// Info returns the row of the code; an unknown one has the action of its range.
func (c CloseCode) Info() CloseInfo {
	for _, i := range Closes() {
		if i.Code == c {
			return i
		}
	}
	act := ActReconnect
	if c.Terminal() {
		act = ActStop
	}
	return CloseInfo{c, fmt.Sprintf("close_%d", int(c)), act, "a code that this version does not know"}
}

// RejectCode says why an item was not taken.
type RejectCode string

// The reject codes. All but RejectRate and RejectInternal are final: the client
// drops the item and reports it.
const (
	RejectInvalid     RejectCode = "invalid"           // a field has a value that cannot be
	RejectUnsupported RejectCode = "unsupported"       // a kind or value that this server does not know
	RejectTooLarge    RejectCode = "too_large"         //
	RejectConsent     RejectCode = "consent_missing"   // the person has not agreed to this
	RejectIdentity    RejectCode = "identity_invalid"  // ask the host app for a new proof
	RejectExpired     RejectCode = "identity_expired"  // the proof was good once: ask the host app for a new one
	RejectMerge       RejectCode = "merge_unsupported" // the identifier belongs to another profile
	RejectRate        RejectCode = "rate_limited"      // retryable
	RejectInternal    RejectCode = "internal"          // retryable
)

// Retryable reports whether the item may be sent again.
func (c RejectCode) Retryable() bool { return c == RejectRate || c == RejectInternal }

// Error is a protocol error: what is wrong with a frame, a body or a session.
type Error struct {
	Code       ErrorCode
	Field      string // path in the frame, "batch.items"; empty means the whole
	Reason     string // for the app developer; holds no content of the frame
	RetryAfter time.Duration
}

// Errorf makes an Error.
func Errorf(code ErrorCode, field, format string, args ...any) *Error {
	return &Error{Code: code, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Error implements error.
func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("sdkproto %d %s: %s", e.Code, e.Code.Info().Name, e.Reason)
	}
	return fmt.Sprintf("sdkproto %d %s: %s: %s", e.Code, e.Code.Info().Name, e.Field, e.Reason)
}

// Proto is the error as it travels.
func (e *Error) Proto() *sdkpb.Error {
	i := e.Code.Info()
	return &sdkpb.Error{
		Code: uint32(e.Code), Name: i.Name, Field: e.Field, Reason: e.Reason,
		Retryable: i.Retryable, RetryAfterMs: uint32(e.RetryAfter.Milliseconds()),
	}
}

// Frame is the error frame that answers frame re; 0 answers none.
func (e *Error) Frame(re uint64) *sdkpb.Frame { return &sdkpb.Frame{Re: re, Error: e.Proto()} }
