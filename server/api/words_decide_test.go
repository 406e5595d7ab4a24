package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
)

// decided is what the decide stage recorded after a person entered a place.
func decided(t *testing.T, late time.Duration, then *engage.Campaign, entries func(entry func(kind engage.Kind, body any) engage.Entry) []engage.Entry, campaigns ...*engage.Campaign) []engage.Decision {
	t.Helper()
	return decidedIn(t, decide.Workspace{}, late, then, entries, campaigns...)
}

// decidedIn is the same with settings of the workspace.
func decidedIn(t *testing.T, ws decide.Workspace, late time.Duration, then *engage.Campaign, entries func(entry func(kind engage.Kind, body any) engage.Entry) []engage.Entry, campaigns ...*engage.Campaign) []engage.Decision {
	t.Helper()
	shop := geo.Point{Lat: 52.3731, Lng: 4.8922}
	at := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	key := engage.ProfileKey("acme", "ada")
	entry := func(kind engage.Kind, body any) engage.Entry {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return engage.Entry{Kind: kind, Key: key, At: at, Occurred: at, Body: b}
	}
	p := steptest.New("act/0", decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}})
	adopt := func(cs []*engage.Campaign) {
		ws.ID, ws.Campaigns = "acme", cs
		ws.Places = []*engage.Place{{ID: "cafe", Workspace: "acme", Name: "Café", TimeZone: "Europe/Amsterdam", Location: shop}}
		config, errs := decide.NewConfig([]decide.Workspace{ws})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		p.Adopt(config)
	}
	adopt(campaigns)
	cell, err := geo.CellOf(shop, engage.WeatherResolution)
	if err != nil {
		t.Fatal(err)
	}
	enters := engage.Trigger{
		Type: engage.TriggerPlace, Occasion: "v1", Install: "i-ada", OccurredAt: at.Add(-late), Transition: engage.Enter, Ring: engage.Inside,
		Place: "cafe", Fence: "cafe-in", Evidence: "fix", DistanceM: 12, AccuracyM: 10, Cell: cell.String(), WeatherIs: engage.WeatherAbsent,
	}
	all := []engage.Entry{
		entry(engage.KindDevice, engage.Device{Install: "i-ada", App: "shop", Platform: "android", Notifications: "granted", SeenAt: at}),
		entry(engage.KindConsent, map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true, At: at}}),
	}
	if entries != nil {
		all = entries(entry)
	}
	if err := p.Apply(append(all, entry(engage.KindTrigger, enters))...); err != nil {
		t.Fatal(err)
	}
	for again := true; again; { // what persons send to persons
		again = false
		for _, o := range p.Take() {
			if o.To != "act" {
				continue
			}
			again = true
			if err := p.Apply(o.Entry); err != nil {
				t.Fatal(err)
			}
		}
	}
	if then != nil {
		adopt([]*engage.Campaign{then})
	}
	if err := p.FireUntil(at.Add(48 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	var out []engage.Decision
	for _, b := range p.Docs("decisions") {
		var d engage.Decision
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// Whatever a gate of the decide stage says no by is told with what it saw, not
// by its code.
func TestWhatDecideSaysIsToldPlainly(t *testing.T) {
	offer := func(change func(*engage.Campaign)) *engage.Campaign {
		c := &engage.Campaign{
			ID: "x", Workspace: "acme", Version: 1, Name: "X", Class: engage.Marketing, Status: engage.Live,
			Trigger: engage.CampaignTrigger{Type: engage.TriggerPlace, Transition: engage.Enter},
			Arms:    []engage.Arm{{ID: "a", Message: engage.Content{Title: "Hello", Body: "Come in"}}},
		}
		if change != nil {
			change(c)
		}
		return c
	}
	at := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	device := engage.Device{Install: "i-ada", App: "shop", Platform: "android", TimeZone: "Europe/Amsterdam", Notifications: "granted", SeenAt: at}
	type entries = func(func(engage.Kind, any) engage.Entry) []engage.Entry
	answer := func(c map[engage.Purpose]engage.Consent) entries {
		return func(entry func(engage.Kind, any) engage.Entry) []engage.Entry {
			return []engage.Entry{entry(engage.KindDevice, device), entry(engage.KindConsent, c)}
		}
	}
	rain := json.RawMessage(`{"field":"weather.condition","op":"in","value":["rain"]}`)
	quiet := func(c *engage.Campaign) {
		c.Limits.Quiet = &engage.QuietHours{Start: "10:30", End: "12:00"}
		c.Limits.ExpireS = 7200
	}
	tests := []struct {
		name      string
		campaigns []*engage.Campaign // default: one offer as it is
		change    func(*engage.Campaign)
		before    entries // default: a person with a phone, who agreed
		late      time.Duration
		then      *engage.Campaign // what the configuration becomes while the moment waits
		reason    engage.Reason
		want      string
	}{
		{
			name: "no", before: answer(map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {At: at, TextVersion: "v3", Source: "app"}}),
			reason: engage.ReasonConsent, want: "The person said no to marketing messages on 2 November 2026.",
		},
		{
			name: "never asked", before: answer(map[engage.Purpose]engage.Consent{engage.ConsentProfiling: {Granted: true, At: at}}),
			reason: engage.ReasonConsent, want: "The person has not agreed to marketing messages.",
		},
		{
			name: "not started", change: func(c *engage.Campaign) { c.Start = new(at.Add(time.Hour)) },
			reason: engage.ReasonNotStarted, want: "The campaign begins only at 2026-11-02 11:00:00 UTC.",
		},
		{
			name: "ended", change: func(c *engage.Campaign) { c.End = new(at.Add(-time.Second)) },
			reason: engage.ReasonEnded, want: "The campaign ended at 2026-11-02 09:59:59 UTC.",
		},
		{
			name: "stale", late: 20 * time.Minute,
			reason: engage.ReasonStale, want: "The evidence was 20 min old when it reached the server; the campaign takes at most 15 min.",
		},
		{
			name: "no channel", change: func(c *engage.Campaign) { c.Arms[0].Message.Channels = []engage.Channel{engage.Push} },
			reason: engage.ReasonNoChannel, want: "No channel that the campaign allows (push) had a way to the person.",
		},
		{
			name: "audience", change: func(c *engage.Campaign) {
				c.Audience = json.RawMessage(`{"field":"likes","op":"contains","value":"fashion"}`)
			},
			reason: engage.ReasonAudience, want: "The person does not belong to the audience: likes must contain fashion, but was not known.",
		},
		{
			name: "context", change: func(c *engage.Campaign) {
				c.Context = json.RawMessage(`{"field":"local.hour","op":"lt","value":11}`)
			},
			reason: engage.ReasonContext, want: "The moment does not fit: local.hour must be below 11, but was 11.",
		},
		{
			name: "weather", change: func(c *engage.Campaign) { c.Context = rain },
			reason: engage.ReasonWeatherUnknown, want: "The weather at the place was not known.",
		},
		{
			name: "forecast", change: func(c *engage.Campaign) {
				c.Context = json.RawMessage(`{"field":"weather.next_3h.precipitation_mm","op":"lt","value":1}`)
			},
			before: func(entry func(engage.Kind, any) engage.Entry) []engage.Entry {
				return append(answer(map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true, At: at}})(entry), forecastFor(entry, at, 4))
			},
			reason: engage.ReasonContext, want: "The moment does not fit: weather.next_3h.precipitation_mm must be below 1, but was 1.5. " +
				"Used was the forecast: partly cloudy, 9 °C; for the next 3 hours: rain, 8 to 10 °C, 1.5 mm.",
		},
		{
			name: "forecast too short", change: func(c *engage.Campaign) {
				c.Context = json.RawMessage(`{"field":"weather.next_12h.precipitation_mm","op":"lt","value":1}`)
			},
			before: func(entry func(engage.Kind, any) engage.Entry) []engage.Entry {
				return append(answer(map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true, At: at}})(entry), forecastFor(entry, at, 4))
			},
			reason: engage.ReasonWeatherUnknown, want: "The forecast for the next 12 hours at the place was not known.",
		},
		{
			name: "quiet expired", change: func(c *engage.Campaign) { c.Limits.Quiet = &engage.QuietHours{Start: "10:30", End: "12:01"} },
			reason: engage.ReasonQuietExpired, want: "It was 11:00 in Europe/Amsterdam, within quiet hours until 2026-11-02 11:01:00 UTC, when the message would have been too old.",
		},
		{
			name: "paused", change: quiet, then: offer(func(c *engage.Campaign) { quiet(c); c.Status = engage.Paused }),
			reason: engage.ReasonPaused, want: "The campaign was not live any more when the waiting moment was looked at again.",
		},
		{
			name: "render", change: func(c *engage.Campaign) { c.Arms[0].Message.Body = "{{ profile.locale.x }}" },
			reason: engage.ReasonRender, want: "The message could not be written: arms.a.body: line 1: profile.locale.x is missing; add a default or ask for it with if.",
		},
		{
			name: "arbitration", campaigns: []*engage.Campaign{offer(func(c *engage.Campaign) { c.Priority = 2 }), offer(func(c *engage.Campaign) { c.ID = "y" })},
			reason: engage.ReasonArbitration, want: `The campaign "x" wanted the same moment and came first: its priority is 2, this one's 0.`,
		},
		{
			name: "held out", change: func(c *engage.Campaign) { c.HoldoutPercent = 50 },
		},
		{
			name: "runaway", campaigns: []*engage.Campaign{offer(func(c *engage.Campaign) {
				c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "answered"}
			})},
			before: func(entry func(engage.Kind, any) engage.Entry) []engage.Entry {
				out := answer(map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true, At: at}})(entry)
				for i := range 121 {
					occasion := fmt.Sprint("e", i)
					out = append(out, entry(engage.KindTrigger, engage.Trigger{
						Type: engage.TriggerEvent, Occasion: occasion, Install: "i-ada", OccurredAt: at, Event: "answered",
					}), entry(engage.KindOutcome, engage.DeliveryOutcome{
						Delivery: engage.DeliveryID("acme", "x", "ada", occasion), State: engage.DeliveryAccepted, Channel: "fcm",
					}))
				}
				return out
			},
			reason: engage.ReasonRunaway, want: "The campaign had spoken to the person 120 times within 60 min, so it seems to bring about itself what fires it.",
		},
	}
	told := map[engage.Reason]bool{}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			campaigns := c.campaigns
			if campaigns == nil {
				campaigns = []*engage.Campaign{offer(c.change)}
			}
			found := c.reason == ""
			for _, d := range decided(t, c.late, c.then, c.before, campaigns...) {
				for _, g := range d.Gates {
					words := gateWords(g)
					if strings.HasPrefix(words, "The gate ") {
						t.Errorf("%s by %q with %v is told as %q", g.Gate, g.Reason, g.Saw, words)
					}
					if g.Reason == c.reason && g.Reason != "" {
						found, told[g.Reason] = true, true
						if words != c.want {
							t.Errorf("got  %s\nwant %s", words, c.want)
						}
					}
				}
			}
			if !found {
				t.Errorf("nobody said no by %s", c.reason)
			}
		})
	}
	// What one moment does not give: a second one of the same visit, more than the
	// cap, and the wait for the end of quiet hours.
	for _, c := range []struct {
		reason engage.Reason
		visit  string
		change func(*engage.Campaign)
		want   string
	}{
		{engage.ReasonOccasionUsed, "v1", nil, "The campaign had already been decided for this occasion (the same visit or event)."},
		{engage.ReasonCap, "v0", func(c *engage.Campaign) { c.Limits.Cap, c.Limits.CapWindowS = 1, 86400 }, "The person had 1 of at most 1 message within 24 h; there is room again from 2026-11-03 10:00:00 UTC."},
	} {
		told[c.reason] = true
		first := func(entry func(engage.Kind, any) engage.Entry) []engage.Entry {
			return append(answer(map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true, At: at}})(entry), entry(engage.KindTrigger, engage.Trigger{
				Type: engage.TriggerPlace, Occasion: c.visit, Install: "i-ada", OccurredAt: at, Transition: engage.Enter, Ring: engage.Inside, Place: "cafe", Fence: "cafe-near", Evidence: "os_region",
			}))
		}
		got := []string{}
		for _, d := range decided(t, 0, nil, first, offer(c.change)) {
			for _, g := range d.Gates {
				if g.Reason == c.reason {
					got = append(got, gateWords(g))
				}
			}
		}
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
	// Who it is turns out while a moment waits.
	merged := func(entry func(engage.Kind, any) engage.Entry) []engage.Entry {
		return append(answer(map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true, At: at}})(entry),
			entry(engage.KindTrigger, engage.Trigger{
				Type: engage.TriggerPlace, Occasion: "v0", Install: "i-ada", OccurredAt: at, Transition: engage.Enter, Ring: engage.Inside,
				Place: "cafe", Fence: "cafe-near", Evidence: "os_region", Cell: "851969d3fffffff", WeatherIs: engage.WeatherAbsent,
			}),
			entry(engage.KindMerge, engage.Merge{With: engage.PersonID("acme", "user_id:ada"), Why: "identify"}))
	}
	for _, d := range decided(t, 0, nil, merged, offer(func(c *engage.Campaign) { c.Context = rain })) {
		for _, g := range d.Gates {
			if g.Reason == engage.ReasonMerged {
				told[g.Reason] = true
				if words := gateWords(g); words != "It turned out who this is while the moment waited: it waits on as theirs." {
					t.Errorf("a merge is told as %q", words)
				}
			}
		}
	}
	// Too much at a time.
	for reason, change := range map[engage.Reason]func(*engage.Campaign){
		engage.ReasonQuietTooMany:   quiet,
		engage.ReasonWeatherTooMany: func(c *engage.Campaign) { c.Context = rain },
		engage.ReasonTooManyOpen:    nil,
	} {
		crowd := func(entry func(engage.Kind, any) engage.Entry) []engage.Entry {
			out := answer(map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true, At: at}})(entry)
			for i := range 101 {
				out = append(out, entry(engage.KindTrigger, engage.Trigger{
					Type: engage.TriggerPlace, Occasion: fmt.Sprint("v", i, "x"), Install: "i-ada", OccurredAt: at, Transition: engage.Enter, Ring: engage.Inside,
					Place: "cafe", Fence: fmt.Sprint("f", i), Evidence: "os_region", Cell: "851969d3fffffff", WeatherIs: engage.WeatherAbsent,
				}))
			}
			return out
		}
		for _, d := range decided(t, 0, nil, crowd, offer(change)) {
			for _, g := range d.Gates {
				if g.Reason == reason {
					told[reason] = true
					if words := gateWords(g); !strings.HasPrefix(words, "Too many ") {
						t.Errorf("%s is told as %q", reason, words)
					}
				}
			}
		}
	}
	toldOfLimits(t, told)
	offerRuns(t, told)
	itemRuns(t, told)
	// The kill switch.
	for _, d := range decidedIn(t, decide.Workspace{Stop: &engage.Stop{At: at, By: "ada"}}, 0, nil, nil, offer(nil)) {
		for _, g := range d.Gates {
			if g.Reason == engage.ReasonStopped {
				told[g.Reason] = true
				if words := gateWords(g); words != "Everything was stopped at 2026-11-02 10:00:00 UTC." {
					t.Errorf("a stop is told as %q", words)
				}
			}
		}
	}
	for r := range reasonWords {
		if r != engage.ReasonQuiet && !told[r] { // quiet hours are told while the moment waits
			t.Errorf("no run of decide shows %s", r)
		}
	}
}

func TestOldConsentTracesAreTold(t *testing.T) {
	for was, want := range map[any]string{
		true:  "The person said no to marketing messages.",
		false: "The person has not agreed to marketing messages.",
	} {
		if got := gateWords(engage.GateResult{Gate: "consent", Reason: engage.ReasonConsent, Saw: saw("purpose", "marketing", "answered", was)}); got != want {
			t.Errorf("answered %v: %s", was, got)
		}
	}
}
