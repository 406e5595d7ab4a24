package decide_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func rule(s string) json.RawMessage { return json.RawMessage(s) }

func gatesOf(d engage.Decision) string {
	var names []string
	for _, g := range d.Gates {
		n := g.Gate
		if !g.OK {
			n = "!" + n
		}
		names = append(names, n)
	}
	return strings.Join(names, " ")
}

// Every gate's no, with what it saw; what passes all is the first of each gate's yes.
func TestEachGateSaysNoWithWhatItSaw(t *testing.T) {
	const like = `{"field":"likes","op":"contains","value":"fashion"}`
	const rain = `{"field":"weather.condition","op":"in","value":["rain"]}`
	wet := func(c string) func(*engage.Trigger) {
		return func(tr *engage.Trigger) {
			s := sky(c, 0, time.Hour)
			tr.Weather, tr.WeatherIs = &s, engage.WeatherFresh
		}
	}
	for _, c := range []struct {
		name     string
		campaign func(*engage.Campaign)
		before   []engage.Entry // after the person is known
		trigger  func(*engage.Trigger)
		at       time.Duration
		want     string // state and reason
		gate     string // the one that said no
		saw      string
	}{
		{name: "yes", want: "pending"},
		{
			name: "consent withdrawn", before: []engage.Entry{entry(engage.KindConsent, person("ada"), 0, consents(false))},
			want: "suppressed consent", gate: "consent", saw: `{"answered":{"at":"2026-11-02T10:00:00Z"},"purpose":"marketing"}`,
		},
		{
			name: "consent refused, said where", before: []engage.Entry{entry(engage.KindConsent, person("ada"), 0, map[engage.Purpose]engage.Consent{
				engage.ConsentMarketing: {TextVersion: "v3", Source: "settings", At: t0.Add(-time.Hour)},
			})},
			want: "suppressed consent", gate: "consent",
			saw: `{"answered":{"at":"2026-11-02T09:00:00Z","source":"settings","text_version":"v3"},"purpose":"marketing"}`,
		},
		{
			name: "not started", campaign: func(c *engage.Campaign) { c.Start = new(t0.Add(time.Hour)) },
			want: "suppressed eligibility_not_started", gate: "eligibility", saw: `{"start":"2026-11-02T11:00:00Z"}`,
		},
		{name: "started", campaign: func(c *engage.Campaign) { c.Start = new(t0) }, want: "pending"},
		{
			name: "ended", campaign: func(c *engage.Campaign) { c.End = new(t0.Add(-sec)) },
			want: "suppressed eligibility_ended", gate: "eligibility", saw: `{"end":"2026-11-02T09:59:59Z"}`,
		},
		{name: "ends now", campaign: func(c *engage.Campaign) { c.End = new(t0) }, want: "pending"},
		{
			name: "stale", trigger: func(tr *engage.Trigger) { tr.OccurredAt = t0.Add(-901 * sec) },
			want: "suppressed eligibility_stale", gate: "eligibility", saw: `{"age_s":901,"max_age_s":900}`,
		},
		{
			name: "known too late, whatever the campaign allows", campaign: func(c *engage.Campaign) { c.Trigger.MaxAgeS = 1e6 },
			trigger: func(tr *engage.Trigger) { tr.OccurredAt, tr.Stale = t0.Add(-3600*sec), true },
			want:    "suppressed eligibility_stale", gate: "eligibility", saw: `{"age_s":3600,"known_too_late":true}`,
		},
		{name: "not yet stale", trigger: func(tr *engage.Trigger) { tr.OccurredAt = t0.Add(-900 * sec) }, want: "pending"},
		{
			name: "older than its own limit", campaign: func(c *engage.Campaign) { c.Trigger.MaxAgeS = 5 },
			trigger: func(tr *engage.Trigger) { tr.OccurredAt = t0.Add(-6 * sec) },
			want:    "suppressed eligibility_stale", gate: "eligibility", saw: `{"age_s":6,"max_age_s":5}`,
		},
		{
			name:     "push only, and notifications are denied",
			campaign: func(c *engage.Campaign) { c.Arms[0].Message.Channels = []engage.Channel{engage.Push} },
			before:   []engage.Entry{entry(engage.KindDevice, person("ada"), 0, device("i-ada", func(d *engage.Device) { d.Notifications = "denied" }))},
			want:     "suppressed eligibility_no_channel", gate: "eligibility", saw: `{"channels":["push"]}`,
		},
		{
			name:     "push only, and the token is dead",
			campaign: func(c *engage.Campaign) { c.Arms[0].Message.Channels = []engage.Channel{engage.Push} },
			before:   []engage.Entry{entry(engage.KindDevice, person("ada"), 0, device("i-ada", func(d *engage.Device) { d.Push.Dead = "UNREGISTERED" }))},
			want:     "suppressed eligibility_no_channel", gate: "eligibility", saw: `{"channels":["push"]}`,
		},
		{
			name:     "push only, and it can be",
			campaign: func(c *engage.Campaign) { c.Arms[0].Message.Channels = []engage.Channel{engage.Push} },
			want:     "pending",
		},
		{
			name:     "in-app needs no notifications",
			campaign: func(c *engage.Campaign) { c.Arms[0].Message.Channels = []engage.Channel{engage.InApp} },
			before:   []engage.Entry{entry(engage.KindDevice, person("ada"), 0, device("i-ada", func(d *engage.Device) { d.Notifications, d.Push = "denied", nil }))},
			want:     "pending",
		},
		{
			name: "audience", campaign: func(c *engage.Campaign) { c.Audience = rule(like) },
			want: "suppressed audience", gate: "audience",
			saw: `{"failed":[{"field":"likes","got":null,"op":"contains","path":"","want":"fashion"}]}`,
		},
		{
			name: "audience holds", campaign: func(c *engage.Campaign) { c.Audience = rule(like) },
			before: []engage.Entry{entry(engage.KindPreferences, person("ada"), 0, map[string]string{"fashion": "like"})}, want: "pending",
		},
		{
			name: "context", campaign: func(c *engage.Campaign) { c.Context = rule(rain) }, trigger: wet("clear"),
			want: "suppressed context", gate: "context",
			saw: `{"accuracy_m":10,"distance_m":12,"failed":[{"field":"weather.condition","got":"clear","op":"in","path":"","want":["rain"]}],` +
				`"weather":{"condition":"clear","kind":"forecast","precipitation_mm":1.5,"provider":"sim","temperature_c":9},"weather_is":"fresh"}`,
		},
		{name: "context holds", campaign: func(c *engage.Campaign) { c.Context = rule(rain) }, trigger: wet("rain"), want: "pending"},
		{
			name: "local time", campaign: func(c *engage.Campaign) { c.Context = rule(`{"field":"local.hour","op":"lt","value":11}`) },
			want: "suppressed context", gate: "context", // 10:00 UTC is 11:00 in Amsterdam
			saw: `{"accuracy_m":10,"distance_m":12,"failed":[{"field":"local.hour","got":11,"op":"lt","path":"","want":11}]}`,
		},
		{
			name: "quiet, and pointless afterwards",
			campaign: func(c *engage.Campaign) {
				c.Limits.Quiet = &engage.QuietHours{Start: "10:30", End: "12:01"}
			},
			want: "suppressed quiet_expired", gate: "quiet",
			saw: `{"local_time":"11:00","until":"2026-11-02T11:01:00Z","zone":"Europe/Amsterdam"}`,
		},
		{
			name:     "not quiet",
			campaign: func(c *engage.Campaign) { c.Limits.Quiet = &engage.QuietHours{Start: "11:01", End: "11:00"} }, want: "pending",
		},
		{
			name:     "render",
			campaign: func(c *engage.Campaign) { c.Arms[0].Message.Body = "{{ profile.attributes.tier }}" },
			want:     "suppressed render", gate: "render",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cam := offer("x")
			if c.campaign != nil {
				c.campaign(cam)
			}
			w := newWorld(t, cam)
			w.meet("ada")
			w.apply(c.before...)
			tr := enters("ada", "cafe", "v1", 0)
			if c.trigger != nil {
				tr = enters("ada", "cafe", "v1", 0, c.trigger)
			}
			w.apply(tr)
			w.wantVerdicts("x " + c.want)
			d := w.decisions()[0]
			sends := w.sends()
			if (len(sends) == 1) != (c.want == "pending") {
				t.Errorf("%d sends", len(sends))
			}
			if c.want == "pending" {
				if got, want := gatesOf(d), "consent eligibility audience context quiet cap arbitration render holdout"; got != want {
					t.Errorf("gates %q, want %q", got, want)
				}
				return
			}
			last := d.Gates[len(d.Gates)-1]
			if last.Gate != c.gate || last.OK || last.Reason != d.Reason || strings.Count(gatesOf(d), "!") != 1 {
				t.Errorf("gates %s, want %s to say no; reason %s", gatesOf(d), c.gate, last.Reason)
			}
			if got := mustJSON(t, last.Saw.Values()); c.saw != "" && got != c.saw {
				t.Errorf("saw\n%s, want\n%s", got, c.saw)
			}
			if d.Delivery != "" || d.Arm != "" {
				t.Errorf("suppressed with delivery %q and arm %q", d.Delivery, d.Arm)
			}
			w.checkCounts()
		})
	}
}

