package uploads

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/table"
)

// Format of a file.
type Format string

// The formats. Either may be compressed by gzip.
const (
	CSV    Format = "csv"    // with a header; separated by comma, semicolon, tab or bar
	NDJSON Format = "ndjson" // a JSON object per line
)

const (
	// maxText bounds what a file is when it is unpacked.
	maxUnpacked = 64 << 30
	// samples are the first rows by which types are guessed, sampleBytes of the file at most.
	samples     = 100
	sampleBytes = 256 << 10
	// maxKeys bounds the keys of lines of JSON that are remembered.
	maxKeys = 2000
)

// readerOptions of a reader.
type readerOptions struct {
	Kind     Kind
	Format   Format  // "": lines that begin with { are NDJSON
	Mapping  Mapping // nil: guessed
	Declared map[string]rules.Type
	Now      time.Time
	AsOf     time.Time // of people that say no time: when the upload was made
}

// reader reads the rows of a file, of any size in the memory of one.
type reader struct {
	o       readerOptions
	in      *bufio.Reader
	format  Format
	gzipped bool
	skipped int64 // bytes before the first row: a mark of UTF-8
	scan    *table.Scanner
	mapped  map[string]target
	columns []string // of a table
	plan    []target // of its columns
	keys    map[string]target
	row     rowReader
}

// openReader reads the beginning of a file. An error is an *engage.Error of the whole
// file, or that of from.
func openReader(from io.Reader, o readerOptions) (*reader, error) {
	r := &reader{o: o, format: o.Format, row: rowReader{kind: o.Kind, now: o.Now, asOf: o.AsOf, declared: o.Declared}}
	if err := r.unpack(from); err != nil {
		return nil, err
	}
	n, err := table.Begin(r.in)
	if err != nil {
		return nil, fileError(err)
	}
	r.skipped = int64(n)
	if r.format == "" {
		if r.format, err = sniff(r.in); err != nil {
			return nil, fileError(err)
		}
	}
	if o.Mapping != nil {
		if r.mapped, err = o.Mapping.parse(o.Kind); err != nil {
			return nil, err
		}
		if r.row.lines, err = byLine(maps.Values(r.mapped)); err != nil {
			return nil, err
		}
	}
	r.scan = table.NewScanner(r.in)
	if r.format == NDJSON {
		r.keys = map[string]target{}
		return r, r.checkMapping()
	}
	return r, r.header()
}

// unpack finds out whether the file is compressed.
func (r *reader) unpack(from io.Reader) error {
	r.in = bufio.NewReaderSize(from, sampleBytes)
	if head, err := r.in.Peek(2); err == nil && head[0] == 0x1f && head[1] == 0x8b {
		z, err := gzip.NewReader(r.in)
		if err != nil {
			return fileError(err)
		}
		r.gzipped = true
		r.in = bufio.NewReaderSize(&bounded{from: z, left: maxUnpacked}, sampleBytes)
	}
	return nil
}

// bounded ends with an error what is larger than any file.
type bounded struct {
	from io.Reader
	left int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, engage.Errorf(engage.TooLarge, "file", "has more than %d bytes when it is unpacked", int64(maxUnpacked))
	}
	return n, err
}

// fileError is what is told of a file that cannot be read: what is the server's own
// fault stays as it is.
func fileError(err error) error {
	e, is := errors.AsType[*engage.Error](err)
	switch {
	case is && e.Field == "":
		return &engage.Error{Code: e.Code, Field: "file", Msg: e.Msg}
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, io.ErrUnexpectedEOF):
		return engage.Errorf(engage.Invalid, "file", "is cut off or damaged: what is compressed cannot be unpacked to its end")
	}
	if _, is := errors.AsType[flate.CorruptInputError](err); is {
		return engage.Errorf(engage.Invalid, "file", "is damaged: what is compressed cannot be unpacked to its end")
	}
	return err
}

