package catalog

import (
	"bytes"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// rulesPlaces refuses rules that name places which there are not. A rule that stands as
// it stood is left alone, so that a campaign can be paused whatever became of its places.
func rulesPlaces(s *Snapshot, old, cam *engage.Campaign) error {
	for _, ref := range s.placesOfRules(cam) {
		if s.Place(cam.Workspace, ref.Place) != nil {
			continue
		}
		if old != nil && bytes.Equal(old.Audience, cam.Audience) && bytes.Equal(old.Context, cam.Context) {
			continue
		}
		return engage.Errorf(engage.Invalid, ref.Path, "there is no place %q", ref.Place)
	}
	return nil
}

// ruleNames is where a campaign's rules name a place: "audience.all[0].field"; empty if
// they do not.
func (s *Snapshot) ruleNames(cam *engage.Campaign, place string) string {
	for _, ref := range s.placesOfRules(cam) {
		if ref.Place == place {
			return ref.Path
		}
	}
	return ""
}

// placesOfRules are the places that a campaign's rules name, with the path in the
// campaign. Rules that cannot be read (an older version kept them) name none.
func (s *Snapshot) placesOfRules(cam *engage.Campaign) []rules.PlaceRef {
	var out []rules.PlaceRef
	if r, err := rules.Parse(cam.Audience, rules.PersonSchema(s.Attributes(cam.Workspace))); err == nil {
		for _, ref := range r.Places() {
			out = append(out, rules.PlaceRef{Path: "audience." + ref.Path, Place: ref.Place})
		}
	}
	if r, err := rules.Parse(cam.Context, rules.MomentSchema()); err == nil {
		for _, ref := range r.Places() {
			out = append(out, rules.PlaceRef{Path: "context." + ref.Path, Place: ref.Place})
		}
	}
	return out
}
