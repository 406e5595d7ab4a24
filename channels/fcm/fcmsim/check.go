package fcmsim

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxPayload = 4096 // bytes of UTF-8, to one device
	maxTopic   = 2048 // to a topic or a condition
	maxTTL     = 28 * 24 * time.Hour
)

var (
	labelPattern = regexp.MustCompile(`^[a-zA-Z0-9\-_.~%]{1,50}$`)
	topicPattern = regexp.MustCompile(`^[a-zA-Z0-9\-_.~%]{1,900}$`)
	colorPattern = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)
	webTopic     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
)

// check finds what the real API would refuse, whoever the target is.
func (m *message) check() (fault, bool) {
	targets := 0
	for _, t := range [...]string{m.Token, m.FID, m.Topic, m.Condition} {
		if t != "" {
			targets++
		}
	}
	if targets != 1 {
		return violated("message", "Recipient of the message is not set."), false
	}
	if m.Topic != "" && !topicPattern.MatchString(m.Topic) {
		return violated("message.topic", "Invalid topic name"), false
	}
	if m.Condition != "" {
		if _, err := parseCondition(m.Condition); err != nil {
			return violated("message.condition", "Invalid condition expression provided."), false
		}
	}
	if n := m.Notification; n != nil && n.Image != "" && !absoluteURL(n.Image) {
		return violated("message.notification.image", "Invalid image URL"), false
	}
	for _, c := range [...]func() (fault, bool){m.checkData, m.checkLabels, m.checkAndroid, m.checkAPNs, m.checkWeb} {
		if f, ok := c(); !ok {
			return f, false
		}
	}
	limit := maxPayload
	if m.Topic != "" || m.Condition != "" {
		limit = maxTopic
	}
	if m.size() > limit {
		return tooBig("Android message is too big"), false
	}
	return fault{}, true
}

// size is the message's weight for Android.
func (m *message) size() int {
	n := 0
	if m.Notification != nil {
		n += len(m.Notification.Title) + len(m.Notification.Body) + len(m.Notification.Image)
	}
	if m.Android != nil && m.Android.Notification != nil {
		a := m.Android.Notification
		n += len(a.Title) + len(a.Body) + len(a.Image) + len(a.Tag) + len(a.ChannelID) + len(a.Sound) + len(a.Icon) + len(a.ClickAction) + len(a.Ticker)
	}
	for k, v := range m.data() {
		n += len(k) + len(v)
	}
	return n
}

// appleSize is the length of the JSON that goes to APNs, without the keys that FCM
// adds.
func (m *message) appleSize() int {
	doc := make(map[string]any, len(m.Data)+2)
	for k, v := range m.Data {
		doc[k] = v
	}
	if m.APNS != nil {
		for k, v := range m.APNS.Payload {
			doc[k] = v
		}
	}
	n := 0
	if m.Notification != nil {
		n = len(`"alert":{"title":"","body":""}`) + len(m.Notification.Title) + len(m.Notification.Body)
		if m.APNS != nil && len(m.APNS.aps().Alert) > 0 {
			n = 0
		}
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return 0 // it came as JSON
	}
	return n + len(b)
}

func (m *message) checkData() (fault, bool) {
	for k := range m.Data {
		if f, ok := checkKey("message.data", k); !ok {
			return f, false
		}
	}
	if m.Android != nil {
		for k := range m.Android.Data {
			if f, ok := checkKey("message.android.data", k); !ok {
				return f, false
			}
		}
	}
	return fault{}, true
}

func checkKey(field, k string) (fault, bool) {
	if k == "from" || k == "message_type" || k == "" || strings.HasPrefix(k, "gcm") || strings.HasPrefix(k, "google") {
		return violated(field, "Invalid data payload key: "+k), false
	}
	return fault{}, true
}

func (m *message) checkLabels() (fault, bool) {
	for _, l := range [...]struct {
		field string
		of    *options
	}{
		{"message.fcm_options", m.FCMOptions},
		{"message.android.fcm_options", m.android().FCMOptions},
		{"message.apns.fcm_options", m.apns().FCMOptions},
		{"message.webpush.fcm_options", m.webpush().FCMOptions},
	} {
		if l.of != nil && l.of.AnalyticsLabel != "" && !labelPattern.MatchString(l.of.AnalyticsLabel) {
			return violated(l.field+".analytics_label", "Invalid analytics label"), false
		}
	}
	return fault{}, true
}

// The parts, empty when they are not there.
func (m *message) android() *android {
	if m.Android == nil {
		return &android{}
	}
	return m.Android
}

func (m *message) apns() *apns {
	if m.APNS == nil {
		return &apns{}
	}
	return m.APNS
}

func (m *message) webpush() *webpush {
	if m.Webpush == nil {
		return &webpush{}
	}
	return m.Webpush
}

