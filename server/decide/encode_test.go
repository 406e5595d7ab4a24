package decide_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
)

// A person is written as encoding/json would write them, byte for byte, whatever the
// attributes and all else hold.
func TestAPersonIsWrittenAsJSONWritesThem(t *testing.T) {
	values := []any{
		"Delft", "", "Zoë <b>&\"\\/", "\u2028\x01\x7f", "\xff", "שלום 👋", true, false, 0.0, math.Copysign(0, -1), 1.0, -7.0, 7.5, 1e21, -1e20,
		float64(1 << 53), float64(1<<53) - 1, 1e-7, math.MaxFloat64,
		[]any{"a", "b<"},
		[]string{"x"},
		nil,
		map[string]any{"deep": 1.0},
	}
	rnd := rand.New(rand.NewPCG(7, 11)) //nolint:gosec // a fixed disorder
	at := time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)
	for n := range 200 {
		p := &decide.Person{V: 1}
		p.Workspace, p.ID, p.FirstSeen, p.LastSeen = "shop", "u1", at, at
		p.Claimed, p.Preferences = `"attributes":{"":null}`, map[string]engage.Attitude{"attribute_at": engage.Like, `"attribute_at":{"":0}`: "x"}
		p.Open = map[string]*engage.Decision{"d": {Trigger: engage.Trigger{Properties: json.RawMessage(`{"attributes":{"":null},"attribute_at":{"":0}}`)}}}
		if n > 0 {
			p.Attributes, p.AttributeAt = map[string]any{}, map[string]profile.Stamp{}
			for range rnd.IntN(12) {
				name := []string{"city", "größe", "", "a<b", "x", "y", "z", "long_name", "\""}[rnd.IntN(9)]
				p.Attributes[name] = values[rnd.IntN(len(values))]
				p.AttributeAt[name] = profile.Stamp(rnd.Int64N(1<<62) - 1<<61)
			}
			if n%3 == 0 {
				p.Attributes = nil // all were forgotten
			}
		}
		got, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		plain, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(plain) {
			t.Fatalf("got  %s\nwant %s", got, plain)
		}
		s, err := decide.Machine{}.Decode("shop/p:u1", got)
		if err != nil {
			t.Fatal(err)
		}
		var want decide.Person
		if err := json.Unmarshal(plain, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(s, &want) {
			t.Fatalf("read as %+v, want %+v", s, &want)
		}
	}
	p := &decide.Person{V: 1}
	p.Attributes = map[string]any{"x": math.Inf(1)}
	if b, err := p.Encode(); err == nil {
		t.Errorf("a number that JSON cannot have is written as %s", b)
	}
}

func BenchmarkPerson(b *testing.B) {
	p := &decide.Person{V: 1}
	p.Workspace, p.ID, p.Identifiers = "shop", "u9beb10dd422f73b1973510d82cfdd391", []string{"email:ada@example.com", "user_id:ada"}
	p.Attributes, p.AttributeAt = map[string]any{}, map[string]profile.Stamp{}
	for i := range 20 {
		name := "attribute_" + string(rune('a'+i))
		p.Attributes[name], p.AttributeAt[name] = []any{"some text", 12.5, 1234.0, true}[i%4], 1790000000000000
	}
	body, err := p.Encode()
	if err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"written/json": func() error { _, err := json.Marshal(p); return err },
		"written":      func() error { _, err := p.Encode(); return err },
		"read/json":    func() error { return json.Unmarshal(body, &decide.Person{}) },
		"read":         func() error { _, err := decide.Machine{}.Decode("shop/p:u1", body); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
