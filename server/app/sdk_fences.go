package app

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/ingest"
	"github.com/footfall-engage/footfall/server/situate"
)

// namedWeight is that of a geofence whose place a running campaign names; all
// others weigh 1.
const namedWeight = 2

// sdkFences are the geofences of a workspace at one revision, as phones should
// watch them.
type sdkFences struct {
	revision  uint64
	workspace string
	config    *situate.Config
	clock     clock.Clock
	places    []*engage.Place      // by id
	wishes    map[string]fenceWish // of the geofences that wish for something
}

// maxSince bounds the geofences that Since tells of: for more it costs a phone as
// much to look through them as to be planned for.
const maxSince = 500

type fenceWish struct {
	dwell time.Duration
	named []*engage.Campaign // those that name the place, live ones
}

// Fences implements ingest.Catalog.
func (c *sdkCatalog) Fences(workspace string) ingest.Fences {
	c.compiling.Lock()
	defer c.compiling.Unlock()
	rev := c.a.catalog.Latest()
	last := c.fences[workspace]
	if last != nil && last.revision == rev {
		return last
	}
	config, err := c.places.at(rev)
	if err == nil {
		var s *catalog.Snapshot
		if s, err = c.a.catalog.At(rev); err == nil {
			places := s.Places(workspace)
			last = &sdkFences{
				revision: rev, workspace: workspace, config: config, clock: c.a.o.Clock,
				places: places, wishes: wishesOf(places, s.Campaigns(workspace)),
			}
			if c.fences == nil {
				c.fences = map[string]*sdkFences{}
			}
			c.fences[workspace] = last
			return last
		}
	}
	c.a.log.Error("places for phones", "revision", rev, "error", err)
	if last == nil {
		return &sdkFences{workspace: workspace, config: &situate.Config{}, clock: c.a.o.Clock}
	}
	return last // the phones keep what they have
}

func wishesOf(places []*engage.Place, campaigns []*engage.Campaign) map[string]fenceWish {
	wishes := map[string]fenceWish{}
	byPlace, byTag, byBeacon := map[string][]*engage.Campaign{}, map[string][]*engage.Campaign{}, map[string][]*engage.Campaign{}
	for _, cam := range campaigns {
		t := cam.Trigger
		if cam.Status != engage.Live || !t.Type.AtPlace() {
			continue
		}
		for _, id := range t.Beacons {
			byBeacon[id] = append(byBeacon[id], cam)
		}
		for _, id := range t.Places {
			byPlace[id] = append(byPlace[id], cam)
		}
		for _, tag := range t.Tags {
			byTag[tag] = append(byTag[tag], cam)
		}
	}
	for _, p := range places {
		named := slices.Clip(byPlace[p.ID])
		for _, tag := range p.Tags {
			named = append(named, byTag[tag]...)
		}
		for i := range p.Beacons {
			named = append(named, byBeacon[p.Beacons[i].ID]...)
		}
		slices.SortFunc(named, func(a, b *engage.Campaign) int { return strings.Compare(a.ID, b.ID) })
		named = slices.Compact(named)
		for i := range p.Geofences {
			g := &p.Geofences[i]
			if w := (fenceWish{g.Dwell(), named}); w.dwell > 0 || len(w.named) > 0 {
				wishes[g.ID] = w
			}
		}
	}
	return wishes
}

// Nearest implements ingest.Fences.
func (f *sdkFences) Nearest(p geo.Point, n int, dst []geo.Hit) []geo.Hit {
	return f.config.Nearest(f.workspace, p, n, dst)
}

// Wish implements ingest.Fences. A campaign that begins or ends by its dates alone
// counts from the next plan on.
func (f *sdkFences) Wish(id string) ingest.Wish {
	w := f.wishes[id]
	out := ingest.Wish{Weight: 1, Dwell: w.dwell}
	if len(w.named) == 0 {
		return out
	}
	now := f.clock.Now()
	if slices.ContainsFunc(w.named, func(c *engage.Campaign) bool {
		return (c.Start == nil || !now.Before(*c.Start)) && (c.End == nil || now.Before(*c.End))
	}) {
		out.Weight = namedWeight
	}
	return out
}

// Since implements ingest.Fences. Snapshots share what did not change between them.
func (f *sdkFences) Since(earlier ingest.Fences) (changed []geo.Circle, ok bool) {
	old, ok := earlier.(*sdkFences)
	if !ok || old.workspace != f.workspace {
		return nil, false
	}
	add := func(p *engage.Place) {
		for i := range p.Geofences {
			s := p.Geofences[i].Shape
			changed = append(changed, geo.Circle{Around: s.Center(), RadiusM: s.BoundingRadiusM()})
		}
	}
	was, is := old.places, f.places
	for (len(was) > 0 || len(is) > 0) && len(changed) <= maxSince {
		switch {
		case len(is) == 0 || len(was) > 0 && was[0].ID < is[0].ID: // gone
			add(was[0])
			was = was[1:]
		case len(was) == 0 || is[0].ID < was[0].ID: // new
			add(is[0])
			is = is[1:]
		default:
			if was[0] != is[0] {
				add(was[0])
				add(is[0])
			} else if !f.wishesAs(old, is[0]) {
				add(is[0])
			}
			was, is = was[1:], is[1:]
		}
	}
	if len(changed) > maxSince {
		return nil, false
	}
	return changed, true
}

// wishesAs reports whether a place is wished for as it was.
func (f *sdkFences) wishesAs(old *sdkFences, p *engage.Place) bool {
	for i := range p.Geofences {
		id := p.Geofences[i].ID
		if !slices.EqualFunc(f.wishes[id].named, old.wishes[id].named, func(a, b *engage.Campaign) bool {
			return a == b || sameTime(a.Start, b.Start) && sameTime(a.End, b.End)
		}) {
			return false
		}
	}
	return true
}

// watching is what an install's phone watches, as the gateway knows it, for the API.
func (a *App) watching(ctx context.Context, workspace, install string) (*api.Watched, error) {
	w, err := a.gateway.Watching(ctx, workspace, install)
	if err != nil {
		return nil, err
	}
	out := &api.Watched{
		Install: install, Platform: w.Platform, Caps: w.Caps, None: string(w.None), ToldAt: w.ToldAt, Stale: w.Stale, Acked: w.Acked,
		Regions: make([]api.WatchedRegion, len(w.Regions)), Guaranteed: w.Guaranteed,
	}
	for i, r := range w.Regions {
		out.Regions[i] = regionView(r)
	}
	if w.Bubble != nil {
		b := regionView(*w.Bubble)
		out.Bubble = &b
	}
	for _, l := range w.LeftOut {
		out.LeftOut = append(out.LeftOut, api.UnwatchedArea(l))
	}
	return out, nil
}

func regionView(r ingest.WatchedRegion) api.WatchedRegion {
	return api.WatchedRegion{
		ID: r.ID, Lat: r.Center.Lat, Lng: r.Center.Lng, RadiusM: r.RadiusM, Exact: r.Exact, Weight: r.Weight, Refused: r.Refused,
	}
}

func sameTime(a, b *time.Time) bool {
	return a == b || a != nil && b != nil && a.Equal(*b)
}
