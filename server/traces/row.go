package traces

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/geo"
)

// Row is one row of a trace.
type Row struct {
	Line   int    // where it stands in the file, from 1
	Device string // empty where the trace names none
	geo.Evidence
}

// Codes of refusals.
const (
	CodeSyntax   = "syntax"   // it is no row of the format
	CodeTooLong  = "too_long" // it is longer than MaxLine
	CodeTime     = "time"     // it has no time, or one that cannot be read
	CodeClock    = "clock"    // its time cannot be: see Limits
	CodePosition = "position" // no position, or none on Earth
	CodeAccuracy = "accuracy" // no number
	CodeValue    = "value"    // another field that cannot be read
	CodeFence    = "fence"    // it speaks of a fence that there is not
	CodeDenied   = "denied"   // the OS's word, and its own fix is elsewhere
	CodeDoubtful = "doubtful" // mocked or too fast, and such are to be refused
	CodeLate     = "late"     // live: older than the reorder window
	CodeAncient  = "ancient"  // live: older than a phone may keep it
)

// Refusal says why a row was not taken.
type Refusal struct {
	Line   int    // 0: the whole
	Code   string // one of the codes
	Field  string // may be empty
	Reason string // what must hold, and what is
}

// Error implements error.
func (r *Refusal) Error() string {
	said := strings.TrimSpace(r.Field + " " + r.Reason)
	if r.Line == 0 {
		return said
	}
	return fmt.Sprintf("line %d: %s", r.Line, said)
}

func refuse(code, field, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Limits are what a time of a trace must be within.
type Limits struct {
	// Now is the machine's time; zero: any future will do. What is more than
	// geo.MaxAheadOf after it is refused.
	Now time.Time
}

// first is the earliest time that a trace may have: before it, a clock was not set.
var first = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (l Limits) check(at time.Time) *Refusal {
	switch {
	case at.Before(first):
		return refuse(CodeClock, "ts", "must be 2000 or later, is %s: a clock that was not set", at.UTC().Format(time.RFC3339))
	case !l.Now.IsZero() && at.Sub(l.Now) > geo.MaxAheadOf:
		return refuse(CodeClock, "ts", "must not be in the future, is %s: a clock that is wrong", at.UTC().Format(time.RFC3339))
	}
	return nil
}

// unit is how a time was written.
type unit string

const (
	unixSeconds unit = "unix seconds"
	unixMillis  unit = "unix milliseconds"
	unixMicros  unit = "unix microseconds"
	withZone    unit = "RFC 3339"
	withoutZone unit = "date and time without a zone, taken as UTC"
)

var timeLayouts = []struct {
	layout string
	unit   unit
}{
	{time.RFC3339Nano, withZone},
	{"2006-01-02 15:04:05.999999999Z07:00", withZone},
	{"2006-01-02T15:04:05.999999999", withoutZone},
	{"2006-01-02 15:04:05.999999999", withoutZone},
}

// parseTime reads unix seconds, milliseconds or microseconds, which their size tells
// apart, or a date and time. Microseconds count.
func parseTime(s string) (time.Time, unit, *Refusal) {
	if s == "" {
		return time.Time{}, "", refuse(CodeTime, "ts", "is missing")
	}
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		return numberTime(v)
	}
	for _, l := range timeLayouts {
		if at, err := time.Parse(l.layout, s); err == nil {
			return at.UTC().Round(time.Microsecond), l.unit, nil
		}
	}
	return time.Time{}, "", refuse(CodeTime, "ts", "must be unix seconds, milliseconds or RFC 3339, is %.40q", s)
}

func numberTime(v float64) (time.Time, unit, *Refusal) {
	switch size := math.Abs(v); {
	case size < 1e11: // seconds up to the year 5138
		return time.UnixMicro(int64(math.Round(v * 1e6))).UTC(), unixSeconds, nil
	case size < 1e14:
		return time.UnixMicro(int64(math.Round(v * 1e3))).UTC(), unixMillis, nil
	case size < 1e17:
		return time.UnixMicro(int64(math.Round(v))).UTC(), unixMicros, nil
	default: // NaN too
		return time.Time{}, "", refuse(CodeTime, "ts", "must be unix seconds, milliseconds or RFC 3339, is %v", v)
	}
}

// parseNumber reads a number; comma says that a comma may be its point.
func parseNumber(code, field, s string, comma bool) (float64, *Refusal) {
	if s == "" {
		return 0, refuse(code, field, "is missing")
	}
	if comma {
		s = strings.Replace(s, ",", ".", 1)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, refuse(code, field, "must be a number, is %.40q", s)
	}
	return v, nil
}

// setPosition checks a position and sets it.
func (r *Row) setPosition(lat, lng float64) *Refusal {
	p := geo.Point{Lat: lat, Lng: lng}
	if err := p.Validate(); err != nil {
		return refuseGeo(CodePosition, err)
	}
	r.Pos, r.Located = p, true
	return nil
}

// setAccuracy takes an accuracy: 0 or negative, as iOS writes it, is not given.
func (r *Row) setAccuracy(v float64) *Refusal {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return refuse(CodeAccuracy, "accuracy", "must be metres, is %v", v)
	}
	r.AccuracyM = max(v, 0)
	return nil
}

// parseFlag reads a yes or no; empty is no.
func parseFlag(field, s string) (bool, *Refusal) {
	switch strings.ToLower(s) {
	case "", "0", "false", "no", "n", "f":
		return false, nil
	case "1", "true", "yes", "y", "t":
		return true, nil
	}
	return false, refuse(CodeValue, field, "must be true or false, is %.40q", s)
}
