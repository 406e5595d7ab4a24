package redeem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// Ask is what a till wants.
type Ask struct {
	Workspace string
	Ref       string // the till's own id of it
	By        string // id of its server key
	Code      string
	Delivery  string        // of a shared code: the message that brought it; empty: not known
	Profile   string        // of a shared code: who redeems it; empty: not known
	Place     *engage.Place // nil: the till did not say
	Order     string
	Value     float64 // what is paid, in Currency; 0: not known
	Worth     float64 // what the offer takes off, in Currency; 0: what the offer says
	Currency  string
}

// Refused is why a till is not to take a code; its Err can be acted on.
type Refused struct {
	Err   *engage.Error
	Offer *engage.Offer // nil: not known
	// At and Place are of the redemption that was there before.
	At    time.Time
	Place string
}

// Error implements error.
func (r *Refused) Error() string { return r.Err.Error() }

// Unwrap gives the error that can be acted on.
func (r *Refused) Unwrap() error { return r.Err }

func refuse(o *engage.Offer, code engage.Code, format string, args ...any) *Refused {
	field := "code"
	if code == engage.TillWrongPlace {
		field = "place"
	}
	return &Refused{Err: engage.Errorf(code, field, format, args...), Offer: o}
}

func already(o *engage.Offer, u *used) *Refused {
	r := refuse(o, engage.TillAlready, "it was redeemed on %s UTC and cannot be used again", u.At.UTC().Format("2 January 2006 at 15:04"))
	if u.Place != "" {
		r.Err.Msg = fmt.Sprintf("it was redeemed on %s UTC at the place %q and cannot be used again", u.At.UTC().Format("2 January 2006 at 15:04"), u.Place)
	}
	r.At, r.Place = u.At, u.Place
	return r
}

// redemption is a document of the collection "redemptions".
type redemption struct {
	engage.Redemption
	// Counted is the person whose count it is in; empty: in nobody's.
	Counted string `json:"counted,omitempty"`
}

// use is a document of the collection "offer_uses".
type use struct {
	V     int    `json:"v"` // 1
	Offer string `json:"offer"`
	// Redeemed is how often it was, less Voided; Value and Worth are of those that stand,
	// by currency in ten-thousandths of its unit.
	Redeemed int64            `json:"redeemed,omitempty"`
	Voided   int64            `json:"voided,omitempty"`
	Value    map[string]int64 `json:"value,omitempty"`
	Worth    map[string]int64 `json:"worth,omitempty"`
	Used     *used            `json:"used,omitempty"` // of a message
}

// Use is how often an offer was redeemed.
type Use struct {
	Redeemed int64            // those that stand
	Voided   int64            // those that were taken back
	Value    map[string]int64 // paid with those that stand, by currency, engage.Parts
	Worth    map[string]int64 // what these took off
}

const tooMany = "others are redeeming the same: try again"

// Redeem takes a code, or says by a *Refused why not. again: it had been taken under the
// same id before, and this is the same answer. Conflict: under this id something else was
// asked before.
func (s *Service) Redeem(ctx context.Context, a *Ask) (r *engage.Redemption, again bool, err error) {
	for range tries {
		r, again, err = s.redeem(ctx, a, false)
		if !errors.Is(err, store.ErrVersion) {
			return r, again, err
		}
	}
	return nil, false, engage.Errorf(engage.Unavailable, "code", tooMany)
}

// Check says what Redeem would, and changes nothing.
func (s *Service) Check(ctx context.Context, a *Ask) (*engage.Redemption, error) {
	r, _, err := s.redeem(ctx, a, true)
	return r, err
}

func (s *Service) redeem(ctx context.Context, a *Ask, dry bool) (*engage.Redemption, bool, error) {
	text := engage.NormalCode(a.Code)
	if text == "" {
		return nil, false, refuse(nil, engage.TillUnknownCode, "no offer has this code: look whether it was typed right")
	}
	t := taking{s: s, a: a, now: s.o.Clock.Now(), text: text}
	if err := t.find(ctx); err != nil {
		return nil, false, err
	}
	if t.o != nil {
		lock := s.stripe(a.Workspace, t.o.ID)
		lock.Lock()
		defer lock.Unlock()
	}
	if !dry {
		had, err := t.had(ctx)
		if had != nil || err != nil {
			return had, had != nil, err
		}
	}
	if t.o == nil {
		return nil, false, refuse(nil, engage.TillUnknownCode, "no offer has this code: look whether it was typed right")
	}
	if err := t.allowed(ctx); err != nil {
		return nil, false, err
	}
	if dry {
		return &t.r.Redemption, false, nil
	}
	if err := t.write(ctx); err != nil {
		return nil, false, err
	}
	s.changed()
	return &t.r.Redemption, false, nil
}

