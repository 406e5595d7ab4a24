package decide_test

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

const rain = `{"field":"weather.condition","op":"eq","value":"rain"}`

func rainy(c *engage.Campaign) { c.Context = rule(rain) }

func quiet(start, end string, expire time.Duration) func(*engage.Campaign) {
	return func(c *engage.Campaign) {
		c.Limits.Quiet, c.Limits.ExpireS = &engage.QuietHours{Start: start, End: end}, int(expire/time.Second)
	}
}

// asked counts the weather requests since the last time.
func (w *world) asked() int {
	w.Helper()
	n := 0
	for _, o := range w.Take() {
		if o.To == "weather" {
			n++
			if o.Entry.Kind != engage.KindWeatherRequest || string(o.Entry.Body) != weatherCell().String() {
				w.Errorf("request %+v", o)
			}
		}
	}
	return n
}

func TestAMomentThatNeedsWeatherIsParkedAlone(t *testing.T) {
	w := newWorld(t, offer("wet", rainy, func(c *engage.Campaign) { c.Priority = 1 }))
	w.meet("ada")
	w.meet("bob")
	w.apply(enters("ada", "cafe", "v1", 0))
	w.wantVerdicts("wet pending")
	d := w.decisions()[0]
	if gatesOf(d) != "consent eligibility audience !context" || !d.DueAt.Equal(t0.Add(2*sec)) || d.Gates[3].Reason != engage.ReasonWeatherUnknown {
		t.Errorf("parked as %s", mustJSON(t, d))
	}
	if n := w.asked(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	w.checkCounts()

	t.Run("other records are not held", func(t *testing.T) {
		f := &world{T: t, Partition: w.Fork()}
		f.apply(entry(engage.KindPreferences, person("ada"), sec, map[string]string{"tea": "like"}),
			enters("bob", "cafe", "v2", sec, func(tr *engage.Trigger) {
				s := sky("rain", 0, time.Hour)
				tr.Weather, tr.WeatherIs = &s, engage.WeatherFresh
			}))
		f.wantVerdicts("wet pending, wet pending")
		if s := f.sends(); len(s) != 1 || s[0].Profile != "bob" {
			t.Errorf("sent %+v", s)
		}
	})
	t.Run("resumed by a record", func(t *testing.T) {
		f := &world{T: t, Partition: w.Fork()}
		f.apply(weather("rain", sec, time.Hour))
		f.wantVerdicts("wet pending")
		if s := f.sends(); len(s) != 1 || s[0].Profile != "ada" || !s[0].DecidedAt.Equal(t0.Add(sec)) {
			t.Errorf("sent %+v", s)
		}
		if len(f.person("ada").Waiting) != 0 {
			t.Error("still waits")
		}
		again := f.Dump()
		f.fireUntil(10 * sec) // its timer was cleared
		if f.Dump() != again {
			t.Error("the timer did something more")
		}
		f.checkCounts()
	})
	t.Run("resumed by a record that says no", func(t *testing.T) {
		f := &world{T: t, Partition: w.Fork()}
		f.apply(weather("clear", sec, time.Hour))
		f.wantVerdicts("wet suppressed context")
		f.checkCounts()
	})
	t.Run("given up by the timer", func(t *testing.T) {
		f := &world{T: t, Partition: w.Fork()}
		f.fireUntil(2*sec - 1)
		f.wantVerdicts("wet pending")
		f.fireUntil(2 * sec)
		f.wantVerdicts("wet suppressed weather_unknown")
		f.apply(weather("rain", 3*sec, time.Hour))
		f.wantVerdicts("wet suppressed weather_unknown")
		f.checkCounts()
	})
	t.Run("a record that is too old wakes nobody, and the timer still counts from the beginning", func(t *testing.T) {
		f := &world{T: t, Partition: w.Fork()}
		f.apply(entry(engage.KindWeather, engage.WeatherKey(weatherCell().String()), sec, sky("rain", -5*time.Hour, time.Hour)))
		if n := f.asked(); n != 0 {
			t.Errorf("asked %d times more", n)
		}
		f.fireUntil(2 * sec)
		f.wantVerdicts("wet suppressed weather_unknown")
	})
	t.Run("paused meanwhile", func(t *testing.T) {
		f := &world{T: t, Partition: w.Fork()}
		f.adopt()
		f.apply(weather("rain", sec, time.Hour))
		f.wantVerdicts("wet suppressed eligibility_paused")
		if d := f.decisions()[0]; d.Revision != 2 || d.Delivery != "" {
			t.Errorf("revision %d, delivery %q", d.Revision, d.Delivery)
		}
		f.checkCounts()
	})
	t.Run("the next moment finds the weather", func(t *testing.T) {
		f := &world{T: t, Partition: w.Fork()}
		f.apply(weather("rain", sec, time.Hour), enters("bob", "cafe", "v2", 2*sec))
		f.wantVerdicts("wet pending, wet pending")
		if n := len(f.sends()); n != 2 {
			t.Errorf("%d sends", n)
		}
	})
	t.Run("several people of a cell ask once", func(t *testing.T) {
		f := &world{T: t, Partition: w.Fork()}
		f.apply(enters("bob", "cafe", "v2", sec))
		if n := f.asked(); n != 0 {
			t.Errorf("asked %d times more within the wait", n)
		}
		f.apply(weather("rain", sec, time.Hour))
		if s := f.sends(); len(s) != 2 {
			t.Errorf("%d sends", len(s))
		}
	})
	t.Run("a template that says the weather needs it too", func(t *testing.T) {
		f := newWorld(t, offer("x", func(c *engage.Campaign) { c.Arms[0].Message.Title = "{{ weather.condition }}" }))
		f.meet("ada")
		f.apply(enters("ada", "cafe", "v1", 0), weather("rain", sec, time.Hour))
		if s := f.sends(); len(s) != 1 || s[0].Title != "rain" {
			t.Errorf("sent %+v", s)
		}
	})
}

func TestCampaignsParkedForOneMomentWakeTogetherAndOneHasIt(t *testing.T) {
	high := func(c *engage.Campaign) { c.Priority = 9 }
	for _, c := range []struct {
		name      string
		campaigns []*engage.Campaign
		want      string
		sent      string
	}{
		{"both waited", []*engage.Campaign{offer("a", rainy), offer("b", rainy, high)}, "a suppressed arbitration, b pending", "b"},
		{"another had the moment at once", []*engage.Campaign{offer("a", rainy, high), offer("b")}, "a suppressed arbitration, b pending", "b"},
		{"the winner cannot render", []*engage.Campaign{
			offer("a", rainy), offer("b", rainy, high, func(c *engage.Campaign) { c.Arms[0].Message.Body = "{{ profile.attributes.no }}" }),
		}, "a pending, b suppressed render", "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.campaigns...)
			w.meet("ada")
			w.apply(enters("ada", "cafe", "v1", 0), weather("rain", sec, time.Hour))
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
	// Given up together by one timer.
	w := newWorld(t, offer("a", rainy), offer("b", rainy))
	w.meet("ada")
	w.apply(enters("ada", "cafe", "v1", 0))
	w.fireUntil(2 * sec)
	w.wantVerdicts("a suppressed weather_unknown, b suppressed weather_unknown")
	// Two moments of one visit that wait: once per occasion.
	w = newWorld(t, offer("a", rainy, func(c *engage.Campaign) { c.Trigger.Rings = []engage.Ring{engage.Near, engage.Inside} }))
	w.meet("ada")
	w.apply(enters("ada", "cafe", "v1", 0, near), enters("ada", "cafe", "v1", sec), weather("rain", sec, time.Hour))
	w.wantVerdicts("a pending, a suppressed eligibility_occasion_used")
	w.checkCounts()
}

func TestQuietHoursDeferToTheirEnd(t *testing.T) {
	day := 24 * time.Hour
	for _, c := range []struct {
		name       string
		start, end string
		at         time.Time
		until      time.Time // zero: not quiet
	}{
		// Amsterdam is one hour ahead of UTC in winter.
		{"before", "22:00", "08:00", time.Date(2026, 11, 2, 20, 59, 59, 0, time.UTC), time.Time{}},
		{"from its first minute", "22:00", "08:00", time.Date(2026, 11, 2, 21, 0, 0, 0, time.UTC), time.Date(2026, 11, 3, 7, 0, 0, 0, time.UTC)},
		{"after midnight", "22:00", "08:00", time.Date(2026, 11, 2, 23, 30, 0, 0, time.UTC), time.Date(2026, 11, 3, 7, 0, 0, 0, time.UTC)},
		{"to its last minute", "22:00", "08:00", time.Date(2026, 11, 3, 6, 59, 59, 0, time.UTC), time.Date(2026, 11, 3, 7, 0, 0, 0, time.UTC)},
		{"the end is loud", "22:00", "08:00", time.Date(2026, 11, 3, 7, 0, 0, 0, time.UTC), time.Time{}},
		{"within a day", "12:00", "14:00", time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 2, 13, 0, 0, 0, time.UTC)},
		{"to the month's end", "22:00", "08:00", time.Date(2026, 11, 30, 22, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 7, 0, 0, 0, time.UTC)},
		// 28 March 2027, 02:00 becomes 03:00: the night is an hour shorter.
		{"into summer time", "22:00", "08:00", time.Date(2027, 3, 27, 22, 0, 0, 0, time.UTC), time.Date(2027, 3, 28, 6, 0, 0, 0, time.UTC)},
		{"to a time that is skipped: when the clocks skip it", "22:00", "02:30", time.Date(2027, 3, 28, 0, 45, 0, 0, time.UTC), time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC)},
		{"a time that is skipped is no part of it", "22:00", "02:30", time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC), time.Time{}},
		{"from a time that is skipped", "02:30", "05:00", time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC), time.Date(2027, 3, 28, 3, 0, 0, 0, time.UTC)},
		// 25 October 2026, 03:00 becomes 02:00: an hour longer.
		{"out of summer time", "22:00", "08:00", time.Date(2026, 10, 24, 21, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 7, 0, 0, 0, time.UTC)},
		{"to a time that comes twice, before: the second", "22:00", "02:30", time.Date(2026, 10, 25, 0, 10, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC)},
		{"to a time that comes twice, between the two", "22:00", "02:30", time.Date(2026, 10, 25, 0, 45, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC)},
		{"from a time that comes twice", "02:30", "05:00", time.Date(2026, 10, 25, 1, 10, 0, 0, time.UTC), time.Date(2026, 10, 25, 4, 0, 0, 0, time.UTC)},
		{"to a time that comes twice, the second time", "22:00", "02:30", time.Date(2026, 10, 25, 1, 10, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC)},
		// There Go takes the earlier instant of both kinds, which is before the moment.
		{"New York, to a time that is skipped", "22:00", "02:30", time.Date(2027, 3, 14, 6, 45, 0, 0, time.UTC), time.Date(2027, 3, 14, 7, 0, 0, 0, time.UTC)},
		{"New York, to a time that comes twice, the second time", "22:00", "01:30", time.Date(2026, 11, 1, 6, 10, 0, 0, time.UTC), time.Date(2026, 11, 1, 6, 30, 0, 0, time.UTC)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, offer("x", quiet(c.start, c.end, day)))
			w.meet("ada")
			place := "cafe" // in Amsterdam
			if strings.HasPrefix(c.name, "New York") {
				place = "bar" // no zone of its own: the phone's
				w.apply(entry(engage.KindDevice, person("ada"), 0, device("i-ada", func(d *engage.Device) { d.TimeZone = "America/New_York" })))
			}
			w.apply(enters("ada", place, "v1", c.at.Sub(t0)))
			w.wantVerdicts("x pending")
			d := w.decisions()[0]
			if c.until.IsZero() {
				if n := len(w.sends()); n != 1 {
					t.Errorf("%d sends, want it at once; %s", n, mustJSON(t, d.Gates))
				}
				return
			}
			if !d.DueAt.Equal(c.until) || len(w.sends()) != 0 || gatesOf(d) != "consent eligibility audience context !quiet" || d.Gates[4].Reason != engage.ReasonQuiet {
				t.Fatalf("due at %v, want %v; %s", d.DueAt, c.until, gatesOf(d))
			}
			if err := w.FireUntil(c.until); err != nil {
				t.Fatal(err)
			}
			if s := w.sends(); len(s) != 1 || !s[0].DecidedAt.Equal(c.until) {
				t.Errorf("sent %+v at the end", s)
			}
			w.checkCounts()
		})
	}
}

