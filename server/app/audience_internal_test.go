package app

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/audience"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// An audience is counted over the states as partitions save them: who has moved, what is
// no person, and another workspace's persons are not in it.
func TestAnAudienceIsCountedOverSavedStates(t *testing.T) {
	states, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "states.db"), Collections: []store.Collection{{Name: "state_act"}}, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := states.Close(); err != nil {
			t.Error(err)
		}
	})
	var batch store.Batch
	put := func(ws, id string, s engage.State) {
		body, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		batch.Puts = append(batch.Puts, store.Put{Collection: "state_act", Key: store.Key{Workspace: ws, ID: id}, Body: body, If: store.AnyVersion})
	}
	const persons = 600
	for i := range persons {
		for _, ws := range []string{"acme", "other"} {
			p := &decide.Person{V: 1}
			p.Workspace, p.ID = ws, engage.PersonID(ws, fmt.Sprintf("user_id:%d", i))
			p.Attributes = map[string]any{"n": float64(i)}
			put(ws, "p:"+p.ID, p)
			put(ws, "p:"+engage.PersonID(ws, fmt.Sprintf("email:%d", i)), &decide.Moved{V: 1, Redirect: p.ID})
			put(ws, fmt.Sprintf("d:user_id:%d", i), &decide.Binding{V: 1, Profile: p.ID})
		}
	}
	if err := states.Apply(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	rule, err := rules.Parse(json.RawMessage(`{"field":"attributes.n","op":"lt","value":100}`), rules.PersonSchema(map[string]rules.Type{"n": rules.Number}))
	if err != nil {
		t.Fatal(err)
	}
	counter := audience.New(audience.Options{Source: savedPeople{states}, Read: decide.ReadProfile, Budget: time.Minute})
	a, err := counter.Count(t.Context(), audience.Question{Workspace: "acme", Rule: rule, Now: time.Unix(1e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if !a.Exact || a.Looked != persons || a.Matching.Estimate != 100 || a.Unreadable != 0 {
		t.Errorf("%+v", a)
	}
}
