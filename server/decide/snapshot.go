package decide

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Snapshots is the collection of Snapshot, whose documents are bytes.
const Snapshots = "snapshots"

// Snapshot is a person as they were before the first entry of a day that changed them
// (days are UTC's, by log time): what the entry found, and where in the log it stands.
//
// It is taken by the step, when it is about to change somebody who was last changed on
// an earlier day. So it follows from the log alone, as all that a step does; only who
// changes costs something, once a day; and the person is encoded and compressed by the
// save that runs beside the loop, which takes at most a certain amount at a time. To
// save a second row where the day of the save before differs was the other way: what it
// keeps depends on when saves happen to run, and knows no position between two. A timer
// at midnight would have had every partition write everybody at once.
//
// Who is not changed on a day needs no snapshot of it: the next one is what they were
// all the time, from Changed on until At. So the state at the beginning of any day is
// kept exactly, of everybody, without an entry of the log.
type Snapshot struct {
	V         int       `json:"v"` // 1
	Workspace string    `json:"workspace"`
	Profile   string    `json:"profile"`
	Changed   time.Time `json:"changed"` // log time of the newest entry that is in it
	At        time.Time `json:"at"`      // log time of the first entry that is not in it
	// Where that entry stands in the log.
	Partition   string  `json:"partition"` // "act/0"
	Incarnation uint32  `json:"incarnation"`
	Seq         uint64  `json:"seq"`
	Index       uint32  `json:"index"` // within the record
	State       *Person `json:"state"`
}

// snapshotFormat is the first byte of an encoded snapshot; what follows is compressed by
// flate: the fields but for the state as JSON, a line's end, and the state.
const snapshotFormat = 1

// maxSnapshot is how large one may be when it is expanded; a state has at most a few MB.
const maxSnapshot = 64 << 20

var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(io.Discard, flate.BestSpeed) // of a level that there is
	return w
}}

// Encode is what is stored.
func (s *Snapshot) Encode() ([]byte, error) {
	state, err := s.State.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	rest := *s
	rest.State = nil
	head, err := json.Marshal(&rest)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	out := bytes.NewBuffer(make([]byte, 0, 64+len(state)/2))
	out.WriteByte(snapshotFormat)
	w := deflaters.Get().(*flate.Writer) //nolint:forcetypeassert // nothing else is put there
	defer deflaters.Put(w)
	w.Reset(out)
	for _, part := range [][]byte{head, []byte("\n"), state} {
		if _, err := w.Write(part); err != nil {
			return nil, fmt.Errorf("compress snapshot: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress snapshot: %w", err)
	}
	return out.Bytes(), nil
}

// DecodeSnapshot reads what Encode wrote.
func DecodeSnapshot(b []byte) (*Snapshot, error) {
	if len(b) == 0 || b[0] != snapshotFormat {
		return nil, errors.New("decode snapshot: no format that this version knows")
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b[1:])), maxSnapshot+1))
	if err != nil {
		return nil, fmt.Errorf("decode snapshot: %w", err)
	}
	if len(text) > maxSnapshot {
		return nil, errors.New("decode snapshot: it is too large")
	}
	head, body, _ := bytes.Cut(text, []byte("\n"))
	var s Snapshot
	if err := json.Unmarshal(head, &s); err != nil {
		return nil, fmt.Errorf("decode snapshot: %w", err)
	}
	if s.V != 1 {
		return nil, fmt.Errorf("decode snapshot: version %d is not known", s.V)
	}
	st, err := Machine{}.Decode(engage.ProfileKey(s.Workspace, s.Profile), body)
	if err != nil {
		return nil, fmt.Errorf("decode snapshot: %w", err)
	}
	p, is := st.(*Person)
	if !is {
		return nil, errors.New("decode snapshot: it is of nobody")
	}
	s.State = p
	return &s, nil
}

// SnapshotShelf is what the ids of a profile's snapshots begin with; engage.TimelineTime of
// At follows.
func SnapshotShelf(profile string) string { return "p:" + profile + "/" }

// ChangedAt is the log time of the newest entry that changed the person, or a little
// earlier of a state of an earlier build.
func (p *Person) ChangedAt() time.Time {
	if p.ChangedUS == 0 {
		return p.LastSeen
	}
	return time.UnixMicro(p.ChangedUS).UTC()
}

// day of a time, counted from 1970, in UTC.
func day(at time.Time) int64 {
	const seconds = 24 * 60 * 60
	return at.Unix() / seconds
}

// dated is called before an entry changes the person: it keeps them as they were, if they
// were last changed on an earlier day.
func (s *step) dated() {
	was := s.p.ChangedAt()
	if !s.isNew && day(was) < day(s.e.At) {
		at := s.tx.Position()
		old, _ := s.p.Clone().(*Person)
		id := SnapshotShelf(s.p.ID) + engage.TimelineTime(s.e.At) + "/" + engage.TimelinePosition(at)
		s.tx.Record(Snapshots, s.ws, id, &Snapshot{
			V: 1, Workspace: s.ws, Profile: s.p.ID, Changed: was, At: s.e.At,
			Partition: at.Partition, Incarnation: at.Incarnation, Seq: at.Seq, Index: at.Index, State: old,
		})
	}
	if us := s.e.At.UnixMicro(); us > s.p.ChangedUS {
		s.p.ChangedUS = us
	}
}
