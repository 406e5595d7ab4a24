package profile

import (
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

// Unprofiled forgets what behaviour has shown of a person who does not agree to that.
func (p *Profile) Unprofiled() {
	if !p.Consented(engage.ConsentProfiling) {
		p.Affinities = nil
	}
	if !p.FavouritesAllowed() {
		p.Places = nil
	}
}
