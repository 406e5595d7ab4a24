package decide_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

// under puts campaigns in force under a policy.
func (w *world) under(p engage.LimitPolicy, campaigns ...*engage.Campaign) {
	w.Helper()
	if err := p.Validate(); err != nil {
		w.Fatal(err)
	}
	in := world0(campaigns)
	in.Limits = &p
	w.adoptAll(in)
}

// at is a time of Amsterdam, as far from t0 as entries say it.
func at(text string) time.Duration {
	zone, _ := engage.Zone("Europe/Amsterdam")
	t, err := time.ParseInLocation("2006-01-02 15:04:05", text, zone)
	if err != nil {
		panic(err)
	}
	return t.Sub(t0)
}

func caps(cs ...engage.PolicyCap) engage.LimitPolicy { return engage.LimitPolicy{Caps: cs} }

func tagged(tags ...string) func(*engage.Campaign) {
	return func(c *engage.Campaign) { c.Tags = tags }
}

func inPlace(place string) func(*engage.Campaign) {
	return func(c *engage.Campaign) { c.Trigger.Places = []string{place} }
}

func service(c *engage.Campaign) { c.Class = engage.Service }

// Two campaigns, a at the café and b at the bar, which Ada enters in turn; what becomes of
// each visit under a policy.
func TestTheWorkspacesLimitsHoldOverAllCampaigns(t *testing.T) {
	day := engage.CalendarDay
	cost := func(n int) func(*engage.Campaign) {
		return func(c *engage.Campaign) { c.Limits.Attention = &n }
	}
	ignore := func(c *engage.Campaign) { c.Limits.IgnoreGlobal = true }
	only := func(chs ...engage.Channel) func(*engage.Campaign) {
		return func(c *engage.Campaign) { c.Arms[0].Message.Channels = chs }
	}
	type visit struct {
		place string
		at    time.Duration
	}
	for _, x := range []struct {
		name   string
		policy engage.LimitPolicy
		a, b   func(*engage.Campaign)
		visits []visit
		want   string
	}{
		{
			"all messages, rolling", caps(engage.PolicyCap{Max: 2, WindowS: 3600}), nil, nil,
			[]visit{{"cafe", 0}, {"bar", 600 * sec}, {"cafe", 3600*sec - 1}, {"bar", 3600 * sec}, {"cafe", 3601 * sec}},
			"a pending, b pending, a suppressed cap_global, b pending, a suppressed cap_global",
		},
		{
			"a day of the person's, not of UTC", caps(engage.PolicyCap{Max: 1, Calendar: day}), nil, nil,
			[]visit{{"cafe", at("2026-11-03 23:59:59")}, {"bar", at("2026-11-04 00:00:00")}, {"cafe", at("2026-11-04 00:30:00")}, {"bar", at("2026-11-04 23:59:59")}, {"cafe", at("2026-11-05 00:00:00")}},
			"a pending, b pending, a suppressed cap_global, b suppressed cap_global, a pending",
		},
		{
			"a day of 25 hours", caps(engage.PolicyCap{Max: 1, Calendar: day}), nil, nil,
			[]visit{{"cafe", at("2027-10-31 00:00:00")}, {"bar", at("2027-10-31 00:00:00") + 25*time.Hour - sec}, {"bar", at("2027-10-31 00:00:00") + 25*time.Hour}},
			"a pending, b suppressed cap_global, b pending",
		},
		{
			"a day of 23 hours", caps(engage.PolicyCap{Max: 1, Calendar: day}), nil, nil,
			[]visit{{"cafe", at("2027-03-28 00:00:00")}, {"bar", at("2027-03-28 00:00:00") + 23*time.Hour - sec}, {"bar", at("2027-03-28 00:00:00") + 23*time.Hour}},
			"a pending, b suppressed cap_global, b pending",
		},
		{
			"weeks begin on Monday", caps(engage.PolicyCap{Max: 1, Calendar: engage.CalendarWeek}), nil, nil,
			[]visit{{"cafe", at("2026-11-08 23:59:59")}, {"bar", at("2026-11-09 00:00:00")}, {"cafe", at("2026-11-15 23:59:59")}, {"bar", at("2026-11-16 00:00:00")}},
			"a pending, b pending, a suppressed cap_global, b pending",
		},
		{
			"months", caps(engage.PolicyCap{Max: 1, Calendar: engage.CalendarMonth}), nil, nil,
			[]visit{{"cafe", at("2026-12-01 00:00:00")}, {"bar", at("2026-12-31 23:59:59")}, {"bar", at("2027-01-01 00:00:00")}},
			"a pending, b suppressed cap_global, b pending",
		},
		{
			"a tag", caps(engage.PolicyCap{Tag: "sale", Max: 1, WindowS: 3600}), tagged("x", "sale"), tagged("news"),
			[]visit{{"cafe", 0}, {"bar", sec}, {"cafe", 2 * sec}, {"bar", 3 * sec}},
			"a pending, b pending, a suppressed cap_tag, b pending",
		},
		{
			"a channel of which there are others", caps(engage.PolicyCap{Channel: engage.Push, Max: 1, WindowS: 3600}), nil, nil,
			[]visit{{"cafe", 0}, {"bar", sec}},
			"a pending, b pending",
		},
		{
			"the only channel", caps(engage.PolicyCap{Channel: engage.Push, Max: 1, WindowS: 3600}), nil, only(engage.Push),
			[]visit{{"cafe", 0}, {"bar", sec}, {"bar", 3600 * sec}},
			"a pending, b suppressed cap_channel, b pending",
		},
		{
			"a channel that others may not use", caps(engage.PolicyCap{Channel: engage.Push, Max: 1, WindowS: 3600}), only(engage.Inbox), only(engage.Push),
			[]visit{{"cafe", 0}, {"bar", sec}, {"bar", 2 * sec}},
			"a pending, b pending, b suppressed cap_channel",
		},
		{
			"a message that waits in the app goes no other way", caps(engage.PolicyCap{Channel: engage.InApp, Max: 1, WindowS: 3600}), nil,
			func(c *engage.Campaign) {
				c.Arms[0].Message.Channels = []engage.Channel{engage.InApp, engage.Inbox}
				c.Arms[0].Message.InApp = &engage.InAppContent{Trigger: &engage.InAppTrigger{Screen: "home"}}
			},
			[]visit{{"cafe", 0}, {"bar", sec}},
			"a pending, b suppressed cap_channel",
		},
		{
			"a gap",
			engage.LimitPolicy{GapS: 600},
			nil, nil,
			[]visit{{"cafe", 0}, {"bar", 600*sec - 1}, {"cafe", 600 * sec}, {"bar", 700 * sec}},
			"a pending, b suppressed cap_gap, a pending, b suppressed cap_gap",
		},
		{
			"attention",
			engage.LimitPolicy{Attention: &engage.Attention{Points: 5}},
			cost(3), nil,
			[]visit{{"cafe", 0}, {"cafe", sec}, {"bar", 2 * sec}, {"bar", 3 * sec}, {"bar", 4 * sec}, {"bar", 7*24*time.Hour - sec}, {"cafe", 7 * 24 * time.Hour}},
			"a pending, a suppressed cap_attention, b pending, b pending, b suppressed cap_attention, b suppressed cap_attention, a pending",
		},
		{
			"a price beyond the budget is never paid, and none always",
			engage.LimitPolicy{Attention: &engage.Attention{Points: 5}},
			cost(6), cost(0),
			[]visit{{"cafe", 0}, {"bar", sec}, {"bar", 2 * sec}},
			"a suppressed cap_attention, b pending, b pending",
		},
		{
			"who ignores it counts for the others",
			engage.LimitPolicy{Caps: []engage.PolicyCap{{Max: 1, WindowS: 3600}}, GapS: 600, MayIgnore: true},
			nil, ignore,
			[]visit{{"bar", 0}, {"bar", sec}, {"cafe", 601 * sec}, {"bar", 602 * sec}},
			"b pending, b pending, a suppressed cap_global, b pending",
		},
		{
			"who may not ignore it does not",
			engage.LimitPolicy{GapS: 600},
			nil, ignore,
			[]visit{{"bar", 0}, {"bar", sec}},
			"b pending, b suppressed cap_gap",
		},
		{
			"services are neither limited nor counted",
			engage.LimitPolicy{Caps: []engage.PolicyCap{{Max: 1, WindowS: 3600}}, GapS: 600, Attention: &engage.Attention{Points: 1}},
			nil, service,
			[]visit{{"bar", 0}, {"cafe", sec}, {"bar", 2 * sec}, {"cafe", 3 * sec}},
			"b pending, a pending, b pending, a suppressed cap_gap",
		},
		{
			"who is held out spends it too", caps(engage.PolicyCap{Max: 1, WindowS: 3600}), func(c *engage.Campaign) { c.ID, c.HoldoutPercent = heldOut("ada"), 50 }, nil,
			[]visit{{"cafe", 0}, {"bar", sec}},
			"a held_out, b suppressed cap_global",
		},
		{
			"quiet hours, and the campaign's own before them",
			engage.LimitPolicy{Quiet: &engage.QuietHours{Start: "10:30", End: "11:30", Then: engage.QuietDrop}},
			nil,
			func(c *engage.Campaign) { c.Limits.Quiet = &engage.QuietHours{Start: "23:00", End: "07:00"} },
			[]visit{{"cafe", 0}, {"bar", sec}, {"cafe", 1800 * sec}},
			"a suppressed quiet_dropped, b pending, a pending",
		},
		{
			"several caps of a campaign",
			engage.LimitPolicy{},
			func(c *engage.Campaign) {
				c.Limits.Cap, c.Limits.CapWindowS = 1, 60
				c.Limits.Caps = []engage.Cap{{Max: 2, Calendar: day}}
			}, nil,
			[]visit{{"cafe", 0}, {"cafe", sec}, {"cafe", 60 * sec}, {"cafe", 120 * sec}, {"cafe", at("2026-11-03 00:00:00")}},
			"a pending, a suppressed cap, a pending, a suppressed cap, a pending",
		},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newWorld(t)
			a, b := offer("a", inPlace("cafe")), offer("b", inPlace("bar"))
			for c, change := range map[*engage.Campaign]func(*engage.Campaign){a: x.a, b: x.b} {
				if change != nil {
					change(c)
				}
			}
			w.under(x.policy, a, b)
			w.meet("ada")
			for i, v := range x.visits {
				w.apply(enters("ada", v.place, fmt.Sprint("v", i), v.at))
			}
			got := w.verdicts()
			if a.ID != "a" {
				got = strings.ReplaceAll(got, a.ID, "a")
			}
			if got != x.want {
				t.Errorf("got  %s\nwant %s", got, x.want)
			}
			w.checkCounts()
		})
	}
}

