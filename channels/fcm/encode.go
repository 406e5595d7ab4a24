package fcm

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"firebase.google.com/go/v4/messaging"
)

// encode is the body of a send request. It writes what message makes, and gives
// what the SDK's own marshalling gives (a test holds the two against each other)
// at a tenth of its cost: that one marshals and compacts every level again. fid
// sends to an installation id, for which the SDK has no field yet.
func encode(m *messaging.Message, fid, dryRun bool) []byte {
	w := writer{make([]byte, 0, 1024)}
	w.open("")
	if dryRun {
		w.yes("validate_only")
	}
	w.open("message")
	if fid {
		w.str("fid", m.Token)
	} else {
		w.str("token", m.Token)
	}
	w.strings("data", m.Data)
	if n := m.Notification; n != nil {
		w.open("notification")
		w.str("title", n.Title)
		w.str("body", n.Body)
		w.str("image", n.ImageURL)
		w.close()
	}
	if m.Android != nil {
		w.android(m.Android)
	}
	if m.APNS != nil {
		w.open("apns")
		w.strings("headers", m.APNS.Headers)
		w.open("payload")
		w.aps(m.APNS.Payload.Aps)
		w.close()
		w.close()
	}
	if m.Webpush != nil {
		w.webpush(m.Webpush)
	}
	if m.FCMOptions != nil {
		w.open("fcm_options")
		w.str("analytics_label", m.FCMOptions.AnalyticsLabel)
		w.close()
	}
	w.close()
	w.close()
	return w.b
}

// applePayload is how long the JSON is that FCM makes for Apple of a message, in
// bytes, without the keys that FCM adds.
func applePayload(m *messaging.Message) int {
	aps := *m.APNS.Payload.Aps
	if aps.Alert == nil && m.Notification != nil {
		aps.Alert = &messaging.ApsAlert{Title: m.Notification.Title, Body: m.Notification.Body}
	}
	w := writer{make([]byte, 0, 1024)}
	w.open("")
	w.aps(&aps)
	if m.Notification != nil && m.Notification.ImageURL != "" {
		w.open("fcm_options")
		w.str("image", m.Notification.ImageURL)
		w.close()
	}
	for k, v := range m.Data {
		w.key(k)
		w.quote(v)
	}
	w.close()
	return len(w.b)
}

// writer writes JSON. Empty strings and maps are left out, as the SDK does.
type writer struct{ b []byte }

func (w *writer) key(k string) {
	if n := len(w.b); n > 0 && w.b[n-1] != '{' && w.b[n-1] != '[' {
		w.b = append(w.b, ',')
	}
	if k != "" {
		w.quote(k)
		w.b = append(w.b, ':')
	}
}

// open begins an object, under a key unless that is empty.
func (w *writer) open(k string) { w.key(k); w.b = append(w.b, '{') }
func (w *writer) close()        { w.b = append(w.b, '}') }

func (w *writer) str(k, v string) {
	if v != "" {
		w.key(k)
		w.quote(v)
	}
}

func (w *writer) yes(k string) { w.key(k); w.b = append(w.b, "true"...) }

func (w *writer) number(k string, v int64) {
	w.key(k)
	w.b = strconv.AppendInt(w.b, v, 10)
}

// any is for the few values of other types.
func (w *writer) any(k string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return // strings and finite numbers only
	}
	w.key(k)
	w.b = append(w.b, b...)
}

// strings writes a map in the order of its keys, so that the same message is the
// same bytes.
func (w *writer) strings(k string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	w.open(k)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		w.key(name)
		w.quote(m[name])
	}
	w.close()
}

// quote writes a string. What is not UTF-8 becomes U+FFFD, as in encoding/json.
func (w *writer) quote(s string) {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	w.b = append(w.b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			w.b = append(w.b, '\\', c)
		case c < ' ':
			const hex = "0123456789abcdef"
			w.b = append(w.b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			w.b = append(w.b, c)
		}
	}
	w.b = append(w.b, '"')
}

func (w *writer) android(a *messaging.AndroidConfig) {
	w.open("android")
	if a.TTL != nil {
		w.str("ttl", strconv.FormatInt(int64(*a.TTL/time.Second), 10)+"s")
	}
	w.str("collapse_key", a.CollapseKey)
	w.str("priority", a.Priority)
	if n := a.Notification; n != nil {
		w.open("notification")
		if n.Priority == messaging.PriorityHigh {
			w.str("notification_priority", "PRIORITY_HIGH")
		}
		w.str("sound", n.Sound)
		w.str("tag", n.Tag)
		w.str("channel_id", n.ChannelID)
		w.close()
	}
	w.close()
}

func (w *writer) aps(a *messaging.Aps) {
	w.open("aps")
	if a.Alert != nil {
		w.open("alert")
		w.str("title", a.Alert.Title)
		w.str("subtitle", a.Alert.SubTitle)
		w.str("body", a.Alert.Body)
		w.close()
	}
	if a.ContentAvailable {
		w.number("content-available", 1)
	}
	if a.MutableContent {
		w.number("mutable-content", 1)
	}
	if a.Badge != nil {
		w.number("badge", int64(*a.Badge))
	}
	if a.CriticalSound != nil {
		w.any("sound", a.CriticalSound)
	} else {
		w.str("sound", a.Sound)
	}
	w.str("category", a.Category)
	w.str("thread-id", a.ThreadID)
	for _, k := range slices.Sorted(maps.Keys(a.CustomData)) {
		w.any(k, a.CustomData[k])
	}
	w.close()
}

func (w *writer) webpush(p *messaging.WebpushConfig) {
	w.open("webpush")
	w.strings("headers", p.Headers)
	if n := p.Notification; n != nil {
		w.open("notification")
		if len(n.Actions) > 0 {
			w.any("actions", n.Actions)
		}
		w.str("tag", n.Tag)
		w.close()
	}
	if p.FCMOptions != nil {
		w.open("fcm_options")
		w.str("link", p.FCMOptions.Link)
		w.close()
	}
	w.close()
}
