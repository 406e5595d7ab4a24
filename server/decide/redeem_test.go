package decide_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/measure"
	"github.com/footfall-engage/footfall/server/profile"
)

// given has ada be sent an offer, and gives what a till makes of it.
func given(w *world, o *engage.Offer) engage.Redemption {
	w.Helper()
	w.offers([]*engage.Offer{o}, bringing("a", o.ID))
	w.meet("ada")
	w.apply(enters("ada", "cafe", "v1", sec))
	sent := w.pump(sec)
	if len(sent) != 1 {
		w.Fatalf("%d sent", len(sent))
	}
	r := w.reservations()[sent[0].Delivery]
	return engage.Redemption{
		V: 1, ID: "r1", State: engage.Redeemed, Offer: o.ID, Code: r.Code, At: t0.Add(5 * sec), Value: 12.5, Worth: 2, Currency: "EUR",
		Profile: "ada", Delivery: r.Delivery, Campaign: r.Campaign, Arm: r.Arm,
	}
}

func till(id string, at time.Duration, r engage.Redemption) engage.Entry {
	return entry(engage.KindRedemption, person(id), at, r)
}

func (w *world) tally(campaign string) engage.Counts {
	w.Helper()
	t, _ := w.State(ws + "/" + measure.Prefix(campaign) + "act/0").(*measure.Tally)
	if t == nil {
		w.Fatalf("nothing is counted of %s", campaign)
	}
	return t.Arms.Of("a")
}

// A redemption is known of the person, the message and the campaign, once however often
// it is told; what was voided counts no more.
func TestARedemptionIsKnownOfThePersonTheMessageAndTheCampaign(t *testing.T) {
	w := newWorld(t)
	w.Reload = true
	r := given(w, anOffer("coffee"))
	w.apply(till("ada", 6*sec, r))
	w.apply(till("ada", 7*sec, r))
	if c := w.tally("a"); c.Redeemed != 1 || c.Voided != 0 || c.RedeemedValue["EUR"] != 125_000 || c.RedeemedWorth["EUR"] != 20_000 {
		t.Errorf("counted: %+v", c)
	}
	if p := w.person("ada"); p.Redeemed["coffee"].N != 1 || !p.Redeemed["coffee"].At.Equal(r.At) {
		t.Errorf("the person: %+v", p.Redeemed)
	}
	if d := w.decisions()[0]; d.Offer == nil || d.Offer.RedeemedAt == nil || !d.Offer.RedeemedAt.Equal(r.At) {
		t.Errorf("the decision: %+v", d.Offer)
	}
	voided := r
	voided.State = engage.Voided
	w.apply(till("ada", 8*sec, voided))
	w.apply(till("ada", 9*sec, voided))
	w.apply(till("ada", 10*sec, r)) // it comes late
	if c := w.tally("a"); c.Redeemed != 1 || c.Voided != 1 || c.RedeemedValue["EUR"] != 0 || c.RedeemedWorth["EUR"] != 0 {
		t.Errorf("counted: %+v", c)
	}
	if p := w.person("ada"); len(p.Redeemed) != 0 {
		t.Errorf("the person: %+v", p.Redeemed)
	}
	if d := w.decisions()[0]; d.Offer.RedeemedAt != nil {
		t.Errorf("the decision: %+v", d.Offer)
	}
	w.checkCounts()
}

// In whatever order, and however often, what tills did is told: it comes to the same.
func TestRedemptionsComeToTheSameInAnyOrder(t *testing.T) {
	for seed := range 20 {
		rng := rand.New(rand.NewPCG(uint64(seed), 7)) //nolint:gosec // a test's dice
		w := newWorld(t)
		w.Reload = true
		first := given(w, anOffer("coffee"))
		var told []engage.Redemption
		for i := range 12 {
			r := first
			r.ID, r.Value = fmt.Sprint("r", i), float64(i)
			told = append(told, r)
			if i%3 == 0 {
				r.State = engage.Voided
				told = append(told, r)
			}
		}
		told = append(told, told[:rng.IntN(len(told))]...)
		rng.Shuffle(len(told), func(i, j int) { told[i], told[j] = told[j], told[i] })
		for _, r := range told {
			w.apply(till("ada", 6*sec, r))
		}
		c, p := w.tally("a"), w.person("ada")
		var value int64 // of those that stand
		for i := range 12 {
			if i%3 != 0 {
				value += int64(i) * 10_000
			}
		}
		if c.Redeemed != 12 || c.Voided != 4 || c.RedeemedValue["EUR"] != value || p.Redeemed["coffee"].N != 8 {
			t.Errorf("seed %d: counted %+v, the person %+v", seed, c, p.Redeemed)
		}
	}
}