// heldOut is the id of a campaign whose holdout of half has a person.
func heldOut(person string) string {
	for i := 0; ; i++ {
		if id := fmt.Sprint("held", i); engage.Fraction("holdout", ws, id, person) < 0.5 {
			return id
		}
	}
}

// A channel whose cap is reached is closed for the message, and not counted for it.
func TestAMessageGoesByTheChannelsThatAreLeft(t *testing.T) {
	w := newWorld(t)
	w.under(caps(engage.PolicyCap{Channel: engage.Push, Max: 1, WindowS: 3600}, engage.PolicyCap{Channel: engage.InApp, Max: 2, WindowS: 3600}), offer("a"))
	w.meet("ada")
	for i, want := range []string{"[in_app push inbox]", "[in_app inbox]", "[inbox]", "[inbox]"} {
		w.apply(enters("ada", "cafe", fmt.Sprint("v", i), time.Duration(i)*sec))
		if s := w.sends(); len(s) != 1 || fmt.Sprint(s[0].Channels) != want {
			t.Errorf("visit %d went by %v, want %s", i, s, want)
		}
	}
	// The first push leaves the window when it is an hour old: there is one again.
	w.apply(enters("ada", "cafe", "later", 3600*sec))
	if s := w.sends(); len(s) != 1 || fmt.Sprint(s[0].Channels) != "[in_app push inbox]" {
		t.Errorf("then by %v", s)
	}
}

