package storetest

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/store"
)

func nan() float64 { return math.NaN() }

// matches is the meaning of a filter, plainly: what every implementation must do.
func matches(f store.Filter, id string, body map[string]any) bool {
	switch {
	case len(f.All) > 0:
		return !slices.ContainsFunc(f.All, func(g store.Filter) bool { return !matches(g, id, body) })
	case f.Any != nil:
		return slices.ContainsFunc(f.Any, func(g store.Filter) bool { return matches(g, id, body) })
	case f.Not != nil:
		return !matches(*f.Not, id, body)
	case f.Path == "":
		return true
	}
	have := lookup(f.Path, id, body)
	if have == nil {
		return f.Op == store.Absent
	}
	want := f.Value
	if i, ok := want.(int); ok {
		want = float64(i)
	}
	order, comparable := compare(have, want)
	switch f.Op {
	case store.Eq:
		return comparable && order == 0
	case store.Ne:
		return !comparable || order != 0
	case store.Lt:
		return comparable && order < 0
	case store.Le:
		return comparable && order <= 0
	case store.Gt:
		return comparable && order > 0
	case store.Ge:
		return comparable && order >= 0
	case store.Exists:
		return true
	case store.In:
		return slices.ContainsFunc(want.([]any), func(v any) bool {
			return matches(store.Filter{Path: f.Path, Op: store.Eq, Value: v}, id, body)
		})
	case store.Has:
		list, _ := have.([]any)
		return slices.ContainsFunc(list, func(v any) bool {
			o, ok := compare(v, want)
			return ok && o == 0
		})
	case store.Prefix:
		s, ok := have.(string)
		return ok && strings.HasPrefix(s, want.(string))
	}
	return false
}

func lookup(path, id string, body map[string]any) any {
	if path == store.IDPath {
		return id
	}
	var v any = body
	for step := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[step]
	}
	return v
}

// compare orders two values of one type; others are not comparable.
func compare(a, b any) (int, bool) {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return strings.Compare(a, b), ok
	case float64:
		b, ok := b.(float64)
		switch {
		case a < b:
			return -1, ok
		case a > b:
			return 1, ok
		}
		return 0, ok
	case bool:
		b, ok := b.(bool)
		switch {
		case a == b:
			return 0, ok
		case b:
			return -1, ok
		}
		return 1, ok
	}
	return 0, false
}

var (
	words = []string{"", "a", "ab", "abc", "b", "1", "true", "é", "%", "_", `"`, "'", `{"x":1}`, "[1]", "日本"}
	paths = []string{"city", "age", "email", "card.number", "card", "tags", "x-y", "items.0", "absent", store.IDPath}
)

func randomScalar(r *rand.Rand) any {
	switch r.IntN(4) {
	case 0:
		return r.IntN(2) == 0
	case 1:
		return r.IntN(5)
	case 2:
		return []float64{-1.5, 0, 1, 2.5, 1e300}[r.IntN(5)]
	default:
		return words[r.IntN(len(words))]
	}
}

func randomValue(r *rand.Rand, depth int) any {
	switch n := r.IntN(10); {
	case n == 0:
		return nil
	case n == 1 && depth > 0:
		list := make([]any, r.IntN(4))
		for i := range list {
			list[i] = randomValue(r, depth-1)
		}
		return list
	case n == 2 && depth > 0:
		m := map[string]any{}
		for _, k := range []string{"number", "x", "0"} {
			if r.IntN(2) == 0 {
				m[k] = randomValue(r, depth-1)
			}
		}
		return m
	default:
		return randomScalar(r)
	}
}

