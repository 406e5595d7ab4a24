package profile

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// MaxOrders is how many orders of a person are known one by one, the newest; of those
// before only the sums are.
const MaxOrders = 200

// Purchases of a person. They are replaced, never changed.
type Purchases struct {
	Orders  []Order `json:"orders,omitempty"` // by At, then id
	Earlier Totals  `json:"earlier,omitzero"` // of orders that are no more in Orders
}

// Order is what is known of one. It counts as a purchase once it was completed and is
// not cancelled, for what it is worth less what was given back.
type Order struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"`                // when it was first told of, by the world's clock
	ValueAt   time.Time `json:"value_at,omitzero"` // when what it is worth was last said; zero: never
	Value     Amount    `json:"value,omitempty"`
	Currency  string    `json:"currency,omitempty"`
	Refunded  Amount    `json:"refunded,omitempty"`
	Cancelled bool      `json:"cancelled,omitempty"`
}

// Amount of money in ten-thousandths of the currency's unit: sums of these are the same
// in whatever order they are made.
type Amount int64

const perUnit = 10_000

// AmountOf a value in units, at most about 9e14 of them.
func AmountOf(units float64) Amount {
	const most = math.MaxInt64 / 2
	return Amount(math.Round(min(max(units*perUnit, -most), most)))
}

// Units is the amount as a number of units.
func (a Amount) Units() float64 { return float64(a) / perUnit }

// Totals of purchases.
type Totals struct {
	Count   int64             `json:"count,omitempty"`
	By      map[string]Amount `json:"by_currency,omitempty"`
	FirstAt time.Time         `json:"first_at,omitzero"`
	LastAt  time.Time         `json:"last_at,omitzero"`
}

func (t *Totals) add(count int64, by map[string]Amount, first, last time.Time) {
	t.Count += count
	t.By = cloneOf(t.By)
	for currency, a := range by {
		t.By[currency] += a
	}
	if !first.IsZero() && (t.FirstAt.IsZero() || first.Before(t.FirstAt)) {
		t.FirstAt = first
	}
	if last.After(t.LastAt) {
		t.LastAt = last
	}
}

func (t *Totals) order(o *Order) {
	if o.counts() {
		t.add(1, map[string]Amount{o.Currency: max(o.Value-o.Refunded, 0)}, o.At, o.At)
	}
}

func (o *Order) counts() bool { return !o.ValueAt.IsZero() && !o.Cancelled }

func (o *Order) compare(x *Order) int {
	return cmp.Or(o.At.Compare(x.At), strings.Compare(o.ID, x.ID))
}

// join is what two know of the same order.
func (o Order) join(x *Order) Order {
	if x.At.Before(o.At) {
		o.At = x.At
	}
	if c := cmp.Or(x.ValueAt.Compare(o.ValueAt), cmp.Compare(x.Value, o.Value), strings.Compare(x.Currency, o.Currency)); c > 0 {
		o.ValueAt, o.Value, o.Currency = x.ValueAt, x.Value, x.Currency
	}
	o.Refunded += x.Refunded
	o.Cancelled = o.Cancelled || x.Cancelled
	return o
}

// Bought folds what is told of an order in. Who tells sees to it that a refund is told
// once; all else may come again, and in any order.
func (p *Profile) Bought(o *engage.Order, at time.Time) {
	at = at.UTC()
	x := Order{ID: o.ID, At: at}
	switch o.Status {
	case engage.OrderCompleted, engage.OrderUpdated:
		x.ValueAt, x.Value, x.Currency = at, AmountOf(o.Value), o.Currency
	case engage.OrderRefunded:
		x.Refunded = AmountOf(o.Value)
	case engage.OrderCancelled:
		x.Cancelled = true
	default:
		return
	}
	p.Purchases = p.Purchases.with(&Purchases{Orders: []Order{x}})
}

// with is both together.
func (p *Purchases) with(q *Purchases) *Purchases {
	switch {
	case q == nil:
		return p
	case p == nil:
		p = &Purchases{}
	}
	by := make(map[string]Order, len(p.Orders)+len(q.Orders))
	for _, o := range p.Orders {
		by[o.ID] = o
	}
	for i := range q.Orders {
		o := &q.Orders[i]
		if had, is := by[o.ID]; is {
			by[o.ID] = had.join(o)
		} else {
			by[o.ID] = *o
		}
	}
	out := &Purchases{
		Orders:  slices.SortedFunc(maps.Values(by), func(a, b Order) int { return a.compare(&b) }),
		Earlier: p.Earlier,
	}
	if q.Earlier.Count > 0 {
		out.Earlier.add(q.Earlier.Count, q.Earlier.By, q.Earlier.FirstAt, q.Earlier.LastAt)
	}
	n := max(len(out.Orders)-MaxOrders, 0)
	for i := range out.Orders[:n] {
		out.Earlier.order(&out.Orders[i])
	}
	out.Orders = slices.Clip(out.Orders[n:])
	return out
}

// Totals of all purchases; zero of nobody's.
func (p *Purchases) Totals() Totals {
	if p == nil {
		return Totals{}
	}
	t := p.Earlier
	for i := range p.Orders {
		t.order(&p.Orders[i])
	}
	return t
}

// Total is what was spent in the currency in which most was, and the currency: sums
// of several mean nothing.
func (t *Totals) Total() (units float64, currency string) {
	var most Amount = -1
	for _, c := range slices.Sorted(maps.Keys(t.By)) {
		if t.By[c] > most {
			most, currency = t.By[c], c
		}
	}
	return max(most, 0).Units(), currency
}
