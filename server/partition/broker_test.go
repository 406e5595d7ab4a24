package partition_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/eventlog/natstest"
	"github.com/footfall-engage/footfall/server/partition"
)

// A nats-server process is killed and comes back, several times, under a partition
// that appends to it and reads everything from it: the partition stays, and every
// item takes effect once.
func TestABrokerThatDiesAndComesBackIsWaitedOut(t *testing.T) {
	t.Parallel()
	const items, kills = 300, 2
	server := natstest.Start(t, natstest.Options{})
	log, err := eventlog.Connect(t.Context(), eventlog.RemoteOptions{URLs: []string{server.URL()}, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	w := newWorld(t, partition.Fast)
	w.o.Log, w.o.NoHandover = log, true
	w.o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	p := w.open(w.o)
	p.settle()
	appended := make(chan error, 1)
	at := make(chan struct{}, items)
	go func() {
		for i := range items {
			e := engage.Entry{Kind: "item", Key: "w/i:a", Body: fmt.Appendf(nil, "%d", i)}
			if err := p.Append(t.Context(), []engage.Entry{e}); err != nil {
				appended <- err
				return
			}
			at <- struct{}{}
		}
		appended <- nil
	}()
	for range kills {
		for range items / (kills + 1) {
			<-at
		}
		server.Kill9()
		server.Launch()
	}
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	if !p.settle() {
		t.Fatalf("stopped: %v", <-p.done)
	}
	if tr := p.Stats().Trouble; tr != (partition.Trouble{}) {
		t.Errorf("it waits for %+v", tr)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if got := w.states.dump("state_in"); !strings.Contains(got, fmt.Sprintf(`"n":%d,`, items)) {
		t.Errorf("%d items gave %s", items, got)
	}
	if got := len(w.next.bodies()); got != items/3 {
		t.Errorf("%d outputs, want %d", got, items/3)
	}
}
