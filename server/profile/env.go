package profile

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// Env is a person at a moment, as audiences see them: a rules.Env over
// rules.PersonSchema.
type Env struct {
	*Profile
	Now time.Time
	// Place gives the tags of a place, and whether there is one of that id. Nil: no places
	// are known, and what asks about visits to one is absent.
	Place func(id string) (tags []string, there bool)
}

// Value implements rules.Env.
func (e Env) Value(path string) (any, bool) {
	if !strings.HasPrefix(path, "visited") {
		if kind, name, ok := affinityField(path); ok {
			return e.affinity(kind, name)
		}
		return e.ValueAt(path, e.Now)
	}
	if place, what, ok := rules.VisitedField(path); ok {
		return e.visited(what, func(id string, _ []string) bool { return id == place }, place)
	}
	if tag, what, ok := rules.VisitedTagField(path); ok {
		return e.visited(what, func(_ string, tags []string) bool { return slices.Contains(tags, tag) }, "")
	}
	return nil, false
}

// visited sums the visits to the places that are wanted; one that must exist is named.
func (e Env) visited(what string, wanted func(id string, tags []string) bool, one string) (any, bool) {
	if e.Place == nil || !e.FavouritesAllowed() {
		return nil, false
	}
	if one != "" {
		if _, there := e.Place(one); !there {
			return nil, false
		}
	}
	var visits int64
	var last time.Time
	for id := range e.Places {
		if one != "" && id != one {
			continue
		}
		tags, there := e.Place(id)
		if !there || !wanted(id, tags) {
			continue
		}
		n, at := e.VisitsTo(id, e.Now)
		visits += n
		if at.After(last) {
			last = at
		}
	}
	if what == "visits" {
		return visits, true
	}
	return last, !last.IsZero()
}

func affinityField(path string) (kind, name string, ok bool) {
	rest, ok := strings.CutPrefix(path, "affinity.")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ".")
}

// affinity is the score of what a person turns to, to two decimals.
func (e Env) affinity(kind, name string) (any, bool) {
	ws, known := e.Affinities[kind+":"+AffinityName(name)]
	if !known {
		return nil, false
	}
	return math.Round(score(ws, e.Now)*100) / 100, true
}

// valueOf is Value of purchases and phones.
func (p *Profile) valueOf(path string) (any, bool) {
	group, name, grouped := strings.Cut(path, ".")
	switch {
	case grouped && group == "purchases_total":
		t := p.Purchases.Totals()
		a, known := t.By[name]
		return a.Units(), known
	case grouped && group == "redeemed":
		return p.Redeemed[name].N, true
	case grouped && (group == "app_version" || group == "os_version"):
		return p.highestVersion(group, name)
	}
	switch path {
	case "first_purchase_at":
		t := p.Purchases.Totals()
		return t.FirstAt, !t.FirstAt.IsZero()
	case "redemptions_count":
		n, _ := p.Redeemed.Total()
		return n, true
	case "last_redemption_at":
		_, at := p.Redeemed.Total()
		return at, !at.IsZero()
	case "last_purchase_value":
		return p.Purchases.lastValue()
	case "identifier_kinds":
		out := []string{}
		for _, id := range p.Identifiers { // sorted, and so is what comes of it
			if kind, _, _ := strings.Cut(id, ":"); !slices.Contains(out, kind) {
				out = append(out, kind)
			}
		}
		return out, true
	case "devices_count":
		return len(p.Devices), true
	case "push_reachable":
		return p.Reach().Push, true
	case "notifications_granted":
		for _, d := range p.Devices {
			if d.Notifiable() {
				return true, true
			}
		}
		return false, true
	case "location_permissions":
		out := []string{}
		for _, d := range p.Devices {
			if d.Location != "" && !slices.Contains(out, d.Location) {
				out = append(out, d.Location)
			}
		}
		slices.Sort(out)
		return out, true
	}
	return nil, false
}

// highestVersion of an app or a system among the devices of a platform.
func (p *Profile) highestVersion(of, platform string) (any, bool) {
	highest, known := "", false
	for _, d := range p.DevicesByUse() {
		v := d.AppVersion
		if of == "os_version" {
			v = d.OSVersion
		}
		if d.Platform == platform && v != "" && (!known || rules.VersionAbove(v, highest)) {
			highest, known = v, true
		}
	}
	return highest, known
}

// Read decodes what audiences can ask of a saved person. When things were said, which is
// a good part of the bytes and matters only to what is said next, is left out: such a
// Profile is to be asked, never to be kept.
func Read(body []byte) (*Profile, error) {
	var p struct {
		Profile
		AttributeAt  unread `json:"attribute_at"`
		PreferenceAt unread `json:"preference_at"`
		Answers      unread `json:"answers"`
		Links        unread `json:"links"`
		Gone         unread `json:"gone"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, fmt.Errorf("decode profile: %w", err)
	}
	return &p.Profile, nil
}

// unread takes any JSON and keeps nothing.
type unread struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (*unread) UnmarshalJSON([]byte) error { return nil }

// Reach is by which ways a message could come to a person now.
type Reach struct {
	Marketing bool // they agreed to marketing messages
	Phone     bool // some app of theirs can show a message or keep it in its inbox
	Push      bool // some phone of theirs takes pushes
}

// Reach says by which ways a message could come to the person. Quiet hours, caps and the
// like are of a moment and not in it.
func (p *Profile) Reach() Reach {
	r := Reach{Marketing: p.Consented(engage.ConsentMarketing), Phone: len(p.Devices) > 0}
	for _, d := range p.Devices {
		if d.TakesPushes() {
			r.Push = true
			break
		}
	}
	return r
}
