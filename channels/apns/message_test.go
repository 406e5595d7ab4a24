package apns_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/channels/apns"
	"github.com/footfall-engage/footfall/channels/apns/apnssim"
)

// live is a message that starts a Live Activity.
func live(token string, at time.Time) channels.Message {
	return channels.Message{
		AttemptID: "live-1", DeliveryID: "delivery-1", Kind: channels.LiveActivity, HighPrio: true,
		Target: channels.Target{Provider: channels.APNs, Token: channels.Token(token)},
		Title:  "Your order", Body: "is being packed", Sound: "ding.caf",
		Apple: channels.Apple{Relevance: 0.5},
		Live: &channels.Live{
			Event: "start", AttributesType: "OrderAttributes", Attributes: json.RawMessage(`{}`),
			State: json.RawMessage(`{"step": 9007199254740993, "link":"shop://a?b&c"}`), At: at, StaleAt: at.Add(time.Hour),
		},
	}
}

func TestEachKindIsRenderedAsAppleWantsIt(t *testing.T) {
	c := newClock()
	var p phone
	sim := start(t, apnssim.Options{OnAccept: p.accept, Now: c.now})
	s := sender(t, sim, func(o *apns.Options) { o.Now = c.now })
	for _, k := range []struct {
		name    string
		message func(m channels.Message) channels.Message
		want    apnssim.Delivered // of it: what is compared below
	}{
		{"alert", func(m channels.Message) channels.Message {
			m.Subtitle, m.Sound, m.Badge = "Only <today> & tomorrow", "default", new(0)
			m.DeepLink, m.ImageURL = "shop://umbrella?a=1&b=2", "https://img.example/u.png?w=1&h=2"
			m.Actions = []channels.Action{{ID: "go", Label: "Show me", DeepLink: "shop://u"}, {ID: "no", Label: "Not now"}}
			m.Data = map[string]string{"colour": "rød"}
			m.Apple = channels.Apple{Category: "OFFER", ThreadID: "rain", Interruption: "time-sensitive", Relevance: 0.1}
			m.CollapseKey, m.ExpiresAt = "rain", c.now().Add(time.Hour)
			return m
		}, apnssim.Delivered{PushType: "alert", Topic: "com.example.shop", Priority: 10, CollapseID: "rain", Expiration: c.now().Add(time.Hour)}},
		{"plain", func(m channels.Message) channels.Message {
			m.HighPrio, m.NowOrNever, m.Title, m.CollapseKey = false, true, "", "regn på vej"
			return m
		}, apnssim.Delivered{PushType: "alert", Topic: "com.example.shop", Priority: 5, Expiration: time.Unix(0, 0).UTC()}},
		{"critical", func(m channels.Message) channels.Message {
			m.Apple = channels.Apple{Interruption: "critical", CriticalVolume: 0.25}
			return m
		}, apnssim.Delivered{PushType: "alert", Topic: "com.example.shop", Priority: 10, CollapseID: "attempt"}},
		{"buttons", func(m channels.Message) channels.Message {
			m.Actions = []channels.Action{{ID: "go", Label: "Show me"}}
			return m
		}, apnssim.Delivered{PushType: "alert", Topic: "com.example.shop", Priority: 10, CollapseID: "attempt"}},
		{"silent", func(m channels.Message) channels.Message {
			m.Kind, m.Data, m.Sound, m.Badge = channels.Silent, map[string]string{"sync": "inbox"}, "default", new(3)
			return m
		}, apnssim.Delivered{PushType: "background", Topic: "com.example.shop", Priority: 5, CollapseID: "attempt"}},
		{"live_start", func(m channels.Message) channels.Message {
			return live(string(m.Target.Token), c.now())
		}, apnssim.Delivered{PushType: "liveactivity", Topic: "com.example.shop.push-type.liveactivity", Priority: 10}},
		{"live_update", func(m channels.Message) channels.Message {
			m = live(string(m.Target.Token), c.now())
			m.Live = &channels.Live{Event: "update", State: json.RawMessage(`{"step":2}`), At: c.now()}
			m.Title, m.Body, m.HighPrio, m.Target.Topic = "", "", false, "com.example.shop.push-type.liveactivity"
			return m
		}, apnssim.Delivered{PushType: "liveactivity", Topic: "com.example.shop.push-type.liveactivity", Priority: 5}},
		{"live_end", func(m channels.Message) channels.Message {
			m = live(string(m.Target.Token), c.now())
			m.Live = &channels.Live{Event: "end", At: c.now(), DismissAt: c.now().Add(time.Minute)}
			return m
		}, apnssim.Delivered{PushType: "liveactivity", Topic: "com.example.shop.push-type.liveactivity", Priority: 10}},
	} {
		t.Run(k.name, func(t *testing.T) {
			m := message(apnssim.Token("ok", k.name))
			m.AttemptID = "attempt"
			m = k.message(m)
			if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Accepted {
				t.Fatalf("%+v %v", out, err)
			}
			d := p.to(string(m.Target.Token))[0]
			golden(t, k.name+".json", d.Raw)
			got := apnssim.Delivered{PushType: d.PushType, Topic: d.Topic, Priority: d.Priority, CollapseID: d.CollapseID, Expiration: d.Expiration}
			if k.name == "plain" { // a hash
				if len(got.CollapseID) != 64 || strings.Contains(got.CollapseID, "regn") {
					t.Errorf("collapse id %q", got.CollapseID)
				}
				k.want.CollapseID = got.CollapseID
			}
			if g, w := asJSON(t, got), asJSON(t, k.want); !bytes.Equal(g, w) {
				t.Errorf("got  %s\nwant %s", g, w)
			}
		})
	}
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMalformedContentIsRefusedWithItsField(t *testing.T) {
	sim := start(t, apnssim.Options{})
	s := sender(t, sim, nil)
	big := strings.Repeat("b", 4096)
	for _, k := range []struct {
		name   string
		change func(*channels.Message)
		code   channels.MessageErrorCode
		field  string
	}{
		{"dry run", func(m *channels.Message) { m.DryRun = true }, channels.Invalid, "dry_run"},
		{"kind", func(m *channels.Message) { m.Kind = "telegram" }, channels.Invalid, "kind"},
		{"long collapse key", func(m *channels.Message) { m.CollapseKey = big[:65] }, channels.TooLong, "collapse_key"},
		{"long subtitle", func(m *channels.Message) { m.Subtitle = big }, channels.TooLong, "subtitle"},
		{"long button", func(m *channels.Message) { m.Actions = []channels.Action{{ID: "a", Label: big}} }, channels.TooLong, "actions.0.label"},
		{"long in bytes", func(m *channels.Message) { m.Body = strings.Repeat("ø", 2048) }, channels.TooLong, "body"},
		{"buttons", func(m *channels.Message) { m.Actions = make([]channels.Action, 4) }, channels.Invalid, "actions"},
		{"button without id", func(m *channels.Message) { m.Actions = []channels.Action{{Label: "x"}} }, channels.Missing, "actions.0.id"},
		{"button without label", func(m *channels.Message) { m.Actions = []channels.Action{{ID: "x"}} }, channels.Missing, "actions.0.label"},
		{"same button", func(m *channels.Message) {
			m.Actions = []channels.Action{{ID: "x", Label: "a"}, {ID: "x", Label: "b"}}
		}, channels.Invalid, "actions.1.id"},
		{"nothing to show", func(m *channels.Message) { m.Title, m.Body = "", "" }, channels.Missing, "body"},
		{"badge", func(m *channels.Message) { m.Badge = new(-1) }, channels.Invalid, "badge"},
		{"interruption", func(m *channels.Message) { m.Apple.Interruption = "loud" }, channels.Invalid, "apple.interruption"},
		{"relevance", func(m *channels.Message) { m.Apple.Relevance = math.NaN() }, channels.Invalid, "apple.relevance"},
		{"volume", func(m *channels.Message) { m.Apple = channels.Apple{Interruption: "critical", CriticalVolume: 2} }, channels.Invalid, "apple.critical_volume"},
		{"volume of what is not critical", func(m *channels.Message) { m.Apple.CriticalVolume = 1 }, channels.Invalid, "apple.critical_volume"},
		{"live without its part", func(m *channels.Message) { m.Kind = channels.LiveActivity }, channels.Missing, "live"},
		{"live event", func(m *channels.Message) { *m = live(string(m.Target.Token), time.Now()); m.Live.Event = "pause" }, channels.Invalid, "live.event"},
		{"live time", func(m *channels.Message) { *m = live(string(m.Target.Token), time.Time{}) }, channels.Missing, "live.at"},
		{"live state", func(m *channels.Message) { *m = live(string(m.Target.Token), time.Now()); m.Live.State = nil }, channels.Missing, "live.state"},
		{"live state not an object", func(m *channels.Message) {
			*m = live(string(m.Target.Token), time.Now())
			m.Live.State = json.RawMessage(`[1]`)
		}, channels.Invalid, "live.state"},
		{"live type", func(m *channels.Message) {
			*m = live(string(m.Target.Token), time.Now())
			m.Live.AttributesType = ""
		}, channels.Missing, "live.attributes_type"},
		{"live attributes", func(m *channels.Message) {
			*m = live(string(m.Target.Token), time.Now())
			m.Live.Attributes = nil
		}, channels.Missing, "live.attributes"},
		{"live attributes not whole", func(m *channels.Message) {
			*m = live(string(m.Target.Token), time.Now())
			m.Live.Attributes = json.RawMessage(`{"a":`)
		}, channels.Invalid, "live.attributes"},
		{"live too long", func(m *channels.Message) {
			*m = live(string(m.Target.Token), time.Now())
			m.Live.State = json.RawMessage(`{"a":"` + big + `"}`)
		}, channels.TooLong, "live.state"},
	} {
		t.Run(k.name, func(t *testing.T) {
			m := message(apnssim.Token("ok", "x"))
			k.change(&m)
			_, err := s.Send(t.Context(), m)
			var me *channels.MessageError
			if !errors.As(err, &me) || me.Code != k.code || me.Field != k.field {
				t.Errorf("got %v, want %s of %s", err, k.code, k.field)
			}
		})
	}
	if n := len(sim.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestAPayloadOfExactlyTheLimitPasses(t *testing.T) {
	var p phone
	sim := start(t, apnssim.Options{OnAccept: p.accept})
	s := sender(t, sim, nil)
	m := message(apnssim.Token("ok", "x"))
	if _, err := s.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	m.Body += strings.Repeat("&", 4096-len(p.to(string(m.Target.Token))[0].Raw))
	if out, err := s.Send(t.Context(), m); err != nil || out.Kind != channels.Accepted {
		t.Error(out, err)
	}
	m.Body += "&"
	if _, err := s.Send(t.Context(), m); err == nil {
		t.Error("one byte more must be refused")
	}
}
