package api_test

import (
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

func TestGoalsAreCheckedBeforeTheyAreSaved(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	for goal, field := range map[string]string{
		`{"type":"fame"}`: "goal.type", `{"type":"visit","window_s":-1}`: "goal.window_s", `{"type":"visit","window_s":7776001}`: "goal.window_s",
		`{"type":"event"}`: "goal.event", `{"type":"visit","event":"x"}`: "goal.event", `{"type":"purchase","tags":["a"]}`: "goal.tags", `{"type":"event","event":"x","places":["shop"]}`: "goal.places",
		`{"type":"purchase","where":{"field":"properties.a","op":"eq","value":1}}`: "goal.where", `{"type":"visit","places":["shop","nowhere"]}`: "goal.places[1]",
		`{"type":"event","event":"x","where":{"field":"attributes.city","op":"eq","value":1}}`: "goal.where.field", `{"type":"visit","every":1}`: "goal.every", `{"type":"visit","more":1}`: "goal.more",
	} {
		s.put("/api/v1/campaigns/aims", campaign("id", `"aims"`, "goal", goal)).wantProblem(422, engage.Invalid, field)
	}
	var c struct {
		Goal struct {
			Type    string
			WindowS int `json:"window_s"`
			Every   bool
		}
	}
	s.put("/api/v1/campaigns/aims", campaign("id", `"aims"`, "goal", `{"type":"visit","places":["shop"],"window_s":3600,"every":true}`)).want(201)
	s.get("/api/v1/campaigns/aims").want(200, &c)
	if c.Goal.Type != "visit" || c.Goal.WindowS != 3600 || !c.Goal.Every {
		t.Errorf("%+v", c)
	}
	s.do(request{method: "DELETE", path: "/api/v1/places/shop", header: map[string]string{"If-Match": "*"}}).wantProblem(409, engage.Conflict, "id")
}
