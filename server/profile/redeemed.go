package profile

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// MaxRedeemed is of how many offers it is known how often a person redeemed them: those
// redeemed last. Of the others it is as if they never had.
const MaxRedeemed = 100

// Redemptions are how often a person redeemed offers at tills, by the offer's id; what was
// voided is not in it. They are replaced, never changed.
type Redemptions map[string]RedeemedOffer

// RedeemedOffer is one offer's.
type RedeemedOffer struct {
	N  int64     `json:"n"`
	At time.Time `json:"at"` // the newest, whether that stands or was voided
}

// Redeem notes that an offer was redeemed, or with -1 that one redemption was voided.
func (p *Profile) Redeem(offer string, n int64, at time.Time) {
	r := p.Redeemed[offer]
	r.N += n
	if n > 0 && at.After(r.At) {
		r.At = at.UTC()
	}
	if r.N <= 0 {
		p.Redeemed = cloneOf(p.Redeemed)
		delete(p.Redeemed, offer)
		return
	}
	p.Redeemed = Redemptions(with(p.Redeemed, offer, r)).limited()
}

// limited forgets what was redeemed longest ago, beyond MaxRedeemed.
func (r Redemptions) limited() Redemptions {
	if len(r) <= MaxRedeemed {
		return r
	}
	ids := make([]string, 0, len(r))
	for id := range r {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(r[b].At.Compare(r[a].At), strings.Compare(a, b)) })
	out := make(Redemptions, MaxRedeemed)
	for _, id := range ids[:MaxRedeemed] {
		out[id] = r[id]
	}
	return out
}

// with is both together: two who are one person have redeemed what either has.
func (r Redemptions) with(q Redemptions) Redemptions {
	if len(q) == 0 {
		return r
	}
	out := Redemptions(cloneOf(r))
	for id, theirs := range q {
		ours := out[id]
		ours.N += theirs.N
		if theirs.At.After(ours.At) {
			ours.At = theirs.At
		}
		out[id] = ours
	}
	return out.limited()
}

// Total is how many codes of all offers were redeemed, and when the last one was; the
// zero time where none was.
func (r Redemptions) Total() (n int64, last time.Time) {
	for _, one := range r {
		n += one.N
		if one.At.After(last) {
			last = one.At
		}
	}
	return n, last
}
