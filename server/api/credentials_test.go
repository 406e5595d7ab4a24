package api_test

import (
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestAPushCredentialIsExchanged(t *testing.T) {
	s := newSite(t)
	put := func(body, version string, role catalog.Role) answer {
		r := request{method: "PUT", path: "/api/v1/apps/app/credentials", body: body, role: role}
		if version != "" {
			r.header = map[string]string{"If-Match": version}
		}
		return s.do(r)
	}
	account := func(email string) string {
		return quoted(t, map[string]string{"client_email": email, "private_key": pemKey(t)})
	}
	key := pemKey(t)
	s.do(request{method: "POST", path: "/api/v1/apps", role: catalog.Admin, body: `{"id":"app","name":"x","platform":"ios","bundle_id":"com.example.shop",
		"identity_secret":"identity-secret-1","fcm":{"project_id":"p","service_account":` + account("old@example.com") + `},
		"apns":{"team_id":"TEAM","key_id":"OLD","private_key":` + quoted(t, key) + `}}`}).want(201)
	before := s.catalog.Now().App(alpha, "app")

	next := account("new@example.com")
	body := `{"fcm":{"project_id":"p","service_account":` + next + `}}`
	put(body, "", catalog.Admin).wantProblem(428, "precondition_required", "If-Match")
	put(body, "1", catalog.Marketer).want(403)
	a := put(body, "1", catalog.Admin).want(200)
	if a.header.Get("ETag") != `"2"` || strings.Contains(string(a.body), "new@example") || strings.Contains(string(a.body), "PRIVATE KEY") {
		t.Errorf("put: %s, %s", a.header.Get("ETag"), a.body)
	}
	kept := s.catalog.Now().App(alpha, "app")
	if got, err := s.sealer.Open(kept.FCM.ServiceAccount); err != nil || got.Reveal() != next {
		t.Errorf("the new account is not kept: %v", err)
	}
	if *kept.APNs != *before.APNs || kept.Key != before.Key || kept.IdentitySecret != before.IdentitySecret || kept.BundleID != before.BundleID {
		t.Error("what was not given has changed")
	}
	if *before.FCM == *kept.FCM {
		t.Error("the snapshot from before was changed")
	}
	put(body, "1", catalog.Admin).want(412)

	put(`{"apns":{"team_id":"TEAM","key_id":"NEW","private_key":`+quoted(t, key)+`}}`, "2", catalog.Admin).want(200)
	if got := s.catalog.Now().App(alpha, "app"); got.APNs.KeyID != "NEW" || *got.FCM != *kept.FCM {
		t.Errorf("apns: %+v", got.APNs.KeyID)
	}
	for bad, field := range map[string]string{
		`{}`: "fcm",
		`{"fcm":{"project_id":"p","service_account":{"client_email":"a-secret"}}}`: "fcm.service_account",
		`{"apns":{"team_id":"T","key_id":"K","private_key":"a-secret"}}`:           "apns.private_key",
		`{"fcm":{"service_account":` + account("x@example.com") + `}}`:             "fcm",
		`{"apns":{"team_id":"T","private_key":` + quoted(t, key) + `}}`:            "apns",
		`{"web":{}}`: "web",
	} {
		a := put(bad, "3", catalog.Admin)
		a.wantProblem(422, engage.Invalid, field)
		if strings.Contains(string(a.body), "a-secret") {
			t.Errorf("%s: the refusal shows the secret", field)
		}
	}
	s.do(request{method: "PUT", path: "/api/v1/apps/none/credentials", body: body, role: catalog.Admin}).want(404)
}

func TestAPushCredentialIsTakenAway(t *testing.T) {
	s := newSite(t)
	remove := func(provider, version string, role catalog.Role) answer {
		r := request{method: "DELETE", path: "/api/v1/apps/app/credentials/" + provider, role: role}
		if version != "" {
			r.header = map[string]string{"If-Match": version}
		}
		return s.do(r)
	}
	s.do(request{method: "POST", path: "/api/v1/apps", role: catalog.Admin, body: `{"id":"app","name":"x","platform":"ios","bundle_id":"com.example.shop",
		"fcm":{"project_id":"p","service_account":` + quoted(t, map[string]string{"client_email": "a@example.com", "private_key": pemKey(t)}) + `},
		"apns":{"team_id":"TEAM","key_id":"KEY","private_key":` + quoted(t, pemKey(t)) + `}}`}).want(201)
	before := s.catalog.Now().App(alpha, "app")

	remove("apns", "", catalog.Marketer).want(403)
	remove("apns", "9", catalog.Admin).want(412)
	remove("web", "", catalog.Admin).want(422)
	remove("apns", "1", catalog.Admin).want(204)
	kept := s.catalog.Now().App(alpha, "app")
	if kept.APNs != nil || *kept.FCM != *before.FCM || kept.BundleID != before.BundleID || before.APNs == nil {
		t.Errorf("kept: %+v, before: %+v", kept, before)
	}
	remove("apns", "", catalog.Admin).wantProblem(404, engage.NotFound, "provider")
	remove("fcm", "", catalog.Admin).want(204)
	if a := string(s.do(request{method: "GET", path: "/api/v1/apps/app", role: catalog.Admin}).want(200).body); strings.Contains(a, `"fcm"`) || strings.Contains(a, `"apns"`) {
		t.Errorf("the app: %s", a)
	}
	s.do(request{method: "DELETE", path: "/api/v1/apps/none/credentials/fcm", role: catalog.Admin}).want(404)
}
