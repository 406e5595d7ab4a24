package deliver

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

// Why a message did not go by push, and so went into the inbox: the detail of
// the outcome. Of several devices the one that came furthest counts.
const (
	detailNoSession    = "no_session"    // in-app only, and no session was open
	detailNoClaim      = "no_claim"      // in-app only, and no phone claimed it
	detailNoDevice     = "no_device"     // the person has none
	detailLoggedOut    = "logged_out"    // the person has left the app on it
	detailNoPermission = "no_permission" // the OS would not show it
	detailNoToken      = "no_token"      // no device gave one
	detailTokenDead    = "token_dead"    // the provider says that it is dead
	detailNoCredential = "no_credential" // the app has none for the provider
	detailSilentBudget = "silent_budget" // devices have been sent as many silent messages as they may be
	detailNotDisplayed = "not_displayed" // a phone was granted, and did not say that it has shown it
	detailNotShown     = "not_shown"     // a phone was granted, and says that it could not
	detailHeld         = "held"          // it waits for its moment on the person's phones
)

// progress orders the details by how far a device came.
var progress = []string{detailNoDevice, detailLoggedOut, detailNoPermission, detailNoToken, detailTokenDead, detailNoCredential, detailSilentBudget}

// pushLane is where the attempt is repeated.
func (d *delivery) pushLane(a *attempt) string {
	return laneName(gateName(string(a.Provider), a.Credential), keyOf(&d.Send, a.Platform))
}

// allows reports whether the send may go by the channel.
func allows(s *engage.Send, c engage.Channel) bool {
	return engage.Content{Channels: s.Channels}.Allows(c)
}

// byUse is the devices in the order of asking: the triggering one first, as it
// stands in the send, then those seen last.
func byUse(devices []engage.Device) []engage.Device {
	if len(devices) < 3 {
		return devices
	}
	out := slices.Clone(devices)
	slices.SortStableFunc(out[1:], func(a, b engage.Device) int { return b.SeenAt.Compare(a.SeenAt) })
	return out
}

// reach says why the device cannot get a push; empty when it can.
func (d *delivery) reach(dev *engage.Device) string {
	p := dev.Push
	switch {
	case !dev.Notifiable():
		return detailNoPermission
	case p == nil || p.Token == "" || p.Provider != string(channels.FCM) && p.Provider != string(channels.APNs):
		return detailNoToken
	case p.Dead != "" || slices.Contains(d.Gone, dev.Install):
		return detailTokenDead
	default:
		return ""
	}
}

// owns reports whether the install is still the person's for whom the send was
// decided.
func (d *Deliverer) owns(ctx context.Context, s *engage.Send, install string) (bool, error) {
	if d.o.Owners == nil {
		return true, nil
	}
	profile, err := d.o.Owners.Owner(ctx, s.Workspace, install)
	if err != nil {
		return false, err
	}
	return d.same(ctx, s.Workspace, profile, s.Profile)
}

// refuse ends the delivery if it must not go out any more, and reports it.
func (d *Deliverer) refuse(ctx context.Context, r *delivery, now time.Time) bool {
	switch {
	case r.Displayed:
		r.shown()
		return true
	case r.expired(now) && r.accepted():
		r.over()
		return true
	case r.expired(now):
		o := engage.DeliveryOutcome{State: engage.DeliveryExpired, Reason: engage.ReasonSendExpired}
		if a := r.last(); a != nil && a.Answer != nil {
			o.Detail = a.Answer.Reason
		}
		r.finish(o, now)
		return true
	case d.o.Permits == nil:
		return false
	}
	reason, err := d.o.Permits.Permit(ctx, &r.Send)
	if err != nil {
		d.log.WarnContext(ctx, "permission to send is unknown, so the decision's holds",
			"workspace", r.Send.Workspace, "delivery", r.Send.Delivery, "error", err)
		return false
	}
	if reason == "" {
		return false
	}
	if r.accepted() {
		r.over()
		return true
	}
	r.finish(engage.DeliveryOutcome{State: engage.DeliveryFailed, Reason: reason}, now)
	return true
}

// capacious is a Sender that knows how many attempts it can have under way: more only
// wait in it, where one cannot overtake another.
type capacious interface{ Capacity() int }

// asks is what an attempt to send to the device takes.
func asks(r *delivery, dev *engage.Device) ask {
	a := ask{flowKey: keyOf(&r.Send, dev.Platform), device: r.Send.Workspace + "/" + dev.Install}
	if p := r.Send.Push; p != nil {
		a.silent, a.collaps = p.Silent, p.CollapseKey != ""
	}
	return a
}

// place is where something waits, and until when.
type place struct {
	lane string
	due  time.Time
}

// without goes on without the ith of the phones: where one of each platform is chosen,
// with the next of its platform.
func (d *delivery) without(devices []engage.Device, i *int) []engage.Device {
	if !d.fans() {
		return devices
	}
	d.skip(devices[*i].Install)
	*i = -1
	return d.chosen()
}

