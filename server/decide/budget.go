package decide

import (
	"github.com/footfall-engage/footfall/server/engage"
)

// budget asks, after all that is the person's own, whether the campaign's budget and rate
// have something left: each is a limit that spans people (lease.go). saw is what the
// caps saw, to which it adds.
func (a *attempt) budget(saw *seen) (engage.Reason, *seen, error) {
	for i := range a.c.shared {
		x := &a.c.shared[i]
		is, err := a.lease(limit{ID: x.ID, Terms: x.Terms}, x.N)
		if err != nil {
			return "", nil, err
		}
		if is.there {
			continue
		}
		no := a.s.see().any("of", x.Of).int("total", x.Terms.Total).int("takes", x.N).int("leased_here", is.free)
		reason := engage.ReasonCapBudget
		if x.Of == "per_minute" {
			reason = engage.ReasonCapRate
		}
		if is.late {
			no.bool("no_answer", true) // of the limit's owner, in time
		}
		if !is.out {
			return engage.ReasonCapAsks, no, errWaits
		}
		return reason, no, nil
	}
	return "", saw, nil
}

// takeBudget takes what the message of who is treated costs: the gate saw it in this step.
func (a *attempt) takeBudget() error {
	for i := range a.c.shared {
		x := &a.c.shared[i]
		if _, err := a.s.take(limit{ID: x.ID, Terms: x.Terms}, x.N); err != nil {
			return err
		}
	}
	return nil
}
