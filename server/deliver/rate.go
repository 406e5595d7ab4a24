package deliver

import (
	"math"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

// Limits are what providers and operating systems bear. Zero means without limit.
type Limits struct {
	FCM  Rates
	APNs Rates
	// SilentPerHour is how many silent messages a device is sent per hour, by whatever
	// credential. Apple advises two or three; more are held back by the OS, which then
	// drops others that matter.
	SilentPerHour int
}

// Rates of one provider.
type Rates struct {
	PerMin int // attempts of one credential per minute
	// Ramp is how long a credential takes from its first hundredth to PerMin, when it
	// has that much to send; and back again when it has not.
	Ramp          time.Duration
	DevicePerMin  int // attempts to one device
	DevicePerHour int
	// CollapsibleBurst is how many messages with a CollapseKey of the campaign's a device
	// is sent at once; then there is one every CollapsibleEvery.
	CollapsibleBurst int
	CollapsibleEvery time.Duration
}

// DefaultLimits are those that Google documents, and Apple's advice. Apple names no
// rate: what it says of one (429) is learned.
func DefaultLimits() Limits {
	return Limits{
		FCM: Rates{
			PerMin: 600_000, Ramp: time.Minute, DevicePerMin: 240, DevicePerHour: 5000,
			CollapsibleBurst: 20, CollapsibleEvery: 3 * time.Minute,
		},
		SilentPerHour: 3,
	}
}

func (l *Limits) of(p channels.Provider) Rates {
	switch p {
	case channels.FCM:
		return l.FCM
	case channels.APNs:
		return l.APNs
	default:
		return Rates{}
	}
}

func (l *Limits) validate() error {
	for _, p := range []struct {
		name  string
		rates Rates
	}{{"fcm", l.FCM}, {"apns", l.APNs}} {
		r := p.rates
		if r.PerMin < 0 || r.Ramp < 0 || r.DevicePerMin < 0 || r.DevicePerHour < 0 || r.CollapsibleBurst < 0 || r.CollapsibleEvery < 0 {
			return engage.Errorf(engage.Invalid, "limits."+p.name, "must not be negative")
		}
	}
	if l.SilentPerHour < 0 {
		return engage.Errorf(engage.Invalid, "limits.silent_per_hour", "must not be negative")
	}
	return nil
}

const (
	rateBurst   = 100 // attempts that may always follow each other, where nothing was cut
	rateOf      = 20  // 1/rateOf of a second's attempts may
	cutEvery    = time.Second
	growSeconds = 60.0 // from half to whole it takes half of it
	sentOver    = 10.0 // seconds over which it is measured what is sent
	minRate     = 1.0 / 60
	rampRoom    = 2 // times what is sent, below which the ramp does not fall
)

// rate is a token bucket whose rate follows the provider's answers: it is halved when
// the quota is exceeded and grows back by as much each second (additive increase,
// multiplicative decrease). In attempts and seconds.
type rate struct {
	limit   float64 // 0: none
	allowed float64 // what the ramp has come to; 0: no ramp
	slope   float64 // of the ramp, per second
	ceiling float64 // what the provider has cut it to; 0: nothing
	grow    float64 // of the ceiling, per second
	lift    float64 // at which there is no ceiling any more
	cutAt   time.Time
	has     float64
	hungry  bool // it was at most half full since it was filled last
	sent    float64
	at      time.Time
}

func newRate(l Rates, now time.Time) rate {
	r := rate{limit: float64(l.PerMin) / 60, at: now, has: rateBurst}
	if r.limit > 0 && l.Ramp > 0 {
		r.allowed = r.start()
		r.slope = (r.limit - r.allowed) / l.Ramp.Seconds()
	}
	return r
}

func (r *rate) start() float64 { return max(r.limit/100, min(r.limit, rateBurst)) }

func (r *rate) limited() bool { return r.limit > 0 || r.ceiling > 0 }

// now is the rate; 0 without limit.
func (r *rate) now() float64 {
	out := r.limit
	if r.allowed > 0 {
		out = min(out, r.allowed)
	}
	if r.ceiling > 0 && (out == 0 || r.ceiling < out) {
		out = r.ceiling
	}
	return out
}

func (r *rate) burst() float64 {
	if r.ceiling > 0 {
		return max(1, r.now()/rateOf)
	}
	return max(min(rateBurst, r.limit), r.now()/rateOf)
}

// fill brings the bucket up to date.
func (r *rate) fill(now time.Time) {
	s := now.Sub(r.at).Seconds()
	if s <= 0 {
		return
	}
	r.at = now
	r.sent *= math.Exp(-s / sentOver)
	if !r.limited() {
		return
	}
	if r.low() {
		r.hungry = true
	}
	r.has += r.now() * s
	if r.allowed > 0 {
		idle := s
		if r.hungry { // for a second at most: then nobody has asked any more
			r.allowed = min(r.allowed+r.slope*min(s, 1), r.limit)
			idle = max(s-1, 0)
		}
		// It does not fall below twice what is sent: an even stream would use up what is in
		// the bucket, wait until the ramp has risen again, and so on for ever.
		least := min(max(r.start(), rampRoom*r.sent), r.limit)
		r.allowed = max(r.allowed-r.slope*idle, min(r.allowed, least))
	}
	if r.ceiling > 0 {
		if r.ceiling += r.grow * s; r.ceiling >= r.lift {
			r.ceiling = 0
		}
	}
	r.has = min(r.has, r.burst())
	r.hungry = r.low()
}

// low is half full: the ramp begins to rise before anything has to wait for it.
func (r *rate) low() bool { return r.has < r.burst()/2 }

// tokens is how many attempts may be made now.
func (r *rate) tokens(now time.Time) float64 {
	r.fill(now)
	return max(r.has, 0)
}

// next is when one may be made.
func (r *rate) next(now time.Time) time.Time {
	r.fill(now)
	if !r.limited() || r.has >= 1 {
		return now
	}
	return now.Add(time.Duration((1-r.has)/r.now()*float64(time.Second)) + time.Microsecond)
}

// take takes one; false when there is none.
func (r *rate) take(now time.Time) bool {
	r.fill(now)
	if r.limited() {
		if r.has < 1 {
			r.hungry = true
			return false
		}
		r.has--
	}
	r.sent += 1 / sentOver
	return true
}

// cut halves the rate: the provider says that it was too much. Answers to attempts
// that were under way together count as one.
func (r *rate) cut(now time.Time) bool {
	r.fill(now)
	if !r.cutAt.IsZero() && now.Sub(r.cutAt) < cutEvery {
		return false
	}
	was := r.sent
	if n := r.now(); n > 0 {
		was = min(was, n)
	}
	was = max(was, 2*minRate)
	r.cutAt, r.ceiling, r.grow = now, was/2, was/growSeconds
	r.lift = 2 * was
	if r.limit > 0 {
		r.lift = min(r.lift, r.limit)
	}
	r.has = min(r.has, r.burst())
	return true
}
