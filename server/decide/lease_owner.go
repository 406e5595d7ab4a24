package decide

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

const (
	// portionOf: a partition is granted this part of what is left, so that a limit that
	// goes to its end is shared in ever smaller portions.
	portionOf = 16
	// maxCodes bounds the codes of one grant.
	maxCodes = 250
	// recallEvery is how often what others do not use is called back at most, lest the
	// last units go round and round.
	recallEvery = 10 * time.Second
)

// Owner is the state of a limit that spans people: key engage.LimitKey. What it has
// granted and did not get back is never more than Terms.Total. Its maps and slices are
// replaced, never changed.
type Owner struct {
	V      int               `json:"v"` // 1
	Limit  string            `json:"limit"`
	Terms  engage.LimitTerms `json:"terms"`
	Window int64             `json:"window,omitempty"` // that all of this is about
	// Next is the number of the first code that was never granted, Back those that were
	// given back.
	Next int64   `json:"next,omitempty"`
	Back []int64 `json:"back,omitempty"`
	// Out is what is out on lease, by partition; a partition that gives back what another
	// was granted may have less than 0.
	Out      map[string]Lease `json:"out,omitempty"`
	Wants    []Want           `json:"wants,omitempty"`  // not answered yet, the first first
	Recall   map[string]bool  `json:"recall,omitempty"` // who was asked to give back, and did not answer yet
	RecallAt time.Time        `json:"recall_at,omitzero"`
}

// Lease is what one partition has.
type Lease struct {
	N    int64 `json:"n"`    // units that were granted and not given back
	Used int64 `json:"used"` // of these, as it said last
}

// Want is what one partition asks for.
type Want struct {
	Partition string `json:"partition"`
	N         int64  `json:"n"`              // at least
	Hope      int64  `json:"hope,omitempty"` // better
}

func (o *Owner) version() int { return o.V }

// Clone implements engage.State.
func (o *Owner) Clone() engage.State {
	c := *o
	return &c
}

// Encode implements engage.State.
func (o *Owner) Encode() ([]byte, error) { return json.Marshal(o) }

// left is how many units can be granted; below 0 when the limit was lowered below what
// is out.
func (o *Owner) left() int64 {
	n := o.Terms.Total
	for _, l := range o.Out {
		n -= l.N
	}
	return n
}

// owned hears, at the owner of a limit, what a partition says.
func owned(tx engage.Tx, e engage.Entry) error {
	var ask engage.LeaseAsk
	if err := read(e, &ask); err != nil {
		return err
	}
	if ask.V != 1 || ask.Want < 0 || ask.Back < 0 {
		return engage.Errorf(engage.Invalid, "want", "no ask that this version can answer")
	}
	st, err := tx.Edit(e.Key)
	if err != nil {
		return err
	}
	o, _ := st.(*Owner)
	if o == nil {
		o = &Owner{V: 1, Limit: ask.Limit, Terms: ask.Terms, Window: ask.Window}
		tx.Put(e.Key, o)
	}
	lowered := false
	if ask.Terms.Version > o.Terms.Version {
		if ask.Terms.Every != o.Terms.Every {
			// Windows of another length: what was granted in an old one may be in use
			// still, so the owner grants from the next one on.
			*o = Owner{V: 1, Limit: o.Limit, Window: ask.Window + 1}
		}
		lowered = ask.Terms.Total < o.Terms.Total
		o.Terms = ask.Terms
	}
	who := owner{tx: tx, o: o, ws: e.Workspace(), now: e.At}
	if o.Terms.Every > 0 && ask.Window != o.Window {
		if ask.Window < o.Window || ask.Terms.Every != o.Terms.Every {
			return nil // of a window that is over, or of other ones: who waits has a timer
		}
		*o = Owner{V: 1, Limit: o.Limit, Terms: o.Terms, Window: ask.Window}
	}
	l := o.Out[ask.Partition]
	l.N, l.Used = l.N-ask.Back, ask.Used
	o.Out = replaced(o.Out, ask.Partition, l)
	o.Back = slices.Concat(o.Back, ask.BackN)
	if ask.Recalled {
		o.Recall = removed(o.Recall, ask.Partition)
	}
	if ask.Want > 0 && ask.Ahead && o.left() <= 0 {
		return who.tell(ask.Partition, engage.LeaseGrant{Out: true, Ahead: true})
	}
	if ask.Want > 0 {
		o.Wants = append(slices.DeleteFunc(slices.Clone(o.Wants), func(w Want) bool { return w.Partition == ask.Partition }),
			Want{ask.Partition, ask.Want, ask.Hope})
	}
	if lowered && o.left() < 0 {
		if err := who.recall(func(string) bool { return true }); err != nil {
			return err
		}
	}
	return who.settle()
}

