package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// report is the demo's answer: the one JSON object on standard output.
type report struct {
	Fixes        int        `json:"fixes"`         // that the server acknowledged
	RegionEvents int        `json:"region_events"` // the same
	Transitions  int        `json:"transitions"`   // of geofences, as the server saw them
	Visits       int        `json:"visits"`        // of places, those that go on included
	Decisions    decisions  `json:"decisions"`
	Deliveries   deliveries `json:"deliveries"`
	Receipts     receipts   `json:"receipts"`
	Webhooks     heard      `json:"webhooks"` // what the retailer's own system was told
	Lost         int        `json:"lost"`
	Duplicates   int        `json:"duplicates"`
	Resent       int        `json:"resent"`
	LatencyMS    latencies  `json:"latency_ms"`

	Visit    visits         `json:"visit"` // what the visits were
	Town     townSize       `json:"town"`
	Rejected map[string]int `json:"rejected"` // items that the server refused, by code
	Audit    auditNotes     `json:"audit"`
	On       names          `json:"on"` // where the log and the documents are
	// Kills are how often whom was killed; absent without --kill.
	Kills map[string]int `json:"kills,omitempty"`
	// Sabotage is what was broken on purpose; absent without --sabotage. It can be
	// less than was asked for, in a short run or a small town.
	Sabotage *sabotaged `json:"sabotage,omitempty"`
}

// sabotaged is what --sabotage came to.
type sabotaged struct {
	Lost    int `json:"lost"`
	Doubled int `json:"doubled"`
}

// decisions by state.
type decisions struct {
	Sent       int                   `json:"sent"`
	HeldOut    int                   `json:"held_out"`
	Suppressed map[engage.Reason]int `json:"suppressed"`
	Expired    int                   `json:"expired"`
	Failed     int                   `json:"failed"`
	Pending    int                   `json:"pending"` // each with a due time; or it is lost
}

// deliveries that reached a provider or were confirmed by a phone, by their way.
type deliveries struct {
	FCM   int `json:"fcm"`
	APNs  int `json:"apns"`
	InApp int `json:"in_app"`
	Inbox int `json:"inbox"` // displayed there
}

// receipts that phones sent, per message.
type receipts struct {
	Delivered int `json:"delivered"`
	Displayed int `json:"displayed"`
	Opened    int `json:"opened"`
}

type latencies struct {
	Push  quantiles `json:"push"`   // from the phone's POST to the push request at the simulator
	InApp quantiles `json:"in_app"` // from the frame written to the message shown
}

type townSize struct {
	Seed   uint64  `json:"seed"`
	People int     `json:"people"`
	Shops  int     `json:"shops"`
	Speed  float64 `json:"speed"`
	Ran    float64 `json:"ran_s"` // seconds of walking
}

// auditNotes say what was compared and name what was found.
type auditNotes struct {
	Acked       int       `json:"acked_items"`
	Decided     int       `json:"decisions"`
	Pushes      int       `json:"pushes"` // that the simulators accepted
	Shown       int       `json:"messages_shown"`
	Unordered   int       `json:"unordered"`
	LostItems   []item    `json:"lost_items,omitempty"`
	Unsettled   []finding `json:"unsettled,omitempty"`
	ShownTwice  []shown   `json:"shown_twice,omitempty"`
	UnorderedID []string  `json:"unordered_messages,omitempty"`
	Quarantined int       `json:"quarantined,omitempty"`

	VisitFaults  int          `json:"visit_faults,omitempty"`
	FaultyVisits []visitFault `json:"faulty_visits,omitempty"`
}

// tally counts what became of the decisions.
func (r *report) tally(all []engage.Decision) {
	r.Decisions.Suppressed = map[engage.Reason]int{}
	for _, d := range all {
		switch d.State {
		case engage.Sent:
			r.Decisions.Sent++
			switch d.Channel {
			case "fcm":
				r.Deliveries.FCM++
			case "apns":
				r.Deliveries.APNs++
			case string(engage.InApp):
				r.Deliveries.InApp++
			case string(engage.Inbox):
				r.Deliveries.Inbox++
			}
		case engage.HeldOut:
			r.Decisions.HeldOut++
		case engage.Suppressed:
			r.Decisions.Suppressed[d.Reason]++
		case engage.Expired:
			r.Decisions.Expired++
		case engage.Failed:
			r.Decisions.Failed++
		default:
			r.Decisions.Pending++
		}
		for _, got := range d.Receipts {
			switch got {
			case engage.ReceiptDelivered:
				r.Receipts.Delivered++
			case engage.ReceiptDisplayed:
				r.Receipts.Displayed++
			case engage.ReceiptOpened:
				r.Receipts.Opened++
			}
		}
	}
}

