package engage

import (
	"encoding/json"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// What the log says of items of catalogues. A decision whose texts name items asks for
// them (KindItemsAsk, put out to "items"); what app read of them comes back as a record of
// the person's partition, so that a replay sees the same items.
const (
	KindItemsAsk Kind = "items_ask" // JSON ItemsAsk; at the profile's key
	KindItems    Kind = "items"     // JSON Items; at the profile's key
)

// Reasons of the gate "items".
const (
	ReasonItemsWaits       Reason = "items_waits"       // for items that the texts name; at most 2 s
	ReasonItemsUnavailable Reason = "items_unavailable" // and they did not come
	ReasonItemsTooMany     Reason = "items_too_many"    // too many moments of the person wait already
)

// Limits of catalogues and items, all of them.
const (
	MaxCatalogues  = 50        // of a workspace
	MaxItems       = 1_000_000 // of a catalogue
	MaxItemFields  = 100       // of a catalogue's items
	MaxItem        = 8 << 10   // bytes of an item's fields as JSON
	MaxItemStrings = 100       // of a list
	MaxMomentItems = 10        // that the texts of one moment's campaign look at
	MaxItemEdits   = 500       // of one call of the items service
	maxFieldName   = 60        // bytes
	maxCatalogueID = 50        // bytes
)

// FieldType is what a field of an item holds.
type FieldType string

// The types. Texts see money as a number, for the filter money with item.currency, and a
// time as its text, for the filter date.
const (
	FieldString  FieldType = "string"
	FieldNumber  FieldType = "number"
	FieldBool    FieldType = "bool"
	FieldTime    FieldType = "time"    // RFC 3339
	FieldMoney   FieldType = "money"   // a number, 0 to 1e12, in the catalogue's currency or the item's field "currency"
	FieldURL     FieldType = "url"     // of any scheme: "shop://p/1", "https://…"
	FieldImage   FieldType = "image"   // "https://…"
	FieldStrings FieldType = "strings" // a list of texts
)

// FieldTypes are all of them.
var FieldTypes = []FieldType{FieldString, FieldNumber, FieldBool, FieldTime, FieldMoney, FieldURL, FieldImage, FieldStrings}

// Catalogue is a set of items with typed fields, such as the products of a shop. It is a
// document of the configuration; its items are not (package items).
type Catalogue struct {
	ID        string `json:"id"` // a-z, 0-9, '_', beginning with a letter: texts name it
	Workspace string `json:"workspace,omitempty"`
	Version   int64  `json:"version"`
	Name      string `json:"name,omitempty"`
	Currency  string `json:"currency,omitempty"` // ISO 4217, upper case, of money; empty: the items say it themselves, or nobody does
	// Fields are the types of what items have, beside their id. Of a field that is not
	// among them the first value says the type (Learn), unless Closed.
	Fields    map[string]FieldType `json:"fields,omitempty"`
	Closed    bool                 `json:"closed,omitempty"` // items have no other fields
	UpdatedAt time.Time            `json:"updated_at"`
}

var (
	catalogueID = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	fieldName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// ValidCatalogueID reports whether a text may be a catalogue's id.
func ValidCatalogueID(id string) bool {
	return len(id) <= maxCatalogueID && catalogueID.MatchString(id)
}

// checkFieldName says what is wrong with a field's name; empty: nothing is.
func checkFieldName(name string) string {
	switch {
	case len(name) > maxFieldName || !fieldName.MatchString(name):
		return "must be named by 1 to 60 of a-z, A-Z, 0-9 and '_', beginning with no digit"
	case name == "id":
		return "is what the item is called by, and no field"
	}
	return ""
}

// Validate checks the catalogue.
func (c *Catalogue) Validate() error {
	switch {
	case !ValidCatalogueID(c.ID):
		return Errorf(Invalid, "id", "must be 1 to %d of a-z, 0-9 and '_', beginning with a letter: texts name it", maxCatalogueID)
	case len(c.Name) > 200:
		return Errorf(TooLarge, "name", "at most 200 bytes, has %d", len(c.Name))
	case c.Currency != "" && !ValidCurrency(c.Currency):
		return Errorf(Invalid, "currency", `must be of three upper-case letters, like "EUR", is %q`, c.Currency)
	case len(c.Fields) > MaxItemFields:
		return Errorf(TooLarge, "fields", "at most %d, got %d", MaxItemFields, len(c.Fields))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		if wrong := checkFieldName(name); wrong != "" {
			return Errorf(Invalid, "fields."+name, "%s", wrong)
		}
		if t := c.Fields[name]; !slices.Contains(FieldTypes, t) {
			return Errorf(Invalid, "fields."+name, "must be one of %q, is %q", FieldTypes, string(t))
		}
	}
	return nil
}

// Item of a catalogue.
type Item struct {
	Catalogue string          `json:"catalogue"`
	ID        string          `json:"id"`
	Version   int64           `json:"version"`
	Fields    json.RawMessage `json:"fields"` // an object, as Catalogue.Fit made it
	UpdatedAt time.Time       `json:"updated_at"`
}

// AnyItemVersion as ItemEdit.Expected: whatever is there.
const AnyItemVersion int64 = -1

// ItemEdit is a change of an item.
type ItemEdit struct {
	ID     string
	Fields map[string]any // as JSON has them; they replace all that the item had
	Delete bool           // instead
	// Expected is the version that must be there, 0 for none, or AnyItemVersion.
	Expected int64
}

// ItemOutcome is what became of an edit.
type ItemOutcome struct {
	Errors  []*Error // why it was refused, in order of the fields; none: it was taken
	Version int64    // of the item now; 0: it is not there
	Before  int64    // that it had; 0: it was not there
	Changed bool     // false: it was so already, or a later edit of the same item counts
}

// ItemListing says which items are listed.
type ItemListing struct {
	Prefix string         // of their ids
	Where  map[string]any // fields that have these values: text, number, bool; of a list, that it has the text
	Cursor string
	Limit  int
}

// ItemRef names an item of a workspace.
type ItemRef struct {
	Catalogue string `json:"catalogue"`
	ID        string `json:"id"`
}

// ItemsAsk is what a decision wants to know.
type ItemsAsk struct {
	V    int       `json:"v"` // 1
	Refs []ItemRef `json:"refs"`
}

// Items is what is known of the items that were asked for, each of them.
type Items struct {
	V     int         `json:"v"` // 1
	Items []KnownItem `json:"items"`
}

// KnownItem is an item as it was when it was read.
type KnownItem struct {
	ItemRef

	Version int64           `json:"version,omitempty"` // 0: there was none
	Fields  json.RawMessage `json:"fields,omitempty"`
}

// CampaignItem says which item a campaign is about: its texts have it as "item". Of
// Property and Attribute there is one.
type CampaignItem struct {
	Catalogue string `json:"catalogue"`
	Property  string `json:"property,omitempty"`  // of the trigger: "product_id", "product.id"
	Attribute string `json:"attribute,omitempty"` // of the person: "last_viewed_product"
}

func (c *CampaignItem) validate(t TriggerType) error {
	switch {
	case c == nil:
		return nil
	case !ValidCatalogueID(c.Catalogue):
		return Errorf(Invalid, "catalogue", "is no id of a catalogue")
	case (c.Property == "") == (c.Attribute == ""):
		return Errorf(Invalid, "property", "either the trigger's property or the person's attribute says which item it is")
	case len(c.Property) > MaxName || len(c.Attribute) > MaxName:
		return Errorf(TooLarge, "property", "at most %d bytes", MaxName)
	case c.Property != "" && !t.HasProperties():
		return Errorf(Invalid, "property", "a trigger of type %q has no properties: name an attribute of the person", t)
	}
	return nil
}

// Fit checks what somebody says of an item, and gives it as it is kept, an object; values
// that are null are left out. Learned are the types of fields that the catalogue does not
// have yet. Wrong has an error for each field that cannot be, in order of their names; the
// item is then refused.
func (c *Catalogue) Fit(fields map[string]any) (fit json.RawMessage, learned map[string]FieldType, wrong []*Error) {
	kept := make(map[string]any, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		v := fields[name]
		at := "fields." + clipName(name)
		if text := checkFieldName(name); text != "" {
			wrong = append(wrong, Errorf(Invalid, at, "%s", text))
			continue
		}
		if v == nil {
			continue
		}
		t, known := c.Fields[name]
		switch {
		case known:
		case c.Closed:
			wrong = append(wrong, Errorf(Invalid, at, "is no field of the catalogue"))
			continue
		case len(c.Fields)+len(learned) >= MaxItemFields:
			wrong = append(wrong, Errorf(TooLarge, at, "the catalogue has %d fields already", MaxItemFields))
			continue
		default:
			if t = fieldTypeOf(v); t == "" {
				wrong = append(wrong, Errorf(Invalid, at, "must be a text, a number, true or false, or a list of texts"))
				continue
			}
		}
		x, why := t.fit(v)
		if why != "" {
			wrong = append(wrong, Errorf(Invalid, at, "%s", why))
			continue
		}
		if !known {
			if learned == nil {
				learned = map[string]FieldType{}
			}
			learned[name] = t
		}
		kept[name] = x
	}
	if len(wrong) > 0 {
		return nil, nil, wrong
	}
	fit, err := json.Marshal(kept)
	switch {
	case err != nil:
		wrong = append(wrong, Errorf(Invalid, "fields", "cannot be kept: %s", err))
	case len(fit) > MaxItem:
		wrong = append(wrong, Errorf(TooLarge, "fields", "at most %d bytes as JSON, have %d", MaxItem, len(fit)))
	}
	if len(wrong) > 0 {
		return nil, nil, wrong
	}
	return fit, learned, nil
}

func clipName(name string) string {
	if len(name) <= maxFieldName {
		return name
	}
	return strings.ToValidUTF8(name[:maxFieldName], "") + "…"
}

// fieldTypeOf is the type that a first value teaches; empty: none can be.
func fieldTypeOf(v any) FieldType {
	switch v := v.(type) {
	case string:
		if _, err := time.Parse(time.RFC3339, v); err == nil {
			return FieldTime
		}
		return FieldString
	case float64, json.Number:
		return FieldNumber
	case bool:
		return FieldBool
	case []any, []string:
		return FieldStrings
	default:
		return ""
	}
}

// fit is a value as it is kept, or what it must be.
func (t FieldType) fit(v any) (any, string) {
	switch t {
	case FieldNumber, FieldMoney:
		return t.fitNumber(v)
	case FieldBool:
		if b, is := v.(bool); is {
			return b, ""
		}
		return nil, "must be true or false"
	case FieldStrings:
		return fitStrings(v)
	}
	s, is := v.(string)
	if !is {
		return nil, t.must()
	}
	if !utf8.ValidString(s) {
		return nil, "is not UTF-8"
	}
	switch t {
	case FieldTime:
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return nil, t.must()
		}
		return at.UTC().Format(time.RFC3339Nano), ""
	case FieldURL, FieldImage:
		if s == "" {
			return s, ""
		}
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Scheme == "" || strings.ContainsAny(s, " \t\r\n"):
			return nil, t.must()
		case t == FieldImage && (u.Scheme != "https" && u.Scheme != "http" || u.Host == ""):
			return nil, t.must()
		}
	}
	return s, ""
}

