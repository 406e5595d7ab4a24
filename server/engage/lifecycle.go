package engage

import (
	"slices"
	"time"
)

// Status of a campaign.
type Status string

// The states of a campaign, in the order of its life. Only a live one sends anything.
const (
	Draft    Status = "draft"
	InReview Status = "review" // waits for somebody else to look at it
	Live     Status = "live"
	Paused   Status = "paused"
	Ended    Status = "ended" // for good
)

// Statuses are all of them.
var Statuses = []Status{Draft, InReview, Live, Paused, Ended}

// Programme says what a campaign is for, in the words of the field.
type Programme string

// The programmes.
const (
	Acquisition Programme = "acquisition" // somebody's first visit, first order
	Conversion  Programme = "conversion"  // from looking to buying
	Loyalty     Programme = "loyalty"     // who comes often
	ServiceTo   Programme = "service"     // what somebody asked for
	Retention   Programme = "retention"   // who might stop coming
	Winback     Programme = "winback"     // who has stopped
)

// Programmes are all of them.
var Programmes = []Programme{Acquisition, Conversion, Loyalty, ServiceTo, Retention, Winback}

// Review is how a campaign came to be live where a second person has to look at it.
// The catalogue sets it.
type Review struct {
	RequestedBy string     `json:"requested_by,omitempty"` // id of the key
	RequestedAt *time.Time `json:"requested_at,omitempty"`
	Note        string     `json:"note,omitempty"` // to the reviewer
	// Of the last answer:
	Approved   bool       `json:"approved,omitempty"` // what stands there now
	AnsweredBy string     `json:"answered_by,omitempty"`
	AnsweredAt *time.Time `json:"answered_at,omitempty"`
	Comment    string     `json:"comment,omitempty"` // of who answered
}

// MaxNote bounds the words of a review and of a stop, in bytes.
const MaxNote = 2000

// Stop is that nothing goes out of a workspace: the kill switch.
type Stop struct {
	Scope  Class     `json:"scope,omitempty"` // Marketing: service messages go on; empty: everything
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by"` // id of the key
	At     time.Time `json:"at"`
}

// Of reports whether campaigns of the class are stopped.
func (s *Stop) Of(c Class) bool { return s != nil && (s.Scope == "" || s.Scope == c) }

// Validate checks the words of a stop.
func (s *Stop) Validate() error {
	switch {
	case s == nil:
		return nil
	case s.Scope != "" && s.Scope != Marketing:
		return Errorf(Invalid, "scope", `must be "marketing" or absent, is %q`, s.Scope)
	case len(s.Reason) > MaxNote:
		return Errorf(TooLarge, "reason", "at most %d bytes, has %d", MaxNote, len(s.Reason))
	}
	return nil
}

func (c *Campaign) validateLife() error {
	switch {
	case !slices.Contains(Statuses, c.Status):
		return Errorf(Invalid, "status", "must be one of %q, is %q", Statuses, c.Status)
	case c.Programme != "" && !slices.Contains(Programmes, c.Programme):
		return Errorf(Invalid, "programme", "must be one of %q, is %q", Programmes, c.Programme)
	case c.Programme == ServiceTo && c.Class != Service:
		return Errorf(Invalid, "programme", `a service programme needs the class "service": marketing under another name is refused`)
	}
	if c.TimeZone != "" {
		if _, known := Zone(c.TimeZone); !known {
			return Errorf(Invalid, "time_zone", `must be a zone's name such as "Europe/Amsterdam", is %q`, c.TimeZone)
		}
	}
	return nil
}
