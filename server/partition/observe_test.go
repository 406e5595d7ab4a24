package partition_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
)

// forgetful is a machine whose entry "forget" deletes the state of its key.
type forgetful struct{ chainMachine }

func (m forgetful) Apply(tx engage.Tx, e engage.Entry) error {
	if string(e.Body) == "forget" {
		tx.Delete(e.Key)
		return nil
	}
	return m.chainMachine.Apply(tx, e)
}

// mirror is what somebody beside the partition makes of what it shows.
type mirror struct {
	mu     sync.Mutex
	states map[string]string
	shown  []string // hash or "nil", of one key
}

// load reads what the store has when a partition has been opened.
func (m *mirror) load(t *testing.T, s *memStore) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states, m.shown = map[string]string{}, nil
	err := s.Iterate(t.Context(), "state_in", store.Query{}, func(d store.Doc) error {
		m.states[d.Workspace+"/"+d.ID] = string(d.Body)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (m *mirror) observe(key string, s engage.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s == nil {
		delete(m.states, key)
		m.shown = append(m.shown, "nil")
		return
	}
	body, err := s.Encode()
	if err != nil {
		body = []byte(err.Error())
	}
	m.states[key] = string(body)
	m.shown = append(m.shown, s.(*chain).Hash)
}

func (m *mirror) equals(s *memStore) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	want := map[string]string{}
	for k, d := range s.docs["state_in"] {
		want[k.Workspace+"/"+k.ID] = string(d.Body)
	}
	if len(want) < 3 {
		return errors.New("the store holds too little to compare")
	}
	if !maps.Equal(m.states, want) {
		return fmt.Errorf("mirror %v\nstore  %v", m.states, want)
	}
	return nil
}

// Who reads the states after Open and watches from there on has in the end what
// the store has, wherever it crashes on the way.
func TestAnObserverKnowsWhatTheStoreKnows(t *testing.T) {
	records := story()
	for i, r := range records {
		if i%9 == 4 && r[0].Kind == "item" {
			records[i] = append(slices.Clone(r), engage.Entry{Kind: "item", Key: fmt.Sprintf("w/i:%d", i%2), At: r[0].At, Body: []byte("forget")})
		}
	}
	for _, mode := range []partition.Mode{partition.Reference, partition.Fast} {
		for _, point := range []string{"", partition.FaultApplied, partition.FaultCommitted, partition.FaultStatesBefore, partition.FaultStatesAfter} {
			t.Run(string(mode)+"/"+point, func(t *testing.T) {
				w := newWorld(t, mode)
				w.o.Machine = forgetful{}
				w.fill(records)
				m := &mirror{}
				w.o.Observe = m.observe
				crashes := 0
				for n := 1; ; n++ {
					o := w.o
					if point != "" && n < 8 {
						o.Fault = crashAt(point, 1+n%4)
					}
					if n%2 == 0 {
						o.CheckpointEvery = time.Hour // nothing saved between: long replays
					}
					p, err := partition.Open(t.Context(), o)
					if err != nil {
						t.Fatal(err)
					}
					m.load(t, w.states)
					r := w.run(p)
					if !r.settle() {
						crashes++
						r.stopped()
						continue
					}
					if err := r.end(); err != nil {
						crashes++
						continue
					}
					break
				}
				if err := m.equals(w.states); err != nil {
					t.Error(err)
				}
				// Reference mode saves with the outputs and knows no moment after that.
				if never := point == "" || mode == partition.Reference && point == partition.FaultStatesAfter; !never && crashes == 0 {
					t.Error("it never crashed")
				}
			})
		}
	}
}

// What fails changes nothing, so nothing of it is shown; what is deleted is.
func TestAnObserverSeesOnlyWhatTookEffect(t *testing.T) {
	w := newWorld(t, partition.Fast)
	w.o.Machine = forgetful{}
	var bodies [][]engage.Entry
	for _, body := range []string{"a", "poison", "b", "panic", "forget", "c"} {
		bodies = append(bodies, []engage.Entry{{Kind: "item", Key: "w/i:1", At: start, Body: []byte(body)}})
	}
	w.fill(bodies)
	m := &mirror{states: map[string]string{}}
	w.o.Observe = m.observe
	p := w.open(w.o)
	if !p.settle() {
		t.Fatalf("stopped: %v", <-p.done)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	// A chain begins anew after "forget", so that "c" is not what it would have been.
	if len(m.shown) != 4 || m.shown[2] != "nil" || m.shown[0] == m.shown[1] || m.shown[1] == m.shown[3] {
		t.Fatalf("shown %v, want those after a, b, forget and c", m.shown)
	}
}
