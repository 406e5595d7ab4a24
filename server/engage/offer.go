package engage

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// KindReservation is what became of a code that a message carries: JSON Reservation; at
// the key of the profile that made it.
const KindReservation Kind = "reservation"

// OfferStatus is where an offer stands.
type OfferStatus string

// The statuses.
const (
	OfferActive OfferStatus = "active"
	OfferPaused OfferStatus = "paused" // it is in no new message, and is not redeemed
	OfferEnded  OfferStatus = "ended"  // as if its time were over
)

// OfferKind is what an offer gives.
type OfferKind string

// The kinds.
const (
	OfferPercent      OfferKind = "percent" // Value: off, above 0 to 100
	OfferAmount       OfferKind = "amount"  // Value: off, in Currency
	OfferGift         OfferKind = "gift"
	OfferFreeShipping OfferKind = "free_shipping"
)

// OfferCodes says whose an offer's code is.
type OfferCodes string

// The sorts of codes.
const (
	SharedCode  OfferCodes = "shared" // everybody has the same: Offer.Code
	UniqueCodes OfferCodes = "unique" // each message carries one of its own, out of the pool that was uploaded
)

// Reasons of the gate "offer".
const (
	ReasonOfferEnded       Reason = "offer_ended"        // paused, its time over, or deleted
	ReasonOfferNotStarted  Reason = "offer_not_started"  // its time is yet to come
	ReasonOfferNotHere     Reason = "offer_not_here"     // not redeemed at the place of the moment
	ReasonOfferPersonLimit Reason = "offer_person_limit" // the person had it often enough
	ReasonOfferSoldOut     Reason = "offer_sold_out"
	ReasonOfferWaits       Reason = "offer_waits"       // for codes or stock on lease; at most 2 s
	ReasonOfferUnavailable Reason = "offer_unavailable" // and they did not come
	ReasonOfferUsedUp      Reason = "offer_used_up"     // redeemed as often as it may be in total
	ReasonOfferTooMany     Reason = "offer_too_many"    // too many moments of the person wait already
)

// MaxPool is how many unique codes an offer has at most.
const MaxPool = 1_000_000

