package app

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// Accepted are the sequence numbers of an install's items that have taken effect,
// as sorted pairs of first and last. Flush first. It is for audits.
func (a *App) Accepted(ctx context.Context, workspace, install string) ([][2]uint64, error) {
	in, err := readInstall(ctx, a.states, workspace, install)
	if err != nil || in == nil {
		return nil, err
	}
	return in.Accepted, nil
}

// Decisions calls f for every decision that is kept of a workspace. Flush first.
func (a *App) Decisions(ctx context.Context, workspace string, f func(engage.Decision) error) error {
	return a.states.Iterate(ctx, "decisions", store.Query{Workspace: workspace}, func(d store.Doc) error {
		var dec engage.Decision
		if err := json.Unmarshal(d.Body, &dec); err != nil {
			return fmt.Errorf("decode decision %s: %w", d.ID, err)
		}
		return f(dec)
	})
}

// Timeline calls f for everything that is kept of what happened to the persons of
// a workspace, person by person. Flush first.
func (a *App) Timeline(ctx context.Context, workspace string, f func(engage.TimelineEntry) error) error {
	return a.states.Iterate(ctx, "timeline", store.Query{Workspace: workspace}, func(d store.Doc) error {
		var e engage.TimelineEntry
		if err := json.Unmarshal(d.Body, &e); err != nil {
			return fmt.Errorf("decode timeline entry %s: %w", d.ID, err)
		}
		return f(e)
	})
}
