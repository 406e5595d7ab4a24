package partition_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
)

// Two processes with the same log and store, as when an operator starts a second
// one: the newer owns the partition, the older commits nothing any more, and what
// it had appended takes effect once.
func TestTheNewestProcessOwnsThePartition(t *testing.T) {
	for _, mode := range []partition.Mode{partition.Reference, partition.Fast} {
		t.Run(string(mode), func(t *testing.T) {
			item := func(i int) []engage.Entry {
				return []engage.Entry{{Kind: "item", Key: "w/i:1", At: start, Body: fmt.Appendf(nil, "%d", i)}}
			}
			w := newWorld(t, mode)
			old := w.open(w.o)
			for i := range 20 {
				if err := old.Append(t.Context(), item(i)); err != nil {
					t.Fatal(err)
				}
			}
			if !old.settle() {
				t.Fatalf("stopped: %v", <-old.done)
			}
			newer := w.open(w.o)
			if !newer.settle() {
				t.Fatalf("the newer stopped: %v", <-newer.done)
			}
			// The phones of the old one are acknowledged: their items are in the log.
			// One that a checkpoint has told of the newer one takes no more.
			acked := uint64(0)
			for i := 20; i < 40; i++ {
				if err := old.Append(t.Context(), item(i)); err != nil {
					break
				}
				acked++
			}
			select {
			case err := <-old.done:
				if !errors.Is(err, partition.ErrFenced) {
					t.Fatalf("the older stopped by %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the older commits on")
			}
			landed := newer.Stats().Landed
			if err := newer.Append(t.Context(), item(99)); err != nil {
				t.Fatal(err)
			}
			if !newer.settle() {
				t.Fatalf("the newer stopped: %v", <-newer.done)
			}
			if got := newer.Stats(); got.Position < landed+1+min(acked, 1) {
				t.Fatalf("the newer is at %d; the older had appended %d after %d", got.Position, acked, landed)
			}
			if err := newer.end(); err != nil {
				t.Fatal(err)
			}
			got := w.result()

			// The same log, applied by one alone.
			alone := newWorld(t, mode)
			alone.o.Log = w.log
			p := alone.open(alone.o)
			if !p.settle() {
				t.Fatalf("stopped: %v", <-p.done)
			}
			if err := p.end(); err != nil {
				t.Fatal(err)
			}
			got.equal(t, alone.result(), "after a takeover")
		})
	}
}
