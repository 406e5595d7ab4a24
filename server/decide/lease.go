package decide

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// # Limits that span people
//
// An offer's stock, a pool of unique codes, a campaign's budget, a rate of sends: such a
// limit has one owner, which leases portions of it to the partitions. It is never
// exceeded, and possibly under-used by what is out on lease. The owner is a state of the
// partition that the limit's key hashes to (lease_owner.go); what a partition has on
// lease is its own Holding. The two talk through the log alone (engage.LeaseAsk,
// engage.LeaseGrant), so that what happens is the same whoever dies.
//
// How a gate uses one, in this order within one step:
//
//	l := limit{ID: "budget:" + a.c.ID, Terms: engage.LimitTerms{Total: 5000, Version: a.c.Version}}
//	is, err := a.lease(l, 1)          // in the gate; 1 is what the message will take
//	switch {
//	case err != nil:     return "", nil, err
//	case is.there:       return "", saw, nil          // there is enough here, of which nothing is taken yet
//	case is.out:         return ReasonBudget, saw, nil // nowhere is any, or the wait was in vain
//	default:             return ReasonBudget, saw, errWaits // waits for the owner's answer, at most leaseWait
//	}
//	…
//	codes, err := a.s.take(l, 1)      // in decide, of who is treated: what the gate saw is still there
//	err = a.s.giveBack(l, 1, nil)     // later, perhaps at another profile: it was not used after all
//
// Ids of limits are unique in a workspace: a word of the kind of limit, a colon, an id.

const (
	// leaseWait is how long a moment waits for units of a limit, in log time.
	leaseWait = 2 * time.Second
	// leaseOutFor is how long nobody here asks again after the owner said that there is
	// none left.
	leaseOutFor = 30 * time.Second
	// leaseLost is after how long an ask that was not answered is made again.
	leaseLost = time.Minute
	// leaseIdle is after how long units go back that nobody has used.
	leaseIdle = 10 * time.Minute
	// maxParked bounds how many persons a grant wakes; others wait for their timers.
	maxParked = 1000
)

// limit is one that spans people, as who uses it knows it from the configuration.
type limit struct {
	ID    string
	Terms engage.LimitTerms
}

// leased is what a partition may do with a limit now.
type leased struct {
	there bool  // there are enough units here
	out   bool  // there are none anywhere, as far as is known
	late  bool  // out, for the wait was in vain
	free  int64 // units here
	// code is the first of the codes here, if the units have any and one is there.
	code engage.PoolCode
}

// Holding is what this partition has on lease of a limit: key engage.HoldingKey.
type Holding struct {
	V      int               `json:"v"` // 1
	Limit  string            `json:"limit"`
	Terms  engage.LimitTerms `json:"terms"`            // as the owner was told last
	Window int64             `json:"window,omitempty"` // that the units are of
	Free   int64             `json:"free"`             // granted, not used
	Codes  []engage.PoolCode `json:"codes,omitempty"`  // of the free ones, if they have any; replaced, never changed
	Used   int64             `json:"used"`             // granted and used; given back by others than it was granted to, it may be below 0
	// Portion is what was granted last: when a quarter of it is
	// left, more is asked for.
	Portion int64     `json:"portion,omitempty"`
	AskedAt time.Time `json:"asked_at,omitzero"` // of an ask that is not answered yet
	Wanted  int64     `json:"wanted,omitempty"`  // by that ask, for somebody who waits; 0: nobody does
	OutAt   time.Time `json:"out_at,omitzero"`   // when the owner said that there is none left
	AheadAt time.Time `json:"ahead_at,omitzero"` // when it said that there is none but what others have
	UsedAt  time.Time `json:"used_at,omitzero"`
	Idle    bool      `json:"idle,omitempty"`   // a timer looks whether it is idle
	Parked  []string  `json:"parked,omitempty"` // keys of persons with a moment that waits for it, the first first
}

func (h *Holding) version() int { return h.V }

// Clone implements engage.State.
func (h *Holding) Clone() engage.State {
	c := *h
	return &c
}

