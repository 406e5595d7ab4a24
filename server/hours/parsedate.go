package hours

import "time"

// The years that a text may name.
const minYear, maxYear = 1900, 9999

// dateRanges reads years and dates: "2021 Dec 24-26,31,2022 Jan 1". A date without
// years takes those of the date before it.
func (p *parser) dateRanges() ([]dateRange, error) {
	var out []dateRange
	var years []numbers
	for {
		r := dateRange{years: years}
		var err error
		if p.atYear(0) {
			if r.years, err = p.years(); err != nil {
				return nil, err
			}
		}
		years = nil
		switch {
		case p.atDate(0):
			years = r.years
			err = p.dateRange(&r, date{})
		case p.peek(0).kind == number && !p.atYear(0) && !p.isTime(0) && len(out) > 0 && out[len(out)-1].to.kind == dayOfMonth:
			years = r.years
			err = p.dateRange(&r, out[len(out)-1].to)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, r)
		day := r.to.kind == dayOfMonth && r.to.offset == 0 && p.peek(1).kind == number && !p.isTime(1)
		if !p.isSign(0, ",") || !p.atDate(1) && !p.atYear(1) && !day {
			return out, nil
		}
		p.i++
	}
}

// years reads "2020,2022-2024,2030+".
func (p *parser) years() ([]numbers, error) {
	var out []numbers
	for {
		from, err := p.number("the year", minYear, maxYear)
		if err != nil {
			return nil, err
		}
		y := numbers{from: from, to: from}
		switch {
		case p.isSign(0, "-") && p.peek(1).kind == number:
			p.i++
			if len(p.peek(0).text) != 4 {
				return nil, p.fail("a year has four digits; a date is written like \"2026 Dec 25\"")
			}
			if y.to, err = p.number("the year", from, maxYear); err != nil {
				return nil, err
			}
			y.step, err = p.step()
		case p.takeSign("+"):
			y.to = maxYear
		case p.isSign(0, "/"):
			y.to = maxYear
			y.step, err = p.step()
		}
		if err != nil {
			return nil, err
		}
		out = append(out, y)
		if !p.isSign(0, ",") || !p.atYear(1) {
			return out, nil
		}
		p.i++
	}
}

// dateRange reads one date or a range. before is the date in front of "24,31",
// whose second day has no month of its own.
func (p *parser) dateRange(r *dateRange, before date) (err error) {
	start := p.i
	if before.kind == dayOfMonth {
		r.from, err = p.dayOf(before.month)
	} else {
		r.from, err = p.date(nil)
	}
	if err != nil {
		return err
	}
	r.to = r.from
	if r.open = p.takeSign("+"); r.open {
		if r.from.kind == wholeMonth || !r.oneYear() {
			p.i = start
			return p.fail("an open end needs a date with one year, \"2026 Dec 25+\"")
		}
		return nil
	}
	if !p.takeSign("-") {
		return nil
	}
	if r.from.kind == dayOfMonth && p.peek(0).kind == number && !p.atYear(0) {
		start := p.i
		if r.to, err = p.dayOf(r.from.month); err != nil {
			return err
		}
		if r.to.dom+r.to.offset < r.from.dom+r.from.offset {
			p.i = start
			return p.fail("the last day is before the first; over the end of the month the month is named, \"Dec 24-Jan 6\"")
		}
		return nil
	}
	if p.atYear(0) {
		if !r.oneYear() {
			return p.fail("the range has a year at its end and not one at its beginning")
		}
		if r.toYear, err = p.number("the year", r.years[0].from, maxYear); err != nil {
			return err
		}
	}
	if !p.atDate(0) {
		return p.fail("the last date of the range is missing")
	}
	start = p.i
	r.to, err = p.date(&r.from)
	if err == nil && (r.from.kind == wholeMonth) != (r.to.kind == wholeMonth) {
		p.i = start
		return p.fail("a range is from a month to a month or from a day to a day")
	}
	if err == nil && r.toYear != 0 && r.toYear == r.years[0].from {
		// An end before its beginning would hold on no day.
		from, _ := r.from.first(r.toYear)
		if to, _ := r.to.last(r.toYear); to < from {
			p.i = start
			return p.fail("the last date is before the first")
		}
	}
	return err
}

func (r *dateRange) oneYear() bool { return len(r.years) == 1 && r.years[0].from == r.years[0].to }

// date reads a date without its year; from is the beginning of its range, nil if it
// is the beginning. "Apr Su[2]" is a weekday in a month, and so is "Apr-Oct Su[2]", but
// in "Mar Su[-1]-Sep 30" it is a date.
func (p *parser) date(from *date) (d date, err error) {
	if p.takeWord("easter") {
		d.kind = easter
		d.offset, err = p.offset()
		return d, err
	}
	d.month, _ = monthOf(p.peek(0))
	d.kind = wholeMonth
	p.i++
	if p.peek(0).kind == number && !p.isTime(0) && !p.atYear(0) {
		return p.dayOf(d.month)
	}
	before := p.i
	w, ok := weekdayOf(p.peek(0))
	if !ok || !p.isSign(1, "[") || from != nil && from.kind == wholeMonth {
		return d, nil
	}
	p.i += 2
	nth, err := p.nth()
	if err != nil {
		return d, err
	}
	if !p.takeSign("]") {
		p.i = before // a list: weekdays of the month
		return d, nil
	}
	offset, err := p.offset()
	if err != nil {
		return d, err
	}
	if from == nil && (!p.isSign(0, "-") || !p.atDate(1) && !p.atYear(1)) {
		p.i = before
		return d, nil
	}
	return date{kind: nthWeekday, month: d.month, weekday: w, nth: nth, offset: offset}, nil
}

// dayOf reads the day of a month.
func (p *parser) dayOf(month time.Month) (d date, err error) {
	d = date{kind: dayOfMonth, month: month}
	if d.dom, err = p.number("the day of "+month.String(), 1, longest[month-1]); err != nil {
		return d, err
	}
	d.offset, err = p.offset()
	return d, err
}
