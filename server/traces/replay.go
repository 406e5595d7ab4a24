package traces

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// Options of a Replay.
type Options struct {
	// Live writes what would have been told at each row, in the order of the rows;
	// otherwise the history is written, in the order of time.
	Live bool
	// Membership writes a line for each fix and fence that holds it or has its border
	// within WithinM: bare geometry, whatever the rule makes of the fix.
	Membership bool
	WithinM    float64 // 0: twice the accuracy, but at least 250 m
	// Foreground says that the app had a live session all along: silence lets a dwell
	// be told and ends no visit.
	Foreground bool
	Device     string // of rows that name none
	Map        *Map   // to be drawn on; may be nil
}

// minWithinM is the least distance of a candidate fence's border.
const minWithinM = 250

// Replay runs rows through a Tracker for each device, over fences, and writes a JSON
// line per transition. The time of a row is when it is taken; one that is older than
// its device's newest is taken at that one's time.
type Replay struct {
	fences  *Fences
	options Options
	report  *Report
	out     io.Writer

	devices map[string]*device
	rows    spool[Row]    // of the history, to be put in order
	lines   spool[output] // likewise
	told    int
}

// device is one whose rows are replayed.
type device struct {
	name    string
	tracker geo.Tracker
	newest  time.Time
}

// output is a line with its place in the order.
type output struct {
	At   int64 // µs
	Rank int   // of those of one time: fixes first
	N    int   // as they came
	Line []byte
}

// NewReplay is a Replay that writes to out and counts in report.
func NewReplay(f *Fences, o Options, report *Report, out io.Writer) *Replay {
	return &Replay{
		fences: f, options: o, report: report, out: out, devices: map[string]*device{},
		rows:  spool[Row]{compare: compareRows, most: spooled},
		lines: spool[output]{compare: compareOutputs, most: spooled},
	}
}

// Row takes a row.
func (r *Replay) Row(row *Row) error {
	row.Device = cmp.Or(row.Device, r.options.Device)
	if r.options.Live {
		return r.apply(row)
	}
	return r.rows.put(*row)
}

// Close writes what is left and lets go of everything.
func (r *Replay) Close() error {
	return errors.Join(r.finish(), r.Abort())
}

func (r *Replay) finish() error {
	if r.options.Live {
		return nil
	}
	if err := r.rows.each(r.apply); err != nil {
		return err
	}
	names := make([]string, 0, len(r.devices))
	for name := range r.devices {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		d := r.devices[name]
		if err := r.tell(d, d.tracker.Settle(r.fences).Settled); err != nil {
			return err
		}
	}
	return r.lines.each(func(o *output) error {
		_, err := r.out.Write(o.Line)
		return err
	})
}

// Abort lets go of everything and writes no more.
func (r *Replay) Abort() error { return errors.Join(r.rows.close(), r.lines.close()) }

// Told is the number of transitions so far.
func (r *Replay) Told() int { return r.told }

// Open is the number of visits that go on.
func (r *Replay) Open() int {
	n := 0
	for _, d := range r.devices {
		n += len(d.tracker.Open())
	}
	return n
}

// Devices is the number of devices so far.
func (r *Replay) Devices() int { return len(r.devices) }

func (r *Replay) apply(row *Row) error {
	d := r.devices[row.Device]
	if d == nil {
		d = &device{name: row.Device}
		r.devices[row.Device] = d
	}
	if row.At.After(d.newest) {
		if err := r.silence(d, row.At); err != nil {
			return err
		}
		d.newest = row.At
	}
	row.Seq = uint64(row.At.UnixMicro())
	step := d.tracker.Apply(r.fences, row.Evidence, d.newest)
	if code := codeOf(step.Outcome); code != "" {
		r.report.refuse(row.Line, reasonOf(code, row, step.Outcome))
	} else if step.Outcome == geo.Duplicate {
		r.report.Duplicates++
		return nil
	}
	if row.Source == geo.ByFix {
		if step.Outcome == geo.Taken || step.Outcome == geo.Suspected {
			r.report.Fixes++
		}
		r.report.flag(step.Flags.Names())
		r.options.Map.fix(row)
		if r.options.Membership {
			if err := r.membership(d, row); err != nil {
				return err
			}
		}
	}
	if r.options.Live {
		return r.tell(d, step.Told)
	}
	return r.tell(d, step.Settled)
}

// silence does what a server does when nothing is heard until a time.
func (r *Replay) silence(d *device, until time.Time) error {
	for {
		due, any := d.tracker.Due(r.fences)
		if !any || !due.Before(until) {
			return nil
		}
		step := d.tracker.Apply(r.fences, geo.Evidence{
			Source: geo.BySilence, At: due, Seq: uint64(due.UnixMicro()), Live: r.options.Foreground,
		}, due)
		told := step.Settled
		if r.options.Live {
			told = step.Told
		}
		if err := r.tell(d, told); err != nil {
			return err
		}
		if again, any := d.tracker.Due(r.fences); any && !again.After(due) {
			return nil // nothing came of it, nor will it
		}
	}
}

// codeOf is the code of refusal of what became of evidence; empty for none.
func codeOf(o geo.Outcome) string {
	switch o {
	case geo.Late:
		return CodeLate
	case geo.Ancient:
		return CodeAncient
	case geo.Refused:
		return CodeDoubtful
	case geo.Denied:
		return CodeDenied
	case geo.Crowded:
		return CodeDenied
	case geo.Invalid:
		return CodeFence
	case geo.Future:
		return CodeClock
	}
	return ""
}

