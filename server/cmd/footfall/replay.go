package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/traces"
)

// replayOptions are the flags of replay.
type replayOptions struct {
	fences     string
	traces     []string
	out        string
	format     string
	device     string
	svg        string
	around     string
	live       bool
	membership bool
	withinM    float64
	foreground bool
	strict     bool
	radiusM    float64
	accuracyM  float64
	dwell      time.Duration
	silence    time.Duration
	mocked     string
	speed      string
	maxSpeed   float64
}

func (c *cli) replay() *cobra.Command {
	var o replayOptions
	doubts := geo.DefaultDoubts()
	cmd := &cobra.Command{
		Use: "replay --fences FILE --trace FILE", Short: "Run a recorded trace over fences, without a server", Args: nothing,
		Long: `Lay fences over recorded positions and print what the server would have made of
them: a JSON line per transition.

Fences are GeoJSON: a FeatureCollection, a Feature or a geometry. Polygons,
MultiPolygons, and Points with "radius" in metres, which are circles. The feature's id
names the fence, else its properties' id or name. Properties that are read:

  radius            metres of a circle; of another shape, a ring around it
  place             whose visits it makes; fences of one place share them (itself)
  near_m            an approach ring of so many metres around it, "<id>~near"
  ring              "near": it is itself an approach ring
  dwell_s           after so many seconds inside, a dwell is told (never)
  max_accuracy_m enter_accuracy_m assumed_accuracy_m floor_accuracy_m sure_factor
  clear_factor enter_confirm_s exit_confirm_s confirm_within_s max_gap_s silence_s
  watched_silence_s beacon_lost_s     what it takes as evidence: the server's rule

What 'footfall places export' writes is read as it is, "rule" and "place_rule" included.

Traces, by the file's ending or --format; "-" is standard input:

  gpx      points of tracks with a time, all of one device; waypoints and routes are
           no trace; an accuracy is read from extensions, hdop is none
  csv      a header that names ts, lat, lng, and may name accuracy, mocked, device;
           comma, semicolon or tab between
  ndjson   objects with ts, lat, lng (or lon), and perhaps accuracy (or acc), mocked,
           device. {"ts":…,"source":"os_region","fence":"cafe","inside":true} is the
           operating system's word about a fence, "source":"beacon" that of a beacon.
           (A recorder's own states, which name no fence, are no evidence.)

A ts is unix seconds, milliseconds, or RFC 3339; which is said in the report. Times
before 2000 and after this machine's time are refused. No accuracy, or one of 0 or
less, is not given: the rule's assumed_accuracy_m counts.

What is printed is history: what arrival in the order of time gives, so that rows in
any order, or given twice, print the same. --live prints what would have been told at
each row, in the order of the rows; the time of a row's arrival is the newest time
seen of its device. The kinds are enter, exit, dwell, near (into an approach ring),
pass (the way between two fixes crossed the fence) and visit (a visit of the place
ended; one that goes on at the end is not printed). distance_m is to the fence's
centre, margin_m to its border (negative inside), both of the fix that decided it, or
null. --membership adds {"kind":"fix",…,"inside":…} for each fix and each fence that
holds it or is near it: bare geometry, whatever the rule makes of the fix.

What was refused goes to standard error: counts by reason, and the first lines of
each. Exit codes: 0 done, 1 nothing could be read (with --strict: or something was
refused), 2 wrong usage.`,
		Example: `  footfall replay --fences shops.geojson --trace walk.gpx
  footfall replay --fences shops.geojson --trace monday.csv --membership --out monday.ndjson
  footfall replay --fences shops.geojson --trace a.gpx --trace b.gpx --map map.svg --map-around cafe`,
	}
	f := cmd.Flags()
	f.StringVar(&o.fences, "fences", "", "GeoJSON file of the fences (- is standard input)")
	f.StringArrayVar(&o.traces, "trace", nil, "file of positions (- is standard input); may be given several times")
	f.StringVar(&o.out, "out", "", "file for the transitions (default: standard output)")
	f.StringVar(&o.format, "format", "", "gpx, csv or ndjson (default: by the file's ending)")
	f.StringVar(&o.device, "device", "", "device of rows that name none (default: the file's name without its ending)")
	f.BoolVar(&o.live, "live", false, "print what would have been told at each row")
	f.BoolVar(&o.membership, "membership", false, "print for each fix which fences hold it")
	f.Float64Var(&o.withinM, "within-m", 0, "with --membership: fences with their border within so many metres (default: twice the accuracy, at least 250)")
	f.BoolVar(&o.foreground, "foreground", false, "the app had a live session all along: in silence a dwell may be told, and no visit ends")
	f.BoolVar(&o.strict, "strict", false, "fail if a row or a fence was refused")
	f.Float64Var(&o.radiusM, "radius", 0, "metres of Points that give no radius (default: such are refused)")
	f.Float64Var(&o.accuracyM, "accuracy", 0, "metres of fixes that give none, instead of the fences' assumed_accuracy_m")
	f.DurationVar(&o.dwell, "dwell", 0, "instead of the fences' dwell_s, such as 5m; 0 means never")
	f.DurationVar(&o.silence, "silence", 0, "instead of the fences' silence_s and watched_silence_s, such as 2h")
	f.StringVar(&o.mocked, "mocked", string(doubts.Mocked), "fixes of a test provider: accept, flag or refuse")
	f.StringVar(&o.speed, "speed", string(doubts.Speed), "fixes that nobody could have reached in time: accept, flag or refuse")
	f.Float64Var(&o.maxSpeed, "max-speed", doubts.MaxSpeedMPS, "metres a second beyond which a fix is too fast; 0: none is")
	f.StringVar(&o.svg, "map", "", "SVG file for a map of the fixes, fences and transitions")
	f.StringVar(&o.around, "map-around", "", "with --map: the fence whose neighbourhood it shows (default: all)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.validate(); err != nil {
			return usageError{err}
		}
		fences := traces.FenceOptions{Doubts: doubts}
		fences.Doubts.Mocked, fences.Doubts.Speed = geo.Policy(o.mocked), geo.Policy(o.speed)
		fences.Doubts.MaxSpeedMPS, fences.Doubts.TeleportMPS = o.maxSpeed, max(doubts.TeleportMPS, o.maxSpeed)
		given := cmd.Flags().Changed
		if given("radius") {
			fences.RadiusM = &o.radiusM
		}
		if given("accuracy") {
			fences.AccuracyM = &o.accuracyM
		}
		if given("dwell") {
			fences.Dwell = &o.dwell
		}
		if given("silence") {
			fences.Silence = &o.silence
		}
		return c.replayTraces(cmd.InOrStdin(), &o, fences)
	}
	return cmd
}

