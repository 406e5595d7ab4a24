package rules_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

var now = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func schema() *rules.Schema {
	return rules.NewSchema(
		rules.Field{Path: "s", Type: rules.String},
		rules.Field{Path: "n", Type: rules.Number},
		rules.Field{Path: "b", Type: rules.Bool},
		rules.Field{Path: "t", Type: rules.Time},
		rules.Field{Path: "l", Type: rules.Strings},
		rules.Field{Path: "x.*", Type: rules.Scalar},
		rules.Field{Path: "enum", Type: rules.String, Values: []string{"rain", "snow"}},
		rules.Field{Path: "hour", Type: rules.Number, Max: 23},
	)
}

func parse(t testing.TB, rule string) *rules.Rule {
	t.Helper()
	r, err := rules.Parse(json.RawMessage(rule), schema())
	if err != nil {
		t.Fatalf("%s: %v", rule, err)
	}
	return r
}

// holds evaluates both ways, checks that they agree, and that blame falls
// exactly when the rule does not hold.
func holds(t testing.TB, r *rules.Rule, env rules.Env) bool {
	t.Helper()
	got, why := r.Eval(env, now)
	if m := r.Match(env, now); m != got {
		t.Fatalf("Match says %v, Eval %v", m, got)
	}
	if failed := why.Failed(); (len(failed) == 0) != got {
		t.Fatalf("holds: %v, but blames %v", got, failed)
	}
	if _, err := json.Marshal(why); err != nil {
		t.Fatalf("explanation: %v", err)
	}
	return got
}

