package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/osteele/liquid/values"
)

// value is a variable or a filter's result as the library's expressions see it.
// It answers every question itself: the library would look into Go values by
// reflection and call their methods.
type value struct {
	v any // nil, bool, int, float64, string, time.Time, []any, map[string]any, loop, shelves, shelf
	r *run
}

var _ values.Value = value{}

// wrap charges for lists, which plain may have to copy. Who exhausts the work
// so is stopped at the next step.
func (r *run) wrap(v any) values.Value {
	v = plain(v)
	if list, ok := v.([]any); ok {
		r.work -= len(list)
	}
	return value{v, r}
}

func (v value) Interface() any                               { return v.v }
func (v value) Test() bool                                   { return v.v != nil && v.v != false }
func (v value) Less(other values.Value) bool                 { return less(v.v, plain(other.Interface())) }
func (v value) PropertyValue(name values.Value) values.Value { return v.IndexValue(name) }

func (v value) Equal(other values.Value) bool {
	if e, ok := other.(void); ok {
		return e.is(v.v)
	}
	return v.r.equal(v.v, plain(other.Interface()))
}

func (v value) IndexValue(index values.Value) values.Value {
	if s, is := v.v.(shelf); is {
		return v.r.item(s, plain(index.Interface()))
	}
	switch i := plain(index.Interface()).(type) {
	case string:
		return v.r.wrap(property(v.v, i))
	case int:
		if list, ok := v.v.([]any); ok {
			if i < 0 {
				i += len(list)
			}
			if i >= 0 && i < len(list) {
				return v.r.wrap(list[i])
			}
		}
	}
	return value{nil, v.r}
}

func (v value) Int() int {
	n, err := whole(v.v)
	if err != nil {
		panic(values.TypeError(err.Error()))
	}
	return n
}

func (v value) Contains(other values.Value) bool {
	o := plain(other.Interface())
	switch in := v.v.(type) {
	case string:
		s, err := text(o)
		return v.r.charge(len(in)/16) == nil && err == nil && o != nil && strings.Contains(in, s)
	case map[string]any:
		s, ok := o.(string)
		_, has := in[s]
		return ok && has
	case []any:
		return v.r.charge(len(in)) == nil && slices.ContainsFunc(in, func(x any) bool { return v.r.equal(plain(x), o) })
	default:
		return false
	}
}

// handle carries the run into filters and is nothing to anybody else.
type handle struct{ r *run }

func (h handle) Interface() any                        { return h.r }
func (handle) Int() int                                { panic(values.TypeError("not a number")) }
func (handle) Equal(values.Value) bool                 { return false }
func (handle) Less(values.Value) bool                  { return false }
func (handle) Contains(values.Value) bool              { return false }
func (handle) IndexValue(values.Value) values.Value    { return values.ValueOf(nil) }
func (handle) PropertyValue(values.Value) values.Value { return values.ValueOf(nil) }
func (handle) Test() bool                              { return true }

// void is "empty" (a text, list or object with nothing in it) or "blank" (that,
// white space, missing or false), to be compared with.
type void struct{ blank bool }

func (e void) is(v any) bool {
	switch v := v.(type) {
	case string:
		return v == "" || e.blank && strings.TrimSpace(v) == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case nil:
		return e.blank
	case bool:
		return e.blank && !v
	default:
		return false
	}
}

func (void) Interface() any                          { return nil }
func (void) Int() int                                { panic(values.TypeError("not a number")) }
func (e void) Equal(o values.Value) bool             { return e.is(plain(o.Interface())) }
func (void) Less(values.Value) bool                  { return false }
func (void) Contains(values.Value) bool              { return false }
func (void) IndexValue(values.Value) values.Value    { return values.ValueOf(nil) }
func (void) PropertyValue(values.Value) values.Value { return values.ValueOf(nil) }
func (void) Test() bool                              { return false }

// loop is what "forloop" is.
type loop struct{ i, n int }