// must is what a value of a type that is written as a text must be.
func (t FieldType) must() string {
	switch t {
	case FieldTime:
		return "must be a time (2026-03-02T09:30:00Z)"
	case FieldURL:
		return `must be a URL with its scheme, such as "https://…"`
	case FieldImage:
		return `must be the URL of an image, "https://…"`
	default:
		return "must be a text"
	}
}

func (t FieldType) fitNumber(v any) (any, string) {
	n, is := v.(json.Number)
	x, err := 0.0, error(nil)
	if is {
		x, err = n.Float64()
	} else {
		x, is = v.(float64)
	}
	switch {
	case !is || err != nil || math.IsNaN(x) || math.IsInf(x, 0):
		return nil, "must be a number"
	case t == FieldMoney && !(x >= 0 && x <= MaxMoney):
		return nil, "must be an amount of 0 to 1e12"
	}
	return x, ""
}

func fitStrings(v any) (any, string) {
	const must = "must be a list of texts"
	out, is := v.([]string)
	if !is {
		all, is := v.([]any)
		if !is {
			return nil, must
		}
		out = make([]string, 0, len(all))
		for _, x := range all {
			s, is := x.(string)
			if !is {
				return nil, must
			}
			out = append(out, s)
		}
	}
	if len(out) > MaxItemStrings {
		return nil, "has more than 100 texts"
	}
	for _, s := range out {
		if !utf8.ValidString(s) {
			return nil, "is not UTF-8"
		}
	}
	return out, ""
}
