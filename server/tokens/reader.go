package tokens

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Format of a file.
type Format string

// The formats.
const (
	CSV    Format = "csv"    // with a header; separated by comma, semicolon or tab
	NDJSON Format = "ndjson" // a JSON object per line
)

// Old is what becomes of a row that is too old.
type Old string

// What becomes of it.
const (
	Warn          Old = "warn"           // it is taken, with a warning
	RefuseExpired Old = "refuse_expired" // what the provider has expired is refused
	RefuseStale   Old = "refuse_stale"   // what is stale, too
)

// How old a token may be. Only Android's expire (FCM's own figures); of the others the
// later bound is when it is doubted that the app is still there.
const (
	StaleAfter   = 30 * 24 * time.Hour // Android
	ExpiredAfter = 270 * 24 * time.Hour
)

// maxLine bounds a row, in bytes: a token has 4096 at most.
const maxLine = 16 << 10

// Options of NewReader. All are required but Format.
type Options struct {
	Format Format // empty: lines that begin with { are NDJSON
	// Platform of the app: that of rows which say none; rows of another are refused.
	Platform string
	// Providers that the app has a credential of: rows of others are refused.
	Providers []string
	Old       Old
	Now       time.Time
}

// Row of a file: a token to take, or why not.
type Row struct {
	Number   int    // in a table as a spreadsheet counts, the header is 1; of NDJSON the line
	User     string // empty: not said
	Install  string // empty: not said
	Platform string
	// Push has no token when the row is refused.
	Push          engage.PushTarget
	Notifications string
	Warnings      []Warning
	Err           *engage.Error // why it is refused; nil: it is not
}

// Warning is what is doubtful of a row that is taken.
type Warning struct {
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// Reader reads rows.
type Reader struct {
	o       Options
	from    *bufio.Reader
	line    int
	columns []string // of a table: the field of each column; empty: not looked at
	comma   rune
}

// names of columns and properties, by the field that they hold.
var names = map[string]string{
	"user_id": "user_id", "external_user_id": "user_id", "external_id": "user_id",
	"install": "install", "install_id": "install", "device_id": "install",
	"platform": "platform", "provider": "provider", "token": "token", "push_token": "token", "environment": "environment",
	"topic": "topic", "registered_at": "registered_at", "created_at": "registered_at",
	"last_seen": "last_seen", "last_seen_at": "last_seen", "updated_at": "last_seen",
	"notifications": "notifications",
}

// NewReader reads the header of a table. An error is an *engage.Error of the file, or
// that of from.
func NewReader(from io.Reader, o Options) (*Reader, error) {
	r := &Reader{o: o, from: bufio.NewReaderSize(from, maxLine)}
	if b, err := r.from.Peek(3); err == nil && bytes.Equal(b, []byte("\xef\xbb\xbf")) {
		_, _ = r.from.Discard(3) // the mark of UTF-8, as spreadsheets write it; it was peeked
	}
	if r.o.Format == "" {
		r.o.Format = CSV
		if b, err := r.from.Peek(1); err == nil && b[0] == '{' {
			r.o.Format = NDJSON
		}
	}
	if r.o.Format == NDJSON {
		return r, nil
	}
	header, err := r.next()
	if errors.Is(err, io.EOF) {
		return nil, engage.Errorf(engage.Invalid, "header", "is missing: the file is empty")
	}
	if errors.Is(err, errLong) {
		return nil, engage.Errorf(engage.TooLarge, "header", "has more than %d bytes", maxLine)
	}
	if err != nil {
		return nil, err
	}
	r.comma = separator(header)
	cells, err := r.cells(header)
	if err != nil {
		return nil, engage.Errorf(engage.Invalid, "header", "cannot be read: %v", err)
	}
	has := map[string]bool{}
	for _, cell := range cells {
		field := names[strings.ReplaceAll(strings.ToLower(strings.TrimSpace(cell)), " ", "_")]
		if field != "" && has[field] {
			return nil, engage.Errorf(engage.Invalid, "header", "has two columns for %s", field)
		}
		has[field] = true
		r.columns = append(r.columns, field)
	}
	switch {
	case !has["token"]:
		return nil, engage.Errorf(engage.Invalid, "header", "has no column token; known are %s", strings.Join(Fields(), ", "))
	case !has["user_id"] && !has["install"]:
		return nil, engage.Errorf(engage.Invalid, "header", "has neither a column user_id nor install")
	case !has["registered_at"] && !has["last_seen"]:
		return nil, engage.Errorf(engage.Invalid, "header", "has neither a column registered_at nor last_seen: a token's age is needed")
	}
	return r, nil
}

// Fields are what a file may have, sorted.
func Fields() []string {
	var out []string
	for _, field := range names {
		out = append(out, field)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// separator is the one that the header has most of.
func separator(header string) rune {
	best := ','
	for _, c := range ";\t" {
		if strings.Count(header, string(c)) > strings.Count(header, string(best)) {
			best = c
		}
	}
	return best
}

// errLong is of a line that is longer than any row.
var errLong = errors.New("line too long")

// next is the next line that is not empty, without its end. Of one that is too long
// the rest is skipped.
func (r *Reader) next() (string, error) {
	for {
		b, err := r.from.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			r.line++
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.from.ReadSlice('\n')
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return "", err
			}
			return "", errLong
		}
		if err != nil && (!errors.Is(err, io.EOF) || len(b) == 0) {
			return "", err
		}
		r.line++
		if line := strings.TrimRight(string(b), "\r\n"); strings.TrimSpace(line) != "" {
			return line, nil
		}
	}
}

// cells are those of a line: a row of tokens has no cell of several lines, and one that
// is broken spoils no other.
func (r *Reader) cells(line string) ([]string, error) {
	x := csv.NewReader(strings.NewReader(line))
	x.Comma, x.FieldsPerRecord = r.comma, -1
	cells, err := x.Read()
	if bad, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, bad.Err
	}
	return cells, err
}

