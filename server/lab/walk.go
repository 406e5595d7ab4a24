package lab

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// Activity is what somebody is doing.
type Activity string

// The activities.
const (
	AtHome  Activity = "home"
	Walking Activity = "walking" // on a street, or standing on it
	InShop  Activity = "shop"    // the steps through its door included
)

// Where somebody is at a moment.
type Where struct {
	Position   geo.Point // the truth, not a fix
	Activity   Activity
	Shop       *Shop   // of InShop; else nil
	SpeedMps   float64 // 0 is standing
	BearingDeg float64 // of the last step
}

// indoors is where a receiver sees little of the sky.
func (w Where) indoors() bool { return w.Activity != Walking && w.SpeedMps == 0 }

// leg is one straight piece of a walk, or a stay.
type leg struct {
	from, to   vec
	start, end time.Duration
	act        Activity
	shop       int // of InShop
}

// Walk is a person's way through the town: from home, along the streets, into
// shops and out again, without end. It is a pure function of simulated time,
// asked in ascending order. It is for one goroutine.
type Walk struct {
	town    *Town
	person  *Person
	rng     *rand.Rand
	legs    []leg // planned; the first is the current one
	here    spot  // where the plan ends
	at      vec
	until   time.Duration
	bearing float64
	lastGo  int // shop of the last visit, -1 for none
}

// Walk begins the walk of one of the town's people.
func (t *Town) Walk(p *Person) *Walk {
	w := &Walk{town: t, person: p, rng: t.rand("walk " + p.ID), lastGo: -1}
	switch p.start {
	case startHome:
		w.here = p.home
		w.at = t.beside(p.home, 8)
		w.stay(AtHome, 0, w.seconds(5, 120))
		w.step(t.vec(w.here), AtHome, 0)
	case startShop:
		w.enter(p.favourite[w.rng.IntN(len(p.favourite))])
	default:
		w.here = w.anywhere()
		w.at = t.vec(w.here)
	}
	return w
}

// At is where the person is after that much simulated time. An earlier time than
// asked before gives the beginning of the piece that is under way.
func (w *Walk) At(d time.Duration) Where {
	for len(w.legs) == 0 || d >= w.legs[0].end {
		if len(w.legs) > 0 {
			w.turn(w.legs[0])
			w.legs = w.legs[1:]
		}
		if len(w.legs) == 0 {
			w.plan()
		}
	}
	l := w.legs[0]
	w.turn(l)
	out := Where{Activity: l.act, BearingDeg: w.bearing}
	if l.act == InShop {
		out.Shop = &w.town.Shops[l.shop]
	}
	if l.from != l.to {
		out.SpeedMps = w.person.pace
	}
	f := 0.0
	if whole := l.end - l.start; whole > 0 && d > l.start {
		f = float64(d-l.start) / float64(whole)
	}
	out.Position = w.town.plane.point(l.from.mix(l.to, f))
	return out
}

func (w *Walk) turn(l leg) {
	if l.from != l.to {
		w.bearing = w.town.plane.bearingDeg(l.to.sub(l.from))
	}
}

func (w *Walk) seconds(lo, hi int) time.Duration {
	return time.Duration(lo)*time.Second + time.Duration(w.rng.Float64()*float64(hi-lo)*float64(time.Second))
}

// around is a stay of about mean, exponential, within a third and four times it.
func (w *Walk) around(mean time.Duration) time.Duration {
	return time.Duration(float64(mean) * min(4, max(1.0/3, w.rng.ExpFloat64())))
}

func (w *Walk) stay(act Activity, shop int, d time.Duration) {
	w.legs = append(w.legs, leg{w.at, w.at, w.until, w.until + d, act, shop})
	w.until += d
}

// step goes straight to a position.
func (w *Walk) step(to vec, act Activity, shop int) {
	m := w.at.distance(to)
	if m == 0 {
		return
	}
	end := w.until + time.Duration(m/w.person.pace*float64(time.Second))
	w.legs = append(w.legs, leg{w.at, to, w.until, end, act, shop})
	w.at, w.until = to, end
}

// plan decides on what comes next, and how to get there.
func (w *Walk) plan() {
	switch roll := w.rng.Float64(); {
	case roll < w.person.wander:
		w.walk(w.anywhere())
		w.stay(Walking, 0, w.seconds(5, 60))
	case roll < w.person.wander+0.1:
		w.walk(w.person.home)
		door := w.at
		w.step(w.town.beside(w.here, 8), AtHome, 0)
		w.stay(AtHome, 0, w.around(w.person.atHome))
		w.step(door, AtHome, 0)
	default:
		shop := w.choose()
		w.walk(w.town.Shops[shop].door)
		w.enter(shop)
	}
}

