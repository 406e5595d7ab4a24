package api

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// seen is what a gate saw, read from its trace. All fields are optional; traces
// of other versions may have others.
type seen struct {
	Answered     consentNo `json:"answered"`
	Start        time.Time `json:"start"`
	End          time.Time `json:"end"`
	AgeS         float64   `json:"age_s"`
	MaxAgeS      float64   `json:"max_age_s"`
	KnownTooLate bool      `json:"known_too_late"`
	Since        time.Time `json:"since"`
	Channels     []string  `json:"channels"`
	Failed       []clause  `json:"failed"`
	DistanceM    *float64  `json:"distance_m"`
	AccuracyM    float64   `json:"accuracy_m"`
	Weather      *sky      `json:"weather"`
	WeatherIs    string    `json:"weather_is"`
	seenAhead
	LocalTime string    `json:"local_time"`
	Zone      string    `json:"zone"`
	Until     time.Time `json:"until"`
	Count     int       `json:"count"`
	Cap       int       `json:"cap"`
	WindowS   float64   `json:"window_s"`
	seenLimits
	seenRivals
	Error       string  `json:"error"`
	Locale      string  `json:"locale"`
	Chosen      chosen  `json:"chosen"`
	Arm         string  `json:"arm"`
	HoldoutPerc float64 `json:"holdout_percent"`
}

// consentNo is the answer of who said no to marketing; zero when there was none.
// Decisions of before the answer was kept say only that there was one.
type consentNo struct {
	given bool
	at    time.Time // zero: not kept
}

func (a *consentNo) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &a.given) == nil {
		return nil
	}
	var full struct {
		At time.Time `json:"at"`
	}
	err := json.Unmarshal(b, &full)
	a.at = full.At
	a.given = err == nil
	return err
}

type clause struct {
	Field   string `json:"field"`
	Op      string `json:"op"`
	Want    any    `json:"want"`
	Got     any    `json:"got"`
	Negated bool   `json:"negated"`
}

type sky struct {
	Kind         string  `json:"kind"`
	Condition    string  `json:"condition"`
	TemperatureC float64 `json:"temperature_c"`
}

func (w *sky) words() string {
	kind := w.Kind
	if kind == "" {
		kind = "weather"
	}
	return fmt.Sprintf("%s: %s, %s °C", kind, strings.ReplaceAll(w.Condition, "_", " "), number(w.TemperatureC))
}

// readSeen reads a trace; false if it is one of another version that does not fit.
func readSeen(saw engage.Saw) (seen, bool) {
	var s seen
	ok := len(saw) == 0 || json.Unmarshal(saw, &s) == nil
	return s, ok
}

// gateWords says in plain words what a gate said. A gate or reason that is not
// known here is named as it is.
func gateWords(g engage.GateResult) string {
	s, ok := readSeen(g.Saw)
	switch {
	case !ok && g.Reason != "":
		return fmt.Sprintf("The gate %s said no (%s).", g.Gate, g.Reason)
	case g.Reason != "":
		return noWords(g, s)
	case g.OK:
		return yesWords(g, s)
	case g.Gate == "holdout":
		return fmt.Sprintf("The person is in the control group: %s %% of those who pass every gate get nothing, to be compared with.", number(s.HoldoutPerc))
	default:
		return "The gate " + g.Gate + " said no."
	}
}

func yesWords(g engage.GateResult, s seen) string {
	switch g.Gate {
	case "consent":
		return "The person has agreed to marketing messages."
	case "eligibility":
		return "The campaign was running, the evidence was fresh, this occasion was unused and a message had a way to the person."
	case "audience":
		return "The person belongs to the audience."
	case "context":
		if s.Weather != nil {
			return "The moment fits; " + s.Weather.words() + stale(s) + s.ahead() + "."
		}
		return "The moment fits."
	case "quiet":
		return "It was not within quiet hours."
	case "cap":
		return capYes(s)
	case "offer":
		return "The offer may be given, and there is one left."
	case "items":
		return itemsYes(g)
	case "arbitration":
		return wonWords(s)
	case "render":
		return "Every arm of the message could be written" + s.languages() + "."
	case "holdout":
		return fmt.Sprintf("The person is not in the control group; the arm is %q.", s.Arm)
	default:
		return "The gate " + g.Gate + " said yes."
	}
}