func TestOperatorsByType(t *testing.T) {
	type named string
	day := 24 * time.Hour
	tabled := map[rules.Type][]rules.Op{}
	for _, c := range []struct {
		clause string
		yes    []any
		no     []any
		absent bool // the verdict where there is no value
	}{
		{`"s","op":"eq","value":"a"`, []any{"a", named("a")}, []any{"b", "", "A", 1, true, nil, json.Number("1")}, false},
		{`"s","op":"ne","value":"a"`, []any{"b", "", 1, nil}, []any{"a"}, true},
		{`"s","op":"in","value":["a","b"]`, []any{"a", "b"}, []any{"c", nil}, false},
		{`"s","op":"in","value":["0","1","2","3","4","5","6","7","8","9"]`, []any{"0", "9", named("5")}, []any{"10", 1, nil}, false},
		{`"s","op":"not_in","value":["a","b"]`, []any{"c", nil, 1}, []any{"a", "b"}, true},
		{`"s","op":"prefix","value":"ab"`, []any{"ab", "abc"}, []any{"a", "bab", 1, nil}, false},
		{`"s","op":"exists"`, []any{"a", ""}, []any{nil, 1}, false},
		{`"s","op":"absent"`, []any{nil, 1}, []any{"a", ""}, true},

		{`"n","op":"eq","value":3`, []any{3, 3.0, int64(3), uint8(3), float32(3), json.Number("3")}, []any{2, "3", nil, true, math.NaN(), math.Inf(1)}, false},
		{`"n","op":"ne","value":3`, []any{2, "3", nil, math.NaN()}, []any{3}, true},
		{`"n","op":"lt","value":3`, []any{2.9, -1}, []any{3, 4, "2", nil}, false},
		{`"n","op":"le","value":3`, []any{3, 2}, []any{3.1, nil}, false},
		{`"n","op":"gt","value":3`, []any{3.1}, []any{3, 2, nil, math.Inf(1)}, false},
		{`"n","op":"ge","value":-3.5`, []any{-3.5, 0}, []any{-4, nil}, false},
		{`"n","op":"between","value":[1,2]`, []any{1, 2, 1.5}, []any{0.99, 2.01, nil}, false},
		{`"n","op":"in","value":[1,2]`, []any{1, 2}, []any{3, "1", nil}, false},
		{`"n","op":"not_in","value":[1,2]`, []any{3, "1", nil}, []any{1, 2}, true},
		{`"n","op":"exists"`, []any{0, -1}, []any{nil, "0", math.NaN()}, false},
		{`"n","op":"absent"`, []any{nil, "0"}, []any{0}, true},

		{`"b","op":"eq","value":true`, []any{true}, []any{false, nil, 1, "true"}, false},
		{`"b","op":"ne","value":true`, []any{false, nil, 1}, []any{true}, true},
		{`"b","op":"exists"`, []any{true, false}, []any{nil, 1}, false},
		{`"b","op":"absent"`, []any{nil, 1}, []any{true, false}, true},

		{`"t","op":"lt","value":"2026-03-10T12:00:00Z"`, []any{now.Add(-1), "2026-03-10T11:59:59.5Z"}, []any{now, nil, "yesterday", 1, time.Time{}}, false},
		{`"t","op":"le","value":"2026-03-10T13:00:00+01:00"`, []any{now}, []any{now.Add(1)}, false},
		{`"t","op":"gt","value":"2026-03-10T12:00:00Z"`, []any{now.Add(1)}, []any{now, nil}, false},
		{`"t","op":"ge","value":"2026-03-10T12:00:00Z"`, []any{now, &now}, []any{now.Add(-1), (*time.Time)(nil)}, false},
		{`"t","op":"between","value":["2026-03-09T12:00:00Z","2026-03-10T12:00:00Z"]`, []any{now, now.Add(-day)}, []any{now.Add(1), now.Add(-day - 1)}, false},
		{`"t","op":"within_last","value":"7d"`, []any{now, now.Add(-7*day + 1)}, []any{now.Add(-7 * day), now.Add(1), nil}, false},
		{`"t","op":"within_last","value":"90m"`, []any{now.Add(-89 * time.Minute)}, []any{now.Add(-90 * time.Minute)}, false},
		{`"t","op":"not_within_last","value":"7d"`, []any{now.Add(-7 * day), now.Add(1), nil}, []any{now, now.Add(-day)}, true},
		{`"t","op":"exists"`, []any{now}, []any{nil, time.Time{}, "x"}, false},
		{`"t","op":"absent"`, []any{nil, time.Time{}}, []any{now}, true},

		{`"l","op":"contains","value":"a"`, []any{[]string{"b", "a"}, []any{1, "a"}, []named{"a"}}, []any{[]string{"b"}, []string{}, "a", nil, []int{1}}, false},
		{`"l","op":"not_contains","value":"a"`, []any{[]string{"b"}, []string{}, nil, "a"}, []any{[]string{"a"}}, true},
		{`"l","op":"exists"`, []any{[]string{"a"}, []any{"a"}, []named{"a"}}, []any{[]string{}, []any{}, []any{1}, nil, "a"}, false},
		{`"l","op":"absent"`, []any{[]string{}, nil}, []any{[]string{"a"}}, true},

		{`"x.p","op":"eq","value":"a"`, []any{"a"}, []any{"b", 1, nil}, false},
		{`"x.p","op":"eq","value":1`, []any{1, 1.0, json.Number("1")}, []any{"1", true, nil}, false},
		{`"x.p","op":"eq","value":false`, []any{false}, []any{true, 0, "", nil}, false},
		{`"x.p","op":"ne","value":1`, []any{"1", true, 2, nil}, []any{1}, true},
		{`"x.p","op":"gt","value":10`, []any{11}, []any{10, "11", nil}, false},
		{`"x.p","op":"lt","value":"b"`, []any{"a"}, []any{"b", 1, nil}, false},
		{`"x.p","op":"le","value":2`, []any{1, 2}, []any{3, "1", nil}, false},
		{`"x.p","op":"ge","value":2`, []any{2, 3}, []any{1, "3", nil}, false},
		{`"x.p","op":"between","value":[1,2]`, []any{1.5}, []any{"1.5", 3, nil}, false},
		{`"x.p","op":"in","value":["a",1,true]`, []any{"a", 1, true}, []any{"1", false, nil}, false},
		{`"x.p","op":"not_in","value":["a",1]`, []any{"b", "1", nil}, []any{"a", 1}, true},
		{`"x.p","op":"prefix","value":"a"`, []any{"ab"}, []any{"b", 1, nil}, false},
		{`"x.p","op":"exists"`, []any{"", 0, false}, []any{nil, []string{"a"}}, false},
		{`"x.p","op":"absent"`, []any{nil}, []any{""}, true},
	} {
		r := parse(t, `{"field":`+c.clause+`}`)
		var leaf struct {
			Field string
			Op    rules.Op
		}
		if err := json.Unmarshal([]byte(`{"field":`+c.clause+`}`), &leaf); err != nil {
			t.Fatal(err)
		}
		declared, _ := schema().Field(leaf.Field)
		tabled[declared.Type] = append(tabled[declared.Type], leaf.Op)
		opposite := parse(t, `{"not":{"not":{"field":`+c.clause+`}}}`)
		field := r.Fields()[0]
		check := func(v any, want bool) {
			t.Helper()
			env := rules.Map{field: v}
			if got := holds(t, r, env); got != want {
				t.Errorf("%s of %#v: %v, want %v", c.clause, v, got, want)
			}
			if got := holds(t, opposite, env); got != want {
				t.Errorf("not not %s of %#v: %v, want %v", c.clause, v, got, want)
			}
		}
		for _, v := range c.yes {
			check(v, true)
		}
		for _, v := range c.no {
			check(v, false)
		}
		if got := holds(t, r, rules.Map{}); got != c.absent {
			t.Errorf("%s of nothing: %v, want %v", c.clause, got, c.absent)
		}
	}
	for _, typ := range []rules.Type{rules.String, rules.Number, rules.Bool, rules.Time, rules.Strings, rules.Scalar} {
		for _, op := range typ.Ops() {
			if !slices.Contains(tabled[typ], op) {
				t.Errorf("%s of a %s is not in the table", op, typ)
			}
		}
	}
	if rules.Type("money").Valid() {
		t.Error("an unknown type is valid")
	}
}

