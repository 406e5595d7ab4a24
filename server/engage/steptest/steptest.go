// Package steptest runs a stage's pure step (engage.Machine) over entries in
// memory, as a partition does, for tests: strictly in order, all or nothing per
// entry, with timers that fire when the test says so.
//
// It watches what every Machine promises: a state or document that was given
// away does not change afterwards, a failed Apply leaves nothing behind, and a
// state that is encoded and decoded again is the same. A breach is an error of
// Apply.
package steptest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// ErrBroken is wrapped by errors of Apply that say that the Machine broke a
// promise; others say that it refused the entry.
var ErrBroken = errors.New("the machine broke a promise")

// Output is an entry that the step put out.
type Output struct {
	To    string
	Entry engage.Entry
}

// Into decodes the body of the output, which must be JSON.
func (o Output) Into(v any) error { return json.Unmarshal(o.Entry.Body, v) }

// DocKey names a document that the step recorded.
type DocKey struct{ Collection, Workspace, ID string }

// Timer that waits.
type Timer struct {
	Key, Name string
	Due       time.Time
	Body      []byte
}

type timerKey struct{ key, name string }

type kept struct {
	state engage.State
	bytes []byte
}

type doc struct {
	value any
	bytes []byte
}

func (d doc) encoded() []byte {
	if d.bytes == nil { // Quick
		return encoded(json.Marshal(d.value))
	}
	return d.bytes
}

// Partition runs a Machine. It is not safe for concurrent use.
type Partition struct {
	// Reload decodes every state from its bytes before each use, as after a
	// restart: the results must be the same.
	Reload bool
	// Quick leaves the checks of the Machine's promises out, for tests of thousands
	// of entries.
	Quick bool

	name     string
	machine  engage.Machine
	states   map[string]kept
	docs     map[DocKey]doc
	timers   map[timerKey]Timer
	outputs  []Output
	taken    int
	config   any
	revision uint64
	seq      uint64
	index    uint32
}

// New is an empty partition of the given name ("in/0") around a step.
func New(name string, m engage.Machine) *Partition {
	return &Partition{
		name: name, machine: m,
		states: map[string]kept{}, docs: map[DocKey]doc{}, timers: map[timerKey]Timer{},
	}
}

// Fork is a partition that goes on from here by itself.
func (p *Partition) Fork() *Partition {
	c := *p
	c.states, c.docs, c.timers = maps.Clone(p.states), maps.Clone(p.docs), maps.Clone(p.timers)
	c.outputs = slices.Clone(p.outputs)
	return &c
}

// Adopt puts a configuration in force, as the next revision.
func (p *Partition) Adopt(config any) {
	p.config = config
	p.revision++
}

// Apply applies entries, each as a record of its own, and stops at the first that
// is refused.
func (p *Partition) Apply(entries ...engage.Entry) error {
	for _, e := range entries {
		p.seq++
		p.index = 0
		if err := p.one(e); err != nil {
			return fmt.Errorf("%s of %s: %w", e.Kind, e.Key, err)
		}
	}
	return nil
}

func (p *Partition) one(e engage.Entry) error {
	if e.Kind == engage.KindTimer {
		var f engage.Firing
		if err := json.Unmarshal(e.Body, &f); err != nil {
			return err
		}
		k := timerKey{e.Key, f.Name}
		if t, ok := p.timers[k]; !ok || !t.Due.Equal(f.Due) {
			return nil // cleared, moved, or fired before
		}
		delete(p.timers, k)
	}
	tx := &tx{p: p, at: e.At, edits: map[string]engage.State{}, seen: map[string]kept{}}
	err := p.machine.Apply(tx, e)
	for _, key := range slices.Sorted(maps.Keys(tx.seen)) {
		if now := encoded(tx.seen[key].state.Encode()); !bytes.Equal(now, tx.seen[key].bytes) {
			return fmt.Errorf("%w: it changed the committed state of %s:\n%s\n%s", ErrBroken, key, tx.seen[key].bytes, now)
		}
	}
	if err == nil {
		err = tx.failed
	}
	if err != nil {
		return err
	}
	return tx.commit()
}

// FireUntil fires all timers that are due at now, each at its due time, the
// earliest first, those that firing sets included.
func (p *Partition) FireUntil(now time.Time) error {
	for {
		waiting := p.Timers()
		if len(waiting) == 0 || waiting[0].Due.After(now) {
			return nil
		}
		if err := p.Fire(waiting[0], waiting[0].Due); err != nil {
			return err
		}
	}
}

