package fcm

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"time"

	"firebase.google.com/go/v4/messaging"

	"github.com/footfall-engage/footfall/channels"
)

// Keys that travel in data, beside the message's own. sdkproto/README.md ("Push
// payload") tells the SDKs of them. Every key that begins with "footfall_" is ours.
const (
	keyMessageID  = "footfall_message_id"  // the delivery: the SDK's dedupe key
	keyCampaignID = "footfall_campaign_id" // absent when the message has none
	keyDeepLink   = "deep_link"            // absent when the message has none
	keyActions    = "footfall_actions"     // JSON array of {"id", "label", "deep_link"}; absent when the message has none
)

// message maps a checked Message onto the SDK's.
//
// The replace key is CollapseKey, else the attempt id: as collapse_key FCM replaces
// by it what it stores for an unreachable phone (it keeps four keys per app and
// phone), as tag Android replaces by it what it shows; apns-collapse-id and Web
// Push's Topic and tag are the same for the others.
func (s *Sender) message(m *channels.Message, now time.Time) *messaging.Message {
	msg := &messaging.Message{Token: string(m.Target.Token), Data: data(m)}
	if m.Label != "" {
		msg.FCMOptions = &messaging.FCMOptions{AnalyticsLabel: m.Label}
	}
	if !silent(m) {
		msg.Notification = &messaging.Notification{Title: m.Title, Body: m.Body, ImageURL: m.ImageURL}
	}
	ttl := ttlOf(m, now)
	switch m.Target.Platform {
	case platformAndroid:
		msg.Android = s.android(m, ttl)
	case platformIOS:
		msg.APNS = apple(m, now)
	case platformWeb:
		msg.Webpush = web(m, ttl)
	default:
		msg.Android, msg.APNS = s.android(m, ttl), apple(m, now)
	}
	return msg
}

// The platforms of a Target.
const (
	platformAndroid = "android"
	platformIOS     = "ios"
	platformWeb     = "web"
)

func silent(m *channels.Message) bool { return m.Kind == channels.Silent }

// replaceKey is by what a message replaces another.
func replaceKey(m *channels.Message) string {
	if m.CollapseKey != "" {
		return m.CollapseKey
	}
	return m.AttemptID
}

// ttlOf is how long FCM keeps a message for a phone that it cannot reach; nil means
// FCM's own four weeks. Below a second it is 0: now or never.
func ttlOf(m *channels.Message, now time.Time) *time.Duration {
	var ttl time.Duration
	switch {
	case m.NowOrNever:
	case m.ExpiresAt.IsZero():
		return nil
	default:
		ttl = min(m.ExpiresAt.Sub(now).Truncate(time.Second), maxTTL)
	}
	return &ttl
}

func data(m *channels.Message) map[string]string {
	d := make(map[string]string, len(m.Data)+4)
	maps.Copy(d, m.Data)
	for _, kv := range [...][2]string{{keyMessageID, m.DeliveryID}, {keyCampaignID, m.CampaignID}, {keyDeepLink, m.DeepLink}} {
		if kv[1] != "" {
			d[kv[0]] = kv[1]
		}
	}
	if len(m.Actions) > 0 && !silent(m) {
		d[keyActions] = actions(m.Actions)
	}
	return d
}

// actions is the value of keyActions.
func actions(as []channels.Action) string {
	type action struct {
		ID       string `json:"id"`
		Label    string `json:"label"`
		DeepLink string `json:"deep_link,omitempty"`
	}
	list := make([]action, len(as))
	for i, a := range as {
		list[i] = action(a)
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "" // strings can be marshalled
	}
	return string(b)
}

