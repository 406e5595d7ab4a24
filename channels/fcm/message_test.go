package fcm

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"firebase.google.com/go/v4/messaging"

	"github.com/footfall-engage/footfall/channels"
)

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

func full() channels.Message {
	three := 3
	return channels.Message{
		AttemptID: "attempt-1", DeliveryID: "delivery-1", CampaignID: "rainy-day",
		Target: channels.Target{Provider: channels.FCM, Token: "tok"},
		Title:  "Umbrella?", Subtitle: "Now", Body: "It \"rains\"\nat your shop – 🌧", DeepLink: "https://shop.example/umbrella",
		ImageURL: "https://img.example/u.png", Sound: "drops.caf", Badge: &three, Label: "rain-1",
		Actions:   []channels.Action{{ID: "buy", Label: "Buy <now> & here", DeepLink: "shop://buy"}, {ID: "no", Label: "No"}},
		Data:      map[string]string{"colour": "rød", "empty": ""},
		ExpiresAt: noon.Add(90 * time.Minute), HighPrio: true,
		Android: channels.Android{ChannelID: "rain"},
		Apple:   channels.Apple{Category: "offer", ThreadID: "rain", Interruption: "time-sensitive", Relevance: 0.5},
	}
}

// sdkJSON is what the Firebase Admin SDK sends for a message.
func sdkJSON(t testing.TB, m *messaging.Message, dryRun bool) any {
	t.Helper()
	b, err := json.Marshal(struct {
		ValidateOnly bool               `json:"validate_only,omitempty"`
		Message      *messaging.Message `json:"message"`
	}{dryRun, m})
	if err != nil {
		t.Fatal(err)
	}
	return decoded(t, b)
}

