package catalog

import (
	"context"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// limits is a workspace's LimitPolicy as a document of the catalogue: one per workspace,
// with the workspace's id.
type limits struct{ *engage.LimitPolicy }

func (l limits) head() (string, string, *int64, *time.Time) {
	return l.Workspace, l.Workspace, &l.Version, &l.UpdatedAt
}

// Limits of a workspace; nil when none were ever set.
func (s *Snapshot) Limits(workspace string) *engage.LimitPolicy { return s.limits[workspace] }

// PutLimits sets a workspace's limits. Campaigns are not looked at: what they say of
// limits is judged when they decide.
func (c *Catalog) PutLimits(ctx context.Context, by string, p *engage.LimitPolicy, expected int64) error {
	return c.put(ctx, by, Limits, limits{p}, expected, nil)
}
