package uploads

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// unit is what is taken or refused as a whole: a row, or all rows of an order.
type unit struct {
	numbers []int     // of its rows
	row     *Row      // what they say; nil: all are refused
	wrong   []Refused // the refused ones
}

// refuse refuses all rows for one reason.
func (u *unit) refuse(why *engage.Error) {
	u.row, u.wrong = nil, nil
	for _, n := range u.numbers {
		u.wrong = append(u.wrong, Refused{n, *problemOf(why)})
	}
}

// source gives units until it returns an error, as reader.next does. Its position is that
// behind the last unit.
type source interface {
	next() (*unit, error)
	position() (offset int64, row int, ok bool)
}

// units is the source of a reader. In which row an order began is asked of began.
func (r *reader) units(began func(order string, row int) (int, error)) source {
	if r.row.lines {
		return &orders{r: r, began: began}
	}
	return singles{r}
}

// singles are the rows of a file in which each stands for itself.
type singles struct{ *reader }

func (s singles) next() (*unit, error) {
	row, err := s.reader.next()
	if err != nil {
		return nil, err
	}
	u := &unit{numbers: []int{row.Number}, row: row}
	if row.Err != nil {
		u.refuse(row.Err)
	}
	return u, nil
}

const (
	// maxBetween is how many rows of which nobody can say the order may stand between two
	// of the same order to be taken for its.
	maxBetween = 10
	// sameOrder is how far apart the rows of an order may be in time.
	sameOrder = 24 * time.Hour
)

// orders makes one order of the rows that have its id and status and follow each other.
// An order whose rows contradict each other, or of which one is refused, is refused as a
// whole: its sum would be wrong.
type orders struct {
	r     *reader
	began func(order string, row int) (int, error)
	ahead []lineAt
	end   error  // behind ahead
	over  string // an order that has too many rows
}

// lineAt is a row with where it begins.
type lineAt struct {
	*Row

	offset  int64
	number  int
	settled bool
}

// peek is a row of those that are ahead.
func (o *orders) peek(i int) (*Row, error) {
	for len(o.ahead) <= i && o.end == nil {
		l := lineAt{}
		l.offset, l.number, l.settled = o.r.position()
		if l.Row, o.end = o.r.next(); o.end == nil {
			o.ahead = append(o.ahead, l)
		}
	}
	if len(o.ahead) <= i {
		return nil, o.end
	}
	return o.ahead[i].Row, nil
}

// position implements source.
func (o *orders) position() (offset int64, row int, ok bool) {
	if len(o.ahead) == 0 {
		return o.r.position()
	}
	l := &o.ahead[0]
	return l.offset, l.number, l.settled
}

// next implements source.
func (o *orders) next() (*unit, error) {
	first, err := o.peek(0)
	if err != nil {
		return nil, err
	}
	n, end := o.together(first)
	u, rows := &unit{}, make([]*Row, n)
	for i := range n {
		rows[i] = o.ahead[i].Row
		u.numbers = append(u.numbers, rows[i].Number)
	}
	o.ahead = slices.Delete(o.ahead, 0, n)
	if first.order == "" {
		u.refuse(first.Err)
		return u, nil
	}
	key := first.key()
	began, err := o.began(key, first.Number)
	switch {
	case err != nil:
		return nil, err
	case n > maxProducts || o.over == key:
		o.over = key
		u.refuse(&engage.Error{Code: engage.TooLarge, Field: o.r.column("order_id"), Msg: fmt.Sprintf("is of an order of more than %d rows, which begins in row %d", maxProducts, began)})
		return u, nil
	case began < first.Number:
		u.refuse(engage.Errorf(engage.Conflict, o.r.column("order_id"), "is of an order that has rows before, from row %d on: the rows of an order must stand together, sort the file by its id", began))
	case end != nil && !errors.Is(end, io.EOF):
		u.refuse(engage.Errorf(engage.Invalid, o.r.column("order_id"), "is of an order at whose rows the file breaks off"))
	default:
		o.merge(u, rows)
	}
	o.over = ""
	return u, nil
}

// together is how many of the rows ahead are of the same order as the first, at most one
// more than an order may have, and the error that ended them.
func (o *orders) together(first *Row) (n int, end error) {
	n = 1
	if first.order == "" {
		return n, nil
	}
	for between := 0; n <= maxProducts; {
		row, err := o.peek(n + between)
		switch {
		case err != nil:
			return n, err
		case row.order == "" && between < maxBetween:
			between++
		case row.order != first.order || row.status() != first.status():
			return n, nil
		default:
			n, between = min(n+between+1, maxProducts+1), 0
		}
	}
	return n, nil
}

