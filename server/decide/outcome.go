package decide

import (
	"slices"

	"github.com/footfall-engage/footfall/server/engage"
)

// change returns a copy of a delivery's decision that may be changed and must be
// kept; nil when the delivery is not known (any more).
func (s *step) change(delivery string) *engage.Decision {
	d := s.p.Open[delivery]
	if d == nil {
		return nil
	}
	c := *d
	c.UpdatedAt = s.e.At
	return &c
}

func (s *step) keep(d *engage.Decision) {
	if d.State.Terminal() {
		d.DueAt = nil
		s.tx.ClearTimer(s.key, "expire/"+d.Delivery)
	}
	s.p.setOpen(d)
	s.record(*d)
}

// record writes a decision where it is kept. One that another profile has made, which is
// this person now, that profile's owner writes: a document has one writer, or else an
// older version of it could be saved over a newer one.
func (s *step) record(d engage.Decision) {
	if d.Profile == s.p.ID {
		s.made(&d)
		return
	}
	_ = emit(s.tx, engage.ProfileKey(s.ws, d.Profile), engage.KindDecision, s.e.Occurred, d) // it has been encoded before
}

// made writes a decision of this profile, which does not change any more.
func (s *step) made(d *engage.Decision) { s.tx.Record("decisions", s.ws, d.ID, (*document)(d)) }

// recorded is record at the owner.
func recorded(tx engage.Tx, e engage.Entry) error {
	var d engage.Decision
	if err := read(e, &d); err != nil {
		return err
	}
	tx.Record("decisions", e.Workspace(), d.ID, (*document)(&d))
	return nil
}

// onOutcome takes deliver's word. The first terminal state is final.
func (s *step) onOutcome() error {
	var o engage.DeliveryOutcome
	if err := read(s.e, &o); err != nil {
		return err
	}
	d := s.change(o.Delivery)
	if d == nil || d.State.Terminal() {
		return nil
	}
	was := d.Channel
	inboxed := was == string(engage.Inbox)
	d.Channel, d.Detail = o.Channel, o.Detail
	var add engage.Counts
	switch o.State {
	case engage.DeliveryAccepted:
		d.State = engage.Sent
		add.Sent, add.Accepted = 1, 1
	case engage.DeliveryGranted:
		if inboxed { // that came first; a grant that was lost ends there
			d.Channel = string(engage.Inbox)
		}
	case engage.DeliveryInboxed:
		d.Channel = string(engage.Inbox)
		if !inboxed {
			add.Inboxed = 1
		}
	case engage.DeliveryFailed:
		d.State, d.Reason = engage.Failed, o.Reason
		add.Failed = 1
	case engage.DeliveryExpired:
		d.State, d.Reason = engage.Expired, engage.ReasonSendExpired
		add.Expired = 1
	default:
		return engage.Errorf(engage.Invalid, "state", "unknown delivery state %q", o.State)
	}
	if err := s.unreserve(d, was); err != nil {
		return err
	}
	s.keep(d)
	if err := s.m.Meter.Add(s.tx, s.ws, d.Campaign, d.Arm, add); err != nil {
		return err
	}
	if o.State != engage.DeliveryInboxed || !inboxed {
		if err := s.tellMessage(outcomeTypes[o.State], d, o.Install, ""); err != nil {
			return err
		}
	}
	return s.timeline(o.Install, o)
}

// onReceipt takes the phone's word. A message that was displayed, by whatever
// way, has been sent; one that a push displayed was accepted by its provider, even
// if deliver's word of that comes later.
func (s *step) onReceipt() error {
	var r engage.ReceiptItem
	if err := read(s.e, &r); err != nil {
		return err
	}
	s.p.Seen(s.e.At)
	if err := s.timeline(r.Install, r); err != nil {
		return err
	}
	s.touchedBy(&r)
	d := s.change(r.Message)
	if d == nil {
		// A message can be read or put away in the inbox when its decision is long
		// forgotten here. deliver, which knows whose it is, sees to that; a message that
		// it does not know, or not as this person's, it leaves alone.
		s.tellDeliver(r.State, s.p.ID)
		return nil
	}
	if slices.Contains(d.Receipts, r.State) {
		return nil
	}
	var add engage.Counts
	switch r.State {
	case engage.ReceiptDelivered:
		add.Delivered = 1
	case engage.ReceiptDisplayed:
		add.Displayed = 1
	case engage.ReceiptOpened:
		add.Opened = 1
	case engage.ReceiptAction:
		add.Acted = 1
	case engage.ReceiptDismissed:
		add.Dismissed = 1
	case engage.ReceiptConverted:
		add.Converted = 1
	case engage.ReceiptFailed:
		add.NotShown = 1
	default:
		return nil // a state of another version: it stands in the timeline, and says nothing here
	}
	d.Receipts = append(slices.Clone(d.Receipts), r.State)
	// Whoever opened, used or put away a message had it before their eyes.
	confirmed := r.State != engage.ReceiptDelivered && r.State != engage.ReceiptFailed
	if confirmed && !d.State.Terminal() {
		d.State = engage.Sent
		add.Sent = 1
		if r.Via != "" {
			d.Channel = r.Via
		}
		switch d.Channel {
		case string(engage.InApp):
			add.InApp = 1
		case "fcm", "apns":
			add.Accepted = 1
		}
	}
	s.tellDeliver(r.State, d.Profile)
	s.keep(d)
	if err := s.tellMessage(receiptTypes[r.State], d, r.Install, r.Action); err != nil {
		return err
	}
	return s.m.Meter.Add(s.tx, s.ws, d.Campaign, d.Arm, add)
}

// tellDeliver hands the receipt on: deliver need not wait for a message that was
// displayed, marks it as read in the inbox, or takes out what was dismissed. That a
// phone has a message says nothing new to it. It knows the message as its profile's,
// which the person may have been before.
func (s *step) tellDeliver(state, profile string) {
	if state != engage.ReceiptDelivered {
		s.tx.Emit("displayed", engage.Entry{Kind: engage.KindReceipt, Key: engage.ProfileKey(s.ws, profile), Body: s.e.Body})
	}
}

// expire ends a delivery that nobody confirmed in time.
func (s *step) expire(delivery string) error {
	d := s.change(delivery)
	if d == nil || d.State.Terminal() {
		return nil
	}
	d.State, d.Reason = engage.Expired, engage.ReasonNotDisplayed
	s.keep(d)
	if err := s.tellMessage(engage.WebhookExpired, d, "", ""); err != nil {
		return err
	}
	return s.m.Meter.Add(s.tx, s.ws, d.Campaign, d.Arm, engage.Counts{Expired: 1})
}
