package decide

import (
	"fmt"
	"sync"

	"github.com/footfall-engage/footfall/server/engage"
)

// step is one entry being applied to one person.
type step struct {
	m        Machine
	tx       engage.Tx
	e        engage.Entry
	key      string
	ws       string
	p        *Person
	isNew    bool       // and not kept yet
	config   *workspace // never nil
	rev      uint64
	drops    int // lines of the list of what was dropped
	*scratch     // while moments are decided
}

// scratch is memory that a step needs only while it runs: it goes from step to step.
type scratch struct {
	sights   []*seen // used of them are what the gate that is asked sees
	used     int
	attempts []*room
	tried    int // of them
}

// room is an attempt with its moment.
type room struct {
	attempt attempt
	moment  moment
}

// newRoom is for one more attempt.
func (s *step) newRoom() *room {
	if s.tried == len(s.attempts) {
		s.attempts = append(s.attempts, &room{})
	}
	s.tried++
	return s.attempts[s.tried-1]
}

// maxScratch is how many attempts' memory is kept: few moments have more.
const maxScratch = 64

var scratches = sync.Pool{New: func() any { return &scratch{} }}

// begin takes such memory; done gives it back.
func (s *step) begin() {
	s.scratch = scratches.Get().(*scratch) //nolint:forcetypeassert // New gives nothing else
}

func (s *step) done() {
	x := s.scratch
	if s.scratch = nil; len(x.attempts) > maxScratch || len(x.sights) > maxScratch {
		return
	}
	for _, k := range x.attempts[:x.tried] {
		*k = room{}
	}
	x.used, x.tried = 0, 0
	scratches.Put(x)
}

// person gives the state of the person whose key the entry has, to change; a new one
// if there is none, which is not kept before keepPerson.
func (m Machine) person(tx engage.Tx, e engage.Entry) (*step, error) {
	st, err := tx.Edit(e.Key)
	if err != nil {
		return nil, err
	}
	s := &step{m: m, tx: tx, e: e, key: e.Key, ws: engage.WorkspaceOf(e.Key), config: noWorkspace}
	if st != nil {
		s.p = st.(*Person) //nolint:forcetypeassert // Decode gives nothing else for this key, and who has moved was asked for before
	} else {
		s.p = &Person{V: 1}
		s.p.Workspace, s.p.ID = s.ws, idOf(e.Key)
		s.isNew = true
	}
	c, rev := tx.Config()
	s.rev = rev
	if c != nil {
		if w := c.(*Config).workspaces[s.ws]; w != nil { //nolint:forcetypeassert // app gives partitions of this kind nothing else
			s.config = w
		}
	}
	return s, nil
}

// keepPerson keeps a new person, and of another what they were when the day began. It
// comes before whatever changes them.
func (s *step) keepPerson() {
	s.dated()
	if !s.isNew {
		return
	}
	s.isNew = false
	s.tx.Put(s.key, s.p)
	if s.e.Kind != engage.KindAbsorb {
		s.p.Seen(s.e.At)
	}
}

// folded notes what a person said, and what of it found no room in the profile or
// could not be kept: {"kept": {...}, "left_out": [names]}.
func folded[V any](s *step, said map[string]V, leftOut []string) error {
	if len(leftOut) == 0 {
		return s.timeline("", said)
	}
	for _, name := range leftOut {
		delete(said, name)
	}
	return s.timeline("", map[string]any{"kept": said, "left_out": leftOut})
}

// timeline keeps what happened for people to look at.
func (s *step) timeline(install string, data any) error {
	body, err := written(data)
	if err != nil {
		return fmt.Errorf("timeline: %w", err)
	}
	occurred := s.e.Occurred
	if occurred.IsZero() {
		occurred = s.e.At
	}
	class := engage.ClassOfKind(s.e.Kind)
	switch x := data.(type) {
	case *engage.Trigger:
		class = x.Class()
	case engage.Touch:
		class = x.Class()
	}
	id := engage.TimelineID(s.p.ID, class, s.e.At, s.tx.Position())
	s.tx.Record("timeline", s.ws, id, engage.TimelineEntry{
		V: 1, Profile: s.p.ID, At: s.e.At, OccurredAt: occurred, Kind: s.e.Kind, Install: install, Data: body,
	})
	return nil
}
