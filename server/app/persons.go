package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
	"github.com/footfall-engage/footfall/server/profile"
)

// persons is what persons may ask for, as the gateway sees it: it asks for those of
// whom it has found that they are who asks.
type persons struct{ a *App }

// Person implements ingest.People.
func (p persons) Person(ctx context.Context, workspace, id string) (ingest.Person, error) {
	now, body, err := p.a.now(ctx, workspace, id)
	if err != nil {
		return ingest.Person{}, err
	}
	out := ingest.Person{ID: now, Known: !engage.MintedByInstall(now)}
	if body == nil {
		return out, nil
	}
	var x profile.Profile
	if err := json.Unmarshal(body, &x); err != nil {
		return ingest.Person{}, fmt.Errorf("decode profile: %w", err)
	}
	out.Known = out.Known || len(x.Identifiers) > 0 // of an earlier build's binding
	out.Preferences, out.Consents = x.Preferences, x.Consents
	return out, nil
}

// byApp names in a receipt and in the list of who has looked that the person asked.
func byApp(app string) string { return "app:" + app }

// Export implements ingest.People.
func (p persons) Export(ctx context.Context, workspace, id, app string) (func(context.Context, io.Writer) error, error) {
	write, err := privacy(p).Export(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	return write, p.a.people.Looked(ctx, workspace, engage.Access{
		Key: byApp(app), Name: "the person, by the app", Role: "person", Operation: "sdk-export",
	}, id)
}

// Erase implements ingest.People.
func (p persons) Erase(ctx context.Context, workspace, id, app string) (*engage.Erasure, error) {
	return privacy(p).Erase(ctx, workspace, id, byApp(app), "the person asked by the app", false)
}

// Erasure implements ingest.People.
func (p persons) Erasure(ctx context.Context, workspace, id string) (*engage.Erasure, error) {
	return p.a.people.Erasure(ctx, workspace, id)
}
