// Package profile is a person as Footfall knows them, and the reducer that folds
// entries into them: a pure library that decide (which owns profiles) and api
// (which shows them) use.
package profile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of a profile.
const (
	MaxAttributes  = 500
	MaxAttribute   = 1024 // bytes of one attribute's name and of its value as JSON: a person's state must stay small
	MaxPreferences = 500
	MaxDevices     = 20 // beyond it the one not seen for longest is forgotten
)

// Profile of a person. A plain copy of a Profile may be changed without changing
// the first: the functions that change one replace its maps and lists, and never
// write into them.
type Profile struct {
	Workspace   string   `json:"workspace"`
	ID          string   `json:"id"`
	Identifiers []string `json:"identifiers,omitempty"` // "user_id:ada", sorted
	// Claimed is the identifier that the app of an install named last without proof, of
	// a person whom nobody knows. It is for people to look at: nothing else heeds it.
	Claimed     string                           `json:"claimed,omitempty"`
	Attributes  map[string]any                   `json:"attributes,omitempty"`
	Preferences map[string]engage.Attitude       `json:"preferences,omitempty"` // by topic
	Consents    engage.ByPurpose[engage.Consent] `json:"consents,omitempty"`
	Devices     map[string]engage.Device         `json:"devices,omitempty"` // by install
	FirstSeen   time.Time                        `json:"first_seen"`        // log time
	LastSeen    time.Time                        `json:"last_seen"`
	LastVisitAt time.Time                        `json:"last_visit_at,omitzero"` // begin of the newest visit to the inside of a place
	Visits      int64                            `json:"visits"`                 // to the inside of places
}

// Seen notes that something of the person arrived.
func (p *Profile) Seen(at time.Time) {
	if p.FirstSeen.IsZero() || at.Before(p.FirstSeen) {
		p.FirstSeen = at
	}
	if at.After(p.LastSeen) {
		p.LastSeen = at
	}
}

// Visited notes a visit to the inside of a place.
func (p *Profile) Visited(at time.Time) {
	p.Visits++
	if at.After(p.LastVisitAt) {
		p.LastVisitAt = at
	}
}

// SetDevice replaces what is known of an install.
func (p *Profile) SetDevice(d engage.Device) {
	p.Devices = with(p.Devices, d.Install, d)
	for len(p.Devices) > MaxDevices {
		delete(p.Devices, p.DevicesByUse()[len(p.Devices)-1].Install)
	}
}

// RemoveDevice forgets an install, which is another person's from now on.
func (p *Profile) RemoveDevice(install string) {
	if _, there := p.Devices[install]; there {
		p.Devices = cloneOf(p.Devices)
		delete(p.Devices, install)
	}
}

// SetPreferences folds answers in; an empty attitude forgets. What is full stays
// as it is: topics that have an answer keep their place, new ones come in by name
// until there are MaxPreferences. It returns the topics that were left out, sorted:
// those, and those of an attitude that is not known.
func (p *Profile) SetPreferences(answers map[string]engage.Attitude) (leftOut []string) {
	changes := make(map[string]change[engage.Attitude], len(answers))
	for topic, a := range answers {
		known := a == engage.Like || a == engage.Dislike
		changes[topic] = change[engage.Attitude]{to: a, forget: a == "", odd: a != "" && !known}
	}
	p.Preferences, leftOut = fold(p.Preferences, changes, MaxPreferences)
	return leftOut
}

// SetConsents folds answers in.
func (p *Profile) SetConsents(answers map[engage.Purpose]engage.Consent) {
	for purpose, c := range answers {
		p.Consents = p.Consents.With(purpose, c)
	}
}

// SetAttributes folds traits in; null forgets. What is full stays as it is, as
// with SetPreferences, up to MaxAttributes. It returns the names that were left
// out, sorted: those, those of a value that no attribute can have, such as 1e999,
// and those larger than MaxAttribute. The error is about traits that are no JSON object and changes nothing; the
// protocol refuses such.
func (p *Profile) SetAttributes(traits json.RawMessage) (leftOut []string, err error) {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(traits, &in); err != nil {
		return nil, fmt.Errorf("traits: %w", err)
	}
	changes := make(map[string]change[any], len(in))
	for name, raw := range in {
		var v any
		err := json.Unmarshal(raw, &v)
		changes[name] = change[any]{to: v, forget: err == nil && v == nil, odd: err != nil || len(name)+len(raw) > MaxAttribute}
	}
	p.Attributes, leftOut = fold(p.Attributes, changes, MaxAttributes)
	return leftOut, nil
}

