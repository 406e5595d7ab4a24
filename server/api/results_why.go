package api

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// whyView says why people did not get a campaign.
type whyView struct {
	Moments int64            `json:"moments" doc:"That fired it: decided and not"`
	Decided float64          `json:"decided" doc:"The share of them at which every gate said yes, 0 to 1"`
	Words   string           `json:"words"`
	Reasons []suppressedView `json:"reasons,omitempty" doc:"The most frequent, at most 5"`
}

// mostReasons of a whyView.
const mostReasons = 5

func whyOf(c *engage.Campaign, now time.Time, t TotalsView, reasons []suppressedView) whyView {
	v := whyView{Moments: t.Decided + t.Suppressed, Reasons: reasons[:min(len(reasons), mostReasons)]}
	if v.Moments == 0 {
		v.Words = unfired(c, now)
		return v
	}
	v.Decided = float64(t.Decided) / float64(v.Moments)
	v.Words = fmt.Sprintf("It was fired %s, and every gate said yes %s of the time.", times(v.Moments), percent(v.Decided))
	if len(reasons) > 0 {
		r := reasons[0]
		v.Words += fmt.Sprintf(" The most frequent no, %s of them: %s. %s", percent(r.Share), lowerFirst(r.Words), r.Advice)
	}
	return v
}

// unfired is why nothing has fired a campaign, as far as the campaign itself says.
func unfired(c *engage.Campaign, now time.Time) string {
	switch c.Status {
	case engage.Draft:
		return "Nothing has fired it: it is a draft. Launch it."
	case engage.InReview:
		return "Nothing has fired it: it is in review. Somebody has to approve it."
	case engage.Paused:
		return "Nothing has fired it in this time, and it is paused."
	case engage.Ended:
		return "Nothing has fired it in this time, and it has ended."
	}
	if over := overWords(c, now); over != "" {
		return "Nothing has fired it in this time. " + over
	}
	const live = "Nothing has fired it in this time, though it is live. "
	switch c.Trigger.Type {
	case engage.TriggerPlace, engage.TriggerRegion:
		return live + "It waits for people at its places: do these have the geofences that it asks for, and do phones with the app come there? Explain one person with it to see how near they came."
	case engage.TriggerEvent:
		return live + fmt.Sprintf("It waits for the event %q: is it sent, under exactly this name, and does it meet the conditions?", c.Trigger.Event)
	case engage.TriggerSchedule:
		return live + "It waits for its time: see its occurrences."
	case engage.TriggerAPI:
		return live + "It waits for calls of the API that name it."
	}
	return strings.TrimSpace(live)
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// percent of a share, with a decimal where it is small.
func percent(share float64) string {
	switch x := 100 * share; {
	case x > 0 && x < 0.1:
		return "less than 0.1 %"
	case x > 0 && x < 10 && x != math.Trunc(x):
		return fmt.Sprintf("%.1f %%", x)
	default:
		return fmt.Sprintf("%.0f %%", x)
	}
}

// advice on reasons, where there is more to say than of their gate.
var advice = map[engage.Reason]string{
	engage.ReasonNotStarted:     "Bring its start forward, if it should already run.",
	engage.ReasonEnded:          "Move its end, or end it so that nobody wonders.",
	engage.ReasonStale:          "Phones told of it too late, when they had no network. trigger.max_age_s decides how late is too late.",
	engage.ReasonOccasionUsed:   "A campaign speaks once per visit or event, so that several geofences of a place do not make several messages. That is as it should be.",
	engage.ReasonNoChannel:      "They have neither the app open nor a push token, nor notifications allowed. Allow the inbox as a channel; it needs none of these.",
	engage.ReasonPaused:         "It was paused or ended while moments waited. Launch it again.",
	engage.ReasonRunaway:        "What it sends brings about the event that fires it. Look at its trigger, or give it a cap.",
	engage.ReasonStopped:        "The kill switch is on. It ends with footfall go-on, or DELETE /api/v1/stop.",
	engage.ReasonMerged:         "It turned out who they are while the moment waited, and it waits on for that person. That is as it should be.",
	engage.ReasonTooManyOpen:    "So many messages of all campaigns are on their way to them that no more are taken. Look at what else is live.",
	engage.ReasonWeatherUnknown: "The weather service did not answer, or has no data there. Look at the server's weather settings; a campaign without conditions on weather does not depend on it.",
	engage.ReasonWeatherTooMany: "Too many of a person's moments waited for the weather. Look at whether the weather service answers.",
	engage.ReasonQuietExpired:   "The message would have been over before the quiet hours are. Let it live longer (limits.expire_s), or shorten the quiet hours.",
	engage.ReasonQuietDropped:   "It is set to drop what falls into quiet hours. limits.quiet_hours.then can be defer.",
	engage.ReasonCapBudget:      "Give it a larger budget, or let it end.",
	engage.ReasonCapRate:        "It sends as fast as its rate allows. Raise the rate, if what it leads to can take more.",
	engage.ReasonCapAttention:   "All campaigns together ask more of these people than the workspace allows. See footfall limits; a campaign of higher priority does not change it.",
	engage.ReasonOfferSoldOut:   "Add codes or raise the limit, or pause the campaign.",
}

// adviceByGate is on all other reasons of a gate.
var adviceByGate = []struct{ gate, words string }{
	{"consent", "They did not agree to marketing messages, and nothing here should change that. The app can ask at a better moment."},
	{"eligibility", "The campaign or the person was not eligible then: the decision's trace says why."},
	{"audience", "Look at its audience: count it (POST /api/v1/audience/count), and explain a person who should be in it."},
	{"context", "Look at its context: the traces say which clause did not hold, and the values that it saw."},
	{"weather", "Look at the server's weather settings."},
	{"quiet", "Quiet hours hold it back. Let it fire at another time, or shorten them."},
	{"cap", "The limits do what they are for: people have had enough. Raise them only if you mean it."},
	{"offer", "Look at the offer: its validity, places, limits and codes."},
	{"arbitration", "Another campaign wants the same moment and goes first. Raise this one's priority, or give them different moments."},
	{"render", "The text has holes for these people: give its variables defaults, and preview it as one of them."},
}

// adviceOf a reason.
func adviceOf(r engage.Reason) string {
	if words := advice[r]; words != "" {
		return words
	}
	for _, g := range adviceByGate {
		if strings.HasPrefix(string(r), g.gate) {
			return g.words
		}
	}
	return "The decisions' traces say what the gate saw."
}
