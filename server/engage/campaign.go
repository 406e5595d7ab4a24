package engage

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Index is the path of a field in a list's element: "arms[1].message".
func Index(list string, i int, field string) string {
	return fmt.Sprintf("%s[%d].%s", list, i, field)
}

// Class of a campaign: which gates apply and which consent is needed.
type Class string

// The classes.
const (
	Marketing Class = "marketing" // needs marketing consent; all gates
	Service   Class = "service"   // a service that the person asked for ("order ready"): no marketing consent, no caps, no quiet hours
)

// Status of a campaign.
type Status string

// The states of a campaign.
const (
	Draft  Status = "draft"
	Live   Status = "live"
	Paused Status = "paused"
	Ended  Status = "ended"
)

// Lane says whose pushes go first where those of one credential have to wait.
type Lane string

// The lanes.
const (
	LiveLane Lane = "live" // somebody is at a place, or waits for an answer
	BulkLane Lane = "bulk" // so many at once that they must delay nobody else: they take what the live lane leaves
)

// Campaign is what a marketer defines: when it fires, for whom, in which
// context, saying what, how often, and how it is measured.
type Campaign struct {
	ID        string          `json:"id"`
	Workspace string          `json:"workspace,omitempty"`
	Version   int64           `json:"version"`
	Name      string          `json:"name"`
	Class     Class           `json:"class"`
	Status    Status          `json:"status"`
	Priority  int             `json:"priority,omitempty"` // among campaigns that want the same moment the highest wins; ties go to the smaller id
	Lane      Lane            `json:"lane,omitempty"`     // empty means LiveLane
	Trigger   CampaignTrigger `json:"trigger"`
	Audience  json.RawMessage `json:"audience,omitempty"` // a rule over the person; empty means everybody
	Context   json.RawMessage `json:"context,omitempty"`  // a rule over the moment; empty means always
	Arms      []Arm           `json:"arms"`
	// HoldoutPercent of the eligible persons get nothing and are measured: 0..50.
	HoldoutPercent float64    `json:"holdout_percent"`
	Limits         Limits     `json:"limits"`
	Start          *time.Time `json:"start,omitempty"` // not before
	End            *time.Time `json:"end,omitempty"`   // not after
	UpdatedAt      time.Time  `json:"updated_at"`
}

// TriggerType says what fires a campaign.
type TriggerType string

// The triggers of this version. Beacon, segment, weather, schedule and API come
// with their issues; the type is a string so that they only add.
const (
	TriggerPlace TriggerType = "place" // a transition at a place
	TriggerEvent TriggerType = "event" // an event that the app or a server tracked
)

// CampaignTrigger says what fires the campaign.
type CampaignTrigger struct {
	Type TriggerType `json:"type"`
	// Of a place trigger:
	Transition Transition `json:"transition,omitempty"` // one of Transitions
	Rings      []Ring     `json:"rings,omitempty"`      // which rings count; empty means inside only
	Places     []string   `json:"places,omitempty"`     // ids; empty, with no tags, means every place
	Tags       []string   `json:"tags,omitempty"`       // places that carry one of these
	// Of an event trigger:
	Event string `json:"event,omitempty"`
	// MaxAge: evidence that is older when it reaches us sends nothing. Seconds;
	// 0 means 900.
	MaxAgeS int `json:"max_age_s,omitempty"`
}

// MaxAge is how old the evidence may be.
func (t CampaignTrigger) MaxAge() time.Duration {
	if t.MaxAgeS == 0 {
		return 15 * time.Minute
	}
	return time.Duration(t.MaxAgeS) * time.Second
}

// Arm is one variant of the message.
type Arm struct {
	ID      string  `json:"id"`
	Weight  int     `json:"weight,omitempty"` // share among the arms; 0 means 1
	Message Content `json:"message"`
}

// Content is what an arm says. All texts are Liquid templates.
type Content struct {
	Title    string            `json:"title"`
	Body     string            `json:"body"`
	DeepLink string            `json:"deep_link,omitempty"`
	ImageURL string            `json:"image_url,omitempty"`
	Data     map[string]string `json:"data,omitempty"`
	// Channels that may carry it; empty means in_app, push and inbox.
	Channels []Channel `json:"channels,omitempty"`
	// What each channel has of its own; nil means the defaults.
	Push  *PushContent  `json:"push,omitempty"`
	InApp *InAppContent `json:"in_app,omitempty"`
	Inbox *InboxContent `json:"inbox,omitempty"`
	// Actions are buttons, at most 3: of an in-app message, and of a push where the
	// phone's SDK or OS shows them.
	Actions []Action `json:"actions,omitempty"`
}

