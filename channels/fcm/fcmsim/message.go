package fcmsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// sendRequest is the body of messages:send
// (https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages).
type sendRequest struct {
	ValidateOnly bool    `json:"validate_only"`
	Message      message `json:"message"`
}

type message struct {
	Name         string            `json:"name"` // output only; taken and ignored
	Token        string            `json:"token"`
	FID          string            `json:"fid"`
	Topic        string            `json:"topic"`
	Condition    string            `json:"condition"`
	Data         map[string]string `json:"data"`
	Notification *notification     `json:"notification"`
	Android      *android          `json:"android"`
	APNS         *apns             `json:"apns"`
	Webpush      *webpush          `json:"webpush"`
	FCMOptions   *options          `json:"fcm_options"`
}

type notification struct {
	Title string `json:"title"`
	Body  string `json:"body"`
	Image string `json:"image"`
}

type options struct {
	AnalyticsLabel string `json:"analytics_label"`
	Image          string `json:"image"` // apns only
	Link           string `json:"link"`  // webpush only
}

type android struct {
	CollapseKey            string               `json:"collapse_key"`
	Priority               string               `json:"priority"`
	TTL                    string               `json:"ttl"`
	RestrictedPackageName  string               `json:"restricted_package_name"`
	Data                   map[string]string    `json:"data"`
	Notification           *androidNotification `json:"notification"`
	FCMOptions             *options             `json:"fcm_options"`
	DirectBootOK           bool                 `json:"direct_boot_ok"`
	BandwidthConstrainedOK bool                 `json:"bandwidth_constrained_ok"`
	RestrictedSatelliteOK  bool                 `json:"restricted_satellite_ok"`
}

type androidNotification struct {
	Title                 string          `json:"title"`
	Body                  string          `json:"body"`
	Icon                  string          `json:"icon"`
	Color                 string          `json:"color"`
	Sound                 string          `json:"sound"`
	Tag                   string          `json:"tag"`
	ClickAction           string          `json:"click_action"`
	BodyLocKey            string          `json:"body_loc_key"`
	BodyLocArgs           []string        `json:"body_loc_args"`
	TitleLocKey           string          `json:"title_loc_key"`
	TitleLocArgs          []string        `json:"title_loc_args"`
	ChannelID             string          `json:"channel_id"`
	Ticker                string          `json:"ticker"`
	Sticky                bool            `json:"sticky"`
	EventTime             string          `json:"event_time"`
	LocalOnly             bool            `json:"local_only"`
	Priority              string          `json:"notification_priority"`
	DefaultSound          bool            `json:"default_sound"`
	DefaultVibrateTimings bool            `json:"default_vibrate_timings"`
	DefaultLightSettings  bool            `json:"default_light_settings"`
	VibrateTimings        []string        `json:"vibrate_timings"`
	Visibility            string          `json:"visibility"`
	NotificationCount     *int            `json:"notification_count"`
	LightSettings         json.RawMessage `json:"light_settings"`
	Image                 string          `json:"image"`
	Proxy                 string          `json:"proxy"`
	BypassProxy           bool            `json:"bypass_proxy_notification"`
}

type apns struct {
	Headers           map[string]string          `json:"headers"`
	Payload           map[string]json.RawMessage `json:"payload"`
	FCMOptions        *options                   `json:"fcm_options"`
	LiveActivityToken string                     `json:"live_activity_token"`
}

// header looks up a header in whatever case it was written.
func (a *apns) header(name string) string { return headerOf(a.Headers, name) }

