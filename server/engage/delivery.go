package engage

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"
)

// HoldoutArm is the arm of those who get nothing, to be compared with.
const HoldoutArm = "holdout"

// ProfileID is the id of the profile that an install mints.
func ProfileID(workspace, install string) string { return hashID("profile", workspace, install) }

// DeliveryID is the id of the one message that a campaign may send to a person
// on an occasion (DESIGN, promise 4). Profile is its id at minting.
func DeliveryID(workspace, campaign, profile, occasion string) string {
	return hashID("delivery", workspace, campaign, profile, occasion)
}

// DecisionID is the id of what a campaign made of one trigger: several triggers
// can share an occasion, and so a delivery.
func DecisionID(delivery string, t *Trigger) string {
	return hashID("decision", delivery, string(t.Type), string(t.Transition), t.Fence, t.Event, t.Install,
		strconv.FormatInt(t.OccurredAt.UnixNano(), 10))
}

// AttemptID is the id under which a delivery goes to one install.
func AttemptID(delivery, install string) string { return hashID("attempt", delivery, install) }

// VisitID is the id of a visit, minted once from its first evidence.
func VisitID(workspace, install, place string, seq uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], seq)
	return hashID("visit", workspace, install, place, string(b[:]))
}

// EventID is the occasion of an event trigger.
func EventID(workspace, install string, seq uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], seq)
	return hashID("event", workspace, install, string(b[:]))
}

// Fraction maps parts to [0, 1), evenly: chance as a hash.
func Fraction(parts ...string) float64 {
	s := sum(parts)
	return float64(binary.BigEndian.Uint64(s[:8])>>11) / (1 << 53)
}

// hashID is 128 bits in hex: short enough for apns-collapse-id (64 bytes) and
// for an Android notification tag.
func hashID(parts ...string) string {
	s := sum(parts)
	return hex.EncodeToString(s[:16])
}

func sum(parts []string) [32]byte {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	var out [32]byte
	h.Sum(out[:0])
	return out
}

// DecisionState is where a decision stands. All but Pending are terminal.
type DecisionState string

// The states.
const (
	Pending    DecisionState = "pending"    // parked, deferred, or on its way: Decision.DueAt says until when
	Sent       DecisionState = "sent"       // accepted by a provider, or confirmed by the SDK
	HeldOut    DecisionState = "held_out"   // eligible, and in the control group
	Suppressed DecisionState = "suppressed" // a gate said no: Decision.Reason
	Expired    DecisionState = "expired"
	Failed     DecisionState = "failed"
)

// Terminal reports whether the state is final.
func (s DecisionState) Terminal() bool { return s != Pending && s != "" }

// Reason is a bounded code of why: "<gate>" or "<gate>_<detail>".
type Reason string

// The reasons of this version.
const (
	ReasonConsent        Reason = "consent" // no marketing consent
	ReasonNotStarted     Reason = "eligibility_not_started"
	ReasonEnded          Reason = "eligibility_ended"
	ReasonStale          Reason = "eligibility_stale"
	ReasonOccasionUsed   Reason = "eligibility_occasion_used"
	ReasonNoChannel      Reason = "eligibility_no_channel"
	ReasonTooManyOpen    Reason = "eligibility_too_many" // more of the person's messages are on their way than are kept track of
	ReasonAudience       Reason = "audience"
	ReasonContext        Reason = "context"
	ReasonWeatherUnknown Reason = "weather_unknown"
	ReasonWeatherTooMany Reason = "weather_too_many" // too many moments of the person wait already
	ReasonQuiet          Reason = "quiet"            // deferred to the end of quiet hours
	ReasonQuietExpired   Reason = "quiet_expired"
	ReasonQuietTooMany   Reason = "quiet_too_many" // too many moments of the person wait already
	ReasonQuietDropped   Reason = "quiet_dropped"  // the campaign's message is not to wait for their end
	ReasonCap            Reason = "cap"            // of the campaign
	ReasonCapGlobal      Reason = "cap_global"     // of all marketing messages of the workspace (LimitPolicy), as the next four
	ReasonCapTag         Reason = "cap_tag"
	ReasonCapChannel     Reason = "cap_channel"
	ReasonCapGap         Reason = "cap_gap" // too soon after the one before
	ReasonCapAttention   Reason = "cap_attention"
	ReasonCapAsks        Reason = "cap_asks"   // waits for the answer of the owner of a budget or a rate
	ReasonCapBudget      Reason = "cap_budget" // the campaign's, of all persons, as the next
	ReasonCapRate        Reason = "cap_rate"
	ReasonArbitration    Reason = "arbitration"
	ReasonRender         Reason = "render"
	ReasonPaused         Reason = "eligibility_paused"
	ReasonRunaway        Reason = "eligibility_runaway" // the campaign has spoken to the person so often that it seems to answer itself
	ReasonStopped        Reason = "eligibility_stopped" // by the kill switch
	ReasonMerged         Reason = "eligibility_merged"  // the profile became another while the moment waited: it waits on there
	ReasonRejected       Reason = "send_rejected"
	ReasonMisconfigured  Reason = "send_misconfigured"
	ReasonAmbiguous      Reason = "send_ambiguous"
	ReasonExhausted      Reason = "send_exhausted"
	ReasonNotDisplayed   Reason = "not_displayed"
	ReasonSendExpired    Reason = "send_expired"
	ReasonSendStopped    Reason = "send_stopped" // by the kill switch, after the decision
	ReasonSendPaused     Reason = "send_paused"  // the campaign was paused, ended or deleted after the decision
)

