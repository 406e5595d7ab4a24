package engage

import (
	"fmt"
	"time"
)

// Limits of a campaign.
type Limits struct {
	// Cap is how many messages of this campaign a person gets within CapWindow.
	Cap        int `json:"cap,omitempty"`          // 0 means no cap
	CapWindowS int `json:"cap_window_s,omitempty"` // seconds; required with cap
	// Caps are further ones of this campaign, at most MaxCaps: each must allow it.
	Caps []Cap `json:"caps,omitempty"`
	// Quiet hours in the person's local time (QuietHours); nil means the workspace's.
	Quiet *QuietHours `json:"quiet_hours,omitempty"`
	// Attention is what a message costs of the attention budget that all programmes
	// share, in points; nil means 1. Without a budget in the workspace it says nothing.
	Attention *int `json:"attention,omitempty"`
	// IgnoreGlobal leaves the workspace's LimitPolicy aside, where that allows it
	// (MayIgnore). The messages count for the other campaigns all the same.
	IgnoreGlobal bool    `json:"ignore_global,omitempty"`
	Budget       *Budget `json:"budget,omitempty"` // to all persons together; nil: none. Not of service messages
	Rate         *Rate   `json:"rate,omitempty"`   // likewise
	// ExpireS after the decision the message is pointless. Seconds; 0 means 3600.
	ExpireS int `json:"expire_s,omitempty"`
	// RetryAmbiguous permits a push to be repeated, under the same id, when the
	// connection was lost after sending. Absent means true.
	RetryAmbiguous *bool `json:"retry_ambiguous,omitempty"`
}

// Expire is how long after the decision the message still makes sense.
func (l Limits) Expire() time.Duration {
	if l.ExpireS == 0 {
		return time.Hour
	}
	return time.Duration(l.ExpireS) * time.Second
}

// AttentionPoints are what a message of the campaign costs.
func (l Limits) AttentionPoints() int {
	if l.Attention == nil {
		return 1
	}
	return *l.Attention
}

// AllCaps are the campaign's own caps, the one of Cap first.
func (l Limits) AllCaps() []Cap {
	if l.Cap == 0 {
		return l.Caps
	}
	return append([]Cap{{Max: l.Cap, WindowS: l.CapWindowS}}, l.Caps...)
}

// QuietHours from Start to End, "22:00" to "08:00", over midnight if End is not
// after Start; they must differ. They are of the person's local time: in the zone of
// the phone, else of the place, else UTC.
type QuietHours struct {
	Start string    `json:"start"` // "HH:MM"
	End   string    `json:"end"`
	Then  QuietThen `json:"then,omitempty"` // empty means QuietDefer
}

// QuietThen says what becomes of a message that falls into quiet hours.
type QuietThen string

// What becomes of it.
const (
	QuietDefer QuietThen = "defer" // it waits for their end, or expires
	QuietDrop  QuietThen = "drop"
)

func (q *QuietHours) validate() error {
	if q == nil {
		return nil
	}
	if _, err := time.Parse("15:04", q.Start); err != nil {
		return Errorf(Invalid, "start", `must be "HH:MM", is %q`, q.Start)
	}
	if _, err := time.Parse("15:04", q.End); err != nil {
		return Errorf(Invalid, "end", `must be "HH:MM", is %q`, q.End)
	}
	if q.Start == q.End {
		return Errorf(Invalid, "end", "must differ from start")
	}
	if q.Then != "" && q.Then != QuietDefer && q.Then != QuietDrop {
		return Errorf(Invalid, "then", `must be "defer" or "drop", is %q`, q.Then)
	}
	return nil
}

func (l Limits) validate() error {
	switch {
	case l.Cap < 0:
		return Errorf(Invalid, "cap", "must not be negative, is %d", l.Cap)
	case l.Cap > 0 && l.CapWindowS <= 0:
		return Errorf(Invalid, "cap_window_s", "is required with cap")
	case l.ExpireS < 0 || l.ExpireS > 28*24*3600:
		return Errorf(Invalid, "expire_s", "must be 0 to 2419200 (28 days), is %d", l.ExpireS)
	}
	if len(l.Caps) > MaxCaps {
		return Errorf(TooLarge, "caps", "at most %d, got %d", MaxCaps, len(l.Caps))
	}
	for i, c := range l.Caps {
		if err := c.validate(); err != nil {
			return At(fmt.Sprintf("caps[%d]", i), err)
		}
	}
	if a := l.Attention; a != nil && (*a < 0 || *a > MaxAttention) {
		return Errorf(Invalid, "attention", "must be 0 to %d points, is %d", MaxAttention, *a)
	}
	if err := l.Budget.validate(); err != nil {
		return At("budget", err)
	}
	if err := l.Rate.validate(); err != nil {
		return At("rate", err)
	}
	return At("quiet_hours", l.Quiet.validate())
}

// Sound refuses what nobody means, and what an earlier build took: it is asked when a
// campaign is saved or launched, and not of one that is there.
func (l Limits) Sound() error {
	switch {
	case l.Cap > MaxCap:
		return Errorf(Invalid, "cap", "must be 1 to %d, is %d", MaxCap, l.Cap)
	case l.CapWindowS < 0 || l.CapWindowS > MaxWindowS:
		return Errorf(Invalid, "cap_window_s", "must be 1 to %d seconds (366 days), is %d", MaxWindowS, l.CapWindowS)
	case l.Cap == 0 && l.CapWindowS > 0:
		return Errorf(Invalid, "cap", "is required with cap_window_s")
	}
	return nil
}
