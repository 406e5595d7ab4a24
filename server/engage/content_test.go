package engage_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

func saying(m engage.Content) *engage.Campaign {
	return &engage.Campaign{
		ID: "c", Name: "C", Class: engage.Marketing, Status: engage.Draft,
		Trigger: engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "e"},
		Arms:    []engage.Arm{{ID: "a", Message: m}},
	}
}

// full is a message that has every field that can stand beside the others.
func full() engage.Content {
	return engage.Content{
		Title: "T", Body: "B", DeepLink: "shop://x", ImageURL: "https://example.com/x.png", Data: map[string]string{"k": "v"},
		Push: &engage.PushContent{
			Subtitle: "S", Priority: "normal", TTLS: new(int64(2419200)), CollapseKey: strings.Repeat("k", 64), Label: "spring_2026~a",
			Sound: "ding.caf", Badge: new(0), Devices: engage.OnePerPlatform,
			Android: &engage.AndroidPush{ChannelID: "offers"},
			IOS: &engage.IOSPush{
				Category: "OFFER", ThreadID: "offers", Interruption: "critical", Relevance: 1, MutableContent: true, CriticalVolume: 0.5,
			},
		},
		InApp: &engage.InAppContent{
			Style: engage.FullScreen, DismissAfterS: 600, Frequency: &engage.InAppFrequency{Times: 3, MinGapS: 60, PerSession: true},
		},
		Inbox: &engage.InboxContent{Pinned: true, ExpiresS: 2592000},
		Actions: []engage.Action{
			{ID: "buy", Label: "Buy", DeepLink: "shop://buy"}, {ID: "later", Label: "Later"}, {ID: "never", Label: "Never"},
		},
	}
}

// held is a message that waits on the phone for its moment.
func held(t engage.InAppTrigger) engage.Content {
	return engage.Content{Title: "T", Channels: []engage.Channel{engage.InApp, engage.Inbox}, InApp: &engage.InAppContent{Trigger: &t}}
}

// activity is a step of a Live Activity, and nothing else.
func activity(l engage.LiveActivity) engage.Content {
	return engage.Content{
		Channels: []engage.Channel{engage.Push}, Push: &engage.PushContent{IOS: &engage.IOSPush{Live: &l}},
	}
}