func TestConsentIsAskedFirst(t *testing.T) {
	w := newWorld(t, offer("x", func(c *engage.Campaign) {
		c.End = new(t0.Add(-sec))
		c.Audience = rule(`{"field":"likes","op":"contains","value":"x"}`)
		c.Arms[0].Message.Body = "{{ profile.attributes.none }}"
	}))
	w.apply(enters("eve", "cafe", "v1", 0)) // nothing is known of her
	d := w.decisions()[0]
	if gatesOf(d) != "!consent" || mustJSON(t, d.Gates[0].Saw.Values()) != `{"purpose":"marketing"}` {
		t.Errorf("gates %s", mustJSON(t, d.Gates))
	}
}

func TestServiceMessagesHaveTheirOwnGates(t *testing.T) {
	w := newWorld(t, offer("ready", func(c *engage.Campaign) {
		c.Class = engage.Service
		c.HoldoutPercent = 50
		c.Limits = engage.Limits{Cap: 1, CapWindowS: 3600, Quiet: &engage.QuietHours{Start: "00:00", End: "23:59"}}
	}))
	for i := range 30 { // no consent, in quiet hours, above the cap, none held out
		id := fmt.Sprint("p", i)
		w.apply(entry(engage.KindDevice, person(id), 0, device("i-"+id)))
		for v := range 2 {
			w.apply(enters(id, "cafe", fmt.Sprint("v", v), time.Duration(v)*sec))
		}
	}
	for _, d := range w.decisions() {
		if d.State != engage.Pending || gatesOf(d) != "eligibility audience context arbitration render holdout" {
			t.Fatalf("%s: %s", d.State, gatesOf(d))
		}
	}
	if n := len(w.sends()); n != 60 {
		t.Errorf("%d sends, want 60", n)
	}
	w.apply(enters("nobody", "cafe", "v1", 0))
	if d := w.person("nobody"); len(d.Open) != 0 {
		t.Error("sent to a person without a phone")
	}
}

