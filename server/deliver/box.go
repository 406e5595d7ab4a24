package deliver

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	boxV1    = 1
	cursorV1 = 1

	maxGone  = 200                 // removals that are remembered of one inbox
	keepGone = 30 * 24 * time.Hour // and for how long
	maxRuns  = 16                  // processes that are remembered to have changed one inbox
)

// errBox: the bytes are not an inbox that this version can read.
var errBox = errors.New("not a readable inbox")

// box says what is in a person's inbox and what has changed: each change has the
// next number, whatever the clock says. What the messages say stands in items of
// their own, which are written once.
//
// A cursor is a number and how it came about: epoch, which is another when the
// inbox has vanished and begun anew, and the process that gave the number. So a
// cursor that this inbox never gave out, because a power cut or a restored backup
// has undone what it was given for, is found out, and the phone gets everything.
type box struct {
	V     int      `json:"v"`
	Epoch string   `json:"epoch"` // 8 random bytes in hex
	Runs  []run    `json:"runs"`  // processes that changed it, in their order
	Seq   uint64   `json:"seq"`   // number of the newest change
	Floor uint64   `json:"floor,omitempty"`
	Items []boxMsg `json:"items,omitempty"` // in the order in which they came
	Gone  []gone   `json:"gone,omitempty"`  // in the order of Seq; all that went after Floor
	// Installs are the person's when the newest message came: who is told of changes.
	Installs []string `json:"installs,omitempty"`
}

// run is that a process began to change the inbox with the change of that number.
type run struct {
	From uint64 `json:"from"`
	By   string `json:"by"` // 4 random bytes in hex
}

// boxMsg is a message in the inbox.
type boxMsg struct {
	ID        string `json:"id"`
	Seq       uint64 `json:"seq"` // of its newest change
	ExpiresUS int64  `json:"expires_us"`
	Read      bool   `json:"read,omitempty"`
}

// gone is a message that was in the inbox.
type gone struct {
	ID   string `json:"id"`
	Seq  uint64 `json:"seq"`
	AtUS int64  `json:"at_us"`
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return hex.EncodeToString(b)
}

// readBox decodes an inbox of any version so far; a nil body is an empty one.
func readBox(body []byte) (*box, error) {
	if body == nil {
		return &box{V: boxV1, Epoch: random(8)}, nil
	}
	b := &box{}
	if err := json.Unmarshal(body, b); err != nil {
		return nil, fmt.Errorf("%w: %w", errBox, err)
	}
	if b.V != boxV1 || b.Epoch == "" || len(b.Runs) == 0 {
		return nil, fmt.Errorf("%w: version %d", errBox, b.V)
	}
	return b, nil
}

// next is the number of a change that the process makes.
func (b *box) next(by string) uint64 {
	b.Seq++
	if n := len(b.Runs); n == 0 || b.Runs[n-1].By != by {
		b.Runs = append(b.Runs, run{b.Seq, by})
		if n := len(b.Runs) - maxRuns; n > 0 {
			b.Runs = b.Runs[n:]
		}
	}
	return b.Seq
}

// runOf is the process that made the change; empty when that is not known any more.
func (b *box) runOf(seq uint64) string {
	for _, r := range slices.Backward(b.Runs) {
		if r.From <= seq {
			return r.By
		}
	}
	return ""
}

func (b *box) find(id string) int {
	return slices.IndexFunc(b.Items, func(m boxMsg) bool { return m.ID == id })
}

// put adds a message, or one that is there already once more.
func (b *box) put(id string, expires time.Time, by string) {
	if i := b.find(id); i >= 0 {
		b.Items = slices.Delete(b.Items, i, i+1)
	}
	b.Gone = slices.DeleteFunc(b.Gone, func(g gone) bool { return g.ID == id })
	b.Items = append(b.Items, boxMsg{ID: id, Seq: b.next(by), ExpiresUS: expires.UnixMicro()})
}

// read marks a message as read and reports whether that is new.
func (b *box) read(id, by string) bool {
	i := b.find(id)
	if i < 0 || b.Items[i].Read {
		return false
	}
	b.Items[i].Read, b.Items[i].Seq = true, b.next(by)
	return true
}

// remove takes a message out and reports whether it was there.
func (b *box) remove(id string, now time.Time, by string) bool {
	i := b.find(id)
	if i < 0 {
		return false
	}
	b.Items = slices.Delete(b.Items, i, i+1)
	b.Gone = append(b.Gone, gone{id, b.next(by), now.UnixMicro()})
	return true
}