func (m *message) checkAndroid() (fault, bool) {
	a := m.Android
	if a == nil {
		return fault{}, true
	}
	const at = "message.android."
	if a.TTL != "" {
		d, ok := parseTTL(a.TTL)
		switch {
		case !ok && !strings.HasSuffix(a.TTL, "s"):
			return malformed("Invalid value at 'message.android.ttl' (type.googleapis.com/google.protobuf.Duration), Field 'ttl', Illegal duration format; duration must end with 's'", at+"ttl"), false
		case !ok:
			return malformed("Invalid value at 'message.android.ttl' (type.googleapis.com/google.protobuf.Duration), Field 'ttl', Invalid duration format.", at+"ttl"), false
		case d < 0 || d > maxTTL:
			return violated(at+"ttl", "Invalid value for ttl: must be between 0 and 2419200 seconds"), false
		}
	}
	if !oneOf(a.Priority, "", "normal", "high") {
		return malformed("Invalid value at 'message.android.priority' (type.googleapis.com/google.firebase.fcm.v1.AndroidMessagePriority), \""+a.Priority+"\"", at+"priority"), false
	}
	n := a.Notification
	if n == nil {
		return fault{}, true
	}
	const in = at + "notification."
	switch {
	case !oneOf(n.Priority, "", "PRIORITY_UNSPECIFIED", "PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"):
		return malformed("Invalid value at '"+in+"notification_priority'", in+"notification_priority"), false
	case !oneOf(n.Visibility, "", "VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"):
		return malformed("Invalid value at '"+in+"visibility'", in+"visibility"), false
	case !oneOf(n.Proxy, "", "PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"):
		return malformed("Invalid value at '"+in+"proxy'", in+"proxy"), false
	case n.Color != "" && !colorPattern.MatchString(n.Color):
		return violated(in+"color", "Invalid color: must be #rrggbb"), false
	case n.NotificationCount != nil && *n.NotificationCount < 0:
		return violated(in+"notification_count", "notification_count must be zero or a positive integer"), false
	case n.Image != "" && !absoluteURL(n.Image):
		return violated(in+"image", "Invalid image URL"), false
	case len(n.BodyLocArgs) > 0 && n.BodyLocKey == "":
		return violated(in+"body_loc_args", "body_loc_key is required"), false
	case len(n.TitleLocArgs) > 0 && n.TitleLocKey == "":
		return violated(in+"title_loc_args", "title_loc_key is required"), false
	}
	if n.EventTime != "" {
		if _, err := time.Parse(time.RFC3339Nano, n.EventTime); err != nil {
			return malformed("Invalid value at '"+in+"event_time' (type.googleapis.com/google.protobuf.Timestamp)", in+"event_time"), false
		}
	}
	for _, v := range n.VibrateTimings {
		if d, ok := parseTTL(v); !ok || d < 0 {
			return malformed("Invalid value at '"+in+"vibrate_timings' (type.googleapis.com/google.protobuf.Duration)", in+"vibrate_timings"), false
		}
	}
	return fault{}, true
}

func oneOf(s string, of ...string) bool {
	return slices.ContainsFunc(of, func(o string) bool { return strings.EqualFold(s, o) })
}

func absoluteURL(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}

// aps is Apple's dictionary; empty when it is absent or none.
func (a *apns) aps() (d aps) {
	_ = json.Unmarshal(a.Payload["aps"], &d) // what it cannot read, checkAPNs refuses
	return d
}

func (m *message) checkAPNs() (fault, bool) {
	a := m.APNS
	if a == nil {
		return fault{}, true
	}
	const headers = "message.apns.headers"
	priority, kind := a.header("apns-priority"), a.header("apns-push-type")
	switch {
	case !oneOf(priority, "", "1", "5", "10"):
		return violated(headers, "Invalid apns-priority: "+priority), false
	case !oneOf(kind, "", "alert", "background", "location", "voip", "complication", "fileprovider", "mdm", "liveactivity", "pushtotalk", "widgets", "controls"):
		return violated(headers, "Invalid apns-push-type: "+kind), false
	case len(a.header("apns-collapse-id")) > 64:
		return violated(headers, "apns-collapse-id must not exceed 64 bytes"), false
	}
	if e := a.header("apns-expiration"); e != "" {
		if n, err := strconv.ParseInt(e, 10, 64); err != nil || n < 0 {
			return violated(headers, "Invalid apns-expiration: "+e), false
		}
	}
	var d aps
	if raw, ok := a.Payload["aps"]; ok {
		if err := json.Unmarshal(raw, &d); err != nil || len(raw) == 0 || raw[0] != '{' {
			return violated("message.apns.payload", "Invalid APNs payload: aps"), false
		}
	}
	// An alert, a badge or a sound makes it visible, and so does a notification.
	background := m.Notification == nil && len(d.Alert) == 0 && len(d.Badge) == 0 && len(d.Sound) == 0
	if priority == "10" && (kind == "background" || background && d.ContentAvailable == 1) {
		return violated(headers, "apns-priority must be 5 for a message that shows nothing"), false
	}
	if a.LiveActivityToken != "" {
		if !oneOf(d.Event, "start", "update", "end") || d.Timestamp == "" || len(d.ContentState) == 0 && d.Event != "end" {
			return violated("message.apns.payload", "A Live Activity needs event, timestamp and content-state"), false
		}
	}
	return fault{}, true
}

