package app_test

import (
	"path/filepath"
	"testing"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/deliver/delivertest"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

func TestTheStoreKeepsTheLedgersContract(t *testing.T) {
	delivertest.RunLedger(t, func(t *testing.T, clk clock.Clock) deliver.Ledger {
		s, err := sqlite.Open(t.Context(), sqlite.Options{
			Path: filepath.Join(t.TempDir(), "hot.db"), Collections: app.HotCollections(), Now: clk.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closing(t, s) })
		return app.Ledger(s)
	})
}
