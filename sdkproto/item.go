package sdkproto

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Kind of an item: the JSON name of its body in snake case.
type Kind string

// The kinds.
const (
	KindLocation    Kind = "location"
	KindRegionEvent Kind = "region_event"
	KindEvent       Kind = "event"
	KindIdentify    Kind = "identify"
	KindPreferences Kind = "preferences"
	KindConsent     Kind = "consent"
	KindPushToken   Kind = "push_token"
	KindLifecycle   Kind = "lifecycle"
	KindReceipt     Kind = "receipt"
	KindPermissions Kind = "permissions"
	KindBeacon      Kind = "beacon"
	KindLogout      Kind = "logout"
	KindLive        Kind = "live_activity"
)

// Observation reports whether the kind says that something happened at a time,
// so that it is worthless without a believable one. The other kinds say what is
// so, or what the person wants: they hold whatever the clock says.
func (k Kind) Observation() bool {
	return k == KindLocation || k == KindRegionEvent || k == KindEvent || k == KindBeacon
}

// ItemBody is the kind of an item. The reject is of code "unsupported" when the
// item has no body that this version knows, "invalid" when it has two.
func ItemBody(item *sdkpb.Item) (Kind, *sdkpb.Reject) {
	if onlyLocation(item) { // most are
		return KindLocation, nil
	}
	var kind Kind
	n := 0
	for _, b := range [...]struct {
		kind Kind
		set  bool
	}{
		{KindLocation, item.GetLocation() != nil},
		{KindRegionEvent, item.GetRegionEvent() != nil},
		{KindEvent, item.GetEvent() != nil},
		{KindIdentify, item.GetIdentify() != nil},
		{KindPreferences, item.GetPreferences() != nil},
		{KindConsent, item.GetConsent() != nil},
		{KindPushToken, item.GetPushToken() != nil},
		{KindLifecycle, item.GetLifecycle() != nil},
		{KindReceipt, item.GetReceipt() != nil},
		{KindPermissions, item.GetPermissions() != nil},
		{KindBeacon, item.GetBeacon() != nil},
		{KindLogout, item.GetLogout() != nil},
		{KindLive, item.GetLiveActivity() != nil},
	} {
		if b.set {
			kind = b.kind
			n++
		}
	}
	switch n {
	case 1:
		return kind, nil
	case 0:
		return "", NewReject(item, RejectUnsupported, "", "no body that this version knows")
	}
	return "", NewReject(item, RejectInvalid, "", "%d bodies, must be one", n)
}

// onlyLocation reports whether the body is a position. A test holds it to all bodies
// that there are.
func onlyLocation(i *sdkpb.Item) bool {
	return i != nil && i.Location != nil && i.RegionEvent == nil && i.Event == nil && i.Identify == nil &&
		i.Preferences == nil && i.Consent == nil && i.PushToken == nil && i.Lifecycle == nil && i.Receipt == nil &&
		i.Permissions == nil && i.Beacon == nil && i.Logout == nil && i.LiveActivity == nil
}

// NewReject refuses an item.
func NewReject(item *sdkpb.Item, code RejectCode, field, format string, args ...any) *sdkpb.Reject {
	id := item.GetItemId()
	if len(id) > 4*MaxIDChars {
		id = "" // do not echo what is refused for its length; seq names the item
	}
	return &sdkpb.Reject{
		ItemId: id, Seq: item.GetSeq(), Code: string(code), Field: field,
		Reason: fmt.Sprintf(format, args...), Retryable: code.Retryable(),
	}
}

