package app_test

import (
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// onEvent saves a campaign that pushes its id when somebody tracks an event of that name.
func (s *story) onEvent(id string, limits map[string]any) {
	s.t.Helper()
	s.campaign(id, func(c map[string]any) {
		c["trigger"] = map[string]any{"type": "event", "event": id}
		delete(c, "audience")
		delete(c, "context")
		c["limits"] = limits
		c["arms"] = []any{map[string]any{"id": "a", "message": map[string]any{"title": id, "body": "!", "channels": []string{"push"}}}}
	})
}

// does is a woken app that tracks an event.
func (p *phone) does(event string) {
	p.s.t.Helper()
	if _, err := p.Track(event, nil); err != nil {
		p.s.t.Fatal(err)
	}
	p.post()
	p.s.settle()
}

func TestLimitsOfTheWorkspaceHoldOverCampaignsForRealPhones(t *testing.T) {
	s := newStory(t) // on Saturday 21 November at 10:00 UTC, 11:00 where the phones are
	s.onEvent("looked", nil)
	s.onEvent("liked", map[string]any{"expire_s": 12 * 3600}) // still worth something in the morning
	var set struct{ Version int64 }
	s.must("PUT", "/api/v1/limits", map[string]any{
		"caps": []any{map[string]any{"max": 1, "calendar": "day"}}, "quiet_hours": map[string]any{"start": "22:00", "end": "07:00"},
	}, &set)
	if code := s.call("PUT", "/api/v1/limits", map[string]any{"version": set.Version, "caps": []any{map[string]any{"max": -1, "calendar": "day"}}}, nil); code != 422 {
		t.Errorf("a negative cap is answered with %d", code)
	}
	ada, bob := s.phone("ada", "android", nil), s.phone("bob", "android", nil)
	for _, p := range []*phone{ada, bob} {
		p.agree().background()
	}
	s.settle()

	ada.does("looked")
	s.want(ada, "looked", engage.Sent, "")
	ada.does("liked") // another campaign, the same day
	s.want(ada, "liked", engage.Suppressed, engage.ReasonCapGlobal)
	bob.does("liked") // another person
	s.want(bob, "liked", engage.Sent, "")

	// The next calendar day begins at midnight of the phone's zone, in quiet hours: what
	// happens then waits for their end, and runs all gates then.
	s.clock.Advance(14 * time.Hour) // 01:00
	ada.does("liked")
	d := s.want(ada, "liked", engage.Pending, "")
	if last := d.Gates[len(d.Gates)-1]; last.Reason != engage.ReasonQuiet {
		t.Errorf("it waits for %+v, want quiet hours", last)
	}
	if end := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC); d.DueAt == nil || d.DueAt.Before(end) || d.DueAt.After(end.Add(time.Hour)) {
		t.Errorf("it waits until %v, want the end of quiet hours, %v", d.DueAt, end)
	}
	if got := s.pushesTo(ada); !slices.Equal(got, []string{"looked by fcm"}) {
		t.Errorf("in quiet hours ada has %q", got)
	}
	s.clock.Advance(7 * time.Hour) // 08:00
	s.settle()
	s.want(ada, "liked", engage.Sent, "")
	s.eventually("the push of the night comes in the morning", func() bool {
		return slices.Equal(s.pushesTo(ada), []string{"looked by fcm", "liked by fcm"})
	})
	ada.does("looked")
	s.want(ada, "looked", engage.Suppressed, engage.ReasonCapGlobal)
}

func TestABudgetIsOfAllPhonesTogether(t *testing.T) {
	s := newStory(t)
	s.onEvent("won", map[string]any{"budget": map[string]any{"messages": 2}})
	var sent, refused int
	for _, name := range []string{"ada", "bob", "cy", "dee"} {
		p := s.phone(name, "android", nil)
		p.agree().background()
		s.settle()
		p.does("won")
		s.eventually(name+"'s decision is made", func() bool {
			ds := s.decisions(p, "won")
			return len(ds) == 1 && ds[0].State != engage.Pending
		})
		switch d := s.decisions(p, "won")[0]; {
		case d.State == engage.Sent:
			sent++
		case d.State == engage.Suppressed && d.Reason == engage.ReasonCapBudget:
			refused++
		default:
			t.Errorf("%s: %s %s", name, d.State, d.Reason)
		}
	}
	if sent != 2 || refused != 2 {
		t.Errorf("%d sent and %d refused of a budget of 2", sent, refused)
	}
}
