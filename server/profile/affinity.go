package profile

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// How affinities are kept: weights by spans of time, whole numbers, so that they add up
// to the same in whatever order they come, and fade without being touched.
const (
	affinitySpan     = 10 * 24 * time.Hour
	affinityHalfLife = 30 * 24 * time.Hour
	affinitySpans    = 12 // older ones, worth less than a sixteenth, are forgotten
	maxAffinities    = 150
	maxAffinityName  = 60 // bytes
)

// Kinds of affinities.
const (
	AffinityCategory = "category"
	AffinityBrand    = "brand"
	AffinityTopic    = "topic"
)

// Weights of what a person does.
const (
	WeightSeen   = 1 // looked at, searched, mentioned
	WeightWanted = 3 // put into the basket or on a list
	WeightBought = 5
)

// AffinityThreshold is the score from which on something counts as an affinity: a
// purchase of two months ago, or looking at it twice lately; MostAffinities is how many
// are told.
const (
	AffinityThreshold = 1.25
	MostAffinities    = 10
)

// Affinities are what the person turns to, as behaviour shows it: by "<kind>:<name>",
// name in lower case, the weight in each span of ten days since 1970. Its lists are
// replaced, never changed.
type Affinities map[string][]Weight

// Weight in a span of time.
type Weight struct {
	Span int64 `json:"s"`
	W    int64 `json:"w"`
}

// AffinityName is how a name is kept: two that differ by case or by the spaces around
// them are one.
func AffinityName(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// Lean notes that the person turned to something at a time.
func (p *Profile) Lean(kind, name string, weight int64, at time.Time) {
	name = AffinityName(name)
	if name == "" || len(name) > maxAffinityName || at.Unix() < 0 {
		return
	}
	span := at.Unix() / int64(affinitySpan/time.Second)
	p.Affinities = p.Affinities.with(Affinities{kind + ":" + name: {{span, weight}}})
}

func (a Affinities) with(b Affinities) Affinities {
	if len(b) == 0 {
		return a
	}
	out := Affinities(cloneOf(a))
	for key, more := range b {
		all := slices.Concat(out[key], more)
		slices.SortFunc(all, func(x, y Weight) int { return cmp.Compare(x.Span, y.Span) })
		sum := all[:0]
		for _, w := range all {
			if n := len(sum); n > 0 && sum[n-1].Span == w.Span {
				sum[n-1].W += w.W
			} else {
				sum = append(sum, w)
			}
		}
		newest := sum[len(sum)-1].Span
		sum = slices.DeleteFunc(sum, func(w Weight) bool { return w.Span <= newest-affinitySpans })
		out[key] = slices.Clip(sum)
	}
	if n := len(out) - maxAffinities; n > 0 {
		var newest int64
		for _, ws := range out {
			newest = max(newest, ws[len(ws)-1].Span)
		}
		at := time.Unix((newest+1)*int64(affinitySpan/time.Second), 0)
		for _, key := range out.ranked(at)[maxAffinities:] {
			delete(out, key)
		}
	}
	return out
}

// score at a time: each weight halves every 30 days after the middle of its span, by
// whole hours. It is reckoned in whole numbers: floating point may be rounded otherwise
// on another processor, and a rehearsal there would decide otherwise.
func score(ws []Weight, at time.Time) float64 {
	var sum int64
	for _, w := range ws {
		middle := w.Span*int64(affinitySpan/time.Second) + int64(affinitySpan/time.Second)/2
		sum += w.W * decayed(max(at.Unix()-middle, 0)/3600)
	}
	return float64(sum) / one
}

const (
	one           = 1 << 32 // of what decayed returns
	halfLifeHours = int64(affinityHalfLife / time.Hour)
)

// afterHours is what is left of one, in 2⁻³², after 1, 2, 4, … 512 hours: 2^(-n/720),
// rounded.
var afterHours = [...]uint64{
	4290834502, 4286705684, 4278459964, 4262016076, 4229317660, 4164671494, 4038328458, 3797024659, 3356811651, 2623578641,
}

// decayed is what is left of one after some hours, in 2⁻³².
func decayed(hours int64) int64 {
	left := uint64(one)
	for i, rest := 0, hours%halfLifeHours; rest > 0; i, rest = i+1, rest>>1 {
		if rest&1 == 1 {
			left = left * afterHours[i] >> 32
		}
	}
	return int64(left >> min(hours/halfLifeHours, 63)) //nolint:gosec // at most one
}

// ranked are the keys by score, the highest first.
func (a Affinities) ranked(at time.Time) []string {
	keys := make([]string, 0, len(a))
	scores := make(map[string]float64, len(a))
	for key, ws := range a {
		keys = append(keys, key)
		scores[key] = score(ws, at)
	}
	slices.SortFunc(keys, func(x, y string) int { return cmp.Or(cmp.Compare(scores[y], scores[x]), strings.Compare(x, y)) })
	return keys
}

// Top are the names of these kinds that score at least AffinityThreshold at a time, the
// highest first, at most MostAffinities.
func (a Affinities) Top(at time.Time, kinds ...string) []string {
	out := []string{}
	for _, key := range a.ranked(at) {
		kind, name, _ := strings.Cut(key, ":")
		if score(a[key], at) < AffinityThreshold || len(out) == MostAffinities {
			break
		}
		if slices.Contains(kinds, kind) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// Likings of a person at a time, as behaviour shows them: categories and topics.
func (p *Profile) Likings(at time.Time) []string {
	return p.Affinities.Top(at, AffinityCategory, AffinityTopic)
}

// Brands that the person turns to at a time.
func (p *Profile) Brands(at time.Time) []string { return p.Affinities.Top(at, AffinityBrand) }
