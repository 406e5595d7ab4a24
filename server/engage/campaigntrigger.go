package engage

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// TriggerType says what fires a campaign.
type TriggerType string

// The triggers of this version. Entering and leaving a segment comes with its issue; the
// type is a string so that they only add.
const (
	TriggerPlace TriggerType = "place" // a transition at a place
	TriggerEvent TriggerType = "event" // an event that the app or a server tracked
	TriggerAPI   TriggerType = "api"   // a call of the API that names the persons

	TriggerSchedule TriggerType = "schedule" // a time of the wall clock

	// What the phone's system says of a place's region that it watches, before any fix
	// confirms it.
	TriggerRegion TriggerType = "region"

	// A beacon of a place is heard, is near, or is heard no more.
	TriggerBeacon TriggerType = "beacon"

	// The weather turns at a place where the person is.
	TriggerWeather TriggerType = "weather"
)

// TriggerTypes are all of them.
var TriggerTypes = []TriggerType{TriggerPlace, TriggerEvent, TriggerAPI, TriggerSchedule, TriggerRegion, TriggerBeacon, TriggerWeather}

// HasProperties reports whether such a trigger carries values of its own, which texts and
// rules see as trigger.properties.
func (t TriggerType) HasProperties() bool { return t == TriggerEvent || t == TriggerAPI }

// AtPlace reports whether such a trigger is of places, so that its texts can say where.
func (t TriggerType) AtPlace() bool {
	return t == TriggerPlace || t == TriggerRegion || t == TriggerBeacon || t == TriggerWeather
}

// ComeNear is, of a campaign, to enter a near ring of a place, whatever its size.
const ComeNear Transition = "near"

// CampaignTrigger says what fires the campaign.
type CampaignTrigger struct {
	Type TriggerType `json:"type"`
	// Of a place trigger, of a region trigger, and of a beacon trigger:
	Transition Transition `json:"transition,omitempty"` // one of Transitions, of a region or a beacon Enter or Exit; or ComeNear
	Rings      []Ring     `json:"rings,omitempty"`      // which rings count; empty means inside only
	Places     []string   `json:"places,omitempty"`     // ids; empty, with no tags, means every place
	Tags       []string   `json:"tags,omitempty"`       // places that carry one of these
	// Of a beacon trigger: ids of beacons, in addition to all those of Places and Tags.
	Beacons []string `json:"beacons,omitempty"`
	// Of an event trigger:
	Event string `json:"event,omitempty"`
	// Where is a rule over the event's "properties.*"; one that does not hold fires
	// nothing. Empty means always. Of a weather trigger: the rule over "weather.*" that
	// fires when it comes to hold; required.
	Where json.RawMessage `json:"where,omitempty"`
	// AgainAfterS, of a weather trigger: having turned at a place it does not turn again
	// there before. Seconds; 0 means 10800.
	AgainAfterS int `json:"again_after_s,omitempty"`
	// Of a schedule trigger:
	Schedule *Schedule `json:"schedule,omitempty"`
	// MaxAge: evidence that is older when it reaches us sends nothing. Seconds;
	// 0 means 900; of a schedule, 21600.
	MaxAgeS int `json:"max_age_s,omitempty"`
}

// MaxAge is how old the evidence may be.
func (t CampaignTrigger) MaxAge() time.Duration {
	if t.MaxAgeS == 0 && t.Type == TriggerSchedule { // the last of a million persons come late
		return 6 * time.Hour
	}
	if t.MaxAgeS == 0 {
		return 15 * time.Minute
	}
	return time.Duration(t.MaxAgeS) * time.Second
}

