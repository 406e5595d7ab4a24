package decide

import (
	"fmt"
	"strings"

	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

// ReadProfile decodes the profile of a person as the store has them, to be asked whether
// an audience holds. It is Decode for who reads many, and wants no more.
func ReadProfile(body []byte) (*profile.Profile, error) {
	var p Person
	if err := personJSON.Unmarshal(body, &p); err != nil {
		return nil, fmt.Errorf("decode person: %w", err)
	}
	return &p.Profile, nil
}

// Value implements rules.Env over rules.PersonSchema.
func (p personBefore) Value(path string) (any, bool) {
	switch path {
	case "visits":
		return p.before.Visits, true
	case "last_visit_at":
		return p.before.LastVisitAt, !p.before.LastVisitAt.IsZero()
	case "last_seen":
		return p.before.LastSeen, !p.before.LastSeen.IsZero()
	}
	if strings.HasPrefix(path, "visited") || strings.HasPrefix(path, "affinity.") {
		return profile.Env{Profile: &p.Profile, Now: p.now, Place: p.config.tagsOf}.Value(path)
	}
	return p.ValueAt(path, p.now)
}

// tagsOf a place, and whether there is such a place.
func (w *workspace) tagsOf(place string) (tags []string, there bool) {
	p := w.places[place]
	if p == nil {
		return nil, false
	}
	return p.Tags, true
}

// visitedPlaces are the places about visits to which an audience asks.
func visitedPlaces(audience *rules.Rule) []rules.PlaceRef {
	var out []rules.PlaceRef
	for _, ref := range audience.Places() {
		if strings.HasSuffix(ref.Path, "field") {
			out = append(out, ref)
		}
	}
	return out
}

// lostPlaces are clauses about visits to places that are no more. A rule that has one
// holds for nobody: "not there in 30 days" would else hold for everybody.
func (a *attempt) lostPlaces() (lost []rules.Clause) {
	for _, ref := range a.c.visited {
		if a.s.config.places[ref.Place] == nil {
			lost = append(lost, rules.Clause{Path: ref.Path, Field: "place " + ref.Place, Op: rules.Exists})
		}
	}
	return lost
}

// maxTraced is how many clauses of a rule that did not hold a trace keeps.
const maxTraced = 40

// traced puts what became of a rule that did not hold into what a gate saw: the clauses
// to blame, and all of them where there are others.
func traced(saw map[string]any, x *rules.Explanation) map[string]any {
	failed, all := x.Failed(), x.Clauses()
	saw["failed"] = failed
	if len(all) > len(failed) {
		saw["clauses"] = all[:min(len(all), maxTraced)]
	}
	return saw
}
