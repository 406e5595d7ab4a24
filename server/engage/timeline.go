package engage

import (
	"encoding/json"
	"time"
)

// TimelineEntry is one thing that happened to a person, a document of the
// collection "timeline" with the id "p:<profile>/<log time>/<position>".
type TimelineEntry struct {
	V          int             `json:"v"` // 1
	Profile    string          `json:"profile"`
	At         time.Time       `json:"at"`          // log time
	OccurredAt time.Time       `json:"occurred_at"` // corrected device clock
	Kind       Kind            `json:"kind"`
	Install    string          `json:"install,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"` // the entry's body; no push token
}
