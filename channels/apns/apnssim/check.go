package apnssim

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	maxPayload      = 4096 // bytes
	maxLargePayload = 5120 // of voip and of broadcasts
)

// suffixes of the topic by push type; those that are not here have the bundle id
// alone.
var suffixes = map[string]string{
	"location": ".location-query", "voip": ".voip", "complication": ".complication", "fileprovider": ".pushkit.fileprovider",
	"liveactivity": ".push-type.liveactivity", "pushtotalk": ".voip-ptt", "widgets": ".push-type.widgets", "controls": ".push-type.controls",
}

// bareTypes have no suffix. A mobile-device-management topic is a certificate's.
var bareTypes = map[string]bool{"alert": true, "background": true, "mdm": true}

var (
	uuidPattern  = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	topicPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`)
)

// push is a request's headers.
type push struct {
	method, path, auth, id, collapse, topic, kind, priority, expiration string
	channel, request                                                    string // of broadcasts
	doubled                                                             bool
}

func readHeaders(fields []hpack.HeaderField) push {
	var p push
	seen := 0
	for _, f := range fields {
		var dst *string
		bit := 0
		switch f.Name {
		case ":method":
			dst, bit = &p.method, 0
		case ":path":
			dst, bit = &p.path, 1
		case "authorization":
			dst, bit = &p.auth, 2
		case "apns-id":
			dst, bit = &p.id, 3
		case "apns-collapse-id":
			dst, bit = &p.collapse, 4
		case "apns-topic":
			dst, bit = &p.topic, 5
		case "apns-push-type":
			dst, bit = &p.kind, 6
		case "apns-priority":
			dst, bit = &p.priority, 7
		case "apns-expiration":
			dst, bit = &p.expiration, 8
		case "apns-channel-id":
			dst, bit = &p.channel, 9
		case "apns-request-id":
			dst, bit = &p.request, 10
		default:
			continue
		}
		p.doubled = p.doubled || seen&(1<<bit) != 0
		seen |= 1 << bit
		*dst = f.Value
	}
	return p
}

// checkHeaders judges the headers of a push to a device; reason is empty when they
// are in order. A push without a type is an alert, as for old clients.
func (s *Server) checkHeaders(p *push) (reason string) {
	if p.kind == "" {
		p.kind = "alert"
	}
	suffix := suffixes[p.kind]
	switch {
	case p.topic == "":
		return "MissingTopic"
	case suffix == "" && !bareTypes[p.kind]:
		return "InvalidPushType"
	case !topicPattern.MatchString(p.topic), !suffixFits(p.topic, p.kind, suffix):
		return "BadTopic"
	case p.priority != "" && p.priority != "10" && p.priority != "5" && p.priority != "1":
		return "BadPriority"
	case p.kind == "background" && (p.priority == "" || p.priority == "10"): // it is 10 when it is not given
		return "BadPriority"
	case len(p.collapse) > 64:
		return "BadCollapseId"
	case p.id != "" && !uuidPattern.MatchString(p.id):
		return "BadMessageId"
	case p.expiration != "" && !expirationFits(p.expiration):
		return "BadExpirationDate"
	}
	return ""
}

// suffixFits wants the suffix of the type, and of no other.
func suffixFits(topic, kind, suffix string) bool {
	if suffix != "" {
		return len(topic) > len(suffix) && strings.HasSuffix(topic, suffix)
	}
	for other, suffix := range suffixes {
		if other != kind && strings.HasSuffix(topic, suffix) {
			return false
		}
	}
	return true
}

func expirationFits(v string) bool {
	n, err := strconv.ParseInt(v, 10, 64)
	return err == nil && n >= 0
}

// bundle is the topic without its type's suffix.
func bundle(p push) string { return strings.TrimSuffix(p.topic, suffixes[p.kind]) }

// deliveredOf reads a payload; ok is false unless it is an object with an "aps"
// that is one (a device management's has "mdm" instead).
func deliveredOf(p push, body []byte) (d Delivered, ok bool) {
	var doc map[string]json.RawMessage
	if json.Unmarshal(body, &doc) != nil || doc["aps"] == nil && (p.kind != "mdm" || doc["mdm"] == nil) {
		return d, false
	}
	var aps struct {
		Alert json.RawMessage `json:"alert"`
	}
	if doc["aps"] != nil && json.Unmarshal(doc["aps"], &aps) != nil {
		return d, false
	}
	var alert struct {
		Title string `json:"title"`
		Body  string `json:"body"`
	}
	if len(aps.Alert) > 0 && json.Unmarshal(aps.Alert, &alert) != nil {
		_ = json.Unmarshal(aps.Alert, &alert.Body) // the short form: the body alone
	}
	d.Title, d.Body = alert.Title, alert.Body
	d.Data = make(map[string]string, len(doc)-1)
	for k, raw := range doc {
		var v string
		if k != "aps" && json.Unmarshal(raw, &v) == nil {
			d.Data[k] = v
		}
	}
	d.MessageID = d.Data["footfall_message_id"]
	d.APNsID, d.CollapseID, d.Topic, d.PushType, d.Raw = p.id, p.collapse, p.topic, p.kind, body
	d.Priority = 10
	if n, err := strconv.Atoi(p.priority); err == nil {
		d.Priority = n
	}
	if n, err := strconv.ParseInt(p.expiration, 10, 64); err == nil {
		d.Expiration = time.Unix(n, 0).UTC()
	}
	return d, true
}