func randomFilter(r *rand.Rand, depth int) store.Filter {
	if depth > 0 {
		switch r.IntN(6) {
		case 0:
			return store.Filter{All: randomFilters(r, depth-1)}
		case 1:
			return store.Filter{Any: randomFilters(r, depth-1)}
		case 2:
			f := randomFilter(r, depth-1)
			return store.Filter{Not: &f}
		case 3:
			if r.IntN(5) == 0 {
				return store.Filter{}
			}
		}
	}
	ops := []store.Op{
		store.Eq, store.Ne, store.Lt, store.Le, store.Gt, store.Ge, store.In, store.Exists, store.Absent, store.Has, store.Prefix,
	}
	f := store.Filter{Path: paths[r.IntN(len(paths))], Op: ops[r.IntN(len(ops))]}
	switch f.Op {
	case store.Exists, store.Absent:
	case store.Prefix:
		f.Value = words[r.IntN(len(words))]
	case store.In:
		list := make([]any, r.IntN(4))
		for i := range list {
			list[i] = randomScalar(r)
		}
		f.Value = list
	default:
		f.Value = randomScalar(r)
	}
	return f
}

func randomFilters(r *rand.Rand, depth int) []store.Filter {
	fs := make([]store.Filter, 1+r.IntN(3))
	for i := range fs {
		fs[i] = randomFilter(r, depth)
	}
	return fs
}

func (s *suite) putJSON(id string, body any) store.Put {
	raw, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	return put(id, string(raw))
}

// random people of many shapes, email and card kept apart for the unique indexes.
func (s *suite) randomPeople(r *rand.Rand, n int) map[string]map[string]any {
	all := map[string]map[string]any{}
	var puts []store.Put
	for i := range n {
		m := map[string]any{}
		for _, k := range []string{"city", "age", "card", "tags", "x-y", "items"} {
			if r.IntN(4) > 0 {
				m[k] = randomValue(r, 2)
			}
		}
		if r.IntN(2) == 0 {
			m["email"] = fmt.Sprintf("%s%d", words[r.IntN(len(words))], i)
		}
		id := fmt.Sprintf("%s%d", words[1+r.IntN(len(words)-1)], i)
		p := s.putJSON(id, m)
		var back map[string]any // numbers as JSON has them
		if err := json.Unmarshal(p.Body, &back); err != nil {
			s.t.Fatal(err)
		}
		all[id] = back
		puts = append(puts, p)
	}
	s.must(puts...)
	return all
}

func filtersMatchReference(s *suite) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // a repeatable sequence is wanted
	all := s.randomPeople(r, s.size(120, 3))
	some, none := 0, 0
	for range s.size(800, 10) {
		f := randomFilter(r, 3)
		var want []string
		for id, body := range all {
			if matches(f, id, body) {
				want = append(want, id)
			}
		}
		slices.Sort(want)
		got := s.find(store.Query{Filter: f})
		if !slices.Equal(got, want) {
			raw, _ := json.Marshal(f)
			s.t.Fatalf("filter %s\n got %q\nwant %q", raw, got, want)
		}
		n, err := s.Count(s.t.Context(), people, store.Query{Workspace: "w1", Filter: f, Limit: 1, Sort: "city"})
		if err != nil || n != int64(len(want)) {
			s.t.Fatalf("count is %d, %v; want %d", n, err, len(want))
		}
		if len(want) == 0 {
			none++
		} else if len(want) < len(all) {
			some++
		}
	}
	if some < s.size(200, 10) || none < s.size(25, 10) {
		s.t.Fatalf("the filters tell little: %d matched some, %d none", some, none)
	}
}