// sweep takes out what has expired and what is too much, and returns their ids. It
// forgets removals that are too old or too many.
func (b *box) sweep(now time.Time, by string) (removed []string) {
	for _, m := range slices.Clone(b.Items) {
		if m.expired(now) {
			removed = append(removed, m.ID)
			b.remove(m.ID, now, by)
		}
	}
	for len(b.Items) > maxInbox {
		id := b.Items[0].ID
		removed = append(removed, id)
		b.remove(id, now, by)
	}
	old := now.Add(-keepGone).UnixMicro()
	for len(b.Gone) > 0 && (b.Gone[0].AtUS <= old || len(b.Gone) > maxGone) {
		b.Floor = b.Gone[0].Seq
		b.Gone = b.Gone[1:]
	}
	return removed
}

func (m *boxMsg) expired(now time.Time) bool { return m.ExpiresUS <= now.UnixMicro() }

// stale reports whether there is something to sweep but for old removals, which
// cost nothing until the next change.
func (b *box) stale(now time.Time) bool {
	return slices.ContainsFunc(b.Items, func(m boxMsg) bool { return m.expired(now) })
}

// expires is when nobody can ask any more what has changed: the inbox is empty,
// and every removal is forgotten.
func (b *box) expires(now time.Time) time.Time {
	last := now.Add(keepGone)
	for _, m := range b.Items {
		if at := time.UnixMicro(m.ExpiresUS).Add(keepGone); at.After(last) {
			last = at
		}
	}
	return last
}

// cursor names what a phone knows of an inbox.
type cursor struct {
	person [6]byte // hash of workspace and profile
	epoch  string  // empty: there was no inbox
	by     string  // of the process that made the change max(seq, base)
	seq    uint64  // all changes up to this number are known …
	// base, if above seq, says that a whole inbox is being told in parts, which
	// began when this was the newest number: removals up to it do not matter.
	base uint64
}

func personOf(workspace, profile string) (out [6]byte) {
	h := sha256.New()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(workspace)))
	h.Write(n[:])
	h.Write([]byte(workspace))
	h.Write([]byte(profile))
	copy(out[:], h.Sum(nil))
	return out
}

// String is the cursor as phones keep it, at most 60 characters.
func (c cursor) String() string {
	epoch, _ := hex.DecodeString(c.epoch)
	by, _ := hex.DecodeString(c.by)
	b := append([]byte{cursorV1}, c.person[:]...)
	if c.epoch != "" {
		b = append(append(b, epoch...), by...)
		b = binary.AppendUvarint(binary.AppendUvarint(b, c.seq), c.base)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// readCursor is false for what is no cursor of this version.
func readCursor(s string) (c cursor, ok bool) {
	if len(s) > 200 {
		return c, false
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < 7 || b[0] != cursorV1 {
		return c, false
	}
	copy(c.person[:], b[1:])
	if b = b[7:]; len(b) == 0 {
		return c, true
	}
	if len(b) < 12 {
		return c, false
	}
	c.epoch, c.by = hex.EncodeToString(b[:8]), hex.EncodeToString(b[8:12])
	seq, n := binary.Uvarint(b[12:])
	if n <= 0 {
		return c, false
	}
	base, k := binary.Uvarint(b[12+n:])
	if k <= 0 || len(b) != 12+n+k {
		return c, false
	}
	c.seq, c.base = seq, base
	return c, true
}

// knows reports whether the inbox can say what has changed since the cursor, which
// is of the same person.
func (b *box) knows(c cursor) bool {
	top := max(c.seq, c.base)
	return c.epoch == b.Epoch && top >= b.Floor && top <= b.Seq && top > 0 && b.runOf(top) == c.by
}

// delta is one change that a phone is told.
type delta struct {
	seq  uint64
	at   int    // index in box.Items; -1: gone
	gone string // its id
}

// since are the changes after the cursor, in the order of their numbers; all
// messages when it is nil.
func (b *box) since(c *cursor) []delta {
	var out []delta
	for i, m := range b.Items {
		if c == nil || m.Seq > c.seq {
			out = append(out, delta{seq: m.Seq, at: i})
		}
	}
	if c != nil {
		for _, g := range b.Gone {
			if g.Seq > max(c.seq, c.base) {
				out = append(out, delta{seq: g.Seq, at: -1, gone: g.ID})
			}
		}
	}
	slices.SortFunc(out, func(x, y delta) int {
		if x.seq < y.seq {
			return -1
		}
		return 1
	})
	return out
}
