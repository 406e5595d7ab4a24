package geo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ParseGeometry reads a GeoJSON geometry (RFC 7946) as a shape: a Point with a
// radius in metres is a Circle. The shape is valid.
//
// An altitude is accepted and dropped; foreign members and "bbox" are ignored; a
// "crs" (of the older GeoJSON) other than CRS 84 is refused. The rest is refused
// with an *Error: of "radius", of the member ("coordinates[1]"), or without a
// field where it is no geometry at all; with Unsupported where a geometry is
// right but cannot be a fence yet. The caller bounds the size.
func ParseGeometry(geometry json.RawMessage, radiusM *float64) (Shape, error) {
	if len(bytes.TrimSpace(geometry)) == 0 {
		return nil, errorf("", "is missing")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(geometry, &members); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, errorf("", "is not JSON: %v, at byte %d", syntax, syntax.Offset)
		}
		return nil, errorf("", "must be a GeoJSON geometry, is %s", kind(geometry))
	}
	if members == nil { // null
		return nil, errorf("", "is missing")
	}
	var typ string
	if k := kind(members["type"]); k == "missing" {
		return nil, errorf("type", "is missing")
	} else if err := json.Unmarshal(members["type"], &typ); err != nil {
		return nil, errorf("type", "must be a string, is %s", k)
	}
	if err := checkCRS(members["crs"]); err != nil {
		return nil, err
	}
	switch typ {
	case "Point":
	case "Polygon", "MultiPolygon", "LineString", "MultiLineString", "MultiPoint", "GeometryCollection": // RFC 7946 §1.4
		return nil, &Error{
			Field: "type", Unsupported: true,
			Reason: fmt.Sprintf("%s is not supported yet: use a Point with a radius in metres", typ),
		}
	case "Feature", "FeatureCollection":
		return nil, errorf("type", "must be that of a geometry, is %s: give its geometry alone", typ)
	default:
		return nil, errorf("type", "must be that of a GeoJSON geometry, is %.40q", typ)
	}
	p, err := parsePosition(members["coordinates"])
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

// EncodeGeometry writes a shape as ParseGeometry reads it. An invalid shape is
// refused with its *Error, one of another package with Unsupported.
func EncodeGeometry(s Shape) (geometry json.RawMessage, radiusM *float64, err error) {
	c, ok := s.(Circle)
	if !ok {
		return nil, nil, &Error{Reason: fmt.Sprintf("a shape of type %T has no GeoJSON", s), Unsupported: true}
	}
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	geometry, err = json.Marshal(struct {
		Type        string     `json:"type"`
		Coordinates [2]float64 `json:"coordinates"`
	}{"Point", [2]float64{c.Around.Lng, c.Around.Lat}})
	if err != nil {
		return nil, nil, fmt.Errorf("encode point: %w", err)
	}
	return geometry, &c.RadiusM, nil
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
