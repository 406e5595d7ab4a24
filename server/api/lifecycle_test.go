package api_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

// rain is a draft that anybody may save.
const rain = `{"name":"Rain","class":"marketing","status":"draft","trigger":{"type":"event","event":"rain"},
	"arms":[{"id":"a","message":{"title":"Umbrella?"}},{"id":"b","message":{"title":"Coat?"}}],"limits":{"cap":1,"cap_window_s":3600}}`

func (s *site) saves(id, body string, version string) answer {
	s.t.Helper()
	return s.do(request{method: "PUT", path: "/api/v1/campaigns/" + id, body: body, header: map[string]string{"If-Match": version}})
}

func TestVersionsOfACampaignAreKeptAndCompared(t *testing.T) {
	s := newSite(t)
	s.do(request{method: "PUT", path: "/api/v1/campaigns/rain", body: rain}).want(201)
	s.saves("rain", strings.Replace(rain, "Coat?", "Hat?", 1), "1").want(200)
	s.do(request{method: "POST", path: "/api/v1/campaigns/rain/status", body: `{"status":"live"}`}).want(200)
	turned := `[{"id":"b","message":{"title":"Hat!"}},{"id":"a","message":{"title":"Umbrella?"}}]`
	from, to := strings.Index(rain, "[{"), strings.Index(rain, "}}]")+3
	s.saves("rain", strings.Replace(rain[:from]+turned+rain[to:], `"cap":1`, `"cap":2`, 1), "3").wantProblem(422, engage.Invalid, "status")
	s.saves("rain", strings.Replace(strings.Replace(rain[:from]+turned+rain[to:], `"cap":1`, `"cap":2`, 1), "draft", "live", 1), "3").want(200)

	var versions struct {
		Items []struct {
			Version  int64
			By, Name string
			Status   engage.Status
			Changed  []string
		}
		Next string
	}
	s.do(request{method: "GET", path: "/api/v1/campaigns/rain/versions?limit=3"}).want(200, &versions)
	if len(versions.Items) != 3 || versions.Items[0].Version != 4 || versions.Items[0].Status != engage.Live || versions.Next != "2" ||
		!slices.Equal(versions.Items[0].Changed, []string{"arms", "limits.cap"}) || !slices.Equal(versions.Items[1].Changed, []string{"status"}) {
		t.Errorf("versions: %+v", versions)
	}
	s.do(request{method: "GET", path: "/api/v1/campaigns/rain/versions?cursor=2"}).want(200, &versions)
	if len(versions.Items) != 1 || versions.Items[0].Version != 1 {
		t.Errorf("the page after it: %+v", versions)
	}
	s.do(request{method: "GET", path: "/api/v1/campaigns/rain/versions?cursor=x"}).wantProblem(422, engage.Invalid, "cursor")

	var old engage.Campaign
	s.do(request{method: "GET", path: "/api/v1/campaigns/rain/versions/1"}).want(200, &old)
	if old.Arms[1].Message.Title != "Coat?" || old.Version != 1 {
		t.Errorf("version 1: %+v", old)
	}
	s.do(request{method: "GET", path: "/api/v1/campaigns/rain/versions/9"}).wantProblem(404, engage.NotFound, "version")

	var diff struct {
		From, To int64
		Changes  []struct {
			Path          string
			Before, After any
		}
	}
	s.do(request{method: "GET", path: "/api/v1/campaigns/rain/diff"}).want(200, &diff)
	told := map[string][2]any{}
	for _, c := range diff.Changes {
		told[c.Path] = [2]any{c.Before, c.After}
	}
	if diff.From != 3 || diff.To != 4 || len(told) != 3 || told["arms[b].message.title"] != [2]any{"Hat?", "Hat!"} ||
		told["limits.cap"] != [2]any{1.0, 2.0} || told["arms[]"][0] == nil {
		t.Errorf("the difference is %+v", diff)
	}
	s.do(request{method: "GET", path: "/api/v1/campaigns/rain/diff?from=1&to=2"}).want(200, &diff)
	if len(diff.Changes) != 1 || diff.Changes[0].Path != "arms[b].message.title" {
		t.Errorf("the difference is %+v", diff)
	}
	s.do(request{method: "GET", path: "/api/v1/campaigns/rain/diff?from=7"}).wantProblem(404, engage.NotFound, "from")
	s.do(request{method: "GET", path: "/api/v1/campaigns/nobody/diff"}).wantProblem(404, engage.NotFound, "id")
}

