package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/measure"
	"github.com/footfall-engage/footfall/server/store"
)

// tallies of a campaign, of each partition.
func (r reads) tallies(ctx context.Context, workspace, campaign string) (map[string]*measure.Tally, error) {
	out := map[string]*measure.Tally{}
	q := store.Query{Workspace: workspace, IDPrefix: measure.Prefix(campaign)}
	err := r.a.states.Iterate(ctx, "state_act", q, func(d store.Doc) error {
		t, err := fromJSON[measure.Tally](d)
		out[measure.PartitionOf(d.ID)] = &t
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read tallies of %s: %w", campaign, err)
	}
	return out, nil
}

// Tallies implements api.Decisions.
func (r reads) Tallies(ctx context.Context, workspace, campaign string) (map[string]engage.Counts, error) {
	ts, err := r.tallies(ctx, workspace, campaign)
	return measure.Merge(slices.Collect(maps.Values(ts))...), err
}

// Counted implements api.Decisions. What goes on is read before what is over: an hour that
// ends meanwhile is read twice, and counts once.
func (r reads) Counted(ctx context.Context, workspace, campaign string, by time.Duration, from, before time.Time) ([]api.Counted, error) {
	ts, err := r.tallies(ctx, workspace, campaign)
	if err != nil {
		return nil, err
	}
	type of struct {
		from      int64
		partition string
	}
	found, collection := map[of]measure.Bucket{}, measure.Hours
	if by != time.Hour {
		collection = measure.Days
	}
	end := before.Add(time.Second - 1).Unix() // buckets begin at whole seconds
	for partition, t := range ts {
		b, day := t.Now()
		if by != time.Hour {
			b = day
		}
		if b.From >= from.Unix() && b.From < end {
			found[of{b.From, partition}] = b
		}
	}
	q := store.Query{Workspace: workspace, Filter: store.Filter{All: []store.Filter{
		{Path: store.IDPath, Op: store.Ge, Value: measure.BucketID(campaign, from.Unix(), "")},
		{Path: store.IDPath, Op: store.Lt, Value: measure.BucketID(campaign, end, "")},
	}}}
	err = r.a.states.Iterate(ctx, collection, q, func(d store.Doc) error {
		b, err := fromJSON[measure.Bucket](d)
		found[of{b.From, measure.PartitionOf(d.ID)}] = b
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read counts of %s: %w", campaign, err)
	}
	sums := map[int64]map[string]engage.Counts{}
	for at, b := range found {
		if len(b.Arms) == 0 {
			continue
		}
		if sums[at.from] == nil {
			sums[at.from] = map[string]engage.Counts{}
		}
		measure.MergeInto(sums[at.from], b.Arms)
	}
	out := make([]api.Counted, 0, len(sums))
	for _, at := range slices.Sorted(maps.Keys(sums)) {
		out = append(out, api.Counted{From: time.Unix(at, 0).UTC(), Arms: sums[at]})
	}
	return out, nil
}
