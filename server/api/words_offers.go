package api

import (
	"fmt"

	"github.com/footfall-engage/footfall/server/engage"
)

// offerNo tells why an offer was not given.
func offerNo(g engage.GateResult) string {
	saw := g.Saw.Values()
	offer := fmt.Sprintf("The offer %q", saw["offer"])
	switch g.Reason {
	case engage.ReasonOfferEnded:
		return offer + " was over, paused or deleted."
	case engage.ReasonOfferNotStarted:
		return offer + " had not begun."
	case engage.ReasonOfferNotHere:
		return fmt.Sprintf("%s is not redeemed at the place %q.", offer, saw["place"])
	case engage.ReasonOfferPersonLimit:
		return fmt.Sprintf("%s had been given to the person %v of at most %v times.", offer, saw["had"], saw["per_person"])
	case engage.ReasonOfferUsedUp:
		return fmt.Sprintf("%s had been redeemed %v of at most %v times.", offer, saw["redeemed"], saw["total"])
	case engage.ReasonOfferSoldOut:
		return fmt.Sprintf("%s was given out: there are %v.", offer, saw["stock"])
	case engage.ReasonOfferWaits:
		return offer + " has some left elsewhere: the moment waited for one, for 2 seconds at most."
	case engage.ReasonOfferTooMany:
		return "Too many moments of the person were waiting already."
	default:
		return "None of " + fmt.Sprintf("the offer %q", saw["offer"]) + " came within 2 seconds."
	}
}

// redemptionWords says what a till did with a person's code.
func redemptionWords(r *engage.Redemption, placeName func(string) string) string {
	words := fmt.Sprintf("The code %s of the offer %q was redeemed", r.Code, r.Offer)
	if r.State == engage.Voided {
		words = fmt.Sprintf("The redemption of the code %s of the offer %q was voided", r.Code, r.Offer)
	}
	if r.Place != "" {
		words += " at " + placeName(r.Place)
	}
	if r.State == engage.Redeemed && r.Value > 0 {
		words += fmt.Sprintf(", with a purchase of %.2f %s", r.Value, r.Currency)
	}
	return words
}