// key is what tells orders of a file from each other: a refund is told of by its own rows.
func (row *Row) key() string { return row.order + "\x00" + string(row.status()) }

func (row *Row) status() engage.OrderStatus {
	if row.line == nil {
		return ""
	}
	return row.line.status
}

// line is what a row says as one of an order.
type line struct {
	status engage.OrderStatus
	item   engage.OrderedItem
	worth  float64 // of the line
	valued bool    // worth was said
	priced bool    // the item's price was
	total  bool    // the value of the whole order was
}

// amount of the line; false: it says none.
func (l *line) amount() (float64, bool) {
	switch {
	case l.valued:
		return l.worth, true
	case l.priced:
		return l.item.Price * cmp.Or(l.item.Quantity, 1), true
	}
	return 0, false
}

// put takes what stands in a column line.<name>.
func (l *line) put(r *rowReader, name string, v *value) (wrong string) {
	switch name {
	case "id":
		l.item.ID, wrong = r.short(v)
	case "name":
		l.item.Name, wrong = r.short(v)
	case "category":
		l.item.Category, wrong = r.short(v)
	case "brand":
		l.item.Brand, wrong = r.short(v)
	case "price":
		if l.item.Price, wrong = v.number(); wrong == "" && (l.item.Price < 0 || l.item.Price > engage.MaxMoney) {
			wrong = "must be 0 to 1e12: a discount is a line.value below 0"
		}
		l.priced = true
	case "quantity":
		if l.item.Quantity, wrong = v.number(); wrong == "" && (l.item.Quantity <= 0 || l.item.Quantity > engage.MaxMoney) {
			wrong = "must be above 0, at most 1e12: what comes back is a row of its own with the status refunded"
		}
	case "value":
		if l.worth, wrong = v.number(); wrong == "" && math.Abs(l.worth) > engage.MaxMoney {
			wrong = "must be at most 1e12"
		}
		l.valued = true
	}
	return wrong
}

// lineParts are the names of the targets line.<name>.
var lineParts = []string{"id", "name", "category", "brand", "price", "quantity", "value"}

// merge makes one row of those of an order, or refuses them all.
func (o *orders) merge(u *unit, rows []*Row) {
	whole := &Row{Number: rows[0].Number, Occurred: rows[0].Occurred, Touch: rows[0].Touch}
	wrong := map[int]*engage.Error{} // by the row's number
	for _, row := range rows {
		if row.Err != nil {
			wrong[row.Number] = row.Err
		}
	}
	if len(wrong) == 0 {
		if n, err := o.join(whole, rows); err != nil {
			wrong[n] = err
		}
	}
	if len(wrong) == 0 {
		if err := o.r.row.seal(whole, whole.Touch, whole.Occurred); err != nil {
			u.refuse(err)
			return
		}
		u.row = whole
		return
	}
	first := 0
	for _, n := range u.numbers {
		if wrong[n] != nil {
			first = n
			break
		}
	}
	for _, n := range u.numbers {
		err := wrong[n]
		if err == nil {
			err = engage.Errorf(engage.Conflict, o.r.column("order_id"), "is of an order of which row %d is refused: an order is taken as a whole", first)
		}
		u.wrong = append(u.wrong, Refused{n, *problemOf(err)})
	}
}