// sniff tells the format by the first character.
func sniff(in *bufio.Reader) (Format, error) {
	for n := 1; ; n++ {
		b, err := in.Peek(n)
		if errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull) {
			return "", engage.Errorf(engage.Invalid, "file", "is empty")
		}
		if err != nil {
			return "", err
		}
		switch c := b[n-1]; c {
		case ' ', '\t', '\r', '\n':
		case '{':
			return NDJSON, nil
		case '[':
			return "", engage.Errorf(engage.Invalid, "file", "is a JSON list: write an object per line, without brackets and commas around them")
		default:
			return CSV, nil
		}
	}
}

// header reads the columns of a table and decides what they hold.
func (r *reader) header() error {
	var err error
	if r.columns, err = r.scan.Header(); err != nil {
		return fileError(err)
	}
	if err := r.checkMapping(); err != nil {
		return err
	}
	r.plan = make([]target, len(r.columns))
	for i, c := range r.columns {
		switch {
		case r.mapped != nil:
			r.plan[i] = r.mapped[c]
		case r.o.Kind == Items:
			r.plan[i] = guessItem(c, slices.ContainsFunc(r.plan[:i], func(t target) bool { return t.field == "id" }), r.o.Declared)
		default:
			r.plan[i] = guess(r.o.Kind, c, r.o.Declared)
		}
	}
	if r.mapped == nil {
		r.guessLines()
		r.guessTypes()
	}
	seen := map[string]int{}
	holds := map[string]int{}
	identified := r.o.Kind == Items // by what is needed
	for i, t := range r.plan {
		if t.field == ignored || t.field == "" {
			continue
		}
		if first, twice := seen[r.columns[i]]; twice {
			return engage.Errorf(engage.Invalid, "header", "has two columns %q, the %d. and the %d.: rename one", clip(r.columns[i]), first+1, i+1)
		}
		seen[r.columns[i]] = i
		if slices.Contains(identifierFields, t.field) {
			identified = true
			continue // several of a kind are several identifiers
		}
		t.typ = ""
		if first, twice := holds[t.String()]; twice {
			return engage.Errorf(engage.Invalid, "header", "has two columns for %s, %q and %q: map one to -", t, clip(r.columns[first]), clip(r.columns[i]))
		}
		holds[t.String()] = i
	}
	switch {
	case !identified && len(r.columns) == 1:
		return engage.Errorf(engage.Invalid, "header", "has one column only: a table is separated by comma, semicolon, tab or bar")
	case !identified:
		return engage.Errorf(engage.Invalid, "header", "has no column with a user_id, email, loyalty or anonymous_id: say by the mapping which it is; it has %s", r.list())
	}
	for _, need := range needed(r.o.Kind) {
		_, there := holds[need]
		if need == "value" && r.row.lines {
			_, price := holds["line.price"]
			_, value := holds["line.value"]
			there = there || price || value
		}
		if !there {
			return engage.Errorf(engage.Invalid, "header", "has no column with %s: say by the mapping which it is; it has %s", need, r.list())
		}
	}
	return nil
}

func needed(kind Kind) []string {
	switch kind {
	case Events:
		return []string{"occurred_at", "event"}
	case Purchases:
		return []string{"occurred_at", "order_id", "value"}
	case Items:
		return []string{"id"}
	default:
		return nil
	}
}

func (r *reader) list() string {
	var out []string
	for _, c := range r.columns[:min(len(r.columns), 40)] {
		out = append(out, clip(c))
	}
	return strings.Join(out, ", ")
}

// checkMapping refuses columns that are mapped and not there.
func (r *reader) checkMapping() error {
	if r.format == NDJSON {
		return nil // any line may have a key
	}
	for c := range r.mapped {
		if !slices.Contains(r.columns, c) {
			return engage.Errorf(engage.Invalid, "mapping."+clip(c), "the table has no such column; it has %s", r.list())
		}
	}
	return nil
}

// guessLines takes the columns of a table of purchases that have names as tills give them
// to an order's lines: when one tells an article or a line's amount, and none has lists of
// products.
func (r *reader) guessLines() {
	if r.o.Kind != Purchases || slices.ContainsFunc(r.plan, func(t target) bool { return t.field == "products" }) {
		return
	}
	plan, tells := slices.Clone(r.plan), false
	for i, c := range r.columns {
		name := strings.Join(strings.Fields(strings.ToLower(c)), "_")
		part, dotted := strings.CutPrefix(name, "line.")
		if !dotted {
			part = lineNames[name]
		}
		if plan[i].field != "properties" || !slices.Contains(lineParts, part) {
			continue
		}
		t := target{field: "line", name: part}
		if slices.Contains(plan, t) {
			continue // the first column has it
		}
		plan[i] = t
		tells = tells || part == "id" || part == "value"
	}
	if tells {
		r.plan, r.row.lines = plan, true
	}
}

