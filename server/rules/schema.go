package rules

import (
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// Type of a field.
type Type string

// The types.
const (
	String  Type = "string"
	Number  Type = "number"
	Bool    Type = "bool"
	Time    Type = "time"    // a time.Time, or RFC 3339 text
	Strings Type = "strings" // a list of strings, a set: order and repetition mean nothing
	Scalar  Type = "scalar"  // a string, number or bool: known only when it comes
)

// Valid reports whether t is one of the types that attributes have.
func (t Type) Valid() bool { return t.Ops() != nil && t != Version && t != TimeOfDay }

// Ops are the operators that a field of the type allows, nil for an unknown type.
func (t Type) Ops() []Op {
	switch t {
	case String:
		return []Op{Eq, Ne, In, NotIn, Prefix, Exists, Absent}
	case Number:
		return []Op{Eq, Ne, Lt, Le, Gt, Ge, Between, In, NotIn, Exists, Absent}
	case Bool:
		return []Op{Eq, Ne, Exists, Absent}
	case Time:
		return []Op{Lt, Le, Gt, Ge, Between, WithinLast, NotWithinLast, Exists, Absent}
	case Strings:
		return []Op{Contains, NotContains, Exists, Absent}
	case Version:
		return []Op{Eq, Ne, Lt, Le, Gt, Ge, Between, Exists, Absent}
	case TimeOfDay:
		return []Op{Lt, Le, Gt, Ge, Between, Exists, Absent}
	case Scalar:
		return []Op{Eq, Ne, Lt, Le, Gt, Ge, Between, In, NotIn, Prefix, Exists, Absent}
	default:
		return nil
	}
}

// Field is what a rule may ask about, described for documents and the console.
type Field struct {
	// Path is the name in a rule, "weather.temperature_c". A path with a "*" stands for
	// every path that has something in its place ("trigger.properties.*",
	// "visited.*.visits").
	Path        string   `json:"path"`
	Type        Type     `json:"type"`
	Description string   `json:"description"`
	Values      []string `json:"values,omitempty"` // the only strings that it can have; nil means any
	// Min and Max bound the numbers that it can have; both 0 means any.
	Min float64 `json:"min,omitempty"`
	Max float64 `json:"max,omitempty"`
	Ops []Op    `json:"ops"` // what its type allows
}

// Schema says which fields there are. It is immutable and safe for concurrent use.
type Schema struct {
	fields   []Field // in order of declaration
	byPath   map[string]int
	families []int             // indexes of the fields whose path has a "*"
	hints    map[string]string // unknown path, or prefix ending in ".", -> where it belongs
}

// NewSchema makes a schema; Field.Ops is filled in. A path declared twice keeps
// its last declaration.
func NewSchema(fields ...Field) *Schema {
	s := &Schema{byPath: make(map[string]int, len(fields)), hints: map[string]string{}}
	for _, f := range fields {
		f.Ops = f.Type.Ops()
		i, again := s.byPath[f.Path]
		if !again {
			i = len(s.fields)
			s.fields = append(s.fields, f)
			s.byPath[f.Path] = i
			if strings.Contains(f.Path, "*") {
				s.families = append(s.families, i)
			}
		}
		s.fields[i] = f
	}
	return s
}

// Field looks a path up. The Path of a family's member is the path asked for.
func (s *Schema) Field(path string) (Field, bool) {
	if i, ok := s.byPath[path]; ok && !strings.Contains(path, "*") {
		return s.fields[i], true
	}
	for _, i := range s.families {
		prefix, suffix, _ := strings.Cut(s.fields[i].Path, "*")
		if rest, ok := strings.CutPrefix(path, prefix); ok && strings.HasSuffix(rest, suffix) &&
			len(rest) > len(suffix) && len(rest) <= len(suffix)+100 {
			f := s.fields[i]
			f.Path = path
			return f, true
		}
	}
	return Field{}, false
}

// Fields lists every field in order of declaration. The caller may keep it, but
// must not change the slices within.
func (s *Schema) Fields() []Field { return slices.Clone(s.fields) }

// suggest says what somebody who wrote an unknown path may have meant; "" if
// nothing comes close.
func (s *Schema) suggest(path string) string {
	for known, where := range s.hints { // prefixes are disjoint: at most one fits
		if path == known || strings.HasSuffix(known, ".") && strings.HasPrefix(path, known) {
			return where
		}
	}
	for _, prefix := range []string{"person.", "profile."} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			if _, ok := s.Field(rest); ok {
				return "did you mean " + quote(rest) + "?"
			}
		}
	}
	type near struct {
		path string
		dist int
	}
	var found []near
	for _, f := range s.fields {
		limit := max(2, len(f.Path)/4)
		d := distance(path, f.Path, limit)
		// Somebody who leaves out where an attribute lives means the same name.
		if _, last, ok := strings.Cut(f.Path, "."); ok {
			short := max(1, len(last)/4)
			if e := distance(path, last, short); e <= short {
				d = min(d, e)
			}
		}
		if d <= limit {
			found = append(found, near{f.Path, d})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.dist - b.dist })
	if len(found) == 0 {
		return ""
	}
	names := make([]string, 0, 3)
	for _, n := range found[:min(3, len(found))] {
		if n.dist > found[0].dist+1 {
			break
		}
		names = append(names, quote(n.path))
	}
	return "did you mean " + strings.Join(names, " or ") + "?"
}

