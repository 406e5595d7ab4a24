// Package measure counts what became of a campaign, per arm, as a pure step in
// the transactions of decide: each "act" partition keeps its own counts under the
// key "<workspace>/m:<campaign>@<partition>", and readers add them up.
package measure

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/footfall-engage/footfall/server/engage"
)

// Tally is one partition's counts of one campaign, by arm. The arm "" holds what
// never reached an arm: the suppressed.
type Tally struct {
	V        int                      `json:"v"` // 1
	Campaign string                   `json:"campaign"`
	Arms     map[string]engage.Counts `json:"arms"`
}

// Clone implements engage.State.
func (t *Tally) Clone() engage.State {
	c := *t
	c.Arms = maps.Clone(t.Arms)
	return &c
}

// Encode implements engage.State.
func (t *Tally) Encode() ([]byte, error) { return json.Marshal(t) }

// Prefix of the ids of a campaign's tallies in the collection "state_act".
func Prefix(campaign string) string { return "m:" + campaign + "@" }

// Meter adds to tallies.
type Meter struct{}

// Decode reads a Tally.
func (Meter) Decode(_ string, body []byte) (engage.State, error) {
	t := &Tally{}
	if err := json.Unmarshal(body, t); err != nil {
		return nil, fmt.Errorf("tally: %w", err)
	}
	if t.V != 1 {
		return nil, fmt.Errorf("tally: version %d is not known", t.V)
	}
	return t, nil
}

// Add adds counts of an arm.
func (Meter) Add(tx engage.Tx, workspace, campaign, arm string, add engage.Counts) error {
	key := workspace + "/" + Prefix(campaign) + tx.Position().Partition
	st, err := tx.Edit(key)
	if err != nil {
		return err
	}
	t, _ := st.(*Tally) // nil when there is none
	if t == nil {
		t = &Tally{V: 1, Campaign: campaign, Arms: map[string]engage.Counts{}}
		tx.Put(key, t)
	}
	t.Arms[arm] = Sum(t.Arms[arm], add)
	return nil
}

// Sum adds counts without changing either.
func Sum(a, b engage.Counts) engage.Counts {
	out := engage.Counts{
		Decided: a.Decided + b.Decided, HeldOut: a.HeldOut + b.HeldOut, Sent: a.Sent + b.Sent, Accepted: a.Accepted + b.Accepted,
		InApp: a.InApp + b.InApp, Inboxed: a.Inboxed + b.Inboxed, Delivered: a.Delivered + b.Delivered,
		Displayed: a.Displayed + b.Displayed, Opened: a.Opened + b.Opened, Expired: a.Expired + b.Expired,
		Failed: a.Failed + b.Failed, Acted: a.Acted + b.Acted, Dismissed: a.Dismissed + b.Dismissed,
		Converted: a.Converted + b.Converted, NotShown: a.NotShown + b.NotShown, Conflicted: a.Conflicted + b.Conflicted,
		Redeemed: a.Redeemed + b.Redeemed, Voided: a.Voided + b.Voided,
		RedeemedValue: summed(a.RedeemedValue, b.RedeemedValue), RedeemedWorth: summed(a.RedeemedWorth, b.RedeemedWorth),
	}
	if len(a.Suppressed)+len(b.Suppressed) > 0 {
		out.Suppressed = maps.Clone(a.Suppressed)
		if out.Suppressed == nil {
			out.Suppressed = map[engage.Reason]int64{}
		}
		for r, n := range b.Suppressed {
			out.Suppressed[r] += n
		}
	}
	return out
}

// summed adds by currency, without changing either; nil is none.
func summed(a, b map[string]int64) map[string]int64 {
	if len(b) == 0 {
		return a
	}
	out := maps.Clone(a)
	if out == nil {
		out = make(map[string]int64, len(b))
	}
	for currency, n := range b {
		out[currency] += n
	}
	return out
}

// Merge adds the tallies of a campaign's partitions up.
func Merge(ts ...*Tally) map[string]engage.Counts {
	out := map[string]engage.Counts{}
	for _, t := range ts {
		for arm, c := range t.Arms {
			out[arm] = Sum(out[arm], c)
		}
	}
	return out
}
