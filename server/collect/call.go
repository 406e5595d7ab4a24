package collect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/footfall-engage/footfall/server/engage"
)

// Bounds of what a call says.
const (
	maxDepth   = 10  // nesting of objects and lists, the call's own object not counted
	maxNames   = 500 // properties of an event
	maxName    = 200 // bytes of an event's name, of a property's, of a group's id
	maxMessage = 100 // bytes of a message id; a longer one is told apart by its hash
)

// object is a JSON object, its members as they stand. Of a name that stands twice the
// last one counts.
type object map[string]json.RawMessage

// call is one call of the API: a whole body, or an item of a batch.
type call struct {
	typ     string // "track", "identify", ...; as the route or the item says
	at      string // where it stands in the body: "batch[3]"; empty: it is the body
	fields  object
	context surroundings
	quiet   bool // of an import
	// Of the batch that it came in, for a call that has none of its own.
	sentAt json.RawMessage
}

// types of calls, by what they are called in routes and batches.
var types = map[string]string{
	"track": "track", "t": "track", "identify": "identify", "i": "identify", "page": "page", "p": "page",
	"screen": "screen", "s": "screen", "group": "group", "g": "group", "alias": "alias", "a": "alias",
}

// parseObject reads a JSON object.
func parseObject(raw []byte) (object, error) {
	var o object
	if err := json.Unmarshal(raw, &o); err != nil || o == nil {
		return nil, engage.Errorf(engage.Invalid, "", "must be one JSON object")
	}
	return o, nil
}

// batchOf are the calls of a batch's body. The error is about the body as a whole; a call
// that cannot be stands in drops.
func batchOf(body object, limit *Limits, quiet bool) (calls []*call, drops []drop, err error) {
	var items []json.RawMessage
	if err := json.Unmarshal(body["batch"], &items); err != nil || items == nil {
		return nil, nil, engage.Errorf(engage.Invalid, "batch", "must be a list of calls")
	}
	if len(items) > limit.MaxBatch {
		return nil, nil, engage.Errorf(engage.TooLarge, "batch", "at most %d calls, got %d", limit.MaxBatch, len(items))
	}
	shared := sharedOf(body["context"])
	for i, raw := range items {
		c := &call{at: fmt.Sprintf("batch[%d]", i), context: surroundings{shared: shared}, sentAt: body["sentAt"], quiet: quiet}
		if len(raw) > limit.MaxCall {
			drops = append(drops, drop{call: c, err: engage.Errorf(engage.TooLarge, "", "a call has at most %d bytes, this one %d", limit.MaxCall, len(raw))})
			continue
		}
		if c.fields, err = parseObject(raw); err != nil {
			drops = append(drops, drop{call: c, err: err})
			continue
		}
		word, _ := c.text("type")
		c.typ = types[word]
		if c.typ == "" || len(word) == 1 {
			drops = append(drops, drop{call: c, err: engage.Errorf(engage.Invalid, "type", "must be track, identify, page, screen, group or alias")})
			continue
		}
		calls = append(calls, c)
	}
	return calls, drops, nil
}

// objectOf is the object that a member is; nil when it is none.
func objectOf(raw json.RawMessage) object {
	if len(raw) == 0 || raw[0] != '{' { // a member's value has no space before it
		return nil
	}
	o, err := parseObject(raw)
	if err != nil {
		return nil
	}
	return o
}

// text of a member; see textOf.
func (c *call) text(name string) (string, error) { return textOf(c.fields[name], name) }

// textOf is the text of a member, of which spaces around it do not count; empty when it
// is absent, null or empty. A number is the text that it is written as, since many know
// their customers by number. The error is of the field.
func textOf(raw json.RawMessage, field string) (string, error) {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", nil
	case raw[0] == '"':
		if plain(raw[1 : len(raw)-1]) {
			return strings.TrimSpace(string(raw[1 : len(raw)-1])), nil
		}
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", engage.Errorf(engage.Invalid, field, "must be text")
		}
		return strings.TrimSpace(s), nil
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		return string(raw), nil
	}
	return "", engage.Errorf(engage.Invalid, field, "must be text")
}

// maxHint is how long a text in a context may be, as JSON, that only describes.
const maxHint = 1 << 10

