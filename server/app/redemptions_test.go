package app_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/footfall-engage/footfall/server/engage"
)

// A code goes from the upload to a screen and over a till: of many tills at once one has
// it, also after a restart, and the person, the campaign and the offer know of it.
func TestACodeGoesFromTheScreenOverTheTill(t *testing.T) {
	s := newStory(t)
	s.must("PUT", "/api/v1/offers/gift", map[string]any{"name": "Gift", "status": "active", "kind": "gift", "codes": "unique", "worth": 3, "currency": "EUR", "total": 5}, nil)
	s.must("POST", "/api/v1/offers/gift/codes", map[string]any{"codes": []string{"GIFT-A"}}, nil)
	s.campaign("gifts", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "event", "event": "tick"}
		c["audience"], c["context"] = nil, nil
		c["offer"] = "gift"
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{"title": "{{ offer.code }}", "body": "For you", "channels": []string{"in_app"}}}}
	})
	p := s.phone("ada", "android", nil).agree().foreground()
	if _, err := p.Track("tick", nil); err != nil {
		t.Fatal(err)
	}
	s.eventually("the phone shows its code", func() bool { return len(p.shows()) == 1 })
	var wins, losses atomic.Int32
	at := func(round int) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				var answer struct{ Code engage.Code }
				body := map[string]any{"id": fmt.Sprint("till-", round, "-", i), "code": p.shows()[0], "value": 12.5}
				switch code := s.call("POST", "/api/v1/redemptions", body, &answer); {
				case code == 201:
					wins.Add(1)
				case code == 409 && answer.Code == engage.TillAlready:
					losses.Add(1)
				default:
					t.Errorf("status %d, code %s", code, answer.Code)
				}
			})
		}
		wg.Wait()
	}
	at(1)
	if err := s.app.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.serve()
	at(2)
	if wins.Load() != 1 || losses.Load() != 15 {
		t.Fatalf("%d tills have the code, %d were told that it is taken", wins.Load(), losses.Load())
	}
	if err := s.app.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.app.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var results struct {
		Totals struct {
			Redeemed      int64
			RedeemedValue map[string]float64 `json:"redeemed_value"`
		}
	}
	s.must("GET", "/api/v1/campaigns/gifts/results", nil, &results)
	if results.Totals.Redeemed != 1 || results.Totals.RedeemedValue["EUR"] != 12.5 {
		t.Errorf("results: %+v", results)
	}
	var o struct{ Issued, Redeemed int64 }
	s.must("GET", "/api/v1/offers/gift", nil, &o)
	if o.Issued != 1 || o.Redeemed != 1 {
		t.Errorf("the offer: %+v", o)
	}
	var list struct{ Items []engage.Redemption }
	s.must("GET", "/api/v1/redemptions?offer=gift", nil, &list)
	if len(list.Items) != 1 || list.Items[0].Campaign != "gifts" || list.Items[0].Profile == "" || list.Items[0].Worth != 3 {
		t.Fatalf("listed: %+v", list.Items)
	}
	var line struct{ Items []struct{ Kind engage.Kind } }
	s.must("GET", "/api/v1/people/"+list.Items[0].Profile+"/timeline?class=purchases", nil, &line)
	if len(line.Items) != 1 || line.Items[0].Kind != engage.KindRedemption {
		t.Errorf("the timeline: %+v", line)
	}
}