func headerOf(h map[string]string, name string) string {
	if v, ok := h[name]; ok {
		return v
	}
	for k, v := range h {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// aps is what the checks read of Apple's dictionary.
type aps struct {
	Alert            json.RawMessage `json:"alert"`
	Badge            json.RawMessage `json:"badge"`
	Sound            json.RawMessage `json:"sound"`
	ContentAvailable int             `json:"content-available"`
	Event            string          `json:"event"`
	Timestamp        json.Number     `json:"timestamp"`
	ContentState     json.RawMessage `json:"content-state"`
	AttributesType   string          `json:"attributes-type"`
}

type webpush struct {
	Headers      map[string]string          `json:"headers"`
	Data         map[string]string          `json:"data"`
	Notification map[string]json.RawMessage `json:"notification"`
	FCMOptions   *options                   `json:"fcm_options"`
}

// parse reads a send request. The request is filled as far as it could be read
// also when it is refused.
func parse(body []byte) (req sendRequest, f fault, ok bool) {
	if !utf8.Valid(body) {
		return req, malformed("Invalid JSON payload received. Invalid UTF-8.", ""), false
	}
	err := decode(body, &req)
	if name, unknown := unknownName(err); unknown {
		// The API takes lowerCamelCase names too: other SDKs write them.
		if snake, changed := snakeNames(body); changed {
			req = sendRequest{}
			err = decode(snake, &req)
			name, unknown = unknownName(err)
		}
		if unknown {
			return req, malformed(`Invalid JSON payload received. Unknown name "`+name+`" at 'message': Cannot find field.`, "message"), false
		}
	}
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		return req, malformed("Invalid value at '"+wrong.Field+"' (TYPE_"+strings.ToUpper(wrong.Type.Kind().String())+"), "+wrong.Value, wrong.Field), false
	case err != nil:
		return req, malformed("Invalid JSON payload received. Unexpected token.", ""), false
	}
	f, ok = req.Message.check()
	return req, f, ok
}

func decode(body []byte, req *sendRequest) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(req); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// unknownName is the field of encoding/json's error for an unknown one, which has no
// type.
func unknownName(err error) (string, bool) {
	if err == nil {
		return "", false
	}
	name, ok := strings.CutPrefix(err.Error(), "json: unknown field ")
	return strings.Trim(name, `"`), ok
}

// snakeNames rewrites the names of a request, leaving alone what holds names of the
// caller's own.
func snakeNames(body []byte) ([]byte, bool) {
	var doc any
	if json.Unmarshal(body, &doc) != nil {
		return nil, false
	}
	changed := false
	var walk func(v any) any
	walk = func(v any) any {
		m, ok := v.(map[string]any)
		if !ok {
			return v
		}
		out := make(map[string]any, len(m))
		for k, v := range m {
			name := snake(k)
			changed = changed || name != k
			switch name {
			case "data", "headers", "payload":
			default:
				v = walk(v)
			}
			out[name] = v
		}
		return out
	}
	b, err := json.Marshal(walk(doc))
	return b, err == nil && changed
}

func snake(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// priority tells whether Android shall wake up for it.
func (m *message) high() bool {
	return m.Android != nil && strings.EqualFold(m.Android.Priority, "high")
}

// ttl is how long the message is kept; -1 when it does not say.
func (m *message) ttl() time.Duration {
	if m.Android != nil && m.Android.TTL != "" {
		if d, ok := parseTTL(m.Android.TTL); ok {
			return d
		}
	}
	return -1
}

// visible tells whether something is shown without the app's doing.
func (m *message) visible() bool {
	return m.Notification != nil || m.Android != nil && m.Android.Notification != nil
}

func (m *message) data() map[string]string {
	if m.Android != nil && len(m.Android.Data) > 0 {
		return m.Android.Data
	}
	return m.Data
}

// delivered is the message as a phone gets it.
func (m *message) delivered(at time.Time, name string, raw []byte) Delivered {
	d := Delivered{
		Token: m.Token, FID: m.FID, Topic: m.Topic, Condition: m.Condition, Data: m.data(), MessageID: m.data()["footfall_message_id"],
		TTL: m.ttl(), High: m.high(), Visible: m.visible(), At: at, Name: name, Raw: raw,
	}
	if m.FCMOptions != nil {
		d.Label = m.FCMOptions.AnalyticsLabel
	}
	if n := m.Notification; n != nil {
		d.Title, d.Body, d.ImageURL = n.Title, n.Body, n.Image
	}
	if a := m.Android; a != nil {
		d.CollapseKey = a.CollapseKey
		if a.FCMOptions != nil && a.FCMOptions.AnalyticsLabel != "" {
			d.Label = a.FCMOptions.AnalyticsLabel
		}
		if n := a.Notification; n != nil {
			d.Tag, d.ChannelID = n.Tag, n.ChannelID
			d.Title, d.Body, d.ImageURL = either(n.Title, d.Title), either(n.Body, d.Body), either(n.Image, d.ImageURL)
		}
	}
	if m.APNS != nil {
		d.apnsCollapseID, d.apnsExpiration = m.APNS.header("apns-collapse-id"), m.APNS.header("apns-expiration")
	}
	return d
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// tag is what the log calls the attempt id: by what the message replaces another.
func (m *message) tag() string {
	switch {
	case m.Android != nil && m.Android.Notification != nil && m.Android.Notification.Tag != "":
		return m.Android.Notification.Tag
	case m.Android != nil && m.Android.CollapseKey != "":
		return m.Android.CollapseKey
	case m.APNS != nil:
		return m.APNS.header("apns-collapse-id")
	case m.Webpush != nil:
		var tag string
		_ = json.Unmarshal(m.Webpush.Notification["tag"], &tag) // absent or another type: none
		return tag
	}
	return ""
}
