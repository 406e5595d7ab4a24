package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// fieldChange is one field that two versions of a document have differently.
type fieldChange struct {
	Path   string `json:"path" doc:"As errors name it: limits.cap, arms[b].message.title; what has an id is named by it"`
	Before any    `json:"before,omitempty" doc:"Absent: the field was not there"`
	After  any    `json:"after,omitempty" doc:"Absent: the field is gone"`
}

// setByServer are fields that change with every version.
var setByServer = []string{"version", "updated_at", "workspace"}

// differences of two JSON documents, in order of their paths; nil is no document. (The
// libraries that compare JSON give RFC 6902 patches, in which an arm that moved up shows
// as every field of every arm.)
func differences(before, after json.RawMessage) []fieldChange {
	var a, b any
	if json.Unmarshal(before, &a) != nil {
		a = nil
	}
	if json.Unmarshal(after, &b) != nil {
		b = nil
	}
	if m, is := a.(map[string]any); is {
		a = without(m, setByServer)
	}
	if m, is := b.(map[string]any); is {
		b = without(m, setByServer)
	}
	out := []fieldChange{}
	if a == nil { // all of a new document, field by field
		a = map[string]any{}
	}
	if b == nil {
		b = map[string]any{}
	}
	compare("", a, b, &out)
	return out
}

func without(m map[string]any, names []string) map[string]any {
	out := maps.Clone(m)
	for _, n := range names {
		delete(out, n)
	}
	return out
}

func compare(path string, a, b any, out *[]fieldChange) {
	if reflect.DeepEqual(a, b) {
		return
	}
	x, y := children(a), children(b)
	if x == nil || y == nil || isList(a) != isList(b) {
		*out = append(*out, fieldChange{Path: path, Before: a, After: b})
		return
	}
	names := slices.Collect(maps.Keys(x))
	for n := range y {
		if _, both := x[n]; !both {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		compare(joined(path, n, isList(a)), x[n], y[n], out)
	}
	if len(names) > 0 && isList(a) && !reflect.DeepEqual(order(a), order(b)) && sameSet(x, y) {
		*out = append(*out, fieldChange{Path: path + "[]", Before: order(a), After: order(b)})
	}
}

func isList(v any) bool {
	_, is := v.([]any)
	return is
}

func joined(path, name string, list bool) string {
	switch {
	case list:
		return fmt.Sprintf("%s[%s]", path, name)
	case path == "":
		return name
	default:
		return path + "." + name
	}
}

// children of an object by name, and of a list whose elements all have different ids by
// these; nil: it is compared as a whole.
func children(v any) map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return v
	case []any:
		out := make(map[string]any, len(v))
		for _, id := range order(v) {
			out[id] = nil
		}
		if len(v) == 0 || len(out) != len(v) {
			return nil
		}
		for _, e := range v {
			out[idIn(e)] = e
		}
		return out
	}
	return nil
}

func idIn(v any) string {
	m, _ := v.(map[string]any) // what is none has no id
	id, _ := m["id"].(string)
	return id
}

// order of a list by the ids of its elements; those without are left out.
func order(v any) []string {
	l, _ := v.([]any) // asked of lists alone
	out := make([]string, 0, len(l))
	for _, e := range l {
		if id := idIn(e); id != "" {
			out = append(out, id)
		}
	}
	return out
}

func sameSet(x, y map[string]any) bool {
	return slices.Equal(slices.Sorted(maps.Keys(x)), slices.Sorted(maps.Keys(y)))
}

// paths of changes, each list once: what was in the fields is not told, for it may be a
// secret.
func paths(changes []fieldChange) []string {
	out := make([]string, 0, len(changes))
	for _, c := range changes {
		top, _, _ := strings.Cut(c.Path, "[")
		if !slices.Contains(out, top) {
			out = append(out, top)
		}
	}
	return out
}
