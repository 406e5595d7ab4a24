package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/lab/flaky"
)

// A phone that is cut off at random moments, in every way a network has for it,
// while its app is killed and started again, and while its socket and its POSTs
// race: every item takes effect exactly once, and in the order in which the app
// made them. The server is the whole one; what took effect is read where people
// look at it.
func TestAPhoneOnAFlakyNetworkLosesNothingAndDoublesNothing(t *testing.T) {
	const cuts, items, seed = 1000, 10_000, 20
	var network *flaky.Proxy
	s := newStory(t)
	ctx, stop := context.WithCancel(t.Context())
	network, err := flaky.New(ctx, flaky.Options{
		Target: strings.TrimPrefix(s.url, "http://"), Cuts: cuts, Seed: seed, MaxBytes: 8 << 10, MaxTime: 100 * time.Millisecond,
		// What one phone may bring is limited by the server's clock, which stands still.
		OnCut: func(int) { s.clock.Advance(500 * time.Millisecond) },
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- network.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})

	rng := rand.New(rand.NewPCG(seed, 1))
	store := new(client.MemStore)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	seen := &seenBatches{sent: map[uint64]int{}, acked: map[uint64]int{}}
	lives := 0
	// live starts the app on what its last life has left.
	live := func() *phone {
		lives++
		return s.phone("flaky", "android", func(o *client.Options) {
			o.Endpoint, o.Store, o.BootID = network.URL(), store, fmt.Sprint("boot ", lives/5)
			o.HTTPClient = &http.Client{Transport: transport}
			o.Caps = append(client.Features(), sdkproto.CapBubble)
			o.BackoffMin, o.BackoffMax, o.AckAfter = time.Millisecond, 8*time.Millisecond, 5*time.Millisecond
			o.OnRegions = func(*sdkpb.Regions) []*sdkpb.RegionFailure { return nil }
			o.OnAcked, o.OnReject = seen.ack, seen.refuse
			o.MaxQueue = 2 * items // a slow machine may not have acknowledged anything yet
			o.OnDropped = func(i *sdkpb.Item) { t.Errorf("the queue was full: item %d is dropped", i.Seq) }
			o.Codec = seen.codec(sdkproto.Protobuf{})
			if lives%2 == 0 {
				o.Codec = seen.codec(sdkproto.JSON{})
			}
		})
	}
	p := live()
	var poster sync.WaitGroup
	var stopPoster context.CancelFunc
	// foreground opens the socket, and has POSTs race with it.
	foreground := func() {
		if err := p.Foreground(ctx); err != nil {
			t.Fatal(err)
		}
		var postCtx context.Context
		postCtx, stopPoster = context.WithCancel(ctx)
		poster.Go(func() {
			for postCtx.Err() == nil {
				err := p.PostBatch(postCtx)
				if terminal, ok := errors.AsType[*client.TerminalError](err); ok {
					t.Errorf("the server said never again: %v", terminal)
					return
				}
				wait(postCtx, 4*time.Millisecond)
			}
		})
	}
	foreground()
	p.agree()
	made, during, identified, limit := 0, 0, false, cuts
	for deadline := time.Now().Add(2 * time.Minute); ; {
		done := network.Counts().Cuts
		if made == items && done == limit {
			break
		}
		if made < items && done > limit-50 { // a slow machine: it is cut until all is made
			network.More(100)
			limit += 100
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d items, %d of %d cuts", made, items, done, limit)
		}
		// As many items as the cuts so far stand for, in bursts; a slow machine makes
		// fewer meanwhile, so that what waits fits into a connection of these.
		n := min(items, done*items/cuts+rng.IntN(30))
		if done < limit {
			n = min(n, made+max(0, 150-p.Pending()))
			during = made
		}
		for ; made < n; made++ {
			if made == items/2 {
				p.identify("ada")
				identified = true
			}
			if _, err := p.Track("step", map[string]any{"n": made}); err != nil {
				t.Fatal(err)
			}
		}
		if rng.IntN(60) == 0 { // the OS kills the app
			stopPoster()
			p.Close()
			poster.Wait()
			s.forget(p)
			p = live()
			foreground()
		}
		wait(ctx, time.Millisecond)
	}
	s.eventually("everything is acknowledged", func() bool {
		s.clock.Advance(500 * time.Millisecond)
		return p.Pending() == 0
	})
	stopPoster()
	p.Close()
	poster.Wait()
	s.settle()
	if err := s.app.Flush(ctx); err != nil {
		t.Fatal(err)
	}

	saved, err := store.Load()
	if err != nil {
		t.Fatal(err)
	}
	last := saved.NextSeq - 1
	accepted, err := s.app.Accepted(ctx, "default", p.install)
	if err != nil || len(accepted) != 1 || accepted[0] != [2]uint64{1, last} {
		t.Errorf("the server has accepted %v of 1 to %d, %v", accepted, last, err)
	}
	next, bound := 0, 0
	err = s.app.Timeline(ctx, "default", func(e engage.TimelineEntry) error {
		var said struct {
			Event      string
			Properties struct{ N int }
		}
		switch e.Kind {
		case engage.KindAbsorb:
			bound++
		case engage.KindTrigger:
			if err := json.Unmarshal(e.Data, &said); err != nil {
				return err
			}
			if said.Event != "step" {
				return nil
			}
			if said.Properties.N != next {
				t.Errorf("event %d took effect where %d should have", said.Properties.N, next)
				next = said.Properties.N
			}
			next++
		}
		return nil
	})
	if err != nil || next != items || bound != 1 || !identified {
		t.Errorf("%d events in order, %d identified, %v", next, bound, err)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.refused) > 0 {
		t.Errorf("refused: %v", seen.refused)
	}
	total := 0
	for seq := uint64(1); seq <= last; seq++ {
		total += seen.sent[seq]
		if seen.acked[seq] != 1 {
			t.Errorf("the app was told %d times that item %d is acknowledged", seen.acked[seq], seq)
		}
	}
	c := network.Counts()
	if during < items/2 {
		t.Errorf("only %d items were made before the last cut", during)
	}
	t.Logf("%d cuts of %d connections (%d refused, %d reset, %d ended, %d replies lost, %d unheard), %d starts of the app, %d sessions resumed; %d items, %d of them before the last cut, %d sent again, %d bytes up",
		c.Cuts, c.Connections, c.Refused, c.Reset, c.Ended, c.RepliesLost, c.Unheard, lives, seen.resumed.Load(), last, during, total-int(last), c.BytesUp)
}