func TestADeferredMomentRerunsAllGates(t *testing.T) {
	night := 12 * time.Hour // 23:00 in Amsterdam
	wake := 21 * time.Hour
	for _, c := range []struct {
		name   string
		change func(*engage.Campaign)
		then   []engage.Entry
		adopt  []*engage.Campaign
		want   string
	}{
		{"nothing has changed", nil, nil, nil, "x pending"},
		{"consent is withdrawn", nil, []engage.Entry{entry(engage.KindConsent, person("ada"), night+sec, consents(false))}, nil, "x suppressed consent"},
		{"the campaign has ended", func(c *engage.Campaign) { c.End = new(t0.Add(night + time.Hour)) }, nil, nil, "x suppressed eligibility_ended"},
		{"the campaign is paused", nil, nil, []*engage.Campaign{offer("y")}, "x suppressed eligibility_paused"},
		{
			"no longer in the audience", func(c *engage.Campaign) { c.Audience = rule(`{"field":"dislikes","op":"not_contains","value":"tea"}`) },
			[]engage.Entry{entry(engage.KindPreferences, person("ada"), night+sec, map[string]string{"tea": "dislike"})},
			nil, "x suppressed audience",
		},
		{"the night's rain has gone", rainy, []engage.Entry{weather("clear", wake-sec, time.Hour)}, nil, "x suppressed context"},
		{"it still rains", rainy, []engage.Entry{weather("rain", wake-sec, time.Hour)}, nil, "x pending"},
		{"the visit counts as one only afterwards", func(c *engage.Campaign) {
			c.Audience = rule(`{"all":[{"field":"visits","op":"eq","value":0},{"field":"last_visit_at","op":"absent"},{"field":"last_seen","op":"not_within_last","value":"1h"}]}`)
		}, nil, nil, "x pending"},
	} {
		t.Run(c.name, func(t *testing.T) {
			change := func(*engage.Campaign) {}
			if c.change != nil {
				change = c.change
			}
			w := newWorld(t, offer("x", quiet("22:00", "08:00", 24*time.Hour), change))
			w.meet("ada")
			s := sky("rain", night, time.Hour)
			w.apply(enters("ada", "cafe", "v1", night, func(tr *engage.Trigger) { tr.Weather, tr.WeatherIs = &s, engage.WeatherFresh }))
			w.wantVerdicts("x pending")
			w.apply(c.then...)
			if c.adopt != nil {
				w.adopt(c.adopt...)
			}
			w.fireUntil(wake)
			w.wantVerdicts(c.want)
			if sent := len(w.sends()); (sent == 1) != (c.want == "x pending") {
				t.Errorf("%d sends", sent)
			}
			w.checkCounts()
		})
	}
	t.Run("without weather of the morning it is asked for", func(t *testing.T) {
		w := newWorld(t, offer("x", quiet("22:00", "08:00", 24*time.Hour), rainy))
		w.meet("ada")
		s := sky("rain", night, time.Hour)
		w.apply(enters("ada", "cafe", "v1", night, func(tr *engage.Trigger) { tr.Weather, tr.WeatherIs = &s, engage.WeatherFresh }))
		w.fireUntil(wake)
		w.wantVerdicts("x pending")
		if n := w.asked(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		f := &world{T: t, Partition: w.Fork()}
		f.fireUntil(wake + 2*sec)
		f.wantVerdicts("x suppressed weather_unknown")
		w.apply(weather("rain", wake+sec, time.Hour))
		if s := w.sends(); len(s) != 1 {
			t.Errorf("%d sends", len(s))
		}
	})
	t.Run("several that wake: one has the moment", func(t *testing.T) {
		var cs []*engage.Campaign
		for i := range 5 {
			cs = append(cs, offer(fmt.Sprint("c", i), quiet("22:00", "08:00", 24*time.Hour), func(c *engage.Campaign) { c.Priority = i % 3 }))
		}
		cs = append(cs, offer("later", quiet("22:00", "09:00", 24*time.Hour), func(c *engage.Campaign) { c.Priority = 9 }))
		w := newWorld(t, cs...)
		w.meet("ada")
		w.apply(enters("ada", "cafe", "v1", night))
		w.fireUntil(wake + 2*time.Hour - sec)
		w.wantVerdicts("c0 suppressed arbitration, c1 suppressed arbitration, c2 pending, c3 suppressed arbitration, c4 suppressed arbitration, later suppressed arbitration")
		if s := w.sends(); len(s) != 1 || s[0].Campaign != "c2" {
			t.Errorf("sent %+v", s)
		}
		w.checkCounts()
	})
	t.Run("once per occasion over night", func(t *testing.T) {
		w := newWorld(t, offer("x", quiet("22:00", "08:00", 24*time.Hour), func(c *engage.Campaign) { c.Trigger.Rings = []engage.Ring{engage.Near, engage.Inside} }))
		w.meet("ada")
		w.apply(enters("ada", "cafe", "v1", night, near), enters("ada", "cafe", "v1", night+sec))
		w.fireUntil(wake)
		w.wantVerdicts("x pending, x suppressed eligibility_occasion_used")
		if s := w.sends(); len(s) != 1 {
			t.Errorf("%d sends", len(s))
		}
	})
}

func TestVisitsMeanBeforeThisMoment(t *testing.T) {
	// "before" campaigns never send (they cannot render): their verdict tells what the audience saw.
	probe := func(id, audience string) *engage.Campaign {
		return offer(id, func(c *engage.Campaign) {
			c.Audience = rule(audience)
			c.Trigger.Rings = []engage.Ring{engage.Near, engage.Inside}
			c.Arms[0].Message.Title = "{{ profile.attributes.no }}"
		})
	}
	w := newWorld(t,
		probe("n0", `{"field":"visits","op":"eq","value":0}`),
		probe("n1", `{"field":"visits","op":"eq","value":1}`),
		probe("n2", `{"field":"visits","op":"eq","value":2}`),
		probe("recent", `{"field":"last_visit_at","op":"within_last","value":"30m"}`),
		probe("never", `{"field":"last_visit_at","op":"absent"}`),
	)
	w.meet("ada")
	// holds lists the audiences that held for a trigger.
	holds := func(e engage.Entry) string {
		w.apply(e)
		var out []string
		for _, d := range w.decisions() {
			if d.At.Equal(e.At) && d.Reason == engage.ReasonRender {
				out = append(out, d.Campaign)
			}
		}
		return strings.Join(out, " ")
	}
	other := func(tr *engage.Trigger) { tr.Fence = "cafe-terrace" }
	for i, c := range []struct {
		e    engage.Entry
		want string
	}{
		{enters("ada", "cafe", "v1", 0, near), "n0 never"},
		{enters("ada", "cafe", "v1", 1*sec), "n0 never"},
		{enters("ada", "cafe", "v1", 2*sec, other), "n0 never"}, // the same visit by another geofence
		{enters("ada", "bar", "v2", 10*time.Minute), "n1 recent"},
		{enters("ada", "bar", "v2", 11*time.Minute, other), "n1 recent"},
		{enters("ada", "cafe", "v3", 2*time.Hour), "n2"},
	} {
		if got := holds(c.e); got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
	if p := w.person("ada"); p.Visits != 3 || !p.LastVisitAt.Equal(t0.Add(2*time.Hour)) {
		t.Errorf("%d visits, the last at %v", p.Visits, p.LastVisitAt)
	}
}

func TestASecondInstallJoinsTheVisit(t *testing.T) {
	both := func(c *engage.Campaign) { c.Trigger.Rings = []engage.Ring{engage.Near, engage.Inside} }
	tablet := func(tr *engage.Trigger) { tr.Install = "i-tablet" }
	for _, c := range []struct {
		name   string
		es     []engage.Entry
		sends  int
		visits int64
	}{
		{"within 30 minutes", []engage.Entry{enters("ada", "cafe", "v1", 0), enters("ada", "cafe", "t1", 30*time.Minute-1, tablet)}, 1, 1},
		{"after 30 minutes it is another visit", []engage.Entry{enters("ada", "cafe", "v1", 0), enters("ada", "cafe", "t1", 30*time.Minute, tablet)}, 2, 2},
		{"its later evidence stays joined", []engage.Entry{
			enters("ada", "cafe", "v1", 0, near), enters("ada", "cafe", "t1", sec, near, tablet), enters("ada", "cafe", "t1", 2*sec, tablet),
			enters("ada", "cafe", "v1", 3*sec), enters("ada", "cafe", "t1", 4*sec, tablet, func(tr *engage.Trigger) { tr.Fence = "x" }),
		}, 1, 1},
		{"also hours later", []engage.Entry{
			enters("ada", "cafe", "v1", 0, near), enters("ada", "cafe", "t1", sec, near, tablet), enters("ada", "cafe", "t1", 5*time.Hour, tablet),
		}, 1, 1},
		{"evidence that arrives in the other order", []engage.Entry{
			enters("ada", "cafe", "v1", 10*time.Minute), enters("ada", "cafe", "t1", 11*time.Minute, tablet, func(tr *engage.Trigger) { tr.OccurredAt = t0 }),
		}, 1, 1},
		{"the same install's next visit is another", []engage.Entry{enters("ada", "cafe", "v1", 0), enters("ada", "cafe", "v2", 10*time.Minute)}, 2, 2},
		{"another place is another", []engage.Entry{enters("ada", "cafe", "v1", 0), enters("ada", "bar", "t1", sec, tablet)}, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, offer("x", both))
			w.meet("ada")
			w.apply(entry(engage.KindDevice, person("ada"), 0, device("i-tablet")))
			w.apply(c.es...)
			if n := len(w.sends()); n != c.sends {
				t.Errorf("%d sends, want %d; %s", n, c.sends, w.verdicts())
			}
			if p := w.person("ada"); p.Visits != c.visits {
				t.Errorf("%d visits, want %d", p.Visits, c.visits)
			}
		})
	}
}