// push begins an attempt at the first device that can get one; without a slot
// the delivery waits for it; without a device it goes into the inbox.
func (d *Deliverer) push(ctx context.Context, c *change, now time.Time, fair bool) {
	r := c.r
	if !allows(&r.Send, engage.Push) {
		detail := detailNoSession
		if r.Offer != nil {
			detail = detailNoClaim
		}
		d.inbox(ctx, c, detail, engage.ReasonNoChannel, now)
		return
	}
	best := detailNoDevice
	further := func(detail string) {
		if slices.Index(progress, detail) > slices.Index(progress, best) {
			best = detail
		}
	}
	devices := byUse(r.Send.Devices)
	if r.fans() {
		for _, dev := range devices {
			if why := r.reach(&dev); why != "" {
				further(why)
			}
		}
		devices = r.chosen()
	}
	var waits *place // where a delivery to several phones waits, when none can go now
	for i := 0; i < len(devices); i++ {
		dev := devices[i]
		owns, err := d.owns(ctx, &r.Send, dev.Install)
		if err != nil {
			d.log.WarnContext(ctx, "nobody knows whose the phone is, so it waits", "workspace", r.Send.Workspace, "install", dev.Install, "error", err)
			r.State = waiting
			r.wait(laneTimer, now.Add(afterError))
			return
		}
		if !owns {
			further(detailLoggedOut)
			devices = r.without(devices, &i)
			continue
		}
		if why := r.reach(&dev); why != "" {
			further(why)
			continue
		}
		sender, credential, err := d.o.Senders.Sender(ctx, r.Send.Workspace, dev.App, dev.Push.Provider)
		switch code := engage.CodeOf(err); {
		case code == engage.NotFound || code == engage.Unsupported:
			further(detailNoCredential)
			devices = r.without(devices, &i)
			continue
		case err != nil:
			d.log.WarnContext(ctx, "no sender for now", "workspace", r.Send.Workspace, "app", dev.App,
				"provider", dev.Push.Provider, "error", err)
			r.State = waiting
			r.wait(laneTimer, now.Add(afterError))
			return
		}
		g, a := d.gate(gateName(dev.Push.Provider, credential)), asks(r, &dev)
		a.lane, a.fair = laneName(g.name, a.flowKey), fair
		if s, ok := sender.(capacious); ok {
			a.slots = s.Capacity()
		}
		ok, later := false, time.Time{}
		if l := r.leg(dev.Install); l != nil && l.DueUS > now.UnixMicro() {
			later = time.UnixMicro(l.DueUS).UTC()
		} else if c.owned {
			ok, later = d.slot(g, &a)
		}
		switch {
		case ok:
			// What waits in this very lane can stay there, where nobody but us takes it from:
			// a line in the journal is enough.
			noted := r.version > 0 && r.State == waiting && r.Lane == a.lane && !r.fans()
			r.begin(&dev, credential, now)
			c.flight = &flight{noted: noted, r: r, gate: g, ask: a, sender: sender, dev: dev, m: pushMessage(r, &dev)}
			return
		case a.silent && !later.Before(r.Send.ExpiresAt):
			further(detailSilentBudget)
			devices = r.without(devices, &i)
			continue
		case r.fans():
			if later.IsZero() { // a paused credential holds up no phone of another one
				later = d.resumes(g, a.platform, now)
			}
			if waits == nil || later.Before(waits.due) {
				waits = &place{a.lane, later}
			}
			continue
		}
		r.State = waiting
		switch {
		case later.After(now):
			r.wait(a.lane, later)
		case r.Lane != a.lane:
			r.wait(a.lane, now)
		}
		return
	}
	if waits != nil {
		r.State = waiting
		if r.Lane != waits.lane || waits.due.After(now) {
			r.wait(waits.lane, waits.due)
		}
		return
	}
	if r.fans() && r.conclude(now) {
		return
	}
	d.inbox(ctx, c, best, engage.ReasonNoChannel, now)
}

// inbox puts the message into the inbox, or ends the delivery for that reason
// where the campaign has no inbox.
func (d *Deliverer) inbox(ctx context.Context, c *change, detail string, otherwise engage.Reason, now time.Time) {
	r := c.r
	if !allows(&r.Send, engage.Inbox) && !held(&r.Send) {
		r.finish(engage.DeliveryOutcome{State: engage.DeliveryFailed, Reason: otherwise, Detail: detail}, now)
		return
	}
	item, err := r.inboxItem(now)
	if err != nil { // strings and a map of strings can always be encoded
		d.log.ErrorContext(ctx, "inbox", "error", err)
		r.finish(engage.DeliveryOutcome{State: engage.DeliveryFailed, Reason: otherwise, Detail: detail}, now)
		return
	}
	c.box = &boxing{item: item}
	for _, dev := range byUse(r.Send.Devices) {
		c.box.to = append(c.box.to, dev.Install)
	}
	r.State, r.Boxed = inboxed, true
	if !item.Expires.Equal(r.Send.ExpiresAt) {
		r.BoxedUntil = item.Expires
	}
	r.Send.Devices, r.Send.Data = nil, nil
	r.tell(engage.DeliveryOutcome{State: engage.DeliveryInboxed, Channel: string(engage.Inbox), Detail: detail}, now)
}

// backoff is when to ask again after the nth failure: 1 s, 2 s, 4 s … 5 min, of
// which half is left to chance, a hash of what is repeated.
func backoff(n int, chance float64) time.Duration {
	d := min(time.Second<<min(cmp.Or(n, 1)-1, 16), 5*time.Minute)
	return d/2 + time.Duration(float64(d/2)*chance)
}
