package app

import (
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/ingest"
	"github.com/footfall-engage/footfall/server/situate"
	"github.com/footfall-engage/footfall/server/store"
)

// For tests that open a data folder or run a partition by themselves.

func StateCollections() []store.Collection { return stateCollections() }

func HotCollections() []store.Collection { return hotCollections() }

func Ledger(s store.Store) deliver.Ledger { return ledger{s} }

// LiveDevices is how many positions are kept in memory.
func (a *App) LiveDevices() int { return a.nearby.devices() }

// AnotherGateway is a second one on the server's catalogue, log and stores, which
// knows of what phones said only what is in them: as another process would.
func (a *App) AnotherGateway() (*ingest.Gateway, error) {
	o := a.gatewayOptions(&configs[*situate.Config]{catalog: a.catalog, compile: situateConfig()})
	o.Registerer = nil // the names are taken
	return ingest.New(o)
}
