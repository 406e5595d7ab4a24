package table

import (
	"strconv"
	"time"
)

// Numbers that are times: seconds from 2001 to 2286, or the same in milliseconds.
const (
	minSeconds = 1_000_000_000
	maxSeconds = 10_000_000_000
)

// ParseTime reads a time as files have it: RFC 3339, without a zone (then it is UTC), a
// date alone, or Unix seconds or milliseconds of 10 and 13 digits.
func ParseTime(s string) (time.Time, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		switch {
		case n >= minSeconds && n < maxSeconds:
			return time.Unix(n, 0).UTC(), true
		case n >= minSeconds*1000 && n < maxSeconds*1000:
			return time.UnixMilli(n).UTC(), true
		default:
			return time.Time{}, false
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
