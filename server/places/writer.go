package places

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// Feature is a geofence as GeoJSON, with what its place has.
type Feature struct {
	Type       string          `json:"type"` // "Feature"
	ID         string          `json:"id"`
	Geometry   json.RawMessage `json:"geometry"`
	Properties Properties      `json:"properties"`
}

// Properties of a Feature: the fields of a file, by their names.
type Properties struct {
	Place      string             `json:"place"`
	Name       string             `json:"name"`
	Ring       engage.Ring        `json:"ring"`
	Radius     *float64           `json:"radius,omitempty"`
	DwellS     int                `json:"dwell_s,omitempty"`
	Rule       *engage.FenceRule  `json:"rule,omitempty"`
	Tags       []string           `json:"tags,omitempty"`
	TimeZone   string             `json:"time_zone,omitempty"`
	Hours      string             `json:"hours,omitempty"`
	Holidays   []string           `json:"holidays,omitempty"`
	Exceptions []engage.Exception `json:"exceptions,omitempty"`
	Beacons    []engage.Beacon    `json:"beacons,omitempty"`
	PlaceRule  *engage.FenceRule  `json:"place_rule,omitempty"`
	Location   *geo.Point         `json:"location,omitempty"` // where it is not the middle of the geofence
}

// Features are the geofences of a place as GeoJSON.
func Features(p *engage.Place) ([]Feature, error) {
	out := make([]Feature, 0, len(p.Geofences))
	for _, f := range p.Geofences {
		geometry, radius, err := geo.EncodeGeometry(f.Shape)
		if err != nil {
			return nil, fmt.Errorf("encode geofence %s of place %s: %w", f.ID, p.ID, err)
		}
		out = append(out, Feature{
			Type: "Feature", ID: f.ID, Geometry: geometry,
			Properties: Properties{
				Place: p.ID, Name: p.Name, Ring: f.Ring, Radius: radius, DwellS: f.DwellS, Rule: f.Rule, Tags: p.Tags, TimeZone: p.TimeZone,
				Hours: p.Hours, Holidays: p.Holidays, Exceptions: p.Exceptions, Beacons: p.Beacons, PlaceRule: p.Rule, Location: location(p),
			},
		})
	}
	return out, nil
}

// location of a place, nil where it is what Middle gives.
func location(p *engage.Place) *geo.Point {
	if p.Location == Middle(p.Geofences) {
		return nil
	}
	return &p.Location
}

// Writer writes places so that a Reader gives them again.
type Writer struct {
	out   *bufio.Writer
	table *csv.Writer // nil: GeoJSON
	n     int
}

// NewWriter writes to w.
func NewWriter(w io.Writer, f Format) *Writer {
	x := &Writer{out: bufio.NewWriter(w)}
	if f == CSV {
		x.table = csv.NewWriter(x.out)
	}
	return x
}

// Write adds a place.
func (w *Writer) Write(p *engage.Place) error {
	if err := w.begin(); err != nil {
		return err
	}
	if w.table != nil {
		return w.rows(p)
	}
	fs, err := Features(p)
	if err != nil {
		return err
	}
	for _, f := range fs {
		b, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("encode geofence %s of place %s: %w", f.ID, p.ID, err)
		}
		if w.n++; w.n > 1 {
			b = append([]byte(",\n"), b...)
		}
		if _, err := w.out.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) begin() error {
	if w.n > 0 {
		return nil
	}
	if w.table == nil {
		_, err := w.out.WriteString(`{"type":"FeatureCollection","features":[` + "\n")
		return err
	}
	w.n++
	header := make([]string, len(Fields))
	for i, f := range Fields {
		header[i] = string(f)
	}
	return w.table.Write(header)
}

// Close ends the file; it does not close what it was written to.
func (w *Writer) Close() error {
	if err := w.begin(); err != nil {
		return err
	}
	if w.table != nil {
		w.table.Flush()
		if err := w.table.Error(); err != nil {
			return err
		}
	} else if _, err := w.out.WriteString("\n]}\n"); err != nil {
		return err
	}
	return w.out.Flush()
}

// rows writes a place as a row per geofence.
func (w *Writer) rows(p *engage.Place) error {
	fs, err := Features(p)
	if err != nil {
		return err
	}
	for i, f := range fs {
		x := f.Properties
		cells := map[Field]string{
			ID: p.ID, Fence: f.ID, Ring: string(x.Ring), Name: x.Name, Hours: x.Hours, TimeZone: x.TimeZone,
			Tags: listCell(x.Tags), Holidays: strings.Join(x.Holidays, ";"),
		}
		if x.Radius != nil {
			cells[Radius] = decimal(*x.Radius)
		}
		if x.DwellS != 0 {
			cells[DwellS] = strconv.Itoa(x.DwellS)
		}
		if c, ok := p.Geofences[i].Shape.(geo.Circle); ok {
			cells[Lat], cells[Lng] = decimal(c.Around.Lat), decimal(c.Around.Lng)
		} else {
			cells[Geometry] = string(f.Geometry)
		}
		for field, v := range map[Field]any{Location: x.Location, Exceptions: x.Exceptions, Beacons: x.Beacons, PlaceRule: x.PlaceRule, Rule: x.Rule} {
			b, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("encode %s of place %s: %w", field, p.ID, err)
			}
			if string(b) != "null" {
				cells[field] = string(b)
			}
		}
		row := make([]string, len(Fields))
		for k, field := range Fields {
			row[k] = cells[field]
		}
		if err := w.table.Write(row); err != nil {
			return err
		}
	}
	return nil
}

// listCell is texts in one cell; as JSON where one holds a separator.
func listCell(texts []string) string {
	for _, t := range texts {
		if strings.ContainsAny(t, ";,|[") || strings.TrimSpace(t) != t || t == "" {
			b, err := json.Marshal(texts)
			if err != nil {
				return "" // texts have no error
			}
			return string(b)
		}
	}
	return strings.Join(texts, ";")
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
