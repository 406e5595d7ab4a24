package app

import (
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/store"
)

// History reads what a store has.
func History(states store.Store) api.History { return reads{&App{states: states}} }

// States is where the app keeps its states.
func (a *App) States() store.Store { return a.states }

// People reads persons from what a store has.
func People(states store.Store) api.People { return reads{&App{states: states}} }