func TestWhichCampaignsListen(t *testing.T) {
	set := func(f func(*engage.CampaignTrigger)) func(*engage.Campaign) {
		return func(c *engage.Campaign) { f(&c.Trigger) }
	}
	w := newWorld(t,
		offer("any"),
		offer("exit", set(func(t *engage.CampaignTrigger) { t.Transition = engage.Exit })),
		offer("near", set(func(t *engage.CampaignTrigger) { t.Rings = []engage.Ring{engage.Near} })),
		offer("both", set(func(t *engage.CampaignTrigger) { t.Rings = []engage.Ring{engage.Near, engage.Inside} })),
		offer("bar", set(func(t *engage.CampaignTrigger) { t.Places = []string{"bar"} })),
		offer("tag", set(func(t *engage.CampaignTrigger) { t.Tags = []string{"coffee", "tea"}; t.Places = []string{"cafe"} })),
		offer("event", set(func(t *engage.CampaignTrigger) {
			*t = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "order"}
		}),
			func(c *engage.Campaign) { c.Arms[0].Message.Title = "{{ trigger.properties.sku }}" }),
		offer("draft", func(c *engage.Campaign) { c.Status = engage.Draft }),
		offer("paused", func(c *engage.Campaign) { c.Status = engage.Paused }),
	)
	event := entry(engage.KindTrigger, person("ada"), 0, engage.Trigger{
		Type: engage.TriggerEvent, Occasion: "e1", Install: "i-ada", OccurredAt: t0, Event: "order", Properties: rule(`{"sku":"S1"}`),
	})
	other := entry(engage.KindTrigger, person("ada"), 0, engage.Trigger{Type: engage.TriggerEvent, Occasion: "e2", Install: "i-ada", OccurredAt: t0, Event: "other"})
	for _, c := range []struct {
		name string
		e    engage.Entry
		want string
	}{
		{"inside a café", enters("ada", "cafe", "v1", 0), "any both tag"},
		{"near a café", enters("ada", "cafe", "v1", 0, near), "both near"},
		{"inside a bar", enters("ada", "bar", "v1", 0), "any bar both"},
		{"left", enters("ada", "cafe", "v1", 0, func(t *engage.Trigger) { t.Transition = engage.Exit }), "exit"},
		{"an unknown place", enters("ada", "gone", "v1", 0), "any both"},
		{"an event", event, "event"},
		{"another event", other, ""},
	} {
		f := &world{T: t, Partition: w.Fork()}
		f.meet("ada")
		f.apply(c.e)
		var got []string
		for _, d := range f.decisions() {
			got = append(got, d.Campaign)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
		if s := f.sends(); c.name == "an event" && (len(s) != 1 || s[0].Title != "S1") {
			t.Errorf("event: sent %+v", s)
		}
	}
	rival := engage.ProfileKey("rival", "ada")
	e := enters("ada", "cafe", "v1", 0)
	e.Key = rival
	w.apply(e)
	w.wantVerdicts("")
}

