package mongo

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/footfall-engage/footfall/server/store"
)

// composite is what an object or an array is in the projection. A date is
// compared with dates only, of which there are no others, so no filter of a
// scalar meets it; it sorts behind everything, and before all of it come the
// absent, which MongoDB does not tell from null.
const composite = bson.DateTime(0)

// member is one path of a body.
type member struct {
	path   string // as in the projection: steps with a slash between
	value  any    // bool, int64, float64, string or composite
	list   bson.A // of an array: its distinct scalars
	isList bool
	raw    []byte // of an object or an array: its JSON
}

// projection is a body as far as paths address it, in the body's order.
type projection []member

// document is the projection as it is stored: one field per path, and "path@"
// for the scalars of an array.
func (p projection) document() bson.D {
	d := make(bson.D, 0, len(p))
	for _, m := range p {
		d = append(d, bson.E{Key: m.path, Value: m.value})
		if m.isList {
			d = append(d, bson.E{Key: m.path + listSuffix, Value: m.list})
		}
	}
	return d
}

// Neither character may be in a step, nor has it a meaning in a field's name.
const (
	stepSeparator = "/"
	listSuffix    = "@"
)

// project reads a checked body. A member that occurs twice counts the first
// time only, null counts as absent, and what no path addresses is left out.
func project(body []byte) projection {
	s := scanner{data: body, seen: map[string]bool{}}
	s.object("", true)
	return s.out
}

// scanner walks through valid JSON.
type scanner struct {
	data []byte
	at   int
	seen map[string]bool
	out  projection
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// next returns the first byte of what follows.
func (s *scanner) next() byte {
	s.space()
	if s.at >= len(s.data) {
		return 0
	}
	return s.data[s.at]
}

// object reads an object. Unless wanted, nothing below it has a path of its own.
func (s *scanner) object(prefix string, wanted bool) {
	s.next()
	s.at++ // {
	for s.next() != '}' {
		if s.data[s.at] == ',' {
			s.at++
			s.space()
		}
		name := s.text()
		s.next()
		s.at++ // :
		path, good := name, wanted && isStep(name)
		if good && prefix != "" {
			path = prefix + stepSeparator + name
		}
		if good = good && len(path) <= store.MaxPathBytes && !s.seen[path]; good {
			s.seen[path] = true
		}
		s.member(path, good)
	}
	s.at++ // }
}

// member reads a value, and keeps it if it is wanted.
func (s *scanner) member(path string, wanted bool) {
	first := s.next()
	start := s.at
	if !wanted {
		s.skip()
		return
	}
	switch first {
	case '{':
		at := len(s.out)
		s.out = append(s.out, member{path: path, value: composite})
		s.object(path, true)
		s.out[at].raw = s.data[start:s.at]
	case '[':
		list := s.array()
		s.out = append(s.out, member{path: path, value: composite, list: list, isList: true, raw: s.data[start:s.at]})
	default:
		if v := s.scalar(); v != nil {
			s.out = append(s.out, member{path: path, value: v})
		}
	}
}

// array returns the distinct scalars of an array.
func (s *scanner) array() bson.A {
	list, seen := bson.A{}, map[any]bool{}
	s.at++ // [
	for s.next() != ']' {
		switch s.data[s.at] {
		case ',':
			s.at++
		case '{', '[':
			s.skip()
		default:
			if v := s.scalar(); v != nil && !seen[v] {
				seen[v] = true
				list = append(list, v)
			}
		}
	}
	s.at++ // ]
	return list
}

// skip passes a value.
func (s *scanner) skip() {
	deep := 0
	for {
		switch s.next() {
		case '"':
			s.quoted()
		case '{', '[':
			deep++
			s.at++
		case '}', ']':
			deep--
			s.at++
		case ',', ':':
			s.at++
			continue
		default:
			s.word()
		}
		if deep == 0 {
			return
		}
	}
}

// scalar returns a string, a bool, a number, or nil for null.
func (s *scanner) scalar() any {
	if s.data[s.at] == '"' {
		return s.text()
	}
	switch word := s.word(); word {
	case "null":
		return nil
	case "true":
		return true
	case "false":
		return false
	default:
		return number(word)
	}
}

// word passes a number or a literal; at least one byte, so that there is an end.
func (s *scanner) word() string {
	start := s.at
	for s.at++; s.at < len(s.data) && !strings.ContainsRune(" \t\r\n,:]}", rune(s.data[s.at])); s.at++ {
	}
	return string(s.data[start:min(s.at, len(s.data))])
}

func (s *scanner) quoted() (raw []byte, escaped bool) {
	start := s.at
	for s.at++; s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			escaped = true
			s.at++
		}
	}
	s.at++
	return s.data[start:s.at], escaped
}