// distance is the edit distance of a and b in bytes, or more than limit when it
// is more than limit.
func distance(a, b string, limit int) int {
	if len(a) > len(b)+limit || len(b) > len(a)+limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// PersonSchema is what an audience may ask about a person: the declared
// attributes as "attributes.<name>", and what Footfall itself knows. Attributes
// with a type that is not Valid are left out.
func PersonSchema(attributes map[string]Type) *Schema {
	fields := []Field{
		{Path: "likes", Type: Strings, Description: "Topics that the person likes"},
		{Path: "dislikes", Type: Strings, Description: "Topics that the person dislikes"},
		{Path: "identified", Type: Bool, Description: "Whether an identifier (user id, email, loyalty number) is bound to the person"},
		{
			Path: "consents", Type: Strings, Description: "Purposes that the person has consented to",
			Values: []string{
				string(engage.ConsentMarketing), string(engage.ConsentLocationForeground), string(engage.ConsentLocationBackground),
				string(engage.ConsentLocationPrecise), string(engage.ConsentProfiling),
			},
		},
		{Path: "platforms", Type: Strings, Description: "Platforms of the person's phones", Values: []string{"android", "ios", "web"}},
		{Path: "locale", Type: String, Description: `Language and region of the phone seen last, such as "nl-NL"`},
		{Path: "first_seen", Type: Time, Description: "When the person was first seen"},
		{Path: "last_seen", Type: Time, Description: "When the person was last seen, before this moment"},
		{Path: "last_visit_at", Type: Time, Description: "When the person last entered a place"},
		{Path: "visits", Type: Number, Description: "Visits to places in total"},
		{Path: "affinities", Type: Strings, Description: "Categories and topics that the person turns to, as events and orders of the last months show; in lower case, at most 10. Needs the profiling consent"},
		{Path: "favourite_brands", Type: Strings, Description: "Brands that the person turns to, likewise"},
		{Path: "favourite_place", Type: String, Description: "Id of the place that the person visited most lately. Needs the consent to profiling and to location"},
		{Path: "home_place", Type: String, Description: "Id of the person's home store: the place that they visited most in the last 110 to 120 days, three times at least and not all within ten days. Likewise"},
		{Path: "favourite_places", Type: Strings, Description: "Ids of the places that they visited most in the last 90 days, at most 5, likewise"},
		{Path: "purchases_count", Type: Number, Description: "Orders that were completed and not cancelled, in total"},
		{Path: "purchases_total", Type: Number, Description: "What these were worth, less refunds, in the currency in which most was spent"},
		{Path: "last_purchase_at", Type: Time, Description: "When the last of these was made"},
	}
	fields = append(fields, personFields...)
	names := make([]string, 0, len(attributes))
	for name, t := range attributes {
		if name != "" && t.Valid() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fields = append(fields, Field{
			Path: "attributes." + name, Type: attributes[name],
			Description: "The person's attribute " + name,
		})
	}
	s := NewSchema(fields...)
	for _, family := range []string{"weather.", "place.", "trigger.", "local.", "device."} {
		s.hints[family] = "it belongs to the moment: put it into the context rule"
	}
	return s
}

// MomentSchema is what a context may ask about the moment that fired a campaign.
func MomentSchema() *Schema {
	s := NewSchema(slices.Concat(weatherFields(), []Field{
		{Path: "place.id", Type: String, Description: "The place's id"},
		{Path: "place.name", Type: String, Description: "The place's name"},
		{Path: "place.tags", Type: Strings, Description: "The place's tags"},
		{Path: "trigger.distance_m", Type: Number, Description: "Distance to the place, metres; absent when only the phone's OS told"},
		{
			Path: "trigger.ring", Type: String, Description: "Which ring of the place was crossed",
			Values: []string{string(engage.Inside), string(engage.Near)},
		},
		{
			Path: "trigger.transition", Type: String, Description: "How the ring was crossed",
			Values: []string{string(engage.Enter), string(engage.Exit), string(engage.Dwell), string(engage.Pass), string(engage.VisitEnded), string(engage.ComeNear)},
		},
		{Path: "trigger.beacon", Type: String, Description: "Id of the beacon that was heard or lost; absent where it was none"},
		{Path: "trigger.inside_s", Type: Number, Description: "For how many seconds the person had been there, of an exit, a dwell or a visit; absent otherwise"},
		{Path: "place.open", Type: Bool, Description: "Whether the place was open at that moment, by its opening hours; absent when they are not known"},
		{Path: "trigger.event", Type: String, Description: "Name of the event that fired the campaign"},
		{Path: "trigger.properties.*", Type: Scalar, Description: "A property of that event"},
		{Path: "local.hour", Type: Number, Max: 23, Description: "Hour of the day in local time, 0 to 23"},
		{Path: "place.occupancy", Type: Number, Description: "How many phones are known to be inside the place, within the last minutes, rounded down: below 5 it is 0, below 100 a multiple of 5, then of 25; absent when it is not known"},
		{Path: "place.open_for_min", Type: Number, Description: "For how many whole minutes more the place is open, by its opening hours; 0 where it is closed, at most a week; absent when they are not known"},
		{Path: "local.time", Type: TimeOfDay, Description: `Time of day in local time, "HH:MM"; between goes over midnight when the first is the later one`},
		{Path: "local.minute", Type: Number, Max: 59, Description: "Minute of the hour in local time, 0 to 59"},
		{
			Path: "local.weekday", Type: String, Description: "Day of the week in local time",
			Values: []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"},
		},
		{Path: "device.platform", Type: String, Description: "Platform of the phone", Values: []string{"android", "ios", "web"}},
		{Path: "device.locale", Type: String, Description: `Language and region of the phone, such as "nl-NL"`},
		{
			Path: "device.notifications", Type: String, Description: "Whether the phone may show notifications",
			Values: []string{"undetermined", "provisional", "granted", "denied"},
		},
		{
			Path: "device.location", Type: String, Description: "When the app may know the phone's position",
			Values: []string{"none", "when_in_use", "always"},
		},
	})...)
	const audience = "it belongs to the person: put it into the audience rule"
	s.hints["attributes."] = audience
	for _, f := range PersonSchema(nil).fields {
		prefix, _, _ := strings.Cut(f.Path, "*")
		s.hints[prefix] = audience
	}
	return s
}