func TestOncePerOccasion(t *testing.T) {
	w := newWorld(t, offer("x", func(c *engage.Campaign) { c.Trigger.Rings = []engage.Ring{engage.Near, engage.Inside} }))
	w.meet("ada")
	w.apply(enters("ada", "cafe", "v1", 0, near), enters("ada", "cafe", "v1", sec))
	w.wantVerdicts("x pending, x suppressed eligibility_occasion_used")
	if saw := mustJSON(t, w.decisions()[1].Gates[1].Saw.Values()); saw != `{"occasion":"v1"}` {
		t.Errorf("saw %s", saw)
	}
	w.apply(enters("ada", "cafe", "v2", 2*sec))
	if s := w.sends(); len(s) != 2 || s[0].Delivery == s[1].Delivery {
		t.Errorf("sends %+v, want one per visit", s)
	}
	if want := engage.DeliveryID(ws, "x", "ada", "v1"); w.decisions()[0].Delivery != want {
		t.Errorf("delivery %s, want %s", w.decisions()[0].Delivery, want)
	}
	w.checkCounts()
}

func TestTheCapCountsWhatWasDecidedInItsWindow(t *testing.T) {
	capped := func(percent float64) *engage.Campaign {
		return offer("x", func(c *engage.Campaign) {
			c.HoldoutPercent = percent
			c.Limits = engage.Limits{Cap: 2, CapWindowS: 3600}
		})
	}
	// Two people, of whom one is a ghost: the cap treats them alike.
	var ghost, treated string
	for i := 0; ghost == "" || treated == ""; i++ {
		id := fmt.Sprint("p", i)
		if engage.Fraction("holdout", ws, "x", id) < 0.5 {
			ghost = id
		} else {
			treated = id
		}
	}
	for who, yes := range map[string]string{ghost: "held_out", treated: "pending"} {
		w := newWorld(t, capped(50))
		w.meet(who)
		for i, at := range []time.Duration{0, 10 * time.Minute, 20 * time.Minute, 3600*sec - 1, 3600 * sec, 3600*sec + 1, 3600*sec + 10*time.Minute} {
			w.apply(enters(who, "cafe", fmt.Sprint("v", i), at))
		}
		want := fmt.Sprintf("x %[1]s, x %[1]s, x suppressed cap, x suppressed cap, x %[1]s, x suppressed cap, x %[1]s", yes)
		w.wantVerdicts(want)
		for _, d := range w.decisions() {
			// Two of the three before are in the window; when the older one leaves it there is room.
			free := map[time.Duration]string{
				20 * time.Minute: "2026-11-02T11:00:00Z", 3600*sec - 1: "2026-11-02T11:00:00Z", 3600*sec + 1: "2026-11-02T11:10:00Z",
			}[d.At.Sub(t0)]
			if g := d.Gates[len(d.Gates)-1]; d.Reason == engage.ReasonCap && mustJSON(t, g.Saw.Values()) != `{"cap":2,"count":2,"free_at":"`+free+`","window_s":3600}` {
				t.Errorf("at %v saw %s", d.At.Sub(t0), mustJSON(t, g.Saw.Values()))
			}
		}
		w.checkCounts()
	}
}