func TestNothingAlwaysHolds(t *testing.T) {
	for _, raw := range []string{"", "null", "  null\n"} {
		r := parse(t, raw)
		if !r.Always() || !holds(t, r, rules.Map{}) || r.Fields() != nil || r.Uses("") {
			t.Errorf("%q is not the rule that always holds", raw)
		}
	}
	var none *rules.Rule
	if !none.Always() || !none.Match(rules.Map{}, now) || none.Uses("s") {
		t.Error("a nil rule does not hold")
	}
}

func TestBadRulesAreRefusedWithPathAndAdvice(t *testing.T) {
	deep := strings.Repeat(`{"not":`, 10) + `{"field":"b","op":"exists"}` + strings.Repeat(`}`, 10)
	many := `{"any":[` + strings.Repeat(`{"field":"b","op":"exists"},`, 200) + `{"field":"b","op":"exists"}]}`
	for _, c := range []struct {
		rule  string
		code  engage.Code
		field string
		says  string
	}{
		{`{`, engage.Invalid, "", "not JSON"},
		{`{} {}`, engage.Invalid, "", "not JSON"},
		{`[]`, engage.Invalid, "", "is a list"},
		{`7`, engage.Invalid, "", "is a number"},
		{`"x"`, engage.Invalid, "", "is a string"},
		{`{}`, engage.Invalid, "", "is empty"},
		{"{\"field\":\"\xff\"}", engage.Invalid, "", "UTF-8"},
		{`{"al":[]}`, engage.Invalid, "", `unknown key "al"`},
		{`{"all":[],"any":[]}`, engage.Invalid, "", "exactly one"},
		{`{"all":[],"field":"s"}`, engage.Invalid, "", "exactly one"},
		{`{"not":{},"op":"eq"}`, engage.Invalid, "", "exactly one"},
		{`{"all":[]}`, engage.Invalid, "all", "must not be empty"},
		{`{"any":null}`, engage.Invalid, "any", "list of rules, is null"},
		{`{"all":{}}`, engage.Invalid, "all", "is an object"},
		{`{"not":null}`, engage.Invalid, "not", "is empty"},
		{`{"all":[{"field":"b","op":"exists"},{"field":"n","op":"has","value":1}]}`, engage.Invalid, "all[1].op", "use eq, ne, lt"},
		{`{"any":[{"not":{"field":"enumm","op":"eq","value":"rain"}}]}`, engage.Invalid, "any[0].not.field", `did you mean "enum"`},
		{`{"field":"s","value":"a"}`, engage.Invalid, "op", "is required"},
		{`{"op":"eq","value":"a"}`, engage.Invalid, "field", "is required"},
		{`{"field":1,"op":"eq"}`, engage.Invalid, "field", "must be a string"},
		{`{"field":null,"op":"eq"}`, engage.Invalid, "field", "must be a string"},
		{`{"field":"x.","op":"exists"}`, engage.Invalid, "field", "unknown field"},
		{`{"field":"x.*","op":"exists","value":1}`, engage.Invalid, "value", "takes no value"},
		{`{"field":"s","op":"eq"}`, engage.Invalid, "value", "is required"},
		{`{"field":"s","op":"eq","value":null}`, engage.Invalid, "value", "use absent"},
		{`{"field":"s","op":"eq","value":3}`, engage.Invalid, "value", "must be a string"},
		{`{"field":"n","op":"eq","value":"3"}`, engage.Invalid, "value", "must be a number"},
		{`{"field":"n","op":"eq","value":1e999}`, engage.Invalid, "value", "beyond the range"},
		{`{"field":"b","op":"eq","value":"true"}`, engage.Invalid, "value", "must be a bool"},
		{`{"field":"s","op":"exists","value":true}`, engage.Invalid, "value", "takes no value"},
		{`{"field":"s","op":"in","value":"a"}`, engage.Invalid, "value", "must be a list"},
		{`{"field":"s","op":"in","value":[]}`, engage.Invalid, "value", "1 to 500"},
		{`{"field":"s","op":"in","value":["a",2]}`, engage.Invalid, "value[1]", "must be a string"},
		{`{"field":"n","op":"between","value":[1]}`, engage.Invalid, "value", "[low, high]"},
		{`{"field":"n","op":"between","value":[22,6]}`, engage.Invalid, "value", "over midnight"},
		{`{"field":"x.p","op":"between","value":[1,"b"]}`, engage.Invalid, "value", "two numbers"},
		{`{"field":"x.p","op":"lt","value":true}`, engage.Invalid, "value", "of no use"},
		{`{"field":"x.p","op":"prefix","value":1}`, engage.Invalid, "value", "of no use"},
		{`{"field":"t","op":"lt","value":"yesterday"}`, engage.Invalid, "value", "must be a time"},
		{`{"field":"t","op":"eq","value":"2026-03-10T12:00:00Z"}`, engage.Invalid, "op", "within_last"},
		{`{"field":"t","op":"within_last","value":"P7D"}`, engage.Invalid, "value", `"7d"`},
		{`{"field":"t","op":"within_last","value":"-7d"}`, engage.Invalid, "value", `"7d"`},
		{`{"field":"t","op":"within_last","value":"0d"}`, engage.Invalid, "value", `"7d"`},
		{`{"field":"t","op":"within_last","value":"3651d"}`, engage.Invalid, "value", "3650d"},
		{`{"field":"t","op":"within_last","value":"99999999999d"}`, engage.Invalid, "value", "3650d"},
		{`{"field":"t","op":"within_last","value":7}`, engage.Invalid, "value", "must be a string"},
		{`{"field":"enum","op":"eq","value":"hail"}`, engage.Invalid, "value", "one of rain, snow"},
		{`{"field":"hour","op":"ge","value":24}`, engage.Invalid, "value", "0 to 23"},
		{deep, engage.TooLarge, strings.TrimSuffix(strings.Repeat("not.", 10), "."), "10 deep"},
		{many, engage.TooLarge, "any[200]", "200 clauses"},
		{`"` + strings.Repeat("a", rules.MaxBytes) + `"`, engage.TooLarge, "", "65536 bytes"},
		{`{"field":"s","op":"eq","value":"` + strings.Repeat("a", 1001) + `"}`, engage.TooLarge, "value", "1000 bytes"},
	} {
		r, err := rules.Parse(json.RawMessage(c.rule), schema())
		var e *engage.Error
		if !errors.As(err, &e) {
			t.Errorf("%.80s: accepted (%v) or an error of another type: %v", c.rule, r, err)
			continue
		}
		if e.Code != c.code || e.Field != c.field || !strings.Contains(e.Msg, c.says) {
			t.Errorf("%.80s: %v\nwant %s at %q saying %q", c.rule, e, c.code, c.field, c.says)
		}
	}
	parse(t, `{"all":[{"field":"b","op":"exists"},{"field":"b","op":"exists"}]}`) // the same clause twice is harmless
	parse(t, strings.Repeat(`{"not":`, 9)+`{"field":"b","op":"exists"}`+strings.Repeat(`}`, 9))
}

