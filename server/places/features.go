package places

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// featureSource is a source of features.
type featureSource struct {
	o    Options
	scan featureScanner
	n    int
}

func newFeatures(in *bufio.Reader, o Options) (*featureSource, error) {
	for _, f := range []Field{Lat, Lng, Geometry} {
		if o.Map[f] != "" {
			return nil, engage.Errorf(engage.Invalid, "map."+string(f), "is of tables: a feature has its geometry")
		}
	}
	return &featureSource{o: o, scan: featureScanner{in: in}}, nil
}

// property is where a field is looked for.
func (s *featureSource) property(f Field) string {
	switch name := s.o.Map[f]; {
	case name != "":
		return name
	case f == ID:
		return "place"
	default:
		return string(f)
	}
}

func (s *featureSource) in(f Field) string {
	if f == Geometry {
		return "geometry"
	}
	return "properties." + s.property(f)
}

func (s *featureSource) whole(number int) string {
	return fmt.Sprintf("features[%d]", number-1)
}

func (s *featureSource) next() (*part, error) {
	raw, tooLong, err := s.scan.next()
	if err != nil {
		return nil, err
	}
	s.n++
	p := &part{row: Row{Number: s.n}, given: map[Field]bool{}}
	if tooLong {
		p.row.Err = engage.Errorf(engage.TooLarge, "", "has more than %d bytes", maxFeatureBytes)
		return p, nil
	}
	f := geo.ParseFeature(raw)
	if f.Err != nil {
		// What names it is still told, as far as it can be read.
		var about struct {
			ID         any
			Properties map[string]json.RawMessage
		}
		if json.Unmarshal(raw, &about) == nil {
			f.Properties = about.Properties
			f.ID, _ = about.ID.(string)
		}
	}
	r := &rowReader{part: p, in: s.in, get: func(field Field) (value, bool) { return s.value(f.Properties, field) }}
	if f.Err != nil {
		r.refuse(f.Err)
	}
	r.names(f.ID, f.ID)
	if f.Err != nil {
		return p, nil
	}
	shape, err := geo.ParseGeometry(f.Geometry, r.radius(s.o.RadiusM, isPoint(f.Geometry)))
	r.shape(shape, err, func(at string) string {
		if at == "radius" {
			return s.in(Radius)
		}
		return join("geometry", at)
	})
	r.rest()
	return p, nil
}

func (s *featureSource) value(properties map[string]json.RawMessage, f Field) (value, bool) {
	raw, there := properties[s.property(f)]
	if !there && s.o.Map[f] == "" {
		for _, name := range usual[f] {
			if raw, there = properties[name]; there {
				break
			}
		}
	}
	if !there {
		return value{}, false
	}
	text := strings.TrimSpace(string(raw))
	switch {
	case text == "null":
		return value{}, true
	case strings.HasPrefix(text, `"`):
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return value{text: "\xff"}, true // it is refused as no UTF-8
		}
		return value{text: s}, true
	default:
		return value{text: text, json: strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")}, true
	}
}
