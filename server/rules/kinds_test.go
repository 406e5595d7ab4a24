package rules_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

func kinds() *rules.Schema {
	return rules.NewSchema(
		rules.Field{Path: "v", Type: rules.Version}, rules.Field{Path: "d", Type: rules.TimeOfDay},
		rules.Field{Path: "visited.*.visits", Type: rules.Number}, rules.Field{Path: "visited.*.last_at", Type: rules.Time},
		rules.Field{Path: "place.id", Type: rules.String}, rules.Field{Path: "favourite_places", Type: rules.Strings},
	)
}

func TestVersionsAndTimesOfDay(t *testing.T) {
	for _, c := range []struct {
		clause  string
		yes, no []any
	}{
		{`"v","op":"ge","value":"3.10"`, []any{"3.10", "3.10.0", "3.10.1", "4", "3.11-beta", "3.10 (77)"}, []any{"3.9.9", "3", "x", "", nil, 3.2, "99999.1"}},
		{`"v","op":"eq","value":"3.1.0"`, []any{"3.1", "3.1.0.0", "3.1.0.0.7"}, []any{"3.1.1", "3"}},
		{`"v","op":"ne","value":"3.1"`, []any{"3", nil, "x"}, []any{"3.1.0"}},
		{`"v","op":"between","value":["2","2.9"]`, []any{"2", "2.8.12"}, []any{"1.9", "2.9.1"}},
		{`"d","op":"between","value":["09:00","17:30"]`, []any{"09:00", "12:00", "17:30"}, []any{"08:59", "17:31", nil, "9:30", "24:00"}},
		{`"d","op":"between","value":["22:00","06:00"]`, []any{"22:00", "23:59", "00:00", "06:00"}, []any{"21:59", "06:01", "12:00"}},
		{`"d","op":"lt","value":"12:00"`, []any{"11:59"}, []any{"12:00"}},
	} {
		r, err := rules.Parse(json.RawMessage(`{"field":`+c.clause+`}`), kinds())
		if err != nil {
			t.Fatalf("%s: %v", c.clause, err)
		}
		field := r.Fields()[0]
		for want, values := range map[bool][]any{true: c.yes, false: c.no} {
			for _, v := range values {
				if got := holds(t, r, rules.Map{field: v}); got != want {
					t.Errorf("%s of %v: %v", c.clause, v, got)
				}
			}
		}
	}
	for clause, field := range map[string]string{
		`"v","op":"ge","value":"new"`:                  "value",
		`"v","op":"ge","value":3.1`:                    "value",
		`"v","op":"prefix","value":"3"`:                "op",
		`"d","op":"between","value":["9:00","17:00"]`:  "value[0]",
		`"d","op":"between","value":["09:00","25:00"]`: "value[1]",
		`"visited.x.often","op":"ge","value":1`:        "field",
		`"visited..visits","op":"ge","value":1`:        "field",
		`"visited.*.visits","op":"ge","value":1`:       "",
	} {
		_, err := rules.Parse(json.RawMessage(`{"field":`+clause+`}`), kinds())
		var e *engage.Error
		if field == "" {
			if err != nil { // a star is a name like any other: no place has it
				t.Errorf("%s: %v", clause, err)
			}
			continue
		}
		if !errors.As(err, &e) || e.Field != field {
			t.Errorf("%s: %v, want the field %s", clause, err, field)
		}
	}
}

func TestARuleSaysWhichPlacesItNames(t *testing.T) {
	r, err := rules.Parse(json.RawMessage(`{"all":[{"field":"visited.a.b.visits","op":"ge","value":1},
		{"any":[{"field":"place.id","op":"in","value":["c","d"]},{"not":{"field":"favourite_places","op":"contains","value":"e"}}]},
		{"field":"place.id","op":"ne","value":"f"},{"field":"place.id","op":"exists"}]}`), kinds())
	if err != nil {
		t.Fatal(err)
	}
	want := []rules.PlaceRef{
		{Path: "all[0].field", Place: "a.b"},
		{Path: "all[1].any[0].value[0]", Place: "c"},
		{Path: "all[1].any[0].value[1]", Place: "d"},
		{Path: "all[1].any[1].not.value", Place: "e"},
		{Path: "all[2].value", Place: "f"},
	}
	if got := r.Places(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if (&rules.Rule{}).Places() != nil {
		t.Error("the empty rule names places")
	}
}

func TestEveryClauseIsExplained(t *testing.T) {
	r := parse(t, `{"all":[{"field":"s","op":"eq","value":"a"},{"any":[{"field":"n","op":"ge","value":3},{"not":{"field":"b","op":"eq","value":true}}]}]}`)
	_, why := r.Eval(rules.Map{"s": "a", "n": 2, "b": true}, now)
	want := []rules.Verdict{
		{Path: "all[0]", Field: "s", Op: rules.Eq, Want: "a", Got: "a", OK: true},
		{Path: "all[1].any[0]", Field: "n", Op: rules.Ge, Want: 3.0, Got: 2.0},
		{Path: "all[1].any[1].not", Field: "b", Op: rules.Eq, Want: true, Got: true, OK: true},
	}
	if got := why.Clauses(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if why.Any != nil || why.All[1].Path() != "all[1]" || why.All[1].Any[1].Path() != "all[1].any[1]" {
		t.Errorf("paths of inner nodes: %q %q", why.All[1].Path(), why.All[1].Any[1].Path())
	}
}