func noWords(g engage.GateResult, s seen) string {
	switch g.Reason {
	case engage.ReasonConsent:
		switch {
		case !s.Answered.at.IsZero():
			return "The person said no to marketing messages on " + day(s.Answered.at) + "."
		case s.Answered.given:
			return "The person said no to marketing messages."
		default:
			return "The person has not agreed to marketing messages."
		}
	case engage.ReasonNotStarted:
		return "The campaign begins only at " + moment(s.Start) + "."
	case engage.ReasonEnded:
		return "The campaign ended at " + moment(s.End) + "."
	case engage.ReasonStale:
		if s.KnownTooLate {
			return fmt.Sprintf("It had happened %s before it became known: it went into the history, and nothing is sent for such.", span(s.AgeS))
		}
		return fmt.Sprintf("The evidence was %s old when it reached the server; the campaign takes at most %s.", span(s.AgeS), span(s.MaxAgeS))
	case engage.ReasonOccasionUsed:
		return "The campaign had already been decided for this occasion (the same visit or event)."
	case engage.ReasonRunaway:
		return fmt.Sprintf("The campaign had spoken to the person %d times within %s, so it seems to bring about itself what fires it.", s.Count, span(s.WindowS))
	case engage.ReasonNoChannel:
		return "No channel that the campaign allows (" + strings.Join(s.Channels, ", ") + ") had a way to the person."
	case engage.ReasonPaused:
		return "The campaign was not live any more when the waiting moment was looked at again."
	case engage.ReasonStopped:
		return "Everything was stopped at " + moment(s.Since) + "."
	case engage.ReasonMerged:
		return "It turned out who this is while the moment waited: it waits on as theirs."
	case engage.ReasonAudience:
		return "The person does not belong to the audience: " + clauses(s.Failed) + "."
	case engage.ReasonContext:
		words := "The moment does not fit: " + clauses(s.Failed) + "."
		if s.Weather != nil {
			words += " Used was the " + s.Weather.words() + stale(s) + s.ahead() + "."
		}
		return words
	case engage.ReasonWeatherUnknown:
		if s.ForecastUnknownH > 0 {
			return "The forecast for " + nextHours(s.ForecastUnknownH) + " at the place was not known."
		}
		return "The weather at the place was not known."
	case engage.ReasonQuiet:
		return fmt.Sprintf("It was %s in %s, within quiet hours until %s.", s.LocalTime, s.Zone, moment(s.Until))
	case engage.ReasonQuietExpired:
		return fmt.Sprintf("It was %s in %s, within quiet hours until %s, when the message would have been too old.", s.LocalTime, s.Zone, moment(s.Until))
	case engage.ReasonQuietTooMany, engage.ReasonWeatherTooMany:
		return "Too many moments of the person were waiting already."
	case engage.ReasonOfferEnded, engage.ReasonOfferNotStarted, engage.ReasonOfferNotHere, engage.ReasonOfferPersonLimit,
		engage.ReasonOfferSoldOut, engage.ReasonOfferUsedUp, engage.ReasonOfferWaits, engage.ReasonOfferTooMany, engage.ReasonOfferUnavailable:
		return offerNo(g)
	case engage.ReasonItemsWaits, engage.ReasonItemsTooMany, engage.ReasonItemsUnavailable:
		return itemsNo(g)
	case engage.ReasonTooManyOpen:
		return "Too many messages to the person were on their way already."
	case engage.ReasonQuietDropped:
		return fmt.Sprintf("It was %s in %s, within quiet hours until %s, and the message is not to wait for their end.", s.LocalTime, s.Zone, moment(s.Until))
	case engage.ReasonCap, engage.ReasonCapGlobal, engage.ReasonCapTag, engage.ReasonCapChannel, engage.ReasonCapGap, engage.ReasonCapAttention:
		return capNo(g.Reason, s)
	case engage.ReasonCapBudget, engage.ReasonCapRate, engage.ReasonCapAsks:
		return budgetNo(g.Reason, s)
	case engage.ReasonArbitration:
		return lostWords(s)
	case engage.ReasonRender:
		return "The message could not be written: " + withoutCode(s.Error) + "."
	default:
		return fmt.Sprintf("The gate %s said no (%s).", g.Gate, g.Reason)
	}
}

// withoutCode is the text of an engage.Error as a person reads it.
func withoutCode(text string) string {
	code, rest, found := strings.Cut(text, ": ")
	if found && slices.Contains([]engage.Code{engage.NotFound, engage.TooLarge, engage.Invalid}, engage.Code(code)) {
		return rest
	}
	return text
}

func stale(s seen) string {
	if s.WeatherIs == string(engage.WeatherStale) {
		return " (older than it should be)"
	}
	return ""
}

// opWords follow "must".
var opWords = map[string]string{
	"eq": "be", "ne": "be other than", "lt": "be below", "le": "be at most", "gt": "be above", "ge": "be at least",
	"between": "be between", "in": "be one of", "not_in": "be none of", "prefix": "begin with",
	"contains": "contain", "not_contains": "lack", "within_last": "be within the last",
	"not_within_last": "be before the last", "exists": "be known", "absent": "be unknown",
}