// judge takes the verdict over.
func (r *report) judge(v verdict, e evidence) {
	r.Lost, r.Duplicates, r.Resent = v.Lost, v.Duplicates, v.Resent
	r.Audit.Acked, r.Audit.Decided, r.Audit.Unordered = v.Acked, v.Decided, v.Unordered
	r.Audit.LostItems, r.Audit.Unsettled = v.LostItems, v.Unsettled
	r.Audit.ShownTwice, r.Audit.UnorderedID = v.ShownTwice, v.UnorderedID
	for _, p := range e.Pushes {
		if p.Accepted {
			r.Audit.Pushes++
		}
	}
	for _, w := range e.Phones {
		r.Audit.Shown += len(w.Shown)
	}
	pushes, inApp := latenciesOf(e)
	r.LatencyMS = latencies{Push: quantilesOf(pushes), InApp: quantilesOf(inApp)}
}

// writeJSON writes the object on one line.
func (r *report) writeJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// writeText says the same in words.
func (r *report) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d people and %d shops for %.0f s: %d fixes, %d region events, %d transitions\n",
		r.Town.People, r.Town.Shops, r.Town.Ran, r.Fixes, r.RegionEvents, r.Transitions)
	r.visitText(&b)
	fmt.Fprintf(&b, "decisions   %d sent, %d held out, %d pending, %d expired, %d failed\n",
		r.Decisions.Sent, r.Decisions.HeldOut, r.Decisions.Pending, r.Decisions.Expired, r.Decisions.Failed)
	for _, reason := range slices.Sorted(maps.Keys(r.Decisions.Suppressed)) {
		fmt.Fprintf(&b, "  not sent  %6d  %s\n", r.Decisions.Suppressed[reason], reason)
	}
	fmt.Fprintf(&b, "deliveries  %d by FCM, %d by APNs, %d in-app, %d from the inbox\n",
		r.Deliveries.FCM, r.Deliveries.APNs, r.Deliveries.InApp, r.Deliveries.Inbox)
	fmt.Fprintf(&b, "receipts    %d delivered, %d displayed, %d opened\n", r.Receipts.Delivered, r.Receipts.Displayed, r.Receipts.Opened)
	fmt.Fprintf(&b, "webhooks    %d events in %d signed calls, %d again, %d calls refused, %d events wait\n",
		r.Webhooks.Events, r.Webhooks.Calls, r.Webhooks.Repeats, r.Webhooks.Refused, r.Webhooks.Waiting)
	fmt.Fprintf(&b, "latency     push %.1f ms, in-app %.1f ms (median; p99 %.1f and %.1f)\n",
		r.LatencyMS.Push.P50, r.LatencyMS.InApp.P50, r.LatencyMS.Push.P99, r.LatencyMS.InApp.P99)
	fmt.Fprintf(&b, "audit       %d lost, %d shown twice, %d sent again by a provider's count\n", r.Lost, r.Duplicates, r.Resent)
	for _, who := range slices.Sorted(maps.Keys(r.Kills)) {
		fmt.Fprintf(&b, "killed      %s %d times\n", who, r.Kills[who])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// crossingOf reads a trigger in a timeline; the empty transition where it is none,
// such as an event of the app.
func crossingOf(t *engage.TimelineEntry) (_ crossing, is engage.Transition) {
	var x engage.Trigger
	if t.Kind != engage.KindTrigger || json.Unmarshal(t.Data, &x) != nil {
		return crossing{}, ""
	}
	return crossing{Install: t.Install, Place: x.Place, Visit: x.Occasion}, x.Transition
}