func TestSchemasPointToTheOtherRule(t *testing.T) {
	person := rules.PersonSchema(map[string]rules.Type{"city": rules.String, "loyalty_tier": rules.String, "bad": "money", "": rules.String})
	moment := rules.MomentSchema()
	for _, c := range []struct {
		schema      *rules.Schema
		field, says string
	}{
		{person, "weather.condition", "context rule"},
		{moment, "likes", "audience rule"},
		{moment, "attributes.city", "audience rule"},
		{person, "person.likes", `did you mean "likes"?`},
		{person, "city", `did you mean "attributes.city"?`},
		{person, "attributes.citty", `did you mean "attributes.city"`},
		{person, "atributes.loyalty_teir", `did you mean "attributes.loyalty_tier"`},
		{person, "attributes.bad", "unknown field"},
		{moment, "weather.temprature_c", `did you mean "weather.temperature_c"`},
		{moment, "zzzzzzzzzzzzzzzzzzzzzzzzz", "unknown field"},
	} {
		_, err := rules.Parse(json.RawMessage(`{"field":"`+c.field+`","op":"exists"}`), c.schema)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.field, err, c.says)
		}
	}
	for _, s := range []*rules.Schema{person, moment} {
		for _, f := range s.Fields() {
			if f.Description == "" || len(f.Ops) == 0 {
				t.Errorf("%s is not described: %+v", f.Path, f)
			}
		}
	}
	if f, ok := moment.Field("trigger.properties.total"); !ok || f.Type != rules.Scalar || f.Path != "trigger.properties.total" {
		t.Errorf("a property of an event: %+v %v", f, ok)
	}
}

