package deliver

import "time"

// maxDevices is of how many devices it is remembered what they were sent. Of more some
// are forgotten, and may be sent a little more than the limits have it; the provider
// refuses that, and says when to come back.
const maxDevices = 100_000

// devices are token buckets per device, each one number: the time at which what was
// sent to it would be due if it were sent at an even pace (GCRA).
type devices struct {
	minute, hour, collaps, silent pace
	of                            map[string]*device
	budgets                       *budgets // what is to be saved; nil: nothing so far
}

// pace is one message every so often, and burst at once.
type pace struct {
	every time.Duration // 0: no limit
	burst int
}

// device is what is remembered of one: the times of its paces, and until when the
// provider wants it to be left alone.
type device struct{ minute, hour, collaps, silent, until time.Time }

func newDevices(l Rates, silentPerHour int) devices {
	per := func(t time.Duration, n int) pace {
		if n <= 0 {
			return pace{}
		}
		return pace{t / time.Duration(n), n}
	}
	out := devices{
		minute: per(time.Minute, l.DevicePerMin), hour: per(time.Hour, l.DevicePerHour),
		silent: per(time.Hour, silentPerHour), of: map[string]*device{},
	}
	if l.CollapsibleBurst > 0 {
		out.collaps = pace{l.CollapsibleEvery, l.CollapsibleBurst}
	}
	return out
}

// at is when the next may follow.
func (p pace) at(even time.Time) time.Time {
	if p.every == 0 || even.IsZero() {
		return time.Time{}
	}
	return even.Add(-p.every * time.Duration(p.burst-1))
}

func (p pace) count(even *time.Time, now time.Time) {
	if p.every == 0 {
		return
	}
	if even.Before(now) {
		*even = now
	}
	*even = even.Add(p.every)
}

// later is when the device may be sent what is asked for.
func (d *devices) later(a *ask, now time.Time) time.Time {
	x := d.of[a.device]
	if x == nil {
		return now
	}
	at := x.until
	for _, t := range []time.Time{d.minute.at(x.minute), d.hour.at(x.hour)} {
		if t.After(at) {
			at = t
		}
	}
	if a.collaps {
		if t := d.collaps.at(x.collaps); t.After(at) {
			at = t
		}
	}
	if a.silent {
		if t := d.silent.at(x.silent); t.After(at) {
			at = t
		}
	}
	return at
}

// count counts an attempt.
func (d *devices) count(a *ask, now time.Time) {
	counts := d.minute.every > 0 || d.hour.every > 0 || a.collaps && d.collaps.every > 0 || a.silent && d.silent.every > 0
	if a.device == "" || !counts {
		return
	}
	x := d.get(a.device, now)
	d.minute.count(&x.minute, now)
	d.hour.count(&x.hour, now)
	if a.collaps {
		d.collaps.count(&x.collaps, now)
	}
	if a.silent {
		d.silent.count(&x.silent, now)
	}
	d.keep(a.device, x, now)
}

// leave leaves the device alone until then.
func (d *devices) leave(name string, until, now time.Time) {
	if x := d.get(name, now); until.After(x.until) {
		x.until = until
		d.keep(name, x, now)
	}
}

func (d *devices) get(name string, now time.Time) *device {
	x := d.of[name]
	if x != nil {
		return x
	}
	if len(d.of) >= maxDevices {
		d.forget(now)
	}
	x = &device{}
	d.of[name] = x
	return x
}

// forget makes room: of those first of which nothing is left to be remembered.
func (d *devices) forget(now time.Time) {
	for name, x := range d.of {
		if !x.minute.After(now) && !x.hour.After(now) && !x.collaps.After(now) && !x.silent.After(now) && !x.until.After(now) {
			delete(d.of, name)
		}
	}
	for name := range d.of {
		if len(d.of) < maxDevices*9/10 {
			return
		}
		delete(d.of, name)
	}
}
