package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/situate"
	"github.com/footfall-engage/footfall/server/store"
)

// insider is a phone that is inside a place.
type insider struct{ install, profile string }

// insiders knows who is inside which place: of the open visits in the store at the start,
// and of the states that situate commits from then on. Nothing is kept of it elsewhere.
type insiders struct {
	mu      sync.RWMutex
	by      map[string]map[string]map[string]string // workspace, place, install -> profile
	places  map[string][]string                     // "<workspace>/<install>" -> places that it is inside of
	profile map[string]string                       // likewise -> profile
}

func newInsiders() *insiders {
	return &insiders{by: map[string]map[string]map[string]string{}, places: map[string][]string{}, profile: map[string]string{}}
}

// observe is a partition's Observe. Of most installs nothing changes.
func (x *insiders) observe(key string, s engage.State) {
	install, ok := strings.CutPrefix(engage.IDOf(key), "i:")
	if !ok {
		return
	}
	var now []string
	profile := ""
	if in, _ := s.(*situate.Install); in != nil {
		now, profile = in.Tracker.InsideOf(), in.Profile
	}
	x.mu.RLock()
	name := engage.WorkspaceOf(key) + "/" + install
	same := slices.Equal(x.places[name], now) && (len(now) == 0 || x.profile[name] == profile)
	x.mu.RUnlock()
	if !same {
		x.set(engage.WorkspaceOf(key), install, profile, now)
	}
}

func (x *insiders) set(workspace, install, profile string, now []string) {
	workspace, install, profile = strings.Clone(workspace), strings.Clone(install), strings.Clone(profile)
	x.mu.Lock()
	defer x.mu.Unlock()
	name := workspace + "/" + install
	for _, place := range x.places[name] {
		if there := x.by[workspace][place]; there != nil {
			if delete(there, install); len(there) == 0 {
				delete(x.by[workspace], place)
			}
		}
	}
	if len(now) == 0 {
		delete(x.places, name)
		delete(x.profile, name)
		return
	}
	x.places[name], x.profile[name] = now, profile
	if x.by[workspace] == nil {
		x.by[workspace] = map[string]map[string]string{}
	}
	for _, place := range now {
		if x.by[workspace][place] == nil {
			x.by[workspace][place] = map[string]string{}
		}
		x.by[workspace][place][install] = profile
	}
}

// load reads the open visits of a workspace, before a partition shows what is newer.
func (x *insiders) load(ctx context.Context, states store.Store, workspace string) error {
	found := map[string][]string{}
	profile := map[string]string{}
	q := store.Query{Workspace: workspace, Filter: store.Filter{Path: "ended", Op: store.Absent}, Sort: "place", Limit: 1000}
	for {
		p, err := states.Find(ctx, "visits", q)
		if err != nil {
			return fmt.Errorf("read open visits: %w", err)
		}
		for _, d := range p.Docs {
			v, err := fromJSON[engage.Visit](d)
			if err != nil {
				return fmt.Errorf("decode visit %s: %w", d.ID, err)
			}
			if !v.InsideAt.IsZero() {
				found[v.Install], profile[v.Install] = append(found[v.Install], v.Place), v.Profile
			}
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			break
		}
	}
	for install, places := range found {
		slices.Sort(places)
		x.set(workspace, install, profile[install], slices.Compact(places))
	}
	return nil
}

// at is who is inside a place, in order of install, each person's install once as far as
// these know that they are the same.
func (x *insiders) at(workspace, place string) []insider {
	x.mu.RLock()
	defer x.mu.RUnlock()
	there := x.by[workspace][place]
	out := make([]insider, 0, len(there))
	seen := map[string]bool{}
	for _, install := range slices.Sorted(maps.Keys(there)) {
		if p := there[install]; !seen[p] {
			seen[p] = true
			out = append(out, insider{install, p})
		}
	}
	return out
}

// counts are how many phones are inside each place of a workspace where there is any.
func (x *insiders) counts(workspace string) map[string]int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	out := make(map[string]int, len(x.by[workspace]))
	for place, there := range x.by[workspace] {
		out[place] = len(there)
	}
	return out
}