func decoded(t testing.TB, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

var changes = map[string]func(*channels.Message){
	"whole":        func(*channels.Message) {},
	"plain":        func(m *channels.Message) { *m = channels.Message{AttemptID: "a", Target: m.Target, Title: "t"} },
	"silent":       func(m *channels.Message) { m.Kind = channels.Silent },
	"now or never": func(m *channels.Message) { m.NowOrNever = true },
	"unlimited":    func(m *channels.Message) { m.ExpiresAt = time.Time{} },
	"low":          func(m *channels.Message) { m.HighPrio = false },
	"collapse":     func(m *channels.Message) { m.CollapseKey = "weather" },
	"critical":     func(m *channels.Message) { m.Apple.Interruption = "critical"; m.Apple.CriticalVolume = 0.25 },
	"critical 2":   func(m *channels.Message) { m.Apple.Interruption, m.Sound = "critical", "" },
	"not https":    func(m *channels.Message) { m.DeepLink = "shop://umbrella" },
	"bare alert":   func(m *channels.Message) { m.Subtitle, m.Badge = "", nil },
}

func TestBodyIsWhatTheSDKSends(t *testing.T) {
	s := &Sender{opts: Options{ChannelID: "offers"}}
	for name, change := range changes {
		for _, platform := range []string{"", "android", "ios", "web"} {
			m := full()
			m.Target.Platform = platform
			change(&m)
			if err := check(&m, noon); err != nil {
				t.Fatal(name, err)
			}
			msg := s.message(&m, noon)
			for _, dry := range []bool{false, true} {
				if got, want := decoded(t, encode(msg, false, dry)), sdkJSON(t, msg, dry); !reflect.DeepEqual(got, want) {
					t.Errorf("%s on %q:\ngot  %v\nwant %v", name, platform, got, want)
				}
			}
		}
	}
}

func FuzzBodyIsWhatTheSDKSends(f *testing.F) {
	f.Add("title", "body \u2028 \x7f \x00", "key", "value\xff", "shop://x", "id\\", "label\"")
	s := &Sender{}
	f.Fuzz(func(t *testing.T, title, body, key, value, link, id, label string) {
		m := full()
		m.Title, m.Body, m.DeepLink = title, body, link
		m.Data = map[string]string{key: value}
		m.Actions = []channels.Action{{ID: id, Label: label}}
		m.CampaignID = value
		if check(&m, noon) != nil {
			return
		}
		msg := s.message(&m, noon)
		if got, want := decoded(t, encode(msg, false, false)), sdkJSON(t, msg, false); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

// TestEachPlatformIsToldWhatItNeeds looks at what a reader of the fields would.
func TestEachPlatformIsToldWhatItNeeds(t *testing.T) {
	s := &Sender{opts: Options{ChannelID: "offers"}}
	make := func(platform string, change func(*channels.Message)) *messaging.Message {
		m := full()
		m.Target.Platform = platform
		if change != nil {
			change(&m)
		}
		return s.message(&m, noon)
	}
	t.Run("android", func(t *testing.T) {
		m := make("android", nil)
		n := m.Android.Notification
		if m.APNS != nil || m.Webpush != nil || *m.Android.TTL != 90*time.Minute || m.Android.Priority != "high" ||
			m.Android.CollapseKey != "attempt-1" || n.Tag != "attempt-1" || n.ChannelID != "rain" || n.Sound != "drops.caf" {
			t.Errorf("%+v %+v", m.Android, n)
		}
		if got := m.Data["footfall_actions"]; got != `[{"id":"buy","label":"Buy \u003cnow\u003e \u0026 here","deep_link":"shop://buy"},{"id":"no","label":"No"}]` {
			t.Error(got)
		}
	})
	t.Run("android, silent, now or never", func(t *testing.T) {
		m := make("android", func(m *channels.Message) { m.Kind, m.NowOrNever, m.CollapseKey = channels.Silent, true, "sync" })
		if m.Notification != nil || m.Android.Notification != nil || *m.Android.TTL != 0 || m.Android.CollapseKey != "sync" ||
			m.Data["footfall_message_id"] != "delivery-1" || m.Data["footfall_actions"] != "" {
			t.Errorf("%+v %+v", m, m.Android)
		}
	})
	t.Run("no channel", func(t *testing.T) {
		if got := make("android", func(m *channels.Message) { m.Android.ChannelID = "" }).Android.Notification.ChannelID; got != "offers" {
			t.Error(got)
		}
	})
	t.Run("longer than FCM keeps", func(t *testing.T) {
		m := make("", func(m *channels.Message) { m.ExpiresAt = noon.Add(900 * 24 * time.Hour) })
		if *m.Android.TTL != maxTTL || m.APNS.Headers["apns-expiration"] != "1796126400" {
			t.Error(m.Android.TTL, m.APNS.Headers)
		}
	})
	t.Run("ios", func(t *testing.T) {
		m := make("ios", nil)
		want := map[string]string{"apns-push-type": "alert", "apns-priority": "10", "apns-collapse-id": "attempt-1", "apns-expiration": "1793712600"}
		a := m.APNS.Payload.Aps
		if m.Android != nil || !reflect.DeepEqual(m.APNS.Headers, want) || !a.MutableContent || *a.Badge != 3 || a.Sound != "drops.caf" ||
			a.Alert.SubTitle != "Now" || a.Alert.Title != "Umbrella?" || a.CustomData["interruption-level"] != "time-sensitive" {
			t.Errorf("%+v %+v", m.APNS, a)
		}
	})
	t.Run("ios, silent", func(t *testing.T) {
		m := make("ios", func(m *channels.Message) { m.Kind, m.NowOrNever = channels.Silent, true })
		a := m.APNS.Payload.Aps
		if m.APNS.Headers["apns-priority"] != "5" || m.APNS.Headers["apns-push-type"] != "background" || m.APNS.Headers["apns-expiration"] != "0" ||
			!a.ContentAvailable || a.Badge != nil || a.Sound != "" || a.Alert != nil {
			t.Errorf("%+v %+v", m.APNS, a)
		}
	})
	t.Run("ios, critical", func(t *testing.T) {
		a := make("ios", func(m *channels.Message) { m.Apple.Interruption = "critical" }).APNS.Payload.Aps
		if a.Sound != "" || *a.CriticalSound != (messaging.CriticalSound{Critical: true, Name: "drops.caf", Volume: 1}) {
			t.Errorf("%+v", a)
		}
	})
	t.Run("web", func(t *testing.T) {
		m := make("web", nil)
		w := m.Webpush
		if m.Android != nil || m.APNS != nil || w.Headers["TTL"] != "5400" || w.Headers["Urgency"] != "high" || len(w.Headers["Topic"]) != 32 ||
			w.Notification.Tag != "attempt-1" || len(w.Notification.Actions) != 2 || w.FCMOptions.Link != "https://shop.example/umbrella" {
			t.Errorf("%+v %+v", w, w.Notification)
		}
	})
}

func TestWhatFCMWouldRefuseIsNotSent(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name   string
		change func(*channels.Message)
		code   channels.MessageErrorCode
		field  string
	}{
		{"no token", func(m *channels.Message) { m.Target.Token = "" }, channels.Missing, "target.token"},
		{"token with a space", func(m *channels.Message) { m.Target.Token = "a b" }, channels.Invalid, "target.token"},
		{"platform", func(m *channels.Message) { m.Target.Platform = "symbian" }, channels.Invalid, "target.platform"},
		{"kind", func(m *channels.Message) { m.Kind = "carrier pigeon" }, channels.Invalid, "kind"},
		{"live activity", func(m *channels.Message) { m.Kind = channels.LiveActivity }, channels.Invalid, "kind"},
		{"no attempt id", func(m *channels.Message) { m.AttemptID = "" }, channels.Missing, "attempt_id"},
		{"long attempt id", func(m *channels.Message) { m.AttemptID = long(65) }, channels.TooLong, "attempt_id"},
		{"long collapse key", func(m *channels.Message) { m.CollapseKey = long(65) }, channels.TooLong, "collapse_key"},
		{"label", func(m *channels.Message) { m.Label = "rain day" }, channels.Invalid, "label"},
		{"long label", func(m *channels.Message) { m.Label = long(51) }, channels.Invalid, "label"},
		{"expired", func(m *channels.Message) { m.ExpiresAt = noon }, channels.Expired, "expires_at"},
		{"image", func(m *channels.Message) { m.ImageURL = "u.png" }, channels.Invalid, "image_url"},
		{"four actions", func(m *channels.Message) { m.Actions = append(m.Actions, m.Actions...) }, channels.Invalid, "actions"},
		{"twin actions", func(m *channels.Message) { m.Actions[1].ID = "buy" }, channels.Invalid, "actions[1].id"},
		{"action without id", func(m *channels.Message) { m.Actions[1].ID = "" }, channels.Missing, "actions[1].id"},
		{"action without label", func(m *channels.Message) { m.Actions[0].Label = "" }, channels.Missing, "actions[0].label"},
		{"interruption", func(m *channels.Message) { m.Apple.Interruption = "loud" }, channels.Invalid, "apple.interruption"},
		{"relevance", func(m *channels.Message) { m.Apple.Relevance = math.NaN() }, channels.Invalid, "apple.relevance"},
		{"volume", func(m *channels.Message) { m.Apple.CriticalVolume = 0.5 }, channels.Invalid, "apple.critical_volume"},
		{"badge", func(m *channels.Message) { minus := -1; m.Badge = &minus }, channels.Invalid, "badge"},
		{"reserved by FCM", func(m *channels.Message) { m.Data["google.x"] = "" }, channels.Reserved, "data.google.x"},
		{"reserved by us", func(m *channels.Message) { m.Data["footfall_message_id"] = "x" }, channels.Reserved, "data.footfall_message_id"},
		{"body not UTF-8", func(m *channels.Message) { m.Body = "\xff" }, channels.Invalid, "body"},
		{"data not UTF-8", func(m *channels.Message) { m.Data["colour"] = "\xff" }, channels.Invalid, "data.colour"},
		{"action not UTF-8", func(m *channels.Message) { m.Actions[1].Label = "\xff" }, channels.Invalid, "actions[1]"},
		{"long title", func(m *channels.Message) { m.Title = long(4000) }, channels.TooLong, "title"},
		{"long body, in bytes", func(m *channels.Message) { m.Body = strings.Repeat("ø", 2000) }, channels.TooLong, "body"},
		{"long link", func(m *channels.Message) { m.DeepLink = long(5000) }, channels.TooLong, "deep_link"},
		{"long data", func(m *channels.Message) { m.Data["a"], m.Data["b"] = long(1000), long(3100) }, channels.TooLong, "data.b"},
		{"long action", func(m *channels.Message) { m.Actions[0].DeepLink = long(4000) }, channels.TooLong, "actions"},
		{"long link, silent", func(m *channels.Message) { m.Kind, m.DeepLink = channels.Silent, long(5000) }, channels.TooLong, "deep_link"},
		{"escapes on an iPhone", func(m *channels.Message) { m.Target.Platform, m.Body = "ios", strings.Repeat("\n", 1000) }, channels.TooLong, "body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &Sender{opts: Options{Now: func() time.Time { return noon }, Timeout: time.Second}}
			m := full()
			c.change(&m)
			_, err := s.Send(t.Context(), m) // a Sender without connections: a request would panic
			var me *channels.MessageError
			if !errors.As(err, &me) || me.Code != c.code || me.Field != c.field {
				t.Errorf("got %v, want %s of %s", err, c.code, c.field)
			}
			if err != nil && len(err.Error()) > 200 {
				t.Error("the error carries the value:", err)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	s := &Sender{}
	m := full()
	m.Target.Platform = "android"
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encode(s.message(&m, noon), false, false)
		}
	})
	b.Run("SDK", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(map[string]any{"message": s.message(&m, noon)}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
