package main

import (
	"testing"

	"github.com/footfall-engage/footfall/server/eventlog"
	"github.com/footfall-engage/footfall/server/partition/loopbench"
)

func TestComparisonTakesMediansOfLikeRuns(t *testing.T) {
	runs := func(durability string, rate int, ack ...float64) (out []loopbench.Result) {
		for _, a := range ack {
			out = append(out, loopbench.Result{
				Durability: durability, Rate: rate, AchievedPerS: 100 / a, AckP50MS: a, AckP99MS: 2 * a, P50MS: 3 * a, P99MS: 4 * a,
				Anchor: loopbench.Anchor{SyncP50US: 10 * a, SyncP99US: 20 * a},
			})
		}
		return out
	}
	got := compare([][]loopbench.Result{
		runs(eventlog.DurabilityProcess, 1000, 3, 1, 2), runs(eventlog.DurabilityPower, 1000, 50, 4, 8),
		runs(eventlog.DurabilityProcess, 5000, 1, 1, 1), // alone
	})
	if len(got) != 1 {
		t.Fatalf("%d comparisons", len(got))
	}
	want := loopComparison{
		Rate: 1000, Rounds: 3,
		Process: loopFigures{50, 2, 4, 6, 8}, Power: loopFigures{12.5, 8, 16, 24, 32}, Ratio: loopFigures{0.25, 4, 4, 4, 4},
		SyncP50US: 30, SyncP99US: 60,
	}
	if got[0] != want {
		t.Errorf("compared %+v, want %+v", got[0], want)
	}
}
