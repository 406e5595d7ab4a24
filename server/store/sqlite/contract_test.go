package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
	"github.com/footfall-engage/footfall/server/store/storetest"
)

func TestContract(t *testing.T) {
	for _, durability := range []string{sqlite.DurabilityProcess, sqlite.DurabilityPower} {
		t.Run(durability, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, collections []store.Collection, now func() time.Time) func() store.Store {
				o := sqlite.Options{Path: filepath.Join(t.TempDir(), "odd name?#%25.db"), Collections: collections, Durability: durability, Now: now}
				return func() store.Store { return open(t, o) }
			})
		})
	}
}

// open opens a store that the test closes; its clock is the machine's by default.
func open(t testing.TB, o sqlite.Options) *sqlite.Store {
	t.Helper()
	s, err := try(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func try(t testing.TB, o sqlite.Options) (*sqlite.Store, error) {
	t.Helper()
	if o.Now == nil {
		o.Now = time.Now
	}
	return sqlite.Open(t.Context(), o)
}
