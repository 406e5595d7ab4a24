package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// crossing is a transition that the server told of, with the visit that it is of.
type crossing struct {
	Install string
	Place   string
	Visit   string
}

// visits of a run, as the store has them; what late evidence took back is left out.
type visits struct {
	Open      int                     `json:"open"`      // they went on when the store was read
	Inside    int                     `json:"inside"`    // have been inside; the others only in an approach ring
	Dwelled   int                     `json:"dwelled"`   // reached a dwell time
	Stale     int                     `json:"stale"`     // came too late to send anything
	Withdrawn int                     `json:"withdrawn"` // not counted: late evidence showed that there was none
	Ended     map[engage.VisitEnd]int `json:"ended"`
	MedianS   float64                 `json:"median_s"`        // of those that ended, in real seconds; 0 if none did
	MedianInS float64                 `json:"median_inside_s"` // of those that have been inside, from there on
}

// visitFault is a visit that cannot be.
type visitFault struct {
	Visit string `json:"visit"`
	Why   string `json:"why"`
}

// countVisits gives the number of visits, and of what kinds they are.
func countVisits(all []engage.Visit) (int, visits) {
	v := visits{Ended: map[engage.VisitEnd]int{}}
	n := 0
	var took, inside []float64
	for i := range all {
		x := &all[i]
		if x.Ended == engage.EndedByWithdrawal {
			v.Withdrawn++
			continue
		}
		n++
		if !x.InsideAt.IsZero() {
			v.Inside++
		}
		if !x.DwelledAt.IsZero() {
			v.Dwelled++
		}
		if x.Stale {
			v.Stale++
		}
		if x.Open() {
			v.Open++
			continue
		}
		v.Ended[x.Ended]++
		took = append(took, x.Duration().Seconds())
		if !x.InsideAt.IsZero() {
			inside = append(inside, x.Until.Sub(x.InsideAt).Seconds())
		}
	}
	v.MedianS, v.MedianInS = medianS(took), medianS(inside)
	return n, v
}

// medianS is the median of some times in seconds; 0 of none.
func medianS(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	n := len(of)
	return (of[(n-1)/2] + of[n/2]) / 2
}

// auditVisits finds what no run may leave: a transition whose visit is not there or
// is somebody else's, a visit that contradicts itself, two visits of one phone at one
// place at the same time. Earlier are visits of earlier runs on the same data: a phone of
// somebody who was at the place with another one then has joined that visit. It is a pure
// function of its arguments.
func auditVisits(all []engage.Visit, told []crossing, earlier ...engage.Visit) (faults []visitFault) {
	blame := func(id, format string, args ...any) {
		faults = append(faults, visitFault{id, fmt.Sprintf(format, args...)})
	}
	byID := make(map[string]*engage.Visit, len(all))
	for i := range all {
		v := &all[i]
		byID[v.ID] = v
		if why := impossible(v); why != "" {
			blame(v.ID, "%s", why)
		}
	}
	joined := make(map[string]string, len(earlier)) // place by visit
	for i := range earlier {
		joined[earlier[i].ID] = earlier[i].Place
	}
	missing := map[string]bool{}
	for _, c := range told {
		switch v := byID[c.Visit]; {
		case v == nil && joined[c.Visit] == c.Place && c.Place != "":
		case v == nil && !missing[c.Visit]:
			missing[c.Visit] = true
			blame(c.Visit, "a transition tells of it, and it is not there")
		case v != nil && (v.Install != c.Install || v.Place != c.Place):
			blame(c.Visit, "a transition tells of it at %s, it is of %s", c.Place, v.Place)
		}
	}
	ordered := make([]*engage.Visit, 0, len(all))
	for i := range all {
		if all[i].Ended != engage.EndedByWithdrawal {
			ordered = append(ordered, &all[i])
		}
	}
	// A phone that hurries may cross in and out in one instant, and in again: that
	// visit of no length comes before the one that goes on from there.
	end := func(v *engage.Visit) int64 {
		if v.Open() {
			return math.MaxInt64
		}
		return v.Until.UnixMicro()
	}
	slices.SortFunc(ordered, func(a, b *engage.Visit) int {
		return cmp.Or(cmp.Compare(a.Install, b.Install), cmp.Compare(a.Place, b.Place), a.Since.Compare(b.Since), cmp.Compare(end(a), end(b)), cmp.Compare(a.ID, b.ID))
	})
	for i := 1; i < len(ordered); i++ {
		a, b := ordered[i-1], ordered[i]
		if a.Install == b.Install && a.Place == b.Place && (a.Open() || a.Until.After(b.Since)) {
			blame(b.ID, "began before %s, of the same phone at the same place, had ended", a.ID)
		}
	}
	slices.SortStableFunc(faults, func(a, b visitFault) int { return cmp.Compare(a.Visit, b.Visit) })
	return faults
}

// impossible says how a visit contradicts itself; empty: it does not.
func impossible(v *engage.Visit) string {
	end := v.Until
	if v.Open() {
		end = v.Last
	}
	within := func(at time.Time) bool { return at.IsZero() || !at.Before(v.Since) && !at.After(end) }
	switch {
	case v.Ended == engage.EndedByWithdrawal:
		return ""
	case v.Since.IsZero() || v.SinceUS != v.Since.UnixMicro():
		return "has no beginning, or two"
	case v.Open() != (v.Ended == ""):
		return "has an end without a reason, or a reason without an end"
	case end.Before(v.Since):
		return "ends before it begins"
	case !within(v.Last):
		return "its last evidence is not within it"
	case v.Open() && !v.InsideAt.IsZero() && v.InsideAt.Before(v.Since):
		return "was inside before it began"
	case !v.Open() && !within(v.InsideAt):
		return "was inside when it was not there"
	case !v.Open() && !within(v.DwelledAt):
		return "dwelled when it was not there"
	case v.ConfirmedS < 0 || v.ConfirmedS > end.Sub(v.Since).Seconds()+0.001:
		return "more of it is confirmed than there is"
	}
	return ""
}

// judgeVisits takes over what the store has of visits.
func (r *report) judgeVisits(e evidence) {
	r.Visits, r.Visit = countVisits(e.Visits)
	faults := auditVisits(e.Visits, e.Crossings, e.Earlier...)
	r.Audit.VisitFaults = len(faults)
	r.Audit.FaultyVisits = faults[:min(len(faults), maxNamed)]
}

// visitText says in words what the visits were.
func (r *report) visitText(b *strings.Builder) {
	fmt.Fprintf(b, "visits      %d, %d of them inside a shop, %d dwelled, %d open at the end; median of the others %.1f s, of those inside %.1f s from the door on\n",
		r.Visits, r.Visit.Inside, r.Visit.Dwelled, r.Visit.Open, r.Visit.MedianS, r.Visit.MedianInS)
	if r.Audit.VisitFaults > 0 {
		fmt.Fprintf(b, "audit       %d visits that cannot be, such as %s: it %s\n",
			r.Audit.VisitFaults, r.Audit.FaultyVisits[0].Visit, r.Audit.FaultyVisits[0].Why)
	}
}
