package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of a rule.
const (
	MaxBytes   = 64 << 10
	MaxDepth   = 10  // of nested all, any and not, the clause included
	MaxClauses = 200 // in the whole rule
	MaxList    = 500 // values of one in or not_in
	MaxText    = 1000
)

// MaxDuration is the longest that within_last may reach back: ten years.
const MaxDuration = 3650 * 24 * time.Hour

// Parse reads a rule and checks it against the schema. Nothing (no bytes, or
// null) is the rule that always holds. An error is an *engage.Error whose Field
// is the path in the rule, "all[1].op", and whose message says what would be
// right.
func Parse(raw json.RawMessage, s *Schema) (*Rule, error) {
	if len(raw) > MaxBytes {
		return nil, engage.Errorf(engage.TooLarge, "", "a rule has at most %d bytes, this has %d", MaxBytes, len(raw))
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return &Rule{}, nil
	}
	if !utf8.Valid(raw) {
		return nil, engage.Errorf(engage.Invalid, "", "is not valid UTF-8")
	}
	p := parser{schema: s}
	root, err := p.node(raw, "", 1)
	if err != nil {
		return nil, err
	}
	slices.Sort(p.fields)
	return &Rule{root: &root, fields: slices.Compact(p.fields)}, nil
}

type parser struct {
	schema  *Schema
	clauses int
	fields  []string
}

// below is the path of key within path.
func below(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func quote(s string) string { return strconv.Quote(clip(s)) }

func (p *parser) node(raw json.RawMessage, path string, depth int) (node, error) {
	if depth > MaxDepth {
		return node{}, engage.Errorf(engage.TooLarge, path, "a rule is nested at most %d deep", MaxDepth)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			return node{}, engage.Errorf(engage.Invalid, path, "is not JSON: %s at byte %d", syntax.Error(), syntax.Offset)
		}
		return node{}, engage.Errorf(engage.Invalid, path, `must be an object with "all", "any", "not", or "field", "op" and "value"; is %s`, kindOf(raw))
	}
	var form string
	for _, key := range sorted(object) {
		switch key {
		case "all", "any", "not":
			if form != "" {
				return node{}, engage.Errorf(engage.Invalid, path, "must have exactly one of all, any, not or field; has %s and %s", form, key)
			}
			form = key
		case "field", "op", "value":
			if form != "" && form != "field" {
				return node{}, engage.Errorf(engage.Invalid, path, "must have exactly one of all, any, not or field; has %s and %s", form, key)
			}
			form = "field"
		default:
			return node{}, engage.Errorf(engage.Invalid, path, "unknown key %s; a rule has all, any, not, or field, op and value", quote(key))
		}
	}
	switch form {
	case "all", "any":
		k := all
		if form == "any" {
			k = anyOf
		}
		n, err := p.list(k, object[form], below(path, form), depth)
		n.path = path
		return n, err
	case "not":
		n, err := p.node(object["not"], below(path, "not"), depth+1)
		return node{kind: not, of: []node{n}, clause: clause{path: path}}, err
	case "field":
		c, err := p.clause(object, path)
		return node{kind: leaf, clause: c}, err
	default:
		return node{}, engage.Errorf(engage.Invalid, path, `is empty; it needs "all", "any", "not", or "field", "op" and "value"`)
	}
}

func (p *parser) list(k kind, raw json.RawMessage, path string, depth int) (node, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil || items == nil {
		return node{}, engage.Errorf(engage.Invalid, path, "must be a list of rules, is %s", kindOf(raw))
	}
	if len(items) == 0 {
		return node{}, engage.Errorf(engage.Invalid, path, "must not be empty; leave the rule out if it shall always hold")
	}
	n := node{kind: k, of: make([]node, 0, min(len(items), MaxClauses))}
	for i, item := range items {
		child, err := p.node(item, fmt.Sprintf("%s[%d]", path, i), depth+1)
		if err != nil {
			return node{}, err
		}
		n.of = append(n.of, child)
	}
	return n, nil
}

