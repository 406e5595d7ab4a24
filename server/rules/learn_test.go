package rules_test

import (
	"encoding/json"
	"testing"

	"github.com/footfall-engage/footfall/server/rules"
)

func TestAValueTeachesItsTypeAndFitsIt(t *testing.T) {
	types := []rules.Type{rules.String, rules.Number, rules.Bool, rules.Time, rules.Strings, rules.Scalar}
	for text, want := range map[string]struct {
		teaches rules.Type
		fits    []rules.Type
	}{
		`"x"`:                    {rules.String, []rules.Type{rules.String, rules.Scalar}},
		`""`:                     {rules.String, []rules.Type{rules.String, rules.Scalar}},
		`7`:                      {rules.Number, []rules.Type{rules.Number, rules.Scalar}},
		`7.5`:                    {rules.Number, []rules.Type{rules.Number, rules.Scalar}},
		`false`:                  {rules.Bool, []rules.Type{rules.Bool, rules.Scalar}},
		`"2026-11-02T10:00:00Z"`: {rules.Time, []rules.Type{rules.Time, rules.String, rules.Scalar}},
		`"2026-11-02"`:           {rules.String, []rules.Type{rules.String, rules.Scalar}},
		`["a","b"]`:              {rules.Strings, []rules.Type{rules.Strings}},
		`[]`:                     {"", []rules.Type{rules.Strings}},
		`["a",1]`:                {"", nil},
		`[[]]`:                   {"", nil},
		`{"a":1}`:                {"", nil},
		`null`:                   {"", types},
	} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if got := rules.TypeOf(v); got != want.teaches {
			t.Errorf("%s teaches %q, not %q", text, got, want.teaches)
		}
		if got := rules.TypeOf(v); got != "" && !got.Fits(v) {
			t.Errorf("%s does not fit what it teaches", text)
		}
		for _, typ := range types {
			fits := false
			for _, f := range want.fits {
				fits = fits || f == typ
			}
			if typ.Fits(v) != fits {
				t.Errorf("%s fits %s: %v", text, typ, !fits)
			}
		}
	}
	if rules.String.Both(rules.Time) != rules.String || rules.Time.Both(rules.Time) != rules.Time || rules.Number.Both(rules.String) != "" {
		t.Error("the type of both")
	}
}