// hint is the text of such a member; empty also when it is no text or too long: a batch's
// is read again for each of its calls.
func hint(raw json.RawMessage) string {
	if len(raw) > maxHint {
		return ""
	}
	s, _ := textOf(raw, "")
	return s
}

// plain reports whether what stands between the quotes of valid JSON is the text itself.
func plain(between []byte) bool {
	for _, b := range between {
		if b < 0x20 || b > 0x7e || b == '\\' {
			return false
		}
	}
	return true
}

// identifierOf is a member as an identifier of a kind; empty when it is absent. Bytes
// that were no text, which JSON's reader replaces, would make one person of two.
func identifierOf(raw json.RawMessage, field, kind string) (string, error) {
	value, err := textOf(raw, field)
	if err != nil || value == "" {
		return "", err
	}
	if strings.ContainsRune(value, utf8.RuneError) {
		return "", engage.Errorf(engage.Invalid, field, "must be UTF-8 text")
	}
	id, err := engage.Identifier(kind, value)
	if e, ok := err.(*engage.Error); ok { //nolint:errorlint // it is not wrapped
		return "", engage.Errorf(e.Code, field, "%s", e.Msg)
	}
	return id, err
}

// first is the first of the names that is there, with its value.
func (o object) first(names ...string) (string, json.RawMessage) {
	for _, name := range names {
		if raw := bytes.TrimSpace(o[name]); len(raw) > 0 && string(raw) != "null" && string(raw) != `""` {
			return name, raw
		}
	}
	return names[0], nil
}

// library is what the call was made by: "analytics-node/3.1.0".
func (c *call) library() (name, full string) {
	lib := c.context.object("library")
	name = hint(lib["name"])
	version := hint(lib["version"])
	full = name
	if version != "" {
		full += "/" + version
	}
	return name, clip(full, maxMessage)
}

// clip shortens a text to at most n bytes of whole runes, without control characters.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return -1
		}
		return r
	}, s)
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// depthOf is how deep objects and lists are nested in valid JSON, the outermost included.
func depthOf(raw []byte) (depth int) {
	level, inText := 0, false
	for i := 0; i < len(raw); i++ {
		switch b := raw[i]; {
		case inText && b == '\\':
			i++
		case b == '"':
			inText = !inText
		case inText:
		case b == '{' || b == '[':
			level++
			depth = max(depth, level)
		case b == '}' || b == ']':
			level--
		}
	}
	return depth
}

// properties are a member as what an event is kept with. Everything that can be said
// against it is of the field, and of the whole.
func propertiesOf(raw json.RawMessage, field string) (map[string]any, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if d := depthOf(raw); d > maxDepth {
		return nil, engage.Errorf(engage.TooLarge, field, "is nested %d deep, at most %d", d, maxDepth)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		if _, isObject := parseObject(raw); isObject == nil {
			return nil, engage.Errorf(engage.Invalid, field, "has a number that is too large")
		}
		return nil, engage.Errorf(engage.Invalid, field, "must be an object")
	}
	if len(out) > maxNames {
		return nil, engage.Errorf(engage.TooLarge, field, "has %d names, at most %d", len(out), maxNames)
	}
	for name := range out {
		if name == "" || len(name) > maxName || clip(name, maxName) != name {
			return nil, engage.Errorf(engage.Invalid, field, "has the name %q: names have 1 to %d bytes and no control characters", clip(name, 40), maxName)
		}
	}
	return out, nil
}

// timeOf is a member as a time; zero when it is absent. The error is of the field.
func timeOf(raw json.RawMessage, field string) (time.Time, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		var n float64
		if err := json.Unmarshal(raw, &n); err != nil || n < -1e14 || n > 1e14 {
			return time.Time{}, engage.Errorf(engage.Invalid, field, "is no time")
		}
		if n > 1e11 || n < -1e11 { // seconds until the year 5138, milliseconds since 1973
			return time.UnixMilli(int64(n)).UTC(), nil
		}
		return time.UnixMilli(int64(n * 1000)).UTC(), nil
	}
	text, err := textOf(raw, field)
	if err != nil || text == "" {
		return time.Time{}, err
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, engage.Errorf(engage.Invalid, field, "must be a time like 2026-03-02T09:30:00.000Z")
}
