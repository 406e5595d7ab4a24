package geo

import "math"

// Presence of a device at a fence. The zero value is Outside: what is not known
// to be inside is outside.
type Presence uint8

// The presences.
const (
	Outside Presence = iota
	Inside
)

// String is "outside" or "inside".
func (p Presence) String() string {
	if p == Inside {
		return "inside"
	}
	return "outside"
}

// Why a Verdict is as it is; a bounded code for traces.
type Why string

// The reasons of a verdict.
const (
	WhyInside     Why = "inside"      // the point is inside, and exact enough
	WhyOutside    Why = "outside"     // clear of the fence, or it was outside and still is
	WhyInaccurate Why = "inaccurate"  // the fix is worse than MaxAccuracyM: nothing changed
	WhyTooCoarse  Why = "too_coarse"  // the point is inside, but its error circle is too large for this fence: not entered
	WhyNotClear   Why = "not_clear"   // the point is outside, but its error circle still touches the fence: not left
	WhyNoDistance Why = "no_distance" // the margin is NaN or the accuracy no number: nothing changed
)

// Verdict is what a Rule made of one fix at one fence.
type Verdict struct {
	Now       Presence
	Changed   bool // Now is not what it was: an enter or an exit
	Why       Why
	AccuracyM float64 // the radius that was used: given, assumed, or raised to the floor
}

// Rule decides from one fix at one fence whether a device is there. Accuracy is
// evidence: the radius in metres of the circle that holds the true position with
// 68 % (Android's definition; iOS does not say its own, which is similar).
//
//   - Enter: the point is inside, and the accuracy is not worse than EnterAccuracyM
//     or the fence's own radius, whichever is larger. A fix of 2 km accuracy that
//     happens to lie on a shop says nothing.
//   - Exit: the error circle is clear of the fence: the distance to the border
//     exceeds ClearFactor times the accuracy. The default of 1.5 makes it the
//     circle of 92 % where the noise is normal.
//   - In between nothing changes: that band is the hysteresis.
//
// Trade-off. Entering leans to yes, leaving to no. Someone who stands on the
// pavement may be counted in, and an exit comes late (walking, by 21 m at 8 m
// accuracy, 32 m at 20 m, 50 m at 40 m): cheap for a shop, where a missed enter
// loses the customer and a doubled one pesters them. In exchange a short visit
// needs just one good fix. A ClearFactor of 1 halves that lateness at 8 m to
// 16 m and flaps five times as often on the border; 2 flaps least (the package's
// doc has the figures). Demanding a second fix or a minimum stay would lose
// most walk-ins, since a phone in the background reports once when it crosses. A
// phone that only gives fixes worse than MaxAccuracyM stays where it was until
// its OS reports a region, or until the visit is closed for silence: false exits
// from one cell-tower fix are the more frequent complaint.
//
// Rule is a plain value: fences may have their own. DefaultRule is the start.
type Rule struct {
	MaxAccuracyM     float64 // worse fixes change nothing
	EnterAccuracyM   float64 // worse fixes enter only fences that are larger than them
	AssumedAccuracyM float64 // where the fix gives none (0)
	FloorAccuracyM   float64 // smaller accuracies are taken as this: phones flatter themselves between houses
	ClearFactor      float64 // accuracies between the point and the border for an exit
}

// DefaultRule is what Decide was tuned and measured with; see the package's doc.
func DefaultRule() Rule {
	return Rule{
		MaxAccuracyM:     1000,
		EnterAccuracyM:   100,
		AssumedAccuracyM: 50,
		FloorAccuracyM:   10,
		ClearFactor:      1.5,
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
		{"clear_factor", r.ClearFactor, 0},
	} {
		if !(f.v >= f.atLeast && f.v <= MaxRadiusM) {
			return errorf(f.name, "must be %v to %v, is %v", f.atLeast, MaxRadiusM, f.v)
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

// Decide judges one fix at one fence. marginM is the shape's MarginM of the
// point, boundingRadiusM the shape's BoundingRadiusM, accuracyM the fix's
// accuracy: 0 or negative (iOS) means not given. A margin or accuracy that is no
// number changes nothing.
func (r Rule) Decide(was Presence, marginM, boundingRadiusM, accuracyM float64) Verdict {
	acc := accuracyM
	if acc <= 0 {
		acc = r.AssumedAccuracyM
	}
	acc = max(acc, r.FloorAccuracyM) // NaN stays NaN
	v := Verdict{Now: was, AccuracyM: acc}
	switch {
	case math.IsNaN(marginM) || math.IsNaN(acc):
		v.Why = WhyNoDistance
	case acc > r.MaxAccuracyM:
		v.Why = WhyInaccurate
	case was == Inside && marginM > r.ClearFactor*acc:
		v.Now, v.Changed, v.Why = Outside, true, WhyOutside
	case was == Inside && marginM > 0:
		v.Why = WhyNotClear
	case was == Inside:
		v.Why = WhyInside
	case marginM > 0:
		v.Why = WhyOutside
	case acc > max(r.EnterAccuracyM, boundingRadiusM):
		v.Why = WhyTooCoarse
	default:
		v.Now, v.Changed, v.Why = Inside, true, WhyInside
	}
	return v
}
