package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

const (
	// occupancyEvery is how often the counts are looked at, occupancyAgain how often they
	// are told although they are the same.
	occupancyEvery = time.Minute
	occupancyAgain = engage.MaxOccupancyAge / 2
	// maxOccupied bounds the places of one record: the fullest.
	maxOccupied = 5000
)

// tellOccupancy tells situate how full places are, in workspaces where a live campaign asks
// for it: as records in every partition, so that a replay knows the same.
func (a *App) tellOccupancy(ctx context.Context) error {
	type told struct {
		at time.Time
		is engage.Occupancy
	}
	last := map[string]told{}
	for {
		now, s := a.o.Clock.Now(), a.catalog.Now()
		for _, ws := range slices.Sorted(maps.Keys(s.Workspaces)) {
			if !slices.ContainsFunc(s.Campaigns(ws), decide.AsksOccupancy) {
				continue
			}
			is, before := occupancyOf(a.insiders.counts(ws)), last[ws]
			if !before.at.IsZero() && now.Sub(before.at) < occupancyAgain && is.Partial == before.is.Partial && maps.Equal(is.Places, before.is.Places) {
				continue
			}
			body, err := json.Marshal(is)
			if err != nil {
				return fmt.Errorf("encode occupancy: %w", err)
			}
			last[ws] = told{now, is}
			e := []engage.Entry{{Kind: engage.KindOccupancy, Key: engage.OccupancyKey(ws), Body: body}}
			for _, p := range a.router.in {
				if err := p.Append(ctx, e); err != nil && ctx.Err() == nil {
					delete(last, ws) // again at the next look
					a.log.Error("log occupancy", "partition", p.Name(), "error", err)
				}
			}
		}
		next := now.Add(occupancyEvery)
		a.occupancyDue.Store(next.UnixNano())
		due, stop := a.o.Clock.At(next)
		select {
		case <-due:
		case <-ctx.Done():
			stop()
			a.occupancyDue.Store(0)
			return nil
		}
	}
}

// occupancyOf coarsens counts; places with too few people are left out.
func occupancyOf(counts map[string]int) engage.Occupancy {
	out := engage.Occupancy{V: 1, Places: map[string]int{}}
	ids := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for _, id := range ids {
		n := engage.CoarseCount(counts[id])
		if n == 0 {
			break
		}
		if len(out.Places) == maxOccupied {
			out.Partial = true
			break
		}
		out.Places[id] = n
	}
	return out
}