// taking is a code that a till wants to take.
type taking struct {
	s    *Service
	a    *Ask
	now  time.Time
	text string // as NormalCode has it
	o    *engage.Offer
	r    redemption
	b    store.Batch
}

// find finds the offer of the code.
func (t *taking) find(ctx context.Context) error {
	ws := t.a.Workspace
	if t.o = t.s.o.Shared(ws, t.text); t.o != nil {
		return nil
	}
	var c code
	if _, err := t.s.get(ctx, "offer_codes", ws, t.text, &c); err != nil {
		return err
	}
	t.o = t.s.o.Offer(ws, c.Offer)
	return nil
}

// had is the redemption that the till has made before under the same id.
func (t *taking) had(ctx context.Context) (*engage.Redemption, error) {
	var r redemption
	version, err := t.s.get(ctx, "redemptions", t.a.Workspace, engage.RedemptionID(t.a.Workspace, t.a.Ref), &r)
	switch {
	case err != nil || version == 0:
		return nil, err
	}
	other, err := t.differs(ctx, &r)
	if err != nil {
		return nil, err
	}
	if other != "" { // what it was is not said: this till may not be the one that asked
		return nil, engage.Errorf(engage.Conflict, "id", "is that of another redemption, which had another %s: ids are unique in a workspace, so put the shop and the till into yours", other)
	}
	return &r.Redemption, nil
}

// differs is what the till asks otherwise than for r; empty: it asks the same again. What
// is not of the till's saying (worth, a message that was found) counts where it says it.
func (t *taking) differs(ctx context.Context, r *redemption) (string, error) {
	a, place := t.a, ""
	if a.Place != nil {
		place = a.Place.ID
	}
	switch {
	case r.Code != t.text:
		return "code", nil
	case r.Place != place:
		return "place", nil
	case r.Order != a.Order:
		return "order", nil
	case r.Value != a.Value || a.Value > 0 && a.Currency != "" && r.Currency != a.Currency:
		return "value", nil
	case a.Worth > 0 && r.Worth != a.Worth:
		return "worth", nil
	case r.Counted == "" && r.Profile != "": // a unique code, which says itself whose it is
		return "", nil
	case a.Delivery != "" && a.Delivery != r.Delivery:
		return "message", nil
	case a.Delivery != "" || a.Profile == "" && r.Profile == "":
		return "", nil
	case a.Profile == "" || r.Profile == "":
		return "person", nil
	}
	ids, err := t.s.o.Persons(ctx, a.Workspace, a.Profile) // who may go by another id since
	if err == nil && !slices.Contains(ids, r.Profile) {
		return "person", nil
	}
	return "", err
}

// allowed asks whether the code may be taken now and there, by this person, and puts what
// this changes into the batch.
func (t *taking) allowed(ctx context.Context) error {
	o, a := t.o, t.a
	t.r = redemption{Redemption: engage.Redemption{
		V: 1, ID: engage.RedemptionID(a.Workspace, a.Ref), Ref: a.Ref, State: engage.Redeemed, Offer: o.ID, Code: t.text,
		Order: a.Order, By: a.By, At: t.now, AtUS: t.now.UnixMicro(),
	}}
	if a.Place != nil {
		t.r.Place = a.Place.ID
	}
	// What was taken already is told before everything else: the offer may be over since.
	if o.Codes == engage.UniqueCodes {
		if err := t.unique(ctx); err != nil {
			return err
		}
	} else if err := t.shared(ctx); err != nil {
		return err
	}
	if err := t.open(); err != nil {
		return err
	}
	return t.total(ctx)
}

