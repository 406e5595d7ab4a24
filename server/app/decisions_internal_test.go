package app

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// asking is a store that remembers what it was asked of decisions and of counts.
type asking struct {
	*sqlite.Store
	of map[string][]store.Query
}

func (s *asking) Find(ctx context.Context, collection string, q store.Query) (store.Page, error) {
	s.of[collection] = append(s.of[collection], q)
	return s.Store.Find(ctx, collection, q)
}

func (s *asking) Iterate(ctx context.Context, collection string, q store.Query, f func(store.Doc) error) error {
	s.of[collection] = append(s.of[collection], q)
	return s.Store.Iterate(ctx, collection, q, f)
}

// Whatever decisions are searched by, an index gives them in the order of time, and what a
// campaign counted is a range of ids.
func TestDecisionsAndCountsAreSearchedByTheirIndexes(t *testing.T) {
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "states.db"), Collections: stateCollections(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &asking{db, map[string][]store.Query{}}
	r := reads{&App{states: s}}
	at := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	var batch store.Batch
	for i, place := range []string{"cafe", "bar", "cafe"} {
		d := engage.Decision{V: 1, ID: string(rune('a' + i)), Campaign: "rain", At: at, AtUS: at.UnixMicro() + int64(i), State: engage.Sent, Trigger: engage.Trigger{Place: place}}
		body, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		batch.Puts = append(batch.Puts, store.Put{Collection: "decisions", Key: store.Key{Workspace: "acme", ID: d.ID}, Body: body, If: store.AnyVersion})
	}
	if err := db.Apply(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	page, err := r.Decisions(t.Context(), "acme", api.DecisionFilter{Place: "cafe"}, "", 10)
	if err != nil || len(page.Items) != 2 || page.Items[0].ID != "c" || page.Items[1].ID != "a" {
		t.Errorf("of the café: %+v, %v", page.Items, err)
	}
	for _, x := range []struct {
		f     api.DecisionFilter
		index string
	}{
		{api.DecisionFilter{}, "at"},
		{api.DecisionFilter{From: at, Before: at.Add(time.Hour), State: engage.Suppressed, Reason: engage.ReasonCap}, "at"},
		{api.DecisionFilter{Campaign: "rain", Reason: engage.ReasonCap}, "campaign"},
		{api.DecisionFilter{Campaign: "rain", From: at}, "campaign"},
		{api.DecisionFilter{Place: "cafe", State: engage.Sent, Before: at}, "place"},
		{api.DecisionFilter{Profile: engage.PersonID("acme", "user_id:ada")}, "profile"},
	} {
		s.of["decisions"] = nil
		if _, err := r.Decisions(t.Context(), "acme", x.f, "", 10); err != nil {
			t.Fatal(err)
		}
		for _, q := range s.of["decisions"] {
			plans, err := db.Explain(t.Context(), "decisions", q)
			if err != nil {
				t.Fatal(err)
			}
			for _, plan := range plans {
				if !strings.HasPrefix(plan, "SEARCH ") || !strings.Contains(plan, "ix.decisions."+x.index+" ") || strings.Contains(plan, "B-TREE") {
					t.Errorf("%+v: %s", x.f, plan)
				}
			}
		}
	}
	for _, by := range []time.Duration{time.Hour, 24 * time.Hour} {
		if _, err := r.Counted(t.Context(), "acme", "rain", by, at, at.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	for _, collection := range []string{"tally_hours", "tally_days"} {
		if len(s.of[collection]) != 1 {
			t.Errorf("%s was asked %d times", collection, len(s.of[collection]))
		}
		for _, q := range s.of[collection] {
			plans, err := db.Explain(t.Context(), collection, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, plan := range plans {
				if !strings.HasPrefix(plan, "SEARCH ") || !strings.Contains(plan, "id>? AND id<?") || strings.Contains(plan, "B-TREE") {
					t.Errorf("%s: %s", collection, plan)
				}
			}
		}
	}
}
