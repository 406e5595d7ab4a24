package apns

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/payload"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/internal/h2conn"
)

const (
	// maxPayload is Apple's limit for all that we send, in bytes of JSON; voip and
	// broadcasts, which we do not send, may have 5120.
	maxPayload    = 4096
	maxCollapseID = 64  // bytes
	maxTokenHex   = 400 // Live Activity tokens have been seen at 160; Apple sets no limit

	liveSuffix = ".push-type.liveactivity" // of the topic, behind the bundle id

	critical = string(payload.InterruptionLevelCritical)
)

// Keys beside "aps" in the payload; the package's documentation describes them.
// Every key that begins with "footfall_" is ours.
const (
	keyMessageID  = "footfall_message_id"
	keyCampaignID = "footfall_campaign_id"
	keyActions    = "footfall_actions"
	keyDeepLink   = "deep_link"
	keyImageURL   = "image_url"
)

func bad(code channels.MessageErrorCode, field, format string, args ...any) error {
	return &channels.MessageError{Code: code, Field: field, Msg: fmt.Sprintf(format, args...)}
}

// notification maps a Message onto Apple's.
func (s *Sender) notification(m channels.Message) (*apns2.Notification, error) {
	topic := m.Target.Topic
	if topic == "" {
		topic = s.opts.Topic
	}
	if err := s.checkEnvelope(m, topic); err != nil {
		return nil, err
	}
	n := &apns2.Notification{
		ApnsID:      apnsID(m.AttemptID),
		DeviceToken: string(m.Target.Token),
		Topic:       bundle(topic),
		Expiration:  m.ExpiresAt,
		Priority:    apns2.PriorityLow,
		PushType:    apns2.PushTypeAlert,
		CollapseID:  m.AttemptID,
	}
	if m.NowOrNever {
		n.Expiration = time.Unix(0, 0)
	}
	if m.HighPrio {
		n.Priority = apns2.PriorityHigh
	}
	if m.CollapseKey != "" {
		n.CollapseID = collapseID(m.CollapseKey)
	}
	switch m.Kind {
	case channels.Silent:
		n.PushType, n.Priority = apns2.PushTypeBackground, apns2.PriorityLow // 10 is an error
	case channels.LiveActivity:
		n.PushType, n.Topic = apns2.PushTypeLiveActivity, bundle(topic)+liveSuffix
		n.CollapseID = "" // of notifications; an activity goes by its timestamp
	}
	body, err := render(m)
	if err != nil {
		return nil, err
	}
	if len(body) > maxPayload {
		field, most := longest(m)
		return nil, bad(channels.TooLong, field, "%d bytes of a payload of %d, which may have %d", most, len(body), maxPayload)
	}
	n.Payload = body
	return n, nil
}

// checkEnvelope judges all but the content.
func (s *Sender) checkEnvelope(m channels.Message, topic string) error {
	token := string(m.Target.Token)
	switch {
	case m.DryRun:
		return bad(channels.Invalid, "dry_run", "APNs cannot judge a message without delivering it")
	case token == "":
		return bad(channels.Missing, "target.token", "APNs needs a device token")
	case !isHex(token) || len(token) > maxTokenHex:
		return bad(channels.Invalid, "target.token", "must be hexadecimal")
	case topic == "":
		return bad(channels.Missing, "target.topic", "neither the target nor the sender has one")
	case !headerSafe(topic):
		return bad(channels.Invalid, "target.topic", "must be visible ASCII")
	case m.AttemptID == "":
		return bad(channels.Missing, "attempt_id", "without it a repeat could not replace")
	case len(m.AttemptID) > maxCollapseID:
		return bad(channels.TooLong, "attempt_id", "%d bytes, at most %d", len(m.AttemptID), maxCollapseID)
	case !headerSafe(m.AttemptID):
		return bad(channels.Invalid, "attempt_id", "must be visible ASCII")
	case len(m.CollapseKey) > maxCollapseID:
		return bad(channels.TooLong, "collapse_key", "%d bytes, at most %d", len(m.CollapseKey), maxCollapseID)
	case !m.ExpiresAt.IsZero() && !m.ExpiresAt.After(s.opts.Now()):
		return bad(channels.Expired, "expires_at", "it has passed")
	}
	return nil
}

// collapseID is a collapse key as a header can carry it. Only equality counts, so
// that a key with a space or an accent goes as its hash.
func collapseID(key string) string {
	if headerSafe(key) {
		return key
	}
	h := sha256.Sum256([]byte(key))
	return hex.EncodeToString(h[:])
}