// Encode implements engage.State.
func (h *Holding) Encode() ([]byte, error) { return json.Marshal(h) }

// window of a log time; 0 of a limit that has none.
func windowOf(t engage.LimitTerms, at time.Time) int64 {
	if t.Every <= 0 {
		return 0
	}
	return at.UnixNano() / int64(t.Every)
}

// free is how many units of now's window are here.
func (h *Holding) free(t engage.LimitTerms, now time.Time) int64 {
	if h == nil || t.Every > 0 && h.Window != windowOf(t, now) {
		return 0
	}
	return h.Free
}

// holding reads what this partition has of a limit; nil when it never had any.
func holding(tx engage.Tx, ws, limit string) (string, *Holding, error) {
	key := engage.HoldingKey(ws, limit, tx.Position().Partition)
	st, err := tx.Load(key)
	if err != nil {
		return "", nil, err
	}
	h, _ := st.(*Holding)
	return key, h, nil
}

// editHolding gives it to change; a new one if there is none. What is of a window that is
// over is gone.
func editHolding(tx engage.Tx, ws string, l limit, now time.Time) (string, *Holding, error) {
	key := engage.HoldingKey(ws, l.ID, tx.Position().Partition)
	st, err := tx.Edit(key)
	if err != nil {
		return "", nil, err
	}
	h, _ := st.(*Holding)
	if h == nil {
		h = &Holding{V: 1, Limit: l.ID, Terms: l.Terms}
		h.Window = windowOf(l.Terms, now)
		tx.Put(key, h)
	}
	if w := windowOf(l.Terms, now); w > h.Window || l.Terms.Every != h.Terms.Every {
		*h = Holding{V: 1, Limit: l.ID, Terms: l.Terms, Window: w, Parked: h.Parked, Idle: h.Idle}
	}
	return key, h, nil
}

// lease says whether n units of a limit can be taken, and asks the owner for more if
// there are too few, or few. A moment that the gate then lets wait (errWaits) is parked
// for the answer.
func (a *attempt) lease(l limit, n int64) (leased, error) {
	s := a.s
	now := s.e.At
	if l.Terms.Total < n {
		return leased{out: true}, nil
	}
	_, h, err := holding(s.tx, s.ws, l.ID)
	if err != nil {
		return leased{}, err
	}
	is := leased{free: h.free(l.Terms, now)}
	is.there = is.free >= n
	if is.there && len(h.Codes) > 0 {
		is.code = h.Codes[0]
	}
	if is.there && is.free-n > h.Portion/4 && h.Terms.Version >= l.Terms.Version {
		return is, nil
	}
	if h != nil && !is.there && h.Terms == l.Terms && h.Window == windowOf(l.Terms, now) && !h.OutAt.IsZero() && now.Sub(h.OutAt) < leaseOutFor {
		is.out = true
		return is, nil
	}
	if err := s.askLease(l, n, is.there); err != nil {
		return leased{}, err
	}
	switch {
	case is.there:
	case a.leaseOver:
		is.out, is.late = true, true
	default:
		a.lacks = &l
	}
	return is, nil
}

// askLease tells the owner of a limit that units are wanted, unless it was told: n for
// somebody who waits, or some ahead.
func (s *step) askLease(l limit, n int64, ahead bool) error {
	now := s.e.At
	_, h, err := holding(s.tx, s.ws, l.ID)
	if err != nil {
		return err
	}
	if h != nil {
		fresh := h.Terms == l.Terms || h.Terms.Version > l.Terms.Version
		same := h.Window == windowOf(l.Terms, now)
		asked := same && !h.AskedAt.IsZero() && now.Sub(h.AskedAt) < leaseLost && (ahead || h.Wanted >= n)
		none := same && ahead && !h.AheadAt.IsZero() && now.Sub(h.AheadAt) < leaseOutFor
		if fresh && (asked || none) {
			return nil
		}
	}
	_, h, err = editHolding(s.tx, s.ws, l, now)
	if err != nil {
		return err
	}
	if l.Terms.Version >= h.Terms.Version {
		h.Terms = l.Terms
	}
	h.AskedAt, h.OutAt = now, time.Time{}
	if !ahead {
		h.Wanted = n
	}
	return tellOwner(s.tx, s.ws, h, engage.LeaseAsk{Want: n, Hope: n * int64(1+len(h.Parked)), Ahead: ahead})
}