func (s *Sender) android(m *channels.Message, ttl *time.Duration) *messaging.AndroidConfig {
	key := replaceKey(m)
	a := &messaging.AndroidConfig{CollapseKey: key, Priority: "normal", TTL: ttl}
	if m.HighPrio {
		a.Priority = "high"
	}
	if silent(m) {
		return a
	}
	a.Notification = &messaging.AndroidNotification{Tag: key, ChannelID: m.Android.ChannelID, Sound: m.Sound}
	if a.Notification.ChannelID == "" {
		a.Notification.ChannelID = s.opts.ChannelID
	}
	if m.HighPrio {
		a.Notification.Priority = messaging.PriorityHigh
	}
	return a
}

// apple is what FCM passes on to APNs. Title and body come from the message's
// notification, unless there is a subtitle: an alert of one's own replaces it whole.
func apple(m *channels.Message, now time.Time) *messaging.APNSConfig {
	h := map[string]string{"apns-push-type": "alert", "apns-priority": "5", "apns-collapse-id": replaceKey(m)}
	switch {
	case m.NowOrNever:
		h["apns-expiration"] = "0"
	case !m.ExpiresAt.IsZero():
		// FCM refuses what is kept longer than it keeps itself.
		h["apns-expiration"] = strconv.FormatInt(min(m.ExpiresAt.Unix(), now.Add(maxTTL).Unix()), 10)
	}
	if silent(m) {
		h["apns-push-type"] = "background" // which must have priority 5
		return &messaging.APNSConfig{Headers: h, Payload: &messaging.APNSPayload{Aps: &messaging.Aps{ContentAvailable: true}}}
	}
	if m.HighPrio {
		h["apns-priority"] = "10"
	}
	aps := &messaging.Aps{
		Badge: m.Badge, Sound: m.Sound, Category: m.Apple.Category, ThreadID: m.Apple.ThreadID,
		MutableContent: m.Apple.MutableContent || m.ImageURL != "" || len(m.Actions) > 0, // the extension shows both
	}
	if m.Subtitle != "" {
		aps.Alert = &messaging.ApsAlert{Title: m.Title, SubTitle: m.Subtitle, Body: m.Body}
	}
	if m.Apple.Interruption != "" || m.Apple.Relevance != 0 {
		aps.CustomData = make(map[string]any, 2)
		if m.Apple.Interruption != "" {
			aps.CustomData["interruption-level"] = m.Apple.Interruption
		}
		if m.Apple.Relevance != 0 {
			aps.CustomData["relevance-score"] = m.Apple.Relevance
		}
	}
	if m.Apple.Interruption == critical {
		aps.CriticalSound = &messaging.CriticalSound{Critical: true, Name: m.Sound, Volume: m.Apple.CriticalVolume}
		aps.Sound = ""
		if aps.CriticalSound.Name == "" {
			aps.CriticalSound.Name = "default"
		}
		if aps.CriticalSound.Volume == 0 {
			aps.CriticalSound.Volume = 1
		}
	}
	return &messaging.APNSConfig{Headers: h, Payload: &messaging.APNSPayload{Aps: aps}}
}

// web is for browsers (RFC 8030).
func web(m *channels.Message, ttl *time.Duration) *messaging.WebpushConfig {
	h := map[string]string{"Urgency": "normal", "Topic": topic(replaceKey(m))}
	if m.HighPrio {
		h["Urgency"] = "high"
	}
	if ttl != nil {
		h["TTL"] = strconv.FormatInt(int64(*ttl/time.Second), 10)
	}
	w := &messaging.WebpushConfig{Headers: h}
	if silent(m) {
		return w
	}
	w.Notification = &messaging.WebpushNotification{Tag: replaceKey(m)}
	for _, a := range m.Actions {
		w.Notification.Actions = append(w.Notification.Actions, &messaging.WebpushNotificationAction{Action: a.ID, Title: a.Label})
	}
	if strings.HasPrefix(m.DeepLink, "https://") { // FCM takes no other
		w.FCMOptions = &messaging.WebpushFCMOptions{Link: m.DeepLink}
	}
	return w
}

// topic is a key as RFC 8030 §5.4 wants it: at most 32 characters of the URL-safe
// alphabet.
func topic(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}