func TestArbitration(t *testing.T) {
	priority := func(n int) func(*engage.Campaign) { return func(c *engage.Campaign) { c.Priority = n } }
	broken := func(c *engage.Campaign) { c.Arms[0].Message.Body = "{{ profile.attributes.none }}" }
	held := func(c *engage.Campaign) { c.HoldoutPercent = 50 }
	for _, c := range []struct {
		name      string
		campaigns []*engage.Campaign
		want      string
		sent      string
	}{
		{"the highest priority", []*engage.Campaign{offer("a"), offer("b", priority(5)), offer("c", priority(-1))}, "a suppressed arbitration, b pending, c suppressed arbitration", "b"},
		{"ties go to the smaller id", []*engage.Campaign{offer("b"), offer("a")}, "a pending, b suppressed arbitration", "a"},
		{"extreme priorities", []*engage.Campaign{offer("a", priority(math.MinInt)), offer("b", priority(math.MaxInt))}, "a suppressed arbitration, b pending", "b"},
		{"who cannot render gives way", []*engage.Campaign{offer("a", priority(5), broken), offer("b")}, "a suppressed render, b pending", "b"},
		{"nobody renders", []*engage.Campaign{offer("a", broken), offer("b", broken)}, "a suppressed render, b suppressed render", ""},
		{"every arm must render", []*engage.Campaign{offer("a", func(c *engage.Campaign) {
			c.Arms = append(c.Arms, engage.Arm{ID: "b", Message: engage.Content{Title: "{{ weather.condition }}{{ profile.attributes.none }}"}})
			c.Arms[1].Message.Title = "{{ profile.attributes.none }}"
		}), offer("b")}, "a suppressed render, b pending", "b"},
		{"a held-out winner means that nobody sends", []*engage.Campaign{offer("a", priority(5), held), offer("b")}, "a held_out, b suppressed arbitration", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			who := ""
			for i := 0; who == ""; i++ {
				if id := fmt.Sprint("p", i); engage.Fraction("holdout", ws, "a", id) < 0.5 {
					who = id
				}
			}
			w := newWorld(t, c.campaigns...)
			w.meet(who)
			w.apply(enters(who, "cafe", "v1", 0))
			w.wantVerdicts(c.want)
			sent := ""
			for _, s := range w.sends() {
				sent += s.Campaign
			}
			if sent != c.sent {
				t.Errorf("sent %q, want %q", sent, c.sent)
			}
			w.checkCounts()
		})
	}
}

