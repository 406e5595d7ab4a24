package fcmsim

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is what goes wrong with a request. The zero value is none.
type Fault struct {
	// Status and Code refuse the push: HTTP's, and FcmError's errorCode
	// ("UNAVAILABLE"). A Code alone brings its own status. Without a Code the body has
	// no details, as when something in front of FCM answers.
	Status  int
	Code    string
	Message string // of the error; empty means the code's usual one
	// RetryAfter goes into the header of that name, in whole seconds, rounded up.
	RetryAfter time.Duration
	Quota      string // subject of a QuotaFailure detail: "device", "project:…"
	HTML       bool   // the body is a gateway's page

	Reset    bool          // the stream is reset, and the push is not taken
	Drop     bool          // the push is taken and the stream reset instead of answered
	Slow     time.Duration // the answer comes that much later than the push is taken
	SlowBody time.Duration // the second half of the body comes that much later than the first
	GoAway   bool          // with the answer the connection is told to take no more requests
}

// Rule makes faults happen. Of several rules the first that applies counts; rules go
// before what the token's kind says.
type Rule struct {
	// Match names fields of the request by their path and the value that each must
	// have: "message.token", "message.data.color", "validate_only"; "project" is that of
	// the path. A value that ends with * is a prefix, so "*" wants any. None matches all.
	Match map[string]string
	Rate  float64 // by chance, drawn from the seed; 0 means every time
	Times int     // how often at most; 0 means no limit
	Fault Fault
}

// rule is a Rule at work.
type rule struct {
	Rule
	used int
}

// SetRules replaces the rules; none ends all faults that came from rules.
func (s *Server) SetRules(rules ...Rule) {
	s.ruleMu.Lock()
	defer s.ruleMu.Unlock()
	s.rules = nil
	for _, r := range rules {
		s.rules = append(s.rules, &rule{Rule: r})
	}
	s.ruled.Store(len(rules) > 0)
}

// Rules are those in force.
func (s *Server) Rules() []Rule {
	s.ruleMu.Lock()
	defer s.ruleMu.Unlock()
	var rules []Rule
	for _, r := range s.rules {
		rules = append(rules, r.Rule)
	}
	return rules
}

// byRule is the fault that a rule wants of a request.
func (s *Server) byRule(project string, body []byte) (Fault, bool) {
	if !s.ruled.Load() {
		return Fault{}, false
	}
	var doc map[string]any
	_ = json.Unmarshal(body, &doc) // an unreadable one has no fields
	s.ruleMu.Lock()
	defer s.ruleMu.Unlock()
	for _, r := range s.rules {
		if r.Times > 0 && r.used >= r.Times || !r.matches(project, doc) || r.Rate > 0 && s.chance() >= r.Rate {
			continue
		}
		r.used++
		return r.Fault, true
	}
	return Fault{}, false
}

func (r *rule) matches(project string, doc map[string]any) bool {
	for path, want := range r.Match {
		got, ok := project, true
		if path != "project" {
			got, ok = lookUp(doc, path)
		}
		prefix, any := strings.CutSuffix(want, "*")
		if !ok || any && !strings.HasPrefix(got, prefix) || !any && got != want {
			return false
		}
	}
	return true
}

// lookUp finds a scalar by its path; names with dots in them (keys of data) are
// found too.
func lookUp(doc map[string]any, path string) (string, bool) {
	if v, ok := doc[path]; ok {
		switch v := v.(type) {
		case string:
			return v, true
		case bool:
			return strconv.FormatBool(v), true
		case float64:
			return strconv.FormatFloat(v, 'g', -1, 64), true
		}
		return "", true
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		if inner, ok := doc[path[:i]].(map[string]any); ok {
			if v, ok := lookUp(inner, path[i+1:]); ok {
				return v, true
			}
		}
	}
	return "", false
}

// kinds are the faults that a token's kind chooses; see the package's doc. Of
// "drop", "reset", "slow" and "slowbody" the rest is in kindFault.
var kinds = map[string]Fault{
	"unregistered": {Code: "UNREGISTERED"},
	"expired":      {Code: "UNREGISTERED"}, // what FCM says of a token that was silent for 270 days
	"mismatch":     {Code: "SENDER_ID_MISMATCH"},
	"invalid":      {Code: "INVALID_ARGUMENT"},
	"malformed":    {Code: "INVALID_ARGUMENT"},
	"apnsauth":     {Code: "THIRD_PARTY_AUTH_ERROR"},
	"unauthorized": {Status: http.StatusUnauthorized},
	"quota":        {Code: "QUOTA_EXCEEDED", RetryAfter: time.Second},
	"devicequota":  {Code: "QUOTA_EXCEEDED", RetryAfter: time.Second, Quota: "device"},
	"outage":       {Code: "UNAVAILABLE", RetryAfter: time.Second},
	"internal":     {Code: "INTERNAL"},
	"html502":      {Status: http.StatusBadGateway, HTML: true},
	"html503":      {Status: http.StatusServiceUnavailable, HTML: true},
	"goaway":       {GoAway: true},
	"flapping":     {Code: "UNREGISTERED"},
	"drop":         {Drop: true},
	"reset":        {Reset: true},
	"slow":         {},
	"slowbody":     {},
}

