package engage

import "maps"

// Counts per campaign and arm.
type Counts struct {
	Decided    int64            `json:"decided"`
	HeldOut    int64            `json:"held_out"`
	Suppressed map[Reason]int64 `json:"suppressed,omitempty"`
	Sent       int64            `json:"sent"`     // decisions that ended so: accepted, or confirmed by the SDK
	Accepted   int64            `json:"accepted"` // by a provider
	InApp      int64            `json:"in_app"`   // confirmed by the SDK
	Inboxed    int64            `json:"inboxed"`
	Delivered  int64            `json:"delivered"` // the phone said so
	Displayed  int64            `json:"displayed"`
	Opened     int64            `json:"opened"`
	Acted      int64            `json:"acted,omitempty"`     // a button of it was pressed
	Dismissed  int64            `json:"dismissed,omitempty"` // the person put it away
	Converted  int64            `json:"converted,omitempty"` // the app said so
	NotShown   int64            `json:"not_shown,omitempty"` // the app said that it could not
	Expired    int64            `json:"expired"`
	Failed     int64            `json:"failed"`
	// Redeemed are codes of its messages that tills took, Voided those of them that were
	// taken back; RedeemedValue is what was paid with those that stand, RedeemedWorth what
	// these took off or gave: by currency, in ten-thousandths of its unit (Parts).
	Redeemed      int64            `json:"redeemed,omitempty"`
	Voided        int64            `json:"voided,omitempty"`
	RedeemedValue map[string]int64 `json:"redeemed_value,omitempty"`
	RedeemedWorth map[string]int64 `json:"redeemed_worth,omitempty"`
	// Conflicted are persons who had two arms when it turned out that they are one.
	Conflicted int64 `json:"conflicted,omitempty"`

	// What followed within the campaign's window (Goal), by assignment: of whoever was
	// decided for, treated or held out, whatever became of the message.

	People  int64 `json:"people,omitempty"`  // who were assigned to the arm and measured
	Visited int64 `json:"visited,omitempty"` // of these, who came to one of the places
	Bought  int64 `json:"bought,omitempty"`
	Reached int64 `json:"reached,omitempty"` // who did what the campaign is for, as often as they may
	// Goals are how often the goal was reached: once per decision, unless the campaign counts
	// every time. LastTouch are those of them before which the newest message whose goal it
	// was, and which the phone had reported, was one of this campaign; Assisted those before
	// which this campaign's had been reported, too, but another was newer.
	Goals     int64 `json:"goals,omitempty"`
	LastTouch int64 `json:"last_touch,omitempty"`
	Assisted  int64 `json:"assisted,omitempty"`
	Orders    int64 `json:"orders,omitempty"` // that were not cancelled
	// Value of these orders less what was given back, by currency, in ten-thousandths of
	// its unit.
	Value map[string]int64 `json:"value,omitempty"`
}

// Plus is the sum of both. Its maps may be c's own: maps of Counts are never changed.
func (c Counts) Plus(d Counts) Counts { return c.and(d, 1) }

// Less is what c has more than d.
func (c Counts) Less(d Counts) Counts { return c.and(d, -1) }

// and is c, and d so many times. A test of package measure holds it to every field.
func (c Counts) and(d Counts, times int64) Counts {
	return Counts{
		Decided: c.Decided + times*d.Decided, HeldOut: c.HeldOut + times*d.HeldOut, Suppressed: countsBy(c.Suppressed, d.Suppressed, times),
		Sent: c.Sent + times*d.Sent, Accepted: c.Accepted + times*d.Accepted, InApp: c.InApp + times*d.InApp, Inboxed: c.Inboxed + times*d.Inboxed,
		Delivered: c.Delivered + times*d.Delivered, Displayed: c.Displayed + times*d.Displayed, Opened: c.Opened + times*d.Opened,
		Acted: c.Acted + times*d.Acted, Dismissed: c.Dismissed + times*d.Dismissed, Converted: c.Converted + times*d.Converted,
		NotShown: c.NotShown + times*d.NotShown, Expired: c.Expired + times*d.Expired, Failed: c.Failed + times*d.Failed,
		Redeemed: c.Redeemed + times*d.Redeemed, Voided: c.Voided + times*d.Voided,
		RedeemedValue: countsBy(c.RedeemedValue, d.RedeemedValue, times), RedeemedWorth: countsBy(c.RedeemedWorth, d.RedeemedWorth, times),
		Conflicted: c.Conflicted + times*d.Conflicted,
		People:     c.People + times*d.People, Visited: c.Visited + times*d.Visited, Bought: c.Bought + times*d.Bought, Reached: c.Reached + times*d.Reached,
		Goals: c.Goals + times*d.Goals, LastTouch: c.LastTouch + times*d.LastTouch, Assisted: c.Assisted + times*d.Assisted,
		Orders: c.Orders + times*d.Orders, Value: countsBy(c.Value, d.Value, times),
	}
}

// countsBy is a, and b so many times, by name; what comes to nothing is left out.
func countsBy[K comparable](a, b map[K]int64, times int64) map[K]int64 {
	if len(b) == 0 {
		return a
	}
	out := make(map[K]int64, len(a)+1)
	maps.Copy(out, a)
	for k, n := range b {
		if out[k] += times * n; out[k] == 0 {
			delete(out, k)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