// tellOwner completes what a holding tells its owner.
func tellOwner(tx engage.Tx, ws string, h *Holding, ask engage.LeaseAsk) error {
	ask.V, ask.Limit, ask.Partition, ask.Terms = 1, h.Limit, tx.Position().Partition, h.Terms
	ask.Window, ask.Used = h.Window, h.Used
	return emit(tx, engage.LimitKey(ws, h.Limit), engage.KindLeaseAsk, time.Time{}, ask)
}

// take takes n units of a limit that lease said are there, and returns their codes, if
// the units have any.
func (s *step) take(l limit, n int64) ([]engage.PoolCode, error) {
	_, h, err := editHolding(s.tx, s.ws, l, s.e.At)
	if err != nil {
		return nil, err
	}
	if h.Free < n {
		return nil, fmt.Errorf("take %d of limit %s: %d are here", n, l.ID, h.Free)
	}
	h.Free -= n
	h.Used += n
	h.UsedAt = s.e.At
	var codes []engage.PoolCode
	if len(h.Codes) > 0 {
		codes, h.Codes = h.Codes[:n:n], h.Codes[n:]
	}
	return codes, nil
}

// giveBack makes n units, taken at whatever profile, usable again: here, from where they
// go back to the owner if nobody here uses them. codes are theirs, if they have any.
// Those of a window that is over are gone: the caller does not give them back.
func (s *step) giveBack(l limit, n int64, codes []engage.PoolCode) error {
	key, h, err := editHolding(s.tx, s.ws, l, s.e.At)
	if err != nil {
		return err
	}
	h.Free += n
	h.Used -= n
	h.Codes = slices.Concat(h.Codes, codes)
	h.OutAt = time.Time{}
	lookIdle(s.tx, key, h, s.e.At)
	return s.m.serve(s.tx, s.e, key)
}

// lookIdle sets the timer that gives back what nobody uses.
func lookIdle(tx engage.Tx, key string, h *Holding, now time.Time) {
	if h.Idle || h.Free == 0 {
		return
	}
	h.Idle = true
	tx.SetTimer(key, "idle", now.Add(leaseIdle), nil)
}

// parkAt has a moment's person woken when this partition is granted units of a limit.
func (s *step) parkAt(limit string) error {
	key, h, err := holding(s.tx, s.ws, limit)
	if err != nil || h == nil || len(h.Parked) >= maxParked || slices.Contains(h.Parked, s.key) {
		return err
	}
	if h, err = edited(s.tx, key); err != nil {
		return err
	}
	h.Parked = append(slices.Clip(h.Parked), s.key)
	return nil
}

// leases applies what concerns limits, and reports whether an entry is of these.
func (m Machine) leases(tx engage.Tx, e engage.Entry) (bool, error) {
	switch e.Kind {
	case engage.KindLeaseAsk:
		return true, owned(tx, e)
	case engage.KindLeaseGrant:
		return true, m.granted(tx, e)
	case engage.KindTimer:
		if strings.HasPrefix(engage.IDOf(e.Key), "h:") {
			return true, idle(tx, e)
		}
	}
	return false, nil
}

