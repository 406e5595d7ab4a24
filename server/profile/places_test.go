package profile_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
)

// agreed is a person who agreed to purposes at a time.
func agreed(id string, purposes ...engage.Purpose) *profile.Profile {
	p := &profile.Profile{Workspace: "acme", ID: id}
	answers := map[engage.Purpose]engage.Consent{}
	for _, x := range purposes {
		answers[x] = engage.Consent{Granted: true, At: t0}
	}
	p.SetConsents("", engage.ByPurposeOf(answers))
	return p
}

func TestFavouritePlacesAreThoseVisitedMostLately(t *testing.T) {
	const day = 24 * time.Hour
	p := agreed("ada", engage.ConsentProfiling, engage.ConsentLocationForeground)
	for place, days := range map[string][]int{
		"often": {1, 2, 3}, "once": {1}, "faded": {80, 81, 82, 83}, "long-ago": {120, 121, 122, 123, 124, 125}, "Twice": {5, 6}, "b": {40}, "a": {40},
	} {
		for _, n := range days {
			p.VisitedPlace(place, t0.Add(-time.Duration(n)*day))
		}
	}
	if got := p.FavouritePlaces(t0); !slices.Equal(got, []string{"often", "Twice", "once", "faded", "a"}) {
		t.Errorf("favourites %v", got)
	}
	if got := p.FavouritePlaces(t0.Add(70 * day)); !slices.Equal(got, []string{"often", "Twice", "once"}) {
		t.Errorf("70 days later %v", got)
	}
	if got := p.FavouritePlaces(t0.Add(200 * day)); len(got) != 0 {
		t.Errorf("200 days later %v", got)
	}
}

func TestTheHomePlaceIsVisitedMostOverAllAndChangesSlowly(t *testing.T) {
	const day = 24 * time.Hour
	visits := func(p *profile.Profile, place string, days ...int) {
		for _, n := range days {
			p.VisitedPlace(place, t0.Add(-time.Duration(n)*day))
		}
	}
	p := agreed("ada", engage.ConsentProfiling, engage.ConsentLocationForeground)
	visits(p, "holiday", 1, 2, 3, 4, 5)
	if got := p.HomePlace(t0.Add(5 * day)); got != "" && got != "holiday" {
		t.Errorf("home is %q", got)
	}
	visits(p, "near-home", 100, 80, 60, 50, 40, 30)
	if home, favourite := p.HomePlace(t0), p.FavouritePlaces(t0)[0]; home != "near-home" || favourite != "holiday" {
		t.Errorf("home is %q, the favourite %q", home, favourite)
	}
	if got := p.HomePlace(t0.Add(200 * day)); got != "" {
		t.Errorf("200 days later home is %q", got)
	}
	q := agreed("ben", engage.ConsentProfiling, engage.ConsentLocationForeground)
	visits(q, "twice", 50, 20)
	if got := q.HomePlace(t0); got != "" {
		t.Errorf("two visits make a home, %q", got)
	}
	visits(q, "b", 60, 40, 20)
	visits(q, "a", 60, 40, 20)
	if got := q.HomePlace(t0); got != "a" {
		t.Errorf("of equals home is %q", got)
	}
	visits(q, "b", 60, 10)
	if got := q.HomePlace(t0); got != "b" {
		t.Errorf("the one visited more is not home, but %q", got)
	}
	// One burst of visits within the same ten days is no home.
	r := agreed("cleo", engage.ConsentProfiling, engage.ConsentLocationForeground)
	begins := t0.Truncate(10 * day)
	for range 5 {
		r.VisitedPlace("fair", begins)
	}
	if got := r.HomePlace(t0); got != "" {
		t.Errorf("a fair is home: %q", got)
	}
	p.SetConsents("", engage.ByPurposeOf(map[engage.Purpose]engage.Consent{engage.ConsentLocationForeground: {At: t0.Add(day)}}))
	p.Unprofiled()
	if got := p.HomePlace(t0); got != "" {
		t.Errorf("after the withdrawal home is %q", got)
	}
}

func TestFavouritePlacesNeedBothConsents(t *testing.T) {
	for _, c := range []struct {
		purposes []engage.Purpose
		kept     bool
	}{
		{nil, false},
		{[]engage.Purpose{engage.ConsentProfiling}, false},
		{[]engage.Purpose{engage.ConsentLocationBackground, engage.ConsentMarketing}, false},
		{[]engage.Purpose{engage.ConsentProfiling, engage.ConsentLocationBackground}, true},
	} {
		p := agreed("ada", c.purposes...)
		p.VisitedPlace("cafe", t0)
		if got := len(p.FavouritePlaces(t0)) > 0; got != c.kept {
			t.Errorf("%v: %v", c.purposes, got)
		}
	}
	for _, purpose := range []engage.Purpose{engage.ConsentProfiling, engage.ConsentLocationForeground} {
		p := agreed("ada", engage.ConsentProfiling, engage.ConsentLocationForeground)
		p.VisitedPlace("cafe", t0)
		p.SetConsents("", engage.ByPurposeOf(map[engage.Purpose]engage.Consent{purpose: {At: t0.Add(time.Hour)}}))
		if p.Unprofiled(); p.Places != nil {
			t.Errorf("without %s there are still %v", purpose, p.Places)
		}
	}
}

func TestVisitsToPlacesAddUpWhoeverIsAbsorbed(t *testing.T) {
	both := [2]string{}
	for i := range both {
		a := agreed("a", engage.ConsentProfiling, engage.ConsentLocationForeground)
		b := agreed("b", engage.ConsentProfiling, engage.ConsentLocationForeground)
		a.VisitedPlace("cafe", t0)
		b.VisitedPlace("cafe", t0.Add(-40*24*time.Hour))
		b.VisitedPlace("bar", t0)
		if i == 1 {
			a, b = b, a
		}
		a.Absorb(b, profile.Link{A: "a", B: "b", At: t0})
		text, err := json.Marshal([]any{a.Places, a.FavouritePlaces(t0)})
		if err != nil {
			t.Fatal(err)
		}
		both[i] = string(text)
	}
	if both[0] != both[1] || len(both[0]) < 40 {
		t.Errorf("%s\n%s", both[0], both[1])
	}
	strict := agreed("c")
	strict.SetConsents("", engage.ByPurposeOf(map[engage.Purpose]engage.Consent{engage.ConsentProfiling: {At: t0}}))
	p := agreed("a", engage.ConsentProfiling, engage.ConsentLocationForeground)
	p.VisitedPlace("cafe", t0)
	if p.Absorb(strict, profile.Link{A: "a", B: "c", At: t0.Add(time.Minute)}); p.Places != nil {
		t.Errorf("one with somebody who said no: %v", p.Places)
	}
}