func TestADuplicateIsADraftWithoutStartAndEnd(t *testing.T) {
	s := newSite(t)
	body := strings.Replace(rain, `"draft"`, `"live","start":"2026-03-01T09:00","end":"2026-04-01T09:00","time_zone":"Europe/Amsterdam"`, 1)
	var first engage.Campaign
	s.do(request{method: "PUT", path: "/api/v1/campaigns/rain", body: body}).want(201, &first)
	if first.Start == nil || first.Start.UTC().Hour() != 8 || first.End.UTC().Hour() != 7 {
		t.Errorf("on the clocks of Amsterdam it is %v to %v", first.Start, first.End)
	}
	var c engage.Campaign
	s.do(request{method: "POST", path: "/api/v1/campaigns/rain/duplicate", body: `{"id":"rain-2"}`}).want(201, &c)
	if c.ID != "rain-2" || c.Name != "Rain (copy)" || c.Status != engage.Draft || c.Version != 1 || c.Start != nil || c.End != nil || len(c.Arms) != 2 {
		t.Errorf("the duplicate is %+v", c)
	}
	s.do(request{method: "POST", path: "/api/v1/campaigns/rain/duplicate", body: `{"id":"rain-2"}`}).wantProblem(409, engage.Conflict, "id")
	s.do(request{method: "POST", path: "/api/v1/campaigns/rain/duplicate", body: `{"id":"no way"}`}).wantProblem(422, engage.Invalid, "id")
	s.do(request{method: "POST", path: "/api/v1/campaigns/none/duplicate", body: `{"id":"x"}`}).wantProblem(404, engage.NotFound, "id")
}

func TestStartAndEndAreReadOnTheClocksOfAZone(t *testing.T) {
	s := newSite(t)
	for _, x := range []struct{ start, zone, field string }{
		{"2026-03-29T02:30", "Europe/Amsterdam", "start"}, // the clocks skip it
		{"2026-03-29T04:30", "", "start"},
		{"tomorrow", "Europe/Amsterdam", "start"},
		{"2026-03-29T04:30", "Europe/Nowhere", "start"},
		{"2026-03-29T04:30:00Z", "Europe/Nowhere", "time_zone"},
	} {
		body := strings.Replace(rain, `"draft"`, `"draft","start":"`+x.start+`","time_zone":"`+x.zone+`"`, 1)
		s.do(request{method: "PUT", path: "/api/v1/campaigns/rain", body: body}).wantProblem(422, engage.Invalid, x.field)
	}
}

func TestASecondKeyApprovesWhereTheWorkspaceAsksForIt(t *testing.T) {
	s := newSite(t)
	var second struct{ Token string }
	s.do(request{method: "POST", path: "/api/v1/keys", body: `{"name":"bob","role":"marketer"}`, role: catalog.Admin}).want(201, &second)
	var policy struct {
		Version  int64
		Required bool
	}
	s.do(request{method: "GET", path: "/api/v1/review-policy"}).want(200, &policy)
	s.do(request{method: "PUT", path: "/api/v1/review-policy", body: `{"required":true,"version":` + quoted(t, policy.Version) + `}`}).wantProblem(403, engage.Forbidden, "")
	s.do(request{method: "PUT", path: "/api/v1/review-policy", body: `{"required":true,"version":` + quoted(t, policy.Version) + `}`, role: catalog.Admin}).want(200, &policy)
	if !policy.Required {
		t.Errorf("the policy is %+v", policy)
	}
	s.do(request{method: "PUT", path: "/api/v1/campaigns/rain", body: rain}).want(201)
	step := func(key, body string) answer {
		return s.do(request{method: "POST", path: "/api/v1/campaigns/rain/status", body: body, key: key})
	}
	step("", `{"status":"live"}`).wantProblem(409, engage.Conflict, "status")
	step("", `{"status":"review","note":"please look at the arms"}`).want(200)
	step("", `{"status":"live"}`).wantProblem(403, engage.Forbidden, "status")
	var c engage.Campaign
	step(second.Token, `{"status":"live","comment":"fine"}`).want(200, &c)
	if c.Status != engage.Live || c.Review == nil || !c.Review.Approved || c.Review.Comment != "fine" || c.Review.Note != "please look at the arms" {
		t.Errorf("approved: %+v, %+v", c, c.Review)
	}
}