func TestHoldoutAndArmsAreSticky(t *testing.T) {
	two := func(percent float64, weights ...int) *engage.Campaign {
		return offer("x", func(c *engage.Campaign) {
			c.HoldoutPercent = percent
			c.Arms = nil
			for i, n := range weights {
				c.Arms = append(c.Arms, engage.Arm{ID: string(rune('a' + i)), Weight: n, Message: engage.Content{Title: "hi"}})
			}
		})
	}
	w := newWorld(t, two(10, 1, 1))
	w.Quick = true
	const people = 200
	arms := func(visit string, at time.Duration) map[string]string {
		out := map[string]string{}
		for i := range people {
			id := fmt.Sprint("p", i)
			w.apply(enters(id, "cafe", visit, at))
			out[id] = w.person(id).Arms["x"]
		}
		return out
	}
	for i := range people {
		w.meet(fmt.Sprint("p", i))
	}
	first := arms("v1", 0)
	w.adopt(two(50, 1, 1000))
	for id, arm := range arms("v2", sec) {
		if arm != first[id] {
			t.Errorf("%s went from %s to %s when percent and weights changed", id, first[id], arm)
		}
	}
	w.adopt(two(50, 1)) // arm b is gone
	for id, arm := range arms("v3", 2*sec) {
		want := first[id]
		if want == "b" {
			want = "a" // treated stays treated
		}
		if arm != want {
			t.Errorf("%s went from %s to %s when arm b was removed", id, first[id], arm)
		}
	}
	w.checkCounts()
}

func TestHoldoutAndWeightsAreAsStated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, offer("x", func(c *engage.Campaign) {
		c.HoldoutPercent = 10
		c.Arms = []engage.Arm{
			{ID: "a", Weight: 3, Message: engage.Content{Title: "a"}},
			{ID: "b", Message: engage.Content{Title: "b"}},
		}
	}))
	w.Quick = true
	const people = 10_000
	for i := range people {
		id := fmt.Sprint("p", i)
		w.meet(id)
		w.apply(enters(id, "cafe", "v1", 0))
	}
	n := map[string]float64{}
	for arm, c := range w.counts("x") {
		n[arm] = float64(c.Decided)
		if (arm == engage.HoldoutArm) != (c.HeldOut == c.Decided) {
			t.Errorf("arm %s: %+v", arm, c)
		}
	}
	// Four standard deviations.
	for arm, share := range map[string]float64{engage.HoldoutArm: 0.1, "a": 0.9 * 0.75, "b": 0.9 * 0.25} {
		if sd := math.Sqrt(people * share * (1 - share)); math.Abs(n[arm]-people*share) > 4*sd {
			t.Errorf("%s has %v of %d, want %v ± %.0f", arm, n[arm], people, people*share, 4*sd)
		}
	}
	sends := 0
	for _, o := range w.Take() {
		if o.To == "send" {
			sends++
		}
	}
	if sends != int(n["a"]+n["b"]) {
		t.Errorf("%d sends, want one for each of the treated: %v", sends, n)
	}
}

func TestTheSendSaysWhatDeliverNeeds(t *testing.T) {
	w := newWorld(t, offer("x", func(c *engage.Campaign) {
		c.Limits = engage.Limits{ExpireS: 600, RetryAmbiguous: new(false)}
		c.Arms[0].Message = engage.Content{
			Title: "{{ place.name }}", Body: "{{ profile.likes | join: '/' }}", DeepLink: "app://x", ImageURL: "https://x/y.png",
			Data: map[string]string{"sku": "{{ campaign.id }}"}, Channels: []engage.Channel{engage.Push, engage.InApp},
		}
	}))
	w.meet("ada")
	w.apply(
		entry(engage.KindDevice, person("ada"), sec, device("i-new", func(d *engage.Device) { d.SeenAt = t0.Add(sec) })),
		entry(engage.KindPreferences, person("ada"), sec, map[string]string{"tea": "like", "art": "like", "meat": "dislike"}),
		enters("ada", "cafe", "v1", 2*sec),
	)
	sends := w.sends()
	if len(sends) != 1 {
		t.Fatalf("%d sends", len(sends))
	}
	s := sends[0]
	if len(s.Devices) != 2 || s.Devices[0].Install != "i-ada" || s.Devices[1].Install != "i-new" || s.Devices[0].Push.Token.Reveal() != "tok-secret" {
		t.Errorf("devices %+v, want the triggering one first", s.Devices)
	}
	s.Devices = nil
	want := engage.Send{
		Delivery: engage.DeliveryID(ws, "x", "ada", "v1"), Workspace: ws, Campaign: "x", Arm: "a", Profile: "ada", Class: engage.Marketing,
		Title: "Café", Body: "art/tea", DeepLink: "app://x", ImageURL: "https://x/y.png", Data: map[string]string{"sku": "x"},
		Channels:  []engage.Channel{engage.InApp, engage.Push},
		DecidedAt: t0.Add(2 * sec), ExpiresAt: t0.Add(602 * sec),
	}
	if got, want := mustJSON(t, s), mustJSON(t, want); got != want {
		t.Errorf("send\n%s, want\n%s", got, want)
	}
	for _, collection := range []string{"decisions", "timeline"} {
		for id, doc := range w.Docs(collection) {
			if strings.Contains(string(doc), "tok-secret") {
				t.Errorf("%s %s holds the push token", collection, id)
			}
		}
	}
}

