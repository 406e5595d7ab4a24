package fcm

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"firebase.google.com/go/v4/messaging"

	"github.com/footfall-engage/footfall/channels"
)

const (
	// maxPayload is FCM's limit for notification and data of a message to a
	// token, in bytes of UTF-8, and Apple's for the JSON of a payload.
	maxPayload = 4096
	maxTTL     = 28 * 24 * time.Hour // longer ones are refused
	maxKey     = 64                  // of ids and collapse keys: APNs' for apns-collapse-id
	maxLabel   = 50
	critical   = "critical" // interruption level
)

func bad(code channels.MessageErrorCode, field, format string, args ...any) error {
	return &channels.MessageError{Code: code, Field: field, Msg: fmt.Sprintf(format, args...)}
}

// check refuses what FCM would refuse, or what would not do what it says.
func check(m *channels.Message, now time.Time) error {
	switch {
	case m.Target.Token == "":
		return bad(channels.Missing, "target.token", "FCM needs a registration token or an installation id")
	case strings.ContainsFunc(string(m.Target.Token), func(r rune) bool { return r <= ' ' || r > '~' }):
		return bad(channels.Invalid, "target.token", "has a character that no token has")
	case m.AttemptID == "":
		return bad(channels.Missing, "attempt_id", "without it a repeat could not replace")
	case len(m.AttemptID) > maxKey:
		return bad(channels.TooLong, "attempt_id", "%d bytes, at most %d", len(m.AttemptID), maxKey)
	case len(m.CollapseKey) > maxKey:
		return bad(channels.TooLong, "collapse_key", "%d bytes, at most %d", len(m.CollapseKey), maxKey)
	case !m.ExpiresAt.IsZero() && !m.ExpiresAt.After(now):
		return bad(channels.Expired, "expires_at", "it has passed")
	case m.Label != "" && !validLabel(m.Label):
		return bad(channels.Invalid, "label", "1 to %d of a-z, A-Z, 0-9, - _ . ~ %%", maxLabel)
	}
	switch m.Kind {
	case "", channels.Notification, channels.Silent:
	case channels.LiveActivity:
		return bad(channels.Invalid, "kind", "a Live Activity goes through APNs")
	default:
		return bad(channels.Invalid, "kind", "%q is not a kind of message", m.Kind)
	}
	switch m.Target.Platform {
	case "", platformAndroid, platformIOS, platformWeb:
	default:
		return bad(channels.Invalid, "target.platform", "android, ios or web; is %q", m.Target.Platform)
	}
	if m.ImageURL != "" {
		if u, err := url.Parse(m.ImageURL); err != nil || u.Host == "" {
			return bad(channels.Invalid, "image_url", "must be an absolute URL")
		}
	}
	if err := checkActions(m.Actions); err != nil {
		return err
	}
	if m.Target.Platform == platformIOS || m.Target.Platform == "" {
		if err := checkApple(m); err != nil {
			return err
		}
	}
	return checkText(m)
}

func checkActions(as []channels.Action) error {
	if len(as) > channels.MaxActions {
		return bad(channels.Invalid, "actions", "%d, at most %d", len(as), channels.MaxActions)
	}
	for i, a := range as {
		field := fmt.Sprintf("actions[%d]", i)
		switch {
		case a.ID == "":
			return bad(channels.Missing, field+".id", "the receipt needs it")
		case a.Label == "":
			return bad(channels.Missing, field+".label", "a button needs one")
		}
		for _, before := range as[:i] {
			if before.ID == a.ID {
				return bad(channels.Invalid, field+".id", "another action has it")
			}
		}
	}
	return nil
}

func checkApple(m *channels.Message) error {
	a := &m.Apple
	switch a.Interruption {
	case "", "passive", "active", "time-sensitive", critical:
	default:
		return bad(channels.Invalid, "apple.interruption", "passive, active, time-sensitive or critical; is %q", a.Interruption)
	}
	switch {
	case !(a.Relevance >= 0 && a.Relevance <= 1):
		return bad(channels.Invalid, "apple.relevance", "0 to 1")
	case !(a.CriticalVolume >= 0 && a.CriticalVolume <= 1):
		return bad(channels.Invalid, "apple.critical_volume", "0 to 1")
	case a.CriticalVolume > 0 && a.Interruption != critical:
		return bad(channels.Invalid, "apple.critical_volume", "only of a critical alert")
	case m.Badge != nil && *m.Badge < 0:
		return bad(channels.Invalid, "badge", "must not be negative")
	}
	return nil
}

