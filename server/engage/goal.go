package engage

import (
	"encoding/json"
	"slices"
	"time"
)

// GoalType says what a campaign is for.
type GoalType string

// The goals.
const (
	GoalEvent    GoalType = "event"    // an event that the app or a server tracked
	GoalVisit    GoalType = "visit"    // somebody comes to a place
	GoalPurchase GoalType = "purchase" // somebody orders something
)

// GoalTypes are all of them.
var GoalTypes = []GoalType{GoalEvent, GoalVisit, GoalPurchase}

// MaxGoalWindow is the longest time after a decision that is looked at.
const MaxGoalWindow = 90 * 24 * time.Hour

// Goal is what a campaign is for, and by what it is measured: of everybody for whom it
// decides, treated and held out alike, within the same time after the decision.
type Goal struct {
	Type GoalType `json:"type"`
	// Of an event:
	Event string          `json:"event,omitempty"`
	Where json.RawMessage `json:"where,omitempty"` // a rule over its "properties.*"; empty means always
	// Of a visit:
	Places []string `json:"places,omitempty"` // ids; empty, with no tags, means every place
	Tags   []string `json:"tags,omitempty"`   // places that carry one of these
	// WindowS is for how long after a decision it is looked at what follows. Seconds; 0
	// means 7 days.
	WindowS int `json:"window_s,omitempty"`
	// Every: each time counts, and not only the first after a decision.
	Every bool `json:"every,omitempty"`
}

// Window is for how long after a decision it is looked at what follows; also of a campaign
// that has no goal.
func (g *Goal) Window() time.Duration {
	if g == nil || g.WindowS == 0 {
		return 7 * 24 * time.Hour
	}
	return time.Duration(g.WindowS) * time.Second
}

func (g *Goal) validate() error {
	if g == nil {
		return nil
	}
	where := len(g.Where) > 0 && string(g.Where) != "null"
	switch {
	case !slices.Contains(GoalTypes, g.Type):
		return Errorf(Invalid, "type", "must be one of %q, is %q", GoalTypes, g.Type)
	case g.WindowS < 0 || g.WindowS > int(MaxGoalWindow/time.Second):
		return Errorf(Invalid, "window_s", "must be 0 (7 days) to %d (90 days), is %d", int(MaxGoalWindow/time.Second), g.WindowS)
	case g.Type == GoalEvent && g.Event == "":
		return Errorf(Invalid, "event", "is required for an event")
	case g.Type != GoalEvent && g.Event != "":
		return Errorf(Invalid, "event", "belongs to a goal of the type event")
	case g.Type != GoalEvent && where:
		return Errorf(Invalid, "where", "belongs to a goal of the type event")
	case g.Type != GoalVisit && len(g.Places) > 0:
		return Errorf(Invalid, "places", "belongs to a goal of the type visit")
	case g.Type != GoalVisit && len(g.Tags) > 0:
		return Errorf(Invalid, "tags", "belongs to a goal of the type visit")
	case len(g.Places) > 1000 || len(g.Tags) > 50:
		return Errorf(TooLarge, "places", "at most 1000, and 50 tags")
	}
	return nil
}
