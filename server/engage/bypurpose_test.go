package engage_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// ByPurpose is what a map is, read and written as JSON, too.
func TestByPurposeIsAsAMap(t *testing.T) {
	purposes := []engage.Purpose{
		engage.ConsentMarketing, engage.ConsentLocationForeground, engage.ConsentLocationBackground,
		engage.ConsentLocationPrecise, engage.ConsentProfiling, "", "17", `<odd> & "quoted"`, "\xff",
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		m, x := map[engage.Purpose]engage.Consent{}, engage.ByPurpose[engage.Consent]{}
		said, y := map[engage.Purpose]uint64{}, engage.ByPurpose[uint64]{}
		for range r.IntN(12) {
			p := purposes[r.IntN(len(purposes))]
			beforeX, beforeY := maps.Collect(x.All()), maps.Collect(y.All())
			oldX, oldY := x, y
			if r.IntN(3) == 0 {
				delete(m, p)
				delete(said, p)
				x, y = x.Without(p), y.Without(p)
			} else {
				c := engage.Consent{Granted: r.IntN(2) == 0, Source: "<i>", At: time.Unix(r.Int64N(1e9), r.Int64N(1e9)).UTC()}
				m[p], said[p] = c, r.Uint64()
				x, y = x.With(p, m[p]), y.With(p, said[p])
			}
			if !maps.Equal(beforeX, maps.Collect(oldX.All())) || !maps.Equal(beforeY, maps.Collect(oldY.All())) {
				t.Fatal("what others share has changed")
			}
		}
		for _, p := range purposes {
			c, ok := x.Of(p)
			if want, known := m[p]; c != want || ok != known {
				t.Fatalf("%q is %+v, %v; want %+v, %v", p, c, ok, want, known)
			}
		}
		sameJSON(t, m, x)
		sameJSON(t, said, y)
	}
	sameJSON(t, map[engage.Purpose]uint64(nil), engage.ByPurpose[uint64](nil))
	for _, text := range []string{`{"marketing":1,"marketing":2}`, `{}`, `null`, ` { "b" : 2, "a": 1 } `} {
		var m map[engage.Purpose]uint64
		var x engage.ByPurpose[uint64]
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(text), &x); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(engage.ByPurposeOf(m), x) || (m == nil) != (x == nil) {
			t.Errorf("%s is %v, want %v", text, x, m)
		}
	}
	var x engage.ByPurpose[uint64]
	if err := json.Unmarshal([]byte(`{"marketing":"yes"}`), &x); err == nil {
		t.Error("text was taken for a number")
	}
}

// sameJSON wants of both the same text: alone, and where an empty one is left out.
func sameJSON(t *testing.T, m, x any) {
	t.Helper()
	if reflect.ValueOf(m).Len() != reflect.ValueOf(x).Len() {
		t.Fatalf("%v has not the entries of %v", x, m)
	}
	want, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
}
