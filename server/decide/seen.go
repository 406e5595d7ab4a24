// Package decide is measured by its benchmarks.
//
// # What a decision costs
//
// BenchmarkDecide: five campaigns want a moment, of 5, 1,000 or 10,000. Of 48 µs, half was
// garbage: 44 KB in 329 pieces. Of these bytes, the attempts with their copies of the trigger
// took 23 %, gates and what they saw 28 %, the rendering 13 %, the documents boxed for Record
// 9 %, the clones of tallies 7 %. Traces are therefore written once, attempts share what they
// can, and so do tallies: 220 pieces, 28 KB. Times on a shared machine differ within minutes,
// 21 to 49 µs of the same program: compare within one run only. What is left to take:
// the maps that texts see, the hashes of the ids.
//
// BenchmarkDecideShares, in turns on one heap: a decision among 1,000 campaigns takes 0.99 to
// 1.03 times one among 5, among 10,000 0.92 to 1.03, since the index finds the five. Alone, it
// was 22 to 27 µs among 5, 25 to 26 among 1,000, 31 to 35 among 10,000: the rest is the search
// of the larger heap for garbage, and with GOGC=800 they were 21, 22 and 23. What the gates saw
// takes 10 to 14 % of a decision to write down (18 % in one of twelve runs).
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

// any writes a value of whatever type, as encoding/json does; most are of those above.
func (x *seen) any(name string, v any) *seen {
	switch v := v.(type) {
	case string:
		return x.text(name, v)
	case bool:
		return x.bool(name, v)
	case int:
		return x.int(name, int64(v))
	case int64:
		return x.int(name, v)
	case float64:
		return x.number(name, v)
	case time.Time:
		return x.time(name, v)
	}
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