// The two campaigns of the demo, as a marketer writes them.
func TestRainyDayRule(t *testing.T) {
	audience, err := rules.Parse(json.RawMessage(`{"all":[
		{"field":"likes","op":"contains","value":"fashion"},
		{"not":{"field":"dislikes","op":"contains","value":"umbrellas"}}]}`), rules.PersonSchema(nil))
	if err != nil {
		t.Fatal(err)
	}
	context, err := rules.Parse(json.RawMessage(`{"all":[
		{"any":[
			{"field":"weather.condition","op":"in","value":["rain","sleet","thunder"]},
			{"field":"weather.precipitation_mm","op":"gt","value":0.5}]},
		{"field":"local.hour","op":"between","value":[8,21]}]}`), rules.MomentSchema())
	if err != nil {
		t.Fatal(err)
	}
	if !context.Uses("weather.") || audience.Uses("weather.") {
		t.Error("which rule needs weather is wrong")
	}
	if got := context.Fields(); !slices.Equal(got, []string{"local.hour", "weather.condition", "weather.precipitation_mm"}) {
		t.Errorf("fields: %v", got)
	}

	_, why := audience.Eval(rules.Map{"likes": []string{"books"}, "dislikes": []string{"umbrellas"}}, now)
	want := []rules.Clause{
		{Path: "all[0]", Field: "likes", Op: rules.Contains, Want: "fashion", Got: []string{"books"}},
		{Path: "all[1].not", Field: "dislikes", Op: rules.Contains, Want: "umbrellas", Got: []string{"umbrellas"}, Negated: true},
	}
	if got := why.Failed(); !reflect.DeepEqual(got, want) {
		t.Errorf("blames %+v\nwant   %+v", got, want)
	}
	if first, ok := why.FirstFailed(); !ok || !reflect.DeepEqual(first, want[0]) {
		t.Errorf("first blames %+v", first)
	}

	_, why = context.Eval(rules.Map{"weather.condition": "clear", "local.hour": 9}, now)
	got, err := json.Marshal(why)
	if err != nil {
		t.Fatal(err)
	}
	const explained = `{"ok":false,"all":[` +
		`{"ok":false,"any":[` +
		`{"ok":false,"field":"weather.condition","op":"in","want":["rain","sleet","thunder"],"got":"clear"},` +
		`{"ok":false,"field":"weather.precipitation_mm","op":"gt","want":0.5}]},` +
		`{"ok":true,"field":"local.hour","op":"between","want":[8,21],"got":9}]}`
	if string(got) != explained {
		t.Errorf("explained as\n%s\nwant\n%s", got, explained)
	}
}

