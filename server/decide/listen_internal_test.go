package decide

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

func listener(id int, t engage.CampaignTrigger) *engage.Campaign {
	return &engage.Campaign{
		ID: fmt.Sprintf("c%05d", id), Name: "c", Class: engage.Marketing, Status: engage.Live, Trigger: t,
		Arms: []engage.Arm{{ID: "a", Message: engage.Content{Title: "Hi"}}},
	}
}

func workspaceWith(t testing.TB, places []*engage.Place, campaigns []*engage.Campaign) *workspace {
	t.Helper()
	c, errs := NewConfig([]Workspace{{ID: "acme", Places: places, Campaigns: campaigns}})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return c.workspaces["acme"]
}

// hears is what the index stands for, campaign by campaign.
func hears(c *engage.Campaign, place *engage.Place, t *engage.Trigger) bool {
	of := c.Trigger
	if of.Type != t.Type {
		return false
	}
	if of.Type == engage.TriggerEvent {
		return of.Event == t.Event
	}
	at := len(of.Places) == 0 && len(of.Tags) == 0 || slices.Contains(of.Places, t.Place)
	for _, tag := range of.Tags {
		at = at || place != nil && slices.Contains(place.Tags, tag)
	}
	if len(of.Rings) == 0 {
		of.Rings = []engage.Ring{engage.Inside}
	}
	return at && of.Transition == t.Transition && slices.Contains(of.Rings, t.Ring)
}

func TestTheIndexFindsWhatAskingEveryCampaignDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	pick := func(from ...string) (out []string) {
		for _, x := range from {
			if rng.IntN(3) == 0 {
				out = append(out, x)
			}
		}
		return append(out, out...) // what stands twice counts once
	}
	places := []*engage.Place{{ID: "p0", Tags: []string{"t0", "t1"}}, {ID: "p1", Tags: []string{"t1"}}, {ID: "p2"}}
	var campaigns []*engage.Campaign
	for i := range 300 {
		c := listener(299-i, engage.CampaignTrigger{Type: engage.TriggerEvent, Event: "e" + strconv.Itoa(rng.IntN(3))})
		if rng.IntN(3) > 0 {
			c.Trigger = engage.CampaignTrigger{
				Type: engage.TriggerPlace, Transition: engage.Transitions[rng.IntN(len(engage.Transitions))],
				Places: pick("p0", "p1", "gone"), Tags: pick("t0", "t1", "none"),
				Rings: [][]engage.Ring{nil, {engage.Near}, {engage.Inside, engage.Near}}[rng.IntN(3)],
			}
		}
		campaigns = append(campaigns, c)
	}
	w := workspaceWith(t, places, campaigns)
	slices.SortFunc(campaigns, func(a, b *engage.Campaign) int { return cmpID(a.ID, b.ID) })
	found := 0
	check := func(tr engage.Trigger, place *engage.Place) {
		t.Helper()
		var want, got []string
		for _, c := range campaigns {
			if hears(c, place, &tr) {
				want = append(want, c.ID)
			}
		}
		for range 2 { // asking changes nothing
			got = nil
			for _, c := range w.listening(&tr, time.Time{}) {
				got = append(got, c.ID)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s %s %s at %q: %v, want %v", tr.Type, tr.Transition, tr.Ring, tr.Place, got, want)
			}
		}
		found += len(got)
	}
	for _, p := range append(places, nil) {
		id := "nowhere"
		if p != nil {
			id = p.ID
		}
		for _, tr := range engage.Transitions {
			for _, r := range []engage.Ring{engage.Inside, engage.Near} {
				check(engage.Trigger{Type: engage.TriggerPlace, Place: id, Transition: tr, Ring: r}, p)
			}
		}
	}
	for i := range 4 {
		check(engage.Trigger{Type: engage.TriggerEvent, Event: "e" + strconv.Itoa(i)}, nil)
	}
	if found == 0 {
		t.Fatal("nothing was found at all")
	}
}

func cmpID(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

func TestAPropertyIsFoundByNameAndByPath(t *testing.T) {
	props := propertiesOf([]byte(`{"total":1e999,"a.b":1,"a":{"b":2,"c":{"d":3}},"no":null,"list":[1]}`))
	for path, want := range map[string]any{"a.b": 1.0, "a.c.d": 3.0, "a.c.x": nil, "total": nil, "no": nil, "list.0": nil, "x": nil} {
		got, there := property(props, path)
		if got != want || there != (want != nil) {
			t.Errorf("%s is %v (%v), want %v", path, got, there, want)
		}
	}
}
