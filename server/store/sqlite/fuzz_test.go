package sqlite_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// Whatever a filter says, it is refused or answered; it never breaks out of its
// workspace, and with its negation it splits the documents in two.
func FuzzFilter(f *testing.F) {
	s := open(f, sqlite.Options{Path: filepath.Join(f.TempDir(), "a.db"), Collections: docs(store.Index{Name: "a", Paths: []string{"a"}})})
	f.Cleanup(func() { _ = s.Close() })
	bodies := []string{`{"a":1}`, `{"a":"x","b":[1,"x"]}`, `{"a":{"b":true}}`, `{}`}
	for i, b := range bodies {
		p := put(string(rune('a'+i)), b)
		other := p
		other.Workspace = "other"
		if err := s.Apply(f.Context(), batch(p, other)); err != nil {
			f.Fatal(err)
		}
	}
	for _, seed := range []string{
		`{}`, `{"Path":"a","Op":"eq","Value":1}`, `{"Path":"a.b","Op":"exists"}`, `{"Any":[{"Path":"b","Op":"has","Value":"x"}]}`,
		`{"Not":{"Path":"_id","Op":"prefix","Value":"a"}}`, `{"Path":"a","Op":"in","Value":["x",1,true]}`, `{"Path":"a') OR 1--","Op":"eq","Value":1}`,
	} {
		f.Add([]byte(seed), "a")
	}
	f.Fuzz(func(t *testing.T, raw []byte, sort string) {
		var filter store.Filter
		if json.Unmarshal(raw, &filter) != nil {
			return
		}
		seen := 0
		for _, half := range []store.Filter{filter, {Not: &filter}} {
			page, err := s.Find(t.Context(), "docs", store.Query{Workspace: "w", Filter: half, Sort: sort})
			if err != nil {
				if !errors.Is(err, store.ErrBadQuery) {
					t.Fatalf("error is %v", err)
				}
				return
			}
			seen += len(page.Docs)
		}
		if seen != len(bodies) {
			t.Fatalf("the filter and its negation match %d documents of %d", seen, len(bodies))
		}
	})
}