// choose is a favourite shop mostly, not the one just visited where there is
// another.
func (w *Walk) choose() int {
	f := w.person.favourite
	shop := f[w.rng.IntN(len(f))]
	if w.rng.Float64() < 0.2 {
		shop = w.rng.IntN(len(w.town.Shops))
	}
	if shop == w.lastGo {
		shop = (shop + 1) % len(w.town.Shops)
	}
	return shop
}

// enter visits the shop whose door the walk has reached, and comes out again.
func (w *Walk) enter(shop int) {
	s := &w.town.Shops[shop]
	w.lastGo, w.here = shop, s.door
	door := w.town.vec(s.door)
	if len(w.legs) == 0 && w.until == 0 {
		w.at = s.room // the walk begins here
	}
	w.step(s.room, InShop, shop)
	w.stay(InShop, shop, w.around(w.person.dwell))
	w.step(door, InShop, shop)
}

func (w *Walk) anywhere() spot {
	s := w.rng.IntN(len(w.town.Streets))
	lo, hi := w.town.ends(s)
	return spot{s, lo + (hi-lo)*w.rng.Float64()}
}

// walk goes along the streets to a spot.
func (w *Walk) walk(to spot) {
	for _, corner := range w.route(w.here, to) {
		w.step(corner, Walking, 0)
	}
	w.here = to
}

// route is the corners on the way, the end included: at most two turns.
func (w *Walk) route(from, to spot) []vec {
	t := w.town
	end := t.vec(to)
	switch {
	case from.street == to.street:
		return []vec{end}
	case t.avenue(from.street) != t.avenue(to.street): // they cross
		a, b := from.street, to.street
		if !t.avenue(a) {
			a, b = b, a
		}
		return []vec{{t.xs[a], t.ys[b-len(t.xs)]}, end}
	}
	// Parallel: over a street that crosses both, between the two if there is one.
	c := t.crossings(from.street)
	lo, hi := min(from.at, to.at), max(from.at, to.at)
	var between []float64
	nearest := c[0]
	for _, x := range c {
		if x >= lo && x <= hi {
			between = append(between, x)
		}
		if math.Abs(x-from.at) < math.Abs(nearest-from.at) {
			nearest = x
		}
	}
	if len(between) > 0 {
		nearest = between[w.rng.IntN(len(between))]
	}
	return []vec{t.vec(spot{from.street, nearest}), t.vec(spot{to.street, nearest}), end}
}

// receiver is the phone's positioning: what it makes of where somebody is.
type receiver struct {
	town *Town
	rng  *rand.Rand
	err  vec // standard normal, drifting as real errors do
}

func (t *Town) receiver(p *Person) *receiver {
	r := &receiver{town: t, rng: t.rand("receiver " + p.ID)}
	r.err = vec{r.rng.NormFloat64(), r.rng.NormFloat64()}
	return r
}

// normal68 is the radius, in standard deviations of one axis, of the circle that
// holds 68 % of a two-dimensional normal distribution: sqrt(-2 ln 0.32).
const normal68 = 1.5096

// fix measures: accuracy 5 to 30 m on the street, 15 to 60 m inside a house, and
// kilometres where the person allows reduced precision only.
func (r *receiver) fix(w Where, precision sdkpb.Permissions_Precision) *sdkpb.Location {
	const drift = 0.7 // of the error, from fix to fix
	renew := math.Sqrt(1 - drift*drift)
	r.err = r.err.times(drift).add(vec{r.rng.NormFloat64(), r.rng.NormFloat64()}.times(renew))
	accuracy := min(30, 5+6*r.rng.ExpFloat64())
	if w.indoors() {
		accuracy = min(60, 15+12*r.rng.ExpFloat64())
	}
	if precision == sdkpb.Permissions_PRECISION_REDUCED {
		accuracy = 2000 + 3000*r.rng.Float64()
	}
	at := r.town.plane.vec(w.Position).add(r.err.times(accuracy / normal68))
	p := r.town.plane.point(at)
	l := &sdkpb.Location{Lat: p.Lat, Lng: p.Lng, AccuracyM: math.Round(accuracy*10) / 10}
	if precision != sdkpb.Permissions_PRECISION_REDUCED {
		l.SpeedMps = &w.SpeedMps
		if w.SpeedMps > 0 {
			l.BearingDeg = &w.BearingDeg
		}
	}
	return l
}
