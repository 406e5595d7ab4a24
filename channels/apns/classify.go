package apns

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sideshow/apns2"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/internal/h2conn"
)

const (
	// applePause is Apple's advice for a 500 or 503 of APNs itself.
	applePause = 15 * time.Minute
	// tokenPause is how long a provider token must not be replaced.
	tokenPause = minAge
)

// Reasons that apns2 does not know.
const (
	reasonUnrelatedKeyID      = "UnrelatedKeyIdInToken"
	reasonBadEnvironmentKeyID = "BadEnvironmentKeyIdInToken"
	reasonBadEnvironmentKey   = "BadEnvironmentKeyInToken" // what Apple really says
	// reasonBodyLost: a refusal whose reason did not arrive.
	reasonBodyLost = "body_lost"
)

// answer is the body of a refusal.
type answer struct {
	Reason    string `json:"reason"`
	Timestamp int64  `json:"timestamp"` // with 410: ms since 1970, since when the token is known to be dead
}

// parseAnswer reads a body; anything but Apple's JSON gives the zero value.
func parseAnswer(body []byte) answer {
	var a answer
	if json.Unmarshal(body, &a) != nil {
		return answer{}
	}
	return a
}

// kinds says what each of Apple's reasons means. Reasons that Apple documents
// but for broadcasts are not here: we send none.
var kinds = map[string]channels.Kind{
	apns2.ReasonBadDeviceToken:         channels.TokenGone,
	apns2.ReasonDeviceTokenNotForTopic: channels.TokenGone,
	apns2.ReasonUnregistered:           channels.TokenGone,
	apns2.ReasonExpiredToken:           channels.TokenGone,

	apns2.ReasonBadCollapseID:      channels.Rejected,
	apns2.ReasonBadExpirationDate:  channels.Rejected,
	apns2.ReasonBadMessageID:       channels.Rejected,
	apns2.ReasonBadPriority:        channels.Rejected,
	apns2.ReasonBadTopic:           channels.Rejected,
	apns2.ReasonDuplicateHeaders:   channels.Rejected,
	apns2.ReasonInvalidPushType:    channels.Rejected,
	apns2.ReasonMissingDeviceToken: channels.Rejected,
	apns2.ReasonMissingTopic:       channels.Rejected,
	apns2.ReasonPayloadEmpty:       channels.Rejected,
	apns2.ReasonBadPath:            channels.Rejected,
	apns2.ReasonMethodNotAllowed:   channels.Rejected,
	apns2.ReasonPayloadTooLarge:    channels.Rejected,

	apns2.ReasonTopicDisallowed:           channels.Misconfigured,
	apns2.ReasonBadCertificate:            channels.Misconfigured,
	apns2.ReasonBadCertificateEnvironment: channels.Misconfigured,
	apns2.ReasonForbidden:                 channels.Misconfigured,
	apns2.ReasonInvalidProviderToken:      channels.Misconfigured,
	apns2.ReasonMissingProviderToken:      channels.Misconfigured,
	reasonUnrelatedKeyID:                  channels.Misconfigured,
	reasonBadEnvironmentKeyID:             channels.Misconfigured,
	reasonBadEnvironmentKey:               channels.Misconfigured,
	// Said of a token too young to be renewed: a clock is wrong.
	apns2.ReasonExpiredProviderToken: channels.Misconfigured,

	apns2.ReasonTooManyProviderTokenUpdates: channels.RetryAfter,
	apns2.ReasonTooManyRequests:             channels.RetryAfter,
	apns2.ReasonInternalServerError:         channels.RetryAfter,
	apns2.ReasonServiceUnavailable:          channels.RetryAfter,
	apns2.ReasonShutdown:                    channels.RetryAfter,
	apns2.ReasonIdleTimeout:                 channels.RetryAfter,
}

// classify maps an answer to an Outcome.
func classify(r h2conn.Result, now time.Time) channels.Outcome {
	out := channels.Outcome{Status: r.Status, Raw: raw(r.Body)}
	if r.Status == http.StatusOK {
		// Also when the body, which is empty, did not end: the push is taken.
		out.Kind, out.ProviderID = channels.Accepted, r.Header.Get("Apns-Id")
		return out
	}
	a := parseAnswer(r.Body)
	out.Reason = a.Reason
	kind, known := kinds[a.Reason]
	switch {
	case known:
	case a.Reason == "" && r.Cut:
		// Apple refused it and would have said why: nothing was delivered.
		kind, out.Reason = channels.RetryAfter, reasonBodyLost
	default:
		kind = byStatus(r.Status, a.Reason != "")
		if a.Reason == "" {
			out.Reason = "http_" + strconv.Itoa(r.Status)
		}
	}
	out.Kind = kind
	switch kind {
	case channels.TokenGone:
		if a.Timestamp > 0 {
			out.GoneSince = time.UnixMilli(a.Timestamp).UTC()
		}
	case channels.Misconfigured:
		out.Scope = channels.ScopeCredential
	case channels.RetryAfter:
		wait, given := h2conn.RetryAfter(r.Header, now)
		if !given {
			wait = pause(r.Status, a.Reason)
		}
		out.RetryAfter, out.Scope = wait, scopes[a.Reason]
		// A gateway that gave up waiting does not know what became of it.
		out.Ambiguous = r.Status == http.StatusGatewayTimeout
	}
	return out
}

// scopes says whom a RetryAfter concerns beside the message. The others may be the
// fault of one of Apple's machines: whoever sends judges by how many there are.
var scopes = map[string]channels.Scope{
	apns2.ReasonTooManyRequests:             channels.ScopeDevice,
	apns2.ReasonTooManyProviderTokenUpdates: channels.ScopeCredential,
}

// raw is an answer for people to read.
func raw(body []byte) string {
	return strings.ToValidUTF8(string(body[:min(len(body), channels.MaxRaw)]), "")
}

// pause is how long to wait when Apple gives no Retry-After. 0 leaves it to the
// queue: TooManyRequests concerns one phone, and a connection's end nobody.
func pause(status int, reason string) time.Duration {
	switch reason {
	case apns2.ReasonTooManyProviderTokenUpdates:
		return tokenPause
	case apns2.ReasonInternalServerError, apns2.ReasonServiceUnavailable:
		return applePause
	case "":
		return 0 // no answer of Apple's: a proxy between us, or a part of it
	}
	if status >= 500 && reason != apns2.ReasonShutdown {
		return applePause
	}
	return 0
}

// byStatus judges reasons that we do not know, and answers that are not Apple's.
func byStatus(status int, apple bool) channels.Kind {
	switch {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return channels.RetryAfter
	case status == http.StatusGone && apple:
		return channels.TokenGone
	case status == http.StatusForbidden, status == http.StatusUnauthorized, status == http.StatusProxyAuthRequired, status >= 300 && status < 400:
		return channels.Misconfigured
	}
	return channels.Rejected
}
