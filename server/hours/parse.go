package hours

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parse reads opening hours. The error is an *Error that says where the text cannot
// be read and why. An empty text is refused: it says nothing, which is no Hours.
func Parse(text string) (Hours, error) {
	tokens, err := scan(text)
	if err != nil {
		return Hours{}, err
	}
	p := parser{text: text, tokens: tokens}
	if p.peek(0).kind == end {
		return Hours{}, &Error{Reason: "there are no hours; a place that is always closed is \"off\""}
	}
	var rules []rule
	sep := normal
	for {
		r, err := p.rule()
		if err != nil {
			return Hours{}, err
		}
		r.sep = sep
		rules = append(rules, r)
		switch {
		case p.takeSign(";"):
			sep = normal
			if p.peek(0).kind == end {
				return newHours(rules), nil
			}
		case p.takeSign(","):
			if len(r.spans) == 0 && !p.stated {
				return Hours{}, p.fail("what is before this comma has no times; write rules of different dates or days apart, with \";\"")
			}
			sep = additional
		case p.takeSign("||"):
			sep = fallback
		case p.peek(0).kind == end:
			return newHours(rules), nil
		default:
			return Hours{}, p.unexpected()
		}
	}
}

func newHours(rules []rule) Hours {
	dated := slices.ContainsFunc(rules, func(r rule) bool {
		return len(r.dates) > 0 || len(r.weeks) > 0 || len(r.holidays) > 0 ||
			slices.ContainsFunc(r.weekdays, func(w weekday) bool { return len(w.nth) > 0 })
	})
	return Hours{rules, dated}
}

type parser struct {
	text   string
	tokens []token
	i      int
	stated bool // the last rule had a state, or is 24/7
}

func (p *parser) peek(ahead int) token { return p.tokens[min(p.i+ahead, len(p.tokens)-1)] }

// isSign reports whether the token ahead is the sign.
func (p *parser) isSign(ahead int, s string) bool {
	t := p.peek(ahead)
	return t.kind == sign && t.text == s
}

func (p *parser) takeSign(s string) bool {
	if p.isSign(0, s) {
		p.i++
		return true
	}
	return false
}

// takeWord takes the next token if it is one of the words.
func (p *parser) takeWord(words ...string) bool {
	if t := p.peek(0); t.kind == word && slices.Contains(words, t.text) {
		p.i++
		return true
	}
	return false
}

// fail is an error at the next token.
func (p *parser) fail(format string, args ...any) *Error {
	return at(p.text, p.peek(0).pos, format, args...)
}

func (p *parser) unsupported(reason string) *Error {
	err := p.fail("%s", reason)
	err.Unsupported = true
	return err
}

// unexpected says what is known of a token that has no place where it stands.
func (p *parser) unexpected() *Error {
	t := p.peek(0)
	said := quote(t.text)
	switch {
	case t.kind == end:
		return p.fail("something is missing")
	case slices.Contains([]string{"sunrise", "sunset", "dawn", "dusk"}, t.text), t.text == "(":
		return p.unsupported(said + ": times of the sun are not supported, for they need the place's position")
	case slices.Contains([]string{"am", "pm", "a", "p"}, t.text):
		return p.fail("%s is not known here: times are 00:00 to 24:00", said)
	case t.text == "24" && p.isSign(1, "/"):
		return p.fail("24/7 stands alone; the whole day is \"00:00-24:00\"")
	case p.isTime(0):
		return p.fail("a time is not expected here")
	case t.kind == number:
		return p.fail("the number %s is not expected here; times have hours and minutes, \"09:00-18:00\"", said)
	case t.kind == comment:
		return p.fail("the comment %s is not expected here: it ends a rule", said)
	case p.atMonth(0), p.atWeekday(0), p.atHoliday(0), t.text == "week", t.text == "easter":
		return p.fail("%s is not expected here: dates come before weekdays, weekdays before times, each once", said)
	case t.text == ":" || t.text == "/":
		return p.unsupported(said + " is not supported here")
	case t.kind == sign, slices.Contains([]string{"off", "closed", "open", "unknown"}, t.text):
		return p.fail("%s is not expected here", said)
	default:
		return p.fail("%s is not known here", said)
	}
}

// rule reads one rule, without its separator.
func (p *parser) rule() (rule, error) {
	r := rule{kind: Open}
	start := p.i
	p.stated = false
	if p.peek(0).text == "24" && p.isSign(1, "/") && p.peek(2).text == "7" {
		p.i += 3
		p.stated = true
	} else if err := p.selectors(&r); err != nil {
		return rule{}, err
	}
	state := true
	switch {
	case p.takeWord("open"):
	case p.takeWord("off", "closed"):
		r.kind = Closed
	case p.takeWord("unknown"):
		r.kind = Unknown
	default:
		state = false
	}
	if t := p.peek(0); t.kind == comment {
		if !state {
			r.kind, state = Unknown, true
		}
		r.comment = t.text
		p.i++
		if p.isSign(0, ":") {
			return rule{}, p.unsupported("a comment in place of dates is not supported")
		}
	}
	if p.i == start {
		return rule{}, p.unexpected()
	}
	p.stated = p.stated || state
	return r, nil
}