// Local time is the phone's, also at a place of another zone, and the place's only where no
// phone of the person tells one.
func TestQuietHoursAreOfThePhonesZone(t *testing.T) {
	for _, x := range []struct{ zone, place, want string }{
		{"Asia/Tokyo", "cafe", "x suppressed quiet_expired"}, // 19:00
		{"Europe/Amsterdam", "cafe", "x pending"},            // 11:00
		{"Mars/Base", "cafe", "x pending"},                   // the café's: 11:00
		{"", "bar", "x pending"},                             // UTC: 10:00
	} {
		w := newWorld(t, offer("x", quiet("18:00", "20:30", time.Hour)))
		w.meet("ada")
		w.apply(entry(engage.KindDevice, person("ada"), sec, device("i-ada", func(d *engage.Device) { d.TimeZone = x.zone })))
		w.apply(enters("ada", x.place, "v1", 2*sec))
		if got := w.verdicts(); got != x.want {
			t.Errorf("%q at the %s: %s, want %s", x.zone, x.place, got, x.want)
		}
	}
}

// Of campaigns that want a moment the priority decides, then the value, then the id; the
// traces say which.
func TestWhoWinsAMomentSaysHow(t *testing.T) {
	worth := func(priority int, value float64) func(*engage.Campaign) {
		return func(c *engage.Campaign) { c.Priority, c.Value = priority, value }
	}
	w := newWorld(t, offer("a", worth(1, 2)), offer("b", worth(1, 9.5)), offer("c", worth(0, 100)), offer("d", worth(1, 9.5)))
	w.meet("ada")
	w.apply(enters("ada", "cafe", "v1", 0))
	w.wantVerdicts("a suppressed arbitration, b pending, c suppressed arbitration, d suppressed arbitration")
	want := map[string]string{
		"a": `{"by":"value","priority":1,"value":2,"winner":"b","winner_priority":1,"winner_value":9.5}`,
		"b": `{"over":[{"campaign":"d","priority":1,"value":9.5},{"campaign":"a","priority":1,"value":2},{"campaign":"c","priority":0,"value":100}],"priority":1,"value":9.5,"wanted_by":4}`,
		"c": `{"by":"priority","priority":0,"winner":"b","winner_priority":1}`,
		"d": `{"by":"id","priority":1,"winner":"b","winner_priority":1}`,
	}
	for _, d := range w.decisions() {
		for _, g := range d.Gates {
			if g.Gate == "arbitration" && mustJSON(t, g.Saw.Values()) != want[d.Campaign] {
				t.Errorf("%s saw %s\nwant %s", d.Campaign, mustJSON(t, g.Saw.Values()), want[d.Campaign])
			}
		}
	}
}

