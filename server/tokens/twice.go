package tokens

import (
	"fmt"
	"hash/maphash"
	"strings"
)

// MaxCompared is how many tokens of a file are looked for again in its later rows:
// some 30 MB. Of those after them it is not told that they stand twice.
const MaxCompared = 1_000_000

// Twice finds tokens that stand twice in a file. It keeps no token, only hashes.
type Twice struct {
	seed maphash.Seed
	rows map[uint64]uint32 // that are taken, by the hash of provider and token
}

// NewTwice has seen no row.
func NewTwice() *Twice { return &Twice{maphash.MakeSeed(), map[uint64]uint32{}} }

// Compare warns of a row's token that an earlier row has. Refused rows do not count.
func (t *Twice) Compare(row *Row) {
	if row.Err != nil {
		return
	}
	token := row.Push.Token.Reveal()
	if row.Push.Provider == "apns" {
		token = strings.ToLower(token) // hexadecimal
	}
	key := maphash.String(t.seed, row.Push.Provider+" "+token)
	switch first, again := t.rows[key]; {
	case again:
		row.Warnings = append(row.Warnings, Warning{"token", fmt.Sprintf("stands twice: rows %d and %d have it, and one phone has a token", first, row.Number)})
	case len(t.rows) < MaxCompared:
		t.rows[key] = uint32(row.Number) //nolint:gosec // a file of 1 GB has fewer rows
	}
}