// plain makes one of the few types of value.v of what comes from outside: nil
// of what is none of them. It looks no deeper than it must.
func plain(v any) any {
	switch v := v.(type) {
	case nil, bool, int, string, time.Time, []any, map[string]any, loop, shelves, shelf, *run:
		return v
	case Items:
		return shelves{v}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return v
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil {
			return n
		}
		n, err := v.Float64()
		if err != nil {
			return nil
		}
		return n
	case []string:
		list := make([]any, len(v))
		for i, s := range v {
			list[i] = s
		}
		return list
	case *time.Time:
		if v == nil {
			return nil
		}
		return *v
	}
	rv := reflect.ValueOf(v)
	switch {
	case rv.Kind() == reflect.String:
		if s, ok := v.(fmt.Stringer); ok { // secrets hide themselves
			return s.String()
		}
		return rv.String()
	case rv.Kind() == reflect.Bool:
		return rv.Bool()
	case rv.CanInt():
		return int(rv.Int())
	case rv.CanUint():
		if rv.Uint() > math.MaxInt {
			return float64(rv.Uint())
		}
		return int(rv.Uint())
	case rv.CanFloat():
		return plain(rv.Float())
	case rv.Kind() == reflect.Slice:
		list := make([]any, rv.Len())
		for i := range list {
			list[i] = rv.Index(i).Interface()
		}
		return list
	case rv.Kind() == reflect.Map && rv.Type().Key().Kind() == reflect.String:
		m := make(map[string]any, rv.Len())
		for it := rv.MapRange(); it.Next(); {
			m[it.Key().String()] = it.Value().Interface()
		}
		return m
	default:
		return nil
	}
}

// property is v.name, nil if there is none.
func property(v any, name string) any {
	switch v := v.(type) {
	case map[string]any:
		if x, ok := v[name]; ok {
			return plain(x)
		}
		if name == "size" {
			return len(v)
		}
	case []any:
		switch {
		case name == "size":
			return len(v)
		case name == "first" && len(v) > 0:
			return plain(v[0])
		case name == "last" && len(v) > 0:
			return plain(v[len(v)-1])
		}
	case string:
		if name == "size" {
			return len([]rune(v))
		}
	case shelves:
		return shelf{v.of, name}
	case shelf:
		return itemOf(v, name)
	case loop:
		switch name {
		case "first":
			return v.i == 0
		case "last":
			return v.i == v.n-1
		case "index":
			return v.i + 1
		case "index0":
			return v.i
		case "rindex":
			return v.n - v.i
		case "rindex0":
			return v.n - v.i - 1
		case "length":
			return v.n
		}
	}
	return nil
}

// equal compares two plain values. Lists cost what they are long; a template
// that exhausts its work so is stopped at its next step.
func (r *run) equal(a, b any) bool {
	if x, y, ok := numbers(a, b); ok {
		return x == y
	}
	if t, ok := b.(time.Time); ok {
		a, b = t, a
	}
	switch a := a.(type) {
	case time.Time:
		if t, ok := b.(time.Time); ok {
			return t.Equal(a)
		}
		s, _ := b.(string)
		t, err := parseTime(s, a.Location())
		return err == nil && t.Equal(a)
	case []any:
		list, ok := b.([]any)
		if !ok || len(a) != len(list) || r.charge(len(a)) != nil {
			return false
		}
		for i := range a {
			if !r.equal(plain(a[i]), plain(list[i])) {
				return false
			}
		}
		return true
	case nil, bool, string:
		return a == b
	default: // objects are equal to nothing
		return false
	}
}

// less orders numbers, texts and times; anything else is not less.
func less(a, b any) bool {
	if x, y, ok := numbers(a, b); ok {
		return x < y
	}
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return a < b
		}
	case time.Time:
		if b, ok := b.(time.Time); ok {
			return a.Before(b)
		}
	}
	if t, ok := b.(time.Time); ok {
		s, _ := a.(string)
		x, err := parseTime(s, t.Location())
		return err == nil && x.Before(t)
	}
	if t, ok := a.(time.Time); ok {
		s, _ := b.(string)
		x, err := parseTime(s, t.Location())
		return err == nil && t.Before(x)
	}
	return false
}

func numbers(a, b any) (x, y float64, ok bool) {
	x, okA := float(a)
	y, okB := float(b)
	return x, y, okA && okB
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	default:
		return 0, false
	}
}

var errNotWhole = errors.New("is not a whole number")

func whole(v any) (int, error) {
	switch v := v.(type) {
	case int:
		return v, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int(v), nil
		}
	case string:
		if n, err := strconv.Atoi(v); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s %w", describe(v), errNotWhole)
}

// text is how a value is printed; nothing of nil.
func text(v any) (string, error) {
	switch v := plain(v).(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	case time.Time:
		return v.Format("2006-01-02 15:04:05 -0700"), nil
	default:
		return "", fmt.Errorf("%s is not a text", describe(v))
	}
}

// describe names a value in an error without showing an object's content.
func describe(v any) string {
	switch v := v.(type) {
	case []any:
		return "a list"
	case map[string]any, loop, shelves, shelf:
		return "an object"
	case string:
		return strconv.Quote(clip(v))
	default:
		return fmt.Sprint(v)
	}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
