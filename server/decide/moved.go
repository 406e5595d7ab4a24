package decide

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Moved stands in the place of a person who is one with another by now: key
// "<workspace>/p:<profile>", as theirs was. It sends on what still comes.
type Moved struct {
	V         int       `json:"v"` // 1
	Workspace string    `json:"workspace"`
	ID        string    `json:"id"`
	Redirect  string    `json:"redirect"` // the profile that has absorbed it; that one may have moved, too
	At        time.Time `json:"at"`       // log time
	Shadow    Shadow    `json:"shadow,omitzero"`
}

// Shadow is where a public key's words about a profile's anonymous id go once somebody
// is known by it: to a profile of nobody, until something trusted names the id again.
type Shadow struct {
	N    int  `json:"n,omitempty"` // of the present one, from 0
	Used bool `json:"used,omitempty"`
	// V is 1 of one that is used since shadows have ids of their own; an earlier build
	// gave them ids as of browsers, of which a person has only so many.
	V int `json:"v,omitempty"`
	// Shared: since its person was named last, something trusted has named another, who is
	// not the same. Whose the words are nobody knows then.
	Shared bool `json:"shared,omitempty"`
}

// ID is the present one's.
func (s Shadow) ID(workspace, profile string) string {
	id := engage.ShadowID(workspace, profile, s.N)
	if s.Used && s.V == 0 {
		return "w" + id[1:]
	}
	return id
}

// heard is the shadow after a ShadowWord: the present one's words come in, or it is left to
// nobody, and the next begins.
func (s Shadow) heard(tx engage.Tx, e engage.Entry, profile string) (Shadow, error) {
	var w engage.ShadowWord
	if err := read(e, &w); err != nil {
		return s, err
	}
	next := Shadow{N: s.N}
	if s.Used {
		next.N++
		if !w.Refused && !s.Shared {
			takeShadow(tx, e, profile, s)
		}
	}
	next.Shared = w.Refused
	return next, nil
}

// inUse is the shadow once something is sent there.
func (s Shadow) inUse() Shadow {
	if !s.Used {
		s.Used, s.V = true, 1
	}
	return s
}

func (m *Moved) version() int { return m.V }

// Clone implements engage.State.
func (m *Moved) Clone() engage.State {
	c := *m
	return &c
}

// Encode implements engage.State.
func (m *Moved) Encode() ([]byte, error) { return json.Marshal(m) }

// RedirectOf is where the state of a profile, as it is kept, says that it has moved;
// empty when it has not.
func RedirectOf(body []byte) string {
	if !bytes.Contains(body, []byte(`"redirect":`)) {
		return "" // nearly always
	}
	var m struct{ Redirect string }
	if json.Unmarshal(body, &m) != nil {
		return ""
	}
	return m.Redirect
}

// moved sends an entry on to where the person is now.
func (m Machine) moved(tx engage.Tx, e engage.Entry, at *Moved, from string) error {
	ws := engage.WorkspaceOf(e.Key)
	to := engage.ProfileKey(ws, at.Redirect)
	switch e.Kind {
	case engage.KindTimer:
		return nil // it goes by the survivor's
	case engage.KindAbsorb:
		tx.Emit("act", engage.Entry{Kind: e.Kind, Key: to, Occurred: e.Occurred, Body: e.Body})
		return nil
	case engage.KindMerge:
		var x engage.Merge
		if err := read(e, &x); err != nil {
			return err
		}
		return emit(tx, to, engage.KindMerge, e.Occurred, x)
	case engage.KindShadow:
		shadow, err := at.Shadow.heard(tx, e, at.ID)
		if err != nil || shadow == at.Shadow {
			return err
		}
		changed := *at
		changed.Shadow = shadow
		tx.Put(e.Key, &changed)
		return nil
	case engage.KindTouch:
		var t engage.Touch
		if err := read(e, &t); err != nil {
			return err
		}
		if !t.Trusted {
			if !at.Shadow.Used {
				changed := *at
				changed.Shadow = changed.Shadow.inUse()
				tx.Put(e.Key, &changed)
			}
			return toShadow(tx, e, at.ID, at.Shadow.inUse())
		}
	}
	if from == "" {
		from = at.ID
	}
	return emit(tx, to, engage.KindForward, e.Occurred, engage.Forward{V: 1, Profile: from, Kind: e.Kind, Body: e.Body})
}

// toShadow sends what a public key says to the shadow of a profile.
func toShadow(tx engage.Tx, e engage.Entry, profile string, shadow Shadow) error {
	ws := engage.WorkspaceOf(e.Key)
	key := engage.ProfileKey(ws, shadow.ID(ws, profile))
	tx.Emit("act", engage.Entry{Kind: e.Kind, Key: key, Occurred: e.Occurred, Body: e.Body})
	return nil
}

// whyShadow is the Merge.Why of a shadow that is taken in.
const whyShadow = "shadow"

// takeShadow has the present shadow of a profile merged, for something trusted has said
// whose its anonymous id is.
func takeShadow(tx engage.Tx, e engage.Entry, profile string, shadow Shadow) {
	ws := engage.WorkspaceOf(e.Key)
	id := shadow.ID(ws, profile)
	x := engage.Merge{Of: profile, And: id, With: profile, Why: whyShadow}
	_ = emit(tx, engage.ProfileKey(ws, id), engage.KindMerge, e.Occurred, x) // strings and numbers can be encoded
}

// emit puts a value out to a key of the act partitions.
func emit(tx engage.Tx, key string, kind engage.Kind, occurred time.Time, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tx.Emit("act", engage.Entry{Kind: kind, Key: key, Occurred: occurred, Body: body})
	return nil
}

// idOf a profile's key.
func idOf(key string) string { return strings.TrimPrefix(engage.IDOf(key), "p:") }