// ValidateItem checks all of an item that needs no state: its body, its fields,
// and whether its corrected time can be believed. Nil means fine. Batch is the
// one that it came in, for its clocks; nil means that it has none. The reject's
// field is the path inside the item in snake case, "location.lat".
func ValidateItem(item *sdkpb.Item, batch *sdkpb.Batch, received time.Time) *sdkpb.Reject {
	if item == nil {
		return NewReject(item, RejectInvalid, "", "an item that is null")
	}
	v := itemCheck{item: item}
	v.chars("item_id", item.ItemId, 0, MaxIDChars)
	v.chars("boot_id", item.BootId, 0, MaxIDChars)
	if item.Seq == 0 {
		v.fail("seq", "must be from 1")
	}
	if n := itemSize(item); n > MaxItemBytes {
		v.reject(RejectTooLarge, "", "%d bytes, at most %d", n, MaxItemBytes)
	}
	if v.bad != nil {
		return v.bad
	}
	kind, bad := ItemBody(item)
	if bad != nil {
		return bad
	}
	v.body(kind)
	if v.bad == nil && kind.Observation() {
		if _, how := CorrectedTime(item, batch, received); how == HowAbsurd {
			v.fail("occurred_ms", "more than %v in the future or %v in the past, after correction of the clock", MaxFuture, MaxAge)
		}
	}
	return v.bad
}

// itemSize is how many bytes the item takes, or of a short position something more.
func itemSize(item *sdkpb.Item) int {
	const most = 256 // of all but the texts and what is not known
	if onlyLocation(item) {
		n := most + len(item.ItemId) + len(item.BootId) + len(item.ProtoReflect().GetUnknown()) + len(item.Location.ProtoReflect().GetUnknown())
		if n <= MaxItemBytes {
			return n
		}
	}
	return proto.Size(item)
}

// itemCheck keeps the first fault.
type itemCheck struct {
	item *sdkpb.Item
	bad  *sdkpb.Reject
}

func (v *itemCheck) reject(code RejectCode, field, format string, args ...any) {
	if v.bad == nil {
		v.bad = NewReject(v.item, code, field, format, args...)
	}
}

func (v *itemCheck) fail(field, format string, args ...any) {
	v.reject(RejectInvalid, field, format, args...)
}

func (v *itemCheck) body(kind Kind) {
	switch i := v.item; kind {
	case KindLocation:
		v.location("location", i.Location)
	case KindRegionEvent:
		v.chars("region_event.region_id", i.RegionEvent.RegionId, 1, MaxIDChars)
		v.enum("region_event.transition", i.RegionEvent.Transition)
		if i.RegionEvent.Location != nil {
			v.location("region_event.location", i.RegionEvent.Location)
		}
	case KindEvent:
		v.name("event.name", i.Event.Name)
		v.object("event.properties_json", i.Event.PropertiesJson)
	case KindIdentify:
		v.name("identify.user_id", i.Identify.UserId)
		v.chars("identify.hmac", i.Identify.Hmac, 0, 64)
		v.chars("identify.jwt", i.Identify.Jwt, 0, MaxJWTChars)
		v.object("identify.traits_json", i.Identify.TraitsJson)
	case KindPreferences:
		v.preferences(i.Preferences)
	case KindConsent:
		v.enum("consent.purpose", i.Consent.Purpose)
		v.chars("consent.text_version", i.Consent.TextVersion, 0, MaxIDChars)
		v.chars("consent.source", i.Consent.Source, 0, MaxIDChars)
	case KindPushToken:
		v.pushTarget("push_token", i.PushToken)
	case KindLifecycle:
		v.enum("lifecycle.state", i.Lifecycle.State)
	case KindReceipt:
		v.chars("receipt.message_id", i.Receipt.MessageId, 1, MaxIDChars)
		v.enum("receipt.state", i.Receipt.State)
		switch i.Receipt.Via {
		case "", "fcm", "apns", "in_app", "inbox":
		default:
			v.fail("receipt.via", `must be "fcm", "apns", "in_app", "inbox" or empty`)
		}
		v.chars("receipt.action_id", i.Receipt.ActionId, 0, MaxIDChars)
	case KindPermissions:
		v.permissions("permissions", i.Permissions)
	case KindBeacon:
		v.beacon(i.Beacon)
	case KindLive:
		v.liveActivity(i.LiveActivity)
	}
}