// checkText refuses what is no UTF-8 and keys that are not the caller's.
func checkText(m *channels.Message) error {
	for _, f := range [...]struct{ name, value string }{
		{"title", m.Title},
		{"subtitle", m.Subtitle},
		{"body", m.Body},
		{"deep_link", m.DeepLink},
		{"image_url", m.ImageURL},
		{"collapse_key", m.CollapseKey},
		{"sound", m.Sound},
		{"android.channel_id", m.Android.ChannelID},
		{"apple.category", m.Apple.Category},
		{"apple.thread_id", m.Apple.ThreadID},
	} {
		if !utf8.ValidString(f.value) {
			return bad(channels.Invalid, f.name, "is not UTF-8")
		}
	}
	for i, a := range m.Actions {
		if !utf8.ValidString(a.ID) || !utf8.ValidString(a.Label) || !utf8.ValidString(a.DeepLink) {
			return bad(channels.Invalid, fmt.Sprintf("actions[%d]", i), "is not UTF-8")
		}
	}
	for k, v := range m.Data {
		switch {
		case reserved(k):
			return bad(channels.Reserved, "data."+k, "the key belongs to FCM, to Apple or to Footfall")
		case !utf8.ValidString(k) || !utf8.ValidString(v):
			return bad(channels.Invalid, "data."+strings.ToValidUTF8(k, "?"), "is not UTF-8")
		}
	}
	return nil
}

// validLabel tells whether FCM takes the analytics label.
func validLabel(s string) bool {
	if len(s) > maxLabel {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-' || c == '_' || c == '.' || c == '~' || c == '%':
		default:
			return false
		}
	}
	return true
}

// reserved tells whether a data key may not be the caller's.
func reserved(k string) bool {
	switch k {
	case "from", "message_type", "collapse_key", "notification", "aps", keyDeepLink, "":
		return true
	}
	return strings.HasPrefix(k, "gcm") || strings.HasPrefix(k, "google") || strings.HasPrefix(k, "footfall_")
}

// sizes adds up a payload and remembers what takes most room of it.
type sizes struct {
	total, most int
	longest     string
}

func (s *sizes) add(field string, n int) {
	s.total += n
	if n > s.most || n == s.most && field < s.longest {
		s.longest, s.most = field, n
	}
}

// checkSize refuses a message that FCM, or for a phone of Apple's APNs, would find
// too large, and names the field that takes most room. What FCM counts is not
// documented to the byte: notification and data are, and we count all of the
// notification. Of Apple's payload FCM's own keys are not known beforehand; they
// come on top.
func checkSize(m *channels.Message, msg *messaging.Message) error {
	s := sizeOf(m, msg)
	if s.total <= maxPayload {
		return nil
	}
	return bad(channels.TooLong, s.longest, "%d bytes of a message of %d, which may have %d", s.most, s.total, maxPayload)
}

// sizeOf adds up what checkSize judges.
func sizeOf(m *channels.Message, msg *messaging.Message) sizes {
	var s sizes
	if n := msg.Notification; n != nil {
		s.add("title", len(n.Title))
		s.add("body", len(n.Body))
		s.add("image_url", len(n.ImageURL))
	}
	if a := msg.Android; a != nil && a.Notification != nil {
		s.add("sound", len(a.Notification.Sound))
		s.add("android.channel_id", len(a.Notification.ChannelID))
		s.add("collapse_key", len(a.Notification.Tag))
	}
	for k, v := range msg.Data {
		s.add(fieldOf(k), len(k)+len(v))
	}
	if m.Target.Platform == platformIOS && s.total <= maxPayload {
		s.add("subtitle", len(m.Subtitle))
		s.total = applePayload(msg)
	}
	return s
}

// PayloadSize is how much room a message would take of what FCM allows, counted as
// Send does before it refuses one that is too large. Its target need only have the
// platform.
func PayloadSize(m channels.Message) channels.Size {
	s := sizeOf(&m, new(Sender).message(&m, m.ExpiresAt))
	return channels.Size{Bytes: s.total, Limit: maxPayload, Field: s.longest, FieldBytes: s.most}
}

// fieldOf is the Message's name of what travels under a key of data.
func fieldOf(key string) string {
	switch key {
	case keyDeepLink:
		return "deep_link"
	case keyActions:
		return "actions"
	case keyMessageID:
		return "delivery_id"
	case keyCampaignID:
		return "campaign_id"
	}
	return "data." + key
}
