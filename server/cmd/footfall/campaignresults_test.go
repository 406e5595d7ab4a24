package main

import (
	"strings"
	"testing"
)

func TestResultsOnTheCommandLine(t *testing.T) {
	const one = `{"campaign":"rain","name":"Rain","status":"live",SPAN
		"arms":[{"arm":"a","decided":9,"sent":8,"delivered":7,"displayed":6,"opened":5,"people":4,"visited":2,"bought":1,"reached":1,"last_touch":1,"assisted":3,"value":{"EUR":12.5,"USD":1},"redeemed":3,"voided":1,"redeemed_value":{"EUR":7.25},
			"rates":{"visited":{"rate":0.5,"low":0.15,"high":0.85},"bought":{"rate":0.25,"low":0.046,"high":0.7},"reached":{"rate":0,"low":0,"high":0.5}}},{"arm":"holdout","control":true,"decided":1}],
		"suppressed":[{"reason":"cap","count":30,"words":"Had enough","share":0.75,"advice":"Leave it."},{"reason":"audience","count":10,"words":"Not meant","share":0.25,"advice":"Look at it."}],
		"why":{"moments":49,"words":"It was fired 49 times."}SERIES}`
	const span = `"span":{"from":"2026-11-01T23:00:00Z","to":"2026-11-03T12:00:00Z","by":"day","zone":"Europe/Amsterdam"},`
	const series = `,"series":[{"from":"2026-11-01T23:00:00Z","sent":8,"suppressed":32},{"from":"2026-11-02T23:00:00Z","sent":1,"suppressed":0}]`
	s := newFakeServer(t, known(map[string]string{
		"GET /api/v1/campaigns/rain/results": strings.NewReplacer("SPAN", "", "SERIES", "").Replace(one),
		"GET /api/v1/campaigns/rain/results?by=day&from=2026-11-02T00%3A00%3A00Z&zone=Europe%2FAmsterdam": strings.NewReplacer("SPAN", span, "SERIES", series).Replace(one),
		"GET /api/v1/results":         `{"campaigns":[{"campaign":"rain","status":"live","totals":{"decided":9,"sent":8,"redeemed":2,"redeemed_value":{"EUR":7.25}},"why":{"moments":49,"reasons":[{"reason":"cap","words":"Had enough","share":0.75}]}},{"campaign":"sun","status":"draft","totals":{},"why":{}}],"suppressed":[]}`,
		"GET /api/v1/results?by=hour": `{"span":{"from":"2026-11-01T23:00:00Z","to":"2026-11-03T12:00:00Z","by":"hour"},"campaigns":[],"suppressed":[]}`,
	}, 422, `{"title":"Unprocessable","detail":"by: must be hour or day","code":"invalid","field":"by"}`))
	for _, c := range []struct {
		args string
		code int
		out  []string
		errs string
	}{
		{args: "campaigns results rain", out: []string{
			"rain (Rain), live, since ever\n",
			"a                  9        8     7          6          5       4       2 (50%, 15% to 85%)  1 (25%, 4.6% to 70%)  1 (0%, 0% to 50%)  1           3         12.50 EUR, 1.00 USD  3 (1 voided)  7.25 EUR\n", "ASSISTED  VALUE                REDEEMED      REDEEMED VALUE\n", "holdout (control)  1", "\nIt was fired 49 times.\n",
		}},
		{args: "campaigns results rain --why", out: []string{"30  75%    ████████████████████  Had enough (cap)      Leave it.\n", "10  25%    ██████▋               Not meant (audience)  Look at it.\n"}},
		{args: "campaigns results rain --by day --from 2026-11-02 --zone Europe/Amsterdam", out: []string{
			"live, 2026-11-02 00:00 to 2026-11-03 13:00 Europe/Amsterdam\n", "DAY         SENT              NOT SENT", "2026-11-02  8     ██████████  32        ████████████████████████████████████████\n", "2026-11-03  1     █▎          0",
		}},
		{args: "campaigns results", out: []string{"2 campaigns, since ever\n", "rain      live    49       9        0         8     0          0       2         7.25 EUR        Had enough (75%)\n", "sun       draft   0"}},
		{args: "campaigns results --by hour --why", out: []string{"Nothing was counted in this time.\n", "No gate said no.\n"}},
		{args: "campaigns results rain --json", out: []string{`"moments":49`}},
		{args: "campaigns results rain --by week", code: 1, errs: "by: must be hour or day"},
		{args: "campaigns results rain --from yesterday", code: 2, errs: "--from"},
	} {
		code, out, errs := s.run(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(errs, c.errs) {
			t.Errorf("%s: %d\nout %s\nerrs %s\nasked %s", c.args, code, out, errs, s.asked)
		}
		for _, want := range c.out {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", c.args, want, out)
			}
		}
	}
}