func (v *itemCheck) location(at string, l *sdkpb.Location) {
	v.between(at, "lat", l.Lat, -90, 90)
	v.between(at, "lng", l.Lng, -180, 180)
	v.between(at, "accuracy_m", l.AccuracyM, 0, math.MaxFloat64)
	if l.SpeedMps != nil {
		v.between(at, "speed_mps", *l.SpeedMps, 0, math.MaxFloat64)
	}
	if l.BearingDeg != nil {
		v.between(at, "bearing_deg", *l.BearingDeg, 0, 360)
	}
	if l.AltitudeM != nil {
		v.between(at, "altitude_m", *l.AltitudeM, -math.MaxFloat64, math.MaxFloat64)
	}
}

// between takes the path in two pieces and joins them only for a fault: most
// items are fixes and most fixes are fine. It does not say the value: positions
// stay out of logs.
func (v *itemCheck) between(at, field string, x, lo, hi float64) {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		v.fail(at+"."+field, "must be a finite number")
	case x < lo && hi == math.MaxFloat64:
		v.fail(at+"."+field, "must not be below %v", lo)
	case x < lo || x > hi:
		v.fail(at+"."+field, "must be %v to %v", lo, hi)
	}
}

func (v *itemCheck) preferences(p *sdkpb.Preferences) {
	if n := len(p.Topics); n == 0 || n > MaxTopics {
		v.fail("preferences.topics", "1 to %d, got %d", MaxTopics, n)
		return
	}
	for topic, a := range p.Topics {
		v.chars("preferences.topics", topic, 1, MaxIDChars)
		if a != sdkpb.Preferences_ATTITUDE_UNSPECIFIED { // it forgets the answer
			v.enum("preferences.topics", a)
		}
	}
}

func (v *itemCheck) pushTarget(at string, t *sdkpb.PushTarget) {
	v.enum(at+".provider", t.Provider)
	v.chars(at+".token", t.Token, 1, MaxPushTokenChars)
	v.chars(at+".topic", t.Topic, 0, 255)
	switch t.Environment {
	case "", "production", "sandbox":
	default:
		v.fail(at+".environment", `must be "production" or "sandbox"`)
	}
}

func (v *itemCheck) permissions(at string, p *sdkpb.Permissions) {
	v.knownEnum(at+".location", p.Location)
	v.knownEnum(at+".precision", p.Precision)
	v.knownEnum(at+".notifications", p.Notifications)
	v.knownEnum(at+".bluetooth", p.Bluetooth)
	v.knownEnum(at+".background_refresh", p.BackgroundRefresh)
	v.knownEnum(at+".battery_optimised", p.BatteryOptimised)
}

// enum must be said and known.
func (v *itemCheck) enum(field string, e protoreflect.Enum) {
	if e.Number() == 0 {
		v.fail(field, "is required")
		return
	}
	v.knownEnum(field, e)
}

// knownEnum may be left out.
func (v *itemCheck) knownEnum(field string, e protoreflect.Enum) {
	if e.Descriptor().Values().ByNumber(e.Number()) == nil {
		v.reject(RejectUnsupported, field, "a value that this version does not know: %d", e.Number())
	}
}

func (v *itemCheck) chars(field, s string, lo, hi int) {
	if s == "" && lo > 0 {
		v.fail(field, "is required")
		return
	}
	// A string within the limit in bytes is within it in characters.
	if len(s) > hi {
		if n := utf8.RuneCountInString(s); n > hi {
			v.fail(field, "at most %d characters, has %d", hi, n)
		}
	}
}

func (v *itemCheck) name(field, s string) {
	v.chars(field, s, 1, MaxIDChars)
	for _, r := range s {
		if unicode.IsControl(r) {
			v.fail(field, "must not hold control characters")
			return
		}
	}
}

// object checks that s is empty or one JSON object within its limits.
func (v *itemCheck) object(field, s string) {
	if s == "" {
		return
	}
	if len(s) > MaxPropertiesBytes {
		v.fail(field, "at most %d bytes, has %d", MaxPropertiesBytes, len(s))
		return
	}
	b := []byte(s)
	if _, depth := jsonShape(b); depth > MaxPropertiesDepth {
		v.fail(field, "nested deeper than %d", MaxPropertiesDepth)
		return
	}
	if !json.Valid(b) {
		v.fail(field, "is not JSON")
		return
	}
	for _, c := range b { // the first byte that is not white space
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{':
			return
		}
		break
	}
	v.fail(field, "must be one JSON object")
}

