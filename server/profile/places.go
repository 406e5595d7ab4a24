package profile

import (
	"cmp"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Favourite places are those that a person has visited most: visits to the inside count,
// one each, and fade as affinities do, half of them in 30 days. Only visits that a phone
// told while the person agreed to profiling and to location count; all are forgotten
// when they agree to one of these no more.
const (
	// MostPlaces is how many favourite places are told.
	MostPlaces = 5
	// placeWithin is how long ago the newest visit to one may be.
	placeWithin = 90 * 24 * time.Hour
)

// FavouritesAllowed reports whether the person agreed to what favourite places need.
func (p *Profile) FavouritesAllowed() bool {
	return p.Consented(engage.ConsentProfiling) &&
		(p.Consented(engage.ConsentLocationForeground) || p.Consented(engage.ConsentLocationBackground))
}

// VisitedPlace notes a visit to the inside of a place, if the person allows it.
func (p *Profile) VisitedPlace(place string, at time.Time) {
	if place == "" || at.Unix() < 0 || !p.FavouritesAllowed() {
		return
	}
	p.Places = p.Places.with(Affinities{place: {{at.Unix() / int64(affinitySpan/time.Second), 1}}})
	p.visitedAt(place, at)
}

// FavouritePlaces are the ids of the places that the person visited most, the favourite
// first, at most MostPlaces; empty when there are none, or nobody may know.
func (p *Profile) FavouritePlaces(at time.Time) []string {
	oldest := at.Add(-placeWithin).Unix() / int64(affinitySpan/time.Second)
	out := []string{}
	for _, place := range p.Places.ranked(at) {
		ws := p.Places[place]
		if ws[len(ws)-1].Span < oldest {
			continue
		}
		if out = append(out, place); len(out) == MostPlaces {
			break
		}
	}
	return out
}

// What makes a home place.
const (
	homeVisits = 3 // at least, of the last 110 to 120 days
	homeSpans  = 2 // of ten days, in which they were
)

// HomePlace is the id of the person's home store: the place that they have visited most
// in all the time that visits are kept (VisitsTo), each visit counting the same, so that
// it changes slowly, where the favourite is of late. Three visits, not all within the same
// ten days, make one; of equals the one visited last, then the smaller id. Empty when
// there is none, or nobody may know.
func (p *Profile) HomePlace(at time.Time) string {
	oldest := at.Unix()/int64(affinitySpan/time.Second) - affinitySpans
	home, most, last := "", int64(0), time.Time{}
	for place, ws := range p.Places {
		spans := 0
		for _, w := range ws {
			if w.Span > oldest {
				spans++
			}
		}
		visits, newest := p.VisitsTo(place, at)
		if spans < homeSpans || visits < homeVisits {
			continue
		}
		if c := cmp.Or(cmp.Compare(visits, most), newest.Compare(last), strings.Compare(home, place)); home == "" || c > 0 {
			home, most, last = place, visits, newest
		}
	}
	return home
}

// Unprofiled forgets what behaviour has shown of a person who does not agree to that.
func (p *Profile) Unprofiled() {
	if !p.Consented(engage.ConsentProfiling) {
		p.Affinities = nil
	}
	if !p.FavouritesAllowed() {
		p.Places, p.PlaceAt = nil, nil
	}
}
