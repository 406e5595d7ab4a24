package why_test

import (
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/why"
)

func TestWhyNoBeaconFiredACampaign(t *testing.T) {
	of := func(beacon string, what engage.Transition, at time.Time) engage.TimelineEntry {
		return entry(t, engage.KindTrigger, at, engage.Trigger{Type: engage.TriggerBeacon, Transition: what, Place: "cafe", Beacon: beacon})
	}
	for name, c := range map[string]struct {
		change func(*why.Asked)
		want   string // code and words of the last finding
	}{
		"nothing was heard": {func(*why.Asked) {}, "not_heard No phone of the person told in that time that it heard a beacon that the campaign waits for."},
		"it was heard, and not near": {
			func(q *why.Asked) { q.Moments = []engage.TimelineEntry{of("till", engage.Enter, noon)} },
			`other_transition At 12:00 the person's phone heard the beacon "till"; the campaign waits for a phone that comes near one.`,
		},
		"another one was near": {
			func(q *why.Asked) { q.Moments = []engage.TimelineEntry{of("door", engage.ComeNear, noon)} },
			"not_heard No phone of the person told in that time that it heard a beacon that the campaign waits for.",
		},
		"it stands nowhere": {
			func(q *why.Asked) { q.Campaign.Trigger.Beacons = []string{"gone"} }, "no_places The campaign's trigger means no beacon that stands anywhere.",
		},
		"the place has none": {
			func(q *why.Asked) {
				q.Campaign.Trigger.Beacons, q.Campaign.Trigger.Places, q.Places[0].Beacons = nil, []string{"cafe"}, nil
			}, "no_places The campaign's trigger means no beacon that stands anywhere.",
		},
	} {
		q := asked(t)
		q.Places[0].Beacons = []engage.Beacon{{ID: "door"}, {ID: "till"}}
		q.Campaign.Trigger = engage.CampaignTrigger{Type: engage.TriggerBeacon, Transition: engage.ComeNear, Beacons: []string{"till"}}
		c.change(q)
		got := why.Not(q)
		last := got[len(got)-1]
		if text := string(last.Code) + " " + last.Words; text != c.want {
			t.Errorf("%s: %q", name, text)
		}
	}
	// Who did not agree to the location is told so.
	q := asked(t)
	q.Places[0].Beacons, q.Consents = []engage.Beacon{{ID: "door"}}, nil
	q.Campaign.Trigger = engage.CampaignTrigger{Type: engage.TriggerBeacon, Transition: engage.Enter}
	var codes []string
	for _, f := range why.Not(q) {
		codes = append(codes, string(f.Code))
	}
	if got := strings.Join(codes, " "); got != "no_consent not_heard" {
		t.Errorf("found %s", got)
	}
}
