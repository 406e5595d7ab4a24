package steptest_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/engage/steptest"
)

type count struct {
	N     int            `json:"n"`
	Inner map[string]int `json:"inner"`
	Lost  int            `json:"-"`
}

func (c *count) Clone() engage.State     { d := *c; return &d } // shares Inner
func (c *count) Encode() ([]byte, error) { return json.Marshal(c) }

// machine does what the entry's body says.
type machine struct{}

func (machine) Decode(_ string, body []byte) (engage.State, error) {
	c := &count{}
	return c, json.Unmarshal(body, c)
}

func (machine) Apply(tx engage.Tx, e engage.Entry) error {
	st, err := tx.Edit(e.Key)
	if err != nil {
		return err
	}
	if st == nil {
		st = &count{Inner: map[string]int{}}
		tx.Put(e.Key, st)
	}
	c := st.(*count)
	c.N++
	tx.Emit("act", engage.Entry{Kind: "out", Key: e.Key})
	switch string(e.Body) {
	case "refuse":
		return errors.New("refused")
	case "mutate":
		c.Inner["x"]++
	case "timer":
		tx.SetTimer(e.Key, "wake", e.At.Add(time.Minute), []byte("b"))
	case "record":
		doc := map[string]int{"n": 1}
		tx.Record("docs", "w", "id", doc)
		c.Inner = doc
	case "erase":
		tx.Delete(e.Key)
	}
	return nil
}

func entry(body string) engage.Entry {
	return engage.Entry{Kind: "x", Key: "w/i:a", At: time.Unix(100, 0).UTC(), Body: []byte(body)}
}

func TestAllOrNothing(t *testing.T) {
	p := steptest.New("in/0", machine{})
	if err := p.Apply(entry(""), entry("timer")); err != nil {
		t.Fatal(err)
	}
	before := p.Dump()
	if err := p.Apply(entry("refuse")); err == nil || errors.Is(err, steptest.ErrBroken) {
		t.Fatalf("got %v", err)
	}
	if p.Dump() != before {
		t.Errorf("a refused entry left\n%s\nbefore\n%s", p.Dump(), before)
	}
	fork := p.Fork()
	if err := p.Apply(entry("erase")); err != nil || p.State("w/i:a") != nil {
		t.Errorf("not deleted: %v", err)
	}
	if fork.Dump() != before {
		t.Error("the fork went along")
	}
}

func TestBrokenPromisesAreFound(t *testing.T) {
	p := steptest.New("in/0", machine{})
	if err := p.Apply(entry("")); err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(entry("mutate")); !errors.Is(err, steptest.ErrBroken) {
		t.Errorf("a change of the committed state: %v", err)
	}
	p = steptest.New("in/0", machine{})
	if err := p.Apply(entry("record")); err != nil {
		t.Fatal(err)
	}
	p.State("w/i:a").(*count).Inner["n"] = 2
	if err := p.Check(); !errors.Is(err, steptest.ErrBroken) {
		t.Errorf("a change of a recorded document: %v", err)
	}
}

func TestTimersFireOnceAtTheirTime(t *testing.T) {
	p := steptest.New("in/0", machine{})
	if err := p.Apply(entry("timer")); err != nil {
		t.Fatal(err)
	}
	due := time.Unix(160, 0)
	timer := p.Timers()[0]
	if err := p.FireUntil(due.Add(-1)); err != nil || len(p.Timers()) != 1 {
		t.Fatalf("fired early: %v", err)
	}
	if err := p.FireUntil(due); err != nil || len(p.Timers()) != 0 {
		t.Fatalf("did not fire: %v", err)
	}
	p.Take()
	if err := p.Fire(timer, due); err != nil || len(p.Take()) != 0 {
		t.Errorf("fired twice: %v", err)
	}
}
