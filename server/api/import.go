package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/places"
)

const (
	csvType    = "text/csv"
	ndjsonType = "application/x-ndjson"

	// An import is saved in batches, so that it takes little memory whatever its size.
	maxImportBytes = 1 << 30
	batchPlaces    = 2000
	batchBytes     = 4 << 20

	// maxSpool bounds the compressed rows of a report; a row of a report takes some 10
	// bytes there.
	maxSpool = 64 << 20
)

func (s *server) registerImport() {
	register(s, operation{
		method: http.MethodPost, path: "/places", id: "import-places", tag: tagPlaces, role: catalog.Marketer,
		summary: "Import places from a file",
		description: "GeoJSON (a FeatureCollection) or a table (CSV with a header, separated by comma, semicolon or tab), read as it comes in: there is no limit of rows that matters, only of bytes (1 GB). " +
			"A place whose id is there already is changed, the others are created; its geofences become those of the file, and fields that the file does not have stay. " +
			"Rows of the same place that follow one another are its geofences; where it comes again later, the last counts, with a warning that has the earlier row. " +
			"A row that is refused stops no other: the report tells its number, the field and the reason. What is in the file already as it is here is not written again, so an import can be repeated. " +
			"With Accept: application/x-ndjson the report has all rows that were refused or have a warning, one JSON object per line, and the counts as the last line.\n\n" +
			"Fields: id (GeoJSON: the property place, or else the feature's id), name, lat, lng, radius, hours (as OpenStreetMap writes opening hours), time_zone (found from the position where it is no IANA name), " +
			"tags, holidays, fence, ring, dwell_s, geometry (in a table: GeoJSON text), location, exceptions, beacons, rule and place_rule (JSON).",
		body: featureCollectionDoc{}, bodyTypes: []string{geojsonType, jsonType, csvType}, streams: true, examples: examplesOf("two-shops"),
		content: map[string]any{jsonType: places.Report{}, ndjsonType: places.RowReport{}},
		errors:  []int{http.StatusConflict},
	}, s.importPlaces)
}

type importInput struct {
	DryRun bool     `query:"dry_run" doc:"Only report what would happen"`
	Map    []string `query:"map,explode" doc:"Which column or property holds a field, as field:column; several in one, separated by commas, or several times. Others are found by their names"`
	Radius float64  `query:"radius" minimum:"0" maximum:"100000" default:"100" doc:"Metres, of points that have none in the file; 0: such are refused"`
	Hours  string   `query:"hours" enum:"warn,refuse" default:"warn" doc:"What becomes of a row whose hours cannot be read: it is taken without hours and with a warning, or refused"`
	Accept string   `header:"Accept" hidden:"true"`
	Type   string   `header:"Content-Type" hidden:"true"`

	body io.Reader
}

// Resolve takes the body as a stream, which Huma would read as a whole.
func (in *importInput) Resolve(ctx huma.Context) []error {
	in.body = patient(ctx)
	return nil
}

// patient is a request's body, up to the largest import.
func patient(ctx huma.Context) io.Reader {
	return &patientBody{from: ctx.BodyReader(), extend: ctx.SetReadDeadline, left: maxImportBytes}
}

// patientBody gives a client time as long as it sends something.
type patientBody struct {
	from   io.Reader
	extend func(time.Time) error
	left   int64
	read   int64
}

// Read implements io.Reader.
func (b *patientBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, engage.Errorf(engage.TooLarge, "", "has more than %d bytes", maxImportBytes)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	_ = b.extend(time.Now().Add(bodyTimeout)) //nolint:forbidigo // of the socket; without it the read waits, no more
	n, err := b.from.Read(p)
	b.left, b.read = b.left-int64(n), b.read+int64(n)
	if err != nil { // else what is saved after the end would be cut short
		_ = b.extend(time.Time{})
	}
	return n, err
}

// streamed is an answer that writes itself.
type streamed struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Body        func(huma.Context)
}

