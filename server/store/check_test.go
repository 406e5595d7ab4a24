package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/server/store"
)

// nesting is how deep a decoded value goes.
func nesting(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, nesting(e))
		}
		return deepest + 1
	case []any:
		for _, e := range v {
			deepest = max(deepest, nesting(e))
		}
		return deepest + 1
	}
	return 0
}

// A body is taken exactly if it is one JSON object in UTF-8 that is not too deep.
func FuzzBody(f *testing.F) {
	deep := strings.Repeat(`{"a":[`, store.MaxDepth/2)
	for _, s := range []string{
		`{}`, ` {"a":"}{\"["} `, `[]`, `{"a":1}x`, `{`, "", `{"a":"` + "\xff" + `"}`, `{"a":"\\"}`,
		deep + strings.Repeat("]}", store.MaxDepth/2), deep + "{}" + strings.Repeat("]}", store.MaxDepth/2),
	} {
		f.Add([]byte(s))
	}
	declared := map[string]store.Collection{"docs": {Name: "docs"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		p := store.Put{Collection: "docs", Key: store.Key{Workspace: "w", ID: "1"}, Body: body}
		err := store.Batch{Puts: []store.Put{p}}.Check(declared)
		if err != nil && !errors.Is(err, store.ErrBadBatch) {
			t.Fatalf("error is %v", err)
		}
		var v map[string]any
		want := json.Unmarshal(body, &v) == nil && v != nil && utf8.Valid(body) && nesting(v) <= store.MaxDepth
		if want != (err == nil) && !hasTwice(body) {
			t.Fatalf("%q: error is %v", body, err)
		}
	})
}

// hasTwice says whether a member occurs twice, of which decoding sees one only.
func hasTwice(body []byte) bool {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return false
	}
	again, err := json.Marshal(v)
	return err == nil && bytes.Count(again, []byte(`:`)) < bytes.Count(body, []byte(`:`))
}

func TestScalarsAreTakenByKind(t *testing.T) {
	type status string
	type level uint8
	for _, test := range []struct{ in, want any }{
		{"a", "a"},
		{status("live"), "live"},
		{true, true},
		{7, int64(7)},
		{level(7), int64(7)},
		{uint64(math.MaxUint64), float64(math.MaxUint64)},
		{float32(0.5), 0.5},
		{json.Number("12"), int64(12)},
		{json.Number("1.5"), 1.5},
	} {
		if got, err := store.Scalar(test.in); err != nil || got != test.want {
			t.Errorf("%T %v became %T %v, %v", test.in, test.in, got, got, err)
		}
	}
	for _, v := range []any{nil, "\xff", math.NaN(), math.Inf(-1), []int{1}, struct{}{}, new(int), json.Number("x"), json.Number("1e999")} {
		if got, err := store.Scalar(v); err == nil {
			t.Errorf("%T %v was taken as %v", v, v, got)
		}
	}
}
