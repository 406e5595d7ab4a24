package partition_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
)

// Of many states the memory has as many as their bytes allow, what changed is saved when
// it is too much, however rarely the clock would have it saved, and the results are those
// of a partition that keeps all.
func TestStatesInMemoryAreBoundedByTheirBytes(t *testing.T) {
	const keys, rounds = 3000, 3
	var long [][]engage.Entry
	for i := range keys * rounds / 10 {
		var r []engage.Entry
		for j := range 10 {
			n := i*10 + j
			r = append(r, engage.Entry{Kind: "item", Key: fmt.Sprintf("w/i:%d", n*7%keys), At: start, Body: fmt.Append(nil, n)})
		}
		long = append(long, r)
	}
	run := func(mode partition.Mode, most int64) (result, partition.Stats, int64) {
		t.Helper()
		w := newWorld(t, mode)
		w.fill(long)
		w.o.MaxStateBytes, w.o.CheckpointEvery, w.o.MaxBatch = most, time.Hour, 8
		var saves atomic.Int64
		w.o.Fault = func(point string) error {
			if point == partition.FaultStatesAfter {
				saves.Add(1)
			}
			return nil
		}
		p := w.open(w.o)
		if !p.settle() {
			t.Fatalf("stopped: %v", <-p.done)
		}
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
		return w.result(), p.Stats(), saves.Load()
	}
	want, all, once := run(partition.Fast, 0)
	if all.States < keys || all.StateBytes < keys*64 || once != 1 {
		t.Fatalf("without a bound %d states of %d bytes are kept after %d saves", all.States, all.StateBytes, once)
	}
	const most = 100 << 10
	got, few, saves := run(partition.Fast, most)
	got.equal(t, want, "with a bound")
	if few.StateBytes > most || few.States == 0 || few.States > keys/2 {
		t.Errorf("%d states of %d bytes are kept, at most %d bytes may be", few.States, few.StateBytes, most)
	}
	if saves < 5 {
		t.Errorf("%d saves", saves)
	}
	got, few, _ = run(partition.Reference, most)
	got.equal(t, want, "reference, with a bound")
	if few.StateBytes > most {
		t.Errorf("reference: %d bytes are kept", few.StateBytes)
	}
}
