package api_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/engage"
)

// What is no JSON is status 400 with the byte, at every operation that takes JSON; what
// is JSON and not right stays 422.
func TestWhatIsNoJSONIsABadRequestEverywhere(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	before := s.print(alpha)
	_, ops := s.document()
	tried := 0
	for _, op := range ops {
		if op.RequestBody == nil || op.OperationID == "import-push-tokens" { // whose lines are judged one by one
			continue
		}
		if _, takes := op.RequestBody.Content["application/json"]; !takes && op.OperationID != "import-places" {
			continue // files
		}
		tried++
		id := "shop"
		for part, of := range map[string]string{"/apps/": "app", "/campaigns/": "rain", "/webhooks/": "hook"} {
			if strings.Contains(op.path, part) {
				id = of
			}
		}
		body := `{"name": nope}`
		if op.OperationID == "import-places" { // which reads as it comes in, and only what it needs
			body = `{"features": [}`
		}
		a := s.do(request{method: op.method, path: op.fill(id), body: body, role: op.Role, header: map[string]string{"If-Match": "*"}})
		if op.OperationID == "validate-campaign" { // which answers what is wrong
			if a.status != 200 || !strings.Contains(string(a.body), `"code":"malformed"`) {
				t.Errorf("%s: %d %s", op.OperationID, a.status, a.body)
			}
			continue
		}
		p := api.Problem{}
		a.want(400, &p)
		offset := p.Offset != nil && *p.Offset == 10 || op.OperationID == "import-places" && strings.Contains(p.Reason, "byte")
		if p.Code != engage.Malformed || p.Type != "urn:footfall:problem:malformed" || p.Status != 400 || !offset {
			t.Errorf("%s: %+v", op.OperationID, p)
		}
		for _, status := range []string{"400", "422"} {
			if _, ok := op.Responses[status]; !ok {
				t.Errorf("%s does not document %s", op.OperationID, status)
			}
		}
	}
	if tried < 10 || s.print(alpha) != before {
		t.Errorf("%d operations tried; something was changed: %t", tried, s.print(alpha) != before)
	}
}

// The byte is that at which a reader of the document would put a finger.
func TestTheByteOfWhatIsNoJSON(t *testing.T) {
	s := newSite(t)
	for _, x := range []struct {
		name, body, field string
		offset            int64
	}{
		{"a word", `{"name": nope}`, "name", 10},
		{"no value", `{"name": }`, "name", 9},
		{"a comma too many", `{"name": "x", }`, "", 14},
		{"no colon", `{"name" "x"}`, "name", 8},
		{"no quote", `{name: "x"}`, "", 1},
		{"in a list", `{"tags": ["a", +]}`, "tags[1]", 15},
		{"in a number", `{"limits": {"cap": 1.}}`, "limits.cap", 21},
		{"an escape", `{"name": "a\q"}`, "name", 12},
		{"a control character", "{\"name\": \"a\nb\"}", "name", 11},
		{"cut in a text", `{"name": "x`, "name", 11},
		{"cut after a value", `{"name": "x"`, "", 12},
		{"only spaces", "  \n ", "", 4},
		{"two documents", `{} {}`, "", 3},
		{"rubbish behind", "{}\n\nx", "", 4},
		{"a wrong bracket", `{"name": "x"]`, "", 12},
		{"not UTF-8", "{\"name\": \"\xff\"}", "", 10},
		{"not JSON at all", "name: x", "", 1},
	} {
		t.Run(x.name, func(t *testing.T) {
			a := s.do(request{method: "PUT", path: "/api/v1/campaigns/c", body: x.body})
			a.t = t
			p := a.wantProblem(400, engage.Malformed, x.field)
			if p.Offset == nil || *p.Offset != x.offset {
				at := int64(-1)
				if p.Offset != nil {
					at = *p.Offset
				}
				t.Errorf("byte %d, want %d: %s", at, x.offset, p.Reason)
			}
			if bytes.Contains(a.body, []byte("\xff")) {
				t.Error("the answer is not UTF-8")
			}
		})
	}
}
