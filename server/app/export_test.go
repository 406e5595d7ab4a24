package app

import (
	"log/slog"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/measure"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/situate"
	"github.com/footfall-engage/footfall/server/store"
)

// For tests that open a data folder or run a partition by themselves.

func StateCollections() []store.Collection { return stateCollections() }

func AllCollections() []store.Collection {
	return append(stateCollections(), store.Collection{Name: "outbox", Opaque: true})
}

func MachineOf(kind string) engage.Machine {
	if kind == "in" {
		return situate.Machine{}
	}
	return decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}}
}

func ConfigsOf(kind string, c *catalog.Catalog) partition.Configs {
	if kind == "in" {
		return &configs[*situate.Config]{catalog: c, compile: situateConfig}
	}
	return &configs[*decide.Config]{catalog: c, compile: decideConfig(slog.New(slog.DiscardHandler))}
}

func HotCollections() []store.Collection { return hotCollections() }

func Ledger(s store.Store) deliver.Ledger { return ledger{s} }
