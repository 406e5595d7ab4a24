package loopbench

import (
	"encoding/json"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// tally is the state of an install or a person.
type tally struct {
	V    int       `json:"v"` // 1
	N    int       `json:"n"` // items applied
	Last time.Time `json:"last"`
	Sum  uint64    `json:"sum"` // of what the step computed, so that it is computed
	Name string    `json:"name"`
}

func decodeTally(body []byte) (*tally, error) {
	t := &tally{}
	return t, json.Unmarshal(body, t)
}

// Clone implements engage.State.
func (t *tally) Clone() engage.State {
	c := *t
	return &c
}

// Encode implements engage.State.
func (t *tally) Encode() ([]byte, error) { return json.Marshal(t) }

// machine is a stage of the bench: it counts, takes its microsecond and hands on
// what triggers.
type machine struct {
	kind  string // "in" or "act"
	plan  *plan
	spins int
}

// Decode implements engage.Machine.
func (m *machine) Decode(_ string, body []byte) (engage.State, error) { return decodeTally(body) }

// Apply implements engage.Machine.
func (m *machine) Apply(tx engage.Tx, e engage.Entry) error {
	st, err := tx.Edit(e.Key)
	if err != nil {
		return err
	}
	t, _ := st.(*tally)
	if t == nil {
		t = &tally{V: 1, Name: e.Key}
		tx.Put(e.Key, t)
	}
	t.N++
	t.Last = e.At
	t.Sum += spin(m.spins)
	switch {
	case m.kind == "act":
		m.plan.reached(reapplied, e.Body)
		tx.Emit("send", engage.Entry{Kind: engage.KindSend, Key: e.Key, Occurred: e.Occurred, Body: e.Body})
	case m.plan.triggers(e.Body):
		m.plan.reached(applied, e.Body)
		tx.Emit("act", engage.Entry{Kind: engage.KindTrigger, Key: m.plan.person(e.Body), Occurred: e.Occurred, Body: e.Body})
	}
	return nil
}

// spin computes for a while.
func spin(n int) uint64 {
	x := uint64(n)
	for range n {
		x = mix(x)
	}
	return x
}

// calibrate finds how many spins take d on this machine when it is not disturbed.
func calibrate(d time.Duration) int {
	const n = 20_000
	best, sum := time.Hour, uint64(0)
	for range 20 {
		t := now()
		sum += spin(n) // used, or the compiler computes nothing
		best = min(best, now().Sub(t))
	}
	if sum == 0 {
		return n // it is not
	}
	return max(int(int64(n)*int64(d)/max(int64(best), 1)), 1)
}
