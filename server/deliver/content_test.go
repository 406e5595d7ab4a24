package deliver

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
)

// rich is a delivery with all that a message can have, to an iPhone by default.
func rich(change ...func(*engage.Send)) (*delivery, *engage.Device) {
	d := example()
	d.Attempts = d.Attempts[:1]
	d.Attempts[0].At = d.Send.DecidedAt.Add(time.Minute)
	s := &d.Send
	s.Actions = []engage.Action{{ID: "go", Label: "Go", DeepLink: "shop://go"}, {ID: "no", Label: "No"}}
	s.Push = &engage.PushContent{
		Subtitle: "Sub", Priority: "normal", TTLS: new(int64(60)), CollapseKey: "rain", Label: "rain_1", Sound: "drop.caf", Badge: new(3),
		Devices: engage.AllDevices, Android: &engage.AndroidPush{ChannelID: "offers"},
		IOS: &engage.IOSPush{
			Category: "OFFER", ThreadID: "rain", Interruption: "critical", Relevance: 0.5, MutableContent: true, CriticalVolume: 0.25,
		},
	}
	s.InApp = &engage.InAppContent{Style: engage.Modal, DismissAfterS: 9, Frequency: &engage.InAppFrequency{Times: 2, MinGapS: 30 * 24 * 3600, PerSession: true}}
	s.Inbox = &engage.InboxContent{Pinned: true, ExpiresS: 7200}
	for _, f := range change {
		f(s)
	}
	dev := s.Devices[0]
	dev.Platform, dev.Push = "ios", &engage.PushTarget{Provider: "apns", Token: "t", Environment: "sandbox", Topic: "com.shop"}
	return d, &dev
}

func TestAPushHasAllThatTheSendSays(t *testing.T) {
	d, dev := rich()
	at := d.Send.DecidedAt
	want := channels.Message{
		AttemptID: engage.AttemptID("d1", "install-1"), DeliveryID: "d1", CampaignID: "rainy-day",
		Target: channels.Target{Provider: channels.APNs, Token: "t", Environment: "sandbox", Topic: "com.shop", Platform: "ios"},
		Kind:   channels.Notification, Title: "Umbrella?", Subtitle: "Sub", Body: "It rains", DeepLink: "shop://u",
		ImageURL: "https://example.com/u.png", Data: map[string]string{"sku": "7"},
		Actions:     []channels.Action{{ID: "go", Label: "Go", DeepLink: "shop://go"}, {ID: "no", Label: "No"}},
		CollapseKey: "rain", Label: "rain_1", Sound: "drop.caf", Badge: new(3),
		ExpiresAt: at.Add(2 * time.Minute), // a minute after the attempt
		Android:   channels.Android{ChannelID: "offers"},
		Apple: channels.Apple{
			Category: "OFFER", ThreadID: "rain", Interruption: "critical", Relevance: 0.5, MutableContent: true, CriticalVolume: 0.25,
		},
	}
	if got := pushMessage(d, dev); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	live := &engage.LiveActivity{
		Event: engage.LiveEnd, State: json.RawMessage(`{"a":1}`), DismissAfterS: new(int64(0)),
	}
	for _, test := range []struct {
		name   string
		change func(*engage.Send)
		got    func(channels.Message) any
		want   any
	}{
		{"no push content: high, with sound, until it expires", func(s *engage.Send) { s.Push = nil }, func(m channels.Message) any {
			return []any{m.HighPrio, m.Sound, m.ExpiresAt.Sub(at), m.CollapseKey, m.NowOrNever}
		}, []any{true, "default", time.Hour, "", false}},
		{"no words of its own: the same", func(s *engage.Send) { s.Push = &engage.PushContent{} }, func(m channels.Message) any {
			return []any{m.HighPrio, m.Sound, m.ExpiresAt.Sub(at), m.CollapseKey, m.NowOrNever}
		}, []any{true, "default", time.Hour, "", false}},
		{"no sound", func(s *engage.Send) { s.Push.Sound = "none" }, func(m channels.Message) any { return m.Sound }, ""},
		{"now or never", func(s *engage.Send) { s.Push.TTLS = new(int64(0)) }, func(m channels.Message) any {
			return []any{m.NowOrNever, m.ExpiresAt.Sub(at)}
		}, []any{true, time.Hour}},
		{"no longer than the message", func(s *engage.Send) { s.Push.TTLS = new(int64(86400)) }, func(m channels.Message) any {
			return m.ExpiresAt.Sub(at)
		}, time.Hour},
		{"silent", func(s *engage.Send) { s.Push = &engage.PushContent{Silent: true} }, func(m channels.Message) any {
			return []any{m.Kind, m.HighPrio, m.Sound}
		}, []any{channels.Silent, false, ""}},
		{"silent, and at once", func(s *engage.Send) { s.Push = &engage.PushContent{Silent: true, Priority: "high"} }, func(m channels.Message) any {
			return m.HighPrio
		}, true},
		{"a Live Activity ends", func(s *engage.Send) { s.Push.IOS.Live = live }, func(m channels.Message) any {
			return []any{m.Kind, *m.Live}
		}, []any{channels.LiveActivity, channels.Live{Event: "end", State: live.State, At: at, DismissAt: at}}},
		{"a Live Activity is updated", func(s *engage.Send) {
			s.Push.IOS.Live = &engage.LiveActivity{Event: engage.LiveUpdate, State: live.State, StaleAfterS: 90}
		}, func(m channels.Message) any { return *m.Live }, channels.Live{Event: "update", State: live.State, At: at, StaleAt: at.Add(90 * time.Second)}},
	} {
		d, dev := rich(test.change)
		if got := test.got(pushMessage(d, dev)); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}

	// Another platform of the same person gets the notification.
	d, dev = rich(func(s *engage.Send) { s.Push.IOS.Live = live })
	dev.Platform, dev.Push.Provider = "android", "fcm"
	if m := pushMessage(d, dev); m.Kind != channels.Notification || m.Live != nil {
		t.Errorf("on Android: %+v", m)
	}
}