// clauses says which clauses of a rule are to blame.
func clauses(failed []clause) string {
	if len(failed) == 0 {
		return "the rule does not hold"
	}
	const most = 5
	out := []string{}
	for i, c := range failed {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(failed)-most))
			break
		}
		text := c.Field + " must "
		if c.Negated {
			text += "not "
		}
		if words, known := opWords[c.Op]; known {
			text += words
		} else {
			text += c.Op
		}
		if c.Want != nil {
			text += " " + value(c.Want)
		}
		if c.Got != nil {
			text += ", but was " + value(c.Got)
		} else {
			text += ", but was not known"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// value shows a value of a rule.
func value(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case float64:
		return number(x)
	case []string: // not from a kept trace
		return strings.Join(x, ", ")
	case []any:
		parts := make([]string, 0, len(x))
		for _, p := range x {
			parts = append(parts, value(p))
		}
		if len(parts) == 0 {
			return "nothing"
		}
		return strings.Join(parts, ", ")
	default:
		return fmt.Sprint(v)
	}
}

// decisionWords says what became of a decision, and claims no more than is known.
func decisionWords(d *engage.Decision) string {
	var words string
	switch d.State {
	case engage.Pending:
		words = "Not decided yet"
		if n := len(d.Gates); n > 0 && !d.Gates[n-1].OK {
			words = "Waiting: " + lowerFirst(strings.TrimSuffix(gateWords(d.Gates[n-1]), "."))
		} else if d.Delivery != "" {
			words = "On its way"
			switch {
			case d.Detail == "held":
				words = "Waiting on the person's phones for its moment"
			case d.Channel != "":
				words += " " + by(d.Channel)
			}
		}
		if d.DueAt != nil {
			words += "; settled by " + moment(*d.DueAt) + " at the latest"
		}
		words += "."
	case engage.Sent:
		words = sentWords(d.Channel)
	case engage.HeldOut:
		words = "Held out: eligible, and in the control group that gets nothing."
	case engage.Suppressed:
		for _, g := range d.Gates {
			if g.Reason == d.Reason {
				return "Not sent. " + gateWords(g)
			}
		}
		words = fmt.Sprintf("Not sent: %s.", d.Reason)
	case engage.Expired:
		words = "Expired before it was delivered."
		if d.Reason == engage.ReasonNotDisplayed {
			words = "Expired: no phone confirmed in time that it was displayed."
		}
	case engage.Failed:
		words = "Failed: " + failure(d.Reason)
		if d.Detail != "" {
			words += " (" + d.Detail + ")"
		}
		words += "."
	default:
		words = fmt.Sprintf("State %s.", d.State)
	}
	return words + receiptWords(d.Receipts)
}

func sentWords(channel string) string {
	switch channel {
	case "fcm":
		return "Sent: FCM accepted it."
	case "apns":
		return "Sent: APNs accepted it."
	case "in_app":
		return "Sent: shown in the app."
	case "inbox":
		return "Sent: shown from the inbox."
	case "":
		return "Sent."
	default:
		return "Sent by " + channel + "."
	}
}

func by(channel string) string {
	switch channel {
	case "fcm":
		return "through FCM"
	case "apns":
		return "through APNs"
	case "in_app":
		return "into the app"
	case "inbox":
		return "through the inbox"
	default:
		return "through " + channel
	}
}

func failure(r engage.Reason) string {
	switch r {
	case engage.ReasonRejected:
		return "the provider refused it"
	case engage.ReasonMisconfigured:
		return "the app's push credential does not work"
	case engage.ReasonAmbiguous:
		return "the connection was lost after sending, and the campaign does not repeat"
	case engage.ReasonExhausted:
		return "every attempt went wrong"
	default:
		return string(r)
	}
}

func receiptWords(receipts []string) string {
	if len(receipts) == 0 {
		return ""
	}
	var words []string
	for _, r := range receipts {
		words = append(words, receiptState(r))
	}
	return " The phone reported it " + strings.Join(words, ", ") + "."
}

// receiptState is what a phone reports a message, as it stands in a sentence.
func receiptState(state string) string {
	switch state {
	case engage.ReceiptAction:
		return "acted upon"
	case engage.ReceiptFailed:
		return "not shown"
	default:
		return state
	}
}

