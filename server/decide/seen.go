// Package decide is measured by its benchmarks.
//
// # What a decision costs
//
// BenchmarkDecide: five campaigns want a moment, of 5, 1,000 or 10,000: the same each, since
// the index finds them. Of 48 µs, half was garbage: 44 KB in 329 pieces. Of these bytes,
// the attempts with their copies of the trigger took 23 %, gates and what they saw 28 %, the
// rendering 13 %, the documents boxed for Record 9 %, the clones of tallies 7 %. Traces are
// therefore written once, and attempts share what they can: 218 pieces, 27 KB, 39 µs; with what
// came since, and tallies that share all arms but one with those before, 220 and 28 KB. What
// is left to take: the maps that texts see, the hashes of the ids.
package decide

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/fastjson"
)

// seen is what one gate sees, being written down: values by name, in whatever order. It
// becomes an engage.Saw, of the bytes that encoding/json makes of a map of the same. A nil
// one has nothing.
type seen struct {
	values []byte // JSON, one after the other
	marks  []mark
}

// mark is one value in seen.values.
type mark struct {
	name     string // of a gate's own words: it needs no escapes
	from, to int
}

// see begins to write down what a gate sees; what it returns is good until the gate has
// said yes or no.
func (s *step) see() *seen {
	if s.used == len(s.sights) {
		s.sights = append(s.sights, &seen{values: make([]byte, 0, 192), marks: make([]mark, 0, 8)})
	}
	x := s.sights[s.used]
	s.used++
	x.values, x.marks = x.values[:0], x.marks[:0]
	return x
}

// put writes one more value. One of the same name goes before.
func (x *seen) put(name string, write func([]byte) ([]byte, error)) *seen {
	from := len(x.values)
	b, err := write(x.values)
	if err != nil {
		b = append(x.values[:from], "null"...) // JSON has no such value
	}
	x.values = b
	return x.ends(name, from)
}

// ends is put of a value that stands behind the others already.
func (x *seen) ends(name string, from int) *seen {
	m := mark{name, from, len(x.values)}
	i := len(x.marks) // few: they are put where they belong
	for i > 0 && x.marks[i-1].name > name {
		i--
	}
	if i > 0 && x.marks[i-1].name == name {
		x.marks[i-1] = m
		return x
	}
	x.marks = append(x.marks, m)
	copy(x.marks[i+1:], x.marks[i:])
	x.marks[i] = m
	return x
}

func (x *seen) int(name string, n int64) *seen {
	from := len(x.values)
	x.values = strconv.AppendInt(x.values, n, 10)
	return x.ends(name, from)
}

func (x *seen) bool(name string, is bool) *seen {
	from := len(x.values)
	x.values = strconv.AppendBool(x.values, is)
	return x.ends(name, from)
}

func (x *seen) text(name, s string) *seen {
	from := len(x.values)
	x.values = fastjson.AppendText(x.values, s)
	return x.ends(name, from)
}

func (x *seen) number(name string, f float64) *seen {
	return x.put(name, func(b []byte) ([]byte, error) { return fastjson.AppendFloat(b, f) })
}

func (x *seen) time(name string, t time.Time) *seen {
	return x.put(name, func(b []byte) ([]byte, error) {
		b, err := t.AppendText(append(b, '"'))
		return append(b, '"'), err
	})
}

// any writes a value of another type, as encoding/json does.
func (x *seen) any(name string, v any) *seen {
	return x.put(name, func(b []byte) ([]byte, error) {
		text, err := json.Marshal(v)
		return append(b, text...), err
	})
}

// object writes what else was seen, under a name.
func (x *seen) object(name string, of *seen) *seen {
	from := len(x.values)
	x.values = of.append(x.values)
	return x.ends(name, from)
}

// objects is object of a list.
func (x *seen) objects(name string, list []*seen) *seen {
	from := len(x.values)
	x.values = append(x.values, '[')
	for i, of := range list {
		if i > 0 {
			x.values = append(x.values, ',')
		}
		x.values = of.append(x.values)
	}
	x.values = append(x.values, ']')
	return x.ends(name, from)
}

func (x *seen) append(b []byte) []byte {
	b = append(b, '{')
	for i, m := range x.marks {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), m.name...), '"', ':')
		b = append(b, x.values[m.from:m.to]...)
	}
	return append(b, '}')
}

// size is how many bytes append takes at most.
func (x *seen) size() int {
	n := 2 + len(x.values)
	for _, m := range x.marks {
		n += len(m.name) + 4
	}
	return n
}

// mapped is a gate that says in a map what it saw.
func mapped(ask func(*attempt) (engage.Reason, map[string]any, error)) func(*attempt) (engage.Reason, *seen, error) {
	return func(a *attempt) (engage.Reason, *seen, error) {
		reason, saw, err := ask(a)
		if len(saw) == 0 {
			return reason, nil, err
		}
		x := a.s.see()
		for name, v := range saw {
			x.any(name, v)
		}
		return reason, x, err
	}
}
