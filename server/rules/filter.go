package rules

// FilterOp is a comparison in a Filter, by the same name as the store's.
type FilterOp string

// The comparisons, with the store's meaning: a path that is absent satisfies none.
const (
	FilterEq     FilterOp = "eq"
	FilterLt     FilterOp = "lt"
	FilterLe     FilterOp = "le"
	FilterGt     FilterOp = "gt"
	FilterGe     FilterOp = "ge"
	FilterIn     FilterOp = "in"
	FilterExists FilterOp = "exists"
	FilterHas    FilterOp = "has" // the path is an array that contains the value
	FilterPrefix FilterOp = "prefix"
)

// Filter is a rule as a filter over stored documents: the store's filter tree
// as a plain value, so that rules knows no store. Exactly one of All, Any, Not
// or (Path, Op) is used; the zero Filter matches everything.
type Filter struct {
	All   []Filter
	Any   []Filter
	Not   *Filter
	Path  string
	Op    FilterOp
	Value any // string, float64, bool; for FilterIn a []any of those
}

// Filter compiles the rule to a filter over documents that matches exactly
// those for which the rule holds, provided that the documents have each field
// in its declared type or not at all. Path gives the document's path of a
// field; false means that documents do not have it there.
//
// ok is false when that cannot be done exactly: a field without a path; times,
// which documents hold as text that does not sort by time; versions and times of day; exists and absent of
// a list, where an empty one counts as absent; scalars, whose type varies.
// Then the caller must iterate and Match.
func (r *Rule) Filter(path func(field string) (string, bool)) (f Filter, ok bool) {
	if r.Always() {
		return Filter{}, true
	}
	return r.root.filter(path)
}

func (n *node) filter(path func(string) (string, bool)) (Filter, bool) {
	switch n.kind {
	case leaf:
		return n.clauseFilter(path)
	case not:
		f, ok := n.of[0].filter(path)
		return Filter{Not: &f}, ok
	}
	of := make([]Filter, len(n.of))
	for i := range n.of {
		f, ok := n.of[i].filter(path)
		if !ok {
			return Filter{}, false
		}
		of[i] = f
	}
	if n.kind == all {
		return Filter{All: of}, true
	}
	return Filter{Any: of}, true
}

func (c *clause) clauseFilter(path func(string) (string, bool)) (Filter, bool) {
	p, ok := path(c.field)
	if !ok || c.typ == Time || c.typ == Scalar || c.typ == Version || c.typ == TimeOfDay || c.typ == Strings && c.test == Exists {
		return Filter{}, false
	}
	f := Filter{Path: p}
	switch c.test {
	case Exists:
		f.Op = FilterExists
	case In:
		values := make([]any, len(c.set))
		for i, x := range c.set {
			values[i] = x.value()
		}
		f.Op, f.Value = FilterIn, values
	case Between:
		f = Filter{All: []Filter{
			{Path: p, Op: FilterGe, Value: c.low.value()},
			{Path: p, Op: FilterLe, Value: c.high.value()},
		}}
	case Contains:
		f.Op, f.Value = FilterHas, c.low.value()
	default: // eq, lt, le, gt, ge and prefix have the same name and meaning
		f.Op, f.Value = FilterOp(c.test), c.low.value()
	}
	if c.negated {
		return Filter{Not: &f}, true
	}
	return f, true
}

// value is the operand in full, where plain cuts long texts.
func (x operand) value() any {
	switch x.typ {
	case Number:
		return x.n
	case Bool:
		return x.b
	default:
		return x.s
	}
}
