package app

import (
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