// granted takes what the owner says.
func (m Machine) granted(tx engage.Tx, e engage.Entry) error {
	var g engage.LeaseGrant
	if err := read(e, &g); err != nil {
		return err
	}
	ws := e.Workspace()
	if g.Partition != tx.Position().Partition {
		return engage.Errorf(engage.Invalid, "partition", "a grant for %s", g.Partition)
	}
	key := engage.HoldingKey(ws, g.Limit, g.Partition)
	h, err := edited(tx, key)
	if err != nil {
		return err
	}
	if g.Window != h.Window {
		return nil // of a window that is over: what it grants nobody uses
	}
	if g.Recall {
		return surrender(tx, ws, h, true)
	}
	h.AskedAt, h.Wanted = time.Time{}, 0
	switch {
	case g.Out && g.Ahead:
		h.AheadAt = e.At
	case g.Out:
		h.OutAt = e.At
	default:
		if g.Pool != "" { // a code whose text nobody has counts as used
			h.Used += g.N - int64(len(g.Codes))
			h.Codes = slices.Concat(h.Codes, g.Codes)
			h.Free += int64(len(g.Codes))
		} else {
			h.Free += g.N
		}
		h.Portion, h.OutAt, h.AheadAt = g.N, time.Time{}, time.Time{}
		h.UsedAt = e.At
		lookIdle(tx, key, h, e.At)
	}
	return m.serve(tx, e, key)
}

// serve wakes who waits for units of a limit: as long as there are units, or all when
// there are none to be had. Who is left goes on waiting, and more is asked for.
func (m Machine) serve(tx engage.Tx, e engage.Entry, key string) error {
	h, err := edited(tx, key)
	if err != nil {
		return err
	}
	parked, limit := h.Parked, h.Limit
	h.Parked = nil
	for len(parked) > 0 && (h.Free > 0 || !h.OutAt.IsZero()) {
		person := parked[0]
		parked = parked[1:]
		if person == e.Key {
			continue // whose step this is: their timer wakes them
		}
		st, err := tx.Load(person)
		if err != nil {
			return err
		}
		if _, there := st.(*Person); !there {
			continue // erased meanwhile, or one with another, who waits for it, too
		}
		at := e
		at.Key = person
		s, err := m.person(tx, at)
		if err != nil {
			return err
		}
		ids := s.waiting(func(w *Waiting) bool { return w.For == "lease" && w.Limit == limit })
		for len(ids) > 0 {
			woken := s.together(ids[0])
			if err := s.wake(woken, false); err != nil {
				return err
			}
			ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(woken, id) })
		}
		if h, err = edited(tx, key); err != nil {
			return err
		}
	}
	if len(parked) == 0 {
		return nil
	}
	h.Parked = slices.Concat(parked, h.Parked) // who was woken and waits again, waits behind them
	if !h.AskedAt.IsZero() {
		return nil
	}
	h.AskedAt, h.Wanted = e.At, 1
	return tellOwner(tx, e.Workspace(), h, engage.LeaseAsk{Want: 1, Hope: int64(len(h.Parked))})
}

// edited is a holding that is there, to change.
func edited(tx engage.Tx, key string) (*Holding, error) {
	st, err := tx.Edit(key)
	if err != nil {
		return nil, err
	}
	h, is := st.(*Holding)
	if !is {
		return nil, engage.Errorf(engage.NotFound, "limit", "there is no holding %s", key)
	}
	return h, nil
}

// idle gives back what nobody has used for a while, or looks again later.
func idle(tx engage.Tx, e engage.Entry) error {
	st, err := tx.Edit(e.Key)
	if err != nil || st == nil {
		return err
	}
	h := st.(*Holding) //nolint:forcetypeassert // Decode gives nothing else for this key
	h.Idle = false
	if h.Free == 0 {
		return nil
	}
	if due := h.UsedAt.Add(leaseIdle); due.After(e.At) {
		h.Idle = true
		tx.SetTimer(e.Key, "idle", due, nil)
		return nil
	}
	return surrender(tx, e.Workspace(), h, false)
}

// surrender gives back all that is not used.
func surrender(tx engage.Tx, ws string, h *Holding, recalled bool) error {
	ask := engage.LeaseAsk{Back: h.Free, Recalled: recalled}
	for _, c := range h.Codes {
		ask.BackN = append(ask.BackN, c.N)
	}
	h.Free, h.Codes, h.Portion = 0, nil, 0
	return tellOwner(tx, ws, h, ask)
}
