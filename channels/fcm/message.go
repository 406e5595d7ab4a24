package fcm

import (
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"firebase.google.com/go/v4/messaging"

	"github.com/footfall-engage/footfall/channels"
)

const (
	// maxPayload is FCM's limit for notification and data of a message to a
	// token, in bytes of UTF-8.
	maxPayload = 4096
	maxTTL     = 28 * 24 * time.Hour // longer ones are refused
	maxTag     = 64                  // ours; the same as APNs' for apns-collapse-id
)

// Keys that travel in data. Every key that begins with "footfall_" is ours.
const (
	keyMessageID  = "footfall_message_id"  // the delivery: the SDK's dedupe key
	keyCampaignID = "footfall_campaign_id" // absent when the message has none
	keyDeepLink   = "deep_link"            // absent when the message has none
)

// message maps a Message onto FCM's. The attempt id is both the tag, by which
// Android replaces what it shows, and the collapse key, by which FCM replaces
// what it stores for an unreachable phone (it keeps four keys per app and phone).
func (s *Sender) message(m channels.Message) (*messaging.Message, error) {
	now := s.opts.Now()
	switch {
	case m.Target.Token == "":
		return nil, &channels.MessageError{Code: channels.Missing, Field: "target.token", Msg: "FCM needs a registration token"}
	case m.AttemptID == "":
		return nil, &channels.MessageError{Code: channels.Missing, Field: "attempt_id", Msg: "without it a repeat could not replace"}
	case len(m.AttemptID) > maxTag:
		return nil, &channels.MessageError{Code: channels.TooLong, Field: "attempt_id", Msg: fmt.Sprintf("%d bytes, at most %d", len(m.AttemptID), maxTag)}
	case !m.ExpiresAt.IsZero() && !m.ExpiresAt.After(now):
		return nil, &channels.MessageError{Code: channels.Expired, Field: "expires_at", Msg: "it has passed"}
	}
	if m.ImageURL != "" {
		if u, err := url.Parse(m.ImageURL); err != nil || u.Host == "" {
			return nil, &channels.MessageError{Code: channels.Invalid, Field: "image_url", Msg: "must be an absolute URL"}
		}
	}
	for k := range m.Data {
		if reserved(k) {
			return nil, &channels.MessageError{Code: channels.Reserved, Field: "data." + k, Msg: "the key belongs to FCM or to Footfall"}
		}
	}
	data := make(map[string]string, len(m.Data)+3)
	maps.Copy(data, m.Data)
	for k, v := range map[string]string{keyMessageID: m.DeliveryID, keyCampaignID: m.CampaignID, keyDeepLink: m.DeepLink} {
		if v != "" {
			data[k] = v
		}
	}
	if err := checkSize(m, data); err != nil {
		return nil, err
	}

	android := &messaging.AndroidConfig{
		CollapseKey:  m.AttemptID,
		Priority:     "normal",
		Notification: &messaging.AndroidNotification{Tag: m.AttemptID, ChannelID: s.opts.ChannelID},
	}
	if m.HighPrio {
		android.Priority = "high"
		android.Notification.Priority = messaging.PriorityHigh
	}
	if !m.ExpiresAt.IsZero() {
		// Below a second it is 0: now or never.
		ttl := min(m.ExpiresAt.Sub(now).Truncate(time.Second), maxTTL)
		android.TTL = &ttl
	}
	return &messaging.Message{
		Token:        string(m.Target.Token),
		Notification: &messaging.Notification{Title: m.Title, Body: m.Body, ImageURL: m.ImageURL},
		Data:         data,
		Android:      android,
	}, nil
}

// reserved tells whether a data key may not be the caller's.
func reserved(k string) bool {
	switch k {
	case "from", "message_type", "collapse_key", "notification", keyDeepLink, "":
		return true
	}
	return strings.HasPrefix(k, "gcm") || strings.HasPrefix(k, "google") || strings.HasPrefix(k, "footfall_")
}

// checkSize refuses what FCM would, and names the field that takes most room.
func checkSize(m channels.Message, data map[string]string) error {
	total, longest, most := 0, "", 0
	add := func(field string, n int) {
		total += n
		if n > most || n == most && field < longest {
			longest, most = field, n
		}
	}
	add("title", len(m.Title))
	add("body", len(m.Body))
	add("image_url", len(m.ImageURL))
	for k, v := range data {
		field := "data." + k
		if k == keyDeepLink {
			field = k
		}
		add(field, len(k)+len(v))
	}
	if total <= maxPayload {
		return nil
	}
	return &channels.MessageError{
		Code: channels.TooLong, Field: longest,
		Msg: fmt.Sprintf("%d bytes of a message of %d, which may have %d", most, total, maxPayload),
	}
}
