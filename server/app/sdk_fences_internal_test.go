package app

import (
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/engage"
)

// Phones watch more gladly where a running campaign waits.
func TestAPlaceThatARunningCampaignNamesWeighsMore(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	hour := func(n int) *time.Time {
		at := noon.Add(time.Duration(n) * time.Hour)
		return &at
	}
	place := func(id string, dwellS int, tags ...string) *engage.Place {
		return &engage.Place{ID: id, Workspace: "acme", Name: id, Tags: tags, Geofences: []engage.Geofence{
			{ID: id + "-in", Ring: engage.Inside, Shape: geo.Circle{RadiusM: 100}, DwellS: dwellS},
			{ID: id + "-near", Ring: engage.Near, Shape: geo.Circle{RadiusM: 300}},
		}}
	}
	places := []*engage.Place{place("cafe", 300), place("shop", 0, "fashion"), place("other", 0, "books")}
	live := func(change func(*engage.Campaign)) *engage.Campaign {
		c := &engage.Campaign{ID: "c", Workspace: "acme", Status: engage.Live}
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerPlace, Transition: engage.Enter}
		change(c)
		return c
	}
	for _, c := range []struct {
		name     string
		campaign *engage.Campaign
		heavy    string
	}{
		{"by its id", live(func(c *engage.Campaign) { c.Trigger.Places = []string{"cafe"} }), "cafe"},
		{"by a tag", live(func(c *engage.Campaign) { c.Trigger.Tags = []string{"x", "fashion"} }), "shop"},
		{"all places alike", live(func(*engage.Campaign) {}), ""},
		{"a draft", live(func(c *engage.Campaign) { c.Trigger.Places = []string{"cafe"}; c.Status = engage.Draft }), ""},
		{"not yet", live(func(c *engage.Campaign) { c.Trigger.Places = []string{"cafe"}; c.Start = hour(1) }), ""},
		{"no more", live(func(c *engage.Campaign) { c.Trigger.Places = []string{"cafe"}; c.End = hour(0) }), ""},
		{"while it lasts", live(func(c *engage.Campaign) { c.Trigger.Places = []string{"cafe"}; c.Start, c.End = hour(0), hour(1) }), "cafe"},
		{"of an event", live(func(c *engage.Campaign) {
			c.Trigger = engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "x", Places: []string{"cafe"}}
		}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &sdkFences{clock: clock.NewManual(noon), wishes: wishesOf(places, []*engage.Campaign{c.campaign})}
			for _, p := range places {
				want := 1.0
				if p.ID == c.heavy {
					want = 2
				}
				for _, ring := range []string{"-in", "-near"} {
					if got := f.Wish(p.ID + ring); got.Weight != want {
						t.Errorf("%s%s weighs %v, want %v", p.ID, ring, got.Weight, want)
					}
				}
			}
			if got := f.Wish("cafe-in").Dwell; got != 5*time.Minute {
				t.Errorf("dwell of %v", got)
			}
			if got := f.Wish("cafe-near").Dwell; got != 0 {
				t.Errorf("dwell of %v", got)
			}
		})
	}
}

// What a change of the catalogue means to phones is told by what differs.
func TestOnlyWhatDiffersIsToldToPhonesAsChanged(t *testing.T) {
	hall := func(id string, lat, radiusM float64) *engage.Place {
		return &engage.Place{ID: id, Geofences: []engage.Geofence{
			{ID: id + "-in", Shape: geo.Circle{Around: geo.Point{Lat: lat}, RadiusM: radiusM}},
		}}
	}
	a, b, c := hall("a", 1, 100), hall("b", 2, 100), hall("c", 3, 100)
	many := make([]*engage.Place, maxSince+1)
	for i := range many {
		many[i] = hall(fmt.Sprintf("m%04d", i), 10, 100)
	}
	start := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	named := func(places []*engage.Place, ids ...string) *sdkFences {
		same := start // another pointer, as another revision has it
		cam := &engage.Campaign{Status: engage.Live, Start: &same, Trigger: engage.CampaignTrigger{Type: engage.TriggerPlace, Places: ids}}
		return &sdkFences{workspace: "acme", places: places, wishes: wishesOf(places, []*engage.Campaign{cam})}
	}
	fences := func(places ...*engage.Place) *sdkFences { return named(places) }
	for _, x := range []struct {
		name    string
		was, is *sdkFences
		want    string // latitudes
		untold  bool
	}{
		{"nothing", fences(a, b, c), fences(a, b, c), "[]", false},
		{"one is new", fences(a, c), fences(a, b, c), "[2]", false},
		{"the last is new", fences(a, b), fences(a, b, c), "[3]", false},
		{"one is gone", fences(a, b, c), fences(a, c), "[2]", false},
		{"the last is gone", fences(a, b, c), fences(a, b), "[3]", false},
		{"one has moved", fences(a, b, c), fences(a, hall("b", 5, 100), c), "[2 5]", false},
		{"a campaign names one", fences(a, b, c), named([]*engage.Place{a, b, c}, "b"), "[2]", false},
		{"another revision of the campaign", named([]*engage.Place{a, b, c}, "b"), named([]*engage.Place{a, b, c}, "b"), "[]", false},
		{"it names another", named([]*engage.Place{a, b, c}, "b"), named([]*engage.Place{a, b, c}, "c"), "[2 3]", false},
		{"an import", fences(a), fences(append([]*engage.Place{a}, many...)...), "[]", true},
		{"another workspace", &sdkFences{workspace: "rival"}, fences(a), "[]", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			changed, ok := x.is.Since(x.was)
			var lats []float64
			for _, c := range changed {
				lats = append(lats, c.Around.Lat)
			}
			if fmt.Sprint(lats) != x.want || ok == x.untold {
				t.Errorf("changed %v, %v; want %v", lats, ok, x.want)
			}
		})
	}
}
