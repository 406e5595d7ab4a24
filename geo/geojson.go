package geo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ParseGeometry reads a GeoJSON geometry (RFC 7946) as a valid shape.
//
//   - A Point with a radius in metres is a Circle.
//   - A Polygon or MultiPolygon is a *Polygon; with a radius it is the OutwardRing
//     around it: all within so many metres.
//   - A MultiPolygon without coordinates (which RFC 7946 §3.1 lets others take as
//     null) and with the member "h3_cells", a list of cells' strings, is a *CellSet;
//     with a radius the ring around it. GeoJSON has no type for cells and must not be
//     given one (§7).
//
// An altitude is accepted and dropped; foreign members are ignored, and so is a
// "bbox" that is one; a "crs" (of the older GeoJSON) other than CRS 84 is refused.
// The rest is refused with an *Error: of "radius", of the member
// ("coordinates[1]"), or without a field where it is no geometry at all. Warnings
// tells what was put right. The caller bounds the size.
func ParseGeometry(geometry json.RawMessage, radiusM *float64) (Shape, error) {
	members, err := membersOf(geometry, "a GeoJSON geometry")
	if err != nil {
		return nil, err
	}
	typ, err := typeOf(members)
	if err != nil {
		return nil, err
	}
	if err := checkCRS(members["crs"]); err != nil {
		return nil, err
	}
	if err := checkBBox(members["bbox"]); err != nil {
		return nil, err
	}
	switch typ {
	case "Point":
		return parseCircle(members["coordinates"], radiusM)
	case "Polygon", "MultiPolygon":
	case "LineString", "MultiLineString", "MultiPoint", "GeometryCollection": // RFC 7946 §1.4
		return nil, errorf("type", "must be Point, Polygon or MultiPolygon for a fence, is %s", typ)
	case "Feature", "FeatureCollection":
		return nil, errorf("type", "must be that of a geometry, is %s: give its geometry alone", typ)
	default:
		return nil, errorf("type", "must be that of a GeoJSON geometry, is %.40q", typ)
	}
	var s Shape
	if cells := members["h3_cells"]; typ == "MultiPolygon" && kind(cells) != "missing" {
		s, err = parseCells(cells, members["coordinates"])
	} else {
		s, err = parsePolygon(members["coordinates"], typ == "Polygon")
	}
	if err != nil {
		return nil, err
	}
	if radiusM == nil {
		return s, nil
	}
	ring := OutwardRing{Of: s, WithinM: *radiusM}
	if err := ring.Validate(); err != nil {
		return nil, err
	}
	return ring, nil
}

// membersOf reads an object; what says what it should be.
func membersOf(raw json.RawMessage, what string) (map[string]json.RawMessage, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, errorf("", "is missing")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, errorf("", "is not JSON: %v, at byte %d", syntax, syntax.Offset)
		}
		return nil, errorf("", "must be %s, is %s", what, kind(raw))
	}
	if members == nil { // null
		return nil, errorf("", "is missing")
	}
	return members, nil
}

func typeOf(members map[string]json.RawMessage) (string, error) {
	var typ string
	if k := kind(members["type"]); k == "missing" {
		return "", errorf("type", "is missing")
	} else if err := json.Unmarshal(members["type"], &typ); err != nil {
		return "", errorf("type", "must be a string, is %s", k)
	}
	return typ, nil
}

