package geo

import (
	"fmt"
	"math"
	"time"
)

// Why a fix says no more than it does; a bounded code for traces.
type Why string

// The reasons.
const (
	WhyInside     Why = "inside"      // the error circle is inside
	WhyOutside    Why = "outside"     // the error circle is clear of the fence
	WhyInaccurate Why = "inaccurate"  // the fix is worse than MaxAccuracyM
	WhyTooCoarse  Why = "too_coarse"  // its error circle is too large for this fence
	WhyNotClear   Why = "not_clear"   // the point is outside, but its error circle still touches the fence: to be confirmed
	WhyNotSure    Why = "not_sure"    // the point is inside, but its error circle touches the outside: to be confirmed
	WhyNoDistance Why = "no_distance" // the margin is NaN or the accuracy no number
)

// Rule says what a fence takes as evidence. Accuracy is evidence: the radius in
// metres of the circle that holds the true position with 68 % (Android's
// definition; iOS does not say its own, which is similar).
//
//   - Enter at once: the error circle is inside the fence: the point is at least
//     SureFactor times the accuracy within its border.
//   - Exit at once: the error circle is clear of the fence: the distance to the
//     border exceeds ClearFactor times the accuracy. The default of 1.5 makes it the
//     circle of 92 % where the noise is normal.
//   - In between the error circle straddles the border, and one such fix changes
//     nothing. It is confirmed by another on the same side, at least EnterConfirm or
//     ExitConfirm later, unless a fix between the two was on the other side or more
//     than ConfirmWithin passed between two of them.
//   - Worse than MaxAccuracyM, a fix changes nothing. Worse than EnterAccuracyM and
//     than the fence's own radius, it only leaves, where it is clear: it neither
//     enters nor confirms. A fix of 2 km that happens to lie on a shop says nothing,
//     nor does a cell tower next door that is told again and again.
//
// The zero Rule refuses everything; DefaultRule is the start. Fences may have their
// own.
type Rule struct {
	MaxAccuracyM     float64 // worse fixes change nothing
	EnterAccuracyM   float64 // worse fixes enter only fences that are larger than them
	AssumedAccuracyM float64 // where the fix gives none (0)
	FloorAccuracyM   float64 // smaller accuracies are taken as this: phones flatter themselves between houses

	SureFactor    float64       // accuracies between the point and the border for an enter at once; 0: every point inside enters
	ClearFactor   float64       // accuracies between the point and the border for an exit at once
	EnterConfirm  time.Duration // a straddling enter is confirmed after this
	ExitConfirm   time.Duration // and a straddling exit
	ConfirmWithin time.Duration // the most between two fixes that confirm one another

	// MaxGap is the longest gap in the evidence through which a device that was
	// inside before and after it counts as having been there, for dwell and the
	// confirmed time of a visit; and how long after the last evidence a live session
	// or the OS's word alone lets a dwell fire.
	MaxGap time.Duration
	// Silence is how long after its last evidence a visit ends, at that evidence,
	// unless the OS still says inside; WatchedSilence how long if it does.
	Silence, WatchedSilence time.Duration
	// BeaconLost is how long after its last sighting a beacon no longer says inside.
	BeaconLost time.Duration
}

// MaxRuleTime bounds the times of a Rule, and dwells.
const MaxRuleTime = 30 * 24 * time.Hour

// DefaultRule is what Decide and Tracker were tuned and measured with; see the
// package's doc.
func DefaultRule() Rule {
	return Rule{
		MaxAccuracyM:     1000,
		EnterAccuracyM:   100,
		AssumedAccuracyM: 50,
		FloorAccuracyM:   10,
		SureFactor:       1,
		ClearFactor:      1.5,
		EnterConfirm:     10 * time.Second,
		ExitConfirm:      time.Minute,
		ConfirmWithin:    10 * time.Minute,
		MaxGap:           15 * time.Minute,
		Silence:          12 * time.Hour,
		WatchedSilence:   24 * time.Hour,
		BeaconLost:       time.Minute,
	}
}