// wait lets a moment pass.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// forget takes a phone off the story's list, for another with its install.
func (s *story) forget(p *phone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.phones {
		if x == p {
			s.phones = append(s.phones[:i], s.phones[i+1:]...)
			return
		}
	}
}

// seenBatches counts what a phone sends, and what it hears of that.
type seenBatches struct {
	resumed atomic.Int64

	mu      sync.Mutex
	sent    map[uint64]int
	acked   map[uint64]int
	refused []string
}

func (s *seenBatches) refuse(i *sdkpb.Item, r *sdkpb.Reject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = append(s.refused, fmt.Sprintf("%d %s %s %s", i.Seq, r.Code, r.Field, r.Reason))
}

func (s *seenBatches) ack(i *sdkpb.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked[i.Seq]++
}

func (s *seenBatches) wrote(b *sdkpb.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range b.Items {
		s.sent[i.Seq]++
	}
}

func (s *seenBatches) codec(c sdkproto.Codec) sdkproto.Codec { return countingCodec{c, s} }

type countingCodec struct {
	sdkproto.Codec
	seen *seenBatches
}

func (c countingCodec) AppendFrame(msg []byte, f *sdkpb.Frame) ([]byte, error) {
	if f.Batch != nil {
		c.seen.wrote(f.Batch)
	}
	return c.Codec.AppendFrame(msg, f)
}

func (c countingCodec) DecodeFrames(msg []byte, limit int) ([]*sdkpb.Frame, error) {
	frames, err := c.Codec.DecodeFrames(msg, limit)
	for _, f := range frames {
		if f.GetHelloOk().GetResumed() {
			c.seen.resumed.Add(1)
		}
	}
	return frames, err
}

func (c countingCodec) Marshal(m proto.Message) ([]byte, error) {
	if b, ok := m.(*sdkpb.Batch); ok {
		c.seen.wrote(b)
	}
	return c.Codec.Marshal(m)
}