// What is remembered of messages is bounded, and what is not kept one by one limits more,
// never less.
func TestSpendsAreBoundedAndNeverCountTooFew(t *testing.T) {
	w := newWorld(t)
	w.Quick = true
	a, b := offer("a", inPlace("cafe"), func(c *engage.Campaign) { c.Limits.ExpireS = 1 }), offer("b", inPlace("bar"), tagged("rare"))
	w.under(caps(engage.PolicyCap{Max: 250, WindowS: 24 * 3600}), a, b)
	w.meet("ada")
	for i := range 260 {
		when := time.Duration(i) * 2 * time.Minute
		w.fireUntil(when)
		w.apply(enters("ada", "cafe", fmt.Sprint("v", i), when))
	}
	decided := strings.Count(w.verdicts(), "a expired") + strings.Count(w.verdicts(), "a pending")
	p := w.person("ada")
	if decided != 250 || len(p.Spends) != 200 || p.SpendsBefore.N != 50 || p.SpendsBefore.Points != 50 {
		t.Fatalf("%d decided, %d kept, %+v before", decided, len(p.Spends), p.SpendsBefore)
	}
	// None of a's had the tag, but of those before nobody knows any more.
	w.under(caps(engage.PolicyCap{Tag: "rare", Max: 1, WindowS: 24 * 3600}), a, b)
	lump := time.Unix(0, p.SpendsBefore.AtNS).Sub(t0)
	w.apply(enters("ada", "bar", "b1", 24*time.Hour))
	w.apply(enters("ada", "bar", "b2", lump+24*time.Hour))
	if got := w.verdicts(); !strings.Contains(got, "b suppressed cap_tag") || !strings.Contains(got, "b pending") {
		t.Errorf("the tag: %s", got[max(0, len(got)-200):])
	}
	// After a month without any they are gone.
	w.apply(enters("ada", "bar", "b3", 60*24*time.Hour))
	if p := w.person("ada"); len(p.Spends) != 1 || p.SpendsBefore != (decide.Lump{}) {
		t.Errorf("%d kept, %+v before", len(p.Spends), p.SpendsBefore)
	}
}

