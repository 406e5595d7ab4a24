package hours

import (
	"fmt"
	"slices"
	"strings"
)

// String is the one canonical text of the hours: it parses to the same. It is empty
// for the zero value.
func (h Hours) String() string {
	var b strings.Builder
	for i := range h.rules {
		r := &h.rules[i]
		if i > 0 {
			b.WriteString([]string{normal: "; ", additional: ", ", fallback: " || "}[r.sep])
		}
		b.WriteString(r.text(i+1 < len(h.rules) && h.rules[i+1].isMoreTimes()))
	}
	return b.String()
}

// MarshalText implements encoding.TextMarshaler: String.
func (h Hours) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the error is that of Parse.
func (h *Hours) UnmarshalText(text []byte) error {
	read, err := Parse(string(text))
	if err == nil {
		*h = read
	}
	return err
}

// isMoreTimes reports whether the rule looks like further times of the one before it.
func (r *rule) isMoreTimes() bool {
	return r.sep == additional && len(r.spans) > 0 &&
		len(r.dates) == 0 && len(r.weeks) == 0 && len(r.weekdays) == 0 && len(r.holidays) == 0
}

// text of a rule; ended means that its state must be written, lest the next rule be
// read as a part of it.
func (r *rule) text(ended bool) string {
	var parts []string
	if len(r.dates) > 0 {
		parts = append(parts, datesText(r.dates))
	}
	if len(r.weeks) > 0 {
		parts = append(parts, "week "+list(r.weeks, func(w numbers) string { return w.text("%02d") }))
	}
	weekdays, holidays := list(r.weekdays, weekday.text), list(r.holidays, holiday.text)
	switch {
	case r.both:
		parts = append(parts, holidays, weekdays)
	case weekdays != "" && holidays != "":
		parts = append(parts, weekdays+","+holidays)
	case weekdays+holidays != "":
		parts = append(parts, weekdays+holidays)
	}
	if len(r.spans) > 0 {
		parts = append(parts, list(r.spans, span.text))
	}
	switch {
	case r.kind == Closed:
		parts = append(parts, "off")
	case r.kind == Unknown && r.comment == "":
		parts = append(parts, "unknown")
	case r.kind == Unknown:
	case len(parts) == 0 && r.comment == "":
		parts = append(parts, "24/7")
	case len(r.spans) == 0 || r.comment != "" || ended:
		parts = append(parts, "open")
	}
	if r.comment != "" {
		parts = append(parts, `"`+r.comment+`"`)
	}
	return strings.Join(parts, " ")
}

func list[T any](items []T, text func(T) string) string {
	var out []string
	for _, x := range items {
		out = append(out, text(x))
	}
	return strings.Join(out, ",")
}

func (n numbers) text(format string) string {
	s := fmt.Sprintf(format, n.from)
	switch {
	case n.to == maxYear && n.from != maxYear && n.step == 0:
		return s + "+"
	case n.to == maxYear && n.step != 0:
	case n.to != n.from || n.step != 0:
		s += "-" + fmt.Sprintf(format, n.to)
	}
	if n.step != 0 {
		s += fmt.Sprintf("/%d", n.step)
	}
	return s
}

func datesText(dates []dateRange) string {
	var b strings.Builder
	var years []numbers
	for i, r := range dates {
		if i > 0 {
			b.WriteByte(',')
		}
		if named := !slices.Equal(r.years, years); named || r.from.kind == wholeYear {
			b.WriteString(list(r.years, func(y numbers) string { return y.text("%d") }))
			if r.from.kind == wholeYear {
				years = nil
				continue
			}
			b.WriteByte(' ')
		}
		years = r.years
		b.WriteString(r.from.text())
		switch {
		case r.open:
			b.WriteByte('+')
		case r.toYear != 0:
			fmt.Fprintf(&b, "-%d %s", r.toYear, r.to.text())
		case r.to == r.from:
		case r.from.kind == dayOfMonth && r.to.kind == dayOfMonth && r.to.month == r.from.month && r.to.dom+r.to.offset >= r.from.dom+r.from.offset:
			fmt.Fprintf(&b, "-%02d%s", r.to.dom, offsetText(r.to.offset))
		default:
			b.WriteString("-" + r.to.text())
		}
	}
	return b.String()
}

func (d date) text() string {
	var s string
	switch d.kind {
	case easter:
		s = "easter"
	case wholeMonth:
		s = d.month.String()[:3]
	case dayOfMonth:
		s = fmt.Sprintf("%.3s %02d", d.month.String(), d.dom)
	default:
		s = fmt.Sprintf("%.3s %.2s[%d]", d.month.String(), d.weekday.String(), d.nth)
	}
	return s + offsetText(d.offset)
}

func (w weekday) text() string {
	s := w.from.String()[:2]
	if w.to != w.from {
		s += "-" + w.to.String()[:2]
	}
	if len(w.nth) > 0 {
		s += "[" + list(w.nth, func(n numbers) string { return n.text("%d") }) + "]"
	}
	return s + offsetText(w.offset)
}

func (h holiday) text() string {
	if h.school {
		return "SH" + offsetText(h.offset)
	}
	return "PH" + offsetText(h.offset)
}

func offsetText(days int) string {
	switch days {
	case 0:
		return ""
	case 1, -1:
		return fmt.Sprintf(" %+d day", days)
	default:
		return fmt.Sprintf(" %+d days", days)
	}
}

func (s span) text() string {
	if s.end == absent {
		return clock(s.from) + "+"
	}
	to := s.to
	if to > midnight && to-midnight <= s.from {
		to -= midnight
	}
	text := clock(s.from) + "-" + clock(to)
	if s.end == later {
		text += "+"
	}
	return text
}

// clock is a minute as "18:00", up to "48:00".
func clock(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }
