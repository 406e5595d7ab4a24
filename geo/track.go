package geo

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// TrackFlags say what was thought of a fix when it came.
type TrackFlags uint8

// The flags of this version. Bits that are not named are kept as they are.
const (
	TrackMocked   TrackFlags = 1 << iota // the phone said that an app made the position up
	TrackSpeed                           // impossibly fast since the fix before it
	TrackTeleport                        // impossibly far from the fixes around it
	TrackIgnored                         // kept for history only: no transition came from it, such as for its accuracy
	TrackLate                            // it came after the reorder window
)

var trackFlagNames = []string{"mocked", "speed", "teleport", "ignored", "late"}

// Names of the flags that are set, in the order of the constants; nil for none.
func (f TrackFlags) Names() []string {
	var out []string
	for i, name := range trackFlagNames {
		if f&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

// TrackEvidence is what gave a position.
type TrackEvidence uint8

// The kinds of evidence.
const (
	TrackByFix      TrackEvidence = iota // a location fix
	TrackByOSRegion                      // the fix that came with an OS region event
	TrackByBeacon                        // a beacon's known position
)

// String is "fix", "os_region" or "beacon"; "evidence 7" for what is not known.
func (e TrackEvidence) String() string {
	switch e {
	case TrackByFix:
		return "fix"
	case TrackByOSRegion:
		return "os_region"
	case TrackByBeacon:
		return "beacon"
	}
	return fmt.Sprintf("evidence %d", uint8(e))
}

// TrackFix is one position in a Track.
type TrackFix struct {
	At        time.Time // corrected device clock; kept to the millisecond below, UTC
	Pos       Point     // kept to the nearest 1e-7 degrees (1.1 cm), which is what phones give
	AccuracyM float64   // 68 % radius, kept to 0.1 m, never rounded to 0; 0 means not given
	Flags     TrackFlags
	Evidence  TrackEvidence
}

// Bounds of a Track.
const (
	// MaxTrackAccuracyM is the largest accuracy that is kept; larger ones are
	// lowered to it.
	MaxTrackAccuracyM = 1e6

	// MaxTrackFixes is how many fixes a Track holds: more than one a second.
	MaxTrackFixes = 6000

	// MaxTrackBytes bounds a Track, open or packed. MaxTrackFixes are below it in
	// whatever order they stand: none takes more than 21 bytes.
	MaxTrackBytes = 128 << 10
)

// The form of a track: its first byte.
const (
	trackRows   = 1 // hour, then a row a fix, in order of coming
	trackPacked = 2 // hour, number, then a column a field, in order of time
)

// trackRow is a fix in whole units.
type trackRow struct {
	ms       int64 // since the hour's beginning, 0 to 3599999
	lat, lng int64 // 1e-7 degrees
	acc      int64 // decimetres
	flags    TrackFlags
	evidence TrackEvidence
}

const (
	msPerHour    = int64(time.Hour / time.Millisecond)
	degUnits     = 1e7
	maxLatUnit   = 90 * int64(degUnits)
	maxLngUnit   = 180 * int64(degUnits)
	maxAccUnit   = int64(MaxTrackAccuracyM * 10)
	maxTrackHour = 253402300800 / 3600 // year 10000
)

// What a row leaves out: the bits of its first byte.
const (
	rowSeconds = 1 << iota // the time since the row before it is in whole seconds, not milliseconds
	rowSameAcc             // as the row before it
	rowSamePos             // as the row before it
	rowFlags               // flags and evidence follow: they are not those of the row before it
	rowKnown   = 1<<iota - 1
)

// Track is the fixes of one device in one hour, as bytes that grow at their end:
// about 9 a fix of a walking phone, 8 when Packed. The zero Track is empty and
// takes its hour from its first fix.
//
// A Track is a value. Add gives a longer one and leaves the old one as it was, at
// no copy: the two share their bytes, and where a second one is made longer than
// the same old one, that one gets bytes of its own. So a clone of a state may hold
// the Track of the state that it was cloned from, and be dropped or kept. Tracks
// that share bytes may be used by several goroutines.
//
// Fixes may come in any order within the hour. One that is the same as the fix
// before it in everything is left out.
type Track struct {
	tail     *trackTail // nil: empty
	size     int        // how many bytes of tail are this Track's
	n        int
	hour     int64 // since 1970
	last     trackRow
	min, max int64 // ms in the hour
}

// trackTail is bytes that several Tracks share; what is below used is never
// changed.
type trackTail struct {
	used  atomic.Int64
	bytes []byte // as long as it can get
}

// HourOf is the hour that a fix of this time belongs to: its beginning, UTC.
func HourOf(at time.Time) time.Time { return hourTime(hourNumber(at)) }

func hourNumber(at time.Time) int64 {
	s := at.Unix()
	h := s / 3600
	if s%3600 < 0 {
		h--
	}
	return h
}

func hourTime(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }

// Len is how many fixes it holds.
func (t Track) Len() int { return t.n }

// IsZero reports whether it is empty.
func (t Track) IsZero() bool { return t.n == 0 }

// Size is how many bytes it takes, not packed.
func (t Track) Size() int { return t.size }

// Hour is the beginning of its hour, UTC; the zero time when it is empty.
func (t Track) Hour() time.Time {
	if t.n == 0 {
		return time.Time{}
	}
	return hourTime(t.hour)
}

// Span is the times of its oldest and its newest fix; zero times when it is empty.
func (t Track) Span() (from, until time.Time) {
	if t.n == 0 {
		return time.Time{}, time.Time{}
	}
	return t.time(t.min), t.time(t.max)
}

func (t Track) time(ms int64) time.Time {
	return time.UnixMilli(t.hour*msPerHour + ms).UTC()
}

// rowOf checks a fix and brings it into units.
func rowOf(f TrackFix) (row trackRow, hour int64, _ error) {
	hour = hourNumber(f.At)
	if hour < 0 || hour >= maxTrackHour {
		return row, 0, errorf("at", "must be in the years 1970 to 9999, is in %d", f.At.UTC().Year())
	}
	if err := f.Pos.Validate(); err != nil {
		return row, 0, err
	}
	if !(f.AccuracyM >= 0) || math.IsInf(f.AccuracyM, 0) {
		return row, 0, errorf("accuracy_m", "must be 0 or more, is %v", f.AccuracyM)
	}
	row = trackRow{
		ms:  f.At.UnixMilli() - hour*msPerHour,
		lat: int64(math.Round(f.Pos.Lat * degUnits)), lng: int64(math.Round(f.Pos.Lng * degUnits)),
		acc:   int64(math.Round(min(f.AccuracyM, MaxTrackAccuracyM) * 10)),
		flags: f.Flags, evidence: f.Evidence,
	}
	if row.acc == 0 && f.AccuracyM > 0 {
		row.acc = 1 // 0 would say that it was not given
	}
	return row, hour, nil
}

func (r trackRow) fix(hour int64) TrackFix {
	return TrackFix{
		At:  time.UnixMilli(hour*msPerHour + r.ms).UTC(),
		Pos: Point{Lat: float64(r.lat) / degUnits, Lng: float64(r.lng) / degUnits}, AccuracyM: float64(r.acc) / 10,
		Flags: r.flags, Evidence: r.evidence,
	}
}

func (r trackRow) check() error {
	switch {
	case r.ms < 0 || r.ms >= msPerHour:
		return errorf("", "a fix is not in the hour")
	case r.lat < -maxLatUnit || r.lat > maxLatUnit || r.lng < -maxLngUnit || r.lng > maxLngUnit:
		return errorf("", "a position is not on Earth")
	case r.acc < 0 || r.acc > maxAccUnit:
		return errorf("", "an accuracy is beyond its bounds")
	}
	return nil
}

// Add gives the Track with one more fix. Errors (*Error, with the field): the
// position or the accuracy cannot be; "at" is not in the Track's hour; the Track
// is full.
func (t Track) Add(f TrackFix) (Track, error) {
	row, hour, err := rowOf(f)
	if err != nil {
		return t, err
	}
	if t.n > 0 && hour != t.hour {
		return t, errorf("at", "must be in the hour from %s", t.Hour().Format(time.RFC3339))
	}
	var room [40]byte
	b := room[:0]
	if t.n == 0 {
		b = append(b, trackRows)
		b = binary.AppendUvarint(b, uint64(hour)) //nolint:gosec // rowOf: not negative
	} else if row == t.last {
		return t, nil
	}
	b = appendRow(b, t.last, row)
	if t.n == MaxTrackFixes || t.size+len(b) > MaxTrackBytes {
		return t, errorf("", "has at most %d fixes in %d bytes", MaxTrackFixes, MaxTrackBytes)
	}
	t.append(b)
	if t.n == 0 {
		t.hour, t.min, t.max = hour, row.ms, row.ms
	}
	t.n, t.last = t.n+1, row
	t.min, t.max = min(t.min, row.ms), max(t.max, row.ms)
	return t, nil
}

// append puts bytes after the Track's own: in place if nobody else has.
func (t *Track) append(b []byte) {
	end := t.size + len(b)
	if t.tail == nil || end > len(t.tail.bytes) || !t.tail.used.CompareAndSwap(int64(t.size), int64(end)) {
		grown := &trackTail{bytes: make([]byte, max(128, 2*end))}
		if t.tail != nil {
			copy(grown.bytes, t.tail.bytes[:t.size])
		}
		grown.used.Store(int64(end))
		t.tail = grown
	}
	copy(t.tail.bytes[t.size:end], b)
	t.size = end
}

func appendRow(b []byte, last, r trackRow) []byte {
	head := len(b)
	dt := r.ms - last.ms
	tag := byte(0)
	b = append(b, 0)
	if dt%1000 == 0 {
		tag |= rowSeconds
		dt /= 1000
	}
	b = binary.AppendVarint(b, dt)
	if r.lat == last.lat && r.lng == last.lng {
		tag |= rowSamePos
	} else {
		b = binary.AppendVarint(b, r.lat-last.lat)
		b = binary.AppendVarint(b, r.lng-last.lng)
	}
	if r.acc == last.acc {
		tag |= rowSameAcc
	} else {
		b = binary.AppendVarint(b, r.acc-last.acc)
	}
	if r.flags != last.flags || r.evidence != last.evidence {
		tag |= rowFlags
		b = append(b, byte(r.flags), byte(r.evidence))
	}
	b[head] = tag
	return b
}

// Fixes of the Track, by time.
func (t Track) Fixes() []TrackFix {
	if t.n == 0 {
		return nil
	}
	rows := t.rows()
	out := make([]TrackFix, len(rows))
	for i, r := range rows {
		out[i] = r.fix(t.hour)
	}
	return out
}

// rows by time; of a Track that Add or a decoder made, so they can be read.
func (t Track) rows() []trackRow {
	_, rows, err := readTrackRows(t.tail.bytes[:t.size])
	if err != nil {
		panic("geo: a track that cannot be read: " + err.Error())
	}
	sortTrackRows(rows)
	return rows
}

// sortTrackRows puts rows into the one order that does not depend on how they came.
func sortTrackRows(rows []trackRow) {
	slices.SortFunc(rows, func(a, b trackRow) int {
		for _, d := range [...]int64{
			a.ms - b.ms, a.lat - b.lat, a.lng - b.lng, a.acc - b.acc,
			int64(a.flags) - int64(b.flags), int64(a.evidence) - int64(b.evidence),
		} {
			if d != 0 {
				return int(max(-1, min(1, d)))
			}
		}
		return 0
	})
}

// Bytes is the Track as it is, in order of coming, for DecodeTrack; nil when it
// is empty. They must not be changed.
func (t Track) Bytes() []byte {
	if t.n == 0 {
		return nil
	}
	return t.tail.bytes[:t.size:t.size]
}

// LogValue hides the positions, of which the bytes are full.
func (t Track) LogValue() slog.Value { return slog.StringValue("redacted") }

// LogValue hides the position.
func (f TrackFix) LogValue() slog.Value { return slog.StringValue("redacted") }

// MarshalJSON is Bytes in base64.
func (t Track) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil), nil }

