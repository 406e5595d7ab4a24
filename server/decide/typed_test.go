package decide_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
	"github.com/footfall-engage/footfall/server/rules"
)

// heard is a learner that notes what it hears.
type heard struct{ said map[string]bool }

func (h heard) Untyped(workspace, name string, t rules.Type, trusted bool) {
	h.said[fmt.Sprintf("%s %s %s %v", workspace, name, t, trusted)] = true
}

func typedWorld(t *testing.T) (*world, heard) {
	t.Helper()
	h := heard{map[string]bool{}}
	w := &world{T: t, Partition: steptest.New("act/0", decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}, Learner: h})}
	c, errs := decide.NewConfig([]decide.Workspace{{
		ID:         ws,
		Attributes: map[string]rules.Type{"points": rules.Number, "vip": rules.Bool, "born": rules.Time, "sizes": rules.Strings, "colour": rules.String},
		Doubtful:   map[string]bool{"colour": true},
	}})
	if errs != nil {
		t.Fatal(errs)
	}
	w.Adopt(c)
	t.Cleanup(func() {
		if err := w.Check(); err != nil {
			t.Error(err)
		}
	})
	return w, h
}

// lines are "<from> <field>: <reason>" of what was dropped.
func (w *world) lines() []string {
	w.Helper()
	var out []string
	for _, body := range w.Docs("dropped") {
		var d engage.Dropped
		if err := json.Unmarshal(body, &d); err != nil {
			w.Fatal(err)
		}
		if d.Code != engage.Invalid || d.Profile == "" || d.Workspace != ws {
			w.Errorf("a line is %+v", d)
		}
		out = append(out, fmt.Sprintf("%s %s: %s", d.From.Kind, d.Field, d.Reason))
	}
	slices.Sort(out)
	return out
}

func TestAValueOfAnotherTypeIsDroppedAlone(t *testing.T) {
	w, h := typedWorld(t)
	traits := map[string]any{
		"points": "12", "vip": true, "born": "tomorrow", "sizes": []any{"s", 1}, "colour": 7, "new": 3, "thing": map[string]any{"a": 1}, "city": "Delft",
	}
	tell := engage.Touch{V: 1, ID: "m1", From: engage.TouchSource{Kind: "till", Key: "k"}, Trusted: true, Identifiers: []string{"user_id:ada"}, Traits: traits}
	w.apply(touched(tell, 0))
	p := w.person(node("user_id:ada"))
	if got := fmt.Sprint(p.Attributes); got != "map[city:Delft colour:7 new:3 thing:map[a:1] vip:true]" {
		t.Errorf("attributes %s", got)
	}
	want := []string{
		"till traits.born: must be a time (RFC 3339), since the attribute is one; is a string",
		"till traits.points: must be a number, since the attribute is one; is a string",
		"till traits.sizes: must be a list of strings, since the attribute is one; is a list",
	}
	if got := w.lines(); !slices.Equal(got, want) {
		t.Errorf("dropped\n%s", strings.Join(got, "\n"))
	}
	// What only an app has taught binds no till, whose word teaches anew.
	if got := slices.Sorted(maps.Keys(h.said)); !slices.Equal(got, []string{"acme city string true", "acme colour number true", "acme new number true"}) {
		t.Errorf("the learner heard %v", got)
	}
}

func TestWhatAnAppSaysIsHeldToAllTypes(t *testing.T) {
	w, h := typedWorld(t)
	w.meet("ada")
	w.apply(entry(engage.KindTraits, person("ada"), sec, map[string]any{"points": 12.5, "vip": nil, "colour": 7, "new": 3}))
	if got := fmt.Sprint(w.person("ada").Attributes); got != "map[new:3 points:12.5]" {
		t.Errorf("attributes %s", got)
	}
	if got := w.lines(); !slices.Equal(got, []string{"sdk traits.colour: must be a string, since the attribute is one; is a number"}) {
		t.Errorf("dropped %v", got)
	}
	if got := slices.Sorted(maps.Keys(h.said)); !slices.Equal(got, []string{"acme new number false"}) {
		t.Errorf("the learner heard %v", got)
	}
	said := ""
	for _, body := range w.Docs("timeline") {
		var e engage.TimelineEntry
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == engage.KindTraits {
			said = string(e.Data)
		}
	}
	if said != `{"kept":{"new":3,"points":12.5,"vip":null},"left_out":["colour"]}` {
		t.Errorf("the timeline says %s", said)
	}
	// A value that no attribute can have is left out beside one of another type.
	w.apply(engage.Entry{Kind: engage.KindTraits, Key: person("ada"), At: t0.Add(2 * sec), Occurred: t0.Add(2 * sec), Body: []byte(`{"points":"x","far":1e999,"vip":true}`)})
	if got := fmt.Sprint(w.person("ada").Attributes); got != "map[new:3 points:12.5 vip:true]" {
		t.Errorf("attributes %s", got)
	}
}

func TestManyValuesOfOtherTypesAreListedInPart(t *testing.T) {
	h := heard{map[string]bool{}}
	w := &world{T: t, Partition: steptest.New("act/0", decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}, Learner: h})}
	types, traits := map[string]rules.Type{}, map[string]any{}
	for i := range 30 {
		types[fmt.Sprintf("n%02d", i)], traits[fmt.Sprintf("n%02d", i)] = rules.Number, "no"
	}
	c, errs := decide.NewConfig([]decide.Workspace{{ID: ws, Attributes: types}})
	if errs != nil {
		t.Fatal(errs)
	}
	w.Adopt(c)
	w.apply(touched(engage.Touch{V: 1, ID: "m1", From: engage.TouchSource{Kind: "server"}, Trusted: true, Identifiers: []string{"user_id:ada"}, Traits: traits}, 0))
	lines := w.lines()
	if len(lines) != 21 || !slices.Contains(lines, "server traits: 10 more are not of their attributes' types") {
		t.Errorf("%d lines: %v", len(lines), lines)
	}
}
