package partition

import (
	"errors"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// Tx collects what one Apply does; it implements engage.Tx.
type Tx struct {
	p      *Partition
	at     time.Time
	source engage.Source
	edits  []edit
	outs   []output
	ops    []timerOp
	writes []txWrite
	broken error // the store could not be asked: not the entry's fault
	// spare is a state that nobody has any more, for the next clone; nil when there
	// is none.
	spare engage.State
}

type edit struct {
	key   string
	state engage.State // nil deletes
}

type output struct {
	to    string
	entry engage.Entry
}

type writeKey struct{ collection, workspace, id string }

type write struct {
	doc     any
	expires time.Time // zero: never
}

type txWrite struct {
	key writeKey
	doc any
}

func (tx *Tx) begin(at time.Time, source engage.Source) {
	tx.at, tx.source, tx.broken = at, source, nil
	tx.edits, tx.outs = tx.edits[:0], tx.outs[:0]
	tx.ops, tx.writes = tx.ops[:0], tx.writes[:0]
}

// Load implements engage.Tx.
func (tx *Tx) Load(key string) (engage.State, error) {
	for i := range tx.edits {
		if tx.edits[i].key == key {
			return tx.edits[i].state, nil
		}
	}
	s, err := tx.p.load(key)
	if err != nil && !errors.Is(err, errUnreadable) {
		tx.broken = err
	}
	return s, err
}

// Edit implements engage.Tx.
func (tx *Tx) Edit(key string) (engage.State, error) {
	for i := range tx.edits {
		if tx.edits[i].key == key {
			return tx.edits[i].state, nil // a clone already
		}
	}
	s, err := tx.Load(key)
	if err != nil || s == nil {
		return nil, err
	}
	s = tx.clone(s)
	tx.edits = append(tx.edits, edit{key, s})
	return s, nil
}

// clone copies a state, over a spare one if it can. A busy partition makes one for every
// entry: without it that is the most of its garbage.
func (tx *Tx) clone(s engage.State) engage.State {
	r, can := s.(engage.Recloner)
	if !can {
		return s.Clone()
	}
	spare := tx.spare
	tx.spare = nil
	return r.CloneOver(spare)
}

// retire keeps a state that is replaced as the spare, if nobody else has it: a save
// under way may be encoding it.
func (tx *Tx) retire(key string, old, now engage.State) {
	r, can := old.(engage.Recloner) // a pointer, which can be compared
	if can && r != now && tx.p.flight[key] != old {
		tx.spare = old
	}
}

// Put implements engage.Tx.
func (tx *Tx) Put(key string, s engage.State) {
	for i := range tx.edits {
		if tx.edits[i].key == key {
			tx.edits[i].state = s
			return
		}
	}
	tx.edits = append(tx.edits, edit{key, s})
}

// Delete implements engage.Tx.
func (tx *Tx) Delete(key string) { tx.Put(key, nil) }

// Emit implements engage.Tx.
func (tx *Tx) Emit(to string, e engage.Entry) {
	e.At = tx.at
	tx.outs = append(tx.outs, output{to, e})
}

// SetTimer implements engage.Tx.
func (tx *Tx) SetTimer(key, name string, due time.Time, body []byte) {
	tx.ops = append(tx.ops, timerOp{timer: timer{Key: key, Name: name, Due: due.UTC(), Body: body}})
}

// ClearTimer implements engage.Tx.
func (tx *Tx) ClearTimer(key, name string) {
	tx.ops = append(tx.ops, timerOp{timer: timer{Key: key, Name: name}, clear: true})
}

// Record implements engage.Tx.
func (tx *Tx) Record(collection, workspace, id string, doc any) {
	tx.writes = append(tx.writes, txWrite{writeKey{collection, workspace, id}, doc})
}

// Config implements engage.Tx.
func (tx *Tx) Config() (any, uint64) { return tx.p.config, tx.p.adopted }

// Position implements engage.Tx.
func (tx *Tx) Position() engage.Source { return tx.source }

// At implements engage.Tx.
func (tx *Tx) At() time.Time { return tx.at }

// commit moves what the Tx collected into the partition's memory. Outputs get
// their sources; they are returned for the outbox.
func (tx *Tx) commit() []output {
	p := tx.p
	for _, e := range tx.edits {
		was, _ := p.states.get(e.key)
		tx.retire(e.key, was, e.state)
		n := p.states.change(e.key, e.state)
		if _, is := p.dirty[e.key]; !is {
			p.pending += n
		}
		p.dirty[e.key] = e.state
		if p.o.Observe != nil {
			p.o.Observe(e.key, e.state)
		}
	}
	for _, op := range tx.ops {
		p.timers.apply(op)
	}
	for _, w := range tx.writes {
		expires, wanted := p.expiry(w.key, tx.at)
		if !wanted {
			continue
		}
		p.writes[w.key] = write{w.doc, expires}
		p.pending += bytesOf(w.doc)
	}
	for i := range tx.outs {
		tx.outs[i].entry.From = engage.Source{
			Partition: p.name, Incarnation: tx.source.Incarnation, Seq: tx.source.Seq, Index: p.index,
		}
		p.index++
	}
	return tx.outs
}
