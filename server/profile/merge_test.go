package profile_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
)

// somebody is a profile of whom much is known, different for each n.
func somebody(n int, r *rand.Rand) *profile.Profile {
	p := &profile.Profile{Workspace: "acme", ID: fmt.Sprintf("p%d", n)}
	at := func() time.Time { return t0.Add(time.Duration(r.IntN(1000)) * time.Second) }
	stamp := func() profile.Stamp { return profile.StampOf(at(), t0.Add(time.Hour), r.IntN(3) > 0) }
	p.Seen(at())
	p.Visited(at())
	p.Bind(fmt.Sprintf("user_id:%d", n))
	for range 6 {
		name, value := fmt.Sprint("n", r.IntN(4)), r.IntN(3)
		if _, err := p.SetAttributes(json.RawMessage(fmt.Sprintf(`{%q:%d}`, name, value)), stamp()); err != nil {
			panic(err)
		}
		if r.IntN(4) == 0 {
			if _, err := p.SetAttributes(json.RawMessage(fmt.Sprintf(`{%q:null}`, name)), stamp()); err != nil {
				panic(err)
			}
		}
		p.SetPreferences(map[string]engage.Attitude{name: []engage.Attitude{engage.Like, engage.Dislike, ""}[value]}, stamp())
		p.SetConsents("", engage.ByPurpose[engage.Consent]{{Purpose: engage.ConsentMarketing, Value: engage.Consent{Granted: value > 0, At: at()}}})
		p.Lean(profile.AffinityCategory, name, int64(value), at())
		order := &engage.Order{ID: fmt.Sprint("o", r.IntN(5)), Status: engage.OrderCompleted, Value: float64(r.IntN(100)) / 3, Currency: "EUR"}
		if value == 0 {
			order.Status = engage.OrderRefunded
		}
		p.Bought(order, at())
		p.SetDevice(engage.Device{Install: name, Platform: fmt.Sprint(value), SeenAt: at()}, t0.Add(time.Hour))
	}
	p.SetConsents("", engage.ByPurpose[engage.Consent]{{Purpose: engage.ConsentProfiling, Value: engage.Consent{Granted: true, At: t0}}})
	p.RemoveDevice("n1", at())
	return p
}

// canonical is a profile without what only tells which of several it was.
func canonical(t *testing.T, p *profile.Profile) string {
	t.Helper()
	c := *p
	all := append([]string{c.ID}, c.Absorbed...)
	c.ID, c.Absorbed = fmt.Sprint(len(all)), nil
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestInWhateverOrderProfilesBecomeOneItIsTheSame(t *testing.T) {
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a test's chance
		n := 2 + r.IntN(5)
		links := make([]profile.Link, n) // of i>0 with an earlier one
		for i := 1; i < n; i++ {
			links[i] = profile.Link{A: fmt.Sprint("p", i), B: fmt.Sprint("p", r.IntN(i)), At: t0.Add(time.Duration(r.IntN(1000)) * time.Second)}
		}
		want := ""
		for range 6 {
			people := make([]*profile.Profile, n)
			for i := range people {
				people[i] = somebody(i, rand.New(rand.NewPCG(seed, uint64(i)))) //nolint:gosec // a test's chance
			}
			before := canonical(t, people[0])
			copied := *people[0]
			in := make([]int, n) // in whom each is
			for i := range in {
				in[i] = i
			}
			for _, i := range r.Perm(n) {
				if i == 0 {
					continue
				}
				var j int
				if _, err := fmt.Sscanf(links[i].B, "p%d", &j); err != nil {
					t.Fatal(err)
				}
				x, y := in[i], in[j]
				if r.IntN(2) == 0 {
					x, y = y, x
				}
				people[x].Absorb(people[y], links[i])
				for k := range in {
					if in[k] == y {
						in[k] = x
					}
				}
			}
			if got := canonical(t, &copied); got != before {
				t.Fatal("a copy was changed")
			}
			got := canonical(t, people[in[0]])
			if want == "" {
				want = got
			}
			if got != want {
				t.Fatalf("seed %d:\n%s\n%s", seed, got, want)
			}
		}
	}
}

func answer(granted bool, after int) engage.ByPurpose[engage.Consent] {
	return engage.ByPurpose[engage.Consent]{{Purpose: engage.ConsentMarketing, Value: engage.Consent{Granted: granted, At: t0.Add(time.Duration(after) * time.Minute)}}}
}

