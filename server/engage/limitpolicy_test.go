package engage_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

func TestLimitsThatNobodyMeansAreRefused(t *testing.T) {
	campaign := func(l engage.Limits) error {
		c := &engage.Campaign{
			ID: "x", Name: "X", Class: engage.Marketing, Status: engage.Live, Limits: l, Trigger: engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "e"},
			Arms: []engage.Arm{{ID: "a", Message: engage.Content{Title: "t"}}},
		}
		return errors.Join(c.Validate(), engage.At("limits", l.Sound()))
	}
	policy := func(p engage.LimitPolicy) error { return p.Validate() }
	caps := func(cs ...engage.PolicyCap) error { return policy(engage.LimitPolicy{Caps: cs}) }
	for _, x := range []struct {
		err   error
		field string // empty: it is taken
	}{
		{campaign(engage.Limits{Cap: 1, CapWindowS: 60, Caps: []engage.Cap{{Max: 3, Calendar: engage.CalendarMonth}}, Attention: new(0)}), ""},
		{campaign(engage.Limits{Cap: -1}), "limits.cap"},
		{campaign(engage.Limits{Cap: 1}), "limits.cap_window_s"},
		{campaign(engage.Limits{Cap: 1_000_000_000, CapWindowS: 60}), "limits.cap"},
		{campaign(engage.Limits{Cap: 1, CapWindowS: 1_000_000_000}), "limits.cap_window_s"},
		{campaign(engage.Limits{CapWindowS: 60}), "limits.cap"},
		{campaign(engage.Limits{Caps: []engage.Cap{{Max: 1, WindowS: 60}, {Max: 0, WindowS: 60}}}), "limits.caps[1].max"},
		{campaign(engage.Limits{Caps: []engage.Cap{{Max: 1}}}), "limits.caps[0].window_s"},
		{campaign(engage.Limits{Caps: []engage.Cap{{Max: 1, WindowS: 60, Calendar: "day"}}}), "limits.caps[0].window_s"},
		{campaign(engage.Limits{Caps: []engage.Cap{{Max: 1, Calendar: "fortnight"}}}), "limits.caps[0].calendar"},
		{campaign(engage.Limits{Caps: make([]engage.Cap, 6)}), "limits.caps"},
		{campaign(engage.Limits{Attention: new(-1)}), "limits.attention"},
		{campaign(engage.Limits{Quiet: &engage.QuietHours{Start: "22:00", End: "08:00", Then: "shout"}}), "limits.quiet_hours.then"},
		{campaign(engage.Limits{Quiet: &engage.QuietHours{Start: "22:00", End: "22:00"}}), "limits.quiet_hours.end"},
		{campaign(engage.Limits{Budget: &engage.Budget{PerDay: 9, Amount: 10, Cost: 0.01}, Rate: &engage.Rate{PerMinute: 1}}), ""},
		{campaign(engage.Limits{Budget: &engage.Budget{}}), "limits.budget.messages"},
		{campaign(engage.Limits{Budget: &engage.Budget{Messages: -1}}), "limits.budget.messages"},
		{campaign(engage.Limits{Budget: &engage.Budget{PerDay: 2_000_000_000}}), "limits.budget.per_day"},
		{campaign(engage.Limits{Budget: &engage.Budget{Amount: math.NaN(), Cost: 1}}), "limits.budget.amount"},
		{campaign(engage.Limits{Budget: &engage.Budget{Amount: 10}}), "limits.budget.cost"},
		{campaign(engage.Limits{Budget: &engage.Budget{Cost: 1}}), "limits.budget.cost"},
		{campaign(engage.Limits{Budget: &engage.Budget{Amount: 1, Cost: 2}}), "limits.budget.cost"},
		{campaign(engage.Limits{Rate: &engage.Rate{}}), "limits.rate.per_minute"},

		{policy(engage.LimitPolicy{}), ""},
		{caps(engage.PolicyCap{Max: 1, WindowS: 1}, engage.PolicyCap{Max: 1, Calendar: "day"}, engage.PolicyCap{Tag: "x", Max: 1, Calendar: "day"}), ""},
		{caps(engage.PolicyCap{Max: -1, WindowS: 60}), "caps[0].max"},
		{caps(engage.PolicyCap{Max: 1_000_000_000, WindowS: 60}), "caps[0].max"},
		{caps(engage.PolicyCap{Max: 1, WindowS: 0}), "caps[0].window_s"},
		{caps(engage.PolicyCap{Max: 1, WindowS: 1_000_000_000}), "caps[0].window_s"},
		{caps(engage.PolicyCap{Max: 1, WindowS: -1, Calendar: "day"}), "caps[0].window_s"},
		{caps(engage.PolicyCap{Tag: "x", Channel: engage.Push, Max: 1, WindowS: 1}), "caps[0].channel"},
		{caps(engage.PolicyCap{Tag: "no tag", Max: 1, WindowS: 1}), "caps[0].tag"},
		{caps(engage.PolicyCap{Channel: "sms", Max: 1, WindowS: 1}), "caps[0].channel"},
		{caps(engage.PolicyCap{Max: 1, WindowS: 60}, engage.PolicyCap{Max: 2, WindowS: 60}), "caps[1].max"},
		{caps(make([]engage.PolicyCap, 51)...), "caps"},
		{policy(engage.LimitPolicy{GapS: -1}), "gap_s"},
		{policy(engage.LimitPolicy{GapS: 1_000_000_000}), "gap_s"},
		{policy(engage.LimitPolicy{Quiet: &engage.QuietHours{Start: "25:00", End: "08:00"}}), "quiet_hours.start"},
		{policy(engage.LimitPolicy{Attention: &engage.Attention{}}), "attention.points"},
		{policy(engage.LimitPolicy{Attention: &engage.Attention{Points: 1, WindowS: 60}}), "attention.window_s"},
	} {
		e, is := errors.AsType[*engage.Error](x.err)
		if x.field == "" && x.err != nil || x.field != "" && (!is || e.Field != x.field) {
			t.Errorf("got %v, want the field %q", x.err, x.field)
		}
	}
	for _, tags := range [][]string{{"a", "a"}, {"a b"}, strings.Split(strings.Repeat("t", 11), "")} {
		c := &engage.Campaign{ID: "x", Name: "X", Class: engage.Marketing, Status: engage.Live, Tags: tags, Arms: []engage.Arm{{ID: "a"}}}
		if e, is := errors.AsType[*engage.Error](c.Validate()); !is || !strings.HasPrefix(e.Field, "tags") {
			t.Errorf("%q: %v", tags, e)
		}
	}
}