// text reads a string. A lone surrogate becomes U+FFFD: BSON is UTF-8.
func (s *scanner) text() string {
	raw, escaped := s.quoted()
	if !escaped {
		return string(raw[1 : len(raw)-1])
	}
	var v string
	_ = json.Unmarshal(raw, &v) // the body is valid JSON
	return v
}

// number is an int64 where it is written as one, else the nearest double; one
// beyond their range becomes the last before it, for infinity has no order among
// cursors and no place in FerretDB.
func number(word string) any {
	if i, err := strconv.ParseInt(word, 10, 64); err == nil {
		return i
	}
	f, _ := strconv.ParseFloat(word, 64) // only the range can be wrong
	return double(f)
}

func double(f float64) float64 {
	if f == 0 {
		return 0 // not -0
	}
	return max(-math.MaxFloat64, min(math.MaxFloat64, f))
}

func isStep(s string) bool {
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			continue
		}
		return false
	}
	return s != ""
}

// uniqueIndex is a declared unique index.
type uniqueIndex struct {
	name  string
	key   string   // the part of an identifier's _id that tells index and paths
	paths []string // as in the projection
}

func newUniqueIndex(ix store.Index) uniqueIndex {
	u := uniqueIndex{name: ix.Name}
	sum := sha256.New()
	for _, p := range ix.Paths {
		u.paths = append(u.paths, field(p))
		_, _ = sum.Write([]byte(p + "\x00")) // a hash takes everything
	}
	u.key = ix.Name + "\x00" + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:9])
	return u
}

// field is a path's name in the projection.
func field(path string) string { return strings.ReplaceAll(path, ".", stepSeparator) }

// identifiers are the ids of what the body claims in the collection's unique
// indexes. The values enter hashed: they are of any length, and personal.
func (t *collection) identifiers(workspace string, p projection) []string {
	if len(t.unique) == 0 {
		return nil
	}
	byPath := make(map[string]*member, len(p))
	for i := range p {
		byPath[p[i].path] = &p[i]
	}
	var ids []string
next:
	for _, u := range t.unique {
		sum := sha256.New()
		for _, path := range u.paths {
			m := byPath[path]
			if m == nil {
				continue next // absent: held against nobody
			}
			canonical := m.canonical()
			var size [8]byte
			binary.BigEndian.PutUint64(size[:], uint64(len(canonical)))
			_, _ = sum.Write(size[:])
			_, _ = sum.Write(canonical)
		}
		ids = append(ids, workspace+"\x00"+t.Name+"\x00"+u.key+"\x00"+base64.RawURLEncoding.EncodeToString(sum.Sum(nil)))
	}
	return ids
}

// canonical tells types apart and equal numbers not.
func (m *member) canonical() []byte {
	switch v := m.value.(type) {
	case string:
		return append([]byte{'s'}, v...)
	case bool:
		return strconv.AppendBool([]byte{'b'}, v)
	case int64:
		return strconv.AppendInt([]byte{'n'}, v, 10)
	case float64:
		if i := int64(v); v >= math.MinInt64 && v < math.MaxInt64 && float64(i) == v {
			return strconv.AppendInt([]byte{'n'}, i, 10)
		}
		return strconv.AppendFloat([]byte{'n'}, v, 'g', -1, 64)
	default:
		var out bytes.Buffer
		out.WriteByte('c')
		_ = json.Compact(&out, m.raw) // it is valid JSON
		return out.Bytes()
	}
}
