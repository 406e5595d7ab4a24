package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/footfall-engage/footfall/server/store"
)

// ErrOutcomeUnknown comes with an error of Apply after which nobody can tell
// whether the batch was written: the server did not answer, and could not be
// asked again.
var ErrOutcomeUnknown = errors.New("whether it was written is not known")

// Codes of MongoDB's error_codes.yml.
const (
	codeUnauthorized         = 13
	codeAuthenticationFailed = 18
	codeNamespaceExists      = 48
	codeCommandNotFound      = 59
	codeIndexOptionsConflict = 85
	codeIndexKeyConflict     = 86
	codeDuplicateKey         = 11000
)

// Labels that servers and the driver give.
const (
	labelTransient     = "TransientTransactionError"
	labelUnknownCommit = "UnknownTransactionCommitResult"
	labelNetwork       = "NetworkError"
)

// Error is what the server or the network said. Its text has code and name, not
// the server's message, which may quote a document.
type Error struct {
	What      string // "find people"
	Codes     []int  // of the server; none if it did not answer
	Temporary bool   // the network's, or the server's for a time: try again
	Unknown   bool   // it is ErrOutcomeUnknown too

	text string
	err  error
}

// Error implements error.
func (e *Error) Error() string {
	s := e.What + ": " + e.text
	if e.Unknown {
		s += ": " + ErrOutcomeUnknown.Error()
	}
	return s
}

// Unwrap returns the driver's error, whose text may be personal.
func (e *Error) Unwrap() error { return e.err }

// Is says whether it is ErrOutcomeUnknown.
func (e *Error) Is(target error) bool { return target == ErrOutcomeUnknown && e.Unknown }

// fail makes the error of an operation from that of the driver. What is ours
// already, and the end of the context, stay as they are.
func (s *Store) fail(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var arg *store.ArgError
	var mine *Error
	if errors.As(err, &mine) || errors.As(err, &arg) || errors.Is(err, store.ErrVersion) || errors.Is(err, store.ErrUnique) {
		return err
	}
	return s.newError(what, err)
}

func (s *Store) newError(what string, err error) *Error {
	e := &Error{What: what, err: err, Codes: driver.ErrorCodes(err)}
	e.Temporary = driver.IsNetworkError(err) || driver.IsTimeout(err) || hasLabel(err, labelTransient) ||
		hasLabel(err, "RetryableWriteError") || hasLabel(err, labelUnknownCommit) || noServer(err)
	var command driver.CommandError
	switch {
	case errors.As(err, &command) && command.Code != 0:
		e.text = fmt.Sprintf("server error %d (%s)", command.Code, command.Name)
	case len(e.Codes) > 0 && e.Codes[0] != 0:
		e.text = fmt.Sprintf("server error %v", e.Codes)
	case errors.Is(err, errConflict):
		e.text, e.Temporary = errConflict.Error(), true
	default:
		e.text = s.scrub(err.Error()) // the driver's own words
	}
	return e
}

// scrub takes what the URI's user info says out of a text.
func (s *Store) scrub(text string) string {
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, "redacted")
	}
	return text
}

func hasLabel(err error, label string) bool {
	var labeled driver.LabeledError
	return errors.As(err, &labeled) && labeled.HasErrorLabel(label)
}

func hasCode(err error, code int) bool {
	return slices.Contains(driver.ErrorCodes(err), code)
}

// noServer: none was found in time, so nothing was sent.
func noServer(err error) bool { return errors.As(err, new(topology.ServerSelectionError)) }

// failWrite is fail for what may have been sent.
func (s *Store) failWrite(what string, err error) error {
	e := s.newError(what, err)
	var written driver.WriteException
	var bulk driver.BulkWriteException
	waiting := errors.As(err, &written) && written.WriteConcernError != nil || errors.As(err, &bulk) && bulk.WriteConcernError != nil
	e.Unknown = waiting || !noServer(err) && (driver.IsNetworkError(err) || driver.IsTimeout(err))
	return e
}