// change of one entry of a map.
type change[V any] struct {
	to     V
	forget bool
	odd    bool // it cannot be kept
}

// fold is a copy of m with the changes in it, and the names of those that are odd
// or found no room, sorted. Forgetting makes room first, then what is there is
// changed, then what is new comes in by name: a phone that says too much can
// neither push out what is known nor fail.
func fold[V any](m map[string]V, changes map[string]change[V], limit int) (map[string]V, []string) {
	out := cloneOf(m)
	var added, leftOut []string
	for name, c := range changes {
		_, known := out[name]
		switch {
		case c.odd:
			leftOut = append(leftOut, name)
		case c.forget:
			delete(out, name)
		case known:
			out[name] = c.to
		default:
			added = append(added, name)
		}
	}
	slices.Sort(added)
	room := max(min(limit-len(out), len(added)), 0)
	for _, name := range added[:room] {
		out[name] = changes[name].to
	}
	leftOut = append(leftOut, added[room:]...)
	slices.Sort(leftOut)
	return out, leftOut
}

// Claim notes an identifier that nobody has proven, and reports whether it did: of
// somebody who is known it changes nothing.
func (p *Profile) Claim(identifier string) bool {
	if len(p.Identifiers) > 0 {
		return false
	}
	p.Claimed = identifier
	return true
}

// Bind adds an identifier. What was claimed before is of no more interest.
func (p *Profile) Bind(identifier string) {
	p.Claimed = ""
	if i, found := slices.BinarySearch(p.Identifiers, identifier); !found {
		p.Identifiers = slices.Insert(slices.Clone(p.Identifiers), i, identifier)
	}
}

// Unbind forgets an identifier, which is another profile's.
func (p *Profile) Unbind(identifier string) {
	if i, found := slices.BinarySearch(p.Identifiers, identifier); found {
		p.Identifiers = slices.Delete(slices.Clone(p.Identifiers), i, i+1)
	}
}

// Consented reports whether the person agreed to a purpose.
func (p *Profile) Consented(purpose engage.Purpose) bool {
	c, _ := p.Consents.Of(purpose)
	return c.Granted
}

// Topics are the topics of an attitude, sorted.
func (p *Profile) Topics(a engage.Attitude) []string {
	out := []string{}
	for t, x := range p.Preferences {
		if x == a {
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return out
}

// DevicesByUse are the devices, the most recently seen first.
func (p *Profile) DevicesByUse() []engage.Device {
	return slices.SortedFunc(maps.Values(p.Devices), func(a, b engage.Device) int {
		return cmp.Or(b.SeenAt.Compare(a.SeenAt), cmp.Compare(a.Install, b.Install))
	})
}

// Value is the person as rules see them (rules.PersonSchema).
func (p *Profile) Value(path string) (any, bool) {
	if name, ok := cutPrefix(path, "attributes."); ok {
		v, ok := p.Attributes[name]
		return v, ok
	}
	switch path {
	case "likes":
		return p.Topics(engage.Like), true
	case "dislikes":
		return p.Topics(engage.Dislike), true
	case "identified":
		return len(p.Identifiers) > 0, true
	case "consents":
		out := []string{}
		for c, a := range p.Consents.All() {
			if a.Granted {
				out = append(out, string(c))
			}
		}
		slices.Sort(out)
		return out, true
	case "platforms":
		out := []string{}
		for _, d := range p.DevicesByUse() {
			if d.Platform != "" && !slices.Contains(out, d.Platform) {
				out = append(out, d.Platform)
			}
		}
		slices.Sort(out)
		return out, true
	case "locale":
		for _, d := range p.DevicesByUse() {
			if d.Locale != "" {
				return d.Locale, true
			}
		}
		return nil, false
	case "first_seen":
		return p.FirstSeen, !p.FirstSeen.IsZero()
	case "last_seen":
		return p.LastSeen, !p.LastSeen.IsZero()
	case "last_visit_at":
		return p.LastVisitAt, !p.LastVisitAt.IsZero()
	case "visits":
		return p.Visits, true
	}
	return nil, false
}

func cutPrefix(s, prefix string) (string, bool) {
	if len(s) > len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):], true
	}
	return "", false
}

func with[V any](m map[string]V, k string, v V) map[string]V {
	c := cloneOf(m)
	c[k] = v
	return c
}

// cloneOf is a copy that can be written to, also of nil.
func cloneOf[K comparable, V any](m map[K]V) map[K]V {
	c := make(map[K]V, len(m)+1)
	maps.Copy(c, m)
	return c
}