// Channel by which a message reaches the person.
type Channel string

// The channels.
const (
	InApp Channel = "in_app"
	Push  Channel = "push"
	Inbox Channel = "inbox"
)

// Allows reports whether the content may go by c.
func (c Content) Allows(ch Channel) bool {
	if len(c.Channels) == 0 {
		return true
	}
	return slices.Contains(c.Channels, ch)
}

// Limits of a campaign.
type Limits struct {
	// Cap is how many messages of this campaign a person gets within CapWindow.
	Cap        int `json:"cap,omitempty"`          // 0 means no cap
	CapWindowS int `json:"cap_window_s,omitempty"` // seconds; required with cap
	// Quiet hours in the person's local time; a message that falls into them
	// waits for their end or expires.
	Quiet *QuietHours `json:"quiet_hours,omitempty"`
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

// QuietHours from Start to End, "22:00" to "08:00", over midnight if End is not
// after Start; they must differ.
type QuietHours struct {
	Start string `json:"start"` // "HH:MM"
	End   string `json:"end"`
}

// Validate checks the shape; the rules and templates are checked by catalog,
// which can parse them.
func (c *Campaign) Validate() error {
	switch {
	case !ValidID(c.ID):
		return Errorf(Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
	case c.Name == "" || len(c.Name) > 200:
		return Errorf(Invalid, "name", "must have 1 to 200 bytes, has %d", len(c.Name))
	case c.Class != Marketing && c.Class != Service:
		return Errorf(Invalid, "class", `must be "marketing" or "service", is %q`, c.Class)
	case c.Status != Draft && c.Status != Live && c.Status != Paused && c.Status != Ended:
		return Errorf(Invalid, "status", `must be "draft", "live", "paused" or "ended", is %q`, c.Status)
	case c.Lane != "" && c.Lane != LiveLane && c.Lane != BulkLane:
		return Errorf(Invalid, "lane", `must be "live" or "bulk", is %q`, c.Lane)
	case !(c.HoldoutPercent >= 0 && c.HoldoutPercent <= 50):
		return Errorf(Invalid, "holdout_percent", "must be 0 to 50, is %v", c.HoldoutPercent)
	case c.Start != nil && c.End != nil && !c.End.After(*c.Start):
		return Errorf(Invalid, "end", "must be after start")
	case len(c.Arms) == 0 || len(c.Arms) > 10:
		return Errorf(Invalid, "arms", "1 to 10, got %d", len(c.Arms))
	}
	if err := c.Trigger.validate(); err != nil {
		return At("trigger", err)
	}
	seen := map[string]bool{}
	for i, a := range c.Arms {
		switch {
		case !ValidID(a.ID):
			return Errorf(Invalid, Index("arms", i, "id"), "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
		case a.ID == HoldoutArm:
			return Errorf(Invalid, Index("arms", i, "id"), "%q names the holdout", HoldoutArm)
		case seen[a.ID]:
			return Errorf(Invalid, Index("arms", i, "id"), "stands twice: %q", a.ID)
		case a.Weight < 0 || a.Weight > 1000:
			return Errorf(Invalid, Index("arms", i, "weight"), "must be 0 to 1000, is %d", a.Weight)
		}
		if err := At(Index("arms", i, "message"), a.Message.validate()); err != nil {
			return err
		}
		seen[a.ID] = true
	}
	return At("limits", c.Limits.validate())
}

func (t CampaignTrigger) validate() error {
	if t.MaxAgeS < 0 {
		return Errorf(Invalid, "max_age_s", "must not be negative, is %d", t.MaxAgeS)
	}
	switch t.Type {
	case TriggerPlace:
		if !slices.Contains(Transitions, t.Transition) {
			return Errorf(Invalid, "transition", "must be one of %q, is %q", Transitions, t.Transition)
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
	default:
		return Errorf(Invalid, "type", `must be "place" or "event", is %q`, t.Type)
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
	if q := l.Quiet; q != nil {
		if _, err := time.Parse("15:04", q.Start); err != nil {
			return Errorf(Invalid, "quiet_hours.start", `must be "HH:MM", is %q`, q.Start)
		}
		if _, err := time.Parse("15:04", q.End); err != nil {
			return Errorf(Invalid, "quiet_hours.end", `must be "HH:MM", is %q`, q.End)
		}
		if q.Start == q.End {
			return Errorf(Invalid, "quiet_hours.end", "must differ from start")
		}
	}
	return nil
}