// open asks whether the offer is redeemed now and there.
func (t *taking) open() error {
	o := t.o
	switch open, over := o.Open(t.now); {
	case open:
	case o.Status == engage.OfferPaused:
		return refuse(o, engage.TillPaused, "the offer %q is paused: ask whoever runs it", o.Name)
	case over && o.Until != nil && !t.now.Before(*o.Until):
		return refuse(o, engage.TillExpired, "the offer %q ended on %s UTC", o.Name, o.Until.UTC().Format("2 January 2006 at 15:04"))
	case over:
		return refuse(o, engage.TillExpired, "the offer %q has ended", o.Name)
	default:
		return refuse(o, engage.TillNotYet, "the offer %q begins on %s UTC", o.Name, o.From.UTC().Format("2 January 2006 at 15:04"))
	}
	switch {
	case o.At(t.a.Place):
		return nil
	case t.a.Place == nil:
		return engage.Errorf(engage.Invalid, "place", "is required: the offer %q is redeemed at some places only", o.Name)
	default:
		return refuse(o, engage.TillWrongPlace, "the offer %q is not redeemed at %s", o.Name, t.a.Place.Name)
	}
}

// unique asks whether a code of the pool is still to be taken, and whose it is.
func (t *taking) unique(ctx context.Context) error {
	ws := t.a.Workspace
	var c code
	version, err := t.s.get(ctx, "offer_codes", ws, t.text, &c)
	switch {
	case err != nil:
		return err
	case version == 0:
		return refuse(nil, engage.TillUnknownCode, "no offer has this code: look whether it was typed right")
	case c.Used != nil:
		return already(t.o, c.Used)
	}
	is, err := t.s.reserved(ctx, ws, func() (*engage.Reservation, error) { return t.s.newest(ctx, ws, equals("held", t.text)) })
	if err != nil {
		return err
	}
	if is == nil {
		back, err := t.s.newest(ctx, ws, equals("back", t.text))
		switch {
		case err != nil:
			return err
		case back != nil:
			return refuse(t.o, engage.TillGivenBack, "the message with this code never arrived, and the code is no longer the customer's")
		}
		return refuse(t.o, engage.TillUnknownCode, "this code was given to nobody, or too long ago")
	}
	t.brought(is)
	c.Used = t.used()
	return put(&t.b, "offer_codes", ws, t.text, version, c)
}

// shared asks, for a code that everybody has, who redeems it and which message brought it.
func (t *taking) shared(ctx context.Context) error {
	a, ws := t.a, t.a.Workspace
	ids := []string{}
	var is *engage.Reservation
	var err error
	if a.Delivery != "" {
		is, err = t.s.reserved(ctx, ws, func() (*engage.Reservation, error) { return t.s.reservation(ctx, ws, a.Delivery) })
		switch {
		case err != nil:
			return err
		case is == nil || is.Offer != t.o.ID:
			return &Refused{Err: engage.Errorf(engage.TillUnknownCode, "delivery", "no message of this id brought the offer"), Offer: t.o}
		case is.Returned:
			return refuse(t.o, engage.TillGivenBack, "the message with this code never arrived")
		}
	}
	whose := a.Profile
	if is != nil {
		whose = is.Profile
	}
	if whose != "" {
		if ids, err = t.s.o.Persons(ctx, ws, whose); err != nil {
			return err
		}
		t.r.Profile = ids[0]
	}
	if is == nil && whose != "" {
		if is, err = t.s.unredeemed(ctx, ws, t.o.ID, ids); err != nil {
			return err
		}
	}
	if err := t.person(ctx, ids); err != nil {
		return err
	}
	if is == nil {
		return nil
	}
	t.brought(is)
	t.r.Profile = ids[0]
	var d use
	version, err := t.s.get(ctx, "offer_uses", ws, "d/"+is.Delivery, &d)
	switch {
	case err != nil:
		return err
	case d.Used != nil:
		return already(t.o, d.Used)
	}
	return t.put("d/"+is.Delivery, version, use{V: 1, Offer: t.o.ID, Used: t.used()}, t.now.Add(t.s.o.Keep))
}