// triggerWords says what moment it was, with the place's name where it is known.
func triggerWords(t *engage.Trigger, place string) string {
	if t.Type == engage.TriggerEvent {
		return fmt.Sprintf("The app tracked the event %q", t.Event)
	}
	if place == "" {
		place = t.Place
	}
	switch t.Type {
	case engage.TriggerBeacon:
		return beaconWords(t, place)
	case engage.TriggerWeather:
		return turningWords(t, place)
	case engage.TriggerAPI:
		return calledWords(place)
	case engage.TriggerSchedule:
		return timeCameWords(t)
	}
	verb := map[engage.Transition]string{
		engage.Enter: "Entered", engage.Exit: "Left", engage.Dwell: "Stayed at", engage.Pass: "Passed through", engage.VisitEnded: "Ended a visit of",
	}[t.Transition]
	where := place
	if t.Ring == engage.Near {
		where = "the surroundings of " + place
	}
	words := verb + " " + where
	if t.InsideS > 0 {
		words += " after " + span(t.InsideS)
	}
	if t.Stale {
		words += ", known too late to act on"
	}
	switch {
	case t.DistanceM > 0 || t.AccuracyM > 0:
	case t.Evidence == "fix" || t.Evidence == "path":
		return words // how far is not told
	case t.Evidence == "os_region":
		return words + " (told by the phone's system)"
	case t.Evidence == "beacon":
		return words + " (told by a beacon)"
	case t.Evidence == "silence":
		return words + " (nothing was heard meanwhile)"
	}
	words += fmt.Sprintf(", %s m away", number(math.Round(t.DistanceM)))
	if t.AccuracyM > 0 {
		words += fmt.Sprintf(" ± %s m", number(math.Round(t.AccuracyM)))
	}
	return words
}

// timelineWords says what a timeline entry is about; empty if that is not known.
func timelineWords(e *engage.TimelineEntry, placeName func(string) string) string {
	switch e.Kind {
	case engage.KindTrigger:
		var t engage.Trigger
		if json.Unmarshal(e.Data, &t) == nil {
			return triggerWords(&t, placeName(t.Place))
		}
	case engage.KindCall:
		var t engage.Trigger
		if json.Unmarshal(e.Data, &t) == nil {
			return askedWords(&t, placeName(t.Place))
		}
	case engage.KindConsent:
		var answers map[engage.Purpose]engage.Consent
		if json.Unmarshal(e.Data, &answers) == nil {
			yes, no := consentsSaid(answers)
			return answersWords("Agreed to", yes, "said no to", no)
		}
	case engage.KindPreferences:
		var answers map[string]engage.Attitude
		if kept(e.Data, &answers) {
			likes, dislikes, _ := preferencesSaid(answers)
			return answersWords("Likes", likes, "dislikes", dislikes)
		}
	case engage.KindOutcome:
		var o engage.DeliveryOutcome
		if json.Unmarshal(e.Data, &o) == nil {
			return fmt.Sprintf("Delivery %s: %s %s", shortID(o.Delivery), o.State, by(o.Channel))
		}
	case engage.KindReceipt:
		var r engage.ReceiptItem
		if json.Unmarshal(e.Data, &r) == nil {
			words := fmt.Sprintf("The phone reported message %s %s", shortID(r.Message), receiptState(r.State))
			if r.Action != "" {
				words += fmt.Sprintf(" by the button %q", r.Action)
			}
			return words
		}
	case engage.KindRedemption:
		var r engage.Redemption
		if json.Unmarshal(e.Data, &r) == nil {
			return redemptionWords(&r, placeName)
		}
	case engage.KindDevice:
		return "The phone or its permissions changed"
	case engage.KindDeviceGone:
		var gone engage.DeviceGone
		if json.Unmarshal(e.Data, &gone) == nil && gone.Reason != "logout" {
			return "The phone is known as another by now"
		}
		return "The person logged out of the app on this phone"
	case engage.KindYield:
		return "An app says that the identifier is another person's, whom only a file had here"
	case engage.KindClaimed:
		return "The app named a user without proof"
	case engage.KindTraits:
		var told map[string]any
		if kept(e.Data, &told) && len(told) > 0 {
			return "The app told: " + strings.Join(attributesSaid(told), "; ")
		}
		return "Attributes were set"
	case engage.KindTouch:
		var t engage.Touch
		if json.Unmarshal(e.Data, &t) == nil {
			return touchWords(&t)
		}
	case engage.KindAbsorb:
		return "It turned out that another profile is the same person"
	case engage.KindMergeNo:
		return "Another profile was said to be the same person, and is not: they are two"
	case engage.KindBound:
		return "An identifier was bound to the person"
	case engage.KindBindRefused:
		return "An identifier belongs to another person, so it was not bound"
	}
	return ""
}

func shortID(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// number without a needless fraction.
func number(x float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", x), ".0")
}

// span of time in the unit that people would use.
func span(seconds float64) string {
	switch {
	case seconds < 120:
		return number(seconds) + " s"
	case seconds < 2*3600:
		return number(seconds/60) + " min"
	case seconds < 48*3600:
		return number(seconds/3600) + " h"
	default:
		return number(seconds/86400) + " days"
	}
}

func day(t time.Time) string    { return t.UTC().Format("2 January 2006") }
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }
