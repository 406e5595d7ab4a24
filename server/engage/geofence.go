package engage

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/footfall-engage/footfall/geo"
)

// geofenceJSON is a geofence on the wire: its geometry is GeoJSON (RFC 7946) with
// a radius in metres, as geo.ParseGeometry reads them.
type geofenceJSON struct {
	ID       string          `json:"id"`
	Ring     Ring            `json:"ring"`
	Geometry json.RawMessage `json:"geometry"`
	RadiusM  *float64        `json:"radius,omitempty"`
	DwellS   int             `json:"dwell_s,omitempty"`
	Rule     *FenceRule      `json:"rule,omitempty"`
}

// MarshalJSON writes the geofence with its GeoJSON geometry.
func (g Geofence) MarshalJSON() ([]byte, error) {
	out := geofenceJSON{ID: g.ID, Ring: g.Ring, DwellS: g.DwellS, Rule: g.Rule}
	if g.Shape != nil {
		var err error
		if out.Geometry, out.RadiusM, err = geo.EncodeGeometry(g.Shape); err != nil {
			return nil, err
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes; a bad geometry is an Error with
// its field.
func (g *Geofence) UnmarshalJSON(b []byte) error {
	var in geofenceJSON
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
			return Errorf(Invalid, e.Field, "must be %s, is %s", e.Type, e.Value)
		}
		return Errorf(Invalid, "", "%v", err)
	}
	*g = Geofence{ID: in.ID, Ring: in.Ring, DwellS: in.DwellS, Rule: in.Rule}
	if g.Rule.IsZero() {
		g.Rule = nil
	}
	if len(in.Geometry) == 0 || string(in.Geometry) == "null" {
		return Errorf(Invalid, "geometry", "is missing")
	}
	shape, err := geo.ParseGeometry(in.Geometry, in.RadiusM)
	if e, ok := errors.AsType[*geo.Error](err); ok && e.Field != "radius" {
		return At("geometry", err)
	}
	if err != nil {
		return FromGeo(err)
	}
	g.Shape = shape
	return nil
}

// FromGeo makes an Error of what package geo refuses.
func FromGeo(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*geo.Error](err)
	if !ok {
		return err
	}
	code := Invalid
	if e.Unsupported {
		code = Unsupported
	}
	return &Error{Code: code, Field: e.Field, Msg: e.Reason}
}