// bundle is a topic without the suffix of a push type.
func bundle(topic string) string { return strings.TrimSuffix(topic, liveSuffix) }

// background makes the payload of what wakes the app.
func background(m channels.Message) ([]byte, error) {
	return marshal(payload.NewPayload().ContentAvailable(), m)
}

// alert makes the payload of what is shown.
func alert(m channels.Message) ([]byte, error) {
	if err := checkApple(m); err != nil {
		return nil, err
	}
	if err := checkData(m); err != nil {
		return nil, err
	}
	if b, ok := encodeAlert(&m); ok {
		return b, nil
	}
	return renderAlert(m)
}

// renderAlert is alert of a message that was checked, by apns2's types.
func renderAlert(m channels.Message) ([]byte, error) {
	p := payload.NewPayload()
	if m.Title != "" || m.Subtitle != "" || m.Body != "" {
		p.AlertTitle(m.Title).AlertSubtitle(m.Subtitle).AlertBody(m.Body)
	}
	a := m.Apple
	switch {
	case a.Interruption == critical:
		name, volume := m.Sound, a.CriticalVolume
		if name == "" {
			name = "default"
		}
		if volume == 0 {
			volume = 1
		}
		p.SoundName(name).SoundVolume(float32(volume))
	case m.Sound != "":
		p.Sound(m.Sound)
	}
	if m.Badge != nil {
		p.Badge(*m.Badge)
	}
	if a.Category != "" {
		p.Category(a.Category)
	}
	if a.ThreadID != "" {
		p.ThreadID(a.ThreadID)
	}
	if a.Interruption != "" {
		p.InterruptionLevel(payload.EInterruptionLevel(a.Interruption))
	}
	if a.Relevance != 0 {
		p.RelevanceScore(float32(a.Relevance))
	}
	if a.MutableContent || m.ImageURL != "" || len(m.Actions) > 0 && a.Category == "" {
		p.MutableContent()
	}
	if m.ImageURL != "" {
		p.Custom(keyImageURL, m.ImageURL)
	}
	if err := addActions(p, m.Actions); err != nil {
		return nil, err
	}
	return marshal(p, m)
}

// checkApple judges the values that only a shown message has.
func checkApple(m channels.Message) error {
	a := m.Apple
	switch payload.EInterruptionLevel(a.Interruption) {
	case "", payload.InterruptionLevelPassive, payload.InterruptionLevelActive, payload.InterruptionLevelTimeSensitive, payload.InterruptionLevelCritical:
	default:
		return bad(channels.Invalid, "apple.interruption", "must be passive, active, time-sensitive or critical")
	}
	switch {
	case !between01(a.Relevance):
		return bad(channels.Invalid, "apple.relevance", "must be from 0 to 1")
	case !between01(a.CriticalVolume):
		return bad(channels.Invalid, "apple.critical_volume", "must be from 0 to 1")
	case a.CriticalVolume != 0 && a.Interruption != critical:
		return bad(channels.Invalid, "apple.critical_volume", "only with the interruption level critical")
	case m.Title == "" && m.Subtitle == "" && m.Body == "" && m.Badge == nil && m.Sound == "":
		return bad(channels.Missing, "body", "there is nothing to show")
	case m.Badge != nil && *m.Badge < 0:
		return bad(channels.Invalid, "badge", "must not be negative")
	case len(m.Actions) > channels.MaxActions:
		return bad(channels.Invalid, "actions", "%d, at most %d", len(m.Actions), channels.MaxActions)
	}
	return nil
}

// between01 is false for what is not a number, too.
func between01(x float64) bool { return x >= 0 && x <= 1 }

func addActions(p *payload.Payload, actions []channels.Action) error {
	if len(actions) == 0 {
		return nil
	}
	type button struct {
		ID       string `json:"id"`
		Label    string `json:"label"`
		DeepLink string `json:"deep_link,omitempty"`
	}
	list := make([]button, len(actions))
	seen := make(map[string]bool, len(actions))
	for i, a := range actions {
		field := fmt.Sprintf("actions.%d", i)
		switch {
		case a.ID == "":
			return bad(channels.Missing, field+".id", "a receipt needs it")
		case seen[a.ID]:
			return bad(channels.Invalid, field+".id", "another button has it")
		case a.Label == "":
			return bad(channels.Missing, field+".label", "a button needs a label")
		}
		seen[a.ID] = true
		list[i] = button(a)
	}
	b, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("render the buttons: %w", err)
	}
	p.Custom(keyActions, string(plain(b)))
	return nil
}