// A message that a till has seen is not given back, though no phone ever said that it had
// it.
func TestARedeemedCodeIsNotGivenBack(t *testing.T) {
	w := newWorld(t)
	r := given(w, anOffer("c", func(o *engage.Offer) { o.Stock = 1 }))
	w.apply(till("ada", 6*sec, r))
	w.apply(told("ada", r.Delivery, engage.DeliveryFailed, "fcm", engage.ReasonRejected, 10*sec))
	if x := w.reservations()[r.Delivery]; x.Returned {
		t.Errorf("given back: %+v", x)
	}
}

// What is known of a redemption makes nobody known: whoever was erased stays so.
func TestARedemptionBegetsNobody(t *testing.T) {
	w := newWorld(t)
	w.offers([]*engage.Offer{anOffer("coffee")})
	w.apply(till("zoe", sec, engage.Redemption{V: 1, ID: "r", State: engage.Redeemed, Offer: "coffee", Code: "COFFEE", Profile: "zoe", At: t0}))
	if s := w.State(engage.ProfileKey(ws, "zoe")); s != nil {
		t.Errorf("there is %+v", s)
	}
}

// Once an offer was redeemed as often as it may be no message brings it, until it may be
// again; an older word than what is known changes nothing.
func TestAnOfferThatIsUsedUpIsInNoMessage(t *testing.T) {
	w := newWorld(t)
	w.Reload = true
	limited := anOffer("coffee", func(o *engage.Offer) { o.Total = 10 })
	w.offers([]*engage.Offer{limited}, bringing("a", "coffee"))
	said := func(n, version int64) {
		e := engage.Entry{Kind: engage.KindOfferUse, Key: engage.OfferUseKey(ws, "coffee", "act/0"), At: t0, Body: []byte(mustJSON(t, engage.OfferUsed{V: 1, Offer: "coffee", Redeemed: n, Version: version}))}
		w.apply(e)
	}
	w.meet("ada")
	visit := func(n int) { w.apply(enters("ada", "cafe", fmt.Sprint("v", n), sec*time.Duration(n))); w.pump(sec) }
	said(9, 5)
	visit(1)
	said(10, 7)
	said(3, 6) // overtaken
	visit(2)
	said(9, 8) // one was voided
	visit(3)
	w.wantVerdicts("a pending, a suppressed offer_used_up, a pending")
	u, _ := w.State(engage.OfferUseKey(ws, "coffee", "act/0")).(*decide.OfferUse)
	if u == nil || u.Issued != 2 || u.Returned != 0 || u.Redeemed != 9 {
		t.Errorf("of its use is known %+v", u)
	}
	w.checkCounts()
}

// Who has redeemed an offer as often as one person may is not offered it again, also when
// the code was on a poster.
func TestWhoHasRedeemedAnOfferIsNotOfferedItAgain(t *testing.T) {
	w := newWorld(t)
	w.offers([]*engage.Offer{anOffer("coffee", func(o *engage.Offer) { o.PerPerson = 1 })}, bringing("a", "coffee"))
	w.meet("ada")
	w.apply(till("ada", sec, engage.Redemption{V: 1, ID: "r", State: engage.Redeemed, Offer: "coffee", Code: "COFFEE", Profile: "ada", At: t0}))
	w.apply(enters("ada", "cafe", "v1", 2*sec))
	w.pump(2 * sec)
	w.wantVerdicts("a suppressed offer_person_limit")
}

// Two profiles of one person have redeemed what either has, and what is told again of
// either counts once.
func TestRedemptionsOfTwoProfilesAddUp(t *testing.T) {
	var a, b decide.Person
	a.Redeem("coffee", 1, t0)
	b.Redeem("coffee", 2, t0.Add(sec))
	b.Redeem("tea", 1, t0)
	raw, err := json.Marshal(b.Redeemed)
	if err != nil {
		t.Fatal(err)
	}
	a.ID, b.ID = "a", "b"
	a.Absorb(&b.Profile, profile.Link{A: "a", B: "b", At: t0})
	if n, last := a.Redeemed.Total(); n != 4 || !last.Equal(t0.Add(sec)) || a.Redeemed["coffee"].N != 3 {
		t.Errorf("together: %+v", a.Redeemed)
	}
	if after, err := json.Marshal(b.Redeemed); err != nil || string(after) != string(raw) {
		t.Errorf("the other was changed: %s, %v", after, err)
	}
}