func TestExplanationsKeepBoundedCopies(t *testing.T) {
	list := make([]string, 50)
	for i := range list {
		list[i] = "x"
	}
	env := rules.Map{"l": list, "s": strings.Repeat("é", 500), "t": now.In(time.FixedZone("x", 3600))}
	_, why := parse(t, `{"all":[{"field":"l","op":"contains","value":"q"},{"field":"s","op":"prefix","value":"q"},{"field":"t","op":"gt","value":"2030-01-01T00:00:00Z"}]}`).Eval(env, now)
	list[0] = "changed later"
	failed := why.Failed()
	if got := failed[0].Got.([]string); len(got) != 21 || got[0] != "x" || got[20] != "…" {
		t.Errorf("list: %d %q", len(got), got[0])
	}
	if got := failed[1].Got.(string); got != strings.Repeat("é", 100)+"…" {
		t.Errorf("text: %q", got)
	}
	if failed[2].Got != "2026-03-10T12:00:00Z" {
		t.Errorf("time: %v", failed[2].Got)
	}
}

// randomRule builds a rule over the test schema.
func randomRule(r *rand.Rand, depth int) string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	if depth == 0 || r.IntN(3) == 0 {
		return pick(
			`{"field":"s","op":"eq","value":"a"}`, `{"field":"s","op":"not_in","value":["a","b"]}`, `{"field":"s","op":"prefix","value":"a"}`,
			`{"field":"n","op":"lt","value":2}`, `{"field":"n","op":"ne","value":2}`, `{"field":"n","op":"between","value":[1,2]}`,
			`{"field":"b","op":"eq","value":true}`, `{"field":"b","op":"absent"}`,
			`{"field":"t","op":"within_last","value":"1d"}`, `{"field":"t","op":"not_within_last","value":"1d"}`,
			`{"field":"l","op":"contains","value":"a"}`, `{"field":"l","op":"not_contains","value":"a"}`, `{"field":"l","op":"exists"}`,
			`{"field":"x.p","op":"gt","value":1}`, `{"field":"x.p","op":"ne","value":"a"}`)
	}
	if r.IntN(3) == 0 {
		return `{"not":` + randomRule(r, depth-1) + `}`
	}
	n := 1 + r.IntN(3)
	of := make([]string, n)
	for i := range of {
		of[i] = randomRule(r, depth-1)
	}
	return `{"` + pick("all", "any") + `":[` + strings.Join(of, ",") + `]}`
}

func randomEnv(r *rand.Rand) rules.Map {
	env := rules.Map{}
	for path, values := range map[string][]any{
		"s": {"a", "b", "c", "", nil, 7}, "n": {0, 1, 1.5, 2, 3, "2", nil}, "b": {true, false, nil},
		"t": {now, now.Add(-48 * time.Hour), now.Add(time.Hour), nil},
		"l": {[]string{"a"}, []string{"b"}, []string{}, nil}, "x.p": {"a", "b", 1, 2, true, nil},
	} {
		if v := values[r.IntN(len(values))]; r.IntN(4) > 0 {
			env[path] = v
		}
	}
	return env
}

func TestLogicHoldsForRandomRules(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	both := [2]int{}
	for range 400 {
		x, y := randomRule(r, 3), randomRule(r, 3)
		env := randomEnv(r)
		hx, hy := holds(t, parse(t, x), env), holds(t, parse(t, y), env)
		if hx {
			both[1]++
		} else {
			both[0]++
		}
		for rule, want := range map[string]bool{
			`{"not":` + x + `}`:                                     !hx,
			`{"not":{"not":` + x + `}}`:                             hx,
			`{"all":[` + x + `,` + y + `]}`:                         hx && hy,
			`{"any":[` + x + `,` + y + `]}`:                         hx || hy,
			`{"not":{"any":[{"not":` + x + `},{"not":` + y + `}]}}`: hx && hy, // De Morgan
		} {
			if got := holds(t, parse(t, rule), env); got != want {
				t.Fatalf("%s over %v: %v, want %v", rule, env, got, want)
			}
		}
	}
	if both[0] < 80 || both[1] < 80 {
		t.Errorf("the random rules hardly vary: %v", both)
	}
}

