package rules

import (
	"cmp"
	"strconv"
	"strings"
)

// Version and TimeOfDay are types of what Footfall itself knows; attributes have the
// others.
const (
	// Version of an app or a system: numbers with dots between them, "3.10.2". They are
	// compared number by number, one that is missing being 0; what follows the numbers
	// ("3.1-beta") plays no part.
	Version Type = "version"
	// TimeOfDay is "HH:MM", from 00:00 to 23:59. A between whose first time is the later
	// one goes over midnight.
	TimeOfDay Type = "time_of_day"
)

// version reads the numbers of a version as one that sorts: at most four, each up to 65535.
func version(s string) (operand, bool) {
	var n uint64
	rest, more := s, true
	for i := range 4 {
		n <<= 16
		if !more {
			continue
		}
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		x, err := strconv.ParseUint(rest[:digits], 10, 16)
		if err != nil {
			if i == 0 || digits > 0 { // nothing to compare, or beyond all reason
				return operand{}, false
			}
			more = false
			continue
		}
		n |= x
		rest, more = strings.CutPrefix(rest[digits:], ".")
	}
	return operand{typ: Version, s: s, v: n}, true
}

// timeOfDay reads "HH:MM" as minutes since midnight.
func timeOfDay(s string) (operand, bool) {
	h, m, found := strings.Cut(s, ":")
	hour, err1 := strconv.ParseUint(h, 10, 8)
	minute, err2 := strconv.ParseUint(m, 10, 8)
	if !found || len(h) != 2 || len(m) != 2 || err1 != nil || err2 != nil || hour > 23 || minute > 59 {
		return operand{}, false
	}
	return operand{typ: TimeOfDay, s: s, v: hour*60 + minute}, true
}

// within reports whether x is from low to high, both included.
func (c *clause) within(x operand) bool {
	d, same := x.compare(c.low)
	e, _ := x.compare(c.high)
	if c.typ == TimeOfDay && cmp.Compare(c.low.v, c.high.v) > 0 {
		return same && (d >= 0 || e <= 0)
	}
	return same && d >= 0 && e <= 0
}

// VersionAbove reports whether a is a version above b; one that cannot be read is above
// none, and below all others.
func VersionAbove(a, b string) bool {
	x, ok := version(a)
	y, known := version(b)
	return ok && (!known || x.v > y.v)
}
