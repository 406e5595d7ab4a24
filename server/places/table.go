package places

import (
	"bufio"
	"errors"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/table"
)

// tableRows is a source of rows of a table.
type tableRows struct {
	o       Options
	scan    *table.Scanner
	columns []string
	at      map[Field]int // columns of fields
}

func newTable(in *bufio.Reader, o Options) (*tableRows, error) {
	t := &tableRows{o: o, scan: table.NewScanner(in), at: map[Field]int{}}
	var err error
	if t.columns, err = t.scan.Header(); err != nil {
		return nil, err
	}
	taken := map[int]bool{}
	for _, f := range Fields {
		if name := o.Map[f]; name != "" {
			at := t.column(name)
			if at < 0 {
				return nil, engage.Errorf(engage.Invalid, "map."+string(f), "the table has no column %q; it has %s", clip(name), t.list())
			}
			if err := t.ambiguous(f, []string{name}, nil, at); err != nil {
				return nil, err
			}
			t.at[f], taken[at] = at, true
		}
	}
	for _, f := range Fields {
		if _, mapped := t.at[f]; mapped {
			continue
		}
		for _, name := range f.names() {
			if at := t.column(name); at >= 0 && !taken[at] {
				if err := t.ambiguous(f, f.names(), taken, at); err != nil {
					return nil, err
				}
				t.at[f], taken[at] = at, true
				break
			}
		}
	}
	has := func(f Field) bool { _, there := t.at[f]; return there }
	switch {
	case !has(ID):
		return nil, engage.Errorf(engage.Invalid, "map.id", "no column holds the id, say which one (map=id:…); the table has %s", t.list())
	case !has(Geometry) && !has(Lat):
		return nil, engage.Errorf(engage.Invalid, "map.lat", "no column holds the latitude, say which one (map=lat:…); the table has %s", t.list())
	case !has(Geometry) && !has(Lng):
		return nil, engage.Errorf(engage.Invalid, "map.lng", "no column holds the longitude, say which one (map=lng:…); the table has %s", t.list())
	}
	return t, nil
}

// ambiguous is the error where another column than at, and none of those taken, could
// hold the field too: which of them is meant cannot be guessed. taken is nil for a name
// that was mapped, which may tell two columns apart by case.
func (t *tableRows) ambiguous(f Field, names []string, taken map[int]bool, at int) error {
	for i, c := range t.columns {
		if i == at || taken[i] {
			continue
		}
		if c == t.columns[at] {
			return engage.Errorf(engage.Invalid, "map."+string(f), "two columns are called %q: rename one, or map another (map=%s:…)", clip(c), f)
		}
		if taken != nil && slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(c, name) }) ||
			taken == nil && strings.EqualFold(c, names[0]) && t.columns[at] != names[0] {
			return engage.Errorf(engage.Invalid, "map."+string(f), "the columns %q and %q could both hold it: say which one (map=%s:…)", clip(t.columns[at]), clip(c), f)
		}
	}
	return nil
}

// column is the place of a column; -1 if there is none. Case counts only where two
// differ in nothing else.
func (t *tableRows) column(name string) int {
	found := -1
	for i, c := range t.columns {
		if c == name {
			return i
		}
		if found < 0 && strings.EqualFold(c, name) {
			found = i
		}
	}
	return found
}

func (t *tableRows) list() string {
	var out []string
	for _, c := range t.columns[:min(len(t.columns), 40)] {
		out = append(out, clip(c))
	}
	return strings.Join(out, ", ")
}

func (t *tableRows) in(f Field) string {
	if at, there := t.at[f]; there {
		return t.columns[at]
	}
	return string(f)
}

func (t *tableRows) whole(int) string { return "row" }

func (t *tableRows) next() (*part, error) {
	cells, warning, fatal, err := t.scan.Next()
	p := &part{row: Row{Number: t.scan.Row()}, given: map[Field]bool{}}
	if err != nil {
		e, ok := errors.AsType[*engage.Error](err)
		if fatal || !ok || errors.Is(err, io.EOF) {
			return nil, err
		}
		p.row.Err = e
		return p, nil
	}
	r := &rowReader{part: p, in: t.in, get: func(f Field) (value, bool) {
		at, there := t.at[f]
		if !there || at >= len(cells) {
			return value{}, there
		}
		return value{text: cells[at]}, true
	}}
	if warning != "" {
		r.warn("", warning)
	}
	r.names("", "")
	r.count(cells, len(t.columns), t.at)
	r.where(t.o.RadiusM)
	r.rest()
	return p, nil
}

// count refuses a row whose cells cannot be told apart: with more than the header
// has, or too few to have all that are asked for.
func (r *rowReader) count(cells []string, columns int, at map[Field]int) {
	last := 0
	for _, i := range at {
		last = max(last, i)
	}
	if cells = table.Trimmed(cells, columns); len(cells) > columns || len(cells) <= last {
		r.refuse(engage.Errorf(engage.Invalid, "", "has %d cells, the header has %d: a cell that holds the separator must stand in quotes", len(cells), columns))
	}
}

// where reads the shape of a row: the text of a geometry, or else a circle.
func (r *rowReader) where(radiusM float64) {
	if geometry := r.text(Geometry); geometry != "" {
		raw := []byte(geometry)
		s, err := geo.ParseGeometry(raw, r.radius(radiusM, isPoint(raw)))
		r.shape(s, err, func(at string) string {
			if at == "radius" {
				return r.in(Radius)
			}
			return join(r.in(Geometry), at)
		})
		return
	}
	lat, lng := r.number(Lat), r.number(Lng)
	if r.part.row.Err != nil {
		return
	}
	switch {
	case math.IsNaN(lat):
		r.refusef(Lat, "is missing")
		return
	case math.IsNaN(lng):
		r.refusef(Lng, "is missing")
		return
	}
	radius := r.radius(radiusM, true)
	if radius == nil {
		r.refusef(Radius, "is missing, and no default was given")
		return
	}
	c := geo.Circle{Around: geo.Point{Lat: lat, Lng: lng}, RadiusM: *radius}
	r.shape(c, c.Validate(), func(at string) string {
		switch at[strings.LastIndex(at, ".")+1:] {
		case "lat":
			return r.in(Lat)
		case "lng":
			return r.in(Lng)
		default:
			return r.in(Radius)
		}
	})
}

// join puts a path below another.
func join(path, below string) string {
	switch {
	case below == "":
		return path
	case path == "" || strings.HasPrefix(below, "["):
		return path + below
	default:
		return path + "." + below
	}
}
