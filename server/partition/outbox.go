package partition

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// A row of the collection "outbox" holds the outputs of one commit for one
// destination, as a log record. Its id sorts rows in the order in which they must
// leave: "<partition>/<incarnation>/<sequence>/<destination>".
type row struct {
	id      string
	dest    string
	entries []engage.Entry
}

func rowID(partition string, inc uint32, seq uint64, dest string) string {
	return fmt.Sprintf("%s/%06d/%020d/%s", partition, inc, seq, dest)
}

// maxDelivery bounds what a publisher takes at a time.
const maxDelivery = 5000

// outbox hands committed rows to one queue per destination and remembers which
// rows have left and can be deleted.
type outbox struct {
	mu     sync.Mutex
	queues map[string]*queue
	fresh  []*queue // without a publisher yet
	gone   []string // ids to delete with the next commit
	count  int      // entries under way
	space  chan struct{}
	gate   chan struct{} // closed when rows may leave
	open   bool
}

type queue struct {
	dest string
	rows []row
	wake chan struct{}
}

func (b *outbox) init() {
	b.queues = map[string]*queue{}
	b.space = make(chan struct{}, 1)
	b.gate = make(chan struct{})
}

// loadRows reads the rows that a previous run left behind.
func loadRows(ctx context.Context, s Store, partition string) (rows []row, err error) {
	q := store.Query{Workspace: store.System, IDPrefix: partition + "/"}
	err = s.Iterate(ctx, "outbox", q, func(d store.Doc) error {
		entries, err := engage.DecodeRecord(append([]byte(nil), d.Body...))
		if err != nil {
			return fmt.Errorf("%w: outbox row %s: %w", errCorrupt, d.ID, err)
		}
		// "<kind>/<index>/<incarnation>/<sequence>/<destination>"
		part := strings.SplitN(d.ID, "/", 5)
		if len(part) != 5 {
			return fmt.Errorf("%w: outbox row %s: malformed id", errCorrupt, d.ID)
		}
		rows = append(rows, row{d.ID, part[4], entries})
		return nil
	})
	return rows, err
}

func (b *outbox) add(r row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[r.dest]
	if q == nil {
		q = &queue{dest: r.dest, wake: make(chan struct{}, 1)}
		b.queues[r.dest] = q
		b.fresh = append(b.fresh, q)
	}
	q.rows = append(q.rows, r)
	b.count += len(r.entries)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// unattended returns the queues that need a publisher.
func (b *outbox) unattended() []*queue {
	b.mu.Lock()
	defer b.mu.Unlock()
	qs := b.fresh
	b.fresh = nil
	return qs
}

func (b *outbox) take(q *queue) []row {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, entries := 0, 0
	for n < len(q.rows) && (n == 0 || entries+len(q.rows[n].entries) <= maxDelivery) {
		entries += len(q.rows[n].entries)
		n++
	}
	rows := q.rows[:n:n]
	q.rows = q.rows[n:]
	return rows
}

func (b *outbox) left(rows []row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rows {
		b.gone = append(b.gone, r.id)
		b.count -= len(r.entries)
	}
	select {
	case b.space <- struct{}{}:
	default:
	}
}

func (b *outbox) takeGone() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := b.gone
	b.gone = nil
	return ids
}

// keepGone takes back ids that could not be deleted.
func (b *outbox) keepGone(ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = append(b.gone, ids...)
}

func (b *outbox) outstanding() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

// openGate lets rows leave. Normally that is when the log has been applied to the
// end it had at the start; a replay that makes more outputs than may be
// outstanding lets them go earlier, which is safe because they leave in order and
// their readers apply records strictly in order too.
func (b *outbox) openGate() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		b.open = true
		close(b.gate)
	}
}

// publish takes the rows of one destination onward, in order, until ctx ends.
func (p *Partition) publish(ctx context.Context, q *queue) error {
	select {
	case <-p.outbox.gate:
	case <-ctx.Done():
		return nil
	}
	for {
		rows := p.outbox.take(q)
		if len(rows) == 0 {
			select {
			case <-q.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		entries := rows[0].entries
		if len(rows) > 1 {
			entries = nil
			for _, r := range rows {
				entries = append(entries, r.entries...)
			}
		}
		if !p.deliver(ctx, q.dest, entries) {
			return nil
		}
		if err := p.o.Fault(FaultDelivered); err != nil {
			return err
		}
		p.outbox.left(rows)
	}
}

// deliver tries until it succeeds or ctx ends.
func (p *Partition) deliver(ctx context.Context, dest string, entries []engage.Entry) bool {
	doing := "hand outputs on to " + dest
	for wait := minPause; ; wait = min(2*wait, maxPause) {
		err := p.o.Router.Deliver(ctx, dest, entries)
		if err == nil {
			p.healed(doing)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		p.trouble(doing, err)
		if !p.pause(ctx, wait) {
			return false
		}
	}
}
