package uploads

import (
	"errors"
	"io"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
)

// PreviewBytes are looked at for a preview, at most.
const PreviewBytes = 1 << 20

// previewRows are shown, and counted.
const (
	previewShown = 10
	previewRead  = 1000
)

// Previewing is what a preview is asked for.
type Previewing struct {
	Kind     Kind
	Format   Format // "": found out
	Mapping  Mapping
	Declared map[string]rules.Type
	Now      time.Time
	// Catalogue, of items, is where they would go: what it refuses is told; nil: nothing is.
	Catalogue *engage.Catalogue
}

// Preview is what the beginning of a file would be read as.
type Preview struct {
	Format  Format       `json:"format"`
	Gzipped bool         `json:"gzipped,omitempty"`
	Columns []string     `json:"columns,omitempty" nullable:"false" doc:"Of a table"`
	Mapping Mapping      `json:"mapping" doc:"Target by column: what was given, or what is guessed. Columns without a target are not looked at"`
	New     []string     `json:"new_fields,omitempty" nullable:"false" doc:"Of items: columns that are no field of the catalogue, which declares some: it learns them"`
	Read    int          `json:"read" doc:"Rows that were looked at: about the first 1000, as far as they came"`
	Refused int          `json:"refused"`
	Rows    []PreviewRow `json:"rows" nullable:"false" doc:"What the first ten say. Of orders with several rows, the first ten orders"`
	Wrong   []Refused    `json:"wrong,omitempty" nullable:"false" doc:"The first ten that would be refused"`
}

// PreviewRow is what a row says.
type PreviewRow struct {
	Row         int                               `json:"row"`
	Identifiers []string                          `json:"identifiers,omitempty" nullable:"false" doc:"Absent of items"`
	At          time.Time                         `json:"at,omitzero" doc:"When it was so; absent of items"`
	Attributes  map[string]any                    `json:"attributes,omitempty"`
	Preferences map[string]engage.Attitude        `json:"preferences,omitempty"`
	Consents    map[engage.Purpose]engage.Consent `json:"consents,omitempty"`
	Item        string                            `json:"item,omitempty" doc:"Of items: the id"`
	Deleted     bool                              `json:"deleted,omitempty" doc:"Of items: it would be deleted"`
	Fields      map[string]any                    `json:"fields,omitempty" doc:"Of items"`
	Event       string                            `json:"event,omitempty"`
	Properties  map[string]any                    `json:"properties,omitempty"`
	Order       *engage.Order                     `json:"order,omitempty"`
}

// Look reads the beginning of a file, PreviewBytes at most, and saves nothing. Its end
// may be cut anywhere. Errors are those that the upload would fail by.
func Look(from io.Reader, o Previewing) (*Preview, error) {
	part := &io.LimitedReader{R: from, N: PreviewBytes}
	if len(o.Mapping) == 0 {
		o.Mapping = nil
	}
	r, err := openReader(part, readerOptions{Kind: o.Kind, Format: o.Format, Mapping: o.Mapping, Declared: o.Declared, Now: o.Now, AsOf: o.Now})
	if err != nil {
		return nil, err
	}
	p := &Preview{Format: r.format, Gzipped: r.gzipped, Columns: r.columns, Rows: []PreviewRow{}}
	began := map[string]int{}
	rows := r.units(func(order string, row int) (int, error) {
		if first, known := began[order]; known {
			return first, nil
		}
		began[order] = row
		return row, nil
	})
	if k := o.Catalogue; k != nil {
		rows = fitted{rows, k}
	}
	var row, before *unit
	for ; p.Read < previewRead-1; before = row {
		if row, err = rows.next(); err != nil {
			break
		}
		p.add(before)
	}
	// The last row of a part is cut, most likely; so is what is compressed.
	if cut := part.N <= 0; err == nil || !cut && errors.Is(err, io.EOF) {
		p.add(before)
	} else if !cut {
		return nil, err
	}
	p.Mapping = r.decided()
	if p.Mapping == nil { // lines of JSON: what their keys would be
		p.Mapping = Mapping{}
		for key, t := range r.keys {
			if t.field != ignored {
				p.Mapping[key] = t.String()
			}
		}
	}
	p.New = unlearned(p.Mapping, o.Catalogue)
	if p.Read == 0 && part.N > 0 {
		return nil, engage.Errorf(engage.Invalid, "file", "has no row")
	}
	return p, nil
}

func (p *Preview) add(u *unit) {
	if u == nil {
		return
	}
	p.Read += len(u.numbers)
	p.Refused += len(u.wrong)
	p.Wrong = append(p.Wrong, u.wrong[:min(len(u.wrong), previewShown-len(p.Wrong))]...)
	row := u.row
	if row == nil || len(p.Rows) == previewShown {
		return
	}
	t := &row.Touch
	out := PreviewRow{
		Row: row.Number, Identifiers: t.Identifiers, At: row.Occurred, Attributes: t.Traits, Preferences: t.Preferences, Consents: t.Consents, Order: t.Order,
	}
	if i := row.Item; i != nil {
		out.Item, out.Deleted, out.Fields = i.ID, i.Delete, i.Fields
	}
	if t.Event != nil {
		out.Event, out.Properties = t.Event.Name, t.Event.Properties
	}
	p.Rows = append(p.Rows, out)
}