// Every field that a context may ask about has its value, of its type.
func TestEveryFieldOfTheMomentHasAValue(t *testing.T) {
	for _, f := range rules.MomentSchema().Fields() {
		path := strings.TrimSuffix(f.Path, "*")
		event := strings.HasPrefix(path, "trigger.event") || strings.HasPrefix(path, "trigger.properties.")
		if strings.HasSuffix(f.Path, "*") {
			path += "sku"
		}
		w := newWorld(t, offer("x", func(c *engage.Campaign) {
			c.Context = rule(fmt.Sprintf(`{"field":%q,"op":"exists"}`, path))
			if event {
				c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "order"}
				c.Arms[0].Message.Title = "hi"
			}
		}))
		w.meet("ada")
		w.apply(forecast(0, time.Hour, "rain", "clear"))
		if event {
			w.apply(entry(engage.KindTrigger, person("ada"), 0, engage.Trigger{
				Type: engage.TriggerEvent, Occasion: "e1", Install: "i-ada", OccurredAt: t0, Event: "order", Properties: rule(`{"sku":"S1"}`),
			}))
		} else {
			w.apply(enters("ada", "cafe", "v1", 0, func(tr *engage.Trigger) {
				s := sky("rain", 0, time.Hour)
				tr.Weather, tr.WeatherIs = &s, engage.WeatherFresh
				tr.InsideS, tr.Opening, tr.Beacon = 60, "closed", "door"
				tr.Occupancy = new(15)
			}))
		}
		if got := w.verdicts(); got != "x pending" {
			t.Errorf("%s: %s", path, got)
		}
	}
	// And what is not known is absent, not empty.
	for _, path := range []string{"place.name", "place.open", "weather.day", "device.locale", "trigger.distance_m", "trigger.inside_s"} {
		w := newWorld(t, offer("x", func(c *engage.Campaign) {
			c.Context = rule(fmt.Sprintf(`{"field":%q,"op":"absent"}`, path))
			c.Arms[0].Message.Title = "hi"
			if path == "weather.day" {
				c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "order"}
			}
		}))
		w.meet("ada")
		w.apply(entry(engage.KindDevice, person("ada"), 0, engage.Device{Install: "i-ada", SeenAt: t0}))
		w.apply(enters("ada", "gone", "v1", 0, func(tr *engage.Trigger) { tr.DistanceM, tr.Evidence = 0, "os_region" }))
		want := "x pending"
		if path == "weather.day" { // asking for weather where there can be none is weather_unknown
			w.apply(entry(engage.KindTrigger, person("ada"), 0, engage.Trigger{Type: engage.TriggerEvent, Occasion: "e", Install: "i-ada", OccurredAt: t0, Event: "order"}))
			want = "x suppressed weather_unknown"
		}
		if got := w.verdicts(); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestACampaignThatDoesNotCompileIsRefusedWithItsField(t *testing.T) {
	for field, change := range map[string]func(*engage.Campaign){
		"audience.all[0].field":     func(c *engage.Campaign) { c.Audience = rule(`{"all":[{"field":"nope","op":"eq","value":1}]}`) },
		"context.field":             func(c *engage.Campaign) { c.Context = rule(`{"field":"likes","op":"contains","value":"x"}`) },
		"arms[0].message.body":      func(c *engage.Campaign) { c.Arms[0].Message.Body = "{{ oops" },
		"arms[0].message.title":     func(c *engage.Campaign) { c.Arms[0].Message.Title = `{% include "/etc/passwd" %}` },
		"arms[0].message.deep_link": func(c *engage.Campaign) { c.Arms[0].Message.DeepLink = "javascript:x" },
		"holdout_percent":           func(c *engage.Campaign) { c.HoldoutPercent = math.NaN() },
		"limits.cap_window_s":       func(c *engage.Campaign) { c.Limits.Cap = 1 },
	} {
		c := offer("x", change)
		err := decide.Compile(c, nil)
		if e, ok := err.(*engage.Error); !ok || e.Field != field { //nolint:errorlint // the error itself, with its field
			t.Errorf("%s: %v", field, err)
		}
		cfg, errs := decide.NewConfig([]decide.Workspace{{ID: ws, Campaigns: []*engage.Campaign{c, offer("y")}}})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), "campaigns.x."+field) {
			t.Errorf("%s: %v", field, errs)
		}
		w := newWorld(t)
		w.Adopt(cfg)
		w.meet("ada")
		w.apply(enters("ada", "cafe", "v1", 0))
		if got := w.verdicts(); got != "y suppressed render" { // no place of that name here
			t.Errorf("%s: %s", field, got)
		}
	}
}

