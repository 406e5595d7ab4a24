package engage

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Kinds of identifiers. An identifier is written "<kind>:<value>".
const (
	IDUser      = "user_id"      // as the retailer calls a customer; compared exactly
	IDEmail     = "email"        // compared in lower case
	IDLoyalty   = "loyalty"      // number of a loyalty card; compared exactly
	IDAnonymous = "anonymous_id" // that a browser or a server-side library made up
)

// MaxIdentifier is how long an identifier may be, in bytes, its kind included.
const MaxIdentifier = 300

// Identifier makes an identifier of a kind and a value, normalised so that what is
// the same is written the same. The error is an *Error with the kind as its field.
func Identifier(kind, value string) (string, error) {
	value = strings.TrimSpace(value)
	if kind == IDEmail {
		value = strings.ToLower(value)
	}
	switch {
	case kind != IDUser && kind != IDEmail && kind != IDLoyalty && kind != IDAnonymous:
		return "", Errorf(Invalid, kind, "is no kind of identifier: user_id, email, loyalty or anonymous_id")
	case value == "":
		return "", Errorf(Invalid, kind, "must not be empty")
	case len(kind)+1+len(value) > MaxIdentifier:
		return "", Errorf(TooLarge, kind, "at most %d bytes, got %d", MaxIdentifier-len(kind)-1, len(value))
	case !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return "", Errorf(Invalid, kind, "must be text without control characters")
	case kind == IDEmail && (strings.Count(value, "@") != 1 || strings.HasPrefix(value, "@") || strings.HasSuffix(value, "@")):
		return "", Errorf(Invalid, kind, "must be an e-mail address")
	}
	return kind + ":" + value, nil
}

// PersonID is the id of the profile that an identifier mints. It is a pure function,
// so whoever has an identifier knows where to send what concerns it: that profile
// either is the person, or has been merged into the one that is and forwards.
func PersonID(workspace, identifier string) string {
	kind, _, _ := strings.Cut(identifier, ":")
	first := "v"
	switch kind {
	case IDUser:
		first = "u"
	case IDAnonymous:
		first = "w"
	}
	return first + hashID("person", workspace, identifier)
}

// seniority of a profile by what minted it: a user id, another identifier, an
// anonymous id, an install.
func seniority(profile string) int {
	if profile != "" {
		if i := strings.IndexByte("uvw", profile[0]); i >= 0 {
			return i
		}
	}
	return 3
}

// Senior reports whether a survives a merge of a and b: a fixed order of all ids, so
// that both owners come to the same answer by themselves, redirects only ever lead to
// more senior ones and so never in a circle, and the survivor of many merges is the
// same in whatever order they come.
func Senior(a, b string) bool {
	x, y := seniority(a), seniority(b)
	if x != y {
		return x < y
	}
	return a < b
}

// MintedByUser reports whether a user id minted the profile. Two of these are two
// persons: nothing but an alias merges them.
func MintedByUser(profile string) bool { return seniority(profile) == 0 }

// MintedByBrowser reports whether an anonymous id minted the profile: only at these does a
// public key say anything.
func MintedByBrowser(profile string) bool { return seniority(profile) == 2 }

// MintedByInstall reports whether an install minted the profile, or a logout from it; or
// whether it is a shadow: of both a person gets new ones for ever.
func MintedByInstall(profile string) bool { return seniority(profile) == 3 }

// ShadowID is the n-th profile that takes what a public key says of a profile's
// identifier, once somebody is known by it.
func ShadowID(workspace, profile string, n int) string {
	return "s" + hashID("shadow", workspace, profile, strconv.Itoa(n))
}

// TouchOccasion is the occasion of an event that a touch tells.
func TouchOccasion(workspace, touch string) string { return hashID("touch", workspace, touch) }

// Merge says that two profiles are one person; at the key of one of them. Its owner
// sees who is to survive. The senior one agrees, if it has room, by sending the Merge to
// the junior one; that one freezes, sends all that it has to the senior as an Absorb,
// and forwards what still comes. Where either has been absorbed itself, it sends the
// Merge on to where it is now.
type Merge struct {
	// Of and And are the profiles that were named, whatever they have become; Of is
	// empty until the first owner has had it.
	Of   string `json:"of,omitempty"`
	And  string `json:"and,omitempty"`
	With string `json:"with"` // the other one, as far as it is known where it is now
	// Room is how many profiles the other one can take still, once it has agreed; 0
	// until then.
	Room int `json:"room,omitempty"`

	Identifier string `json:"identifier,omitempty"` // that minted one of them
	Install    string `json:"install,omitempty"`
	// Alias: a server said so outright, with its own key: the only thing that makes one
	// person of two user ids. All else is an inference: a device or an e-mail address
	// that two users share stays with the first.
	Alias bool   `json:"alias,omitempty"`
	Why   string `json:"why"` // "identify", "alias", "email", ...
}

// Forward carries an entry from a profile that has been absorbed to its survivor. It
// keeps where it was first sent.
type Forward struct {
	V       int             `json:"v"` // 1
	Profile string          `json:"profile"`
	Kind    Kind            `json:"kind"`
	Body    json.RawMessage `json:"body"`
}

