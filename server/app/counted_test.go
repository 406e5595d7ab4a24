package app_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/app"
	"github.com/footfall-engage/footfall/server/engage"
)

type countedResults struct {
	Totals     map[string]any
	Suppressed []struct {
		Reason engage.Reason
		Count  int64
	}
	Series []struct {
		From       time.Time
		Suppressed int64
		Reasons    map[engage.Reason]int64
	}
}

// Counts by the hour and by the day are those of the clock, also over a restart; with the
// retention that is configured the hours go, and the decisions with their traces, and the
// days and the sums stay.
func TestCountsOverTimeAndTheirRetentionFollowTheClock(t *testing.T) {
	s := newStory(t, func(o *app.Options) {
		o.Config.History.ResultHoursDays, o.Config.History.ResultDays, o.Config.History.MessagesDays = 2, 30, 2
	})
	s.campaign("look", func(c map[string]any) {
		delete(c, "audience")
		delete(c, "context")
		c["trigger"] = map[string]any{"type": "event", "event": "Looked"}
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{"title": "Hello", "body": "You"}}}
	})
	var k struct{ Token string }
	s.must("POST", "/api/v1/write-keys", map[string]string{"name": "till", "kind": "server"}, &k)
	n := 0
	look := func(persons int) {
		t.Helper()
		for range persons { // of both partitions; nobody has agreed to marketing
			n++
			s.tracked(k.Token, "/v1/track", fmt.Sprintf(`{"userId":"u%d","event":"Looked","messageId":"m%d"}`, n, n))
		}
		s.settle()
	}
	results := func(query string) (r countedResults) {
		t.Helper()
		s.flushed()
		s.must("GET", "/api/v1/campaigns/look/results?"+query, nil, &r)
		return r
	}
	begin := s.clock.Now().UTC().Truncate(time.Hour) // 10:00 on a Saturday
	look(3)
	s.clock.Advance(time.Hour)
	look(2)
	s.stop()
	s.serve()
	look(1)
	s.clock.Advance(12 * time.Hour) // 23:00, when it is Sunday in Amsterdam
	look(4)
	s.clock.Advance(2 * time.Hour)
	look(5)

	r := results("by=hour")
	want := map[time.Duration]int64{0: 3, time.Hour: 3, 13 * time.Hour: 4, 15 * time.Hour: 5}
	if len(r.Series) != len(want) || r.Totals["suppressed"] != 15.0 {
		t.Fatalf("hours %+v", r)
	}
	for _, x := range r.Series {
		if x.Suppressed != want[x.From.Sub(begin)] || x.Reasons[engage.ReasonConsent] != x.Suppressed {
			t.Errorf("%v: %+v", x.From, x)
		}
	}
	if r = results("by=hour&from=" + begin.Add(time.Hour).Format(time.RFC3339) + "&to=" + begin.Add(13*time.Hour).Format(time.RFC3339)); len(r.Series) != 1 || r.Totals["suppressed"] != 3.0 {
		t.Errorf("some hours %+v", r)
	}
	if r = results("by=day"); len(r.Series) != 2 || r.Series[0].Suppressed != 10 || r.Series[1].Suppressed != 5 {
		t.Errorf("days %+v", r.Series)
	}
	if r = results("zone=Europe/Amsterdam"); len(r.Series) != 2 || r.Series[0].Suppressed != 6 || r.Series[1].Suppressed != 9 {
		t.Errorf("days of Amsterdam %+v", r.Series)
	}
	var kept struct{ Items []any }
	s.must("GET", "/api/v1/decisions?campaign=look", nil, &kept)
	if len(kept.Items) != 15 {
		t.Errorf("%d decisions", len(kept.Items))
	}

	s.clock.Advance(4 * 24 * time.Hour)
	look(1)
	if r = results("by=hour&from=" + begin.Format(time.RFC3339)); len(r.Series) != 2 { // the one that had not ended then, and the present one
		t.Errorf("hours after their retention %+v", r.Series)
	}
	if r = results("by=day"); len(r.Series) != 3 || r.Totals["suppressed"] != 16.0 {
		t.Errorf("days after four %+v", r.Series)
	}
	if r = results(""); r.Totals["suppressed"] != 16.0 || len(r.Suppressed) != 1 || r.Suppressed[0].Count != 16 {
		t.Errorf("since ever %+v", r)
	}
	s.must("GET", "/api/v1/decisions?campaign=look", nil, &kept)
	if len(kept.Items) != 1 {
		t.Errorf("%d decisions are left after their retention", len(kept.Items))
	}
}
