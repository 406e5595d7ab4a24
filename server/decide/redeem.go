package decide

import (
	"encoding/json"

	"github.com/footfall-engage/footfall/server/engage"
)

// # Redemptions
//
// Whether a till may take a code is not decided here but by the code's row in the store
// (package redeem), since the till waits for the answer. What it took comes here as a
// record, to be known of the person, of the message and of its campaign.

// OfferUse is what this partition knows of an offer beside its stock: key
// engage.OfferUseKey. Of an offer without stock nobody else counts.
type OfferUse struct {
	V        int   `json:"v"`                  // 1
	Issued   int64 `json:"issued,omitempty"`   // messages that persons of this partition were to get with it
	Returned int64 `json:"returned,omitempty"` // of these, those that ended undelivered
	// Redeemed is how often it was redeemed in all, as the store said last.
	Redeemed int64 `json:"redeemed,omitempty"`
	Version  int64 `json:"version,omitempty"` // of that
}

func (u *OfferUse) version() int { return u.V }

// Clone implements engage.State.
func (u *OfferUse) Clone() engage.State {
	c := *u
	return &c
}

// Encode implements engage.State.
func (u *OfferUse) Encode() ([]byte, error) { return json.Marshal(u) }

// editUse gives what is known of an offer's use, to change.
func editUse(tx engage.Tx, ws, offer string) (*OfferUse, error) {
	key := engage.OfferUseKey(ws, offer, tx.Position().Partition)
	st, err := tx.Edit(key)
	if err != nil {
		return nil, err
	}
	u, _ := st.(*OfferUse)
	if u == nil {
		u = &OfferUse{V: 1}
		tx.Put(key, u)
	}
	return u, nil
}

// usedUp reports whether an offer was redeemed as often as it may be, and how often. The
// store's word of it is a moment old: the till is who refuses the last one too many.
func (s *step) usedUp(o *engage.Offer) (int64, bool, error) {
	if o.Total == 0 {
		return 0, false, nil
	}
	st, err := s.tx.Load(engage.OfferUseKey(s.ws, o.ID, s.tx.Position().Partition))
	if err != nil {
		return 0, false, err
	}
	u, _ := st.(*OfferUse)
	if u == nil {
		return 0, false, nil
	}
	return u.Redeemed, u.Redeemed >= o.Total, nil
}

// offerUsed hears how often an offer was redeemed.
func offerUsed(tx engage.Tx, e engage.Entry) error {
	var x engage.OfferUsed
	if err := read(e, &x); err != nil {
		return err
	}
	if x.V != 1 || x.Offer == "" {
		return engage.Errorf(engage.Unsupported, "v", "no use of an offer that this version knows")
	}
	u, err := editUse(tx, e.Workspace(), x.Offer)
	if err != nil {
		return err
	}
	if x.Version > u.Version {
		u.Redeemed, u.Version = x.Redeemed, x.Version
	}
	return nil
}

// onRedemption hears what a till did. It may be told more than once, and that something
// was voided without that it was redeemed: then both came about before this was told.
func (s *step) onRedemption() error {
	var r engage.Redemption
	if err := read(s.e, &r); err != nil {
		return err
	}
	if r.V != 1 || r.ID == "" || r.Offer == "" {
		return engage.Errorf(engage.Unsupported, "v", "no redemption that this version knows")
	}
	taken, back := touchHash("redeemed "+r.ID), touchHash("voided "+r.ID)
	if s.p.Touched.has(back) || r.State == engage.Redeemed && s.p.Touched.has(taken) {
		return nil
	}
	var add engage.Counts
	switch r.State {
	case engage.Redeemed:
		s.p.Touched = s.p.Touched.and(taken)
		s.p.Redeem(r.Offer, 1, r.At)
		add.Redeemed = 1
		add.RedeemedValue, add.RedeemedWorth = moneyOf(&r, 1)
	case engage.Voided:
		known := s.p.Touched.has(taken)
		s.p.Touched = s.p.Touched.and(back)
		add.Voided = 1
		if known {
			s.p.Redeem(r.Offer, -1, r.At)
			add.RedeemedValue, add.RedeemedWorth = moneyOf(&r, -1)
		} else {
			add.Redeemed = 1
		}
	default:
		return engage.Errorf(engage.Unsupported, "state", "unknown state of a redemption %q", r.State)
	}
	s.p.Seen(s.e.At)
	if d := s.change(r.Delivery); d != nil && d.Offer != nil && d.Offer.Offer == r.Offer {
		o := *d.Offer
		o.RedeemedAt = nil
		if r.State == engage.Redeemed {
			at := r.At
			o.RedeemedAt = &at
		}
		d.Offer = &o
		s.keep(d)
	}
	if r.Campaign != "" {
		if err := s.m.Meter.Add(s.tx, s.ws, r.Campaign, r.Arm, add); err != nil {
			return err
		}
	}
	return s.timeline("", r)
}

// moneyOf is what was paid with a redemption, and what it gave, by currency.
func moneyOf(r *engage.Redemption, sign int64) (value, worth map[string]int64) {
	if n := engage.Parts(r.Value); n > 0 {
		value = map[string]int64{r.Currency: sign * n}
	}
	if n := engage.Parts(r.Worth); n > 0 {
		worth = map[string]int64{r.Currency: sign * n}
	}
	return value, worth
}