// Next is the next row; io.EOF after the last. Any other error is that of the file's
// reader; what is wrong with a row stands in it.
func (r *Reader) Next() (*Row, error) {
	line, err := r.next()
	row := &Row{Number: r.line}
	switch {
	case errors.Is(err, errLong):
		row.Err = engage.Errorf(engage.TooLarge, "row", "has more than %d bytes", maxLine)
		return row, nil
	case err != nil:
		return nil, err
	}
	values, refused := r.values(line)
	if refused == nil {
		refused = row.take(values, &r.o)
	}
	if refused != nil {
		row.Push, row.Err = engage.PushTarget{}, refused
	}
	return row, nil
}

// values of a line by field.
func (r *Reader) values(line string) (map[string]string, *engage.Error) {
	if r.o.Format == NDJSON {
		return objectValues(line)
	}
	cells, err := r.cells(line)
	if err != nil {
		return nil, engage.Errorf(engage.Invalid, "row", "is not a row of a table: %v", err)
	}
	if len(cells) != len(r.columns) {
		return nil, engage.Errorf(engage.Invalid, "row", "has %d cells, the header %d", len(cells), len(r.columns))
	}
	out := make(map[string]string, len(cells))
	for i, field := range r.columns {
		if field != "" {
			out[field] = strings.TrimSpace(cells[i])
		}
	}
	return out, nil
}

func objectValues(line string) (map[string]string, *engage.Error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &object); err != nil || object == nil {
		return nil, engage.Errorf(engage.Invalid, "row", "is not a JSON object")
	}
	out := make(map[string]string, len(object))
	for name, raw := range object {
		field := names[strings.ToLower(name)]
		if field == "" {
			continue
		}
		if _, twice := out[field]; twice {
			return nil, engage.Errorf(engage.Invalid, field, "stands twice, under two names")
		}
		var v any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return nil, engage.Errorf(engage.Invalid, field, "is not a JSON value")
		}
		switch v := v.(type) {
		case nil:
		case string:
			out[field] = strings.TrimSpace(v)
		case json.Number:
			out[field] = v.String()
		default:
			return nil, engage.Errorf(engage.Invalid, field, "must be a text, is %s", kind(v))
		}
	}
	return out, nil
}

func kind(v any) string {
	switch v.(type) {
	case bool:
		return "true or false"
	case []any:
		return "a list"
	default:
		return "an object"
	}
}

// Outcome of a row.
const (
	Taken   = "taken"
	Refused = "refused"
)

// RowReport is what is to be said of a row.
type RowReport struct {
	Row      int       `json:"row" doc:"In a table as a spreadsheet counts, the header is 1; of lines of JSON the line"`
	Outcome  string    `json:"outcome" enum:"taken,refused"`
	Warnings []Warning `json:"warnings,omitempty" nullable:"false" doc:"What is doubtful of a row that was taken"`
	Error    *RowError `json:"error,omitempty" doc:"Why it was refused"`
}

// RowError is why a row was refused, or why the rest of a file was not read.
type RowError struct {
	Code   engage.Code `json:"code"`
	Field  string      `json:"field,omitempty"`
	Reason string      `json:"reason"`
}

// Report is what became of a file.
type Report struct {
	DryRun  bool        `json:"dry_run,omitempty" doc:"Nothing was saved: this is what would happen"`
	Read    int         `json:"read" doc:"Rows"`
	Taken   int         `json:"taken" doc:"Rows. One whose token is known already, or older than what the phone has, changes nothing"`
	Refused int         `json:"refused" doc:"Rows"`
	Warned  int         `json:"warned" doc:"Rows that were taken with a warning"`
	Stale   int         `json:"stale" doc:"Rows, taken or refused, that are too old"`
	Rows    []RowReport `json:"rows" nullable:"false" maxItems:"100" doc:"The first that were refused or have a warning"`
	More    int         `json:"more,omitempty" doc:"Such rows that are not listed; as application/x-ndjson all are"`
	Error   *RowError   `json:"error,omitempty" doc:"Why the rest of the file was not read; what was before it is saved"`
}

// MaxReported bounds the rows of a Report; a report by rows has them all.
const MaxReported = 100

// Report of the row, and whether there is something to be told besides its outcome.
func (row *Row) Report() (RowReport, bool) {
	out := RowReport{Row: row.Number, Outcome: Taken, Warnings: row.Warnings}
	if row.Err != nil {
		out.Outcome, out.Error = Refused, &RowError{row.Err.Code, row.Err.Field, row.Err.Msg}
	}
	return out, out.Error != nil || len(out.Warnings) > 0
}

// Count adds a row to the report's figures.
func (r *Report) Count(row *Row) {
	r.Read++
	switch {
	case row.Err != nil:
		r.Refused++
	default:
		r.Taken++
		if len(row.Warnings) > 0 {
			r.Warned++
		}
	}
	if row.Err != nil && row.Err.Code == TooOld || slices.ContainsFunc(row.Warnings, func(w Warning) bool { return w.Field == ageField }) {
		r.Stale++
	}
}

// ageField is the field that a row's age is told under.
const ageField = "last_seen"

// TooOld is the code of a row that was refused for its age.
const TooOld engage.Code = "too_old"

func fault(field, format string, args ...any) *engage.Error {
	return &engage.Error{Code: engage.Invalid, Field: field, Msg: fmt.Sprintf(format, args...)}
}