// person asks whether they may redeem a shared code once more.
func (t *taking) person(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		if t.o.PerPerson > 0 {
			return engage.Errorf(engage.Invalid, "person", "is required, or delivery: one person redeems the offer %q %d times at most", t.o.Name, t.o.PerPerson)
		}
		return nil
	}
	var sum int64
	var first use
	var version int64
	for i, id := range ids {
		var u use
		v, err := t.s.get(ctx, "offer_uses", t.a.Workspace, "p/"+id+"/"+t.o.ID, &u)
		if err != nil {
			return err
		}
		if sum += u.Redeemed; i == 0 {
			first, version = u, v
		}
	}
	if t.o.PerPerson > 0 && sum >= int64(t.o.PerPerson) {
		return refuse(t.o, engage.TillLimitReached, "the customer has redeemed the offer %q %d of %d times", t.o.Name, sum, t.o.PerPerson)
	}
	first.V, first.Offer, t.r.Counted = 1, t.o.ID, ids[0]
	first.Redeemed++
	return t.put("p/"+ids[0]+"/"+t.o.ID, version, first, t.now.Add(t.s.o.Keep))
}

// total asks whether the offer may be redeemed once more.
func (t *taking) total(ctx context.Context) error {
	var u use
	version, err := t.s.get(ctx, "offer_uses", t.a.Workspace, "o/"+t.o.ID, &u)
	if err != nil {
		return err
	}
	if t.o.Total > 0 && u.Redeemed >= t.o.Total {
		return refuse(t.o, engage.TillLimitReached, "the offer %q has been redeemed %d of %d times: none is left", t.o.Name, u.Redeemed, t.o.Total)
	}
	if err := t.money(); err != nil {
		return err
	}
	u.V, u.Offer = 1, t.o.ID
	u.count(&t.r.Redemption, 1)
	return putCount(&t.b, t.a.Workspace, t.o, version, u)
}

// putCount puts an offer's count, and has it heard of where decisions heed it.
func putCount(b *store.Batch, workspace string, o *engage.Offer, version int64, u use) error {
	if o != nil && o.Total > 0 {
		err := post(b, workspace, "o/"+u.Offer, letter{Used: &engage.OfferUsed{V: 1, Offer: u.Offer, Redeemed: u.Redeemed, Version: version + 1}})
		if err != nil {
			return err
		}
	}
	return putUse(b, workspace, "o/"+u.Offer, version, u, time.Time{})
}

// count adds a redemption to an offer's use, or takes it out.
func (u *use) count(r *engage.Redemption, sign int64) {
	u.Redeemed += sign
	if sign < 0 {
		u.Voided++
	}
	add := func(to map[string]int64, units float64) map[string]int64 {
		n := engage.Parts(units)
		if n == 0 {
			return to
		}
		if to == nil {
			to = map[string]int64{}
		}
		to[r.Currency] += sign * n
		return to
	}
	u.Value, u.Worth = add(u.Value, r.Value), add(u.Worth, r.Worth)
}

// money checks what the till says of it, and puts it into the redemption.
func (t *taking) money() error {
	a, o := t.a, t.o
	most := o.MostWorth()
	switch {
	case !(a.Value >= 0 && a.Value <= engage.MaxMoney):
		return engage.Errorf(engage.Invalid, "value", "must be 0 to %.0f, is %v", engage.MaxMoney, a.Value)
	case !(a.Worth >= 0 && a.Worth <= engage.MaxMoney):
		return engage.Errorf(engage.Invalid, "worth", "must be 0 to %.0f, is %v", engage.MaxMoney, a.Worth)
	case a.Currency != "" && !engage.ValidCurrency(a.Currency):
		return engage.Errorf(engage.Invalid, "currency", `must be of three upper-case letters, like "EUR", is %q`, a.Currency)
	case a.Currency == "" && o.Currency == "" && (a.Value > 0 || a.Worth > 0):
		return engage.Errorf(engage.Invalid, "currency", "is required with value and worth")
	case o.Currency != "" && a.Currency != "" && a.Currency != o.Currency:
		return engage.Errorf(engage.Invalid, "currency", "the offer %q is in %s, not in %s", o.Name, o.Currency, a.Currency)
	case most > 0 && a.Worth > most:
		return engage.Errorf(engage.Invalid, "worth", "the offer %q gives %v %s at most, not %v", o.Name, most, o.Currency, a.Worth)
	}
	t.r.Value, t.r.Worth, t.r.Currency = a.Value, a.Worth, a.Currency
	if t.r.Worth == 0 {
		t.r.Worth = most
	}
	if t.r.Value == 0 && t.r.Worth == 0 {
		t.r.Currency = ""
	} else if t.r.Currency == "" {
		t.r.Currency = o.Currency
	}
	return nil
}

