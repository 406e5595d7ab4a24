package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

func (s *site) learn(workspace, name string, l catalog.LearnedType) {
	s.t.Helper()
	if err := s.catalog.Learn(s.t.Context(), "learned", workspace, func(types map[string]catalog.LearnedType) bool {
		types[name] = l
		return true
	}); err != nil {
		s.t.Fatal(err)
	}
}

type attributeLine struct {
	Name, Type, Source string
	Doubtful, Private  bool
	Persons            int
	LastAt             time.Time `json:"last_at"`
	Examples           []struct {
		Value   any
		Persons int
	}
}

func (s *site) attributeTypes() map[string]attributeLine {
	s.t.Helper()
	var page struct {
		LookedAt   int `json:"looked_at"`
		Attributes []attributeLine
	}
	s.do(request{method: "GET", path: "/api/v1/attribute-types", role: catalog.Viewer}).want(200, &page)
	out := map[string]attributeLine{}
	for _, a := range page.Attributes {
		out[a.Name] = a
	}
	if !slices.IsSortedFunc(page.Attributes, func(a, b attributeLine) int { return strings.Compare(a.Name, b.Name) }) {
		s.t.Errorf("not by name: %+v", page.Attributes)
	}
	return out
}

func TestAttributesAreListedWithTypesAndExamples(t *testing.T) {
	s := newSite(t)
	s.do(request{method: "PUT", path: "/api/v1/attribute-types/city", body: `{"type":"string"}`}).want(200)
	s.do(request{method: "PUT", path: "/api/v1/attribute-types/hobby", body: `{"type":"string","private":true}`}).want(200)
	s.learn(alpha, "points", catalog.LearnedType{Type: rules.Number, At: start})
	s.learn(alpha, "colour", catalog.LearnedType{Type: rules.String, Public: true, At: start})
	s.learn(beta, "of-beta", catalog.LearnedType{Type: rules.String, At: start})
	s.world.mu.Lock()
	s.world.profiles[alpha] = map[string]string{}
	for i := range 4 {
		s.world.profiles[alpha][fmt.Sprint("p", i)] = fmt.Sprintf(`{"id":"p%d","attributes":{"city":"Delft","alone":"x%d","points":%d,"hobby":"chess","first_name":"Ada","lastName":"L","Email":"q","contact":"ada@example.com",
			"call":"+31 (0)6 1234 5678","number":612345678,"day":"2026-03-02","thing":{"a":1},"tags":["a","b"],"calls":["0612345678"],"vip":true},"attribute_at":{"points":%d}}`,
			i, i, i/2, start.Add(time.Duration(i)*time.Second).UnixMicro())
	}
	s.world.mu.Unlock()
	got := s.attributeTypes()
	examples := func(name string) string {
		var out []string
		for _, e := range got[name].Examples {
			out = append(out, fmt.Sprint(e.Value, "=", e.Persons))
		}
		return strings.Join(out, " ")
	}
	for name, want := range map[string]string{
		"city": "Delft=4", "points": "0=2 1=2", "day": "2026-03-02=4", "tags": "[a b]=4", "vip": "true=4", "colour": "",
		// Nobody is shown who somebody is.
		"alone": "", "hobby": "", "first_name": "", "lastName": "", "Email": "", "contact": "", "call": "", "calls": "", "number": "", "thing": "",
	} {
		if _, listed := got[name]; !listed || examples(name) != want {
			t.Errorf("%s: listed %v, examples %q, not %q", name, listed, examples(name), want)
		}
	}
	if a := got["city"]; a.Type != "string" || a.Source != "declared" || a.Persons != 4 {
		t.Errorf("declared: %+v", a)
	}
	if a := got["points"]; a.Type != "number" || a.Source != "learned" || a.Doubtful || !a.LastAt.Equal(start.Add(3*time.Second)) {
		t.Errorf("learned: %+v", a)
	}
	if a := got["colour"]; !a.Doubtful || a.Source != "learned" || a.Persons != 0 {
		t.Errorf("learned from apps: %+v", a)
	}
	if a := got["thing"]; a.Source != "none" || a.Type != "" {
		t.Errorf("of no type: %+v", a)
	}
	if _, is := got["of-beta"]; is {
		t.Error("another workspace's is listed")
	}
}

