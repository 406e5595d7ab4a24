package decide_test

import (
	"errors"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

// hears is what situate tells of a beacon of the cafe.
func hears(beacon string, what engage.Transition, wide bool, occasion string, at time.Duration) engage.Entry {
	return entry(engage.KindTrigger, person("ada"), at, engage.Trigger{
		Type: engage.TriggerBeacon, Occasion: occasion, Install: "i-ada", OccurredAt: t0.Add(at), Transition: what,
		Place: "cafe", Fence: "cafe-in", Beacon: beacon, PlaceWide: wide, Evidence: "beacon",
	})
}

func onBeacon(what engage.Transition, change func(*engage.CampaignTrigger)) func(*engage.Campaign) {
	return func(c *engage.Campaign) {
		c.Trigger = engage.CampaignTrigger{Type: engage.TriggerBeacon, Transition: what}
		if change != nil {
			change(&c.Trigger)
		}
	}
}

func TestABeaconFiresTheCampaignsThatNameItItsPlaceOrATag(t *testing.T) {
	at := func(places, tags, beacons []string) func(*engage.CampaignTrigger) {
		return func(t *engage.CampaignTrigger) { t.Places, t.Tags, t.Beacons = places, tags, beacons }
	}
	for _, c := range []struct {
		name    string
		trigger engage.Entry
		want    []string
	}{
		{"the first of the place", hears("door", engage.Enter, true, "s1", sec), []string{"any", "by-door", "by-place", "by-tag", "everything"}},
		{"another one of it", hears("till", engage.Enter, false, "s2", sec), []string{"by-till", "everything"}},
		{"near", hears("till", engage.ComeNear, true, "s2", sec), []string{"near"}},
		{"one is lost", hears("door", engage.Exit, false, "s1", sec), nil},
		{"the last is lost", hears("door", engage.Exit, true, "s1", sec), []string{"left"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t,
				offer("place"), // of a place trigger: hears of no beacon
				offer("any", onBeacon(engage.Enter, nil)), offer("by-place", onBeacon(engage.Enter, at([]string{"cafe", "bar"}, nil, nil))),
				offer("by-tag", onBeacon(engage.Enter, at(nil, []string{"coffee"}, nil))), offer("other", onBeacon(engage.Enter, at([]string{"bar"}, nil, nil))),
				offer("by-door", onBeacon(engage.Enter, at(nil, nil, []string{"door"}))), offer("by-till", onBeacon(engage.Enter, at(nil, nil, []string{"till"}))),
				offer("everything", onBeacon(engage.Enter, at([]string{"cafe"}, []string{"coffee"}, []string{"door", "till"}))),
				offer("near", onBeacon(engage.ComeNear, nil)), offer("left", onBeacon(engage.Exit, at([]string{"cafe"}, nil, nil))),
			)
			w.meet("ada")
			w.apply(c.trigger)
			var got []string
			for _, d := range w.decisions() {
				got = append(got, d.Campaign)
			}
			if mustJSON(t, got) != mustJSON(t, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestABeaconsOccasionIsSpokenOfOnceAndItsNameCanBeSaid(t *testing.T) {
	w := newWorld(t, offer("x", onBeacon(engage.Enter, nil), func(c *engage.Campaign) {
		c.Context = rule(`{"field":"trigger.beacon","op":"prefix","value":"do"}`)
		c.Arms[0].Message.Title = "{{ trigger.beacon }} of {{ place.name }}: {{ trigger.transition }}"
	}))
	w.meet("ada")
	w.apply(hears("door", engage.Enter, true, "s1", sec), hears("door", engage.Enter, true, "s1", 3*time.Minute), hears("till", engage.Enter, true, "s3", 20*time.Minute))
	w.wantVerdicts("x pending, x suppressed eligibility_occasion_used, x suppressed context")
	if got := w.sends(); len(got) != 1 || got[0].Title != "door of Café: enter" {
		t.Errorf("sent %s", mustJSON(t, got))
	}
	if n := w.person("ada").Visits; n != 0 {
		t.Errorf("to hear a beacon counts as %d visits", n)
	}
}

func TestABeaconTriggerIsRefusedWithItsField(t *testing.T) {
	many := make([]string, 201)
	for i := range many {
		many[i] = string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	for field, change := range map[string]func(*engage.CampaignTrigger){
		"trigger.transition": func(t *engage.CampaignTrigger) { t.Transition = engage.Dwell },
		"trigger.rings":      func(t *engage.CampaignTrigger) { t.Rings = []engage.Ring{engage.Near} },
		"trigger.beacons[1]": func(t *engage.CampaignTrigger) { t.Beacons = []string{"a", "a"} },
		"trigger.beacons[0]": func(t *engage.CampaignTrigger) { t.Beacons = []string{"no good"} },
		"trigger.beacons":    func(t *engage.CampaignTrigger) { t.Beacons = many },
		"trigger.where":      func(t *engage.CampaignTrigger) { t.Where = rule(`{"field":"properties.x","op":"exists"}`) },
	} {
		wantField(t, field, decide.Compile(offer("x", onBeacon(engage.Enter, change)), nil))
	}
	wantField(t, "trigger.beacons", decide.Compile(offer("x", func(c *engage.Campaign) { c.Trigger.Beacons = []string{"door"} }), nil))
}

func wantField(t *testing.T, field string, err error) {
	t.Helper()
	if e, is := errors.AsType[*engage.Error](err); !is || e.Field != field {
		t.Errorf("%v, want a fault of %s", err, field)
	}
}
