package template

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseTime reads a date or time as text; without a zone it is in loc.
func parseTime(s string, loc *time.Location) (time.Time, error) {
	for _, layout := range []string{
		time.RFC3339, "2006-01-02 15:04:05 -0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05",
		"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02",
	} {
		if t, err := time.ParseInLocation(layout, s, loc); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is not a date", describe(s))
}

// dateFilter formats a time, a text that parseTime reads, seconds since 1970,
// or "now" and "today", in the zone of the run's now and in its language. The format is
// that of strftime, or a style that each language writes in its own way (dateStyles).
func dateFilter(r *run, in any, args []any) (any, error) {
	format, err := text(args[0])
	if err != nil {
		return nil, err
	}
	var t time.Time
	switch v := in.(type) {
	case time.Time:
		t = v
	case int:
		t = time.Unix(int64(v), 0)
	case float64:
		t = time.Unix(int64(v), 0)
	case string:
		if v == "now" || v == "today" {
			t = r.now
		} else if t, err = parseTime(v, r.now.Location()); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%s is not a date", describe(in))
	}
	if t = t.In(r.now.Location()); t.Year() < 0 || t.Year() > 9999 {
		return nil, fmt.Errorf("%s is not a date", describe(in))
	}
	if pattern := r.locale().Dates[format]; pattern != "" {
		return r.locale().date(pattern, t), nil
	}
	return strftime(format, t, r.locale())
}

// strftime formats as Ruby's Time#strftime does, as far as the table goes, with
// the flags - (no padding), ^ (upper case), 0 and _ (pad with zero or space).
// Names are those of the language.
func strftime(format string, t time.Time, l *locale) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if b.Len() > MaxOutput {
			return "", errOutput
		}
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		flag := byte(0)
		if i < len(format) && strings.IndexByte("-^0_", format[i]) >= 0 {
			flag = format[i]
			i++
		}
		if i >= len(format) {
			return "", fmt.Errorf("a %% at the end of %q", clip(format))
		}
		s, ok := directive(format[i], flag, t, l)
		if !ok {
			return "", fmt.Errorf("unknown %%%s in %q", string(rune(format[i])), clip(format))
		}
		if flag == '^' {
			s = strings.ToUpper(s)
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func directive(c, flag byte, t time.Time, l *locale) (string, bool) {
	pad := func(n, width int, with byte) (string, bool) {
		switch flag {
		case '-':
			width = 0
		case '0':
			with = '0'
		case '_':
			with = ' '
		}
		s := strconv.Itoa(n)
		if k := width - len(s); k > 0 {
			s = strings.Repeat(string(rune(with)), k) + s
		}
		return s, true
	}
	hour12 := (t.Hour()+11)%12 + 1
	switch c {
	case 'Y':
		return pad(t.Year(), 4, '0')
	case 'y':
		return pad(t.Year()%100, 2, '0')
	case 'm':
		return pad(int(t.Month()), 2, '0')
	case 'd':
		return pad(t.Day(), 2, '0')
	case 'e':
		return pad(t.Day(), 2, ' ')
	case 'j':
		return pad(t.YearDay(), 3, '0')
	case 'H':
		return pad(t.Hour(), 2, '0')
	case 'k':
		return pad(t.Hour(), 2, ' ')
	case 'I':
		return pad(hour12, 2, '0')
	case 'l':
		return pad(hour12, 2, ' ')
	case 'M':
		return pad(t.Minute(), 2, '0')
	case 'S':
		return pad(t.Second(), 2, '0')
	case 'u':
		return strconv.Itoa((int(t.Weekday())+6)%7 + 1), true
	case 'w':
		return strconv.Itoa(int(t.Weekday())), true
	case 's':
		return strconv.FormatInt(t.Unix(), 10), true
	case '%':
		return "%", true
	case 'B':
		return l.Months[t.Month()-1], true
	case 'b', 'h':
		return l.MonthsAbbr[t.Month()-1], true
	case 'A':
		return l.Days[t.Weekday()], true
	case 'a':
		return l.DaysAbbr[t.Weekday()], true
	case 'p':
		return l.AMPM[t.Hour()/12], true
	case 'P':
		return strings.ToLower(l.AMPM[t.Hour()/12]), true
	}
	layout, ok := map[byte]string{
		'z': "-0700", 'Z': "MST",
		'F': "2006-01-02", 'D': "01/02/06", 'x': "01/02/06", 'T': "15:04:05", 'X': "15:04:05", 'R': "15:04",
		'r': "03:04:05 PM", 'c': "Mon Jan _2 15:04:05 2006",
	}[c]
	return t.Format(layout), ok
}

// date writes a date by a pattern in the letters of CLDR, as the table has them.
func (l *locale) date(pattern string, t time.Time) string {
	var b strings.Builder
	for i := 0; i < len(pattern); {
		c := pattern[i]
		if c == '\'' {
			end := i + 1 + strings.IndexByte(pattern[i+1:], '\'')
			b.WriteString(pattern[i+1 : end])
			i = end + 1
			continue
		}
		n := 1
		for i+n < len(pattern) && pattern[i+n] == c {
			n++
		}
		switch {
		case c == 'y' && n == 2:
			fmt.Fprintf(&b, "%02d", t.Year()%100)
		case c == 'y':
			b.WriteString(strconv.Itoa(t.Year()))
		case c == 'M' && n == 4:
			b.WriteString(l.Months[t.Month()-1])
		case c == 'M' && n == 3:
			b.WriteString(l.MonthsAbbr[t.Month()-1])
		case c == 'M':
			fmt.Fprintf(&b, "%0*d", n, int(t.Month()))
		case c == 'd':
			fmt.Fprintf(&b, "%0*d", n, t.Day())
		case c == 'E' && n == 4:
			b.WriteString(l.Days[t.Weekday()])
		case c == 'E':
			b.WriteString(l.DaysAbbr[t.Weekday()])
		case c == 'H':
			fmt.Fprintf(&b, "%0*d", n, t.Hour())
		case c == 'h':
			fmt.Fprintf(&b, "%0*d", n, (t.Hour()+11)%12+1)
		case c == 'm':
			fmt.Fprintf(&b, "%0*d", n, t.Minute())
		case c == 'a':
			b.WriteString(l.AMPM[t.Hour()/12])
		default:
			b.WriteString(pattern[i : i+n])
		}
		i += n
	}
	return b.String()
}
