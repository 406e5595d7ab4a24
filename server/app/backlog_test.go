package app_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
)

// maxBacklogHeap is what deliver may hold in memory whatever waits for it, in bytes of
// live heap: attempts under way, a page of each lane, the paces of 100,000 devices.
const maxBacklogHeap = 64 << 20

// A backlog waits on disk, not in memory: it is queued while the provider takes nothing,
// then drained, and each message goes once and is told once. FOOTFALL_TEST_SENDS is how
// many there are (5,000); the bound on the heap does not depend on it.
func TestABacklogIsQueuedAndDrainedInBoundedMemory(t *testing.T) {
	n := 5000
	if s := os.Getenv("FOOTFALL_TEST_SENDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			t.Fatalf("FOOTFALL_TEST_SENDS=%q: want a number of messages", s)
		}
	}
	ledger, closeLedger, err := app.OpenLedger(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := closeLedger(); err != nil {
			t.Error(err)
		}
	}()
	b := &backlog{sent: make([]atomic.Uint32, n), told: make([]atomic.Uint32, n), open: make(chan struct{}), all: make(chan struct{})}
	d, err := deliver.New(deliver.Options{
		Ledger: ledger, Sessions: b, Senders: b, Outcomes: b, Clock: clock.System{},
		Limits: &deliver.Limits{FCM: deliver.Rates{DevicePerMin: 240, DevicePerHour: 5000}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	letGo := sync.OnceFunc(func() { close(b.open) })
	defer func() {
		letGo()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()

	// The arrays that count are the test's own, and there before anything is measured.
	base, most := liveHeap(), uint64(0)
	measure := func() {
		if now := liveHeap(); now > base {
			most = max(most, now-base)
		}
	}
	const batch = 500
	for i := 0; i < n; i += batch {
		sends := make([]engage.Send, 0, batch)
		for j := i; j < min(i+batch, n); j++ {
			sends = append(sends, backlogSend(j))
		}
		if err := d.Accept(ctx, sends); err != nil {
			t.Fatal(err)
		}
		if (i/batch)%(n/batch/16+1) == 0 {
			measure()
		}
	}
	measure()
	if waits, err := ledger.Waiting(ctx, "push/"); err != nil || waits < n/2 {
		t.Errorf("%d of %d wait in the ledger: %v", waits, n, err)
	}
	letGo()
	for drained := false; !drained; {
		select {
		case <-b.all:
			drained = true
		case <-time.After(time.Second):
		}
		measure()
	}
	for i := range n {
		if sent, told := b.sent[i].Load(), b.told[i].Load(); sent != 1 || told != 1 {
			t.Fatalf("message %d: sent %d times, told %d times", i, sent, told)
		}
	}
	t.Logf("%d messages, at most %.1f MiB of live heap", n, float64(most)/(1<<20))
	if most > maxBacklogHeap {
		t.Errorf("%d bytes of live heap, want at most %d", most, maxBacklogHeap)
	}
}

// liveHeap is what is in use, in bytes.
func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// backlogSend is the ith message: three workspaces, four campaigns each, a quarter in
// the bulk lane, each to a phone of its own.
func backlogSend(i int) engage.Send {
	id, now := strconv.Itoa(i), time.Now().UTC()
	return engage.Send{
		Delivery: id, Workspace: fmt.Sprintf("shop%d", i%3), Campaign: fmt.Sprintf("campaign%d", i%4), Arm: "a",
		Profile: "person" + id, Class: engage.Marketing, Bulk: i%16 < 4, Title: "Umbrella?", Body: "It rains",
		Channels: []engage.Channel{engage.Push}, DecidedAt: now, ExpiresAt: now.Add(24 * time.Hour), RetryAmbiguous: true,
		Devices: []engage.Device{{
			Install: "phone" + id, App: "app", Platform: "android", Notifications: "granted", SeenAt: now,
			Push: &engage.PushTarget{Provider: "fcm", Token: engage.Secret("token" + id)},
		}},
	}
}

// backlog is everything around deliver: a provider that takes nothing until it is open,
// and counts of what it was sent and what decide was told.
type backlog struct {
	sent, told []atomic.Uint32
	ends       atomic.Int64
	open, all  chan struct{} // all is closed when as many were told as there are
}

func (b *backlog) Sender(context.Context, string, string, string) (channels.Sender, string, error) {
	return b, "project", nil
}

func (b *backlog) Send(ctx context.Context, m channels.Message) (channels.Outcome, error) {
	select {
	case <-b.open:
	case <-ctx.Done():
		return channels.Outcome{}, ctx.Err()
	}
	i, err := strconv.Atoi(m.DeliveryID)
	if err != nil {
		return channels.Outcome{Kind: channels.Rejected, Reason: "unknown_delivery"}, nil
	}
	b.sent[i].Add(1)
	return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
}

func (b *backlog) Outcome(_ context.Context, _, _ string, o engage.DeliveryOutcome) error {
	i, err := strconv.Atoi(o.Delivery)
	if err != nil {
		return fmt.Errorf("told of %q: %w", o.Delivery, err)
	}
	if o.State == engage.DeliveryAccepted {
		b.told[i].Add(1)
	}
	if b.ends.Add(1) == int64(len(b.told)) {
		close(b.all)
	}
	return nil
}

func (b *backlog) TokenDead(context.Context, string, engage.TokenDead) error { return nil }

func (b *backlog) TokenEnvironment(context.Context, string, engage.TokenEnvironment) error {
	return nil
}

func (b *backlog) Offer(string, string, *sdkpb.Message) bool { return false }

func (b *backlog) InboxChanged(string, string) {}