const display1 = `"display":{"style":"STYLE_MODAL","dismissAfterMs":9000,"actions":[{"id":"go","label":"Go","deepLink":"shop://go"},{"id":"no","label":"No"}]}`

func wantMessage(t *testing.T, what string, got *sdkpb.Message, want string) {
	t.Helper()
	w := &sdkpb.Message{}
	if err := protojson.Unmarshal([]byte(want), w); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, w) {
		t.Errorf("%s: got %s\nwant %s", what, protojson.Format(got), protojson.Format(w))
	}
}

func TestAnInAppMessageAndACardSayHowTheyAreShown(t *testing.T) {
	const words = `"messageId":"d1","title":"Umbrella?","body":"It rains","deepLink":"shop://u","imageUrl":"https://example.com/u.png",` +
		`"data":{"sku":"7"},"campaignId":"rainy-day","sentMs":"1795262400123"`
	d, _ := rich()
	wantMessage(t, "in-app", inAppMessage(&d.Send), `{"kind":"KIND_IN_APP","expiresMs":"1795266000123",`+words+`,`+display1+
		`,"frequency":{"times":2,"minGapMs":2592000000,"perSession":true}}`)

	now := d.Send.DecidedAt.Add(time.Minute)
	held := func(channels ...engage.Channel) func(*engage.Send) {
		return func(s *engage.Send) {
			s.Channels = channels
			s.InApp.Trigger = &engage.InAppTrigger{Screen: "checkout", DelayS: 20}
		}
	}
	for _, test := range []struct {
		name   string
		change func(*engage.Send)
		until  time.Duration // after now
		want   string
	}{
		{"a card: its buttons, no style", func(*engage.Send) {}, 2 * time.Hour, `{"kind":"KIND_INBOX","pinned":true,` + words +
			`,"display":{"actions":[{"id":"go","label":"Go","deepLink":"shop://go"},{"id":"no","label":"No"}]}}`},
		{"a card of an earlier kind", func(s *engage.Send) { s.Inbox, s.InApp, s.Push, s.Actions = nil, nil, nil, nil }, 59 * time.Minute, `{"kind":"KIND_INBOX",` + words + `}`},
		{"one that waits", held(engage.InApp), 59 * time.Minute, `{"kind":"KIND_IN_APP","pinned":true,` + words + `,` + display1 +
			`,"trigger":{"screen":"checkout","delayMs":20000},"frequency":{"times":2,"minGapMs":2592000000,"perSession":true}}`},
		{"one that waits and is a card", held(engage.InApp, engage.Inbox), 2 * time.Hour, `{"kind":"KIND_INBOX","pinned":true,` + words + `,` + display1 +
			`,"trigger":{"screen":"checkout","delayMs":20000},"frequency":{"times":2,"minGapMs":2592000000,"perSession":true}}`},
	} {
		d, _ := rich(test.change)
		it, err := d.inboxItem(now)
		if err != nil {
			t.Fatal(err)
		}
		if got := it.Expires.Sub(it.At).Round(time.Millisecond); got != test.until {
			t.Errorf("%s: expires %v after it was put there, want %v", test.name, got, test.until)
		}
		m, err := readInboxItem(*it)
		if err != nil {
			t.Fatal(err)
		}
		if m.ExpiresMs != it.Expires.UnixMilli() {
			t.Errorf("%s: the phone thinks that it expires at %d", test.name, m.ExpiresMs)
		}
		m.ExpiresMs = 0
		wantMessage(t, test.name, m, test.want)
	}
}