func (o *replayOptions) validate() error {
	policy := func(flag, value string) error {
		switch geo.Policy(value) {
		case geo.AcceptDoubtful, geo.FlagDoubtful, geo.RefuseDoubtful:
			return nil
		}
		return fmt.Errorf("--%s must be accept, flag or refuse, is %q", flag, value)
	}
	stdin := 0
	for _, name := range append([]string{o.fences}, o.traces...) {
		if name == "-" {
			stdin++
		}
	}
	switch traces.Format(o.format) {
	case "", traces.GPX, traces.CSV, traces.NDJSON:
	default:
		return fmt.Errorf("--format must be gpx, csv or ndjson, is %q", o.format)
	}
	for _, name := range o.traces {
		if o.format == "" && traces.FormatOf(name) == "" {
			return fmt.Errorf("--format must say what %s is: gpx, csv or ndjson", inWords(name))
		}
	}
	switch {
	case o.fences == "":
		return errors.New("--fences is missing: a GeoJSON file")
	case len(o.traces) == 0:
		return errors.New("--trace is missing: a file of positions")
	case stdin > 1:
		return errors.New("standard input can be one file only")
	case !(o.withinM >= 0 && o.withinM <= geo.MaxRadiusM):
		return fmt.Errorf("--within-m must be 0 to %d, is %v", geo.MaxRadiusM, o.withinM)
	case o.dwell < 0 || o.dwell > geo.MaxRuleTime:
		return fmt.Errorf("--dwell must be 0 to %v, is %v", geo.MaxRuleTime, o.dwell)
	case !(o.maxSpeed >= 0 && o.maxSpeed <= 1e6):
		return fmt.Errorf("--max-speed must be 0 to 1000000 m/s, is %v", o.maxSpeed)
	case o.around != "" && o.svg == "":
		return errors.New("--map-around needs --map")
	}
	return errors.Join(policy("mocked", o.mocked), policy("speed", o.speed))
}

// inWords names a file to people.
func inWords(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

// input opens a file to read from.
func input(name string, stdin io.Reader) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(stdin), 0, nil // it is not ours to close
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// output makes a file that holds people's movements, which close completes.
//
// It is written beside the file, which is replaced when all is there: the name may be
// that of a recording that is being read, or of what an earlier run has left.
func output(name string) (io.Writer, func(ok bool) error, error) {
	if at, err := os.Stat(name); err == nil && !at.Mode().IsRegular() { // a pipe, a terminal
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return nil, nil, err
		}
		return f, func(bool) error { return f.Close() }, nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return nil, nil, err
	}
	b := bufio.NewWriterSize(f, 1<<16)
	return b, func(ok bool) error {
		if err := errors.Join(b.Flush(), f.Close()); err != nil || !ok {
			return errors.Join(err, os.Remove(f.Name()))
		}
		return os.Rename(f.Name(), name)
	}, nil
}