func (s *server) importPlaces(ctx context.Context, who caller, in *importInput) (*streamed, error) {
	mapping, err := places.ParseMapping(in.Map...)
	if err != nil {
		return nil, err
	}
	o := places.Options{Workspace: who.workspace, Map: mapping, RadiusM: in.Radius, BadHours: places.OnBadHours(in.Hours)}
	switch {
	case strings.HasPrefix(in.Type, csvType):
		o.Format = places.CSV
	case in.Type != "":
		o.Format = places.GeoJSON
	}
	if in.Radius != 0 {
		if err := (geo.Circle{RadiusM: in.Radius}).Validate(); err != nil {
			return nil, engage.FromGeo(err)
		}
	}
	if _, _, err := s.workspaceOf(who); err != nil {
		return nil, err
	}
	r, err := places.NewReader(in.body, o)
	if err != nil {
		return nil, readError(err)
	}
	all := strings.Contains(in.Accept, ndjsonType)
	x := &importing{s: s, who: who, in: in, all: all, report: places.Report{DryRun: in.DryRun, Rows: []places.RowReport{}}}
	if err := x.run(ctx, r); err != nil {
		return nil, err
	}
	if !all {
		return &streamed{jsonType, func(hc huma.Context) { s.write(ctx, hc.BodyWriter(), x.report) }}, nil
	}
	if err := x.spool.close(); err != nil {
		return nil, err
	}
	return &streamed{ndjsonType, func(hc huma.Context) {
		if err := x.spool.copy(hc.BodyWriter()); err == nil {
			s.write(ctx, hc.BodyWriter(), x.report)
		}
	}}, nil
}

func (s *server) write(ctx context.Context, to io.Writer, v any) {
	if err := json.NewEncoder(to).Encode(v); err != nil {
		s.o.Logger.DebugContext(ctx, "api answer not written", "error", err)
	}
}

// readError is that of a body: the client's fault, or a connection that broke.
func readError(err error) error {
	if _, ok := errors.AsType[*engage.Error](err); ok {
		return err
	}
	return engage.Errorf(engage.Unavailable, "", "the file did not come in whole: %v", err)
}

// importing is one import under way.
type importing struct {
	s      *server
	who    caller
	in     *importInput
	all    bool // rows, into the spool
	report places.Report
	spool  spool

	items []*places.Item
	since int64 // what was read when the batch began
	// made are the places that a dry run would have created in earlier batches: the
	// catalogue does not know them, so that it would create them again.
	made map[string]bool
}

// run reads the file and saves it batch by batch. An error is one before which
// nothing was saved, or that of the catalogue.
func (x *importing) run(ctx context.Context, r *places.Reader) error {
	if !x.in.DryRun {
		defer x.s.o.Catalog.Announce()
	}
	body, _ := x.in.body.(*patientBody)
	for {
		it, err := r.Next()
		if err == nil {
			x.items = append(x.items, it)
			if len(x.items) < batchPlaces && body.read-x.since < batchBytes {
				continue
			}
		}
		x.since = body.read
		if err := x.flush(ctx); err != nil {
			return err
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if x.report.Read == 0 {
				return engage.Errorf(engage.Invalid, "features", "must not be empty: the file has no row")
			}
			return nil
		case x.report.Read == 0:
			return readError(err)
		default:
			e, _ := errors.AsType[*engage.Error](readError(err))
			x.report.Error = places.RowErrorOf(e)
			return nil
		}
	}
}

// flush saves the batch.
func (x *importing) flush(ctx context.Context) error {
	b := batch{before: map[*places.Item]*places.Item{}, last: map[string]*places.Item{}, became: map[string]places.Outcome{}}
	now := x.s.o.Catalog.Now()
	for _, it := range x.items {
		b.complete(it, now.Place(x.who.workspace, it.ID()))
	}
	var put []*places.Item
	for _, it := range x.items {
		if it.Place != nil && b.last[it.ID()] == it {
			put = append(put, it)
		}
	}
	for try := 0; len(put) > 0; try++ {
		refused, err := x.put(ctx, put, b.became)
		if err != nil {
			return err
		}
		var next []*places.Item
		for _, it := range put {
			err := refused[it]
			if err == nil {
				continue
			}
			// What it was to replace is put instead, a few times: each try looks
			// through the workspace.
			before := b.before[it]
			for ; before != nil && try == maxTries; before = b.before[before] {
				before.Refuse(err)
			}
			if before != nil {
				next = append(next, before)
			}
		}
		put = next
	}
	for _, it := range x.items {
		became := places.Refused
		if it.Place != nil {
			became = b.became[it.ID()]
		}
		if err := x.tell(it, became); err != nil {
			return err
		}
	}
	clear(x.items)
	x.items = x.items[:0]
	return nil
}

