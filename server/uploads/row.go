package uploads

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

// Limits of a row.
const (
	MaxIdentifiers = 20
	maxTouch       = 64 << 10 // bytes of a touch as JSON
	maxText        = 200      // bytes of the name of an event, a topic, the id of an order
	maxProducts    = 500
	// ahead is how far in the future a time may stand: clocks differ.
	ahead = 24 * time.Hour
)

// firstYear is that of the oldest thing that a person may have done here. (What an
// attribute says may be older: somebody was born in 1700, or so the file says.)
const firstYear = 1970

// Row of a file: what it says of a person, or why it is refused.
type Row struct {
	Number   int // as a spreadsheet counts: the header is 1; of lines of JSON the line
	Touch    engage.Touch
	Item     *engage.ItemEdit // of a file of items; nil of others
	Occurred time.Time        // when it was so
	Err      *engage.Error

	// Of a file in which an order has several rows: the order's id, "" where it cannot be
	// told, and what else the row says.
	order string
	line  *line
}

// rowReader makes a Row of values.
type rowReader struct {
	kind     Kind
	now      time.Time // later times stand in the future
	asOf     time.Time // of people that say no time
	lines    bool      // an order has several rows
	declared map[string]rules.Type

	touch    engage.Touch
	ids      map[string][]string // by kind, as they stand
	others   []string            // identifiers of the target "identifiers"
	occurred time.Time
	consents map[string]*consentCells
	shared   consentCells
	attrs    int
	line     line
	item     engage.ItemEdit
}

// consentCells is what a row says of a consent.
type consentCells struct {
	column  string
	granted *bool
	version string
	at      time.Time
	source  string
}

func (r *rowReader) begin() {
	r.touch = engage.Touch{V: 1, Trusted: true, Quiet: true}
	r.ids, r.others, r.occurred, r.consents, r.shared, r.attrs = map[string][]string{}, nil, time.Time{}, nil, consentCells{}, 0
	r.item = engage.ItemEdit{}
	if r.kind == Events {
		r.touch.Event = &engage.TouchEvent{Type: "track"}
	}
	if r.line = (line{}); r.kind == Purchases {
		r.touch.Event, r.touch.Order = &engage.TouchEvent{Type: "track"}, &engage.Order{Status: engage.OrderCompleted}
	}
}

// put takes what stands in a column.
func (r *rowReader) put(column string, t target, v *value) *engage.Error {
	if t.field == ignored || t.field == "" {
		return nil
	}
	if r.kind == Items {
		return r.putItem(column, t, v)
	}
	if v.empty() {
		if v.of == member && v.json == nil && t.field == "attributes" {
			r.attribute(t.name, nil)
		}
		return nil
	}
	var wrong string
	switch t.field {
	case engage.IDUser, engage.IDEmail, engage.IDLoyalty, engage.IDAnonymous:
		var s string
		if s, wrong = v.plain(); wrong == "" {
			r.ids[t.field] = append(r.ids[t.field], s)
		}
	case "identifiers":
		var l []string
		if l, wrong = v.list(); wrong == "" {
			r.others = append(r.others, l...)
		}
	case "attributes":
		return r.putAttribute(column, t, v)
	case "properties":
		var x any
		if x, wrong = v.property(t.typ); wrong == "" {
			if r.touch.Event.Properties == nil {
				r.touch.Event.Properties = map[string]any{}
			}
			r.touch.Event.Properties[t.name] = x
		}
	case "preferences", "likes", "dislikes":
		wrong = r.preference(t, v)
	case "consents", "consent_text_version", "consent_at", "consent_source":
		wrong = r.consent(column, t, v)
	case "updated_at", "occurred_at":
		r.occurred, wrong = r.past(v)
	case "message_id":
		r.touch.ID, wrong = r.short(v)
	case "event":
		r.touch.Event.Name, wrong = r.short(v)
	case "event_type":
		r.touch.Event.Type, wrong = r.short(v)
		if !slices.Contains([]string{"track", "page", "screen"}, r.touch.Event.Type) {
			wrong = "must be track, page or screen"
		}
	case "line":
		wrong = r.line.put(r, t.name, v)
	default:
		wrong = r.order(t.field, v)
	}
	return at(column, wrong)
}

// at is the refusal of a row for what stands in a column; nil if nothing is wrong.
func at(column, wrong string) *engage.Error {
	if wrong == "" {
		return nil
	}
	return &engage.Error{Code: engage.Invalid, Field: clip(column), Msg: wrong}
}