// Validate refuses a rule that could never change anything or that has no
// hysteresis, with an *Error of the field in snake_case.
func (r Rule) Validate() error {
	for _, f := range []struct {
		name    string
		v       float64
		atLeast float64
	}{
		{"max_accuracy_m", r.MaxAccuracyM, 1},
		{"enter_accuracy_m", r.EnterAccuracyM, 1},
		{"assumed_accuracy_m", r.AssumedAccuracyM, 1},
		{"floor_accuracy_m", r.FloorAccuracyM, 0},
		{"sure_factor", r.SureFactor, 0},
		{"clear_factor", r.ClearFactor, 0},
	} {
		if !(f.v >= f.atLeast && f.v <= MaxRadiusM) {
			return errorf(f.name, "must be %v to %v, is %v", f.atLeast, MaxRadiusM, f.v)
		}
	}
	for _, f := range []struct {
		name    string
		v       time.Duration
		atLeast time.Duration
	}{
		{"enter_confirm_s", r.EnterConfirm, 0},
		{"exit_confirm_s", r.ExitConfirm, 0},
		{"confirm_within_s", r.ConfirmWithin, time.Second},
		{"max_gap_s", r.MaxGap, time.Second},
		{"silence_s", r.Silence, time.Minute},
		{"watched_silence_s", r.WatchedSilence, time.Minute},
		{"beacon_lost_s", r.BeaconLost, time.Second},
	} {
		if f.v < f.atLeast || f.v > MaxRuleTime {
			return errorf(f.name, "must be %v to %v s, is %v", f.atLeast.Seconds(), MaxRuleTime.Seconds(), f.v.Seconds())
		}
	}
	if r.AssumedAccuracyM > r.MaxAccuracyM {
		return errorf("assumed_accuracy_m", "must not exceed max_accuracy_m")
	}
	if r.FloorAccuracyM > r.MaxAccuracyM {
		return errorf("floor_accuracy_m", "must not exceed max_accuracy_m")
	}
	return nil
}

// Says is what one fix says of one fence.
type Says uint8

// What a fix may say.
const (
	SaysNothing      Says = iota
	SaysInside            // the error circle is inside
	SaysMaybeInside       // it straddles the border, its middle is inside
	SaysMaybeOutside      // it straddles the border, or nearly, its middle is outside
	SaysOutside           // it is clear of the fence
)

// String is "nothing", "inside", "maybe inside", "maybe outside" or "outside".
func (s Says) String() string {
	if int(s) >= len(saysNames) {
		return fmt.Sprintf("says %d", uint8(s))
	}
	return saysNames[s]
}

var saysNames = [...]string{"nothing", "inside", "maybe inside", "maybe outside", "outside"}

// Judge says what one fix says of one fence, whatever was before. marginM is the
// shape's MarginM of the point, boundingRadiusM the shape's BoundingRadiusM,
// accuracyM the fix's accuracy: 0 or negative (iOS) means not given. A margin or
// accuracy that is no number says nothing. The second result is why it says no more,
// the third the accuracy that was used: given, assumed, or raised to the floor.
func (r *Rule) Judge(marginM, boundingRadiusM, accuracyM float64) (Says, Why, float64) {
	acc := accuracyM
	if acc <= 0 {
		acc = r.AssumedAccuracyM
	}
	acc = max(acc, r.FloorAccuracyM) // NaN stays NaN
	switch {
	case math.IsNaN(marginM) || math.IsNaN(acc):
		return SaysNothing, WhyNoDistance, acc
	case acc > r.MaxAccuracyM:
		return SaysNothing, WhyInaccurate, acc
	case marginM > r.ClearFactor*acc:
		return SaysOutside, WhyOutside, acc
	case acc > max(r.EnterAccuracyM, boundingRadiusM):
		return SaysNothing, WhyTooCoarse, acc
	case marginM > 0:
		return SaysMaybeOutside, WhyNotClear, acc
	case marginM <= -r.SureFactor*acc:
		return SaysInside, WhyInside, acc
	default:
		return SaysMaybeInside, WhyNotSure, acc
	}
}
