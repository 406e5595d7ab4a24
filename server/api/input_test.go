package api_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// place is a place with this geofence, as JSON.
func place(geofence string) string { return `{"name":"Shop","geofences":[` + geofence + `]}` }

func circle(lng, lat, radius string) string {
	return fmt.Sprintf(`{"id":"f","ring":"inside","geometry":{"type":"Point","coordinates":[%s,%s]},"radius":%s}`, lng, lat, radius)
}

// campaign is a campaign with some members replaced, as JSON.
func campaign(with ...string) string {
	doc := map[string]string{
		"name": `"C"`, "class": `"marketing"`, "status": `"draft"`, "trigger": `{"type":"place","transition":"enter"}`,
		"arms": `[{"id":"a","message":{"title":"Hi"}}]`,
	}
	for i := 0; i < len(with); i += 2 {
		doc[with[i]] = with[i+1]
	}
	parts := []string{}
	for k, v := range doc {
		parts = append(parts, `"`+k+`":`+v)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func title(template string) []string {
	return []string{"arms", fmt.Sprintf(`[{"id":"a","message":{"title":%q}}]`, template)}
}

func TestBadInputIsRefusedWithCodeFieldAndReason(t *testing.T) {
	s := newSite(t)
	const place1, campaign1 = "/api/v1/places/p", "/api/v1/campaigns/c"
	for _, x := range []struct {
		name, method, path, body string
		status                   int
		code                     engage.Code
		field, reason            string
	}{
		{"radius -1", "PUT", place1, place(circle("4", "52", "-1")), 422, engage.Invalid, "geofences[0].radius", "10 to 100000 m, is -1"},
		{"no radius", "PUT", place1, place(`{"id":"f","ring":"inside","geometry":{"type":"Point","coordinates":[4,52]}}`), 422, engage.Invalid, "geofences[0].radius", "missing"},
		{"latitude 91", "PUT", place1, place(circle("4", "91", "50")), 422, engage.Invalid, "geofences[0].geometry.coordinates[1]", "is 91"},
		{"NaN", "PUT", place1, place(circle("4", "NaN", "50")), 400, engage.Malformed, "geofences[0].geometry.coordinates[1]", "is not JSON"},
		{"infinite", "PUT", place1, place(circle("4", "1e999", "50")), 422, engage.Invalid, "geofences[0].geometry.coordinates[1]", "64 bits"},
		{"location 91", "PUT", place1, `{"name":"S","location":{"lat":91,"lng":4},"geofences":[` + circle("4", "52", "50") + `]}`, 422, engage.Invalid, "location.lat", "is 91"},
		{"half a location", "PUT", place1, `{"name":"S","location":{"lat":51},"geofences":[` + circle("4", "52", "50") + `]}`, 422, engage.Invalid, "location.lng", "missing"},
		{"empty polygon", "PUT", place1, place(`{"id":"f","ring":"inside","geometry":{"type":"Polygon","coordinates":[]}}`), 422, engage.Invalid, "geofences[0].geometry.coordinates", "empty"},
		{"bow tie", "PUT", place1, place(`{"id":"f","ring":"inside","geometry":{"type":"Polygon","coordinates":[[[0,0],[2,2],[2,0],[0,2],[0,0]]]}}`), 422, engage.Invalid, "geofences[0].geometry.coordinates[0]", "crosses itself, at [1, 1]"},
		{"unsplit at ±180", "PUT", place1, place(`{"id":"f","ring":"inside","geometry":{"type":"Polygon","coordinates":[[[179,0],[-179,0],[-179,1],[179,1],[179,0]]]}}`), 422, engage.Invalid, "geofences[0].geometry.coordinates[0][1]", "must be split there"},
		{"line", "PUT", place1, place(`{"id":"f","ring":"inside","geometry":{"type":"LineString","coordinates":[[0,0],[1,1]]}}`), 422, engage.Invalid, "geofences[0].geometry.type", "must be Point, Polygon or MultiPolygon"},
		{"unknown ring", "PUT", place1, place(strings.Replace(circle("4", "52", "50"), "inside", "outer", 1)), 422, engage.Invalid, "geofences[0].ring", "outer"},
		{"no geofence", "PUT", place1, `{"name":"S","geofences":[]}`, 422, engage.Invalid, "geofences", "1 to 20"},
		{"unknown zone", "PUT", place1, `{"name":"S","time_zone":"Mars/Base","geofences":[` + circle("4", "52", "50") + `]}`, 422, engage.Invalid, "time_zone", "Mars"},
		{"bad id", "PUT", "/api/v1/places/-p", place(circle("4", "52", "50")), 422, engage.Invalid, "id", "1 to 100"},
		{"another id", "PUT", place1, `{"id":"q","name":"S","geofences":[` + circle("4", "52", "50") + `]}`, 422, engage.Invalid, "id", "as in the path"},
		{"another workspace", "PUT", place1, `{"workspace":"beta","name":"S","geofences":[` + circle("4", "52", "50") + `]}`, 403, engage.Forbidden, "workspace", "yours"},
		{"unknown key", "PUT", place1, `{"name":"S","colour":"red","geofences":[` + circle("4", "52", "50") + `]}`, 422, engage.Invalid, "colour", "known are"},
		{"unknown key within", "PUT", campaign1, campaign("limits", `{"cap":1,"cap_window":60}`), 422, engage.Invalid, "limits.cap_window", "cap_window_s"},
		{"other case", "PUT", place1, `{"Name":"S","geofences":[` + circle("4", "52", "50") + `]}`, 422, engage.Invalid, "Name", "known are"},
		{"key twice", "PUT", campaign1, `{"name":"a","trigger":{"type":"place","type":"event"}}`, 422, engage.Invalid, "trigger.type", "twice"},
		{"wrong kind", "PUT", campaign1, campaign("holdout_percent", `"ten"`), 422, engage.Invalid, "holdout_percent", "must be a number, is a text"},
		{"fraction", "PUT", campaign1, campaign("limits", `{"cap":1.5}`), 422, engage.Invalid, "limits.cap", "whole number"},
		{"not JSON", "PUT", campaign1, `{"name":`, 400, engage.Malformed, "name", "ends too early"},
		{"two documents", "PUT", campaign1, campaign() + `{}`, 400, engage.Malformed, "", "follows"},
		{"a list", "PUT", campaign1, `[]`, 422, engage.Invalid, "", "must be an object"},
		{"null", "PUT", campaign1, `null`, 422, engage.Invalid, "", "null"},
		{"too deep", "PUT", campaign1, strings.Repeat("[", 200) + strings.Repeat("]", 200), 413, engage.TooLarge, "", "deeper"},
		{"too large", "PUT", campaign1, `{"name":"` + strings.Repeat("x", 300<<10) + `"}`, 413, engage.TooLarge, "", "too large"},
		{"no body", "PUT", campaign1, "", 400, engage.Invalid, "", "required"},
		{"syntax error in a template", "PUT", campaign1, campaign(title("{{ place.name")...), 422, engage.Invalid, "arms[0].message.title", ""},
		{"include", "PUT", campaign1, campaign(title(`{% include "/etc/passwd" %}`)...), 422, engage.Invalid, "arms[0].message.title", "include"},
		{"endless loop", "PUT", campaign1, campaign(title(`{% for i in (1..1000000000) %}x{% endfor %}`)...), 422, engage.TooLarge, "arms[0].message.title", ""},
		{"key of a push's own", "PUT", campaign1, campaign("arms", `[{"id":"a","message":{"title":"Hi","data":{"deep_link":"x"}}}]`), 422, engage.Invalid, "arms[0].message.data.deep_link", "reserved"},
		{"unknown variable", "PUT", campaign1, campaign(title("{{ secret }}")...), 422, engage.Invalid, "arms[0].message.title", "secret"},
		{"rule with an unknown attribute", "PUT", campaign1, campaign("audience", `{"all":[{"field":"attributes.shoe","op":"eq","value":"x"}]}`), 422, engage.Invalid, "audience.all[0].field", "attributes.shoe"},
		{"rule of the moment over the person", "PUT", campaign1, campaign("audience", `{"field":"weather.condition","op":"eq","value":"rain"}`), 422, engage.Invalid, "audience.field", "context"},
		{"operator", "PUT", campaign1, campaign("context", `{"field":"place.id","op":"like","value":"x"}`), 422, engage.Invalid, "context.op", ""},
		{"holdout", "PUT", campaign1, campaign("holdout_percent", "51"), 422, engage.Invalid, "holdout_percent", "51"},
		{"cap without window", "PUT", campaign1, campaign("limits", `{"cap":1}`), 422, engage.Invalid, "limits.cap_window_s", "required"},
		{"quiet hours", "PUT", campaign1, campaign("limits", `{"quiet_hours":{"start":"22:00","end":"25:00"}}`), 422, engage.Invalid, "limits.quiet_hours.end", "25:00"},
		{"a time", "PUT", campaign1, campaign("start", `"tomorrow"`), 422, engage.Invalid, "start", ""},
		{"no such place", "PUT", campaign1, campaign("trigger", `{"type":"place","transition":"enter","places":["nowhere"]}`), 422, engage.Invalid, "trigger.places[0]", "nowhere"},
		{"a status that is none", "POST", "/api/v1/campaigns/none/status", `{"status":"flying"}`, 422, engage.Invalid, "status", "flying"},
		{"location policy", "PUT", "/api/v1/location-policy", `{"version":1,"mocked":"ignore"}`, 422, engage.Invalid, "mocked", "ignore"},
		{"location speed", "PUT", "/api/v1/location-policy", `{"version":1,"max_speed_mps":5}`, 422, engage.Invalid, "max_speed_mps", "5"},
		{"attribute type", "PUT", "/api/v1/attributes", `{"version":1,"attributes":{"size":"colour"}}`, 422, engage.Invalid, "attributes.size", "colour"},
		{"empty collection", "POST", "/api/v1/places", `{"type":"FeatureCollection","features":[]}`, 422, engage.Invalid, "features", "empty"},
		{"not a collection", "POST", "/api/v1/places", `{"type":"Feature"}`, 422, engage.Invalid, "type", "Feature"},
		{"limit", "GET", "/api/v1/places?limit=0", "", 422, engage.Invalid, "limit", "1"},
		{"limit of letters", "GET", "/api/v1/places?limit=many", "", 422, engage.Invalid, "limit", ""},
		{"unknown parameter", "GET", "/api/v1/places?colour=x", "", 422, engage.Invalid, "colour", "unknown"},
		{"cursor", "GET", "/api/v1/decisions?cursor=x", "", 422, engage.Invalid, "cursor", ""},
		{"state", "GET", "/api/v1/decisions?state=lost", "", 422, engage.Invalid, "state", "pending"},
		{"explain what", "GET", "/api/v1/people/x/explain", "", 422, engage.Invalid, "campaign", "required"},
		{"no such campaign", "GET", "/api/v1/people/x/explain?campaign=none", "", 404, engage.NotFound, "campaign", "none"},
		{"no such person", "GET", "/api/v1/people/user_id:nobody", "", 404, engage.NotFound, "id", "nobody"},
		{"no person at all", "GET", "/api/v1/people/user_id:", "", 422, engage.Invalid, "id", "user_id"},
		{"no such operation", "GET", "/api/v1/nothing", "", 404, engage.NotFound, "", "nothing"},
		{"not possible", "PATCH", place1, "{}", 405, "method_not_allowed", "", "PATCH"},
	} {
		t.Run(x.name, func(t *testing.T) {
			a := s.do(request{method: x.method, path: x.path, body: x.body})
			a.t = t
			p := a.wantProblem(x.status, x.code, x.field)
			if !strings.Contains(p.Reason, x.reason) {
				t.Errorf("reason %q does not say %q", p.Reason, x.reason)
			}
			if p.Type != "urn:footfall:problem:"+string(x.code) {
				t.Errorf("type %q", p.Type)
			}
		})
	}
	if now := s.catalog.Now(); len(now.Places(alpha))+len(now.Campaigns(alpha)) != 0 {
		t.Error("something was saved")
	}
}

func TestABodyMustBeJSON(t *testing.T) {
	s := newSite(t)
	for _, typ := range []string{"text/plain", "application/x-www-form-urlencoded", "nonsense;;", "application/geo+json"} {
		s.do(request{method: "PUT", path: "/api/v1/places/p", body: shopJSON, header: map[string]string{"Content-Type": typ}}).
			wantProblem(415, "media_type", "Content-Type")
	}
	s.do(request{method: "PUT", path: "/api/v1/places/p", body: shopJSON, header: map[string]string{"Content-Type": "application/json; charset=utf-8"}}).want(201)
}

func TestAStaleVersionIsRefusedAndNothingLost(t *testing.T) {
	s := newSite(t)
	const path = "/api/v1/places/shop"
	put := func(body string, header ...string) answer {
		r := request{method: "PUT", path: path, body: body, header: map[string]string{}}
		for i := 0; i < len(header); i += 2 {
			r.header[header[i]] = header[i+1]
		}
		return s.do(r)
	}
	put(shopJSON, "If-Match", `"1"`).wantProblem(404, engage.NotFound, "id")
	if tag := put(shopJSON).want(201).header.Get("ETag"); tag != `"1"` {
		t.Errorf("ETag %s", tag)
	}
	put(shopJSON).wantProblem(428, "precondition_required", "If-Match")
	put(shopJSON, "If-None-Match", "*").wantProblem(412, engage.Conflict, "version")
	renamed := strings.Replace(shopJSON, "Corner shop", "Renamed", 1)
	if tag := put(renamed, "If-Match", `"1"`).want(200).header.Get("ETag"); tag != `"2"` {
		t.Errorf("ETag %s", tag)
	}
	put(shopJSON, "If-Match", `"1"`).wantProblem(412, engage.Conflict, "version")
	put(strings.Replace(shopJSON, "{", `{"version":1,`, 1)).wantProblem(412, engage.Conflict, "version")
	put(shopJSON, "If-Match", "soon").wantProblem(422, engage.Invalid, "If-Match")
	if name := s.catalog.Now().Place(alpha, "shop").Name; name != "Renamed" {
		t.Errorf("the faster change was lost: %q", name)
	}
	// What was got can be put, and * is whatever is there.
	got := s.get(path).want(200)
	put(string(got.body)).want(200)
	put(shopJSON, "If-Match", "*").want(200)
	s.do(request{method: "DELETE", path: path, header: map[string]string{"If-Match": `"1"`}}).wantProblem(412, engage.Conflict, "version")
	s.do(request{method: "DELETE", path: path}).want(204)
	s.get(path).wantProblem(404, engage.NotFound, "id")
	s.do(request{method: "DELETE", path: path}).wantProblem(404, engage.NotFound, "id")
}

func TestACampaignIsLaunchedPausedAndEnded(t *testing.T) {
	s := newSite(t)
	const path = "/api/v1/campaigns/c"
	s.do(request{method: "PUT", path: path, body: campaign()}).want(201)
	status := func(to string, header map[string]string) answer {
		return s.do(request{method: "POST", path: path + "/status", body: `{"status":"` + to + `"}`, header: header})
	}
	status("live", map[string]string{"If-Match": `"9"`}).wantProblem(412, engage.Conflict, "version")
	status("live", nil).want(200)
	s.do(request{method: "DELETE", path: path}).wantProblem(409, engage.Conflict, "status")
	status("paused", nil).want(200)
	status("ended", nil).want(200)
	status("live", nil).wantProblem(409, engage.Conflict, "status")
	if c := s.catalog.Now().Campaign(alpha, "c"); c.Status != engage.Ended || c.Version != 4 {
		t.Errorf("%+v", c)
	}
	s.do(request{method: "PUT", path: "/api/v1/campaigns/draft", body: campaign()}).want(201)
	s.do(request{method: "DELETE", path: "/api/v1/campaigns/draft"}).want(204)
}

func TestADryRunSaysWhatIsWrong(t *testing.T) {
	s := newSite(t)
	check := func(body string) (v struct {
		Valid    bool
		Errors   []api.FieldError
		Warnings []api.FieldError
	},
	) {
		s.do(request{method: "POST", path: "/api/v1/campaigns/validate", body: body, role: catalog.Viewer}).want(200, &v)
		return v
	}
	if v := check(campaign(title("{{ nothing }}")...)); v.Valid || len(v.Errors) != 1 || v.Errors[0].Field != "arms[0].message.title" {
		t.Errorf("%+v", v)
	}
	v := check(campaign("trigger", `{"type":"place","transition":"enter","places":["a","b"],"tags":["none"]}`, "end", `"2020-01-01T00:00:00Z"`))
	if v.Valid || len(v.Errors) != 2 || v.Errors[1].Field != "trigger.places[1]" || len(v.Warnings) != 2 {
		t.Errorf("%+v", v)
	}
	if v := check(`{"name":"x"}`); v.Valid || v.Errors[0].Field != "class" {
		t.Errorf("%+v", v)
	}
	if len(s.catalog.Now().Campaigns(alpha)) != 0 {
		t.Error("a dry run saved something")
	}
}

func TestATextThatNobodyCouldGetIsNotSaved(t *testing.T) {
	s := newSite(t)
	const loops = "{% for a in (1..1000) %}{% for b in (1..1000) %}{% for c in (1..1000) %}{% endfor %}{% endfor %}{% endfor %}"
	for name, text := range map[string]string{
		"loops": "Hi " + loops, "append": "{% assign a = place.name %}" + strings.Repeat("{% assign a = a | append: a %}", 50) + "{{ a }}",
	} {
		body := campaign(title(text)...)
		p := s.do(request{method: "PUT", path: "/api/v1/campaigns/" + name, body: body}).wantProblem(422, engage.TooLarge, "arms[0].message.title")
		if !strings.HasPrefix(p.Reason, "line 1: ") {
			t.Errorf("%s: reason %q names no line", name, p.Reason)
		}
		var v struct {
			Valid  bool
			Errors []api.FieldError
		}
		s.do(request{method: "POST", path: "/api/v1/campaigns/validate", body: body}).want(200, &v)
		if v.Valid || len(v.Errors) != 1 || v.Errors[0].Code != engage.TooLarge || v.Errors[0].Field != "arms[0].message.title" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if len(s.catalog.Now().Campaigns(alpha)) != 0 {
		t.Error("one was saved")
	}

	// One that an older version took is not launched.
	old := &engage.Campaign{
		ID: "old", Workspace: alpha, Name: "Old", Class: engage.Marketing, Status: engage.Draft,
		Trigger: engage.CampaignTrigger{Type: engage.TriggerPlace, Transition: engage.Enter},
		Arms:    []engage.Arm{{ID: "a", Message: engage.Content{Title: "Hi", Body: loops}}},
	}
	if err := s.catalog.PutCampaign(t.Context(), "test", old, 0); err != nil {
		t.Fatal(err)
	}
	s.do(request{method: "POST", path: "/api/v1/campaigns/old/status", body: `{"status":"live"}`}).wantProblem(422, engage.TooLarge, "arms[0].message.body")
}

func TestWhatAPersonMayLackIsAWarning(t *testing.T) {
	s := newSite(t)
	body := campaign(title("Hi {{ profile.attributes.first_name }}, {{ place.name }} {{ weather.temperature_c }}")...)
	var v struct {
		Valid    bool
		Warnings []api.FieldError
	}
	s.do(request{method: "POST", path: "/api/v1/campaigns/validate", body: body}).want(200, &v)
	if !v.Valid || len(v.Warnings) != 1 || v.Warnings[0].Field != "arms[0].message.title" || !strings.Contains(v.Warnings[0].Reason, "profile.attributes.first_name is missing") {
		t.Errorf("%+v", v)
	}
	s.do(request{method: "PUT", path: "/api/v1/campaigns/c", body: body}).want(201)
}

func TestAttributesThatCampaignsAskAboutStay(t *testing.T) {
	s := newSite(t)
	s.do(request{method: "PUT", path: "/api/v1/campaigns/c", body: campaign("audience", `{"field":"attributes.city","op":"eq","value":"Delft"}`)}).want(201)
	put := func(body string) answer {
		return s.do(request{method: "PUT", path: "/api/v1/attributes", body: body, header: map[string]string{"If-Match": `"1"`}})
	}
	put(`{"attributes":{"first_name":"string"}}`).wantProblem(409, engage.Conflict, "attributes")
	put(`{"attributes":{"city":"number"}}`).wantProblem(409, engage.Conflict, "attributes")
	put(`{}`).wantProblem(422, engage.Invalid, "attributes")
	put(`{"attributes":{"city":"string","loyalty":"number"}}`).want(200)
	if !strings.Contains(string(s.get("/api/v1/fields").want(200).body), "attributes.loyalty") {
		t.Error("the new attribute is no field")
	}
	put(`{"attributes":{"city":"string"}}`).wantProblem(412, engage.Conflict, "version")
}

func TestWhatIsTheServersFaultIsLoggedAndNotTold(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	s.world.broken = errors.New("disk /var/lib/store is on fire")
	a := s.get("/api/v1/people/user_id:ada")
	a.wantProblem(500, engage.Internal, "")
	if strings.Contains(string(a.body), "fire") {
		t.Error("the cause was told")
	}
	if log := s.log.String(); !strings.Contains(log, "on fire") || !strings.Contains(log, `"operation":"get-person"`) {
		t.Errorf("the cause was not logged: %s", log)
	}
	for _, secret := range []string{"ffk_", "ada", "push-token"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("%s stands in the log: %s", secret, s.log)
		}
	}
}

func TestTheLocationPolicyIsKept(t *testing.T) {
	s := newSite(t)
	policy := func() string { return string(s.get("/api/v1/location-policy").want(200).body) }
	if got := policy(); !strings.Contains(got, `"mocked":"flag","speed":"flag","max_speed_mps":100`) {
		t.Errorf("at first %s", got)
	}
	put := func(body, version string) answer {
		return s.do(request{method: "PUT", path: "/api/v1/location-policy", body: body, header: map[string]string{"If-Match": version}})
	}
	put(`{"mocked":"refuse","max_speed_mps":60}`, `"1"`).want(200)
	if got := policy(); !strings.Contains(got, `"mocked":"refuse","speed":"flag","max_speed_mps":60`) {
		t.Errorf("then %s", got)
	}
	put(`{}`, `"1"`).wantProblem(412, engage.Conflict, "version")
}
