package apns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/internal/h2conn"
)

func TestClassify(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status int
		reason string
		want   channels.Kind
		wait   time.Duration
	}{
		{400, "BadDeviceToken", channels.TokenGone, 0},
		{400, "DeviceTokenNotForTopic", channels.TokenGone, 0},
		{410, "Unregistered", channels.TokenGone, 0},
		{410, "ExpiredToken", channels.TokenGone, 0},
		{400, "BadCollapseId", channels.Rejected, 0},
		{400, "BadExpirationDate", channels.Rejected, 0},
		{400, "BadMessageId", channels.Rejected, 0},
		{400, "BadPriority", channels.Rejected, 0},
		{400, "BadTopic", channels.Rejected, 0},
		{400, "DuplicateHeaders", channels.Rejected, 0},
		{400, "InvalidPushType", channels.Rejected, 0},
		{400, "MissingDeviceToken", channels.Rejected, 0},
		{400, "MissingTopic", channels.Rejected, 0},
		{400, "PayloadEmpty", channels.Rejected, 0},
		{404, "BadPath", channels.Rejected, 0},
		{405, "MethodNotAllowed", channels.Rejected, 0},
		{413, "PayloadTooLarge", channels.Rejected, 0},
		{400, "TopicDisallowed", channels.Misconfigured, 0},
		{403, "BadCertificate", channels.Misconfigured, 0},
		{403, "BadCertificateEnvironment", channels.Misconfigured, 0},
		{403, "Forbidden", channels.Misconfigured, 0},
		{403, "InvalidProviderToken", channels.Misconfigured, 0},
		{403, "MissingProviderToken", channels.Misconfigured, 0},
		{403, "UnrelatedKeyIdInToken", channels.Misconfigured, 0},
		{403, "BadEnvironmentKeyIdInToken", channels.Misconfigured, 0},
		{403, "BadEnvironmentKeyInToken", channels.Misconfigured, 0},
		{403, "ExpiredProviderToken", channels.Misconfigured, 0},
		{400, "IdleTimeout", channels.RetryAfter, 0},
		{503, "Shutdown", channels.RetryAfter, 0},
		{429, "TooManyProviderTokenUpdates", channels.RetryAfter, 20 * time.Minute},
		{429, "TooManyRequests", channels.RetryAfter, 0},
		{500, "InternalServerError", channels.RetryAfter, 15 * time.Minute},
		{503, "ServiceUnavailable", channels.RetryAfter, 15 * time.Minute},
		{503, "SomethingNew", channels.RetryAfter, 15 * time.Minute},
		{400, "SomethingNew", channels.Rejected, 0},
		{403, "SomethingNew", channels.Misconfigured, 0},
		{410, "SomethingNew", channels.TokenGone, 0},
	} {
		got := classify(h2conn.Result{Status: c.status, Body: []byte(`{"reason":"` + c.reason + `"}`)}, now)
		want := channels.Outcome{Kind: c.want, Status: c.status, Reason: c.reason, RetryAfter: c.wait, Raw: `{"reason":"` + c.reason + `"}`}
		switch {
		case c.want == channels.Misconfigured, c.reason == "TooManyProviderTokenUpdates":
			want.Scope = channels.ScopeCredential
		case c.reason == "TooManyRequests":
			want.Scope = channels.ScopeDevice
		}
		if got != want {
			t.Errorf("%d %s\ngot  %+v\nwant %+v", c.status, c.reason, got, want)
		}
	}
}

func TestAnswersThatAreNotApplesKeepTheirStatus(t *testing.T) {
	for status, want := range map[int]channels.Kind{
		502: channels.RetryAfter, 504: channels.RetryAfter, 407: channels.Misconfigured,
		410: channels.Rejected, // a proxy's 410 says nothing about a token
		400: channels.Rejected, 429: channels.RetryAfter,
	} {
		for _, body := range []string{"<html>", ""} {
			got := classify(h2conn.Result{Status: status, Body: []byte(body)}, time.Now())
			if got.Kind != want || got.Status != status || got.Ambiguous != (status == 504) || got.Raw != body || got.Reason != fmt.Sprintf("http_%d", status) {
				t.Errorf("%d: %+v", status, got)
			}
		}
	}
}

func TestARefusalWhoseReasonIsLostIsToBeRepeated(t *testing.T) {
	for _, body := range []string{"", `{"reason":"Unregi`} {
		got := classify(h2conn.Result{Status: 410, Body: []byte(body), Cut: true}, time.Now())
		want := channels.Outcome{Kind: channels.RetryAfter, Status: 410, Reason: "body_lost", Raw: body}
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	if got := classify(h2conn.Result{Status: 200, Cut: true}, time.Now()); got.Kind != channels.Accepted {
		t.Error(got)
	}
}

func TestRawAnswerIsBoundedText(t *testing.T) {
	got := classify(h2conn.Result{Status: 502, Body: append(bytes.Repeat([]byte("x"), channels.MaxRaw-1), "é"...)}, time.Now())
	if len(got.Raw) != channels.MaxRaw-1 {
		t.Errorf("%d bytes", len(got.Raw))
	}
}

func TestPlainTakesBackWhatJSONEscapesForWebPages(t *testing.T) {
	for _, in := range []string{"a<b>&c", `\u003c`, `\`, `"<"`, "\u2028", `\\u0026<`, "\x01", ""} {
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out string
		p := plain(b)
		if err := json.Unmarshal(p, &out); err != nil || out != in || bytes.ContainsAny([]byte(in), "<>&") && !bytes.ContainsAny(p, "<>&") {
			t.Errorf("%q: %s %v", in, p, err)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add(`\u003c<`)
	f.Fuzz(func(t *testing.T, in string) {
		b, err := json.Marshal(in)
		if err != nil {
			t.Skip("not a string that JSON can hold")
		}
		var want, got string
		if json.Unmarshal(b, &want) != nil || json.Unmarshal(plain(b), &got) != nil || got != want {
			t.Errorf("%q: %q", in, got)
		}
	})
}

func TestRetryAfterAndTimestampAreRead(t *testing.T) {
	h := http.Header{"Retry-After": {"9"}}
	if got := classify(h2conn.Result{Status: 503, Header: h, Body: []byte(`{"reason":"ServiceUnavailable"}`)}, time.Now()); got.RetryAfter != 9*time.Second {
		t.Error(got)
	}
	got := classify(h2conn.Result{Status: 410, Body: []byte(`{"reason":"Unregistered","timestamp":1762171200123}`)}, time.Now())
	if !got.GoneSince.Equal(time.UnixMilli(1762171200123)) {
		t.Error(got.GoneSince)
	}
}

// TestEveryListedReasonIsMapped runs where the shared list of Apple's reasons is
// at hand.
func TestEveryListedReasonIsMapped(t *testing.T) {
	b, err := os.ReadFile("../../../shared/data/push-errors/apns_reasons.json")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the shared list is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Reason string }
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if _, ok := kinds[r.Reason]; !ok {
			t.Errorf("%s has no outcome", r.Reason)
		}
	}
}

func TestAPNsIDIsAUUIDOfTheAttempt(t *testing.T) {
	a, b := apnsID("attempt-1"), apnsID("attempt-2")
	if a == b || a != apnsID("attempt-1") {
		t.Error(a, b)
	}
	if len(a) != 36 || a[14] != '8' || a[8] != '-' || a[23] != '-' {
		t.Error(a)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"reason":"Unregistered","timestamp":1}`))
	f.Add([]byte(`<html>`))
	f.Fuzz(func(_ *testing.T, b []byte) { parseAnswer(b) })
}
