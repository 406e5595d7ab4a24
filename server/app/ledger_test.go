package app_test

import (
	"path/filepath"
	"testing"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/deliver/delivertest"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store/mongo"
	"github.com/footfall-engage/footfall/server/store/mongo/mongotest"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

func TestTheStoreKeepsTheLedgersContract(t *testing.T) {
	delivertest.RunLedger(t, sqliteLedger)
}

func TestPhonesEndWithTheInboxInTheStore(t *testing.T) {
	delivertest.RunInbox(t, sqliteLedger)
}

// The same contract on MongoDB. What needs concurrency on the server is not for FerretDB.
func TestMongoDBKeepsTheLedgersContract(t *testing.T) {
	_, serial := mongotest.Peer(t)
	if serial {
		delivertest.RunLedgerSerially(t, mongoLedger)
		return
	}
	delivertest.RunLedger(t, mongoLedger)
}

func TestPhonesEndWithTheInboxInMongoDB(t *testing.T) {
	if _, serial := mongotest.Peer(t); serial {
		t.Skip("phones and sends change an inbox at once, which needs a MongoDB: " + mongotest.Variable)
	}
	delivertest.RunInbox(t, mongoLedger)
}

func mongoLedger(t *testing.T, clk clock.Clock) deliver.Ledger {
	t.Helper()
	uri, serial := mongotest.Peer(t)
	s, err := mongo.Open(t.Context(), mongo.Options{
		URI: engage.Secret(uri), Database: mongotest.Database(t, uri), Collections: app.HotCollections(), Now: clk.Now, Serial: serial,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, s) })
	return app.Ledger(s)
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
