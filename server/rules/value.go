package rules

import (
	"cmp"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// holds judges a clause. Ok says whether the environment has the field.
func (c *clause) holds(v any, ok bool, at time.Time) bool {
	return (ok && c.positive(v, at)) != c.negated
}

// positive judges the positive operator over a value that the environment has.
func (c *clause) positive(v any, at time.Time) bool {
	if c.typ == Strings {
		if c.test == Exists {
			return listLen(v) > 0
		}
		return listHas(v, c.low.s)
	}
	x, ok := scalar(c.typ, v)
	if !ok {
		return false
	}
	switch c.test {
	case Exists:
		return true
	case Eq:
		d, same := x.compare(c.low)
		return same && d == 0
	case Lt:
		d, same := x.compare(c.low)
		return same && d < 0
	case Le:
		d, same := x.compare(c.low)
		return same && d <= 0
	case Gt:
		d, same := x.compare(c.low)
		return same && d > 0
	case Ge:
		d, same := x.compare(c.low)
		return same && d >= 0
	case Between:
		return c.within(x)
	case In:
		if c.lookup != nil && x.typ == String {
			_, has := c.lookup[x.s]
			return has
		}
		for i := range c.set {
			if d, same := x.compare(c.set[i]); same && d == 0 {
				return true
			}
		}
		return false
	case Prefix:
		return x.typ == String && strings.HasPrefix(x.s, c.low.s)
	case WithinLast:
		return x.t.After(at.Add(-c.last)) && !x.t.After(at)
	default: // Contains is of lists
		return false
	}
}

// compare orders two values of one type; same is false if they are of two.
func (x operand) compare(y operand) (order int, same bool) {
	if x.typ != y.typ {
		return 0, false
	}
	switch x.typ {
	case String:
		return strings.Compare(x.s, y.s), true
	case Number:
		return cmp.Compare(x.n, y.n), true
	case Bool:
		switch {
		case x.b == y.b:
			return 0, true
		case y.b:
			return -1, true
		default:
			return 1, true
		}
	case Version, TimeOfDay:
		return cmp.Compare(x.v, y.v), true
	default:
		return x.t.Compare(y.t), true
	}
}

// scalar reads v as a value of the type; ok is false if it is none, which makes
// the field absent.
func scalar(t Type, v any) (_ operand, ok bool) {
	switch t {
	case String:
		s, ok := text(v)
		return operand{typ: String, s: s}, ok
	case Number:
		n, ok := number(v)
		return operand{typ: Number, n: n}, ok
	case Bool:
		b, ok := v.(bool)
		return operand{typ: Bool, b: b}, ok
	case Time:
		x, ok := moment(v)
		return operand{typ: Time, t: x}, ok
	case Version:
		s, _ := text(v)
		return version(s)
	case TimeOfDay:
		s, _ := text(v)
		return timeOfDay(s)
	default: // Scalar
		if b, ok := v.(bool); ok {
			return operand{typ: Bool, b: b}, true
		}
		if n, ok := number(v); ok {
			return operand{typ: Number, n: n}, true
		}
		s, ok := text(v)
		return operand{typ: String, s: s}, ok
	}
}

func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number: // a string to Go, a number to people
		return "", false
	}
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.String {
		return rv.String(), true
	}
	return "", false
}

// number reads a finite number of any of Go's types.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case string, bool, nil:
		return 0, false
	case json.Number:
		n, err := v.Float64()
		return n, err == nil
	}
	rv := reflect.ValueOf(v)
	switch {
	case rv.CanInt():
		return float64(rv.Int()), true
	case rv.CanUint():
		return float64(rv.Uint()), true
	case rv.CanFloat():
		n := rv.Float()
		return n, !math.IsNaN(n) && !math.IsInf(n, 0)
	}
	return 0, false
}

// moment reads a time that is not zero.
func moment(v any) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v, !v.IsZero()
	case string:
		t, err := time.Parse(time.RFC3339, v)
		return t, err == nil && !t.IsZero()
	case *time.Time:
		if v != nil {
			return *v, !v.IsZero()
		}
	}
	return time.Time{}, false
}

func listLen(v any) int {
	switch v := v.(type) {
	case []string:
		return len(v)
	case []any:
		n := 0
		for _, x := range v {
			if _, ok := text(x); ok {
				n++
			}
		}
		return n
	}
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Slice && rv.Type().Elem().Kind() == reflect.String {
		return rv.Len()
	}
	return 0
}

func listHas(v any, want string) bool {
	switch v := v.(type) {
	case []string:
		return slices.Contains(v, want)
	case []any:
		for _, x := range v {
			if s, ok := text(x); ok && s == want {
				return true
			}
		}
		return false
	}
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Slice && rv.Type().Elem().Kind() == reflect.String {
		for i := range rv.Len() {
			if rv.Index(i).String() == want {
				return true
			}
		}
	}
	return false
}

// Explanations keep this much of a value.
const (
	gotBytes = 200
	gotItems = 20
)

// snapshot is a value as an explanation keeps it: a copy, bounded, of few types
// that encode the same way each time. It is nil if the field is absent.
func snapshot(t Type, v any, ok bool) any {
	if !ok {
		return nil
	}
	if t == Strings {
		return snapshotList(v)
	}
	x, ok := scalar(t, v)
	if !ok {
		return nil
	}
	return x.plain()
}

func (x operand) plain() any {
	switch x.typ {
	case String, Version, TimeOfDay:
		return clip(x.s)
	case Number:
		return x.n
	case Bool:
		return x.b
	default:
		return x.t.UTC().Format(time.RFC3339Nano)
	}
}

func snapshotList(v any) any {
	n := listLen(v)
	if n == 0 {
		return nil
	}
	out := make([]string, 0, min(n, gotItems))
	rv := reflect.ValueOf(v)
	for i := 0; i < rv.Len() && len(out) < gotItems; i++ {
		if s, ok := text(rv.Index(i).Interface()); ok {
			out = append(out, clip(s))
		}
	}
	if n > gotItems {
		out = append(out, "…")
	}
	return out
}

func clip(s string) string {
	if len(s) <= gotBytes {
		return strings.Clone(s)
	}
	n := gotBytes
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
