package fastjson

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// encoder writes.
type encoder struct {
	b     []byte
	depth int      // objects around
	names []string // of the map that was written last, sorted: the next one often has the same
}

func (s *structure) append(e *encoder, v reflect.Value) error {
	e.b = append(e.b, '{')
	first := true
	for i := range s.fields {
		f := &s.fields[i]
		m := v.FieldByIndex(f.index)
		if f.omit != nil && f.omit(m) {
			continue
		}
		if !first {
			e.b = append(e.b, ',')
		}
		first = false
		e.b = append(e.b, f.open...)
		if err := f.append(e, m); err != nil {
			return err
		}
	}
	e.b = append(e.b, '}')
	return nil
}

// appendMap writes a map as an object whose members stand in the order of their names.
func appendMap[V any](e *encoder, m map[string]V, write func(*encoder, V) error) error {
	if m == nil {
		e.b = append(e.b, "null"...)
		return nil
	}
	e.names = namesOf(m, e.names)
	names := e.names // a value that is a map has its own
	e.b = append(e.b, '{')
	for i, name := range names {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.text(name)
		e.b = append(e.b, ':')
		if err := write(e, m[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	e.b = append(e.b, '}')
	return nil
}

// namesOf are the keys of m, sorted; like, if they are the same.
func namesOf[V any](m map[string]V, like []string) []string {
	if len(m) == len(like) && !slices.ContainsFunc(like, func(name string) bool { _, is := m[name]; return !is }) {
		return like
	}
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// plain tells which bytes of a text stand for themselves, and need no second look.
var plain = func() (plain [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		plain[c] = !strings.ContainsRune(`"\<>&`, c)
	}
	return plain
}()

// text writes a text.
func (e *encoder) text(s string) {
	wide := false
	for i := range len(s) {
		if plain[s[i]] {
			continue
		}
		if s[i] < utf8.RuneSelf {
			e.otherText(s)
			return
		}
		wide = true
	}
	if wide && (!utf8.ValidString(s) || strings.Contains(s, "\u2028") || strings.Contains(s, "\u2029")) {
		e.otherText(s)
		return
	}
	e.b = append(append(append(e.b, '"'), s...), '"')
}

func (e *encoder) otherText(s string) {
	b, _ := json.Marshal(s) // a text can always be written
	e.b = append(e.b, b...)
}

func (e *encoder) int(n int64) { e.b = strconv.AppendInt(e.b, n, 10) }

// other has encoding/json write.
func (e *encoder) other(v any) error {
	b, err := json.Marshal(v)
	e.b = append(e.b, b...)
	return err
}

// exact is above the whole numbers that are written as such: encoding/json writes those
// from 1e21 on with an exponent.
const exact = 1 << 53

func (e *encoder) any(v any) error {
	switch v := v.(type) {
	case map[string]any:
		return e.object(v)
	case nil:
		e.b = append(e.b, "null"...)
	case string:
		e.text(v)
	case bool:
		e.b = strconv.AppendBool(e.b, v)
	case float64:
		b, err := AppendFloat(e.b, v)
		e.b = b
		return err
	default:
		return e.other(v)
	}
	return nil
}

// object writes an object. One that is in itself is found by encoding/json.
func (e *encoder) object(m map[string]any) error {
	if e.depth++; e.depth > maxDepth {
		return e.other(m)
	}
	defer func() { e.depth-- }()
	return appendMap(e, m, (*encoder).any)
}

// AppendText appends a text to b as json.Marshal writes it.
func AppendText(b []byte, s string) []byte {
	e := encoder{b: b}
	e.text(s)
	return e.b
}

// AppendFloat appends a number to b as json.Marshal writes it. The error is of one that
// is infinite, or none.
func AppendFloat(b []byte, f float64) ([]byte, error) {
	abs := math.Abs(f)
	switch {
	case f == math.Trunc(f) && abs < exact && (f != 0 || !math.Signbit(f)):
		return strconv.AppendInt(b, int64(f), 10), nil
	case math.IsInf(f, 0), math.IsNaN(f), f != 0 && (abs < 1e-6 || abs >= 1e21): // the last with an exponent
		text, err := json.Marshal(f)
		return append(b, text...), err
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64), nil
}

func appendFloat(e *encoder, v reflect.Value) (err error) {
	e.b, err = AppendFloat(e.b, v.Float())
	return err
}

func appendOther(e *encoder, v reflect.Value) error { return e.other(v.Addr().Interface()) }

func appendText(e *encoder, v reflect.Value) error {
	e.text(v.String())
	return nil
}

func appendBool(e *encoder, v reflect.Value) error {
	e.b = strconv.AppendBool(e.b, v.Bool())
	return nil
}

func appendInt(e *encoder, v reflect.Value) error {
	e.int(v.Int())
	return nil
}

func appendTexts(e *encoder, v reflect.Value) error {
	list := *v.Addr().Interface().(*[]string) //nolint:forcetypeassert // handlers get their type
	if list == nil {
		e.b = append(e.b, "null"...)
		return nil
	}
	e.b = append(e.b, '[')
	for i, s := range list {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.text(s)
	}
	e.b = append(e.b, ']')
	return nil
}

func appendTime(e *encoder, v reflect.Value) (err error) {
	t := v.Addr().Interface().(*time.Time) //nolint:forcetypeassert // handlers get their type
	e.b = append(e.b, '"')
	if e.b, err = t.AppendText(e.b); err != nil {
		return err
	}
	e.b = append(e.b, '"')
	return nil
}

func appendBytes(e *encoder, v reflect.Value) error {
	if v.IsNil() {
		e.b = append(e.b, "null"...)
		return nil
	}
	e.b = append(e.b, '"')
	e.b = base64.StdEncoding.AppendEncode(e.b, v.Bytes())
	e.b = append(e.b, '"')
	return nil
}

// appendRaw appends JSON as it is, if encoding/json would, too.
func appendRaw(e *encoder, v reflect.Value) error {
	raw := v.Bytes()
	if compact(raw) {
		e.b = append(e.b, raw...)
		return nil
	}
	return appendOther(e, v)
}

func appendList(e *encoder, v reflect.Value, of handler) error {
	if v.IsNil() {
		e.b = append(e.b, "null"...)
		return nil
	}
	e.b = append(e.b, '[')
	for i := range v.Len() {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		if err := of.append(e, v.Index(i)); err != nil {
			return err
		}
	}
	e.b = append(e.b, ']')
	return nil
}