func (p *parser) clause(object map[string]json.RawMessage, path string) (clause, error) {
	p.clauses++
	if p.clauses > MaxClauses {
		return clause{}, engage.Errorf(engage.TooLarge, path, "a rule has at most %d clauses", MaxClauses)
	}
	name, err := readText(object["field"], below(path, "field"))
	if err != nil {
		return clause{}, err
	}
	field, ok := p.schema.Field(name)
	if !ok {
		msg := "unknown field " + quote(name)
		if s := p.schema.suggest(name); s != "" {
			msg += "; " + s
		}
		return clause{}, engage.Errorf(engage.Invalid, below(path, "field"), "%s", msg)
	}
	opName, err := readText(object["op"], below(path, "op"))
	if err != nil {
		return clause{}, err
	}
	op := Op(opName)
	if !slices.Contains(field.Ops, op) {
		return clause{}, engage.Errorf(engage.Invalid, below(path, "op"), "%s cannot be asked of %s, a %s; use %s",
			quote(opName), quote(name), field.Type, join(field.Ops))
	}
	c := clause{path: path, field: name, typ: field.Type, op: op}
	c.test, c.negated = op.positive()
	p.fields = append(p.fields, name)
	raw, given := object["value"]
	if c.test == Exists {
		if given {
			return clause{}, engage.Errorf(engage.Invalid, below(path, "value"), "%s takes no value", op)
		}
		return c, nil
	}
	if !given || string(raw) == "null" {
		return clause{}, engage.Errorf(engage.Invalid, below(path, "value"), "is required; use absent to ask for a field that is not there")
	}
	err = c.value(raw, field, below(path, "value"))
	return c, err
}

// value reads the value of a clause as its operator wants it.
func (c *clause) value(raw json.RawMessage, f Field, path string) error {
	switch c.test {
	case WithinLast:
		s, err := readText(raw, path)
		if err != nil {
			return err
		}
		c.want = s
		c.last, err = duration(s)
		return engage.At(path, err)
	case In:
		items, err := c.list(raw, path)
		if err != nil {
			return err
		}
		want := make([]any, 0, len(items))
		for i, item := range items {
			x, err := read(item, f, fmt.Sprintf("%s[%d]", path, i))
			if err != nil {
				return err
			}
			c.set = append(c.set, x)
			want = append(want, x.plain())
		}
		c.want = want
		c.index()
		return nil
	case Between:
		items, err := c.list(raw, path)
		if err != nil {
			return err
		}
		if len(items) != 2 {
			return engage.Errorf(engage.Invalid, path, "must be [low, high], has %d values", len(items))
		}
		if c.low, err = read(items[0], f, path+"[0]"); err != nil {
			return err
		}
		if c.high, err = read(items[1], f, path+"[1]"); err != nil {
			return err
		}
		order, same := c.low.compare(c.high)
		if !same || c.low.typ == Bool {
			return engage.Errorf(engage.Invalid, path, "must be two numbers, times or texts")
		}
		if order > 0 && f.Type != TimeOfDay {
			return engage.Errorf(engage.Invalid, path, `must be [low, high]; for a span over midnight use {"any": [… ge %v …, … le %v …]}`, c.low.plain(), c.high.plain())
		}
		c.want = []any{c.low.plain(), c.high.plain()}
		return nil
	default:
		x, err := read(raw, f, path)
		if err != nil {
			return err
		}
		if f.Type == Scalar && (c.test == Prefix && x.typ != String || x.typ == Bool && c.test != Eq) {
			return engage.Errorf(engage.Invalid, path, "%s is of no use with a %s", c.op, x.typ)
		}
		c.low, c.want = x, x.plain()
		return nil
	}
}

func (c *clause) list(raw json.RawMessage, path string) ([]json.RawMessage, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil || items == nil {
		return nil, engage.Errorf(engage.Invalid, path, "must be a list for %s, is %s", c.op, kindOf(raw))
	}
	if len(items) == 0 || len(items) > MaxList {
		return nil, engage.Errorf(engage.Invalid, path, "must have 1 to %d values, has %d", MaxList, len(items))
	}
	return items, nil
}

