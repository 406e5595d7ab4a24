package sqlite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// What was deleted is in no file, wherever trees that were balanced under other documents
// had moved it before; nothing that was left is harmed, and nothing comes back with what
// is written later.
func TestScrubbedFilesHaveNothingOfWhatWasDeleted(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's dice
		dir := t.TempDir()
		path := filepath.Join(dir, "s.db")
		s, err := sqlite.Open(t.Context(), sqlite.Options{
			Path: path, Now: time.Now,
			Collections: []store.Collection{{Name: "docs", Indexes: []store.Index{{Name: "who", Paths: []string{"who"}}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		put := func(id, who string, n int) {
			body, err := json.Marshal(map[string]string{"who": who, "text": strings.Repeat("x", n)})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Apply(t.Context(), store.Batch{Puts: []store.Put{{Collection: "docs", Key: store.Key{Workspace: "w", ID: id}, Body: body, If: store.AnyVersion}}}); err != nil {
				t.Fatal(err)
			}
			want[id] = string(body)
		}
		remove := func(id string) {
			if err := s.Apply(t.Context(), store.Batch{Deletes: []store.Delete{{Collection: "docs", Key: store.Key{Workspace: "w", ID: id}}}}); err != nil {
				t.Fatal(err)
			}
			delete(want, id)
		}
		adas := map[string]bool{}
		churn := func(n int, ada bool) {
			for range n {
				i := rng.IntN(300)
				id, who := fmt.Sprintf("%x-ben-%d", i%7, i), fmt.Sprint("ben-", i)
				if ada && rng.IntN(3) == 0 {
					id, who = fmt.Sprintf("%x-ada-lovelace-%d", i%7, i), fmt.Sprint("ada-lovelace-", i)
					adas[id] = true
				}
				if rng.IntN(4) == 0 {
					remove(id)
				} else {
					put(id, who, rng.IntN([]int{100, 900, 6000}[rng.IntN(3)]))
				}
			}
		}
		churn(1500, true)
		for id := range adas {
			remove(id)
		}
		var beside sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		beside.Go(func() { // somebody writes meanwhile
			for i := 0; ctx.Err() == nil; i++ {
				body := fmt.Appendf(nil, `{"who":"other","text":"%s"}`, strings.Repeat("y", i%2000))
				if err := s.Apply(ctx, store.Batch{Puts: []store.Put{{Collection: "docs", Key: store.Key{Workspace: "other", ID: fmt.Sprint(i % 50)}, Body: body, If: store.AnyVersion}}}); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
		err = s.Scrub(t.Context())
		stop()
		beside.Wait()
		if err != nil {
			t.Fatal(err)
		}
		left := func(when string) {
			t.Helper()
			for _, name := range []string{"s.db", "s.db-wal"} {
				b, err := os.ReadFile(filepath.Join(dir, name))
				if err == nil && bytes.Contains(b, []byte("ada-lovelace")) {
					t.Errorf("seed %d: %s %s still has it", seed, when, name)
				}
			}
		}
		left("scrubbed")
		churn(500, false)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		left("later")
		s, err = sqlite.Open(t.Context(), sqlite.Options{Path: path, Now: time.Now, Collections: []store.Collection{{Name: "docs", Indexes: []store.Index{{Name: "who", Paths: []string{"who"}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]string{}
		if err := s.Iterate(t.Context(), "docs", store.Query{Workspace: "w"}, func(d store.Doc) error {
			have[d.ID] = string(d.Body)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(have) != len(want) {
			t.Errorf("seed %d: %d documents of %d", seed, len(have), len(want))
		}
		for id, body := range want {
			if have[id] != body {
				t.Errorf("seed %d: %s is %.80s, want %.80s", seed, id, have[id], body)
			}
		}
		if problems := s.Integrity(t); len(problems) > 0 {
			t.Errorf("seed %d: %v", seed, problems)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