// join adds what the rows say together, or tells which contradicts those before it.
func (o *orders) join(whole *Row, rows []*Row) (int, *engage.Error) {
	t := &whole.Touch
	order := *t.Order
	t.Order = &order
	t.Identifiers, order.Products = slices.Clone(t.Identifiers), nil
	said := map[string]int{} // in which row the order's currency, place, value stood first
	var sum float64
	total := slices.ContainsFunc(rows, func(row *Row) bool { return row.line.total })
	for i, row := range rows {
		at := func(target, wrong string) (int, *engage.Error) {
			return row.Number, engage.Errorf(engage.Conflict, o.r.column(target), "%s", wrong)
		}
		other := func(target string) (int, *engage.Error) {
			return at(target, fmt.Sprintf("is another than in row %d, of the same order", cmp.Or(said[target], rows[0].Number)))
		}
		x, l := row.Touch.Order, row.line
		if kind := o.person(t, row.Touch.Identifiers); kind != "" {
			return at(kind, fmt.Sprintf("names another person than the rows from row %d on, of the same order", rows[0].Number))
		}
		for _, f := range []struct {
			target    string
			into, say *string
		}{{"currency", &order.Currency, &x.Currency}, {"place", &order.Place, &x.Place}} {
			if *f.say != "" && *f.into != "" && *f.say != *f.into {
				return other(f.target)
			}
			if *f.say != "" && said[f.target] == 0 {
				*f.into, said[f.target] = *f.say, row.Number
			}
		}
		if l.total && said["value"] > 0 && x.Value != order.Value {
			return at("value", fmt.Sprintf("is another than in row %d, of the same order: if it is the line's, its target is line.value", said["value"]))
		}
		if l.total && said["value"] == 0 {
			order.Value, said["value"] = x.Value, row.Number
		}
		switch {
		case row.Occurred.IsZero():
		case whole.Occurred.IsZero():
			whole.Occurred = row.Occurred
		case row.Occurred.Sub(whole.Occurred).Abs() > sameOrder:
			return other("occurred_at")
		case row.Occurred.Before(whole.Occurred):
			whole.Occurred = row.Occurred
		}
		if i > 0 {
			o.also(t, &row.Touch)
		}
		order.Coupon = cmp.Or(order.Coupon, x.Coupon)
		worth, told := l.amount()
		if !told && !total && order.Status != engage.OrderCancelled {
			return row.Number, engage.Errorf(engage.Invalid, o.r.column("line.value"), "is missing: a row needs line.value or line.price, or its order a value")
		}
		sum += worth
		if item := l.item; item != (engage.OrderedItem{}) {
			if l.valued && !l.priced {
				item.Price = round(l.worth / cmp.Or(item.Quantity, 1))
			}
			order.Products = append(order.Products, item)
		}
	}
	last := rows[len(rows)-1].Number
	switch {
	case len(t.Identifiers) == 0:
		return last, engage.Errorf(engage.Invalid, "identifiers", "are missing in all rows of the order: it needs a user_id, email, loyalty or anonymous_id")
	case len(t.Identifiers) > MaxIdentifiers:
		return last, engage.Errorf(engage.TooLarge, "identifiers", "of the order's rows are %d, at most %d", len(t.Identifiers), MaxIdentifiers)
	case whole.Occurred.IsZero():
		return last, at(o.r.column("occurred_at"), "is missing in all rows of the order")
	case !total:
		order.Value = round(sum)
	}
	if order.Value < 0 || order.Value > engage.MaxMoney {
		return last, at(o.r.column("line.value"), "makes the order less than 0, or more than 1e12: a refund is a row of its own with the status refunded")
	}
	t.Event.Name = eventOf(order.Status)
	return 0, nil
}

// round to what money is counted in: sums of decimals are no decimals.
func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// person adds identifiers of a row to those of its order; the kind of one that is not the
// order's person's is returned.
func (o *orders) person(t *engage.Touch, more []string) (other string) {
	for _, kind := range identifierFields[:4] {
		of := func(ids []string) (out []string) {
			for _, id := range ids {
				if strings.HasPrefix(id, kind+":") {
					out = append(out, id)
				}
			}
			return out
		}
		have, add := of(t.Identifiers), of(more)
		if len(have) > 0 && len(add) > 0 && !slices.ContainsFunc(add, func(id string) bool { return slices.Contains(have, id) }) {
			return kind
		}
	}
	for _, id := range more {
		if !slices.Contains(t.Identifiers, id) {
			t.Identifiers = append(t.Identifiers, id)
		}
	}
	// In the order of what they are worth, as those of a row.
	slices.SortStableFunc(t.Identifiers, func(a, b string) int { return worthOf(a) - worthOf(b) })
	return ""
}

func worthOf(identifier string) int {
	kind, _, _ := strings.Cut(identifier, ":")
	return slices.Index(identifierFields, kind)
}

// also takes the properties of a further row that those before did not say. The order's
// message id is that of all its rows, or none.
func (o *orders) also(t, more *engage.Touch) {
	if more.ID != t.ID {
		t.ID = ""
	}
	for name, x := range more.Event.Properties {
		if _, there := t.Event.Properties[name]; there {
			continue
		}
		if t.Event.Properties == nil {
			t.Event.Properties = map[string]any{}
		}
		t.Event.Properties[name] = x
	}
}
