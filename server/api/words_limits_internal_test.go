package api

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
)

// toldOfLimits has a person track two events an hour apart, and holds what the gate of
// the second says against what is wanted; it notes the reasons that it has seen.
func toldOfLimits(t *testing.T, told map[engage.Reason]bool) {
	t.Helper()
	at := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		gate   string
		limits engage.LimitPolicy
		change func(*engage.Campaign)
		reason engage.Reason // empty: it says yes
		want   string
	}{
		{
			"quiet",
			engage.LimitPolicy{Quiet: &engage.QuietHours{Start: "12:00", End: "13:30", Then: engage.QuietDrop}},
			nil, engage.ReasonQuietDropped,
			"It was 12:00 in Europe/Amsterdam, within quiet hours until 2026-11-02 12:30:00 UTC, and the message is not to wait for their end.",
		},
		{
			"cap",
			engage.LimitPolicy{Caps: []engage.PolicyCap{{Max: 1, Calendar: engage.CalendarDay}}},
			nil, engage.ReasonCapGlobal,
			"The person had 1 of at most 1 message of all campaigns within the day; there is room again from 2026-11-02 23:00:00 UTC.",
		},
		{
			"cap",
			engage.LimitPolicy{Caps: []engage.PolicyCap{{Tag: "sale", Max: 1, WindowS: 7200}}},
			nil, engage.ReasonCapTag,
			`The person had 1 of at most 1 message of campaigns tagged "sale" within 2 h; there is room again from 2026-11-02 12:00:00 UTC.`,
		},
		{
			"cap",
			engage.LimitPolicy{Caps: []engage.PolicyCap{{Channel: engage.Inbox, Max: 1, Calendar: engage.CalendarWeek}}},
			func(c *engage.Campaign) { c.Arms[0].Message.Channels = []engage.Channel{engage.Inbox} }, engage.ReasonCapChannel,
			"The person had 1 of at most 1 message that may go through the inbox within the week, and the message has no other way; there is room again from 2026-11-08 23:00:00 UTC.",
		},
		{
			"cap",
			engage.LimitPolicy{GapS: 3601},
			nil, engage.ReasonCapGap,
			"The person's last message was decided at 2026-11-02 10:00:00 UTC, and there are at least 60 min between two; there is room again from 2026-11-02 11:00:01 UTC.",
		},
		{
			"cap",
			engage.LimitPolicy{Attention: &engage.Attention{Points: 5}},
			func(c *engage.Campaign) { c.Limits.Attention = new(3) }, engage.ReasonCapAttention,
			"The message costs 3 points of attention, and 3 of 5 were spent within 7 days; there is room again from 2026-11-09 10:00:00 UTC.",
		},
		{
			"cap",
			engage.LimitPolicy{},
			func(c *engage.Campaign) { c.Limits.Budget = &engage.Budget{Amount: 0.5, Cost: 0.3} }, engage.ReasonCapBudget,
			"The campaign has 0.5 in money, and nothing of that is left to send this.",
		},
		{
			"cap",
			engage.LimitPolicy{},
			func(c *engage.Campaign) { c.Limits.Budget = &engage.Budget{Messages: 1} }, engage.ReasonCapBudget,
			"The campaign has 1 message in all, and nothing of that is left to send this.",
		},
		{
			"cap",
			engage.LimitPolicy{},
			func(c *engage.Campaign) { c.Limits.Rate = &engage.Rate{PerMinute: 1} }, engage.ReasonCapRate,
			"The campaign has 1 message per minute, and nothing of that is left to send this.",
		},
		{
			"cap",
			engage.LimitPolicy{
				Caps: []engage.PolicyCap{
					{Max: 9, Calendar: engage.CalendarMonth},
					{Tag: "sale", Max: 2, WindowS: 7200},
					{Tag: "none", Max: 1, WindowS: 60},
					{Channel: engage.InApp, Max: 1, WindowS: 7200},
				},
				Attention: &engage.Attention{Points: 5},
			},
			func(c *engage.Campaign) { c.Limits.Caps = []engage.Cap{{Max: 3, Calendar: engage.CalendarDay}} }, "",
			`1 of at most 3 messages within the day had been decided before this one; 1 of at most 9 messages of all campaigns within the month; ` +
				`1 of at most 2 messages of campaigns tagged "sale" within 2 h; 1 of at most 1 message that may go into the app within 2 h, so it goes another way; 1 of 5 points of attention were spent within 7 days, and it costs 1.`,
		},
	} {
		key := engage.ProfileKey("acme", "ada")
		campaign := &engage.Campaign{
			ID: "x", Workspace: "acme", Version: 1, Name: "X", Class: engage.Marketing, Status: engage.Live, Tags: []string{"sale"},
			Trigger: engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "hello"},
			Arms:    []engage.Arm{{ID: "a", Message: engage.Content{Title: "Hello", Body: "Come in"}}},
		}
		if c.change != nil {
			c.change(campaign)
		}
		config, errs := decide.NewConfig([]decide.Workspace{{ID: "acme", Campaigns: []*engage.Campaign{campaign}, Limits: &c.limits}})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		p := steptest.New("act/0", decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}})
		p.Adopt(config)
		apply := func(after time.Duration, kind engage.Kind, body any) {
			b, err := json.Marshal(body)
			if err == nil {
				err = p.Apply(engage.Entry{Kind: kind, Key: key, At: at.Add(after), Occurred: at.Add(after), Body: b})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		apply(0, engage.KindDevice, engage.Device{Install: "i-ada", App: "shop", Platform: "android", TimeZone: "Europe/Amsterdam", Notifications: "granted", SeenAt: at})
		apply(0, engage.KindConsent, map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true, At: at}})
		visits := []time.Duration{0, time.Hour}
		if c.reason == engage.ReasonCapRate {
			visits[0] = time.Hour - 50*time.Second // in the same minute
			visits[1] = time.Hour - time.Second
		}
		for i, after := range visits {
			apply(after, engage.KindTrigger, engage.Trigger{
				Type: engage.TriggerEvent, Occasion: fmt.Sprint("e", i), Install: "i-ada", OccurredAt: at.Add(after), Event: "hello",
			})
			for again := true; again; { // the owners of budgets answer
				again = false
				for _, o := range p.Take() {
					if o.To != "act" && o.To != "act/0" {
						continue
					}
					o.Entry.At, again = at.Add(after), true
					if err := p.Apply(o.Entry); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		var got []string
		for _, b := range p.Docs("decisions") {
			var d engage.Decision
			if err := json.Unmarshal(b, &d); err != nil {
				t.Fatal(err)
			}
			for _, g := range d.Gates {
				if g.Gate == c.gate && g.Reason == c.reason && d.At.Equal(at.Add(visits[1])) {
					told[g.Reason] = true
					got = append(got, gateWords(g))
				}
			}
		}
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s:\ngot  %q\nwant %q", c.reason, got, c.want)
		}
	}
}

