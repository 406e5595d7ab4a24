package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	sqlite3 "github.com/mattn/go-sqlite3"

	"github.com/footfall-engage/footfall/server/store"
)

// A group is bounded so that whoever joins it waits for a known amount of work.
const (
	maxGroupOps   = 4096
	maxGroupBytes = 8 << 20
	purgePortion  = 200 // documents that a purge deletes in one transaction
)

// call is one caller's share of a group: a batch, or a function of the store's
// own.
type call struct {
	batch store.Batch
	fn    func(c *conn, nowMS int64) error
	ops   int
	bytes int
	err   error
	// wake gets true when the caller must lead the next group, false when its
	// work is done.
	wake    chan bool
	leading bool // true has been put into wake; guarded by writer.mu
}

// writer groups concurrent calls into transactions without a goroutine of its
// own: the first caller to come leads, those who come while it commits wait, and
// when it has finished the first of them leads all of them.
type writer struct {
	mu    sync.Mutex
	queue []*call
	busy  bool

	turn sync.Mutex // held while the connection is in use
	conn *conn
}

// do has the call run in a transaction and returns its error. A context that
// ends before the call's group begins withdraws it; later the outcome is waited
// for, so that the caller always knows it.
func (s *Store) do(ctx context.Context, c *call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &s.writer
	c.wake = make(chan bool, 1)
	w.mu.Lock()
	w.queue = append(w.queue, c)
	if !w.busy {
		w.busy = true
		w.mu.Unlock()
		s.lead()
		return c.err
	}
	w.mu.Unlock()
	var lead bool
	select {
	case lead = <-c.wake:
	case <-ctx.Done():
		if w.withdraw(c) {
			return ctx.Err()
		}
		lead = <-c.wake
	}
	if lead {
		s.lead()
	}
	return c.err
}

func (w *writer) withdraw(c *call) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.queue, c)
	if i < 0 || c.leading {
		return false
	}
	w.queue = slices.Delete(w.queue, i, i+1)
	return true
}

// take cuts the next group off the queue; the leader is its first.
func (w *writer) take() []*call {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, ops, bytes := 0, 0, 0
	for _, c := range w.queue {
		ops, bytes = ops+c.ops, bytes+c.bytes
		if n > 0 && (ops > maxGroupOps || bytes > maxGroupBytes) {
			break
		}
		n++
	}
	group := slices.Clone(w.queue[:n])
	w.queue = slices.Delete(w.queue, 0, n)
	return group
}

// lead commits one group, passes the lead on, and tells the others of the group.
func (s *Store) lead() {
	w := &s.writer
	group := w.take()
	s.commit(group)
	w.mu.Lock()
	if len(w.queue) > 0 {
		w.queue[0].leading = true
		w.queue[0].wake <- true
	} else {
		w.busy = false
	}
	w.mu.Unlock()
	for _, c := range group[1:] {
		c.wake <- false
	}
	s.checkpointWhenDue(group)
}

// commit runs the group in one transaction. A batch that fails is rolled back to
// its savepoint; only what ends the whole transaction fails the others too.
func (s *Store) commit(group []*call) {
	w := &s.writer
	w.turn.Lock()
	defer w.turn.Unlock()
	c := w.conn
	now := s.now().UnixMilli()
	fail := func(err error) {
		if !c.db.AutoCommit() {
			if _, rerr := c.exec("ROLLBACK"); rerr != nil {
				s.log.Error("rollback", "error", rerr)
			}
		}
		for _, call := range group {
			if call.err == nil {
				call.err = err
			}
		}
	}
	if _, err := c.exec("BEGIN IMMEDIATE"); err != nil {
		fail(fmt.Errorf("begin: %w", err))
		return
	}
	if err := s.runAll(c, group, now); err != nil {
		fail(err)
		return
	}
	if !slices.ContainsFunc(group, func(call *call) bool { return call.err == nil }) {
		fail(nil)
		return
	}
	if err := s.faultAt(FaultBeforeCommit); err != nil {
		fail(err)
		return
	}
	if _, err := c.exec("COMMIT"); err != nil {
		fail(fmt.Errorf("commit: %w", err))
		return
	}
	if err := s.faultAt(FaultAfterCommit); err != nil {
		fail(err)
	}
}

func (s *Store) faultAt(point string) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(point)
}

// runAll gives each call its error; its own error is one that ends the group.
func (s *Store) runAll(c *conn, group []*call, now int64) error {
	for _, call := range group {
		// Whoever is alone has the transaction for a savepoint, and one statement
		// takes itself back when it fails.
		alone := len(group) == 1 || call.fn == nil && call.ops == 1
		if !alone {
			if _, err := c.exec("SAVEPOINT batch"); err != nil {
				return fmt.Errorf("savepoint: %w", err)
			}
		}
		call.err = s.run(c, call, now)
		if call.err != nil && c.db.AutoCommit() {
			return call.err // SQLite has rolled everything back: a full disk, for one
		}
		if alone {
			continue
		}
		if call.err != nil {
			if _, err := c.exec("ROLLBACK TO batch"); err != nil {
				return fmt.Errorf("roll back to savepoint: %w", err)
			}
		}
		if _, err := c.exec("RELEASE batch"); err != nil {
			return fmt.Errorf("release savepoint: %w", err)
		}
	}
	return nil
}

