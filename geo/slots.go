package geo

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
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
	// Brief plans have no LeftOut, which is most of their memory.
	Brief bool
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

	c := choices.Get().(*choice) //nolint:forcetypeassert // nothing else is in the pool
	defer c.release()
	ask := lookedAt * max(slots, 1)
	c.own = slices.Grow(c.own[:0], ask)
	c.hits = near(s.At, ask, c.own)
	c.lead = os.beyondM + max(walkMPS, s.SpeedMPS)*os.lateS
	c.floor = min(max(MinBubbleM, sureFactor*assumed(s.AccuracyM)), MaxRadiusM)
	c.slots = slots
	// What was not looked at is not nearer than the last that was, save that
	// its circle may be raised.
	c.horizon = math.Inf(1)
	plan := SlotPlan{LookedM: math.Inf(1)}
	if n := len(c.hits); n >= ask {
		c.horizon = max(0, c.hits[n-1].MarginM-(os.minRadiusM-MinRadiusM))
		plan.LookedM = max(0, c.hits[n-1].MarginM)
	}
	if s.Before != nil {
		for _, x := range s.Before.Fences {
			c.kept[x.ID] = struct{}{}
		}
	}
	for i := range c.hits {
		h := &c.hits[i]
		w := 1.0
		if weight != nil {
			w = weight(h.ID)
		}
		if !(w >= 0 && w <= math.MaxFloat64) {
			return SlotPlan{}, errorf("weight", "of %q must be a number from 0, is %v", h.ID, w)
		}
		x := s.candidate(h, os, w)
		x.hit = i
		if _, kept := c.kept[h.ID]; kept {
			x.score *= keptFactor
		}
		if w == 0 {
			x.why = leftUnwanted
			c.zero = append(c.zero, x)
			continue
		}
		c.all = append(c.all, x)
	}
	c.choose(&plan, bubble, s.At)
	if !s.Brief {
		plan.LeftOut = c.leftOut()
	}
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

// candidate is a fence that may get a slot. It is named by its hit alone, so that
// many are sorted cheaply.
type candidate struct {
	hit     int // in choice.hits
	why     leftWhy
	center  Point
	radiusM float64
	exact   bool
	weight  float64
	score   float64 // the smaller, the sooner
	// border is the way to the next border that matters: the circle's if the phone
	// is outside it or the fence is that circle, the fence's own otherwise.
	border float64
	// unseen: the phone is within a circle that is not exact, so that a slot does
	// not tell of the fence's border.
	unseen bool
}

func (s Slots) candidate(h *Hit, os watching, weight float64) candidate {
	_, round := h.Shape.(Circle)
	bound := h.Shape.BoundingRadiusM()
	x := candidate{center: h.Shape.Center(), radiusM: max(bound, os.minRadiusM), weight: weight}
	x.exact = round && x.radiusM == bound
	x.border = DistanceM(s.At, x.center) - x.radiusM
	if x.border <= 0 {
		x.border = -x.border
		if !round {
			x.border, x.unseen = math.Abs(h.MarginM), true
		}
	}
	x.score = (x.border + scoreOffsetM) / weight
	return x
}

func (x *candidate) tooLarge() bool { return x.radiusM > MaxRadiusM }

// leftWhy is a WhyLeftOut by number; 0 means that it has a slot, or has not been judged.
type leftWhy uint8

const (
	leftUnwanted leftWhy = iota + 1
	leftFarther
	leftCrowded
	leftTooLarge
	leftNoSlot
)

var whys = [...]WhyLeftOut{
	leftUnwanted: LeftUnwanted, leftFarther: LeftFarther, leftCrowded: LeftCrowded, leftTooLarge: LeftTooLarge, leftNoSlot: LeftNoSlot,
}

// choice among the fences that are wanted, and the memory for it, which is used again.
type choice struct {
	own     []Hit       // room for hits
	hits    []Hit       // what near gave, in own if it appends
	all     []candidate // the wanted
	zero    []candidate // the unwanted
	borders []float64
	kept    map[string]struct{} // ids of what is registered

	slots   int
	lead    float64 // what the phone may go after it left the bubble
	floor   float64 // the smallest bubble
	horizon float64 // no fence that is not in all is nearer
}

var choices = sync.Pool{New: func() any { return &choice{kept: map[string]struct{}{}} }}

// release gives the memory back, without what it has of the fences.
func (c *choice) release() {
	clear(c.own[:cap(c.own)])
	clear(c.kept)
	c.hits, c.all, c.zero, c.borders = nil, c.all[:0], c.zero[:0], c.borders[:0]
	choices.Put(c)
}

func (c *choice) id(x *candidate) string { return c.hits[x.hit].ID }

func (c *choice) choose(plan *SlotPlan, bubble bool, at Point) {
	reach := c.reach()
	slices.SortFunc(c.all, func(a, b candidate) int {
		if first, second := a.border < reach, b.border < reach; first != second {
			if first {
				return -1
			}
			return 1
		}
		if a.score != b.score {
			return cmp.Compare(a.score, b.score)
		}
		return strings.Compare(c.id(&a), c.id(&b))
	})
	free := c.horizon // no fence without a slot has a border nearer than this,
	seen := c.horizon // and none of which the phone would hear nothing
	plan.Fences = make([]Slot, 0, min(c.slots, len(c.all)))
	for i := range c.all {
		x := &c.all[i]
		switch {
		case x.tooLarge():
			x.why = leftTooLarge
		case len(plan.Fences) < c.slots:
			plan.Fences = append(plan.Fences, Slot{ID: c.id(x), Center: x.center, RadiusM: x.radiusM, Exact: x.exact})
		default:
			x.why = leftFarther // or crowded
		}
		if x.why != 0 {
			free = min(free, x.border)
		}
		if x.why != 0 || x.unseen {
			seen = min(seen, x.border)
		}
	}
	radius := max(c.floor, min(MaxBubbleM, seen-c.lead))
	for i := range c.all {
		x := &c.all[i]
		switch {
		case x.why != leftFarther:
		case c.slots == 0:
			x.why = leftNoSlot
		case x.border < radius+c.lead:
			x.why = leftCrowded
		}
	}
	if bubble {
		plan.Bubble = Circle{Around: at, RadiusM: radius}
		plan.Guaranteed = free >= radius+c.lead
	}
}

// leftOut is what has no slot, after choose.
func (c *choice) leftOut() []LeftOut {
	n := len(c.zero)
	for i := range c.all {
		if c.all[i].why != 0 {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	out := make([]LeftOut, 0, n)
	for _, of := range [][]candidate{c.zero, c.all} {
		for i := range of {
			if x := &of[i]; x.why != 0 {
				out = append(out, LeftOut{ID: c.id(x), Why: whys[x.why], BorderM: x.border, Weight: x.weight})
			}
		}
	}
	slices.SortFunc(out, func(a, b LeftOut) int {
		return cmp.Or(cmp.Compare(a.BorderM, b.BorderM), strings.Compare(a.ID, b.ID))
	})
	return out
}

// reach is the distance within which fences come first: with the smallest
// bubble, or with half of that which the nearest fences alone would give.
func (c *choice) reach() float64 {
	nearest := c.horizon
	for i := range c.all {
		x := &c.all[i]
		if !x.tooLarge() {
			c.borders = append(c.borders, x.border)
		}
		if x.tooLarge() || x.unseen {
			nearest = min(nearest, x.border)
		}
	}
	if len(c.borders) > c.slots {
		slices.Sort(c.borders)
		nearest = min(nearest, c.borders[c.slots])
	}
	return max(c.floor, min(MaxBubbleM, nearest-c.lead)/2) + c.lead
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