// GateResult is what one gate said, and what it saw.
type GateResult struct {
	Gate   string `json:"gate"`
	OK     bool   `json:"ok"`
	Reason Reason `json:"reason,omitempty"`
	Saw    Saw    `json:"saw,omitempty"`
}

// Decision is what became of one trigger at one campaign, and its trace. It is
// kept as a document in the collection "decisions".
type Decision struct {
	V         int           `json:"v"` // 1
	ID        string        `json:"id"`
	Workspace string        `json:"workspace"`
	Campaign  string        `json:"campaign"`
	Version   int64         `json:"campaign_version"`
	Revision  uint64        `json:"revision"` // of the configuration in force
	Profile   string        `json:"profile"`
	Trigger   Trigger       `json:"trigger"`
	At        time.Time     `json:"at"`    // log time of the trigger
	AtUS      int64         `json:"at_us"` // the same in Unix microseconds, for indexes
	State     DecisionState `json:"state"`
	Reason    Reason        `json:"reason,omitempty"`
	Gates     []GateResult  `json:"gates"`
	Arm       string        `json:"arm,omitempty"`
	Delivery  string        `json:"delivery,omitempty"` // where the gates let it through
	Channel   string        `json:"channel,omitempty"`  // fcm, apns, in_app, inbox: by which it went
	Detail    string        `json:"detail,omitempty"`   // the provider's reason, why not push
	DueAt     *time.Time    `json:"due_at,omitempty"`   // while pending: when it is decided at the latest
	UpdatedAt time.Time     `json:"updated_at"`         // log time
	Receipts  []string      `json:"receipts,omitempty"` // delivered, displayed, …, each once, in order of arrival
	Offer     *Reserved     `json:"offer,omitempty"`    // that the message brings; of who is treated
}

// Send is decide's order to deliver one message.
type Send struct {
	Delivery       string            `json:"delivery"`
	Workspace      string            `json:"workspace"`
	Campaign       string            `json:"campaign"`
	Arm            string            `json:"arm"`
	Profile        string            `json:"profile"`
	Class          Class             `json:"class"`
	Title          string            `json:"title"`
	Body           string            `json:"body"`
	DeepLink       string            `json:"deep_link,omitempty"`
	ImageURL       string            `json:"image_url,omitempty"`
	Data           map[string]string `json:"data,omitempty"`
	Actions        []Action          `json:"actions,omitempty"`
	Push           *PushContent      `json:"push,omitempty"`
	InApp          *InAppContent     `json:"in_app,omitempty"`
	Inbox          *InboxContent     `json:"inbox,omitempty"`
	Channels       []Channel         `json:"channels"`
	Devices        []Device          `json:"devices"` // the person's installs, the triggering one first
	DecidedAt      time.Time         `json:"decided_at"`
	ExpiresAt      time.Time         `json:"expires_at"`
	RetryAmbiguous bool              `json:"retry_ambiguous"`
	// Bulk is one of many that nobody waits for: its campaign is of BulkLane. It waits
	// behind what a person's moment has sent.
	Bulk bool `json:"bulk,omitempty"`
}

// DeliveryState is what deliver tells decide of a delivery.
type DeliveryState string

// What deliver tells.
const (
	DeliveryAccepted DeliveryState = "accepted" // a provider took it: terminal, sent
	DeliveryGranted  DeliveryState = "granted"  // a phone may show it: not terminal until its receipt
	DeliveryInboxed  DeliveryState = "inboxed"  // waits in the inbox: not terminal
	DeliveryFailed   DeliveryState = "failed"   // terminal
	DeliveryExpired  DeliveryState = "expired"  // terminal
)

// DeliveryOutcome is a fact about a delivery, appended to the profile's partition.
type DeliveryOutcome struct {
	Delivery string        `json:"delivery"`
	State    DeliveryState `json:"state"`
	Channel  string        `json:"channel"` // fcm, apns, in_app, inbox
	Install  string        `json:"install,omitempty"`
	Reason   Reason        `json:"reason,omitempty"`
	Detail   string        `json:"detail,omitempty"` // the provider's code; why it became inbox
	Attempts int           `json:"attempts"`
}

// Receipt states, in the order of a message's life.
const (
	ReceiptDelivered = "delivered"
	ReceiptDisplayed = "displayed"
	ReceiptOpened    = "opened"
	ReceiptAction    = "action"    // a button of it was pressed
	ReceiptDismissed = "dismissed" // the person put it away
	ReceiptConverted = "converted" // the app says that it led to what it was for
	ReceiptFailed    = "failed"    // the app could not show it
)
