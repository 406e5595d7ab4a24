package deliver

import (
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// leg is the way of a delivery to one of several phones. Legs take turns: one attempt
// of a delivery is under way at a time, and those that wait let the others go first.
type leg struct {
	Install string        `json:"install"`
	End     legEnd        `json:"end,omitempty"`    // empty while it goes on
	Reason  engage.Reason `json:"reason,omitempty"` // with legFailed
	Detail  string        `json:"detail,omitempty"`
	DueUS   int64         `json:"due_us,omitempty"` // of its next attempt; 0 means now
	Failed  int           `json:"failed,omitempty"` // as delivery.Failed
}

// legEnd is how a leg ended.
type legEnd string

const (
	legAccepted legEnd = "accepted"
	legGone     legEnd = "gone"   // the token is dead
	legFailed   legEnd = "failed" // for Reason
)

// fans reports whether the message goes to several phones.
func (d *delivery) fans() bool {
	p := d.Send.Push
	return p != nil && (p.Devices == engage.AllDevices || p.Devices == engage.OnePerPlatform)
}

// leg is that to the install; nil when nothing was tried there yet.
func (d *delivery) leg(install string) *leg {
	i := slices.IndexFunc(d.Legs, func(l leg) bool { return l.Install == install })
	if i < 0 {
		return nil
	}
	return &d.Legs[i]
}

// accepted reports whether a provider has taken the message for a phone.
func (d *delivery) accepted() bool {
	return slices.ContainsFunc(d.Legs, func(l leg) bool { return l.End == legAccepted })
}

// chosen are the phones to which the message is still to go, in the order of asking:
// all, or the first of each platform that can be reached. Owners are not asked.
func (d *delivery) chosen() (out []engage.Device) {
	taken := map[string]bool{} // platforms
	for _, dev := range byUse(d.Send.Devices) {
		if d.reach(&dev) != "" || d.Send.Push.Devices == engage.OnePerPlatform && taken[dev.Platform] {
			continue
		}
		taken[dev.Platform] = true
		if l := d.leg(dev.Install); l == nil || l.End == "" {
			out = append(out, dev)
		}
	}
	return out
}

// skip takes a phone out of the choice.
func (d *delivery) skip(install string) { d.Gone = append(d.Gone, install) }

// ends notes how the leg of the newest attempt ended.
func (d *delivery) ends(end legEnd, reason engage.Reason, detail string) {
	if l := d.leg(d.last().Install); l != nil {
		l.End, l.Reason, l.Detail, l.DueUS = end, reason, detail, 0
	}
}

// goesOn has the delivery looked at again at once, for its other phones.
func (d *delivery) goesOn(now time.Time) {
	d.State = waiting
	d.wait(laneTimer, now)
}

// over ends a delivery that was accepted for a phone, and of which decide knows that.
func (d *delivery) over() {
	d.State = done
	d.Send.Devices, d.Send.Data = nil, nil
	d.rest()
}

// conclude ends a delivery of which no phone is left; false when none was tried, or
// all that were are gone, so that the inbox has its turn.
func (d *delivery) conclude(now time.Time) bool {
	if d.accepted() {
		d.over()
		return true
	}
	for _, l := range slices.Backward(d.Legs) {
		if l.End == legFailed {
			d.finish(engage.DeliveryOutcome{State: engage.DeliveryFailed, Reason: l.Reason, Detail: l.Detail}, now)
			return true
		}
	}
	return false
}