// Any phone can say more than a profile holds: nothing of it may be an error,
// which would set the entry aside.
func TestWhatAPhoneSaysBeyondTheLimitsIsNotedAndLeftOut(t *testing.T) {
	w := newWorld(t)
	w.meet("ada")
	topics, traits := map[string]engage.Attitude{}, map[string]int{}
	for i := range profile.MaxPreferences {
		topics[fmt.Sprintf("t%03d", i)], traits[fmt.Sprintf("t%03d", i)] = engage.Like, i
	}
	odd := entry(engage.KindTraits, person("ada"), 4*sec, map[string]any{})
	odd.Body = []byte(`{"t001":1e999,"t002":"two","new":true}`)
	w.apply(
		entry(engage.KindPreferences, person("ada"), sec, topics),
		entry(engage.KindTraits, person("ada"), 2*sec, traits),
		entry(engage.KindPreferences, person("ada"), 3*sec, map[string]engage.Attitude{"z": engage.Like, "t001": engage.Dislike, "a": engage.Like}),
		odd,
	)
	p := w.person("ada")
	if len(p.Preferences) != profile.MaxPreferences || p.Preferences["t001"] != engage.Dislike || p.Preferences["a"] != "" {
		t.Errorf("%d preferences, t001 %q, a %q", len(p.Preferences), p.Preferences["t001"], p.Preferences["a"])
	}
	if len(p.Attributes) != profile.MaxAttributes || p.Attributes["t001"] != 1.0 || p.Attributes["t002"] != "two" {
		t.Errorf("%d attributes, t001 %v, t002 %v", len(p.Attributes), p.Attributes["t001"], p.Attributes["t002"])
	}
	said := map[time.Duration]string{}
	for _, b := range w.Docs("timeline") {
		var e engage.TimelineEntry
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		said[e.At.Sub(t0)] = string(e.Data)
	}
	for at, want := range map[time.Duration]string{
		2 * sec: mustJSON(t, traits), // all found room
		3 * sec: `{"kept":{"t001":"dislike"},"left_out":["a","z"]}`,
		4 * sec: `{"kept":{"t002":"two"},"left_out":["new","t001"]}`,
	} {
		if said[at] != want {
			t.Errorf("the timeline at %v: %s, want %s", at, said[at], want)
		}
	}
}

func TestOneOddPropertyOfAnEventSpoilsNoOther(t *testing.T) {
	w := newWorld(t, offer("x", func(c *engage.Campaign) {
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "bought"}
		c.Context = rule(`{"field":"trigger.properties.n","op":"eq","value":7}`)
		c.Arms[0].Message = engage.Content{Title: "Hello", Body: "Thanks"}
	}))
	w.meet("ada")
	w.apply(entry(engage.KindTrigger, person("ada"), sec, engage.Trigger{
		Type: engage.TriggerEvent, Occasion: "e1", Install: "i-ada", OccurredAt: t0.Add(sec), Event: "bought",
		Properties: json.RawMessage(`{"huge":1e999,"n":7}`),
	}))
	w.wantVerdicts("x pending")
}