func identify(who, user string, at time.Duration, proven bool) engage.Entry {
	return entry(engage.KindIdentify, engage.IdentifierKey(ws, "user_id:"+user), at, engage.Identify{
		Identifier: "user_id:" + user, Profile: who, Install: "i-" + who, Proven: proven,
	})
}

// A machine's own zones say nothing: the same records give the same decisions
// everywhere.
func TestAZoneThatOnlyThisMachineKnowsIsUTC(t *testing.T) {
	archive, err := zip.OpenReader("../engage/zoneinfo.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = archive.Close() }()
	f, err := archive.Open("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	tokyo, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Machine"), tokyo, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ZONEINFO", dir)
	for zone, hour := range map[string]int{"Machine": 10, "../../etc/passwd": 10, "Local": 10, "": 10, "Asia/Tokyo": 19} {
		w := newWorld(t, offer("x", func(c *engage.Campaign) {
			c.Context = rule(fmt.Sprintf(`{"field":"local.hour","op":"eq","value":%d}`, hour))
		}))
		w.meet("ada")
		w.apply(
			entry(engage.KindDevice, person("ada"), sec, device("i-ada", func(d *engage.Device) { d.TimeZone = zone })),
			enters("ada", "bar", "v1", sec),
		)
		if got := w.verdicts(); got != "x pending" {
			t.Errorf("%q: %s", zone, got)
		}
	}
}

// Whoever reports events as fast as they can does not grow the person's state.
func TestMomentsBeyondTheMostThatWaitAreSuppressed(t *testing.T) {
	bought := func(change func(*engage.Campaign)) func(*engage.Campaign) {
		return func(c *engage.Campaign) {
			change(c)
			c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "bought"}
			c.Arms[0].Message = engage.Content{Title: "Hello", Body: "Thanks"}
		}
	}
	for _, c := range []struct {
		name     string
		campaign *engage.Campaign
		cell     string
		most     int
		reason   engage.Reason
		gate     string
		woken    time.Duration // when those that wait wake
		saw      string
	}{
		{
			"in quiet hours", offer("x", bought(quiet("10:00", "12:00", 4*time.Hour))), "", 50, engage.ReasonQuietTooMany, "quiet", time.Hour,
			`{"local_time":"11:00","until":"2026-11-02T11:00:00Z","waiting":50,"zone":"Europe/Amsterdam"}`,
		},
		{
			"for weather", offer("x", bought(rainy)), weatherCell().String(), 50, engage.ReasonWeatherTooMany, "context", 3 * sec,
			`{"waiting":50,"weather_is":"absent"}`,
		},
		{"on their way", offer("x", bought(func(*engage.Campaign) {})), "", 100, engage.ReasonTooManyOpen, "eligibility", 0, `{"pending":100}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.campaign)
			w.Quick = true // thousands of states, each the same as the one before but for one
			w.meet("ada")
			properties := json.RawMessage(fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 16000)))
			for i := range 120 {
				w.apply(entry(engage.KindTrigger, person("ada"), time.Duration(i), engage.Trigger{
					Type: engage.TriggerEvent, Occasion: fmt.Sprint("e", i), Install: "i-ada", OccurredAt: t0.Add(time.Duration(i)),
					Event: "bought", Properties: properties, Cell: c.cell, WeatherIs: engage.WeatherAbsent,
				}))
			}
			states := map[engage.DecisionState]int{}
			for _, d := range w.decisions() {
				states[d.State]++
				if d.State != engage.Suppressed {
					continue
				}
				last := d.Gates[len(d.Gates)-1]
				if d.Reason != c.reason || last.Gate != c.gate || last.Reason != c.reason || mustJSON(t, last.Saw.Values()) != c.saw {
					t.Fatalf("suppressed by %s, gate %s saw %s", d.Reason, last.Gate, mustJSON(t, last.Saw.Values()))
				}
			}
			if states[engage.Pending] != c.most || states[engage.Suppressed] != 120-c.most {
				t.Fatalf("decisions %v, want %d to wait", states, c.most)
			}
			if n := len(w.Bytes(person("ada"))); n > 2<<20 {
				t.Errorf("the state has %d bytes", n)
			}
			w.fireUntil(c.woken)
			if n := len(w.person("ada").Waiting); n != 0 {
				t.Errorf("%d still wait", n)
			}
			w.checkCounts()
		})
	}
}