// checkData refuses keys that are not the app's.
func checkData(m channels.Message) error {
	for k := range m.Data {
		if k == "aps" || k == "" || k == keyDeepLink || k == keyImageURL || strings.HasPrefix(k, "footfall_") {
			return bad(channels.Reserved, "data."+k, "the key belongs to Apple or to Footfall")
		}
	}
	return nil
}

// marshal adds the keys of ours and the app's.
func marshal(p *payload.Payload, m channels.Message) ([]byte, error) {
	if err := checkData(m); err != nil {
		return nil, err
	}
	for k, v := range m.Data {
		p.Custom(k, v)
	}
	for _, own := range [...]struct{ key, value string }{{keyMessageID, m.DeliveryID}, {keyCampaignID, m.CampaignID}, {keyDeepLink, m.DeepLink}} {
		if own.value != "" {
			p.Custom(own.key, own.value)
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("render the payload: %w", err)
	}
	return plain(b), nil
}

// plain takes back the escaping of <, > and & that encoding/json does for web
// pages: each would cost six bytes of the 4096, and links are full of them. It
// works in place.
func plain(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		if b[i+1] == 'u' && i+6 <= len(b) {
			switch string(b[i+2 : i+6]) {
			case "003c":
				out, i = append(out, '<'), i+5
				continue
			case "003e":
				out, i = append(out, '>'), i+5
				continue
			case "0026":
				out, i = append(out, '&'), i+5
				continue
			}
		}
		out = append(out, b[i], b[i+1]) // both, so that an escaped backslash begins nothing
		i++
	}
	return out
}

// longest names the field that takes most room, and its size in bytes of UTF-8.
func longest(m channels.Message) (field string, most int) {
	add := func(f string, n int) {
		if n > most || n == most && f < field {
			field, most = f, n
		}
	}
	add("title", len(m.Title))
	add("subtitle", len(m.Subtitle))
	add("body", len(m.Body))
	add(keyDeepLink, len(m.DeepLink))
	add(keyImageURL, len(m.ImageURL))
	add("apple.category", len(m.Apple.Category))
	add("apple.thread_id", len(m.Apple.ThreadID))
	add("sound", len(m.Sound))
	for i, a := range m.Actions {
		add(fmt.Sprintf("actions.%d.label", i), len(a.Label))
		add(fmt.Sprintf("actions.%d.deep_link", i), len(a.DeepLink))
	}
	for k, v := range m.Data {
		add("data."+k, len(k)+len(v))
	}
	if m.Live != nil {
		add("live.state", len(m.Live.State))
		add("live.attributes", len(m.Live.Attributes))
	}
	return field, most
}

// header makes the request's headers.
func header(n *apns2.Notification, bearer string) []h2conn.Field {
	h := append(make([]h2conn.Field, 0, 9),
		h2conn.Field{Name: "authorization", Value: "bearer " + bearer},
		h2conn.Field{Name: "content-type", Value: "application/json"},
		h2conn.Field{Name: "user-agent", Value: "footfall"},
		h2conn.Field{Name: "apns-id", Value: n.ApnsID, Once: true},
		h2conn.Field{Name: "apns-topic", Value: n.Topic},
		h2conn.Field{Name: "apns-push-type", Value: string(n.PushType)},
		h2conn.Field{Name: "apns-priority", Value: strconv.Itoa(n.Priority)},
	)
	if n.CollapseID != "" {
		h = append(h, h2conn.Field{Name: "apns-collapse-id", Value: n.CollapseID, Once: true})
	}
	if !n.Expiration.IsZero() {
		h = append(h, h2conn.Field{Name: "apns-expiration", Value: strconv.FormatInt(n.Expiration.Unix(), 10), Once: true})
	}
	return h
}

// apnsID is a UUID (version 8, RFC 9562 §5.8) that is the same for every repeat
// of an attempt.
func apnsID(attemptID string) string {
	h := sha256.Sum256([]byte(attemptID))
	h[6] = h[6]&0x0f | 0x80
	h[8] = h[8]&0x3f | 0x80
	out := hex.AppendEncode(make([]byte, 0, 36), h[:4])
	for _, part := range [...][]byte{h[4:6], h[6:8], h[8:10], h[10:16]} {
		out = hex.AppendEncode(append(out, '-'), part)
	}
	return string(out)
}

func isHex(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s)%2 == 0
}

func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