// Fire applies the firing of a timer at a log time.
func (p *Partition) Fire(t Timer, at time.Time) error {
	body, err := json.Marshal(engage.Firing{Name: t.Name, Due: t.Due, Body: t.Body})
	if err != nil {
		return err
	}
	return p.Apply(engage.Entry{Kind: engage.KindTimer, Key: t.Key, At: at, Body: body})
}

// Timers are the timers that wait, the earliest first.
func (p *Partition) Timers() []Timer {
	return slices.SortedFunc(maps.Values(p.timers), func(a, b Timer) int {
		return cmp.Or(a.Due.Compare(b.Due), strings.Compare(a.Key, b.Key), strings.Compare(a.Name, b.Name))
	})
}

// Take returns what was put out since the last Take.
func (p *Partition) Take() []Output {
	out := slices.Clone(p.outputs[p.taken:])
	p.taken = len(p.outputs)
	return out
}

// State of a key; nil when there is none. It must not be changed.
func (p *Partition) State(key string) engage.State { return p.states[key].state }

// Put makes a state that was kept elsewhere the one of a key.
func (p *Partition) Put(key string, s engage.State) {
	p.states[key] = kept{state: s, bytes: encoded(s.Encode())}
}

// Bytes are the encoded state of a key; nil when there is none.
func (p *Partition) Bytes(key string) []byte {
	k := p.states[key]
	if k.bytes == nil && k.state != nil { // Quick
		k.bytes = encoded(k.state.Encode())
	}
	return k.bytes
}

// Keys of all states, sorted.
func (p *Partition) Keys() []string { return slices.Sorted(maps.Keys(p.states)) }

// Docs are the documents of a collection as they were encoded, by id.
func (p *Partition) Docs(collection string) map[string][]byte {
	out := map[string][]byte{}
	for k, d := range p.docs {
		if k.Collection == collection {
			out[k.ID] = d.encoded()
		}
	}
	return out
}

// Dump is everything, in one text that is the same for the same content: states,
// documents, timers, and all that was put out.
func (p *Partition) Dump() string {
	var b strings.Builder
	for _, k := range p.Keys() {
		fmt.Fprintf(&b, "state %s %s\n", k, p.Bytes(k))
	}
	keys := slices.SortedFunc(maps.Keys(p.docs), func(a, b DocKey) int {
		return cmp.Or(strings.Compare(a.Collection, b.Collection), strings.Compare(a.Workspace, b.Workspace), strings.Compare(a.ID, b.ID))
	})
	for _, k := range keys {
		fmt.Fprintf(&b, "doc %s %s %s %s\n", k.Collection, k.Workspace, k.ID, p.docs[k].encoded())
	}
	for _, t := range p.Timers() {
		fmt.Fprintf(&b, "timer %s %s %s %q\n", t.Key, t.Name, t.Due.Format(time.RFC3339Nano), t.Body)
	}
	for _, o := range p.outputs {
		fmt.Fprintf(&b, "output %s %x\n", o.To, engage.EncodeRecord([]engage.Entry{o.Entry}))
	}
	return b.String()
}

// Check reports documents that changed after they were recorded.
func (p *Partition) Check() error {
	for k, d := range p.docs {
		if d.bytes == nil {
			continue // Quick
		}
		if now := encoded(json.Marshal(d.value)); !bytes.Equal(now, d.bytes) {
			return fmt.Errorf("%w: it changed the recorded document %v:\n%s\n%s", ErrBroken, k, d.bytes, now)
		}
	}
	return nil
}

func (p *Partition) load(key string) (engage.State, []byte, error) {
	k, ok := p.states[key]
	if !ok || !p.Reload {
		return k.state, k.bytes, nil
	}
	b := p.Bytes(key)
	s, err := p.machine.Decode(key, b)
	return s, b, err
}

// tx implements engage.Tx.
type tx struct {
	p      *Partition
	at     time.Time
	edits  map[string]engage.State // nil deletes
	seen   map[string]kept         // committed states that were given out
	outs   []Output
	ops    []func()
	docs   map[DocKey]any
	failed error // of Load or Edit: Apply must return it
}

