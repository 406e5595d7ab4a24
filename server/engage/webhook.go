package engage

import (
	"encoding/json"
	"slices"
	"time"
)

// KindWebhook is an entry that leaves the log for "webhook": JSON WebhookEvent.
const KindWebhook Kind = "webhook"

// WebhookType is what an event for a retailer's own systems says: the type of its
// CloudEvent.
type WebhookType string

// The types. Those of places have PlaceFact as their data, the others MessageFact.
const (
	WebhookApproached WebhookType = "footfall.place.approached" // came into an approach ring
	WebhookEntered    WebhookType = "footfall.place.entered"
	WebhookDwelled    WebhookType = "footfall.place.dwelled"
	WebhookPassed     WebhookType = "footfall.place.passed" // the way between two fixes crossed it
	WebhookExited     WebhookType = "footfall.place.exited"
	WebhookDeparted   WebhookType = "footfall.place.departed" // left an approach ring
	WebhookVisitEnded WebhookType = "footfall.visit.ended"

	WebhookAccepted   WebhookType = "footfall.delivery.accepted" // by a push provider
	WebhookInboxed    WebhookType = "footfall.delivery.inboxed"
	WebhookDelivered  WebhookType = "footfall.delivery.delivered" // the phone said so
	WebhookDisplayed  WebhookType = "footfall.delivery.displayed"
	WebhookOpened     WebhookType = "footfall.delivery.opened"
	WebhookActed      WebhookType = "footfall.delivery.acted" // a button was pressed
	WebhookDismissed  WebhookType = "footfall.delivery.dismissed"
	WebhookNotShown   WebhookType = "footfall.delivery.not_shown" // the app could not
	WebhookFailed     WebhookType = "footfall.delivery.failed"
	WebhookExpired    WebhookType = "footfall.delivery.expired"
	WebhookConversion WebhookType = "footfall.conversion" // the app said so

	// WebhookPing is sent by tests of a subscription alone; nobody subscribes to it.
	WebhookPing WebhookType = "footfall.ping"
)

// WebhookTypes are all that can be subscribed to.
var WebhookTypes = []WebhookType{
	WebhookApproached, WebhookEntered, WebhookDwelled, WebhookPassed, WebhookExited, WebhookDeparted, WebhookVisitEnded,
	WebhookAccepted, WebhookInboxed, WebhookDelivered, WebhookDisplayed, WebhookOpened, WebhookActed, WebhookDismissed,
	WebhookNotShown, WebhookFailed, WebhookExpired, WebhookConversion,
}

// WebhookRule says which events a subscription hears. A filter is about the events
// that have what it names: places and tags about visits and the messages that came of
// them, campaigns about messages; the others pass it.
type WebhookRule struct {
	ID        string        `json:"id"`                  // of the subscription
	Types     []WebhookType `json:"types,omitempty"`     // empty: all
	Places    []string      `json:"places,omitempty"`    // ids; with Tags: either
	Tags      []string      `json:"tags,omitempty"`      // of places
	Campaigns []string      `json:"campaigns,omitempty"` // ids
}

// Hears reports whether an event passes, but for its type. place is nil when it is of
// none that is known; campaign empty when it is of none.
func (r *WebhookRule) Hears(placeID string, place *Place, campaign string) bool {
	if len(r.Campaigns) > 0 && campaign != "" && !slices.Contains(r.Campaigns, campaign) {
		return false
	}
	if len(r.Places) == 0 && len(r.Tags) == 0 || placeID == "" || slices.Contains(r.Places, placeID) {
		return true
	}
	return place != nil && slices.ContainsFunc(place.Tags, func(tag string) bool { return slices.Contains(r.Tags, tag) })
}

// WebhookEvent is one event on its way to the subscriptions that hear it.
type WebhookEvent struct {
	V       int             `json:"v"`  // 1
	ID      string          `json:"id"` // derived: the same on every replay and repeat
	Type    WebhookType     `json:"type"`
	Subject string          `json:"subject"` // "people/<profile>"
	Time    time.Time       `json:"time"`    // when it happened, corrected device clock
	Data    json.RawMessage `json:"data"`    // PlaceFact or MessageFact
	To      []string        `json:"to"`      // subscriptions, by id
}

// WebhookEventID is the id of an event: what it is of, and its parts.
func WebhookEventID(workspace string, t WebhookType, parts ...string) string {
	return hashID(append([]string{"webhook", workspace, string(t)}, parts...)...)
}

// WebhookPerson is who an event is about. There is no position, and no push token,
// in any event.
type WebhookPerson struct {
	Workspace string `json:"workspace"`
	ProfileID string `json:"profile_id"`
	UserID    string `json:"user_id,omitempty"` // the retailer's own; absent: nobody has proven it
	InstallID string `json:"install_id,omitempty"`
}

// PlaceFact is the data of an event of a place or a visit.
type PlaceFact struct {
	WebhookPerson
	Place      WebhookPlace `json:"place"`
	GeofenceID string       `json:"geofence_id,omitempty"` // absent: of the visit as a whole
	Ring       Ring         `json:"ring"`                  // inside, near
	VisitID    string       `json:"visit_id"`
	OccurredAt time.Time    `json:"occurred_at"`        // corrected device clock
	LoggedAt   time.Time    `json:"logged_at"`          // when it reached the server
	InsideS    float64      `json:"inside_s,omitempty"` // of an exit, a dwell, a visit: for how many seconds it had been inside
	Evidence   string       `json:"evidence"`           // fix, os_region, beacon, path, silence
	Opening    string       `json:"opening,omitempty"`  // open, closed; absent: not known
	Late       bool         `json:"late,omitempty"`     // it became known too late to send anything for it
	Doubts     []string     `json:"doubts,omitempty"`   // mocked, speed, teleport
}

// WebhookPlace names a place, as it was when the event arose.
type WebhookPlace struct {
	ID   string   `json:"id"`
	Name string   `json:"name,omitempty"` // absent: it is not there any more
	Tags []string `json:"tags,omitempty"`
}

// MessageFact is the data of an event of a message, or of what it led to.
type MessageFact struct {
	WebhookPerson
	DeliveryID string        `json:"delivery_id"`
	CampaignID string        `json:"campaign_id"`
	Arm        string        `json:"arm,omitempty"`
	Channel    string        `json:"channel,omitempty"`   // fcm, apns, in_app, inbox; absent: not known yet
	Reason     Reason        `json:"reason,omitempty"`    // of what failed or expired
	Detail     string        `json:"detail,omitempty"`    // the provider's own code
	ActionID   string        `json:"action_id,omitempty"` // of the button that was pressed
	Place      *WebhookPlace `json:"place,omitempty"`     // whose visit triggered it
	VisitID    string        `json:"visit_id,omitempty"`  // of that
	DecidedAt  time.Time     `json:"decided_at"`          // log time of the moment that it came of
	OccurredAt time.Time     `json:"occurred_at"`
	LoggedAt   time.Time     `json:"logged_at"`
}
