// Package fastjson writes and reads structs as encoding/json does, byte for byte and value
// for value, in a fraction of the time: what a partition keeps is read and written for
// every event of somebody who is not in memory.
//
// What it has a way of its own for are the plain things of which a state is full: texts,
// numbers, times, lists of texts, maps with texts for keys, and structs of these. All else,
// a field of another type or a text that is not written as encoding/json would have
// written it, is left to encoding/json: a new field needs nothing here, and what comes out
// (errors, too) is the same in any case. The tests hold one against the other.
//
// A text that was read is part of one copy of all that was read, which lives as long as
// any of them.
package fastjson

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Codec writes and reads structs of type T. The zero Codec is of no use: see Of.
type Codec[T any] struct{ s *structure }

// Type is a way to write and to read one Go type.
type Type struct {
	t reflect.Type
	handler
}

// handler of a type. The values are addressable.
type handler struct {
	append func(e *encoder, v reflect.Value) error
	// read reports whether it could read what stands there; if not, encoding/json reads
	// all anew. The value is a zero one.
	read func(d *decoder, v reflect.Value) bool
}

// structure is a struct type's fields in the order in which they are written.
type structure struct{ fields []field }

type field struct {
	handler
	name  string
	open  string // `"name":`
	index []int
	omit  func(reflect.Value) bool // nil: never
}

// Of makes the Codec of a struct type, once. Types are further ways for types that its
// fields have. It panics for a T that is no struct.
func Of[T any](types ...Type) Codec[T] {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("fastjson: %v is no struct", t))
	}
	known := map[reflect.Type]handler{}
	for _, x := range types {
		known[x.t] = x.handler
	}
	return Codec[T]{structureOf(t, known)}
}

// Append appends v to b as json.Marshal writes it.
func (c Codec[T]) Append(b []byte, v *T) ([]byte, error) {
	e := encoder{b: b}
	err := c.s.append(&e, reflect.ValueOf(v).Elem())
	return e.b, err
}

// Unmarshal reads body into v, a zero T, as json.Unmarshal does.
func (c Codec[T]) Unmarshal(body []byte, v *T) error {
	d := decoder{s: string(body), b: body}
	if c.s.read(&d, reflect.ValueOf(v).Elem()) && d.i == len(d.s) {
		return nil
	}
	*v = *new(T)
	return json.Unmarshal(body, v)
}

// AppendObject appends an object to b as json.Marshal writes it.
func AppendObject(b []byte, m map[string]any) ([]byte, error) {
	e := encoder{b: b}
	err := e.object(m)
	return e.b, err
}

// structureOf a struct type; known grows.
func structureOf(t reflect.Type, known map[reflect.Type]handler) *structure {
	s := &structure{}
	for _, f := range reflect.VisibleFields(t) {
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct:
			continue // its fields follow
		case f.Anonymous && !tagged:
			panic(fmt.Sprintf("fastjson: %v.%s: only structs can be embedded", t, f.Name))
		case !f.IsExported() || tag == "-":
			continue
		case name == "":
			name = f.Name
		}
		x := field{handler: handlerOf(f.Type, known), name: name, index: f.Index}
		text, err := json.Marshal(name)
		if err != nil {
			panic(fmt.Sprintf("fastjson: %v.%s: %v", t, f.Name, err))
		}
		x.open = string(text) + ":"
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "":
			case "omitempty":
				x.omit = isEmpty
			case "omitzero":
				x.omit = isZeroOf(f.Type)
			default:
				panic(fmt.Sprintf("fastjson: %v.%s: option %q is not known", t, f.Name, option))
			}
		}
		if slices.ContainsFunc(s.fields, func(y field) bool { return y.name == name }) {
			panic(fmt.Sprintf("fastjson: %v has %q twice", t, name))
		}
		s.fields = append(s.fields, x)
	}
	return s
}

// isEmpty is what omitempty means.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