func (r *rowReader) short(v *value) (string, string) {
	s, wrong := v.plain()
	if wrong == "" {
		wrong = text(s, maxText)
	}
	return s, wrong
}

// past is a time that is not in the future.
func (r *rowReader) past(v *value) (time.Time, string) {
	t, wrong := v.time()
	switch {
	case wrong != "":
	case t.Year() < firstYear:
		wrong = fmt.Sprintf("is before %d", firstYear)
	case t.After(r.now.Add(ahead)):
		wrong = "stands in the future"
	}
	return t, wrong
}

func (r *rowReader) attribute(name string, x any) {
	if r.touch.Traits == nil {
		r.touch.Traits = map[string]any{}
	}
	r.touch.Traits[name] = x
}

func (r *rowReader) putAttribute(column string, t target, v *value) *engage.Error {
	typ, known := t.typ, r.declared[t.name]
	switch {
	case typ == "":
		typ = known
	case known != "" && known != rules.Scalar && known != typ:
		e := at(column, fmt.Sprintf("is mapped as %s, but the attribute %q is %s here", typ, t.name, known))
		e.Code = engage.AttributeType
		return e
	}
	if typ == rules.Scalar {
		typ = ""
	}
	x, wrong := v.as(typ)
	if wrong != "" {
		e := at(column, wrong)
		e.Code = engage.AttributeType
		return e
	}
	if s, is := x.(string); is {
		if wrong := text(s, profile.MaxAttribute); wrong != "" {
			return tooLong(column, wrong)
		}
	}
	b, err := json.Marshal(x)
	if err != nil {
		return at(column, "cannot be kept: "+err.Error())
	}
	if len(t.name)+len(b) > profile.MaxAttribute {
		return tooLong(column, fmt.Sprintf("with its name has more than %d bytes", profile.MaxAttribute))
	}
	r.attribute(t.name, x)
	if r.attrs++; r.attrs > profile.MaxAttributes {
		return &engage.Error{Code: engage.TooLarge, Field: "row", Msg: fmt.Sprintf("has more than %d attributes", profile.MaxAttributes)}
	}
	return nil
}

func tooLong(column, wrong string) *engage.Error {
	e := at(column, wrong)
	if strings.HasPrefix(wrong, "is not UTF-8") {
		return e
	}
	e.Code = engage.TooLarge
	return e
}

func (r *rowReader) preference(t target, v *value) string {
	if r.touch.Preferences == nil {
		r.touch.Preferences = map[string]engage.Attitude{}
	}
	if t.field == "preferences" {
		s, wrong := v.plain()
		a := engage.Attitude(strings.ToLower(s))
		if a == "none" {
			a = ""
		}
		if wrong != "" || a != "" && a != engage.Like && a != engage.Dislike {
			return "must be like, dislike or none"
		}
		r.touch.Preferences[t.name] = a
		return ""
	}
	topics, wrong := v.list()
	a := engage.Like
	if t.field == "dislikes" {
		a = engage.Dislike
	}
	for _, topic := range topics {
		if wrong := text(topic, maxText); wrong != "" {
			return "has a topic that " + wrong
		}
		if before, there := r.touch.Preferences[topic]; there && before != a {
			return "has a topic that is liked and disliked in the same row"
		}
		r.touch.Preferences[topic] = a
	}
	if len(r.touch.Preferences) > profile.MaxPreferences {
		return fmt.Sprintf("makes it more than %d topics", profile.MaxPreferences)
	}
	return wrong
}

func (r *rowReader) consent(column string, t target, v *value) (wrong string) {
	c, part := &r.shared, strings.TrimPrefix(t.field, "consent_")
	if t.field == "consents" {
		if r.consents == nil {
			r.consents = map[string]*consentCells{}
		}
		if c = r.consents[t.name]; c == nil {
			c = &consentCells{column: column}
			r.consents[t.name] = c
		}
		part = t.part
	}
	switch part {
	case "granted":
		c.column = column
		var yes bool
		if yes, wrong = v.yes(); wrong == "" {
			c.granted = &yes
		}
	case "text_version":
		c.version, wrong = r.short(v)
	case "source":
		c.source, wrong = r.short(v)
	case "at":
		c.at, wrong = r.past(v)
	}
	return wrong
}

