package main

import (
	"strings"
	"testing"
)

func TestCampaignsOnTheCommandLine(t *testing.T) {
	const draft = `{"id":"rain","name":"Rain","class":"marketing","status":"draft","version":3,"updated_at":"2026-03-02T09:30:00Z"}`
	answers := map[string]string{
		"GET /api/v1/campaigns?status=draft":       `{"items":[` + draft + `]}`,
		"GET /api/v1/campaigns/rain":               draft,
		"PUT /api/v1/campaigns/rain":               `{"id":"rain","status":"draft","version":4,"warnings":[{"field":"arms[0]","reason":"is long"}]}`,
		"POST /api/v1/campaigns/rain/status":       `{"id":"rain","status":"review","version":4}`,
		"POST /api/v1/campaigns/rain/duplicate":    `{"id":"rain-2","status":"draft","version":1}`,
		"GET /api/v1/campaigns/rain/versions":      `{"items":[{"version":2,"at":"2026-03-02T09:30:00Z","by":"k1","by_name":"ada","status":"live","changed":["status"]},{"version":1,"at":"2026-03-02T09:00:00Z","by":"k2","deleted":true,"changed":[]}]}`,
		"GET /api/v1/campaigns/rain/diff?from=1":   `{"from":1,"to":2,"changes":[{"path":"limits.cap","before":1,"after":2},{"path":"end","after":"2026-04-01T00:00:00Z"}]}`,
		"GET /api/v1/campaigns/rain/diff?":         `{"from":1,"to":2,"changes":[]}`,
		"GET /api/v1/campaign-templates":           `{"items":[{"programme":"winback","words":"asks them back","campaign":{}}]}`,
		"GET /api/v1/campaign-templates/winback":   `{"programme":"winback","words":"asks them back","campaign":{"name":"Back <3"}}`,
		"GET /api/v1/campaigns/rain/occurrences":   `{"items":[{"local":"2026-03-02T08:30:00","campaign_version":3,"state":"running","started_at":"2026-03-02T07:30:00Z","reached":12,"of":40,"next":"2026-03-02T09:30:00Z"},{"local":"2026-02-23T08:30:00","campaign_version":2,"state":"stopped","why":"edited","started_at":"2026-02-23T07:30:00Z","ended_at":"2026-02-23T07:31:00Z","reached":9,"of":40}]}`,
		"GET /api/v1/review-policy":                `{"version":5,"required":false}`,
		"PUT /api/v1/review-policy":                `{"version":6,"required":true}`,
		"PUT /api/v1/stop":                         `{"stopped":true}`,
		"DELETE /api/v1/stop":                      "",
		"GET /api/v1/audit?kind=campaign&limit=50": `{"items":[{"revision":7,"at":"2026-03-02T09:30:00Z","by":"k1","by_name":"ada","kind":"campaign","id":"rain","action":"changed","documents":1,"changed":["limits.cap"]},{"revision":6,"at":"2026-03-02T09:30:00Z","by":"k1","kind":"place","action":"imported","documents":40}]}`,
	}
	s := newFakeServer(t, known(answers, 404, `{"title":"Not found","detail":"there is none"}`))
	file := tempFile(t, `{"name":"Rain","version":1}`)
	for _, c := range []struct {
		args, out, errs, asked string
		code                   int
	}{
		{args: "campaigns list --status draft", out: "rain  draft   marketing  -"},
		{args: "campaigns show rain", out: "  \"name\": \"Rain\",\n"},
		{args: "campaigns put rain " + file, errs: "warning: arms[0] is long\nrain is a draft (version 4)\n", asked: `PUT /api/v1/campaigns/rain {"name":"Rain","version":1}`},
		{args: "campaigns put rain --force " + file, asked: `PUT /api/v1/campaigns/rain {"name":"Rain","version":3}`},
		{args: "campaigns put other --force " + file, asked: `PUT /api/v1/campaigns/other {"name":"Rain","version":1}`, code: 1},
		{args: "campaigns put rain nowhere.json", code: 1},
		{args: "campaigns submit rain --note look", errs: "rain is in review (version 4)\n", asked: `POST /api/v1/campaigns/rain/status {"note":"look","status":"review"}`},
		{args: "campaigns approve rain", asked: `POST /api/v1/campaigns/rain/status {"status":"live"}`},
		{args: "campaigns reject rain --comment no", asked: `POST /api/v1/campaigns/rain/status {"comment":"no","status":"draft"}`},
		{args: "campaigns pause rain", asked: `POST /api/v1/campaigns/rain/status {"status":"paused"}`},
		{args: "campaigns duplicate rain rain-2 --name Again", asked: `POST /api/v1/campaigns/rain/duplicate {"id":"rain-2","name":"Again"}`, errs: "rain-2 is a draft (version 1)"},
		{args: "campaigns versions rain", out: "2        2026-03-02 09:30:00  ada (k1)  live     status"},
		{args: "campaigns versions rain", out: "k2        deleted"},
		{args: "campaigns diff rain --from 1", out: "limits.cap  1          2\n"},
		{args: "campaigns diff rain --from 1", out: "end         -          \"2026-04-01T00:00:00Z\"\n"},
		{args: "campaigns diff rain", out: "versions 1 and 2 say the same\n"},
		{args: "campaigns new", out: "winback    asks them back\n"},
		{args: "campaigns new winback", out: "  \"name\": \"Back <3\"\n"},
		{args: "campaigns new winback --id rain", asked: `PUT /api/v1/campaigns/rain {"name":"Back \u003c3"}`},
		{args: "campaigns new charity", code: 1, errs: "there is none"},
		{args: "campaigns occurrences rain", out: "2026-03-02T08:30:00  running  12       40  2026-03-02 07:30:00  -                    2026-03-02 09:30:00  3        -\n"},
		{args: "campaigns occurrences rain", out: "2026-02-23T08:30:00  stopped  9        40  2026-02-23 07:30:00  2026-02-23 07:31:00  -                    2        edited\n"},
		{args: "campaigns occurrences none", code: 1, errs: "there is none"},
		{args: "campaigns occurrences", code: 2},
		{args: "campaigns review-policy", out: "whoever makes a campaign can make it live\n", asked: "GET /api/v1/review-policy"},
		{args: "campaigns review-policy --json", out: `{"version":5,"required":false}`},
		{args: "campaigns review-policy require", errs: "a second person makes campaigns live\n", asked: `PUT /api/v1/review-policy {"version":5,"required":true}`},
		{args: "campaigns review-policy waive", asked: `PUT /api/v1/review-policy {"version":5,"required":false}`},
		{args: "stop --reason wrong --marketing-only", asked: `PUT /api/v1/stop {"reason":"wrong","scope":"marketing"}`, errs: "everything is stopped"},
		{args: "go-on", asked: "DELETE /api/v1/stop", errs: "messages go out again"},
		{args: "audit --kind campaign", out: "7         2026-03-02 09:30:00  ada (k1)  changed   campaign rain     limits.cap\n"},
		{args: "audit --kind campaign", out: "imported  40 of kind place"},
		{args: "audit --most 0", code: 2},
	} {
		code, out, errs := s.run(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) || c.asked != "" && s.asked != c.asked {
			t.Errorf("%s: %d\nout %s\nerrs %s\nasked %s", c.args, code, out, errs, s.asked)
		}
	}
}

// Whoever puts a campaign that is there, by a file without a version, is told what to do:
// not which header of HTTP is missing.
func TestPuttingACampaignWithoutAVersionSaysWhatToDo(t *testing.T) {
	s := newFakeServer(t, func(request string) (int, string) {
		if strings.HasPrefix(request, "GET ") {
			return 200, `{"programme":"winback","campaign":{"name":"Back"}}`
		}
		return 428, `{"title":"Precondition Required","detail":"If-Match: the document exists: name the version that you changed"}`
	})
	file := tempFile(t, `{"name":"Rain"}`)
	code, _, errs := s.run("campaigns", "put", "rain", file)
	for _, want := range []string{"campaign rain is there already", "footfall campaigns show rain", "--force", file} {
		if code != 1 || !strings.Contains(errs, want) || strings.Contains(errs, "If-Match") {
			t.Errorf("%d, without %q: %s", code, want, errs)
		}
	}
	if code, _, errs = s.run("campaigns", "new", "winback", "--id", "rain"); code != 1 || !strings.Contains(errs, "campaign rain is there already: give another --id") {
		t.Errorf("%d: %s", code, errs)
	}
}
