package clock_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/clock"
)

var t0 = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestManualStandsStillUntilItIsAdvanced(t *testing.T) {
	c := clock.NewManual(t0.In(time.FixedZone("x", 3600)))
	if now := c.Now(); !now.Equal(t0) || now.Location() != time.UTC {
		t.Errorf("it is %v, want %v", now, t0)
	}
	past, _ := c.At(t0)
	soon, _ := c.At(t0.Add(time.Second))
	given, stop := c.At(t0.Add(time.Second))
	late, _ := c.At(t0.Add(time.Hour))
	stop()
	if !closed(past) || closed(soon) || closed(late) {
		t.Error("woken at the wrong time")
	}
	c.Advance(time.Second - 1)
	if closed(soon) {
		t.Error("woken early")
	}
	c.Advance(1)
	if !closed(soon) || closed(given) || closed(late) {
		t.Error("at its time: not woken, or woken though given up")
	}
	stop() // twice is fine
	c.Advance(2 * time.Hour)
	if !closed(late) {
		t.Error("not woken by a step beyond it")
	}
}

func TestManualWakesWhoWaitsInAnotherGoroutine(t *testing.T) {
	c := clock.NewManual(t0)
	var _ clock.Clock = c
	done := make(chan struct{})
	ch, _ := c.At(t0.Add(time.Minute))
	go func() {
		defer close(done)
		<-ch
	}()
	c.Advance(time.Minute)
	<-done
}

func TestSystemWakesWhenTheTimeHasCome(t *testing.T) {
	var c clock.Clock = clock.System{}
	if c.Now().Location() != time.UTC {
		t.Error("not in UTC")
	}
	at := c.Now().Add(5 * time.Millisecond)
	ch, stop := c.At(at)
	defer stop()
	<-ch
	if c.Now().Before(at) {
		t.Error("woken early")
	}
	past, _ := c.At(at)
	<-past
	never, stop := c.At(at.Add(time.Hour))
	stop()
	if closed(never) {
		t.Error("woken though given up")
	}
}
