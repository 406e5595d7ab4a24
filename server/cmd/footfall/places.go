package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/places"
)

func (c *cli) places() *cobra.Command {
	cmd := &cobra.Command{
		Use: "places", Short: "Import places from a file and export them", Args: nothing,
		Long: `Import places from GeoJSON or a table (CSV) of any size, and export them so that
they can be imported again.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.placesImport(), c.placesExport())
	return cmd
}

func (c *cli) placesImport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Create and change places from a file", Args: exactly(1, "a file, or - for standard input"),
		Long: `Create and change places from GeoJSON (a FeatureCollection) or a table (CSV with a
header, separated by comma, semicolon or tab; UTF-8). A place whose id is there
already is changed, also by a later row of the same file, with a warning. A row that
is refused stops no other; it is told on standard error, and the exit code is 0. It
is 1 when the file could not be read to its end.

Fields: id, name, lat, lng, radius, hours, time_zone, tags, holidays, fence, ring,
dwell_s, geometry, location, exceptions, beacons, rule, place_rule. --map says which
column of the table or property of the features holds a field, where that has
another name.`,
		Example: `  footfall places import stores.csv --map "id:Store Number,name:Store Name" --radius 75
  footfall places import shops.geojson --map id:@id --map hours:opening_hours --dry-run`,
	}
	f := cmd.Flags()
	mapping := f.StringArray("map", nil, "field:column, several separated by commas or by several flags")
	radius := f.Float64("radius", 100, "metres, of points that have none in the file; 0 refuses such")
	hours := f.String("hours", "warn", "what becomes of a row whose hours cannot be read: warn (taken without) or refuse")
	format := f.String("format", "", "geojson or csv (default: by the file's name, else by its first character)")
	dryRun := f.Bool("dry-run", false, "only tell what would happen")
	report := f.String("report", "", "file for all rows that were refused or have a warning, one JSON object per line")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		typ, err := fileType(*format, args[0])
		if err != nil {
			return err
		}
		if _, err := places.ParseMapping(*mapping...); err != nil {
			return usageError{err}
		}
		r, err := remote()
		if err != nil {
			return err
		}
		file, size, err := openFile(args[0])
		if err != nil {
			return usageError{err}
		}
		defer func() { _ = file.Close() }() // it was read
		q := url.Values{"map": *mapping, "radius": {strconv.FormatFloat(*radius, 'g', -1, 64)}, "hours": {*hours}}
		if *dryRun {
			q.Set("dry_run", "true")
		}
		shown := c.sending(file, size)
		answer, err := r.upload(cmd.Context(), "/api/v1/places?"+q.Encode(), typ, shown)
		shown.clear()
		if err != nil {
			return err
		}
		defer func() { _ = answer.Close() }() // it was read to its end, or the error is told
		return c.tellImport(answer, *report)
	}
	return cmd
}

// fileType is the media type of a file; empty where the server looks.
func fileType(format, name string) (string, error) {
	if format == "" {
		switch strings.ToLower(filepath.Ext(name)) {
		case ".csv", ".tsv":
			format = "csv"
		case ".geojson", ".json":
			format = "geojson"
		default:
			return "", nil
		}
	}
	switch places.Format(format) {
	case places.CSV:
		return "text/csv", nil
	case places.GeoJSON:
		return "application/geo+json", nil
	default:
		return "", usageError{fmt.Errorf("--format must be geojson or csv, is %q", format)}
	}
}

// openFile opens a file and tells its size; 0 where it is not known.
func openFile(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), 0, nil
	}
	f, err := os.Open(name) //nolint:gosec // whoever calls the command names it
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// upload sends a file as it is read, and asks for the report by rows.
func (r *remote) upload(ctx context.Context, path, typ string, file io.Reader) (io.ReadCloser, error) {
	req, err := r.request(ctx, http.MethodPost, path, file)
	if err != nil {
		return nil, err
	}
	if typ != "" {
		req.Header.Set("Content-Type", typ)
	}
	req.Header.Set("Accept", "application/x-ndjson")
	patient := *r.http
	patient.Timeout = 0 // of the whole; the server gives up on a file that does not come on
	resp, err := patient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 400 {
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return nil, err
		}
		return nil, problem(resp, b)
	}
	return resp.Body, nil
}

// tellImport prints a report by rows and keeps it in a file, if one is named.
func (c *cli) tellImport(answer io.Reader, keep string) error {
	var r places.Report
	if err := tellRows(c, answer, keep, c.tellRow, &r); err != nil {
		return err
	}
	if r.DryRun {
		fmt.Fprintln(c.out, "a dry run: nothing was saved")
	}
	fmt.Fprintf(c.out, "rows: %d read, %d refused, %d with a warning\n", r.Read, r.Refused, r.Warned)
	fmt.Fprintf(c.out, "places: %d created, %d changed, %d as they were\n", r.Created, r.Changed, r.Unchanged)
	if r.ZonesFound > 0 {
		fmt.Fprintf(c.out, "time zones found from the position: %d\n", r.ZonesFound)
	}
	if r.Error != nil {
		return fmt.Errorf("the rest of the file was not read: %s", sentence(r.Error.Field, r.Error.Reason))
	}
	return nil
}

func (c *cli) tellRow(row places.RowReport) {
	name := "row " + strconv.Itoa(row.Row)
	if row.Place != "" {
		name += " (" + row.Place + ")"
	}
	if row.Error != nil {
		fmt.Fprintf(c.errs, "%s refused: %s\n", name, sentence(row.Error.Field, row.Error.Reason))
	}
	for _, w := range row.Warnings {
		fmt.Fprintf(c.errs, "%s: %s\n", name, sentence(w.Field, w.Reason))
	}
}

func sentence(field, reason string) string {
	if field == "" {
		return reason
	}
	return field + " " + reason
}

// sending shows on a terminal how much of a file has been sent.
func (c *cli) sending(file io.Reader, size int64) *sending {
	p := &sending{from: file, size: size}
	if f, ok := c.errs.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.to = f
		}
	}
	return p
}

type sending struct {
	from  io.Reader
	to    io.Writer // nil: no terminal
	size  int64     // 0: not known
	read  int64
	shown time.Time
}

// drawEvery is how often the bar is drawn.
const drawEvery = 100 * time.Millisecond

// Read implements io.Reader.
func (p *sending) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.read += int64(n)
	if now := time.Now(); p.to != nil && now.Sub(p.shown) >= drawEvery {
		p.shown = now
		fmt.Fprintf(p.to, "\r%s\x1b[K", bar(p.read, p.size))
	}
	return n, err
}

// bar is one line: a bar and the megabytes.
func bar(read, size int64) string {
	mb := fmt.Sprintf("%.1f MB", float64(read)/1e6)
	if size <= 0 {
		return mb + " sent"
	}
	const width = 40
	done := int(min(read, size) * width / size)
	return fmt.Sprintf("[%s%s] %d %% of %.1f MB", strings.Repeat("=", done), strings.Repeat(" ", width-done), min(read, size)*100/size, float64(size)/1e6)
}

// clear takes the bar away.
func (p *sending) clear() {
	if p.to != nil {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}

func (c *cli) placesExport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Write all places of the workspace", Args: nothing,
		Long: `Write all places of the workspace as GeoJSON, a feature per geofence, or as a table,
a row per geofence. Imported again they are the same places.`,
		Example: "  footfall places export --format csv --out places.csv",
	}
	format := cmd.Flags().String("format", "geojson", "geojson or csv")
	path := cmd.Flags().String("out", "", "file to write (default: standard output)")
	remote := c.remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if _, err := fileType(*format, ""); err != nil {
			return err
		}
		r, err := remote()
		if err != nil {
			return err
		}
		out := c.out
		if *path != "" {
			f, err := os.Create(*path) //nolint:gosec // whoever calls the command names it
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			out = f
		}
		w := places.NewWriter(out, places.Format(*format))
		n := 0
		err = pages(cmd.Context(), r, "/api/v1/places?limit=200", func(p engage.Place) error {
			n++
			return w.Write(&p)
		})
		if err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		fmt.Fprintf(c.errs, "%d places\n", n)
		return nil
	}
	return cmd
}
