package deliver

import (
	"net/http"
	"time"

	"github.com/footfall-engage/footfall/channels"
)

const (
	pausePush, maxPausePush = time.Minute, 15 * time.Minute
	pauseTell, maxPauseTell = time.Second, 30 * time.Second
	pauseDown, maxPauseDown = time.Second, time.Minute

	// downAfter is how many answers in a row say that a provider is down: errors of its
	// own, or none at all.
	downAfter = 20
	// warmUp is how many attempts may be under way when it is back; with each that
	// passes there may be one more.
	warmUp = 10
	// maxHold is for how long a provider is obeyed that wants nothing at all.
	maxHold = time.Hour
)

// pause pauses for a while, each time in a row for longer, and reports until when; zero
// if it was paused already.
func (h *halt) pause(now time.Time, first, most time.Duration, out channels.Outcome) time.Time {
	if now.Before(h.until) {
		return time.Time{}
	}
	if h.pauses == 0 {
		h.since = now
	}
	h.until = now.Add(min(first<<min(h.pauses, 10), most))
	h.pauses++
	h.reason, h.status = out.Reason, out.Status
	return h.until
}

// resume ends the pause, and reports whether there was one.
func (h *halt) resume() bool {
	was := h.pauses > 0
	h.pauses, h.down, h.since, h.until, h.reason, h.status = 0, false, time.Time{}, time.Time{}, "", 0
	return was
}

// platform is the halt of a platform, which is made when it is new.
func (g *gate) platform(name string) *halt {
	h := g.platforms[name]
	if h == nil {
		h = &halt{}
		g.platforms[name] = h
	}
	return h
}

// swept has the pump look at once what will expire in flows that cannot pass.
func (g *gate) swept(now time.Time) {
	for _, f := range g.flows {
		f.sweep = now
	}
	g.rouse()
}

// pauseTelling stops the telling of outcomes for a while.
func (d *Deliverer) pauseTelling(g *gate) time.Time {
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	until := g.pause(now, pauseTell, maxPauseTell, channels.Outcome{})
	if !until.IsZero() {
		d.metrics.paused.WithLabelValues(g.name).Set(1)
		g.rouse()
	}
	return until
}

// resume opens the gate wholly.
func (d *Deliverer) resume(g *gate) (was bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if was = g.resume(); was {
		d.metrics.paused.WithLabelValues(g.name).Set(0)
		g.rouse()
	}
	return was
}

// verdict is what an answer means for others than its message.
type verdict struct {
	paused   time.Time // the credential or the platform, from now until then
	platform string    // with paused: it alone
	down     bool      // with paused: the provider is
	works    bool      // it was paused, and is not any more
	cut      bool      // the rate was halved
}

// weigh learns from the provider's answer.
func (d *Deliverer) weigh(g *gate, a *ask, out channels.Outcome) (v verdict) {
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	platform := out.Scope == channels.ScopePlatform && a.platform != ""
	if out.Kind == channels.Accepted || out.Status != 0 {
		g.heard = true
	}
	if out.Kind != channels.Accepted && out.Kind != channels.TokenGone {
		g.lastError, g.errorAt = out.Reason, now
	}
	switch {
	case out.Kind == channels.Misconfigured && platform:
		if v.paused = g.platform(a.platform).pause(now, pausePush, maxPausePush, out); !v.paused.IsZero() {
			v.platform = a.platform
			d.metrics.platformPaused.WithLabelValues(g.name, a.platform).Set(1)
			g.swept(now)
		}
		return v
	case out.Kind == channels.Misconfigured:
		if v.paused = g.pause(now, pausePush, maxPausePush, out); !v.paused.IsZero() {
			if g.down {
				g.down = false
				d.metrics.down.WithLabelValues(g.name).Set(0)
			}
			d.metrics.paused.WithLabelValues(g.name).Set(1)
			g.swept(now)
		}
		return v
	case out.Status == 0 || out.Status >= 500 && out.Kind == channels.RetryAfter:
		g.streak++
		if g.streak >= downAfter && g.pauses == 0 || g.down {
			g.down = true
			if v.paused = g.pause(now, pauseDown, maxPauseDown, out); !v.paused.IsZero() {
				v.down = true
				d.metrics.down.WithLabelValues(g.name).Set(1)
				g.swept(now)
			}
		}
		if out.Status == 0 || g.down {
			return v // no answer says nothing of the credential
		}
	default:
		g.streak = 0
	}
	if h := g.platforms[a.platform]; h != nil && h.resume() {
		d.metrics.platformPaused.WithLabelValues(g.name, a.platform).Set(0)
		g.rouse()
		v.works, v.platform = true, a.platform
	}
	if g.pauses > 0 {
		if g.down {
			g.window = warmUp
			d.metrics.down.WithLabelValues(g.name).Set(0)
		}
		v.works = g.resume()
		v.platform = ""
		d.metrics.paused.WithLabelValues(g.name).Set(0)
		g.rouse()
	}
	if out.Kind == channels.Accepted && g.window > 0 {
		if g.window++; g.window >= g.max {
			g.window = 0
		}
	}
	if out.Kind == channels.RetryAfter {
		v.cut = d.heed(g, a, out, now)
	}
	return v
}

// heed leaves alone whom the provider wants to be left alone, and reports whether the
// rate was cut.
func (d *Deliverer) heed(g *gate, a *ask, out channels.Outcome, now time.Time) (cut bool) {
	until := now.Add(min(out.RetryAfter, maxHold))
	switch {
	case out.Scope == channels.ScopeDevice && out.RetryAfter > 0:
		g.devices.leave(a.device, until, now)
	case out.Scope == channels.ScopePlatform && a.platform != "" && out.RetryAfter > 0:
		if h := g.platform(a.platform); until.After(h.hold) {
			h.hold = until
			g.swept(now)
		}
	case out.Scope == channels.ScopeCredential:
		if cut = out.Status == http.StatusTooManyRequests && g.rate.cut(now); cut {
			d.metrics.cuts.WithLabelValues(g.name).Inc()
		}
		if out.RetryAfter > 0 && until.After(g.hold) {
			g.hold = until
			g.swept(now)
		}
	}
	return cut
}

// resumes is when what the attempt waits for ends its pause; now if there is none.
func (d *Deliverer) resumes(g *gate, platform string, now time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	until := now
	if t := g.stopped(now); t.After(until) {
		until = t
	}
	if h := g.platforms[platform]; h != nil {
		if t := h.stopped(now); t.After(until) {
			until = t
		}
	}
	return until
}
