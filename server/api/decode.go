package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/server/engage"
)

// notJSON says at which byte a document is no JSON.
type notJSON struct {
	what   *engage.Error // of the code Malformed
	offset int64
}

// Error implements error.
func (e *notJSON) Error() string { return e.what.Error() }

// Unwrap is the error without the byte.
func (e *notJSON) Unwrap() error { return e.what }

func malformed(offset int64, field, format string, args ...any) error {
	return &notJSON{engage.Errorf(engage.Malformed, field, format, args...), offset}
}

// decode reads a JSON document into a struct, strictly: no unknown key, no key
// twice, names in their exact case, nothing after the document. An error is an
// *engage.Error with the path of what is wrong, "limits.cap"; a type that reads
// itself gives its own error below its path. What is no JSON in UTF-8 is a *notJSON. The
// caller bounds the size.
//
// A field of the type json.RawMessage takes what stands there.
func decode(raw []byte, into any) error {
	if at := invalidUTF8(raw); at >= 0 {
		return malformed(int64(at), "", "is not valid UTF-8, at byte %d", at)
	}
	if err := syntax(raw); err != nil {
		return err
	}
	return decodeValue(raw, reflect.ValueOf(into).Elem(), "")
}

// maxDepth of objects and lists in a document.
const maxDepth = 100

// syntax walks the document's tokens and refuses what is not JSON, or a key that
// stands twice in an object, with the path to it.
func syntax(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	type level struct {
		keys  map[string]bool // nil: an array
		key   string
		index int
		named bool // key is read, its value is to come
	}
	var stack []level
	path := func() string {
		var b strings.Builder
		for _, l := range stack {
			switch {
			case l.keys == nil:
				b.WriteString("[" + strconv.Itoa(l.index) + "]")
			case l.named && b.Len() > 0:
				b.WriteString("." + l.key)
			case l.named:
				b.WriteString(l.key)
			}
		}
		return b.String()
	}
	after := func() { // a value has ended
		if n := len(stack); n > 0 {
			if stack[n-1].keys == nil {
				stack[n-1].index++
			}
			stack[n-1].named = false
		}
	}
	for {
		t, err := d.Token()
		if err != nil {
			at, reason := brokenAt(raw, err)
			return malformed(at, path(), "is not JSON: %s, at byte %d", reason, at)
		}
		n := len(stack)
		if n > maxDepth {
			return engage.Errorf(engage.TooLarge, "", "is nested deeper than %d", maxDepth)
		}
		if n > 0 && stack[n-1].keys != nil && !stack[n-1].named {
			if key, ok := t.(string); ok {
				stack[n-1].key, stack[n-1].named = key, true
				if stack[n-1].keys[key] {
					return engage.Errorf(engage.Invalid, path(), "stands twice")
				}
				stack[n-1].keys[key] = true
				continue
			}
		}
		switch t {
		case json.Delim('{'):
			stack = append(stack, level{keys: map[string]bool{}})
			continue
		case json.Delim('['):
			stack = append(stack, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:n-1]
		}
		after()
		if len(stack) == 0 {
			if rest := bytes.TrimLeft(raw[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
				at := len(raw) - len(rest)
				return malformed(int64(at), "", "something follows the document, at byte %d", at)
			}
			return nil
		}
	}
}

// brokenAt is the byte at which a document is no JSON, and why; err is what its tokens
// ended with, which does not say the byte.
func brokenAt(raw []byte, err error) (at int64, reason string) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return int64(len(raw)), "it ends too early"
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(raw, new(json.RawMessage))); ok && syntax.Offset > 0 {
		if syntax.Offset > int64(len(raw)) {
			return int64(len(raw)), "it ends too early"
		}
		return syntax.Offset - 1, syntax.Error()
	}
	return 0, err.Error()
}

// invalidUTF8 is the first byte that is not, -1 without one.
func invalidUTF8(raw []byte) int {
	if utf8.Valid(raw) {
		return -1
	}
	for i := 0; i < len(raw); {
		r, n := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}

func decodeValue(raw json.RawMessage, v reflect.Value, path string) error {
	raw = bytes.TrimSpace(raw)
	null := string(raw) == "null"
	if v.Kind() == reflect.Pointer {
		if null {
			v.SetZero()
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return decodeValue(raw, v.Elem(), path)
	}
	if m, ok := reflect.TypeAssert[*json.RawMessage](v.Addr()); ok {
		if !null { // null is as good as absent
			*m = bytes.Clone(raw)
		}
		return nil
	}
	if u, ok := reflect.TypeAssert[json.Unmarshaler](v.Addr()); ok {
		return own(path, u.UnmarshalJSON(raw))
	}
	if _, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return own(path, json.Unmarshal(raw, v.Addr().Interface()))
	}
	if null {
		if path == "" {
			return engage.Errorf(engage.Invalid, "", "must be %s, is null", kindName(v.Type()))
		}
		return nil // absent
	}
	switch v.Kind() {
	case reflect.Struct:
		return decodeStruct(raw, v, path)
	case reflect.Slice:
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return wrongKind(raw, v.Type(), path)
		}
		s := reflect.MakeSlice(v.Type(), len(items), len(items))
		for i, item := range items {
			if err := decodeValue(item, s.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		v.Set(s)
		return nil
	case reflect.Map:
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			return wrongKind(raw, v.Type(), path)
		}
		m := reflect.MakeMapWithSize(v.Type(), len(members))
		for _, key := range slices.Sorted(maps.Keys(members)) {
			e := reflect.New(v.Type().Elem()).Elem()
			if err := decodeValue(members[key], e, below(path, key)); err != nil {
				return err
			}
			m.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), e)
		}
		v.Set(m)
		return nil
	default:
		if json.Unmarshal(raw, v.Addr().Interface()) != nil {
			return wrongKind(raw, v.Type(), path)
		}
		return nil
	}
}

func decodeStruct(raw json.RawMessage, v reflect.Value, path string) error {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return wrongKind(raw, v.Type(), path)
	}
	names := []string{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		names = append(names, name)
		member, there := members[name]
		if !there {
			continue
		}
		delete(members, name)
		if err := decodeValue(member, v.Field(i), below(path, name)); err != nil {
			return err
		}
	}
	if len(members) == 0 {
		return nil
	}
	unknown := slices.Min(slices.Collect(maps.Keys(members)))
	slices.Sort(names)
	return engage.Errorf(engage.Invalid, below(path, clip(unknown)), "is not known here; known are %s", strings.Join(names, ", "))
}

// own is the error of a type that reads itself.
func own(path string, err error) error {
	if err == nil {
		return nil
	}
	e := engage.FromGeo(err)
	if !errors.As(e, new(*engage.Error)) {
		e = engage.Errorf(engage.Invalid, "", "%v", err)
	}
	if path == "" {
		return e
	}
	return engage.At(path, e)
}

func wrongKind(raw json.RawMessage, t reflect.Type, path string) error {
	return engage.Errorf(engage.Invalid, path, "must be %s, is %s", kindName(t), kindOf(raw))
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

func kindOf(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a text"
	case 't', 'f':
		return string(raw)
	default:
		return "a number"
	}
}

func below(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// clip shortens what somebody sent before it stands in an answer.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
