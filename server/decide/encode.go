package decide

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/footfall-engage/footfall/server/profile"
)

// What stands for the attributes, and for when they were said, while encoding/json writes
// the rest. Within a text these bytes cannot stand, for a quote is escaped there, and of
// the members before them none is an object of objects: the first that is found is it.
const (
	attributesHere = `"attributes":{"":null}`
	stampsHere     = `"attribute_at":{"":0}`
)

var (
	someAttributes = map[string]any{"": nil}
	someStamps     = map[string]profile.Stamp{"": 0}
)

// Encode implements engage.State. It writes what encoding/json makes of a Person, but for
// the attributes, which are the most of it: these are written by hand, since encoding/json
// takes several times as long for a map.
func (p *Person) Encode() ([]byte, error) {
	rest := *p
	if len(p.Attributes) > 0 {
		rest.Attributes = someAttributes
	}
	if len(p.AttributeAt) > 0 {
		rest.AttributeAt = someStamps
	}
	b, err := json.Marshal(&rest)
	if err != nil || len(p.Attributes)+len(p.AttributeAt) == 0 {
		return b, err
	}
	out := make([]byte, 0, len(b)+64*len(p.Attributes)+40*len(p.AttributeAt))
	if len(p.Attributes) > 0 {
		if out, b, err = appendUntil(out, b, attributesHere); err != nil {
			return nil, err
		}
		if out, err = appendMap(append(out, `"attributes":`...), p.Attributes, appendAttribute); err != nil {
			return nil, fmt.Errorf("attributes: %w", err)
		}
	}
	if len(p.AttributeAt) > 0 {
		if out, b, err = appendUntil(out, b, stampsHere); err != nil {
			return nil, err
		}
		if out, err = appendMap(append(out, `"attribute_at":`...), p.AttributeAt, appendStamp); err != nil {
			return nil, fmt.Errorf("attribute_at: %w", err)
		}
	}
	return append(out, b...), nil
}

// appendUntil appends what stands before a mark and gives what stands behind it. A state
// that were written without would be lost: a mark that is not there is an error.
func appendUntil(out, b []byte, mark string) (_, after []byte, err error) {
	before, after, found := bytes.Cut(b, []byte(mark))
	if !found {
		return nil, nil, fmt.Errorf("encode a person: %s is not where encoding/json should have written it", mark)
	}
	return append(out, before...), after, nil
}

// appendMap appends an object whose members stand in the order of their names.
func appendMap[V any](b []byte, m map[string]V, value func([]byte, V) ([]byte, error)) (_ []byte, err error) {
	names := slices.AppendSeq(make([]string, 0, len(m)), maps.Keys(m))
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendText(b, name); err != nil {
			return nil, err
		}
		if b, err = value(append(b, ':'), m[name]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendStamp(b []byte, s profile.Stamp) ([]byte, error) {
	return strconv.AppendInt(b, int64(s), 10), nil
}

// exact is above the whole numbers that are written as such: encoding/json writes those
// from 1e21 on with an exponent.
const exact = 1 << 53

func appendAttribute(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		return appendText(b, v)
	case bool:
		return strconv.AppendBool(b, v), nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < exact && !(v == 0 && math.Signbit(v)) {
			return strconv.AppendInt(b, int64(v), 10), nil
		}
	}
	text, err := json.Marshal(v)
	return append(b, text...), err
}

// appendText appends a text as JSON, as encoding/json writes it.
func appendText(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, err := json.Marshal(s)
			return append(b, text...), err
		}
	}
	return append(append(append(b, '"'), s...), '"'), nil
}
