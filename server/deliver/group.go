package deliver

import (
	"context"
	"runtime"
	"sync"
)

// maxGroup is how many records are written together at most, so that whoever joins a
// group waits for a known amount of work.
const maxGroup = 512

// group writes to the ledger what many goroutines have at the same time in one call:
// while one call is under way, what comes waits and goes together with the next. A
// lonely write starts at once.
type group struct {
	mu      sync.Mutex
	writing bool
	queue   []*entry
}

// entry is what one goroutine has to write.
type entry struct {
	writes []Write
	tells  []tellNote
	won    []bool
	leaf   *leaf // that has tells; nil without any
	err    error
	// wake gets true when the goroutine must write the next group, false when its own
	// is written.
	wake chan bool
}

// write is Ledger.Write, of records of which the journal says, before they are there,
// that what they have must perhaps be told. The leaf is to be given back for each of
// tells, also for those whose record was not written. A context that ends does not end a
// write that others share.
func (d *Deliverer) write(ctx context.Context, writes []Write, tells []tellNote) ([]bool, *leaf, error) {
	g := &d.group
	e := &entry{writes: writes, tells: tells}
	g.mu.Lock()
	g.queue = append(g.queue, e)
	if g.writing {
		e.wake = make(chan bool, 1)
		g.mu.Unlock()
		if !<-e.wake {
			return e.won, e.leaf, e.err
		}
		g.mu.Lock()
	}
	g.writing = true
	if len(g.queue) == 1 { // those who are about to come may go together with it
		g.mu.Unlock()
		runtime.Gosched()
		g.mu.Lock()
	}
	n, records := 0, 0
	for n < len(g.queue) && (n == 0 || records+len(g.queue[n].writes) <= maxGroup) {
		records += len(g.queue[n].writes)
		n++
	}
	mine := g.queue[:n:n]
	g.queue = g.queue[n:]
	g.mu.Unlock()

	won, l, err := d.writeAll(context.WithoutCancel(ctx), mine, records)

	g.mu.Lock()
	if len(g.queue) > 0 {
		g.queue[0].wake <- true
	} else {
		g.writing, g.queue = false, nil
	}
	g.mu.Unlock()
	at := 0
	for _, e := range mine {
		if e.err = err; err == nil {
			e.won = won[at : at+len(e.writes)]
			if len(e.tells) > 0 {
				e.leaf = l
			}
		}
		at += len(e.writes)
		if e.wake != nil && e != mine[0] {
			e.wake <- false
		}
	}
	return mine[0].won, mine[0].leaf, err
}

// writeAll writes what the entries have, behind the leaf that says what is to be told.
func (d *Deliverer) writeAll(ctx context.Context, mine []*entry, records int) (won []bool, l *leaf, err error) {
	var tells []tellNote
	for _, e := range mine {
		tells = append(tells, e.tells...)
	}
	if len(mine) == 1 && len(tells) == 0 {
		won, err = d.o.Ledger.Write(ctx, mine[0].writes)
		return won, nil, err
	}
	all := make([]Write, 0, records+1)
	if len(tells) > 0 {
		l = d.journal.take(d.process, len(tells))
		w, err := d.leafWrite(ctx, l, leafRecord{Tells: tells})
		if err != nil {
			d.written(l, false)
			return nil, nil, err
		}
		all = append(all, w)
	}
	for _, e := range mine {
		all = append(all, e.writes...)
	}
	if won, err = d.o.Ledger.Write(ctx, all); l == nil {
		return won, nil, err
	}
	d.written(l, err == nil && won[0])
	switch {
	case err != nil:
		return nil, nil, err
	case !won[0]: // somebody else has this process's name: as if nobody knew what was written
		return nil, nil, errJournal
	}
	return won[1:], l, nil
}
