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
	won    []bool
	err    error
	// wake gets true when the goroutine must write the next group, false when its own
	// is written.
	wake chan bool
}

// write is Ledger.Write. A context that ends does not end a write that others share.
func (d *Deliverer) write(ctx context.Context, writes []Write) ([]bool, error) {
	g := &d.group
	e := &entry{writes: writes}
	g.mu.Lock()
	g.queue = append(g.queue, e)
	if g.writing {
		e.wake = make(chan bool, 1)
		g.mu.Unlock()
		if !<-e.wake {
			return e.won, e.err
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

	all := writes
	if n > 1 {
		all = make([]Write, 0, records)
		for _, e := range mine {
			all = append(all, e.writes...)
		}
	}
	won, err := d.o.Ledger.Write(context.WithoutCancel(ctx), all)

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
		}
		at += len(e.writes)
		if e.wake != nil && e != mine[0] {
			e.wake <- false
		}
	}
	return mine[0].won, err
}
