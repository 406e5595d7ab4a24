package catalog_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog/eventlogtest"
	"github.com/footfall-engage/footfall/server/rules"
)

func TestWhatIsLearnedIsInForceWhereNothingIsDeclared(t *testing.T) {
	memory := new(eventlogtest.Memory)
	c := open(t, memory.Open())
	seed(t, c) // tier is declared a string
	learn := func(workspace, name string, typ rules.Type) {
		t.Helper()
		must(t, c.Learn(t.Context(), "learned", workspace, func(types map[string]catalog.LearnedType) bool {
			types[name] = catalog.LearnedType{Type: typ, Public: name == "size", At: t0}
			return true
		}))
	}
	learn("acme", "points", rules.Number)
	learn("acme", "tier", rules.Number)
	learn("acme", "size", rules.String)
	before := c.Latest()
	must(t, c.Learn(t.Context(), "learned", "acme", func(map[string]catalog.LearnedType) bool { return false }))
	if c.Latest() != before {
		t.Error("nothing new made a revision")
	}
	want := map[string]rules.Type{"tier": rules.String, "points": rules.Number, "size": rules.String}
	for what, s := range map[string]*catalog.Snapshot{"now": c.Now(), "read again": open(t, memory.Open()).Now()} {
		if got := s.Attributes("acme"); !maps.Equal(got, want) {
			t.Errorf("%s: %v", what, got)
		}
		if got := s.Attributes("rival"); len(got) != 1 {
			t.Errorf("%s: the other workspace has %v", what, got)
		}
		if l := s.Learned("acme"); !l["size"].Public || l["points"].Public || !l["points"].At.Equal(t0) {
			t.Errorf("%s: learned %+v", what, l)
		}
	}
	if old, err := c.At(before - 3); err != nil || len(old.Attributes("acme")) != 1 {
		t.Errorf("before anything was learned: %v, %v", old.Attributes("acme"), err)
	}
}

func TestACampaignMayAskWhatWasLearnedAndKeepsIt(t *testing.T) {
	c := fresh(t)
	asks := campaign("acme", "rich", func(c *engage.Campaign) {
		c.Audience = []byte(`{"field":"attributes.points","op":"gt","value":10}`)
	})
	err := c.PutCampaign(t.Context(), by, asks, 0)
	wantError(t, "before it is known", err, engage.Invalid, "audience.field")
	teach := func(typ rules.Type) error {
		return c.Learn(t.Context(), "learned", "acme", func(types map[string]catalog.LearnedType) bool {
			delete(types, "points")
			if typ != "" {
				types["points"] = catalog.LearnedType{Type: typ, At: t0}
			}
			return true
		})
	}
	must(t, teach(rules.Number))
	must(t, c.PutCampaign(t.Context(), by, asks, 0))
	wantError(t, "another type", teach(rules.String), engage.Conflict, "attributes")
	wantError(t, "none", teach(""), engage.Conflict, "attributes")
	w := *c.Now().Workspaces["acme"]
	w.Attributes = map[string]rules.Type{"tier": rules.String, "points": rules.Bool}
	wantError(t, "declared otherwise", c.PutWorkspace(t.Context(), by, &w, catalog.AnyVersion), engage.Conflict, "attributes")
	w.Attributes = map[string]rules.Type{"tier": rules.String}
	must(t, c.PutWorkspace(t.Context(), by, &w, catalog.AnyVersion)) // learned is enough
	if c.Now().Attributes("acme")["points"] != rules.Number {
		t.Error("a refused change has had an effect")
	}
}

func TestNoMoreIsLearnedThanThereIsRoomFor(t *testing.T) {
	c := fresh(t)
	for name, change := range map[string]func(types map[string]catalog.LearnedType){
		"types": func(types map[string]catalog.LearnedType) {
			for i := range catalog.MaxLearned + 1 {
				types[fmt.Sprint("a", i)] = catalog.LearnedType{Type: rules.Bool}
			}
		},
		"types.a.b":  func(types map[string]catalog.LearnedType) { types["a.b"] = catalog.LearnedType{Type: rules.Bool} },
		"types.odd":  func(types map[string]catalog.LearnedType) { types["odd"] = catalog.LearnedType{Type: "odd"} },
		"types.ü @x": func(types map[string]catalog.LearnedType) { types["ü @x"] = catalog.LearnedType{Type: rules.Bool} },
	} {
		err := c.Learn(t.Context(), "learned", "acme", func(types map[string]catalog.LearnedType) bool {
			change(types)
			return true
		})
		var e *engage.Error
		if !errors.As(err, &e) || e.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.Learn(t.Context(), "learned", "nobody", func(types map[string]catalog.LearnedType) bool {
		types["a"] = catalog.LearnedType{Type: rules.Bool}
		return true
	}); engage.CodeOf(err) != engage.NotFound {
		t.Errorf("of a workspace that is not there: %v", err)
	}
}
