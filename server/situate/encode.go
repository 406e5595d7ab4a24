package situate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/server/engage"
)

// The parts of an Install that encoding/json writes, in their order; what stands between
// them is written by itself. A test holds them to all that an Install has.
type (
	installHead struct {
		V        int           `json:"v"`
		Install  string        `json:"install"`
		Profile  string        `json:"profile"`
		From     uint64        `json:"from,omitempty"`
		Before   []Owner       `json:"before,omitempty"`
		Accepted Intervals     `json:"accepted"`
		Device   engage.Device `json:"device"`
	}
	installFix struct {
		Fix    *Fix     `json:"fix,omitempty"`
		Coarse geo.Cell `json:"coarse,omitempty"`
	}
	installTail struct {
		Due      time.Time                `json:"due,omitzero"`
		Session  string                   `json:"session,omitempty"`
		Claimed  bool                     `json:"claimed,omitempty"`
		Imported bool                     `json:"imported,omitempty"`
		Said     engage.ByPurpose[uint64] `json:"said,omitempty"`
		Since    engage.ByPurpose[uint64] `json:"since,omitempty"`
		Orphans  uint64                   `json:"orphans,omitempty"`
		Refused  uint64                   `json:"refused,omitempty"`
		Doubted  uint64                   `json:"doubted,omitempty"`
		Live     []engage.LiveToken       `json:"live,omitempty"`
		Heard    []Heard                  `json:"heard,omitempty"`
		HeardDue time.Time                `json:"heard_due,omitzero"`
		User
	}
)

// Encode implements engage.State. It writes what encoding/json makes of an Install, which
// looks through every part again that writes itself: half of what a save would cost.
func (in *Install) Encode() ([]byte, error) {
	room := rooms.Get().(*[]byte) //nolint:forcetypeassert // the pool has nothing else
	defer rooms.Put(room)
	b, err := in.appendJSON((*room)[:0])
	if err != nil {
		return nil, err
	}
	if *room = b; cap(b) > maxRoom {
		*room = nil
	}
	return bytes.Clone(b), nil
}

// rooms are what states are written in, to know how large they become.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

const maxRoom = 64 << 10

func (in *Install) appendJSON(b []byte) ([]byte, error) {
	head, err := json.Marshal(&installHead{in.V, in.Install, in.Profile, in.From, in.Before, in.Accepted, in.Device})
	if err != nil {
		return nil, err
	}
	b = append(append(b, head[:len(head)-1]...), `,"consents":`...)
	if b, err = in.Consents.AppendJSON(b); err != nil {
		return nil, fmt.Errorf("consents: %w", err)
	}
	if b, err = appendMembers(b, &installFix{in.Fix, in.Coarse}); err != nil {
		return nil, err
	}
	if b, err = in.Tracker.AppendJSON(append(b, `,"tracker":`...)); err != nil {
		return nil, fmt.Errorf("tracker: %w", err)
	}
	if in.Edition != 0 {
		b = strconv.AppendUint(append(b, `,"edition":`...), in.Edition, 10)
	}
	switch t := &in.Tracks; {
	case t.IsZero():
	case len(t.Rest) > 0:
		text, err := json.Marshal(t)
		if err != nil {
			return nil, fmt.Errorf("tracks: %w", err)
		}
		b = append(append(b, `,"tracks":`...), text...)
	default:
		b = strconv.AppendUint(append(b, `,"tracks":{"head":{"seq":`...), t.Head.Seq, 10)
		b = append(t.Head.Track.AppendJSON(append(b, `,"track":`...)), "}}"...)
	}
	if b, err = appendMembers(b, &installTail{
		in.Due, in.Session, in.Claimed, in.Imported, in.Said, in.Since, in.Orphans, in.Refused, in.Doubted, in.Live, in.Heard, in.HeardDue, in.User,
	}); err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

// appendMembers appends the members of an object to those of one that is open.
func appendMembers(b []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if members := text[1 : len(text)-1]; len(members) > 0 {
		b = append(append(b, ','), members...)
	}
	return b, nil
}
