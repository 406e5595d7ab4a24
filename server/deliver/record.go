package deliver

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

const (
	recordV1 = 1
	inboxV1  = 1

	// keepDone is how long a finished delivery is remembered at least, so that
	// the same send, handed over again, is recognised.
	keepDone = 24 * time.Hour
	// keepAttempts is how many attempts a record lists; all are counted.
	keepAttempts = 16
)

// errRecord: the bytes are not a record that this version can read.
var errRecord = errors.New("not a readable delivery record")

// state of a delivery in the ledger.
type state string

const (
	offered state = "offered" // an open session has it and may claim it until Offer.Until
	granted state = "granted" // a phone may show it; its receipt is awaited
	sending state = "sending" // an attempt is recorded and may have been made
	waiting state = "retry"   // waits for a slot, or for the time of its next attempt
	inboxed state = "inbox"   // waits in the inbox
	done    state = "done"
)

// delivery is the body of a Record.
type delivery struct {
	V     int    `json:"v"`
	Lane  string `json:"lane,omitempty"`
	DueUS int64  `json:"due_us,omitempty"`
	State state  `json:"state"`
	// Send is decide's order. Devices, with their tokens, and Data are dropped
	// when they are no longer needed.
	Send  engage.Send `json:"send"`
	Offer *offer      `json:"offer,omitempty"` // nil when it was never offered in-app
	// Attempts are the last keepAttempts of those made or begun.
	Attempts []attempt `json:"attempts,omitempty"`
	Made     int       `json:"made,omitempty"`   // attempts in all, those under way included
	Failed   int       `json:"failed,omitempty"` // those that count towards maxAttempts
	Gone     []string  `json:"gone,omitempty"`   // installs whose token a provider called dead
	Legs     []leg     `json:"legs,omitempty"`   // where the message goes to several phones: those that were tried
	// Outcome is the last word for decide; nil when there is none yet.
	Outcome   *engage.DeliveryOutcome `json:"outcome,omitempty"`
	Told      bool                    `json:"told,omitempty"`      // decide has Outcome, or the journal says that it may not
	Displayed bool                    `json:"displayed,omitempty"` // a phone has said so
	Boxed     bool                    `json:"boxed,omitempty"`     // it was put into the inbox
	Dismissed bool                    `json:"dismissed,omitempty"` // a phone has said so
	// BoxedUntil is when the inbox forgets it; zero: with the message, or it was never there.
	BoxedUntil time.Time `json:"boxed_until,omitzero"`
	// Claimed is the install that was granted a message which waits for its moment.
	Claimed   string    `json:"claimed,omitempty"`
	UpdatedAt time.Time `json:"updated_at"`

	version int64 // in the ledger; 0 for none
	wire    wire  // what it was read from; empty where encoding/json has read it
}

// offer is what an open session was offered.
type offer struct {
	Install string    `json:"install"`
	Until   time.Time `json:"until"`
}

// attempt at a provider. It is recorded before it is made.
type attempt struct {
	ID         string            `json:"id"` // engage.AttemptID: the same whenever it is repeated
	Install    string            `json:"install"`
	Provider   channels.Provider `json:"provider"`
	Credential string            `json:"credential"`
	Platform   string            `json:"platform,omitempty"` // of the install; absent in records of earlier builds
	Number     int               `json:"number"`             // from 1, over all installs
	At         time.Time         `json:"at"`
	// Answer is nil until the outcome is known.
	Answer *answer `json:"answer,omitempty"`
}

// answer is what came of an attempt.
type answer struct {
	Kind       channels.Kind `json:"kind,omitempty"` // empty when nobody knows, or no attempt was made
	Reason     string        `json:"reason,omitempty"`
	Status     int           `json:"status,omitempty"`
	ProviderID string        `json:"provider_id,omitempty"`
	Ambiguous  bool          `json:"ambiguous,omitempty"`
}

// key names a delivery.
type key struct{ workspace, id string }

func (d *delivery) key() key { return key{d.Send.Workspace, d.Send.Delivery} }

func (d *delivery) due() time.Time { return time.UnixMicro(d.DueUS).UTC() }

// wait puts the delivery into a lane. A due time after the message's expiry is
// its expiry, since that is looked at then.
func (d *delivery) wait(lane string, due time.Time) {
	if due.After(d.Send.ExpiresAt) && d.State != done && d.State != inboxed {
		due = d.Send.ExpiresAt
	}
	d.Lane, d.DueUS = lane, ceilMicro(due)
}

// rest takes the delivery out of all lanes.
func (d *delivery) rest() { d.Lane, d.DueUS = "", 0 }

// ceilMicro rounds up, so that what is due is never looked at too early.
func ceilMicro(t time.Time) int64 { return t.Add(time.Microsecond - 1).UnixMicro() }

