package app_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/sdkproto/client"
)

// A time of the wall clock comes to each person in their own zone, also when the server
// is started anew between two of them, and the API tells how far it has come.
func TestAScheduleReachesEachPersonInTheirZone(t *testing.T) {
	s := newStory(t) // on Saturday 21 November at 10:00 UTC
	ada := s.phone("ada", "android", nil)
	bob := s.phone("bob", "android", func(o *client.Options) { o.TimeZone = "America/New_York" })
	for _, p := range []*phone{ada, bob} {
		p.agree().background()
	}
	s.settle()
	s.flushed()
	s.campaign("lunch", func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "schedule", "schedule": map[string]any{"every": "week", "on": []string{"sat"}, "time": "12:30"}}
		delete(c, "audience")
		delete(c, "context")
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{
			"title": "Lunch at {{ trigger.type }}", "body": "is ready", "channels": []string{"push"},
		}}}
	})
	progress := func() string {
		t.Helper()
		var got struct {
			Items []struct {
				Local, State string
				Reached, Of  int
			}
		}
		s.must("GET", "/api/v1/campaigns/lunch/occurrences", nil, &got)
		return fmt.Sprint(got.Items)
	}
	s.eventually("the occurrence has begun", func() bool { return progress() == "[{2026-11-21T12:30 running 0 2}]" })
	pushed := []string{"Lunch at schedule by fcm"}
	s.clock.Advance(91 * time.Minute)
	s.eventually("ada's push", func() bool { return slices.Equal(s.pushesTo(ada), pushed) })
	s.eventually("ada is counted", func() bool { return progress() == "[{2026-11-21T12:30 running 1 2}]" })
	s.stop()
	s.phones = nil
	s.serve()
	s.clock.Advance(6 * time.Hour)
	s.eventually("bob's push", func() bool { return slices.Equal(s.pushesTo(bob), pushed) })
	s.eventually("all are counted", func() bool { return progress() == "[{2026-11-21T12:30 done 2 2}]" })
	s.settle()
	if got := s.pushesTo(ada); !slices.Equal(got, pushed) {
		t.Errorf("ada was pushed %q", got)
	}
}
