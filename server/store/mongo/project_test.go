package mongo_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/mongo"
)

func TestProjections(t *testing.T) {
	long := strings.Repeat("x", store.MaxPathBytes)
	for body, want := range map[string]map[string]any{
		`{}`: {},
		` { "a" : 1 , "b":{"c":"x\n"}, "d":[1,"1",1,null,true,{"e":1},[2]] } `: {
			"a": int64(1), "b": mongo.Composite, "b/c": "x\n", "d": mongo.Composite, "d@": bson.A{int64(1), "1", true},
		},
		`{"n":null,"":1,"a.b":1,"a$":{"b":1},"é":1,"x-y_Z0":false}`: {"x-y_Z0": false},
		`{"a":-0.0,"b":1e999,"c":-9223372036854775808,"d":9223372036854775808,"e":1E2,"f":-1e999}`: {
			"a": 0.0, "b": math.MaxFloat64, "c": int64(math.MinInt64), "d": 9223372036854775808.0, "e": 100.0, "f": -math.MaxFloat64,
		},
		`{"a":"\ud800","b":"\ud83d\ude00","c":"a\u0000"}`: {"a": "\ufffd", "b": "😀", "c": "a\x00"},
		`{"` + long + `":{"a":1},"x` + long + `":1}`:      {long: mongo.Composite},
	} {
		if got := mongo.Project([]byte(body)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", body, got, want)
		}
	}
}

// Whatever the body, its projection is what encoding/json finds along each path.
func FuzzProject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":{"b":[1,"x",null]},"c":-1.5e3}`, `{"a":{},"b":{"a":[[]]}}`, `{"a":"\"}","b":true}`} {
		f.Add([]byte(s))
	}
	declared := map[string]store.Collection{"docs": {Name: "docs"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		if batch(put("a", string(body))).Check(declared) != nil {
			return
		}
		got := mongo.Project(body)
		if _, err := bson.Marshal(got); err != nil {
			t.Fatal(err)
		}
		var whole map[string]any
		if json.Unmarshal(body, &whole) != nil {
			return // a number beyond a double's range
		}
		again, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		for path, v := range got {
			if s, isText := v.(string); isText && !utf8.ValidString(s) || len(strings.TrimSuffix(path, "@")) > store.MaxPathBytes {
				t.Fatalf("%q has %#v", path, v)
			}
		}
		// Without repeated members, which encoding/json takes last, nothing is lost.
		if strings.Count(string(again), ":") != strings.Count(string(body), ":") {
			return
		}
		compare(t, got, whole, "")
	})
}

func compare(t *testing.T, got map[string]any, m map[string]any, prefix string) {
	for name, v := range m {
		path := prefix + name
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" || len(path) > store.MaxPathBytes {
			continue
		}
		have := got[path]
		switch v := v.(type) {
		case nil:
			if have != nil {
				t.Fatalf("%q is null and became %#v", path, have)
			}
		case map[string]any:
			if have != mongo.Composite {
				t.Fatalf("%q is an object and became %#v", path, have)
			}
			compare(t, got, v, path+"/")
		case []any:
			if have != mongo.Composite || got[path+"@"] == nil {
				t.Fatalf("%q is an array and became %#v", path, have)
			}
		case float64:
			i, isInt := have.(int64)
			if f, isFloat := have.(float64); isInt && float64(i) != v || isFloat && f != v || !isInt && !isFloat {
				t.Fatalf("%q is %v and became %#v", path, v, have)
			}
		default:
			if have != v {
				t.Fatalf("%q is %#v and became %#v", path, v, have)
			}
		}
	}
}
