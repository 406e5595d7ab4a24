package collect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// Bounds of an order.
const (
	maxProducts = 250
	maxAmount   = engage.MaxMoney // of money, in any currency, and of how many
	// maxOrderText is of an order's id and of all texts of its lines, in bytes.
	maxOrderText = 200
)

// orderEvents are the events that tell of an order, in lower case with spaces.
var orderEvents = map[string]engage.OrderStatus{
	"order completed": engage.OrderCompleted, "order updated": engage.OrderUpdated,
	"order refunded": engage.OrderRefunded, "order cancelled": engage.OrderCancelled, "order canceled": engage.OrderCancelled,
}

var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

// order is what a track call tells of an order; nil when it tells of none. An order that
// cannot be is left out, and its event stays.
func (c *Collector) order(workspace string, cl *call, leave func(error)) *engage.Order {
	name, _ := cl.text("event")
	status, is := orderEvents[strings.ToLower(strings.ReplaceAll(name, "_", " "))]
	if !is {
		return nil
	}
	p := objectOf(cl.fields["properties"])
	o, err := orderOf(status, p, leave)
	if err != nil {
		leave(err)
		return nil
	}
	o.Place, err = c.placeOf(workspace, cl, p)
	leave(err)
	return o
}

// orderOf reads an order. The error is about one that cannot count.
func orderOf(status engage.OrderStatus, p object, leave func(error)) (*engage.Order, error) {
	o := &engage.Order{Status: status}
	field, raw := p.first("order_id", "orderId")
	var err error
	switch o.ID, err = shortText(raw, "properties."+field); {
	case err != nil:
		return nil, err
	case o.ID == "":
		return nil, engage.Errorf(engage.Invalid, "properties.order_id", "is required: without it an order would count whenever it is told")
	}
	field, raw = p.first("currency")
	if o.Currency, err = textOf(raw, "properties."+field); err != nil {
		return nil, err
	}
	o.Currency = strings.ToUpper(o.Currency)
	if o.Currency != "" && !currencyCode.MatchString(o.Currency) {
		return nil, engage.Errorf(engage.Invalid, "properties.currency", "must be three letters of ISO 4217, such as EUR")
	}
	field, raw = p.first("coupon")
	o.Coupon, err = shortText(raw, "properties."+field)
	leave(err)
	o.Products = productsOf(p["products"], leave)

	field, raw = p.first("total", "revenue", "value")
	said := raw != nil
	if said {
		o.Value, err = amountOf(raw, "properties."+field)
		if err != nil {
			return nil, err
		}
	} else {
		for _, line := range o.Products {
			said = said || line.Price > 0
			o.Value += line.Price * max(line.Quantity, 1)
		}
	}
	switch {
	case o.Value > maxAmount:
		return nil, engage.Errorf(engage.TooLarge, "properties.products", "cost more than an order can")
	case status == engage.OrderRefunded && !said: // all of it
		o.Status = engage.OrderCancelled
	}
	return o, nil
}

// productsOf are the lines of an order. A line that cannot be is left out.
func productsOf(raw json.RawMessage, leave func(error)) []engage.OrderedItem {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var lines []json.RawMessage
	if err := json.Unmarshal(raw, &lines); err != nil {
		leave(engage.Errorf(engage.Invalid, "properties.products", "must be a list"))
		return nil
	}
	if len(lines) > maxProducts {
		leave(engage.Errorf(engage.TooLarge, "properties.products", "has %d lines, of which the first %d are kept", len(lines), maxProducts))
		lines = lines[:maxProducts]
	}
	out := make([]engage.OrderedItem, 0, len(lines))
	for i, line := range lines {
		item, err := productOf(line)
		if err != nil {
			leave(engage.At(fmt.Sprintf("properties.products[%d]", i), err))
			continue
		}
		out = append(out, item)
	}
	return out
}

func productOf(raw json.RawMessage) (item engage.OrderedItem, err error) {
	p, err := parseObject(raw)
	if err != nil {
		return item, err
	}
	for _, f := range []struct {
		into  *string
		names []string
	}{
		{&item.ID, []string{"product_id", "productId", "id", "sku"}},
		{&item.Name, []string{"name"}},
		{&item.Category, []string{"category"}},
		{&item.Brand, []string{"brand"}},
	} {
		name, raw := p.first(f.names...)
		if *f.into, err = shortText(raw, name); err != nil {
			return item, err
		}
	}
	for _, f := range []struct {
		into *float64
		name string
	}{{&item.Price, "price"}, {&item.Quantity, "quantity"}} {
		if _, raw := p.first(f.name); raw != nil {
			if *f.into, err = amountOf(raw, f.name); err != nil {
				return item, err
			}
		}
	}
	return item, nil
}

// shortText is a text that an order keeps.
func shortText(raw json.RawMessage, field string) (string, error) {
	s, err := textOf(raw, field)
	if err == nil && (len(s) > maxOrderText || clip(s, maxOrderText) != s) {
		return "", engage.Errorf(engage.TooLarge, field, "must have at most %d bytes and no control characters", maxOrderText)
	}
	return s, err
}

// amountOf is a number, which many write as text.
func amountOf(raw json.RawMessage, field string) (float64, error) {
	text, err := textOf(raw, field)
	if err != nil {
		return 0, engage.Errorf(engage.Invalid, field, "must be a number")
	}
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsNaN(n) || strings.ContainsAny(text, "xXpP_"):
		return 0, engage.Errorf(engage.Invalid, field, "must be a number")
	case n < 0 || n > maxAmount:
		return 0, engage.Errorf(engage.Invalid, field, "must be 0 to 1e12")
	}
	return n, nil
}

// placeOf is where an order was made: a place of the workspace, else empty.
func (c *Collector) placeOf(workspace string, cl *call, p object) (string, error) {
	for _, at := range []struct {
		in     string
		fields object
	}{{"properties.", p}, {"context.", object{"place": cl.context.member("place"), "store_id": cl.context.member("store_id")}}} {
		field, raw := at.fields.first("place", "store_id")
		if raw == nil {
			continue
		}
		id, err := textOf(raw, at.in+field)
		if err != nil {
			return "", err
		}
		if !c.o.Catalog.Place(workspace, id) {
			return "", engage.Errorf(engage.NotFound, at.in+field, "there is no such place")
		}
		return id, nil
	}
	return "", nil
}