// ShadowWord says what is to become of what a public key has said of a browser.
type ShadowWord struct {
	// Refused: it was said to be somebody's who is not the person that it is known to be
	// of. What was said of it until its person is named again is nobody's.
	Refused bool `json:"refused,omitempty"`
}

// MergeRefused says, at both profiles' keys, that they stay two: its Merge, and the
// reason.
type MergeRefused struct {
	Merge
	Code Code `json:"code"`
}

// Touch is what a touchpoint other than an app's SDK says of a person: a website, a
// server, a till, an upload. It goes to the profile of its first identifier.
type Touch struct {
	V int `json:"v"` // 1
	// ID makes it take effect once per person: the message id of its source, or a hash
	// of an upload's row.
	ID string `json:"id"`
	// Trusted: a server key, or a proof, stands behind it. What is not trusted can only
	// concern persons whom nobody knows: once an anonymous profile has been merged, it
	// goes to a new anonymous one.
	Trusted bool `json:"trusted,omitempty"`
	// Quiet: it is history and triggers nothing, as all that is uploaded.
	Quiet bool        `json:"quiet,omitempty"`
	From  TouchSource `json:"from"`
	// Identifiers are all that it names, normalised, the first is the one whose profile
	// it went to. Further ones are of the same person: the owner has them merged.
	Identifiers []string `json:"identifiers"`
	// Claimed is a user id that an untrusted touch names: it is noted, nothing else.
	Claimed string `json:"claimed,omitempty"`

	// What it says, any of these.
	Traits      map[string]any      `json:"traits,omitempty"`      // null forgets; the newest by Entry.Occurred counts
	Preferences map[string]Attitude `json:"preferences,omitempty"` // by topic; "" forgets
	Consents    map[Purpose]Consent `json:"consents,omitempty"`
	Event       *TouchEvent         `json:"event,omitempty"`
	Order       *Order              `json:"order,omitempty"` // beside the Event that told of it
	Alias       string              `json:"alias,omitempty"` // an identifier: it and the first are one person; trusted only
	Device      *TouchDevice        `json:"device,omitempty"`
}

// TouchSource says where a touch came from.
type TouchSource struct {
	Kind string `json:"kind"`           // "web", "server", "till", "upload", "api", "sdk"
	Key  string `json:"key,omitempty"`  // id of the write key
	Name string `json:"name,omitempty"` // library and version, or the upload's id
}

// TouchEvent is something that a person did. Its name and properties are what
// campaigns' event triggers see.
type TouchEvent struct {
	Type       string         `json:"type"` // "track", "page", "screen", "group"
	Name       string         `json:"name"`
	Properties map[string]any `json:"properties,omitempty"`
}

// TouchDevice is what a website's library says of where the person is.
type TouchDevice struct {
	Locale     string `json:"locale,omitempty"`
	TimeZone   string `json:"time_zone,omitempty"`
	AppVersion string `json:"app_version,omitempty"`
}

// OrderStatus is what has become of an order.
type OrderStatus string

// The states of an order, by the event that tells it.
const (
	OrderCompleted OrderStatus = "completed"
	OrderUpdated   OrderStatus = "updated"
	OrderRefunded  OrderStatus = "refunded" // in part, too: Value is what was given back
	OrderCancelled OrderStatus = "cancelled"
)

// MaxMoney is what an order may be worth, or a line of it cost, in units of a currency.
const MaxMoney = 1e12

// Order is a purchase, as the e-commerce events of the Segment specification tell it.
type Order struct {
	ID       string        `json:"id"` // required: an order counts once however often it is told
	Status   OrderStatus   `json:"status"`
	Value    float64       `json:"value"`              // of the whole order: total, else revenue, else the products' sum
	Currency string        `json:"currency,omitempty"` // ISO 4217, upper case
	Place    string        `json:"place,omitempty"`    // of a till
	Coupon   string        `json:"coupon,omitempty"`
	Products []OrderedItem `json:"products,omitempty"`
}

// OrderedItem is a line of an order.
type OrderedItem struct {
	ID       string  `json:"id,omitempty"` // product_id, else sku
	Name     string  `json:"name,omitempty"`
	Category string  `json:"category,omitempty"`
	Brand    string  `json:"brand,omitempty"`
	Price    float64 `json:"price,omitempty"` // of one
	Quantity float64 `json:"quantity,omitempty"`
}

// Dropped is something that was answered as taken and yet had no effect, in whole or
// in part: a document of the collection "dropped".
type Dropped struct {
	V         int         `json:"v"`     // 1
	ID        string      `json:"id"`    // sorts by time, the newest last
	At        time.Time   `json:"at"`    // log time
	AtUS      int64       `json:"at_us"` // the same in Unix microseconds, to sort by
	Workspace string      `json:"workspace"`
	From      TouchSource `json:"from"`
	Message   string      `json:"message,omitempty"` // its id
	Type      string      `json:"type,omitempty"`    // "track", ...
	Code      Code        `json:"code"`
	Field     string      `json:"field,omitempty"`
	Reason    string      `json:"reason"`
	Profile   string      `json:"profile,omitempty"` // where it is known
}

// Erase has the owner of a state forget it: of a profile, an identifier or an install
// that is one of the Profiles'. An install that has become somebody else's only forgets
// that it was theirs.
type Erase struct {
	Profiles []string `json:"profiles"`
}
