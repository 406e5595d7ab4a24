package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/redeem"
)

// Codes of problems that only HTTP knows.
const (
	preconditionRequired engage.Code = "precondition_required" // say which version you changed
	methodNotAllowed     engage.Code = "method_not_allowed"
	mediaType            engage.Code = "media_type" // the body is not JSON
)

// statusOf maps every code to its HTTP status, and here only.
var statusOf = map[engage.Code]int{
	engage.Invalid:          http.StatusUnprocessableEntity,
	engage.Malformed:        http.StatusBadRequest,
	engage.NotFound:         http.StatusNotFound,
	engage.Conflict:         http.StatusConflict,
	engage.Unauthorized:     http.StatusUnauthorized,
	engage.Forbidden:        http.StatusForbidden,
	engage.TooLarge:         http.StatusRequestEntityTooLarge,
	engage.Unsupported:      http.StatusUnprocessableEntity,
	engage.RateLimited:      http.StatusTooManyRequests,
	engage.Unavailable:      http.StatusServiceUnavailable,
	engage.Internal:         http.StatusInternalServerError,
	engage.ConsentMissing:   http.StatusForbidden,
	engage.IdentityInvalid:  http.StatusForbidden,
	engage.MergeUnsupported: http.StatusConflict,

	preconditionRequired: http.StatusPreconditionRequired,
	methodNotAllowed:     http.StatusMethodNotAllowed,
	mediaType:            http.StatusUnsupportedMediaType,
}

// tillStatus is that of the codes by which a till is refused.
var tillStatus = map[engage.Code]int{
	engage.TillUnknownCode: http.StatusNotFound, engage.TillAlready: http.StatusConflict, engage.TillExpired: http.StatusConflict,
	engage.TillPaused: http.StatusConflict, engage.TillNotYet: http.StatusConflict, engage.TillWrongPlace: http.StatusConflict,
	engage.TillLimitReached: http.StatusConflict, engage.TillGivenBack: http.StatusConflict,
}

// statusClosed is what servers log for a client that went away.
const statusClosed = 499

// versionField is the field of a conflict of versions, which has a status of its own.
const versionField = "version"

// Problem is an RFC 9457 problem: what kind, which field, why.
type Problem struct {
	Type   string       `json:"type" doc:"urn:footfall:problem:<code>"`
	Title  string       `json:"title" doc:"Of the HTTP status"`
	Status int          `json:"status"`
	Detail string       `json:"detail" doc:"Field and reason as one sentence"`
	Code   engage.Code  `json:"code" doc:"What kind of problem, for programs" example:"invalid"`
	Field  string       `json:"field,omitempty" doc:"Path of the field in the document, or the name of the parameter or header; absent: the whole" example:"geofences[0].radius"`
	Reason string       `json:"reason" doc:"What must hold and what is, for people" example:"must be 10 to 100000 m, is -1"`
	Offset *int64       `json:"offset,omitempty" doc:"With the code malformed: the byte of the body, from 0, at which it is no JSON; its length where it ends too early. Field is then the path up to there"`
	Errors []FieldError `json:"errors,omitempty" doc:"All that was found, when it is more than one"`

	// Redeemed is, with the code already_redeemed, when and where it was.
	Redeemed *redeemedBefore `json:"redeemed,omitempty" doc:"With the code already_redeemed: when and where it was"`

	cause error
}

type redeemedBefore struct {
	At    time.Time `json:"at"`
	Place string    `json:"place,omitempty" doc:"Absent: the till did not say"`
}

// FieldError is one of several things wrong with a document.
type FieldError struct {
	Code   engage.Code `json:"code"`
	Field  string      `json:"field,omitempty"`
	Reason string      `json:"reason"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// Unwrap is what a log should name; nil if there is nothing more.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// problemOf is the one place where errors become HTTP.
func problemOf(err error) *Problem {
	if done, ok := errors.AsType[*Problem](err); ok {
		return done
	}
	e := asEngage(err)
	status, known := statusOf[e.Code]
	if !known {
		status, known = tillStatus[e.Code]
	}
	if !known {
		status = http.StatusInternalServerError
	}
	switch {
	case e.Code == engage.Conflict && e.Field == versionField:
		status = http.StatusPreconditionFailed
	case e.Code == engage.TooLarge && e.Field != "":
		status = http.StatusUnprocessableEntity // a part of the document, not the request
	}
	if errors.Is(err, context.Canceled) && e.Code == engage.Unavailable {
		status = statusClosed
	}
	p := newProblem(status, e.Code, e.Field, e.Msg)
	p.cause = err
	if x, ok := errors.AsType[*notJSON](err); ok {
		p.Offset = &x.offset
	}
	if x, ok := errors.AsType[*redeem.Refused](err); ok && !x.At.IsZero() {
		p.Redeemed = &redeemedBefore{x.At, x.Place}
	}
	return p
}

// asEngage is the error as people see it. What is not meant for them stays in
// the log.
func asEngage(err error) *engage.Error {
	var e *engage.Error
	switch {
	case errors.As(engage.FromGeo(err), &e) && e.Code != engage.Internal:
		return e
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return engage.Errorf(engage.Unavailable, "", "the request took too long or was given up")
	default:
		return engage.Errorf(engage.Internal, "", "something went wrong here, not with your request; the server's log says what")
	}
}

func newProblem(status int, code engage.Code, field, reason string) *Problem {
	detail := reason
	if field != "" {
		detail = field + ": " + reason
	}
	return &Problem{
		Type: "urn:footfall:problem:" + string(code), Title: title(status), Status: status,
		Detail: detail, Code: code, Field: field, Reason: reason,
	}
}

func title(status int) string {
	if t := http.StatusText(status); t != "" {
		return t
	}
	return "Client Closed Request"
}

// fromHuma makes a Problem of what huma refuses by itself (parameters, a body
// that is too large or cannot be read). It runs as a transformer. Values are
// left out: they may be secrets.
func fromHuma(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code := engage.Invalid
	for c, status := range statusOf {
		if status == m.Status && c != engage.Malformed && c != engage.Unsupported && c != engage.ConsentMissing && c != engage.IdentityInvalid && c != engage.MergeUnsupported {
			code = c
		}
	}
	field, reason := "", m.Detail
	var all []FieldError
	for _, d := range m.Errors {
		at := d.Location
		for _, in := range []string{"query.", "path.", "header.", "body."} {
			at = strings.TrimPrefix(at, in)
		}
		all = append(all, FieldError{Code: code, Field: at, Reason: d.Message})
	}
	if m.Status == http.StatusInternalServerError {
		return newProblem(m.Status, engage.Internal, "", "the request could not be read"), nil
	}
	if len(all) > 0 {
		field, reason = all[0].Field, all[0].Reason
	}
	p := newProblem(m.Status, code, field, reason)
	if len(all) > 1 {
		p.Errors = all
	}
	return p, nil
}

// writeProblem answers outside of a huma handler.
func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", p.ContentType(""))
	if p.Code == engage.Unauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="footfall"`)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone, or it has it
}

// logProblem logs what is the server's fault.
func (s *server) logProblem(ctx context.Context, operation string, p *Problem) {
	if p.Status < http.StatusInternalServerError {
		return
	}
	s.o.Logger.LogAttrs(ctx, slog.LevelError, "api request failed",
		slog.String("operation", operation), slog.Int("status", p.Status), slog.Any("error", p.cause))
}
