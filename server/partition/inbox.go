package partition

import (
	"sync"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
)

// inboxRecords bounds what is handed over in memory; beyond it the loop reads
// the stream, which has everything.
const (
	inboxRecords = 4096
	inboxBytes   = 64 << 20
)

// record is what the loop applies: read from the stream, or handed over by the
// writer, which has decoded it to check what it appended.
type record struct {
	eventlog.Message
	entries []engage.Entry // nil: not decoded yet
	size    int            // of one that was handed over, in bytes
}

// inbox takes landed records from the writer, in sequence order.
type inbox struct {
	mu      sync.Mutex
	records []record
	bytes   int    // of the records
	lastSeq uint64 // known to be in the log
	wake    chan struct{}
}

func (b *inbox) init() { b.wake = make(chan struct{}, 1) }

// landed takes note of a record, and takes it if it is handed over: its entries, with
// its bytes only if there is use for them.
func (b *inbox) landed(r record, handOver bool) {
	b.mu.Lock()
	b.lastSeq = max(b.lastSeq, r.Seq)
	if handOver && len(b.records) < inboxRecords && b.bytes+r.size <= inboxBytes {
		b.bytes += r.size
		b.records = append(b.records, r)
	}
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *inbox) last() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lastSeq
}

// take returns up to limit handed records that continue at next without a hole,
// and whether the log has a record at next that was not handed over.
func (b *inbox) take(next uint64, limit int) (out []record, read bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := 0
	for i < len(b.records) && b.records[i].Seq < next {
		b.bytes -= b.records[i].size
		i++ // read from the stream meanwhile
	}
	b.records = b.records[i:]
	n := 0
	for n < len(b.records) && n < limit && b.records[n].Seq == next+uint64(n) {
		n++
	}
	if n > 0 {
		out = b.records[:n:n]
		for _, r := range out {
			b.bytes -= r.size
		}
		b.records = b.records[n:]
		return out, false
	}
	return nil, b.lastSeq >= next
}
