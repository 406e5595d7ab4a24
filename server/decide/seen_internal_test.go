package decide

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// What a gate sees is written as encoding/json writes a map of the same.
func TestATraceIsWrittenAsAMapOfTheSame(t *testing.T) {
	at := time.Date(2026, 11, 2, 9, 0, 0, 5e8, time.UTC)
	s := &step{}
	s.begin()
	defer s.done()
	a := &attempt{s: s}
	for _, c := range []struct {
		saw  func() *seen
		want map[string]any
	}{
		{func() *seen { return nil }, nil},
		{s.see, nil},
		{func() *seen { return s.see().int("count", 2).int("cap", -7).bool("closed", true) }, map[string]any{"count": 2, "cap": -7, "closed": true}},
		{
			func() *seen { return s.see().text("z", "Zoë <b>&\"\\/\u2028\xff").time("at", at).number("m", 33.9) },
			map[string]any{"z": "Zoë <b>&\"\\/\u2028\xff", "at": at, "m": 33.9},
		},
		{
			func() *seen {
				return s.see().number("a", 1e21).number("b", 1e-7).number("c", math.Copysign(0, -1)).number("d", 12)
			},
			map[string]any{"a": 1e21, "b": 1e-7, "c": math.Copysign(0, -1), "d": 12.0},
		},
		{
			func() *seen {
				return s.see().any("s", "Zoë <b>\u2028").any("t", at).any("b", true).any("i", -3).any("l", int64(1<<60)).any("f", 1e21).any("n", nil).any("r", engage.ReasonCap)
			},
			map[string]any{"s": "Zoë <b>\u2028", "t": at, "b": true, "i": -3, "l": int64(1 << 60), "f": 1e21, "n": nil, "r": engage.ReasonCap},
		},
		{func() *seen { return s.see().int("a", 1).number("b", math.NaN()).int("a", 2) }, map[string]any{"a": 2, "b": nil}},
		{
			func() *seen {
				return s.see().objects("over", []*seen{s.see().text("b", "x").int("a", 1), s.see()}).object("of", s.see().any("list", []string{"x"})).objects("none", nil)
			},
			map[string]any{"over": []any{map[string]any{"b": "x", "a": 1}, map[string]any{}}, "of": map[string]any{"list": []string{"x"}}, "none": []any{}},
		},
	} {
		got := a.told(c.saw())
		want := []byte(nil)
		if c.want != nil {
			b, err := json.Marshal(c.want)
			if err != nil {
				t.Fatal(err)
			}
			want = b
		}
		if string(got) != string(want) {
			t.Errorf("written as\n%s, want\n%s", got, want)
		}
	}
}

// What is kept of one moment's attempts is no memory that the next one uses.
func TestATraceIsNotWrittenOverByTheNext(t *testing.T) {
	s := &step{ws: "shop", p: &Person{}, config: &workspace{}}
	trigger := &engage.Trigger{Type: engage.TriggerEvent, Occasion: "o"}
	var kept []*engage.Decision
	for n := range int64(40) {
		s.begin()
		a := s.attempt(&campaign{}, s.moment(trigger), time.Time{}, Before{})
		for i := range int64(30) { // more than is reckoned with
			a.pass("cap", s.see().int("n", n).int("i", i))
		}
		kept = append(kept, a.d)
		s.done()
	}
	for n, d := range kept {
		for i, g := range d.Gates {
			if v := g.Saw.Values(); v["n"] != float64(n) || v["i"] != float64(i) {
				t.Fatalf("gate %d of %d saw %s", i, n, g.Saw)
			}
		}
	}
}
