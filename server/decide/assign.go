package decide

import (
	"fmt"
	"slices"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/template"
)

// arm is sticky from the first eligible occasion: whoever was treated stays so,
// also when their arm is removed. The holdout and the choice of an arm are two
// hashes, so that changing one does not move the other.
func (a *attempt) arm() string {
	s := a.s
	had, assigned := s.p.Arms[a.c.ID]
	if had == engage.HoldoutArm && a.c.Class == engage.Marketing || assigned && a.c.arm(had) != nil {
		return had
	}
	arm := ""
	if !assigned && a.c.Class == engage.Marketing && engage.Fraction("holdout", s.ws, a.c.ID, s.p.ID)*100 < a.c.HoldoutPercent {
		arm = engage.HoldoutArm
	} else {
		at := engage.Fraction("arm", s.ws, a.c.ID, s.p.ID) * float64(a.c.weight)
		for i := range a.c.arms {
			arm = a.c.arms[i].ID
			if at -= float64(a.c.arms[i].weight()); at < 0 {
				break
			}
		}
	}
	s.p.Arms = replaced(s.p.Arms, a.c.ID, arm)
	if !assigned {
		s.p.ArmsAt = replaced(s.p.ArmsAt, a.c.ID, s.e.At)
	}
	return arm
}

// decide ends in a send or in the control group; both spend the occasion and the cap.
func (a *attempt) decide(rendered map[string]template.Rendered) error {
	s := a.s
	now := s.e.At
	arm := a.arm()
	s.p.Used = replaced(s.p.Used, a.c.ID+"/"+a.t.Occasion, now)
	a.spend()
	a.d.Arm = arm
	if err := a.reserve(arm != engage.HoldoutArm); err != nil {
		return err
	}
	if err := a.aim(arm); err != nil {
		return err
	}
	if arm == engage.HoldoutArm {
		a.saw("holdout", "", s.see().text("arm", arm).number("holdout_percent", a.c.HoldoutPercent))
		a.d.State = engage.HeldOut
		s.made(a.d)
		return s.m.Meter.Add(s.tx, s.ws, a.c.ID, arm, engage.Counts{Decided: 1, HeldOut: 1})
	}
	if err := a.takeBudget(); err != nil {
		return err
	}
	a.pass("holdout", s.see().text("arm", arm).number("holdout_percent", a.c.HoldoutPercent))
	expires := now.Add(a.c.Limits.Expire())
	r := rendered[arm]
	said := &a.c.arm(arm).Message
	send := engage.Send{
		Delivery: a.d.Delivery, Workspace: s.ws, Campaign: a.c.ID, Arm: arm, Profile: s.p.ID, Class: a.c.Class,
		Title: r.Title, Body: r.Body, DeepLink: r.DeepLink, ImageURL: r.ImageURL, Data: r.Data,
		Actions: r.Actions, Push: r.Push(said.Push), InApp: said.InApp, Inbox: said.Inbox,
		Channels: a.closed.without(a.c.arm(arm).allowed), Devices: a.devices(), DecidedAt: now, ExpiresAt: expires,
		Bulk:           a.c.Lane == engage.BulkLane || a.t.Bulk,
		RetryAmbiguous: a.c.Limits.RetryAmbiguous == nil || *a.c.Limits.RetryAmbiguous,
	}
	body, err := sendJSON.Append(make([]byte, 0, 1024), &send)
	if err != nil {
		return fmt.Errorf("encode send: %w", err)
	}
	s.tx.Emit("send", engage.Entry{Kind: engage.KindSend, Key: s.key, Occurred: s.e.Occurred, Body: body})
	due := expires.Add(expiryGrace)
	a.d.State, a.d.DueAt = engage.Pending, &due
	s.p.setOpen(a.d)
	s.tx.SetTimer(s.key, "expire/"+a.d.Delivery, due, nil)
	s.made(a.d)
	return s.m.Meter.Add(s.tx, s.ws, a.c.ID, arm, engage.Counts{Decided: 1})
}

// devices are the person's installs, the triggering one first.
func (a *attempt) devices() []engage.Device {
	ds := a.s.p.DevicesByUse()
	i := slices.IndexFunc(ds, func(d engage.Device) bool { return d.Install == a.t.Install })
	if i > 0 {
		d := ds[i]
		ds = slices.Insert(slices.Delete(ds, i, i+1), 0, d)
	}
	return ds
}
