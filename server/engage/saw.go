package engage

import (
	"bytes"
	"encoding/json"
)

// Saw is what a gate saw: values by name, as the JSON of an object whose names are sorted,
// without spaces. Nil: nothing. It is kept as it was written, since a trace is written for
// every moment at every campaign, copied whenever its decision is, and read by few.
type Saw []byte

// SawOf writes values. One that JSON cannot have, such as an infinite number, is left out,
// and named with its error under "unwritable".
func SawOf(values map[string]any) Saw {
	if len(values) == 0 {
		return nil
	}
	if b, err := json.Marshal(values); err == nil {
		return b
	}
	left, unwritable := map[string]any{}, map[string]string{}
	for name, v := range values {
		if b, err := json.Marshal(v); err == nil {
			left[name] = json.RawMessage(b)
		} else {
			unwritable[name] = err.Error()
		}
	}
	left["unwritable"] = unwritable
	b, _ := json.Marshal(left) // all of it has been written before
	return b
}

// Values reads it; nil when there is nothing.
func (s Saw) Values() map[string]any {
	var out map[string]any
	if len(s) > 0 {
		_ = json.Unmarshal(s, &out) // it was read as an object
	}
	return out
}

// MarshalJSON implements json.Marshaler.
func (s Saw) MarshalJSON() ([]byte, error) {
	if len(s) == 0 {
		return []byte("null"), nil
	}
	return s, nil
}

// UnmarshalJSON implements json.Unmarshaler. It takes objects, and null for nothing.
func (s *Saw) UnmarshalJSON(b []byte) error {
	*s = nil
	if text := string(b); text == "null" || text == "{}" {
		return nil
	}
	if !bytes.HasPrefix(b, []byte("{")) {
		return Errorf(Invalid, "saw", "must be an object")
	}
	var out bytes.Buffer
	out.Grow(len(b))
	err := json.Compact(&out, b)
	*s = out.Bytes()
	return err
}
