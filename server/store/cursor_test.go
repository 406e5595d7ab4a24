package store_test

import (
	"encoding/base64"
	"errors"
	"math"
	"testing"

	"github.com/footfall-engage/footfall/server/store"
)

// A cursor is refused or, encoded again, means the same.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{`{}`, `{"q":1,"d":"a"}`, `{"q":1,"d":"a","i":1}`, `{"q":1,"d":"a","s":"eA=="}`, `{"q":1,"d":"a","b":true,"o":true}`, "%"} {
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(s)))
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := store.ParseCursor(s, 1, false)
		if err != nil {
			if !errors.Is(err, store.ErrBadQuery) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		first, err := p.Cursor(1)
		if err != nil {
			t.Fatal(err)
		}
		again, err := store.ParseCursor(first, 1, false)
		if err != nil || again != p {
			t.Fatalf("%#v became %#v, %v", p, again, err)
		}
	})
}

func TestCursorsKeepEveryKindOfValue(t *testing.T) {
	for _, v := range []any{
		nil, true, false, int64(math.MinInt64), 0.5, math.Inf(1), math.MaxFloat64, "", "a\x00\xff", store.Composite{},
	} {
		p := store.Position{Value: v, ID: "a"}
		s, err := p.Cursor(7)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := store.ParseCursor(s, 7, false); err != nil || got != p {
			t.Errorf("%#v became %#v, %v", p, got, err)
		}
		if _, err := store.ParseCursor(s, 7, true); (err == nil) != (v == nil) {
			t.Errorf("%#v in an order by id: error is %v", p, err)
		}
		if _, err := store.ParseCursor(s, 8, false); !errors.Is(err, store.ErrBadQuery) {
			t.Errorf("another query's: error is %v", err)
		}
	}
}

func TestForgedCursorsAreRefused(t *testing.T) {
	for _, s := range []string{
		`{"q":1}`, `{"q":1,"d":"a\u0000b"}`, `{"q":1,"d":"a","i":1,"b":true}`, `{"q":1,"d":"a","f":9221120237041090561}`, `[]`,
	} {
		if p, err := store.ParseCursor(base64.RawURLEncoding.EncodeToString([]byte(s)), 1, false); !errors.Is(err, store.ErrBadQuery) {
			t.Errorf("%s became %#v, %v", s, p, err)
		}
	}
}
