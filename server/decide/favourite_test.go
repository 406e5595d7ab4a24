package decide_test

import (
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// A visit makes a favourite place, for the next rule and text; a withdrawal forgets it.
func TestTheFavouritePlaceIsKnownToRulesAndTexts(t *testing.T) {
	w := newWorld(t, offer("regular", func(c *engage.Campaign) {
		c.Audience = []byte(`{"all":[{"field":"favourite_place","op":"eq","value":"cafe"},{"field":"favourite_places","op":"contains","value":"bar"}]}`)
		c.Arms[0].Message.Title = "Back at {{ profile.favourite_place.name }}{% if profile.home_place %} (home){% endif %}, not {{ profile.favourite_places[1].name }}?"
	}))
	w.meet("ada")
	yes := map[engage.Purpose]engage.Consent{}
	for _, p := range []engage.Purpose{engage.ConsentMarketing, engage.ConsentProfiling, engage.ConsentLocationForeground} {
		yes[p] = engage.Consent{Granted: true, At: t0}
	}
	w.apply(entry(engage.KindConsent, person("ada"), sec, yes))
	for i, place := range []string{"cafe", "bar", "cafe"} {
		at := time.Duration(i+1) * 24 * time.Hour
		w.apply(enters("ada", place, "v"+place+at.String(), at))
	}
	if got := w.person("ada").FavouritePlaces(t0.Add(72 * time.Hour)); !slices.Equal(got, []string{"cafe", "bar"}) {
		t.Fatalf("favourites %v", got)
	}
	if sends := w.sends(); len(sends) != 0 { // the bar was as much of a favourite, until this visit
		t.Fatalf("sent %+v", sends)
	}
	w.apply(enters("ada", "bar", "v4", 96*time.Hour))
	if sends := w.sends(); len(sends) != 1 || sends[0].Title != "Back at Café, not Bar?" {
		t.Fatalf("sent %+v", sends)
	}
	w.apply(entry(engage.KindConsent, person("ada"), 97*time.Hour, map[engage.Purpose]engage.Consent{engage.ConsentProfiling: {At: t0.Add(97 * time.Hour)}}))
	if p := w.person("ada"); p.Places != nil {
		t.Errorf("after the withdrawal: %v", p.Places)
	}
	w.apply(enters("ada", "cafe", "v5", 120*time.Hour))
	if p := w.person("ada"); p.Places != nil || p.Visits != 5 {
		t.Errorf("a visit after it: %v, %d visits", p.Places, p.Visits)
	}
}
