package catalog

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unique"

	"github.com/footfall-engage/footfall/server/engage"
)

// Snapshot is the configuration at one revision. It is immutable, and so is all
// that it gives out.
type Snapshot struct {
	Revision   uint64
	Workspaces map[string]*Workspace
	places     map[string]map[string]*engage.Place
	campaigns  map[string]map[string]*engage.Campaign
	offers     map[string]map[string]*engage.Offer
	catalogues map[string]map[string]*engage.Catalogue
	apps       map[string]map[string]*App
	webhooks   map[string]map[string]*Webhook
	learned    map[string]*LearnedAttributes  // by workspace
	limits     map[string]*engage.LimitPolicy // likewise
	keys       map[string]*Key                // by id, over all workspaces
	writeKeys  map[string]*WriteKey           // likewise
	appByKey   map[string]*App
	fences     map[string]map[string]string // workspace -> geofence -> place
	beacons    map[string]string            // "<workspace>/<beacon id>" and "<workspace>/<beacon key>" -> place
	versions   map[string]int64             // "<workspace>/<kind>/<id>" -> last version, negative when deleted; of places that are there, they have it
	lists      *lists
}

// lists are places by id, per workspace, as they are first asked for: a list is read
// page by page.
type lists struct {
	mu     sync.Mutex
	places map[string][]*engage.Place
}

func newLists() *lists { return &lists{places: map[string][]*engage.Place{}} }

func emptySnapshot() *Snapshot {
	return &Snapshot{
		Workspaces: map[string]*Workspace{}, places: map[string]map[string]*engage.Place{},
		campaigns: map[string]map[string]*engage.Campaign{}, offers: map[string]map[string]*engage.Offer{}, catalogues: map[string]map[string]*engage.Catalogue{}, apps: map[string]map[string]*App{},
		webhooks: map[string]map[string]*Webhook{}, learned: map[string]*LearnedAttributes{}, limits: map[string]*engage.LimitPolicy{}, writeKeys: map[string]*WriteKey{},
		keys: map[string]*Key{}, appByKey: map[string]*App{}, fences: map[string]map[string]string{}, beacons: map[string]string{}, versions: map[string]int64{}, lists: newLists(),
	}
}

func build(rs []Revision) (*Snapshot, error) {
	s := emptySnapshot()
	for i, r := range rs {
		for _, one := range r.changes() {
			if err := s.apply(one); err != nil {
				return nil, fmt.Errorf("configuration revision %d: %w", i+1, err)
			}
		}
		s.Revision = uint64(i + 1)
	}
	return s, nil
}

