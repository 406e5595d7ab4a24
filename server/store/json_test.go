package store

import (
	"encoding/json"
	"strings"
	"testing"
)

// want is what encoding/json says of the body.
func wantObject(body []byte) (ok, deep bool) {
	depth, deepest, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	ok = json.Valid(body) && strings.HasPrefix(strings.TrimLeft(string(body), " \t\r\n"), "{")
	return ok, ok && deepest > MaxDepth
}

var bodies = []string{
	``, `{`, `{}`, ` {} `, "\t\r\n{\n}\n", `{}x`, `{}{}`, `[]`, `"a"`, `1`, `null`, "\v{}", "\x00", "{\x00}", "{}\x00",
	`{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a" : [1 , 2] , "b" : { } }`, `{a:1}`, `{"a":1,"a":2}`,
	`{"a":[}`, `{"a":[1,]}`, `{"a":[}]`, `{"a":[1]]`, `{"a":tru}`, `{"a":true}`, `{"a":false,"b":null}`, `{"a":nulll}`, `{"a":t`,
	`{"a":0}`, `{"a":-0}`, `{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`, `{"a":1.5e}`, `{"a":1e+}`, `{"a":1e+5}`, `{"a":1E-05}`, `{"a":+1}`, `{"a":1-}`, `{"a":0x1}`, `{"a":1`,
	`{"a":"\n\t\"\\\/\b\f\r"}`, `{"a":"\x"}`, `{"a":"\u12aF"}`, `{"a":"\u12g0"}`, `{"a":"\u123`, `{"a":"\`, `{"a":"\"}`, `{"a":"b`, `{"é":"日本語 ☂"}`,
	"{\"a\":\"12345678\n\"}", "{\"a\":\"1234567\x1f\"}", "{\"a\":\"123456\x7f\x80\"}", "{\"a\":\"\x01\x02\"}", `{"a":"1234567\u00e9234567890"}`,
	`{"a":"{[","b":"]}"}`,
}

func TestBodyIsAnObjectWhereEncodingJSONSaysSo(t *testing.T) {
	all := bodies
	for _, n := range []int{MaxDepth - 1, MaxDepth, MaxDepth + 1, 10_001} {
		all = append(all, `{"a":`+strings.Repeat("[", n-1)+strings.Repeat("]", n-1)+"}", strings.Repeat(`{"a":`, n)+"1"+strings.Repeat("}", n), `{"a":`+strings.Repeat("[", n)+"}")
	}
	for n := range 20 { // a special byte at each place of the eight that are looked at together
		for _, c := range []string{`"`, `\`, "\x1f", "\n", " ", "\x7f", "\x80", "\xff", "!", "#", "[", "]"} {
			all = append(all, `{"a":"`+strings.Repeat("x", n)+c+strings.Repeat("y", 9)+`"}`)
		}
	}
	for _, body := range all {
		ok, deep := isObject([]byte(body))
		wantOK, wantDeep := wantObject([]byte(body))
		if ok != wantOK || ok && deep != wantDeep {
			t.Errorf("%.80q: object %v, deep %v; want %v, %v", body, ok, deep, wantOK, wantDeep)
		}
	}
}

func FuzzObjectIsOneWhereEncodingJSONSaysSo(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ok, deep := isObject(body)
		wantOK, wantDeep := wantObject(body)
		if ok != wantOK || ok && deep != wantDeep {
			t.Errorf("%q: object %v, deep %v; want %v, %v", body, ok, deep, wantOK, wantDeep)
		}
	})
}

// BenchmarkIsObject looks at a body like a queued push, beside json.Valid.
func BenchmarkIsObject(b *testing.B) {
	body := []byte(`{"v":1,"lane":"push/apns/bench|live|ios|shop|rainy-day","due_us":1790000000000000,"state":"waiting","send":{` +
		strings.Repeat(`"title":"Umbrella?","n":12345,"data":{"sku":"7"},"channels":["push"],"at":"2026-11-22T12:00:00.123456Z",`, 9) + `"x":true}}`)
	b.Run("isObject", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			if ok, _ := isObject(body); !ok {
				b.Fatal("no object")
			}
		}
	})
	b.Run("json.Valid", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			if !json.Valid(body) {
				b.Fatal("no JSON")
			}
		}
	})
}
