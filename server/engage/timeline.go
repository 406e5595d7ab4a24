package engage

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// TimelineEntry is one thing that happened to a person, a document of the collection
// "timeline". Its id is TimelineID's; one that an earlier build wrote has no class in
// its id: "p:<profile>/<log time>/<position>".
type TimelineEntry struct {
	V          int             `json:"v"` // 1
	Profile    string          `json:"profile"`
	At         time.Time       `json:"at"`          // log time
	OccurredAt time.Time       `json:"occurred_at"` // corrected device clock
	Kind       Kind            `json:"kind"`
	Install    string          `json:"install,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"` // the entry's body; no push token
}

// TimelineClass is what an entry of a timeline is about. It follows from the entry and
// stands in its id alone: what is kept of one class stands together, in the order of
// time, and is read without an index and without looking at the others.
type TimelineClass string

// The classes. Every entry has one.
const (
	ClassEvents      TimelineClass = "events"      // what the person did, but for purchases
	ClassVisits      TimelineClass = "visits"      // transitions at places
	ClassPurchases   TimelineClass = "purchases"   // orders: completed, updated, refunded, cancelled; offers redeemed and voided
	ClassMessages    TimelineClass = "messages"    // what became of deliveries, and what phones reported of them
	ClassConsents    TimelineClass = "consents"    // answers
	ClassPreferences TimelineClass = "preferences" // likes and dislikes that were said
	ClassAttributes  TimelineClass = "attributes"  // traits that were said
	ClassDevices     TimelineClass = "devices"     // phones, their permissions, logouts
	ClassIdentity    TimelineClass = "identity"    // who the person is: bound, claimed, merged, refused
)

// shelves are how classes stand in ids: one letter each, which comes after every digit,
// so that none is taken for an earlier build's time.
var shelves = map[TimelineClass]byte{
	ClassEvents: 'e', ClassVisits: 'v', ClassPurchases: 'o', ClassMessages: 'm', ClassConsents: 'c',
	ClassPreferences: 'l', ClassAttributes: 'a', ClassDevices: 'd', ClassIdentity: 'i',
}

// TimelineClasses are all of them, by name.
func TimelineClasses() []TimelineClass {
	all := make([]TimelineClass, 0, len(shelves))
	for c := range shelves {
		all = append(all, c)
	}
	slices.Sort(all)
	return all
}

// TimelineShelf is what the ids of a profile's entries of a class begin with; of the
// empty class what those of an earlier build do, of whatever class they are.
func TimelineShelf(profile string, c TimelineClass) string {
	if c == "" {
		return "p:" + profile + "/"
	}
	return "p:" + profile + "/" + string(shelves[c]) + "/"
}

// TimelineID is an entry's id: "p:<profile>/<letter of the class>/<log time>/<position>".
// The position is that of the log's entry that told of it.
func TimelineID(profile string, c TimelineClass, at time.Time, s Source) string {
	return TimelineShelf(profile, c) + TimelineTime(at) + "/" + TimelinePosition(s)
}

// TimelineTime is a log time as it stands in ids, which are sorted as text: nanoseconds
// since 1970, in 20 digits. What was before 1970, or is after 2261, is taken for the end
// of that time.
func TimelineTime(at time.Time) string {
	ns := int64(0)
	if y := at.UTC().Year(); y > 2261 {
		ns = math.MaxInt64
	} else if y >= 1970 {
		ns = at.UnixNano()
	}
	return fmt.Sprintf("%020d", ns)
}

// TimelinePosition is a position in the log as it stands in ids.
func TimelinePosition(s Source) string {
	return fmt.Sprintf("%s.%d.%020d.%06d", s.Partition, s.Incarnation, s.Seq, s.Index)
}

// Class of an entry that is read from the store.
func (e *TimelineEntry) Class() TimelineClass {
	var has struct { // of a Trigger, of a Touch
		Transition  string          `json:"transition"`
		Order       json.RawMessage `json:"order"`
		Event       json.RawMessage `json:"event"`
		Alias       string          `json:"alias"`
		Consents    json.RawMessage `json:"consents"`
		Preferences json.RawMessage `json:"preferences"`
	}
	if e.Kind != KindTrigger && e.Kind != KindTouch {
		return ClassOfKind(e.Kind)
	}
	if json.Unmarshal(e.Data, &has) != nil {
		return ClassEvents
	}
	if e.Kind == KindTrigger {
		return (&Trigger{Transition: Transition(has.Transition)}).Class()
	}
	return classOfTouch(has.Order != nil, has.Event != nil, has.Alias != "", has.Consents != nil, has.Preferences != nil)
}

// ClassOfKind is the class of what is neither a trigger nor a touch.
func ClassOfKind(k Kind) TimelineClass {
	switch k {
	case KindOutcome, KindReceipt:
		return ClassMessages
	case KindRedemption:
		return ClassPurchases
	case KindConsent:
		return ClassConsents
	case KindPreferences:
		return ClassPreferences
	case KindTraits:
		return ClassAttributes
	case KindDevice, KindDeviceGone:
		return ClassDevices
	case KindBound, KindBindRefused, KindClaimed, KindAbsorb, KindMergeNo, KindYield, KindIdentify:
		return ClassIdentity
	}
	return ClassEvents
}

// Class of a trigger in a timeline.
func (t *Trigger) Class() TimelineClass {
	if t.Transition != "" {
		return ClassVisits
	}
	return ClassEvents
}

// Class of a touch in a timeline. What says several things is of the class that comes
// first: purchases, events, identity, consents, preferences, attributes.
func (t *Touch) Class() TimelineClass {
	return classOfTouch(t.Order != nil, t.Event != nil, t.Alias != "", len(t.Consents) > 0, len(t.Preferences) > 0)
}

func classOfTouch(order, event, alias, consents, preferences bool) TimelineClass {
	switch {
	case order:
		return ClassPurchases
	case event:
		return ClassEvents
	case alias:
		return ClassIdentity
	case consents:
		return ClassConsents
	case preferences:
		return ClassPreferences
	}
	return ClassAttributes
}

// KindsOf are the kinds of entry that a class has beside touches and triggers.
func KindsOf(c TimelineClass) []string {
	var out []string
	for _, k := range []Kind{
		KindOutcome, KindReceipt, KindRedemption, KindConsent, KindPreferences, KindTraits, KindDevice, KindDeviceGone,
		KindBound, KindBindRefused, KindClaimed, KindAbsorb, KindMergeNo, KindYield, KindIdentify,
	} {
		if ClassOfKind(k) == c {
			out = append(out, string(k))
		}
	}
	return out
}

// Names by which the retention of timelines is configured (partition.Options.Keep).
const (
	KeptTimeline  = "timeline"           // the collection: every class that has none of its own
	KeptPurchases = "timeline/purchases" // ClassPurchases
)

// TimelineKept is the name by which the retention of an entry is configured, from its id.
func TimelineKept(id string) string {
	_, rest, _ := strings.Cut(id, "/")
	if len(rest) > 1 && rest[0] == shelves[ClassPurchases] {
		return KeptPurchases
	}
	return KeptTimeline
}
