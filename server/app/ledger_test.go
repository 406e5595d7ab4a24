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
	delivertest.RunLedger(t, sqliteLedger)
}

func TestPhonesEndWithTheInboxInTheStore(t *testing.T) {
	delivertest.RunInbox(t, sqliteLedger)
}

func sqliteLedger(t *testing.T, clk clock.Clock) deliver.Ledger {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "hot.db"), Collections: app.HotCollections(), Now: clk.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, s) })
	return app.Ledger(s)
}
