package deliver_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/deliver/delivertest"
	"github.com/footfall-engage/footfall/server/engage"
)

// arrivals is a provider that says when a push reached it.
type arrivals chan time.Time

func (a arrivals) Send(context.Context, channels.Message) (channels.Outcome, error) {
	a <- time.Now()
	return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
}

func (a arrivals) Sender(context.Context, string, string, string) (channels.Sender, string, error) {
	return a, "app", nil
}

type deaf struct{}

func (deaf) Outcome(context.Context, string, string, engage.DeliveryOutcome) error { return nil }
func (deaf) TokenDead(context.Context, string, engage.TokenDead) error             { return nil }
func (deaf) TokenEnvironment(context.Context, string, engage.TokenEnvironment) error {
	return nil
}

func runBench(b *testing.B, a arrivals) *deliver.Deliverer {
	b.Helper()
	d, err := deliver.New(deliver.Options{
		Ledger: delivertest.NewLedger(clock.System{}), Sessions: &sessions{open: map[string]bool{}}, Senders: a, Outcomes: deaf{}, Clock: clock.System{},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	if err := d.Accept(ctx, []engage.Send{benchSend("warm")}); err != nil {
		b.Fatal(err)
	}
	<-a
	return d
}

func benchSend(id string) engage.Send {
	s := send(id, phone("a"))
	s.ExpiresAt = time.Now().Add(time.Hour)
	return s
}

// BenchmarkAcceptToSend is the time from Accept to the provider's door, one send
// at a time, with the ledger in memory.
func BenchmarkAcceptToSend(b *testing.B) {
	a := make(arrivals, 1)
	d := runBench(b, a)
	var took []time.Duration
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s := []engage.Send{benchSend(fmt.Sprint(i))}
		i++
		start := time.Now()
		if err := d.Accept(b.Context(), s); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-a).Sub(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkThroughput is how many deliveries go from Accept to their end, 64 to a
// batch, with the ledger in memory.
func BenchmarkThroughput(b *testing.B) {
	a := make(arrivals, 1<<16)
	d := runBench(b, a)
	b.ReportAllocs()
	const n = 64
	i := 0
	for b.Loop() {
		sends := make([]engage.Send, n)
		for j := range sends {
			sends[j] = benchSend(fmt.Sprint(i, j))
		}
		i++
		if err := d.Accept(b.Context(), sends); err != nil {
			b.Fatal(err)
		}
		for range n {
			<-a
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(i*n), "µs/delivery")
}
