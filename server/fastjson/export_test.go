package fastjson

import "reflect"

// Fast reports whether body is read without encoding/json having to read all of it.
func (c Codec[T]) Fast(body []byte) bool {
	var v T
	d := decoder{s: string(body), b: body}
	return c.s.read(&d, reflect.ValueOf(&v).Elem()) && d.i == len(d.s)
}
