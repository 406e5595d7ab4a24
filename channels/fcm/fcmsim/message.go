package fcmsim

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maxPayload = 4096
	maxTTL     = 28 * 24 * time.Hour
	typeFCM    = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
	typeBad    = "type.googleapis.com/google.rpc.BadRequest"
)

// sendRequest is what the simulator reads of a send request.
type sendRequest struct {
	ValidateOnly bool `json:"validate_only"`
	Message      struct {
		Token        string            `json:"token"`
		FID          string            `json:"fid"`
		Topic        string            `json:"topic"`
		Condition    string            `json:"condition"`
		Data         map[string]string `json:"data"`
		Notification struct {
			Title string `json:"title"`
			Body  string `json:"body"`
			Image string `json:"image"`
		} `json:"notification"`
		Android struct {
			CollapseKey  string `json:"collapse_key"`
			Priority     string `json:"priority"`
			TTL          string `json:"ttl"`
			Notification struct {
				Tag string `json:"tag"`
			} `json:"notification"`
			FCMOptions struct {
				AnalyticsLabel string `json:"analytics_label"`
			} `json:"fcm_options"`
		} `json:"android"`
	} `json:"message"`
}

// labelPattern is FCM's for analytics labels.
var labelPattern = regexp.MustCompile(`^[a-zA-Z0-9\-_.~%]{1,50}$`)

// parse reads and checks a send request. The request is filled as far as it
// could be read also when it is refused.
func parse(body []byte) (req sendRequest, f fault, ok bool) {
	if err := json.Unmarshal(body, &req); err != nil {
		return req, invalid("Invalid JSON payload received", violation{"message", "not of the message's type"}), false
	}
	m := &req.Message
	targets := 0
	for _, t := range []string{m.Token, m.FID, m.Topic, m.Condition} {
		if t != "" {
			targets++
		}
	}
	if targets != 1 {
		return req, invalid("Recipient of the message is not set or set more than once",
			violation{"message", "exactly one of token, fid, topic and condition"}), false
	}
	size := len(m.Notification.Title) + len(m.Notification.Body) + len(m.Notification.Image)
	for k, v := range m.Data {
		size += len(k) + len(v)
		if k == "from" || k == "message_type" || strings.HasPrefix(k, "gcm") || strings.HasPrefix(k, "google") {
			return req, invalid("Invalid data payload key: "+k, violation{"message.data", "reserved key"}), false
		}
	}
	if size > maxPayload {
		// The one 400 that FCM gives without details.
		return req, fault{status: http.StatusBadRequest, code: "INVALID_ARGUMENT", body: errorBody(http.StatusBadRequest, "INVALID_ARGUMENT", "Android message is too big", nil)}, false
	}
	if m.Android.TTL != "" {
		if _, ok := parseTTL(m.Android.TTL); !ok {
			return req, invalid("Invalid value at 'message.android.ttl'", violation{"message.android.ttl", "seconds with an s, 0 to 28 days"}), false
		}
	}
	switch strings.ToLower(m.Android.Priority) {
	case "", "normal", "high":
	default:
		return req, invalid("Invalid value at 'message.android.priority'", violation{"message.android.priority", "normal or high"}), false
	}
	if l := m.Android.FCMOptions.AnalyticsLabel; l != "" && !labelPattern.MatchString(l) {
		return req, invalid("Invalid analytics label", violation{"message.android.fcm_options.analytics_label", "1 to 50 of a-zA-Z0-9-_.~%"}), false
	}
	return req, fault{}, true
}

// parseTTL reads a JSON duration: seconds, at most nine fractional digits, "s".
func parseTTL(s string) (time.Duration, bool) {
	n, ok := strings.CutSuffix(s, "s")
	if !ok {
		return 0, false
	}
	whole, frac, dot := strings.Cut(n, ".")
	sec, err := strconv.ParseUint(whole, 10, 32)
	if err != nil {
		return 0, false
	}
	d := time.Duration(sec) * time.Second
	if dot {
		if frac == "" || len(frac) > 9 {
			return 0, false
		}
		nanos, err := strconv.ParseUint(frac+strings.Repeat("0", 9-len(frac)), 10, 32)
		if err != nil {
			return 0, false
		}
		d += time.Duration(nanos)
	}
	return d, d <= maxTTL
}