// with is a copy with one more revision, which it does not count.
func (s *Snapshot) with(r Revision) (*Snapshot, error) {
	changes := r.changes()
	c := s.copyFor(changes...)
	for _, one := range changes {
		if err := c.apply(one); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// copyFor is a copy of which what the changes touch is its own. The rest is shared:
// to copy a map costs as much as all that is in it.
func (s *Snapshot) copyFor(changes ...Revision) *Snapshot {
	c := *s
	c.versions = maps.Clone(s.versions)
	owned := map[Kind]bool{}
	ownedIn := map[string]bool{} // "<workspace>/<kind>"
	for _, r := range changes {
		if !owned[r.Kind] {
			owned[r.Kind] = true
			c.own(r.Kind)
		}
		if in := r.Workspace + "/" + string(r.Kind); !ownedIn[in] {
			ownedIn[in] = true
			c.ownIn(r.Kind, r.Workspace)
		}
	}
	return &c
}

// own makes the maps of a kind s's own, but for those of its workspaces.
func (s *Snapshot) own(kind Kind) {
	switch kind {
	case Workspaces:
		s.Workspaces = maps.Clone(s.Workspaces)
	case Places:
		s.lists = newLists()
		s.places, s.fences, s.beacons = maps.Clone(s.places), maps.Clone(s.fences), maps.Clone(s.beacons)
	case Campaigns:
		s.campaigns = maps.Clone(s.campaigns)
	case Offers:
		s.offers = maps.Clone(s.offers)
	case Catalogues:
		s.catalogues = maps.Clone(s.catalogues)
	case Apps:
		s.apps, s.appByKey = maps.Clone(s.apps), maps.Clone(s.appByKey)
	case Keys:
		s.keys = maps.Clone(s.keys)
	case WriteKeys:
		s.writeKeys = maps.Clone(s.writeKeys)
	case Webhooks:
		s.webhooks = maps.Clone(s.webhooks)
	case Attributes:
		s.learned = maps.Clone(s.learned)
	case Limits:
		s.limits = maps.Clone(s.limits)
	}
}

// ownIn makes the map of a kind in one workspace s's own.
func (s *Snapshot) ownIn(kind Kind, workspace string) {
	switch kind {
	case Places:
		s.places[workspace] = maps.Clone(s.places[workspace])
		s.fences[workspace] = maps.Clone(s.fences[workspace])
	case Campaigns:
		s.campaigns[workspace] = maps.Clone(s.campaigns[workspace])
	case Offers:
		s.offers[workspace] = maps.Clone(s.offers[workspace])
	case Catalogues:
		s.catalogues[workspace] = maps.Clone(s.catalogues[workspace])
	case Apps:
		s.apps[workspace] = maps.Clone(s.apps[workspace])
	case Webhooks:
		s.webhooks[workspace] = maps.Clone(s.webhooks[workspace])
	case Workspaces, Keys, WriteKeys, Attributes, Limits: // they have no map per workspace
	}
}

func versionKey(workspace string, kind Kind, id string) string {
	return workspace + "/" + string(kind) + "/" + id
}

func (s *Snapshot) apply(r Revision) error {
	gone := r.Body == nil
	var err error
	switch r.Kind {
	case Workspaces:
		err = set(s.Workspaces, r.ID, r.Body)
	case Places:
		if old := s.places[r.Workspace][r.ID]; old != nil {
			for _, f := range old.Geofences {
				delete(s.fences[r.Workspace], f.ID)
			}
			for _, key := range beaconNames(old) {
				delete(s.beacons, key)
			}
		}
		if s.places[r.Workspace], err = setIn(s.places[r.Workspace], r); err == nil && !gone {
			p := s.places[r.Workspace][r.ID]
			p.Version = r.Version
			shareWords(p, r)
			if s.fences[r.Workspace] == nil {
				s.fences[r.Workspace] = map[string]string{}
			}
			for i := range p.Geofences {
				s.fences[r.Workspace][p.Geofences[i].ID] = r.ID
			}
			for _, key := range beaconNames(p) {
				s.beacons[key] = r.ID
			}
		}
	case Campaigns:
		s.campaigns[r.Workspace], err = setIn(s.campaigns[r.Workspace], r)
	case Offers:
		s.offers[r.Workspace], err = setIn(s.offers[r.Workspace], r)
	case Catalogues:
		s.catalogues[r.Workspace], err = setIn(s.catalogues[r.Workspace], r)
	case Apps:
		if old := s.apps[r.Workspace][r.ID]; old != nil {
			delete(s.appByKey, old.Key)
		}
		if s.apps[r.Workspace], err = setIn(s.apps[r.Workspace], r); err == nil && !gone {
			a := s.apps[r.Workspace][r.ID]
			s.appByKey[a.Key] = a
		}
	case Keys:
		err = set(s.keys, r.ID, r.Body)
	case WriteKeys:
		err = set(s.writeKeys, r.ID, r.Body)
	case Webhooks:
		s.webhooks[r.Workspace], err = setIn(s.webhooks[r.Workspace], r)
	case Attributes:
		err = set(s.learned, r.Workspace, r.Body)
	case Limits:
		err = set(s.limits, r.Workspace, r.Body)
	default:
		err = fmt.Errorf("unknown kind %q", r.Kind)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.Kind, r.ID, err)
	}
	switch key := versionKey(r.Workspace, r.Kind, r.ID); {
	case gone:
		s.versions[key] = -r.Version
	case r.Kind == Places:
		delete(s.versions, key) // the place has it
	default:
		s.versions[key] = r.Version
	}
	return nil
}

// shareWords lets a place have the words that others have too in memory that they share:
// there are 100,000 places.
func shareWords(p *engage.Place, r Revision) {
	share := func(word *string, with string) {
		if *word == with {
			*word = with // the same letters, in one place
		}
	}
	share(&p.ID, r.ID)
	share(&p.Workspace, r.Workspace)
	p.TimeZone = unique.Make(p.TimeZone).Value()
	p.Hours = unique.Make(p.Hours).Value()
	for i := range p.Tags {
		p.Tags[i] = unique.Make(p.Tags[i]).Value()
	}
	for i := range p.Geofences {
		g := &p.Geofences[i]
		g.Ring = unique.Make(g.Ring).Value()
		share(&g.ID, r.ID)
	}
}

// beaconNames are what no other place of the workspace may have: the ids of the
// beacons, and what they stand for. (A key has a colon, an id none.)
func beaconNames(p *engage.Place) []string {
	var out []string
	for i := range p.Beacons {
		b := &p.Beacons[i]
		out = append(out, p.Workspace+"/"+b.ID, p.Workspace+"/"+b.Key())
	}
	return out
}

func setIn[T any](m map[string]*T, r Revision) (map[string]*T, error) {
	if m == nil {
		m = map[string]*T{}
	}
	return m, set(m, r.ID, r.Body)
}

func set[T any](m map[string]*T, id string, body json.RawMessage) error {
	if body == nil {
		delete(m, id)
		return nil
	}
	v := new(T)
	if err := json.Unmarshal(body, v); err != nil {
		return err
	}
	m[id] = v
	return nil
}

// version of a document that is there, else 0.
func (s *Snapshot) version(workspace string, kind Kind, id string) int64 {
	if p := s.placeOf(workspace, kind, id); p != nil {
		return p.Version
	}
	return max(s.versions[versionKey(workspace, kind, id)], 0)
}

// placeOf is the place of an id if that is what the kind is, and it is there.
func (s *Snapshot) placeOf(workspace string, kind Kind, id string) *engage.Place {
	if kind != Places {
		return nil
	}
	return s.places[workspace][id]
}

// lastVersion counts on over a deletion, so that a version names one content only.
func (s *Snapshot) lastVersion(workspace string, kind Kind, id string) int64 {
	if p := s.placeOf(workspace, kind, id); p != nil {
		return p.Version
	}
	v := s.versions[versionKey(workspace, kind, id)]
	return max(v, -v)
}

// Place of a workspace; nil when there is none.
func (s *Snapshot) Place(workspace, id string) *engage.Place { return s.places[workspace][id] }

// Places of a workspace, by id, in a slice of the caller's own.
func (s *Snapshot) Places(workspace string) []*engage.Place {
	s.lists.mu.Lock()
	defer s.lists.mu.Unlock()
	all, there := s.lists.places[workspace]
	if !there && len(s.places[workspace]) > 0 {
		all = byID(s.places[workspace])
		s.lists.places[workspace] = all
	}
	return append(make([]*engage.Place, 0, len(all)), all...)
}

// Campaign of a workspace; nil when there is none.
func (s *Snapshot) Campaign(workspace, id string) *engage.Campaign { return s.campaigns[workspace][id] }

// Campaigns of a workspace, by id.
func (s *Snapshot) Campaigns(workspace string) []*engage.Campaign {
	return byID(s.campaigns[workspace])
}

// App of a workspace; nil when there is none.
func (s *Snapshot) App(workspace, id string) *App { return s.apps[workspace][id] }

// Apps of a workspace, by id.
func (s *Snapshot) Apps(workspace string) []*App { return byID(s.apps[workspace]) }

// AppByKey is the app of a public key; nil when there is none.
func (s *Snapshot) AppByKey(key string) *App { return s.appByKey[key] }

// Keys of a workspace, by id.
func (s *Snapshot) Keys(workspace string) []*Key {
	m := map[string]*Key{}
	for id, k := range s.keys {
		if k.Workspace == workspace {
			m[id] = k
		}
	}
	return byID(m)
}

// Key of an id, over all workspaces; nil when there is none.
func (s *Snapshot) Key(id string) *Key { return s.keys[id] }

// KeyByToken is the server key of a bearer token; nil when the token is no good.
func (s *Snapshot) KeyByToken(token string) *Key {
	rest, ok := strings.CutPrefix(token, "ffk_")
	id, _, ok2 := strings.Cut(rest, "_")
	if !ok || !ok2 {
		return nil
	}
	k := s.keys[id]
	if k == nil || !Matches(k.Hash, token) {
		return nil
	}
	return k
}

func byID[T any](m map[string]*T) []*T {
	out := make([]*T, 0, len(m))
	for _, id := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[id])
	}
	return out
}
