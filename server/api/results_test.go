package api_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

type resultsOf struct {
	Span *struct {
		From, To time.Time
		By, Zone string
	}
	Arms []struct {
		Arm    string
		People int64
		Rates  *struct {
			Visited, Bought, Reached struct{ Rate, Low, High float64 }
		}
		Value map[string]float64
	}
	Suppressed []struct {
		Reason, Words, Advice string
		Count                 int64
		Share                 float64
	}
	Why struct {
		Moments int64
		Decided float64
		Words   string
		Reasons []struct{ Reason string }
	}
	Totals map[string]any
	Series []struct {
		From       time.Time
		Sent       int64
		Suppressed int64
		Reasons    map[string]int64
		Value      map[string]float64
		Arms       []struct{ Arm string }
	}
}

// overTime is what "rain" counted in some hours and days.
func overTime(s *site) {
	no := func(n int64) map[string]engage.Counts {
		return map[string]engage.Counts{"": {Suppressed: map[engage.Reason]int64{engage.ReasonCap: n}}, "umbrella": {Decided: 1, Sent: 1, Value: map[string]int64{"EUR": 12_500}}}
	}
	day := start.UTC().Truncate(24 * time.Hour)
	s.world.counted = map[string]map[string]map[time.Duration][]api.Counted{alpha: {"rain": {
		time.Hour: {
			{From: day.Add(-26 * time.Hour), Arms: no(1)}, // 22:00 the day before yesterday: 23:00 in Amsterdam's winter
			{From: day.Add(-25 * time.Hour), Arms: no(2)}, // 23:00: midnight there
			{From: day.Add(-20 * time.Hour), Arms: no(4)},
			{From: day, Arms: no(8)},
		},
		24 * time.Hour: {{From: day.Add(-48 * time.Hour), Arms: no(1000)}, {From: day.Add(-24 * time.Hour), Arms: no(100)}, {From: day, Arms: no(10)}},
	}}}
}

func TestResultsOverTime(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	overTime(s)
	day := start.UTC().Truncate(24 * time.Hour)
	at := func(d time.Duration) string { return day.Add(d).Format(time.RFC3339) }
	var r resultsOf
	get := func(query string) {
		t.Helper()
		r = resultsOf{}
		s.get("/api/v1/campaigns/rain/results?"+query).want(200, &r)
	}
	get("by=hour&from=" + at(-26*time.Hour+time.Minute) + "&to=" + at(time.Hour))
	if len(r.Series) != 4 || r.Series[0].Reasons["cap"] != 1 || r.Series[0].Sent != 1 || r.Series[0].Suppressed != 1 || len(r.Series[0].Arms) != 1 || r.Series[0].Value["EUR"] != 1.25 ||
		r.Totals["suppressed"] != 15.0 || r.Totals["sent"] != 4.0 || len(r.Suppressed) != 1 || r.Suppressed[0].Count != 15 || !r.Span.From.Equal(day.Add(-26*time.Hour)) || r.Span.By != "hour" {
		t.Errorf("hours: %+v", r)
	}
	get("from=" + at(-25*time.Hour)) // the day in which it begins, whole
	if len(r.Series) != 3 || r.Totals["suppressed"] != 1110.0 || r.Span.By != "day" || !r.Span.From.Equal(day.Add(-48*time.Hour)) {
		t.Errorf("days: %+v", r)
	}
	get("zone=Europe/Amsterdam&from=" + at(-27*time.Hour))
	if len(r.Series) != 3 || r.Series[0].Suppressed != 1 || r.Series[1].Suppressed != 6 || !r.Series[1].From.Equal(day.Add(-25*time.Hour)) || r.Series[2].Suppressed != 8 {
		t.Errorf("days of Amsterdam: %+v", r.Series)
	}
	var all struct {
		Campaigns []struct {
			Campaign string
			Why      struct{ Moments int64 }
		}
		Suppressed []struct{ Count int64 }
		Totals     map[string]any
		Series     []struct{ Suppressed int64 }
	}
	s.get("/api/v1/results?by=day&from="+at(-48*time.Hour)).want(200, &all)
	if len(all.Campaigns) == 0 || all.Totals["suppressed"] != 1110.0 || len(all.Series) != 3 || all.Series[2].Suppressed != 10 || all.Suppressed[0].Count != 1110 {
		t.Errorf("all: %+v", all)
	}
	for query, field := range map[string]string{
		"by=week": "by", "zone=Mars": "zone", "by=hour&zone=Europe/Amsterdam": "zone", "from=nonsense": "from",
		"from=" + at(0) + "&to=" + at(-time.Hour): "to", "by=hour&from=" + at(-40*24*time.Hour): "from", "from=" + at(-1000*24*time.Hour): "from",
	} {
		s.get("/api/v1/campaigns/rain/results?"+query).wantProblem(422, engage.Invalid, field)
	}
}

func TestResultsSayWhyNobodyGotIt(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	var r resultsOf
	s.get("/api/v1/campaigns/rain/results").want(200, &r)
	if r.Why.Moments != 22 || r.Why.Reasons[0].Reason != "consent" || !strings.Contains(r.Why.Words, "69 % of them: no consent to marketing messages") || r.Span != nil || r.Series != nil {
		t.Errorf("%+v", r.Why)
	}
	for _, x := range r.Suppressed {
		if x.Advice == "" || math.Abs(x.Share-float64(x.Count)/13) > 1e-9 {
			t.Errorf("%+v", x)
		}
	}
	for status, want := range map[string]string{"draft": "it is a draft", "live": "though it is live. It waits for people"} {
		body := campaign("id", `"x-`+status+`"`, "status", `"`+status+`"`)
		s.do(request{method: "PUT", path: "/api/v1/campaigns/x-" + status, body: body, role: catalog.Marketer}).want(201)
		s.get("/api/v1/campaigns/x-"+status+"/results").want(200, &r)
		if r.Why.Moments != 0 || !strings.Contains(r.Why.Words, want) {
			t.Errorf("%s: %+v", status, r.Why)
		}
	}
}

// Of 100 persons, 10: the interval as the literature has it (Wilson without continuity
// correction: 0.0552 to 0.1744); of few it does not leave 0 to 1.
func TestRatesHaveTheirIntervals(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.world.tallies[alpha]["rain"] = map[string]engage.Counts{
		"umbrella":        {People: 100, Reached: 10, Bought: 100, Value: map[string]int64{"EUR": 1_234_500}},
		engage.HoldoutArm: {People: 2},
	}
	var r resultsOf
	s.get("/api/v1/campaigns/rain/results").want(200, &r)
	got := r.Arms[0].Rates
	if got == nil || got.Reached.Rate != 0.1 || math.Abs(got.Reached.Low-0.0552) > 5e-5 || math.Abs(got.Reached.High-0.1744) > 5e-5 || got.Bought.High != 1 || got.Bought.Low < 0.96 || got.Visited.Low != 0 || r.Arms[0].Value["EUR"] != 123.45 {
		t.Errorf("%+v", got)
	}
	if c := r.Arms[1].Rates; c == nil || c.Reached.Low != 0 || c.Reached.High < 0.6 {
		t.Errorf("of two: %+v", c)
	}
}
