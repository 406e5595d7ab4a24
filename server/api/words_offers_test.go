package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
	"github.com/footfall-engage/footfall/server/measure"
)

// offerRuns has decide refuse offers for every reason that it has, and marks which.
func offerRuns(t *testing.T, told map[engage.Reason]bool) {
	t.Helper()
	at := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	later := at.Add(time.Hour)
	for reason, run := range map[engage.Reason]struct {
		offer func(*engage.Offer)
		says  string
	}{
		engage.ReasonOfferEnded:       {func(o *engage.Offer) { o.Status = engage.OfferPaused }, `The offer "o" was over, paused or deleted.`},
		engage.ReasonOfferNotStarted:  {func(o *engage.Offer) { o.From = &later }, `The offer "o" had not begun.`},
		engage.ReasonOfferNotHere:     {func(o *engage.Offer) { o.Places = []string{"bar"} }, `The offer "o" is not redeemed at the place "cafe".`},
		engage.ReasonOfferPersonLimit: {func(o *engage.Offer) { o.PerPerson = 1 }, `The offer "o" had been given to the person 1 of at most 1 times.`},
		engage.ReasonOfferSoldOut:     {func(o *engage.Offer) { o.Codes, o.Code = engage.UniqueCodes, "" }, `The offer "o" was given out: there are 0.`},
		engage.ReasonOfferUsedUp:      {func(o *engage.Offer) { o.Total = 2 }, `The offer "o" had been redeemed 3 of at most 2 times.`},
		engage.ReasonOfferWaits:       {func(o *engage.Offer) { o.Stock = 5 }, `The offer "o" has some left elsewhere: the moment waited for one, for 2 seconds at most.`},
		engage.ReasonOfferTooMany:     {func(o *engage.Offer) { o.Stock = 5 }, `Too many moments of the person were waiting already.`},
		engage.ReasonOfferUnavailable: {func(o *engage.Offer) { o.Stock = 5 }, `None of the offer "o" came within 2 seconds.`},
	} {
		o := &engage.Offer{ID: "o", Workspace: "acme", Version: 1, Name: "O", Status: engage.OfferActive, Kind: engage.OfferGift, Codes: engage.SharedCode, Code: "ABC"}
		run.offer(o)
		config, errs := decide.NewConfig([]decide.Workspace{{
			ID: "acme", Offers: []*engage.Offer{o}, Places: []*engage.Place{{ID: "cafe", Workspace: "acme", Name: "Café"}},
			Campaigns: []*engage.Campaign{{
				ID: "x", Workspace: "acme", Version: 1, Name: "X", Class: engage.Marketing, Status: engage.Live, Offer: "o",
				Trigger: engage.CampaignTrigger{Type: engage.TriggerPlace, Transition: engage.Enter},
				Arms:    []engage.Arm{{ID: "a", Message: engage.Content{Title: "Hello", Body: "{{ offer.code }}"}}},
			}},
		}})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		p := steptest.New("act/0", decide.Machine{Meter: measure.Meter{}, Other: measure.Meter{}})
		p.Adopt(config)
		apply := func(kind engage.Kind, v any) {
			t.Helper()
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Apply(engage.Entry{Kind: kind, Key: engage.ProfileKey("acme", "ada"), At: at, Occurred: at, Body: b}); err != nil {
				t.Fatal(err)
			}
		}
		apply(engage.KindDevice, engage.Device{Install: "i", App: "shop", Platform: "android", Notifications: "granted", SeenAt: at})
		apply(engage.KindConsent, map[engage.Purpose]engage.Consent{engage.ConsentMarketing: {Granted: true, At: at}})
		if reason == engage.ReasonOfferUsedUp {
			b, err := json.Marshal(engage.OfferUsed{V: 1, Offer: "o", Redeemed: 3, Version: 7})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Apply(engage.Entry{Kind: engage.KindOfferUse, Key: engage.OfferUseKey("acme", "o", "act/0"), At: at, Body: b}); err != nil {
				t.Fatal(err)
			}
		}
		told[reason] = false
		look := func() {
			t.Helper()
			for _, b := range p.Docs("decisions") {
				var d engage.Decision
				if err := json.Unmarshal(b, &d); err != nil {
					t.Fatal(err)
				}
				for _, g := range d.Gates {
					if g.Reason != reason {
						continue
					}
					told[reason] = true
					if words := gateWords(g); words != run.says {
						t.Errorf("%s is told as %q, want %q", reason, words, run.says)
					}
				}
			}
		}
		for n := range 51 {
			apply(engage.KindTrigger, engage.Trigger{
				Type: engage.TriggerPlace, Occasion: fmt.Sprint("v", n), Install: "i", OccurredAt: at, Transition: engage.Enter, Ring: engage.Inside,
				Place: "cafe", Fence: fmt.Sprint("f", n), Evidence: "os_region", WeatherIs: engage.WeatherAbsent,
			})
			look()
		}
		if err := p.FireUntil(later); err != nil {
			t.Fatal(err)
		}
		look()
	}
	for _, g := range []engage.GateResult{{Gate: "offer", OK: true, Saw: engage.SawOf(map[string]any{"offer": "o"})}} {
		if words := gateWords(g); !strings.Contains(words, "offer") {
			t.Errorf("a yes is told as %q", words)
		}
	}
}

// What a till did stands in the timeline in words.
func TestWhatATillDidIsToldPlainly(t *testing.T) {
	name := func(id string) string { return map[string]string{"cafe": "Café"}[id] }
	r := engage.Redemption{V: 1, ID: "r", State: engage.Redeemed, Offer: "coffee", Code: "COFFEE", Place: "cafe", Value: 12.5, Currency: "EUR"}
	voided, bare := r, engage.Redemption{V: 1, ID: "r", State: engage.Redeemed, Offer: "coffee", Code: "COFFEE"}
	voided.State = engage.Voided
	for want, r := range map[string]engage.Redemption{
		`The code COFFEE of the offer "coffee" was redeemed at Café, with a purchase of 12.50 EUR`: r,
		`The redemption of the code COFFEE of the offer "coffee" was voided at Café`:               voided,
		`The code COFFEE of the offer "coffee" was redeemed`:                                       bare,
	} {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		e := engage.TimelineEntry{Kind: engage.KindRedemption, Data: b}
		if got := timelineWords(&e, name); got != want || e.Class() != engage.ClassPurchases {
			t.Errorf("told as %q (%s), want %q", got, e.Class(), want)
		}
	}
}
