package app

import (
	"context"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/store"
)

// savedPeople are the persons of whom the store has a state.
type savedPeople struct{ states store.Store }

// Range implements audience.Source.
func (p savedPeople) Range(ctx context.Context, workspace, from, below string, f func(body []byte) error) (looked int, err error) {
	q := store.Query{Workspace: workspace, Filter: store.Filter{All: []store.Filter{
		{Path: "_id", Op: store.Ge, Value: "p:" + from}, {Path: "_id", Op: store.Lt, Value: "p:" + below},
	}}}
	err = p.states.Iterate(ctx, "state_act", q, func(d store.Doc) error {
		looked++
		if decide.RedirectOf(d.Body) != "" {
			return nil
		}
		return f(d.Body)
	})
	return looked, err
}
