package store

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"math"
)

// Position is a place in an order: the sort value and the id of the last
// document that was returned. It is for implementations; callers see cursors.
type Position struct {
	// Value is nil where the path is absent, else bool, int64, float64 (never
	// NaN), string or Composite.
	Value any
	ID    string
}

// Composite stands for an object or an array as a sort value, in an
// implementation that does not tell them apart.
type Composite struct{}

// cursorText is the cursor within its base64. It names a place, not a right: a
// forged one moves within the same workspace's documents.
type cursorText struct {
	Query     uint64  `json:"q"` // fingerprint of the query that it belongs to
	ID        string  `json:"d"`
	Bool      *bool   `json:"b,omitempty"`
	Int       *int64  `json:"i,omitempty"`
	Float     *uint64 `json:"f,omitempty"` // its bits: JSON has no infinity
	Text      *[]byte `json:"s,omitempty"` // as base64: SQLite does not promise UTF-8
	Composite bool    `json:"o,omitempty"`
}

// Cursor returns the position as a cursor of the query with this fingerprint.
func (p Position) Cursor(query uint64) (string, error) {
	c := cursorText{Query: query, ID: p.ID}
	switch v := p.Value.(type) {
	case bool:
		c.Bool = &v
	case int64:
		c.Int = &v
	case float64:
		bits := math.Float64bits(v)
		c.Float = &bits
	case string:
		b := []byte(v)
		c.Text = &b
	case Composite:
		c.Composite = true
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// ParseCursor returns the position of a cursor made for the same query; byID
// says that it is sorted by id, so that a position has no value. Everything else
// is an ArgError of ErrBadQuery.
func ParseCursor(s string, query uint64, byID bool) (Position, error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return Position{}, badCursor()
	}
	var c cursorText
	if err := json.Unmarshal(raw, &c); err != nil || c.ID == "" || checkText(c.ID) != "" {
		return Position{}, badCursor()
	}
	if c.Query != query {
		return Position{}, badQuery("cursor", "belongs to another query")
	}
	p := Position{ID: c.ID}
	values := 0
	take := func(v any) { p.Value, values = v, values+1 }
	if c.Bool != nil {
		take(*c.Bool)
	}
	if c.Int != nil {
		take(*c.Int)
	}
	if c.Float != nil {
		f := math.Float64frombits(*c.Float)
		if math.IsNaN(f) {
			return Position{}, badCursor()
		}
		take(f)
	}
	if c.Text != nil {
		take(string(*c.Text))
	}
	if c.Composite {
		take(Composite{})
	}
	if values > 1 || byID && values > 0 {
		return Position{}, badCursor()
	}
	return p, nil
}

func badCursor() error { return badQuery("cursor", "is not one of ours") }

// Fingerprint tells checked queries apart by all that decides what follows what.
func (q Query) Fingerprint(collection string) uint64 {
	q.Limit, q.Cursor = 0, ""
	h := fnv.New64a()
	// Neither fails: a hash takes everything, and a checked filter is plain JSON.
	_, _ = h.Write([]byte(collection + "\x00"))
	_ = json.NewEncoder(h).Encode(q)
	return h.Sum64()
}