func (t *tx) Load(key string) (engage.State, error) {
	if s, ok := t.edits[key]; ok {
		return s, nil
	}
	if k, ok := t.seen[key]; ok {
		return k.state, nil
	}
	s, b, err := t.p.load(key)
	if err != nil {
		t.failed = err
		return nil, err
	}
	if s != nil && !t.p.Quick {
		t.seen[key] = kept{s, b}
	}
	return s, nil
}

func (t *tx) Edit(key string) (engage.State, error) {
	if s, ok := t.edits[key]; ok {
		return s, nil
	}
	s, err := t.Load(key)
	if err != nil || s == nil {
		return nil, err
	}
	s = s.Clone()
	t.edits[key] = s
	return s, nil
}

func (t *tx) Put(key string, s engage.State) { t.edits[key] = s }

func (t *tx) Delete(key string) { t.edits[key] = nil }

func (t *tx) Emit(to string, e engage.Entry) {
	e.At = t.at
	t.outs = append(t.outs, Output{to, e})
}

func (t *tx) SetTimer(key, name string, due time.Time, body []byte) {
	t.ops = append(t.ops, func() {
		t.p.timers[timerKey{key, name}] = Timer{Key: key, Name: name, Due: due.UTC(), Body: body}
	})
}

func (t *tx) ClearTimer(key, name string) {
	t.ops = append(t.ops, func() { delete(t.p.timers, timerKey{key, name}) })
}

func (t *tx) Record(collection, workspace, id string, value any) {
	if t.docs == nil {
		t.docs = map[DocKey]any{}
	}
	t.docs[DocKey{collection, workspace, id}] = value
}

func (t *tx) Config() (any, uint64) { return t.p.config, t.p.revision }

func (t *tx) Position() engage.Source {
	return engage.Source{Partition: t.p.name, Incarnation: 1, Seq: t.p.seq}
}

func (t *tx) At() time.Time { return t.at }

// commit makes what the step did true, after it was found sound.
func (t *tx) commit() error {
	p := t.p
	states := make(map[string]kept, len(t.edits))
	for key, s := range t.edits {
		if s == nil {
			continue
		}
		if p.Quick {
			states[key] = kept{state: s}
			continue
		}
		b, err := s.Encode()
		if err != nil {
			return fmt.Errorf("%w: state of %s: %w", ErrBroken, key, err)
		}
		again, err := p.machine.Decode(key, b)
		if err != nil {
			return fmt.Errorf("%w: state of %s is not decoded: %w", ErrBroken, key, err)
		}
		if c := encoded(again.Clone().Encode()); !bytes.Equal(b, c) && !sameJSON(b, c) {
			return fmt.Errorf("%w: state of %s is another after decoding:\n%s\n%s", ErrBroken, key, b, c)
		}
		states[key] = kept{s, b}
	}
	docs := make(map[DocKey]doc, len(t.docs))
	for k, v := range t.docs {
		if v == nil {
			continue
		}
		if p.Quick {
			docs[k] = doc{value: v}
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("%w: document %v: %w", ErrBroken, k, err)
		}
		docs[k] = doc{v, b}
	}
	for key := range t.edits {
		delete(p.states, key)
	}
	maps.Copy(p.states, states)
	for k := range t.docs {
		delete(p.docs, k)
	}
	maps.Copy(p.docs, docs)
	for _, op := range t.ops {
		op()
	}
	for _, o := range t.outs {
		o.Entry.From = engage.Source{Partition: p.name, Incarnation: 1, Seq: p.seq, Index: p.index}
		p.index++
		p.outputs = append(p.outputs, o)
	}
	return nil
}

// encoded is what was encoded, or why not: a text that equals no encoding.
func encoded(b []byte, err error) []byte {
	if err != nil {
		return []byte(err.Error())
	}
	return b
}

// sameJSON forgives a null where there is an empty list or object: Clone may give
// either, and no step tells them apart.
func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(bare(x)) //nolint:errchkjson // it has just been JSON
	q, _ := json.Marshal(bare(y)) //nolint:errchkjson // it has just been JSON
	return bytes.Equal(p, q)
}

func bare(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			return nil
		}
		for k := range v {
			v[k] = bare(v[k])
		}
	case []any:
		if len(v) == 0 {
			return nil
		}
		for i := range v {
			v[i] = bare(v[i])
		}
	}
	return v
}
