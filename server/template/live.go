package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/footfall-engage/footfall/server/engage"
)

// Limits of a Live Activity's attributes and content state.
const (
	maxLiveTexts = 100 // strings in one object
	maxLiveDepth = 10
	maxLiveText  = 1000 // bytes of one, rendered
)

// live is a Live Activity whose strings are templates.
type live struct {
	made              engage.LiveActivity
	attributes, state any // as parsed; nil if there are none
	texts             int // of both
}

// slot stands in a parsed object for the text of this number.
type slot int

// takeLive takes the objects apart; what it returns are their strings.
func (c *Content) takeLive(l *engage.LiveActivity) ([]source, error) {
	c.live = &live{made: *l}
	var all []source
	for _, o := range []struct {
		name string
		raw  json.RawMessage
		to   *any
	}{{"attributes", l.Attributes, &c.live.attributes}, {"content_state", l.State, &c.live.state}} {
		if len(o.raw) == 0 {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(o.raw))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, engage.Errorf(engage.Invalid, o.name, "is not JSON")
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, engage.Errorf(engage.Invalid, o.name, "is more than one JSON object")
		}
		if _, ok := v.(map[string]any); !ok {
			return nil, engage.Errorf(engage.Invalid, o.name, "must be a JSON object")
		}
		got, err := c.live.take(v, o.name, 0, &all)
		if err != nil {
			return nil, err
		}
		*o.to = got
	}
	return all, nil
}

// take replaces the strings of a value by slots.
func (l *live) take(v any, path string, depth int, all *[]source) (any, error) {
	if depth > maxLiveDepth {
		return nil, engage.Errorf(engage.TooLarge, path, "at most %d levels deep", maxLiveDepth)
	}
	switch x := v.(type) {
	case string:
		n := l.texts
		if l.texts++; l.texts > maxLiveTexts {
			return nil, engage.Errorf(engage.TooLarge, path, "at most %d strings in all", maxLiveTexts)
		}
		*all = append(*all, source{field{
			name: "push.ios.live_activity." + path, max: maxLiveText,
			put: func(r *Rendered, s string) { r.texts = append(r.texts, s) },
		}, x})
		return slot(n), nil
	case map[string]any:
		out := make(map[string]any, len(x))
		for _, key := range slices.Sorted(maps.Keys(x)) {
			got, err := l.take(x[key], path+"."+clip(key), depth+1, all)
			if err != nil {
				return nil, err
			}
			out[key] = got
		}
		return out, nil
	case []any:
		out := make([]any, len(x))
		for i := range x {
			got, err := l.take(x[i], fmt.Sprintf("%s[%d]", path, i), depth+1, all)
			if err != nil {
				return nil, err
			}
			out[i] = got
		}
		return out, nil
	default:
		return v, nil
	}
}

// finish makes the objects anew with the texts that were rendered, in their order.
func (l *live) finish(r *Rendered) error {
	out := l.made
	for _, o := range []struct {
		name string
		from any
		to   *json.RawMessage
	}{{"attributes", l.attributes, &out.Attributes}, {"content_state", l.state, &out.State}} {
		if o.from == nil {
			continue
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false) // '&' must not cost six of the push's 4096 bytes
		if err := e.Encode(filled(o.from, r.texts)); err != nil {
			return engage.Errorf(engage.Invalid, o.name, "cannot be encoded")
		}
		*o.to = bytes.TrimSpace(b.Bytes())
	}
	if n := len(out.Attributes) + len(out.State); n > engage.MaxLiveState {
		return engage.Errorf(engage.TooLarge, "content_state", "attributes and content_state have at most %d bytes together, have %d", engage.MaxLiveState, n)
	}
	r.Live, r.texts = &out, nil
	return nil
}

// filled is the value with its slots filled.
func filled(v any, texts []string) any {
	switch x := v.(type) {
	case slot:
		return texts[x]
	case map[string]any:
		out := make(map[string]any, len(x))
		for k := range x {
			out[k] = filled(x[k], texts)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = filled(x[i], texts)
		}
		return out
	default:
		return v
	}
}