// replayTraces does it.
func (c *cli) replayTraces(stdin io.Reader, o *replayOptions, fo traces.FenceOptions) (err error) {
	fences, refused, err := c.readFences(stdin, o.fences, fo)
	if err != nil {
		return err
	}
	if o.around != "" {
		if _, there := fences.Index().Fence(o.around); !there {
			return usageError{fmt.Errorf("--map-around: there is no fence %q", o.around)}
		}
	}
	var report traces.Report
	options := traces.Options{
		Live: o.live, Membership: o.membership, WithinM: o.withinM, Foreground: o.foreground,
	}
	if o.svg != "" {
		options.Map = &traces.Map{}
	}
	buffered := bufio.NewWriterSize(c.out, 1<<16)
	out, closeOut := io.Writer(buffered), func(bool) error { return buffered.Flush() }
	if o.out != "" {
		if out, closeOut, err = output(o.out); err != nil {
			return usageError{fmt.Errorf("--out: %w", err)}
		}
	}
	r := traces.NewReplay(fences, options, &report, out)
	for _, name := range o.traces {
		if err := c.replayOne(r, &report, stdin, name, o); err != nil {
			return errors.Join(err, r.Abort(), closeOut(false))
		}
	}
	closed := r.Close()
	if err := errors.Join(closed, closeOut(closed == nil)); err != nil {
		return fmt.Errorf("write the transitions: %w", err)
	}
	if o.svg != "" {
		if err := writeMap(options.Map, fences, o); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.errs, "%d transitions of %d devices at %d fences; %d visits go on at the end\n", r.Told(), r.Devices(), fences.Len(), r.Open())
	if _, err := report.WriteTo(c.errs); err != nil {
		return err
	}
	switch {
	case report.Rows == 0:
		return errors.New("there are no rows in the trace")
	case report.RefusedRows() == report.Rows:
		return fmt.Errorf("none of the %d rows could be taken", report.Rows)
	case o.strict && report.BadRows()+refused > 0:
		return fmt.Errorf("refused, and --strict: %d rows, %d fences", report.BadRows(), refused)
	}
	return nil
}

func writeMap(m *traces.Map, fences *traces.Fences, o *replayOptions) error {
	w, closeMap, err := output(o.svg)
	if err != nil {
		return usageError{fmt.Errorf("--map: %w", err)}
	}
	written := m.WriteSVG(w, fences, o.around)
	if err := errors.Join(written, closeMap(written == nil)); err != nil {
		return fmt.Errorf("write the map: %w", err)
	}
	return nil
}

// readFences reads them and tells what was refused or put right.
func (c *cli) readFences(stdin io.Reader, name string, o traces.FenceOptions) (*traces.Fences, int, error) {
	in, _, err := input(name, stdin)
	if err != nil {
		return nil, 0, usageError{fmt.Errorf("--fences: %w", err)}
	}
	text, err := io.ReadAll(in)
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, 0, fmt.Errorf("read the fences: %w", err)
	}
	fences, refused, warnings, err := traces.ParseFences(text, o)
	const shown = 10
	for i := range refused[:min(len(refused), shown)] {
		fmt.Fprintf(c.errs, "fence refused: %s\n", refused[i].Error())
	}
	for _, w := range warnings[:min(len(warnings), shown)] {
		fmt.Fprintf(c.errs, "fence: %s\n", w)
	}
	if more := max(0, len(refused)-shown) + max(0, len(warnings)-shown); more > 0 {
		fmt.Fprintf(c.errs, "and %d more refused or put right\n", more)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("the fences in %s: %w", inWords(name), err)
	}
	return fences, len(refused), nil
}

// replayOne replays a file.
func (c *cli) replayOne(r *traces.Replay, report *traces.Report, stdin io.Reader, name string, o *replayOptions) error {
	in, size, err := input(name, stdin)
	if err != nil {
		return usageError{fmt.Errorf("--trace: %w", err)}
	}
	device := cmp.Or(o.device, strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)))
	if name == "-" {
		device = cmp.Or(o.device, "stdin")
	}
	format := traces.Format(cmp.Or(o.format, string(traces.FormatOf(name))))
	progress := c.progress(name, size)
	rows := 0
	err = traces.Read(progress.of(in), format, traces.Limits{Now: time.Now()}, report, func(row *traces.Row) error {
		if rows++; rows%progressEvery == 0 {
			progress.say(rows)
		}
		row.Device = cmp.Or(row.Device, device)
		return r.Row(row)
	})
	progress.end()
	if err = errors.Join(err, in.Close()); err != nil {
		return fmt.Errorf("the trace in %s %w", inWords(name), err)
	}
	return nil
}

// progress says on a terminal how far the reading of a large file is.
type progress struct {
	to         io.Writer // nil: says nothing
	name       string
	size, read int64
	from       io.Reader
}

const (
	progressEvery = 50_000   // rows
	progressFrom  = 10 << 20 // bytes of a file
)

func (c *cli) progress(name string, size int64) *progress {
	p := &progress{name: inWords(name), size: size}
	if f, ok := c.errs.(*os.File); ok && (size >= progressFrom || name == "-") {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.to = f
		}
	}
	return p
}

func (p *progress) of(r io.Reader) io.Reader {
	p.from = r
	return p
}

// Read implements io.Reader.
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.read += int64(n)
	return n, err
}

func (p *progress) say(rows int) {
	switch {
	case p.to == nil:
	case p.size > 0:
		fmt.Fprintf(p.to, "\r%s: %d rows, %d %%", p.name, rows, 100*p.read/p.size)
	default:
		fmt.Fprintf(p.to, "\r%s: %d rows", p.name, rows)
	}
}

// end clears the line.
func (p *progress) end() {
	if p.to != nil {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}
