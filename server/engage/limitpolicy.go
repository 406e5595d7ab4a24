package engage

import (
	"fmt"
	"slices"
	"time"
)

// Bounds of limits. A window is at most a leap year: what a person was sent is
// remembered that long and no longer.
const (
	MaxCap          = 1000
	MaxWindowS      = 366 * 24 * 3600
	MaxCaps         = 5  // of a campaign, beyond the one of Limits.Cap
	MaxPolicyCaps   = 50 // of a workspace
	MaxCampaignTags = 10
	MaxAttention    = 1000 // points
	MaxGapS         = 30 * 24 * 3600
	// MinAttentionWindowS: a budget of attention is of hours at least.
	MinAttentionWindowS     = 3600
	DefaultAttentionWindowS = 7 * 24 * 3600
)

// Calendar is a period of the person's local time.
type Calendar string

// The periods.
const (
	CalendarDay   Calendar = "day"
	CalendarWeek  Calendar = "week" // from Monday on
	CalendarMonth Calendar = "month"
)

// Cap is at most Max messages within a window, which rolls, or is a period of the
// calendar. It counts what was decided, for those who are held out too, and gives
// nothing back when a message ends undelivered.
type Cap struct {
	Max      int      `json:"max"`
	WindowS  int      `json:"window_s,omitempty"` // rolling: the seconds before; else Calendar
	Calendar Calendar `json:"calendar,omitempty"`
}

func (c Cap) validate() error {
	switch {
	case c.Max < 1 || c.Max > MaxCap:
		return Errorf(Invalid, "max", "must be 1 to %d, is %d", MaxCap, c.Max)
	case c.Calendar == "" && (c.WindowS < 1 || c.WindowS > MaxWindowS):
		return Errorf(Invalid, "window_s", "must be 1 to %d seconds (366 days), or calendar must be given, is %d", MaxWindowS, c.WindowS)
	case c.Calendar != "" && c.WindowS != 0:
		return Errorf(Invalid, "window_s", "stands beside calendar: a window rolls, or is of the calendar")
	case c.Calendar != "" && c.Calendar != CalendarDay && c.Calendar != CalendarWeek && c.Calendar != CalendarMonth:
		return Errorf(Invalid, "calendar", `must be "day", "week" or "month", is %q`, c.Calendar)
	}
	return nil
}

// LimitPolicy is how much all marketing campaigns of a workspace together may ask of
// one person. Service messages are outside of it: they are neither limited nor counted.
type LimitPolicy struct {
	Workspace string      `json:"workspace"`
	Version   int64       `json:"version"`
	Caps      []PolicyCap `json:"caps,omitempty"`
	// GapS is the least time between two messages to a person. Seconds; 0 means none.
	GapS int `json:"gap_s,omitempty"`
	// Quiet hours of campaigns that have none of their own.
	Quiet     *QuietHours `json:"quiet_hours,omitempty"`
	Attention *Attention  `json:"attention,omitempty"` // nil: no budget
	// MayIgnore lets campaigns leave all of this aside (Limits.IgnoreGlobal). Without it,
	// that says nothing.
	MayIgnore bool      `json:"may_ignore,omitempty"`
	UpdatedAt time.Time `json:"updated_at"`
}

// PolicyCap is a Cap over the messages of all campaigns, or of those that carry a tag,
// or of those that may go by a channel.
//
// By which channel a message went is known only after it went. So it counts, at the
// decision, for every channel by which it may go; and a channel whose cap is reached is
// closed to further messages, which may go by their others.
type PolicyCap struct {
	Tag     string  `json:"tag,omitempty"`
	Channel Channel `json:"channel,omitempty"`
	// As in a Cap.
	Max      int      `json:"max"`
	WindowS  int      `json:"window_s,omitempty"`
	Calendar Calendar `json:"calendar,omitempty"`
}

// Cap is how many, within what.
func (c PolicyCap) Cap() Cap { return Cap{c.Max, c.WindowS, c.Calendar} }

// Attention is the budget of one person that all programmes share: a message costs the
// points that its campaign says (Limits.Attention), and is not sent if they are not
// left.
type Attention struct {
	Points  int `json:"points"`
	WindowS int `json:"window_s,omitempty"` // rolling, seconds; 0 means a week
}

// Window is the budget's.
func (a *Attention) Window() time.Duration {
	if a.WindowS == 0 {
		return DefaultAttentionWindowS * time.Second
	}
	return time.Duration(a.WindowS) * time.Second
}

// Validate checks the policy; an Error's field is relative to it.
func (p *LimitPolicy) Validate() error {
	if len(p.Caps) > MaxPolicyCaps {
		return Errorf(TooLarge, "caps", "at most %d, got %d", MaxPolicyCaps, len(p.Caps))
	}
	for i, c := range p.Caps {
		if err := c.validate(p.Caps[:i]); err != nil {
			return At(fmt.Sprintf("caps[%d]", i), err)
		}
	}
	if p.GapS < 0 || p.GapS > MaxGapS {
		return Errorf(Invalid, "gap_s", "must be 0 to %d seconds (30 days), is %d", MaxGapS, p.GapS)
	}
	if err := p.Quiet.validate(); err != nil {
		return At("quiet_hours", err)
	}
	if a := p.Attention; a != nil {
		if a.Points < 1 || a.Points > MaxAttention {
			return Errorf(Invalid, "attention.points", "must be 1 to %d, is %d", MaxAttention, a.Points)
		}
		if a.WindowS != 0 && (a.WindowS < MinAttentionWindowS || a.WindowS > MaxWindowS) {
			return Errorf(Invalid, "attention.window_s", "must be %d to %d seconds (366 days), or absent for a week, is %d", MinAttentionWindowS, MaxWindowS, a.WindowS)
		}
	}
	return nil
}

func (c PolicyCap) validate(before []PolicyCap) error {
	switch {
	case c.Tag != "" && c.Channel != "":
		return Errorf(Invalid, "channel", "stands beside tag: a cap is of one of them, or of all messages")
	case c.Tag != "" && !ValidID(c.Tag):
		return Errorf(Invalid, "tag", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
	case c.Channel != "" && c.Channel != InApp && c.Channel != Push && c.Channel != Inbox:
		return Errorf(Invalid, "channel", `must be "in_app", "push" or "inbox", is %q`, c.Channel)
	}
	if err := c.Cap().validate(); err != nil {
		return err
	}
	if slices.ContainsFunc(before, func(b PolicyCap) bool {
		return b.Tag == c.Tag && b.Channel == c.Channel && b.WindowS == c.WindowS && b.Calendar == c.Calendar
	}) {
		return Errorf(Invalid, "max", "another cap is of the same messages and the same window")
	}
	return nil
}

// validateTags checks a campaign's tags.
func validateTags(tags []string) error {
	if len(tags) > MaxCampaignTags {
		return Errorf(TooLarge, "tags", "at most %d, got %d", MaxCampaignTags, len(tags))
	}
	for i, tag := range tags {
		if !ValidID(tag) {
			return Errorf(Invalid, fmt.Sprintf("tags[%d]", i), "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
		}
		if slices.Contains(tags[:i], tag) {
			return Errorf(Invalid, fmt.Sprintf("tags[%d]", i), "stands twice: %q", tag)
		}
	}
	return nil
}

// MaxValue bounds what a message may be said to be worth.
const MaxValue = 1e9
