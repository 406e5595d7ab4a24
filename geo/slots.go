package geo

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Platform is an operating system that watches circles for an app while the app
// sleeps.
type Platform string

// The platforms. Another one watches nothing: its plans are empty.
const (
	IOS     Platform = "ios"
	Android Platform = "android"
)

// watching is what an operating system does for an app.
type watching struct {
	slots       int     // for fences; one more is for the bubble
	withBeacons int     // the same while the app looks for beacons
	minRadiusM  float64 // smaller circles are not noticed reliably
	beyondM     float64 // how far beyond a border the phone must be
	lateS       float64 // until the app is woken, from then on
}

// watching of iOS: 20 regions per app, shared with the beacons'; reported after
// a minimum distance and often 3 to 5 minutes late. Of Android: 100 geofences, of
// which others in the app may want half; 2 to 3 minutes late on the move.
// Vendors ask for radii from 100 m. Neither documents a largest one.
func (p Platform) watching() watching {
	switch p {
	case IOS:
		return watching{slots: 19, withBeacons: 9, minRadiusM: 100, beyondM: 100, lateS: 300}
	case Android:
		return watching{slots: 50, withBeacons: 50, minRadiusM: 100, beyondM: 50, lateS: 180}
	}
	return watching{}
}

// Fences is how many circles an app may have watched beside the bubble; 0 for a
// platform that watches nothing.
func (p Platform) Fences() int { return p.watching().slots }

// Bubbles, in metres: a smaller one would wake the app for nothing, a larger one
// would keep a phone on an old plan for too long.
const (
	MinBubbleM = 200
	MaxBubbleM = 20_000
)

const (
	walkMPS      = 1.5 // nobody is taken to be slower
	sureFactor   = 2   // accuracies around a fix that hold the true position, nearly always
	lookedAt     = 4   // fences that a plan looks at, as multiples of the slots
	keptFactor   = 0.8 // what is registered counts as this much nearer
	scoreOffsetM = 100 // so that weights count among fences that are all at hand
)

// AllFree stands for the slots of a phone that has not said how many are free.
const AllFree = -1

// Slots is what a plan needs to know of a phone.
type Slots struct {
	Platform Platform
	// Beacons says that the app looks for beacons, which take slots of iOS.
	Beacons bool
	// Free is how many slots Footfall may have: those that it has already, and
	// those that nobody has. AllFree means what the platform allows.
	Free      int
	At        Point
	AccuracyM float64 // of At, 68 % radius; 0 or negative means not given
	SpeedMPS  float64 // if it is known; below walking pace it is taken as that
	// Before is what the phone watches now, kept if it is as good; nil means
	// nothing.
	Before *SlotPlan
}

// Slot is a circle for the phone to register: the one that holds the fence,
// raised to the least that the platform notices.
type Slot struct {
	ID      string // of the fence
	Center  Point
	RadiusM float64
	// Exact: entering the circle is entering the fence. Otherwise the fence is
	// smaller, and a fix must tell.
	Exact bool
}

// WhyLeftOut says why a fence has no slot; a bounded code for traces.
type WhyLeftOut string

// The reasons.
const (
	LeftUnwanted WhyLeftOut = "unwanted"  // its weight is 0: nothing waits for it
	LeftFarther  WhyLeftOut = "farther"   // others are nearer or weigh more; the bubble wakes the phone in time
	LeftCrowded  WhyLeftOut = "crowded"   // it is within reach, as more fences are than there are slots: others weigh more or are nearer
	LeftTooLarge WhyLeftOut = "too_large" // its circle exceeds MaxRadiusM; the bubble wakes the phone near its border
	LeftNoSlot   WhyLeftOut = "no_slot"   // the phone has none to give, or watches nothing
)

// LeftOut is a fence that was looked at and has no slot.
type LeftOut struct {
	ID      string
	Why     WhyLeftOut
	BorderM float64 // how far the phone is from the next border of it
	Weight  float64
}

// SlotPlan is what a phone should watch until it leaves the bubble.
type SlotPlan struct {
	Fences []Slot // the most wanted first
	// Bubble is the circle whose exit asks for the next plan; its radius is 0 if
	// there is no slot for one.
	Bubble Circle
	// Guaranteed: who is in the bubble, and no faster than was said, is replanned
	// before reaching a fence that is not registered. Otherwise the reason stands
	// in LeftOut: crowded, too_large or no_slot; or more fences than are looked at
	// lie around the phone. Such a plan has the smallest bubble.
	Guaranteed bool
	LeftOut    []LeftOut // by distance, then id
	// LookedM is as far as was looked for borders: a fence that comes, goes or changes
	// beyond changes nothing in the plan. Infinite where all fences were looked at.
	LookedM float64
}