func (t CampaignTrigger) validate() error {
	if t.MaxAgeS < 0 {
		return Errorf(Invalid, "max_age_s", "must not be negative, is %d", t.MaxAgeS)
	}
	where := len(t.Where) > 0 && string(t.Where) != "null"
	if where && t.Type != TriggerEvent && t.Type != TriggerWeather {
		return Errorf(Invalid, "where", "belongs to an event trigger or a weather trigger; what else must hold stands in context")
	}
	if t.Type != TriggerWeather && t.AgainAfterS != 0 {
		return Errorf(Invalid, "again_after_s", "belongs to a weather trigger")
	}
	if t.Type != TriggerSchedule && t.Schedule != nil {
		return Errorf(Invalid, "schedule", "belongs to a schedule trigger")
	}
	if t.Type != TriggerBeacon && len(t.Beacons) > 0 {
		return Errorf(Invalid, "beacons", "belong to a beacon trigger")
	}
	switch t.Type {
	case TriggerPlace, TriggerRegion, TriggerBeacon:
		allowed := append(slices.Clone(Transitions), ComeNear)
		if t.Type != TriggerPlace {
			allowed = []Transition{Enter, Exit, ComeNear}
		}
		if !slices.Contains(allowed, t.Transition) {
			return Errorf(Invalid, "transition", "must be one of %q, is %q", allowed, t.Transition)
		}
		if t.Transition == ComeNear && len(t.Rings) > 0 {
			return Errorf(Invalid, "rings", "to come near is to enter a near ring: leave them out")
		}
		if t.Type == TriggerBeacon {
			return t.validateBeacons()
		}
		for i, r := range t.Rings {
			if r != Inside && r != Near {
				return Errorf(Invalid, fmt.Sprintf("rings[%d]", i), `must be "inside" or "near", is %q`, r)
			}
		}
	case TriggerEvent:
		if t.Event == "" {
			return Errorf(Invalid, "event", "is required for an event trigger")
		}
	case TriggerAPI:
	case TriggerWeather:
		return t.validateWeather(where)
	case TriggerSchedule:
		if t.Schedule == nil {
			return Errorf(Invalid, "schedule", "is required for a schedule trigger")
		}
		return At("schedule", t.Schedule.validate())
	default:
		return Errorf(Invalid, "type", "must be one of %q, is %q", TriggerTypes, t.Type)
	}
	return nil
}

// maxTriggerBeacons bounds the beacons that a campaign names one by one: more are named by
// their places or by a tag of these.
const maxTriggerBeacons = 200

func (t CampaignTrigger) validateBeacons() error {
	if len(t.Rings) > 0 {
		return Errorf(Invalid, "rings", "belong to a place trigger or a region trigger")
	}
	if len(t.Beacons) > maxTriggerBeacons {
		return Errorf(Invalid, "beacons", "at most %d, got %d: name their places, or a tag of these", maxTriggerBeacons, len(t.Beacons))
	}
	for i, b := range t.Beacons {
		if !ValidID(b) {
			return invalidID(fmt.Sprintf("beacons[%d]", i))
		}
		if slices.Contains(t.Beacons[:i], b) {
			return Errorf(Invalid, fmt.Sprintf("beacons[%d]", i), "stands twice: %q", b)
		}
	}
	return nil
}

// AgainAfter of a weather trigger that does not say, and the most.
const (
	usualAgainAfter = 3 * time.Hour
	MaxAgainAfter   = 7 * 24 * time.Hour
)

// minAgainAfterS keeps a value that flutters from firing at each look.
const minAgainAfterS = 900

// AgainAfter is how soon a weather trigger may turn again at a place.
func (t *CampaignTrigger) AgainAfter() time.Duration {
	if t.AgainAfterS == 0 {
		return usualAgainAfter
	}
	return time.Duration(t.AgainAfterS) * time.Second
}

func (t CampaignTrigger) validateWeather(where bool) error {
	switch {
	case !where:
		return Errorf(Invalid, "where", "is required for a weather trigger: the condition that fires when it comes to hold")
	case t.Transition != "":
		return Errorf(Invalid, "transition", "belongs to a place trigger; weather turns when where comes to hold")
	case len(t.Rings) > 0:
		return Errorf(Invalid, "rings", "belong to a place trigger: weather turns for who is inside")
	case t.AgainAfterS != 0 && (t.AgainAfterS < minAgainAfterS || t.AgainAfterS > int(MaxAgainAfter/time.Second)):
		return Errorf(Invalid, "again_after_s", "must be %d to %d, is %d", minAgainAfterS, MaxAgainAfter/time.Second, t.AgainAfterS)
	}
	return nil
}

// Means reports whether a trigger of places means one: by its id, by a tag, or as any
// where neither is given.
func (t *CampaignTrigger) Means(p *Place) bool {
	return len(t.Places) == 0 && len(t.Tags) == 0 || slices.Contains(t.Places, p.ID) ||
		slices.ContainsFunc(t.Tags, func(tag string) bool { return slices.Contains(p.Tags, tag) })
}

// TurningOccasion is the occasion of a campaign's weather that turned at a place at a
// time, of every person there.
func TurningOccasion(workspace, campaign, place string, at time.Time) string {
	return hashID("turning", workspace, campaign, place, at.UTC().Format(time.RFC3339Nano))
}