// Kinds are the kinds of tokens that have an outcome of their own.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// kindFault is the fault that a token chooses by its kind. It counts the token's
// use.
func (s *Server) kindFault(kind, token string, times int) (Fault, bool) {
	f, ok := kinds[kind]
	if !ok {
		return Fault{}, false
	}
	switch kind {
	case "drop", "reset", "goaway":
		times = max(times, 1)
	case "flapping": // every other time, beginning with a refusal
		return f, s.uses.Next(token)%2 == 1
	case "slow":
		f.Slow = s.opts.Slow
	case "slowbody":
		f.SlowBody = s.opts.Slow
	}
	return f, times == 0 || s.uses.Next(token) <= times
}

// refuses tells whether the push is not taken.
func (f Fault) refuses() bool { return f.Status != 0 || f.Code != "" || f.HTML }

// answer is what is said instead of success.
func (f Fault) answer() fault {
	out, ok := documented[f.Code]
	switch {
	case f.HTML:
		out = fault{status: http.StatusBadGateway, code: "html", html: true, body: gatewayPage(f.Status)}
	case f.Code == "" && f.Status == http.StatusUnauthorized:
		out = unauthenticated
	case !ok:
		status := f.Status
		if status == 0 {
			status = http.StatusBadRequest
		}
		name := statusNames[status]
		var details []any
		if f.Code != "" {
			details = []any{fcmDetail(f.Code)}
		}
		out = fault{status: status, code: either(f.Code, name), body: errorBody(status, name, either(f.Message, http.StatusText(status)), details)}
	case f.Message != "" || f.Quota != "":
		details := []any{fcmDetail(f.Code)}
		if f.Quota != "" {
			details = append(details, quotaDetail(f.Quota))
		}
		out.body = errorBody(out.status, statusNames[out.status], either(f.Message, out.message), details)
	}
	if f.Status != 0 {
		out.status = f.Status
	}
	if f.RetryAfter > 0 {
		out.retryAfter = seconds(f.RetryAfter)
	}
	return out
}

// seconds are whole ones, rounded up.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// fault is an answer other than success.
type fault struct {
	status     int
	code       string // for the log
	message    string // of the documented ones, to make a body with more details
	retryAfter string // seconds; empty means none
	html       bool
	body       []byte
}

func (f fault) contentType() string {
	if f.html {
		return "text/html; charset=UTF-8"
	}
	return "application/json; charset=UTF-8"
}

func (f fault) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", f.contentType())
	if f.retryAfter != "" {
		w.Header().Set("Retry-After", f.retryAfter)
	}
	w.WriteHeader(f.status)
	_, _ = w.Write(f.body) // the peer may be gone
}

const (
	typeFCM   = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
	typeBad   = "type.googleapis.com/google.rpc.BadRequest"
	typeQuota = "type.googleapis.com/google.rpc.QuotaFailure"
	typeInfo  = "type.googleapis.com/google.rpc.ErrorInfo"
)

type violation struct {
	Field       string `json:"field,omitempty"`
	Description string `json:"description"`
}

// statusNames are Google's names of HTTP's statuses.
var statusNames = map[int]string{
	http.StatusBadRequest: "INVALID_ARGUMENT", http.StatusUnauthorized: "UNAUTHENTICATED", http.StatusForbidden: "PERMISSION_DENIED",
	http.StatusNotFound: "NOT_FOUND", http.StatusTooManyRequests: "RESOURCE_EXHAUSTED", http.StatusInternalServerError: "INTERNAL",
	http.StatusServiceUnavailable: "UNAVAILABLE", http.StatusGatewayTimeout: "DEADLINE_EXCEEDED",
}

func fcmDetail(code string) any { return map[string]string{"@type": typeFCM, "errorCode": code} }

func badDetail(field, description string) any {
	return map[string]any{"@type": typeBad, "fieldViolations": []violation{{field, description}}}
}

func quotaDetail(subject string) any {
	return map[string]any{"@type": typeQuota, "violations": []map[string]string{{"subject": subject, "description": "Quota exceeded."}}}
}

func errorBody(status int, name, msg string, details []any) []byte {
	e := map[string]any{"code": status, "message": msg, "status": name}
	if len(details) > 0 {
		e["details"] = details
	}
	b, _ := json.MarshalIndent(map[string]any{"error": e}, "", "  ") // plain values
	return b
}

