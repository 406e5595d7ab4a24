package sqlite

import (
	"database/sql/driver"
	"encoding/json"
	"strings"

	"github.com/footfall-engage/footfall/server/store"
)

// text is SQL under construction with its arguments. Values enter by arg only.
type text struct {
	strings.Builder
	args []driver.Value
}

func (t *text) add(parts ...string) {
	for _, p := range parts {
		t.WriteString(p)
	}
}

// arg writes a parameter. The plus hides it from the planner, which would
// otherwise prepare the statement anew at each binding, in the hope of a better
// plan, and double the time of a short query (measured with the driver's SQLite:
// any ORDER BY or LIMIT ? does it).
func (t *text) arg(v driver.Value) {
	t.WriteString("+?")
	t.args = append(t.args, v)
}

// filter writes the condition of a checked filter. A condition may be NULL where
// a path is absent: that is as good as false under AND and OR, and NOT makes it
// false first.
func (t *text) filter(f store.Filter) error {
	switch {
	case len(f.All) > 0:
		return t.join(f.All, " AND ")
	case len(f.Any) > 0:
		return t.join(f.Any, " OR ")
	case f.Not != nil:
		t.add("NOT ifnull(")
		if err := t.filter(*f.Not); err != nil {
			return err
		}
		t.add(",0)")
		return nil
	case f.Path == "":
		t.add("1")
		return nil
	case f.Path == store.IDPath:
		return t.idLeaf(f)
	default:
		return t.leaf(f)
	}
}

func (t *text) join(fs []store.Filter, op string) error {
	t.add("(")
	for i, f := range fs {
		if i > 0 {
			t.add(op)
		}
		if err := t.filter(f); err != nil {
			return err
		}
	}
	t.add(")")
	return nil
}

var comparisons = map[store.Op]string{store.Eq: "=", store.Lt: "<", store.Le: "<=", store.Gt: ">", store.Ge: ">="}

// typesOf are the json_type names that a value is compared with.
func typesOf(v any) string {
	switch v.(type) {
	case string:
		return "='text'"
	case bool:
		return " IN ('true','false')"
	default:
		return " IN ('integer','real')"
	}
}

func (t *text) leaf(f store.Filter) error {
	e, kind := extract("body", f.Path), jsonType(f.Path)
	switch f.Op {
	case store.Exists:
		t.add(e, " IS NOT NULL")
		return nil
	case store.Absent:
		t.add(e, " IS NULL")
		return nil
	case store.In:
		return t.in(e, kind, f.Value)
	}
	v, err := store.Scalar(f.Value)
	if err != nil {
		return err // not after Filter.Check
	}
	switch f.Op {
	case store.Ne:
		t.add("(", e, " IS NOT NULL AND NOT ifnull(", e, "=")
		t.arg(v)
		t.add(" AND ", kind, typesOf(v), ",0))")
	case store.Has:
		t.add("(", kind, "='array' AND EXISTS(SELECT 1 FROM json_each(body,", jsonPath(f.Path), ") AS j WHERE j.value=")
		t.arg(v)
		t.add(" AND j.type", typesOf(v), "))")
	case store.Prefix:
		prefix, _ := v.(string)
		t.add("(", kind, "='text' AND ")
		t.prefix(e, prefix)
		t.add(")")
	default:
		t.add("(", e, comparisons[f.Op])
		t.arg(v)
		t.add(" AND ", kind, typesOf(v), ")")
	}
	return nil
}

// idLeaf compares the id, which is a string and always there.
func (t *text) idLeaf(f store.Filter) error {
	switch f.Op {
	case store.Exists:
		t.add("1")
		return nil
	case store.Absent:
		t.add("0")
		return nil
	case store.In:
		return t.in("id", "'text'", f.Value)
	}
	v, err := store.Scalar(f.Value)
	if err != nil {
		return err // not after Filter.Check
	}
	s, isText := v.(string)
	switch {
	case f.Op == store.Has:
		t.add("0")
	case !isText:
		t.add(map[bool]string{true: "1", false: "0"}[f.Op == store.Ne])
	case f.Op == store.Ne:
		t.add("id<>")
		t.arg(s)
	case f.Op == store.Prefix:
		t.add("(")
		t.prefix("id", s)
		t.add(")")
	default:
		t.add("id", comparisons[f.Op])
		t.arg(s)
	}
	return nil
}

// in writes the values as one JSON argument per type, so that the SQL, and with
// it the prepared statement, is the same for any number of them.
func (t *text) in(e, kind string, list any) error {
	values, err := store.Scalars(list)
	if err != nil {
		return err // not after Filter.Check
	}
	var byType [3][]any
	for _, v := range values {
		i := 2
		switch v.(type) {
		case string:
			i = 0
		case bool:
			i = 1
		}
		byType[i] = append(byType[i], v)
	}
	t.add("(")
	some := false
	for _, vs := range byType {
		if len(vs) == 0 {
			continue
		}
		raw, err := json.Marshal(vs)
		if err != nil {
			return err
		}
		if some {
			t.add(" OR ")
		}
		some = true
		t.add(e, " IN (SELECT value FROM json_each(")
		t.arg(string(raw))
		t.add(")) AND ", kind, typesOf(vs[0]))
	}
	if !some {
		t.add("0")
	}
	t.add(")")
	return nil
}

// prefix writes the range of strings that begin with p, in byte order. The last
// byte of valid UTF-8 can always be counted up.
func (t *text) prefix(e, p string) {
	t.add(e, ">=")
	t.arg(p)
	if p == "" {
		return
	}
	end := []byte(p)
	end[len(end)-1]++
	t.add(" AND ", e, "<")
	t.arg(string(end))
}