func (d *delivery) expired(now time.Time) bool { return !now.Before(d.Send.ExpiresAt) }

func (d *delivery) last() *attempt {
	if len(d.Attempts) == 0 {
		return nil
	}
	return &d.Attempts[len(d.Attempts)-1]
}

// begin records an attempt that is about to be made.
func (d *delivery) begin(dev *engage.Device, credential string, now time.Time) {
	d.began(attempt{
		ID: engage.AttemptID(d.Send.Delivery, dev.Install), Install: dev.Install,
		Provider: channels.Provider(dev.Push.Provider), Credential: credential, Platform: dev.Platform, Number: d.Made + 1, At: now,
	})
}

// began records an attempt, whose number is the next.
func (d *delivery) began(a attempt) {
	d.Made++
	d.Attempts = append(d.Attempts, a)
	if n := len(d.Attempts) - keepAttempts; n > 0 {
		d.Attempts = append([]attempt(nil), d.Attempts[n:]...)
	}
	if d.fans() && d.leg(a.Install) == nil {
		d.Legs = append(d.Legs, leg{Install: a.Install})
	}
	d.State = sending
	d.wait(laneInFlight, a.At)
}

// tell sets the word for decide, to be told from laneTell.
func (d *delivery) tell(o engage.DeliveryOutcome, now time.Time) {
	o.Delivery, o.Attempts = d.Send.Delivery, d.Made
	d.Outcome, d.Told = &o, false
	d.wait(laneTell, now)
}

// trust takes the delivery out of the lane of what is to be told: the journal says that
// decide may not know the outcome.
func (d *delivery) trust() {
	d.Told = true
	d.rest()
}

// untell puts it back.
func (d *delivery) untell(now time.Time) {
	d.Told = false
	d.wait(laneTell, now)
}

// finish ends the delivery with the word for decide. The push tokens are of no
// more use.
func (d *delivery) finish(o engage.DeliveryOutcome, now time.Time) {
	d.State = done
	d.Send.Devices, d.Send.Data = nil, nil
	if a := d.last(); a != nil && o.Channel == "" {
		o.Channel, o.Install = string(a.Provider), a.Install
	}
	d.tell(o, now)
}

// shown ends a delivery that a phone has displayed: decide has the receipt.
func (d *delivery) shown() {
	d.State = done
	d.Send.Devices, d.Send.Data = nil, nil
	d.rest()
}

// record encodes the delivery. It expires only when nothing is left to be done.
func (d *delivery) record() (Record, error) {
	d.V = recordV1
	body := d.encode()
	if body == nil {
		var err error
		if body, err = json.Marshal(d); err != nil {
			return Record{}, fmt.Errorf("encode delivery %s: %w", d.Send.Delivery, err)
		}
	}
	r := Record{Workspace: d.Send.Workspace, ID: d.Send.Delivery, Lane: d.Lane, Body: body}
	if d.Lane != "" {
		r.Due = d.due()
	} else {
		r.Expires = d.UpdatedAt.Add(keepDone)
		// What is in the inbox can be read, or claimed, until it is gone there.
		for _, until := range []time.Time{d.Send.ExpiresAt, d.BoxedUntil} {
			if until.After(r.Expires) {
				r.Expires = until
			}
		}
	}
	return r, nil
}

// readRecord decodes a record of any version so far.
func readRecord(r Record) (*delivery, error) {
	var d delivery
	if !d.decode(r.Body) {
		d = delivery{}
		if err := json.Unmarshal(r.Body, &d); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errRecord, r.ID, err)
		}
	}
	switch {
	case d.V != recordV1:
		return nil, fmt.Errorf("%w: %s: version %d", errRecord, r.ID, d.V)
	case d.Send.Delivery != r.ID || d.Send.Workspace != r.Workspace:
		return nil, fmt.Errorf("%w: %s: is of another delivery or workspace", errRecord, r.ID)
	}
	switch {
	case d.Lane == laneTell && d.Outcome == nil:
		return nil, fmt.Errorf("%w: %s: nothing to tell", errRecord, r.ID)
	case d.Lane == laneInFlight && d.State != sending:
		return nil, fmt.Errorf("%w: %s: %s in the lane of attempts", errRecord, r.ID, d.State)
	}
	switch d.State {
	case offered:
		if d.Offer == nil {
			return nil, fmt.Errorf("%w: %s: offered to nobody", errRecord, r.ID)
		}
	case sending:
		if d.last() == nil {
			return nil, fmt.Errorf("%w: %s: sending without an attempt", errRecord, r.ID)
		}
	case granted, inboxed, done, waiting:
	default:
		return nil, fmt.Errorf("%w: %s: unknown state %q", errRecord, r.ID, d.State)
	}
	d.version = r.Version
	return &d, nil
}