func gatewayPage(status int) []byte {
	return []byte("<html><head><title>" + strconv.Itoa(max(status, http.StatusBadGateway)) + " Server Error</title></head><body><h1>Error: Server Error</h1>" +
		"<h2>The server encountered a temporary error and could not complete your request.<p>Please try again in 30 seconds.</h2></body></html>")
}

// fcmFault is an error with FCM's own detail.
func fcmFault(status int, code, msg string) fault {
	return fault{status: status, code: code, message: msg, body: errorBody(status, statusNames[status], msg, []any{fcmDetail(code)})}
}

// malformed is a 400 of the layer that reads JSON: it blames a field, and has no
// detail of FCM's.
func malformed(msg, field string) fault {
	return fault{
		status: http.StatusBadRequest, code: "INVALID_ARGUMENT",
		body: errorBody(http.StatusBadRequest, "INVALID_ARGUMENT", msg, []any{badDetail(field, msg)}),
	}
}

// violated is a 400 of FCM that blames a field.
func violated(field, msg string) fault {
	return fault{
		status: http.StatusBadRequest, code: "INVALID_ARGUMENT",
		body: errorBody(http.StatusBadRequest, "INVALID_ARGUMENT", msg, []any{fcmDetail("INVALID_ARGUMENT"), badDetail(field, msg)}),
	}
}

// tooBig is the one 400 that FCM gives without details.
func tooBig(msg string) fault {
	return fault{status: http.StatusBadRequest, code: "INVALID_ARGUMENT", body: errorBody(http.StatusBadRequest, "INVALID_ARGUMENT", msg, nil)}
}

// overQuota is a 429 that says whose quota it was.
func overQuota(subject, msg string, wait time.Duration) fault {
	return fault{
		status: http.StatusTooManyRequests, code: "QUOTA_EXCEEDED", retryAfter: seconds(wait),
		body: errorBody(http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", msg, []any{fcmDetail("QUOTA_EXCEEDED"), quotaDetail(subject)}),
	}
}

func unauthorized(msg, reason string) fault {
	return fault{status: http.StatusUnauthorized, code: "UNAUTHENTICATED", body: errorBody(http.StatusUnauthorized, "UNAUTHENTICATED", msg,
		[]any{map[string]any{"@type": typeInfo, "reason": reason, "domain": "googleapis.com", "metadata": map[string]string{
			"service": "fcm.googleapis.com", "method": "google.firebase.fcm.v1.FcmService.SendMessage",
		}}})}
}

// The answers about who asks.
var (
	unauthenticated = unauthorized("Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
		"ACCESS_TOKEN_EXPIRED")
	noCredentials = unauthorized("Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
		"CREDENTIALS_MISSING")
	noProject = fault{status: http.StatusNotFound, code: "NOT_FOUND", body: errorBody(http.StatusNotFound, "NOT_FOUND", "Requested entity was not found.", nil)}
	noMethod  = fault{status: http.StatusNotFound, code: "html", html: true, body: []byte("<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title><p>The requested URL was not found on this server.")}
)

func forbidden(project string) fault {
	return fault{status: http.StatusForbidden, code: "PERMISSION_DENIED", body: errorBody(http.StatusForbidden, "PERMISSION_DENIED",
		"Permission 'cloudmessaging.messages.create' denied on resource '//cloudresourcemanager.googleapis.com/projects/"+project+"' (or it may not exist).",
		[]any{map[string]any{"@type": typeInfo, "reason": "IAM_PERMISSION_DENIED", "domain": "cloudresourcemanager.googleapis.com", "metadata": map[string]string{
			"permission": "cloudmessaging.messages.create", "resource": "projects/" + project,
		}}})}
}

// documented are the answers of FCM's own codes
// (https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode).
var documented = map[string]fault{
	"UNREGISTERED":           fcmFault(http.StatusNotFound, "UNREGISTERED", "Requested entity was not found."),
	"SENDER_ID_MISMATCH":     fcmFault(http.StatusForbidden, "SENDER_ID_MISMATCH", "SenderId mismatch"),
	"INVALID_ARGUMENT":       fcmFault(http.StatusBadRequest, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token"),
	"THIRD_PARTY_AUTH_ERROR": fcmFault(http.StatusUnauthorized, "THIRD_PARTY_AUTH_ERROR", "Auth error from APNS or Web Push Service"),
	"QUOTA_EXCEEDED":         fcmFault(http.StatusTooManyRequests, "QUOTA_EXCEEDED", "Quota exceeded for quota metric 'Messages' and limit 'Messages per minute' of service 'fcm.googleapis.com'."),
	"UNAVAILABLE":            fcmFault(http.StatusServiceUnavailable, "UNAVAILABLE", "The service is currently unavailable."),
	"INTERNAL":               fcmFault(http.StatusInternalServerError, "INTERNAL", "Internal error encountered."),
}
