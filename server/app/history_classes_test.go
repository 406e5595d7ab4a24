package app_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/app"
)

// Of one class a timeline ends earlier than of another, as it is configured.
func TestPurchasesAreKeptForTheirOwnTime(t *testing.T) {
	s := newStory(t, func(o *app.Options) {
		o.Config.History.EventsDays, o.Config.History.PurchasesDays = 2, 20
	})
	var k struct{ Token string }
	s.must("POST", "/api/v1/write-keys", map[string]string{"name": "till", "kind": "server"}, &k)
	s.tracked(k.Token, "/v1/track", `{"userId":"ada","event":"Looked","messageId":"m1"}`)
	s.tracked(k.Token, "/v1/track", `{"userId":"ada","event":"Order Completed","properties":{"order_id":"7","total":5,"currency":"EUR"},"messageId":"m2"}`)
	s.flushed()
	told := func(query string) (classes []string) {
		var page struct{ Items []struct{ Class string } }
		s.must("GET", "/api/v1/people/user_id:ada/timeline"+query, nil, &page)
		for _, e := range page.Items {
			classes = append(classes, e.Class)
		}
		return classes
	}
	if got := told(""); len(got) != 2 || len(told("?class=events")) != 1 || len(told("?class=purchases")) != 1 || len(told("?class=visits")) != 0 {
		t.Fatalf("the timeline is %v", got)
	}
	if n := len(told("?to=" + s.clock.Now().Add(-time.Hour).UTC().Format(time.RFC3339))); n != 0 {
		t.Errorf("%d entries of before", n)
	}
	s.clock.Advance(3 * 24 * time.Hour)
	if got := told(""); len(got) != 1 || got[0] != "purchases" {
		t.Errorf("after three days it is %v", got)
	}
	s.clock.Advance(18 * 24 * time.Hour)
	if got := told(""); len(got) != 0 {
		t.Errorf("after three weeks it is %v", got)
	}
	for _, bad := range []string{"?class=everything", "?from=2027-01-02T00:00:00Z&to=2027-01-01T00:00:00Z", "?from=soon"} {
		if code := s.call("GET", "/api/v1/people/user_id:ada/timeline"+bad, nil, nil); code != 422 {
			t.Errorf("%s is answered %d", bad, code)
		}
	}
}
