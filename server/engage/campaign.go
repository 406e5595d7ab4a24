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
	Programme Programme       `json:"programme,omitempty"`
	Status    Status          `json:"status"`
	Review    *Review         `json:"review,omitempty"`
	Tags      []string        `json:"tags,omitempty"`     // by which the workspace's LimitPolicy caps it
	Priority  int             `json:"priority,omitempty"` // among campaigns that want the same moment the highest wins; ties go to the higher Value, then to the smaller id
	Value     float64         `json:"value,omitempty"`    // what a message is expected to be worth: any unit, the same in all campaigns
	Lane      Lane            `json:"lane,omitempty"`     // empty means LiveLane
	Trigger   CampaignTrigger `json:"trigger"`
	Audience  json.RawMessage `json:"audience,omitempty"` // a rule over the person; empty means everybody
	Context   json.RawMessage `json:"context,omitempty"`  // a rule over the moment; empty means always
	// Offer is the id of the offer that the message brings; its texts have it as "offer".
	Offer string `json:"offer,omitempty"`
	// Item is the item of a catalogue that the message is about; nil: none.
	Item *CampaignItem `json:"item,omitempty"`
	Arms []Arm         `json:"arms"`
	// HoldoutPercent of the eligible persons get nothing and are measured: 0..50.
	HoldoutPercent float64    `json:"holdout_percent"`
	Goal           *Goal      `json:"goal,omitempty"` // nil: it has none; visits and purchases are counted all the same
	Limits         Limits     `json:"limits"`
	Start          *time.Time `json:"start,omitempty"`     // not before
	End            *time.Time `json:"end,omitempty"`       // not after
	TimeZone       string     `json:"time_zone,omitempty"` // in which its makers think of start and end
	UpdatedAt      time.Time  `json:"updated_at"`
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
	// Locale is the language of these texts; empty means that it is not said. Locales
	// are the texts in others, by language: "nl", "pt-BR". A phone gets that of its own
	// locale, else of its language, else the message's own.
	Locale  string                  `json:"locale,omitempty"`
	Locales map[string]LocalContent `json:"locales,omitempty"`
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
	case c.Lane != "" && c.Lane != LiveLane && c.Lane != BulkLane:
		return Errorf(Invalid, "lane", `must be "live" or "bulk", is %q`, c.Lane)
	case !(c.HoldoutPercent >= 0 && c.HoldoutPercent <= 50):
		return Errorf(Invalid, "holdout_percent", "must be 0 to 50, is %v", c.HoldoutPercent)
	case c.Start != nil && c.End != nil && !c.End.After(*c.Start):
		return Errorf(Invalid, "end", "must be after start")
	case len(c.Arms) == 0 || len(c.Arms) > 10:
		return Errorf(Invalid, "arms", "1 to 10, got %d", len(c.Arms))
	}
	if err := validateTags(c.Tags); err != nil {
		return err
	}
	if !(c.Value >= 0 && c.Value <= MaxValue) {
		return Errorf(Invalid, "value", "must be 0 to %v, is %v", MaxValue, c.Value)
	}
	if err := c.validateLife(); err != nil {
		return err
	}
	if err := c.Trigger.validate(); err != nil {
		return At("trigger", err)
	}
	if err := c.Item.validate(c.Trigger.Type); err != nil {
		return At("item", err)
	}
	if err := At("goal", c.Goal.validate()); err != nil {
		return err
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
