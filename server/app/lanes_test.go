package app_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/sdkproto/client"
	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/clock"
	"github.com/footfall-engage/footfall/server/deliver"
	"github.com/footfall-engage/footfall/server/engage"
)

// stuck is a provider that takes a message of the bulk lane only when it is permitted
// to, and a live one at once. It says what it is sent.
type stuck struct {
	*backlog
	permits chan struct{}
	live    chan string
}

func (s *stuck) Sender(context.Context, string, string, string) (channels.Sender, string, error) {
	return s, "project", nil
}

func (s *stuck) Send(ctx context.Context, m channels.Message) (channels.Outcome, error) {
	if strings.HasPrefix(m.DeliveryID, "live") {
		s.live <- m.DeliveryID
		return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
	}
	select {
	case <-s.permits:
		return channels.Outcome{Kind: channels.Accepted, Status: 200}, nil
	case <-ctx.Done():
		return channels.Outcome{}, ctx.Err()
	}
}

func (s *stuck) Outcome(context.Context, string, string, engage.DeliveryOutcome) error { return nil }

// 20,000 of a big campaign wait at a provider that takes none of them: what a person's
// moment sends by the same credential goes at once. No second is measured: a live
// message that had to wait for a bulk one would wait for ever.
func TestABacklogInTheBulkLaneDelaysNoLiveMessage(t *testing.T) {
	const n, slots = 20_000, 16
	ledger, closeLedger, err := app.OpenLedger(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, closer(closeLedger))
	s := &stuck{backlog: &backlog{}, permits: make(chan struct{}), live: make(chan string, 1)}
	d, err := deliver.New(deliver.Options{
		Ledger: ledger, Sessions: s, Senders: s, Outcomes: s, Clock: clock.System{}, MaxInFlight: slots, Limits: &deliver.Limits{},
		Drain: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	make1 := func(id string, bulk bool, i int) engage.Send {
		out := backlogSend(i)
		out.Delivery, out.Bulk, out.Workspace = id, bulk, "shop"
		return out
	}
	for i := 0; i < n; i += 500 {
		var sends []engage.Send
		for j := i; j < i+500; j++ {
			sends = append(sends, make1(fmt.Sprintf("bulk%d", j), true, j))
		}
		if err := d.Accept(ctx, sends); err != nil {
			t.Fatal(err)
		}
	}
	bound := time.After(time.Minute)
	for i := range 60 {
		id := fmt.Sprintf("live%d", i)
		if err := d.Accept(ctx, []engage.Send{make1(id, false, n+i)}); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-s.live:
			if got != id {
				t.Fatalf("%s went, want %s", got, id)
			}
		case <-bound:
			t.Fatalf("%s waits for the bulk lane", id)
		}
		if i < 30 { // while all bulk slots are taken; then while the backlog moves
			continue
		}
		for range 5 {
			select {
			case s.permits <- struct{}{}:
			case <-bound:
				t.Fatal("the bulk lane stands still")
			}
		}
	}
	waits, err := ledger.Waiting(ctx, "push/")
	if err != nil || waits < n-30*5-slots {
		t.Errorf("%d wait, want %d but for the slots: %v", waits, n-30*5, err)
	}
}

type closer func() error

func (c closer) Close() error { return c() }

// From what a marketer says to the queue of the credential.
func TestACampaignOfTheBulkLaneWaitsThere(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("rainy-day", nil)
	s.campaign("for-all", func(c map[string]any) {
		c["lane"] = "bulk"
		c["trigger"] = map[string]any{"type": "event", "event": "sale"}
		delete(c, "context")
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{"title": "Sale"}}}
	})
	var saved engage.Campaign
	s.must("GET", "/api/v1/campaigns/for-all", nil, &saved)
	if saved.Lane != engage.BulkLane {
		t.Errorf("it is saved with the lane %q", saved.Lane)
	}
	team, _, p8 := s.apns.Key()
	var made struct{ Key string }
	s.must("POST", "/api/v1/apps", map[string]any{
		"id": "tablet", "name": "Tablet", "platform": "ios", "bundle_id": "com.example.shop",
		"apns": map[string]any{"team_id": team, "key_id": "REVOKED123", "private_key": string(p8)},
	}, &made)
	ben := s.phone("i-ben", "ios", func(o *client.Options) { o.AppKey = made.Key }).agree().likes("fashion").background()
	ben.at(cafe, 10).post()
	if _, err := ben.Track("sale", nil); err != nil {
		t.Fatal(err)
	}
	ben.post()
	type answer struct {
		Items []struct {
			App        string
			Live, Bulk struct{ Waiting int }
		}
	}
	var a answer
	s.eventually("one waits in each lane of the credential, which is refused", func() bool {
		s.must("GET", "/api/v1/channels", nil, &a)
		c := a.Items[2]
		return c.App == "tablet" && c.Live.Waiting == 1 && c.Bulk.Waiting == 1
	})
}
