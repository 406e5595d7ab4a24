package api_test

import (
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestWhatAnAppsSDKsAreToldIsChangedAsAWhole(t *testing.T) {
	s := newSite(t)
	do := func(method, body, version string, role catalog.Role) answer {
		r := request{method: method, path: "/api/v1/apps/app/sdk-config", body: body, role: role}
		if version != "" {
			r.header = map[string]string{"If-Match": version}
		}
		return s.do(r)
	}
	s.do(request{method: "POST", path: "/api/v1/apps", body: `{"id":"app","name":"x","platform":"web"}`, role: catalog.Admin}).want(201)
	a := do("GET", "", "", catalog.Marketer).want(200)
	if string(a.body) != `{"version":1}`+"\n" || a.header.Get("ETag") != `"1"` {
		t.Errorf("nothing is configured: %s, %s", a.header.Get("ETag"), a.body)
	}
	want := `{"version":2,"tracking":"efficient","presets":[{"preset":"responsive","moving_interval_s":0,"accuracy":"high","visits":false}],"in_app_gap_ms":30000}`
	body := `{"tracking":"efficient","presets":[{"preset":"responsive","moving_interval_s":0,"accuracy":"high","visits":false}],"in_app_gap_ms":30000}`
	do("PUT", body, "", catalog.Admin).wantProblem(428, "precondition_required", "If-Match")
	do("PUT", body, "1", catalog.Marketer).want(403)
	if a := do("PUT", body, "1", catalog.Admin).want(200); string(a.body) != want+"\n" || a.header.Get("ETag") != `"2"` {
		t.Errorf("put: %s, %s", a.header.Get("ETag"), a.body)
	}
	if a := do("GET", "", "", catalog.Marketer).want(200); string(a.body) != want+"\n" {
		t.Errorf("got %s", a.body)
	}
	do("PUT", body, "1", catalog.Admin).want(412)
	do("PUT", `{"version":1}`, "", catalog.Admin).want(412)
	for body, field := range map[string]string{
		`{"tracking":"turbo"}`: "tracking",
		`{"presets":[{"preset":"efficient"},{"preset":"continuous","moving_interval_s":90000}]}`: "presets[1].moving_interval_s",
		`{"presets":[{"preset":"efficient","moving_interval_s":"5"}]}`:                           "presets[0].moving_interval_s",
		`{"presets":[{"preset":"efficient","colour":1}]}`:                                        "presets[0].colour",
		`{"in_app_gap_ms":-1}`: "in_app_gap_ms",
		`{"gap":1}`:            "gap",
	} {
		do("PUT", body, "2", catalog.Admin).wantProblem(422, engage.Invalid, field)
	}
	kept := s.catalog.Now().App(alpha, "app")
	if kept.Version != 2 || kept.SDK.Tracking != "efficient" || *kept.SDK.Presets[0].Visits {
		t.Errorf("kept %+v", kept.SDK)
	}
	if a := do("PUT", `{}`, "2", catalog.Admin).want(200); string(a.body) != `{"version":3}`+"\n" || s.catalog.Now().App(alpha, "app").SDK != nil {
		t.Errorf("taken back: %s", a.body)
	}
	h := s.catalog.History(alpha, catalog.Apps, "app")
	if len(h) != 3 || h[1].By == "" || h[1].By == "system" {
		t.Errorf("history %+v", h)
	}
	s.do(request{method: "GET", path: "/api/v1/apps/none/sdk-config", role: catalog.Marketer}).want(404)
	s.do(request{method: "PUT", path: "/api/v1/apps/none/sdk-config", body: `{}`, role: catalog.Admin}).want(404)
}
