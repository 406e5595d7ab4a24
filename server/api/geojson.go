package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// maxFeatures of one import.
const maxFeatures = 5000

// featureCollection is places as GeoJSON. Next is a foreign member (RFC 7946 §6.1).
type featureCollection struct {
	Type     string    `json:"type"`
	Features []feature `json:"features"`
	Next     string    `json:"next,omitempty"`
}

type feature struct {
	Type       string            `json:"type"`
	ID         string            `json:"id"`
	Geometry   json.RawMessage   `json:"geometry"`
	Properties featureProperties `json:"properties"`
}

type featureProperties struct {
	Place    string      `json:"place"`
	Name     string      `json:"name"`
	Ring     engage.Ring `json:"ring"`
	Radius   *float64    `json:"radius,omitempty"`
	Tags     []string    `json:"tags,omitempty"`
	TimeZone string      `json:"time_zone,omitempty"`
}

// features writes places as GeoJSON, a Feature per geofence.
func features(places []*engage.Place) (*featureCollection, error) {
	out := &featureCollection{Type: "FeatureCollection", Features: []feature{}}
	for _, p := range places {
		for _, f := range p.Geofences {
			geometry, radius, err := geo.EncodeGeometry(f.Shape)
			if err != nil {
				return nil, fmt.Errorf("encode geofence %s of place %s: %w", f.ID, p.ID, err)
			}
			out.Features = append(out.Features, feature{
				Type: "Feature", ID: f.ID, Geometry: geometry,
				Properties: featureProperties{Place: p.ID, Name: p.Name, Ring: f.Ring, Radius: radius, Tags: p.Tags, TimeZone: p.TimeZone},
			})
		}
	}
	return out, nil
}

type importInput struct {
	DryRun bool `query:"dry_run" doc:"Only report what would happen"`
	Raw
}

type importView struct {
	DryRun   bool         `json:"dry_run,omitempty"`
	Created  int          `json:"created" doc:"Places"`
	Changed  int          `json:"changed" doc:"Places"`
	Refused  int          `json:"refused" doc:"Features"`
	Features []featureRow `json:"features" nullable:"false" doc:"One row per feature, in their order"`
}

type featureRow struct {
	Index    int         `json:"index" doc:"In the collection, from 0"`
	ID       string      `json:"id,omitempty" doc:"Of the geofence"`
	Place    string      `json:"place,omitempty"`
	Outcome  string      `json:"outcome" enum:"created,changed,refused"`
	PutRight []string    `json:"put_right,omitempty" nullable:"false" doc:"What was not as it should be in the geometry and was put right, such as a ring's direction"`
	Error    *FieldError `json:"error,omitempty" doc:"Why it was refused; the field is a path in the feature"`
}

// imported is a place that is being put together from features.
type imported struct {
	place  engage.Place
	rows   []int // of the report
	broken bool
}

func (s *server) importPlaces(ctx context.Context, who caller, in *importInput) (*answered[*importView], error) {
	// Members that are not ours are allowed in GeoJSON (RFC 7946 §6.1), and tools
	// write them.
	var members map[string]json.RawMessage
	if err := decode(in.RawBody, &members); err != nil {
		return nil, err
	}
	var typ string
	var raws []json.RawMessage
	if err := errors.Join(decodeMember(members, "type", &typ), decodeMember(members, "features", &raws)); err != nil {
		return nil, err
	}
	switch {
	case typ != "FeatureCollection":
		return nil, engage.Errorf(engage.Invalid, "type", `must be "FeatureCollection", is %q`, clip(typ))
	case len(raws) == 0:
		return nil, engage.Errorf(engage.Invalid, "features", "must not be empty")
	case len(raws) > maxFeatures:
		return nil, engage.Errorf(engage.TooLarge, "features", "at most %d, got %d", maxFeatures, len(raws))
	}
	out := &importView{DryRun: in.DryRun, Features: make([]featureRow, len(raws))}
	places := map[string]*imported{}
	order := []*imported{}
	for i, raw := range raws {
		row := &out.Features[i]
		row.Index = i
		f, fence, err := readFeature(raw)
		row.ID, row.Place = f.ID, f.Properties.Place
		if row.Place == "" {
			out.refuse(i, err)
			continue
		}
		m := places[row.Place]
		if m == nil {
			m = &imported{place: engage.Place{ID: row.Place, Workspace: who.workspace}}
			places[row.Place], order = m, append(order, m)
		}
		m.rows = append(m.rows, i)
		if err != nil {
			m.broken = true
			out.refuse(i, err)
			continue
		}
		for _, w := range geo.Warnings(fence.Shape) {
			row.PutRight = append(row.PutRight, w.String())
		}
		m.add(f, fence)
	}
	for _, m := range order {
		if err := s.importPlace(ctx, who, m, out); err != nil {
			return nil, err
		}
	}
	return &answered[*importView]{out}, nil
}

func (v *importView) refuse(row int, err error) {
	e := asEngage(err)
	v.Refused++
	v.Features[row].Outcome = "refused"
	v.Features[row].Error = &FieldError{e.Code, e.Field, e.Msg}
}

