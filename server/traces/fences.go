package traces

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// Fences are what a Replay lays over traces: a geo.World.
type Fences struct {
	index  *geo.Index
	terms  map[string]geo.Terms
	doubts geo.Doubts
}

// FenceOptions count for all fences.
type FenceOptions struct {
	RadiusM   *float64       // of a Point that gives none; nil: such a one is refused
	Dwell     *time.Duration // instead of what the fences say
	Silence   *time.Duration // likewise, and of watched_silence_s
	AccuracyM *float64       // likewise, of assumed_accuracy_m
	Doubts    geo.Doubts
}

// properties of a feature that are read; others are ignored.
type properties struct {
	ID      *json.RawMessage `json:"id"`
	Name    *json.RawMessage `json:"name"`
	Radius  *float64         `json:"radius"`   // metres
	RadiusM *float64         `json:"radius_m"` // likewise
	Place   *string          `json:"place"`
	Ring    *string          `json:"ring"`   // "near": the fence is itself an approach ring
	NearM   *float64         `json:"near_m"` // an approach ring of that many metres around the fence
	DwellS  *float64         `json:"dwell_s"`
	// As in what footfall places export writes; what stands among the properties
	// themselves comes before rule, and that before place_rule.
	Rule      *engage.FenceRule `json:"rule"`
	PlaceRule *engage.FenceRule `json:"place_rule"`
	own       engage.FenceRule
}

// readProperties reads the properties of a feature.
func readProperties(of map[string]json.RawMessage) (*properties, error) {
	raw, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	p := &properties{}
	if err := json.Unmarshal(raw, p); err != nil {
		return nil, err
	}
	if p.Rule != nil {
		p.own = *p.Rule
	}
	return p, json.Unmarshal(raw, &p.own)
}

// maxFencesText bounds a file of fences, in bytes.
const maxFencesText = 1 << 30

// RingOf is the name of the approach ring that near_m puts around a fence.
func RingOf(fence string) string { return fence + "~near" }

// ParseFences reads GeoJSON: a FeatureCollection, a Feature or a geometry. A feature
// that cannot be a fence is refused, the others stand; warnings say what was put
// right. The error says why there is no fence at all.
//
// A Point with "radius" in metres is a circle. The feature's id names the fence, else
// its properties' id or name, else its number. Its place is "place", else itself.
func ParseFences(text []byte, o FenceOptions) (fences *Fences, refused []Refusal, warnings []string, _ error) {
	if len(text) > maxFencesText {
		return nil, nil, nil, fmt.Errorf("must be at most %d bytes", maxFencesText)
	}
	features, err := geo.ParseFeatures(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))
	if err != nil {
		return nil, nil, nil, err
	}
	f := &Fences{terms: map[string]geo.Terms{}, doubts: o.Doubts}
	var list []geo.Fence
	for i := range features {
		made, warned, x := f.add(i, &features[i], &o)
		if x != nil {
			refused = append(refused, *x)
			continue
		}
		list, warnings = append(list, made...), append(warnings, warned...)
	}
	if len(list) == 0 {
		if len(refused) > 0 {
			return nil, refused, nil, errors.New("has no fence that can be used")
		}
		return nil, nil, nil, errors.New("has no fences")
	}
	if f.index, err = geo.NewIndex(list); err != nil {
		return nil, refused, nil, err
	}
	return f, refused, warnings, nil
}

