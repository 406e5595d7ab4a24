package profile

import (
	"math"
	"testing"
)

// What fades does so by whole numbers, which are the same on every processor, and as the
// formula has it.
func TestAffinitiesFadeTheSameEverywhere(t *testing.T) {
	for hours := range int64(24 * 130) {
		want := math.Exp2(-float64(hours) / 720)
		if got := float64(decayed(hours)) / one; math.Abs(got-want) > 1e-8 {
			t.Fatalf("after %d hours %v, want %v", hours, got, want)
		}
	}
	for hours, want := range map[int64]int64{0: one, 1: 4290834502, 719: 2149552034, 720: one / 2, 1440: one / 4, 720 * 40: 0, math.MaxInt64: 0} {
		if got := decayed(hours); got != want {
			t.Errorf("after %d hours %d, want %d", hours, got, want)
		}
	}
}