func (r *sendRequest) delivered(at time.Time, name string, raw []byte) Delivered {
	m := &r.Message
	ttl := time.Duration(-1)
	if d, ok := parseTTL(m.Android.TTL); ok {
		ttl = d
	}
	return Delivered{
		Token: m.Token, MessageID: m.Data["footfall_message_id"],
		Tag: m.Android.Notification.Tag, CollapseKey: m.Android.CollapseKey,
		Title: m.Notification.Title, Body: m.Notification.Body, ImageURL: m.Notification.Image,
		Data: m.Data, TTL: ttl, High: strings.EqualFold(m.Android.Priority, "high"),
		At: at, Name: name, Raw: raw,
	}
}

// fault is an answer other than success.
type fault struct {
	status     int
	code       string // for the log
	retryAfter string // seconds; empty means none
	html       bool
	body       []byte
}

func (f fault) write(w http.ResponseWriter) {
	kind := "application/json; charset=UTF-8"
	if f.html {
		kind = "text/html; charset=UTF-8"
	}
	w.Header().Set("Content-Type", kind)
	if f.retryAfter != "" {
		w.Header().Set("Retry-After", f.retryAfter)
	}
	w.WriteHeader(f.status)
	_, _ = w.Write(f.body) // the peer may be gone
}

type violation struct {
	Field       string `json:"field"`
	Description string `json:"description"`
}

func errorBody(status int, name, msg string, details []any) []byte {
	e := map[string]any{"code": status, "message": msg, "status": name}
	if len(details) > 0 {
		e["details"] = details
	}
	b, _ := json.MarshalIndent(map[string]any{"error": e}, "", "  ") // plain values
	return b
}

// fcmFault is an error with FCM's own detail.
func fcmFault(status int, name, code, msg string) fault {
	return fault{status: status, code: code, body: errorBody(status, name, msg, []any{map[string]string{"@type": typeFCM, "errorCode": code}})}
}

// invalid is a 400 that blames fields.
func invalid(msg string, v ...violation) fault {
	var details []any
	if len(v) > 0 {
		details = []any{map[string]any{"@type": typeBad, "fieldViolations": v}}
	}
	return fault{status: http.StatusBadRequest, code: "INVALID_ARGUMENT", body: errorBody(http.StatusBadRequest, "INVALID_ARGUMENT", msg, details)}
}

func (f fault) after(seconds string) fault {
	f.retryAfter = seconds
	return f
}

// The answers that no token chooses.
var (
	unauthenticated = fault{status: http.StatusUnauthorized, code: "UNAUTHENTICATED", body: errorBody(http.StatusUnauthorized, "UNAUTHENTICATED",
		"Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.",
		[]any{map[string]string{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_EXPIRED", "domain": "googleapis.com"}})}
	forbiddenProject = fault{status: http.StatusForbidden, code: "PERMISSION_DENIED", body: errorBody(http.StatusForbidden, "PERMISSION_DENIED",
		"Permission 'cloudmessaging.messages.create' denied on resource (or it may not exist).", nil)}
	notFound = fault{status: http.StatusNotFound, code: "NOT_FOUND", body: errorBody(http.StatusNotFound, "NOT_FOUND", "Method not found.", nil)}
)

// faults are the answers that a token's kind chooses.
var faults = map[string]fault{
	"unregistered": fcmFault(http.StatusNotFound, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found."),
	"mismatch":     fcmFault(http.StatusForbidden, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch"),
	"invalid":      fcmFault(http.StatusBadRequest, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token"),
	"apnsauth":     fcmFault(http.StatusUnauthorized, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "Auth error from APNS or Web Push Service"),
	"unauthorized": unauthenticated,
	"quota":        fcmFault(http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded for quota metric 'Messages' and limit 'Messages per minute'").after("1"),
	"outage":       fcmFault(http.StatusServiceUnavailable, "UNAVAILABLE", "UNAVAILABLE", "The service is currently unavailable.").after("1"),
	"internal":     fcmFault(http.StatusInternalServerError, "INTERNAL", "INTERNAL", "Internal error encountered."),
	"html502":      {status: http.StatusBadGateway, code: "html", html: true, body: []byte("<html><head><title>502 Server Error</title></head><body><h1>Error: Server Error</h1></body></html>")},
}