func (r *rowReader) order(field string, v *value) (wrong string) {
	o := r.touch.Order
	switch field {
	case "order_id":
		o.ID, wrong = r.short(v)
	case "value":
		o.Value, wrong = v.number()
		r.attrs = 1 // it was said
	case "status":
		var s string
		s, wrong = v.plain()
		o.Status = engage.OrderStatus(strings.ToLower(s))
		if eventOf(o.Status) == "" {
			wrong = "must be completed, updated, refunded or cancelled"
		}
	case "currency":
		var s string
		s, wrong = v.plain()
		o.Currency = strings.ToUpper(s)
		if len(o.Currency) != 3 || strings.Trim(o.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			wrong = "must be a currency's three letters (ISO 4217)"
		}
	case "place":
		o.Place, wrong = r.short(v)
	case "coupon":
		o.Coupon, wrong = r.short(v)
	case "products":
		o.Products, wrong = products(v)
	}
	return wrong
}

// products of an order; names as the Segment specification has them are known, too.
func products(v *value) ([]engage.OrderedItem, string) {
	const must = "must be a JSON list of objects with id, name, category, brand, price, quantity"
	all, is := v.json.([]any)
	if !is {
		text, wrong := v.plain()
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if wrong != "" || d.Decode(&all) != nil || d.More() {
			return nil, must
		}
	}
	if len(all) > maxProducts {
		return nil, fmt.Sprintf("has more than %d products", maxProducts)
	}
	out := make([]engage.OrderedItem, 0, len(all))
	for _, x := range all {
		m, is := x.(map[string]any)
		if !is {
			return nil, must
		}
		var p engage.OrderedItem
		for _, f := range []struct {
			into  *string
			names []string
		}{{&p.ID, []string{"id", "product_id", "sku"}}, {&p.Name, []string{"name"}}, {&p.Category, []string{"category"}}, {&p.Brand, []string{"brand"}}} {
			for _, name := range f.names {
				v := value{json: m[name], of: member}
				if *f.into != "" || v.empty() {
					continue
				}
				s, wrong := v.plain()
				if wrong == "" {
					wrong = text(s, maxText)
				}
				if wrong != "" {
					return nil, "has a product whose " + name + " " + wrong
				}
				*f.into = s
			}
		}
		for _, f := range []struct {
			into *float64
			name string
		}{{&p.Price, "price"}, {&p.Quantity, "quantity"}} {
			v := value{json: m[f.name], of: member}
			if v.empty() {
				continue
			}
			n, wrong := v.number()
			if wrong == "" && n < 0 {
				wrong = "must not be negative"
			}
			if wrong != "" {
				return nil, "has a product whose " + f.name + " " + wrong
			}
			*f.into = n
		}
		out = append(out, p)
	}
	return out, ""
}

// eventOf is the event of the Segment specification that tells a status; "" for none.
func eventOf(s engage.OrderStatus) string {
	switch s {
	case engage.OrderCompleted:
		return "Order Completed"
	case engage.OrderUpdated:
		return "Order Updated"
	case engage.OrderRefunded:
		return "Order Refunded"
	case engage.OrderCancelled:
		return "Order Cancelled"
	}
	return ""
}

// end makes the row of what was put.
func (r *rowReader) end(row *Row) *engage.Error {
	if r.kind == Items {
		return r.endItem(row)
	}
	for _, step := range []func() *engage.Error{r.identify, r.agree, r.what} {
		if err := step(); err != nil {
			return err
		}
	}
	if r.lines { // sealed with the others of its order
		row.Touch, row.Occurred = r.touch, r.occurred
		return tooMuch(r.touch.Event.Properties)
	}
	return r.seal(row, r.touch, r.occurred)
}

// tooMuch refuses what would not find room in a touch.
func tooMuch(properties map[string]any) *engage.Error {
	if len(properties) == 0 {
		return nil
	}
	text, err := json.Marshal(properties)
	if err != nil {
		return at("row", "cannot be kept: "+err.Error())
	}
	if len(text) > maxTouch {
		return &engage.Error{Code: engage.TooLarge, Field: "row", Msg: fmt.Sprintf("says more than %d bytes", maxTouch)}
	}
	return nil
}

