package why

import (
	"encoding/json"
	"slices"

	"github.com/footfall-engage/footfall/server/engage"
)

// beacons tells why no beacon fired the campaign.
func (x *asking) beacons() {
	stands := map[string]bool{} // beacons that the trigger means
	want := &x.Campaign.Trigger
	var places []*engage.Place
	if len(want.Beacons) == 0 || len(want.Places) > 0 || len(want.Tags) > 0 {
		places = x.means()
	}
	for _, p := range x.Places {
		for i := range p.Beacons {
			if id := p.Beacons[i].ID; slices.Contains(want.Beacons, id) || slices.Contains(places, p) {
				stands[id] = true
			}
		}
	}
	if len(stands) == 0 {
		x.say(NoPlaces, nil, map[string]any{"beacons": want.Beacons, "places": want.Places, "tags": want.Tags}, "The campaign's trigger means no beacon that stands anywhere.")
		return
	}
	x.answers()
	x.permissions()
	told := map[string]bool{}
	for _, e := range inOrder(x.Moments) {
		var t engage.Trigger
		if e.Kind != engage.KindTrigger || json.Unmarshal(e.Data, &t) != nil || t.Type != engage.TriggerBeacon || !x.within(e.OccurredAt) {
			continue
		}
		if !stands[t.Beacon] || t.Transition == want.Transition || told[t.Beacon+string(t.Transition)] || len(told) >= maxTold {
			continue
		}
		told[t.Beacon+string(t.Transition)] = true
		saw := map[string]any{"beacon": t.Beacon, "place": t.Place, "transition": t.Transition, "wanted": want.Transition}
		x.say(OtherTransition, &e.OccurredAt, saw, "At %s the person's phone %s the beacon %q; the campaign waits for %s.", x.clock(e.OccurredAt), heard[t.Transition], t.Beacon, heardWanted[want.Transition])
	}
	if len(told) == 0 {
		x.say(NotHeard, nil, nil, "No phone of the person told in that time that it heard a beacon that the campaign waits for.")
	}
}

var (
	heard = map[engage.Transition]string{engage.Enter: "heard", engage.ComeNear: "came near", engage.Exit: "lost"}

	heardWanted = map[engage.Transition]string{
		engage.Enter: "a phone that hears one", engage.ComeNear: "a phone that comes near one", engage.Exit: "a phone that hears one no more",
	}
)