func (t *taking) brought(is *engage.Reservation) {
	t.r.Profile, t.r.Delivery, t.r.Campaign, t.r.Arm = is.Profile, is.Delivery, is.Campaign, is.Arm
}

func (t *taking) used() *used { return &used{t.r.ID, t.now, t.r.Place} }

func (t *taking) put(id string, version int64, u use, expires time.Time) error {
	return putUse(&t.b, t.a.Workspace, id, version, u, expires)
}

func putUse(b *store.Batch, workspace, id string, version int64, u use, expires time.Time) error {
	if err := put(b, "offer_uses", workspace, id, version, u); err != nil {
		return err
	}
	b.Puts[len(b.Puts)-1].Expires = expires
	return nil
}

// write commits what was found. The redemption must not be there.
func (t *taking) write(ctx context.Context) error {
	if err := putRedemption(&t.b, t.a.Workspace, 0, &t.r, t.s.o.Keep); err != nil {
		return err
	}
	if err := t.s.o.Hot.Apply(ctx, t.b); err != nil {
		return fmt.Errorf("write redemption: %w", err)
	}
	return nil
}

func putRedemption(b *store.Batch, workspace string, version int64, r *redemption, keep time.Duration) error {
	if err := put(b, "redemptions", workspace, r.ID, version, r); err != nil {
		return err
	}
	b.Puts[len(b.Puts)-1].Expires = r.At.Add(keep)
	if r.Profile == "" {
		return nil
	}
	return post(b, workspace, "r/"+r.ID, letter{Redemption: &r.Redemption})
}

// reserved finds a reservation, which may be in the log and not in the store yet.
func (s *Service) reserved(ctx context.Context, workspace string, find func() (*engage.Reservation, error)) (*engage.Reservation, error) {
	r, err := find()
	if r != nil || err != nil {
		return r, err
	}
	if err := s.o.Flush(ctx); err != nil {
		return nil, fmt.Errorf("save reservations of %s: %w", workspace, err)
	}
	return find()
}

func (s *Service) reservation(ctx context.Context, workspace, delivery string) (*engage.Reservation, error) {
	d, err := s.o.States.Get(ctx, "reservations", store.Key{Workspace: workspace, ID: delivery})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // there is none
	}
	if err != nil {
		return nil, fmt.Errorf("read reservation: %w", err)
	}
	return readReservation(d)
}

func readReservation(d store.Doc) (*engage.Reservation, error) {
	var r engage.Reservation
	if err := json.Unmarshal(d.Body, &r); err != nil {
		return nil, fmt.Errorf("decode reservation %s: %w", d.ID, err)
	}
	return &r, nil
}

func equals(path, value string) store.Filter {
	return store.Filter{Path: path, Op: store.Eq, Value: value}
}

// newest reservation of which a filter holds that finds few; nil: none.
func (s *Service) newest(ctx context.Context, workspace string, f store.Filter) (*engage.Reservation, error) {
	var best *engage.Reservation
	err := s.o.States.Iterate(ctx, "reservations", store.Query{Workspace: workspace, Filter: f}, func(d store.Doc) error {
		r, err := readReservation(d)
		if err == nil && (best == nil || r.AtUS > best.AtUS) {
			best = r
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find reservation: %w", err)
	}
	return best, nil
}

// maxTried is how many of a person's newest messages with an offer are looked at.
const maxTried = 50

// unredeemed is the newest message that brought a person an offer and that no till has
// seen; nil: none.
func (s *Service) unredeemed(ctx context.Context, workspace, offer string, ids []string) (*engage.Reservation, error) {
	page, err := s.o.States.Find(ctx, "reservations", store.Query{
		Workspace: workspace, Sort: "-at_us", Limit: maxTried,
		Filter: store.Filter{All: []store.Filter{{Path: "profile", Op: store.In, Value: ids}, equals("offer", offer)}},
	})
	if err != nil {
		return nil, fmt.Errorf("find reservations: %w", err)
	}
	for _, d := range page.Docs {
		r, err := readReservation(d)
		if err != nil {
			return nil, err
		}
		if r.Returned {
			continue
		}
		var u use
		if _, err := s.get(ctx, "offer_uses", workspace, "d/"+r.Delivery, &u); err != nil {
			return nil, err
		}
		if u.Used == nil {
			return r, nil
		}
	}
	return nil, nil // there is none
}