func filterExamples(s *suite) {
	type city string
	s.must(
		put("ada", `{"city":"Oslo","age":36,"vip":true,"tags":["tea","art"],"card":{"number":7}}`),
		put("bob", `{"city":"Bergen","age":"36","vip":false,"tags":[36,true,null]}`),
		put("cyd", `{"age":36.5,"city":null,"tags":"tea"}`),
		put("dan", `{"city":"Os","nul":"a\u0000b","age":1e2,"vip":1,"tags":{"tea":"tea"}}`),
	)
	leaf := func(path string, op store.Op, v any) store.Filter { return store.Filter{Path: path, Op: op, Value: v} }
	for _, test := range []struct {
		f    store.Filter
		want string
	}{
		{store.Filter{}, "ada bob cyd dan"},
		{store.Filter{All: []store.Filter{}}, "ada bob cyd dan"},
		{leaf("city", store.Eq, city("Oslo")), "ada"},
		{leaf("city", store.Ne, "Oslo"), "bob dan"},
		{leaf("city", store.Exists, nil), "ada bob dan"},
		{leaf("city", store.Absent, nil), "cyd"},
		{leaf("city", store.Prefix, "Os"), "ada dan"},
		{leaf("city", store.Prefix, ""), "ada bob dan"},
		{leaf("city", store.In, []city{"Oslo", "Bergen", "Rome"}), "ada bob"},
		{leaf("city", store.In, []string{}), ""},
		{leaf("age", store.Eq, 36), "ada"},
		{leaf("age", store.Eq, 36.0), "ada"},
		{leaf("age", store.Eq, json.Number("36")), "ada"},
		{leaf("age", store.Eq, "36"), "bob"},
		{leaf("age", store.Ne, 36), "bob cyd dan"},
		{leaf("age", store.Gt, 9), "ada cyd dan"}, // "36" is no number
		{leaf("age", store.Gt, "3"), "bob"},
		{leaf("age", store.Ge, uint8(100)), "dan"},
		{leaf("age", store.In, []any{36, "36"}), "ada bob"},
		{leaf("vip", store.Eq, true), "ada"},
		{leaf("vip", store.Eq, 1), "dan"},
		{leaf("vip", store.Lt, true), "bob"},
		{leaf("tags", store.Has, "tea"), "ada"},
		{leaf("tags", store.Has, 36), "bob"},
		{leaf("tags", store.Has, true), "bob"},
		{leaf("tags", store.Has, 1), ""},
		{leaf("tags", store.Eq, "tea"), "cyd"},
		{leaf("tags", store.Eq, `["tea","art"]`), ""},
		{leaf("card.number", store.Eq, 7), "ada"},
		{leaf("nul", store.Eq, "a"), ""},
		{leaf("nul", store.Eq, "a\x00b"), "dan"},
		{leaf("nul", store.In, []string{"a\x00b"}), "dan"},
		{leaf("nul", store.Prefix, "a\x00"), "dan"},
		{leaf("card.number.x", store.Absent, nil), "ada bob cyd dan"},
		{leaf(store.IDPath, store.Ge, "bob"), "bob cyd dan"},
		{leaf(store.IDPath, store.In, []string{"dan", "eve", "ada"}), "ada dan"},
		{store.Filter{Not: &store.Filter{Path: "city", Op: store.Eq, Value: "Oslo"}}, "bob cyd dan"},
		{store.Filter{
			Any: []store.Filter{
				leaf("city", store.Absent, nil),
				{All: []store.Filter{leaf("age", store.Ge, 36), leaf("vip", store.Eq, true)}},
			},
		}, "ada cyd"},
	} {
		if got := strings.Join(s.find(store.Query{Filter: test.f}), " "); got != test.want {
			s.t.Errorf("%+v: got %q, want %q", test.f, got, test.want)
		}
	}
}

func floatsCompare(s *suite) {
	const seed = 11
	r := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // a repeatable sequence is wanted
	var puts []store.Put
	var values []float64
	for len(values) < s.size(500, 5) {
		f := math.Float64frombits(r.Uint64())
		switch len(values) % 3 {
		case 1:
			f = r.Float64()
		case 2:
			f = float64(r.IntN(1e6)) / 100
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		puts = append(puts, s.putJSON(fmt.Sprintf("f%03d", len(values)), map[string]any{"v": f}))
		values = append(values, f)
	}
	s.must(puts...)
	for i, v := range values {
		id := fmt.Sprintf("f%03d", i)
		for _, f := range []store.Filter{
			{Path: "v", Op: store.Eq, Value: v},
			{Path: "v", Op: store.In, Value: []float64{v}},
		} {
			if got := s.find(store.Query{Filter: f}); !slices.Contains(got, id) {
				s.t.Errorf("%v is not found by %s", v, f.Op)
			}
		}
	}
}
