package places

import (
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// Field of a place or of one of its geofences that a file can have.
type Field string

// The fields; the package's doc says what stands in each.
const (
	ID         Field = "id"
	Fence      Field = "fence"
	Ring       Field = "ring"
	Name       Field = "name"
	Lat        Field = "lat"
	Lng        Field = "lng"
	Radius     Field = "radius"
	Geometry   Field = "geometry"
	Hours      Field = "hours"
	TimeZone   Field = "time_zone"
	Tags       Field = "tags"
	Location   Field = "location"
	Holidays   Field = "holidays"
	Exceptions Field = "exceptions"
	Beacons    Field = "beacons"
	PlaceRule  Field = "place_rule"
	DwellS     Field = "dwell_s"
	Rule       Field = "rule"
)

// Fields are all fields, in the order in which a Writer has them.
var Fields = []Field{
	ID, Fence, Ring, Name, Lat, Lng, Radius, Geometry, Hours, TimeZone, Tags,
	Location, Holidays, Exceptions, Beacons, PlaceRule, DwellS, Rule,
}

// usual are further names under which a field is looked for.
var usual = map[Field][]string{
	ID:       {"place", "external_id"},
	Lat:      {"latitude"},
	Lng:      {"lon", "long", "longitude"},
	Radius:   {"radius_m"},
	TimeZone: {"timezone"},
	Hours:    {"opening_hours"},
}

// Mapping says which column of a table, or property of a feature, holds a field.
type Mapping map[Field]string

// ParseMapping reads pairs "field:column", several in one text separated by commas:
// "name:Store Name,lat:Latitude". A comma that no field follows belongs to the
// column's name. The error is an *engage.Error of the field "map".
func ParseMapping(texts ...string) (Mapping, error) {
	m := Mapping{}
	for _, text := range texts {
		var pairs []string
		for piece := range strings.SplitSeq(text, ",") {
			field, _, pair := strings.Cut(piece, ":")
			if len(pairs) > 0 && (!pair || !slices.Contains(Fields, Field(strings.TrimSpace(field)))) {
				pairs[len(pairs)-1] += "," + piece
				continue
			}
			pairs = append(pairs, piece)
		}
		for _, pair := range pairs {
			name, column, ok := strings.Cut(pair, ":")
			field := Field(strings.TrimSpace(name))
			switch column = strings.TrimSpace(column); {
			case !ok || column == "":
				return nil, engage.Errorf(engage.Invalid, "map", "must be field:column, is %q", clip(pair))
			case !slices.Contains(Fields, field):
				return nil, engage.Errorf(engage.Invalid, "map", "there is no field %q; there are %s", clip(name), known())
			case m[field] != "":
				return nil, engage.Errorf(engage.Invalid, "map", "%s stands twice", field)
			}
			m[field] = column
		}
	}
	return m, nil
}

func known() string {
	names := make([]string, len(Fields))
	for i, f := range Fields {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// names of a field in a file without a mapping, the first that is there.
func (f Field) names() []string { return append([]string{string(f)}, usual[f]...) }

// clip shortens what stands in a file before it stands in a message.
func clip(s string) string {
	const most = 60
	s = strings.ToValidUTF8(s, "\uFFFD")
	for i := range s {
		if i >= most {
			return s[:i] + "…"
		}
	}
	return s
}
