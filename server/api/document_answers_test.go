package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// shape is a schema of the document, as far as answers are held to it.
type shape struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"` // a name or several
	Properties map[string]*shape `json:"properties"`
	Required   []string          `json:"required"`
	Items      *shape            `json:"items"`
	More       json.RawMessage   `json:"additionalProperties"` // false, true or a shape
	Enum       []any             `json:"enum"`
}

// shapes are those of the whole document by name.
type shapes map[string]*shape

// differs says at which fields a value is other than a shape has it.
func (all shapes) differs(of *shape, at string, v any) []string {
	for of != nil && of.Ref != "" {
		of = all[strings.TrimPrefix(of.Ref, "#/components/schemas/")]
	}
	if of == nil {
		return nil
	}
	var out []string
	if !of.takes(v) {
		out = append(out, fmt.Sprintf("%s is %.60v, should be %v", at, v, of.Type))
	}
	if len(of.Enum) > 0 && v != nil && !slices.Contains(of.Enum, v) {
		out = append(out, fmt.Sprintf("%s is %v, should be one of %v", at, v, of.Enum))
	}
	switch x := v.(type) {
	case []any:
		for i, item := range x {
			out = append(out, all.differs(of.Items, fmt.Sprintf("%s[%d]", at, i), item)...)
		}
	case map[string]any:
		for _, name := range of.Required {
			if _, has := x[name]; !has {
				out = append(out, at+"."+name+" is missing")
			}
		}
		var more *shape
		_ = json.Unmarshal(of.More, &more) // false and true are no shape
		for _, name := range slices.Sorted(maps.Keys(x)) {
			p, known := of.Properties[name]
			if !known && bytes.Equal(of.More, []byte("false")) {
				out = append(out, at+"."+name+" is not in the document")
				continue
			}
			if !known {
				p = more
			}
			out = append(out, all.differs(p, at+"."+name, x[name])...)
		}
	}
	return out
}

// takes reports whether a value is of the shape's type.
func (s *shape) takes(v any) bool {
	var names []any
	switch x := s.Type.(type) {
	case string:
		names = []any{x}
	case []any:
		names = x
	default:
		return true // any
	}
	is := map[bool]string{true: "integer", false: "number"}
	switch x := v.(type) {
	case nil:
		return slices.Contains(names, any("null"))
	case bool:
		return slices.Contains(names, any("boolean"))
	case float64:
		return slices.Contains(names, any("number")) || slices.Contains(names, any(is[x == float64(int64(x))]))
	case string:
		return slices.Contains(names, any("string"))
	case []any:
		return slices.Contains(names, any("array"))
	default:
		return slices.Contains(names, any("object"))
	}
}

// What operations answer has the fields that the document says and no others: programs are
// generated from it.
func TestAnswersAreAsTheDocumentSays(t *testing.T) {
	s := newSite(t)
	s.furnish(alpha)
	overTime(s)
	full := engage.Counts{
		Decided: 9, Sent: 8, Redeemed: 7, Voided: 1, People: 6, Visited: 5, Bought: 4, Reached: 3, Goals: 2, LastTouch: 1, Assisted: 1, Orders: 2,
		RedeemedValue: map[string]int64{"EUR": 5}, RedeemedWorth: map[string]int64{"EUR": 5}, Value: map[string]int64{"EUR": 5},
		Suppressed: map[engage.Reason]int64{engage.ReasonCap: 3},
	}
	s.world.tallies[alpha]["rain"] = map[string]engage.Counts{"umbrella": full, engage.HoldoutArm: {People: 2}}
	day := start.UTC().Truncate(24 * time.Hour)
	s.world.counted[alpha]["rain"][24*time.Hour] = []api.Counted{{From: day, Arms: map[string]engage.Counts{"umbrella": full}}}

	var d struct {
		Components struct{ Schemas shapes }
	}
	s.do(request{method: "GET", path: "/openapi.json", key: "-"}).want(200, &d)
	_, ops := s.document()
	looked := map[string]bool{}
	look := func(op *opDoc, method, path, body string) {
		t.Helper()
		a := s.do(request{method: method, path: path, body: body, role: catalog.Admin, header: map[string]string{"If-Match": "*"}})
		said, documented := op.Responses[fmt.Sprint(a.status)]
		content := said.Content["application/json"].Schema
		if a.status >= 300 || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") || !documented || len(content) == 0 {
			return
		}
		var of shape
		var v any
		if json.Unmarshal(content, &of) != nil || json.Unmarshal(a.body, &v) != nil {
			t.Fatalf("%s %s: %s", method, path, a.body)
		}
		looked[op.OperationID] = true
		for _, what := range d.Components.Schemas.differs(&of, op.OperationID, v) {
			t.Error(what)
		}
	}
	ids := regexp.MustCompile(`/(campaigns|apps|webhooks|people)/`)
	for _, op := range ops {
		if op.method != "GET" && op.OperationID != "validate-campaign" && op.OperationID != "put-campaign" {
			continue
		}
		id := "shop"
		if m := ids.FindStringSubmatch(op.path); m != nil {
			id = map[string]string{"campaigns": "rain", "apps": "app", "webhooks": "hook", "people": "user_id:ada"}[m[1]]
		}
		path := op.fill(id)
		look(op, op.method, path, samples[op.OperationID])
		if strings.HasSuffix(path, "/results") {
			look(op, op.method, path+"?by=day", "")
		}
	}
	for _, id := range []string{"get-results", "list-results", "list-campaigns", "list-decisions", "get-person", "explain"} {
		if !looked[id] {
			t.Errorf("%s did not answer: nothing is known of it", id)
		}
	}
	for name, field := range map[string]string{"LiveStart": "content_state", "LiveUpdate": "content_state", "LiveEnd": "content_state", "SavedCampaign": "trigger"} {
		if x := d.Components.Schemas[name]; x == nil || x.Properties[field] == nil {
			t.Errorf("%s has no %s", name, field)
		}
	}
}