func TestEveryTemplateCanBeSavedAndLaunched(t *testing.T) {
	s := newSite(t)
	var all struct {
		Items []struct {
			Programme engage.Programme
			Words     string
			Campaign  json.RawMessage
		}
	}
	s.do(request{method: "GET", path: "/api/v1/campaign-templates"}).want(200, &all)
	if len(all.Items) != len(engage.Programmes) {
		t.Fatalf("there are %d templates, want one per programme", len(all.Items))
	}
	for _, x := range all.Items {
		var one struct{ Campaign json.RawMessage }
		s.do(request{method: "GET", path: "/api/v1/campaign-templates/" + string(x.Programme)}).want(200, &one)
		var checked struct {
			Valid    bool
			Errors   []any
			Warnings []any
		}
		s.do(request{method: "POST", path: "/api/v1/campaigns/validate", body: string(one.Campaign)}).want(200, &checked)
		if !checked.Valid || len(checked.Warnings) > 0 || x.Words == "" {
			t.Errorf("%s: %+v", x.Programme, checked)
		}
		var c engage.Campaign
		s.do(request{method: "PUT", path: "/api/v1/campaigns/" + string(x.Programme), body: string(one.Campaign)}).want(201, &c)
		if c.Status != engage.Draft || c.Programme != x.Programme {
			t.Errorf("%s is saved as %s of %s", x.Programme, c.Status, c.Programme)
		}
		s.do(request{method: "POST", path: "/api/v1/campaigns/" + string(x.Programme) + "/status", body: `{"status":"live"}`}).want(200)
		if err := decide.Compile(&c, nil); err != nil {
			t.Errorf("%s: %v", x.Programme, err)
		}
	}
	s.do(request{method: "GET", path: "/api/v1/campaign-templates/charity"}).wantProblem(404, engage.NotFound, "programme")
}

func TestEverythingIsStoppedAndGoesOn(t *testing.T) {
	s := newSite(t)
	var stop struct {
		Stopped                 bool
		Scope, Reason, By, Else string
	}
	s.do(request{method: "GET", path: "/api/v1/stop"}).want(200, &stop)
	if stop.Stopped {
		t.Error("it is stopped from the beginning")
	}
	s.do(request{method: "PUT", path: "/api/v1/stop", body: `{"reason":"wrong price"}`, role: catalog.Viewer}).wantProblem(403, engage.Forbidden, "")
	s.do(request{method: "PUT", path: "/api/v1/stop", body: `{"scope":"service"}`}).wantProblem(422, engage.Invalid, "scope")
	s.do(request{method: "PUT", path: "/api/v1/stop", body: `{"reason":"wrong price"}`}).want(200, &stop)
	if !stop.Stopped || stop.Reason != "wrong price" || stop.By == "" {
		t.Errorf("the stop is %+v", stop)
	}
	s.do(request{method: "DELETE", path: "/api/v1/stop"}).want(204)
	var audit struct {
		Items []struct {
			Kind, Action string
			ByName       string `json:"by_name"`
			Changed      []string
		}
	}
	s.do(request{method: "GET", path: "/api/v1/audit?kind=workspace", role: catalog.Admin}).want(200, &audit)
	if len(audit.Items) < 2 || !slices.ContainsFunc(audit.Items[0].Changed, func(p string) bool { return strings.HasPrefix(p, "stop") }) || audit.Items[0].Action != "changed" {
		t.Errorf("the audit has %+v", audit)
	}
	s.do(request{method: "GET", path: "/api/v1/audit"}).wantProblem(403, engage.Forbidden, "")
	s.do(request{method: "GET", path: "/api/v1/audit?cursor=0", role: catalog.Admin}).wantProblem(422, engage.Invalid, "cursor")
}

func TestTheAuditShowsNoSecrets(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	var k struct{ ID, Token string }
	s.do(request{method: "POST", path: "/api/v1/keys", body: `{"name":"script","role":"viewer"}`, role: catalog.Admin}).want(201, &k)
	list := s.do(request{method: "GET", path: "/api/v1/audit?limit=200", role: catalog.Admin}).want(200)
	if body := string(list.body); strings.Contains(body, catalog.HashToken(k.Token)) || strings.Contains(body, k.Token) || !strings.Contains(body, k.ID) {
		t.Errorf("the audit: %s", body)
	}
}
