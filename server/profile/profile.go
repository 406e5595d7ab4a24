// Package profile is a person as Footfall knows them, and the reducer that folds
// entries into them: a pure library that decide (which owns profiles) and api
// (which shows them) use.
//
// # Types of attributes
//
// An attribute has one type, and a value of another is dropped: alone, and listed with
// its reason (engage.Dropped). The type is declared (catalog.Workspace) or, where nobody
// has done that, learned: what most of the first values are. These are listened to for a
// second beside the flow (app's learner), then the type becomes a revision of the
// configuration (catalog.LearnedAttributes), and binds from where a partition logs that
// it adopts this: so the same records drop the same values, in a replay too. Values that
// came before stay as they are, and are absent to rules if they are of another type.
//
// What apps and public keys teach, nobody can trust: it binds only what these say, and
// the first value of a server, a till or an upload teaches anew. An attribute whose name
// cannot be declared (catalog.LearnableName), or that comes when 500 are learned, has no
// type; objects and mixed lists teach none.
package profile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of a profile.
const (
	MaxAttributes  = 500
	MaxAttribute   = 1024 // bytes of one attribute's name and of its value as JSON: a person's state must stay small
	MaxPreferences = 500
	MaxDevices     = 20 // beyond it the one not seen for longest is forgotten
	// MaxAbsorbed bounds the profiles of identifiers that may have become one person,
	// and MaxSegments those of installs, of which the first are forgotten.
	MaxAbsorbed = 200
	MaxSegments = 64
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
	Claimed     string                     `json:"claimed,omitempty"`
	Attributes  map[string]any             `json:"attributes,omitempty"`
	Preferences map[string]engage.Attitude `json:"preferences,omitempty"` // by topic
	// AttributeAt and PreferenceAt say when what stands there was said, also of what was
	// said to be forgotten. Absent of what an earlier build kept: as old as can be.
	AttributeAt  map[string]Stamp `json:"attribute_at,omitempty"`
	PreferenceAt map[string]Stamp `json:"preference_at,omitempty"`
	// Consents are the answers that are in force. Of a person who came together from
	// several profiles they follow from Answers and Links (consent.go).
	Consents engage.ByPurpose[engage.Consent]            `json:"consents,omitempty"`
	Answers  map[string]engage.ByPurpose[engage.Consent] `json:"answers,omitempty"`  // by the profile at which they were given; nil: all at this one
	Links    []Link                                      `json:"links,omitempty"`    // how the profiles became one
	Absorbed []string                                    `json:"absorbed,omitempty"` // ids of the other profiles, sorted
	Devices  map[string]engage.Device                    `json:"devices,omitempty"`  // by install
	// Gone are installs that are another person's, and since when, log time: what still
	// comes of the time before does not bring them back.
	Gone map[string]time.Time `json:"gone,omitempty"`
	// Web is what a website says of where the person is, the newest.
	Web         *engage.TouchDevice `json:"web,omitempty"`
	WebAt       Stamp               `json:"web_at,omitempty"`
	Purchases   *Purchases          `json:"purchases,omitempty"`
	Redeemed    Redemptions         `json:"redeemed,omitempty"` // by offer
	Affinities  Affinities          `json:"affinities,omitempty"`
	Places      Affinities          `json:"places,omitempty"` // visits by place, for the favourite ones
	FirstSeen   time.Time           `json:"first_seen"`       // log time
	LastSeen    time.Time           `json:"last_seen"`
	LastVisitAt time.Time           `json:"last_visit_at,omitzero"` // begin of the newest visit to the inside of a place
	Visits      int64               `json:"visits"`                 // to the inside of places
	// PlaceAt is when the newest visit to each of Places began. Absent of an earlier build's.
	PlaceAt map[string]time.Time `json:"place_at,omitempty"`
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

// SetDevice replaces what is known of an install by what it said at a log time, if
// nothing newer is known.
func (p *Profile) SetDevice(d engage.Device, at time.Time) {
	if gone, is := p.Gone[d.Install]; is {
		if at.Before(gone) {
			return
		}
		p.Gone = cloneOf(p.Gone)
		delete(p.Gone, d.Install)
	}
	if old, is := p.Devices[d.Install]; is && d.SeenAt.Before(old.SeenAt) {
		return
	}
	p.Devices = with(p.Devices, d.Install, d)
	p.limitDevices()
}

func (p *Profile) limitDevices() {
	for len(p.Devices) > MaxDevices {
		delete(p.Devices, p.DevicesByUse()[len(p.Devices)-1].Install)
	}
}

// RemoveDevice forgets an install, which is another person's since a log time.
func (p *Profile) RemoveDevice(install string, at time.Time) {
	if d, there := p.Devices[install]; there {
		if d.SeenAt.After(at) {
			return // it has come back since
		}
		p.Devices = cloneOf(p.Devices)
		delete(p.Devices, install)
	}
	if at.After(p.Gone[install]) {
		p.Gone = with(p.Gone, install, at)
		p.limitGone()
	}
}

// limitGone forgets the first that went, in a map that is ours.
func (p *Profile) limitGone() {
	for len(p.Gone) > MaxDevices {
		first := ""
		for install, at := range p.Gone {
			if first == "" || cmp.Or(at.Compare(p.Gone[first]), cmp.Compare(install, first)) < 0 {
				first = install
			}
		}
		delete(p.Gone, first)
	}
}

// SetPreferences folds answers in that were given at a time; an empty attitude
// forgets. Of two answers to a topic the newer one counts, in whatever order they
// come. What is full stays as it is: topics that have an answer keep their place, new
// ones come in by name until there are MaxPreferences. It returns the topics that were
// left out, sorted: those, and those of an attitude that is not known.
func (p *Profile) SetPreferences(answers map[string]engage.Attitude, at Stamp) (leftOut []string) {
	changes := make(map[string]change[engage.Attitude], len(answers))
	for topic, a := range answers {
		known := a == engage.Like || a == engage.Dislike
		changes[topic] = change[engage.Attitude]{to: a, forget: a == "", odd: a != "" && !known}
	}
	p.Preferences, p.PreferenceAt, leftOut = fold(p.Preferences, p.PreferenceAt, changes, at, MaxPreferences)
	return leftOut
}

// SetAttributes folds traits in that were told at a time; null forgets. The newest
// counts and what is full stays as it is, as with SetPreferences, up to MaxAttributes.
// It returns the names that were left out, sorted: those, those of a value that no
// attribute can have, such as 1e999, and those larger than MaxAttribute. The error is
// about traits that are no JSON object and changes nothing; the protocol refuses such.
func (p *Profile) SetAttributes(traits json.RawMessage, at Stamp) (leftOut []string, err error) {
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
	p.Attributes, p.AttributeAt, leftOut = fold(p.Attributes, p.AttributeAt, changes, at, MaxAttributes)
	return leftOut, nil
}

// change of one entry of a map.
type change[V any] struct {
	to     V
	forget bool
	odd    bool // it cannot be kept
}

// fold is a copy of m with the changes in it that are newer than what it has, when
// each was said, and the names of those that are odd or found no room, sorted.
// Forgetting makes room first, then what is there is changed, then what is new comes in
// by name: a phone that says too much can neither push out what is known nor fail.
func fold[V any](m map[string]V, at map[string]Stamp, changes map[string]change[V], now Stamp, limit int) (map[string]V, map[string]Stamp, []string) {
	out, stamps := cloneOf(m), cloneOf(at)
	var added, leftOut []string
	for name, c := range changes {
		_, known := out[name]
		switch {
		case c.odd:
			leftOut = append(leftOut, name)
		case !newer(m, at, name, c, now):
		case c.forget:
			delete(out, name)
			stamps[name] = now
		case known:
			out[name], stamps[name] = c.to, now
		default:
			added = append(added, name)
		}
	}
	slices.Sort(added)
	room := max(min(limit-len(out), len(added)), 0)
	for _, name := range added[:room] {
		out[name], stamps[name] = changes[name].to, now
	}
	leftOut = append(leftOut, added[room:]...)
	slices.Sort(leftOut)
	limitForgotten(out, stamps, limit)
	return out, stamps, leftOut
}

// SetWeb keeps what a website says, if it is the newest; of the same moment the
// greater JSON.
func (p *Profile) SetWeb(d engage.TouchDevice, at Stamp) {
	if p.Web == nil || at > p.WebAt || at == p.WebAt && greater(d, *p.Web) {
		p.Web, p.WebAt = &d, at
	}
}

// Claim notes an identifier that nobody has proven, and reports whether it did: of
// somebody who is known it changes nothing.
func (p *Profile) Claim(identifier string) bool {
	if p.Named() {
		return false
	}
	p.Claimed = identifier
	return true
}

// Disclaim forgets that somebody said to be one of those who were erased, and their
// e-mail addresses, and reports whether there was anything of that.
func (p *Profile) Disclaim(d engage.Disclaim) (changed bool) {
	if p.Claimed != "" && d.Names(p.Workspace, p.Claimed) {
		p.Claimed, changed = "", true
	}
	for name, v := range p.Attributes {
		if d.IsAddress(p.Workspace, v) {
			p.Attributes, p.AttributeAt = cloneOf(p.Attributes), cloneOf(p.AttributeAt)
			delete(p.Attributes, name)
			delete(p.AttributeAt, name)
			changed = true
		}
	}
	return changed
}

// Named reports whether the person is known by an identifier that is more than a
// browser's.
func (p *Profile) Named() bool {
	return slices.ContainsFunc(p.Identifiers, func(id string) bool { return !anonymous(id) })
}

func anonymous(identifier string) bool { return strings.HasPrefix(identifier, engage.IDAnonymous+":") }

// Bind adds an identifier. What was claimed before is of no more interest.
func (p *Profile) Bind(identifier string) {
	if !anonymous(identifier) {
		p.Claimed = ""
	}
	if i, found := slices.BinarySearch(p.Identifiers, identifier); !found {
		p.Identifiers = slices.Insert(slices.Clone(p.Identifiers), i, identifier)
	}
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
		return p.Named(), true
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
		if p.Web != nil && p.Web.Locale != "" {
			return p.Web.Locale, true
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
	case "affinities": // as of when something was last heard; ValueAt knows the time
		return p.Likings(p.LastSeen), true
	case "favourite_brands", "favourite_place", "favourite_places", "home_place":
		return p.ValueAt(path, p.LastSeen)
	case "purchases_count":
		return p.Purchases.Totals().Count, true
	case "purchases_total":
		t := p.Purchases.Totals()
		units, _ := t.Total()
		return units, true
	case "last_purchase_at":
		t := p.Purchases.Totals()
		return t.LastAt, !t.LastAt.IsZero()
	}
	return p.valueOf(path)
}

// ValueAt is Value for who knows what time it is.
func (p *Profile) ValueAt(path string, now time.Time) (any, bool) {
	switch path {
	case "affinities":
		return p.Likings(now), true
	case "favourite_brands":
		return p.Brands(now), true
	case "favourite_places":
		return p.FavouritePlaces(now), true
	case "favourite_place":
		if places := p.FavouritePlaces(now); len(places) > 0 {
			return places[0], true
		}
		return nil, false
	case "home_place":
		home := p.HomePlace(now)
		return home, home != ""
	}
	return p.Value(path)
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