// selectors reads dates, weeks, weekdays and times.
func (p *parser) selectors(r *rule) (err error) {
	for done := false; !done && err == nil; {
		switch {
		case r.dates == nil && (p.atYear(0) || p.atDate(0)):
			r.dates, err = p.dateRanges()
		case r.weeks == nil && p.takeWord("week"):
			r.weeks, err = p.weeks()
		default:
			done = true
		}
	}
	if err == nil && (r.dates != nil || r.weeks != nil) {
		p.takeSign(":")
	}
	if err == nil && (p.atWeekday(0) || p.atHoliday(0)) {
		if err = p.days(r); err == nil {
			p.takeSign(":")
		}
	}
	if err == nil && (p.isTime(0) || p.atSun()) {
		r.spans, err = p.spans()
	}
	return err
}

// isTime reports whether hours and minutes are ahead. "25: 10:00" is the day 25.
func (p *parser) isTime(ahead int) bool {
	return p.peek(ahead).kind == number && p.isSign(ahead+1, ":") && p.peek(ahead+2).kind == number && !p.isSign(ahead+3, ":")
}

func (p *parser) atSun() bool {
	t := p.peek(0)
	return p.isSign(0, "(") || t.kind == word && slices.Contains([]string{"sunrise", "sunset", "dawn", "dusk"}, t.text)
}

func (p *parser) atYear(ahead int) bool {
	t := p.peek(ahead)
	return t.kind == number && len(t.text) == 4 && !p.isTime(ahead)
}

func (p *parser) atMonth(ahead int) bool {
	_, ok := monthOf(p.peek(ahead))
	return ok
}

// atDate reports whether a date without a year is ahead.
func (p *parser) atDate(ahead int) bool {
	t := p.peek(ahead)
	return p.atMonth(ahead) || t.kind == word && t.text == "easter"
}

func (p *parser) atWeekday(ahead int) bool {
	_, ok := weekdayOf(p.peek(ahead))
	return ok
}

func (p *parser) atHoliday(ahead int) bool {
	t := p.peek(ahead)
	return t.kind == word && (t.text == "ph" || t.text == "sh")
}

// named reports whether a word is a name or its beginning of one of the lengths.
func named(t token, name string, lengths ...int) bool {
	name = strings.ToLower(name)
	return t.kind == word && (t.text == name || slices.ContainsFunc(lengths, func(n int) bool {
		return len(t.text) == n && strings.HasPrefix(name, t.text)
	}))
}

func monthOf(t token) (time.Month, bool) {
	for m := time.January; m <= time.December; m++ {
		if named(t, m.String(), 3) || m == time.September && t.text == "sept" {
			return m, true
		}
	}
	return 0, false
}

func weekdayOf(t token) (time.Weekday, bool) {
	for w := time.Sunday; w <= time.Saturday; w++ {
		if named(t, w.String(), 2, 3) {
			return w, true
		}
	}
	return 0, false
}

// number takes a number from low to high; what names it for the error.
func (p *parser) number(what string, low, high int) (int, error) {
	t := p.peek(0)
	if t.kind != number {
		return 0, p.fail("%s is missing", what)
	}
	n, err := strconv.Atoi(t.text)
	if err != nil || n < low || n > high {
		return 0, p.fail("%s must be %d to %d, is %s", what, low, high, quote(t.text))
	}
	p.i++
	return n, nil
}

// step takes "/2"; 0 if there is none.
func (p *parser) step() (int, error) {
	if !p.takeSign("/") {
		return 0, nil
	}
	return p.number("the step", 2, 99)
}

// weeks reads what follows the word.
func (p *parser) weeks() ([]numbers, error) {
	var out []numbers
	for {
		from, err := p.number("the week", 1, 53)
		if err != nil {
			return nil, err
		}
		w := numbers{from: from, to: from}
		if p.takeSign("-") {
			if w.to, err = p.number("the week", 1, 53); err != nil {
				return nil, err
			}
			if p.isSign(0, "/") && w.to < w.from {
				return nil, p.fail("weeks over the end of the year have no step")
			}
			if w.step, err = p.step(); err != nil {
				return nil, err
			}
		}
		out = append(out, w)
		if !p.isSign(0, ",") || p.peek(1).kind != number || p.isTime(1) || p.atYear(1) {
			return out, nil
		}
		p.i++
	}
}

// days reads weekdays and holidays: a list is either, two lists side by side are both.
func (p *parser) days(r *rule) error {
	for {
		if err := p.dayItem(r); err != nil {
			return err
		}
		if p.isSign(0, ",") && (p.atWeekday(1) || p.atHoliday(1)) {
			p.i++
			continue
		}
		// One kind so far, and the other follows: "PH Su", "Su PH".
		next := r.weekdays == nil && p.atWeekday(0) || r.holidays == nil && p.atHoliday(0)
		if !next {
			return nil
		}
		if r.both = true; r.weekdays == nil {
			return p.list(r, p.atWeekday)
		}
		return p.list(r, p.atHoliday)
	}
}

