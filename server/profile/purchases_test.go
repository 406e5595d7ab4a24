package profile_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
)

// An order counts once however often it is told, also when so many have come since that
// only the sum of it is known; and also of two who become one.
func TestAnOldOrderThatIsToldAgainCountsOnce(t *testing.T) {
	history := func(p *profile.Profile, from, to int) {
		for i := from; i < to; i++ {
			p.Bought(&engage.Order{ID: fmt.Sprint("o", i), Status: engage.OrderCompleted, Value: 1, Currency: "EUR"}, t0.Add(time.Duration(i)*time.Hour))
		}
	}
	want := func(p *profile.Profile, orders int) {
		t.Helper()
		totals := p.Purchases.Totals()
		if units, _ := totals.Total(); totals.Count != int64(orders) || units != float64(orders) {
			t.Errorf("%d orders, worth %v, want %d", totals.Count, units, orders)
		}
	}
	p := &profile.Profile{ID: "a"}
	history(p, 0, 500)
	want(p, 500)
	history(p, 0, 500) // the same upload, for example
	want(p, 500)
	p.Bought(&engage.Order{ID: "o1", Status: engage.OrderUpdated, Value: 9, Currency: "EUR"}, t0.Add(9999*time.Hour))
	want(p, 500)

	// As it is kept.
	kept, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var q profile.Profile
	if err := json.Unmarshal(kept, &q); err != nil {
		t.Fatal(err)
	}
	history(&q, 0, 500)
	want(&q, 500)
	if err := json.Unmarshal([]byte(`{"purchases":{"counted":"AAAA"}}`), &q); err == nil {
		t.Error("half a hash is taken")
	}

	// One knows of the sum, the other of the orders, either way round.
	for i := range 2 {
		a, b := &profile.Profile{ID: "a"}, &profile.Profile{ID: "b"}
		history(a, 0, 300)
		history(b, 0, 100)
		if i == 1 {
			a, b = b, a
		}
		a.Absorb(b, profile.Link{A: "a", B: "b", At: t0})
		want(a, 300)
	}
	for i := range 1500 {
		p.Bought(&engage.Order{ID: fmt.Sprint("n", i), Status: engage.OrderCompleted, Value: 1}, t0.Add(time.Duration(10000+i)*time.Hour))
	}
	if b, err := json.Marshal(p.Purchases); err != nil || len(b) > 50_000 {
		t.Errorf("%d bytes of %d orders: %v", len(b), p.Purchases.Totals().Count, err)
	}
}

// Sums stop at what can be written: they do not become debts.
func TestSumsOfMoneyDoNotOverflow(t *testing.T) {
	p := &profile.Profile{ID: "a"}
	for i := range 1200 {
		p.Bought(&engage.Order{ID: fmt.Sprint("o", i), Status: engage.OrderCompleted, Value: engage.MaxMoney, Currency: "EUR"}, t0)
	}
	totals := p.Purchases.Totals()
	if units, _ := totals.Total(); units < 9e14 {
		t.Errorf("1,200 orders of the highest worth are worth %v", units)
	}
	for range 1000 {
		p.Bought(&engage.Order{ID: "back", Status: engage.OrderRefunded, Value: engage.MaxMoney}, t0.Add(time.Hour))
	}
	p.Bought(&engage.Order{ID: "back", Status: engage.OrderCompleted, Value: 5, Currency: "USD"}, t0.Add(time.Hour))
	if got := p.Purchases.Totals().By["USD"]; got != 0 {
		t.Errorf("what was given back many times is worth %v", got.Units())
	}
}
