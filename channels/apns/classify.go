package apns

import (
	"encoding/json"
	"net/http"
	"strconv"
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
	"UnrelatedKeyIdInToken":               channels.Misconfigured,
	"BadEnvironmentKeyIdInToken":          channels.Misconfigured,
	"BadEnvironmentKeyInToken":            channels.Misconfigured, // what Apple really says
	// Said of a token too young to be renewed: a clock is wrong.
	apns2.ReasonExpiredProviderToken: channels.Misconfigured,

	apns2.ReasonTooManyProviderTokenUpdates: channels.RetryAfter,
	apns2.ReasonTooManyRequests:             channels.RetryAfter,
	apns2.ReasonInternalServerError:         channels.RetryAfter,
	apns2.ReasonServiceUnavailable:          channels.RetryAfter,
	apns2.ReasonShutdown:                    channels.RetryAfter,
	"IdleTimeout":                           channels.RetryAfter,
}

// classify maps an answer to an Outcome.
func classify(r h2conn.Result, now time.Time) channels.Outcome {
	out := channels.Outcome{Status: r.Status}
	if r.Status == http.StatusOK {
		out.Kind, out.ProviderID = channels.Accepted, r.Header.Get("Apns-Id")
		return out
	}
	a := parseAnswer(r.Body)
	out.Reason = a.Reason
	kind, known := kinds[a.Reason]
	if !known {
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
	case channels.RetryAfter:
		wait, given := h2conn.RetryAfter(r.Header, now)
		if !given {
			wait = pause(r.Status, a.Reason)
		}
		out.RetryAfter = wait
		// A gateway that gave up waiting does not know what became of it.
		out.Ambiguous = r.Status == http.StatusGatewayTimeout
	}
	return out
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
		return 0 // no answer of Apple's: a proxy between us
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
