package geo

import (
	"encoding/json"
)

// Feature is one of a GeoJSON file, its geometry not yet read: ParseGeometry does
// that, with the radius that the caller finds in the properties.
type Feature struct {
	ID         string                     // a number as it was written; empty where there is none
	Properties map[string]json.RawMessage // nil where they are null, or the file is a geometry alone
	Geometry   json.RawMessage
	Err        error // an *Error that says why it is none; the other fields are then of no use
}

// ParseFeatures reads a GeoJSON text (RFC 7946): a FeatureCollection, a Feature, or
// a geometry alone. One that is no Feature does not refuse the others: its Err says
// why, of a path below the feature. The error is an *Error about the whole text.
func ParseFeatures(text json.RawMessage) ([]Feature, error) {
	members, err := membersOf(text, "a GeoJSON object")
	if err != nil {
		return nil, err
	}
	typ, err := typeOf(members)
	if err != nil {
		return nil, err
	}
	switch typ {
	case "FeatureCollection":
	case "Feature":
		return []Feature{ParseFeature(text)}, nil
	default:
		return []Feature{{Geometry: text}}, nil
	}
	if err := checkCRS(members["crs"]); err != nil {
		return nil, err
	}
	if err := checkBBox(members["bbox"]); err != nil {
		return nil, err
	}
	features, err := parseList(members["features"], "features", func(item json.RawMessage) (Feature, error) {
		return ParseFeature(item), nil
	})
	if err != nil {
		return nil, below("features", err)
	}
	return features, nil
}

// ParseFeature reads one GeoJSON Feature. What is none, or has no geometry, which
// no fence can do without, has an Err.
func ParseFeature(raw json.RawMessage) Feature {
	members, err := membersOf(raw, "a GeoJSON Feature")
	if err != nil {
		return Feature{Err: err}
	}
	typ, err := typeOf(members)
	if err == nil && typ != "Feature" {
		err = errorf("type", `must be "Feature", is %.40q`, typ)
	}
	if err == nil {
		err = checkCRS(members["crs"])
	}
	if err == nil {
		err = checkBBox(members["bbox"])
	}
	if err != nil {
		return Feature{Err: err}
	}
	f := Feature{Geometry: members["geometry"]}
	switch id := members["id"]; kind(id) {
	case "missing":
	case "a number":
		f.ID = string(id)
	case "a string":
		if err := json.Unmarshal(id, &f.ID); err != nil {
			return Feature{Err: errorf("id", "must be a string or a number: %v", err)}
		}
	default:
		return Feature{Err: errorf("id", "must be a string or a number, is %s", kind(id))}
	}
	properties, there := members["properties"]
	if !there {
		return Feature{Err: errorf("properties", "is missing: an object, or null")}
	}
	if err := json.Unmarshal(properties, &f.Properties); err != nil {
		return Feature{Err: errorf("properties", "must be an object or null, is %s", kind(properties))}
	}
	switch k := kind(f.Geometry); k {
	case "missing":
		return Feature{Err: errorf("geometry", "is missing: a fence must be somewhere")}
	case "an object":
		return f
	default:
		return Feature{Err: errorf("geometry", "must be an object, is %s", k)}
	}
}
