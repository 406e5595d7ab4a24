package decide_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/decide"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/partition"
	"github.com/footfall-engage/footfall/server/store"
	"github.com/footfall-engage/footfall/server/store/sqlite"
)

// always is one configuration.
type always struct{ is decide.Workspace }

func (always) Latest() uint64           { return 1 }
func (always) Changed() <-chan struct{} { return nil }

func (c always) At(_ context.Context, revision uint64) (any, error) {
	in := []decide.Workspace{c.is}
	if revision == 0 {
		in = nil
	}
	made, errs := decide.NewConfig(in)
	return made, errors.Join(errs...)
}

// Persons visit places at random, so that their limits are reached again and again, while
// the owners of their states die at every step that a crash could separate from the next.
// Whatever happens: no limit is exceeded, none says no while there is room, and each
// decision is sent once or held out.
func TestLimitsAreExactWhoeverDiesMeanwhile(t *testing.T) {
	t.Parallel()
	const (
		persons = 12
		visits  = 40
	)
	policy := &engage.LimitPolicy{
		Caps: []engage.PolicyCap{{Max: 4, WindowS: 240}, {Tag: "sale", Max: 1, WindowS: 200}}, GapS: 20,
		Attention: &engage.Attention{Points: 9, WindowS: 3600},
	}
	half := func(c *engage.Campaign) { c.HoldoutPercent = 50 }
	in := world0([]*engage.Campaign{
		offer("a", inPlace("cafe"), half, func(c *engage.Campaign) { c.Limits.Cap, c.Limits.CapWindowS = 2, 150 }),
		offer("b", inPlace("bar"), tagged("sale"), func(c *engage.Campaign) { c.Limits.Attention = new(2) }),
		offer("c", inPlace("bar"), func(c *engage.Campaign) { c.Priority = 1; c.Limits.Cap, c.Limits.CapWindowS = 1, 100 }),
	})
	in.Limits = policy
	seen := map[engage.Reason]int{}
	died := 0
	for _, mode := range []partition.Mode{partition.Fast, partition.Reference} {
		dice := rand.New(rand.NewPCG(5, 9)) //nolint:gosec // a test's chance
		sources := make([][]engage.Entry, persons)
		for i := range sources {
			id := fmt.Sprint("p", i)
			sources[i] = append(sources[i], entry(engage.KindDevice, person(id), 0, device("i-"+id)), entry(engage.KindConsent, person(id), 0, consents(true)))
			for n := range visits {
				place := []string{"cafe", "bar"}[dice.IntN(2)]
				sources[i] = append(sources[i], enters(id, place, fmt.Sprint(id, "-", n), 24*time.Hour, func(tr *engage.Trigger) {
					tr.OccurredAt = t0.Add(24 * time.Hour)
				}))
			}
		}
		x := newCrashes(t, mode, 3, always{in})
		x.tell(sources)
		of := map[string][]engage.Decision{}
		all, _ := x.endWith(func(s *sqlite.Store) {
			if err := s.Iterate(t.Context(), "decisions", store.Query{Workspace: ws}, func(d store.Doc) error {
				var one engage.Decision
				err := json.Unmarshal(d.Body, &one)
				of[one.Profile] = append(of[one.Profile], one)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		})
		if len(all) != persons || len(of) != persons {
			t.Fatalf("%s: %d persons, %d with decisions", mode, len(all), len(of))
		}
		for id, ds := range of {
			exact(t, policy, in.Campaigns, ds, seen)
			for _, d := range ds {
				if d.Arm == "" {
					continue
				}
				want := 1
				if d.Arm == engage.HoldoutArm {
					want = 0
				}
				if n := x.sent[d.Delivery]; (n > 0) != (want > 0) {
					t.Errorf("%s: a decision of %s, arm %s, was sent %d times", mode, id, d.Arm, n)
				}
			}
		}
		for _, n := range x.died {
			died += n
		}
	}
	t.Logf("%d deaths; reasons %v", died, seen)
	for _, r := range []engage.Reason{engage.ReasonCap, engage.ReasonCapGlobal, engage.ReasonCapTag, engage.ReasonCapGap, engage.ReasonCapAttention} {
		if seen[r] == 0 {
			t.Errorf("nobody was stopped by %s: it proves nothing of that", r)
		}
	}
	if died < 10 {
		t.Errorf("only %d died: it proves little", died)
	}
}

// exact recounts the limits of a person over all their decisions.
func exact(t *testing.T, p *engage.LimitPolicy, campaigns []*engage.Campaign, ds []engage.Decision, seen map[engage.Reason]int) {
	t.Helper()
	by := map[string]*engage.Campaign{}
	for _, c := range campaigns {
		by[c.ID] = c
	}
	slices.SortFunc(ds, func(a, b engage.Decision) int { return a.At.Compare(b.At) })
	for i, d := range ds {
		decided := d.Arm != ""
		// before counts what was decided before this one, later than a time before it.
		before := func(windowS int, of func(*engage.Campaign) int) (n int) {
			for _, e := range ds[:i] {
				if e.Arm != "" && e.At.Before(d.At) && e.At.After(d.At.Add(-time.Duration(windowS)*time.Second)) {
					n += of(by[e.Campaign])
				}
			}
			return n
		}
		one := func(*engage.Campaign) int { return 1 }
		c := by[d.Campaign]
		full := map[engage.Reason]bool{
			engage.ReasonCap: c.Limits.Cap > 0 && before(c.Limits.CapWindowS, func(o *engage.Campaign) int {
				if o == c {
					return 1
				}
				return 0
			}) >= c.Limits.Cap,
			engage.ReasonCapGap:       before(p.GapS, one) > 0,
			engage.ReasonCapAttention: before(p.Attention.WindowS, func(o *engage.Campaign) int { return o.Limits.AttentionPoints() })+c.Limits.AttentionPoints() > p.Attention.Points,
		}
		for _, k := range p.Caps {
			reason := engage.ReasonCapGlobal
			if k.Tag != "" {
				reason = engage.ReasonCapTag
			}
			full[reason] = (k.Tag == "" || slices.Contains(c.Tags, k.Tag)) && before(k.WindowS, func(o *engage.Campaign) int {
				if k.Tag == "" || slices.Contains(o.Tags, k.Tag) {
					return 1
				}
				return 0
			}) >= k.Max
		}
		for reason, is := range full {
			if decided && is {
				t.Errorf("%s was decided for %s at %v, over its limit %s", d.Campaign, d.Profile, d.At, reason)
			}
			if d.Reason == reason {
				seen[reason]++
				if !is {
					t.Errorf("%s was not sent to %s at %v for %s, where there was room", d.Campaign, d.Profile, d.At, reason)
				}
			}
		}
	}
}