func TestMessagesThatCanBe(t *testing.T) {
	object := json.RawMessage(`{"eta":"{{ now }}"}`)
	for name, m := range map[string]engage.Content{
		"everything":           full(),
		"a title is enough":    {Title: "T"},
		"held for an event":    held(engage.InAppTrigger{Event: "cart_opened", DelayS: 3600}),
		"held for a screen":    held(engage.InAppTrigger{Screen: "checkout"}),
		"held for a while":     held(engage.InAppTrigger{DelayS: 5}),
		"silent":               {Channels: []engage.Channel{engage.Push}, Data: map[string]string{"sync": "1"}, Push: &engage.PushContent{Silent: true}},
		"an update":            activity(engage.LiveActivity{Event: engage.LiveUpdate, State: object, StaleAfterS: 43200}),
		"an end without words": activity(engage.LiveActivity{Event: engage.LiveEnd, DismissAfterS: new(int64(0))}),
		"a start": {Title: "T", Push: &engage.PushContent{IOS: &engage.IOSPush{Live: &engage.LiveActivity{
			Event: engage.LiveStart, AttributesType: "OrderAttributes", Attributes: json.RawMessage(`{}`), State: object,
		}}}},
	} {
		if err := saying(m).Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadMessagesAreRefusedWithTheirField(t *testing.T) {
	object := json.RawMessage(`{}`)
	start := engage.LiveActivity{Event: engage.LiveStart, AttributesType: "A", Attributes: object, State: object}
	live := func(change func(*engage.LiveActivity)) func(*engage.Content) {
		return func(c *engage.Content) {
			l := start
			change(&l)
			*c = activity(l)
			c.Title = "T"
		}
	}
	silent := func(change func(*engage.Content)) func(*engage.Content) {
		return func(c *engage.Content) {
			*c = engage.Content{Channels: []engage.Channel{engage.Push}, Push: &engage.PushContent{Silent: true}}
			change(c)
		}
	}
	trigger := func(x engage.InAppTrigger) func(*engage.Content) {
		return func(c *engage.Content) { *c = held(x) }
	}
	for _, c := range []struct {
		field  string // below arms[0].message
		says   string
		code   engage.Code
		change func(*engage.Content)
	}{
		{"", "needs a title or a body", engage.Invalid, func(c *engage.Content) { c.Title, c.Body = "", "" }},
		{"channels[1]", `is "sms"`, engage.Invalid, func(c *engage.Content) { c.Channels = []engage.Channel{engage.Push, "sms"} }},
		{"actions", "at most 3, has 4", engage.TooLarge, func(c *engage.Content) { c.Actions = append(c.Actions, engage.Action{ID: "x", Label: "X"}) }},
		{"actions[1].id", "must be 1 to 40", engage.Invalid, func(c *engage.Content) { c.Actions[1].ID = "" }},
		{"actions[1].id", "must be 1 to 40", engage.Invalid, func(c *engage.Content) { c.Actions[1].ID = strings.Repeat("x", 41) }},
		{"actions[2].id", `stands twice: "buy"`, engage.Invalid, func(c *engage.Content) { c.Actions[2].ID = "buy" }},
		{"actions[0].label", "is required", engage.Invalid, func(c *engage.Content) { c.Actions[0].Label = " " }},
		{"actions[2].label", `stands twice: "Later"`, engage.Invalid, func(c *engage.Content) { c.Actions[2].Label = "Later" }},

		{"push.priority", `is "urgent"`, engage.Invalid, func(c *engage.Content) { c.Push.Priority = "urgent" }},
		{"push.ttl_s", "is -1", engage.Invalid, func(c *engage.Content) { c.Push.TTLS = new(int64(-1)) }},
		{"push.ttl_s", "0 to 2419200", engage.Invalid, func(c *engage.Content) { c.Push.TTLS = new(int64(2419201)) }},
		{"push.collapse_key", "at most 64 bytes, has 66", engage.TooLarge, func(c *engage.Content) { c.Push.CollapseKey = strings.Repeat("é", 33) }},
		{"push.collapse_key", "printable ASCII", engage.Invalid, func(c *engage.Content) { c.Push.CollapseKey = "a\nb" }},
		{"push.analytics_label", "1 to 50", engage.Invalid, func(c *engage.Content) { c.Push.Label = strings.Repeat("x", 51) }},
		{"push.analytics_label", "1 to 50", engage.Invalid, func(c *engage.Content) { c.Push.Label = "a b" }},
		{"push.sound", "without a path", engage.Invalid, func(c *engage.Content) { c.Push.Sound = "../x.caf" }},
		{"push.badge", "is -1", engage.Invalid, func(c *engage.Content) { c.Push.Badge = new(-1) }},
		{"push.devices", `is "some"`, engage.Invalid, func(c *engage.Content) { c.Push.Devices = "some" }},
		{"push.android.channel_id", "at most 100 bytes", engage.TooLarge, func(c *engage.Content) { c.Push.Android.ChannelID = strings.Repeat("x", 101) }},
		{"push.ios.category", "at most 100 bytes", engage.TooLarge, func(c *engage.Content) { c.Push.IOS.Category = strings.Repeat("x", 101) }},
		{"push.ios.thread_id", "control", engage.Invalid, func(c *engage.Content) { c.Push.IOS.ThreadID = "a\x00" }},
		{"push.ios.interruption_level", `is "loud"`, engage.Invalid, func(c *engage.Content) { c.Push.IOS.Interruption = "loud" }},
		{"push.ios.relevance_score", "is 1.1", engage.Invalid, func(c *engage.Content) { c.Push.IOS.Relevance = 1.1 }},
		{"push.ios.relevance_score", "is NaN", engage.Invalid, func(c *engage.Content) { c.Push.IOS.Relevance = math.NaN() }},
		{"push.ios.critical_volume", "is -0.1", engage.Invalid, func(c *engage.Content) { c.Push.IOS.CriticalVolume = -0.1 }},
		{"push.ios.critical_volume", "needs interruption_level", engage.Invalid, func(c *engage.Content) { c.Push.IOS.Interruption = "active" }},

		{"channels", `must be ["push"]`, engage.Invalid, silent(func(c *engage.Content) { c.Channels = nil })},
		{"title", "shows nothing", engage.Invalid, silent(func(c *engage.Content) { c.Title = "T" })},
		{"body", "shows nothing", engage.Invalid, silent(func(c *engage.Content) { c.Body = "B" })},
		{"actions", "shows nothing", engage.Invalid, silent(func(c *engage.Content) { c.Actions = []engage.Action{{ID: "a", Label: "A"}} })},
		{"push.badge", "shows nothing", engage.Invalid, silent(func(c *engage.Content) { c.Push.Badge = new(1) })},
		{"push.ios.interruption_level", "interrupts nobody", engage.Invalid, silent(func(c *engage.Content) { c.Push.IOS = &engage.IOSPush{Interruption: "active"} })},

		{"", "needs a title or a body", engage.Invalid, func(c *engage.Content) { *c = activity(start) }}, // iOS demands an alert with a start
		{"", "needs a title or a body", engage.Invalid, func(c *engage.Content) {
			*c = activity(engage.LiveActivity{Event: engage.LiveEnd})
			c.Channels = nil // a card of it would say nothing
		}},
		{"push.ios.live_activity.event", `is "stop"`, engage.Invalid, live(func(l *engage.LiveActivity) { l.Event = "stop" })},
		{"push.ios.live_activity.attributes_type", "required with start", engage.Invalid, live(func(l *engage.LiveActivity) { l.AttributesType = "" })},
		{"push.ios.live_activity.attributes_type", "with start only", engage.Invalid, live(func(l *engage.LiveActivity) { l.Event = engage.LiveUpdate })},
		{"push.ios.live_activity.attributes", "required with start", engage.Invalid, live(func(l *engage.LiveActivity) { l.Attributes = json.RawMessage(`[]`) })},
		{"push.ios.live_activity.attributes", "with start only", engage.Invalid, live(func(l *engage.LiveActivity) { l.Event, l.AttributesType = engage.LiveUpdate, "" })},
		{"push.ios.live_activity.content_state", "JSON object", engage.Invalid, live(func(l *engage.LiveActivity) { l.State = nil })},
		{"push.ios.live_activity.content_state", "JSON object", engage.Invalid, live(func(l *engage.LiveActivity) {
			*l = engage.LiveActivity{Event: engage.LiveEnd, State: json.RawMessage(`"x"`)}
		})},
		{"push.ios.live_activity.content_state", "at most 3500 bytes", engage.TooLarge, live(func(l *engage.LiveActivity) {
			l.State = json.RawMessage(`{"x":"` + strings.Repeat("x", 3500) + `"}`)
		})},
		{"push.ios.live_activity.stale_after_s", "0 to 43200", engage.Invalid, live(func(l *engage.LiveActivity) { l.StaleAfterS = 43201 })},
		{"push.ios.live_activity.stale_after_s", "not go with end", engage.Invalid, live(func(l *engage.LiveActivity) {
			*l = engage.LiveActivity{Event: engage.LiveEnd, StaleAfterS: 1}
		})},
		{"push.ios.live_activity.dismiss_after_s", "with end only", engage.Invalid, live(func(l *engage.LiveActivity) { l.DismissAfterS = new(int64(1)) })},
		{"push.ios.live_activity.dismiss_after_s", "0 to 14400", engage.Invalid, live(func(l *engage.LiveActivity) {
			*l = engage.LiveActivity{Event: engage.LiveEnd, DismissAfterS: new(int64(14401))}
		})},

		{"in_app.style", `is "toast"`, engage.Invalid, func(c *engage.Content) { c.InApp.Style = "toast" }},
		{"in_app.dismiss_after_s", "0 to 600", engage.Invalid, func(c *engage.Content) { c.InApp.DismissAfterS = 601 }},
		{"in_app.trigger", "needs an event", engage.Invalid, trigger(engage.InAppTrigger{})},
		{"in_app.trigger.event", "at most 100 bytes", engage.TooLarge, trigger(engage.InAppTrigger{Event: strings.Repeat("x", 101)})},
		{"in_app.trigger.screen", "not both", engage.Invalid, trigger(engage.InAppTrigger{Event: "a", Screen: "b"})},
		{"in_app.trigger.delay_s", "0 to 3600", engage.Invalid, trigger(engage.InAppTrigger{DelayS: 3601})},
		{"in_app.frequency.times", "0 to 100", engage.Invalid, func(c *engage.Content) { c.InApp.Frequency.Times = 101 }},
		{"in_app.frequency.min_gap_s", "30 days", engage.Invalid, func(c *engage.Content) { c.InApp.Frequency.MinGapS = -1 }},
		{"in_app.frequency.times", "come again at once", engage.Invalid, func(c *engage.Content) { c.InApp.Frequency = &engage.InAppFrequency{Times: 2} }},
		{"channels", "never pushed", engage.Invalid, func(c *engage.Content) { c.InApp.Trigger = &engage.InAppTrigger{DelayS: 1} }},
		{"channels", "needs the channel in_app", engage.Invalid, func(c *engage.Content) {
			*c = held(engage.InAppTrigger{DelayS: 1})
			c.Channels = []engage.Channel{engage.Inbox}
		}},
		{"inbox.expires_in_s", "30 days", engage.Invalid, func(c *engage.Content) { c.Inbox.ExpiresS = 2592001 }},
		{"inbox.expires_in_s", "is -1", engage.Invalid, func(c *engage.Content) { c.Inbox.ExpiresS = -1 }},
	} {
		m := full()
		c.change(&m)
		err := saying(m).Validate()
		want := strings.TrimSuffix("arms[0].message."+c.field, ".")
		var e *engage.Error
		if !errors.As(err, &e) || e.Field != want || e.Code != c.code || !strings.Contains(e.Msg, c.says) {
			t.Errorf("%s: got %v, want %s with %q", want, err, c.code, c.says)
		}
	}
}