// AppendJSON appends what MarshalJSON writes.
func (t Track) AppendJSON(b []byte) []byte {
	if t.n == 0 {
		return append(b, "null"...)
	}
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), t.Bytes()), '"')
}

// UnmarshalJSON reads what MarshalJSON wrote, or Pack's bytes in base64.
func (t *Track) UnmarshalJSON(text []byte) error {
	var b []byte
	if err := json.Unmarshal(text, &b); err != nil {
		return fmt.Errorf("track: %w", err)
	}
	var err error
	*t, err = DecodeTrack(b)
	return err
}

// DecodeTrack reads Bytes or Pack of any version so far. It may be added to. No
// bytes are an empty Track. It copies what it keeps. Whatever the bytes, it takes
// no more memory than a small multiple of MaxTrackBytes. Errors: *Error.
func DecodeTrack(b []byte) (Track, error) {
	t, err := decodeTrack(b)
	return t, below("track", err)
}

func decodeTrack(b []byte) (Track, error) {
	if len(b) == 0 {
		return Track{}, nil
	}
	if len(b) > MaxTrackBytes {
		return Track{}, errorf("", "must have at most %d bytes, has %d", MaxTrackBytes, len(b))
	}
	var t Track
	var rows []trackRow
	var err error
	switch b[0] {
	case trackRows:
		t.hour, rows, err = readTrackRows(b)
		if err != nil {
			return Track{}, err
		}
		t.append(b)
	case trackPacked:
		t.hour, rows, err = unpackTrack(b[1:])
		if err != nil {
			return Track{}, err
		}
		out := binary.AppendUvarint([]byte{trackRows}, uint64(t.hour)) //nolint:gosec // unpackTrack: not negative
		for i, r := range rows {
			out = appendRow(out, trackRowBefore(rows, i), r)
		}
		t.append(out)
	default:
		return Track{}, errorf("", "version %d is not known", b[0])
	}
	t.n, t.last, t.min, t.max = len(rows), rows[len(rows)-1], rows[0].ms, rows[0].ms
	for _, r := range rows {
		t.min, t.max = min(t.min, r.ms), max(t.max, r.ms)
	}
	return t, nil
}

