package template

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/osteele/liquid/expressions"

	"github.com/footfall-engage/footfall/server/engage"
)

// run is one rendering.
type run struct {
	now  time.Time
	vars map[string]any // name -> values.Value
	ctx  expressions.Context
	out  []byte
	work int // what is left of MaxWork
	// speech says in which language it is, and written is that language, once asked for.
	speech  speech
	written *locale
	// lacks is told what is missing, which then counts as empty; nil: it is an error.
	lacks func(error)
	// fault is why an item could not be looked at.
	fault error
}

// errWork and errOutput are limits, to which exec adds the line.
var (
	errWork   = errors.New("the template does too much: its loops or filters work on more than it may")
	errOutput = errors.New("the text becomes too long")
)

func newRun(t *Template, vars map[string]any, now time.Time, in speech) *run {
	r := &run{now: now, work: MaxWork, speech: in, vars: make(map[string]any, len(t.reads)+4)}
	r.vars[runName] = handle{r}
	r.vars["empty"], r.vars["blank"] = void{}, void{blank: true}
	for _, name := range t.reads {
		switch name {
		case "now":
			r.vars[name] = r.wrap(now)
		default:
			if v, ok := vars[name]; ok && !reserved(name) {
				r.vars[name] = r.wrap(v)
			}
		}
	}
	r.ctx = expressions.NewContext(r.vars, filterConfig())
	return r
}

// locale is the language in which the text is written.
func (r *run) locale() *locale {
	if r.written == nil {
		r.written = localeOf(r.speech.text)
	}
	return r.written
}

func (r *run) charge(n int) error {
	r.work -= n
	if r.work < 0 {
		return errWork
	}
	return nil
}

func (r *run) write(s string) error {
	if len(r.out)+len(s) > MaxOutput {
		return errOutput
	}
	r.out = append(r.out, s...)
	return r.charge(len(s))
}

func (r *run) all(nodes []node) (signal, error) {
	for _, n := range nodes {
		if s, err := n.exec(r); s != goOn || err != nil {
			return s, err
		}
	}
	return goOn, nil
}

// at puts the line of the template to an error.
func at(line int, err error) error {
	var known *engage.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, errWork), errors.Is(err, errOutput):
		return tooLarge(line, "%s", err)
	default:
		return invalid(line, "%s", err)
	}
}

// eval evaluates an expression; nil means that a variable is missing.
func (r *run) eval(e *expr) (any, error) {
	if err := r.charge(len(e.src)); err != nil {
		return nil, at(e.line, err)
	}
	v, err := e.run.Evaluate(r.ctx)
	if err != nil {
		if filter := (expressions.FilterError{}); errors.As(err, &filter) {
			if errors.Is(filter.Err, errWork) || errors.Is(filter.Err, errOutput) {
				return nil, at(e.line, filter.Err)
			}
			return nil, invalid(e.line, "%s: %s in %q", filter.FilterName, filter.Err, clip(e.src))
		}
		if r.work < 0 {
			return nil, at(e.line, errWork)
		}
		return nil, invalid(e.line, "%s in %q", err, clip(e.src))
	}
	if r.fault != nil {
		return nil, tooLarge(e.line, "%s", r.fault)
	}
	return plain(v), nil
}

// missing is the error for an expression that came to nothing.
func (r *run) missing(e *expr) error {
	var names []string
	for _, path := range e.paths {
		var v any
		if top, ok := r.vars[path[0]].(value); ok {
			v = top.v
		}
		for _, name := range path[1:] {
			v = property(v, name)
		}
		if name := strings.Join(path, "."); v == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = []string{clip(e.src)}
	}
	is := " is"
	if len(names) > 1 {
		is = " are"
	}
	return &engage.Error{
		Code: engage.NotFound, Msg: fmt.Sprintf("line %d: %s%s missing; add a default or ask for it with if", e.line, strings.Join(names, ", "), is),
		Missing: names,
	}
}

// MissingIn are the variables whose lack is the error of a rendering; none if the error
// is another.
func MissingIn(err error) []string {
	if e, ok := errors.AsType[*engage.Error](err); ok {
		return slices.Clone(e.Missing)
	}
	return nil
}

func (n textNode) exec(r *run) (signal, error) { return goOn, at(n.line, r.write(n.text)) }

func (n objectNode) exec(r *run) (signal, error) {
	v, err := r.eval(n.expr)
	if err != nil {
		return goOn, err
	}
	if v == nil {
		err := r.missing(n.expr)
		if r.lacks != nil {
			r.lacks(err)
			return goOn, nil
		}
		return goOn, err
	}
	if list, ok := v.([]any); ok {
		for _, item := range list {
			if err := r.print(item); err != nil {
				return goOn, at(n.line, err)
			}
		}
		return goOn, nil
	}
	return goOn, at(n.line, r.print(v))
}

