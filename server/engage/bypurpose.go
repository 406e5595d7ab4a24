package engage

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ByPurpose has a value for some of the purposes: a map that is small, for there is one
// in the state of every install and of every person. A Go map takes memory for eight
// entries at once. It is encoded as the map would be.
//
// It is sorted by purpose, and copies share it: nobody writes into it. With and Without
// return another one.
type ByPurpose[V any] []PurposeValue[V]

// PurposeValue is an entry of a ByPurpose.
type PurposeValue[V any] struct {
	Purpose Purpose
	Value   V
}

// Of is the value for a purpose; the zero one and false where there is none.
func (x ByPurpose[V]) Of(p Purpose) (v V, ok bool) {
	if i, found := x.find(p); found {
		return x[i].Value, true
	}
	return v, false
}

// All are the entries, by purpose.
func (x ByPurpose[V]) All() iter.Seq2[Purpose, V] {
	return func(yield func(Purpose, V) bool) {
		for i := range x {
			if !yield(x[i].Purpose, x[i].Value) {
				return
			}
		}
	}
}

// With is x with v for p.
func (x ByPurpose[V]) With(p Purpose, v V) ByPurpose[V] {
	i, found := x.find(p)
	if found {
		c := slices.Clone(x)
		c[i].Value = v
		return c
	}
	c := make(ByPurpose[V], len(x)+1)
	copy(c, x[:i])
	c[i] = PurposeValue[V]{p.shared(), v}
	copy(c[i+1:], x[i:])
	return c
}

// Without is x without p.
func (x ByPurpose[V]) Without(p Purpose) ByPurpose[V] {
	i, found := x.find(p)
	if !found {
		return x
	}
	c := make(ByPurpose[V], len(x)-1)
	copy(c, x[:i])
	copy(c[i:], x[i+1:])
	return c
}

func (x ByPurpose[V]) find(p Purpose) (i int, found bool) {
	return slices.BinarySearchFunc(x, p, func(e PurposeValue[V], p Purpose) int { return strings.Compare(string(e.Purpose), string(p)) })
}

// shared is p in memory that all have in common, if it is one of the purposes.
func (p Purpose) shared() Purpose {
	for _, known := range [...]Purpose{
		ConsentMarketing, ConsentLocationForeground, ConsentLocationBackground, ConsentLocationPrecise, ConsentProfiling,
	} {
		if p == known {
			return known
		}
	}
	return p
}

// Map has the entries of x; nil of nil.
func (x ByPurpose[V]) Map() map[Purpose]V {
	if x == nil {
		return nil
	}
	return maps.Collect(x.All())
}

// MarshalJSON implements json.Marshaler; nil is null.
func (x ByPurpose[V]) MarshalJSON() ([]byte, error) {
	return x.AppendJSON(make([]byte, 0, 4+96*len(x)))
}

// AppendJSON appends what MarshalJSON writes.
func (x ByPurpose[V]) AppendJSON(b []byte) ([]byte, error) {
	if x == nil {
		return append(b, "null"...), nil
	}
	b = append(b, '{')
	for i := range x {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(x[i].Purpose)
		if err != nil {
			return nil, err
		}
		b = append(append(b, name...), ':')
		if b, err = appendValue(b, &x[i].Value); err != nil {
			return nil, fmt.Errorf("%s: %w", x[i].Purpose, err)
		}
	}
	return append(b, '}'), nil
}

// appendValue appends v as JSON.
func appendValue(b []byte, v any) ([]byte, error) {
	if n, is := v.(*uint64); is {
		return strconv.AppendUint(b, *n, 10), nil
	}
	text, err := json.Marshal(v)
	return append(b, text...), err
}

// UnmarshalJSON implements json.Unmarshaler. Where a purpose comes twice its last value
// counts.
func (x *ByPurpose[V]) UnmarshalJSON(b []byte) error {
	var m map[Purpose]V
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*x = ByPurposeOf(m)
	return nil
}

// ByPurposeOf has the entries of m; nil of nil.
func ByPurposeOf[V any](m map[Purpose]V) ByPurpose[V] {
	if m == nil {
		return nil
	}
	x := make(ByPurpose[V], 0, len(m))
	for p, v := range m {
		x = append(x, PurposeValue[V]{p.shared(), v})
	}
	slices.SortFunc(x, func(a, b PurposeValue[V]) int { return strings.Compare(string(a.Purpose), string(b.Purpose)) })
	return x
}
