package places

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/table"
)

// Format of a file.
type Format string

// The formats.
const (
	GeoJSON Format = "geojson"
	CSV     Format = "csv"
)

// OnBadHours says what becomes of a row whose hours cannot be read.
type OnBadHours string

// What becomes of it.
const (
	WarnHours   OnBadHours = "warn"   // it is taken without hours, with a warning
	RefuseHours OnBadHours = "refuse" // it is refused
)

// MaxRows of a file.
const MaxRows = 2_000_000

// Options of a Reader.
type Options struct {
	Workspace string     // of the places
	Format    Format     // empty: what the first character says
	Map       Mapping    // see ParseMapping
	RadiusM   float64    // of points that have none; 0: such are refused
	BadHours  OnBadHours // empty: WarnHours
}

// Warning is what was not as it should be in a row and was put right.
type Warning struct {
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// Row is a row of a table or a feature, and what is to be said of it.
type Row struct {
	Number   int    // in a table the header is 1, in GeoJSON the first feature
	Place    string // id; empty where it could not be read
	Fence    string // id
	Warnings []Warning
	Err      *engage.Error // why it was refused; the field is in the file's own terms
}

// Item is what a file says of one place. Where all its rows are refused, Place is nil.
type Item struct {
	Place *engage.Place
	Rows  []Row

	// ZoneFound: the zone was found from the position, by Complete.
	ZoneFound bool

	reader   *Reader
	parts    []*part // of Rows; nil where it was refused
	replaced int32   // number of the row of the same place before it; 0: there is none
}

// part is one row that was read.
type part struct {
	row   Row
	fence engage.Geofence
	place engage.Place
	given map[Field]bool // fields that the file has, also where they are empty
	again bool           // a later row has its geofence
}

// source gives rows one by one.
type source interface {
	// next is the next row, numbered; io.EOF after the last. Another error ends the
	// file.
	next() (*part, error)
	// in is what a field is called in the file.
	in(f Field) string
	// whole is what a row is called in the file.
	whole(number int) string
}

// Reader reads places from a file.
type Reader struct {
	o      Options
	format Format
	rows   source
	ahead  *part // the first row of the next place
	read   int
	taken  map[string]taken // by id
	long   string           // id of the place that has more than maxGroup rows here
	over   error            // that ended the file
}

// taken is what a reader keeps of a place that was taken: 2 million of them are held.
type taken struct {
	row    int32 // number of the first row of its last item
	became uint8 // index of counted: how a report counts the place
	zoned  bool  // its zone was found from the position
}

// NewReader reads the beginning of a file. An error is an *engage.Error about the
// whole file, or that of r.
func NewReader(r io.Reader, o Options) (*Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if _, err := table.Begin(in); err != nil {
		return nil, err
	}
	var err error
	x := &Reader{o: o, format: o.Format, taken: map[string]taken{}}
	if x.format == "" {
		if x.format, err = sniff(in); err != nil {
			return nil, err
		}
	}
	if x.format == GeoJSON {
		x.rows, err = newFeatures(in, o)
	} else {
		x.rows, err = newTable(in, o)
	}
	if err != nil {
		return nil, err
	}
	return x, nil
}

// sniff tells the format by the first character.
func sniff(in *bufio.Reader) (Format, error) {
	for {
		b, err := in.Peek(1)
		switch {
		case errors.Is(err, io.EOF):
			return "", engage.Errorf(engage.Invalid, "", "is empty")
		case err != nil:
			return "", err
		case b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n':
			_, _ = in.Discard(1) // it was peeked at
		case b[0] == '{' || b[0] == '[':
			return GeoJSON, nil
		default:
			return CSV, nil
		}
	}
}

// Format is what the file is.
func (r *Reader) Format() Format { return r.format }

// Next is the next place. io.EOF after the last; another error, an *engage.Error or
// that of the file, ends it: what was before it was read.
func (r *Reader) Next() (*Item, error) {
	first := r.ahead
	r.ahead = nil
	if first == nil {
		var err error
		if first, err = r.row(); err != nil {
			return nil, err
		}
	}
	it := &Item{reader: r}
	id := first.row.Place
	if id != "" && id == r.long {
		first.row.Err = r.tooMany()
		it.add(first)
		return it, nil
	}
	r.long = ""
	it.add(first)
	if id == "" {
		return it, nil
	}
	fences := map[string]int{first.row.Fence: 0} // by id, the index of its row
	for {
		p, err := r.row()
		if err != nil { // it is told when what is before it was taken
			r.over = err
			return it, nil //nolint:nilerr // see above
		}
		if p.row.Place != id {
			r.ahead = p
			return it, nil
		}
		if len(it.parts) == maxGroup { // the last row would count, and is not known yet
			r.ahead, r.long = p, strings.Clone(id)
			it.Rows[0].Err = r.tooMany()
			it.broken()
			return it, nil
		}
		if at, again := fences[p.row.Fence]; again && p.row.Fence != "" {
			if it.parts[at] != nil {
				it.parts[at].again = true
			}
			p.row.Warnings = append(p.row.Warnings, r.again(it.Rows[at].Number))
		}
		fences[p.row.Fence] = len(it.parts)
		it.add(p)
	}
}

// maxGroup bounds the rows that are put together; a place has fewer geofences.
const maxGroup = 100

func (r *Reader) tooMany() *engage.Error {
	return engage.Errorf(engage.TooLarge, r.rows.in(ID), "more than %d rows of this place follow one another", maxGroup)
}

func (r *Reader) again(at int) Warning {
	return Warning{r.rows.in(ID), fmt.Sprintf("stands in row %d already, which this one replaces", at)}
}

func (r *Reader) row() (*part, error) {
	if r.over != nil {
		return nil, r.over
	}
	if r.read >= MaxRows {
		r.over = engage.Errorf(engage.TooLarge, "", "has more than %d rows: split it", MaxRows)
		return nil, r.over
	}
	p, err := r.rows.next()
	if err != nil {
		r.over = err
		return nil, err
	}
	r.read++
	return p, nil
}

func (it *Item) add(p *part) {
	if p.row.Err != nil {
		it.Rows, it.parts = append(it.Rows, p.row), append(it.parts, nil)
		it.broken()
		return
	}
	it.Rows, it.parts = append(it.Rows, p.row), append(it.parts, p)
}

// broken refuses the other rows of a place of which one is: half of its geofences
// must not replace all.
func (it *Item) broken() {
	for i := range it.Rows {
		if it.Rows[i].Err == nil {
			it.Rows[i].Err = engage.Errorf(engage.Conflict, "", "another row of this place was refused, so the place stays as it was")
		}
		it.parts[i] = nil
	}
}

// Complete makes the place: what the file says, over old where there is a place of
// this id already (else nil), be it from an earlier Item. Place stays nil where the
// file's rows are refused. It is called once, in the order of the items.
func (it *Item) Complete(old *engage.Place) {
	it.Place = nil
	if slices.ContainsFunc(it.Rows, func(r Row) bool { return r.Err != nil }) {
		it.broken() // also rows that came after the bad one
		return
	}
	p := &engage.Place{Workspace: it.reader.o.Workspace}
	if old != nil {
		c := *old
		p = &c
		p.Geofences = nil
	}
	given := map[Field]bool{}
	first := -1
	for i, part := range it.parts {
		if part == nil {
			continue
		}
		if first < 0 {
			first = i
		}
		p.ID = part.row.Place
		part.over(p, given)
		if part.again {
			continue
		}
		f := part.fence
		if had := fenceOf(old, f.ID); had != nil {
			if !part.given[DwellS] {
				f.DwellS = had.DwellS
			}
			if !part.given[Rule] {
				f.Rule = had.Rule
			}
		}
		p.Geofences = append(p.Geofences, f)
	}
	if first < 0 {
		return
	}
	if p.Name == "" {
		p.Name = p.ID
	}
	if !given[Location] {
		p.Location = Middle(p.Geofences)
	}
	if old != nil && !given[TimeZone] && old.Location != p.Location {
		p.TimeZone = "" // it was that of another position
	}
	if p.TimeZone == "" {
		if zone, ok := ZoneAt(p.Location); ok {
			p.TimeZone, it.ZoneFound = zone, true
		}
	}
	it.Place = p
	it.take(first)
	it.checkHours(first)
}

// take notes that the place was taken, and tells on the row which one it replaces.
func (it *Item) take(row int) {
	of := it.reader.taken[it.ID()]
	if it.replaced = of.row; of.row != 0 {
		it.Rows[row].Warnings = append(it.Rows[row].Warnings, it.reader.again(int(of.row)))
	}
	of.row = it.number()
	it.reader.taken[strings.Clone(it.ID())] = of // else the whole row stays in memory
}

// drop undoes take: what was taken before counts again.
func (it *Item) drop() {
	if of, ok := it.reader.taken[it.ID()]; ok && of.row == it.number() {
		of.row = it.replaced
		it.reader.taken[strings.Clone(it.ID())] = of
	}
}

func (it *Item) number() int32 { return int32(it.Rows[0].Number) } //nolint:gosec // a row, of MaxRows and blank lines

func fenceOf(p *engage.Place, id string) *engage.Geofence {
	if p == nil {
		return nil
	}
	return p.Fence(id)
}

// Middle is where a place with these geofences is taken to be: the middle of the
// first inside geofence, or else of the first.
func Middle(fences []engage.Geofence) geo.Point {
	i := max(slices.IndexFunc(fences, func(f engage.Geofence) bool { return f.Ring == engage.Inside }), 0)
	if i >= len(fences) || fences[i].Shape == nil {
		return geo.Point{} // Validate refuses it
	}
	return fences[i].Shape.Center()
}

// checkHours brings the hours into their one form, or deals with such as cannot be
// read.
func (it *Item) checkHours(row int) {
	p := it.Place
	err := NormalizeHours(p)
	if err == nil {
		return
	}
	e, ok := errors.AsType[*engage.Error](err)
	if ok && it.reader.o.BadHours != RefuseHours && e.Field == "hours" {
		field := it.reader.rows.in(Hours)
		it.Rows[row].Warnings = append(it.Rows[row].Warnings, Warning{field, fmt.Sprintf("%q cannot be read and was left out: %s", clip(p.Hours), e.Msg)})
		p.Hours, p.Exceptions = "", nil
		return
	}
	it.Refuse(err)
}

// Refuse marks the rows that err, of the place as it was completed, is about. Its
// field becomes that of the file.
func (it *Item) Refuse(err error) {
	it.Place = nil
	it.drop()
	e, ok := errors.AsType[*engage.Error](engage.FromGeo(err))
	if !ok {
		e = &engage.Error{Code: engage.Internal, Msg: err.Error()}
	}
	told := *e
	var n int
	var rest string
	if k, _ := fmt.Sscanf(e.Field, "geofences[%d].%s", &n, &rest); k == 2 {
		told.Field = it.reader.inFence(rest)
		for i, p := range it.parts {
			if p == nil || p.again {
				continue
			}
			if n == 0 {
				it.Rows[i].Err = &told
				it.broken()
				return
			}
			n--
		}
	}
	told.Field = it.reader.inPlace(e.Field)
	for i, p := range it.parts {
		if p != nil {
			it.Rows[i].Err, it.parts[i] = &told, nil
		}
	}
}

// inFence is what a field of a geofence is called in the file.
func (r *Reader) inFence(field string) string {
	for prefix, f := range map[string]Field{"id": Fence, "ring": Ring, "dwell_s": DwellS, "geometry.radius": Radius, "radius": Radius} {
		if field == prefix {
			return r.rows.in(f)
		}
	}
	if rest, ok := strings.CutPrefix(field, "rule"); ok {
		return r.rows.in(Rule) + rest
	}
	if rest, ok := strings.CutPrefix(field, "geometry"); ok {
		return r.rows.in(Geometry) + rest
	}
	return field
}

// inPlace is what a field of a place is called in the file.
func (r *Reader) inPlace(field string) string {
	cut := strings.IndexAny(field, ".[")
	if cut < 0 {
		cut = len(field)
	}
	f := Field(field[:cut])
	if f == "rule" {
		f = PlaceRule
	}
	if !slices.Contains(Fields, f) {
		return field
	}
	return r.rows.in(f) + field[cut:]
}

// over puts what the row says of its place over p.
func (part *part) over(p *engage.Place, given map[Field]bool) {
	from := &part.place
	for f := range part.given {
		switch f {
		case Name:
			if from.Name != "" {
				p.Name = from.Name
			}
		case Hours:
			p.Hours = from.Hours
		case TimeZone:
			p.TimeZone = from.TimeZone
		case Tags:
			p.Tags = from.Tags
		case Location:
			p.Location = from.Location
		case Holidays:
			p.Holidays = from.Holidays
		case Exceptions:
			p.Exceptions = from.Exceptions
		case Beacons:
			p.Beacons = from.Beacons
		case PlaceRule:
			p.Rule = from.Rule
		default: // of the geofence
			continue
		}
		given[f] = true
	}
}

// readJSON reads a value strictly; one that is empty or null leaves into as it is.
func readJSON(text []byte, into any) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	if !utf8.Valid(text) {
		return engage.Errorf(engage.Invalid, "", "is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return engage.Errorf(engage.Invalid, e.Field, "must be %s, is %s", e.Type, e.Value)
		}
		return engage.Errorf(engage.Invalid, "", "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if d.More() {
		return engage.Errorf(engage.Invalid, "", "something follows the value")
	}
	return nil
}

// ID of the place; empty where no row of it could be read that far.
func (it *Item) ID() string { return it.Rows[0].Place }