func parseCircle(coordinates json.RawMessage, radiusM *float64) (Shape, error) {
	p, err := parsePosition(coordinates)
	if err != nil {
		return nil, below("coordinates", err)
	}
	if radiusM == nil {
		return nil, errorf("radius", "is missing: a Point needs one, in metres")
	}
	c := Circle{Around: p, RadiusM: *radiusM}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

func parsePolygon(coordinates json.RawMessage, single bool) (Shape, error) {
	var polygons [][][]Point
	var err error
	if single {
		polygons = make([][][]Point, 1)
		polygons[0], err = parseRings(coordinates)
	} else {
		polygons, err = parseList(coordinates, "polygons", parseRings)
	}
	if err != nil {
		return nil, below("coordinates", err)
	}
	p, err := newPolygon(polygons, single)
	if err != nil {
		return nil, below("coordinates", err)
	}
	return p, nil
}

func parseRings(raw json.RawMessage) ([][]Point, error) { return parseList(raw, "rings", parseRing) }

func parseRing(raw json.RawMessage) ([]Point, error) {
	// The plain case first, since it is ten times as fast. A null would become 0.
	var plain [][]float64
	if !bytes.ContainsRune(raw, 'n') && json.Unmarshal(raw, &plain) == nil {
		ring := make([]Point, len(plain))
		for i, at := range plain {
			if len(at) < 2 || len(at) > 3 {
				return parseList(raw, "positions", parsePosition)
			}
			ring[i] = Point{Lat: at[1], Lng: at[0]}
			if ring[i].Validate() != nil {
				return parseList(raw, "positions", parsePosition)
			}
		}
		return ring, nil
	}
	return parseList(raw, "positions", parsePosition)
}

// parseList reads an array, each item with its own reader.
func parseList[T any](raw json.RawMessage, what string, read func(json.RawMessage) (T, error)) ([]T, error) {
	if k := kind(raw); k == "missing" {
		return nil, errorf("", "is missing")
	} else if k != "an array" {
		return nil, errorf("", "must be an array of %s, is %s", what, k)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, errorf("", "must be an array of %s: %v", what, err)
	}
	out := make([]T, len(items))
	for i, item := range items {
		var err error
		if out[i], err = read(item); err != nil {
			return nil, below(fmt.Sprintf("[%d]", i), err)
		}
	}
	return out, nil
}

func parseCells(raw, coordinates json.RawMessage) (Shape, error) {
	if none, err := parseList(coordinates, "polygons", parseRings); err != nil {
		return nil, below("coordinates", err)
	} else if len(none) > 0 {
		return nil, errorf("coordinates", "must be empty beside h3_cells")
	}
	cells, err := parseList(raw, "cells", func(item json.RawMessage) (Cell, error) {
		var text string
		if k := kind(item); k != "a string" || json.Unmarshal(item, &text) != nil {
			return 0, errorf("", "must be an H3 cell as a string, is %s", k)
		}
		c, err := ParseCell(text)
		if e, ok := errors.AsType[*Error](err); ok {
			return 0, errorf("", "%s", e.Reason)
		}
		return c, err
	})
	if err != nil {
		return nil, below("h3_cells", err)
	}
	s, err := NewCellSet(cells)
	if err != nil {
		return nil, below("h3_cells", err)
	}
	return s, nil
}

// EncodeGeometry writes a shape as ParseGeometry reads it: the same shape, but
// that a ring around a circle is the larger circle, and a ring around a ring the
// wider ring. An invalid shape is refused with its *Error, one of another package
// with Unsupported.
func EncodeGeometry(s Shape) (geometry json.RawMessage, radiusM *float64, err error) {
	var out geometryJSON
	var withinM float64
	for {
		ring, ok := s.(OutwardRing)
		if !ok {
			break
		}
		if err := ring.Validate(); err != nil {
			return nil, nil, err
		}
		s, withinM = ring.Of, withinM+ring.WithinM
	}
	switch s := s.(type) {
	case Circle:
		s.RadiusM += withinM
		withinM, err = s.RadiusM, s.Validate()
		out = geometryJSON{Type: "Point", Coordinates: positionOf(s.Around)}
	case *Polygon:
		if err = s.Validate(); err == nil {
			out = s.geometry()
		}
	case *CellSet:
		if err = s.Validate(); err == nil {
			out = geometryJSON{Type: "MultiPolygon", Coordinates: [0]int{}, Cells: s.cells}
		}
	default:
		err = &Error{Reason: fmt.Sprintf("a shape of type %T has no GeoJSON", s), Unsupported: true}
	}
	if err == nil && withinM > MaxRadiusM {
		err = errorf("radius", "must be at most %d m, is %v", MaxRadiusM, withinM)
	}
	if err != nil {
		return nil, nil, err
	}
	if geometry, err = json.Marshal(out); err != nil {
		return nil, nil, fmt.Errorf("encode %s: %w", out.Type, err)
	}
	if withinM > 0 {
		radiusM = &withinM
	}
	return geometry, radiusM, nil
}

type geometryJSON struct {
	Type        string `json:"type"`
	Coordinates any    `json:"coordinates"`
	Cells       []Cell `json:"h3_cells,omitempty"`
}

func positionOf(p Point) [2]float64 { return [2]float64{p.Lng, p.Lat} }

func (p *Polygon) geometry() geometryJSON {
	var polygons [][][][2]float64
	for _, c := range p.region.rings {
		if c.ring == 0 {
			polygons = append(polygons, nil)
		}
		ring := make([][2]float64, 0, c.to-c.from+1)
		for _, at := range p.region.at[c.from : c.to+1] {
			ring = append(ring, positionOf(at))
		}
		polygons[len(polygons)-1] = append(polygons[len(polygons)-1], ring)
	}
	if len(polygons) == 1 {
		return geometryJSON{Type: "Polygon", Coordinates: polygons[0]}
	}
	return geometryJSON{Type: "MultiPolygon", Coordinates: polygons}
}

// parsePosition reads [longitude, latitude] or [longitude, latitude, altitude].
func parsePosition(raw json.RawMessage) (Point, error) {
	if k := kind(raw); k != "an array" {
		if k == "missing" {
			return Point{}, errorf("", "is missing")
		}
		return Point{}, errorf("", "must be [longitude, latitude], is %s", k)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return Point{}, errorf("", "must be [longitude, latitude]: %v", err)
	}
	if n := len(items); n < 2 || n > 3 {
		return Point{}, errorf("", "must be [longitude, latitude], has %d numbers", n)
	}
	var at [3]float64
	for i, item := range items {
		field := fmt.Sprintf("[%d]", i)
		if k := kind(item); k != "a number" {
			return Point{}, errorf(field, "must be a number, is %s", k)
		}
		n, err := strconv.ParseFloat(string(item), 64)
		if err != nil {
			return Point{}, errorf(field, "must be a number that fits 64 bits, is %.40s", item)
		}
		at[i] = n
	}
	p := Point{Lat: at[1], Lng: at[0]}
	switch {
	case p.Validate() == nil:
		return p, nil
	case !(p.Lng >= -180 && p.Lng <= 180):
		return Point{}, errorf("[0]", "must be a longitude of -180 to 180, is %v", p.Lng)
	case (Point{Lat: p.Lng, Lng: p.Lat}).Validate() == nil:
		return Point{}, errorf("[1]", "must be a latitude of -90 to 90, is %v: longitude comes first", p.Lat)
	default:
		return Point{}, errorf("[1]", "must be a latitude of -90 to 90, is %v", p.Lat)
	}
}

// checkCRS lets pass what says the same as RFC 7946: ogr2ogr and others still
// write it.
func checkCRS(raw json.RawMessage) error {
	if kind(raw) == "missing" {
		return nil
	}
	var crs struct {
		Properties struct {
			Name string `json:"name"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(raw, &crs); err != nil {
		return errorf("crs", "is not understood; coordinates are WGS 84 longitude, latitude")
	}
	if name := crs.Properties.Name; !strings.HasPrefix(name, "urn:ogc:def:crs:OGC:") || !strings.HasSuffix(name, ":CRS84") {
		return errorf("crs", "must be absent or CRS84 (WGS 84 longitude, latitude), is %.60q", name)
	}
	return nil
}

// checkBBox refuses what is no bounding box (RFC 7946 §5). Its values are not
// looked at: the coordinates say where the shape is.
func checkBBox(raw json.RawMessage) error {
	if kind(raw) == "missing" {
		return nil
	}
	numbers, err := parseList(raw, "4 or 6 numbers", func(item json.RawMessage) (struct{}, error) {
		if k := kind(item); k != "a number" {
			return struct{}{}, errorf("", "must be a number, is %s", k)
		}
		return struct{}{}, nil
	})
	if err == nil && len(numbers) != 4 && len(numbers) != 6 {
		err = errorf("", "must have 4 or 6 numbers, has %d", len(numbers))
	}
	return below("bbox", err)
}

// kind names what a JSON value is, for people; null counts as missing.
func kind(raw json.RawMessage) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return "missing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "missing"
	default:
		return "a number"
	}
}
