package fcm

import (
	"net/http"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/internal/h2conn"
)

func TestClassify(t *testing.T) {
	fcmErr := func(status, code string) string {
		return `{"error":{"status":"` + status + `","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"` + code + `"}]}}`
	}
	bad := func(field string) string {
		return `{"error":{"status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"INVALID_ARGUMENT"},{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"` + field + `","description":"x"}]}]}}`
	}
	quota := func(kind, rest string) string {
		return `{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"QUOTA_EXCEEDED"},{"@type":"type.googleapis.com/google.rpc.` + kind + `",` + rest + `}]}}`
	}
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		status int
		body   string
		after  string
		want   channels.Outcome
	}{
		{"bad token", 400, fcmErr("INVALID_ARGUMENT", "INVALID_ARGUMENT"), "", channels.Outcome{Kind: channels.TokenGone, Reason: "INVALID_ARGUMENT"}},
		{"bad token by field", 400, bad("message.token"), "", channels.Outcome{Kind: channels.TokenGone, Reason: "INVALID_ARGUMENT"}},
		{"bad message by field", 400, bad("message.android.ttl"), "", channels.Outcome{Kind: channels.Rejected, Reason: "INVALID_ARGUMENT"}},
		{"oversize has no details", 400, `{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"Android message is too big"}}`, "", channels.Outcome{Kind: channels.Rejected, Reason: "INVALID_ARGUMENT"}},
		{"400 of a proxy", 400, "<html>", "", channels.Outcome{Kind: channels.Rejected, Reason: "http_400"}},
		{"unregistered", 404, fcmErr("NOT_FOUND", "UNREGISTERED"), "", channels.Outcome{Kind: channels.TokenGone, Reason: "UNREGISTERED"}},
		{"bad installation id by field", 400, bad("message.fid"), "", channels.Outcome{Kind: channels.TokenGone, Reason: "INVALID_ARGUMENT"}},
		{"no such project", 404, `{"error":{"status":"NOT_FOUND"}}`, "", channels.Outcome{Kind: channels.Misconfigured, Reason: "NOT_FOUND", Scope: channels.ScopeCredential}},
		{"sender mismatch", 403, fcmErr("PERMISSION_DENIED", "SENDER_ID_MISMATCH"), "", channels.Outcome{Kind: channels.TokenGone, Reason: "SENDER_ID_MISMATCH"}},
		{"no permission", 403, `{"error":{"status":"PERMISSION_DENIED"}}`, "", channels.Outcome{Kind: channels.Misconfigured, Reason: "PERMISSION_DENIED", Scope: channels.ScopeCredential}},
		{"unauthenticated", 401, `{"error":{"status":"UNAUTHENTICATED"}}`, "", channels.Outcome{Kind: channels.Misconfigured, Reason: "UNAUTHENTICATED", Scope: channels.ScopeCredential}},
		{"third party", 401, fcmErr("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), "", channels.Outcome{Kind: channels.Misconfigured, Reason: "THIRD_PARTY_AUTH_ERROR", Scope: channels.ScopePlatform}},
		{"quota", 429, fcmErr("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), "30", channels.Outcome{Kind: channels.RetryAfter, Reason: "QUOTA_EXCEEDED", RetryAfter: 30 * time.Second, Scope: channels.ScopeCredential}},
		{"quota without a time", 429, fcmErr("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), "", channels.Outcome{Kind: channels.RetryAfter, Reason: "QUOTA_EXCEEDED", RetryAfter: time.Minute, Scope: channels.ScopeCredential}},
		{"quota until a date", 429, "", "Tue, 03 Nov 2026 12:02:00 GMT", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_429", RetryAfter: 2 * time.Minute, Scope: channels.ScopeCredential}},
		{"quota of the device", 429, quota("QuotaFailure", `"violations":[{"subject":"device:x","description":"Device message rate"}]`), "", channels.Outcome{Kind: channels.RetryAfter, Reason: "QUOTA_EXCEEDED", RetryAfter: time.Minute, Scope: channels.ScopeDevice}},
		{"quota of a topic", 429, quota("QuotaFailure", `"violations":[{"subject":"topic:x"}]`), "", channels.Outcome{Kind: channels.RetryAfter, Reason: "QUOTA_EXCEEDED", RetryAfter: time.Minute}},
		{"quota of the project", 429, quota("ErrorInfo", `"reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_metric":"fcm.googleapis.com/send_requests"}`), "5", channels.Outcome{Kind: channels.RetryAfter, Reason: "QUOTA_EXCEEDED", RetryAfter: 5 * time.Second, Scope: channels.ScopeCredential}},
		{"api disabled", 403, `{"error":{"status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED"}]}}`, "", channels.Outcome{Kind: channels.Misconfigured, Reason: "PERMISSION_DENIED", Scope: channels.ScopeCredential}},
		{"old name of third party", 401, fcmErr("UNAUTHENTICATED", "APNS_AUTH_ERROR"), "", channels.Outcome{Kind: channels.Misconfigured, Reason: "APNS_AUTH_ERROR", Scope: channels.ScopePlatform}},
		{"internal", 500, fcmErr("INTERNAL", "INTERNAL"), "", channels.Outcome{Kind: channels.RetryAfter, Reason: "INTERNAL"}},
		{"gateway", 502, "<html>", "", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_502"}},
		{"unavailable", 503, fcmErr("UNAVAILABLE", "UNAVAILABLE"), "7", channels.Outcome{Kind: channels.RetryAfter, Reason: "UNAVAILABLE", RetryAfter: 7 * time.Second}},
		{"gateway timeout", 504, "", "", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_504", Ambiguous: true}},
		{"request timeout", 408, "", "", channels.Outcome{Kind: channels.RetryAfter, Reason: "http_408"}},
		{"redirect", 307, "", "", channels.Outcome{Kind: channels.Misconfigured, Reason: "http_307", Scope: channels.ScopeCredential}},
		{"too large", 413, "", "", channels.Outcome{Kind: channels.Rejected, Reason: "http_413"}},
		{"details of another shape", 400, `{"error":{"status":"INVALID_ARGUMENT","details":["x",7]}}`, "", channels.Outcome{Kind: channels.Rejected, Reason: "INVALID_ARGUMENT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			if c.after != "" {
				h.Set("Retry-After", c.after)
			}
			c.want.Status, c.want.Raw = c.status, c.body
			if got := classify(h2conn.Result{Status: c.status, Header: h, Body: []byte(c.body)}, now); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
	if got := classify(h2conn.Result{Status: 200, Body: []byte("<html>")}, now); got.Kind != channels.RetryAfter || !got.Ambiguous {
		t.Errorf("a 200 that is not FCM's: %+v", got)
	}
}

func FuzzParseError(f *testing.F) {
	f.Add([]byte(`{"error":{"status":"X","details":[{"@type":"a/google.rpc.BadRequest","fieldViolations":[{"field":"f"}]}]}}`))
	f.Add([]byte(`<html>`))
	f.Fuzz(func(_ *testing.T, b []byte) { parseError(b) })
}