func (m *message) checkWeb() (fault, bool) {
	w := m.Webpush
	if w == nil {
		return fault{}, true
	}
	if ttl := headerOf(w.Headers, "TTL"); ttl != "" {
		if _, err := strconv.ParseUint(ttl, 10, 32); err != nil {
			return violated("message.webpush.headers", "Invalid TTL: "+ttl), false
		}
	}
	switch {
	case !oneOf(headerOf(w.Headers, "Urgency"), "", "very-low", "low", "normal", "high"):
		return violated("message.webpush.headers", "Invalid Urgency"), false
	case headerOf(w.Headers, "Topic") != "" && !webTopic.MatchString(headerOf(w.Headers, "Topic")):
		return violated("message.webpush.headers", "Invalid Topic"), false
	case w.FCMOptions != nil && w.FCMOptions.Link != "" && !strings.HasPrefix(w.FCMOptions.Link, "https://"):
		return violated("message.webpush.fcm_options.link", "Link must be HTTPS"), false
	}
	return fault{}, true
}

// parseTTL reads a JSON duration: seconds, at most nine fractional digits, "s".
func parseTTL(s string) (time.Duration, bool) {
	n, ok := strings.CutSuffix(s, "s")
	if !ok {
		return 0, false
	}
	n, minus := strings.CutPrefix(n, "-")
	whole, frac, dot := strings.Cut(n, ".")
	sec, err := strconv.ParseUint(whole, 10, 32)
	if err != nil {
		return 0, false
	}
	d := time.Duration(sec) * time.Second
	if dot {
		if frac == "" || len(frac) > 9 {
			return 0, false
		}
		nanos, err := strconv.ParseUint(frac+strings.Repeat("0", 9-len(frac)), 10, 32)
		if err != nil {
			return 0, false
		}
		d += time.Duration(nanos)
	}
	if minus {
		d = -d
	}
	return d, true
}

// condition is a boolean expression over topics.
type condition func(subscribed func(topic string) bool) bool

// parseCondition reads "'a' in topics && ('b' in topics || !('c' in topics))": at
// most five topics, && before ||.
func parseCondition(s string) (condition, error) {
	p := conditionParser{rest: s}
	c, err := p.or()
	switch {
	case err != nil:
		return nil, err
	case p.space().rest != "":
		return nil, fmt.Errorf("unexpected %q", p.rest)
	case p.topics > 5:
		return nil, fmt.Errorf("%d topics, at most 5", p.topics)
	}
	return c, nil
}

type conditionParser struct {
	rest          string
	topics, depth int
}

func (p *conditionParser) space() *conditionParser {
	p.rest = strings.TrimLeft(p.rest, " ")
	return p
}

func (p *conditionParser) take(s string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, s)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *conditionParser) or() (condition, error) {
	c, err := p.and()
	for err == nil && p.take("||") {
		left, right := c, condition(nil)
		if right, err = p.and(); err == nil {
			c = func(in func(string) bool) bool { return left(in) || right(in) }
		}
	}
	return c, err
}

func (p *conditionParser) and() (condition, error) {
	c, err := p.term()
	for err == nil && p.take("&&") {
		left, right := c, condition(nil)
		if right, err = p.term(); err == nil {
			c = func(in func(string) bool) bool { return left(in) && right(in) }
		}
	}
	return c, err
}

func (p *conditionParser) term() (condition, error) {
	if p.depth++; p.depth > 20 {
		return nil, fmt.Errorf("too deep at %q", p.rest)
	}
	defer func() { p.depth-- }()
	switch {
	case p.take("!"):
		c, err := p.term()
		if err != nil {
			return nil, err
		}
		return func(in func(string) bool) bool { return !c(in) }, nil
	case p.take("("):
		c, err := p.or()
		if err == nil && !p.take(")") {
			err = fmt.Errorf("a parenthesis is open at %q", p.rest)
		}
		return c, err
	case p.take("'"):
		topic, rest, ok := strings.Cut(p.rest, "'")
		p.rest = rest
		if !ok || !topicPattern.MatchString(topic) || !p.take("in") || !p.take("topics") {
			return nil, fmt.Errorf("no topic at %q", p.rest)
		}
		p.topics++
		return func(in func(string) bool) bool { return in(topic) }, nil
	}
	return nil, fmt.Errorf("unexpected %q", p.rest)
}
