package profile

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// MaxOrders is how many orders of a person are known one by one, the newest; of those
// before only the sums are, and of maxCounted of them that they are in the sums: what is
// told of these again, such as a refund, is of no effect.
const (
	MaxOrders  = 200
	maxCounted = 1000
)

// Purchases of a person. They are replaced, never changed.
type Purchases struct {
	Orders  []Order `json:"orders,omitempty"` // by At, then id
	Earlier Totals  `json:"earlier,omitzero"` // of orders that are no more in Orders
	// Counted are orders that are in Earlier: hashes of eight bytes each, ascending.
	Counted counted `json:"counted,omitempty"`
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

// AmountOf a value in units, of 0 to about 4.6e14 of them.
func AmountOf(units float64) Amount {
	const most = math.MaxInt64 / 2
	if !(units > 0) { // nor is it a number at all
		return 0
	}
	return Amount(math.Round(min(units*perUnit, most)))
}

// plus is the sum, which is no larger than can be written.
func (a Amount) plus(b Amount) Amount {
	if a > math.MaxInt64-max(b, 0) {
		return math.MaxInt64
	}
	return a + b
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
		t.By[currency] = t.By[currency].plus(a)
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

// Counts reports whether it is a purchase: completed, and not cancelled.
func (o *Order) Counts() bool { return o.counts() }

// Worth is what it is worth less what was given back.
func (o *Order) Worth() Amount { return max(o.Value-o.Refunded, 0) }

// OrderHash is a hash of an order's id, for lists of orders that are kept small.
func OrderHash(id string) uint64 { return orderHash(id) }

// Order is what is known of one; the zero Order where it is not known one by one.
func (p *Purchases) Order(id string) Order {
	if p != nil {
		for i := range p.Orders {
			if p.Orders[i].ID == id {
				return p.Orders[i]
			}
		}
	}
	return Order{}
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
	o.Refunded = o.Refunded.plus(x.Refunded)
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
	take := func(orders []Order, counted counted) {
		for i := range orders {
			o := &orders[i]
			if counted.has(o.ID) {
				continue
			}
			if had, is := by[o.ID]; is {
				by[o.ID] = had.join(o)
			} else {
				by[o.ID] = *o
			}
		}
	}
	take(p.Orders, q.Counted)
	take(q.Orders, p.Counted)
	out := &Purchases{
		Orders:  slices.SortedFunc(maps.Values(by), func(a, b Order) int { return a.compare(&b) }),
		Earlier: p.Earlier, Counted: p.Counted.and(q.Counted),
	}
	if q.Earlier.Count > 0 {
		out.Earlier.add(q.Earlier.Count, q.Earlier.By, q.Earlier.FirstAt, q.Earlier.LastAt)
	}
	n := max(len(out.Orders)-MaxOrders, 0)
	var more counted
	for i := range out.Orders[:n] {
		o := &out.Orders[i]
		out.Earlier.order(o)
		if !o.ValueAt.IsZero() || o.Cancelled { // else its worth is still to come
			more = append(more, orderHash(o.ID))
		}
	}
	out.Counted = out.Counted.and(more)
	out.Orders = slices.Clip(out.Orders[n:])
	return out
}

// counted are hashes of orders. They are replaced, never changed.
type counted []uint64

func orderHash(id string) uint64 {
	f := fnv.New64a()
	f.Write([]byte(id))
	return f.Sum64()
}

func (c counted) has(id string) bool {
	if len(c) == 0 {
		return false // of nearly everybody
	}
	_, is := slices.BinarySearch(c, orderHash(id))
	return is
}

// and is both together: at most maxCounted, the greatest, which are the same in whatever
// order they come.
func (c counted) and(more counted) counted {
	if len(more) == 0 {
		return c
	}
	all := slices.Concat(c, more)
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.Clip(all[max(len(all)-maxCounted, 0):])
}

// MarshalText implements encoding.TextMarshaler: base64 of big-endian numbers.
func (c counted) MarshalText() ([]byte, error) {
	b := make([]byte, 0, 8*len(c))
	for _, h := range c {
		b = binary.BigEndian.AppendUint64(b, h)
	}
	return base64.StdEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *counted) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil || len(b)%8 != 0 {
		return errors.New("counted: no list of hashes in base64")
	}
	*c = make(counted, 0, len(b)/8)
	for ; len(b) > 0; b = b[8:] {
		*c = append(*c, binary.BigEndian.Uint64(b))
	}
	return nil
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

// lastValue is what the newest order that counts was worth, less refunds, in units of its
// currency; false when none is known one by one.
func (p *Purchases) lastValue() (float64, bool) {
	if p == nil {
		return 0, false
	}
	for i := len(p.Orders) - 1; i >= 0; i-- {
		if o := &p.Orders[i]; o.counts() {
			return max(o.Value-o.Refunded, 0).Units(), true
		}
	}
	return 0, false
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
