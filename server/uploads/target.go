package uploads

import (
	"iter"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/profile"
	"github.com/footfall-engage/footfall/server/rules"
)

// Kind of what the rows of a file are.
type Kind string

// The kinds.
const (
	People    Kind = "people"
	Events    Kind = "events"
	Purchases Kind = "purchases"
	Items     Kind = "items" // of a catalogue
)

// Kinds are all kinds.
func Kinds() []Kind { return []Kind{People, Events, Purchases, Items} }

// Mapping says what the columns hold: target by column. See the package's documentation.
type Mapping map[string]string

// maxMapping bounds the columns that a mapping names.
const maxMapping = 1000

// target is what a column holds.
type target struct {
	field string     // "email", "attributes", "consents", ...; "" and ignored: nothing
	name  string     // of an attribute, a property, a topic, a purpose
	part  string     // of a consent: "granted", "text_version", "at", "source"
	typ   rules.Type // "": none was said
}

const ignored = "-"

// Fields that stand alone, by kind of file.
var fields = map[Kind][]string{
	People: {"likes", "dislikes", "consent_text_version", "consent_at", "consent_source", "updated_at"},
	Events: {"occurred_at", "message_id", "event", "event_type"},
	Items:  {"id", "deleted"},
	Purchases: {
		"occurred_at", "message_id", "order_id", "value", "status", "currency", "place", "coupon", "products",
	},
}

var (
	identifierFields = []string{engage.IDUser, engage.IDEmail, engage.IDLoyalty, engage.IDAnonymous, "identifiers"}
	purposes         = []engage.Purpose{
		engage.ConsentMarketing, engage.ConsentLocationForeground, engage.ConsentLocationBackground,
		engage.ConsentLocationPrecise, engage.ConsentProfiling,
	}
	types        = []rules.Type{rules.String, rules.Number, rules.Bool, rules.Time, rules.Strings}
	consentParts = []string{"granted", "text_version", "at", "source"}
)

// String is the target as a mapping has it.
func (t target) String() string {
	s := t.field
	if t.name != "" {
		s += "." + t.name
	}
	if t.part != "" && t.part != "granted" {
		s += "." + t.part
	}
	if t.typ != "" {
		s += ":" + string(t.typ)
	}
	return s
}

// parseTarget reads a target of a kind of file. The error says what it must be.
func parseTarget(kind Kind, text string) (target, *engage.Error) {
	if text == ignored || text == "" {
		return target{field: ignored}, nil
	}
	if kind != Items && slices.Contains(identifierFields, text) || slices.Contains(fields[kind], text) {
		return target{field: text}, nil
	}
	root, name, dotted := strings.Cut(text, ".")
	t := target{field: root, name: name}
	switch {
	case !dotted || name == "":
	case root == "attributes" && kind == People, root == "properties" && (kind == Events || kind == Purchases), root == "fields" && kind == Items:
		if i := strings.LastIndexByte(name, ':'); i >= 0 {
			t.name, t.typ = name[:i], rules.Type(name[i+1:])
			if !slices.Contains(types, t.typ) {
				return t, engage.Errorf(engage.Invalid, "", "has the type %q: must be string, number, bool, time or strings", clip(string(t.typ)))
			}
		}
		if t.name == "" || len(t.name) > profile.MaxAttribute/2 || !utf8.ValidString(t.name) {
			return t, engage.Errorf(engage.Invalid, "", "must have a name of at most %d bytes behind the point", profile.MaxAttribute/2)
		}
		if root == "fields" && t.name != fieldOf(t.name) {
			return t, engage.Errorf(engage.Invalid, "", "names the field %q: it has 1 to 60 of a-z, A-Z, 0-9 and '_'", clip(t.name))
		}
		if root == "attributes" && t.name != attributeName(t.name) {
			return t, engage.Errorf(engage.Invalid, "", "names the attribute %q: it has 1 to 100 of a-z, A-Z, 0-9, '_', '-'", clip(t.name))
		}
		return t, nil
	case root == "preferences" && kind == People:
		return t, nil
	case root == "line" && kind == Purchases && slices.Contains(lineParts, name):
		return t, nil
	case root == "consents" && kind == People:
		purpose, part, more := strings.Cut(name, ".")
		t.name, t.part = purpose, part
		if !more {
			t.part = "granted"
		}
		if !slices.Contains(purposes, engage.Purpose(purpose)) {
			return t, engage.Errorf(engage.Invalid, "", "has the purpose %q: must be one of %v", clip(purpose), purposes)
		}
		if slices.Contains(consentParts, t.part) {
			return t, nil
		}
	}
	return t, engage.Errorf(engage.Invalid, "", "is %q, which a file of %s does not have; it has %s", clip(text), kind, strings.Join(targetsOf(kind), ", "))
}

// targetsOf are the targets of a kind of file, for people to read.
func targetsOf(kind Kind) []string {
	if kind == Items {
		return append(slices.Clone(fields[kind]), "fields.<name>[:<type>]")
	}
	out := append(slices.Clone(identifierFields), fields[kind]...)
	if kind == People {
		return append(out, "attributes.<name>[:<type>]", "preferences.<topic>", "consents.<purpose>[.text_version|.at|.source]")
	}
	out = append(out, "properties.<name>[:<type>]")
	if kind == Purchases {
		out = append(out, "line.<"+strings.Join(lineParts, "|")+">")
	}
	return out
}