// Plan chooses fences. near finds the n fences of the smallest margin, as
// Index.Nearest does. weight says how gladly a fence is watched: one of 2 as
// gladly as one of 1 at half the distance, one of 0 never; nil takes all as 1.
// Errors: *Error of "lat", "lng", "accuracy", "speed" or "weight".
//
// The rule. A fence within reach, which the phone could get to before the exit
// from a smallest bubble wakes the app, comes before all others; then the
// quotient of distance and weight decides, where what is registered already
// counts as a fifth nearer. The bubble reaches as far as the nearest wanted fence
// without a slot, less what the phone may go until it is woken: the platform's
// lateness at the phone's speed. Weights cannot shrink it to less than half of
// what the nearest fences alone would give, and no fix can make it smaller than
// its own error, so that the phone is in the bubble that it registers, unless it
// is off by more than MaxRadiusM.
//
// So the number of fences is no limit, and no set grows stale: what matters is
// how many lie within reach, about 750 m on iOS and 520 m on Android for who
// walks with a good fix. Where that is more than there are slots, the plan says
// so, and each waking brings a fix by which the other fences can be judged.
//
// An operating system does not report that a phone is within a circle when it is
// registered (Android may), nor, within the circle around a polygon, that it
// crosses the polygon's own border. The first plan's fix tells of the former; for
// the latter the bubble ends at that border if it can.
func (s Slots) Plan(near func(p Point, n int, dst []Hit) []Hit, weight func(id string) float64) (SlotPlan, error) {
	if err := s.validate(); err != nil {
		return SlotPlan{}, err
	}
	os := s.Platform.watching()
	slots, bubble := os.slots, os.slots > 0
	if s.Beacons {
		slots = os.withBeacons
	}
	if s.Free != AllFree {
		slots, bubble = min(slots, s.Free-1), bubble && s.Free > 0
	}
	slots = max(0, slots)

	ask := lookedAt * max(slots, 1)
	hits := near(s.At, ask, nil)
	c := choice{
		lead:  os.beyondM + max(walkMPS, s.SpeedMPS)*os.lateS,
		floor: min(max(MinBubbleM, sureFactor*assumed(s.AccuracyM)), MaxRadiusM),
		slots: slots,
		// What was not looked at is not nearer than the last that was, save that
		// its circle may be raised.
		horizon: math.Inf(1),
	}
	if len(hits) >= ask {
		c.horizon = max(0, hits[len(hits)-1].MarginM-(os.minRadiusM-MinRadiusM))
	}
	plan := SlotPlan{LookedM: math.Inf(1)}
	if len(hits) >= ask {
		plan.LookedM = max(0, hits[len(hits)-1].MarginM)
	}
	kept := s.Before.has()
	for _, h := range hits {
		w := 1.0
		if weight != nil {
			w = weight(h.ID)
		}
		if !(w >= 0 && w <= math.MaxFloat64) {
			return SlotPlan{}, errorf("weight", "of %q must be a number from 0, is %v", h.ID, w)
		}
		x := s.candidate(h, os, w)
		if kept[h.ID] {
			x.score *= keptFactor
		}
		if w == 0 {
			plan.LeftOut = append(plan.LeftOut, x.leftOut(LeftUnwanted))
			continue
		}
		c.all = append(c.all, x)
	}
	c.choose(&plan, bubble, s.At)
	slices.SortFunc(plan.LeftOut, func(a, b LeftOut) int {
		return cmp.Or(cmp.Compare(a.BorderM, b.BorderM), strings.Compare(a.ID, b.ID))
	})
	return plan, nil
}

func (s Slots) validate() error {
	if err := s.At.Validate(); err != nil {
		return err
	}
	if math.IsNaN(s.AccuracyM) || math.IsInf(s.AccuracyM, 1) {
		return errorf("accuracy", "must be a number, is %v", s.AccuracyM)
	}
	if math.IsNaN(s.SpeedMPS) || math.IsInf(s.SpeedMPS, 1) {
		return errorf("speed", "must be a number, is %v", s.SpeedMPS)
	}
	return nil
}

func assumed(accuracyM float64) float64 {
	if accuracyM <= 0 {
		return DefaultRule().AssumedAccuracyM
	}
	return accuracyM
}

