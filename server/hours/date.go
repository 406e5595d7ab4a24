package hours

import (
	"fmt"
	"slices"
	"time"
)

// Date is a day of the Gregorian calendar, such as a holiday. As text and in JSON
// it is "2026-12-25".
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// ParseDate reads "2026-12-25". The error says why it is no date.
func ParseDate(text string) (Date, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return Date{}, &Error{Reason: "must be a date like 2026-12-25, is " + quote(text)}
	}
	return Date{t.Year(), t.Month(), t.Day()}, nil
}

// String is the date as "2026-12-25".
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, int(d.Month), d.Day) }

// MarshalText implements encoding.TextMarshaler.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the error is that of ParseDate.
func (d *Date) UnmarshalText(text []byte) error {
	read, err := ParseDate(string(text))
	if err == nil {
		*d = read
	}
	return err
}

// day is a day of the calendar with what the selectors look at.
type day struct {
	n       int // days since 1970-01-01
	year    int
	month   time.Month
	dom     int
	weekday time.Weekday
}

func dayOf(t time.Time) day {
	year, month, dom := t.Date()
	return day{numberOf(year, month, dom), year, month, dom, t.Weekday()}
}

func (d day) add(days int) day {
	if days == 0 {
		return d
	}
	if dom := d.dom + days; 1 <= dom && dom <= 28 { // most often, and without a calendar
		d.n, d.dom, d.weekday = d.n+days, dom, weekdayAfter(d.weekday, days)
		return d
	}
	year, month, dom := time.Unix(int64(d.n+days)*86400, 0).UTC().Date()
	return day{d.n + days, year, month, dom, weekdayAfter(d.weekday, days)}
}

func weekdayAfter(w time.Weekday, days int) time.Weekday {
	return time.Weekday(((int(w)+days)%7 + 7) % 7)
}

func (d day) date() Date { return Date{d.year, d.month, d.dom} }

func numberOf(year int, month time.Month, dom int) int {
	return int(time.Date(year, month, dom, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// daysIn is the number of days of a month.
func daysIn(year int, month time.Month) int {
	if month == time.February && (year%4 != 0 || year%100 == 0 && year%400 != 0) {
		return 28
	}
	return longest[month-1]
}

// longest are the days of the months in a leap year.
var longest = [...]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// dateKind is a way to write a date.
type dateKind uint8

const (
	wholeYear  dateKind = iota // nothing but the years
	wholeMonth                 // "Apr"
	dayOfMonth                 // "Apr 10"
	nthWeekday                 // "Mar Su[-1]"
	easter                     // Easter Sunday of the western churches
)

// date is one end of a dateRange, without its year.
type date struct {
	kind    dateKind
	month   time.Month
	dom     int
	weekday time.Weekday
	nth     int // 1 to 5, -5 to -1
	offset  int // days
}

// dateRange is from one date to another, in each of the years (all if there are
// none) in which from lies; over the end of the year if to is before from.
type dateRange struct {
	years    []numbers
	from, to date
	toYear   int  // stated year of to; 0 if none. With it there is just one year
	open     bool // "2024 Mar 1+": no end. There is just one year
}

func (r dateRange) has(d day) bool {
	switch {
	case r.from.kind == wholeYear:
		return r.inYears(d.year)
	case r.toYear != 0 || r.open:
		return r.hasFrom(r.years[0].from, d)
	case r.from.kind <= dayOfMonth && r.to.kind <= dayOfMonth && r.from.offset == 0 && r.to.offset == 0:
		return r.hasSimple(d)
	default: // offsets and ranges over the end of the year reach into the neighbours
		return r.hasFrom(d.year, d) || r.hasFrom(d.year-1, d) || r.hasFrom(d.year+1, d)
	}
}

// hasSimple compares months and days: most dates are such, and it is ten times as fast.
func (r dateRange) hasSimple(d day) bool {
	key := func(m time.Month, dom int) int { return int(m)*32 + dom }
	is, from, to := key(d.month, d.dom), key(r.from.month, r.from.dom), key(r.to.month, r.to.dom)
	if r.to.kind == wholeMonth {
		to = key(r.to.month, 31)
	}
	if from <= to {
		return from <= is && is <= to && r.inYears(d.year)
	}
	return is >= from && r.inYears(d.year) || is <= to && r.inYears(d.year-1)
}

func (r dateRange) inYears(year int) bool {
	return len(r.years) == 0 || slices.ContainsFunc(r.years, func(y numbers) bool { return y.has(year) })
}

func (r dateRange) hasFrom(year int, d day) bool {
	if !r.inYears(year) {
		return false
	}
	single := r.from == r.to && r.toYear == 0
	from, ok := r.from.first(year)
	if !ok && (single || r.from.kind != dayOfMonth) || d.n < from {
		return false
	}
	if r.open {
		return true
	}
	toYear := year
	if r.toYear != 0 {
		toYear = r.toYear
	}
	to, ok := r.to.last(toYear)
	if ok && to < from && r.toYear == 0 {
		to, ok = r.to.last(year + 1)
	}
	return ok && d.n <= to
}

// first is the day on which the date begins in a year, as a number. There may be
// none: of 29 February the answer is false, and the day after it.
func (d date) first(year int) (int, bool) {
	switch d.kind {
	case wholeYear:
		return numberOf(year, time.January, 1), true
	case wholeMonth:
		return numberOf(year, d.month, 1), true
	case dayOfMonth:
		return numberOf(year, d.month, d.dom) + d.offset, d.dom <= daysIn(year, d.month)
	case nthWeekday:
		n, ok := nthOf(year, d.month, d.weekday, d.nth)
		return n + d.offset, ok
	default:
		return easterOf(year) + d.offset, true
	}
}

// last is the day on which the date ends in a year; a range to 29 February ends
// on the 28th if there is none.
func (d date) last(year int) (int, bool) {
	switch d.kind {
	case wholeMonth:
		return numberOf(year, d.month, daysIn(year, d.month)), true
	case dayOfMonth:
		return numberOf(year, d.month, min(d.dom, daysIn(year, d.month))) + d.offset, true
	default:
		return d.first(year)
	}
}

// nthOf is the nth weekday of a month, from its end if nth is negative; false if the
// month has fewer.
func nthOf(year int, month time.Month, weekday time.Weekday, nth int) (int, bool) {
	length := daysIn(year, month)
	one := numberOf(year, month, 1)
	dom := 1 + (int(weekday)-int(weekdayAfter(time.Thursday, one))+7)%7 // day 0 was a Thursday
	if nth > 0 {
		dom += 7 * (nth - 1)
	} else {
		dom += 7 * ((length-dom)/7 + 1 + nth)
	}
	return one + dom - 1, 1 <= dom && dom <= length
}

// easterOf is Easter Sunday of the Gregorian calendar by the rule of Butcher (J.
// Meeus, Astronomical Algorithms, chapter 8).
func easterOf(year int) int {
	a, b, c := year%19, year/100, year%100
	h := (19*a + b - b/4 - (b-(b+8)/25+1)/3 + 15) % 30
	l := (32 + 2*(b%4) + 2*(c/4) - h - c%4) % 7
	m := (a + 11*h + 22*l) / 451
	sum := h + l - 7*m + 114
	return numberOf(year, time.Month(sum/31), sum%31+1)
}