// guessTypes looks at the first rows, which are read again: attributes and properties of
// which no type is declared have that of their values.
func (r *reader) guessTypes() {
	peeked, _ := r.in.Peek(r.in.Size()) // less at the end of the file
	if i := bytes.LastIndexByte(peeked, '\n'); i >= 0 && len(peeked) == r.in.Size() {
		peeked = peeked[:i+1]
	}
	header := []byte(strings.Repeat("c"+r.scan.Comma(), len(r.columns)-1) + "c\n")
	s := table.NewScanner(bufio.NewReader(io.MultiReader(bytes.NewReader(header), bytes.NewReader(peeked))))
	if _, err := s.Header(); err != nil {
		return
	}
	by := make([][]string, len(r.columns))
	for range samples {
		cells, _, fatal, err := s.Next()
		if fatal {
			break
		}
		if err != nil || len(cells) != len(by) {
			continue
		}
		for i, c := range cells {
			by[i] = append(by[i], strings.TrimSpace(c))
		}
	}
	for i, t := range r.plan {
		if (t.field == "attributes" || t.field == "properties" || t.field == "fields") && (t.field == "properties" || r.o.Declared[t.name] == "") {
			r.plan[i].typ = likely(by[i])
		}
	}
}

// decided is the mapping by which the file is read; nil for lines of JSON without one,
// where each key is guessed when it comes.
func (r *reader) decided() Mapping {
	if r.format == NDJSON {
		return r.o.Mapping
	}
	m := Mapping{}
	for i, c := range r.columns {
		if t := r.plan[i]; t.field != "" && t.field != ignored {
			m[c] = t.String()
		}
	}
	return m
}

// position is where the next row begins, in bytes of the unpacked file, and the number of
// the last; false where nobody can go on.
func (r *reader) position() (offset int64, row int, ok bool) {
	return r.skipped + r.scan.Offset(), r.scan.Row(), r.scan.Settled()
}

// resume goes on at a position of another reader of the same file; from gives the file
// anew. The header has been read.
func (r *reader) resume(from io.Reader, offset int64, row int) error {
	if offset == 0 {
		return nil
	}
	if err := r.unpack(from); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, r.in, offset); err != nil {
		return fileError(err)
	}
	r.scan.Resume(r.in, offset-r.skipped, row)
	return nil
}

// next is the next row; io.EOF after the last. Another error, an *engage.Error or that of
// the file, ends it; what is wrong with a row stands in it.
func (r *reader) next() (*Row, error) {
	row := &Row{}
	var wrong *engage.Error
	var err error
	r.row.begin()
	if r.row.lines {
		defer r.lined(row)
	}
	if r.format == NDJSON {
		wrong, err = r.object()
	} else {
		wrong, err = r.cells()
	}
	row.Number = r.scan.Row()
	if err != nil {
		return nil, err
	}
	if wrong == nil {
		wrong = r.row.end(row)
	}
	if wrong != nil {
		row.Touch, row.Item, row.Err = engage.Touch{}, nil, wrong
	}
	return row, nil
}

// lined notes of which order a row is, also one that is refused.
func (r *reader) lined(row *Row) {
	l, o := r.row.line, r.row.touch.Order
	l.status, l.total = o.Status, r.row.attrs > 0
	row.order, row.line = o.ID, &l
}

// ordered looks for the order of a row that is refused, of which not everything was put.
func (r *reader) ordered(each func(put func(target, *value))) {
	if !r.row.lines {
		return
	}
	o := r.row.touch.Order
	o.ID, o.Status = "", engage.OrderCompleted
	each(func(t target, v *value) {
		if (t.field == "order_id" || t.field == "status") && !v.empty() {
			before := *o
			if wrong := r.row.order(t.field, v); wrong != "" {
				*o = before
			}
		}
	})
}