// candidate is a fence that may get a slot.
type candidate struct {
	slot   Slot
	weight float64
	score  float64 // the smaller, the sooner
	// border is the way to the next border that matters: the circle's if the phone
	// is outside it or the fence is that circle, the fence's own otherwise.
	border float64
	// unseen: the phone is within a circle that is not exact, so that a slot does
	// not tell of the fence's border.
	unseen bool
}

func (s Slots) candidate(h Hit, os watching, weight float64) candidate {
	_, round := h.Shape.(Circle)
	x := candidate{
		slot:   Slot{ID: h.ID, Center: h.Shape.Center(), RadiusM: max(h.Shape.BoundingRadiusM(), os.minRadiusM)},
		weight: weight,
	}
	x.slot.Exact = round && x.slot.RadiusM == h.Shape.BoundingRadiusM()
	x.border = DistanceM(s.At, x.slot.Center) - x.slot.RadiusM
	if x.border <= 0 {
		x.border = -x.border
		if !round {
			x.border, x.unseen = math.Abs(h.MarginM), true
		}
	}
	x.score = (x.border + scoreOffsetM) / weight
	return x
}

func (x *candidate) tooLarge() bool { return x.slot.RadiusM > MaxRadiusM }

func (x *candidate) leftOut(why WhyLeftOut) LeftOut {
	return LeftOut{ID: x.slot.ID, Why: why, BorderM: x.border, Weight: x.weight}
}

// choice among the fences that are wanted.
type choice struct {
	all     []candidate
	slots   int
	lead    float64 // what the phone may go after it left the bubble
	floor   float64 // the smallest bubble
	horizon float64 // no fence that is not in all is nearer
}

func (c *choice) choose(plan *SlotPlan, bubble bool, at Point) {
	reach := c.reach()
	slices.SortFunc(c.all, func(a, b candidate) int {
		if first, second := a.border < reach, b.border < reach; first != second {
			if first {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.score, b.score), strings.Compare(a.slot.ID, b.slot.ID))
	})
	free := c.horizon    // no fence without a slot has a border nearer than this,
	seen := c.horizon    // and none of which the phone would hear nothing
	var left []candidate // for want of slots
	for _, x := range c.all {
		taken := false
		switch {
		case x.tooLarge():
			plan.LeftOut = append(plan.LeftOut, x.leftOut(LeftTooLarge))
		case len(plan.Fences) < c.slots:
			plan.Fences = append(plan.Fences, x.slot)
			taken = true
		default:
			left = append(left, x)
		}
		if !taken {
			free = min(free, x.border)
		}
		if !taken || x.unseen {
			seen = min(seen, x.border)
		}
	}
	radius := max(c.floor, min(MaxBubbleM, seen-c.lead))
	for _, x := range left {
		why := LeftFarther
		switch {
		case c.slots == 0:
			why = LeftNoSlot
		case x.border < radius+c.lead:
			why = LeftCrowded
		}
		plan.LeftOut = append(plan.LeftOut, x.leftOut(why))
	}
	if bubble {
		plan.Bubble = Circle{Around: at, RadiusM: radius}
		plan.Guaranteed = free >= radius+c.lead
	}
}

// reach is the distance within which fences come first: with the smallest
// bubble, or with half of that which the nearest fences alone would give.
func (c *choice) reach() float64 {
	nearest := c.horizon
	var borders []float64
	for i := range c.all {
		x := &c.all[i]
		if !x.tooLarge() {
			borders = append(borders, x.border)
		}
		if x.tooLarge() || x.unseen {
			nearest = min(nearest, x.border)
		}
	}
	slices.Sort(borders)
	if len(borders) > c.slots {
		nearest = min(nearest, borders[c.slots])
	}
	return max(c.floor, min(MaxBubbleM, nearest-c.lead)/2) + c.lead
}

// has is the set of ids in the plan.
func (p *SlotPlan) has() map[string]bool {
	if p == nil {
		return nil
	}
	ids := make(map[string]bool, len(p.Fences))
	for _, x := range p.Fences {
		ids[x.ID] = true
	}
	return ids
}

// Holds reports whether a phone with this plan needs no other for a new fix: it
// may still be in the bubble, whose exit the operating system will report, or the
// fix is invalid. So standing on a border changes nothing, nor does a fix that is
// coarser than the bubble. Whoever has the system's word that the bubble was left,
// or whose fences or slots have changed, plans anew without asking.
func (p *SlotPlan) Holds(at Point, accuracyM float64) bool {
	if p.Bubble.RadiusM == 0 {
		return false
	}
	return !(p.Bubble.MarginM(at) > sureFactor*assumed(accuracyM))
}