// Of two answers the stricter stands, until the one that both are gives another.
func TestTheStricterConsentStandsUntilTheNextAnswer(t *testing.T) {
	for _, c := range []struct {
		name          string
		a, b          engage.ByPurpose[engage.Consent]
		later, laterB engage.ByPurpose[engage.Consent]
		want          bool
	}{
		{"one answered", answer(true, 1), nil, nil, nil, true},
		{"both agreed", answer(true, 1), answer(true, 2), nil, nil, true},
		{"an older no", answer(false, 1), answer(true, 2), nil, nil, false},
		{"a newer no", answer(true, 1), answer(false, 2), nil, nil, false},
		{"a yes as one person", answer(false, 1), answer(true, 2), answer(true, 20), nil, true},
		{"a yes at the other phone", answer(false, 1), answer(true, 2), nil, answer(true, 20), true},
		{"a late yes of before", answer(false, 1), nil, nil, answer(true, 3), false},
		{"a no as one person", answer(true, 1), answer(true, 2), answer(false, 20), nil, false},
	} {
		for _, lateFirst := range []bool{false, true} {
			a, b := &profile.Profile{ID: "a"}, &profile.Profile{ID: "b"}
			a.SetConsents("", c.a)
			b.SetConsents("", c.b)
			if lateFirst { // what was said came before it was known that they are one
				a.SetConsents("", c.later)
				b.SetConsents("", c.laterB)
			}
			a.Absorb(b, profile.Link{A: "a", B: "b", At: t0.Add(10 * time.Minute)})
			if !lateFirst {
				a.SetConsents("", c.later)
				a.SetConsents("b", c.laterB)
			}
			if got := a.Consented(engage.ConsentMarketing); got != c.want {
				t.Errorf("%s (%v): %v", c.name, lateFirst, got)
			}
		}
	}
}

func TestWhatNobodyCanTrustChangesNothingThatIsKnown(t *testing.T) {
	known, browser := &profile.Profile{ID: "u"}, &profile.Profile{ID: "w"}
	set := func(p *profile.Profile, traits string, s profile.Stamp) {
		if _, err := p.SetAttributes(json.RawMessage(traits), s); err != nil {
			t.Fatal(err)
		}
	}
	set(known, `{"tier":"gold","born":null}`, profile.StampOf(t0, t0, true))
	set(browser, `{"tier":"stolen","born":"1700-01-01","colour":"red"}`, profile.StampOf(t0.Add(time.Hour), t0.Add(time.Hour), false))
	old := &profile.Profile{ID: "o", Attributes: map[string]any{"tier": "kept by an earlier build"}}
	old.Absorb(browser, profile.Link{})
	known.Absorb(browser, profile.Link{})
	if known.Attributes["tier"] != "gold" || known.Attributes["born"] != nil || known.Attributes["colour"] != "red" {
		t.Errorf("known: %v", known.Attributes)
	}
	if old.Attributes["tier"] != "kept by an earlier build" {
		t.Errorf("old: %v", old.Attributes)
	}
}

func TestOrdersCountOnceAndLessWhatWasGivenBack(t *testing.T) {
	p := &profile.Profile{}
	tell := func(id string, status engage.OrderStatus, value float64, after int) {
		p.Bought(&engage.Order{ID: id, Status: status, Value: value, Currency: "EUR"}, t0.Add(time.Duration(after)*time.Hour))
	}
	tell("a", engage.OrderRefunded, 2.5, 3) // before the order is told
	tell("a", engage.OrderCompleted, 10, 1)
	tell("a", engage.OrderCompleted, 10, 1)
	tell("b", engage.OrderCompleted, 20, 2)
	tell("b", engage.OrderUpdated, 30, 4)
	tell("b", engage.OrderUpdated, 25, 3) // older
	tell("c", engage.OrderCompleted, 99, 5)
	tell("c", engage.OrderCancelled, 0, 6)
	tell("d", engage.OrderCompleted, 5, 1)
	tell("d", engage.OrderRefunded, 50, 7) // more than it was worth
	totals := p.Purchases.Totals()
	if units, currency := totals.Total(); units != 37.5 || currency != "EUR" || totals.Count != 3 || !totals.LastAt.Equal(t0.Add(2*time.Hour)) || !totals.FirstAt.Equal(t0.Add(time.Hour)) {
		t.Errorf("%v %s, %+v", units, currency, totals)
	}
	for i := range 500 {
		tell(fmt.Sprint("many", i), engage.OrderCompleted, 1.1, 10+i)
	}
	totals = p.Purchases.Totals()
	if units, _ := totals.Total(); units != 587.5 || totals.Count != 503 || len(p.Purchases.Orders) != profile.MaxOrders {
		t.Errorf("%v of %d, %d kept", units, totals.Count, len(p.Purchases.Orders))
	}
}

func TestAffinitiesFade(t *testing.T) {
	p := &profile.Profile{}
	p.Lean(profile.AffinityCategory, " Shoes ", profile.WeightBought, t0)
	p.Lean(profile.AffinityTopic, "jazz", profile.WeightSeen, t0)
	p.Lean(profile.AffinityTopic, "jazz", profile.WeightSeen, t0)
	p.Lean(profile.AffinityBrand, "ACME", profile.WeightBought, t0)
	p.Lean(profile.AffinityCategory, "once", profile.WeightSeen, t0)
	p.Lean(profile.AffinityCategory, "", profile.WeightBought, t0)
	day := 24 * time.Hour
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{0, "[shoes jazz] [acme]"}, {40 * day, "[shoes] [acme]"}, {100 * day, "[] []"}} {
		if got := fmt.Sprint(p.Likings(t0.Add(c.after)), p.Brands(t0.Add(c.after))); got != c.want {
			t.Errorf("after %v: %s, want %s", c.after, got, c.want)
		}
	}
	for i := range 1000 {
		p.Lean(profile.AffinityCategory, fmt.Sprint("c", i), profile.WeightWanted, t0.Add(time.Duration(i)*day))
	}
	if len(p.Affinities) > 150 || len(p.Affinities["category:c999"]) != 1 || p.Affinities["category:shoes"] != nil {
		t.Errorf("%d are kept", len(p.Affinities))
	}
}