// A message counts by the tags that its campaign had then, and before there was a policy.
func TestAPolicyCountsWhatWasBeforeIt(t *testing.T) {
	w := newWorld(t, offer("a", tagged("sale")))
	w.meet("ada")
	w.apply(enters("ada", "cafe", "v1", 0))
	w.under(caps(engage.PolicyCap{Tag: "sale", Max: 1, WindowS: 3600}), offer("a"), offer("b", tagged("sale"), func(c *engage.Campaign) { c.Priority = 1 }))
	w.apply(enters("ada", "cafe", "v2", sec))
	w.wantVerdicts("a pending, a pending, b suppressed cap_tag")
}

// Limits that two profiles of a person had used add up when they turn out to be one.
func TestLimitsOfTwoWhoAreOneAddUp(t *testing.T) {
	w := newWorld(t)
	w.under(caps(engage.PolicyCap{Max: 3, WindowS: 3600}), offer("a"))
	for i, id := range []string{"ada", "bea"} {
		w.meet(id)
		w.apply(enters(id, "cafe", "v-"+id, time.Duration(i)*sec), enters(id, "cafe", "w-"+id, time.Duration(i+2)*sec))
	}
	w.apply(identify("ada", "x", 10*sec, true), identify("bea", "x", 11*sec, true))
	w.settle()
	p := w.who(node("user_id:x"))
	if len(p.Spends) != 4 {
		t.Fatalf("%d spends", len(p.Spends))
	}
	for i := range p.Spends[1:] {
		if p.Spends[i].AtNS > p.Spends[i+1].AtNS {
			t.Errorf("out of order: %v", p.Spends)
		}
	}
	w.apply(enters("ada", "bar", "z", 20*sec))
	w.settle()
	if got := w.verdicts(); !strings.HasSuffix(got, "a suppressed cap_global") {
		t.Errorf("%s", got)
	}
	for _, d := range w.decisions() {
		if g := d.Gates[len(d.Gates)-1]; d.Reason == engage.ReasonCapGlobal && mustJSON(t, g.Saw.Values()) != `{"cap":3,"count":4,"free_at":"2026-11-02T11:00:01Z","window_s":3600}` {
			t.Errorf("saw %s", mustJSON(t, g.Saw.Values()))
		}
	}
}