// zoneName reports whether s looks like the name of a time zone: one to three
// parts of A-Z, a-z, 0-9, '_', '+', '-', joined by '/'. Whether there is such a
// zone is the server's to know.
func zoneName(s string) bool {
	if len(s) > MaxZoneChars {
		return false
	}
	parts := 0
	for part := range strings.SplitSeq(s, "/") {
		parts++
		if part == "" || parts > 3 {
			return false
		}
		for i := range len(part) {
			switch c := part[i]; {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			case c == '_', c == '+', c == '-':
			default:
				return false
			}
		}
	}
	return true
}

// ValidateHello checks all of a hello that needs no state. The error is an
// *Error of code ErrNoHello, or ErrVersion when no version is in common.
func ValidateHello(h *sdkpb.Hello) error {
	v := itemCheck{}
	lo, hi := max(h.GetProtoMin(), 1), max(h.GetProtoMax(), 1)
	switch {
	case h == nil:
		return Errorf(ErrNoHello, "", "the first frame must be hello")
	case lo > ProtoMax || hi < ProtoMin || lo > hi:
		return Errorf(ErrVersion, "proto_max", "this server speaks %d to %d, the SDK %d to %d", ProtoMin, ProtoMax, lo, hi)
	case !ValidInstallID(h.InstallId):
		return Errorf(ErrNoHello, "install_id", "must be %d to %d of A-Z, a-z, 0-9, '.', '_', ':', '-'", MinInstallIDChars, MaxIDChars)
	}
	v.chars("app_key", h.AppKey, 1, MaxIDChars)
	v.chars("device_token", h.DeviceToken, 0, 200)
	v.enum("platform", h.Platform)
	v.chars("sdk", h.Sdk, 0, MaxIDChars)
	v.chars("os_version", h.OsVersion, 0, MaxIDChars)
	v.chars("app_version", h.AppVersion, 0, MaxIDChars)
	v.chars("boot_id", h.BootId, 0, MaxIDChars)
	if h.WallMs <= 0 {
		v.fail("wall_ms", "is required: the phone's wall clock in ms since 1970, however wrong it is; got %d", h.WallMs)
	}
	if h.TimeZone != "" && !zoneName(h.TimeZone) {
		v.fail("time_zone", "must be an IANA name such as Europe/Amsterdam, at most %d characters", MaxZoneChars)
	}
	v.chars("locale", h.Locale, 0, MaxIDChars)
	v.knownEnum("lifecycle", h.Lifecycle)
	if len(h.Caps) > MaxCaps {
		v.fail("caps", "at most %d, got %d", MaxCaps, len(h.Caps))
	}
	for _, c := range h.Caps {
		v.chars("caps", c, 1, MaxIDChars)
	}
	if r := h.Resume; r != nil {
		v.chars("resume.session", r.Session, 0, MaxIDChars)
		v.chars("resume.epoch", r.Epoch, 1, MaxIDChars)
	}
	v.chars("config_etag", h.ConfigEtag, 0, MaxIDChars)
	v.chars("regions_etag", h.RegionsEtag, 0, MaxIDChars)
	v.chars("inbox_cursor", h.GetInboxCursor(), 0, MaxCursorChars)
	if f := h.FormerInstall; f != "" && (!ValidInstallID(f) || f == h.InstallId) {
		v.fail("former_install", "must be another install id")
	}
	if h.Permissions != nil {
		v.permissions("permissions", h.Permissions)
	}
	if h.PushTarget != nil {
		v.pushTarget("push_target", h.PushTarget)
	}
	if v.bad != nil {
		return Errorf(ErrNoHello, v.bad.Field, "%s", v.bad.Reason)
	}
	return nil
}
