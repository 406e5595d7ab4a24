package deliver

import (
	"fmt"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// drain takes all that the rate gives in a time, in steps of 10 ms, and returns how much.
func drain(r *rate, now *time.Time, over time.Duration) (n int) {
	for end := now.Add(over); now.Before(end); *now = now.Add(10 * time.Millisecond) {
		for r.limited() && r.take(*now) {
			n++
		}
	}
	return n
}

func within(t *testing.T, what string, got, low, high int) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: %d, want %d to %d", what, got, low, high)
	}
}

func TestRateClimbsToItsLimitInAMinuteAndFallsBackWhenIdle(t *testing.T) {
	now := start
	r := newRate(Rates{PerMin: 600_000, Ramp: time.Minute}, now)
	within(t, "first second", drain(&r, &now, time.Second), 150, 500)
	within(t, "first minute", drain(&r, &now, time.Minute), 280_000, 330_000)
	within(t, "second minute", drain(&r, &now, time.Minute), 590_000, 601_000)
	now = now.Add(30 * time.Second) // half of the way down
	within(t, "after half a minute", drain(&r, &now, time.Second), 4500, 5800)
	now = now.Add(10 * time.Minute)
	within(t, "after ten minutes", drain(&r, &now, time.Second), 150, 500)
}

// A stream that goes on evenly waits for the ramp while it begins at most, however fast it
// is: whoever enters a place is not to be told half a second later because others did.
func TestAnEvenStreamDoesNotWaitForTheRamp(t *testing.T) {
	for _, perS := range []int{50, 150, 200, 400, 1000, 4000} {
		now := start
		r := newRate(DefaultLimits().FCM, now)
		step := time.Second / time.Duration(perS)
		waiting, late := 0, 0
		for i := range 120 * perS {
			waiting++
			for waiting > 0 && r.take(now) {
				waiting--
			}
			if i > 60*perS && waiting > 0 { // it had time to climb, and to catch up
				late++
			}
			now = now.Add(step)
		}
		if late > 0 {
			t.Errorf("%d/s: %d of %d have to wait after a minute", perS, late, 60*perS)
		}
	}
	now := start
	r := newRate(DefaultLimits().FCM, now)
	for i := range 5 * 200 { // 200/s from the first moment: the ramp climbs in time
		if !r.take(now) {
			t.Fatalf("push %d of 200/s waits", i)
		}
		now = now.Add(5 * time.Millisecond)
	}
}

func TestRateIsHalvedOnceASecondAndGrowsBack(t *testing.T) {
	now := start
	r := newRate(Rates{PerMin: 60_000}, now)
	drain(&r, &now, time.Minute)
	if !r.cut(now) || r.cut(now) {
		t.Error("answers to attempts under way together do not count as one")
	}
	within(t, "after the cut", drain(&r, &now, time.Second), 450, 580)
	was := r.now()
	drain(&r, &now, 10*time.Second)
	within(t, "growth in ten seconds", int(r.now()-was), 140, 190)
	drain(&r, &now, 30*time.Second)
	within(t, "after 40 seconds", int(r.now()), 1000, 1000)
	if r.ceiling != 0 {
		t.Errorf("a ceiling of %v is left", r.ceiling)
	}
}

func TestWithoutALimitTheRateIsCutToHalfOfWhatWasSentAndLiftedAgain(t *testing.T) {
	now := start
	r := newRate(Rates{}, now)
	for range 6000 { // 100/s
		if !r.take(now) {
			t.Fatal("limited without a limit")
		}
		now = now.Add(10 * time.Millisecond)
	}
	r.cut(now)
	within(t, "rate", int(r.now()), 45, 50)
	within(t, "after the cut", drain(&r, &now, 10*time.Second), 480, 620)
	for range 20 { // however often
		r.cut(now)
		now = now.Add(2 * time.Second)
	}
	if r.now() <= 0 || r.next(now).Sub(now) > 2*time.Minute {
		t.Errorf("it never comes back: %v", r.now())
	}
	drain(&r, &now, time.Hour)
	if r.limited() {
		t.Errorf("an hour later still %v", r.now())
	}
}

func TestADeviceIsSentOnlySoMuch(t *testing.T) {
	d := newDevices(DefaultLimits().FCM, 3)
	take := func(a *ask, now time.Time) bool {
		if d.later(a, now).After(now) {
			return false
		}
		d.count(a, now)
		return true
	}
	most := func(a ask, over, step time.Duration) (n int) {
		for now := start; now.Before(start.Add(over)); now = now.Add(step) {
			for take(&a, now) {
				n++
			}
		}
		return n
	}
	within(t, "at once", most(ask{device: "a"}, 1, 1), 240, 240)
	within(t, "in an hour", most(ask{device: "b"}, time.Hour, time.Second), 5000, 10_000)
	within(t, "collapsible at once", most(ask{device: "c", collaps: true}, 1, 1), 20, 20)
	within(t, "collapsible in an hour", most(ask{device: "d", collaps: true}, time.Hour, time.Second), 39, 40)
	within(t, "silent in four hours", most(ask{device: "e", silent: true}, 4*time.Hour, time.Second), 14, 15)
	a := ask{device: "c"}
	if !take(&a, start) {
		t.Error("collapsible ones count for others")
	}
	d.leave("f", start.Add(time.Minute), start)
	f := ask{device: "f"}
	if take(&f, start.Add(time.Minute-1)) || !take(&f, start.Add(time.Minute)) {
		t.Error("a device is not left alone for as long as the provider wants")
	}
}

func TestHowManyDevicesAreRememberedIsBounded(t *testing.T) {
	d := newDevices(DefaultLimits().FCM, 3)
	for i := range 3 * maxDevices {
		d.count(&ask{device: fmt.Sprint(i), collaps: true}, start)
	}
	within(t, "devices", len(d.of), maxDevices/2, maxDevices)
}