// isZeroOf is what omitzero means for a type.
func isZeroOf(t reflect.Type) func(reflect.Value) bool {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return func(v reflect.Value) bool { return v.Addr().Interface().(*time.Time).IsZero() } //nolint:forcetypeassert // of that type
	case t.Kind() != reflect.Pointer && t.Implements(reflect.TypeFor[interface{ IsZero() bool }]()):
		return func(v reflect.Value) bool { return v.Interface().(interface{ IsZero() bool }).IsZero() } //nolint:forcetypeassert // it implements it
	}
	return reflect.Value.IsZero
}

// handlerOf a type: one of our own, or encoding/json.
func handlerOf(t reflect.Type, known map[reflect.Type]handler) handler {
	if h, is := known[t]; is {
		return h
	}
	h := handler{appendOther, readOther}
	switch {
	case t == reflect.TypeFor[time.Time]():
		h = handler{appendTime, readTime}
	case t == reflect.TypeFor[json.RawMessage]():
		h = handler{appendRaw, readRaw}
	case speaks(t):
	case t == reflect.TypeFor[[]string]():
		h = handler{appendTexts, readTexts}
	case t == reflect.TypeFor[map[string]any]():
		h = mapOf((*encoder).any, (*decoder).any)
	case t.Kind() == reflect.String:
		h = handler{appendText, readText}
	case t.Kind() == reflect.Bool:
		h = handler{appendBool, readBool}
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		h = handler{appendInt, readInt}
	case t.Kind() == reflect.Float64:
		h = handler{appendFloat, readFloat}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		of := handlerOf(t.Elem(), known)
		h = handler{
			append: func(e *encoder, v reflect.Value) error { return appendList(e, v, of) },
			read:   func(d *decoder, v reflect.Value) bool { return readList(d, v, of) },
		}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !speaks(t.Elem()):
		h = handler{appendBytes, readBytes}
	case t.Kind() == reflect.Struct:
		s := &structure{}
		h = handler{s.append, s.read}
		known[t] = h // it may have itself in it
		*s = *structureOf(t, known)
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		of := handlerOf(t.Elem(), known)
		h = handler{
			append: func(e *encoder, v reflect.Value) error {
				if v.IsNil() {
					e.b = append(e.b, "null"...)
					return nil
				}
				return of.append(e, v.Elem())
			},
			read: func(d *decoder, v reflect.Value) bool {
				to := reflect.New(t.Elem())
				v.Set(to)
				return of.read(d, to.Elem())
			},
		}
	}
	known[t] = h
	return h
}

// speaks reports whether a type says itself how it is written or read.
func speaks(t reflect.Type) bool {
	for _, i := range []reflect.Type{
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
	} {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}

// Raw is the way for a type that is JSON itself, an object, and says so as json.RawMessage
// does.
func Raw[T ~[]byte]() Type { return Type{reflect.TypeFor[T](), handler{appendRaw, readRaw}} }

// Ints is the way for maps of whole numbers by text.
func Ints[V ~int64]() Type {
	return Type{reflect.TypeFor[map[string]V](), mapOf(
		func(e *encoder, v V) error { e.int(int64(v)); return nil },
		func(d *decoder) (V, bool) { n, ok := d.int(); return V(n), ok },
	)}
}

// mapOf makes the way for maps of V by text.
func mapOf[V any](write func(*encoder, V) error, read func(*decoder) (V, bool)) handler {
	return handler{
		append: func(e *encoder, v reflect.Value) error {
			return appendMap(e, *v.Addr().Interface().(*map[string]V), write) //nolint:forcetypeassert // handlers get their type
		},
		read: func(d *decoder, v reflect.Value) bool {
			type member struct {
				name string
				to   V
			}
			var room [24]member
			all := room[:0]
			ok := d.members('{', func() bool {
				name, ok := d.name()
				if !ok {
					return false
				}
				to, ok := read(d)
				all = append(all, member{name, to})
				return ok
			})
			if !ok {
				return false
			}
			m := make(map[string]V, len(all))
			for _, x := range all {
				m[x.name] = x.to
			}
			*v.Addr().Interface().(*map[string]V) = m //nolint:forcetypeassert // handlers get their type
			return true
		},
	}
}