// index makes long lists of strings quick to look into.
func (c *clause) index() {
	if len(c.set) <= 8 {
		return
	}
	lookup := make(map[string]struct{}, len(c.set))
	for i := range c.set {
		if c.set[i].typ != String {
			return
		}
		lookup[c.set[i].s] = struct{}{}
	}
	c.lookup = lookup
}

// read reads one JSON value as the field's type, or of a list's elements.
func read(raw json.RawMessage, f Field, path string) (operand, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return operand{}, engage.Errorf(engage.Invalid, path, "is not JSON: %s", err.Error())
	}
	want := f.Type
	if want == Strings {
		want = String
	}
	wrong := func() error {
		return engage.Errorf(engage.Invalid, path, "must be a %s, since %s is one; is %s", want, quote(f.Path), kindOf(raw))
	}
	switch v := v.(type) {
	case string:
		if want == Time {
			t, err := time.Parse(time.RFC3339, v)
			if err != nil {
				return operand{}, engage.Errorf(engage.Invalid, path, `must be a time such as "2026-03-01T00:00:00Z", is %s`, quote(v))
			}
			return operand{typ: Time, t: t.UTC()}, nil
		}
		if want == Version || want == TimeOfDay {
			x, ok := scalar(want, v)
			if !ok {
				example := map[Type]string{Version: `a version such as "3.10.2"`, TimeOfDay: `a time of day such as "09:30"`}[want]
				return operand{}, engage.Errorf(engage.Invalid, path, "must be %s, is %s", example, quote(v))
			}
			return x, nil
		}
		if want != String && want != Scalar {
			return operand{}, wrong()
		}
		if len(v) > MaxText {
			return operand{}, engage.Errorf(engage.TooLarge, path, "has at most %d bytes, this has %d", MaxText, len(v))
		}
		if f.Values != nil && !slices.Contains(f.Values, v) {
			return operand{}, engage.Errorf(engage.Invalid, path, "%s is never %s; it is one of %s", quote(f.Path), quote(v), strings.Join(f.Values, ", "))
		}
		return operand{typ: String, s: v}, nil
	case json.Number:
		if want != Number && want != Scalar {
			return operand{}, wrong()
		}
		n, err := v.Float64()
		if err != nil || math.IsInf(n, 0) {
			return operand{}, engage.Errorf(engage.Invalid, path, "is beyond the range of numbers")
		}
		if (f.Min != 0 || f.Max != 0) && (n < f.Min || n > f.Max) {
			return operand{}, engage.Errorf(engage.Invalid, path, "must be %v to %v, is %v", f.Min, f.Max, n)
		}
		return operand{typ: Number, n: n}, nil
	case bool:
		if want != Bool && want != Scalar {
			return operand{}, wrong()
		}
		return operand{typ: Bool, b: v}, nil
	default:
		return operand{}, wrong()
	}
}

// duration reads "45s", "30m", "24h", "7d" or "2w".
func duration(s string) (time.Duration, error) {
	wrong := engage.Errorf(engage.Invalid, "", `must be a whole number and a unit of s, m, h, d or w, such as "24h" or "7d", up to 3650d; is %s`, quote(s))
	if len(s) < 2 || len(s) > 12 {
		return 0, wrong
	}
	unit, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[s[len(s)-1]]
	if !ok {
		return 0, wrong
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if err != nil || n == 0 || n > uint64(MaxDuration/unit) {
		return 0, wrong
	}
	return time.Duration(n) * unit, nil
}

func readText(raw json.RawMessage, path string) (string, error) {
	if raw == nil {
		return "", engage.Errorf(engage.Invalid, path, "is required")
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", engage.Errorf(engage.Invalid, path, "must be a string, is %s", kindOf(raw))
	}
	return *s, nil
}

// kindOf names what a JSON value is.
func kindOf(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "missing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a bool"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

func join(ops []Op) string {
	names := make([]string, len(ops))
	for i, op := range ops {
		names[i] = string(op)
	}
	return strings.Join(names, ", ")
}

func sorted(m map[string]json.RawMessage) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
