package rules

// Explanation mirrors the rule: one node each, with its verdict, and for a
// clause what it wanted and what there was. Its JSON is the same each time for
// the same rule and values.
type Explanation struct {
	OK bool `json:"ok"`

	All []*Explanation `json:"all,omitempty"`
	Any []*Explanation `json:"any,omitempty"`
	Not *Explanation   `json:"not,omitempty"`

	// Of a clause:
	Field string `json:"field,omitempty"`
	Op    Op     `json:"op,omitempty"`
	Want  any    `json:"want,omitempty"` // the rule's value; nil for exists and absent
	// Got is the field's value: string, float64, bool, RFC 3339 text in UTC, or
	// []string; nil means absent. Texts are cut after 200 bytes and lists after
	// 20 items, marked by "…".
	Got any `json:"got,omitempty"`

	path string
}

// Path is where in the rule it stands: "all[1].not"; empty at its root.
func (e *Explanation) Path() string { return e.path }

// Clause is one clause that made a rule not hold.
type Clause struct {
	Path  string `json:"path"` // in the rule: "all[1].not"; empty if the rule is one clause
	Field string `json:"field"`
	Op    Op     `json:"op"`
	Want  any    `json:"want,omitempty"`
	Got   any    `json:"got"` // nil means absent
	// Negated: it stands below a "not" and failed the rule by being true.
	Negated bool `json:"negated,omitempty"`
}

// Failed lists the clauses to blame for a rule that does not hold, in the order
// of the rule; nil for one that holds. Below "any" all are to blame, since each
// one could have saved it.
func (e *Explanation) Failed() []Clause {
	if e == nil {
		return nil
	}
	return e.blame(true, nil)
}

// Verdict is one clause with what became of it.
type Verdict struct {
	Path  string `json:"path"`
	Field string `json:"field"`
	Op    Op     `json:"op"`
	Want  any    `json:"want,omitempty"`
	Got   any    `json:"got"` // nil means absent
	OK    bool   `json:"ok"`  // of the clause itself, whatever stands above it
}

// Clauses lists every clause, in the order of the rule.
func (e *Explanation) Clauses() []Verdict { return e.clauses(nil) }

func (e *Explanation) clauses(out []Verdict) []Verdict {
	switch {
	case e == nil:
	case e.Not != nil:
		out = e.Not.clauses(out)
	case e.Field != "":
		out = append(out, Verdict{e.path, e.Field, e.Op, e.Want, e.Got, e.OK})
	default:
		for _, c := range e.All {
			out = c.clauses(out)
		}
		for _, c := range e.Any {
			out = c.clauses(out)
		}
	}
	return out
}

// FirstFailed is the first of Failed; false if the rule holds.
func (e *Explanation) FirstFailed() (Clause, bool) {
	failed := e.Failed()
	if len(failed) == 0 {
		return Clause{}, false
	}
	return failed[0], true
}

// blame appends the clauses below e because of which e is not as wanted.
func (e *Explanation) blame(wanted bool, out []Clause) []Clause {
	if e.OK == wanted {
		return out
	}
	switch {
	case e.All != nil:
		for _, c := range e.All {
			out = c.blame(wanted, out)
		}
	case e.Any != nil:
		for _, c := range e.Any {
			out = c.blame(wanted, out)
		}
	case e.Not != nil:
		out = e.Not.blame(!wanted, out)
	case e.Field != "":
		out = append(out, Clause{Path: e.path, Field: e.Field, Op: e.Op, Want: e.Want, Got: e.Got, Negated: !wanted})
	}
	return out
}
