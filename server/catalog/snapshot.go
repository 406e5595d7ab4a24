package catalog

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// Snapshot is the configuration at one revision. It is immutable, and so is all
// that it gives out.
type Snapshot struct {
	Revision   uint64
	Workspaces map[string]*Workspace
	places     map[string]map[string]*engage.Place
	campaigns  map[string]map[string]*engage.Campaign
	apps       map[string]map[string]*App
	keys       map[string]*Key // by id, over all workspaces
	appByKey   map[string]*App
	fences     map[string]string // "<workspace>/<geofence>" -> place
	versions   map[string]int64  // "<workspace>/<kind>/<id>" -> last version, negative when deleted
}

func emptySnapshot() *Snapshot {
	return &Snapshot{
		Workspaces: map[string]*Workspace{}, places: map[string]map[string]*engage.Place{},
		campaigns: map[string]map[string]*engage.Campaign{}, apps: map[string]map[string]*App{},
		keys: map[string]*Key{}, appByKey: map[string]*App{}, fences: map[string]string{}, versions: map[string]int64{},
	}
}

func build(rs []Revision) (*Snapshot, error) {
	s := emptySnapshot()
	for i, r := range rs {
		if err := s.apply(r); err != nil {
			return nil, fmt.Errorf("configuration revision %d: %w", i+1, err)
		}
		s.Revision = uint64(i + 1)
	}
	return s, nil
}

// with is a copy with one more revision.
func (s *Snapshot) with(r Revision) (*Snapshot, error) {
	c := *s
	c.Workspaces, c.keys, c.appByKey = maps.Clone(s.Workspaces), maps.Clone(s.keys), maps.Clone(s.appByKey)
	c.fences, c.versions = maps.Clone(s.fences), maps.Clone(s.versions)
	c.places, c.campaigns, c.apps = maps.Clone(s.places), maps.Clone(s.campaigns), maps.Clone(s.apps)
	c.places[r.Workspace] = maps.Clone(c.places[r.Workspace])
	c.campaigns[r.Workspace] = maps.Clone(c.campaigns[r.Workspace])
	c.apps[r.Workspace] = maps.Clone(c.apps[r.Workspace])
	return &c, c.apply(r)
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
				delete(s.fences, r.Workspace+"/"+f.ID)
			}
		}
		if s.places[r.Workspace], err = setIn(s.places[r.Workspace], r); err == nil && !gone {
			for _, f := range s.places[r.Workspace][r.ID].Geofences {
				s.fences[r.Workspace+"/"+f.ID] = r.ID
			}
		}
	case Campaigns:
		s.campaigns[r.Workspace], err = setIn(s.campaigns[r.Workspace], r)
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
	default:
		err = fmt.Errorf("unknown kind %q", r.Kind)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.Kind, r.ID, err)
	}
	v := r.Version
	if gone {
		v = -v
	}
	s.versions[versionKey(r.Workspace, r.Kind, r.ID)] = v
	return nil
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
	return max(s.versions[versionKey(workspace, kind, id)], 0)
}

// lastVersion counts on over a deletion, so that a version names one content only.
func (s *Snapshot) lastVersion(workspace string, kind Kind, id string) int64 {
	v := s.versions[versionKey(workspace, kind, id)]
	return max(v, -v)
}

// Place of a workspace; nil when there is none.
func (s *Snapshot) Place(workspace, id string) *engage.Place { return s.places[workspace][id] }

// Places of a workspace, by id.
func (s *Snapshot) Places(workspace string) []*engage.Place { return byID(s.places[workspace]) }

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
