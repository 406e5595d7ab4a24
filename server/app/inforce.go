package app

import (
	"context"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

// inForceWithin bounds how long an answer waits for a change to be in force. A
// partition that waits for its log or store adopts later.
const inForceWithin = 5 * time.Second

// adopted is the catalogue as the API has it: a change is answered when every
// partition will adopt it before anything that is appended from then on. So who has
// made a place may send a phone there at once, also while the partitions compile an
// import of thousands.
type adopted struct {
	*catalog.Catalog
	a *App
}

func (c adopted) wait(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	revision := c.Latest()
	ctx, cancel := context.WithTimeout(ctx, inForceWithin)
	defer cancel()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for _, p := range c.a.partitions() {
		for !p.Knows(revision) {
			select {
			case <-poll.C:
			case <-ctx.Done():
				return nil // it is made, and will be in force
			}
		}
	}
	return nil
}

// PutWorkspace is the catalogue's, and so are the others.
func (c adopted) PutWorkspace(ctx context.Context, by string, w *catalog.Workspace, expected int64) error {
	return c.wait(ctx, c.Catalog.PutWorkspace(ctx, by, w, expected))
}

// StopAll implements api.Catalog.
func (c adopted) StopAll(ctx context.Context, by, workspace string, stop *engage.Stop) error {
	return c.wait(ctx, c.Catalog.StopAll(ctx, by, workspace, stop))
}

// PutPlace implements api.Catalog.
func (c adopted) PutPlace(ctx context.Context, by string, p *engage.Place, expected int64) error {
	return c.wait(ctx, c.Catalog.PutPlace(ctx, by, p, expected))
}

// DeletePlace implements api.Catalog.
func (c adopted) DeletePlace(ctx context.Context, by, workspace, id string, expected int64) error {
	return c.wait(ctx, c.Catalog.DeletePlace(ctx, by, workspace, id, expected))
}

// PutLimits implements api.Catalog.
func (c adopted) PutLimits(ctx context.Context, by string, p *engage.LimitPolicy, expected int64) error {
	return c.wait(ctx, c.Catalog.PutLimits(ctx, by, p, expected))
}

// PutCampaign implements api.Catalog.
func (c adopted) PutCampaign(ctx context.Context, by string, cam *engage.Campaign, expected int64) error {
	return c.wait(ctx, c.Catalog.PutCampaign(ctx, by, cam, expected))
}

// DeleteCampaign implements api.Catalog.
func (c adopted) DeleteCampaign(ctx context.Context, by, workspace, id string, expected int64) error {
	return c.wait(ctx, c.Catalog.DeleteCampaign(ctx, by, workspace, id, expected))
}

// PutCatalogue implements api.Catalog.
func (c adopted) PutCatalogue(ctx context.Context, by string, k *engage.Catalogue, expected int64) error {
	return c.wait(ctx, c.Catalog.PutCatalogue(ctx, by, k, expected))
}

// DeleteCatalogue implements api.Catalog.
func (c adopted) DeleteCatalogue(ctx context.Context, by, workspace, id string, expected int64) error {
	return c.wait(ctx, c.Catalog.DeleteCatalogue(ctx, by, workspace, id, expected))
}

// PutWebhook implements api.Catalog.
func (c adopted) PutWebhook(ctx context.Context, by string, w *catalog.Webhook, expected int64) error {
	return c.wait(ctx, c.Catalog.PutWebhook(ctx, by, w, expected))
}

// DeleteWebhook implements api.Catalog.
func (c adopted) DeleteWebhook(ctx context.Context, by, workspace, id string, expected int64) error {
	return c.wait(ctx, c.Catalog.DeleteWebhook(ctx, by, workspace, id, expected))
}

// Announce implements api.Catalog. It is of a request, but has no context.
func (c adopted) Announce() {
	c.Catalog.Announce()
	_ = c.wait(context.Background(), nil) // bounded, and no error can come of it
}

// Learn implements api.Catalog.
func (c adopted) Learn(ctx context.Context, by, workspace string, change func(types map[string]catalog.LearnedType) bool) error {
	return c.wait(ctx, c.Catalog.Learn(ctx, by, workspace, change))
}
