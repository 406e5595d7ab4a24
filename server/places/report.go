package places

import (
	"slices"
	"strings"

	"github.com/footfall-engage/footfall/server/engage"
)

// Outcome of a row.
type Outcome string

// The outcomes.
const (
	Created   Outcome = "created"   // its place is new
	Changed   Outcome = "changed"   // its place is another than it was
	Unchanged Outcome = "unchanged" // its place was so already: nothing was written
	Refused   Outcome = "refused"
)

// RowReport is what is to be said of a row.
type RowReport struct {
	Row      int       `json:"row" doc:"In a table as a spreadsheet counts, the header is 1; in GeoJSON the first feature is 1"`
	Place    string    `json:"place,omitempty" doc:"Id; absent: it could not be read"`
	Fence    string    `json:"fence,omitempty" doc:"Id of the geofence"`
	Outcome  Outcome   `json:"outcome" enum:"created,changed,unchanged,refused"`
	Warnings []Warning `json:"warnings,omitempty" nullable:"false" doc:"What was not as it should be and was put right"`
	Error    *RowError `json:"error,omitempty" doc:"Why it was refused"`
}

// RowError is why a row was refused, or why the rest of a file was not read. The
// field is in the file's own terms: a column, or a path in the feature; of what is wrong
// with a row as a whole it is "row" in a table and "features[0]", … in GeoJSON.
type RowError struct {
	Code   engage.Code `json:"code"`
	Field  string      `json:"field,omitempty"`
	Reason string      `json:"reason"`
}

// RowErrorOf is err for a report.
func RowErrorOf(err *engage.Error) *RowError {
	return &RowError{Code: err.Code, Field: err.Field, Reason: err.Msg}
}

// MaxReported bounds the rows of a Report; a report by rows has them all.
const MaxReported = 100

// Report is what became of a file.
type Report struct {
	DryRun     bool        `json:"dry_run,omitempty" doc:"Nothing was saved: this is what would happen"`
	Read       int         `json:"read" doc:"Rows"`
	Created    int         `json:"created" doc:"Places"`
	Changed    int         `json:"changed" doc:"Places"`
	Unchanged  int         `json:"unchanged" doc:"Places that were so already: nothing was written"`
	Refused    int         `json:"refused" doc:"Rows"`
	Warned     int         `json:"warned" doc:"Rows that were taken with a warning"`
	ZonesFound int         `json:"zones_found" doc:"Places whose time zone was found from the position"`
	Rows       []RowReport `json:"rows" nullable:"false" maxItems:"100" doc:"The first that were refused or have a warning"`
	More       int         `json:"more,omitempty" doc:"Such rows that are not listed; as application/x-ndjson all are"`
	Error      *RowError   `json:"error,omitempty" doc:"Why the rest of the file was not read; what was before it is saved"`
}

// Reports are the rows of an item. changed is what became of its place.
func (it *Item) Reports(changed Outcome) []RowReport {
	out := make([]RowReport, len(it.Rows))
	for i, r := range it.Rows {
		out[i] = RowReport{Row: r.Number, Place: r.Place, Fence: r.Fence, Outcome: changed, Warnings: r.Warnings}
		if r.Err != nil {
			out[i].Outcome, out[i].Error = Refused, RowErrorOf(r.Err)
			if out[i].Error.Field == "" {
				out[i].Error.Field = it.reader.rows.whole(r.Number)
			}
		}
	}
	return out
}

// Count adds an item to the report's figures, as Reports gives it. A place that comes
// several times in a file is counted once.
func (r *Report) Count(it *Item, changed Outcome, rows []RowReport) {
	taken := false
	for _, row := range rows {
		r.Read++
		if row.Outcome == Refused {
			r.Refused++
			continue
		}
		taken = true
		if len(row.Warnings) > 0 {
			r.Warned++
		}
	}
	if !taken {
		return
	}
	of := it.reader.taken[it.ID()]
	if it.ZoneFound && !of.zoned {
		of.zoned = true
		r.ZonesFound++
	}
	r.places(of.became, -1)
	of.became = max(of.became, uint8(max(slices.Index(counted[:], changed), 0))) //nolint:gosec // an index of four
	r.places(of.became, 1)
	it.reader.taken[strings.Clone(it.ID())] = of
}

// counted are what becomes of places; of one that comes several times in a file, the
// last of these.
var counted = [...]Outcome{Refused, Unchanged, Changed, Created}

func (r *Report) places(became uint8, n int) {
	switch counted[became] {
	case Created:
		r.Created += n
	case Changed:
		r.Changed += n
	case Unchanged:
		r.Unchanged += n
	case Refused: // its rows are
	}
}

// Noteworthy reports whether a row has something to be told besides its outcome.
func (r RowReport) Noteworthy() bool { return r.Error != nil || len(r.Warnings) > 0 }