// column is the first that holds a target, for people to read; the target itself when none
// does.
func (r *reader) column(name string) string {
	is := func(t target) bool { return t.String() == name }
	for i, t := range r.plan {
		if is(t) {
			return clip(r.columns[i])
		}
	}
	for _, c := range slices.Sorted(maps.Keys(r.mapped)) {
		if is(r.mapped[c]) {
			return clip(c)
		}
	}
	return name
}

// rowError is the refusal of the whole of a row.
func rowError(err error) *engage.Error {
	if e, is := errors.AsType[*engage.Error](err); is && e.Field == "" {
		return &engage.Error{Code: e.Code, Field: "row", Msg: e.Msg}
	}
	return nil
}

func (r *reader) cells() (*engage.Error, error) {
	cells, _, fatal, err := r.scan.Next()
	if err != nil {
		if wrong := rowError(err); wrong != nil && !fatal {
			return wrong, nil
		}
		return nil, fileError(err)
	}
	if cells = table.Trimmed(cells, len(r.columns)); len(cells) != len(r.columns) {
		return at("row", fmt.Sprintf("has %d cells, the header has %d: a cell that holds the separator must stand in quotes", len(cells), len(r.columns))), nil
	}
	for i, c := range cells {
		if r.plan[i].field == "" {
			continue
		}
		if !utf8.ValidString(c) {
			return at(r.columns[i], "is not UTF-8: save the file as that"), nil
		}
		if wrong := r.row.put(r.columns[i], r.plan[i], &value{text: strings.TrimSpace(c)}); wrong != nil {
			r.ordered(func(put func(target, *value)) {
				for i, c := range cells {
					put(r.plan[i], &value{text: strings.TrimSpace(c)})
				}
			})
			return wrong, nil
		}
	}
	return nil, nil //nolint:nilnil // nothing is wrong
}

// roots are objects within a line whose members are columns of their own.
var roots = []string{"attributes", "traits", "properties", "preferences", "consents", "fields"}

func (r *reader) object() (*engage.Error, error) {
	line, err := r.scan.NextLine()
	if err != nil {
		if wrong := rowError(err); wrong != nil {
			return wrong, nil
		}
		return nil, fileError(err)
	}
	if !utf8.Valid(line) {
		return at("row", "is not UTF-8"), nil
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil || object == nil {
		return at("row", "is not a JSON object in one line"), nil
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return at("row", "has something behind its JSON object"), nil
	}
	wrong := r.members("", object)
	if wrong != nil {
		r.ordered(func(put func(target, *value)) {
			for column, x := range object {
				put(r.mapped[column], &value{json: x, of: member})
			}
		})
	}
	return wrong, nil
}

// members puts what stands in an object; those of roots by their path.
func (r *reader) members(prefix string, object map[string]any) *engage.Error {
	if len(object) > table.MaxColumns {
		return &engage.Error{Code: engage.TooLarge, Field: "row", Msg: fmt.Sprintf("has %d keys, at most %d", len(object), table.MaxColumns)}
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		x, column := object[key], prefix+key
		t, mapped := r.mapped[column]
		if within, is := x.(map[string]any); is && !mapped &&
			(prefix == "" && slices.Contains(roots, key) && (key != "fields" || r.o.Kind == Items) || strings.HasPrefix(prefix, "consents.") && strings.Count(prefix, ".") == 1) {
			if wrong := r.members(column+".", within); wrong != nil {
				return wrong
			}
			continue
		}
		if !mapped {
			if t = r.keyed(column); r.mapped != nil {
				continue
			}
		}
		if wrong := r.row.put(column, t, &value{json: x, of: member}); wrong != nil {
			return wrong
		}
	}
	return nil
}

// keyed is the guess of a key of lines of JSON.
func (r *reader) keyed(column string) target {
	t, known := r.keys[column]
	if !known {
		t = guess(r.o.Kind, column, r.o.Declared)
		if len(r.keys) < maxKeys {
			r.keys[column] = t
		}
	}
	return t
}