// match is what a store does with a filter: a path that is absent satisfies nothing.
func match(f rules.Filter, doc map[string]any) bool {
	switch {
	case f.All != nil:
		return !slices.ContainsFunc(f.All, func(g rules.Filter) bool { return !match(g, doc) })
	case f.Any != nil:
		return slices.ContainsFunc(f.Any, func(g rules.Filter) bool { return match(g, doc) })
	case f.Not != nil:
		return !match(*f.Not, doc)
	case f.Op == "":
		return true
	}
	v, ok := doc[f.Path]
	if !ok {
		return false
	}
	switch f.Op {
	case rules.FilterExists:
		return true
	case rules.FilterEq:
		return v == f.Value
	case rules.FilterIn:
		return slices.Contains(f.Value.([]any), v)
	case rules.FilterHas:
		return slices.Contains(v.([]string), f.Value.(string))
	case rules.FilterPrefix:
		return strings.HasPrefix(v.(string), f.Value.(string))
	case rules.FilterLt:
		return v.(float64) < f.Value.(float64)
	case rules.FilterLe:
		return v.(float64) <= f.Value.(float64)
	case rules.FilterGt:
		return v.(float64) > f.Value.(float64)
	default:
		return v.(float64) >= f.Value.(float64)
	}
}

func TestFilterMatchesExactlyWhereTheRuleHolds(t *testing.T) {
	path := func(field string) (string, bool) { return "p." + field, field != "b" }
	r := rand.New(rand.NewPCG(3, 4))
	compiled, refused := 0, 0
	for range 1000 {
		rule := parse(t, randomRule(r, 3))
		f, ok := rule.Filter(path)
		fields := rule.Fields()
		if !ok {
			refused++
			continue
		}
		if slices.Contains(fields, "t") || slices.Contains(fields, "x.p") || slices.Contains(fields, "b") {
			t.Fatalf("%v compiled", fields)
		}
		compiled++
		for range 10 {
			env, doc := rules.Map{}, map[string]any{}
			for k, values := range map[string][]any{"s": {"a", "b", "c", "ab"}, "n": {0., 1., 1.5, 2., 3.}, "l": {[]string{"a"}, []string{"b"}, []string{}}} {
				if r.IntN(4) > 0 {
					env[k] = values[r.IntN(len(values))]
					doc["p."+k] = env[k]
				}
			}
			if got, want := match(f, doc), holds(t, rule, env); got != want {
				t.Fatalf("filter %+v of %v: %v, the rule: %v", f, doc, got, want)
			}
		}
	}
	if compiled < 50 || refused < 50 {
		t.Errorf("compiled %d, refused %d: the random rules hardly vary", compiled, refused)
	}
	if f, ok := parse(t, "").Filter(path); !ok || !match(f, nil) {
		t.Error("the empty rule does not compile to a filter that matches everything")
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	r, env := benchRule(t)
	if n := testing.AllocsPerRun(100, func() { r.Match(env, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchRule(t testing.TB) (*rules.Rule, rules.Env) {
	return parse(t, `{"all":[
			{"field":"s","op":"in","value":["a","b","c"]},
			{"any":[{"field":"n","op":"lt","value":0},{"field":"n","op":"gt","value":2}]},
			{"not":{"field":"l","op":"contains","value":"shoes"}},
			{"field":"t","op":"within_last","value":"7d"},
			{"field":"x.total","op":"ge","value":10}]}`),
		rules.Map{"s": "c", "n": 3.0, "l": []string{"fashion", "books"}, "t": now.Add(-time.Hour), "x.total": 12.5}
}

func BenchmarkMatch(b *testing.B) {
	r, env := benchRule(b)
	b.ReportAllocs()
	for b.Loop() {
		if !r.Match(env, now) {
			b.Fatal("does not hold")
		}
	}
}

func BenchmarkEval(b *testing.B) {
	r, env := benchRule(b)
	b.ReportAllocs()
	for b.Loop() {
		if ok, _ := r.Eval(env, now); !ok {
			b.Fatal("does not hold")
		}
	}
}

func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		f.Add([]byte(randomRule(r, 3)))
	}
	f.Add([]byte(`{"field":"t","op":"between","value":["2026-03-09T12:00:00Z","2026-03-10T12:00:00Z"]}`))
	f.Add([]byte(`{"field":"enum","op":"in","value":["rain"]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		rule, err := rules.Parse(raw, schema())
		if err != nil {
			var e *engage.Error
			if !errors.As(err, &e) || e.Msg == "" {
				t.Fatalf("an error that helps nobody: %v", err)
			}
			return
		}
		for _, env := range []rules.Env{rules.Map{}, randomEnv(rand.New(rand.NewPCG(uint64(len(raw)), 1)))} {
			holds(t, rule, env)
		}
	})
}
