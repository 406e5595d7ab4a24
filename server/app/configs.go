package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/situate"
)

// configs shows the catalogue to partitions, compiled for a stage: once per
// revision, however many partitions adopt it.
type configs[C any] struct {
	catalog *catalog.Catalog
	compile func(*catalog.Snapshot) (C, error)

	mu   sync.Mutex
	made map[uint64]C
}

// maxCompiled bounds the revisions that are kept compiled.
const maxCompiled = 4

// Latest implements partition.Configs.
func (c *configs[C]) Latest() uint64 { return c.catalog.Latest() }

// Changed implements partition.Configs.
func (c *configs[C]) Changed() <-chan struct{} { return c.catalog.Changed() }

// At implements partition.Configs.
func (c *configs[C]) At(ctx context.Context, revision uint64) (any, error) {
	if revision > c.catalog.Latest() { // of a server that had the log before or beside this one
		if err := c.catalog.Refresh(ctx); err != nil {
			return nil, err
		}
	}
	return c.at(revision)
}

func (c *configs[C]) at(revision uint64) (C, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if made, ok := c.made[revision]; ok {
		return made, nil
	}
	var none C
	s, err := c.catalog.At(revision)
	if err != nil {
		return none, err
	}
	made, err := c.compile(s)
	if err != nil {
		return none, err
	}
	if len(c.made) >= maxCompiled {
		clear(c.made)
	}
	if c.made == nil {
		c.made = map[uint64]C{}
	}
	c.made[revision] = made
	return made, nil
}

// situateConfig compiles places: of each revision what differs from the one that was
// compiled before it. Configs calls it one at a time.
func situateConfig() func(*catalog.Snapshot) (*situate.Config, error) {
	var before *situate.Config
	return func(s *catalog.Snapshot) (*situate.Config, error) {
		in := make([]situate.Workspace, 0, len(s.Workspaces))
		for ws, w := range s.Workspaces {
			in = append(in, situate.Workspace{
				ID: ws, Places: s.Places(ws), Doubts: w.LocationPolicy.Doubts(),
				HearsRegions: slices.ContainsFunc(s.Campaigns(ws), func(c *engage.Campaign) bool {
					return c.Status == engage.Live && c.Trigger.Type == engage.TriggerRegion
				}),
				WantsOccupancy: slices.ContainsFunc(s.Campaigns(ws), decide.AsksOccupancy),
				HearsBeacons: slices.ContainsFunc(s.Campaigns(ws), func(c *engage.Campaign) bool {
					return c.Status == engage.Live && c.Trigger.Type == engage.TriggerBeacon
				}),
			})
		}
		c, err := situate.NewConfig(before, in)
		if err == nil {
			before = c
		}
		return c, err
	}
}

func decideConfig(log *slog.Logger) func(*catalog.Snapshot) (*decide.Config, error) {
	return func(s *catalog.Snapshot) (*decide.Config, error) {
		var in []decide.Workspace
		for ws, w := range s.Workspaces {
			in = append(in, decide.Workspace{
				ID: ws, Attributes: s.AttributesWith(w), Doubtful: doubtful(s, w), Places: s.Places(ws), Campaigns: s.Campaigns(ws), Webhooks: s.WebhookRules(ws), Stop: w.Stop,
				Limits: s.Limits(ws), Offers: s.Offers(ws), Catalogues: s.Catalogues(ws),
			})
		}
		c, errs := decide.NewConfig(in)
		for _, err := range errs {
			log.Error("campaign left out", "revision", s.Revision, "error", err)
		}
		return c, nil
	}
}