// add makes the fences of a feature: itself, and the ring around it if it wants one.
func (f *Fences) add(i int, x *geo.Feature, o *FenceOptions) (made []geo.Fence, warnings []string, refused *Refusal) {
	name := fmt.Sprintf("features[%d]", i)
	fail := func(field, format string, args ...any) *Refusal {
		r := refuse(CodeFence, field, format, args...)
		r.Reason += " (" + name + ")"
		return r
	}
	failed := func(err error) *Refusal {
		r := refuseGeo(CodeFence, err)
		return fail(r.Field, "%s", r.Reason)
	}
	if x.Err != nil {
		return nil, nil, failed(x.Err)
	}
	p, err := readProperties(x.Properties)
	if err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, nil, fail("properties."+e.Field, "must be %s, is %s", kindWanted(e), e.Value)
		}
		return nil, nil, failed(err)
	}
	id := cmp.Or(x.ID, textOf(p.ID), textOf(p.Name), fmt.Sprintf("feature-%d", i+1))
	name = fmt.Sprintf("features[%d], %.60q", i, id)
	shape, err := geo.ParseGeometry(x.Geometry, radiusOf(x.Geometry, p, o))
	if err != nil {
		return nil, nil, failed(err)
	}
	for _, w := range geo.Warnings(shape) {
		warnings = append(warnings, fmt.Sprintf("%s: %s", name, w.Reason))
	}
	terms := geo.Terms{Place: id}
	if p.Place != nil && *p.Place != "" {
		terms.Place = *p.Place
	}
	switch {
	case p.Ring == nil || *p.Ring == "" || *p.Ring == "inside":
	case *p.Ring == "near":
		terms.Near = true
	default:
		return nil, nil, fail("properties.ring", `must be "near" or "inside", is %.40q`, *p.Ring)
	}
	if terms.Dwell, refused = dwellOf(p, o); refused != nil {
		return nil, nil, fail(refused.Field, "%s", refused.Reason)
	}
	rule := (&engage.Place{Rule: p.PlaceRule}).RuleOf(&engage.Geofence{Rule: &p.own})
	o.override(&rule)
	if err := rule.Validate(); err != nil {
		return nil, nil, failed(err)
	}
	terms.Rule = &rule
	made = []geo.Fence{{ID: id, Shape: shape}}
	if p.NearM != nil {
		ring := geo.OutwardRing{Of: shape, WithinM: *p.NearM}
		if terms.Near {
			return nil, nil, fail("properties.near_m", `must not be given with "ring": "near"`)
		}
		if err := ring.Validate(); err != nil {
			return nil, nil, fail("properties.near_m", "%s", refuseGeo("", err).Reason)
		}
		made = append(made, geo.Fence{ID: RingOf(id), Shape: ring})
	}
	for _, m := range made {
		if _, there := f.terms[m.ID]; there {
			return nil, nil, fail("id", "stands twice: %q", m.ID)
		}
	}
	f.terms[id] = terms
	if p.NearM != nil {
		f.terms[RingOf(id)] = geo.Terms{Place: terms.Place, Near: true, Rule: &rule}
	}
	return made, warnings, nil
}

// radiusOf is the radius that goes with a geometry; the option's is for Points only,
// for around another shape a radius makes a ring.
func radiusOf(geometry json.RawMessage, p *properties, o *FenceOptions) *float64 {
	if r := cmp.Or(p.Radius, p.RadiusM); r != nil {
		return r
	}
	var g struct{ Type string }
	if json.Unmarshal(geometry, &g) == nil && g.Type == "Point" {
		return o.RadiusM
	}
	return nil
}

func dwellOf(p *properties, o *FenceOptions) (time.Duration, *Refusal) {
	switch {
	case o.Dwell != nil:
		return *o.Dwell, nil
	case p.DwellS == nil:
		return 0, nil
	case !(*p.DwellS >= 0 && *p.DwellS <= geo.MaxRuleTime.Seconds()):
		return 0, refuse(CodeFence, "properties.dwell_s", "must be 0 to %v s, is %v", geo.MaxRuleTime.Seconds(), *p.DwellS)
	}
	return time.Duration(*p.DwellS * float64(time.Second)), nil
}

func (o *FenceOptions) override(r *geo.Rule) {
	if o.Silence != nil {
		r.Silence, r.WatchedSilence = *o.Silence, *o.Silence
	}
	if o.AccuracyM != nil {
		r.AssumedAccuracyM = *o.AccuracyM
	}
}

// textOf is a string, or a number as it was written; empty for others.
func textOf(raw *json.RawMessage) string {
	if raw == nil {
		return ""
	}
	var s string
	if json.Unmarshal(*raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(*raw, &n) == nil {
		return n.String()
	}
	return ""
}

// Len is the number of fences, approach rings included.
func (f *Fences) Len() int { return f.index.Len() }

// Index implements geo.World.
func (f *Fences) Index() *geo.Index { return f.index }

// Terms implements geo.World.
func (f *Fences) Terms(fence string) (geo.Terms, bool) {
	t, there := f.terms[fence]
	return t, there
}

// Doubts implements geo.World.
func (f *Fences) Doubts() geo.Doubts { return f.doubts }

// VisitID implements geo.World: the place and the time at which the visit began,
// which a Replay gives as the seq, so that rows in any order make the same ids.
func (f *Fences) VisitID(place string, seq uint64, n int) string {
	id := place + "@" + time.UnixMicro(int64(seq)).UTC().Format("2006-01-02T15:04:05.999999Z")
	if n > 0 {
		id += fmt.Sprintf("+%d", n)
	}
	return id
}
