package partition_test

import (
	"fmt"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
)

// Between batches the loop looks whether states must be saved and whether somebody wants
// something of it: a few records of a busy partition must not be one batch.
func TestABatchEndsAfterAThousandEntriesOrSo(t *testing.T) {
	w := newWorld(t, partition.Fast)
	const records, each = 10, 400
	var all [][]engage.Entry
	for i := range records {
		var r []engage.Entry
		for j := range each {
			r = append(r, engage.Entry{Kind: "item", Key: fmt.Sprintf("w/i:%d", j), At: start, Body: fmt.Appendf(nil, "%d.%d", i, j)})
		}
		all = append(all, r)
	}
	w.fill(all)
	w.o.MaxBatch = 100
	batches := 0 // the loop counts, and has ended when they are read
	w.o.Fault = func(point string) error {
		if point == partition.FaultApplied {
			batches++
		}
		return nil
	}
	p := w.open(w.o)
	if !p.settle() {
		t.Fatalf("stopped: %v", <-p.done)
	}
	if n := p.Stats().Applied; n < records*each {
		t.Errorf("%d entries are applied", n)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if batches < 4 { // three records are more than a thousand entries
		t.Errorf("%d records of %d entries were %d batches", records, each, batches)
	}
}