// Who won a moment, and by which figure, is told; also of decisions of before figures
// were kept.
func TestWhoWonAMomentIsTold(t *testing.T) {
	for want, g := range map[string]engage.GateResult{
		`The campaign "x" wanted the same moment and came first.`:                                                                 {Reason: engage.ReasonArbitration, Saw: saw("winner", "x")},
		`The campaign "x" wanted the same moment and came first, while this one waited.`:                                          {Reason: engage.ReasonArbitration, Saw: saw("winner", "x", "by", "earlier")},
		`The campaign "x" wanted the same moment and came first: of the same priority, its messages are worth 2.5, this one's 1.`: {Reason: engage.ReasonArbitration, Saw: saw("winner", "x", "by", "value", "value", 1, "winner_value", 2.5)},
		`The campaign "x" wanted the same moment and came first: of the same priority and value, the smaller id does.`:            {Reason: engage.ReasonArbitration, Saw: saw("winner", "x", "by", "id")},
		`3 campaigns wanted the moment; this one came first.`:                                                                     {OK: true, Saw: saw("wanted_by", 3, "priority", 1)},
		`No other campaign wanted the moment.`:                                                                                    {OK: true, Saw: saw("wanted_by", 1, "priority", 1)},
		`2 campaigns wanted the moment; this one came first with priority 1 and value 2.5, before "y" with priority 0.`: {
			OK: true, Saw: saw("wanted_by", 2, "priority", 1, "value", 2.5, "over", []map[string]any{{"campaign": "y", "priority": 0}}),
		},
	} {
		g.Gate = "arbitration"
		if got := gateWords(g); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
