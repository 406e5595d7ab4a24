package app

import (
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/store"
)

// For tests that open a data folder or run a partition by themselves.

func StateCollections() []store.Collection { return stateCollections() }

func HotCollections() []store.Collection { return hotCollections() }

func Ledger(s store.Store) deliver.Ledger { return ledger{s} }

// LiveDevices is how many positions are kept in memory.
func (a *App) LiveDevices() int { return a.nearby.devices() }