// maxTries bounds what is put where the last item of a place in a batch was refused.
const maxTries = 3

// batch is what is known of the items of a batch. Of the items of one place only the
// last is put: it was completed over the others.
type batch struct {
	before map[*places.Item]*places.Item // of the same place
	last   map[string]*places.Item       // by id of the place
	became map[string]places.Outcome     // by id of the place
}

// complete completes an item over those before it, or else over what is there.
func (b *batch) complete(it *places.Item, old *engage.Place) {
	id := it.ID()
	before := b.last[id]
	if before != nil { // what would be refused is not built upon
		if err := catalog.ValidatePlace(before.Place); err != nil {
			before.Refuse(err)
			before = b.before[before]
		}
	}
	if before != nil {
		old = before.Place
	}
	if it.Complete(old); it.Place != nil {
		b.before[it], b.last[id] = before, it
	} else {
		b.last[id] = before
	}
}

// put saves items, or checks them, and refuses those that the catalogue refuses.
func (x *importing) put(ctx context.Context, items []*places.Item, became map[string]places.Outcome) (map[*places.Item]error, error) {
	edits := make([]catalog.PlaceEdit, len(items))
	for i, it := range items {
		edits[i] = catalog.PlaceEdit{Place: it.Place, Expected: it.Place.Version}
	}
	var outcomes []catalog.PlaceOutcome
	if x.in.DryRun {
		outcomes = x.s.o.Catalog.CheckPlaces(x.who.workspace, edits)
	} else {
		var err error
		if outcomes, err = x.s.o.Catalog.PutPlaces(ctx, x.who.key.ID, x.who.workspace, edits); err != nil {
			return nil, err
		}
	}
	refused := map[*places.Item]error{}
	for i, o := range outcomes {
		it := items[i]
		switch {
		case o.Err != nil:
			if asEngage(o.Err).Code == engage.Internal {
				return nil, o.Err
			}
			it.Refuse(o.Err)
			refused[it] = o.Err
		case o.Unchanged:
			became[it.ID()] = places.Unchanged
		case o.Created && !x.made[it.ID()]:
			became[it.ID()] = places.Created
			if x.in.DryRun {
				if x.made == nil {
					x.made = map[string]bool{}
				}
				x.made[it.ID()] = true
			}
		default:
			became[it.ID()] = places.Changed
		}
	}
	return refused, nil
}

func (x *importing) tell(it *places.Item, became places.Outcome) error {
	rows := it.Reports(became)
	x.report.Count(it, became, rows)
	for _, row := range rows {
		if !row.Noteworthy() {
			continue
		}
		if x.all {
			if err := x.spool.add(row); err != nil {
				return err
			}
			continue
		}
		if len(x.report.Rows) < places.MaxReported {
			x.report.Rows = append(x.report.Rows, row)
		} else {
			x.report.More++
		}
	}
	return nil
}

// spool keeps the rows of a report compressed until the file has been read: a client
// that sends cannot be answered yet.
type spool struct {
	b  bytes.Buffer
	zw *gzip.Writer
}

func (s *spool) add(row any) error {
	if s.zw == nil {
		s.zw = gzip.NewWriter(&s.b)
	}
	if s.b.Len() > maxSpool {
		return engage.Errorf(engage.TooLarge, "", "more rows are wrong than a report can hold: ask for the short report")
	}
	line, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("encode a row of the report: %w", err)
	}
	_, err = s.zw.Write(append(line, '\n'))
	return err
}

func (s *spool) close() error {
	if s.zw == nil {
		return nil
	}
	return s.zw.Close()
}

func (s *spool) copy(to io.Writer) error {
	if s.zw == nil {
		return nil
	}
	zr, err := gzip.NewReader(&s.b)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, zr) //nolint:gosec // what it holds was written here, row by row
	return err
}
