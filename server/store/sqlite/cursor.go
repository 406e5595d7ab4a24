package sqlite

import (
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"hash/fnv"

	"github.com/footfall-engage/footfall/server/store"
)

// position is a place in an order: the sort value and the id of the last
// document that was returned. Value is nil (absent), int64, float64 or string.
type position struct {
	value driver.Value
	id    string
}

// cursorText is the cursor within its base64. It names a place, not a right: a
// forged one moves within the same workspace's documents.
type cursorText struct {
	Query uint64   `json:"q"` // fingerprint of the query that it belongs to
	ID    string   `json:"d"`
	Int   *int64   `json:"i,omitempty"`
	Float *float64 `json:"f,omitempty"`
	Text  *[]byte  `json:"s,omitempty"` // as base64: SQLite does not promise UTF-8
}

func (p position) cursor(query uint64) (string, error) {
	c := cursorText{Query: query, ID: p.id}
	switch v := p.value.(type) {
	case int64:
		c.Int = &v
	case float64:
		c.Float = &v
	case string:
		b := []byte(v)
		c.Text = &b
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// parseCursor returns the position of a cursor made for the same query.
func parseCursor(s string, query uint64, byID bool) (position, error) {
	bad := func(msg string) (position, error) {
		return position{}, &store.ArgError{Kind: store.ErrBadQuery, Field: "cursor", Msg: msg}
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return bad("is not one of ours")
	}
	var c cursorText
	if err := json.Unmarshal(raw, &c); err != nil || c.ID == "" {
		return bad("is not one of ours")
	}
	if c.Query != query {
		return bad("belongs to another query")
	}
	p := position{id: c.ID}
	values := 0
	if c.Int != nil {
		p.value, values = *c.Int, values+1
	}
	if c.Float != nil {
		p.value, values = *c.Float, values+1
	}
	if c.Text != nil {
		p.value, values = string(*c.Text), values+1
	}
	if values > 1 || byID && values > 0 {
		return bad("is not one of ours")
	}
	return p, nil
}

// fingerprint tells checked queries apart by all that decides what follows what.
func fingerprint(collection string, q store.Query) uint64 {
	q.Limit, q.Cursor = 0, ""
	h := fnv.New64a()
	// Neither fails: a hash takes everything, and a checked filter is plain JSON.
	_, _ = h.Write([]byte(collection + "\x00"))
	_ = json.NewEncoder(h).Encode(q)
	return h.Sum64()
}
