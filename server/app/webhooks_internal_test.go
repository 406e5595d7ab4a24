package app

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/config"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/webhook"
	"github.com/footfall-engage/footfall/server/webhook/webhooktest"
)

// The queue of webhook events in the store keeps the contract, also when the store is
// opened again.
func TestWebhookEventsInTheStoreKeepTheContract(t *testing.T) {
	c := config.Default()
	c.DataDir = t.TempDir()
	var open store.Store
	closing := func() {
		if open != nil {
			if err := open.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	defer func() { closing() }()
	now := time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC)
	webhooktest.RunQueue(t, func(t *testing.T) webhook.Queue {
		closing()
		var err error
		open, err = openSQLite(t.Context(), &c, "hot.db", hotCollections(), nil, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		return hookQueue{open}
	})
}