func (r *run) print(v any) error {
	s, err := text(v)
	if err != nil {
		return err
	}
	return r.write(strings.ToValidUTF8(s, "\uFFFD"))
}

func (n *assignNode) exec(r *run) (signal, error) {
	v, err := r.eval(n.expr)
	if err == nil {
		r.vars[n.name] = r.wrap(v)
	}
	return goOn, err
}

func (n *captureNode) exec(r *run) (signal, error) {
	outer := r.out
	r.out = nil
	_, err := r.all(n.body)
	r.vars[n.name] = r.wrap(string(r.out))
	r.out = outer
	return goOn, err
}

func (n *ifNode) exec(r *run) (signal, error) {
	for _, b := range n.branches {
		if b.cond != nil {
			v, err := r.eval(b.cond)
			if err != nil {
				return goOn, err
			}
			if truth := v != nil && v != false; truth == b.negate {
				continue
			}
		}
		return r.all(b.body)
	}
	return goOn, nil
}

func (n *caseNode) exec(r *run) (signal, error) {
	v, err := r.eval(n.expr)
	if err != nil {
		return goOn, err
	}
	for _, w := range n.whens {
		for _, e := range w.values {
			want, err := r.eval(e)
			if err != nil {
				return goOn, err
			}
			if r.equal(v, want) {
				return r.all(w.body)
			}
		}
	}
	return r.all(n.otherwise)
}

func (n signalNode) exec(*run) (signal, error) { return signal(n), nil }

func (n *forNode) exec(r *run) (signal, error) {
	count, item, err := n.items(r)
	if err != nil {
		return goOn, err
	}
	from, count, err := n.window(r, count)
	if err != nil {
		return goOn, err
	}
	if count > MaxLoop {
		return goOn, tooLarge(n.line, "a loop runs at most %d times, this would run more often", MaxLoop)
	}
	if count == 0 {
		return r.all(n.none)
	}
	outer, had := r.vars[n.name]
	outerLoop := r.vars["forloop"]
	defer func() {
		r.vars["forloop"] = outerLoop
		if had {
			r.vars[n.name] = outer
		} else {
			delete(r.vars, n.name)
		}
	}()
	for i := range count {
		if err := r.charge(16); err != nil {
			return goOn, at(n.line, err)
		}
		j := from + i
		if n.reversed {
			j = from + count - 1 - i
		}
		r.vars[n.name] = r.wrap(item(j))
		r.vars["forloop"] = value{loop{i, count}, r}
		s, err := r.all(n.body)
		if err != nil {
			return goOn, err
		}
		if s == breakLoop {
			break
		}
	}
	return goOn, nil
}

// items is what the loop goes over; a missing list is an empty one.
func (n *forNode) items(r *run) (count int, item func(int) any, err error) {
	if n.list == nil {
		from, err := r.whole(n.from)
		if err != nil {
			return 0, nil, err
		}
		to, err := r.whole(n.to)
		if err != nil {
			return 0, nil, err
		}
		return span(from, to), func(i int) any { return from + i }, nil
	}
	v, err := r.eval(n.list)
	if err != nil {
		return 0, nil, err
	}
	switch v := v.(type) {
	case nil:
		return 0, nil, nil
	case []any:
		return len(v), func(i int) any { return v[i] }, nil
	case map[string]any:
		if err := r.charge(16 * len(v)); err != nil {
			return 0, nil, at(n.line, err)
		}
		keys := sortedKeys(v)
		return len(keys), func(i int) any { return []any{keys[i], v[keys[i]]} }, nil
	default:
		return 0, nil, invalid(n.line, "%q is not a list", clip(n.list.src))
	}
}

// window applies offset and limit to count items.
func (n *forNode) window(r *run, count int) (from, left int, err error) {
	if n.offset != nil {
		if from, err = r.whole(n.offset); err != nil {
			return 0, 0, err
		}
		from = min(max(from, 0), count)
	}
	left = count - from
	if n.limit != nil {
		limit, err := r.whole(n.limit)
		if err != nil {
			return 0, 0, err
		}
		left = min(left, max(limit, 0))
	}
	return from, left, nil
}

// whole evaluates an expression that must be a whole number.
func (r *run) whole(e *expr) (int, error) {
	v, err := r.eval(e)
	if err != nil {
		return 0, err
	}
	if v == nil {
		return 0, r.missing(e)
	}
	n, err := whole(v)
	return n, at(e.line, err)
}
