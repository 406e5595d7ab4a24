package decide

import (
	"fmt"
	"maps"
	"slices"

	"github.com/footfall-engage/footfall/server/engage"
)

// Retrace gives what writes the traces of these documents of decisions once more, as the
// gates did, and nothing else: so a benchmark can say which share of a decision that is. The
// error is of a trace that does not come out the same.
func Retrace(documents []any) (again func(), err error) {
	var decisions [][]retraced
	for _, doc := range documents {
		var gates []retraced
		for _, g := range doc.(*document).Gates {
			gates = append(gates, retracing(g))
		}
		decisions = append(decisions, gates)
	}
	var d engage.Decision
	write := func(gates []retraced, s *step) {
		a := &s.newRoom().attempt
		*a = attempt{s: s, d: &d}
		d.Gates = make([]engage.GateResult, 0, mostGates)
		for i := range gates {
			g := &gates[i]
			_, saw, _ := g.ask(a) // it has no error of its own
			if g.was.OK {
				a.pass(g.was.Gate, saw)
			} else {
				a.saw(g.was.Gate, g.was.Reason, saw)
			}
		}
	}
	s := &step{}
	s.begin()
	defer s.done()
	for i, gates := range decisions {
		write(gates, s)
		for k, g := range d.Gates {
			if was := gates[k].was; g.Gate != was.Gate || string(g.Saw) != string(was.Saw) {
				return nil, fmt.Errorf("decision %d: %s saw %s, written again as %s", i, was.Gate, was.Saw, g.Saw)
			}
		}
	}
	return func() {
		s := &step{}
		s.begin()
		defer s.done()
		for _, gates := range decisions {
			write(gates, s)
		}
	}, nil
}

type retraced struct {
	was engage.GateResult
	ask func(*attempt) (engage.Reason, *seen, error)
}

// retracing writes what one gate saw: as a map, if that gate does.
func retracing(was engage.GateResult) retraced {
	values := was.Saw.Values()
	if slices.Contains([]string{"consent", "eligibility", "audience", "quiet", "offer", "items"}, was.Gate) {
		return retraced{was, mapped(func(*attempt) (engage.Reason, map[string]any, error) { return "", maps.Clone(values), nil })}
	}
	write := rewriting(values)
	return retraced{was, func(a *attempt) (engage.Reason, *seen, error) { return "", write(a.s), nil }}
}

// rewriting writes values one by one, as the other gates do.
func rewriting(values map[string]any) func(*step) *seen {
	var each []func(*step, *seen)
	for name, v := range values {
		switch v := v.(type) {
		case string:
			each = append(each, func(_ *step, x *seen) { x.text(name, v) })
		case float64:
			each = append(each, func(_ *step, x *seen) { x.number(name, v) })
		case []any: // of objects
			var of []func(*step) *seen
			for _, o := range v {
				of = append(of, rewriting(o.(map[string]any)))
			}
			each = append(each, func(s *step, x *seen) {
				list := make([]*seen, len(of))
				for i, write := range of {
					list[i] = write(s)
				}
				x.objects(name, list)
			})
		default:
			each = append(each, func(_ *step, x *seen) { x.any(name, v) })
		}
	}
	return func(s *step) *seen {
		x := s.see()
		for _, write := range each {
			write(s, x)
		}
		return x
	}
}
