package fastjson

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// decoder reads. What it does not know it does not read: its functions then answer false.
type decoder struct {
	s string // all of it
	b []byte // the same
	i int    // what comes next
}

// maxDepth bounds what is left to encoding/json in parts: it has a bound of its own, for
// the whole.
const maxDepth = 1000

func (d *decoder) is(c byte) bool {
	if d.i < len(d.s) && d.s[d.i] == c {
		d.i++
		return true
	}
	return false
}

// members reads what stands in brackets, one member after the other.
func (d *decoder) members(open byte, one func() bool) bool {
	end := open + 2 // of [ and of {
	if !d.is(open) {
		return false
	}
	if d.is(end) {
		return true
	}
	for one() {
		if d.is(end) {
			return true
		}
		if !d.is(',') {
			return false
		}
	}
	return false
}

// name reads the name of a member, and the colon.
func (d *decoder) name() (string, bool) {
	s, ok := d.text()
	return s, ok && d.is(':')
}

// read reads an object whose members stand in the order in which they are written.
func (s *structure) read(d *decoder, v reflect.Value) bool {
	next := 0
	return d.members('{', func() bool {
		name, ok := d.name()
		if !ok {
			return false
		}
		for i := next; i < len(s.fields); i++ {
			if f := &s.fields[i]; f.name == name {
				next = i + 1
				return f.read(d, v.FieldByIndex(f.index))
			}
		}
		return false // another one, or out of order
	})
}

// text reads a text.
func (d *decoder) text() (string, bool) {
	if !d.is('"') {
		return "", false
	}
	from, wide := d.i, false
	for i := from; i < len(d.s); i++ {
		switch c := d.s[i]; {
		case c == '"':
			s := d.s[from:i]
			d.i = i + 1
			return s, !wide || utf8.ValidString(s)
		case c == '\\':
			return d.escaped(from)
		case c < ' ':
			return "", false
		case c >= utf8.RuneSelf:
			wide = true
		}
	}
	return "", false
}

// escaped reads a text that has escapes, from behind its quote.
func (d *decoder) escaped(from int) (s string, ok bool) {
	d.i = from - 1
	raw, ok := d.extent()
	return s, ok && json.Unmarshal(raw, &s) == nil
}

// extent is the value that stands here, to its end; whether it is a value is not looked at.
func (d *decoder) extent() (raw []byte, ok bool) {
	from, depth := d.i, 0
	for d.i < len(d.s) {
		switch c := d.s[d.i]; c {
		case '"':
			for d.i++; d.i < len(d.s) && d.s[d.i] != '"'; d.i++ {
				if d.s[d.i] == '\\' {
					d.i++
				}
			}
			if d.i >= len(d.s) {
				return nil, false
			}
			d.i++
			if depth == 0 {
				return d.b[from:d.i], true
			}
			continue
		case '{', '[':
			if depth++; depth > maxDepth {
				return nil, false
			}
		case '}', ']':
			if depth == 0 {
				return d.b[from:d.i], d.i > from
			}
			if depth--; depth == 0 {
				d.i++
				return d.b[from:d.i], true
			}
		case ',':
			if depth == 0 {
				return d.b[from:d.i], d.i > from
			}
		}
		d.i++
	}
	return nil, false // nothing that we read ends with a value
}

// int reads a whole number of up to 18 digits.
func (d *decoder) int() (n int64, ok bool) {
	minus := d.is('-')
	from := d.i
	for ; d.i < len(d.s) && d.s[d.i] >= '0' && d.s[d.i] <= '9'; d.i++ {
		if d.i-from == 18 {
			return 0, false
		}
		n = n*10 + int64(d.s[d.i]-'0')
	}
	if digits := d.i - from; digits == 0 || digits > 1 && d.s[from] == '0' {
		return 0, false
	}
	if d.i < len(d.s) && (d.s[d.i] == '.' || d.s[d.i]|' ' == 'e') {
		return 0, false
	}
	if minus {
		n = -n
	}
	return n, true
}

// number reads any number.
func (d *decoder) number() (float64, bool) {
	from := d.i
	if n, ok := d.int(); ok && n < exact && n > -exact && n != 0 {
		return float64(n), true
	}
	to := number(d.s, from)
	if to < 0 {
		return 0, false
	}
	d.i = to
	f, err := strconv.ParseFloat(d.s[from:to], 64)
	return f, err == nil
}

// any reads any value.
func (d *decoder) any() (v any, ok bool) {
	if d.i == len(d.s) {
		return nil, false
	}
	switch c := d.s[d.i]; c {
	case '"':
		return both(d.text())
	case 't':
		return true, d.word("true")
	case 'f':
		return false, d.word("false")
	case 'n':
		return nil, d.word("null")
	case '{', '[':
		raw, ok := d.extent()
		return v, ok && json.Unmarshal(raw, &v) == nil
	default:
		return both(d.number())
	}
}

func both[V any](v V, ok bool) (any, bool) { return v, ok }

func (d *decoder) word(w string) bool {
	if len(d.s)-d.i < len(w) || d.s[d.i:d.i+len(w)] != w {
		return false
	}
	d.i += len(w)
	return true
}

func readOther(d *decoder, v reflect.Value) bool {
	raw, ok := d.extent()
	return ok && json.Unmarshal(raw, v.Addr().Interface()) == nil
}

func readText(d *decoder, v reflect.Value) bool {
	s, ok := d.text()
	v.SetString(s)
	return ok
}

func readBool(d *decoder, v reflect.Value) bool {
	x, ok := d.any()
	is, of := x.(bool)
	v.SetBool(is)
	return ok && of
}

func readInt(d *decoder, v reflect.Value) bool {
	n, ok := d.int()
	if !ok || v.OverflowInt(n) {
		return false
	}
	v.SetInt(n)
	return true
}

func readFloat(d *decoder, v reflect.Value) bool {
	f, ok := d.number()
	v.SetFloat(f)
	return ok
}

func readTexts(d *decoder, v reflect.Value) bool {
	list := []string{}
	ok := d.members('[', func() bool {
		s, ok := d.text()
		list = append(list, s)
		return ok
	})
	*v.Addr().Interface().(*[]string) = list //nolint:forcetypeassert // handlers get their type
	return ok
}

func readTime(d *decoder, v reflect.Value) bool {
	from := d.i + 1
	if _, ok := d.text(); !ok {
		return false
	}
	t := v.Addr().Interface().(*time.Time)         //nolint:forcetypeassert // handlers get their type
	return t.UnmarshalText(d.b[from:d.i-1]) == nil // what has an escape in it is no time
}

func readBytes(d *decoder, v reflect.Value) bool {
	s, ok := d.text()
	if !ok {
		return false
	}
	b, err := base64.StdEncoding.AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(s))), []byte(s))
	v.SetBytes(b)
	return err == nil
}

func readRaw(d *decoder, v reflect.Value) bool {
	if d.i < len(d.s) && d.s[d.i] == 'n' {
		return false
	}
	raw, ok := d.extent()
	if !ok || !compact(raw) {
		return false
	}
	v.SetBytes(slices.Clone(raw))
	return true
}

func readList(d *decoder, v reflect.Value, of handler) bool {
	if d.word("null") {
		return true
	}
	list, n := reflect.MakeSlice(v.Type(), 0, 0), 0
	ok := d.members('[', func() bool {
		list = reflect.Append(list, reflect.Zero(v.Type().Elem()))
		n++
		return of.read(d, list.Index(n-1))
	})
	v.Set(list)
	return ok
}
