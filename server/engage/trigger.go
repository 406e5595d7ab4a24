package engage

import (
	"encoding/json"
	"time"
)

// Transition of an install at a geofence.
type Transition string

// The transitions of this version. To come near is to enter an approach ring.
const (
	Enter      Transition = "enter"
	Exit       Transition = "exit"
	Dwell      Transition = "dwell" // inside for the geofence's dwell_s
	Pass       Transition = "pass"  // the way between two fixes crossed it
	VisitEnded Transition = "visit" // the visit of the place is over
)

// Transitions are all of them.
var Transitions = []Transition{Enter, Exit, Dwell, Pass, VisitEnded}

// WeatherState says what the weather attached to a trigger is worth.
type WeatherState string

// The weather states.
const (
	WeatherFresh  WeatherState = "fresh"
	WeatherStale  WeatherState = "stale"  // beyond its freshness, within MaxStaleWeather
	WeatherAbsent WeatherState = "absent" // none known for the cell
)

// Trigger is a moment that may fire campaigns, with what situate saw of it.
type Trigger struct {
	Type       TriggerType `json:"type"`
	Occasion   string      `json:"occasion"` // the visit's id for places; hash of (install, seq) for events
	Install    string      `json:"install"`
	OccurredAt time.Time   `json:"occurred_at"` // corrected device clock

	// Of a place:
	Transition Transition   `json:"transition,omitempty"`
	Ring       Ring         `json:"ring,omitempty"`
	Place      string       `json:"place,omitempty"`
	Fence      string       `json:"fence,omitempty"`
	Beacon     string       `json:"beacon,omitempty"`     // of a beacon: its id
	PlaceWide  bool         `json:"place_wide,omitempty"` // of a beacon: it is the first of its place that is heard or near, or the last that is lost
	Evidence   string       `json:"evidence,omitempty"`   // "fix", "os_region", "beacon", "path" or "silence"
	InsideS    float64      `json:"inside_s,omitempty"`   // of an exit, a dwell, a visit: for how many seconds it had been inside
	Stale      bool         `json:"stale,omitempty"`      // it became known too late to send anything for it
	Flags      []string     `json:"flags,omitempty"`      // "mocked", "speed", "teleport": its evidence is doubtful
	Opening    string       `json:"opening,omitempty"`    // "open" or "closed" at the time; absent: not known
	DistanceM  float64      `json:"distance_m,omitempty"` // to the place's location; 0 when only the OS told
	AccuracyM  float64      `json:"accuracy_m,omitempty"`
	Occupancy  *int         `json:"occupancy,omitempty"` // how many phones are known to be inside, as CoarseCount has it; absent: not known, or nobody asks
	Cell       string       `json:"cell,omitempty"`      // weather cell of the place
	Weather    *Weather     `json:"weather,omitempty"`
	WeatherIs  WeatherState `json:"weather_is,omitempty"`

	// Of an event:
	Event string `json:"event,omitempty"`
	// Of an event, and of what was called for by the API: a JSON object.
	Properties json.RawMessage `json:"properties,omitempty"`

	// Campaign that it is for, of what the server itself was asked for or has made out
	// (KindCall); empty: for all that listen.
	Campaign string `json:"campaign,omitempty"`
	Local    string `json:"local,omitempty"` // of a schedule: the time of the wall clock that has come
	Bulk     bool   `json:"bulk,omitempty"`  // one of very many: it takes the bulk lane, whatever the campaign's is
}