// list reads days of one kind.
func (p *parser) list(r *rule, kind func(int) bool) error {
	for {
		if err := p.dayItem(r); err != nil {
			return err
		}
		if !p.isSign(0, ",") || !kind(1) {
			return nil
		}
		p.i++
	}
}

func (p *parser) dayItem(r *rule) (err error) {
	if p.atHoliday(0) {
		h := holiday{school: p.peek(0).text == "sh"}
		p.i++
		h.offset, err = p.offset()
		r.holidays = append(r.holidays, h)
		return err
	}
	w := weekday{}
	w.from, _ = weekdayOf(p.peek(0))
	w.to = w.from
	p.i++
	switch {
	case p.isSign(0, "-") && p.peek(1).kind != number:
		p.i++
		to, ok := weekdayOf(p.peek(0))
		if !ok {
			return p.fail("the last weekday of the range is missing")
		}
		w.to = to
		p.i++
		if p.isSign(0, "[") {
			return p.fail("a range of weekdays has no number in the month")
		}
	case p.takeSign("["):
		if w.nth, err = p.nths(); err != nil {
			return err
		}
		w.offset, err = p.offset()
	}
	r.weekdays = append(r.weekdays, w)
	return err
}

// nths reads "1,3-4,-1]".
func (p *parser) nths() ([]numbers, error) {
	var out []numbers
	for {
		from, err := p.nth()
		if err != nil {
			return nil, err
		}
		n := numbers{from: from, to: from}
		if from > 0 && p.takeSign("-") {
			if n.to, err = p.number("the number in the month", from, 5); err != nil {
				return nil, err
			}
		}
		out = append(out, n)
		if p.takeSign("]") {
			return out, nil
		}
		if !p.takeSign(",") {
			return nil, p.fail("\"]\" is missing")
		}
	}
}

func (p *parser) nth() (int, error) {
	negative := p.takeSign("-")
	n, err := p.number("the number in the month", 1, 5)
	if negative {
		n = -n
	}
	return n, err
}

// offset reads "+1 day" or "-2 days"; 0 if there is none.
func (p *parser) offset() (int, error) {
	unit := p.peek(2)
	if !p.isSign(0, "+") && !p.isSign(0, "-") || p.peek(1).kind != number || unit.kind != word || unit.text != "day" && unit.text != "days" {
		return 0, nil
	}
	negative := p.isSign(0, "-")
	p.i++
	n, err := p.number("the number of days", 1, 300)
	if err != nil {
		return 0, err
	}
	p.i++
	if negative {
		n = -n
	}
	return n, nil
}

// spans reads times.
func (p *parser) spans() ([]span, error) {
	var out []span
	for {
		s, err := p.span()
		if err != nil {
			return nil, err
		}
		out = append(out, s)
		if !p.isSign(0, ",") || !p.isTime(1) {
			return out, nil
		}
		p.i++
	}
}

func (p *parser) span() (span, error) {
	if p.atSun() {
		return span{}, p.unexpected()
	}
	start := p.i
	from, err := p.time(midnight - 1)
	if err != nil {
		return span{}, err
	}
	if p.takeSign("+") {
		return span{from, guessed(from), absent}, nil
	}
	if !p.takeSign("-") {
		if t := p.peek(0); t.kind == word && !slices.Contains([]string{"off", "closed", "open", "unknown"}, t.text) {
			return span{}, p.unexpected()
		}
		p.i = start
		return span{}, p.unsupported("a time without an end is a moment, not opening hours; an open end is written \"18:00+\"")
	}
	if p.atSun() || p.peek(0).kind == end {
		return span{}, p.unexpected()
	}
	s := span{from: from}
	if s.to, err = p.time(2 * midnight); err != nil {
		return span{}, err
	}
	if s.to <= from {
		s.to += midnight
	}
	if p.takeSign("+") {
		s.end = later
	}
	if p.isSign(0, "/") {
		return span{}, p.unsupported("a time that repeats is a timetable, not opening hours")
	}
	return s, nil
}

// time reads hours and minutes up to a latest minute.
func (p *parser) time(latest int) (int, error) {
	if !p.isTime(0) {
		return 0, p.fail("a time with hours and minutes is missing, like \"18:00\"")
	}
	start := p.i
	if len(p.peek(0).text) > 2 || len(p.peek(2).text) != 2 {
		return 0, p.fail("a time is written with two digits each, \"09:00\"")
	}
	hour, err := p.number("the hour", 0, latest/60)
	if err != nil {
		return 0, err
	}
	p.i++
	minute, err := p.number("the minute", 0, 59)
	if err != nil {
		return 0, err
	}
	if hour*60+minute > latest {
		p.i = start
		return 0, p.fail("the time must be at most %s", clock(latest))
	}
	return hour*60 + minute, nil
}