func trackRowBefore(rows []trackRow, i int) trackRow {
	if i == 0 {
		return trackRow{}
	}
	return rows[i-1]
}

// readTrackRows reads the open form, in order of coming; there is a row at least.
func readTrackRows(b []byte) (hour int64, rows []trackRow, _ error) {
	r := trackReader{b: b[1:]}
	hour = r.hour()
	rows = make([]trackRow, 0, len(b)/8+1)
	var row trackRow
	for r.err == nil && (len(r.b) > 0 || len(rows) == 0) {
		tag := r.byte()
		if tag&^rowKnown != 0 {
			r.fail("a row has a mark that is not known")
		}
		row.ms += r.step(tag)
		if tag&rowSamePos == 0 {
			row.lat += r.varint()
			row.lng += r.varint()
		}
		if tag&rowSameAcc == 0 {
			row.acc += r.varint()
		}
		if tag&rowFlags != 0 {
			row.flags, row.evidence = TrackFlags(r.byte()), TrackEvidence(r.byte())
		}
		r.check(row)
		if rows = append(rows, row); len(rows) > MaxTrackFixes {
			r.fail("has too many fixes")
		}
	}
	return hour, rows, r.err
}

// trackReader reads fields off bytes. After its first error it gives zeros.
type trackReader struct {
	b   []byte
	err error
}