// Offer is what a message can bring: a code that a till takes.
type Offer struct {
	ID        string      `json:"id"`
	Workspace string      `json:"workspace,omitempty"`
	Version   int64       `json:"version"`
	Name      string      `json:"name"`
	Status    OfferStatus `json:"status"`
	Kind      OfferKind   `json:"kind"`
	Value     float64     `json:"value,omitempty"`    // of percent and amount
	Currency  string      `json:"currency,omitempty"` // ISO 4217, upper case; of amount and of Worth
	Terms     string      `json:"terms,omitempty"`    // for people to read
	Codes     OfferCodes  `json:"codes"`
	Code      string      `json:"code,omitempty"` // of shared codes; case does not matter
	// Pool is how many unique codes were uploaded. The server sets it.
	Pool int64 `json:"pool,omitempty"`

	From  *time.Time `json:"from,omitempty"`  // it is given and redeemed from then on
	Until *time.Time `json:"until,omitempty"` // and until then
	// Places and Tags: it is redeemed at these places, or at such with one of the tags;
	// both empty: everywhere. A moment at another place gives none.
	Places []string `json:"places,omitempty"`
	Tags   []string `json:"tags,omitempty"`

	// Stock is how many messages carry it at most, over all persons and campaigns, those
	// not counted that ended undelivered. 0: as many as there are.
	Stock int64 `json:"stock,omitempty"`
	// PerPerson is how many messages bring it to one person at most, and how often a
	// person redeems a shared code. 0: no limit.
	PerPerson int `json:"per_person,omitempty"`
	// Total is how often it is redeemed at most, over all persons; what was voided does
	// not count. Once it is reached no message brings it any more. 0: no limit.
	Total int64 `json:"total,omitempty"`
	// Worth is what one redemption takes off or gives at most, in units of Currency: what
	// is taken where a till says nothing. 0: not known; of an amount off it is Value.
	Worth     float64   `json:"worth,omitempty"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Validate checks all that can be checked without other documents.
func (o *Offer) Validate() error {
	switch {
	case !ValidID(o.ID):
		return Errorf(Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
	case o.Name == "" || len(o.Name) > 200:
		return Errorf(Invalid, "name", "must have 1 to 200 bytes, has %d", len(o.Name))
	case o.Status != OfferActive && o.Status != OfferPaused && o.Status != OfferEnded:
		return Errorf(Invalid, "status", `must be "active", "paused" or "ended", is %q`, o.Status)
	case o.Kind != OfferPercent && o.Kind != OfferAmount && o.Kind != OfferGift && o.Kind != OfferFreeShipping:
		return Errorf(Invalid, "kind", `must be "percent", "amount", "gift" or "free_shipping", is %q`, o.Kind)
	case o.Kind == OfferPercent && !(o.Value > 0 && o.Value <= 100):
		return Errorf(Invalid, "value", "must be above 0 and at most 100 per cent, is %v", o.Value)
	case o.Kind == OfferAmount && !(o.Value > 0 && o.Value <= 1e9):
		return Errorf(Invalid, "value", "must be above 0 and at most 1e9, is %v", o.Value)
	case o.Kind != OfferPercent && o.Kind != OfferAmount && o.Value != 0:
		return Errorf(Invalid, "value", "belongs to percent and amount")
	case o.Kind == OfferAmount && !ValidCurrency(o.Currency):
		return Errorf(Invalid, "currency", `must be of three upper-case letters, like "EUR", is %q`, o.Currency)
	case o.Kind != OfferAmount && o.Worth == 0 && o.Currency != "":
		return Errorf(Invalid, "currency", "belongs to amount, and to worth")
	case o.Currency != "" && !ValidCurrency(o.Currency):
		return Errorf(Invalid, "currency", `must be of three upper-case letters, like "EUR", is %q`, o.Currency)
	case len(o.Terms) > 4000:
		return Errorf(TooLarge, "terms", "must have at most 4000 bytes, has %d", len(o.Terms))
	case o.Codes != SharedCode && o.Codes != UniqueCodes:
		return Errorf(Invalid, "codes", `must be "shared" or "unique", is %q`, o.Codes)
	case o.Codes == SharedCode && NormalCode(o.Code) == "":
		return Errorf(Invalid, "code", "must have 3 to 64 letters, digits, '-', '_' or '.'")
	case o.Codes == UniqueCodes && o.Code != "":
		return Errorf(Invalid, "code", "belongs to shared codes: unique ones are uploaded")
	case o.Pool < 0 || o.Pool > MaxPool || o.Codes == SharedCode && o.Pool > 0:
		return Errorf(Invalid, "pool", "must be 0 to %d, and 0 of a shared code, is %d", MaxPool, o.Pool)
	case o.From != nil && o.Until != nil && !o.Until.After(*o.From):
		return Errorf(Invalid, "until", "must be after from")
	case len(o.Places) > 1000 || len(o.Tags) > 100:
		return Errorf(TooLarge, "places", "at most 1000, and 100 tags, got %d and %d", len(o.Places), len(o.Tags))
	case o.Stock < 0:
		return Errorf(Invalid, "stock", "must not be negative, is %d", o.Stock)
	case o.PerPerson < 0:
		return Errorf(Invalid, "per_person", "must not be negative, is %d", o.PerPerson)
	case o.Total < 0:
		return Errorf(Invalid, "total", "must not be negative, is %d", o.Total)
	case !(o.Worth >= 0 && o.Worth <= MaxMoney):
		return Errorf(Invalid, "worth", "must be 0 to %.0f, is %v", MaxMoney, o.Worth)
	case o.Worth > 0 && o.Currency == "":
		return Errorf(Invalid, "currency", "is required with worth: ISO 4217, such as \"EUR\"")
	case o.Worth > 0 && o.Kind == OfferAmount && o.Worth != o.Value:
		return Errorf(Invalid, "worth", "is the value of an amount off: leave it out")
	}
	for i, id := range o.Places {
		if !ValidID(id) {
			return Errorf(Invalid, fmt.Sprintf("places[%d]", i), "is no id of a place")
		}
	}
	for i, tag := range o.Tags {
		if tag == "" || len(tag) > 100 {
			return Errorf(Invalid, fmt.Sprintf("tags[%d]", i), "must have 1 to 100 bytes")
		}
	}
	return nil
}

// ValidCurrency reports whether it looks like a code of ISO 4217: three upper-case letters.
func ValidCurrency(c string) bool {
	return len(c) == 3 && strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// NormalCode is a code as codes are compared: without space around it, in upper case.
// Empty: it is none, for it has not 3 to 64 of letters, digits, '-', '_' and '.', all of
// ASCII.
func NormalCode(code string) string {
	code = strings.ToUpper(strings.TrimSpace(code))
	if len(code) < 3 || len(code) > 64 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return ""
	}
	return code
}

// Limited reports whether there are only so many to give, and how many.
func (o *Offer) Limited() (int64, bool) {
	switch {
	case o.Codes == UniqueCodes && o.Stock > 0:
		return min(o.Stock, o.Pool), true
	case o.Codes == UniqueCodes:
		return o.Pool, true
	default:
		return o.Stock, o.Stock > 0
	}
}

// MostWorth is what one redemption takes off or gives at most, in units of Currency;
// 0: not known.
func (o *Offer) MostWorth() float64 {
	if o.Kind == OfferAmount {
		return o.Value
	}
	return o.Worth
}

// LimitID is the id of its stock among the limits that span people.
func (o *Offer) LimitID() string { return "offer:" + o.ID }

// At reports whether it is redeemed at a place; nil is none.
func (o *Offer) At(p *Place) bool {
	if len(o.Places) == 0 && len(o.Tags) == 0 {
		return true
	}
	return p != nil && (slices.Contains(o.Places, p.ID) || slices.ContainsFunc(p.Tags, func(t string) bool { return slices.Contains(o.Tags, t) }))
}

// Open reports whether it is given and redeemed at a time, and else whether that is over,
// and not yet to come.
func (o *Offer) Open(at time.Time) (open, over bool) {
	switch {
	case o.Status != OfferActive || o.Until != nil && !at.Before(*o.Until):
		return false, true
	case o.From != nil && at.Before(*o.From):
		return false, false
	}
	return true, false
}

// Reserved is what a decision has of an offer.
type Reserved struct {
	Offer string `json:"offer"`
	Code  string `json:"code"`
	N     *int64 `json:"n,omitempty"` // of a unique code: its number in the pool
	// Leased: it is a part of the offer's stock.
	Leased bool `json:"leased,omitempty"`
	// Returned: the message ended undelivered, and it was given back.
	Returned bool `json:"returned,omitempty"`
	// RedeemedAt is when a till took it; nil: none has, or it was voided.
	RedeemedAt *time.Time `json:"redeemed_at,omitempty"`
}

// Reservation is a code that a message carries: a document of the collection
// "reservations", its id the delivery.
type Reservation struct {
	V        int       `json:"v"` // 1
	Delivery string    `json:"delivery"`
	Decision string    `json:"decision"`
	Campaign string    `json:"campaign"`
	Arm      string    `json:"arm"`
	Profile  string    `json:"profile"` // that made it
	Offer    string    `json:"offer"`
	Code     string    `json:"code"`  // as NormalCode has it
	At       time.Time `json:"at"`    // log time
	AtUS     int64     `json:"at_us"` // the same in Unix microseconds
	// Held is a unique code once more, until it is given back, and Back from then on; a
	// shared one is not found by its code alone.
	Held     string `json:"held,omitempty"`
	Back     string `json:"back,omitempty"`
	Returned bool   `json:"returned,omitempty"`
}