// owner is one entry being applied to the owner of a limit.
type owner struct {
	tx  engage.Tx
	o   *Owner
	ws  string
	now time.Time
}

// settle grants what is wanted as far as there is any; what others have and do not use
// is called back for those who get nothing; who cannot get anything is told so.
func (w owner) settle() error {
	o := w.o
	for len(o.Wants) > 0 {
		want, left := o.Wants[0], o.left()
		if left < want.N {
			break
		}
		n := max(want.N, min(want.Hope, left), left/portionOf)
		g := engage.LeaseGrant{}
		if o.Terms.Pool != "" {
			n = max(want.N, min(n, maxCodes))
			g.Pool, g.Codes = o.Terms.Pool, o.draw(n)
		}
		g.N = n
		l := o.Out[want.Partition]
		l.N += n
		o.Out, o.Wants = replaced(o.Out, want.Partition, l), o.Wants[1:]
		if err := w.tell(want.Partition, g); err != nil {
			return err
		}
	}
	if len(o.Wants) == 0 {
		o.Wants = nil
		return nil
	}
	if len(o.Recall) > 0 {
		return nil // more may come
	}
	if w.now.Sub(o.RecallAt) >= recallEvery {
		err := w.recall(func(p string) bool {
			return !slices.ContainsFunc(o.Wants, func(x Want) bool { return x.Partition == p })
		})
		if err != nil || len(o.Recall) > 0 {
			return err
		}
	}
	for _, want := range o.Wants {
		if err := w.tell(want.Partition, engage.LeaseGrant{Out: true}); err != nil {
			return err
		}
	}
	o.Wants = nil
	return nil
}

// recall asks those partitions for what they do not use that have any.
func (w owner) recall(of func(partition string) bool) error {
	o := w.o
	for _, p := range slices.Sorted(maps.Keys(o.Out)) {
		l := o.Out[p]
		if l.N <= l.Used || o.Recall[p] || !of(p) {
			continue
		}
		o.Recall, o.RecallAt = replaced(o.Recall, p, true), w.now
		if err := w.tell(p, engage.LeaseGrant{Recall: true}); err != nil {
			return err
		}
	}
	return nil
}

// draw takes n numbers of codes out of the pool, those that were given back first. There
// are as many: what is out is never more than Total.
func (o *Owner) draw(n int64) []engage.PoolCode {
	out := make([]engage.PoolCode, 0, n)
	for int64(len(out)) < n && len(o.Back) > 0 {
		out = append(out, engage.PoolCode{N: o.Back[0]})
		o.Back = o.Back[1:]
	}
	for int64(len(out)) < n {
		out = append(out, engage.PoolCode{N: o.Next})
		o.Next++
	}
	if len(o.Back) == 0 {
		o.Back = nil
	}
	return out
}

// tell tells a partition; what grants codes goes by way of who keeps their texts.
func (w owner) tell(partition string, g engage.LeaseGrant) error {
	g.V, g.Limit, g.Partition, g.Window = 1, w.o.Limit, partition, w.o.Window
	body, err := json.Marshal(g)
	if err != nil {
		return err
	}
	to := partition
	if len(g.Codes) > 0 {
		to = "codes"
	}
	w.tx.Emit(to, engage.Entry{Kind: engage.KindLeaseGrant, Key: engage.HoldingKey(w.ws, g.Limit, partition), Body: body})
	return nil
}
