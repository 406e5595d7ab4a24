package profile

import (
	"maps"
	"time"
)

// visitedAt notes when the newest visit to a place began; VisitedPlace has asked whether
// the person allows it.
func (p *Profile) visitedAt(place string, at time.Time) {
	if at.After(p.PlaceAt[place]) {
		p.PlaceAt = with(p.PlaceAt, place, at.UTC())
	}
	p.limitPlaces()
}

// limitPlaces forgets when places were visited of which Places has nothing any more.
func (p *Profile) limitPlaces() {
	for place := range p.PlaceAt {
		if _, kept := p.Places[place]; kept {
			continue
		}
		p.PlaceAt = maps.Clone(p.PlaceAt)
		maps.DeleteFunc(p.PlaceAt, func(place string, _ time.Time) bool { return p.Places[place] == nil })
		break
	}
	if len(p.PlaceAt) == 0 {
		p.PlaceAt = nil
	}
}

// newestVisits is when both together last visited each place.
func newestVisits(a, b map[string]time.Time) map[string]time.Time {
	if len(b) == 0 {
		return a
	}
	out := cloneOf(a)
	for place, at := range b {
		if at.After(out[place]) {
			out[place] = at
		}
	}
	return out
}

// VisitsTo is how often the person visited the inside of a place in the last 110 to 120
// days (Places keeps spans of ten days), and when the newest visit began; zero when there
// was none. What an earlier build noted without the time began, at the earliest, with its
// span.
func (p *Profile) VisitsTo(place string, now time.Time) (visits int64, last time.Time) {
	newest := now.Unix() / int64(affinitySpan/time.Second)
	for _, w := range p.Places[place] {
		if w.Span <= newest-affinitySpans {
			continue
		}
		visits += w.W
		last = time.Unix(w.Span*int64(affinitySpan/time.Second), 0).UTC()
	}
	if at := p.PlaceAt[place]; visits > 0 && at.After(last) {
		last = at
	}
	return visits, last
}
