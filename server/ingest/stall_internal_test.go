package ingest

import (
	"testing"
	"time"
)

func TestACrowdComesAgainOneAfterTheOther(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		phones int
		least  time.Duration
		within time.Duration
	}{
		{1, 0, 2 * time.Second},
		{10_000, 0, 12 * time.Second},
		{10_000, 5 * time.Second, 20 * time.Second},
		{200_000, 0, longestWait + time.Second},
	} {
		r := returns{least: time.Second, every: time.Millisecond}
		perSecond := map[time.Duration]int{}
		for range c.phones {
			d := r.wait(now, c.least)
			if d < max(c.least, time.Second) || d > c.within || d%time.Millisecond != 0 {
				t.Fatalf("%d phones: one waits %v", c.phones, d)
			}
			perSecond[d/time.Second]++
		}
		for s, n := range perSecond {
			// 200,000 cannot come within a minute at 1,000 per second: then evenly.
			if most := max(1100, 2*c.phones/30); n > most {
				t.Errorf("%d phones: %d come in second %d", c.phones, n, s)
			}
		}
	}
}
