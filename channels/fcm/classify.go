package fcm

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/internal/h2conn"
)

// quotaPause is Google's advice for a 429 without Retry-After.
const quotaPause = time.Minute

// apiError is what we read of Google's error body.
type apiError struct {
	status     string   // "INVALID_ARGUMENT"; empty when the body is none of Google's
	code       string   // FcmError's errorCode; empty without such a detail
	violations []string // BadRequest's fields
	quota      string   // lower case: what QuotaFailure and ErrorInfo say of the quota; empty without
}

// platform tells whether FCM could not speak to APNs or a Web Push service, with a
// credential that is kept in the Firebase project and is none of ours.
func (e apiError) platform() bool {
	return e.code == "THIRD_PARTY_AUTH_ERROR" || e.code == "APNS_AUTH_ERROR"
}

// parseError reads an error body; anything but Google's JSON gives the zero
// value.
func parseError(body []byte) apiError {
	var doc struct {
		Error struct {
			Status  string            `json:"status"`
			Details []json.RawMessage `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return apiError{}
	}
	e := apiError{status: doc.Error.Status}
	for _, raw := range doc.Error.Details {
		var d struct {
			Type            string `json:"@type"`
			ErrorCode       string `json:"errorCode"`
			FieldViolations []struct {
				Field string `json:"field"`
			} `json:"fieldViolations"`
			Violations []struct {
				Subject     string `json:"subject"`
				Description string `json:"description"`
			} `json:"violations"`
			Metadata map[string]string `json:"metadata"`
		}
		if json.Unmarshal(raw, &d) != nil {
			continue // a detail of a shape that we do not know
		}
		switch {
		case strings.HasSuffix(d.Type, "/google.firebase.fcm.v1.FcmError"):
			e.code = d.ErrorCode
		case strings.HasSuffix(d.Type, "/google.rpc.BadRequest"):
			for _, v := range d.FieldViolations {
				e.violations = append(e.violations, v.Field)
			}
		case strings.HasSuffix(d.Type, "/google.rpc.QuotaFailure"):
			for _, v := range d.Violations {
				e.quota += " " + strings.ToLower(v.Subject+" "+v.Description)
			}
		case strings.HasSuffix(d.Type, "/google.rpc.ErrorInfo"):
			e.quota += " " + strings.ToLower(d.Metadata["quota_metric"]+" "+d.Metadata["quota_limit"])
		}
	}
	return e
}

// reason is the most specific name the provider gave.
func (e apiError) reason(status int) string {
	switch {
	case e.code != "":
		return e.code
	case e.status != "":
		return e.status
	}
	return "http_" + strconv.Itoa(status)
}

// classify maps an answer to an Outcome.
func classify(r h2conn.Result, now time.Time) channels.Outcome {
	out := channels.Outcome{Status: r.Status, Raw: raw(r.Body)}
	if r.Status == http.StatusOK {
		var answer struct {
			Name string `json:"name"`
		}
		if json.Unmarshal(r.Body, &answer) != nil || answer.Name == "" {
			// Not FCM's answer, perhaps a proxy's: FCM may have taken it or not.
			out.Kind, out.Reason, out.Ambiguous = channels.RetryAfter, "unreadable_answer", true
			return out
		}
		out.Kind, out.ProviderID = channels.Accepted, answer.Name
		return out
	}
	e := parseError(r.Body)
	out.Reason = e.reason(r.Status)
	out.Kind = kindOf(r.Status, e)
	switch out.Kind {
	case channels.RetryAfter:
		wait, given := h2conn.RetryAfter(r.Header, now)
		if r.Status == http.StatusTooManyRequests {
			if !given {
				wait = quotaPause
			}
			out.Scope = quotaScope(e)
		}
		out.RetryAfter = wait
		// A gateway that gave up waiting does not know what became of it.
		out.Ambiguous = r.Status == http.StatusGatewayTimeout
	case channels.Misconfigured:
		out.Scope = channels.ScopeCredential
		if e.platform() {
			out.Scope = channels.ScopePlatform
		}
	}
	return out
}

// raw is an answer for people.
func raw(body []byte) string {
	if len(body) > channels.MaxRaw {
		body = body[:channels.MaxRaw]
	}
	return strings.ToValidUTF8(string(body), "\ufffd")
}

// quotaScope is whom a 429 is about.
func quotaScope(e apiError) channels.Scope {
	switch {
	case strings.Contains(e.quota, "device"), strings.Contains(e.quota, "token:"):
		return channels.ScopeDevice
	case strings.Contains(e.quota, "topic"):
		return ""
	}
	return channels.ScopeCredential
}

func kindOf(status int, e apiError) channels.Kind {
	switch {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return channels.RetryAfter
	case status >= 300 && status < 400:
		return channels.Misconfigured // something between us and FCM redirects
	case e.code == "UNREGISTERED", e.code == "SENDER_ID_MISMATCH":
		return channels.TokenGone
	case e.platform():
		return channels.Misconfigured
	case status == http.StatusBadRequest:
		return badRequest(e)
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound,
		status == http.StatusProxyAuthRequired:
		return channels.Misconfigured // the credential, or a project that does not exist
	}
	return channels.Rejected
}

// badRequest tells a bad token from a bad message.
func badRequest(e apiError) channels.Kind {
	if len(e.violations) == 0 {
		if e.code == "INVALID_ARGUMENT" {
			return channels.TokenGone
		}
		return channels.Rejected
	}
	for _, f := range e.violations {
		if f != "message.token" && f != "message.fid" {
			return channels.Rejected
		}
	}
	return channels.TokenGone
}

// authOutcome maps the refusal of an access token. No push was attempted.
func authOutcome(err error, now time.Time) (channels.Outcome, error) {
	if errors.Is(err, errTokensClosed) {
		return channels.Outcome{}, fmt.Errorf("nothing was sent: %w", err)
	}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.Response == nil {
		return channels.Outcome{Kind: channels.RetryAfter, Reason: "oauth_unavailable"}, nil
	}
	out := channels.Outcome{Kind: channels.RetryAfter, Status: refused.Response.StatusCode, Reason: "oauth_unavailable", Raw: raw(refused.Body)}
	if s := out.Status; s >= 300 && s < 500 && s != http.StatusTooManyRequests && s != http.StatusRequestTimeout {
		var doc struct {
			Error string `json:"error"`
		}
		out.Kind, out.Reason, out.Scope = channels.Misconfigured, "oauth_refused", channels.ScopeCredential
		if json.Unmarshal(refused.Body, &doc) == nil && doc.Error != "" {
			out.Reason = doc.Error
		}
		return out, nil
	}
	out.RetryAfter, _ = h2conn.RetryAfter(refused.Response.Header, now)
	return out, nil
}
