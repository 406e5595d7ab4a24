package app_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// The kill switch: from its answer on nothing leaves, not what was decided before either,
// and nothing of it comes later.
func TestNothingLeavesAfterAStop(t *testing.T) {
	s := newStory(t)
	s.place("cafe", cafe)
	s.campaign("rainy-day", nil)
	mute := s.deafPhone("gus")
	mute.hello()
	mute.send(cafe)
	mute.waitOffered() // decided, offered, and not claimed yet
	s.must("PUT", "/api/v1/stop", map[string]any{"reason": "wrong price"}, nil)
	if mute.claim() {
		t.Error("a claim was granted after the stop")
	}
	s.clock.Advance(3 * time.Second) // a push would go now
	s.want(mute.phone, "rainy-day", engage.Failed, engage.ReasonSendStopped)

	ada := s.phone("ada", "android", nil).agree().likes("fashion").background()
	ada.at(cafe, 10).post()
	s.want(ada, "rainy-day", engage.Suppressed, engage.ReasonStopped)

	if code := s.call("DELETE", "/api/v1/stop", nil, nil); code != 204 {
		t.Fatalf("to go on is answered by %d", code)
	}
	ben := s.phone("ben", "android", nil).agree().likes("fashion").background()
	ben.at(cafe, 10).post()
	s.eventually("a push reaches Ben", func() bool { return len(s.pushesTo(ben)) == 1 })
	s.settle()
	if n, m := len(s.pushesTo(mute.phone)), len(s.pushesTo(ada)); n+m != 0 {
		t.Errorf("after it went on, %d and %d pushes came for what was stopped", n, m)
	}
}

// What a campaign had decided and not sent when it was paused or ended is not sent.
func TestWhatWaitsOfAPausedOrEndedCampaignIsNotSent(t *testing.T) {
	for _, status := range []string{"paused", "ended", "review"} {
		t.Run(status, func(t *testing.T) {
			s := newStory(t)
			s.place("cafe", cafe)
			s.campaign("rainy-day", nil)
			mute := s.deafPhone("gus")
			mute.hello()
			mute.send(cafe)
			mute.waitOffered()
			s.must("POST", "/api/v1/campaigns/rainy-day/status", map[string]any{"status": status}, nil)
			if mute.claim() {
				t.Error("a claim was granted")
			}
			s.clock.Advance(3 * time.Second)
			s.want(mute.phone, "rainy-day", engage.Failed, engage.ReasonSendPaused)
			s.settle()
			if n := len(s.pushesTo(mute.phone)); n != 0 {
				t.Errorf("%d pushes went", n)
			}
		})
	}
}
