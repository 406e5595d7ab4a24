package decide

import (
	"fmt"

	"github.com/footfall-engage/footfall/server/engage"
)

// # Offers
//
// A campaign may bring an offer (engage.Offer). The gate "offer", after the caps, asks
// whether it may be given now, here and to this person, and whether there is one; its
// stock, or its pool of codes, is a limit that spans people. The code is reserved with
// the decision to treat, in the same step, and given back when deliver says that the
// message failed or expired without having reached any screen or inbox. What is not known
// (an ambiguous push, a message that lay in an inbox, no word of deliver's at all) stays
// reserved: somebody may have the code before their eyes. So does what a till has taken
// (redeem.go).
//
// Who is held out passes the same gate, and counts as given as far as the limit per
// person goes, so that both groups stay equally eligible; but nothing is reserved.

// offer is the gate. It is not asked of campaigns without an offer.
func (a *attempt) offer() (engage.Reason, map[string]any, error) {
	s := a.s
	saw := map[string]any{"offer": a.c.Offer}
	o := s.config.offers[a.c.Offer]
	if o == nil {
		return engage.ReasonOfferEnded, saw, nil
	}
	if open, over := o.Open(s.e.At); !open {
		saw["status"] = o.Status
		if over {
			return engage.ReasonOfferEnded, saw, nil
		}
		return engage.ReasonOfferNotStarted, saw, nil
	}
	if place := a.m.place; place != nil && !o.At(place) {
		saw["place"] = place.ID
		return engage.ReasonOfferNotHere, saw, nil
	}
	switch used, up, err := s.usedUp(o); {
	case err != nil:
		return "", nil, err
	case up:
		saw["redeemed"], saw["total"] = used, o.Total
		return engage.ReasonOfferUsedUp, saw, nil
	}
	if o.PerPerson > 0 {
		had := max(s.p.Offers[o.ID], int(s.p.Redeemed[o.ID].N))
		saw["had"], saw["per_person"] = had, o.PerPerson
		if had >= o.PerPerson {
			return engage.ReasonOfferPersonLimit, saw, nil
		}
	}
	code := o.Code
	if l, limited := offerLimit(o); limited {
		is, err := a.lease(l, 1)
		if err != nil {
			return "", nil, err
		}
		saw["stock"], saw["leased_here"] = l.Terms.Total, is.free
		switch {
		case is.there:
			if o.Codes == engage.UniqueCodes {
				code = is.code.Code
			}
		case is.late:
			return engage.ReasonOfferUnavailable, saw, nil
		case is.out:
			return engage.ReasonOfferSoldOut, saw, nil
		default:
			return engage.ReasonOfferWaits, saw, errWaits
		}
	}
	a.m.offer = offerFields(o, code)
	return "", saw, nil
}

// offerLimit is the limit that an offer's stock or pool is, if it has any.
func offerLimit(o *engage.Offer) (limit, bool) {
	n, limited := o.Limited()
	l := limit{ID: o.LimitID(), Terms: engage.LimitTerms{Total: n, Version: o.Version}}
	if o.Codes == engage.UniqueCodes {
		l.Terms.Pool = o.ID
	}
	return l, limited
}

// offerFields is what templates see of an offer. What it does not have is absent.
func offerFields(o *engage.Offer, code string) map[string]any {
	f := map[string]any{"id": o.ID, "name": o.Name, "kind": string(o.Kind), "code": code}
	if o.Value > 0 {
		f["value"] = o.Value
	}
	if o.Currency != "" {
		f["currency"] = o.Currency
	}
	if worth := o.MostWorth(); worth > 0 {
		f["worth"] = worth
	}
	if o.Terms != "" {
		f["terms"] = o.Terms
	}
	if o.Until != nil {
		f["expires_at"] = o.Until.UTC()
	}
	return f
}