func (r *trackReader) fail(why string) {
	if r.err == nil {
		r.err = errorf("", "%s", why)
	}
	r.b = nil
}

func (r *trackReader) check(row trackRow) {
	if err := row.check(); err != nil && r.err == nil {
		r.err = err
	}
}

func (r *trackReader) byte() byte {
	if len(r.b) == 0 {
		r.fail("ends in the middle")
		return 0
	}
	x := r.b[0]
	r.b = r.b[1:]
	return x
}

// maxTrackStep is above every difference that can be between two fields of a row, and
// so small that sums of checked fields do not overflow.
const maxTrackStep = 1 << 33

func (r *trackReader) varint() int64 {
	x, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("ends in the middle")
		return 0
	}
	if x < -maxTrackStep || x > maxTrackStep {
		r.fail("a step is beyond its bounds")
		return 0
	}
	r.b = r.b[n:]
	return x
}

// step is the time since the row before.
func (r *trackReader) step(tag byte) int64 {
	dt := r.varint()
	if tag&rowSeconds != 0 {
		dt *= 1000
	}
	return dt
}

func (r *trackReader) hour() int64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 || x >= maxTrackHour {
		r.fail("its hour cannot be")
		return 0
	}
	r.b = r.b[n:]
	return int64(x) //nolint:gosec // below maxTrackHour
}