// readFeature reads one feature; where it is refused, what names it is still
// given, as far as it can be read.
func readFeature(raw json.RawMessage) (feature, engage.Geofence, error) {
	var out feature
	var members map[string]json.RawMessage
	if err := decodePart(raw, &members); err != nil {
		return out, engage.Geofence{}, err
	}
	err := readProperties(members["properties"], &out.Properties)
	if id := members["id"]; len(id) > 0 && id[0] == '"' {
		_ = json.Unmarshal(id, &out.ID) // it is a text
	} else if string(id) != "null" {
		out.ID = clip(string(id)) // RFC 7946 allows a number
	}
	if out.Properties.Place == "" {
		out.Properties.Place = out.ID
	}
	if out.Properties.Ring == "" {
		out.Properties.Ring = engage.Inside
	}
	if out.ID == "" && out.Properties.Place != "" {
		out.ID = out.Properties.Place + "-" + string(out.Properties.Ring)
	}
	if err == nil {
		err = decodeMember(members, "type", &out.Type)
	}
	switch {
	case err != nil:
		return out, engage.Geofence{}, err
	case out.Type != "Feature":
		return out, engage.Geofence{}, engage.Errorf(engage.Invalid, "type", `must be "Feature", is %q`, clip(out.Type))
	case out.Properties.Place == "":
		return out, engage.Geofence{}, engage.Errorf(engage.Invalid, "properties.place", "is missing, and the feature has no id to take its place")
	case out.Properties.Ring != engage.Inside && out.Properties.Ring != engage.Near:
		return out, engage.Geofence{}, engage.Errorf(engage.Invalid, "properties.ring", `must be "inside" or "near", is %q`, clip(string(out.Properties.Ring)))
	case !engage.ValidID(out.ID):
		return out, engage.Geofence{}, engage.Errorf(engage.Invalid, "id", "must be 1 to 100 of a-z, A-Z, 0-9, '.', '_', '-'")
	}
	shape, err := geo.ParseGeometry(members["geometry"], out.Properties.Radius)
	if err != nil {
		at := "geometry"
		if g, ok := errors.AsType[*geo.Error](err); ok && g.Field == "radius" {
			at = "properties"
		}
		return out, engage.Geofence{}, engage.At(at, err)
	}
	return out, engage.Geofence{ID: out.ID, Ring: out.Properties.Ring, Shape: shape}, nil
}

// readProperties takes of a feature's properties what it knows: files have
// others of their own.
func readProperties(raw json.RawMessage, p *featureProperties) error {
	var members map[string]json.RawMessage
	if err := decodePart(raw, &members); err != nil {
		return engage.At("properties", err)
	}
	for name, into := range map[string]any{
		"place": &p.Place, "name": &p.Name, "ring": &p.Ring, "radius": &p.Radius, "tags": &p.Tags, "time_zone": &p.TimeZone,
	} {
		if err := decodeMember(members, name, into); err != nil {
			return engage.At("properties", err)
		}
	}
	return nil
}

// add puts a geofence into the place.
func (m *imported) add(f feature, fence engage.Geofence) {
	p := &m.place
	p.Geofences = append(p.Geofences, fence)
	if f.Properties.Name != "" {
		p.Name = f.Properties.Name
	}
	if f.Properties.Tags != nil {
		p.Tags = f.Properties.Tags
	}
	if f.Properties.TimeZone != "" {
		p.TimeZone = f.Properties.TimeZone
	}
}

// importPlace saves a place and fills in its rows. An error is one that ends the
// import.
func (s *server) importPlace(ctx context.Context, who caller, m *imported, out *importView) error {
	if m.broken {
		m.refuseRest(out)
		return nil
	}
	p := &m.place
	old := s.o.Catalog.Now().Place(who.workspace, p.ID)
	var have int64
	if old != nil {
		have = old.Version
		if p.Name == "" {
			p.Name = old.Name
		}
		if p.Tags == nil {
			p.Tags = old.Tags
		}
		if p.TimeZone == "" {
			p.TimeZone = old.TimeZone
		}
	}
	if p.Name == "" {
		p.Name = p.ID
	}
	var err error
	if p.Location, err = locate(nil, p.Geofences); err != nil {
		return err
	}
	if out.DryRun {
		err = p.Validate()
	} else {
		err = s.o.Catalog.PutPlace(ctx, who.key.ID, p, have)
	}
	if err != nil {
		if c := asEngage(err).Code; c == engage.Internal || c == engage.Unavailable {
			return err
		}
		m.refuse(out, err)
		return nil
	}
	outcome := "created"
	if have > 0 {
		outcome = "changed"
		out.Changed++
	} else {
		out.Created++
	}
	for _, i := range m.rows {
		out.Features[i].Outcome = outcome
	}
	return nil
}

// refuse tells the feature that the error is about, in its own terms, or all.
func (m *imported) refuse(out *importView, err error) {
	e := *asEngage(err)
	var i int
	var rest string
	if n, _ := fmt.Sscanf(e.Field, "geofences[%d].%s", &i, &rest); n == 2 && i < len(m.rows) {
		e.Field = rest
		out.refuse(m.rows[i], &e)
		m.refuseRest(out)
		return
	}
	switch e.Field {
	case "":
	case "id":
		e.Field = "properties.place"
	default:
		e.Field = "properties." + e.Field
	}
	for _, row := range m.rows {
		out.refuse(row, &e)
	}
}

// refuseRest tells the other features of a place that one was refused.
func (m *imported) refuseRest(out *importView) {
	for _, i := range m.rows {
		if out.Features[i].Error == nil {
			out.refuse(i, engage.Errorf(engage.Conflict, "", "another feature of this place was refused, so the place stays as it was"))
		}
	}
}
