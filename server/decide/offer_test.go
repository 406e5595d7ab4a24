package decide_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
)

// bringing is a campaign that brings an offer.
func bringing(id, offerID string, change ...func(*engage.Campaign)) *engage.Campaign {
	return offer(id, append([]func(*engage.Campaign){func(c *engage.Campaign) {
		c.Offer, c.Arms[0].Message.Body = offerID, "{{ offer.name }}: {{ offer.code }}"
	}}, change...)...)
}

func anOffer(id string, change ...func(*engage.Offer)) *engage.Offer {
	o := &engage.Offer{
		ID: id, Workspace: ws, Version: 1, Name: "Free coffee", Status: engage.OfferActive, Kind: engage.OfferGift,
		Codes: engage.SharedCode, Code: "COFFEE",
	}
	for _, f := range change {
		f(o)
	}
	return o
}

func (w *world) offers(offers []*engage.Offer, campaigns ...*engage.Campaign) {
	w.Helper()
	for _, o := range offers {
		if err := o.Validate(); err != nil {
			w.Fatal(err)
		}
	}
	c, errs := decide.NewConfig([]decide.Workspace{{
		ID: ws, Offers: offers, Campaigns: campaigns,
		Places: []*engage.Place{{ID: "cafe", Workspace: ws, Name: "Café", Tags: []string{"coffee"}}, {ID: "bar", Workspace: ws, Name: "Bar"}},
	}})
	if len(errs) > 0 {
		w.Fatal(errs)
	}
	w.Adopt(c)
}

// pump has what the partition tells itself arrive, codes with their texts, and gives what
// was sent. Nothing takes time.
func (w *world) pump(at time.Duration) []engage.Send {
	w.Helper()
	var sent []engage.Send
	for more := true; more; {
		more = false
		for _, o := range w.Take() {
			e := o.Entry
			e.At = t0.Add(at)
			switch o.To {
			case "send":
				var s engage.Send
				if err := o.Into(&s); err != nil {
					w.Fatal(err)
				}
				sent = append(sent, s)
				continue
			case "codes":
				var g engage.LeaseGrant
				if err := o.Into(&g); err != nil {
					w.Fatal(err)
				}
				for i := range g.Codes {
					g.Codes[i].Code = fmt.Sprintf("GIFT-%d", g.Codes[i].N)
				}
				e.Body = []byte(mustJSON(w.T, g))
			case "act", "act/0":
			default:
				continue
			}
			more = true
			w.apply(e)
		}
	}
	return sent
}

func (w *world) reservations() map[string]engage.Reservation {
	w.Helper()
	out := map[string]engage.Reservation{}
	for id, b := range w.Docs("reservations") {
		var r engage.Reservation
		if err := json.Unmarshal(b, &r); err != nil {
			w.Fatal(err)
		}
		out[id] = r
	}
	return out
}

func told(id, delivery string, state engage.DeliveryState, channel string, reason engage.Reason, at time.Duration) engage.Entry {
	return entry(engage.KindOutcome, person(id), at, engage.DeliveryOutcome{Delivery: delivery, State: state, Channel: channel, Reason: reason})
}

// Where an offer may not be given, the gate says why.
func TestTheOfferGateSaysWhy(t *testing.T) {
	from, until := t0.Add(-time.Hour), t0.Add(time.Hour)
	cases := []struct {
		name  string
		offer func(*engage.Offer)
		place string
		want  string
	}{
		{"given", func(*engage.Offer) {}, "cafe", "a pending"},
		{"in time", func(o *engage.Offer) { o.From, o.Until = &from, &until }, "cafe", "a pending"},
		{"too early", func(o *engage.Offer) { o.From = &until }, "cafe", "a suppressed offer_not_started"},
		{"too late", func(o *engage.Offer) { o.Until = &from }, "cafe", "a suppressed offer_ended"},
		{"paused", func(o *engage.Offer) { o.Status = engage.OfferPaused }, "cafe", "a suppressed offer_ended"},
		{"by place", func(o *engage.Offer) { o.Places = []string{"cafe"} }, "cafe", "a pending"},
		{"by tag", func(o *engage.Offer) { o.Tags = []string{"coffee"} }, "cafe", "a pending"},
		{"elsewhere", func(o *engage.Offer) { o.Tags = []string{"coffee"} }, "bar", "a suppressed offer_not_here"},
		{"no pool yet", func(o *engage.Offer) { o.Codes, o.Code = engage.UniqueCodes, "" }, "cafe", "a suppressed offer_sold_out"},
		{"another", func(o *engage.Offer) { o.ID = "tea" }, "cafe", "a suppressed offer_ended"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.offers([]*engage.Offer{anOffer("coffee", c.offer)}, bringing("a", "coffee"))
			w.meet("ada")
			w.apply(enters("ada", c.place, "v1", sec))
			w.pump(sec)
			w.wantVerdicts(c.want)
		})
	}
}

