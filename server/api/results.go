package api

import (
	"context"
	"maps"
	"math"
	"net/http"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func (s *server) registerResults() {
	s.registerCounts()
	register(s, operation{
		method: http.MethodGet, path: "/decisions", id: "list-decisions", tag: tagResults, role: catalog.Viewer,
		summary: "List decisions", description: "The newest first, with every gate in plain words, as long as they are kept (history.messages_days). By person, campaign or place only theirs are read; by state and reason alone the decisions of the time are looked through.",
	}, s.listDecisions)
}

type resultsView struct {
	Campaign   string            `json:"campaign"`
	Name       string            `json:"name"`
	Status     engage.Status     `json:"status"`
	Span       *resultsSpan      `json:"span,omitempty" doc:"The time of which the counts are; absent: all that there ever was"`
	Arms       []armResultsView  `json:"arms" nullable:"false" doc:"The campaign's arms in their order, then the control group, then arms of earlier versions"`
	Suppressed []suppressedView  `json:"suppressed" nullable:"false" doc:"Moments at which a gate said no, before any arm was chosen; the most frequent first"`
	Why        whyView           `json:"why"`
	Series     []countedView     `json:"series,omitempty" doc:"By the hour or the day, those in which something was counted"`
	Meanings   map[string]string `json:"meanings" doc:"What each count says, and what it does not"`
	Totals     TotalsView        `json:"totals"`
}

type armResultsView struct {
	Arm       string `json:"arm"`
	Control   bool   `json:"control,omitempty" doc:"The control group: gets nothing, to be compared with"`
	Decided   int64  `json:"decided"`
	HeldOut   int64  `json:"held_out"`
	Pending   int64  `json:"pending"`
	Sent      int64  `json:"sent"`
	Accepted  int64  `json:"accepted"`
	InApp     int64  `json:"in_app"`
	Inboxed   int64  `json:"inboxed"`
	Delivered int64  `json:"delivered"`
	Displayed int64  `json:"displayed"`
	Opened    int64  `json:"opened"`
	Acted     int64  `json:"acted"`
	Dismissed int64  `json:"dismissed"`
	Converted int64  `json:"converted"`
	NotShown  int64  `json:"not_shown"`
	Expired   int64  `json:"expired"`
	Failed    int64  `json:"failed"`
	RedeemedView
	FollowedView
	Rates *sharesView `json:"rates,omitempty" doc:"Of the arm's persons, by assignment; absent: nobody was assigned"`
}

// RedeemedView is what tills took of codes that messages brought.
type RedeemedView struct {
	Redeemed      int64              `json:"redeemed"`
	Voided        int64              `json:"voided"`
	RedeemedValue map[string]float64 `json:"redeemed_value,omitempty" doc:"By currency"`
	RedeemedWorth map[string]float64 `json:"redeemed_worth,omitempty" doc:"By currency"`
}

func redeemedOf(c engage.Counts) RedeemedView {
	return RedeemedView{Redeemed: c.Redeemed, Voided: c.Voided, RedeemedValue: moneyOf(c.RedeemedValue), RedeemedWorth: moneyOf(c.RedeemedWorth)}
}

func (v *RedeemedView) add(c RedeemedView) {
	v.Redeemed += c.Redeemed
	v.Voided += c.Voided
	v.RedeemedValue, v.RedeemedWorth = addMoney(v.RedeemedValue, c.RedeemedValue), addMoney(v.RedeemedWorth, c.RedeemedWorth)
}

// moneyOf is parts of currencies in units.
func moneyOf(parts map[string]int64) map[string]float64 {
	if len(parts) == 0 {
		return nil
	}
	out := make(map[string]float64, len(parts))
	for currency, n := range parts {
		out[currency] = engage.Units(n)
	}
	return out
}

func addMoney(a, b map[string]float64) map[string]float64 {
	if len(b) == 0 {
		return a
	}
	out := make(map[string]float64, len(a)+len(b))
	maps.Copy(out, a)
	for currency, x := range b {
		out[currency] = math.Round((out[currency]+x)*1e4) / 1e4
	}
	return out
}

type suppressedView struct {
	Reason engage.Reason `json:"reason"`
	Count  int64         `json:"count"`
	Words  string        `json:"words"`
	Share  float64       `json:"share" doc:"Of all moments at which a gate said no, 0 to 1"`
	Advice string        `json:"advice" doc:"What could be done about it, and whether anything should"`
}

// TotalsView are sums over arms and campaigns.
type TotalsView struct {
	Decided    int64 `json:"decided"`
	HeldOut    int64 `json:"held_out"`
	Pending    int64 `json:"pending"`
	Sent       int64 `json:"sent"`
	Suppressed int64 `json:"suppressed"`
	Accepted   int64 `json:"accepted"`
	InApp      int64 `json:"in_app"`
	Inboxed    int64 `json:"inboxed"`
	Delivered  int64 `json:"delivered"`
	Displayed  int64 `json:"displayed"`
	Opened     int64 `json:"opened"`
	Acted      int64 `json:"acted"`
	Dismissed  int64 `json:"dismissed"`
	Converted  int64 `json:"converted"`
	NotShown   int64 `json:"not_shown"`
	Expired    int64 `json:"expired"`
	Failed     int64 `json:"failed"`
	RedeemedView
	FollowedView
}

func (t *TotalsView) add(c engage.Counts) {
	t.Decided += c.Decided
	t.HeldOut += c.HeldOut
	t.Pending += pending(c)
	t.Sent += c.Sent
	for _, n := range c.Suppressed {
		t.Suppressed += n
	}
	t.Accepted += c.Accepted
	t.InApp += c.InApp
	t.Inboxed += c.Inboxed
	t.Delivered += c.Delivered
	t.Displayed += c.Displayed
	t.Opened += c.Opened
	t.Acted += c.Acted
	t.Dismissed += c.Dismissed
	t.Converted += c.Converted
	t.NotShown += c.NotShown
	t.Expired += c.Expired
	t.Failed += c.Failed
	t.RedeemedView.add(redeemedOf(c))
	t.FollowedView.add(c)
}

// pending is what was ordered and is not settled: every decision ends once.
func pending(c engage.Counts) int64 { return c.Decided - c.HeldOut - c.Sent - c.Expired - c.Failed }

// meanings of the counts: what is known, and no more.
var meanings = map[string]string{
	"decided":        "Every gate said yes: a message was ordered, or the person was held out.",
	"held_out":       "The person was eligible and is in the control group, which gets nothing.",
	"pending":        "A message was ordered, and what became of it is not settled yet.",
	"sent":           "A provider took the message, or the app confirmed that it showed it. Nothing more is known from this.",
	"suppressed":     "A gate said no at this moment. One person can be counted many times.",
	"accepted":       "The push provider took the message. Whether it reached the phone is not known from this.",
	"in_app":         "The app confirmed that it showed the message while it was open.",
	"inboxed":        "The message was put into the app's inbox. Whether it was seen is not known from this.",
	"delivered":      "The phone's SDK reported that it has the message. Phones that report nothing are not counted.",
	"displayed":      "The phone reported that the message was displayed, not that it was read.",
	"opened":         "The phone reported that the message was opened.",
	"acted":          "The phone reported that a button of the message was pressed.",
	"dismissed":      "The phone reported that the person put the message away.",
	"converted":      "The app reported that the message led to what it was for. It would perhaps have come about anyway.",
	"people":         "Persons who were assigned to the arm at the first decision for them. They are compared by assignment, whether or not a message reached them.",
	"visited":        "Persons of these who came to one of the places within the campaign's window after a decision. Many would have come anyway: compare with the control group.",
	"bought":         "Persons of these who ordered something in that time, as tills, shops and servers told by order events. A code that is redeemed is no purchase by itself: the order event of the till is. Many would have anyway.",
	"reached":        "Persons of these who did what the campaign is for (its goal) in that time. Many would have anyway.",
	"goals":          "How often the goal was reached: once per decision, unless the campaign counts every time.",
	"last_touch":     "Goals before which the newest message that the phone had reported, of all campaigns with such a goal, was of this campaign. It was the last one, which does not make it the cause.",
	"assisted":       "Goals before which the phone had reported a message of this campaign, too, but one of another campaign came last.",
	"orders":         "Orders in that time that were not cancelled.",
	"value":          "What these orders are worth less refunds, by currency.",
	"rates":          "Shares of the arm's persons, each with the interval in which the true share lies with 95 % confidence.",
	"redeemed":       "A till took the code that the message brought, those included that were voided later.",
	"voided":         "A till took a redemption back: the code is good again.",
	"redeemed_value": "What was paid for what was bought with the codes that stand as redeemed, as tills said. It would perhaps have been bought anyway.",
	"redeemed_worth": "What these codes took off or gave, as tills or the offer say.",
	"not_shown":      "The app reported that it could not show the message, which went into the inbox then.",
	"expired":        "The message's time was over before it was accepted or shown.",
	"failed":         "Delivery was given up: the provider refused, the credential does not work, or every attempt went wrong.",
}

// reasonWords of suppression, as they stand over a count.
var reasonWords = map[engage.Reason]string{
	engage.ReasonConsent:        "No consent to marketing messages",
	engage.ReasonNotStarted:     "The campaign had not begun",
	engage.ReasonEnded:          "The campaign was over",
	engage.ReasonStale:          "The evidence was too old",
	engage.ReasonOccasionUsed:   "Already decided for the same visit or event",
	engage.ReasonNoChannel:      "No way to the person",
	engage.ReasonPaused:         "Paused or ended while the moment waited",
	engage.ReasonRunaway:        "It seems to bring about itself what fires it",
	engage.ReasonStopped:        "Everything was stopped",
	engage.ReasonMerged:         "It turned out who it is while the moment waited",
	engage.ReasonAudience:       "Not in the audience",
	engage.ReasonContext:        "The moment did not fit",
	engage.ReasonWeatherUnknown: "The weather was not known",
	engage.ReasonQuiet:          "Quiet hours",
	engage.ReasonQuietExpired:   "Quiet hours until it was pointless",
	engage.ReasonQuietTooMany:   "Too many moments waited for the end of quiet hours",
	engage.ReasonWeatherTooMany: "Too many moments waited for the weather",
	engage.ReasonTooManyOpen:    "Too many messages on their way to the person",
	engage.ReasonQuietDropped:   "Quiet hours, and not to wait for their end",
	engage.ReasonCapGlobal:      "Had enough messages of all campaigns",
	engage.ReasonCapTag:         "Had enough messages of campaigns of the same tag",
	engage.ReasonCapChannel:     "Had enough messages by the channels that were left",
	engage.ReasonCapGap:         "Too soon after another message",
	engage.ReasonCapAttention:   "No attention left for it",
	engage.ReasonCapBudget:      "The campaign's budget is used up",
	engage.ReasonCapRate:        "The campaign sends no faster",
	engage.ReasonCap:            "Had enough messages of this campaign",

	engage.ReasonOfferEnded:       "The offer was over, paused or deleted",
	engage.ReasonOfferNotStarted:  "The offer had not begun",
	engage.ReasonOfferNotHere:     "The offer is not redeemed there",
	engage.ReasonOfferPersonLimit: "Had the offer often enough",
	engage.ReasonOfferSoldOut:     "The offer was given out",
	engage.ReasonOfferUsedUp:      "The offer had been redeemed as often as it may be",
	engage.ReasonOfferWaits:       "Waited for one of the offer",
	engage.ReasonOfferTooMany:     "Too many moments waited for the offer",
	engage.ReasonOfferUnavailable: "None of the offer came in time",
	engage.ReasonItemsWaits:       "Waited for items of a catalogue",
	engage.ReasonItemsTooMany:     "Too many moments waited for items",
	engage.ReasonItemsUnavailable: "Items of a catalogue did not come in time",

	engage.ReasonArbitration: "Another campaign came first",
	engage.ReasonRender:      "The message could not be written",
}

type listDecisionsInput struct {
	Paging
	Profile  string `query:"profile" maxLength:"600" doc:"Only of this person: profile id, user_id:… or install:…"`
	Campaign string `query:"campaign" maxLength:"100" doc:"Only of this campaign"`
	Place    string `query:"place" maxLength:"100" doc:"Only of moments at this place"`
	State    string `query:"state" enum:"pending,sent,held_out,suppressed,expired,failed"`
	Reason   string `query:"reason" maxLength:"100"`
	Between
}

func (s *server) listDecisions(ctx context.Context, who caller, in *listDecisionsInput) (*answered[list[decisionView]], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	f := DecisionFilter{
		Campaign: in.Campaign, Place: in.Place, State: engage.DecisionState(in.State), Reason: engage.Reason(in.Reason), From: in.From, Before: in.To,
	}
	if in.Profile != "" {
		var err error
		if f.Profile, err = s.find(ctx, who, in.Profile); err != nil {
			return nil, err
		}
	}
	page, err := s.o.Decisions.Decisions(ctx, who.workspace, f, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	out := listOf(page, s.decisionViews(ctx, who))
	if f.Profile != "" { // somebody is looked at, not a campaign
		return out, s.seen(ctx, who, f.Profile)
	}
	return out, nil
}
