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
}

// ID is the present one's.
func (s Shadow) ID(workspace, profile string) string {
	id := engage.ShadowID(workspace, profile, s.N)
	if s.Used && s.V == 0 {
		return "w" + id[1:]
	}
	return id
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
		if at.Shadow.Used && x.Room == 0 && x.Names(at.ID) {
			changed := *at
			changed.Shadow = takeShadow(tx, e, at.ID, at.Shadow)
			tx.Put(e.Key, &changed)
		}
		return emit(tx, to, engage.KindMerge, e.Occurred, x)
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

// takeShadow has the present shadow of a profile merged, for something trusted has
// named its anonymous id, and begins the next.
func takeShadow(tx engage.Tx, e engage.Entry, profile string, shadow Shadow) Shadow {
	ws := engage.WorkspaceOf(e.Key)
	id := shadow.ID(ws, profile)
	x := engage.Merge{Of: profile, And: id, With: profile, Why: "shadow"}
	_ = emit(tx, engage.ProfileKey(ws, id), engage.KindMerge, e.Occurred, x) // strings and numbers can be encoded
	return Shadow{N: shadow.N + 1}
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