// seal makes the row's touch, with its id, of what was said, and when; the zero time is
// that of people that say none.
func (r *rowReader) seal(row *Row, touch engage.Touch, occurred time.Time) *engage.Error {
	row.Occurred = occurred
	id := struct {
		Kind     Kind
		Touch    engage.Touch
		Occurred int64
	}{r.kind, touch, 0}
	if occurred.IsZero() {
		row.Occurred = r.asOf
	} else {
		id.Occurred = occurred.UnixNano()
		if occurred.After(r.now) { // a clock that is ahead makes nothing newer than now
			row.Occurred = r.now
		}
	}
	text, err := json.Marshal(&id) // maps in order of their keys
	if err != nil {
		return at("row", "cannot be kept: "+err.Error())
	}
	if len(text) > maxTouch {
		return &engage.Error{Code: engage.TooLarge, Field: "row", Msg: fmt.Sprintf("says more than %d bytes", maxTouch)}
	}
	if touch.ID == "" {
		sum := sha256.Sum256(text)
		touch.ID = "upload-" + hex.EncodeToString(sum[:16])
	}
	row.Touch = touch
	return nil
}

// identify puts the identifiers in the order of what they are worth: a user id first.
func (r *rowReader) identify() *engage.Error {
	var out []string
	add := func(kind, text string) *engage.Error {
		id, err := engage.Identifier(kind, text)
		if err != nil {
			e, _ := engage.At(kind, err).(*engage.Error) //nolint:errorlint // At makes one
			return &engage.Error{Code: e.Code, Field: kind, Msg: e.Msg}
		}
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
		return nil
	}
	for _, other := range r.others {
		kind, text, _ := strings.Cut(other, ":")
		if !slices.Contains(identifierFields[:4], kind) {
			return at("identifiers", `must be "<kind>:<value>", the kind user_id, email, loyalty or anonymous_id`)
		}
		r.ids[kind] = append(r.ids[kind], text)
	}
	for _, kind := range identifierFields[:4] {
		for _, text := range r.ids[kind] {
			if err := add(kind, text); err != nil {
				return err
			}
		}
	}
	switch {
	case len(out) == 0 && !r.lines: // another row of the order may say
		return at("identifiers", "are missing: a row needs a user_id, email, loyalty or anonymous_id")
	case len(out) > MaxIdentifiers:
		return &engage.Error{Code: engage.TooLarge, Field: "identifiers", Msg: fmt.Sprintf("are %d, at most %d in a row", len(out), MaxIdentifiers)}
	}
	r.touch.Identifiers = out
	return nil
}

// agree takes the consents, each only with what makes it one.
func (r *rowReader) agree() *engage.Error {
	for purpose, c := range r.consents {
		if c.granted == nil {
			continue // no answer
		}
		given := engage.Consent{Granted: *c.granted, TextVersion: c.version, At: c.at, Source: c.source}
		if given.TextVersion == "" {
			given.TextVersion = r.shared.version
		}
		if given.At.IsZero() {
			given.At = r.shared.at
		}
		if given.Source == "" {
			given.Source = r.shared.source
		}
		if given.TextVersion == "" || given.At.IsZero() || given.Source == "" {
			return at(c.column, "is a consent without the version of its text, its time and its source (consent_text_version, consent_at, consent_source)")
		}
		if r.touch.Consents == nil {
			r.touch.Consents = map[engage.Purpose]engage.Consent{}
		}
		r.touch.Consents[engage.Purpose(purpose)] = given
	}
	return nil
}

// what checks that the row says what its kind needs.
func (r *rowReader) what() *engage.Error {
	missing := func(field string) *engage.Error { return at(field, "is missing") }
	switch {
	case r.kind == People:
		return nil
	case r.lines && r.touch.Order.ID == "":
		return missing("order_id")
	case r.lines:
		return nil // the rest is looked at together with the order's other rows
	case r.occurred.IsZero():
		return missing("occurred_at")
	case r.kind == Events && r.touch.Event.Name == "":
		return missing("event")
	case r.kind == Events:
		return nil
	case r.touch.Order.ID == "":
		return missing("order_id")
	case r.attrs == 0 && r.touch.Order.Status != engage.OrderCancelled:
		return missing("value")
	case r.touch.Order.Value < 0:
		return at("value", "must not be negative: a refund is a row of its own with the status refunded")
	case r.touch.Order.Value > engage.MaxMoney:
		return at("value", "must be at most 1e12")
	}
	r.touch.Event.Name = eventOf(r.touch.Order.Status)
	return nil
}
