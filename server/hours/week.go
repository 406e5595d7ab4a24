package hours

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Week is the plain form of hours, for forms and for tables with a column per day:
// times by weekday, {"mo":["09:00-12:30","14:00-18:00"],"sa":["10:00-02:00"]}. Days are
// "mo" to "su"; one that is not there or has no times is closed.
type Week map[string][]string

// weekKeys are the days in the order in which a week is written.
var weekKeys = []string{"mo", "tu", "we", "th", "fr", "sa", "su"}

// Hours of the week; neighbouring days with the same times become one rule. The
// error is an *Error whose field is the key, "mo", or the time, "mo[1]".
func (w Week) Hours() (Hours, error) {
	for _, key := range slices.Sorted(maps.Keys(w)) {
		if !slices.Contains(weekKeys, key) {
			return Hours{}, &Error{Field: key, Reason: "no such day; days are mo, tu, we, th, fr, sa and su"}
		}
	}
	var rules []rule
	for i, key := range weekKeys {
		var spans []span
		for n, text := range w[key] {
			s, err := parseSpan(text)
			if err != nil {
				err.Field = fmt.Sprintf("%s[%d]", key, n)
				return Hours{}, err
			}
			spans = append(spans, s)
		}
		if spans == nil {
			continue
		}
		day := time.Weekday(i+1) % 7
		if n := len(rules); n > 0 && rules[n-1].weekdays[0].to == (day+6)%7 && slices.Equal(rules[n-1].spans, spans) {
			rules[n-1].weekdays[0].to = day
			continue
		}
		rules = append(rules, rule{weekdays: []weekday{{from: day, to: day}}, spans: spans, kind: Open})
	}
	if rules == nil {
		rules = []rule{{kind: Closed}}
	}
	return newHours(rules), nil
}

// parseSpan reads one time, "09:00-18:00".
func parseSpan(text string) (span, *Error) {
	tokens, err := scan(text)
	var s span
	p := parser{text: text, tokens: tokens}
	if err == nil {
		s, err = p.span()
	}
	if err == nil && p.peek(0).kind != end {
		err = p.unexpected()
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return span{}, e
	}
	return s, nil
}
