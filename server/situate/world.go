package situate

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/hours"
)

// Workspace is what situate needs to know of one.
type Workspace struct {
	ID     string
	Places []*engage.Place // never changed
	Doubts geo.Doubts      // the zero value means geo.DefaultDoubts
	// HearsRegions: some campaign wants to know what phones' systems say of regions.
	HearsRegions bool
	// HearsBeacons: some campaign wants to know which beacons phones hear.
	HearsBeacons bool
	// WantsOccupancy: some campaign asks how full places are.
	WantsOccupancy bool
}

// Config is what situate needs of a configuration revision: the places of every
// workspace, indexed. It is immutable.
type Config struct {
	workspaces map[string]*workspace
}

type workspace struct {
	index   *geo.Index
	places  map[string]*site
	fences  map[string]fence
	rules   map[geo.Rule]*rules
	beacons map[string]stand // by engage.Beacon.Key
	doubts  geo.Doubts
	edition uint64 // of the places: another one where any differs

	hearsRegions, hearsBeacons, wantsOccupancy bool
}

// site is a place with its opening hours; nil hours are not known.
type site struct {
	*engage.Place
	opening *hours.Opening
}

// fence is small, and has few pointers: there are 100,000 of them, which the garbage
// collector looks at again and again.
type fence struct {
	place *site
	rules *rules
	at    int // of the place's geofences
}

func (f fence) geofence() *engage.Geofence { return &f.place.Geofences[f.at] }

// rules are what a geofence takes as evidence. Nearly all have the same.
type rules struct {
	usual geo.Rule
	// alone is for a phone whose OS watches nothing for the app: it is silent when it
	// leaves.
	alone geo.Rule
}

// aloneSilence is how long a visit goes on of which nothing is heard, when the
// phone would not tell of leaving: the app may not use the location always, and no
// session is live.
const aloneSilence = time.Hour

// compactAbove is the share of an index that may be changes before it is tidied.
const compactAbove = 0.1

// NewConfig indexes places. With the configuration before it, only what changed is
// indexed anew; nil means that there is none. A place that cannot be indexed is an
// error: catalog does not keep such.
func NewConfig(before *Config, workspaces []Workspace) (*Config, error) {
	c := &Config{workspaces: make(map[string]*workspace, len(workspaces))}
	for i := range workspaces {
		var old *workspace
		if before != nil {
			old = before.workspaces[workspaces[i].ID]
		}
		w, err := newWorkspace(old, &workspaces[i])
		if err != nil {
			return nil, fmt.Errorf("index places of workspace %s: %w", workspaces[i].ID, err)
		}
		c.workspaces[workspaces[i].ID] = w
	}
	return c, nil
}

func newWorkspace(old *workspace, in *Workspace) (*workspace, error) {
	w := &workspace{
		places: make(map[string]*site, len(in.Places)), fences: make(map[string]fence, len(in.Places)),
		rules: map[geo.Rule]*rules{}, beacons: map[string]stand{}, doubts: in.Doubts,
		hearsRegions: in.HearsRegions, hearsBeacons: in.HearsBeacons, wantsOccupancy: in.WantsOccupancy,
	}
	if w.doubts == (geo.Doubts{}) {
		w.doubts = geo.DefaultDoubts()
	}
	if old == nil {
		old = &workspace{index: &geo.Index{}}
	}
	fresh := 0
	for _, p := range in.Places {
		if s := old.places[p.ID]; s == nil || s.Place != p {
			fresh++
		}
	}
	sites := make([]site, 0, fresh) // in one piece of memory
	put := make([]geo.Fence, 0, fresh)
	for _, p := range in.Places {
		s := old.places[p.ID]
		if s == nil || s.Place != p {
			opening, err := hours.Of(p)
			if err != nil {
				opening = nil // catalog refuses such; of an older one the hours are not known
			}
			sites = append(sites, site{p, opening})
			s = &sites[len(sites)-1]
			for i := range p.Geofences {
				put = append(put, geo.Fence{ID: p.Geofences[i].ID, Shape: p.Geofences[i].Shape})
			}
		}
		w.add(old, s)
	}
	var gone []string
	for id := range old.fences {
		if _, there := w.fences[id]; !there {
			gone = append(gone, id)
		}
	}
	slices.Sort(gone)
	var err error
	if w.index, err = old.index.With(put, gone); err != nil {
		return nil, err
	}
	if float64(w.index.Overlay()) > compactAbove*float64(w.index.Len()) {
		w.index, err = w.index.Compact()
	}
	return w, err
}

// add takes a place in; what is known of it from the configuration before is kept.
func (w *workspace) add(old *workspace, s *site) {
	w.places[s.ID] = s
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d", s.ID, s.Version) // cannot fail
	w.edition += h.Sum64()
	for i := range s.Geofences {
		f := &s.Geofences[i]
		if known, same := old.fences[f.ID]; same && known.place == s {
			w.fences[f.ID] = known
			w.rules[known.rules.usual] = known.rules
			continue
		}
		w.fences[f.ID] = fence{place: s, rules: w.rulesOf(s.RuleOf(f)), at: i}
	}
	for i := range s.Beacons {
		if f := s.FenceOf(&s.Beacons[i]); f != nil {
			w.beacons[s.Beacons[i].Key()] = stand{s.Beacons[i].ID, f.ID}
		}
	}
}

// rulesOf gives the rules with a usual one, of which there is one each.
func (w *workspace) rulesOf(usual geo.Rule) *rules {
	r := w.rules[usual]
	if r == nil {
		r = &rules{usual, usual}
		r.alone.Silence, r.alone.WatchedSilence = min(usual.Silence, aloneSilence), min(usual.WatchedSilence, aloneSilence)
		w.rules[usual] = r
	}
	return r
}

// Index is that of a workspace's geofences; an empty one where there are none. What
// a phone should watch is found in it.
func (c *Config) Index(workspace string) *geo.Index {
	if w := c.workspaces[workspace]; w != nil {
		return w.index
	}
	return &geo.Index{}
}

// Nearest appends the n geofences of a workspace whose borders are nearest to p.
func (c *Config) Nearest(workspace string, p geo.Point, n int, dst []geo.Hit) []geo.Hit {
	return c.Index(workspace).Nearest(p, n, dst)
}

// Fence gives a geofence of a workspace and its place; nil when there is none.
func (c *Config) Fence(workspace, id string) (*engage.Place, *engage.Geofence) {
	if w := c.workspaces[workspace]; w != nil {
		if f, there := w.fences[id]; there {
			return f.place.Place, f.geofence()
		}
	}
	return nil, nil
}

// world is what the tracker of one install sees.
type world struct {
	*workspace
	ws, install string
	alone       bool
}

// Index implements geo.World.
func (w *world) Index() *geo.Index { return w.index }

// Terms implements geo.World.
func (w *world) Terms(id string) (geo.Terms, bool) {
	f, there := w.fences[id]
	if !there {
		return geo.Terms{}, false
	}
	g := f.geofence()
	t := geo.Terms{Place: f.place.ID, Near: g.Ring == engage.Near, Dwell: g.Dwell(), Rule: &f.rules.usual}
	if w.alone {
		t.Rule = &f.rules.alone
	}
	return t, true
}

// Doubts implements geo.World.
func (w *world) Doubts() geo.Doubts { return w.doubts }

// VisitID implements geo.World.
func (w *world) VisitID(place string, seq uint64, n int) string {
	return engage.VisitID(w.ws, w.install, place, seq|uint64(n)<<56)
}
