package engage

import "time"

// VisitEnd says what ended a visit; a bounded code.
type VisitEnd string

// How visits end.
const (
	EndedByExit       VisitEnd = "exit"        // evidence showed the install outside
	EndedBySilence    VisitEnd = "silence"     // nothing was heard for too long: ended at the last evidence
	EndedByBeacon     VisitEnd = "beacon_lost" // the beacon alone had shown the install there, and is no longer seen
	EndedByRemoval    VisitEnd = "removed"     // the place's last geofence around the install was removed
	EndedByConsent    VisitEnd = "consent"     // the person withdrew the consent to location
	EndedByLogout     VisitEnd = "logout"      // the person left the app, and their consent with them
	EndedByWithdrawal VisitEnd = "withdrawn"   // late evidence showed that there was no such visit
)

// Visit of an install at a place: from the first evidence in any of its geofences
// to the last, a document of the collection "visits" with the visit's id. Late
// evidence may correct it while it is within the reorder window (geo.Tracker); the
// id stays.
type Visit struct {
	V       int    `json:"v"` // 1
	ID      string `json:"id"`
	Place   string `json:"place"`
	Install string `json:"install"`
	Profile string `json:"profile"`

	Since   time.Time `json:"since"`          // corrected device clock, UTC
	SinceUS int64     `json:"since_us"`       // the same as Unix microseconds, to sort by
	Until   time.Time `json:"until,omitzero"` // absent: it goes on, or nothing has been heard since
	Last    time.Time `json:"last"`           // the newest evidence of being there

	// InsideAt is when the install was first inside, not only near; absent: it was
	// only ever in an approach ring.
	InsideAt time.Time `json:"inside_at,omitzero"`
	// ConfirmedS is for how many seconds evidence without long gaps shows the
	// install there, near counts too; at most Until - Since.
	ConfirmedS float64 `json:"confirmed_s"`
	// DwelledAt is when the first dwell of one of its geofences was reached.
	DwelledAt time.Time `json:"dwelled_at,omitzero"`

	Fences   []string `json:"fences,omitempty"`   // geofences that were entered, in order of id
	Evidence string   `json:"evidence"`           // of the first: "fix", "os_region", "beacon"
	Ended    VisitEnd `json:"ended,omitempty"`    // absent while it is open
	Stale    bool     `json:"stale,omitempty"`    // its beginning reached us too late to send anything for it
	Flags    []string `json:"flags,omitempty"`    // "mocked", "speed", "teleport" where its evidence was doubtful
	Revision uint64   `json:"revision,omitempty"` // of the configuration in force when it was last written
}

// Open reports whether the visit has not ended.
func (v *Visit) Open() bool { return v.Until.IsZero() }

// Duration from the first to the last evidence; of an open visit up to Last.
func (v *Visit) Duration() time.Duration {
	if v.Open() {
		return v.Last.Sub(v.Since)
	}
	return v.Until.Sub(v.Since)
}