func (s *Store) run(c *conn, call *call, now int64) error {
	if call.fn != nil {
		return call.fn(c, now)
	}
	for i := range call.batch.Puts {
		breathe(i)
		if err := s.put(c, &call.batch.Puts[i], now); err != nil {
			return fmt.Errorf("puts[%d] in %s: %w", i, call.batch.Puts[i].Collection, err)
		}
	}
	for i := range call.batch.Deletes {
		breathe(i)
		if err := s.delete(c, &call.batch.Deletes[i], now); err != nil {
			return fmt.Errorf("deletes[%d] in %s: %w", i, call.batch.Deletes[i].Collection, err)
		}
	}
	return nil
}

// stretch is how many documents of a batch are written at a stretch.
const stretch = 8

// breathe lets others run between the stretches of a large batch. The runtime
// would take the processor away only every 10 ms, and whoever waits for it on few
// cores may be the one whom a message waits for.
func breathe(i int) {
	if i%stretch == stretch-1 {
		runtime.Gosched()
	}
}

func (s *Store) put(c *conn, p *store.Put, now int64) error {
	t := s.tables[p.Collection]
	body := p.Body
	if body == nil {
		body = []byte{} // nil would be NULL
	}
	write := func() (int64, error) {
		switch p.If {
		case store.AnyVersion:
			return c.exec(t.putAny, p.Workspace, p.ID, expiresMS(p.Expires), body, now)
		case 0:
			return c.exec(t.putNew, p.Workspace, p.ID, expiresMS(p.Expires), body, now)
		default:
			return c.exec(t.putIf, p.Workspace, p.ID, expiresMS(p.Expires), body, now, p.If)
		}
	}
	n, err := write()
	if isUnique(err) {
		evicted, everr := s.evict(c, t, p.Workspace, body, now)
		if everr != nil {
			return everr
		}
		if evicted {
			n, err = write()
		}
		if isUnique(err) {
			return fmt.Errorf("%w (%s)", store.ErrUnique, err.Error())
		}
	}
	switch {
	case err != nil:
		return err
	case n == 0:
		return store.ErrVersion
	}
	return nil
}

// evict deletes expired documents that still hold a unique value of this body.
func (s *Store) evict(c *conn, t *table, workspace string, body []byte, now int64) (bool, error) {
	var evicted int64
	for _, sql := range t.evict {
		n, err := c.exec(sql, workspace, now, body)
		if err != nil {
			return false, err
		}
		evicted += n
	}
	return evicted > 0, nil
}

func (s *Store) delete(c *conn, d *store.Delete, now int64) error {
	t := s.tables[d.Collection]
	if d.If <= 0 {
		_, err := c.exec(t.deleteAny, d.Workspace, d.ID)
		return err
	}
	n, err := c.exec(t.deleteIf, d.Workspace, d.ID, now, d.If)
	if err == nil && n == 0 {
		err = store.ErrVersion
	}
	return err
}

// expiresMS is nil for never. What a document's life is measured in is the
// millisecond, begun ones cut off.
func expiresMS(t time.Time) driver.Value {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

func isUnique(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.ExtendedCode == sqlite3.ErrConstraintUnique
}

// Apply implements store.Store.
func (s *Store) Apply(ctx context.Context, b store.Batch) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	if err := b.Check(s.declared); err != nil {
		return err
	}
	if len(b.Puts)+len(b.Deletes) == 0 {
		return ctx.Err()
	}
	c := &call{batch: b, ops: len(b.Puts) + len(b.Deletes)}
	for i := range b.Puts {
		c.bytes += len(b.Puts[i].Body)
	}
	return s.do(ctx, c)
}

// Purge frees the space of up to limit expired documents, which nobody can see
// any more, and returns how many. It takes small portions between the writes of
// others; call it again while it returns limit.
func (s *Store) Purge(ctx context.Context, limit int) (int, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.end()
	total := 0
	for _, t := range s.ordered {
		for total < limit {
			portion := min(limit-total, purgePortion)
			var n int64
			err := s.do(ctx, &call{ops: portion, fn: func(c *conn, now int64) (err error) {
				n, err = c.exec(t.purge, now, int64(portion))
				return err
			}})
			if err != nil {
				return total, fmt.Errorf("purge %s: %w", t.Name, err)
			}
			total += int(n)
			if int(n) < portion {
				break
			}
		}
	}
	return total, nil
}
