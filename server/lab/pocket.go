package lab

import (
	"time"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// tick is one sample of the phone's sensors.
func (p *Phone) tick() {
	crossings := p.move(p.crowd.simTime())
	p.mu.Lock()
	mode, pos, stopped, watching := p.is, p.where.Position, p.stopped != nil, len(p.monitor.regions) > 0
	p.mu.Unlock()
	switch {
	case stopped:
	case mode == InHand:
		// In the foreground the fixes tell more than the OS's regions.
		if p.locates(InHand) {
			p.fix()
		}
	case p.locates(InPocket):
		for _, x := range crossings {
			p.crowd.act(p.reportIn(time.Now()), func() { p.crossed(x) })
		}
		lost := p.monitors() && !watching && time.Since(p.lastWatch) >= watchEvery
		if !p.fixed || lost || geo.DistanceM(pos, p.lastFix) >= significantM {
			p.lastWatch = time.Now()
			p.fix()
			p.post()
		}
	}
}

// reportIn is how long the OS takes to report a crossing; it keeps their order.
func (p *Phone) reportIn(now time.Time) time.Duration {
	at := now.Add(time.Duration(p.rng.Float64() * float64(p.crowd.opts.RegionDelay)))
	if at.Before(p.reportAt) {
		at = p.reportAt
	}
	p.reportAt = at
	return at.Sub(now)
}

// move brings the phone to where its person is at a simulated time; the regions
// are looked at on the way, so that a fast walk crosses none unseen.
func (p *Phone) move(to time.Duration) []crossing {
	var out []crossing
	for p.simulated < to {
		p.simulated = min(to, p.simulated+sampleStep)
		w := p.walk.At(p.simulated)
		p.mu.Lock()
		if w.Position != p.where.Position || p.simulated == to {
			out = append(out, p.monitor.move(w.Position, time.Now())...)
		}
		p.where = w
		p.mu.Unlock()
	}
	return out
}

// crossed is the OS that wakes the app at the border of a region.
func (p *Phone) crossed(x crossing) {
	p.mu.Lock()
	w := p.where
	p.mu.Unlock()
	p.client.RegionEvent(x.region, x.to, p.gps.fix(w, p.person.Precision), time.Time{})
	if !p.fixed || geo.DistanceM(w.Position, p.lastFix) >= refreshM {
		p.fix()
	}
	p.post()
	if x.to == sdkpb.RegionEvent_TRANSITION_ENTER && !x.exact {
		p.crowd.act(time.Duration(float64(lookAfter)/p.crowd.opts.Speed), p.lookAgain)
	}
}

// lookAgain takes another position while the OS still lets the app: the place is
// smaller than the circle that was entered.
func (p *Phone) lookAgain() {
	p.mu.Lock()
	mode, stopped := p.is, p.stopped != nil
	p.mu.Unlock()
	if stopped || mode != InPocket || !p.locates(InPocket) {
		return
	}
	p.fix()
	p.post()
}
