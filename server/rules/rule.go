package rules

import (
	"slices"
	"strings"
	"time"
)

// Op is an operator of a clause. The package's comment says what each means.
type Op string

// The operators.
const (
	Eq            Op = "eq"
	Ne            Op = "ne"
	Lt            Op = "lt"
	Le            Op = "le"
	Gt            Op = "gt"
	Ge            Op = "ge"
	Between       Op = "between"
	In            Op = "in"
	NotIn         Op = "not_in"
	Prefix        Op = "prefix"
	Contains      Op = "contains"
	NotContains   Op = "not_contains"
	WithinLast    Op = "within_last"
	NotWithinLast Op = "not_within_last"
	Exists        Op = "exists"
	Absent        Op = "absent"
)

// positive is the operator that op is the opposite of, or op itself.
func (op Op) positive() (_ Op, negated bool) {
	switch op {
	case Ne:
		return Eq, true
	case NotIn:
		return In, true
	case NotContains:
		return Contains, true
	case NotWithinLast:
		return WithinLast, true
	case Absent:
		return Exists, true
	default:
		return op, false
	}
}

// Env is what a rule is evaluated over. Value returns a field's value and
// whether there is one: a string, a number of any Go type, a bool, a time.Time
// (or RFC 3339 text), or a list of strings as []string or []any. It must give
// the same answer for as long as the evaluation lasts.
type Env interface {
	Value(path string) (any, bool)
}

// Map is an Env of a map.
type Map map[string]any

// Value implements Env.
func (m Map) Value(path string) (any, bool) {
	v, ok := m[path]
	return v, ok
}

// Rule is a parsed rule. It is immutable and safe for concurrent use. A nil
// Rule, like the empty one, always holds.
type Rule struct {
	root   *node // nil: always holds
	fields []string
}

type kind uint8

const (
	leaf kind = iota
	all
	anyOf
	not
)

type node struct {
	kind kind
	of   []node // not has one
	clause
}

// clause is a leaf, made ready for comparison.
type clause struct {
	path  string // in the rule: "all[1]"
	field string
	typ   Type
	op    Op
	want  any // the value as it stands in the rule, for explanations; nil if none

	test    Op // the positive operator
	negated bool

	low, high operand   // low alone but for between
	set       []operand // in
	lookup    map[string]struct{}
	last      time.Duration
}

// operand is a value of a known type.
type operand struct {
	typ Type // String, Number, Bool, Time, Version, TimeOfDay
	s   string
	v   uint64 // of a Version, a TimeOfDay: what they are compared by
	n   float64
	b   bool
	t   time.Time
}

// Fields lists the fields that the rule asks about, sorted, each once.
func (r *Rule) Fields() []string {
	if r == nil {
		return nil
	}
	return slices.Clone(r.fields)
}

// Uses reports whether the rule asks about a field whose path begins with
// prefix: Uses("weather.") says that it needs weather.
func (r *Rule) Uses(prefix string) bool {
	if r == nil {
		return false
	}
	i, _ := slices.BinarySearch(r.fields, prefix)
	return i < len(r.fields) && strings.HasPrefix(r.fields[i], prefix)
}

// Always reports whether the rule asks nothing: it holds for everybody.
func (r *Rule) Always() bool { return r == nil || r.root == nil }

// Match reports whether the rule holds. It stops at the first clause that
// settles it and allocates nothing itself. At is the moment that relative times
// count from.
func (r *Rule) Match(env Env, at time.Time) bool {
	return r.Always() || r.root.match(env, at)
}

func (n *node) match(env Env, at time.Time) bool {
	switch n.kind {
	case all:
		for i := range n.of {
			if !n.of[i].match(env, at) {
				return false
			}
		}
		return true
	case anyOf:
		for i := range n.of {
			if n.of[i].match(env, at) {
				return true
			}
		}
		return false
	case not:
		return !n.of[0].match(env, at)
	default:
		v, ok := env.Value(n.field)
		return n.holds(v, ok, at)
	}
}

// Eval reports whether the rule holds, and why. Unlike Match it looks at every
// clause, so that the explanation is whole; the two always agree.
func (r *Rule) Eval(env Env, at time.Time) (bool, *Explanation) {
	if r.Always() {
		return true, &Explanation{OK: true}
	}
	e := r.root.explain(env, at)
	return e.OK, e
}

func (n *node) explain(env Env, at time.Time) *Explanation {
	e := &Explanation{path: n.path}
	if n.kind == leaf {
		v, ok := env.Value(n.field)
		e.OK = n.holds(v, ok, at)
		e.Field, e.Op, e.Want = n.field, n.op, n.want
		e.Got = snapshot(n.typ, v, ok)
		return e
	}
	of := make([]*Explanation, len(n.of))
	holding := 0
	for i := range n.of {
		of[i] = n.of[i].explain(env, at)
		if of[i].OK {
			holding++
		}
	}
	switch n.kind {
	case all:
		e.All, e.OK = of, holding == len(of)
	case anyOf:
		e.Any, e.OK = of, holding > 0
	default:
		e.Not, e.OK = of[0], holding == 0
	}
	return e
}