func TestALearnedTypeCanBeAskedAboutChangedAndForgotten(t *testing.T) {
	s := newSite(t)
	s.learn(alpha, "points", catalog.LearnedType{Type: rules.Number, At: start})
	rule := func(field, op string) string {
		return fmt.Sprintf(`{"name":"x","class":"marketing","status":"draft","trigger":{"type":"place","transition":"enter"},`+
			`"audience":{"field":"attributes.%s","op":%q,"value":5},"arms":[{"id":"a","message":{"title":"hi"}}]}`, field, op)
	}
	a := s.do(request{method: "PUT", path: "/api/v1/campaigns/x", body: rule("poinst", "gt")}).want(422)
	if text := string(a.body); !strings.Contains(text, "attributes.points") || !strings.Contains(text, "did you mean") {
		t.Errorf("an unknown attribute: %s", text)
	}
	s.put("/api/v1/campaigns/x", rule("points", "gt")).want(201)
	var fields struct{ Audience []struct{ Path, Type string } }
	s.do(request{method: "GET", path: "/api/v1/fields"}).want(200, &fields)
	if !slices.Contains(fields.Audience, struct{ Path, Type string }{"attributes.points", "number"}) {
		t.Errorf("the fields lack it: %v", fields.Audience)
	}
	// The campaign keeps it.
	s.do(request{method: "DELETE", path: "/api/v1/attribute-types/points"}).wantProblem(409, engage.Conflict, "attributes")
	s.do(request{method: "PUT", path: "/api/v1/attribute-types/points", body: `{"type":"bool"}`}).wantProblem(409, engage.Conflict, "attributes")
	s.do(request{method: "PUT", path: "/api/v1/attribute-types/points", body: `{"type":"scalar"}`}).want(200)
	if got := s.attributeTypes()["points"]; got.Source != "declared" || got.Type != "scalar" {
		t.Errorf("declared over what was learned: %+v", got)
	}
	s.do(request{method: "DELETE", path: "/api/v1/campaigns/x", header: map[string]string{"If-Match": "*"}}).want(204)
	s.do(request{method: "DELETE", path: "/api/v1/attribute-types/points"}).want(204)
	if _, is := s.attributeTypes()["points"]; is {
		t.Error("it is not forgotten")
	}
	s.do(request{method: "DELETE", path: "/api/v1/attribute-types/points"}).wantProblem(404, engage.NotFound, "name")
	s.do(request{method: "PUT", path: "/api/v1/attribute-types/points", body: `{"type":"colour"}`}).wantProblem(422, engage.Invalid, "type")
	s.do(request{method: "PUT", path: "/api/v1/attribute-types/a.b", body: `{"type":"bool"}`}).wantProblem(422, engage.Invalid, "attributes.a.b")
	s.do(request{method: "PUT", path: "/api/v1/attribute-types/points", body: `{"type":"bool"}`, role: catalog.Viewer}).want(403)
}

// Whoever declares a type is told how many persons have a value that it makes unseen, and
// not which.
func TestDeclaringATypeWarnsOfValuesThatAreNotOfIt(t *testing.T) {
	s := newSite(t)
	s.world.mu.Lock()
	s.world.profiles[alpha] = map[string]string{}
	for i, since := range []string{`"2026-01-31"`, `"2026-01-31T00:00:00Z"`, `"in secret"`, `7`, `null`} {
		s.world.profiles[alpha][fmt.Sprint("p", i)] = fmt.Sprintf(`{"id":"p%d","attributes":{"since":%s,"tags":["a"],"seen":"2026-03-02T09:30:00Z"}}`, i, since)
	}
	s.world.mu.Unlock()
	for _, c := range []struct{ name, typ, want string }{
		{"since", "time", "of 5 persons who were looked at, 3 have a value that is not a time (RFC 3339): to rules they have none until it is told anew"},
		{"since", "string", "of 5 persons who were looked at, 1 has a value that is not a string: to rules they have none until it is told anew"},
		{"tags", "strings", ""},
		{"seen", "time", ""},
		{"nobodys", "time", ""},
	} {
		var saved struct {
			Version    int64
			Attributes map[string]string
			Warnings   []struct{ Code, Field, Reason string }
		}
		a := s.do(request{method: "PUT", path: "/api/v1/attribute-types/" + c.name, body: fmt.Sprintf(`{"type":%q}`, c.typ)}).want(200, &saved)
		if saved.Version == 0 || saved.Attributes[c.name] != c.typ || strings.Contains(string(a.body), "secret") {
			t.Errorf("%s: %s", c.name, a.body)
		}
		if got := fmt.Sprint(saved.Warnings); c.want == "" && got != "[]" || c.want != "" && got != fmt.Sprintf("[{invalid attributes.%s %s}]", c.name, c.want) {
			t.Errorf("%s as %s warns %s", c.name, c.typ, got)
		}
	}
}