// Three codes go to three persons, who wait for no longer than the codes need to come;
// the fourth is told that there is none. What ends undelivered is given again.
func TestUniqueCodesAreReservedAndGivenBack(t *testing.T) {
	w := newWorld(t)
	w.Reload = true
	w.offers([]*engage.Offer{anOffer("gift", func(o *engage.Offer) { o.Codes, o.Code, o.Pool = engage.UniqueCodes, "", 3 })}, bringing("a", "gift"))
	codes := map[string]string{}
	var first engage.Send
	for i, id := range []string{"ada", "bob", "eve", "zoe"} {
		at := sec * time.Duration(i+1)
		w.meet(id)
		w.apply(enters(id, "cafe", "v-"+id, at))
		for _, s := range w.pump(at) {
			_, code, _ := strings.Cut(s.Body, ": ")
			if had := codes[code]; had != "" || !strings.HasPrefix(code, "GIFT-") {
				t.Errorf("%s has the code %q, as %q has", id, code, had)
			}
			if codes[code] = id; id == "ada" {
				first = s
			}
		}
	}
	if len(codes) != 3 {
		t.Fatalf("codes: %v", codes)
	}
	w.wantVerdicts("a pending, a pending, a pending, a suppressed offer_sold_out")
	if r := w.reservations()[first.Delivery]; r.Held != r.Code || r.Offer != "gift" || r.Profile != "ada" || r.Arm != "a" {
		t.Errorf("reserved: %+v", r)
	}
	w.apply(told("ada", first.Delivery, engage.DeliveryFailed, "fcm", engage.ReasonRejected, 10*sec))
	if r := w.reservations()[first.Delivery]; r.Held != "" || !r.Returned {
		t.Errorf("given back: %+v", r)
	}
	w.apply(enters("zoe", "cafe", "v2", 11*sec))
	sent := w.pump(11 * sec)
	if len(sent) != 1 || !strings.HasSuffix(first.Body, w.reservations()[sent[0].Delivery].Code) {
		t.Fatalf("sent %+v, first was %q", sent, first.Body)
	}
	w.apply(enters("ada", "cafe", "v3", 12*sec)) // once in vain is not once given
	w.pump(12 * sec)
	w.wantVerdicts("a failed send_rejected, a pending, a pending, a suppressed offer_sold_out, a pending, a suppressed offer_sold_out")
	w.checkCounts()
}

// Nobody knows whether an ambiguous push was seen, nor what lay in an inbox: the code
// stays reserved.
func TestACodeThatMayHaveBeenSeenIsNotGivenBack(t *testing.T) {
	for name, after := range map[string][]engage.Entry{
		"ambiguous":  {told("ada", "D", engage.DeliveryFailed, "fcm", engage.ReasonAmbiguous, 5*sec)},
		"inbox":      {told("ada", "D", engage.DeliveryInboxed, "inbox", "", 5*sec), told("ada", "D", engage.DeliveryExpired, "", "", 6*sec)},
		"in app":     {told("ada", "D", engage.DeliveryGranted, "in_app", "", 5*sec), told("ada", "D", engage.DeliveryExpired, "", "", 6*sec)},
		"no word":    nil,
		"one opened": {entry(engage.KindReceipt, person("ada"), 5*sec, engage.ReceiptItem{Message: "D", State: engage.ReceiptDelivered, Install: "i-ada"}), told("ada", "D", engage.DeliveryExpired, "fcm", "", 6*sec)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.offers([]*engage.Offer{anOffer("c", func(o *engage.Offer) { o.Stock = 1 })}, bringing("a", "c"))
			w.meet("ada")
			w.apply(enters("ada", "cafe", "v1", sec))
			sent := w.pump(sec)
			if len(sent) != 1 {
				t.Fatalf("%d sent", len(sent))
			}
			for _, e := range after {
				e.Body = []byte(strings.ReplaceAll(string(e.Body), `"D"`, `"`+sent[0].Delivery+`"`))
				w.apply(e)
			}
			w.fireUntil(2 * time.Hour)
			if r := w.reservations()[sent[0].Delivery]; r.Returned {
				t.Errorf("given back: %+v", r)
			}
			if d := w.decisions()[0]; !d.State.Terminal() {
				t.Errorf("it is %s", d.State)
			}
		})
	}
}

// Held-out persons reserve nothing, and come to the limit per person as the treated do.
func TestHeldOutPersonsReserveNothing(t *testing.T) {
	w := newWorld(t)
	w.offers([]*engage.Offer{anOffer("c", func(o *engage.Offer) { o.Stock, o.PerPerson = 100, 1 })},
		bringing("a", "c", func(c *engage.Campaign) { c.HoldoutPercent = 50 }))
	treated, held := 0, 0
	for i := range 20 {
		id := fmt.Sprint("p", i)
		w.meet(id)
		for _, visit := range []string{"1", "2"} {
			w.apply(enters(id, "cafe", id+visit, sec))
			w.pump(sec)
		}
	}
	for _, d := range w.decisions() {
		switch {
		case d.State == engage.HeldOut && d.Offer == nil:
			held++
		case d.State == engage.Pending && d.Offer != nil && d.Offer.Code == "COFFEE":
			treated++
		case d.State == engage.Suppressed && d.Reason == engage.ReasonOfferPersonLimit:
		default:
			t.Errorf("decision %+v", d)
		}
	}
	if treated+held != 20 || treated == 0 || held == 0 || len(w.reservations()) != treated {
		t.Errorf("%d treated, %d held out, %d reserved", treated, held, len(w.reservations()))
	}
	h, _ := w.State(engage.HoldingKey(ws, "offer:c", "act/0")).(*decide.Holding)
	if h == nil || int(h.Used) != treated {
		t.Errorf("%d treated, on lease %+v", treated, h)
	}
	w.checkCounts()
}

// When no answer comes, a moment does not wait for ever, and says why.
func TestAMomentWaitsForCodesForTwoSeconds(t *testing.T) {
	w := newWorld(t)
	w.offers([]*engage.Offer{anOffer("c", func(o *engage.Offer) { o.Stock = 5 })}, bringing("a", "c"))
	w.meet("ada")
	w.apply(enters("ada", "cafe", "v1", sec))
	w.wantVerdicts("a pending")
	w.fireUntil(3 * sec)
	w.wantVerdicts("a suppressed offer_unavailable")
	w.checkCounts()
}