// reserve spends the person's share of the offer, and takes a code for who is treated:
// the one that was rendered.
func (a *attempt) reserve(treated bool) error {
	if a.m.offer == nil {
		return nil
	}
	s, o := a.s, a.s.config.offers[a.c.Offer]
	s.p.Offers = replaced(s.p.Offers, o.ID, s.p.Offers[o.ID]+1)
	if !treated {
		return nil
	}
	rendered, _ := a.m.offer["code"].(string)
	r := engage.Reserved{Offer: o.ID, Code: rendered}
	if l, limited := offerLimit(o); limited {
		codes, err := s.take(l, 1)
		if err != nil {
			return err
		}
		r.Leased = true
		if o.Codes == engage.UniqueCodes {
			if len(codes) != 1 || codes[0].Code != rendered {
				return fmt.Errorf("offer %s: the code that was rendered is not the one that was taken", o.ID)
			}
			r.N = &codes[0].N
		}
	}
	a.d.Offer = &r
	s.reserved(a.d)
	u, err := editUse(s.tx, s.ws, o.ID)
	if err != nil {
		return err
	}
	u.Issued++
	return nil
}

// reserved keeps a decision's reservation, as record keeps the decision.
func (s *step) reserved(d *engage.Decision) {
	r := engage.Reservation{
		V: 1, Delivery: d.Delivery, Decision: d.ID, Campaign: d.Campaign, Arm: d.Arm, Profile: d.Profile, Offer: d.Offer.Offer,
		Code: engage.NormalCode(d.Offer.Code), At: d.At, AtUS: d.AtUS, Returned: d.Offer.Returned,
	}
	switch {
	case d.Offer.N == nil:
	case r.Returned:
		r.Back = r.Code
	default:
		r.Held = r.Code
	}
	if d.Profile == s.p.ID {
		s.tx.Record("reservations", s.ws, r.Delivery, r)
		return
	}
	_ = emit(s.tx, engage.ProfileKey(s.ws, d.Profile), engage.KindReservation, s.e.Occurred, r) // it can be encoded
}

// reservation is reserved at the owner of the profile that made it.
func reservation(tx engage.Tx, e engage.Entry) error {
	st, err := tx.Load(e.Key)
	if err != nil || st == nil { // erased
		return err
	}
	var r engage.Reservation
	if err := read(e, &r); err != nil {
		return err
	}
	tx.Record("reservations", e.Workspace(), r.Delivery, r)
	return nil
}

// unreserve gives an offer's code back when deliver has said that the message is not
// delivered. was is the channel that it had before that.
func (s *step) unreserve(d *engage.Decision, was string) error {
	if d.Offer == nil || d.Offer.Returned || d.Offer.RedeemedAt != nil || d.State != engage.Failed && d.State != engage.Expired || d.Reason == engage.ReasonAmbiguous {
		return nil
	}
	for _, channel := range []string{was, d.Channel} {
		if channel == string(engage.InApp) || channel == string(engage.Inbox) {
			return nil // it lay where it could be read
		}
	}
	for _, r := range d.Receipts {
		if r != engage.ReceiptFailed {
			return nil
		}
	}
	r := *d.Offer
	r.Returned = true
	d.Offer = &r
	s.reserved(d)
	u, err := editUse(s.tx, s.ws, r.Offer)
	if err != nil {
		return err
	}
	u.Returned++
	if n := s.p.Offers[r.Offer]; n > 1 {
		s.p.Offers = replaced(s.p.Offers, r.Offer, n-1)
	} else {
		s.p.Offers = removed(s.p.Offers, r.Offer)
	}
	if !r.Leased {
		return nil
	}
	l := limit{ID: (&engage.Offer{ID: r.Offer}).LimitID()}
	if o := s.config.offers[r.Offer]; o != nil {
		l, _ = offerLimit(o)
	}
	var codes []engage.PoolCode
	if r.N != nil {
		codes = []engage.PoolCode{{N: *r.N, Code: r.Code}}
	}
	return s.giveBack(l, 1, codes)
}

// absorbOffers adds up what two profiles had, who are one person.
func (s *step) absorbOffers(q *Person) {
	for offer, n := range q.Offers {
		s.p.Offers = replaced(s.p.Offers, offer, s.p.Offers[offer]+n)
	}
}
