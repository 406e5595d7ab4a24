package main

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// quantiles of a set of latencies, in milliseconds; all 0 when N is.
type quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	N   int     `json:"n"`
}

// quantilesOf takes the nearest rank: each is a latency that occurred.
func quantilesOf(all []time.Duration) quantiles {
	if len(all) == 0 {
		return quantiles{}
	}
	sorted := slices.Sorted(slices.Values(all))
	rank := func(q float64) float64 {
		i := int(math.Ceil(q*float64(len(sorted)))) - 1
		ms := float64(sorted[max(i, 0)]) / float64(time.Millisecond)
		return math.Round(ms*100) / 100
	}
	return quantiles{rank(0.50), rank(0.95), rank(0.99), len(sorted)}
}

// causeWithin bounds how long an item can have been on its way when it was logged:
// a phone gives up on a POST after that.
const causeWithin = 10 * time.Second

// latenciesOf are, for each message, the time from the item that fired it to its
// end: from the POST to the arrival of the push at the simulator, and from the
// frame to the in-app message on the screen. The item is the one that the
// triggering phone wrote last before the trigger entered the log. A message that
// was fired by one way and ended by the other (a phone that did not answer on its
// socket got a push) is in neither, nor are repeats.
func latenciesOf(e evidence) (pushes, inApp []time.Duration) {
	phones := make(map[string]*witness, len(e.Phones))
	for i := range e.Phones {
		phones[e.Phones[i].Install] = &e.Phones[i]
	}
	arrived := make(map[string]time.Time, len(e.Pushes)) // the first request for each message
	for _, p := range e.Pushes {
		if at, ok := arrived[p.Message]; !ok || p.At.Before(at) {
			arrived[p.Message] = p.At
		}
	}
	for _, d := range e.Decisions {
		w := phones[d.Trigger.Install]
		if d.Delivery == "" || d.State == engage.HeldOut || w == nil {
			continue
		}
		cause, ok := lastBefore(w.Written, d.At)
		if !ok || d.At.Sub(cause.At) > causeWithin {
			continue
		}
		if at, ok := arrived[d.Delivery]; ok && cause.Post && !at.Before(cause.At) {
			pushes = append(pushes, at.Sub(cause.At))
		}
		if s, ok := w.Shown[d.Delivery]; ok && s.InApp && !cause.Post && !s.At.Before(cause.At) {
			inApp = append(inApp, s.At.Sub(cause.At))
		}
	}
	return pushes, inApp
}

// lastBefore is the last of the sorted items that was not written after t.
func lastBefore(sorted []written, t time.Time) (written, bool) {
	i := sort.Search(len(sorted), func(i int) bool { return sorted[i].At.After(t) })
	if i == 0 {
		return written{}, false
	}
	return sorted[i-1], true
}
