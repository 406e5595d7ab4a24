package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
)

// evidence is what the ends of a run can testify, each for itself: the phones,
// the providers' simulators, and the server's store. The audit compares them and
// asks nobody else.
type evidence struct {
	Phones    []witness
	Decisions []engage.Decision
	Pushes    []push // requests that reached the simulators, in any order
	Visits    []engage.Visit
	Earlier   []engage.Visit // of phones of earlier runs on the same data
	Crossings []crossing     // in the persons' timelines, passes left out
	At        time.Time      // when the store was read
}

// witness is one phone.
type witness struct {
	Install string
	Acked   []uint64 // sequence numbers that the server acknowledged, rejected ones left out
	// Accepted are the sequence numbers that took effect on the server, as sorted
	// pairs of first and last.
	Accepted [][2]uint64
	Shown    map[string]sight // what the person saw, by the message's id
	Written  []written        // what can fire a message, by time
}

// sight of a message on a phone.
type sight struct {
	Times int
	At    time.Time // the first time
	InApp bool      // it came that way
}

// written is an item that can fire a message and went out to the network.
type written struct {
	At   time.Time // right before
	Post bool      // by POST; else in a frame on the socket
}

// push is one request that reached a provider.
type push struct {
	Attempt  string // the id that a repeat shares
	Message  string // the delivery's id
	Accepted bool   // and not refused or put off
	At       time.Time
}

// item names an item of a phone.
type item struct {
	Install string `json:"install"`
	Seq     uint64 `json:"seq"`
}

// shown is a message on a phone.
type shown struct {
	Install string `json:"install"`
	Message string `json:"message"`
	Times   int    `json:"times"`
}

// finding is a decision that is not as it must be after draining.
type finding struct {
	Decision string               `json:"decision"`
	State    engage.DecisionState `json:"state"`
	Why      string               `json:"why"`
}

// verdict is what the audit found. Lists are in a fixed order and hold at most
// maxNamed examples; the counts are complete.
type verdict struct {
	Acked      int // items
	Decided    int // decisions
	Lost       int // LostItems and Unsettled, all of them
	Duplicates int // messages that a phone showed more than once
	Resent     int // times that a provider accepted an attempt again
	// Unordered are messages that reached a phone or a provider without a decision
	// that let them through: a person of the control group, or nobody's.
	Unordered int

	LostItems   []item
	Unsettled   []finding
	ShownTwice  []shown
	UnorderedID []string
}

// maxNamed examples of each kind are named in the report.
const maxNamed = 20

// overdue is how long after its due time a pending decision counts as forgotten.
const overdue = 10 * time.Second

// audit compares the evidence. It is a pure function of it.
func audit(e evidence) verdict {
	v := verdict{Decided: len(e.Decisions)}
	for _, w := range e.Phones {
		seen := make(map[uint64]bool, len(w.Acked))
		for _, seq := range w.Acked {
			if seen[seq] {
				continue // acknowledged twice, one item
			}
			seen[seq] = true
			v.Acked++
			if !within(w.Accepted, seq) {
				v.Lost++
				v.LostItems = append(v.LostItems, item{w.Install, seq})
			}
		}
	}
	ordered := make(map[string]bool, len(e.Decisions))
	for _, d := range e.Decisions {
		if d.Delivery != "" && d.State != engage.HeldOut && d.State != engage.Suppressed {
			ordered[d.Delivery] = true
		}
		if why := unsettled(d, e.At); why != "" {
			v.Lost++
			v.Unsettled = append(v.Unsettled, finding{d.ID, d.State, why})
		}
	}
	strangers := map[string]bool{}
	for _, w := range e.Phones {
		for id, s := range w.Shown {
			if s.Times > 1 {
				v.Duplicates++
				v.ShownTwice = append(v.ShownTwice, shown{w.Install, id, s.Times})
			}
			if !ordered[id] {
				strangers[id] = true
			}
		}
	}
	attempts := map[string]int{}
	for _, p := range e.Pushes {
		if p.Accepted {
			if attempts[p.Attempt]++; attempts[p.Attempt] > 1 {
				v.Resent++
			}
		}
		// A request that was refused before it was read has no message.
		if p.Message != "" && !ordered[p.Message] {
			strangers[p.Message] = true
		}
	}
	v.Unordered = len(strangers)
	for id := range strangers {
		v.UnorderedID = append(v.UnorderedID, id)
	}
	v.LostItems = first(v.LostItems, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.Install, b.Install), cmp.Compare(a.Seq, b.Seq))
	})
	v.Unsettled = first(v.Unsettled, func(a, b finding) int { return cmp.Compare(a.Decision, b.Decision) })
	v.ShownTwice = first(v.ShownTwice, func(a, b shown) int {
		return cmp.Or(cmp.Compare(a.Install, b.Install), cmp.Compare(a.Message, b.Message))
	})
	v.UnorderedID = first(v.UnorderedID, cmp.Compare[string])
	return v
}

// ok reports whether nothing was lost and nothing doubled.
func (v *verdict) ok() bool { return v.Lost == 0 && v.Duplicates == 0 }

// unsettled says what is wrong with a decision after draining; empty: nothing. It
// is in exactly one terminal state, or pending with a time by which it is decided.
func unsettled(d engage.Decision, at time.Time) string {
	switch d.State {
	case engage.Sent, engage.HeldOut, engage.Expired:
		return ""
	case engage.Suppressed, engage.Failed:
		if d.Reason == "" {
			return "has no reason"
		}
		return ""
	case engage.Pending:
		switch {
		case d.DueAt == nil:
			return "is pending without a due time"
		case at.Sub(*d.DueAt) > overdue:
			return "is pending and overdue"
		}
		return ""
	default:
		return "is in no known state"
	}
}

// within reports whether n is in one of the sorted intervals.
func within(intervals [][2]uint64, n uint64) bool {
	i, found := slices.BinarySearchFunc(intervals, n, func(iv [2]uint64, n uint64) int {
		switch {
		case iv[1] < n:
			return -1
		case iv[0] > n:
			return 1
		}
		return 0
	})
	return found && i < len(intervals)
}

func first[T any](all []T, order func(a, b T) int) []T {
	slices.SortFunc(all, order)
	return slices.Clip(all[:min(len(all), maxNamed)])
}
