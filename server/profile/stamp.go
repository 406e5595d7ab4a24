package profile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Stamp says when something was said, to find which of two words counts: the greater
// one. It is Unix microseconds; of a word that nobody can trust (a public key's) so much
// less that every trusted one is greater: what anybody can say changes nothing of what
// is known.
type Stamp int64

// apart is how far what one record of the log says is spread, so that its order is kept
// (situate): a person's partition may hear of it within less.
const apart = 10 * time.Millisecond

// StampOf a time: when it was said, and no later than when it was heard.
func StampOf(said, heard time.Time, trusted bool) Stamp {
	if said.IsZero() || said.After(heard.Add(apart)) {
		said = heard
	}
	s := Stamp(max(said.UnixMicro(), 1))
	if !trusted {
		s -= untrusted
	}
	return s
}

const untrusted = 1 << 52 // still exact as a number of JSON

// known is when what stands under a name was said; false when nothing was ever said.
func known[V any](m map[string]V, at map[string]Stamp, name string) (Stamp, bool) {
	s, stamped := at[name]
	_, there := m[name]
	return s, stamped || there
}

// newer reports whether a change goes before what stands there. Of two words of the
// same moment the greater JSON counts, so that their order does not matter.
func newer[V any](m map[string]V, at map[string]Stamp, name string, c change[V], now Stamp) bool {
	old, there := known(m, at, name)
	if !there || now != old {
		return !there || now > old
	}
	if c.forget {
		return false
	}
	was, is := m[name]
	return !is || greater(c.to, was)
}

// greater compares values by their canonical JSON.
func greater(a, b any) bool { return bytes.Compare(canonical(a), canonical(b)) > 0 }

func canonical(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // no attribute has such a value
	}
	return b
}

// limitForgotten forgets that something was forgotten, the oldest first, in a map that
// is ours.
func limitForgotten[V any](m map[string]V, at map[string]Stamp, limit int) {
	if len(at) <= limit {
		return
	}
	var gone []string
	for name := range at {
		if _, there := m[name]; !there {
			gone = append(gone, name)
		}
	}
	slices.SortFunc(gone, func(a, b string) int { return cmp.Or(cmp.Compare(at[a], at[b]), strings.Compare(a, b)) })
	for _, name := range gone[:min(max(len(gone)-limit, 0), len(gone))] {
		delete(at, name)
	}
}

// united is what two say under the same names: of each the newer word. Beyond limit the
// oldest go.
func united[V any](a map[string]V, aAt map[string]Stamp, b map[string]V, bAt map[string]Stamp, limit int) (map[string]V, map[string]Stamp) {
	if len(b)+len(bAt) == 0 {
		return a, aAt
	}
	out, at := cloneOf(a), cloneOf(aAt)
	take := func(name string) {
		v, is := b[name]
		now, _ := known(b, bAt, name)
		if !newer(out, at, name, change[V]{to: v, forget: !is}, now) {
			return
		}
		if is {
			out[name] = v
		} else {
			delete(out, name)
		}
		delete(at, name)
		if s, stamped := bAt[name]; stamped {
			at[name] = s
		}
	}
	for name := range b {
		take(name)
	}
	for name := range bAt {
		take(name)
	}
	if n := len(out) - limit; n > 0 {
		names := make([]string, 0, len(out))
		for name := range out {
			names = append(names, name)
		}
		slices.SortFunc(names, func(x, y string) int { return cmp.Or(cmp.Compare(at[x], at[y]), strings.Compare(y, x)) })
		for _, name := range names[:n] {
			delete(out, name)
			delete(at, name)
		}
	}
	limitForgotten(out, at, limit)
	return out, at
}

// Time is when it was said; zero of what an earlier build kept.
func (s Stamp) Time() time.Time {
	switch {
	case s == 0:
		return time.Time{}
	case s < 0:
		s += untrusted
	}
	return time.UnixMicro(int64(s)).UTC()
}
