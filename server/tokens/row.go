package tokens

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/table"
)

// ahead is how far in the future a time may stand: clocks differ.
const ahead = 24 * time.Hour

// take reads the values of a row.
func (row *Row) take(v map[string]string, o *Options) *engage.Error {
	row.User, row.Install, row.Platform = v["user_id"], v["install"], strings.ToLower(v["platform"])
	for _, refused := range []*engage.Error{row.owner(), row.takePlatform(o), row.takeTarget(v, o), row.takePermission(v)} {
		if refused != nil {
			return refused
		}
	}
	return row.takeAge(v, o)
}

func (row *Row) owner() *engage.Error {
	switch {
	case row.User == "" && row.Install == "":
		return fault("user_id", "is missing, and so is install: whose phone is it?")
	case utf8.RuneCountInString(row.User) > sdkproto.MaxIDChars || !utf8.ValidString(row.User) || strings.ContainsFunc(row.User, unicode.IsControl):
		return fault("user_id", "must have 1 to %d characters", sdkproto.MaxIDChars)
	case row.Install != "" && !sdkproto.ValidInstallID(row.Install):
		return fault("install", "must be %d to %d of A-Z, a-z, 0-9, '.', '_', ':', '-'", sdkproto.MinInstallIDChars, sdkproto.MaxIDChars)
	}
	return nil
}

func (row *Row) takePlatform(o *Options) *engage.Error {
	if row.Platform == "" {
		row.Platform = o.Platform
	}
	if row.Platform != o.Platform {
		return fault("platform", "must be %q, which is the app's, is %q", o.Platform, clip(row.Platform))
	}
	return nil
}

func (row *Row) takeTarget(v map[string]string, o *Options) *engage.Error {
	p := engage.PushTarget{
		Provider: strings.ToLower(v["provider"]), Token: engage.Secret(v["token"]),
		Environment: strings.ToLower(v["environment"]), Topic: v["topic"],
	}
	if p.Provider == "" {
		p.Provider = "fcm"
		if row.Platform == "ios" {
			p.Provider = "apns"
		}
	}
	token := v["token"]
	switch {
	case p.Provider != "fcm" && p.Provider != "apns":
		return fault("provider", `must be "fcm" or "apns", is %q`, clip(p.Provider))
	case !slices.Contains(o.Providers, p.Provider):
		return fault("provider", "the app has no credential for %s: give it one first", p.Provider)
	case token == "":
		return fault("token", "is missing")
	case len(token) > sdkproto.MaxPushTokenChars:
		return fault("token", "at most %d bytes, has %d", sdkproto.MaxPushTokenChars, len(token))
	case p.Provider == "apns" && (p.Environment != "" && p.Environment != "production" && p.Environment != "sandbox"):
		return fault("environment", `must be "production" or "sandbox", is %q`, clip(p.Environment))
	case p.Provider == "fcm" && strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fault("token", "is not one of FCM: it has a character that none has")
	case len(p.Topic) > 255:
		return fault("topic", "at most 255 bytes, has %d", len(p.Topic))
	}
	if p.Provider == "apns" {
		if b, err := hex.DecodeString(token); err != nil || len(b) < 16 {
			return fault("token", "is not one of APNs: those are hexadecimal, of 64 digits or more")
		}
	} else {
		p.Environment, p.Topic = "", ""
	}
	row.Push = p
	return nil
}

func (row *Row) takePermission(v map[string]string) *engage.Error {
	row.Notifications = strings.ToLower(v["notifications"])
	switch row.Notifications {
	case "":
		row.Notifications = "granted"
	case "granted", "provisional", "denied", "undetermined":
	default:
		return fault("notifications", `must be "granted", "provisional", "denied" or "undetermined", is %q`, clip(row.Notifications))
	}
	return nil
}

// takeAge reads when the token was last known to be good, and judges that.
func (row *Row) takeAge(v map[string]string, o *Options) *engage.Error {
	for _, field := range []string{"registered_at", "last_seen"} {
		text := v[field]
		if text == "" {
			continue
		}
		at, ok := parseTime(text)
		switch {
		case !ok:
			return fault(field, "must be a time (2026-03-02T09:30:00Z), a date or Unix seconds, is %q", clip(text))
		case at.After(o.Now.Add(ahead)):
			return fault(field, "stands in the future: %s", at.Format(time.RFC3339))
		case at.After(o.Now):
			at = o.Now
		}
		if at.After(row.Push.At) {
			row.Push.At = at
		}
	}
	if row.Push.At.IsZero() {
		return fault("registered_at", "is missing, and so is last_seen: how old is the token?")
	}
	age := o.Now.Sub(row.Push.At)
	days := int(age / (24 * time.Hour))
	android := row.Platform == "android" && row.Push.Provider == "fcm"
	switch {
	case age > ExpiredAfter && android && o.Old != Warn:
		return &engage.Error{Code: TooOld, Field: ageField, Msg: "is " + strconv.Itoa(days) + " days ago: FCM has expired the token"}
	case age > ExpiredAfter && o.Old == RefuseStale, age > StaleAfter && android && o.Old == RefuseStale:
		return &engage.Error{Code: TooOld, Field: ageField, Msg: "is " + strconv.Itoa(days) + " days ago: the token is stale"}
	case age > ExpiredAfter && android:
		row.Warnings = append(row.Warnings, Warning{ageField, "is " + strconv.Itoa(days) + " days ago: FCM has expired the token"})
	case age > ExpiredAfter, age > StaleAfter && android:
		row.Warnings = append(row.Warnings, Warning{ageField, "is " + strconv.Itoa(days) + " days ago: the token is stale, and perhaps dead"})
	}
	return nil
}

// parseTime reads a time; before 2001 there was no app.
func parseTime(s string) (time.Time, bool) {
	t, ok := table.ParseTime(s)
	return t, ok && t.Year() > 2000
}

// clip shortens what a file has before it stands in a report.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