// parse reads a mapping. The error has the field "mapping.<column>".
func (m Mapping) parse(kind Kind) (map[string]target, error) {
	if len(m) > maxMapping {
		return nil, engage.Errorf(engage.TooLarge, "mapping", "at most %d columns, got %d", maxMapping, len(m))
	}
	out := make(map[string]target, len(m))
	for column, text := range m {
		t, err := parseTarget(kind, text)
		if err != nil {
			return nil, engage.At("mapping."+clip(column), err)
		}
		out[column] = t
	}
	return out, nil
}

// Names by which columns are known, in lower case and with _ between words.
var names = map[Kind]map[string]string{
	People: {
		"updated_at": "updated_at", "last_updated": "updated_at", "modified_at": "updated_at",
		"likes": "likes", "dislikes": "dislikes", "preferences": "likes",
		"consent_text_version": "consent_text_version", "consent_version": "consent_text_version",
		"consent_at": "consent_at", "consent_date": "consent_at", "consented_at": "consent_at", "consent_source": "consent_source",
		"marketing_consent": "consents.marketing", "consent_marketing": "consents.marketing", "profiling_consent": "consents.profiling",
	},
	Events: {
		"event": "event", "event_name": "event", "name": "event", "event_type": "event_type", "type": "event_type",
	},
	Purchases: {
		"order_id": "order_id", "order": "order_id", "order_number": "order_id", "transaction_id": "order_id", "receipt": "order_id",
		"value": "value", "total": "value", "amount": "value", "revenue": "value", "order_total": "value", "grand_total": "value",
		"currency": "currency", "place": "place", "store": "place", "store_id": "place", "place_id": "place", "coupon": "coupon",
		"status": "status", "products": "products", "items": "products",
	},
}

var identifierNames = map[string]string{
	"user_id": "user_id", "userid": "user_id", "customer_id": "user_id", "customer_number": "user_id", "customer_no": "user_id", "external_id": "user_id",
	"email": "email", "e-mail": "email", "e_mail": "email", "email_address": "email", "mail": "email",
	"loyalty": "loyalty", "loyalty_number": "loyalty", "loyalty_id": "loyalty", "loyalty_card": "loyalty", "card_number": "loyalty",
	"anonymous_id": "anonymous_id", "anonymousid": "anonymous_id", "identifiers": "identifiers",
}

var timeNames = map[string]string{
	"occurred_at": "occurred_at", "timestamp": "occurred_at", "time": "occurred_at", "date": "occurred_at", "at": "occurred_at", "created_at": "occurred_at",
	"ordered_at": "occurred_at", "order_date": "occurred_at", "purchased_at": "occurred_at", "event_time": "occurred_at",
	"message_id": "message_id", "messageid": "message_id", "event_id": "message_id",
}

// lineNames are those of columns of an order's lines: what they hold, behind "line.".
var lineNames = map[string]string{
	"product_id": "id", "sku": "id", "article": "id", "article_no": "id", "article_number": "id", "item_id": "id", "item_no": "id", "item_number": "id",
	"ean": "id", "gtin": "id", "plu": "id",
	"product_name": "name", "product": "name", "item": "name", "item_name": "name", "article_name": "name",
	"category": "category", "product_category": "category", "brand": "brand",
	"quantity": "quantity", "qty": "quantity", "pieces": "quantity",
	"price": "price", "unit_price": "price", "item_price": "price",
	"line_total": "value", "line_value": "value", "line_amount": "value", "item_total": "value",
}

// byLine reports whether a mapping is that of a file in which an order has several rows.
func byLine(all iter.Seq[target]) (bool, error) {
	lines, products := false, false
	for t := range all {
		lines = lines || t.field == "line"
		products = products || t.field == "products"
	}
	if lines && products {
		return false, engage.Errorf(engage.Invalid, "mapping", "has products and line.*: a row has all products of an order, or one")
	}
	return lines, nil
}

// guess is what a column holds, by its name, and of items by the declared fields.
func guess(kind Kind, column string, declared map[string]rules.Type) target {
	if kind == Items {
		return guessItem(column, false, declared)
	}
	name := strings.Join(strings.Fields(strings.ToLower(column)), "_")
	text := identifierNames[name]
	if text == "" {
		text = names[kind][name]
	}
	if text == "" && kind != People {
		text = timeNames[name]
	}
	if text == "" {
		root, rest, dotted := strings.Cut(column, ".")
		switch root {
		case "traits", "context.traits":
			root = "attributes"
		}
		if dotted {
			text = root + "." + rest
		}
	}
	if text != "" {
		if t, err := parseTarget(kind, text); err == nil && (t.field != "line" && (t.field != "attributes" && t.field != "properties" || t.typ == "")) {
			return t
		}
	}
	root, name := "attributes", attributeName(column)
	if kind != People {
		root, name = "properties", strings.TrimSpace(column)
	}
	if name == "" || len(column) > profile.MaxAttribute/2 {
		return target{field: ignored}
	}
	return target{field: root, name: name}
}

// attributeName is a column's name as an attribute's, which rules and templates can write:
// letters without their accents, and _ for whatever else it has. Empty: there is nothing
// left.
func attributeName(column string) string {
	var b strings.Builder
	gap := false
	for _, r := range norm.NFD.String(column) {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			gap = false
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r): // an accent
		default:
			gap = true
		}
	}
	if b.Len() > maxAttributeName {
		return ""
	}
	return b.String()
}

// maxAttributeName is the longest, in bytes.
const maxAttributeName = 100

// clip shortens what a file has before it is shown.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