func reasonOf(code string, row *Row, o geo.Outcome) *Refusal {
	reasons := map[geo.Outcome]string{
		geo.Late:    "is more than the reorder window older than the device's newest: history, no transition",
		geo.Ancient: "is older than a phone may keep what it noticed",
		geo.Refused: "is doubtful (mocked, or faster than anybody travels), and such is refused",
		geo.Denied:  "is the word of the OS against its own fix, or says only that the circle around an outline was entered",
		geo.Invalid: "is no evidence about a known fence",
		geo.Future:  "is in the future",
	}
	return &Refusal{Line: row.Line, Code: code, Reason: reasons[o]}
}

// fixLine is what membership says of a fix and a fence.
type fixLine struct {
	Kind    string    `json:"kind"`
	Device  string    `json:"device"`
	At      time.Time `json:"at"`
	Fence   string    `json:"fence"`
	Inside  bool      `json:"inside"`
	MarginM float64   `json:"margin_m"`
}

func (r *Replay) membership(d *device, row *Row) error {
	within := r.options.WithinM
	if within == 0 {
		within = max(2*row.AccuracyM, minWithinM)
	}
	hits := r.fences.index.Within(row.Pos, within, nil)
	slices.SortFunc(hits, func(a, b geo.Hit) int { return cmp.Compare(a.ID, b.ID) })
	for i := range hits {
		h := &hits[i]
		line := fixLine{"fix", d.name, row.At.UTC(), h.ID, h.Shape.Contains(row.Pos), metres(h.MarginM)}
		if err := r.write(row.At, 0, &line); err != nil {
			return err
		}
	}
	return nil
}

// metres rounds to centimetres.
func metres(m float64) float64 { return math.Round(m*100) / 100 }

// Line is a transition as a Replay writes it.
type Line struct {
	Device   string     `json:"device"`
	Fence    string     `json:"fence"`
	Kind     geo.Kind   `json:"kind"`
	At       time.Time  `json:"at"`
	Evidence geo.Source `json:"evidence"`
	// Of the fix that decided it; nil where none did.
	DistanceM *float64   `json:"distance_m"` // to the fence's centre
	AccuracyM *float64   `json:"accuracy_m"` // as the trace gives it; 0: it gives none
	MarginM   *float64   `json:"margin_m,omitempty"`
	Place     string     `json:"place"`
	Visit     string     `json:"visit,omitempty"`
	Near      bool       `json:"near,omitempty"`       // the fence is an approach ring
	Since     *time.Time `json:"since,omitempty"`      // of an exit and a dwell: when the fence was entered; of a visit its beginning
	DurationS *float64   `json:"duration_s,omitempty"` // from Since to At
	Flags     []string   `json:"flags,omitempty"`
	Stale     bool       `json:"stale,omitempty"` // live: older than geo.StaleAfter when it became known
}

func (r *Replay) tell(d *device, ts []geo.Transition) error {
	for i := range ts {
		line := r.line(d, &ts[i])
		r.told++
		r.options.Map.transition(line, &ts[i])
		if err := r.write(ts[i].At, 1, line); err != nil {
			return err
		}
	}
	return nil
}

func (r *Replay) line(d *device, t *geo.Transition) *Line {
	l := &Line{
		Device: d.name, Fence: t.Fence, Kind: t.Kind, At: t.At.UTC(), Evidence: t.By,
		Place: t.Place, Visit: t.Visit, Near: t.Near, Flags: t.Flags.Names(), Stale: t.Stale && r.options.Live,
	}
	if f, there := r.fences.index.Fence(t.Fence); there && t.Located {
		l.DistanceM = new(metres(geo.DistanceM(t.Pos, f.Shape.Center())))
		l.AccuracyM = new(metres(t.AccuracyM))
		l.MarginM = new(metres(f.Shape.MarginM(t.Pos)))
	}
	if !t.Since.IsZero() {
		l.Since = new(t.Since.UTC())
		l.DurationS = new(float64(t.At.Sub(t.Since).Microseconds()) / 1e6)
	}
	return l
}

func (r *Replay) write(at time.Time, rank int, line any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(line); err != nil {
		return err
	}
	if r.options.Live {
		_, err := r.out.Write(b.Bytes())
		return err
	}
	return r.lines.put(output{at.UnixMicro(), rank, r.lines.count, b.Bytes()})
}

// compareRows is the order of time; what is of one time comes in the order in which a
// Tracker takes it, in which the order in the file has no part.
func compareRows(a, b *Row) int {
	return cmp.Or(
		a.At.Compare(b.At),
		cmp.Compare(a.Device, b.Device),
		cmp.Compare(rank(a.Source), rank(b.Source)),
		cmp.Compare(a.Fence, b.Fence),
		cmp.Compare(a.AccuracyM, b.AccuracyM),
		cmp.Compare(a.Pos.Lat, b.Pos.Lat),
		cmp.Compare(a.Pos.Lng, b.Pos.Lng),
		compareBool(a.Mocked, b.Mocked),
		compareBool(a.Inside, b.Inside),
		cmp.Compare(a.Line, b.Line),
	)
}

func rank(s geo.Source) int {
	return slices.Index([]geo.Source{geo.ByFix, geo.ByRegion, geo.ByBeacon}, s)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func compareOutputs(a, b *output) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.N, b.N))
}
