package decide

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

// Learner hears which types the attributes have that none is known of. It is beside the
// flow: what it makes of that becomes a revision of the configuration, and binds from
// where a partition adopts that. It is called once more when a record is replayed.
type Learner interface {
	Untyped(workspace, name string, t rules.Type, trusted bool)
}

// maxMisfits is how many attributes of one entry are listed one by one.
const maxMisfits = 20

// typed takes those attributes out of what is told of a person whose values are not of
// their type, each alone, and lists them as dropped with what d says of where they came
// from. It returns what is left, which is traits itself where all is well, and the names
// of those that are not, sorted. Of attributes whose type is not known it tells the
// learner.
func (s *step) typed(traits map[string]any, trusted bool, d engage.Dropped) (fit map[string]any, misfits []string) {
	for name, v := range traits {
		want, known := s.config.attributes[name]
		if !known || trusted && s.config.doubtful[name] {
			if t := rules.TypeOf(v); t != "" && s.m.Learner != nil {
				s.m.Learner.Untyped(s.ws, name, t, trusted)
			}
			continue
		}
		if !want.Fits(v) {
			misfits = append(misfits, name)
		}
	}
	if len(misfits) == 0 {
		return traits, nil
	}
	slices.Sort(misfits)
	fit = make(map[string]any, len(traits)-len(misfits))
	for name, v := range traits {
		if _, is := slices.BinarySearch(misfits, name); !is {
			fit[name] = v
		}
	}
	for i, name := range misfits {
		d.Code, d.Field = engage.Invalid, "traits."+name
		if i == maxMisfits {
			d.Field, d.Reason = "traits", fmt.Sprintf("%d more are not of their attributes' types", len(misfits)-i)
			s.drop(d)
			break
		}
		d.Reason = fmt.Sprintf("must be %s, since the attribute is one; is %s", s.config.attributes[name].Named(), rules.KindNamed(traits[name]))
		s.drop(d)
	}
	return fit, misfits
}

// fromSDK is where what an app's SDK says of a person comes from, for the list of what
// was dropped.
func (s *step) fromSDK() engage.Dropped {
	return engage.Dropped{From: engage.TouchSource{Kind: "sdk"}, Type: string(s.e.Kind), Profile: s.p.ID}
}

// noRoom lists what found no room in the profile, or cannot be kept.
func (s *step) noRoom(d engage.Dropped, what string, left []string) {
	if len(left) == 0 {
		return
	}
	d.Code, d.Field = engage.TooLarge, what+left[0]
	d.Reason = fmt.Sprintf("%d found no room in the profile, or are too large", len(left))
	s.drop(d)
}

// traits takes what an app says of its user.
func (s *step) traits() error {
	var told map[string]json.RawMessage
	if err := read(s.e, &told); err != nil {
		return err // no object: the protocol refuses such
	}
	values := make(map[string]any, len(told))
	for name, raw := range told {
		var v any
		if json.Unmarshal(raw, &v) == nil { // else no attribute can have it: SetAttributes leaves it out
			values[name] = v
		}
	}
	// An app's key stands in the app: what it teaches of types, nobody can trust.
	_, misfits := s.typed(values, false, s.fromSDK())
	body := []byte(s.e.Body)
	if len(misfits) > 0 {
		fit := maps.Clone(told)
		for _, name := range misfits {
			delete(fit, name)
		}
		var err error
		if body, err = json.Marshal(fit); err != nil {
			return fmt.Errorf("traits: %w", err)
		}
	}
	left, err := s.p.SetAttributes(body, profile.StampOf(s.e.Occurred, s.e.At, true))
	if err != nil {
		return err
	}
	s.noRoom(s.fromSDK(), "traits.", left)
	return folded(s, told, slices.Sorted(slices.Values(append(misfits, left...))))
}
