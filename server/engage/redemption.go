package engage

import (
	"math"
	"time"
)

// KindRedemption is what a till did with a code that a person has: JSON Redemption; at
// the key of the profile. It makes nobody known.
const KindRedemption Kind = "redemption"

// KindOfferUse is how often an offer was redeemed: JSON OfferUsed; at OfferUseKey of each
// "act" partition.
const KindOfferUse Kind = "offer_use"

// RedemptionState is where a redemption stands.
type RedemptionState string

// The states.
const (
	Redeemed RedemptionState = "redeemed"
	Voided   RedemptionState = "voided" // taken back at a till: the code is good again
)

// Why a till is not to take a code. Each is the code of an Error whose message a cashier
// can act on.
const (
	TillUnknownCode  Code = "unknown_code"     // no offer has it, or it was given to nobody
	TillAlready      Code = "already_redeemed" // the code, or the message that brought it, was redeemed before
	TillExpired      Code = "expired"          // the offer's time is over
	TillPaused       Code = "paused"           // the offer is paused
	TillNotYet       Code = "not_yet_valid"
	TillWrongPlace   Code = "wrong_place"
	TillLimitReached Code = "limit_reached" // the offer's in total, or the person's
	TillGivenBack    Code = "given_back"    // the message ended undelivered, and its code may be another's by now
)

// Redemption is a code that a till has taken: a document of the collection "redemptions",
// its id RedemptionID.
type Redemption struct {
	V     int             `json:"v"` // 1
	ID    string          `json:"id"`
	Ref   string          `json:"ref"` // the till's own id of it
	State RedemptionState `json:"state"`
	Offer string          `json:"offer"`
	Code  string          `json:"code"`            // as NormalCode has it
	Place string          `json:"place,omitempty"` // where; empty: the till did not say
	Order string          `json:"order,omitempty"` // the till's id of the purchase
	By    string          `json:"by"`              // id of the server key of the till
	At    time.Time       `json:"at"`              // when the server had it
	AtUS  int64           `json:"at_us"`           // the same in Unix microseconds

	// Value is what the customer paid for what was bought with it, Worth what the offer
	// took off or gave; both in units of Currency. 0 and no currency: not known.
	Value    float64 `json:"value,omitempty"`
	Worth    float64 `json:"worth,omitempty"`
	Currency string  `json:"currency,omitempty"` // ISO 4217

	// Whose it is, and what brought it. Empty: nobody knows; a shared code stands on
	// posters, too.
	Profile  string `json:"profile,omitempty"`
	Delivery string `json:"delivery,omitempty"`
	Campaign string `json:"campaign,omitempty"`
	Arm      string `json:"arm,omitempty"`

	VoidedAt   time.Time `json:"voided_at,omitzero"`
	VoidedBy   string    `json:"voided_by,omitempty"` // id of the server key
	VoidReason string    `json:"void_reason,omitempty"`
}

// RedemptionID is the id of what a till calls ref: under it a code is redeemed once,
// however often the till asks.
func RedemptionID(workspace, ref string) string { return hashID("redemption", workspace, ref) }

// OfferUsed is how often an offer was redeemed, less what was voided, by the store's
// count. Of two the one of the higher Version counts.
type OfferUsed struct {
	V        int    `json:"v"` // 1
	Offer    string `json:"offer"`
	Redeemed int64  `json:"redeemed"`
	Version  int64  `json:"version"`
}

// OfferUsePrefix begins the ids of an offer's uses in the collection "state_act".
func OfferUsePrefix(offer string) string { return "u:" + offer + "@" }

// OfferUseKey is the key of what a partition knows of an offer's use.
func OfferUseKey(workspace, offer, partition string) string {
	return workspace + "/" + OfferUsePrefix(offer) + partition
}

// perUnit is how many parts of a currency's unit sums of money count.
const perUnit = 10_000

// Parts is money in ten-thousandths of a currency's unit: sums of these are the same in
// whatever order they are made. Below 0, above MaxMoney and what is no number is 0.
func Parts(units float64) int64 {
	if !(units > 0 && units <= MaxMoney) {
		return 0
	}
	return int64(math.Round(units * perUnit))
}

// Units of a currency that parts are.
func Units(parts int64) float64 { return float64(parts) / perUnit }
